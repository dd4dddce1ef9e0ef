"""Everything that a saved object holds, by its place in it: an inert walk through dicts, lists and modules."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from wexport import HostileFileError
from wexport_torch import stored
from wexport_torch.inert import Outside, Record, Unordered, entries, get, is_mapping, same

MAX_DEPTH = 100
MAX_STEPS, VISIT = 4_000_000, 16
"""Of the walk: one for each item that is looked at, and this many for each that may hold others."""
MAX_TENSORS, MAX_OTHERS = 100_000, 1_000
SCRIPT = "__torch__."
"""What the classes of a TorchScript archive are named under."""

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """A tensor. path: the keys and names that lead to it. module: the module that it is a parameter or buffer of.

    optimizer: it is part of an optimizer's state. persistent: a state dict of its module would hold it.
    """

    path: Path
    record: Record
    module: Record | None
    optimizer: bool
    parameter: bool = False


@dataclass(frozen=True, slots=True)
class Other:
    """What is not a tensor and might hold some. what: a class of such things. stored: how many storages it names."""

    path: Path
    what: str
    detail: str
    stored: int = 0


@dataclass
class Places:
    """What a walk found, in the file's order.

    more: how many things are left out beside `others`.
    state_dicts: the paths of dicts of which at least half the items are tensors. modules: of modules saved whole.
    """

    tensors: list[Found] = field(default_factory=list)
    others: list[Other] = field(default_factory=list)
    more: int = 0
    state_dicts: set[Path] = field(default_factory=set)
    modules: set[Path] = field(default_factory=set)


def walk(root: Any, where: str) -> Places:
    """All tensors below a value. Raises HostileFileError for what is nested too deep or repeats itself without end."""
    return _Walk(where).run(root)


@dataclass(frozen=True, slots=True)
class _Here:
    """Where the walk stands: a value, how it was reached, and what it is a part of."""

    value: Any
    path: Path
    above: tuple[int, ...]
    module: Record | None = None
    optimizer: bool = False
    parameter: bool = False

    def below(self, key: str, value: Any, **more: Any) -> _Here:
        known = {"optimizer": self.optimizer, **more}
        return _Here(value, (*self.path, key), (*self.above, id(self.value)), **known)


class _Walk:
    def __init__(self, where: str) -> None:
        self._where = where
        self._steps = 0
        self._seen: set[int] = set()
        self._aside: list[_Here] = []
        self._places = Places()

    def run(self, root: Any) -> Places:
        waiting = [_Here(root, (), ())]
        while waiting:
            here = waiting.pop()
            self._spend(VISIT)
            if stored.is_tensor(here.value):
                self._tensor(here)
            elif id(here.value) in here.above:
                continue  # a value that holds itself
            else:
                waiting += reversed(list(self._inside(here)))
        for here in self._aside:  # now that what is given is known
            if held := stored.count_stored(here.value, self._seen):
                self._add(Other(here.path, "attribute that is not a parameter", "", held))
        return self._places

    def _spend(self, count: int) -> None:
        self._steps += count
        if self._steps > MAX_STEPS:
            raise HostileFileError(
                f"{self._where}: holds more than {MAX_STEPS // VISIT:,} objects, or repeats itself",
                hint="save the model's state dict alone",
            )

    def _tensor(self, here: _Here) -> None:
        if len(self._places.tensors) >= MAX_TENSORS:
            raise HostileFileError(f"{self._where}: holds more than {MAX_TENSORS:,} tensors")
        self._seen.add(id(here.value))
        self._places.tensors.append(Found(here.path, here.value, here.module, here.optimizer, here.parameter))

    def _inside(self, here: _Here) -> Iterator[_Here]:
        value = here.value
        if isinstance(value, Record | list | tuple | Unordered | Outside) and len(here.path) >= MAX_DEPTH:
            raise HostileFileError(f"{self._where}: holds objects nested deeper than {MAX_DEPTH}")
        if isinstance(value, Record):
            self._spend(len(value.pairs or ()) + len(value.elements or ()))
            if value.state is not None and (is_mapping(value) or value.elements is not None):
                self._aside.append(here.below("attributes", value.state))
            if _is_script(value):
                yield from self._script(here)
            elif _is_module(value):
                yield from self._module(here)
            elif is_mapping(value):
                yield from self._mapping(here)
            elif value.elements is not None:
                yield from self._sequence(here, value.elements)
            else:
                self._opaque(here, value)
        elif isinstance(value, list | tuple):
            self._spend(len(value))
            yield from self._sequence(here, value)
        elif isinstance(value, Outside):
            self._other(here, "storage without a tensor", "", value)

    def _sequence(self, here: _Here, items: Any) -> Iterator[_Here]:
        for number, item in enumerate(items):
            if _may_hold(item):
                yield here.below(str(number), item)

    def _mapping(self, here: _Here) -> Iterator[_Here]:
        items = [(_word(key), item) for key, item in entries(here.value)]
        tensors = sum(stored.is_tensor(item) for _, item in items)
        optimizer = here.optimizer or _is_optimizer(here)
        if 2 * tensors >= len(items) > 0 and not optimizer:
            self._places.state_dicts.add(here.path)
        for word, item in items:
            if not _may_hold(item):
                continue
            if word is None:
                self._other(here, "item under a key that is not a word", "", item)
            else:
                yield here.below(word, item, optimizer=optimizer)

    def _module(self, here: _Here) -> Iterator[_Here]:
        """A module that was saved whole: what its state dict would hold; all else of it is named and left out."""
        module = here.value
        self._spend(len(module.attributes))
        self._places.modules.add(here.path)
        passing = set(_names(get(module.state, "_non_persistent_buffers_set")))
        for part in _PARTS:
            held = get(module.state, part)
            for key, item in entries(held) if is_mapping(held) else ():
                word = _word(key)
                self._spend(1)
                if word is None or not _may_hold(item):
                    continue
                if part == "_buffers" and word in passing:
                    self._other(here.below(word, item), "buffer that no state dict would hold", "", item)
                elif part == "_modules":
                    yield here.below(word, item)
                else:
                    yield here.below(word, item, module=module, parameter=part == "_parameters")
        for key, item in module.attributes:
            if not (isinstance(key, str) and key in _PARTS) and _may_hold(item):
                self._aside.append(here.below(_word(key) or "attribute", item))

    def _script(self, here: _Here) -> Iterator[_Here]:
        """A module of a TorchScript archive: its attributes are parameters, buffers and modules alike.

        Lists of tensors are attributes, too, and repeat parameters; they are named and left out.
        """
        self._places.modules.add(here.path)
        for key, item in here.value.attributes:
            word = _word(key)
            self._spend(1)
            if word is None or not _may_hold(item):
                continue
            if stored.is_tensor(item) or (isinstance(item, Record) and item.made_by.startswith(SCRIPT)):
                yield here.below(word, item, module=here.value)
            else:
                self._aside.append(here.below(word, item))

    def _opaque(self, here: _Here, value: Record) -> None:
        """An object of a class that is not known, which is never made."""
        name = value.class_name
        what = "NumPy array" if name.endswith("multiarray._reconstruct") else "object"
        if name in _NOTHING or name.endswith("multiarray.scalar"):
            return
        self._other(here, what, f"of class {_shown(name)}, never made" if what == "object" else "", value)

    def _other(self, here: _Here, what: str, detail: str, value: Any) -> None:
        self._add(Other(here.path, what, detail, stored.count_stored(value, self._seen)))

    def _add(self, other: Other) -> None:
        """Names this many of the things left out, and counts the others."""
        if len(self._places.others) < MAX_OTHERS:
            self._places.others.append(other)
        else:
            self._places.more += 1


_PARTS = ("_parameters", "_buffers", "_modules")
_NOTHING = frozenset({"torch.device", "torch.Size", "_codecs.encode", "builtins.set", "builtins.frozenset"})
"""Calls that stand for plain things, which hold no tensor."""


def _shown(name: str) -> str:
    """A class as a message shows it: a pickle may call one by any text."""
    return name.encode("unicode_escape").decode()[:100] or "unknown"


def _is_module(value: Record) -> bool:
    return is_mapping(get(value.state, "_modules")) and is_mapping(get(value.state, "_parameters"))


def _is_script(value: Record) -> bool:
    return value.made_by.startswith(SCRIPT) and is_mapping(value.state)


def _is_optimizer(here: _Here) -> bool:
    """By its structure, as every optimizer of torch writes it, or by its name in a checkpoint."""
    if isinstance(get(here.value, "param_groups"), list) and is_mapping(get(here.value, "state")):
        return True
    return len(here.path) == 1 and here.path[0] in ("optimizer", "optimizer_state_dict", "optimizer_states", "optim")


def _may_hold(value: Any) -> bool:
    """Whether there may be a tensor in it; most lists in a checkpoint are of numbers."""
    if isinstance(value, list | tuple):
        return any(isinstance(item, Record | list | tuple | Outside) for item in value)
    return isinstance(value, Record | Outside)


def _word(key: Any) -> str | None:
    if isinstance(key, str):
        return key
    return str(key) if isinstance(key, int) and key.bit_length() < 64 else None


def _names(value: Any) -> Iterator[str]:
    """The texts in a set."""
    if isinstance(value, Record) and same(value.made_by, "builtins.set") and isinstance(value.args, tuple):
        for given in value.args[:1]:
            yield from (name for name in given if isinstance(name, str)) if isinstance(given, list | tuple) else ()
    elif isinstance(value, Unordered):
        yield from (name for name in value.elements if isinstance(name, str))
