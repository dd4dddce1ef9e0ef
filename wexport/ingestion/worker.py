"""What a child process does with one file: choose a reader, open it, and turn each tensor into a row."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from wexport import stats
from wexport.errors import ReadError, WexportError
from wexport.files.source import Source
from wexport.ingestion.messages import Failed, FileOpened, FileTask, RowBatch
from wexport.model.feeding import Feed, as_config, consumers
from wexport.model.tensors import Model, Skipped, Tensor
from wexport.plugins import host as plugin_host
from wexport.plugins.guard import ForeignError, foreign_code
from wexport.plugins.messages import PluginSummary, Setup
from wexport.plugins.statistics import Extra
from wexport.processes.child import breadcrumb
from wexport.stats.results import FRACTIONS
from wexport.table.text import printable

PRELOAD = plugin_host.SHIPPED
"""What a child needs and a parent may not; see `forkserver.fork`."""
MAX_CONFIG_BYTES = 16 << 10
BATCH_BYTES = 256 << 10


class FileWorker:
    """What one child process has loaded, and does with each file."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._plugins = plugin_host.load(setup.plugins, dict(setup.without))
        self._extra = Extra(self._plugins.statistics)

    def plugins(self) -> tuple[PluginSummary, ...]:
        """The plugins there are."""
        return tuple(info.summary() for info in self._plugins.infos)

    def measure(self, task: FileTask) -> Iterator[FileOpened | RowBatch | Failed]:
        """Everything that the table holds of one file, in batches of bounded size."""
        breadcrumb()
        try:
            with Source(task.path, self._setup.optimizer, self._setup.external_data, task.part) as source:
                yield from self._measure(task, source)
        except WexportError as error:
            yield Failed(str(error), error.hint)

    def look_at(self, task: FileTask) -> Iterator[FileOpened | Failed]:
        """What a file is and how many tensors it holds, without a look at their values."""
        for said in self.measure(task):
            assert not isinstance(said, RowBatch)
            yield said
            return

    def _measure(self, task: FileTask, source: Source) -> Iterator[FileOpened | RowBatch | Failed]:
        try:
            reader = self._plugins.choose(source, self._setup.reader)
        except ReadError as error:
            known = tuple(plugin_host.suffixes(self._plugins.readers))
            foreign = not task.named and not task.path.name.lower().endswith(known)
            yield Failed(str(error), error.hint, foreign)
            return
        breadcrumb("", f"reader {reader.name} read it")
        opened = self._plugins.open(source, reader)
        model, tensors = opened.model, opened.tensors
        left_out = [f"plugin {name} is left out: {reason}" for name, reason in self._setup.without]
        said = (*left_out, *self._plugins.notes)
        yield FileOpened(reader.name, model.format, len(tensors), tuple(model.skipped), said, _aliases(model))
        rows: list[dict[str, Any]] = []
        problems: list[Skipped] = []
        size, whole = 0, self._setup.detail == "full"
        feeds = feeds_of(model, tensors)
        for index in _share(tensors, task):
            tensor = tensors[index]
            try:
                with foreign_code(passing=(ReadError, MemoryError)):
                    row = row_of(
                        tensor, opened.slots[index], index, model, detail=whole, extra=self._extra, feeds=feeds
                    )
                    if self._setup.spectral:
                        add_spectral(row, tensor)
            except (ReadError, ForeignError) as error:  # the others are still worth having
                problems.append(Skipped("unreadable tensor", tensor.name, True, str(error)))
                continue
            rows.append(row)
            size += weight_of(row)
            if size >= BATCH_BYTES:
                yield RowBatch(len(rows), by_column(rows))
                rows, size = [], 0
        yield RowBatch(len(rows), by_column(rows), tuple(problems), tuple(self._extra.notes))
        self._extra.notes.clear()


def _aliases(model: Model) -> tuple[tuple[str, str], ...]:
    return tuple((printable(name), printable(first)) for name, first in model.aliases.items())


