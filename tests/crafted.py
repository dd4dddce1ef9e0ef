"""Files that no honest writer makes. Each function writes one; what it is for stands in the test that uses it."""

from __future__ import annotations

import base64
import json
import marshal
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5g, h5p, h5s, h5t, h5z

# -- tools ------------------------------------------------------------------------------------------------------------


def patch(path: Path, old: bytes, new: bytes) -> None:
    """Overwrite the first place where `old` stands in a file; it must be there, and its length stays."""
    data = path.read_bytes()
    place = data.find(old)
    assert place >= 0, f"{old!r} is not in {path}"
    assert len(old) == len(new)
    path.write_bytes(data[:place] + new + data[place + len(old) :])


def chunked(
    file: h5py.File,
    name: str,
    shape: Sequence[int],
    chunk: Sequence[int],
    filters: Sequence[tuple[int, int, tuple[int, ...]]],
    dtype: str = "<f4",
) -> h5d.DatasetID:
    """An empty chunked dataset with a filter pipeline of (code, flags, parameters), whatever that may be."""
    properties = h5p.create(h5p.DATASET_CREATE)
    properties.set_chunk(tuple(chunk))
    for code, flags, parameters in filters:
        properties.set_filter(code, flags, parameters)
    space = h5s.create_simple(tuple(shape))
    return h5d.create(file.id, name.encode(), h5t.py_create(np.dtype(dtype)), space, properties)


def zeros_stream(count: int) -> bytes:
    """A deflate stream that inflates to `count` MiB of zeros, made without deflating them all."""
    packer = zlib.compressobj(9)
    start = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    checksum = (count << 20) % 65521 << 16 | 1  # Adler-32 of zeros
    return start + again * (count - 1) + packer.flush()[:-4] + checksum.to_bytes(4, "big")


GZIP = (h5z.FILTER_DEFLATE, 0, (4,))
OPTIONAL = h5z.FLAG_OPTIONAL


# -- links and storage that lead elsewhere ----------------------------------------------------------------------------


def external_link(path: Path, target: Path) -> None:
    with h5py.File(path, "w") as file:
        file["leak"] = h5py.ExternalLink(str(target), "/secret")


def external_link_behind_a_slash(path: Path, target: Path) -> None:
    """A hard link that is named like a path through an external link."""
    with h5py.File(path, "w") as file:
        file["exit"] = h5py.ExternalLink(str(target), "/")
        file["exit+secret"] = np.ones(4, np.float32)
    patch(path, b"exit+secret", b"exit/secret")


def external_link_twin(path: Path, target: Path) -> None:
    """An external link and a hard link of one name, so that looking at one may open the other."""
    with h5py.File(path, "w") as file:
        file["twin"] = h5py.ExternalLink(str(target), "/secret")
        file["twim"] = np.ones(4, np.float32)
    patch(path, b"twim", b"twin")


