"""The table on disk: written whole or not at all, added to, and a folder of parts.

A table is written to a temporary file beside its target, checked, and renamed, so that whatever happens the target
is the old table or the new one.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from wexport.errors import TableError
from wexport.files.atomic import Partial, is_stream
from wexport.table import stored
from wexport.table.arrow import to_table
from wexport.table.schema import COLUMNS, arrow_schema

ROW_GROUP_ROWS = 8_000
ROW_GROUP_BYTES = 16 << 20
"""A row group is closed at this size too: lists make rows heavy, and a group must fit in memory to be written."""


def _leaves(name: str, kind: pa.DataType) -> Iterator[tuple[str, pa.DataType]]:
    """The Parquet leaf columns of a column, as `column_encoding` wants them named."""
    if pa.types.is_struct(kind):
        for field in kind:
            yield from _leaves(f"{name}.{field.name}", field.type)
    elif pa.types.is_list(kind):
        yield from _leaves(f"{name}.list.element", kind.value_type)
    elif pa.types.is_map(kind):
        yield from _leaves(f"{name}.key_value.key", kind.key_type)
        yield from _leaves(f"{name}.key_value.value", kind.item_type)
    else:
        yield name, kind


def _encodings() -> tuple[list[str], dict[str, str]]:
    """Leaves with a dictionary (words, and the bins' edges, which repeat), and the encoding of all others."""
    words, encoded = [], {}
    for column in COLUMNS:
        for leaf, kind in _leaves(column.name, column.type):
            if pa.types.is_string(kind) or ".lower." in leaf or ".upper." in leaf:
                words.append(leaf)
            elif pa.types.is_floating(kind):
                encoded[leaf] = "BYTE_STREAM_SPLIT"
            elif pa.types.is_integer(kind):
                encoded[leaf] = "DELTA_BINARY_PACKED"
    return words, encoded


class TableWriter:
    """Writes rows to `target`; nothing is seen there until `commit`.

    Used as a context manager: leaving it without `commit` removes the temporary file.
    """

    def __init__(self, target: Path, metadata: Mapping[str, Any]) -> None:
        self.target = target
        self._schema = arrow_schema(metadata)
        self._forget()
        self._taken_back: set[str] = set()
        self._sources: dict[str, Any] = {}
        self._open()

    def _open(self) -> None:
        """Begin a temporary file."""
        if is_stream(self.target):
            raise TableError(
                f"{self.target}: is not a file, and a table is not written into a pipe or device",
                hint="name a file; `wexport query ... --format parquet` writes to standard output",
            )
        try:
            self._partial = Partial(self.target)
        except OSError as error:
            raise TableError(
                f"{self.target}: cannot be written: {error.strerror}",
                hint="name a folder that exists and may be written to",
            ) from None
        self._writer: pq.ParquetWriter | None = _parquet_writer(self._partial.file, self._schema)
        self.rows = 0

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(self, *exc: object) -> None:
        self.discard()

    def add(self, columns: Mapping[str, Sequence[Any]], count: int, size: int) -> None:
        """Add `count` rows, given by column, of about `size` bytes; a column that is not named is NULL."""
        for name, pending in self._pending.items():
            pending.extend(columns.get(name, [None] * count))
        self._pending_rows += count
        self._pending_bytes += size
        if self._pending_rows >= ROW_GROUP_ROWS or self._pending_bytes >= ROW_GROUP_BYTES:
            self._flush()

    def add_table(self, table: pa.Table) -> None:
        """Add rows of another table of this schema."""
        if table.num_rows:
            self.settle()
            self._write(table.replace_schema_metadata(self._schema.metadata).cast(self._schema))

    def remember(self, model: str, stamp: Sequence[Any]) -> None:
        """Keep the stamp of the files that a model was read from, see `wexport.files.stamps`."""
        self._sources[model] = stamp

    def take_back(self, model: str) -> None:
        """Leave out a model some of whose rows were added before it failed."""
        self._taken_back.add(model)

    def commit(self) -> None:
        """Make the table appear at its target, complete and on disk."""
        assert self._writer is not None
        try:
            self.settle()
            kept = json.dumps(self._sources, sort_keys=True)
            self._writer.add_key_value_metadata({stored.SOURCES_KEY: kept})
            self._writer.close()
            self._writer = None
            self._partial.file.flush()
            with self._partial.path.open("rb") as file:  # Arrow takes no names that are not UTF-8
                written = pq.read_metadata(file).num_rows
            if written != self.rows:
                raise TableError(f"{self.target}: {written} rows on disk where {self.rows} were written")
            self._partial.put_in_place(durable=True)
        except OSError as error:
            raise _disk_error(self.target, error) from None
        _sync_folder(self._partial.target.parent)

    def _flush(self) -> None:
        if self._pending_rows:
            table = to_table(self._pending, self._schema)
            self._forget()  # before writing: the rows need not be in memory twice
            self._write(table)

    def _forget(self) -> None:
        self._pending: dict[str, list[Any]] = {name: [] for name in self._schema.names}
        self._pending_rows = self._pending_bytes = 0

    def _write(self, table: pa.Table) -> None:
        assert self._writer is not None
        if not table.num_rows:
            return
        try:
            self._writer.write_table(table, row_group_size=table.num_rows)
        except OSError as error:
            raise _disk_error(self.target, error) from None
        self.rows += table.num_rows

    def settle(self) -> None:
        """Make the temporary file hold all that was added but what was taken back, for which it is written anew."""
        self._flush()
        if not self._taken_back:
            return
        assert self._writer is not None
        self._writer.close()
        before = self._partial
        before.file.flush()
        try:
            self._open()
            for group in stored.row_groups(before.path):
                self._write(stored.without_models(group, self._taken_back))
        finally:
            before.discard()
        self._taken_back = set()

    def discard(self) -> None:
        """Remove the temporary file, if `commit` has not made it the table."""
        if self._writer is not None:
            # Closing writes a footer, which may fail as the write did; the file is removed either way.
            with contextlib.suppress(OSError, pa.ArrowException):
                self._writer.close()
            self._writer = None
        self._partial.discard()


def _parquet_writer(file: IO[bytes], schema: pa.Schema) -> pq.ParquetWriter:
    words, encoded = _encodings()
    return pq.ParquetWriter(
        file,
        schema,
        compression="zstd",
        use_dictionary=words,
        column_encoding=encoded,
        write_statistics=[column.name for column in COLUMNS if not pa.types.is_nested(column.type)],
        store_schema=True,
        write_page_checksum=True,
    )


def _disk_error(target: Path, error: OSError) -> TableError:
    full = error.errno == errno.ENOSPC or "No space left" in str(error)
    return TableError(
        f"{target}: writing failed: {'the disk is full' if full else error.strerror or error}",
        hint="what stood there before is untouched; make room or name another place",
    )


def _sync_folder(folder: Path) -> None:
    """Make a rename last through a power cut; where folders cannot be synced (Windows) there is nothing to do."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


# -- reading what is there --------------------------------------------------------------------------------------------
