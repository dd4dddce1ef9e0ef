"""What a child process does with two files: open both, find the pairs, and compare their values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import xxhash

from wexport.analysis import fingerprints
from wexport.analysis.matching import Alignment, Match, Place, align
from wexport.differences import alignment, edits, notes, values
from wexport.differences.results import (
    AMBIGUOUS,
    IDENTICAL,
    NOT_COMPARED,
    ONLY_A,
    ONLY_B,
    OTHER_SHAPE,
    REPEATED,
    At,
    Change,
    DiffTask,
    Edits,
    FileSide,
    FilesOpened,
    TensorDiff,
    TensorSide,
)
from wexport.errors import WexportError
from wexport.files.source import Source
from wexport.ingestion.messages import Failed
from wexport.model.tensors import Tensor
from wexport.plugins import host as plugin_host
from wexport.plugins.messages import Setup
from wexport.stats import SAMPLE_SIZE
from wexport.stats.sample import SampleValues
from wexport.table.text import printable

PRELOAD = plugin_host.SHIPPED
"""What a child needs and a parent may not; see `forkserver.fork`."""


class FileComparison:
    """What one child process has loaded, and does with two files."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._plugins = plugin_host.load(setup.plugins, dict(setup.without))

    def compare(self, task: DiffTask) -> Iterator[At | FilesOpened | Edits | TensorDiff | Failed]:
        """The two files as they open, then every tensor of either."""
        try:
            with self._source(task.a, task.part_a) as one, self._source(task.b, task.part_b) as other:
                yield At(f"opening {task.a}")
                a = _opened(one, self._plugins, self._setup.reader)
                yield At(f"opening {task.b}")
                b = _opened(other, self._plugins, self._setup.reader)
                yield FilesOpened(a.shown, b.shown, notes.of_files(a.shown, b.shown))
                yield from _compared(a, b, task)
        except WexportError as error:
            yield Failed(str(error), error.hint)

    def _source(self, path: Path, part: str | None) -> Source:
        return Source(path, self._setup.optimizer, self._setup.external_data, part)


# -- one file ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _File:
    """An open file: its tensors, and what matching and people see of them."""

    shown: FileSide
    tensors: list[Tensor]
    places: list[Place]
    sides: list[TensorSide]


def _opened(source: Source, plugins: plugin_host.Plugins, forced: str | None) -> _File:
    reader = plugins.choose(source, forced)
    opened = plugins.open(source, reader)
    model, tensors = opened.model, opened.tensors
    sides = [_side(tensor, slot) for tensor, slot in zip(tensors, opened.slots, strict=True)]
    places = [
        Place(
            side.slot,
            side.kind,
            side.role,
            side.canonical_shape,
            index,
            ordered=tensor.layer_index is not None,
            name=side.layer,
            layer_class=side.layer_class,
        )
        for index, (side, tensor) in enumerate(zip(sides, tensors, strict=True))
    ]
    shown = FileSide(
        path=source.path,
        reader=reader.name,
        format=model.format,
        framework=_printable(model.framework),
        framework_version=_printable(model.framework_version),
        backend=_printable(model.backend),
        tensor_count=len(tensors),
        value_count=sum(tensor.size for tensor in tensors),
        problems=tuple(skipped for skipped in model.skipped if skipped.problem),
        notes=tuple(plugins.notes),
    )
    return _File(shown, tensors, places, sides)


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


