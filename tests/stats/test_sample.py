"""Which positions are sampled, and that they depend on nothing but the canonical shape and the sample size."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wexport.model.tensors import Layout
from wexport.stats.sample import FEW_CHANNELS, PICTURE_VALUES, keep_whole, positions
from wexport.stats.streams import gate_order, stored_positions, streams_of

CONV = Layout(unit_axes=(3,), input_axes=(2,))
SHAPES = st.lists(st.integers(1, 400), min_size=1, max_size=4).map(tuple)
WORD = (1 << 64) - 1


def splitmix64(state: int) -> int:
    """The generator's output function in Python's own integers."""
    z = (state + 0x9E3779B97F4A7C15) & WORD
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & WORD
    return z ^ (z >> 31)


@given(SHAPES, st.integers(1, 300))
@settings(deadline=None)
def test_positions_follow_the_published_rule(shape: tuple[int, ...], sample_size: int) -> None:
    size = math.prod(shape)
    if size <= sample_size:
        expected = list(range(size))
    else:
        seed = 0
        for number in (len(shape), *shape, sample_size):
            seed = splitmix64(seed ^ number)
        starts = [stratum * size // sample_size for stratum in range(sample_size + 1)]
        expected = [
            start + splitmix64((stratum * 0x9E3779B97F4A7C15 + seed) & WORD) % (end - start)
            for stratum, (start, end) in enumerate(pairwise(starts))
        ]
    found = positions(shape, sample_size)
    assert found.dtype == np.int64
    assert found.tolist() == expected


@given(SHAPES, st.integers(1, 2_000))
@settings(deadline=None)
def test_positions_ascend_and_are_as_many_as_asked_for(shape: tuple[int, ...], sample_size: int) -> None:
    found = positions(shape, sample_size)
    assert found.size == min(sample_size, math.prod(shape))
    assert (np.diff(found) > 0).all()
    assert 0 <= found[0] <= found[-1] < math.prod(shape)


@pytest.mark.parametrize("shape", [(1 << 20, 64), (4096, 4096), (3, 3, 512, 512), (1000, 1024)])
def test_positions_are_spread_over_all_columns(shape: tuple[int, ...]) -> None:
    found = positions(shape, 1024)
    columns = np.bincount(found % shape[-1] * 16 // shape[-1], minlength=16)
    assert columns.min() > 1024 / 16 / 2


def test_a_shape_larger_than_any_memory() -> None:
    found = positions((1 << 31, 1 << 31), 1024)
    assert (np.diff(found) > 0).all()
    assert found[-1] < 1 << 62


@pytest.mark.parametrize(
    ("shape", "layout", "whole"),
    [
        ((7, 7, 3, 64), CONV, True),
        ((7, 7, FEW_CHANNELS, 64), CONV, True),
        ((7, 7, FEW_CHANNELS + 1, 64), CONV, False),
        ((8, 8, 4, PICTURE_VALUES // 256), CONV, True),
        ((8, 8, 4, PICTURE_VALUES // 256 + 1), CONV, False),
        ((7, 7, 3, 64), None, False),
        ((3, 2000), Layout(unit_axes=(1,), input_axes=(0,)), False),
        ((4, 20, 100), Layout(unit_axes=(1, 2), input_axes=(0,)), False),
    ],
)
def test_kernels_that_are_pictures_are_kept_whole(shape: tuple[int, ...], layout: Layout | None, whole: bool) -> None:
    assert keep_whole(shape, layout) is whole
    assert positions(shape, 10, layout).size == (math.prod(shape) if whole else 10)


def test_a_stored_order_changes_no_position() -> None:
    stored = Layout(permutation=(2, 3, 1, 0), unit_axes=(3,), input_axes=(2,))
    canonical_shape = stored.canonical_shape((64, 32, 3, 3))
    np.testing.assert_array_equal(positions(canonical_shape, 99, stored), positions(canonical_shape, 99, CONV))


@given(st.permutations(range(4)), st.sampled_from([("i", "c", "f", "o"), ("o", "i", "f", "c")]), st.integers(0, 3))
@settings(deadline=None)
def test_canonical_positions_find_their_stored_values(
    permutation: list[int], gates: tuple[str, ...], gate_axis: int
) -> None:
    view = [2, 3, 4, 5]
    view[permutation[gate_axis]] *= 4
    layout = Layout(view=tuple(view), permutation=tuple(permutation), gates=gates, gate_axis=gate_axis)
    stored = np.arange(math.prod(view))
    seen = stored.reshape(view).transpose(permutation)
    parts = dict(zip(gates, np.split(seen, 4, axis=gate_axis), strict=True))
    canonical = np.concatenate([parts[gate] for gate in "ifco"], axis=gate_axis)
    streams = streams_of(stored.shape, layout)
    np.testing.assert_array_equal(stored_positions(streams, stored), canonical.ravel())


@pytest.mark.parametrize(
    ("stored", "canonical"), [("icfo", "ifco"), ("ifco", "ifco"), ("rzh", "zrh"), ("hrz", "zrh"), ("xy", "xy")]
)
def test_gates_in_canonical_order(stored: str, canonical: str) -> None:
    assert "".join(stored[place] for place in gate_order(stored)) == canonical
