"""The reader against the gguf package: what that reads is what comes back; and a few types by their formula."""

from __future__ import annotations

import hashlib
import json
import warnings
import zipfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from gguf import GGUFEndian, GGUFReader, GGUFWriter
from gguf.constants import GGML_QUANT_SIZES, TENSOR_NAMES, GGMLQuantizationType
from gguf.quants import dequantize, quantize
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from wexport_gguf import READER, names

import wexport
import wexport.testing

MODELS = Path(__file__).parent / "models.zip"
with zipfile.ZipFile(MODELS) as _archive:
    SAID = json.loads(_archive.read("said.json"))
TYPE = GGMLQuantizationType
PLAIN = {TYPE.F32, TYPE.F16, TYPE.F64, TYPE.I8, TYPE.I16, TYPE.I32, TYPE.I64}
DECODED = [kind for kind in TYPE if kind not in PLAIN | {TYPE.BF16, TYPE.Q8_1, TYPE.Q8_K, TYPE.Q1_0}]
RNG = np.random.default_rng(2)


def whole(path: Path) -> dict[str, NDArray[Any]]:
    """Every tensor that the gguf package can decode, as it decodes it, all at once."""
    found = {}
    for tensor in GGUFReader(path).tensors:
        stored, kind = np.asarray(tensor.data), tensor.tensor_type
        try:
            found[tensor.name] = np.array(stored if kind in PLAIN else dequantize(stored, kind))
        except NotImplementedError:
            continue
    return found


class _Contract(wexport.testing.ReaderTests):
    reader = READER
    name: ClassVar[str]

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def unpacked(cls, tmp_path_factory: pytest.TempPathFactory) -> None:
        with zipfile.ZipFile(MODELS) as archive:
            cls.path = Path(archive.extract(cls.name, tmp_path_factory.mktemp("gguf")))
        cls.values = whole(cls.path)
        if "tensor.BF16" in cls.values:  # gguf widens it; here it stays what it is
            import ml_dtypes

            cls.values["tensor.BF16"] = cls.values["tensor.BF16"].astype(ml_dtypes.bfloat16)


class TestEveryType(_Contract):
    name = "every_type.gguf"


class TestLlama(_Contract):
    name = "llama.gguf"


class TestPartOfSplit(_Contract):
    name = "split-00002-of-00003.gguf"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("models")
    with zipfile.ZipFile(MODELS) as archive:
        archive.extractall(found)
    return found


def read(path: Path) -> tuple[wexport.Model, dict[str, NDArray[Any]]]:
    with wexport.Source(path) as source:
        model = READER.open(source)
        return model, {
            tensor.name: np.concatenate([np.empty(0, np.float32), *tensor.chunks(1 << 20)]) for tensor in model.tensors
        }


@pytest.mark.parametrize("name", [name for name in SAID if name.endswith(".gguf")])
def test_a_file_gives_what_the_package_said_when_it_was_written(folder: Path, name: str) -> None:
    with wexport.Source(folder / name) as source:
        model = READER.open(source)
        found = {tensor.name: tensor for tensor in model.tensors}
        for tensor, said in SAID[name].items():
            if said["sha256"] is None:
                assert tensor not in found
                continue
            assert found[tensor].shape == tuple(reversed(said["ne"]))
            stored = np.concatenate(list(found[tensor].chunks(1 << 12)))
            values = stored.astype(said["values"])
            assert hashlib.sha256(values.tobytes()).hexdigest() == said["sha256"], tensor
            assert wexport.measuring.measure(found[tensor]).mean == pytest.approx(said["sum"] / values.size, rel=1e-9)
    left_out = {skipped.name for skipped in model.skipped}
    assert left_out == {tensor for tensor, said in SAID[name].items() if said["sha256"] is None}


# -- values by their formula -------------------------------------------------------------------------------------------


def scale(blocks: NDArray[np.uint8], at: int) -> NDArray[np.float64]:
    return blocks[:, at : at + 2].copy().view("<f2").astype(np.float64)


def q8_0(blocks: NDArray[np.uint8]) -> NDArray[np.float64]:
    return scale(blocks, 0) * blocks[:, 2:].view(np.int8)


def q4_0(blocks: NDArray[np.uint8]) -> NDArray[np.float64]:
    packed = blocks[:, 2:].astype(int)
    return scale(blocks, 0) * (np.concatenate([packed & 15, packed >> 4], axis=1) - 8)