def _with_content(place: Place, tensor: Tensor) -> Place:
    """The place with a hash of the values as stored, and with those at fixed canonical places.

    As it is for what cannot be read; without hashes for a constant, which tells nothing.
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
        values = sample.result().value
    except (WexportError, OSError, ValueError):
        return place  # it is told when the values are compared
    if constant:
        return place
    fingerprint = fingerprints.of_sample(place.canonical_shape, values)
    return replace(place, content=hasher.hexdigest(), sample=fingerprint, values=values)


def _same_architecture(a: _File, b: _File) -> bool:
    """Whether slots, names and shapes tell all there is to tell, so that no value has to be read for it."""
    left, right = (
        {(place.kind, place.slot): (place.canonical_shape, place.word, place.given_name) for place in file.places}
        for file in (a, b)
    )
    named = all(place.ordered and place.role != "unknown" for file in (a, b) for place in file.places)
    return named and left == right


# -- pair by pair ------------------------------------------------------------------------------------------------------


def _compared(a: _File, b: _File, task: DiffTask) -> Iterator[At | Edits | TensorDiff]:
    if not _same_architecture(a, b):
        for file in (a, b):
            for number, tensor in enumerate(file.tensors):
                yield At(f"reading {file.sides[number].name} of {file.shown.path}")
                file.places[number] = _with_content(file.places[number], tensor)
    found = align(a.places, b.places)
    yield Edits(edits.describe(a.sides, b.sides, found))
    for pair in found.pairs:
        one, other = a.sides[pair.left], b.sides[pair.right]
        yield At(f"comparing {one.name}")
        yield _pair(a.tensors[pair.left], b.tensors[pair.right], one, other, pair, task)
    yield from _unpaired(a, b, found)


def _pair(one: Tensor, other: Tensor, a: TensorSide, b: TensorSide, pair: Match, task: DiffTask) -> TensorDiff:
    by: dict[str, Any] = {"method": pair.method, "confidence": pair.confidence}
    try:
        change = _change(one, other, task)
    except MemoryError:
        raise
    except Exception as error:  # a reader may raise anything: the other tensors are still worth comparing
        detail = str(error) if isinstance(error, WexportError) else f"{type(error).__name__}: {error}"
        return TensorDiff(status=NOT_COMPARED, a=a, b=b, detail=printable(detail), **by)
    shown = notes.of_tensors(one, other)
    return TensorDiff(status=change.status, a=a, b=b, change=change, detail=change.detail, notes=shown, **by)


def _change(one: Tensor, other: Tensor, task: DiffTask) -> Change:
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


def _unpaired(a: _File, b: _File, found: Alignment) -> Iterator[TensorDiff]:
    """What has no pair of its shape: the same in another shape, repeated, not to be told apart, or in one file only."""
    free = [set(range(len(a.sides))), set(range(len(b.sides)))]
    for pair in found.pairs:
        free[0].discard(pair.left)
        free[1].discard(pair.right)
    for pair in found.reshaped:
        free[0].discard(pair.left)
        free[1].discard(pair.right)
        one, other = a.sides[pair.left], b.sides[pair.right]
        yield TensorDiff(status=OTHER_SHAPE, a=one, b=other, method=pair.method, confidence=pair.confidence)
    for pair in found.repeats:
        one, other = a.sides[pair.left], b.sides[pair.right]
        # The one that has a pair already, or is told in the line before, is not told again.
        if pair.left in free[0] or pair.right in free[1]:
            whose = f"{one.name} of a" if pair.right in free[1] and pair.left not in free[0] else f"{other.name} of b"
            yield TensorDiff(
                status=REPEATED,
                a=one if pair.left in free[0] else None,
                b=other if pair.right in free[1] else None,
                method=pair.method,
                confidence=pair.confidence,
                detail=f"equal to {whose}",
            )
        free[0].discard(pair.left)
        free[1].discard(pair.right)
    for lefts, rights in found.ambiguous:
        for side, numbers, others in ((0, lefts, rights), (1, rights, lefts)):
            sides, where = (a.sides, "b") if side == 0 else (b.sides, "a")
            names = (b.sides, a.sides)[side]
            for number in numbers:
                free[side].discard(number)
                which = ", ".join(names[other].name for other in others[:3]) + (", ..." if len(others) > 3 else "")
                yield TensorDiff(
                    status=AMBIGUOUS,
                    a=sides[number] if side == 0 else None,
                    b=sides[number] if side == 1 else None,
                    detail=f"may be {which} of {where}",
                )
    for number in sorted(free[0]):
        yield TensorDiff(status=ONLY_A, a=a.sides[number], b=None)
    for number in sorted(free[1]):
        yield TensorDiff(status=ONLY_B, a=None, b=b.sides[number])
