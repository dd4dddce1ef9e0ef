"""`stats.measure` against a plain NumPy oracle that holds the whole canonical array in float64."""

from __future__ import annotations

import dataclasses
import itertools
import math
import pickle
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import ml_dtypes
import numpy as np
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.conftest import ROOT
from wexport.errors import PluginError, UsageError
from wexport.model.cudnn import CudnnLayout
from wexport.model.tensors import Layout, Tensor
from wexport.stats import SORTED, TensorStatistics, dtype_named, measure
from wexport.stats.moments import Moments, of_block
from wexport.stats.units import LISTED

CORPUS = ROOT.parent / "shared" / "corpus"
DTYPES = [
    *("float32", "float64", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "bool"),
    *("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"),
]
ORDERS = {"ifco": "ifco", "icfo": "ifco", "rzh": "zrh", "zrh": "zrh", "ab": "ab"}
GATED = {"icfo": ("i", "c", "f", "o"), "ifco": ("i", "f", "c", "o"), "rzh": ("r", "z", "h"), "ab": ("a", "b")}
QUANTILES = {"q01": 0.01, "q05": 0.05, "q25": 0.25, "q50": 0.5, "q75": 0.75, "q95": 0.95, "q99": 0.99}


# --- the oracle -----------------------------------------------------------------------------------------------


def canonical(array: np.ndarray, layout: Layout | None) -> np.ndarray:
    """The canonical array, by plain reshapes and transposes."""
    layout = layout or Layout()
    seen = array.reshape(layout.view or array.shape)
    if isinstance(layout, CudnnLayout):
        inputs, width = seen.shape
        units = width // len(layout.gates)
        blocks = [seen[:, start : start + units] for start in range(0, width, units)]
        seen = np.concatenate([block.ravel().reshape(units, inputs).T for block in blocks], axis=1)
    if layout.permutation is not None:
        seen = seen.transpose(layout.permutation)
    if layout.gates:
        by_name = gate_parts(seen, layout.gates, layout.gate_axis)
        seen = np.concatenate([by_name[gate] for gate in gate_names(layout)], axis=layout.gate_axis)
    return seen


def gate_names(layout: Layout) -> list[str]:
    return list(ORDERS["".join(layout.gates)])


def gate_parts(seen: np.ndarray, gates: Any, axis: int | None) -> dict[str, np.ndarray]:
    return dict(zip(gates, np.split(seen, len(gates), axis=axis), strict=True))


