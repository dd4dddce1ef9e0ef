"""The one thing that all results share: each is a table, and shows itself as a page."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wexport.errors import WexportError

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Part:
    """A table of a page. title: above it. told: sentences above it. left_out: columns that the page does not show."""

    table: pa.Table
    title: str = ""
    told: Sequence[str] = ()
    left_out: Sequence[str] = ()


class Tabular:
    """A result that is a table: `to_arrow()`, `to_pandas()`, `to_polars()`, and a page in a notebook.

    It stands for its table wherever Arrow's C stream is taken: `polars.DataFrame(x)`, `pyarrow.table(x)`, and
    `FROM x` in DuckDB. (What is a list too, such as findings, is taken as a list by some; give them `x.to_arrow()`.)
    """

    __slots__ = ()

    def to_arrow(self) -> pa.Table:
        """The result as a `pyarrow.Table`."""
        raise NotImplementedError

    def to_pandas(self) -> pd.DataFrame:
        """The result as a `pandas.DataFrame`. Raises WexportError where pandas is missing."""
        _needed("pandas")
        return self.to_arrow().to_pandas()

    def to_polars(self) -> pl.DataFrame:
        """The result as a `polars.DataFrame`. Raises WexportError where polars is missing."""
        found = _needed("polars").from_arrow(self.to_arrow())
        return typing.cast("pl.DataFrame", found)

    def _parts(self) -> Iterable[Part]:
        """What the page shows, one table below the other."""
        return [Part(self.to_arrow())]

    def _repr_html_(self) -> str:
        from wexport.answers.html import page

        return page(self._parts())

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self.to_arrow().__arrow_c_stream__(requested_schema)


class Answer(Tabular):
    """The answer to a question: a `pyarrow.Table` with what results have beside.

    What a `pyarrow.Table` has it has too: `num_rows`, `column_names`, `answer["model"]`, `to_pylist()`, `select(...)`.
    Functions of pyarrow itself, such as `pyarrow.parquet.write_table`, take `answer.to_arrow()`.
    """

    __slots__ = ("_table",)

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def to_arrow(self) -> pa.Table:
        """The answer as a `pyarrow.Table`."""
        return self._table

    def __getattr__(self, name: str) -> Any:
        if name == "_table":  # it is being copied, and has none yet
            raise AttributeError(name)
        return getattr(self._table, name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *dir(self._table)})

    def __getitem__(self, key: Any) -> Any:
        return self._table[key]

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def equals(self, other: Answer | pa.Table, check_metadata: bool = False) -> bool:
        """Whether another answer or table is the same."""
        return bool(self._table.equals(other._table if isinstance(other, Answer) else other, check_metadata))

    def __eq__(self, other: object) -> bool:
        return bool(self._table == (other._table if isinstance(other, Answer) else other))

    __hash__ = None  # type: ignore[assignment]  # as of a pyarrow.Table

    def __reduce__(self) -> tuple[Any, ...]:
        return Answer, (self._table,)

    def __repr__(self) -> str:
        from wexport.answers.plain import lines

        return lines(self._table)


_ARROW: dict[Any, str] = {str: "string", int: "int64", float: "float64", bool: "bool_", Path: "string"}
"""Python's types, and the names that pyarrow has for them."""


def table_of(kind: type, items: Iterable[Any]) -> pa.Table:
    """Objects of a dataclass as a table: a row each, a column for each field of plain values or lists of them."""
    import pyarrow as pa

    hints = typing.get_type_hints(kind)
    columns = {each.name: found for each in fields(kind) if (found := _arrow_type(hints[each.name])) is not None}
    rows = list(items)
    return pa.table(
        {
            name: pa.array([_plain(getattr(row, name)) for row in rows], kind_of)
            for name, kind_of in columns.items()
        }
    )  # fmt: skip


def _arrow_type(hint: Any) -> Any:
    """The type of a field as Arrow's; None for what is no plain value."""
    import pyarrow as pa

    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        (hint, *others) = [each for each in typing.get_args(hint) if each is not type(None)]
        if others:
            return None
    if typing.get_origin(hint) in (tuple, list):
        inner = _ARROW.get(typing.get_args(hint)[0])
        return None if inner is None else pa.list_(getattr(pa, inner)())
    found = _ARROW.get(hint)
    return None if found is None else getattr(pa, found)()


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def _needed(package: str) -> Any:
    import importlib

    try:
        return importlib.import_module(package)
    except ModuleNotFoundError:
        raise WexportError(f"{package} is not installed", hint=f"pip install {package}") from None
