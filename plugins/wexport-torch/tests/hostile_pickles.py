"""Pickles that no honest writer makes; what each is for stands in the test that uses it. Without protocol and STOP."""

from __future__ import annotations

import os
import pickle
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch_files as files

GOOD = files.tensor()

# -- what would be run ------------------------------------------------------------------------------------------------


class _Runs:
    def __init__(self, call: Callable[..., Any], *args: Any) -> None:
        self._made = call, args

    def __reduce__(self) -> Any:
        return self._made


def calls(target: Path) -> dict[str, bytes]:
    """Pickles that write `target` when they are loaded, each in another way, without protocol and STOP."""
    command = f"touch {target}"
    code = f"open({str(target)!r}, 'w').close()"

    def body(value: Any) -> bytes:
        return pickle.dumps(value, 2)[2:-1]

    return {
        "os.system": body(_Runs(os.system, command)),
        "subprocess": body(_Runs(subprocess.check_call, ["touch", str(target)])),
        "exec": body(_Runs(exec, code)),
        "eval": body(_Runs(eval, code)),
        "stack_global": b"\x8c\x02os\x8c\x06system\x93" + files.group(files.text(command)) + b"R",
        "inst": b"(" + files.text(command) + b"ios\nsystem\n",
        "obj": b"(" + files.name("os", "system") + files.text(command) + b"o",
        "newobj": files.name("os", "system") + files.group(files.text(command)) + b"\x81",
        "newobj_ex": files.name("os", "system") + files.group(files.text(command)) + b"}\x92",
        "rebuilt_by_it": files.call(
            "torch._tensor",
            "_rebuild_from_type_v2",
            files.name("os", "system"),
            files.name("torch", "Tensor"),
            files.group(files.text(command)),
            b"}",
        ),
        "getattr": files.call("builtins", "getattr", files.name("os", "sys"), files.text("modules")),
        "load_from_bytes": files.call(
            "torch.storage", "_load_from_bytes", body(pickle.dumps(_Runs(os.system, command)))
        ),
        "state": files.call("collections", "OrderedDict")
        + b"}"
        + files.text("__setstate__")
        + body(_Runs(os.system, command))
        + b"sb",
    }


# -- what is refused as a whole ---------------------------------------------------------------------------------------

REFUSED: dict[str, tuple[bytes, str]] = {
    "steps": (b"N0" * 1_100_000 + b"N", "more than 2,000,000 steps"),
    "objects": (b"}" * 500_000, "more than 400,000 objects"),
    "lists": (b"]" * 500_000, "more than 400,000 objects"),
    "deep tuples": (b")" + b"\x85" * 1_000_000, "nested deeper than 100"),
    "deep lists": (b"]" * 300_000 + b"a" * 299_999, "nested deeper than 100"),
    "a billion lists": (b")" + b"2\x86" * 90, "or repeats itself"),
    "a long integer": (b"\x8b" + struct.pack("<i", 2_000_000) + b"\x01" * 2_000_000, "an integer of 15,99"),
    "an integer of a negative length": (b"\x8b" + struct.pack("<i", -5), "cannot be read"),
    "text longer than the file": (b"X" + struct.pack("<I", 0xFFFFFFF0) + b"a", "cannot be read"),
    "bytes longer than memory": (b"\x8e" + struct.pack("<Q", 1 << 62), "cannot be read"),
    "an empty stack": (b"0", "empty stack"),
    "no mark": (b"Nt", "mark that was not set"),
    "an unknown memo": (b"h\x07", "recalls number 7"),
    "a memo of nothing": (b"q\x00", "empty stack"),
    "a memo of a mark": (b"(q\x00", "empty stack"),
    "a negative memo": (b"Np-5\ng-5\n", "cannot be read"),
    "an unknown opcode": (b"\xff", "cannot be read"),
    "append to a number": (files.number(1) + b"Na", "appends to what is not a list"),
    "item of a number": (files.number(1) + b"NNs", "sets items of what is not a dict"),
    "half an item": (b"}(Nu", "sets items of what is not a dict"),
    "attributes of a number": (files.number(1) + b"Nb", "sets the attributes"),
    "set of a number": (files.number(1) + b"(N\x90", "adds to what is not a set"),
    "no class": (b"(o", "object of no class"),
    "a class that is not text": (b"NN\x93", "is not text"),
    "protocol 200": (b"\x80\xc8N", "protocol 200"),
    "extension": (b"\x82\x01", "extension registry"),
    "buffer": (b"\x97", "buffers outside"),
    "read-only buffer": (b"N\x98", "buffers outside"),
    "persistent text": (b"P0\n", "by text"),
    "a name that is not ASCII": (b"c\xff\n\xfe\n", "cannot be read"),
    "a name without an end": (b"cos", "cannot be read"),
}

# -- tensors that cannot be --------------------------------------------------------------------------------------------


def v2(*args: bytes) -> bytes:
    return files.call("torch._utils", "_rebuild_tensor_v2", *args)


