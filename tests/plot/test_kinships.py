"""Pairs beside what chance gives, and the ranks of a change: what is drawn, and what is refused."""

from __future__ import annotations

import pytest

import wexport
from wexport.plot import kinships
from wexport.relating.changes import Moved, Movement
from wexport.relating.results import Kinship


def kin(b: str, by_place: float | None, aligned: float | None = None, chance: float | None = None) -> Kinship:
    return Kinship(
        model_a="a", model_b=b, relation="related", similarity=by_place, aligned_similarity=aligned,
        null_similarity=chance,
    )  # fmt: skip


def test_each_pair_has_its_band_and_its_points() -> None:
    made = kinships.pairs([kin("b", 0.1, 0.9, 0.2), kin("c", 1.0), kin("d", None)])
    (ax,) = made.axes
    place, aligned, _ = ax.lines
    assert list(place.get_xdata()) == [0.1, 1.0]
    assert list(aligned.get_xdata()) == [0.9]
    assert [band.get_width() for band in ax.patches] == [0.2]
    assert [each.get_text() for each in ax.get_yticklabels()] == ["a, b: related", "a, c: related"]


def test_the_ranks_of_a_change_stand_beside_chance() -> None:
    ranks = {"effective_rank": 5.0, "chance_rank": 9.0, "full_rank": 10}
    rows = [
        Movement(slot="x/kernel", gate=None, relative_length=0.5, changed=1.0, **ranks),
        Movement(slot="x/kernel", gate="i", relative_length=0.5, changed=1.0, **ranks),
        Movement(slot="x/bias", gate=None, relative_length=0.1, changed=1.0),
    ]
    above, below = kinships.change(Moved("a", "b", rows, aligned=True, moved=3)).axes
    assert list(above.lines[0].get_ydata()) == [0.5]
    assert [list(line.get_ydata()) for line in below.lines] == [[0.5], [0.9]]


def test_nothing_to_draw_is_told() -> None:
    with pytest.raises(wexport.UsageError, match="nothing to draw"):
        kinships.pairs([kin("b", None)])
    with pytest.raises(wexport.UsageError, match="no kernel changed"):
        kinships.change(Moved("a", "b", [], aligned=False, moved=0))