def per_unit(array: np.ndarray, layout: Layout, axes: tuple[int, ...]) -> np.ndarray:
    """(units, weights of each) of a canonical array, gates grouped."""
    split, keep, axis = array, list(axes), layout.gate_axis
    if layout.gates and axis is not None:
        shape = array.shape
        split = array.reshape(*shape[:axis], len(layout.gates), shape[axis] // len(layout.gates), *shape[axis + 1 :])
        keep = [place + (place >= axis) for place in axes]
    count = math.prod(split.shape[place] for place in keep)
    rest = [place for place in range(split.ndim) if place not in keep]
    return split.transpose(*keep, *rest).reshape(count, -1)


def distribution_of(values: np.ndarray) -> dict[str, Any]:
    """Scalar figures of float64 (or longer) values by their textbook definitions."""
    finite = values[np.isfinite(values)]
    found: dict[str, Any] = {
        "value_count": values.size,
        "nan_count": int(np.isnan(values).sum()),
        "inf_count": int(np.isinf(values).sum()),
        "zero_count": int((values == 0).sum()),
        "near_zero_count": int((np.abs(values) < 2.0**-10).sum()),
    }
    if finite.size:
        wide = finite.astype(np.longdouble)
        distance = wide - wide.mean()
        spread = wide.min() < wide.max()
        variance = (distance**2).mean() if spread else np.longdouble(0)
        found |= {
            "mean": wide.mean(),
            "std": np.sqrt(variance),
            "skewness": (distance**3).mean() / variance**1.5 if spread else None,
            "kurtosis": (distance**4).mean() / variance**2 - 3 if spread else None,
            "min": wide.min(),
            "max": wide.max(),
            "abs_max": np.abs(wide).max(),
            "abs_mean": np.abs(wide).mean(),
            "l1_norm": np.abs(wide).sum(),
            "l2_norm": np.sqrt((wide**2).sum()),
        }
    return found


def assert_distribution(figures: Any, values: np.ndarray, *, exact: bool) -> None:
    expected = distribution_of(values)
    if "mean" not in expected:
        names = ("mean", "std", "skewness", "kurtosis", "min", "max", "abs_max", "abs_mean", "l1_norm", "l2_norm")
        assert {name: getattr(figures, name) for name in (*names, *QUANTILES)} == dict.fromkeys((*names, *QUANTILES))
    for name, value in expected.items():
        actual = getattr(figures, name)
        if name in ("skewness", "kurtosis"):
            assert (actual is None) == (value is None)
            if value is not None:
                # Where the spread is a few of float64's last digits, rounding the mean already moves these.
                digits = float(expected["abs_max"] / expected["std"]) * 1e-15
                assert actual == pytest.approx(float(value), rel=1e-12 + digits, abs=1e-6), name
        elif name == "mean":
            assert abs(actual - float(value)) <= 1e-9 * float(expected["abs_max"])
        elif name == "std":
            assert actual == pytest.approx(float(value), rel=1e-9, abs=1e-15 * float(expected["abs_max"]))
        elif isinstance(value, int):
            assert actual == value, name
        else:
            assert actual == pytest.approx(float(value), rel=1e-9, abs=0), name
    finite = values[np.isfinite(values)].astype(np.float64)
    assert figures.histogram.count.sum() == finite.size
    if finite.size:
        assert_quantiles(figures, np.sort(finite), exact=exact)


def assert_quantiles(figures: Any, ordered: np.ndarray, *, exact: bool) -> None:
    for name, probability in QUANTILES.items():
        place = probability * (ordered.size - 1)
        below, above = ordered[math.floor(place)], ordered[math.ceil(place)]
        value = below * (1 - place % 1) + above * (place % 1)
        largest = max(abs(below), abs(above))
        bound = 1e-15 * largest if exact else max(2.0**-7 * largest, 2.0**-133)
        assert abs(getattr(figures, name) - value) <= bound, name


def assert_figures(
    figures: TensorStatistics, stored: np.ndarray, layout: Layout | None, sample_size: int = 1024
) -> None:
    array = canonical(stored, layout).astype(np.float64)
    exact = array.size <= SORTED or stored.dtype.itemsize <= 2
    assert_distribution(figures, array.ravel(), exact=exact)
    layout = layout or Layout()
    if layout.gates:
        assert figures.gates is not None
        parts = gate_parts(array, gate_names(layout), layout.gate_axis)
        assert [gate.gate for gate in figures.gates] == list(parts)
        for gate in figures.gates:
            assert_distribution(gate, parts[gate.gate].ravel(), exact=exact)
    else:
        assert figures.gates is None
    assert_units(figures, array, layout)
    assert_sample(figures, array, sample_size)
    assert_grid(figures, array, layout)


def assert_units(figures: TensorStatistics, array: np.ndarray, layout: Layout) -> None:
    counts = [figures.unit_count, figures.zero_unit_count, figures.zero_input_count]
    if array.ndim < 2 or not array.size:
        assert (counts, figures.units) == ([None] * 3, None)
        return
    if layout.input_axes:
        inputs = per_unit(array, layout, layout.input_axes)
        assert figures.zero_input_count == (np.abs(inputs) < 2.0**-10).all(axis=1).sum()
    else:
        assert figures.zero_input_count is None
    if not layout.unit_axes:
        assert (counts[:2], figures.units) == ([None] * 2, None)
        return
    units = per_unit(array, layout, layout.unit_axes)
    assert figures.unit_count == len(units)
    assert figures.zero_unit_count == (np.abs(units) < 2.0**-10).all(axis=1).sum()
    if len(units) > LISTED:
        assert figures.units is None
        return
    assert figures.units is not None
    finite = np.isfinite(units)
    known = finite.any(axis=1)
    largest = np.abs(units, where=finite, out=np.zeros_like(units)).max(axis=1)
    np.testing.assert_array_equal(figures.units.abs_max, np.where(known, largest, np.nan))
    top = np.max(units, axis=1, where=finite, initial=-np.inf)
    np.testing.assert_array_equal(figures.units.max, np.where(known, top, np.nan))
    norm = np.sqrt((np.where(finite, units, 0).astype(np.longdouble) ** 2).sum(axis=1)).astype(np.float64)
    # Beside a much larger unit a tiny one may underflow.
    floor = 1e-150 * largest.max()
    np.testing.assert_allclose(figures.units.l2_norm, np.where(known, norm, np.nan), rtol=1e-9, atol=floor)
    np.testing.assert_allclose(figures.units.zero_fraction, (units == 0).mean(axis=1), rtol=1e-12)


def assert_sample(figures: TensorStatistics, array: np.ndarray, sample_size: int) -> None:
    assert figures.sample is not None
    index, value = figures.sample.index, figures.sample.value
    assert (np.diff(index) > 0).all()
    assert index.size == min(array.size, sample_size) or index.size == array.size
    np.testing.assert_array_equal(value, array.ravel()[index])


def assert_grid(figures: TensorStatistics, array: np.ndarray, layout: Layout) -> None:
    assert figures.sample is not None
    if figures.sample.index.size == array.size:
        assert figures.grid is None
        return
    columns = layout.unit_axes or (array.ndim - 1,)
    rows = tuple(axis for axis in range(array.ndim) if axis not in columns)
    matrix = array.transpose(rows + columns).reshape(-1, math.prod(array.shape[axis] for axis in columns))
    assert figures.grid is not None
    shape = (min(32, matrix.shape[0]), min(32, matrix.shape[1]))
    assert (figures.grid.rows, figures.grid.cols) == figures.grid.rms.shape == shape
    starts = [-(-np.arange(bands) * length // bands) for bands, length in zip(shape, matrix.shape, strict=True)]

    def blocks_of(values: np.ndarray) -> np.ndarray:
        return np.add.reduceat(np.add.reduceat(values, starts[0], axis=0), starts[1], axis=1)

    finite = np.isfinite(matrix)
    count = blocks_of(finite.astype(int))
    total = blocks_of(np.where(finite, matrix, 0).astype(np.longdouble) ** 2)
    expected = np.sqrt(np.divide(total, count, out=np.full(shape, np.nan, np.longdouble), where=count > 0))
    floor = 1e-150 * np.abs(matrix[finite]).max(initial=0)
    np.testing.assert_allclose(figures.grid.rms, expected.astype(np.float64), rtol=1e-9, atol=floor)


# --- data -----------------------------------------------------------------------------------------------------


def tensor_of(array: np.ndarray, layout: Layout | None = None, cuts: Iterator[int] | None = None) -> Tensor:
    """A tensor over an array; `cuts` are chunk lengths, and each chunk is wiped when the next is asked for."""
    if cuts is None:
        return Tensor.of_array("t", array, layout=layout)

    def chunks(limit: int) -> Iterator[np.ndarray]:
        flat, start = array.reshape(-1), 0
        for cut in cuts:
            if start >= flat.size:
                return
            chunk = flat[start : start + cut].copy()
            yield chunk
            chunk.view(np.uint8)[:] = 255
            start += cut

    return Tensor(name="t", shape=array.shape, dtype=array.dtype.name, chunks=chunks, layout=layout)


def same(a: Any, b: Any) -> bool:
    """Bitwise equality of figures, NaN being equal to itself."""
    if dataclasses.is_dataclass(a):
        return type(a) is type(b) and all(
            same(getattr(a, item.name), getattr(b, item.name)) for item in dataclasses.fields(a)
        )
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return type(a) is type(b) and a == b


def weights(shape: tuple[int, ...], seed: int = 0, dtype: str = "float32") -> np.ndarray:
    """Something like trained weights: heavy tails, exact zeros, a dead unit on each side."""
    generator = np.random.default_rng(seed)
    array = generator.standard_t(4, shape) * 0.05
    array[generator.random(shape) < 0.1] = 0.0
    if array.ndim > 1 and min(array.shape[0], array.shape[-1]) > 2:
        array[..., 1] = 1e-5
        array[2] = -1e-4
    return array.astype(np.dtype(getattr(ml_dtypes, dtype, dtype)))


@st.composite
def layouts(draw: st.DrawFn, most: int = 6) -> tuple[tuple[int, ...], Layout]:
    """A stored shape and a layout that fits it: any rank, permutation, axes and gates."""
    view = list(draw(st.lists(st.integers(1, most), min_size=1, max_size=5)))
    rank = len(view)
    permutation = tuple(draw(st.permutations(range(rank))))
    axes = draw(st.permutations(range(rank)))
    units = draw(st.integers(0, rank))
    inputs = draw(st.integers(0, rank - units))
    meaning: dict[str, Any] = {"unit_axes": tuple(axes[:units]), "input_axes": tuple(axes[units : units + inputs])}
    if draw(st.booleans()):
        gates = draw(st.sampled_from(sorted(GATED)))
        axis = draw(st.integers(0, rank - 1))
        view[permutation[axis]] *= len(GATED[gates])
        meaning |= {"gates": GATED[gates], "gate_axis": axis}
    if draw(st.booleans()):
        return (math.prod(view),), Layout(view=tuple(view), permutation=permutation, **meaning)
    return tuple(view), Layout(permutation=permutation, **meaning)


def numbers(dtype: str, shape: Any) -> st.SearchStrategy[np.ndarray]:
    """Arrays of any type, with NaN, infinities, denormals, constants and both zeros."""
    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    if kind.kind in "iub" or kind == np.float32 or kind == np.float64 or kind == np.float16:
        return hnp.arrays(kind, shape)
    patterns = hnp.arrays(np.dtype(f"u{kind.itemsize}"), shape)
    return patterns.map(lambda array: array.view(kind))


# --- against the oracle -----------------------------------------------------------------------------------------


@given(data=st.data(), dtype=st.sampled_from(DTYPES))
@settings(deadline=None)
def test_any_small_array(data: st.DataObject, dtype: str) -> None:
    array = data.draw(numbers(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=8)))
    with np.errstate(all="ignore"):
        assert_figures(measure(tensor_of(array)), array, None)


@given(case=layouts(), dtype=st.sampled_from(["float32", "float64", "bfloat16", "int8"]), sample=st.integers(1, 50))
@settings(max_examples=300, deadline=None)
def test_any_layout(case: tuple[tuple[int, ...], Layout], dtype: str, sample: int) -> None:
    shape, layout = case
    array = weights(shape, seed=math.prod(shape), dtype=dtype)
    assert_figures(measure(tensor_of(array, layout), sample_size=sample), array, layout, sample)


@given(inputs=st.integers(1, 9), units=st.integers(1, 9), gates=st.sampled_from(sorted(GATED)))
@settings(deadline=None)
def test_cudnn_kernels(inputs: int, units: int, gates: str) -> None:
    layout = CudnnLayout(
        unit_axes=(1,),
        input_axes=(0,),
        gates=GATED[gates],
        gate_axis=1,
    )
    array = weights((inputs, units * len(GATED[gates])), seed=units)
    assert_figures(measure(tensor_of(array, layout), sample_size=20), array, layout, 20)


LARGE = {
    "vector": ((70_001,), Layout()),
    "unknown": ((301, 257), None),
    "dense": ((333, 257), Layout(unit_axes=(1,), input_axes=(0,))),
    "dense, one unit": ((40_001, 1), Layout(unit_axes=(1,), input_axes=(0,))),
    "dense, torch": ((257, 333), Layout(permutation=(1, 0), unit_axes=(1,), input_axes=(0,))),
    "dense, few units": ((40_001, 3), Layout(unit_axes=(1,), input_axes=(0,))),
    "dense, torch, few units": ((3, 40_001), Layout(permutation=(1, 0), unit_axes=(1,), input_axes=(0,))),
    "conv": ((3, 3, 105, 107), Layout(unit_axes=(3,), input_axes=(2,))),
    "conv, theano": ((107, 105, 3, 3), Layout(permutation=(2, 3, 1, 0), unit_axes=(3,), input_axes=(2,))),
    "conv, transposed": ((3, 3, 105, 107), Layout(unit_axes=(2,), input_axes=(3,))),
    "depthwise": ((5, 5, 2_000, 2), Layout(unit_axes=(2, 3), input_axes=(2,))),
    "attention": ((330, 4, 65), Layout(unit_axes=(1, 2), input_axes=(0,))),
    "attention, out": ((4, 65, 330), Layout(unit_axes=(2,), input_axes=(0, 1))),
    "embedding": ((9_001, 8), Layout(unit_axes=(1,), input_axes=(0,))),
    "lstm": ((201, 4 * 90), Layout(unit_axes=(1,), input_axes=(0,), gates=GATED["icfo"], gate_axis=1)),
    "lstm, wide": (
        (40_001, 4, 3),
        Layout(permutation=(2, 1, 0), unit_axes=(0,), input_axes=(2,), gates=GATED["icfo"], gate_axis=1),
    ),
    "lstm, long gates": (
        (4 * 3, 40_001),
        Layout(permutation=(1, 0), unit_axes=(1,), input_axes=(0,), gates=GATED["icfo"], gate_axis=1),
    ),
    "lstm, torch": (
        (4 * 90, 201),
        Layout(permutation=(1, 0), unit_axes=(1,), input_axes=(0,), gates=GATED["icfo"], gate_axis=1),
    ),
    "lstm, cudnn": (
        (201, 4 * 90),
        CudnnLayout(
            unit_axes=(1,),
            input_axes=(0,),
            gates=GATED["icfo"],
            gate_axis=1,
        ),
    ),
    "gru bias": ((2, 3 * 15_000), Layout(gates=("z", "r", "h"), gate_axis=1)),
    "conv lstm": ((3, 3, 35, 4 * 60), Layout(unit_axes=(3,), input_axes=(2,), gates=GATED["ifco"], gate_axis=3)),
    "scattered units": ((30, 7, 31, 13), Layout(unit_axes=(2, 0), input_axes=(3, 1))),
}


@pytest.mark.parametrize("name", LARGE)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int64"])
def test_tensors_of_many_blocks(name: str, dtype: str) -> None:
    shape, layout = LARGE[name]
    array = weights(shape, dtype="float64")
    array = (array * 2000).astype(dtype) if dtype == "int64" else array.astype(dtype)
    figures = measure(tensor_of(array, layout))
    assert_figures(figures, array, layout)


def broken(array: np.ndarray, seed: int = 1) -> np.ndarray:
    """The array with NaN and infinities strewn in, and in a whole row and column."""
    generator = np.random.default_rng(seed)
    array = array.copy()
    for value in (np.nan, np.inf, -np.inf):
        array[generator.random(array.shape) < 0.02] = value
    if array.ndim > 1:
        array[..., 0] = np.nan
        array[0] = np.inf
    return array


@pytest.mark.parametrize("name", LARGE)
def test_values_that_are_not_finite(name: str) -> None:
    shape, layout = LARGE[name]
    array = broken(weights(shape))
    assert_figures(measure(tensor_of(array, layout)), array, layout)


@given(case=layouts(), dtype=st.sampled_from(["float32", "float64"]))
@settings(deadline=None)
def test_values_that_are_not_finite_in_any_layout(case: tuple[tuple[int, ...], Layout], dtype: str) -> None:
    shape, layout = case
    array = broken(weights(shape, dtype=dtype))
    assert_figures(measure(tensor_of(array, layout), sample_size=7), array, layout, 7)


CONDITIONS = {
    "mean far above the spread": lambda z: 1.0 + 1e-6 * z,
    "constant": lambda z: np.full_like(z, 0.1),
    "one value differs": lambda z: np.where(np.arange(z.size) == z.size // 2, 1.0, 0.5),
    "large": lambda z: 1e30 * z,
    "largest": lambda z: np.clip(z, -3, 3) / 3 * np.finfo(np.float32).max,
    "denormal": lambda z: 1e-40 * z,
    "drifting": lambda z: np.linspace(0, 1e4, z.size) + z,
    "steps": lambda z: np.repeat([1e4, 0.0, 1e-4], -(-z.size // 3))[: z.size] * (1 + 1e-3 * z),
    "negative": lambda z: -np.abs(z) - 3,
}


@pytest.mark.parametrize("name", CONDITIONS)
@pytest.mark.parametrize("size", [1_000, 400_000])
def test_badly_conditioned_float32(name: str, size: int) -> None:
    values = CONDITIONS[name](np.random.default_rng(3).standard_normal(size)).astype(np.float32)
    figures = measure(tensor_of(values))
    assert_distribution(figures, values.astype(np.float64), exact=size <= SORTED)
    if name == "constant":
        assert (figures.std, figures.skewness, figures.kurtosis) == (0.0, None, None)


@pytest.mark.parametrize("scale", [1e306, 1e200, 1e-200, 1e-307, 5e-324])
@pytest.mark.parametrize("shape", [(30, 40), (300, 400)])
def test_extreme_float64(scale: float, shape: tuple[int, int]) -> None:
    array = np.random.default_rng(4).uniform(-9, 9, shape) * scale
    layout = Layout(unit_axes=(1,), input_axes=(0,))
    assert_figures(measure(tensor_of(array, layout)), array, layout)


def test_scales_that_change_from_block_to_block() -> None:
    array = np.random.default_rng(5).uniform(-1, 1, 300_000)
    array[:70_000] *= 1e-250
    array[70_000:140_000] = 0
    array[140_000:210_000] *= 1e250
    assert_distribution(measure(tensor_of(array)), array, exact=False)
    assert_distribution(measure(tensor_of(array[:140_000])), array[:140_000], exact=False)


def test_norms_beyond_float64_are_infinite_and_nothing_else_is() -> None:
    figures = measure(tensor_of(np.full(10, 1.7e308)))
    assert (figures.l1_norm, figures.l2_norm) == (math.inf, math.inf)
    assert (figures.mean, figures.abs_mean, figures.std) == (pytest.approx(1.7e308), pytest.approx(1.7e308), 0.0)


def test_nothing_finite() -> None:
    for array in (np.zeros((0, 3), np.float32), np.full((40, 50), np.nan), np.array(np.inf)):
        figures = measure(tensor_of(array), sample_size=10)
        assert_figures(figures, array, None, 10)
        assert figures.histogram.count.size == 0


def test_ordinary_numbers_are_ordinary_python_numbers() -> None:
    figures = measure(tensor_of(weights((20, 20))))
    scalars = {item.name: getattr(figures, item.name) for item in dataclasses.fields(figures)}
    assert {type(scalars[name]) for name in ("mean", "std", "min", "max", "abs_max", "q50", "l2_norm")} == {float}
    assert {type(scalars[name]) for name in scalars if name.endswith("_count")} <= {int, type(None)}


@given(
    values=hnp.arrays(np.float64, st.integers(2, 40), elements=st.floats(-1e6, 1e6, allow_subnormal=False)),
    cut=st.integers(1, 39),
    shift=st.sampled_from([0.0, 1e3]),
)
@settings(deadline=None)
def test_moments_of_parts_merge_into_those_of_the_whole(values: np.ndarray, cut: int, shift: float) -> None:
    def moments_of(part: np.ndarray) -> Moments:
        low, high = float(part.min()), float(part.max())
        return of_block(part, part * part, np.empty_like(part), low, high, 0)

    values = values + shift
    parts = [part for part in (values[:cut], values[cut:]) if part.size]
    whole, forth, back = moments_of(values), Moments(), Moments()
    for part in parts:
        forth, back = forth.merge(moments_of(part)), moments_of(part).merge(back)
    scale = max(abs(whole.low), abs(whole.high))
    for merged in (forth, back):
        assert (merged.n, merged.low, merged.high) == (whole.n, whole.low, whole.high)
        assert merged.l1 == pytest.approx(whole.l1, rel=1e-13)
        assert merged.mean == pytest.approx(whole.mean, abs=1e-13 * scale)
        for power, name in ((2, "m2"), (3, "m3"), (4, "m4")):
            bound = 1e-12 * whole.n * scale**power + 1e-300
            assert getattr(merged, name) == pytest.approx(getattr(whole, name), abs=bound), name


# --- independence and contracts -----------------------------------------------------------------------------------


@given(data=st.data(), dtype=st.sampled_from(DTYPES))
@settings(max_examples=60, deadline=None)
def test_chunks_change_no_bit(data: st.DataObject, dtype: str) -> None:
    shape, layout = LARGE[data.draw(st.sampled_from(sorted(LARGE)))]
    array = weights(shape, dtype=dtype)
    if dtype == "float32" and data.draw(st.booleans()):
        array = broken(array)
    lengths = data.draw(st.lists(st.integers(1, 90_000), min_size=1, max_size=5))
    cuts = itertools.chain(lengths, itertools.repeat(lengths[-1] + 7_000))
    assert same(measure(tensor_of(array, layout)), measure(tensor_of(array, layout, cuts)))


@pytest.mark.parametrize("block_bytes", [1, 100, 1 << 30])
def test_the_limit_for_the_reader_changes_no_bit(block_bytes: int) -> None:
    shape, layout = (40, 36), Layout(unit_axes=(1,), input_axes=(0,), gates=GATED["icfo"], gate_axis=1)
    array = weights(shape)
    assert same(measure(tensor_of(array, layout)), measure(tensor_of(array, layout), block_bytes=block_bytes))


def test_the_hash_does_not_hang_on_how_type_and_shape_are_written() -> None:
    array = weights((6, 4))
    other = Tensor(
        name="t",
        shape=tuple(np.array(array.shape)),
        dtype="<f4",
        chunks=lambda limit: iter([array.astype(">f4").ravel()]),
    )
    assert measure(other).content_hash == measure(tensor_of(array)).content_hash


@pytest.mark.parametrize("dtype", [">f4", ">f8", ">f2", ">i4", ">u8"])
def test_byte_order_changes_no_bit(dtype: str) -> None:
    array = weights((300, 200), dtype="float64")
    big = (array * 100).astype(dtype)
    little = big.astype(np.dtype(dtype).newbyteorder("<"))
    layout = Layout(unit_axes=(1,), input_axes=(0,))
    assert same(measure(tensor_of(big, layout)), measure(tensor_of(little, layout)))


def test_misaligned_and_strided_chunks_change_no_bit() -> None:
    array = weights((100_000,))
    shifted = np.frombuffer(b"x" + array.tobytes(), np.float32, offset=1)
    strided = np.repeat(array, 2)[::2]
    for other in (shifted, strided):
        tensor = Tensor(name="t", shape=array.shape, dtype="float32", chunks=lambda limit, found=other: iter([found]))
        assert same(measure(tensor), measure(tensor_of(array)))


def test_the_hash_tells_values_type_and_shape_apart() -> None:
    array = weights((6, 4))
    distinct = [array, array.reshape(4, 6), array.astype("f8"), array.view("i4"), array + 1]
    assert len({measure(tensor_of(other)).content_hash for other in distinct}) == len(distinct)
    line = b"float32 (6, 4)\n"
    assert measure(tensor_of(array)).content_hash == xxhash.xxh3_128(line + array.tobytes()).hexdigest()


def test_without_detail() -> None:
    shape, layout = LARGE["dense"]
    array = weights(shape)
    full, summary = measure(tensor_of(array, layout)), measure(tensor_of(array, layout), detail=False)
    assert same(summary, dataclasses.replace(full, sample=None, grid=None, units=None))


def test_large_numbers_of_units_are_counted_but_not_listed() -> None:
    array = weights((3, 5_000))
    array[:, 17] = 0
    figures = measure(tensor_of(array, Layout(unit_axes=(1,), input_axes=(0,))))
    assert (figures.unit_count, figures.units) == (5_000, None)
    assert figures.zero_unit_count == (np.abs(array) < 2.0**-10).all(axis=0).sum()
    more = measure(tensor_of(np.zeros((1, (1 << 20) + 1), np.int8), Layout(unit_axes=(1,), input_axes=(0,))))
    assert (more.unit_count, more.zero_unit_count, more.zero_input_count, more.units) == (None, None, 1, None)


def test_figures_can_be_sent_to_another_process() -> None:
    shape, layout = LARGE["lstm"]
    figures = measure(tensor_of(weights(shape), layout))
    assert same(pickle.loads(pickle.dumps(figures)), figures)


@pytest.mark.parametrize("values", [5, 7])
def test_values_missing_or_too_many(values: int) -> None:
    tensor = Tensor(name="w", shape=(6,), dtype="float32", chunks=lambda limit: iter([np.zeros(values, np.float32)]))
    with pytest.raises(PluginError, match=r"^w: .* \(6,\)"):
        measure(tensor)


@pytest.mark.parametrize("chunk", [np.zeros(4), np.zeros((2, 2), np.float32), np.zeros(4, np.int32)])
def test_chunks_of_another_type(chunk: np.ndarray) -> None:
    tensor = Tensor(name="w", shape=(4,), dtype="float32", chunks=lambda limit: iter([chunk]))
    with pytest.raises(PluginError, match=r"^w: "):
        measure(tensor)


@pytest.mark.parametrize("dtype", ["complex64", "S4", "float128", "object", "nonsense", "datetime64[s]"])
def test_types_without_figures(dtype: str) -> None:
    assert dtype_named(dtype) is None
    tensor = Tensor(name="w", shape=(4,), dtype=dtype, chunks=lambda limit: iter([]))
    with pytest.raises(PluginError, match=f"^w: {dtype[:5]}"):
        measure(tensor)


@pytest.mark.parametrize(
    "layout",
    [
        Layout(view=(5, 5)),
        Layout(view=[6, 4]),  # type: ignore[arg-type]
        Layout(permutation=(0, 0)),
        Layout(permutation=(0,)),
        Layout(unit_axes=(2,)),
        Layout(unit_axes=(1, 1)),
        Layout(gates=("z", "r", "h"), gate_axis=1),
        Layout(gates=("a", "b")),
        CudnnLayout(),
        CudnnLayout(
            gates=("a", "b"),
            gate_axis=0,
        ),
    ],
)
def test_layouts_that_do_not_fit(layout: Layout) -> None:
    with pytest.raises(PluginError, match=r"^t: .*\(6, 4\)"):
        measure(tensor_of(weights((6, 4)), layout))


def test_a_sample_of_nothing() -> None:
    with pytest.raises(UsageError, match="0"):
        measure(tensor_of(weights((6, 4))), sample_size=0)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("name", ["vector", "lstm", "conv, theano", "lstm, cudnn"])
def test_memory_is_bounded(name: str, dtype: str) -> None:
    shape, layout = LARGE[name]
    shape = (*shape[:-1], shape[-1] * 60)
    if layout is not None and layout.view is None and name == "conv, theano":
        shape = (*LARGE[name][0][:-2], 60, 9)
    size = math.prod(shape)
    part = weights((1 << 16,), dtype=dtype)

    def chunks(limit: int) -> Iterator[np.ndarray]:
        for start in range(0, size, part.size):
            yield part[: size - start]

    tensor = Tensor(name="w", shape=shape, dtype=dtype, chunks=chunks, layout=layout)
    tracemalloc.start()
    try:
        measure(tensor)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 40 << 20


# --- real files -----------------------------------------------------------------------------------------------------


def corpus_files() -> list[Path]:
    if not CORPUS.is_dir():
        return []
    return sorted(path for path in CORPUS.rglob("*") if path.suffix in {".h5", ".hdf5", ".keras"} and path.is_file())


def numeric(path: Path) -> list[np.ndarray]:
    found: list[np.ndarray] = []

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.dtype.kind in "fiu" and item.dtype.itemsize <= 8 and item.size < 1e6:
            found.append(item[()])

    with h5py.File(path) as file:
        file.visititems(visit)
    return found


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of real files is not here")
def test_real_weights() -> None:
    wanted = [path for path in corpus_files() if "keras" in str(path).lower() and path.suffix == ".h5"][:8]
    arrays = [np.asarray(array) for path in wanted if h5py.is_hdf5(path) for array in numeric(path)]
    assert arrays
    for array in arrays:
        assert_figures(measure(tensor_of(array)), array, None)
