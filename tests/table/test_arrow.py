"""Rows as Arrow arrays: the same as pyarrow makes of the same values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from wexport.table.arrow import to_array
from wexport.table.schema import COLUMNS

SCALARS: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
    (pa.int32(), st.integers(-(2**31), 2**31 - 1)),
    (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    (pa.float64(), st.floats(allow_nan=False)),
    (pa.string(), st.text(st.characters(exclude_categories=("Cs",)))),
    (pa.bool_(), st.booleans()),
]


def types(scalar: tuple[pa.DataType, st.SearchStrategy[Any]]) -> st.SearchStrategy[tuple[pa.DataType, Any]]:
    kind, values = scalar
    number = not (pa.types.is_string(kind) or pa.types.is_boolean(kind))
    made = [st.just((kind, st.none() | values))]
    if number:
        made.append(st.just((pa.list_(kind), st.none() | st.lists(values))))
    record = pa.struct([("a", kind), ("b", pa.int64())])
    records = st.fixed_dictionaries({"a": st.none() | values, "b": st.none() | st.integers(0, 9)})
    made.append(st.just((record, st.none() | records)))
    made.append(st.just((pa.list_(record), st.none() | st.lists(records))))
    return st.one_of(made)


@given(st.sampled_from(SCALARS).flatmap(types).flatmap(lambda pair: st.tuples(st.just(pair[0]), st.lists(pair[1]))))
def test_like_pyarrow(case: tuple[pa.DataType, list[Any]]) -> None:
    kind, values = case
    made = to_array(values, kind)
    made.validate(full=True)
    assert made.to_pylist() == pa.array(values, kind).to_pylist()


@given(st.lists(st.none() | st.lists(st.floats(width=32, allow_nan=False))))
def test_arrays_of_numpy_are_lists(values: list[list[float] | None]) -> None:
    arrays = [None if value is None else np.array(value, "f8") for value in values]
    assert to_array(arrays, pa.list_(pa.float64())).to_pylist() == values


@given(
    st.lists(
        st.none() | st.dictionaries(st.text(st.characters(exclude_categories=("Cs",))), st.floats(allow_nan=False))
    )
)
def test_maps_are_like_pyarrow(values: list[dict[str, float] | None]) -> None:
    kind = pa.map_(pa.string(), pa.float64())
    made = to_array(values, kind)
    made.validate(full=True)
    expected = pa.array([None if value is None else list(value.items()) for value in values], kind)
    assert made.equals(expected)


def test_nan_is_null_in_figures_and_a_value_in_samples() -> None:
    nan = np.array([1.0, np.nan])
    assert to_array([np.array([1.0, np.nan, 1e300])], pa.list_(pa.float32())).to_pylist() == [[1.0, None, None]]
    (kept,) = to_array([nan], pa.list_(pa.float64())).to_pylist()
    assert np.isnan(kept[1])


def test_a_mapping_of_arrays_is_a_list_of_structs() -> None:
    kind = next(column.type for column in COLUMNS if column.name == "units")
    units = {name: np.array([1.0, np.nan]) for name in ("l2_norm", "abs_max", "max", "zero_fraction")}
    made = to_array([units, None], kind)
    made.validate(full=True)
    row = {"l2_norm": 1.0, "abs_max": 1.0, "max": 1.0, "zero_fraction": 1.0}
    assert made.to_pylist() == [[row, dict.fromkeys(row)], None]