def q4_k(blocks: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Eight runs of 32 values, each with a scale and a minimum of 6 bits, which share 12 bytes (`get_scale_min_k4`)."""
    out = np.empty((len(blocks), 256))
    for row, block in enumerate(blocks):
        six, packed = block[4:16].astype(int), block[16:].astype(int)
        for run in range(8):
            if run < 4:
                factor, least = six[run] & 63, six[run + 4] & 63
            else:
                factor = (six[run + 4] & 15) | (six[run - 4] >> 6) << 4
                least = (six[run + 4] >> 4) | (six[run] >> 6) << 4
            values = packed[run // 2 * 32 : run // 2 * 32 + 32] >> 4 * (run % 2) & 15
            out[row, run * 32 : run * 32 + 32] = (
                scale(block[None], 0)[0] * factor * values - scale(block[None], 2)[0] * least
            )
    return out


@pytest.mark.parametrize(("kind", "formula"), [(TYPE.Q8_0, q8_0), (TYPE.Q4_0, q4_0), (TYPE.Q4_K, q4_k)])
def test_values_are_those_of_the_formula(tmp_path: Path, kind: TYPE, formula: Any) -> None:
    values, size = GGML_QUANT_SIZES[kind]
    blocks = RNG.integers(0, 256, (700, size), dtype=np.uint8)
    blocks[:, 1] &= 0x3B  # scales below 1
    blocks[:, 3] &= 0x3B if kind == TYPE.Q4_K else 0xFF
    write(tmp_path / "one.gguf", {"a.weight": (blocks.reshape(7, -1), kind)})
    model, found = read(tmp_path / "one.gguf")
    assert model.tensors[0].shape == (7, 100 * values)
    assert (model.tensors[0].dtype, model.tensors[0].value_dtype) == (kind.name.lower(), "float32")
    np.testing.assert_allclose(found["a.weight"], formula(blocks).reshape(-1), rtol=1e-6, atol=1e-6)


def write(
    path: Path, tensors: dict[str, tuple[NDArray[Any], TYPE | None]], order: GGUFEndian = GGUFEndian.LITTLE
) -> None:
    writer = GGUFWriter(path, "llama", endianess=order)
    for name, (values, kind) in tensors.items():
        writer.add_tensor(name, values.copy(), raw_dtype=kind)  # a big-endian writer swaps what it is given
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@given(kind=st.sampled_from(DECODED), count=st.integers(1, 40), limit=st.integers(1, 5000), seed=st.integers(0, 99))
def test_any_bits_decode_to_what_the_package_makes_of_them(
    tmp_path_factory: pytest.TempPathFactory, kind: TYPE, count: int, limit: int, seed: int
) -> None:
    """NaN, infinite and tiny scales among them; and no warning of NumPy's comes through."""
    path = tmp_path_factory.getbasetemp() / "bits.gguf"
    blocks = np.random.default_rng(seed).integers(0, 256, (1, count * GGML_QUANT_SIZES[kind][1]), dtype=np.uint8)
    write(path, {"a": (blocks, kind)})
    with wexport.Source(path) as source, warnings.catch_warnings():
        warnings.simplefilter("error")
        found = np.concatenate(list(READER.open(source).tensors[0].chunks(limit)))
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(found, dequantize(blocks, kind).reshape(-1))


def test_a_decoded_model_has_the_same_hashes(tmp_path: Path) -> None:
    values = RNG.normal(size=(8, 64)).astype(np.float32)
    stored = quantize(values, TYPE.Q8_0)
    write(tmp_path / "small.gguf", {"output.weight": (stored, TYPE.Q8_0)})
    write(tmp_path / "wide.gguf", {"output.weight": (dequantize(stored, TYPE.Q8_0), None)})
    small, wide = (wexport.inspect(tmp_path / f"{name}.gguf").rows[0] for name in ("small", "wide"))
    assert (small["dtype"], wide["dtype"]) == ("q8_0", "float32")
    assert small["content_hash"] == wide["content_hash"]


def test_a_decoded_model_is_known_by_its_content(tmp_path: Path) -> None:
    """Whatever its tensors are called there, in another order and beside others of their shape."""
    values = [quantize(RNG.normal(size=(8, 64)).astype(np.float32), TYPE.Q8_0) for _ in range(3)]
    write(tmp_path / "small.gguf", {name: (values[n], TYPE.Q8_0) for n, name in enumerate("abc")})
    write(tmp_path / "wide.gguf", {name: (dequantize(values[n], TYPE.Q8_0), None) for name, n in (("x", 1), ("y", 2))})
    found = wexport.diff(tmp_path / "small.gguf", tmp_path / "wide.gguf").tensors
    assert {(pair.a and pair.a.tensor, pair.b and pair.b.tensor, pair.method) for pair in found} == {
        ("a", None, None),
        ("b", "x", "content"),
        ("c", "y", "content"),
    }


# -- what a file may be ------------------------------------------------------------------------------------------------


def test_big_endian_files_give_the_same_values(tmp_path: Path) -> None:
    import ml_dtypes

    halves = RNG.normal(size=(3, 4)).astype(ml_dtypes.bfloat16)
    plain = {
        "f32": RNG.normal(size=(3, 4)).astype(np.float32),
        "f16": RNG.normal(size=5).astype(np.float16),
        "i64": np.arange(-3, 3),
        "i8": np.arange(-3, 3, dtype=np.int8),
    }
    quantised = quantize(RNG.normal(size=(2, 32)).astype(np.float32), TYPE.Q8_0)
    write(
        tmp_path / "big.gguf",
        {name: (values, None) for name, values in plain.items()}
        | {"bf16": (halves.view(np.uint16), TYPE.BF16), "q8": (quantised, TYPE.Q8_0)},
        GGUFEndian.BIG,
    )
    model, found = read(tmp_path / "big.gguf")
    for name, values in (plain | {"bf16": halves}).items():
        np.testing.assert_array_equal(found[name], values.reshape(-1))
    assert {tensor.name: tensor.dtype for tensor in model.tensors}["bf16"] == "bfloat16"
    assert [(skipped.name, skipped.problem) for skipped in model.skipped] == [("q8", True)]
    assert "big-endian" in model.skipped[0].detail
    assert wexport.inspect(tmp_path / "big.gguf").result.status == "partial"


def test_version_2_is_read_and_others_are_told(tmp_path: Path, folder: Path) -> None:
    content = (folder / "llama.gguf").read_bytes()
    for version in (1, 2, 4, 0x02000000):
        path = tmp_path / f"version{version}.gguf"
        path.write_bytes(content[:4] + version.to_bytes(4, "little") + content[8:])
        if version == 2:
            assert len(read(path)[0].tensors) == len(SAID["llama.gguf"])
            continue
        with pytest.raises(wexport.ReadError, match=path.name):
            read(path)


def test_names_tell_layers_roles_and_layouts(folder: Path) -> None:
    rows = {row["tensor"]: row for row in wexport.inspect(folder / "llama.gguf").rows}
    told = {
        name: (row["slot"], row["layer"], row["layer_class"], row["role"], list(row["canonical_shape"]))
        for name, row in rows.items()
    }
    assert told["token_embd.weight"] == (
        *("token_embd/embeddings", "token_embd", "Embedding", "embeddings"),
        [20, 32],
    )
    assert told["blk.1.attn_k.weight"] == ("blk/1/attn_k/kernel", "blk/1/attn_k", "Dense", "kernel", [32, 16])
    assert told["blk.0.attn_q.bias"] == ("blk/0/attn_q/bias", "blk/0/attn_q", "Dense", "bias", [32])
    assert told["output_norm.weight"] == ("output_norm/gamma", "output_norm", None, "gamma", [32])
    assert told["blk.1.ffn_down_exps.weight"] == (
        *("blk/1/ffn_down_exps/kernel", "blk/1/ffn_down_exps", None, "kernel"),
        [2, 64, 32],
    )
    assert told["rope_freqs.weight"] == ("rope_freqs/weight", "rope_freqs", None, "unknown", [8])
    assert rows["blk.1.attn_k.weight"]["unit_count"] == 16
    assert rows["blk.1.ffn_down_exps.weight"]["unit_count"] == 2 * 32
    row = rows["output.weight"]
    assert (row["format"], row["framework"], row["framework_version"], row["backend"]) == (
        *("gguf", "ggml", "quantization version 2"),
        "llama",
    )


def test_units_are_the_rows_of_the_stored_matrix(folder: Path) -> None:
    """The canonical layout turns (out, in) around: a unit's norm is over its row."""
    values = whole(folder / "llama.gguf")
    rows = {row["tensor"]: row for row in wexport.inspect(folder / "llama.gguf").rows}
    for name, axis in (("blk.0.attn_k.weight", 1), ("blk.1.ffn_gate_exps.weight", 2)):
        norms = np.sqrt((values[name].astype(np.float64) ** 2).sum(axis=axis)).reshape(-1)
        np.testing.assert_allclose(rows[name]["units"]["l2_norm"], norms, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("blk.0.attn_k_b.weight", (2, 32, 32)),
        ("blk.0.attn_q.weight.lora_a", (32, 32)),
        ("blk.0.attn_q.scale", (32,)),
        ("blk.0.output.weight", (32, 32)),
        ("attn_q.weight", (32, 32)),
        ("blk.0.ffn_gate_inp_shexp.weight", (32,)),
        ("blk.0.ssm_a", (32, 4)),
        ("model.layers.0.attn_q.weight", (32, 32)),
    ],
)
def test_other_names_tell_their_place_and_no_more(tmp_path: Path, name: str, shape: tuple[int, ...]) -> None:
    write(tmp_path / "one.gguf", {name: (np.ones(shape, np.float32), None)})
    (row,) = wexport.inspect(tmp_path / "one.gguf").rows
    assert (row["slot"], row["role"], row["layer_class"]) == (name.replace(".", "/"), "unknown", None)
    assert row["layer"] == "/".join(name.split(".")[:-1])
    assert tuple(row["canonical_shape"]) == shape


def test_words_are_of_the_vocabulary_of_the_package() -> None:
    known = set(TENSOR_NAMES.values())
    blocks = tuple(f"{prefix}blk.{{bid}}." for prefix in ("", "enc.", "dec.", "v.", "a."))
    for word in names._TOP_LINEAR | names._TOP_NORM | names._TOP_EMBEDDING:
        assert word in known, word
    for word in names._BLOCK_LINEAR | names._BLOCK_NORM | names._EXPERTS:
        assert any(f"{block}{word}" in known for block in blocks), word
