"""What a child process does with two files: open both, find the pairs, and compare their values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import xxhash

from wexport.analysis import fingerprints
from wexport.analysis.matching import Match, Place, match
from wexport.differences import alignment, notes, values
from wexport.differences.results import (
    IDENTICAL,
    NOT_COMPARED,
    ONLY_A,
    ONLY_B,
    OTHER_SHAPE,
    At,
    Change,
    FileSide,
    Opened,
    Task,
    TensorDiff,
    TensorSide,
)
from wexport.errors import PluginError, ReadError, WexportError
from wexport.files.source import Source
from wexport.ingestion.messages import Failed
from wexport.model.parts import part_of
from wexport.model.slots import slot_names
from wexport.model.tensors import Model, Tensor
from wexport.plugins import host as plugin_host
from wexport.plugins.messages import Setup
from wexport.stats import SAMPLE_SIZE
from wexport.stats.sample import SampleValues
from wexport.table.text import printable

PRELOAD = plugin_host.SHIPPED
"""What a child needs and a parent may not; see `forkserver.fork`."""

HASH_BYTES = 1 << 20

_setup = Setup()
_plugins = plugin_host.Plugins()


def prepare(setup: Setup) -> None:
    """Called once in each child."""
    global _setup, _plugins  # a child process is single-threaded and lives for one run
    _setup, _plugins = setup, plugin_host.load(setup.plugins, dict(setup.without))


def compare_files(task: Task) -> Iterator[At | Opened | TensorDiff | Failed]:
    """The two files as they open, then every tensor of either."""
    try:
        with _source(task.a, task.part_a) as one, _source(task.b, task.part_b) as other:
            yield At(f"opening {task.a}")
            a = _opened(one)
            yield At(f"opening {task.b}")
            b = _opened(other)
            yield Opened(a.said, b.said, notes.of_files(a.said, b.said))
            yield from _compared(a, b, task)
    except WexportError as error:
        yield Failed(str(error), error.hint)


def _source(path: Path, part: str | None) -> Source:
    return Source(path, _setup.optimizer, _setup.external_data, part)


# -- one file ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _File:
    """An open file: its tensors, and what matching and people see of them."""

    said: FileSide
    tensors: list[Tensor]
    places: list[Place]
    sides: list[TensorSide]


def _opened(source: Source) -> _File:
    reader = _plugins.choose(source, _setup.reader)
    try:
        model = reader.open(source)
    except (WexportError, MemoryError, GeneratorExit, KeyboardInterrupt):
        raise
    except BaseException as error:  # a reader may raise anything; it is told as this file's failure
        raise ReadError(
            f"{source.path}: reader {reader.name} cannot read it: {type(error).__name__}: {error}",
            hint="the file may be damaged; if it is not, this is a fault of the reader",
        ) from None
    if not isinstance(model, Model):
        raise PluginError(
            f"{source.path}: reader {reader.name} returned {type(model).__name__} where a wexport.Model is due"
        )
    if source.part is not None:
        model = part_of(model, source.part, source.path)
    tensors = _plugins.completed(model)
    sides = [_side(tensor, slot) for tensor, slot in zip(tensors, slot_names(tensors), strict=True)]
    places = [
        Place(side.slot, side.kind, side.role, side.canonical_shape, index, ordered=tensor.layer_index is not None)
        for index, (side, tensor) in enumerate(zip(sides, tensors, strict=True))
    ]
    said = FileSide(
        path=source.path,
        reader=reader.name,
        format=model.format,
        framework=_printable(model.framework),
        framework_version=_printable(model.framework_version),
        backend=_printable(model.backend),
        tensor_count=len(tensors),
        value_count=sum(tensor.size for tensor in tensors),
        problems=tuple(skipped for skipped in model.skipped if skipped.problem),
        notes=tuple(_plugins.notes),
    )
    return _File(said, tensors, places, sides)


def _side(tensor: Tensor, slot: str) -> TensorSide:
    role = tensor.role if tensor.role != "unknown" else ""
    words = [word for word in (tensor.direction, role, tensor.gate) if word]
    return TensorSide(
        name=printable("/".join([tensor.layer, *words]) if tensor.layer and role else tensor.name),
        tensor=printable(tensor.name),
        slot=printable(slot),
        kind=tensor.kind,
        role=tensor.role,
        layer=_printable(tensor.layer),
        layer_class=_printable(tensor.layer_class),
        shape=tensor.shape,
        canonical_shape=tensor.layout.canonical_shape(tensor.shape) if tensor.layout else tensor.shape,
        dtype=tensor.dtype,
        value_count=tensor.size,
    )


def _printable(text: str | None) -> str | None:
    return None if text is None else printable(text)[:200]


# -- which is which ----------------------------------------------------------------------------------------------------


def _unsure(a: _File, b: _File, found: list[Match]) -> list[tuple[_File, int]]:
    """Tensors whose contents would tell: slots do not pair them, and the other file has more than the one like them."""
    by_slot = [pair for pair in found if pair.method == "slot"]
    rest = [
        (a, set(range(len(a.tensors))) - {pair.left for pair in by_slot}),
        (b, set(range(len(b.tensors))) - {pair.right for pair in by_slot}),
    ]
    likes = [Counter(_like(file.tensors[number]) for number in numbers) for file, numbers in rest]
    sure = {
        _like(a.tensors[pair.left])
        for pair in found
        if likes[0][_like(a.tensors[pair.left])] == likes[1][_like(b.tensors[pair.right])] == 1
    }
    asked = (likes[0].keys() & likes[1].keys()) - sure
    return [
        (file, number) for file, numbers in rest for number in sorted(numbers) if _like(file.tensors[number]) in asked
    ]


def _like(tensor: Tensor) -> tuple[bool, int, str]:
    """What tensors of equal content have in common."""
    return tensor.kind == "optimizer", tensor.size, tensor.value_dtype or tensor.dtype


def _with_content(place: Place, tensor: Tensor) -> Place:
    """The place with a hash of the values as stored, and of those at fixed canonical places.

    Neither for what cannot be read, nor for a constant, which tells nothing.
    """
    hasher = xxhash.xxh3_128(f"{tensor.value_dtype or tensor.dtype} {tensor.shape}\n".encode())
    sample = SampleValues(tensor, SAMPLE_SIZE)
    first, constant = None, True
    try:
        for chunk in alignment.chunks(tensor):
            first = chunk[:1].copy() if first is None else first
            constant = constant and bool((chunk == first).all())
            hasher.update(chunk.view("u1").data)
            sample.add(chunk)
    except (WexportError, OSError, ValueError):
        return place  # it is told when the values are compared
    if constant:
        return place
    fingerprint = fingerprints.of_sample(place.canonical_shape, sample.figures().value)
    return replace(place, content=hasher.hexdigest(), sample=fingerprint)


# -- pair by pair ------------------------------------------------------------------------------------------------------


def _compared(a: _File, b: _File, task: Task) -> Iterator[At | TensorDiff]:
    pairs = match(a.places, b.places)
    if unsure := _unsure(a, b, pairs):
        for file, number in unsure:
            yield At(f"reading {file.sides[number].name} of {file.said.path}")
            file.places[number] = _with_content(file.places[number], file.tensors[number])
        pairs = match(a.places, b.places)
    for pair in pairs:
        one, other = a.sides[pair.left], b.sides[pair.right]
        yield At(f"comparing {one.name}")
        yield _pair(a.tensors[pair.left], b.tensors[pair.right], one, other, pair.method, task)
    yield from _unpaired(a, b, pairs)


def _pair(one: Tensor, other: Tensor, a: TensorSide, b: TensorSide, method: str, task: Task) -> TensorDiff:
    try:
        change = _change(one, other, task)
    except MemoryError:
        raise
    except Exception as error:  # a reader may raise anything: the other tensors are still worth comparing
        detail = str(error) if isinstance(error, WexportError) else f"{type(error).__name__}: {error}"
        return TensorDiff(status=NOT_COMPARED, a=a, b=b, method=method, detail=printable(detail))
    said = notes.of_tensors(one, other)
    return TensorDiff(status=change.status, a=a, b=b, method=method, change=change, detail=change.detail, notes=said)


def _change(one: Tensor, other: Tensor, task: Task) -> Change:
    """How the values of a pair differ."""
    # Where one file knows no layout, equal bytes in equal shapes are equal tensors, whatever the other knows.
    unknown = (one.layout is None or other.layout is None) and one.shape == other.shape
    dtypes = (alignment.value_dtype(one), alignment.value_dtype(other))
    alike = alignment.stored_alike(one, other)
    if dtypes[0] == dtypes[1] and (alike or unknown) and values.identical(alignment.in_step(one, other)):
        return Change(status=IDENTICAL)
    blocks = alignment.in_step if alike else alignment.in_canonical_order
    if dtypes[0] == dtypes[1] and not alike and values.identical(blocks(one, other)):
        return Change(status=IDENTICAL)
    difference = values.Difference(dtypes, task.tolerance, task.relative_tolerance)
    for left, right in blocks(one, other):
        difference.add(left, right)
    return difference.result()


def _unpaired(a: _File, b: _File, pairs: list[Match]) -> Iterator[TensorDiff]:
    """What has no pair: a slot that both have in different shapes, and what only one has."""
    left = [n for n in range(len(a.sides)) if n not in {pair.left for pair in pairs}]
    right = {(b.sides[n].kind, b.sides[n].slot): n for n in range(len(b.sides))}
    for pair in pairs:
        side = b.sides[pair.right]
        del right[side.kind, side.slot]
    for number in left:
        side = a.sides[number]
        other = right.pop((side.kind, side.slot), None)
        if other is None:
            yield TensorDiff(status=ONLY_A, a=side, b=None)
        else:
            yield TensorDiff(status=OTHER_SHAPE, a=side, b=b.sides[other], method="slot")
    for number in right.values():
        yield TensorDiff(status=ONLY_B, a=None, b=b.sides[number])
