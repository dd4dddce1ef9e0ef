"""Programs that `torch.export.save` wrote, `.pt2`: their parameters and buffers, without the program.

The layout is a zip of which https://docs.pytorch.org/docs/stable/export/pt2_archive.html tells; before torch 2.8 the
state dict is one file of `torch.save` in it, since 2.9 each tensor is a member of its own, described by JSON.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from wexport import ReadError, Skipped, Source
from wexport.reading import Archive, archives
from wexport_torch import element_types, reading, values
from wexport_torch.reading import Contents, Weight
from wexport_torch.storages import Storage, ZipStorages, is_length
from wexport_torch.stored import MAX_AXES, TorchTensor

FORMAT = "torch-export"
MAX_JSON_BYTES = 32 << 20
_WEIGHTS, _CONSTANTS = "data/weights/", "data/constants/"
_CONFIGS = {_WEIGHTS: "_weights_config.json", _CONSTANTS: "_constants_config.json"}
_SAVED = ("serialized_state_dict.pt", "serialized_constants.pt", "serialized_state_dict.json")
# ScalarType of torch/_export/serde/schema.py.
_TYPES = {
    1: "uint8",
    2: "int8",
    3: "int16",
    4: "int32",
    5: "int64",
    6: "float16",
    7: "float32",
    8: "float64",
    9: "complex32",
    10: "complex64",
    11: "complex128",
    12: "bool",
    13: "bfloat16",
    28: "uint16",
    29: "float8_e4m3fn",
    30: "float8_e5m2",
    31: "float8_e4m3fnuz",
    32: "float8_e5m2fnuz",
    33: "float8_e8m0fnu",
    34: "uint32",
    35: "uint64",
}


def is_exported(source: Source) -> bool:
    """Whether a zip holds an exported program's state."""
    if not source.head.startswith(archives.SIGNATURES):
        return False
    try:
        names = archives.member_names(source)
    except ReadError:
        return False
    return any(_place(name) for name in names)


def contents(source: Source) -> Contents:
    """Parameters and buffers of all models in an archive.

    Raises ReadError for a damaged archive, HostileFileError and BudgetError for one past the bounds.
    """
    archive = archives.open_archive(source)
    held = Contents(FORMAT)
    budget = values.Budget(source.size)
    for name in archive.members:
        place = _place(name)
        if place == "config":
            _described(archive, name, held, budget)
        elif place == "saved":
            _saved(source, archive, name, held)
    return held


def _place(name: str) -> str | None:
    """What a member is: JSON that describes tensors, a whole file of `torch.save`, or neither."""
    if any(f"/{folder}" in f"/{name}" and name.endswith(end) for folder, end in _CONFIGS.items()):
        return "config"
    inside = any(f"/{folder}" in f"/{name}" for folder in _CONFIGS) and name.endswith(".pt")
    return "saved" if inside or (name.rpartition("/")[2] in _SAVED and name.endswith(".pt")) else None


def _saved(source: Source, archive: Archive, name: str, held: Contents) -> None:
    """A file of `torch.save` in the archive: a state dict, or constants that the graph takes."""
    member = archive.window(name)
    assert member is not None
    if not member.size:
        return
    found = reading.contents(source.within(member))
    constants = "constants" in name
    for weight in found.weights:
        if constants:
            held.skipped.append(_constant(weight.tensor.name, weight.tensor.size))
        else:
            held.weights.append(weight)
    held.others += found.others
    held.skipped += [each for each in found.skipped if not constants or each.size or each.problem]


def _constant(name: str, size: int) -> Skipped:
    return Skipped("constant of the program", name, detail="no state dict would hold it", size=size)


def _described(archive: Archive, name: str, held: Contents, budget: values.Budget) -> None:
    """The tensors that a member of JSON describes; each has its bytes in a member beside it."""
    where = f"{archive.source.path}: {name}"
    data = archive.read(name, MAX_JSON_BYTES)
    try:
        config = json.loads(data or b"")["config"]
        items = list(config.items())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ReadError(
            f"{where}: describes no tensors: {str(error)[:200]}", hint="the file is damaged; copy or save it again"
        ) from None
    folder = name.rpartition("/")[0]
    storages = ZipStorages(archive, folder.rpartition("/")[0].rpartition("/")[0], folder + "/")
    constants = f"/{_CONSTANTS}" in f"/{name}"
    for tensor_name, stated in items:
        try:
            stored = _stored(stated, storages)
            if constants:
                held.skipped.append(_constant(tensor_name, stored.size * stored.type.size))
                continue
            tensor = values.tensor(tensor_name, stored, storages, budget, str(archive.source.path))
        except ReadError as error:  # the others are still worth having
            held.skipped.append(Skipped("unreadable tensor", tensor_name, True, str(error)))
            continue
        held.weights.append(Weight(replace(tensor, trainable=stored.needs_gradient) if stored.parameter else tensor))


def _stored(stated: Any, storages: ZipStorages) -> TorchTensor:
    """A tensor as its metadata tells; raises ReadError, without naming the file, for what makes no sense."""
    match stated:
        case {
            "path_name": str(key),
            "tensor_meta": {"dtype": int(kind), "sizes": [*sizes], "strides": [*steps_]} as meta,
        }:
            pass
        case _:
            raise ReadError("its type, sizes and strides are not told")
    if stated.get("use_pickle"):
        raise ReadError("it is kept as a pickle of its own")
    type_ = element_types.named(f"torch.{_TYPES.get(kind, '')}")
    if type_ is None or type_.dtype is None:
        raise ReadError(f"it is of type {_TYPES.get(kind, kind)}, whose values are not read")
    shape, steps = _lengths(sizes), _lengths(steps_)
    (offset,) = _lengths([meta.get("storage_offset", {"as_int": 0})])
    if len(shape) != len(steps) or len(shape) > MAX_AXES:
        raise ReadError(f"it has {len(shape)} axes and {len(steps)} strides")
    there = storages.size(key)
    if there % type_.size:
        raise ReadError(f"its {there:,} bytes are not a whole number of values")
    count = there // type_.size
    parameter = stated.get("is_param") is True
    return TorchTensor(
        storage=Storage(key, type_, count, 0, count),
        type=type_,
        offset=offset,
        shape=shape,
        strides=steps,
        needs_gradient=meta.get("requires_grad") is True,
        parameter=parameter,
    )


def _lengths(stated: list[Any]) -> tuple[int, ...]:
    found: list[Any] = [item.get("as_int") if isinstance(item, dict) else item for item in stated]
    if not all(is_length(length) for length in found):
        raise ReadError("its sizes are not all counts")
    return tuple(found)
