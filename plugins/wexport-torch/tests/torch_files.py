"""Files in torch's two layouts, written by hand: what no honest writer would write can be written so."""

from __future__ import annotations

import pickle
import struct
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

MAGIC = 0x1950A86A20F9469CFC6C
FLOATS = struct.pack("<6f", *range(6))


def text(value: str) -> bytes:
    data = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(data)) + data


def number(value: int) -> bytes:
    return pickle.dumps(value, 2)[2:-1]


def name(module: str, word: str) -> bytes:
    return f"c{module}\n{word}\n".encode()


def group(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def numbers(values: Sequence[int]) -> bytes:
    return group(*map(number, values))


def call(module: str, word: str, *args: bytes) -> bytes:
    return name(module, word) + group(*args) + b"R"


def mapping(items: Mapping[str, bytes]) -> bytes:
    return b"}(" + b"".join(text(key) + value for key, value in items.items()) + b"u"


def storage(key: str = "0", count: int = 6, kind: str = "FloatStorage", *more: bytes) -> bytes:
    return group(text("storage"), name("torch", kind), text(key), text("cpu"), number(count), *more) + b"Q"


def tensor(
    shape: Sequence[int] = (2, 3), strides: Sequence[int] | None = None, offset: int = 0, held: bytes = storage()
) -> bytes:
    """A call of _rebuild_tensor_v2; C order if no strides are given."""
    steps = [1] if strides is None else list(strides)
    if strides is None:
        for length in reversed(shape[1:]):
            steps.insert(0, steps[0] * length)
        steps = steps[: len(shape)]
    hooks = call("collections", "OrderedDict")
    return call(
        "torch._utils", "_rebuild_tensor_v2", held, number(offset), numbers(shape), numbers(steps), b"\x89", hooks
    )


def program(body: bytes) -> bytes:
    return b"\x80\x02" + body + b"."


def write_zip(
    path: Path,
    body: bytes,
    storages: Mapping[str, bytes] | None = None,
    members: Mapping[str, bytes] | None = None,
    method: int = zipfile.ZIP_STORED,
) -> Path:
    """A file in the zip layout. body: of the pickle. storages: one of six floats if none are given."""
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("archive/data.pkl", program(body))
        for key, data in ({"0": FLOATS} if storages is None else storages).items():
            archive.writestr(f"archive/data/{key}", data)
        for member, data in (members or {}).items():
            archive.writestr(member, data)
    return path


def write_legacy(
    path: Path,
    body: bytes,
    stored: Sequence[tuple[int, bytes]] = ((6, FLOATS),),
    keys: object = ("0",),
    protocol: object = 1001,
) -> Path:
    """A file in the older layout. stored: the count that is said of each storage, and its bytes; keys: their names.

    By default one of six floats, and none where the body names none.
    """
    if b"storage" not in body:
        stored, keys = (), ()
    head = b"".join(pickle.dumps(value, 2) for value in (MAGIC, protocol, {"little_endian": True}))
    listed = pickle.dumps(list(keys) if isinstance(keys, tuple) else keys, 2)
    tail = b"".join(struct.pack("<q", count) + data for count, data in stored)
    path.write_bytes(head + program(body) + listed + tail)
    return path