def external_storage(path: Path, target: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("leak", (4,), "<f4", external=[(str(target), 0, 16)])


def virtual_dataset(path: Path, target: Path) -> None:
    layout = h5py.VirtualLayout((4,), "<f4")
    layout[:] = h5py.VirtualSource(str(target), "secret", (4,))
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("leak", layout)


# -- declared against stored ------------------------------------------------------------------------------------------


def shape_bomb(path: Path) -> None:
    """Declares 3.6 TiB and stores nothing."""
    with h5py.File(path, "w") as file:
        file.create_dataset("bomb", (10**12,), "<f4")


def many_small_bombs(path: Path) -> None:
    """Each declares little enough, all together do not."""
    with h5py.File(path, "w") as file:
        for number in range(40):
            file.create_dataset(f"bomb_{number:02}", (10 << 20,), "i1")


def shared_storage(path: Path) -> None:
    """Four datasets whose values are said to lie in the same place; only one was written."""
    size = 1 << 20
    with h5py.File(path, "w") as file:
        for number in range(4):
            file.create_dataset(f"copy_{number}", (size,), "i1")
        file["copy_0"][:] = 1
        place = file["copy_0"].id.get_offset()
    nowhere = struct.pack("<QQ", 0xFFFFFFFFFFFFFFFF, size)
    path.write_bytes(path.read_bytes().replace(nowhere, struct.pack("<QQ", place, size)))


def overstated_storage(path: Path) -> None:
    """Contiguous values that are said to go on past the end of the file."""
    with h5py.File(path, "w") as file:
        file["long"] = np.arange(1000, dtype="<f8")
    patch(path, struct.pack("<Q", 8000), struct.pack("<Q", 8000 << 20))


# -- chunks and filters -----------------------------------------------------------------------------------------------


def inflates_past_its_chunk(path: Path) -> None:
    """7 MiB of zeros in a chunk that declares 4 KiB, at a stored size that it may well have."""
    with h5py.File(path, "w") as file:
        chunked(file, "bomb", (1024,), (1024,), [GZIP]).write_direct_chunk((0,), zeros_stream(7))


def inflates_far_past_its_chunk(path: Path) -> None:
    """1 GiB of zeros in a chunk that declares 1 MiB."""
    with h5py.File(path, "w") as file:
        chunked(file, "bomb", (1 << 18,), (1 << 18,), [GZIP]).write_direct_chunk((0,), zeros_stream(1024))


def gzip_bomb(path: Path) -> None:
    """10 GiB of zeros at the ratio that deflate has."""
    stream = zeros_stream(32)
    with h5py.File(path, "w") as file:
        bomb = chunked(file, "bomb", (320, 8 << 20), (1, 8 << 20), [GZIP])
        for number in range(320):
            bomb.write_direct_chunk((number, 0), stream)


def decoded_again_and_again(path: Path) -> None:
    """Chunks that lie across the rows, so that each has to be decoded for many bands of rows."""
    stream = zeros_stream(16)
    with h5py.File(path, "w") as file:
        bomb = chunked(file, "bomb", (4096, 1 << 18), (4096, 4096), [GZIP], "i1")
        for number in range(64):
            bomb.write_direct_chunk((0, number << 12), stream)


def _two_chunks(path: Path) -> tuple[Any, Any]:
    with h5py.File(path, "w") as file:
        values = np.random.default_rng(0).standard_normal(2048).astype("<f4")
        dataset = file.create_dataset("w", data=values, chunks=(1024,), compression="gzip")
        return dataset.id.get_chunk_info(0), dataset.id.get_chunk_info(1)


def chunks_at_one_address(path: Path) -> None:
    first, second = _two_chunks(path)
    patch(path, struct.pack("<Q", second.byte_offset), struct.pack("<Q", first.byte_offset))


def chunk_off_the_grid(path: Path) -> None:
    _, second = _two_chunks(path)
    key = struct.pack("<IIQQ", second.size, 0, 1024, 0)
    patch(path, key, struct.pack("<IIQQ", second.size, 0, 3072, 0))


def chunk_outside_the_file(path: Path) -> None:
    _, second = _two_chunks(path)
    patch(path, struct.pack("<Q", second.byte_offset), struct.pack("<Q", 1 << 40))


def chunk_of_giant_stored_size(path: Path) -> None:
    _, second = _two_chunks(path)
    key = struct.pack("<IIQQ", second.size, 0, 1024, 0)
    patch(path, key, struct.pack("<IIQQ", 0xFFFFFF00, 0, 1024, 0))


def giant_chunk(path: Path) -> None:
    """One chunk of 1 GiB, well packed."""
    with h5py.File(path, "w") as file:
        chunked(file, "bomb", (1 << 28,), (1 << 28,), [GZIP]).write_direct_chunk((0,), zeros_stream(1024))


def tiny_checksummed_chunk(path: Path) -> None:
    """A chunk that is shorter than its own checksum."""
    with h5py.File(path, "w") as file:
        bomb = chunked(file, "bomb", (1024,), (1024,), [(h5z.FILTER_FLETCHER32, 0, ())])
        bomb.write_direct_chunk((0,), b"\0")


def repeated_filter(path: Path) -> None:
    """Deflate upon deflate: the ratio is squared."""
    with h5py.File(path, "w") as file:
        bomb = chunked(file, "bomb", (1 << 20,), (1 << 20,), [GZIP, GZIP])
        bomb.write_direct_chunk((0,), zlib.compress(zeros_stream(1024)))


def lzf_bomb(path: Path) -> None:
    """LZF is undone by the HDF5 library: 1.3 GiB out of a chunk that declares 16 MiB."""
    with h5py.File(path, "w") as file:
        bomb = file.create_dataset("bomb", (4 << 20,), "<f4", chunks=(4 << 20,), compression="lzf")
        bomb.id.write_direct_chunk((0,), b"\0\0" + b"\xe0\xff\0" * (5 << 20))  # references of 264 bytes each


def scaled_past_its_chunk(path: Path) -> None:
    """A scale-offset chunk that asks for more bits than there are."""
    with h5py.File(path, "w") as file:
        bomb = file.create_dataset("bomb", (1 << 16,), "<i4", chunks=(1 << 16,), scaleoffset=0)
        bomb.id.write_direct_chunk((0,), struct.pack("<I", 40) + b"\xff" * 100)


def unknown_filter(path: Path, code: int = 40_000) -> None:
    with h5py.File(path, "w") as file:
        chunked(file, "w", (4,), (4,), [(code, OPTIONAL, ())]).write_direct_chunk((0,), bytes(16))


def dust(path: Path) -> None:
    """More chunks than a dataset may have; none is stored."""
    with h5py.File(path, "w") as file:
        chunked(file, "dust", (1 << 24,), (1,), [GZIP], "i1")


def variable_length(path: Path) -> None:
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("ragged", (2,), h5py.vlen_dtype(np.dtype("<f4")))
        dataset[0], dataset[1] = np.ones(3, "<f4"), np.ones(100_000, "<f4")


# -- trees ------------------------------------------------------------------------------------------------------------


def hard_link_cycle(path: Path) -> None:
    with h5py.File(path, "w") as file:
        group = file.create_group("a/b")
        group["up"] = file["a"]
        group["top"] = file["/"]
        file["w"] = np.ones(4, np.float32)


def soft_link_cycle(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["ping"], file["pong"] = h5py.SoftLink("/pong"), h5py.SoftLink("/ping")
        file["w"] = np.ones(4, np.float32)


def diamond(path: Path, levels: int = 40) -> None:
    """2**levels paths to one dataset."""
    with h5py.File(path, "w") as file:
        below = file.create_group("level_00")
        below["w"] = np.ones(4, np.float32)
        for level in range(1, levels):
            group = file.create_group(f"level_{level:02}")
            group["left"] = group["right"] = below
            below = group


def nested_groups(path: Path, depth: int) -> None:
    with h5py.File(path, "w") as file:
        group = file.id
        for _ in range(depth):
            group = h5g.create(group, b"g")


def no_root(path: Path) -> None:
    """The superblock says that the root group lies where there is none."""
    with h5py.File(path, "w") as file:
        file["w"] = np.ones(4, np.float32)
    data = bytearray(path.read_bytes())
    data[64:72] = struct.pack("<Q", len(data) - 8)  # the root's object header, in the superblock's symbol table entry
    path.write_bytes(data)


def odd_names(path: Path, names: Sequence[bytes]) -> None:
    """Datasets of whatever names, bytes as they are."""
    with h5py.File(path, "w") as file:
        space = h5s.create_simple((4,))
        for name in names:
            dataset = h5d.create(file.id, name, h5t.IEEE_F32LE, space)
            dataset.write(h5s.ALL, h5s.ALL, np.ones(4, "<f4"))


# -- Keras files ------------------------------------------------------------------------------------------------------


def keras_h5(path: Path, config: str | bytes | None, change: Callable[[h5py.File], None] | None = None) -> None:
    """A small legacy .h5 of one Dense layer `d`, with whatever is to stand as its config."""
    # Attributes past 64 KiB need the newer file format.
    with h5py.File(path, "w", libver="latest" if config is not None and len(config) > 60_000 else None) as file:
        if config is not None:
            file.attrs["model_config"] = np.bytes_(config) if isinstance(config, bytes) else config
        file.attrs["keras_version"] = "2.15.0"
        file.attrs["backend"] = "tensorflow"
        weights = file.create_group("model_weights")
        weights.attrs["layer_names"] = np.array([b"d"])
        layer = weights.create_group("d")
        layer.attrs["weight_names"] = np.array([b"d/kernel:0", b"d/bias:0"])
        layer["d/kernel:0"] = np.ones((3, 2), "<f4")
        layer["d/bias:0"] = np.ones(2, "<f4")
        if change is not None:
            change(file)


def config_of(*layers: dict[str, Any]) -> str:
    """The config of a Sequential model that begins with the Dense layer of `keras_h5`."""
    dense = {"class_name": "Dense", "config": {"name": "d", "units": 2, "activation": "relu"}}
    return json.dumps({"class_name": "Sequential", "config": {"name": "s", "layers": [dense, *layers]}})


def lambda_layer(marker: Path) -> dict[str, Any]:
    """A Lambda layer whose marshalled function makes a file, as Keras would on loading and calling it."""
    code = compile(f"open({str(marker)!r}, 'w')", "<lambda>", "exec")
    function = [base64.b64encode(marshal.dumps(code)).decode(), None, None]
    return {"class_name": "Lambda", "config": {"name": "evil", "function": function, "function_type": "lambda"}}


# -- zip --------------------------------------------------------------------------------------------------------------


def keras_members(tmp: Path) -> dict[str, bytes]:
    """The members of a small honest .keras: one Dense layer `d`."""
    inner = tmp / "inner.weights.h5"
    with h5py.File(inner, "w") as file:
        variables = file.create_group("layers/dense/vars")
        variables.attrs["name"] = "d"
        variables["0"], variables["1"] = np.ones((3, 2), "<f4"), np.ones(2, "<f4")
    weights = inner.read_bytes()
    inner.unlink()
    metadata = json.dumps({"keras_version": "3.9.0", "date_saved": "2025-01-01"})
    return {"metadata.json": metadata.encode(), "config.json": config_of().encode(), "model.weights.h5": weights}


def keras_zip(
    path: Path, members: Sequence[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED
) -> list[zipfile.ZipInfo]:
    """A zip of these members, in this order, twice the same name if so told."""
    import warnings

    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", compression) as archive:
        warnings.simplefilter("ignore", UserWarning)  # that is what is wanted
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data, compression)
        return archive.infolist()


def patch_directory(path: Path, name: str, offset: int, value: bytes) -> None:
    """Overwrite a field of a member's record in the zip's central directory."""
    data = bytearray(path.read_bytes())
    end = data.rfind(b"PK\5\6")
    (place,) = struct.unpack_from("<I", data, end + 16)
    while data[place : place + 4] == b"PK\1\2":
        sizes = struct.unpack_from("<HHH", data, place + 28)
        if data[place + 46 : place + 46 + sizes[0]] == name.encode():
            data[place + offset : place + offset + len(value)] = value
            path.write_bytes(data)
            return
        place += 46 + sum(sizes)
    raise AssertionError(f"{name} is not in {path}")


def fifo(path: Path) -> Path:
    """A named pipe without a writer: whoever opens it for reading hangs."""
    os.mkfifo(path)
    return path
