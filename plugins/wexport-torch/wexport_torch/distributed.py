"""Folders that torch.distributed.checkpoint wrote: `.metadata` tells which part of which tensor stands where.

Each `.distcp` file is a row of archives of torch's, one for each part of a tensor; `.metadata` is a pickle of the
classes in torch/distributed/checkpoint/metadata.py and filesystem.py, of which nothing is made here.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wexport import BudgetError, ReadError, Skipped, Source, Tensor
from wexport.reading import ExternalFiles, FileSlice
from wexport_torch import choice, element_types, layouts, stored, values
from wexport_torch.element_types import ElementType
from wexport_torch.inert import Named, Record, entries, get, is_mapping
from wexport_torch.machine import Machine, Program
from wexport_torch.places import Found, Places
from wexport_torch.reading import Contents, Weight
from wexport_torch.storages import is_length

FORMAT = "torch-distributed"
MAX_PARTS = 16_384
"""Parts of one tensor; a run has one for each of its processes at most."""
_MODULE = b"torch.distributed.checkpoint.metadata"
_OPTIMIZERS = frozenset({"optim", "optimizer", "optimizers", "optimizer_state_dict", "optimizer_states", "opt_state"})


def is_metadata(source: Source) -> bool:
    """Whether it is the pickle that tells of the others."""
    return source.head.startswith(b"\x80") and _MODULE in source.head


@dataclass(frozen=True, slots=True)
class _Box:
    """Where a part of a tensor lies in it, and in which stretch of which file it is stored."""

    offsets: tuple[int, ...]
    sizes: tuple[int, ...]
    file: str
    start: int
    length: int


def contents(source: Source) -> Contents:
    """The tensors of a folder, whole, however they are divided.

    Raises ReadError for damaged metadata, HostileFileError and BudgetError for what is past the bounds.
    """
    if source.size > layouts.MAX_PICKLE_BYTES:
        raise BudgetError(f"{source.path}: its pickle has more than {layouts.MAX_PICKLE_BYTES >> 20} MiB")
    data = source.read_at(0, source.size)
    root = Machine(str(source.path)).run(Program(io.BytesIO(data), len(data)))
    metadata = get(getattr(root, "state", None), "state_dict_metadata")
    if not is_mapping(metadata):
        raise ReadError(f"{source.path}: names no tensors", hint="the file is damaged; copy or save it again")
    places = _places(get(root.state, "storage_data"))
    paths = _paths(get(root.state, "planner_data"))
    files = _Files(source)
    held = Contents(FORMAT)
    found: list[tuple[Found, Tensor, ElementType]] = []
    for name, stated in entries(metadata):
        if not isinstance(name, str) or not isinstance(stated, Record):
            continue
        if stated.class_name.rpartition(".")[2] != "TensorStorageMetadata":
            held.skipped.append(Skipped("object", name, detail="pickled, never made"))
            continue
        path = paths.get(name, (name,))
        optimizer = len(path) > 1 and path[0] in _OPTIMIZERS
        try:
            tensor, type_ = _tensor(name, stated, places.get(name, {}), files)
        except ReadError as error:  # the others are still worth having
            held.skipped.append(Skipped("unreadable tensor", name, True, str(error)))
            continue
        found.append((Found(path, stated, None, optimizer), tensor, type_))
    _sort(found, held, source.optimizer)
    return held


def _sort(found: list[tuple[Found, Tensor, ElementType]], held: Contents, wanted: bool) -> None:
    """What is the model, what is its optimizer, and what stands beside it, as in a file of `torch.save`."""
    left = [tensor.size * type_.size for item, tensor, type_ in found if item.optimizer and not wanted]
    if left:
        held.skipped.append(Skipped("optimizer state", "optimizer", size=sum(left)))
    found = [each for each in found if wanted or not each[0].optimizer]
    dicts = {item.path[:depth] for item, _, _ in found for depth in range(1, len(item.path))}
    likely = [item.path for item, tensor, type_ in found if not item.optimizer and _is_likely(tensor, type_)]
    chosen = choice.model_in(Places(state_dicts=dicts), likely)
    for item, tensor, type_ in found:
        named = replace(tensor, name=chosen.name(item.path))
        if item.optimizer:
            held.others.append(replace(named, kind="optimizer"))
        elif chosen.holds(item.path):
            held.weights.append(Weight(named))
        elif _is_likely(tensor, type_):
            held.others.append(replace(named, kind="array"))
        else:
            held.skipped.append(Skipped("tensor beside the model", named.name, size=tensor.size * type_.size))


def _is_likely(tensor: Tensor, type_: ElementType) -> bool:
    return tensor.size > 1 and "float" in type_.name


# -- metadata ----------------------------------------------------------------------------------------------------------


def _places(stated: Any) -> dict[str, dict[tuple[int, ...], tuple[str, int, int]]]:
    """File, offset and length of each part, by its tensor and its place in that."""
    found: dict[str, dict[tuple[int, ...], tuple[str, int, int]]] = {}
    for index, info in entries(stated) if is_mapping(stated) else ():
        if not isinstance(index, Record) or not isinstance(info, Record):
            continue
        name, offset = get(index.state, "fqn"), _lengths(get(index.state, "offset"))
        file, start, length = (get(info.state, key) for key in ("relative_path", "offset", "length"))
        packed = get(info.state, "transform_descriptors")
        plain = packed is None or (isinstance(packed, list | tuple) and not packed)
        if isinstance(name, str) and isinstance(file, str) and is_length(start) and is_length(length) and plain:
            found.setdefault(name, {})[offset or ()] = file, start, length
    return found


def _paths(stated: Any) -> dict[str, tuple[str, ...]]:
    """Keys of nested dicts that each name stands for."""
    found = {}
    for name, path in entries(stated) if is_mapping(stated) else ():
        if (
            isinstance(name, str)
            and isinstance(path, tuple)
            and path
            and all(isinstance(key, str | int) for key in path)
        ):
            found[name] = tuple(map(str, path))
    return found


def _lengths(value: Any) -> tuple[int, ...] | None:
    """A torch.Size."""
    if isinstance(value, Record) and value.made_by == "torch.Size" and isinstance(value.args, tuple) and value.args:
        value = value.args[0]
    return tuple(value) if isinstance(value, tuple | list) and all(is_length(item) for item in value) else None


def _type(stated: Any) -> ElementType | None:
    """Of the values: the first of the properties, or the one called so."""
    state = stated.state if isinstance(stated, Record) else None
    named = state[0] if isinstance(state, tuple) and state else get(state, "dtype")
    return element_types.named(named.name) if isinstance(named, Named) else None


def _tensor(
    name: str, stated: Record, places: Mapping[tuple[int, ...], tuple[str, int, int]], files: _Files
) -> tuple[Tensor, ElementType]:
    """A tensor that is read when it is asked for.

    Raises ReadError, without naming the file, where a part is missing.
    """
    type_, shape = _type(get(stated.state, "properties")), _lengths(get(stated.state, "size"))
    parts = get(stated.state, "chunks")
    if type_ is None or type_.dtype is None:
        raise ReadError("its values are of a type that is not read")
    if shape is None or not isinstance(parts, list) or len(shape) > stored.MAX_AXES:
        raise ReadError("its size and parts are not told")
    if len(parts) > MAX_PARTS:
        raise ReadError(f"it is divided into {len(parts):,} parts, {MAX_PARTS:,} are allowed")
    boxes = []
    for part in parts:
        state = part.state if isinstance(part, Record) else None
        offsets, sizes = _lengths(get(state, "offsets")), _lengths(get(state, "sizes"))
        if offsets is None or sizes is None or not len(offsets) == len(sizes) == len(shape):
            raise ReadError("the places of its parts are not told")
        if any(start + size > length for start, size, length in zip(offsets, sizes, shape, strict=True)):
            raise ReadError(f"its part at {offsets} is not inside of its shape {shape}")
        place = places.get(offsets)
        if place is None:
            raise ReadError(f"its part at {offsets} is in none of the files")
        box = _Box(offsets, sizes, *place)
        if math.prod(sizes):
            files.check(box, math.prod(sizes) * type_.size)
            boxes.append(box)
    if sum(math.prod(box.sizes) for box in boxes) != math.prod(shape):
        raise ReadError(f"its parts are not the whole of its shape {shape}")
    boxes.sort(key=lambda box: box.offsets)
    chunks = _chunks(boxes, shape, type_, files)
    return Tensor(name=name, shape=shape, dtype=type_.name, chunks=chunks), type_


# -- values ------------------------------------------------------------------------------------------------------------


class _Files:
    """The files beside the metadata."""

    def __init__(self, source: Source) -> None:
        self._where = str(source.path)
        self._external = ExternalFiles(source)
        self._open: dict[str, Source] = {}

    def check(self, box: _Box, needed: int) -> None:
        """Raise ReadError where a part is not there, or is said to be smaller than its values."""
        size = self._file(box.file).size
        if box.start + box.length > size:
            raise ReadError(f"its part in {box.file} ends at byte {box.start + box.length:,}, the file has {size:,}")
        if box.length < needed:
            raise ReadError(f"its part in {box.file} has {box.length:,} bytes for values of {needed:,}")

    def array(self, box: _Box, type_: ElementType) -> NDArray[Any]:
        """The values of a part, mapped into memory."""
        file = self._file(box.file)
        with file.within(FileSlice(file.file, box.start, box.length)) as part:
            loaded = layouts.load(part)
            if not stored.is_tensor(loaded.root):
                raise ReadError(f"{file.path}: no tensor stands at byte {box.start:,}")
            it = stored.tensor(loaded.root)
            if it.shape != box.sizes or it.type != type_:
                raise ReadError(
                    f"{file.path}: the tensor at byte {box.start:,} is {it.type.name} {it.shape}, where {self._where} "
                    f"says {type_.name} {box.sizes}"
                )
            return values.mapped(it, loaded.storages)

    def _file(self, name: str) -> Source:
        if name not in self._open:
            self._open[name] = self._external.opened(name)
        return self._open[name]


def _chunks(boxes: list[_Box], shape: tuple[int, ...], type_: ElementType, files: _Files) -> Any:
    """Values in C order: some rows at a time, each put together of all parts that have a share in it."""
    dtype = type_.dtype
    assert dtype is not None

    def read(limit: int) -> Iterator[NDArray[Any]]:
        if not shape:
            yield files.array(boxes[0], type_).reshape(-1)
            return
        edges = sorted(
            {0, shape[0]} | {edge for box in boxes for edge in (box.offsets[0], box.offsets[0] + box.sizes[0])}
        )
        step = max(1, limit // max(1, math.prod(shape[1:]) * dtype.itemsize))
        for first, last in pairwise(edges):
            here = [box for box in boxes if box.offsets[0] <= first and last <= box.offsets[0] + box.sizes[0]]
            if sum(math.prod(box.sizes[1:]) for box in here) != math.prod(shape[1:]):
                raise ReadError(f"its parts leave out values, or overlap, in rows {first:,} to {last:,}")
            arrays = [files.array(box, type_) for box in here]
            for start in range(first, last, step):
                stop = min(last, start + step)
                block = np.empty((stop - start, *shape[1:]), dtype)
                for box, array in zip(here, arrays, strict=True):
                    place = [slice(at, at + size) for at, size in zip(box.offsets[1:], box.sizes[1:], strict=True)]
                    block[(slice(None), *place)] = array[start - box.offsets[0] : stop - box.offsets[0]]
                flat = block.reshape(-1)
                most = max(1, limit // dtype.itemsize)
                for at in range(0, flat.size, most):
                    yield flat[at : at + most]

    return read
