"""What differs between two files and is not a value: versions, trainable flags, layers' configs. No findings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wexport.differences.results import FileSide
from wexport.model.tensors import Tensor
from wexport.table.text import printable

_IGNORED = frozenset({"name", "axis", "batch_input_shape", "batch_shape", "dtype", "seed"})
"""What a config says of names and inputs, and what releases write each their own way (`axis` as -1 and as [3])."""
_RELEASES = _IGNORED | {"module", "registered_name", "build_config"}
_SHOWN = 60


def of_files(a: FileSide, b: FileSide) -> tuple[str, ...]:
    """Who wrote the files, where both say it and it differs."""
    found = []
    for what, one, other in (
        ("framework", a.framework, b.framework),
        ("framework version", a.framework_version, b.framework_version),
        ("backend", a.backend, b.backend),
    ):
        if one and other and one != other:
            found.append(f"{what}: {one} in a, {other} in b")
    return tuple(found)


def of_tensors(one: Tensor, other: Tensor) -> tuple[str, ...]:
    """What the files say of a pair of tensors and of their layers, where both say it and it differs."""
    found = []
    if None not in (one.trainable, other.trainable) and one.trainable != other.trainable:
        found.append("trainable in a, frozen in b" if one.trainable else "frozen in a, trainable in b")
    if one.layer_class and other.layer_class and one.layer_class != other.layer_class:
        found.append(f"class: {one.layer_class} in a, {other.layer_class} in b")
    a, b = one.layer_config or {}, other.layer_config or {}
    for key in sorted(a.keys() & b.keys() - _IGNORED):
        if not _alike(a[key], b[key]):
            found.append(f"{key}: {_short(a[key])} in a, {_short(b[key])} in b")
    return tuple(printable(text) for text in found)


def _alike(a: Any, b: Any) -> bool:
    """Whether two parts of configs say the same, as far as both say it: releases differ in what they write down."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return all(_alike(a[key], b[key]) for key in a.keys() & b.keys() - _RELEASES)
    if isinstance(a, Mapping) or isinstance(b, Mapping):
        return _class(a) == _class(b)  # an initialiser as an object, and as a word
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(_alike(left, right) for left, right in zip(a, b, strict=True))
    return bool(a == b)


def _class(value: Any) -> str:
    name = value.get("class_name") if isinstance(value, Mapping) else value
    return str(name).replace("_", "").lower()


def _short(value: Any) -> str:
    if isinstance(value, Mapping) and isinstance(value.get("class_name"), str):
        config = value.get("config")
        parts = (
            [f"{key}={item}" for key, item in config.items() if item is not None] if isinstance(config, Mapping) else []
        )
        text = f"{value['class_name']}({', '.join(parts)})"
    else:
        text = str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
