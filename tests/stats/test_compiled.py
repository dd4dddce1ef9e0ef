"""The compiled form against the NumPy form: the same tensors, measured in both."""

from __future__ import annotations

import dataclasses
import math
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.stats.test_stats import DTYPES, LARGE, broken, layouts, same, weights
from wexport.model.tensors import Layout, Tensor
from wexport.stats import TensorStatistics, compiled, form, measure

pytestmark = pytest.mark.skipif(not form.available(), reason="the package was built without a C compiler")

EXACT = (
    *(
        "value_count",
        "nan_count",
        "inf_count",
        "zero_count",
        "near_zero_count",
        "min",
        "max",
        "abs_max",
        "content_hash",
    ),
    *("unit_count", "zero_unit_count", "zero_input_count", "q01", "q05", "q25", "q50", "q75", "q95", "q99"),
)
NORMS = ("l1_norm", "abs_mean", "l2_norm")
SPECIAL = [0.0, -0.0, 1e-45, -1e-40, 2.0**-10, -(2.0**-10), 1.0, math.inf, -math.inf, math.nan]


class Numpy:
    """Within it, the NumPy form runs."""

    def __enter__(self) -> None:
        self._module, form.module = form.module, None

    def __exit__(self, *exc: object) -> None:
        form.module = self._module


def assert_alike(fast: Any, slow: Any) -> None:
    """The stated agreement of the two forms' results for one tensor or one gate."""
    for name in EXACT:
        if hasattr(slow, name):
            assert getattr(fast, name) == getattr(slow, name), name
    assert same(fast.histogram, slow.histogram)
    bound = compiled.DIFFERENCE
    if slow.mean is None:
        assert all(getattr(fast, name) is None for name in ("mean", "std", "skewness", "kurtosis", *NORMS))
        return
    for name in NORMS:
        assert getattr(fast, name) == pytest.approx(getattr(slow, name), rel=bound, abs=0), name
    assert abs(fast.mean - slow.mean) <= bound * slow.abs_mean
    # A spread of a few of float64's last digits is what rounding the mean leaves of it.
    digits = 1e-15 * slow.abs_max
    assert fast.std == pytest.approx(slow.std, rel=bound, abs=digits)
    for name in ("skewness", "kurtosis"):
        found, expected = getattr(fast, name), getattr(slow, name)
        assert (found is None) == (expected is None)
        if expected is not None and slow.std:
            scale = 1 + abs(slow.skewness) + abs(slow.kurtosis)
            assert found == pytest.approx(expected, rel=1e-9, abs=scale * (1e-9 + 10 * digits / slow.std)), name


def assert_same_figures(fast: TensorStatistics, slow: TensorStatistics) -> None:
    assert_alike(fast, slow)
    assert same(fast.sample, slow.sample)
    assert (fast.units is None, fast.grid is None) == (slow.units is None, slow.grid is None)
    floor = 1e-150 * (slow.abs_max or 0)
    if fast.units and slow.units:
        for name in ("abs_max", "max", "zero_fraction"):
            np.testing.assert_array_equal(getattr(fast.units, name), getattr(slow.units, name))
        np.testing.assert_allclose(fast.units.l2_norm, slow.units.l2_norm, rtol=compiled.DIFFERENCE, atol=floor)
    if fast.grid and slow.grid:
        np.testing.assert_allclose(fast.grid.rms, slow.grid.rms, rtol=compiled.DIFFERENCE, atol=floor)
    for one, other in zip(fast.gates or (), slow.gates or (), strict=True):
        assert one.gate == other.gate
        assert_alike(one, other)


def both(array: np.ndarray, layout: Layout | None = None, **options: Any) -> TensorStatistics:
    """Measures in both forms, compares, and returns the compiled form's."""
    fast = measure(Tensor.of_array("t", array, layout=layout), **options)
    with Numpy():
        slow = measure(Tensor.of_array("t", array, layout=layout), **options)
    assert_same_figures(fast, slow)
    return fast


