"""Pickle's own little machine, over inert values: it reads the program and calls nothing.

The opcodes are those of `pickletools`, which documents each, as Python's own `pickle._Unpickler` works them. What is
named becomes an `inert.Named`, what is called an `inert.Record`; no module is imported and no class is looked up.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable, Iterator
from typing import Any

from wexport import HostileFileError, ReadError
from wexport_torch.inert import DICT, Named, Outside, Record, Unordered

MAX_OPCODES = 2_000_000
MAX_OBJECTS = 400_000
"""Records, lists and sets, which take the most memory for a byte of the file."""
MAX_INTEGER_BITS = 8 * 1024
_MARK = object()
_PUSHED = frozenset(
    {"INT", "BININT", "BININT1", "BININT2", "FLOAT", "BINFLOAT"}
    | {"STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
    | {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"}
)
_REFUSED = {
    "PERSID": "names stored data by text, which torch never does",
    **dict.fromkeys(("EXT1", "EXT2", "EXT4"), "uses the extension registry of the Python that wrote it"),
    **dict.fromkeys(("NEXT_BUFFER", "READONLY_BUFFER"), "keeps data in buffers outside of the file"),
}


class _DamagedError(Exception):
    """What the pickle asks for cannot be: an empty stack, an unknown memo."""


class Program:
    """The bytes of a pickle: what `pickletools` needs, and no `tell`, which it would call for each opcode.

    file: unbuffered, or bytes in memory. size: bytes to read at the most. at: how many were read.
    """

    def __init__(self, file: io.RawIOBase | io.BytesIO, size: int) -> None:
        self._file, self._left = file if isinstance(file, io.BytesIO) else io.BufferedReader(file, 1 << 16), size
        self.at = 0

    def read(self, count: int) -> bytes:
        # A buffered file would first make room for all that was asked for, which a pickle says of its own strings.
        return self._took(self._file.read(min(count, self._left)))

    def readline(self) -> bytes:
        return self._took(self._file.readline(self._left))

    def _took(self, data: bytes) -> bytes:
        self.at += len(data)
        self._left -= len(data)
        return data


class Machine:
    """Runs one pickle.

    stored: everything that it says to be stored outside of it, in order.
    """

    def __init__(self, where: str) -> None:
        self._where = where
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._objects = 0
        self.stored: list[Outside] = []

    def run(self, program: Program) -> Any:
        """The value that a pickle stands for; the program then stands behind its end.

        Raises ReadError for what is not a pickle or a damaged one, HostileFileError for one past the bounds or needing
        more than can be told without running it.
        """
        try:
            for count, (name, argument) in enumerate(self._opcodes(program)):
                if count >= MAX_OPCODES:
                    raise HostileFileError(
                        f"{self._where}: its pickle has more than {MAX_OPCODES:,} steps",
                        hint="save the model's state dict alone",
                    )
                if name in _PUSHED:
                    self._stack.append(argument)
                elif name in _STEPS:
                    _STEPS[name](self, argument)
                elif name != "STOP":
                    raise self._refused(name)
            return self._pop()
        except _DamagedError as error:
            raise self._damaged(str(error)) from None

    def _opcodes(self, program: Program) -> Iterator[tuple[str, Any]]:
        opcodes = pickletools.genops(program)  # type: ignore[arg-type]  # it asks for no more than `Program` has
        try:
            for opcode, argument, _ in opcodes:
                yield opcode.name, argument
        except MemoryError:
            raise
        except Exception as error:  # its parsers raise whatever int(), struct and the codecs do
            raise self._damaged(" ".join(str(error).split())[:200]) from None

    def _damaged(self, reason: str) -> ReadError:
        return ReadError(
            f"{self._where}: its pickle cannot be read: {reason}", hint="the file is damaged; copy or save it again"
        )

    def _refused(self, name: str) -> HostileFileError:
        return HostileFileError(
            f"{self._where}: its pickle {_REFUSED.get(name, 'does what is not known')} (opcode {name}); that is never "
            "followed",
            hint="save the model's state dict with torch.save",
        )

    # -- the stack and the memo ----------------------------------------------------------------------------------------

    def _pop(self) -> Any:
        if not self._stack or self._stack[-1] is _MARK:
            raise _DamagedError("it takes from an empty stack")
        return self._stack.pop()

    def _top(self) -> Any:
        if not self._stack or self._stack[-1] is _MARK:
            raise _DamagedError("it takes from an empty stack")
        return self._stack[-1]

    def _since_mark(self) -> list[Any]:
        for place in range(len(self._stack) - 1, -1, -1):
            if self._stack[place] is _MARK:
                found = self._stack[place + 1 :]
                del self._stack[place:]
                return found
        raise _DamagedError("it goes back to a mark that was not set")

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _made(self, value: Any) -> None:
        """Push something that takes memory of its own."""
        self._objects += 1
        if self._objects > MAX_OBJECTS:
            raise HostileFileError(
                f"{self._where}: its pickle makes more than {MAX_OBJECTS:,} objects",
                hint="save the model's state dict alone",
            )
        self._stack.append(value)

    def _put(self, argument: Any) -> None:
        number = len(self._memo) if argument is None else int(argument)
        if number < 0:
            raise _DamagedError(f"it memorises number {number}")
        self._memo[number] = self._top()

    def _get(self, argument: Any) -> None:
        if argument not in self._memo:
            raise _DamagedError(f"it recalls number {argument}, which it did not memorise")
        self._stack.append(self._memo[argument])

    def _push_long(self, argument: int) -> None:
        if argument.bit_length() > MAX_INTEGER_BITS:
            raise HostileFileError(f"{self._where}: its pickle holds an integer of {argument.bit_length():,} bits")
        self._stack.append(argument)

    def _pop_one(self, _: Any) -> None:
        if not self._stack:
            raise _DamagedError("it takes from an empty stack")
        self._stack.pop()

    # -- collections ---------------------------------------------------------------------------------------------------

    def _tuple(self, count: int) -> None:
        items = tuple(self._stack[-count:])
        if len(items) < count or any(item is _MARK for item in items):
            raise _DamagedError("it takes from an empty stack")
        self._stack[-count:] = [items]

    def _append(self, items: list[Any]) -> None:
        target = self._top()
        if isinstance(target, list):
            target.extend(items)
        elif isinstance(target, Record):
            if target.elements is None:
                target.elements = []
            target.elements.extend(items)
        else:
            raise _DamagedError("it appends to what is not a list")

    def _set(self, items: list[Any]) -> None:
        target = self._top()
        if not isinstance(target, Record) or len(items) % 2:
            raise _DamagedError("it sets items of what is not a dict")
        if target.pairs is None:
            target.pairs = []
        target.pairs.extend(zip(items[::2], items[1::2], strict=True))

    def _set_one(self, _: Any) -> None:
        item, key = self._pop(), self._pop()
        self._set([key, item])

    def _append_one(self, _: Any) -> None:
        item = self._pop()
        self._append([item])

    def _add(self, _: Any) -> None:
        items, target = self._since_mark(), self._top()
        if not isinstance(target, Unordered | Record):
            raise _DamagedError("it adds to what is not a set")
        if target.elements is None:
            target.elements = []
        target.elements.extend(items)

    def _dict(self, _: Any) -> None:
        items = self._since_mark()
        self._made(Record(DICT, pairs=[]))
        self._set(items)

    # -- names and calls, written down ---------------------------------------------------------------------------------

    def _global(self, argument: Any) -> None:
        module, _, name = argument.partition(" ")
        self._push(Named.of(module, name))

    def _stack_global(self, _: Any) -> None:
        name, module = self._pop(), self._pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise _DamagedError("it names a class by what is not text")
        self._push(Named.of(module, name))

    def _inst(self, argument: Any) -> None:
        module, _, name = argument.partition(" ")
        self._made(Record(Named.of(module, name), tuple(self._since_mark())))

    def _obj(self, _: Any) -> None:
        items = self._since_mark()
        if not items:
            raise _DamagedError("it makes an object of no class")
        self._made(Record(items[0], tuple(items[1:])))

    def _call(self, _: Any) -> None:
        arguments, maker = self._pop(), self._pop()
        self._made(Record(maker, arguments))

    def _new_with_keywords(self, _: Any) -> None:
        keywords, arguments, maker = self._pop(), self._pop(), self._pop()
        self._made(Record(maker, (arguments, keywords)))

    def _build(self, _: Any) -> None:
        state, target = self._pop(), self._top()
        if not isinstance(target, Record):
            raise _DamagedError("it sets the attributes of what has none")
        target.state = state

    def _outside(self, _: Any) -> None:
        found = Outside(self._pop())
        self.stored.append(found)
        self._made(found)

    def _protocol(self, argument: Any) -> None:
        if argument > 5:
            raise _DamagedError(f"it is of protocol {argument}, the last known one is 5")


_STEPS: dict[str, Callable[[Machine, Any], None]] = {
    "PROTO": Machine._protocol,
    "FRAME": lambda machine, _: None,
    "MARK": lambda machine, _: machine._push(_MARK),
    "POP": Machine._pop_one,
    "POP_MARK": lambda machine, _: machine._since_mark().clear(),
    "DUP": lambda machine, _: machine._push(machine._top()),
    "NONE": lambda machine, _: machine._push(None),
    "NEWTRUE": lambda machine, _: machine._push(True),
    "NEWFALSE": lambda machine, _: machine._push(False),
    "EMPTY_TUPLE": lambda machine, _: machine._push(()),
    "TUPLE": lambda machine, _: machine._push(tuple(machine._since_mark())),
    "TUPLE1": lambda machine, _: machine._tuple(1),
    "TUPLE2": lambda machine, _: machine._tuple(2),
    "TUPLE3": lambda machine, _: machine._tuple(3),
    "EMPTY_LIST": lambda machine, _: machine._made([]),
    "LIST": lambda machine, _: machine._made(machine._since_mark()),
    "APPEND": Machine._append_one,
    "APPENDS": lambda machine, _: machine._append(machine._since_mark()),
    "EMPTY_DICT": lambda machine, _: machine._made(Record(DICT, pairs=[])),
    "DICT": Machine._dict,
    "SETITEM": Machine._set_one,
    "SETITEMS": lambda machine, _: machine._set(machine._since_mark()),
    "EMPTY_SET": lambda machine, _: machine._made(Unordered()),
    "ADDITEMS": Machine._add,
    "FROZENSET": lambda machine, _: machine._made(Unordered(machine._since_mark())),
    "GLOBAL": Machine._global,
    "STACK_GLOBAL": Machine._stack_global,
    "INST": Machine._inst,
    "OBJ": Machine._obj,
    "REDUCE": Machine._call,
    "NEWOBJ": Machine._call,
    "NEWOBJ_EX": Machine._new_with_keywords,
    "BUILD": Machine._build,
    "BINPERSID": Machine._outside,
    **dict.fromkeys(("LONG", "LONG1", "LONG4"), Machine._push_long),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), Machine._put),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), Machine._get),
}
