"""Histograms at the ends of what numbers can be, and some that no reader of ours wrote."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import wexport
from wexport.plot.bins import DRAWN, Bins, counts_in, edges_for, reach
from wexport.terminal.bars import spark

SOUND: dict[str, Any] = {"lower": [-2.0, 0.0, 1.0], "upper": [-1.0, 0.0, 2.0], "count": [3, 1, 2]}


@pytest.mark.parametrize(
    "change",
    [
        {"lower": [2.0, 0.0, 1.0], "upper": [-1.0, 0.0, 2.0]},  # reversed: looking for the next edge never ended
        {"lower": [-2.0, 0.0]},
        {"count": [3, 1]},
        {"count": [3, 1, -2]},
        {"lower": [1.0, 0.0, -2.0], "upper": [2.0, 0.0, -1.0]},
        {"upper": [-1.0, 0.0, np.inf]},
        {"lower": [None, 0.0, 1.0]},
        {"count": None},
    ],
)
def test_bins_that_make_no_sense_are_refused(change: dict[str, Any]) -> None:
    assert Bins.of(SOUND).zeros == 1
    with pytest.raises(wexport.TableError, match="bins make no sense"):
        Bins.of({**SOUND, **change})


def test_values_near_the_largest_number_are_drawn() -> None:
    lower, upper, count = [-1.7e308, -1.0, 1.0, 1.6e308], [-1.6e308, -0.9, 1.1, 1.7e308], [1, 2, 3, 4]
    drawn = spark(lower, upper, count, 8)
    assert len(drawn) == 8
    assert drawn.strip(" ") == drawn
    bins = Bins.of({"lower": lower, "upper": upper, "count": count})
    assert reach([bins]) == (-DRAWN, DRAWN)
    within = bins.within(*reach([bins]))
    assert counts_in(within, edges_for([within], 10)).sum() == 5
    whole = edges_for([bins], 10)
    assert np.isfinite(whole).all()
    assert counts_in(bins, whole).sum() == 10