def patterns(generator: np.random.Generator, dtype: np.dtype[Any], size: int, kind: str) -> np.ndarray:
    """So many values: any bits at all (NaN payloads, denormals), like weights, or mostly special ones."""
    if dtype.kind == "b":
        return generator.random(size) < 0.5
    if kind == "bits" or dtype.kind in "iu":
        return generator.integers(0, 256, size * dtype.itemsize, np.uint8).view(dtype)
    values = generator.standard_normal(size) * 0.05
    if kind == "special":
        with np.errstate(all="ignore"):
            values = np.where(generator.random(size) < 0.5, generator.choice(SPECIAL, size), values)
    with np.errstate(all="ignore"):
        return values.astype(dtype)


@given(
    dtype=st.sampled_from(DTYPES),
    size=st.one_of(st.integers(0, 40), st.integers(900, 2_200), st.sampled_from([65_536, 65_537, 70_001])),
    kind=st.sampled_from(["bits", "weights", "special"]),
    seed=st.integers(0, 99),
)
@settings(max_examples=150, deadline=None)
def test_any_bits_of_any_type_and_length(dtype: str, size: int, kind: str, seed: int) -> None:
    named = np.dtype(getattr(ml_dtypes, dtype, dtype))
    both(patterns(np.random.default_rng(seed), named, size, kind))


@given(
    case=layouts(),
    dtype=st.sampled_from(DTYPES),
    kind=st.sampled_from(["weights", "special"]),
    sample=st.integers(1, 50),
)
@settings(max_examples=200, deadline=None)
def test_any_layout(case: tuple[tuple[int, ...], Layout], dtype: str, kind: str, sample: int) -> None:
    shape, layout = case
    named = np.dtype(getattr(ml_dtypes, dtype, dtype))
    both(patterns(np.random.default_rng(1), named, math.prod(shape), kind).reshape(shape), layout, sample_size=sample)


@pytest.mark.parametrize("lost", [False, True], ids=["finite", "with NaN"])
@pytest.mark.parametrize("name", LARGE)
def test_tensors_of_many_blocks(name: str, lost: bool) -> None:
    shape, layout = LARGE[name]
    array = weights(shape)
    fast = both(broken(array) if lost else array, layout)
    assert fast.value_count == array.size


@given(dtype=st.sampled_from(["float32", "float64", "float16", "bfloat16", "int32"]), shift=st.integers(1, 7))
@settings(max_examples=30, deadline=None)
def test_values_at_any_address(dtype: str, shift: int) -> None:
    named = np.dtype(getattr(ml_dtypes, dtype, dtype))
    values = patterns(np.random.default_rng(shift), named, 3_000, "weights")
    room = np.zeros(values.nbytes + 8, np.uint8)
    room[shift : shift + values.nbytes] = values.view(np.uint8)
    unaligned = room[shift : shift + values.nbytes].view(named)
    from wexport.stats import Pass

    passing = Pass(Tensor.of_array("t", values))
    passing.add(unaligned)
    assert same(passing.result(), measure(Tensor.of_array("t", values)))


@given(exponent=st.integers(-1070, 1020), sizes=st.lists(st.floats(0.5, 1), min_size=1, max_size=50))
@settings(max_examples=100, deadline=None)
def test_float64_near_its_limits(exponent: int, sizes: list[float]) -> None:
    both(np.ldexp(np.array(sizes), exponent))


