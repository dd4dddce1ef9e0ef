"""What a pickle names and asks for, written down and never done.

A pickle is a program: it names functions and calls them. Here a name stays a name, and a call is a record of what would
have been called with what. Numbers, text, lists and tuples are themselves. Nothing here is ever hashed or compared by
value, since a few bytes of a pickle can nest tuples so that either takes for ever.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

_MODULES_OF_PYTHON_2 = {"__builtin__": "builtins", "copy_reg": "copyreg"}


@dataclass(frozen=True, slots=True, eq=False)
class Named:
    """The name of a class or function. name: with its module, as in "torch._utils._rebuild_tensor_v2"."""

    name: str

    @classmethod
    def of(cls, module: str, name: str) -> Named:
        return cls(f"{_MODULES_OF_PYTHON_2.get(module, module)}.{name}")


@dataclass(slots=True, eq=False)
class Record:
    """An object that was not made.

    maker: what would have made it: a Named, or whatever else the pickle wanted to call.
    args: what it would have been given.
    pairs: items that would have been set, as a dict's; elements: that would have been appended, as a list's; None where
        the pickle sets none.
    state: what would have become its attributes.
    """

    maker: Any
    args: Any = ()
    pairs: list[tuple[Any, Any]] | None = None
    elements: list[Any] | None = None
    state: Any = None

    @property
    def made_by(self) -> str:
        """The name of its maker; empty if that is not a name."""
        maker = self.maker
        if isinstance(maker, Outside):
            # The legacy layout gives a class of modules as ("module", class, its file, its source).
            parts = maker.identity
            maker = parts[1] if isinstance(parts, tuple) and len(parts) == 4 and same(parts[0], "module") else None
        return maker.name if isinstance(maker, Named) else ""

    @property
    def class_name(self) -> str:
        """The class that it would be of, as well as its maker tells."""
        if self.made_by == "copyreg._reconstructor" and isinstance(self.args, tuple) and self.args:
            return self.args[0].name if isinstance(self.args[0], Named) else ""
        return self.made_by

    @property
    def attributes(self) -> list[tuple[Any, Any]]:
        """What would have been its attributes; empty if its state is of another kind."""
        return list(entries(self.state)) if is_mapping(self.state) else []


@dataclass(frozen=True, slots=True, eq=False)
class Outside:
    """Something that the pickle says to be stored outside of it. identity: what it calls that."""

    identity: Any


@dataclass(slots=True, eq=False)
class Unordered:
    """A set that was not made."""

    elements: list[Any] = field(default_factory=list)


DICT = Named("builtins.dict")
_MAPPINGS = frozenset({"builtins.dict", "collections.OrderedDict", "collections.defaultdict"})


def is_mapping(value: Any) -> bool:
    """Whether it would be a dict, or of a class that is given items as a dict is."""
    return isinstance(value, Record) and (value.pairs is not None or value.made_by in _MAPPINGS)


def entries(value: Any) -> Iterator[tuple[Any, Any]]:
    """The items of what would be a mapping; of a text that stands twice as the key, the last is the one that counts."""
    assert isinstance(value, Record)
    pairs = [*_given(value), *(value.pairs or ())]
    last = {key: place for place, (key, _) in enumerate(pairs) if isinstance(key, str)}
    for place, (key, item) in enumerate(pairs):
        if not isinstance(key, str) or last[key] == place:
            yield key, item


def get(value: Any, key: str) -> Any:
    """The item under a text in what would be a mapping; None if there is none."""
    if not is_mapping(value):
        return None
    return next((item for name, item in entries(value) if same(name, key)), None)


def same(value: Any, text: str) -> bool:
    """Whether a value is this very text."""
    return isinstance(value, str) and value == text


def _given(record: Record) -> Iterator[tuple[Any, Any]]:
    """The items that a dict would have been made of: OrderedDict([[key, item], ...]), as Python 2 wrote it."""
    given = record.args[-1] if record.made_by in _MAPPINGS and isinstance(record.args, tuple) and record.args else None
    if isinstance(given, list):
        for item in given:
            if isinstance(item, list | tuple) and len(item) == 2:
                yield item[0], item[1]
