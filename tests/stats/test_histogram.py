"""The bins' rule, counting into them, and the stated error of the quantiles."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from wexport.stats.histogram import BINS_PER_OCTAVE, NEAR_ZERO, SMALLEST_EDGE, Cells, Counter, Ordered, bin_of, bounds

FINITE = st.floats(allow_nan=False, allow_infinity=False)
TYPES = ["float32", "float64", "float16", "bfloat16", "float8_e4m3fn", "int8", "uint16", "bool"]


def edges_of(value: float) -> tuple[float, float]:
    """The edges of a value's bin by the rule in words: eight equal parts of each octave, one bin below 2**-126."""
    size = abs(value)
    if size == 0:
        return 0.0, 0.0
    if size < SMALLEST_EDGE:
        near, far = 0.0, SMALLEST_EDGE
    else:
        mantissa, exponent = math.frexp(size)  # size = mantissa * 2**exponent, mantissa in [0.5, 1)
        part = int((mantissa - 0.5) * 2 * BINS_PER_OCTAVE)
        near = math.ldexp(0.5 + part / (2 * BINS_PER_OCTAVE), exponent)
        try:
            far = math.ldexp(0.5 + (part + 1) / (2 * BINS_PER_OCTAVE), exponent)
        except OverflowError:
            far = np.finfo(np.float64).max
    return (near, far) if value > 0 else (-far, -near)


@given(FINITE)
@settings(deadline=None)
@example(NEAR_ZERO)
@example(-NEAR_ZERO)
@example(SMALLEST_EDGE)
@example(math.nextafter(SMALLEST_EDGE, 0))
@example(5e-324)
@example(-0.0)
@example(np.finfo(np.float64).max)
def test_a_value_lies_in_its_bin(value: float) -> None:
    lower, upper = bounds(bin_of(np.array([value])))
    assert (lower[0], upper[0]) == edges_of(value)


@given(hnp.arrays(np.float64, st.integers(0, 30), elements=FINITE))
@settings(deadline=None)
def test_keys_are_ordered_as_the_values_and_mirrored(values: np.ndarray) -> None:
    keys = bin_of(np.sort(values))
    assert (np.diff(keys) >= 0).all()
    np.testing.assert_array_equal(bin_of(-values), -bin_of(values))


def test_the_bins_tile_the_line() -> None:
    top = int(bin_of(np.array([np.finfo(np.float64).max]))[0])
    lower, upper = bounds(np.arange(-top, top + 1))
    np.testing.assert_array_equal(lower[1:], upper[:-1])
    assert (lower < upper).sum() == 2 * top  # all but the bin of zero
    assert {NEAR_ZERO, -NEAR_ZERO, 1.0} <= set(lower.tolist())


def test_the_bins_are_those_of_the_values_in_a_narrower_type() -> None:
    values = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    np.testing.assert_array_equal(bin_of(values), bin_of(values.astype(np.float64)))


def any_values(data: st.DataObject, name: str) -> np.ndarray:
    dtype = np.dtype(getattr(ml_dtypes, name, name))
    if dtype.kind == "b":
        return data.draw(hnp.arrays(dtype, st.integers(0, 60)))
    patterns = data.draw(hnp.arrays(np.dtype(f"u{dtype.itemsize}"), st.integers(0, 60)))
    return patterns.view(dtype)


def add(counter: Counter, values: np.ndarray) -> None:
    with np.errstate(invalid="ignore"):  # a NaN may be a signalling one
        wide = values.astype(np.float64)
        zero = wide == 0
        counter.add(values, int(zero.sum()), int(np.signbit(wide[zero]).sum()))


def counted(values: np.ndarray) -> Cells:
    counter = Counter(values.dtype, values.size)
    half = values.size // 2
    for part in (values[:half], values[half:]):
        add(counter, part)
    return counter.cells()


@given(st.data(), st.sampled_from(TYPES))
@settings(deadline=None)
def test_counting_is_binning_every_finite_value(data: st.DataObject, name: str) -> None:
    values = any_values(data, name)
    with np.errstate(invalid="ignore"):
        wide = values.astype(np.float64)
    finite = wide[np.isfinite(wide)]
    keys, count = np.unique(bin_of(finite), return_counts=True)
    for cells in (counted(values), Ordered(finite)):
        histogram = cells.histogram()
        np.testing.assert_array_equal(histogram.count, count)
        np.testing.assert_array_equal((histogram.lower, histogram.upper), bounds(keys))
        assert cells.near_zero_count() == (np.abs(finite) < NEAR_ZERO).sum()


@given(st.data(), st.sampled_from(TYPES))
@settings(deadline=None)
def test_quantiles_keep_their_bound(data: st.DataObject, name: str) -> None:
    values = any_values(data, name)
    with np.errstate(invalid="ignore"):
        wide = values.astype(np.float64)
    finite = np.sort(wide[np.isfinite(wide)])
    if not finite.size:
        return
    probability = data.draw(st.floats(0, 1))
    place = probability * (finite.size - 1)
    below, above = finite[math.floor(place)], finite[math.ceil(place)]
    expected = below * (1 - place % 1) + above * (place % 1)
    largest = max(abs(below), abs(above))
    rounding = 4e-16 * largest + 5e-324
    bound = 0.0 if values.dtype.itemsize <= 2 else max(2.0**-7 * largest, 2.0**-133)
    for cells, error in ((Ordered(finite), 0.0), (counted(values), bound)):
        (found,) = cells.quantiles([probability], finite[0], finite[-1])
        assert abs(found - expected) <= error + rounding
        assert finite[0] <= found <= finite[-1]


def test_quantiles_are_much_closer_than_their_bound_in_large_tensors() -> None:
    values = np.random.default_rng(1).standard_normal(300_000).astype(np.float32)
    probabilities = [0.01, 0.05, 0.25, 0.75, 0.95, 0.99]
    found = counted(values).quantiles(probabilities, float(values.min()), float(values.max()))
    np.testing.assert_allclose(found, np.quantile(values.astype(np.float64), probabilities), rtol=2.0**-10)


@given(st.data(), st.sampled_from(TYPES))
@settings(deadline=None)
def test_counters_merge(data: st.DataObject, name: str) -> None:
    first, second = any_values(data, name), any_values(data, name)
    counters = []
    for values in (first, second):
        counter = Counter(values.dtype, values.size)
        add(counter, values)
        counters.append(counter)
    counters[0].absorb(counters[1])
    merged, whole = counters[0].cells(), counted(np.concatenate((first, second)))
    for name in ("lower", "upper", "count"):
        np.testing.assert_array_equal(getattr(merged, name), getattr(whole, name))


@pytest.mark.parametrize("size", [1 << 18, (1 << 18) + 1, 600_000])
def test_more_values_than_are_counted_at_once(size: int) -> None:
    values = np.random.default_rng(2).standard_normal(size).astype(np.float32)
    np.testing.assert_array_equal(counted(values).histogram().count, Ordered(values).histogram().count)
