"""The reader against the libraries that wrote the files, and against what lies, overlaps or is not there."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import safetensors.numpy
import wexport_safetensors
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from wexport_safetensors import READER

import wexport
import wexport.testing

MODELS = Path(__file__).parent / "models"
EXPECTED: dict[str, dict[str, tuple[list[int], str, str]]] = json.loads((MODELS / "expected.json").read_text())
FILES = {
    "types": MODELS / "types.safetensors",
    "bert": MODELS / "bert" / "model.safetensors",
    "gpt2": MODELS / "gpt2" / "model.safetensors",
    "llama": MODELS / "llama" / "model.safetensors.index.json",
}
SHARDS = sorted((MODELS / "llama").glob("*.safetensors"))
BERT = safetensors.numpy.load_file(FILES["bert"])


class TestTypes(wexport.testing.ReaderTests):
    reader = READER
    path = FILES["types"]


class TestTorchsNames(wexport.testing.ReaderTests):
    reader = READER
    path = FILES["bert"]
    values = BERT
    canonical: ClassVar[Any] = {
        name: array.T if name.endswith("dense.weight") else array
        for name, array in BERT.items()
        if array.ndim == 1 or name.endswith(("dense.weight", "embeddings.weight"))
    }


class TestShards(wexport.testing.ReaderTests):
    reader = READER
    path = FILES["llama"]
    beside = SHARDS


@pytest.mark.parametrize("model", FILES)
def test_values_are_those_that_torch_holds(model: str) -> None:
    expected = {name: rest for name, rest in EXPECTED[model].items() if rest[1] != "complex64"}
    with wexport.Source(FILES[model]) as source:
        found = {tensor.name: tensor for tensor in READER.open(source).tensors}
        assert found.keys() == expected.keys()
        for name, (shape, dtype, digest) in expected.items():
            tensor = found[name]
            assert (list(tensor.shape), tensor.dtype) == (shape, dtype), name
            numbers = np.concatenate([np.empty(0), *(chunk.astype(np.float64) for chunk in tensor.chunks(100))])
            assert hashlib.sha256(np.where(np.isnan(numbers), np.nan, numbers).tobytes()).hexdigest() == digest, name


@given(
    arrays=st.dictionaries(
        st.text(max_size=8).filter(lambda name: name != "__metadata__"),
        hnp.arrays(
            st.sampled_from([np.float16, np.float32, np.float64, np.int8, np.uint16, np.int64, np.bool_]),
            hnp.array_shapes(min_dims=0, max_dims=4, min_side=0),
        ),
        max_size=4,
    ),
    limit=st.integers(1, 64),
)
def test_values_are_those_of_the_library(
    tmp_path_factory: pytest.TempPathFactory, arrays: dict[str, np.ndarray[Any, Any]], limit: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "one.safetensors"
    path.write_bytes(safetensors.numpy.save(arrays))
    with wexport.Source(path) as source:
        found = {tensor.name: tensor for tensor in READER.open(source).tensors}
        assert found.keys() == arrays.keys()
        for name, array in arrays.items():
            values = np.concatenate([np.empty(0, array.dtype), *found[name].chunks(limit)])
            assert (found[name].shape, values.dtype) == (array.shape, array.dtype)
            assert values.tobytes() == array.tobytes()


def inspected(path: Path) -> dict[str, dict[str, Any]]:
    return {row["tensor"]: row for row in wexport.inspect(path).rows}


def test_names_of_torch_tell_layers_roles_and_classes() -> None:
    rows = inspected(FILES["bert"])
    query = rows["encoder.layer.0.attention.self.query.weight"]
    assert (query["slot"], query["role"]) == ("encoder/layer/0/attention/self/query/kernel", "kernel")
    assert (query["layer"], query["layer_class"]) == ("encoder/layer/0/attention/self/query", "Dense")
    assert (query["unit_count"], query["framework"], query["format"]) == (8, "torch", "safetensors")
    words = rows["embeddings.word_embeddings.weight"]
    assert (words["role"], words["layer_class"], words["layer_index"]) == ("embeddings", "Embedding", None)


def test_names_with_a_slash_tell_layers_and_roles(tmp_path: Path) -> None:
    arrays = {"dense/kernel": np.ones((2, 3)), "bn/moving_mean": np.ones(3), "other": np.ones(1)}
    safetensors.numpy.save_file(arrays, tmp_path / "m.safetensors", metadata={"format": "np"})
    rows = inspected(tmp_path / "m.safetensors")
    assert {name: (row["slot"], row["role"]) for name, row in rows.items()} == {
        "dense/kernel": ("dense/kernel", "kernel"),
        "bn/moving_mean": ("bn/moving_mean", "moving_mean"),
        "other": ("other", "unknown"),
    }
    assert rows["bn/moving_mean"]["trainable"] is False
    assert {row["framework"] for row in rows.values()} == {"numpy"}


def test_what_is_no_number_is_named_and_left_out() -> None:
    with wexport.Source(FILES["types"]) as source:
        model = READER.open(source)
    assert [(skipped.what, skipped.name, skipped.problem) for skipped in model.skipped] == [
        ("tensor of type C64", "complex64", False)
    ]


# -- lies --------------------------------------------------------------------------------------------------------------


def file(header: Any, values: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + values


def entry(shape: Any, begin: Any, end: Any, dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


FOUR = bytes(16)
PLACE = b'"data_offsets":[0,16]'
TWICE = b'{"a":{"dtype":"F32","shape":[4],%b},"a":{"dtype":"I32","shape":[4],%b}}' % (PLACE, PLACE)
MANY_DIGITS = b'{"a":{"dtype":"F32","shape":[%b],%b}}' % (b"9" * 5_000, PLACE)
HOSTILE: dict[str, tuple[bytes, str]] = {
    "a header longer than the file": (file({"a": entry([4], 0, 16)}, FOUR, length=20_000), "a header of 20,000"),
    "a header of 4 GiB": (file({"a": entry([4], 0, 16)}, FOUR, length=2**32 - 1), "25,000,000 are allowed"),
    "no JSON": (file(b'{"a": '), "its header cannot be read"),
    "not UTF-8": (file(b'{"\xff": 1}'), "its header cannot be read"),
    "deep": (file(b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"), "its header cannot be read"),
    "a name twice": (file(TWICE, FOUR), "'a' twice"),
    "a key twice": (file(b'{"a":{"dtype":"F32","dtype":"I32","shape":[4],%b}}' % PLACE, FOUR), "'dtype' twice"),
    "values that overlap": (file({"a": entry([4], 0, 16), "b": entry([2], 8, 16)}, FOUR), "a and b share bytes"),
    "the same values twice": (file({"a": entry([4], 0, 16), "b": entry([4], 0, 16)}, FOUR), "share bytes"),
    "a hole": (file({"a": entry([1], 0, 4), "b": entry([2], 8, 16)}, FOUR), "4 bytes between a and b"),
    "a hole at the beginning": (file({"a": entry([2], 8, 16)}, FOUR), "the first 8 bytes"),
    "a hole at the end": (file({"a": entry([2], 0, 8)}, FOUR), "8 bytes at the end"),
    "more values than bytes": (file({"a": entry([5], 0, 16)}, FOUR), "5 values of F32 in 16 bytes"),
    "a shape bomb": (file({"a": entry([2**62, 2**62], 0, 16)}, FOUR), "in 16 bytes"),
    "a part of a byte": (file({"a": entry([3], 0, 2, "F4")}, bytes(2)), "3 values of F4 in 2 bytes"),
    "a negative length": (file({"a": entry([-2, -2], 0, 16)}, FOUR), "the shape [-2, -2]"),
    "a length that is not a number": (file(b'{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,16]}}', FOUR), "NaN"),
    "a length with a point": (file({"a": entry([4.0], 0, 16)}, FOUR), "4.0"),
    "a length of infinite size": (file({"a": entry([float("inf")], 0, 16)}, FOUR), "Infinity"),
    "a length that is true": (file({"a": entry([True], 0, 4)}, bytes(4)), "the shape [True]"),
    "a length of many digits": (file(MANY_DIGITS, FOUR), "cannot be read"),
    "many axes": (file({"a": entry([1] * 33, 0, 4)}, bytes(4)), "the shape"),
    "offsets turned round": (file({"a": entry([4], 16, 0)}, FOUR), "from byte 16 to byte 0"),
    "a negative offset": (file({"a": entry([4], -16, 0)}, FOUR), "from byte -16"),
    "an offset that is true": (file({"a": entry([1], False, True)}, FOUR), "from byte False"),
    "three offsets": (file({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 8, 16]}}, FOUR), "says no dtype"),
    "no shape": (file({"a": {"dtype": "F32", "data_offsets": [0, 16]}}, FOUR), "says no dtype"),
    "an entry that is a list": (file({"a": [1]}, FOUR), "says no dtype"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_that_lies_is_refused_by_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / "hostile.safetensors"
    path.write_bytes(HOSTILE[name][0])
    result = wexport.ingest([path], tmp_path / "out.parquet").models[0]
    assert (result.status, result.failure) == ("failed", "")
    assert "hostile.safetensors" in result.reason
    assert HOSTILE[name][1] in result.reason


def test_of_a_file_cut_short_what_is_there_is_read(tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    path.write_bytes(file({"a": entry([4], 0, 16), "b": entry([4], 16, 32)}, bytes(20)))
    result = wexport.ingest([path], tmp_path / "out.parquet").models[0]
    assert (result.status, result.tensors) == ("partial", 1)
    assert [(problem.name, problem.detail) for problem in result.problems] == [("b", "12 of its bytes are missing")]


def test_a_type_of_tomorrow_is_left_out_by_name(tmp_path: Path) -> None:
    path = tmp_path / "new.safetensors"
    path.write_bytes(file({"a": entry([4], 0, 16), "b": entry([16], 16, 18, "F1_NEW")}, bytes(18)))
    with wexport.Source(path) as source:
        model = READER.open(source)
    assert [tensor.name for tensor in model.tensors] == ["a"]
    assert [(skipped.what, skipped.name) for skipped in model.skipped] == [("tensor of type F1_NEW", "b")]


def test_odd_metadata_is_no_obstacle(tmp_path: Path) -> None:
    for metadata in ({"format": 3}, ["pt"], None, {"format": "nobody"}):
        path = tmp_path / "m.safetensors"
        path.write_bytes(file({"__metadata__": metadata, "a": entry([4], 0, 16)}, FOUR))
        with wexport.Source(path) as source:
            assert READER.open(source).framework is None


def test_a_header_with_spaces_behind_it(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(file(json.dumps({"a": entry([4], 0, 16)}).encode() + b" " * 50, FOUR))
    assert inspected(path)["a"]["value_count"] == 4


def test_many_tensors_are_no_trouble(tmp_path: Path) -> None:
    path = tmp_path / "many.safetensors"
    header = {f"layers.{number}.weight": entry([1], 4 * number, 4 * number + 4) for number in range(20_000)}
    path.write_bytes(file(header, bytes(80_000)))
    with wexport.Source(path) as source:
        assert len(READER.open(source).tensors) == 20_000


# -- shards ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    return Path(shutil.copytree(MODELS / "llama", tmp_path / "llama"))


INDEX = "model.safetensors.index.json"


def test_a_folder_of_shards_is_one_model(llama: Path, tmp_path: Path) -> None:
    for given_paths in ([llama], [llama / INDEX, *SHARDS], [str(llama / "*")]):
        result = wexport.ingest(given_paths, tmp_path / "out.parquet")
        models = [model for model in result.models if model.status == "ok" and model.format == "safetensors"]
        assert len({model.model for model in models}) == len(models)
        assert max(model.tensors for model in models) == 21
    assert [model.model for model in wexport.ingest([llama], tmp_path / "out.parquet").models] == ["model"]


def test_named_alone_a_shard_is_a_file(tmp_path: Path) -> None:
    (found,) = wexport.ingest([SHARDS[0]], tmp_path / "out.parquet").models
    assert (found.status, found.tensors) == ("ok", len(safetensors.numpy.safe_open(SHARDS[0], "np").keys()))


def test_the_size_is_that_of_all_files(llama: Path, tmp_path: Path) -> None:
    (found,) = wexport.ingest([llama], tmp_path / "out.parquet").models
    assert found.source_bytes == sum(path.stat().st_size for path in llama.iterdir())


def test_a_missing_shard_is_named_and_costs_itself(llama: Path, tmp_path: Path) -> None:
    (llama / SHARDS[1].name).unlink()
    (found,) = wexport.ingest([llama], tmp_path / "out.parquet").models
    assert found.status == "partial"
    assert [problem.name for problem in found.problems] == [SHARDS[1].name]
    assert "is not there" in found.problems[0].detail


def test_a_shard_that_is_a_link_out_of_the_folder_is_not_read(llama: Path, tmp_path: Path) -> None:
    shard = llama / SHARDS[1].name
    shard.rename(tmp_path / "elsewhere.safetensors")
    shard.symlink_to(tmp_path / "elsewhere.safetensors")
    (found,) = wexport.ingest([llama], tmp_path / "out.parquet").models
    assert found.status == "partial"
    assert "a link that leads out of" in found.problems[0].detail


def test_an_index_that_names_other_tensors_than_there_are(llama: Path) -> None:
    index = json.loads((llama / INDEX).read_text())
    moved = next(name for name, place in index["weight_map"].items() if place == SHARDS[0].name)
    del index["weight_map"][moved]
    index["weight_map"]["gone.weight"] = SHARDS[0].name
    (llama / INDEX).write_text(json.dumps(index))
    with wexport.Source(llama / INDEX) as source:
        model = READER.open(source)
    assert moved not in {tensor.name for tensor in model.tensors}
    assert [(skipped.what, skipped.name, skipped.problem) for skipped in model.skipped] == [
        ("missing tensor", "gone.weight", True),
        ("tensor that the index does not name", moved, False),
    ]


OUTSIDE = ["../secret.safetensors", "/etc/passwd", "..", "sub/x.safetensors", "sub\\x.safetensors", "C:x.safetensors"]


@pytest.mark.parametrize("place", [*OUTSIDE, INDEX, "x.h5", ""])
def test_no_file_outside_the_folder_is_read(llama: Path, tmp_path: Path, place: str) -> None:
    shutil.copy(FILES["bert"], tmp_path / "secret.safetensors")
    (llama / "sub").mkdir()
    shutil.copy(FILES["bert"], llama / "sub" / "x.safetensors")
    (llama / INDEX).write_text(json.dumps({"weight_map": {"a.weight": SHARDS[0].name, "pooler.dense.weight": place}}))
    found = wexport.ingest([llama / INDEX], tmp_path / "out.parquet").models[0]
    assert (found.status, found.failure) == ("failed", "")
    assert "which is not a .safetensors file of its own folder" in found.reason


DAMAGED = [
    '{"weight_map": {"a": 1}, "x.safetensors": ""}',
    '{"weight_map": [], "b": "c.safetensors"}',
    '{"weight_map", .safetensors"',
]


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_index_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / INDEX).write_text(text)
    found = wexport.ingest([tmp_path / INDEX], tmp_path / "out.parquet").models[0]
    assert found.status == "failed"
    assert INDEX in found.reason


def test_other_formats_are_not_claimed(tmp_path: Path) -> None:
    for number, content in enumerate(
        (
            b'{"weight_map": {"a": "pytorch_model-00001-of-00002.bin"}}',
            (12).to_bytes(8, "little") + b"no header",
            b"\x80\x02",
        )
    ):
        path = tmp_path / f"other{number}"
        path.write_bytes(content)
        with wexport.Source(path) as source:
            assert wexport_safetensors.sniff(source) == 0
