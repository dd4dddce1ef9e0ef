"""`stats.Pass`: figures of values as they come; and what pooled axes change, against plain NumPy in float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.stats.test_stats import DTYPES, LARGE, assert_distribution, assert_units, broken, canonical, same, weights
from wexport.errors import PluginError, UsageError
from wexport.model.tensors import Layout, Tensor
from wexport.stats import SORTED, Pass, TensorStatistics, measure
from wexport.stats.sample import OUTPUT_VALUES


def pushed(tensor: Tensor, array: np.ndarray, cuts: list[int], **options: Any) -> TensorStatistics:
    """The figures of an array pushed in pieces of these lengths, the last of which repeats; each is wiped then."""
    passing, flat, start = Pass(tensor, **options), array.reshape(-1), 0
    lengths = iter(cuts)
    while start < flat.size:
        length = next(lengths, cuts[-1])
        piece = flat[start : start + length].copy()
        passing.add(piece)
        piece.view(np.uint8)[:] = 255
        start += length
    return passing.result()


# -- the same as `measure` ---------------------------------------------------------------------------------------------


@given(data=st.data(), dtype=st.sampled_from(DTYPES))
@settings(max_examples=60, deadline=None)
def test_pushed_values_give_the_figures_of_measure_bit_for_bit(data: st.DataObject, dtype: str) -> None:
    shape, layout = data.draw(st.sampled_from([*LARGE.values(), *OUTPUTS.values()]))
    array = weights(shape, dtype=dtype)
    if dtype == "float32" and data.draw(st.booleans()):
        array = broken(array)
    tensor = Tensor.of_array("t", array, layout=layout)
    cuts = [*data.draw(st.lists(st.integers(0, 90_000), max_size=5)), data.draw(st.integers(20_000, 90_000))]
    options = {"sample_size": data.draw(st.sampled_from([20, 1024])), "detail": data.draw(st.booleans())}
    assert same(pushed(tensor, array, cuts, **options), measure(tensor, **options))


def test_passes_that_take_turns_share_their_memory() -> None:
    """As the layers of a model do, a batch each in turn, of several types and lengths."""
    shapes = {
        "a": ((9, 40, 50), "float32"),
        "b": ((9, 3), "float32"),
        "c": ((9, 300, 41), "float16"),
        "d": ((9,), "int32"),
    }
    arrays = {name: weights(shape, seed=len(shape), dtype=dtype) for name, (shape, dtype) in shapes.items()}
    tensors = {name: Tensor.of_array(name, array, layout=outputs(array.ndim)) for name, array in arrays.items()}
    workspaces: dict[Any, Any] = {}
    passes = {name: Pass(tensor, workspaces=workspaces) for name, tensor in tensors.items()}
    for start in range(0, 9, 2):
        for name, array in arrays.items():
            passes[name].add(array[start : start + 2].reshape(-1))
    assert {str(dtype) for dtype in workspaces} == {"float32", "float16", "int32"}
    for name, passing in passes.items():
        assert same(passing.result(), measure(tensors[name]))


def test_a_tensor_of_no_values_needs_no_push() -> None:
    tensor = Tensor.of_array("t", np.zeros((0, 4), "f4"), layout=Layout(pooled_axes=(0,), unit_axes=(1,)))
    found = Pass(tensor).result()
    assert (found.value_count, found.grid, found.mean) == (0, None, None)
    assert same(found, measure(tensor))


@pytest.mark.parametrize(
    ("chunks", "told"),
    [
        ([np.ones(5, "f4")], "1 values are missing"),
        ([np.ones(5, "f4"), np.ones(2, "f4")], "its chunks hold 1 values too many"),
        ([np.ones(6)], "a chunk is 1-dimensional float64"),
        ([np.ones((2, 3), "f4")], "a chunk is 2-dimensional float32"),
        ([np.ones(6, ">f4")], "a chunk is 1-dimensional >f4"),
        ([np.ones(12, "f4")[::2]], "a chunk is 1-dimensional float32"),
    ],
)
def test_values_that_do_not_fit_are_refused(chunks: list[np.ndarray], told: str) -> None:
    def push() -> None:
        passing = Pass(Tensor.of_array("t", np.ones((2, 3), "f4")))
        for chunk in chunks:
            passing.add(chunk)
        passing.result()

    with pytest.raises(PluginError, match=f"t: declared float32 of shape .*{told}"):
        push()


def test_a_sample_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="sample size 0"):
        Pass(Tensor.of_array("t", np.ones(3)), sample_size=0)


# -- pooled axes -------------------------------------------------------------------------------------------------------


def outputs(rank: int, *, channels_first: bool = False) -> Layout:
    """As outputs of layers have it: inputs first, units last."""
    if rank < 2:
        return Layout(pooled_axes=(0,))
    order = (0, *range(2, rank), 1) if channels_first else None
    return Layout(pooled_axes=(0,), unit_axes=(rank - 1,), permutation=order)


OUTPUTS = {
    "vectors": ((700, 100), outputs(2)),
    "one value each": ((70_001,), outputs(1)),
    "a unit": ((900, 80, 1), outputs(3)),
    "sequences": ((50, 40, 45), outputs(3)),
    "long sequences": ((3, 1_000, 33), outputs(3)),
    "images": ((20, 13, 17, 21), outputs(4)),
    "channels first": ((20, 21, 13, 17), outputs(4, channels_first=True)),
    "one channel first": ((90, 1, 40, 41), outputs(4, channels_first=True)),
    "two unit axes": ((40, 35, 6, 9), Layout(pooled_axes=(0,), unit_axes=(2, 3))),
    "two unit axes apart": ((40, 6, 35, 9), Layout(pooled_axes=(0,), unit_axes=(1, 3))),
    "inputs last": ((37, 45, 50), Layout(pooled_axes=(2,), unit_axes=(1,))),
    "inputs in the middle": ((37, 50, 45), Layout(pooled_axes=(1,), unit_axes=(2,))),
    "two pooled axes": ((9, 37, 11, 45), Layout(pooled_axes=(0, 2), unit_axes=(3,))),
    "units not known": ((60, 40, 45), Layout(pooled_axes=(0,))),
    "nothing but units": ((99, 1000), outputs(2)),
    "more than a block": ((5, 300, 240), outputs(3)),
    "rows longer than a block": ((3, 2, 140_000), outputs(3)),
}


def pooled_grid(array: np.ndarray, layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """The grid of a canonical array, cell by cell from its definition, and how many values each is of.

    Band i of a side of n indices holds those j with j * bands // n == i.
    """
    free = [axis for axis in range(array.ndim) if axis not in layout.pooled_axes]
    columns = layout.unit_axes or tuple(free[-1:])
    rows = tuple(axis for axis in free if axis not in columns)
    matrix = array.transpose(*layout.pooled_axes, *rows, *columns)
    matrix = matrix.reshape(
        math.prod(array.shape[axis] for axis in layout.pooled_axes),
        math.prod(array.shape[axis] for axis in rows),
        math.prod(array.shape[axis] for axis in columns),
    )
    bands = [np.arange(length) * min(32, length) // length for length in matrix.shape[1:]]
    squares, finite = np.where(np.isfinite(matrix), matrix, 0).astype(np.longdouble) ** 2, np.isfinite(matrix)
    total = np.zeros((bands[0][-1] + 1, bands[1][-1] + 1), np.longdouble)
    count = np.zeros(total.shape, int)
    for sums, values in ((total, squares.sum(axis=0)), (count, finite.sum(axis=0))):
        np.add.at(sums, (bands[0][:, None], bands[1][None, :]), values)
    mean = np.divide(total, count, out=np.full(total.shape, np.nan, np.longdouble), where=count > 0)
    return np.sqrt(mean).astype(np.float64), count


def assert_outputs(found: TensorStatistics, stored: np.ndarray, layout: Layout) -> None:
    array = canonical(stored, layout).astype(np.float64)
    assert_distribution(found, array.ravel(), exact=array.size <= SORTED or stored.dtype.itemsize <= 2)
    if layout.unit_axes:
        assert_units(found, array, layout)
    assert found.grid is not None
    expected, _ = pooled_grid(array, layout)
    assert (found.grid.rows, found.grid.cols) == found.grid.rms.shape == expected.shape
    floor = 1e-150 * np.abs(array[np.isfinite(array)]).max(initial=0)
    np.testing.assert_allclose(found.grid.rms, expected, rtol=1e-9, atol=floor)
    assert found.sample is not None
    whole = array.size <= OUTPUT_VALUES
    assert (found.sample.index.size == array.size) == whole
    np.testing.assert_array_equal(found.sample.value, array.ravel()[found.sample.index])


@pytest.mark.parametrize("lost", [False, True], ids=["finite", "with NaN"])
@pytest.mark.parametrize("name", sorted(OUTPUTS))
def test_pooled_grid_is_the_root_mean_square_over_the_pooled_axes(name: str, lost: bool) -> None:
    shape, layout = OUTPUTS[name]
    array = weights(shape, seed=3)
    array = broken(array) if lost else array
    assert_outputs(measure(Tensor.of_array("t", array, layout=layout)), array, layout)


@st.composite
def pooled_layouts(draw: st.DrawFn) -> tuple[tuple[int, ...], Layout]:
    """A stored shape of any rank, with some of its axes pooled and some of units, in any order."""
    shape = draw(st.lists(st.sampled_from([1, 2, 3, 5, 33, 40]), min_size=1, max_size=4))
    rank = len(shape)
    axes = draw(st.permutations(range(rank)))
    pooled = draw(st.integers(1, rank))
    units = draw(st.integers(0, rank - pooled))
    permutation = tuple(draw(st.permutations(range(rank))))
    layout = Layout(
        permutation=permutation, pooled_axes=tuple(axes[:pooled]), unit_axes=tuple(axes[pooled : pooled + units])
    )
    return tuple(shape), layout


@given(case=pooled_layouts(), dtype=st.sampled_from(["float32", "float64", "float16", "int8"]), seed=st.integers(0, 9))
@settings(max_examples=150, deadline=None)
def test_pooled_grid_in_any_layout(case: tuple[tuple[int, ...], Layout], dtype: str, seed: int) -> None:
    shape, layout = case
    array = weights(shape, seed=seed, dtype=dtype)
    if seed % 2 and array.dtype.kind == "f":
        array = broken(array)
    found = measure(Tensor.of_array("t", array, layout=layout))
    assert found.grid is not None
    expected, _ = pooled_grid(canonical(array, layout).astype(np.float64), layout)
    np.testing.assert_allclose(found.grid.rms, expected, rtol=1e-9)


def test_pooled_grid_of_a_constant_is_that_constant_whatever_the_number_of_inputs() -> None:
    for inputs in (1, 2, 1_000):
        array = np.full((inputs, 50, 3), 0.5, "f4")
        found = measure(Tensor.of_array("t", array, layout=outputs(3)))
        assert found.grid is not None
        np.testing.assert_array_equal(found.grid.rms, np.full((32, 3), 0.5))


def test_weights_have_the_grid_that_they_had() -> None:
    """Without pooled axes nothing is pooled: a kernel's rows are all its axes but the units'."""
    array = weights((50, 40, 45))
    with_units = measure(Tensor.of_array("t", array, layout=Layout(unit_axes=(2,))))
    assert with_units.grid is not None
    expected, _ = pooled_grid(array.astype(np.float64)[None], Layout(pooled_axes=(0,), unit_axes=(3,)))
    np.testing.assert_allclose(with_units.grid.rms, expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("size", "whole"), [(OUTPUT_VALUES, True), (OUTPUT_VALUES + 1, False)], ids=["just so many", "one more"]
)
def test_a_few_outputs_are_kept_whole(size: int, whole: bool) -> None:
    array = weights((size,))
    found = measure(Tensor.of_array("t", array, layout=outputs(1)))
    assert found.sample is not None
    assert found.sample.index.size == (size if whole else 1_024)
    not_pooled = measure(Tensor.of_array("t", array))
    assert not_pooled.sample is not None
    assert not_pooled.sample.index.size == 1_024


@pytest.mark.parametrize(
    ("layout", "told"),
    [
        (Layout(pooled_axes=(2,)), "a unit, input or pooled axis does not exist"),
        (Layout(pooled_axes=(-1,)), "a unit, input or pooled axis does not exist"),
        (Layout(pooled_axes=(0,), unit_axes=(0,)), "an axis is both of units and pooled"),
        (Layout(pooled_axes=(0, 0)), "a unit, input or pooled axis is named twice"),
    ],
)
def test_pooled_axes_that_do_not_fit(layout: Layout, told: str) -> None:
    with pytest.raises(PluginError, match=told):
        Pass(Tensor.of_array("t", np.ones((3, 4)), layout=layout))
