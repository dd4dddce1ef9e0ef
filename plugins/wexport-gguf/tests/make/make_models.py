"""Small GGUF files written by the gguf package, with JSON of what the same package reads in them.

Run in a virtual environment of its own: pip install gguf==0.19.0

    python plugins/wexport-gguf/tests/make/make_models.py

Writes plugins/wexport-gguf/tests/models.zip. Values come from a fixed seed; running it again gives the same files.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFReader, GGUFWriter
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize, quantize

OUT = Path(__file__).resolve().parents[1] / "models.zip"
TYPE = GGMLQuantizationType
PLAIN = {
    TYPE.F32: np.float32,
    TYPE.F16: np.float16,
    TYPE.F64: np.float64,
    TYPE.I8: np.int8,
    TYPE.I16: np.int16,
    TYPE.I32: np.int32,
    TYPE.I64: np.int64,
}
UNDECODED = (TYPE.Q8_1, TYPE.Q8_K, TYPE.Q1_0)
RNG = np.random.default_rng(5)


def normal(*shape: int) -> np.ndarray[Any, Any]:
    return RNG.normal(size=shape).astype(np.float32)


def packed(kind: TYPE, rows: int) -> np.ndarray[Any, Any]:
    """Rows of one block each: normal values where gguf can quantise, else any bits, but for the scales' exponents."""
    values, size = GGML_QUANT_SIZES[kind]
    try:
        return quantize(normal(rows, values), kind)
    except NotImplementedError:
        blocks = RNG.integers(0, 256, (rows, size), dtype=np.uint8)
        blocks[:, 1::2] &= 0x1F  # wherever a scale stands, as a float16 it is below 0.01
        return blocks


def every_type(folder: Path) -> None:
    """A tensor of each type that gguf decodes; an alignment of 64; metadata of each type, nested arrays among them."""
    writer = GGUFWriter(folder / "every_type.gguf", "llama")
    writer.add_custom_alignment(64)
    writer.add_name("every type")
    writer.add_quantization_version(2)
    writer.add_file_type(0)
    for bits in (8, 16, 32, 64):
        getattr(writer, f"add_uint{bits}")(f"test.u{bits}", 7)
        getattr(writer, f"add_int{bits}")(f"test.i{bits}", -7)
    writer.add_float32("test.f32", 0.5)
    writer.add_float64("test.f64", -0.5)
    writer.add_bool("test.bool", True)
    writer.add_array("test.integers", [1, 2, 3])
    writer.add_array("test.nested", [[1, 2], [3]])
    writer.add_token_list([f"token{number}" for number in range(300)])
    for kind in TYPE:
        if kind in UNDECODED:
            continue
        if kind in PLAIN:
            values = RNG.integers(-100, 100, (3, 4)).astype(PLAIN[kind])
            writer.add_tensor(f"tensor.{kind.name}", values)
        else:
            writer.add_tensor(f"tensor.{kind.name}", packed(kind, 5), raw_dtype=kind)
    finish(writer)


def undecoded(folder: Path) -> None:
    """The types that gguf knows and does not decode, and a tensor beside them."""
    writer = GGUFWriter(folder / "undecoded.gguf", "llama")
    for kind in UNDECODED:
        writer.add_tensor(f"tensor.{kind.name}", packed(kind, 1), raw_dtype=kind)
    writer.add_tensor("tensor.F32", normal(3))
    finish(writer)


def llama(writer: GGUFWriter) -> None:
    """Two blocks of a llama, one of them with experts: the names that its converter gives."""
    wide, hidden, words = 32, 64, 20
    writer.add_context_length(32)
    writer.add_embedding_length(wide)
    writer.add_block_count(2)
    writer.add_quantization_version(2)

    def add(name: str, values: np.ndarray[Any, Any], kind: TYPE) -> None:
        if kind == TYPE.F32:
            writer.add_tensor(name, values)
        else:
            writer.add_tensor(name, quantize(values, kind), raw_dtype=kind)

    add("token_embd.weight", normal(words, wide), TYPE.Q8_0)
    for block in range(2):
        add(f"blk.{block}.attn_norm.weight", normal(wide), TYPE.F32)
        for name, rows in {"attn_q": wide, "attn_k": 16, "attn_v": 16, "attn_output": wide}.items():
            add(f"blk.{block}.{name}.weight", normal(rows, wide), TYPE.Q4_0)
        add(f"blk.{block}.attn_q.bias", normal(wide), TYPE.F32)
        add(f"blk.{block}.ffn_norm.weight", normal(wide), TYPE.F32)
    for name in ("ffn_gate", "ffn_up"):
        add(f"blk.0.{name}.weight", normal(hidden, wide), TYPE.Q5_1)
    add("blk.0.ffn_down.weight", normal(wide, hidden), TYPE.Q5_0)
    add("blk.1.ffn_gate_inp.weight", normal(2, wide), TYPE.F32)
    for name in ("ffn_gate_exps", "ffn_up_exps"):
        add(f"blk.1.{name}.weight", normal(2, hidden, wide), TYPE.Q4_1)
    add("blk.1.ffn_down_exps.weight", normal(2, wide, hidden), TYPE.Q4_1)
    add("rope_freqs.weight", normal(8), TYPE.F32)
    add("output_norm.weight", normal(wide), TYPE.F32)
    add("output.weight", normal(words, wide), TYPE.Q8_0)
    finish(writer)


def finish(writer: GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def said(path: Path) -> dict[str, Any]:
    """What the gguf package reads in a file."""
    tensors = {}
    for tensor in GGUFReader(path).tensors:
        kind = tensor.tensor_type
        try:
            values = np.asarray(tensor.data if kind in PLAIN else dequantize(np.asarray(tensor.data), kind))
            values = values.astype(values.dtype.newbyteorder("="))
        except NotImplementedError:
            tensors[tensor.name] = {"type": kind.name, "ne": tensor.shape.tolist(), "sha256": None}
            continue
        tensors[tensor.name] = {
            "type": kind.name,
            "ne": tensor.shape.tolist(),
            "values": values.dtype.name,
            "sum": float(values.astype(np.float64).sum()),
            "sha256": hashlib.sha256(values.tobytes()).hexdigest(),
        }
    return tensors


def main() -> None:
    with tempfile.TemporaryDirectory() as name, np.errstate(all="ignore"):
        folder = Path(name)
        every_type(folder)
        undecoded(folder)
        llama(GGUFWriter(folder / "llama.gguf", "llama"))
        llama(GGUFWriter(folder / "split.gguf", "llama", split_max_tensors=12))
        written = sorted(folder.glob("*.gguf"))
        with zipfile.ZipFile(OUT, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in written:
                archive.writestr(zipfile.ZipInfo(path.name), path.read_bytes(), zipfile.ZIP_DEFLATED)
            text = json.dumps({path.name: said(path) for path in written}, indent=1)
            archive.writestr(zipfile.ZipInfo("said.json"), text, zipfile.ZIP_DEFLATED)


if __name__ == "__main__":
    main()
