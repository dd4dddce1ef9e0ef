"""Damaged and hostile files: each ends in one named status, within its time and memory, and harms nothing else."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_files import MODELS, graph, opened, varint, weights
from wexport_onnx import READER
from wexport_onnx.stored import MAX_RANK

import wexport
import wexport.testing


def field(number: int, content: bytes | int) -> bytes:
    if isinstance(content, int):
        return varint(number << 3) + varint(content % (1 << 64))
    return varint(number << 3 | 2) + varint(len(content)) + content


def model(content: bytes, *, more: bytes = b"") -> bytes:
    """A file whose graph is `content`."""
    return field(1, 8) + field(2, b"tests") + field(7, content) + more


NODE = field(1, field(1, b"x") + field(1, b"w") + field(2, b"y") + field(4, b"MatMul"))
VALUES = weights(3, 5).tobytes()


def tensor(*fields: bytes, name: bytes = b"w", dims: tuple[int, ...] = (3, 5), kind: int = 1) -> bytes:
    shape = b"".join(field(1, length) for length in dims)
    return field(5, shape + field(2, kind) + field(8, name) + b"".join(fields))


RAW = field(9, VALUES)
GOOD = NODE + tensor(RAW)


def ingested(path: Path, content: bytes, **options: object) -> wexport.ModelResult:
    path = path / "hostile.onnx"
    path.write_bytes(content)
    (result,) = wexport.ingest([path], path.parent / "out.parquet", **options).models
    return result


def test_the_file_that_the_others_are_made_of_is_well(tmp_path: Path) -> None:
    assert (tmp_path / "m").write_bytes(model(GOOD))
    assert onnx.load(tmp_path / "m").graph.node[0].op_type == "MatMul"
    result = ingested(tmp_path, model(GOOD))
    assert (result.status, result.tensors, result.parameters) == ("ok", 1, 15)


def nested(depth: int) -> bytes:
    """A graph in a node in a graph ..., each below the last."""
    head = b""
    length = 0
    for _ in range(depth):
        inner = varint(6 << 3 | 2) + varint(length)  # an attribute's graph
        attribute = varint(5 << 3 | 2) + varint(length + len(inner))
        name = field(4, b"If")
        body = len(name) + len(attribute) + len(inner) + length
        node = varint(1 << 3 | 2) + varint(body)
        head = node + name + attribute + inner + head
        length = body + len(node)
    return head


DAMAGED = {
    "a length beyond the file": field(1, 8) + varint(7 << 3 | 2) + varint(1 << 60) + GOOD,
    "a length of 64 bits": field(1, 8) + varint(7 << 3 | 2) + b"\xff" * 9 + b"\x01" + GOOD,
    "a varint of eleven bytes": field(1, 8) + field(7, GOOD + b"\xff" * 10 + b"\x01"),
    "a varint that does not end": field(1, 8) + field(7, GOOD + b"\xff" * 8),
    "a node that reaches beyond its graph": model(b"\x0a\x7f" + NODE),
    "a field numbered 0": model(GOOD + b"\x02\x00"),
    "a group": model(GOOD + varint(15 << 3 | 3)),
    "two graphs": model(GOOD, more=field(7, GOOD)),
    "rubbish behind the model": model(GOOD, more=b"\xff" * 40),
    "a name of a mebibyte": model(field(1, field(3, b"n" * (1 << 20)) + field(4, b"MatMul")) + tensor(RAW)),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, name: str) -> None:
    result = ingested(tmp_path, DAMAGED[name], reader="onnx")
    assert result.status == "failed"
    assert "hostile.onnx" in result.reason
    assert "raised" not in result.reason
    assert "Error:" not in result.reason


TENSORS = {
    "a shape bomb": (tensor(RAW, dims=(1 << 40,)), "raw_data has 60 bytes where type and shape make"),
    "a product past 64 bits": (tensor(RAW, dims=(1 << 62, 1 << 62)), "raw_data has 60 bytes where"),
    "a negative length": (tensor(RAW, dims=(-3, -5)), "declares the shape (-3, -5)"),
    "too many axes": (tensor(RAW, dims=(1,) * (MAX_RANK + 1)), "axes"),
    "a million packed axes": (field(5, field(1, b"\x01" * 1_000_000) + field(2, 1) + field(8, b"w") + RAW), "allowed"),
    "too few bytes": (tensor(field(9, VALUES[:-1])), "raw_data has 59 bytes"),
    "too many bytes": (tensor(field(9, VALUES + b"\0")), "raw_data has 61 bytes"),
    "no values": (tensor(), "declares 15 values and has none"),
    "both raw and typed": (tensor(RAW, field(4, VALUES)), "its values twice"),
    "raw twice": (tensor(RAW, RAW), "its values twice"),
    "typed in two stretches": (tensor(field(4, VALUES[:20]), field(4, VALUES[20:])), "its values twice"),
    "typed one by one": (tensor(*(varint(4 << 3 | 5) + struct.pack("<f", 1.0) for _ in range(15))), "one by one"),
    "typed in another's field": (tensor(field(7, b"\x01" * 15)), "stand in int64_data"),
    "fewer numbers than values": (tensor(field(5, b"\x01" * 14), kind=6), "int32_data has 14 bytes"),
    "an unknown type": (tensor(RAW, kind=99), "type 99"),
    "no type": (field(5, field(1, 15) + field(8, b"w") + RAW), "type 0"),
    "a segment": (tensor(RAW, field(3, field(1, 0) + field(2, 15))), "segment"),
    "fields of other wire types": (field(5, field(1, 15) + field(8, 1) + field(2, b"\x01") + field(9, 3)), "type 0"),
}


@pytest.mark.parametrize("name", TENSORS)
def test_a_hostile_tensor_costs_itself_only(tmp_path: Path, name: str) -> None:
    hostile, reason = TENSORS[name]
    result = ingested(tmp_path, model(GOOD + hostile.replace(b"\x42\x01w", b"\x42\x01v")))
    assert (result.status, result.tensors) == ("partial", 1)
    (problem,) = result.problems
    assert reason in problem.detail


NUMBERS = [
    (b"\x01" * 14 + b"\x81" * 20, "more than 10 bytes"),
    (b"\x81" * 30, "more than 10 bytes"),
    (b"\x01" * 16, "too many"),
    (b"\x81\x01" * 14, "too few"),
    (b"\x01" * 14 + b"\x81", "cut short"),
]


@pytest.mark.parametrize(("data", "reason"), NUMBERS)
def test_numbers_that_do_not_fit_are_told_when_they_are_read(tmp_path: Path, data: bytes, reason: str) -> None:
    own = field(1, field(1, b"v") + field(4, b"Own") + field(7, b"own"))
    result = ingested(tmp_path, model(GOOD + own + tensor(field(5, data), kind=6, name=b"v")))
    assert (result.status, result.tensors) == ("partial", 1)
    assert reason in result.problems[0].detail


def test_a_copy_by_a_name_that_is_taken_is_none_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    copy = field(1, field(1, b"w") + field(2, b"v") + field(4, b"Identity"))
    norm = field(1, field(1, b"x") + field(1, b"w") + field(1, b"v") + field(4, b"LayerNormalization"))
    path.write_bytes(model(copy + norm + tensor(field(9, bytes(20)), dims=(5,)) + tensor(RAW, name=b"v")))
    with opened(path) as read:
        names = [each.name for each in read.tensors]
    assert sorted(names) == ["v", "w"]


def test_a_second_tensor_of_one_name_is_told(tmp_path: Path) -> None:
    result = ingested(tmp_path, model(GOOD + tensor(RAW)))
    assert (result.status, result.tensors) == ("partial", 1)
    assert result.problems[0].what == "second tensor of one name"


@pytest.mark.parametrize("depth", [20, 1_000, 20_000])
def test_graphs_nested_without_end_are_cut(tmp_path: Path, depth: int) -> None:
    result = ingested(tmp_path, model(GOOD + nested(depth)))
    assert result.status == "partial"
    assert result.problems[0].what == "graphs nested too deep"


def test_functions_that_call_each_other_without_end_are_cut(tmp_path: Path) -> None:
    """Two calls at each of many levels: 2^levels nodes, if nobody counts."""

    def call(name: str, x: str) -> onnx.NodeProto:
        return helper.make_node(name, ["x", x], ["z"], domain="own")

    opset = [helper.make_opsetid("", 21), helper.make_opsetid("own", 1)]
    functions = [
        helper.make_function("own", f"F{n}", ["x", "k"], ["z"], [call(f"F{n + 1}", "k")] * 60, opset) for n in range(20)
    ]
    functions.append(helper.make_function("own", "F20", ["x", "k"], ["z"], [call("F0", "k")], opset))
    content = graph([call("F0", "w")], {"w": weights(3, 5)}, functions=functions)
    began = time.monotonic()
    result = ingested(tmp_path, content)
    assert result.status == "failed"
    assert "holds more than" in result.reason
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("node", [b"", field(1, b"x") + field(2, b"x") + field(4, b"Relu")])
def test_more_nodes_than_any_model_has_are_refused(tmp_path: Path, node: bytes) -> None:
    result = ingested(tmp_path, model(field(1, node) * (5_000_000 // (1 + 3 * bool(node)))), reader="onnx", timeout=120)
    assert result.status == "failed"
    assert "holds more than 4,000,000 fields" in result.reason


def test_a_hundred_thousand_nodes_are_no_trouble(tmp_path: Path) -> None:
    relu = field(1, field(1, b"x") + field(2, b"x") + field(4, b"Relu"))
    result = ingested(tmp_path, model(relu * 100_000 + GOOD), timeout=120)
    assert (result.status, result.tensors) == ("ok", 1)


def test_more_tensors_than_any_model_has_are_refused(tmp_path: Path) -> None:
    many = b"".join(tensor(field(9, b"\0\0\0\0"), dims=(1,), name=str(number).encode()) for number in range(60_000))
    result = ingested(tmp_path, model(many))
    assert result.status == "failed"
    assert "holds more than 50,000 tensors" in result.reason


def test_names_of_all_sorts_come_through(tmp_path: Path) -> None:
    names = [b"\xff\xfe", "日本".encode(), b"<script>", b"\x1b[31m", b"a\0b", b"$x$", b""]
    content = model(NODE + b"".join(tensor(RAW, name=name) for name in names))
    result = ingested(tmp_path, content)
    assert (result.status, result.tensors) == ("ok", len(names))


def test_what_is_no_model_is_not_claimed(tmp_path: Path) -> None:
    foreign = {
        # TensorFlow's SavedModel: a version, then meta graphs; CoreML: a version, a description, a network
        "saved_model.pb": field(1, 1) + field(2, field(1, field(1, b"serve")) + field(2, GOOD)),
        "model.mlmodel": field(1, 4) + field(2, field(1, b"description")) + field(500, field(1, GOOD)),
        "frozen.pb": field(1, field(1, b"node") + field(2, b"Const")) * 10,
        "a model without a graph": field(1, 8) + field(2, b"pytorch"),
        "an empty graph": field(1, 8) + field(7, b""),
        "numbers in place of a graph": field(1, 8) + field(7, 5),
        "another message in its place": field(1, 8) + field(7, field(1, field(4, b"\x01\x02")) + field(5, 3)),
        "text in its place": field(1, 8) + field(2, b"me") + field(7, b"hello, this is not a graph at all"),
        "a version past all": field(1, 5_000) + field(7, GOOD),
        "more fields behind": field(1, 8) + field(7, GOOD) + field(9, b"what"),
    }
    for name, content in foreign.items():
        (tmp_path / "file").write_bytes(content)
        with wexport.Source(tmp_path / "file") as source:
            assert READER.sniff(source) == 0, name


def test_random_messages_are_not_claimed(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for _ in range(500):
        fields = [
            field(int(random.integers(1, 16)), random.bytes(int(random.integers(20))) if random.random() < 0.7 else 5)
            for _ in range(int(random.integers(1, 12)))
        ]
        (tmp_path / "file").write_bytes(field(1, 8) + b"".join(fields))
        with wexport.Source(tmp_path / "file") as source:
            assert READER.sniff(source) == 0


def test_a_file_cut_short_is_recognised_and_told(tmp_path: Path) -> None:
    content = (MODELS / "torch_images_script.onnx").read_bytes()
    result = ingested(tmp_path, content[: len(content) // 2])
    assert result.status == "failed"
    assert "is cut short" in result.reason


@pytest.mark.parametrize("name", ["torch_images_script.onnx", "tf2onnx_words.onnx", "quantised_qdq.onnx"])
def test_damaged_files_end_in_one_named_status_each(name: str) -> None:
    found = wexport.testing.ingest_mutants(MODELS / name, reader="onnx")
    assert sum(found.statuses.values()) == len(found.changes) > 0
    assert not found.statuses["crashed"] + found.statuses["timed out"] + found.statuses["memory"]


def test_damaged_files_with_their_values_beside_them() -> None:
    found = wexport.testing.ingest_mutants(
        MODELS / "torch_outside.onnx",
        reader="onnx",
        beside=[MODELS / "torch_outside.bin"],
        external_data=True,
    )
    assert not found.statuses["crashed"] + found.statuses["timed out"] + found.statuses["memory"]
    assert found.statuses["ok"] + found.statuses["partial"] > len(found.changes) / 10


def test_a_typed_tensor_larger_than_a_chunk(tmp_path: Path) -> None:
    """Numbers of varied length are cut into chunks at their own ends."""
    values = np.random.default_rng(0).integers(-(2**31), 2**31, 100_000, np.int32)
    proto = TensorProto(name="w", data_type=TensorProto.INT32, dims=[100_000], int32_data=values.tolist())
    (tmp_path / "m").write_bytes(graph([helper.make_node("Own", ["x", "w"], ["y"], domain="own")], {"w": proto}))
    with opened(tmp_path / "m") as read:
        for limit in (1 << 10, 1 << 16):
            chunks = list(read.tensors[0].chunks(limit))
            assert max(chunk.nbytes for chunk in chunks) <= limit
            np.testing.assert_array_equal(np.concatenate(chunks), values)