def _share(tensors: Sequence[Tensor], task: FileTask) -> list[int]:
    """Which tensors this share measures: a consecutive stretch of about the same number of values in each share."""
    total = sum(tensor.size for tensor in tensors)
    before = 0
    mine = []
    for index, tensor in enumerate(tensors):
        if min(task.shares - 1, (2 * before + tensor.size) * task.shares // max(1, 2 * total)) == task.share:
            mine.append(index)
        before += tensor.size
    return mine


def feeds_of(model: Model, tensors: Sequence[Tensor]) -> dict[str, list[Feed]]:
    """By layer who takes what it gives, where the file tells; see `wexport.model.feeding`."""
    return {} if model.graph is None else consumers(model.graph, {each.layer for each in tensors if each.layer})


def row_of(
    tensor: Tensor,
    slot: str,
    index: int,
    model: Model,
    *,
    detail: bool = True,
    extra: Extra | None = None,
    feeds: Mapping[str, Sequence[Feed]] | None = None,
) -> dict[str, Any]:
    """What the table holds of a tensor, but for what the caller knows: model, source, run, step.

    detail: whether sample, grid and units are wanted. extra: plugins' statistics; they need the values, so a tensor
    whose figures are made already has none. feeds: see `feeds_of`.
    """
    figures = tensor.statistics or stats.measure(tensor, detail=detail)
    layout = tensor.layout
    row: dict[str, Any] = {
        "slot": printable(slot),
        "shape": tensor.shape,
        "canonical_shape": layout.canonical_shape(tensor.shape) if layout else tensor.shape,
        "dtype": tensor.dtype,
        "role": tensor.role,
        "direction": tensor.direction,
        "gate": tensor.gate,
        "layer": None if tensor.layer is None else printable(tensor.layer),
        "layer_class": None if tensor.layer_class is None else printable(tensor.layer_class),
        "layer_index": tensor.layer_index,
        "tensor_index": index,
        "trainable": tensor.trainable,
        "layer_config": _config(tensor.layer_config, (feeds or {}).get(tensor.layer or "")),
        "kind": tensor.kind,
        "tensor": printable(tensor.name),
        "format": model.format,
        "framework": _or_none(model.framework),
        "framework_version": _or_none(model.framework_version),
        "backend": _or_none(model.backend),
        "unit_axes": layout.unit_axes if layout and layout.unit_axes else None,
        **{name: getattr(figures, name) for name in figures.__dataclass_fields__},
    }
    row["extra"] = extra.of(tensor) if extra is not None and tensor.statistics is None else None
    row["gates"] = None if figures.gates is None else [_plain(gate) for gate in figures.gates]
    for name in ("histogram", "sample", "grid", "units"):
        value = getattr(figures, name)
        row[name] = None if value is None else _plain(value)
    for fraction in FRACTIONS:
        row[fraction.name] = row[fraction.of] / figures.value_count if figures.value_count else None
    return row


def add_spectral(row: dict[str, Any], tensor: Tensor) -> None:
    """The spectral statistics of a tensor into the column `extra`; its values are read once more."""
    from wexport.stats.spectral import spectral_of

    found = spectral_of(tensor) if tensor.statistics is None else None
    if found is not None:
        row["extra"] = {**(row["extra"] or {}), **found}


def by_column(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Rows, which all name the same columns, by column."""
    return {name: [row[name] for row in rows] for name in rows[0]} if rows else {}


def _plain(value: Any) -> dict[str, Any]:
    """A dataclass as a mapping, one level deep where it holds arrays."""
    return {
        name: _plain(item) if hasattr(item := getattr(value, name), "__dataclass_fields__") else item
        for name in value.__dataclass_fields__
    }


def _config(config: Mapping[str, Any] | None, feeds: Sequence[Feed] | None) -> str | None:
    if config is None:
        return None
    whole = config if feeds is None else {**config, "feeds": as_config(feeds)}
    texts = (json.dumps(each, sort_keys=True, default=str) for each in (whole, config))
    return next((text for text in texts if len(text) <= MAX_CONFIG_BYTES), None)


def _or_none(text: str | None) -> str | None:
    return None if text is None else printable(text)[:200]


def weight_of(row: Mapping[str, Any]) -> int:
    """Roughly what a row takes on the wire."""
    total = 2_000
    for name in ("histogram", "sample", "grid", "units"):
        total += sum(getattr(value, "nbytes", 0) for value in (row[name] or {}).values())
    total += 50 * len(row["extra"] or ())
    for gate in row["gates"] or ():
        total += 500 + sum(getattr(value, "nbytes", 0) for value in gate["histogram"].values())
    return total