def test_blocks_of_both_forms_add_up() -> None:
    """One block is so large that it has to be scaled, the others are ordinary."""
    array = weights((3 * (1 << 18) // 256, 256), dtype="float64")
    array[1_500] *= 2.0**300
    both(array, Layout(unit_axes=(1,), input_axes=(0,)))


@given(cuts=st.lists(st.integers(1, 90_000), min_size=1, max_size=6), name=st.sampled_from(sorted(LARGE)))
@settings(max_examples=25, deadline=None)
def test_the_bits_do_not_depend_on_chunks(cuts: list[int], name: str) -> None:
    shape, layout = LARGE[name]
    array = weights(shape)
    flat = array.reshape(-1)

    def chunks(limit: int) -> Iterator[np.ndarray]:
        start = 0
        for cut in (*cuts, *[limit // 4] * math.ceil(flat.size * 4 / limit)):
            yield flat[start : start + cut]
            start += cut

    whole = measure(Tensor.of_array("t", array, layout=layout))
    cut = Tensor(name="t", shape=shape, dtype="float32", chunks=chunks, layout=layout)
    assert same(measure(cut), whole)


def test_the_bits_do_not_depend_on_threads_beside_it() -> None:
    array = weights((700, 513))
    layout = Layout(unit_axes=(1,), input_axes=(0,))
    alone = measure(Tensor.of_array("t", array, layout=layout))
    found: list[TensorStatistics] = []
    threads = [
        threading.Thread(target=lambda: found.append(measure(Tensor.of_array("t", array, layout=layout))))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(same(each, alone) for each in found)


@pytest.mark.parametrize(
    "change",
    [
        {"start": 1},
        {"start": -1},
        {"type": 11},
        {"table": np.zeros(9, np.int64)},
        {"kept": np.zeros(3, np.float32)},
        {"units": (np.array([4, 0, 5, 1]), *[np.zeros(4)] * 5)},
        {"units": (np.array([4, 0, 4, 1]), *[np.zeros(5)] * 5)},
        {"units": (np.array([4, -1, 5, 1]), *[np.zeros(5)] * 5)},
        {"inputs": (np.array([4, 1, 5, 0]), np.zeros(3, np.bool_))},
        {"grid": (np.array([5, 0, 4, 4, 5, 0, 5, 5, 1, 2, 4, 1, 5, 0, 4, 0, 5, 0]), None, *[np.zeros(19)] * 3, None)},
        {"grid": (np.array([5, 0, 4, 4, 5, 1, 5, 5, 1, 2, 4, 1, 5, 0, 4, 0, 5, 0]), None, *[np.zeros(20)] * 3, None)},
        {"grid": (np.array([5, 0, 4, 4, 5]), None, *[np.zeros(20)] * 3, None)},
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, Any]) -> None:
    """Whatever is handed to it, it reads and writes nothing but that."""
    from wexport.stats import _kernel

    arguments = {
        **{"type": 0, "block": np.ones(20, np.float32), "start": 0, "bytes": None, "table": None, "kept": None},
        "units": (np.array([4, 0, 5, 1]), *[np.zeros(5) for _ in range(5)]),
        "inputs": (np.array([4, 1, 5, 0]), np.zeros(4, np.bool_)),
        "grid": (
            np.array([5, 0, 4, 4, 5, 0, 5, 5, 1, 2, 4, 1, 5, 0, 4, 0, 5, 0]),
            None,
            *[np.zeros(20) for _ in range(3)],
            None,
        ),
    }
    assert _kernel.take(*arguments.values()) is not None
    with pytest.raises(ValueError, match=r"."):
        _kernel.take(*(arguments | change).values())


def test_which_form_runs_is_told_and_can_be_chosen() -> None:
    for value, told in (("", "compiled form"), ("numpy", "NumPy form, as WEXPORT_KERNEL says")):
        environment = {**os.environ, "WEXPORT_KERNEL": value}
        command = [sys.executable, "-m", "wexport", "--version"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[1] == f"statistics: {told}"


def test_every_field_is_compared() -> None:
    others = {"mean", "std", "skewness", "kurtosis", "histogram", "units", "sample", "grid", "gates"}
    assert {each.name for each in dataclasses.fields(TensorStatistics)} == {*EXACT, *NORMS, *others}