def quantised(quantizer: bytes, kind: str = "QInt8Storage") -> bytes:
    held = files.storage("q", 6, kind)
    shape, strides = files.numbers((2, 3)), files.numbers((3, 1))
    return files.call(
        "torch._utils", "_rebuild_qtensor", held, files.number(0), shape, strides, quantizer, b"\x89", b"N"
    )


def nested_scales(depth: int) -> bytes:
    """A quantised tensor whose scale is a quantised tensor, and so on."""
    body = GOOD
    for _ in range(depth):
        body = quantised(files.group(files.name("torch", "per_channel_affine"), body, GOOD, files.number(0)))
    return body


UNREADABLE: dict[str, bytes] = {
    "longer than its storage": files.tensor((3, 3)),
    "beginning behind its storage": files.tensor((1,), offset=6),
    "reaching out by strides": files.tensor((2, 2), (5, 2)),
    "a shape bomb by strides of 0": files.tensor((10**6, 10**6), (0, 0)),
    "a shape past all integers": files.tensor((2**61, 2**61), (0, 0)),
    "a negative length": files.tensor((-2, -3)),
    "a negative stride": files.tensor((2, 3), (-3, 1), offset=5),
    "a negative beginning": files.tensor(offset=-1),
    "a shape of text": v2(
        files.storage(), files.number(0), files.group(files.text("2")), files.numbers((1,)), b"\x89", b"N"
    ),
    "a shape of truths": v2(files.storage(), files.number(0), files.group(b"\x88"), files.numbers((1,)), b"\x89", b"N"),
    "axes without strides": files.tensor((2, 3), (1,)),
    "65 axes": files.tensor((1,) * 65, (1,) * 65),
    "too few arguments": v2(files.storage(), files.number(0)),
    "a call without arguments": files.name("torch._utils", "_rebuild_tensor_v2") + b"NR",
    "no storage": v2(b"N", files.number(0), files.numbers((1,)), files.numbers((1,)), b"\x89", b"N"),
    "a storage by a number": files.tensor(held=files.number(7) + b"Q"),
    "a storage of two words": files.tensor(held=files.group(files.text("storage"), files.text("0")) + b"Q"),
    "a storage of a class of os": files.tensor(held=files.storage(kind="system")),
    "a storage of a negative length": files.tensor(held=files.storage(count=-6)),
    "a storage of a length of 2**70": files.tensor(held=files.storage(count=2**70)),
    "a part past its storage": files.tensor(
        held=files.storage("0", 6, "FloatStorage", files.group(files.text("1"), files.number(4), files.number(3)))
    ),
    "quantised in an unknown way": quantised(b"N"),
    "quantised by a text": quantised(
        files.group(files.name("torch", "per_tensor_affine"), files.text("x"), files.number(0))
    ),
    "scales of scales": nested_scales(50),
    "parameters of parameters": b"".join([files.name("torch._utils", "_rebuild_parameter") + b"("] * 20)
    + GOOD
    + b"\x88NtR" * 20,
    "quantised without a scale": files.tensor(held=files.storage("q", 6, "QInt8Storage")),
    "a scale of floats": quantised(
        files.group(files.name("torch", "per_tensor_affine"), pickle.dumps(0.5, 2)[2:-1], files.number(0)),
        "FloatStorage",
    ),
}

# -- what is only odd --------------------------------------------------------------------------------------------------

HARMLESS: dict[str, bytes] = {
    "a list of itself": b"]q\x00h\x00a",
    "calls of calls": files.name("a", "b") + b"q\x00" + b"h\x00" * 99_999 + b")" + b"R" * 100_000,
    "a dict of itself": b"}q\x00" + files.text("x") + b"h\x00s",
    "a module of itself": files.name("m", "M")
    + b")\x81q\x00}("
    + b"".join(
        files.text(part) + b"}" + (files.text("self") + b"h\x00s" if part == "_modules" else b"")
        for part in ("_parameters", "_buffers", "_modules")
    )
    + b"ub",
    "keys that would take for ever to hash": b"}" + b")" + b"2\x86" * 90 + b"Ns",
    "a class with a name of lines": b"\x8c\x03a\nb\x8c\x05\xf0\x9f\x98\x80\n\x93)R",
    "a class with the name of a tensor's maker in parts": files.name("torch", "_utils _rebuild_tensor_v2") + b")R",
    "a storage alone": files.storage(),
    "a persistent number": files.number(7) + b"Q",
    "deep attributes": (files.name("a", "B") + b")\x81") * 1
    + b"}"
    + files.text("x")
    + b")"
    + b"\x85" * 100_000
    + b"sb",
    "a set": b"\x8f(\x4b\x01\x4b\x02\x90",
    "a key that is not a word": b"}" + b")" + b")s",
    "a key that is a long number": b"}" + files.number(2**100) + b")s",
    "lone surrogates": b"}" + files.text("\udcff\ud800") + b")s",
}
