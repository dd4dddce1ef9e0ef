"""Drawn bars are sums of stored bins."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from wexport.plot.bins import FAR_AWAY, Bins, counts_in, edges_for, reach
from wexport.stats.histogram import bin_of, bounds

VALUES = hnp.arrays(np.float64, st.integers(1, 60), elements=st.floats(-1e6, 1e6, width=32))


def stored(values: np.ndarray) -> Bins:
    keys, count = np.unique(bin_of(values), return_counts=True)
    return Bins(*bounds(keys), count)


@given(st.lists(VALUES, min_size=1, max_size=4), st.integers(2, 100))
def test_bars_count_the_values_between_their_edges(arrays: list[np.ndarray], bars: int) -> None:
    histograms = [stored(array) for array in arrays]
    edges = edges_for(histograms, bars)
    assert (np.diff(edges) > 0).all()
    for array, bins in zip(arrays, histograms, strict=True):
        counts = counts_in(bins, edges)
        assert counts.sum() == array.size
        for number, low, high in zip(counts, edges[:-1], edges[1:], strict=True):
            # Bins are half-open towards larger |w|, so an edge itself belongs to the bar further out.
            inside = (array > low if low < 0 else array >= low) & (array < high if high > 0 else array <= high)
            assert number == inside.sum() or len(edges) == 2


@given(VALUES, st.integers(2, 100))
def test_edges_are_stored_edges_and_bars_not_narrower_than_asked(array: np.ndarray, bars: int) -> None:
    bins = stored(array)
    edges = edges_for([bins], bars)
    known = np.concatenate([bounds(bin_of(edges)), bounds(bin_of(np.nextafter(edges, 0)))], axis=None)
    assert np.isin(edges, known).all() or len(edges) == 2
    least = (bins.upper.max() - bins.lower.min()) / bars
    assert (np.diff(edges)[1:-1] >= least * (1 - 1e-9)).all()


def test_a_single_value_has_one_bar() -> None:
    for value in (0.0, 0.3, -7.0):
        bins = stored(np.full(5, value))
        edges = edges_for([bins], 40)
        assert counts_in(bins, edges).sum() == 5
        assert edges[0] <= value <= edges[-1]


def test_nothing_stored_gives_an_empty_bar() -> None:
    nothing = Bins(np.array([]), np.array([]), np.array([], np.int64))
    assert counts_in(nothing, edges_for([nothing], 10)).tolist() == [0]


@given(st.lists(st.lists(st.floats(-100, 100), min_size=1, max_size=300), min_size=1, max_size=4))
def test_an_axis_leaves_out_few_values_of_each_and_only_for_room(samples: list[list[float]]) -> None:
    held = [stored(np.array(values)) for values in samples]
    low, high = reach(held)
    for bins in held:
        kept = bins.within(low, high).count.sum()
        assert bins.count.sum() - kept <= 2 * FAR_AWAY * bins.count.sum()
    lowest, highest = min(bins.lower[0] for bins in held), max(bins.upper[-1] for bins in held)
    assert (low, high) == (lowest, highest) or 3 * (high - low) < highest - lowest


def test_a_model_unlike_the_others_is_on_the_axis() -> None:
    rng = np.random.default_rng(0)
    near, far = stored(rng.normal(size=100_000)), stored(rng.normal(50, 1, size=30))
    assert reach([near, far])[1] > 50
    assert reach([near, near])[1] < 8
    assert reach([stored(np.append(rng.normal(size=10_000), 500.0))])[1] < 8
    assert reach([]) == (0, 0)
