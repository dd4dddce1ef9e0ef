"""Keras 3 files: one model has the same slots in all its containers, and zips are read with care."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.conftest import DATA
from wexport.errors import BudgetError, HostileFileError, ReadError, WexportError
from wexport.files.source import Source
from wexport.model.roles import ROLES
from wexport.model.slots import slot_names
from wexport.model.tensors import Model, Tensor
from wexport.readers.keras import config as keras_config
from wexport.readers.keras import legacy
from wexport.readers.keras.v3 import READER
from wexport.testing import ReaderTests

FILES = [
    pytest.param(oracle, name, id=f"{oracle.parent.name}-{name}")
    for oracle in sorted(DATA.glob("*/*.json"))
    for name in json.loads(oracle.read_text()).get("files", ())
    if name.endswith((".keras", ".weights.h5"))
]
WITH_CONFIG = [item for item in FILES if str(item.id).endswith(".keras") and "subclassed" not in str(item.id)]


def read(path: Path, *, optimizer: bool = False) -> tuple[Model, dict[str, Tensor], dict[str, str]]:
    """A model, its tensors by slot, and the SHA-256 of the values by slot."""
    with Source(path, optimizer=optimizer) as source:
        reader = max((legacy.READER, READER), key=lambda reader: reader.sniff(source))
        assert reader.sniff(source) >= 0.9
        model = reader.open(source)
        found = dict(zip(slot_names(model.tensors), model.tensors, strict=True))
        return model, found, {slot: sha256(tensor) for slot, tensor in found.items()}


def sha256(tensor: Tensor) -> str:
    digest = hashlib.sha256()
    for chunk in tensor.chunks(1 << 20):
        digest.update(chunk.tobytes())
    return digest.hexdigest()


class TestContract(ReaderTests):
    reader = READER
    path = DATA / "keras3" / "recurrent.keras"


# -- files written by the frameworks, against what the frameworks said -----------------------------------------------


@pytest.mark.parametrize(("oracle", "name"), FILES)
def test_every_weight_is_there_once_and_nothing_is_wrongly_told(oracle: Path, name: str) -> None:
    weights = {weight["sha256"]: weight for weight in json.loads(oracle.read_text())["weights"]}
    model, found, hashes = read(oracle.parent / name)
    assert sorted(hashes.values()) == sorted(weights)
    for slot, tensor in found.items():
        weight = weights[hashes[slot]]
        assert (tensor.shape, tensor.dtype) == (tuple(weight["shape"]), weight["dtype"])
        assert tensor.role in ("unknown", _role(weight))
        assert tensor.layer in (None, _layer(weight))
        assert tensor.layer_class in (None, *weight["classes"])
        assert tensor.direction == weight["direction"]
        assert tensor.trainable in (None, weight["trainable"])
    assert not [item for item in model.skipped if item.problem]


@pytest.mark.parametrize(("oracle", "name"), WITH_CONFIG)
def test_a_config_tells_layers_roles_and_order(oracle: Path, name: str) -> None:
    weights = {weight["sha256"]: weight for weight in json.loads(oracle.read_text())["weights"]}
    _, found, hashes = read(oracle.parent / name)
    for slot, tensor in found.items():
        weight = weights[hashes[slot]]
        assert tensor.role == _role(weight)
        assert tensor.layer == _layer(weight)
        assert tensor.layer_index == weight["index"]
    if "int8" not in name:  # there Keras' own list has what is trained first
        assert list(hashes.values()) == list(weights)


def _layer(weight: Mapping[str, Any]) -> str | None:
    """A cell is part of its recurrent layer."""
    pairs = zip(weight["layer"], weight["attributes"], strict=True)
    return "/".join(name for name, attribute in pairs if attribute != "cell") or None


def _role(weight: Mapping[str, Any]) -> str:
    if weight["role"] == "depthwise_kernel" and weight["classes"][-1].startswith("DepthwiseConv"):
        return "kernel"
    return weight["role"] if weight["role"] in ROLES else "unknown"


CONTAINERS = sorted(
    path.with_suffix("") for path in (DATA / "keras3").glob("*.keras") if path.with_suffix(".h5").exists()
)


@pytest.mark.parametrize("stem", CONTAINERS, ids=lambda path: path.name)
def test_all_containers_of_a_model_have_the_same_slots(stem: Path) -> None:
    paths = [stem.with_name(stem.name + ending) for ending in (".h5", ".keras", ".weights.h5")]
    readings = [read(path) for path in paths if path.exists()]
    slots_of_values = [{digest: slot for slot, digest in hashes.items()} for _, _, hashes in readings]
    assert all(other == slots_of_values[0] for other in slots_of_values)
    for slot in readings[0][1]:
        assert len({found[slot].role for _, found, _ in readings} - {"unknown"}) <= 1
        assert len({found[slot].direction for _, found, _ in readings}) == 1
        layouts = {found[slot].layout for _, found, _ in readings} - {None}
        assert len(layouts) <= 1


def test_folds_that_are_numbered_differently_have_the_same_slots() -> None:
    (first, one, _), (second, two, _) = (read(DATA / "keras3" / f"fold_{n}.weights.h5") for n in (1, 2))
    assert list(one) == list(two)
    assert [tensor.layer for tensor in first.tensors] != [tensor.layer for tensor in second.tensors]


def test_optimizer_state_is_read_only_when_asked_for() -> None:
    path = DATA / "keras3" / "trained_adam.keras"
    assert {item.what for item in read(path)[0].skipped} == {"optimizer state"}
    assert {tensor.kind for tensor in read(path, optimizer=True)[0].tensors} == {"weight", "optimizer"}


# -- layouts of other releases ---------------------------------------------------------------------------------------


def h5(groups: Mapping[str, list[tuple[int, ...]]], names: Mapping[str, str] | None = None) -> bytes:
    """An HDF5 file with numbered variables of these shapes in each group, and the names of objects by group."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for path, shapes in groups.items():
            for number, shape in enumerate(shapes):
                file[f"{path}/vars/{number}"] = np.zeros(shape, np.float32)
        for path, name in (names or {}).items():
            file.require_group(f"{path}/vars").attrs["name"] = name
    return buffer.getvalue()


def keras_zip(path: Path, weights: bytes, config: Any = None, **how: Any) -> Path:
    with zipfile.ZipFile(path, "w", **how) as file:
        file.writestr("metadata.json", json.dumps({"keras_version": "3.4.1"}))
        file.writestr("config.json", json.dumps(config if config is not None else {}))
        file.writestr("model.weights.h5", weights)
    return path


def weights_h5(path: Path, *args: Any) -> Path:
    path.write_bytes(h5(*args))
    return path


DENSE = [(4, 3), (3,)]
LSTM = [(4, 12), (3, 12), (12,)]


@pytest.mark.parametrize(
    ("group", "shapes", "expected"),
    [
        ("layers/dense_1", DENSE, ["dense/kernel", "dense/bias"]),
        ("layers/dense", [(4, 3), (3,), (3,)], ["dense/0", "dense/1", "dense/2"]),
        ("layers/dense", [(4, 3), (4,)], ["dense/0", "dense/1"]),
        ("layers/batch_normalization", [(3,)] * 3, [f"batch_normalization/{n}" for n in range(3)]),
        (
            "layers/batch_normalization",
            [(3,)] * 2,
            ["batch_normalization/moving_mean", "batch_normalization/moving_variance"],
        ),
        ("layers/time_distributed/layer", DENSE, ["time_distributed/layer/0", "time_distributed/layer/1"]),
        ("layers/lstm/cell", LSTM, ["lstm/kernel", "lstm/recurrent_kernel", "lstm/bias"]),
        ("layers/rnn/cell", [(4, 3), (5, 5)], ["rnn/0", "rnn/1"]),
        ("layers/rnn/cell/cells/gru_cell", [(4, 9), (3, 9)], ["rnn/gru_cell/kernel", "rnn/gru_cell/recurrent_kernel"]),
        (
            "layers/bidirectional_2/backward_layer/cell",
            [(4, 9), (3, 9), (2, 9)],
            [f"bidirectional/backward/{role}" for role in ("kernel", "recurrent_kernel", "bias")],
        ),
        (
            "layers/multi_head_attention/_query_dense",
            [(4, 2, 3), (2, 3)],
            ["multi_head_attention/query/kernel", "multi_head_attention/query/bias"],
        ),
        ("layers/functional/layers/sequential/layers/dense_3", [(4, 3)], ["functional/sequential/dense/kernel"]),
        ("_layer_checkpoint_dependencies/conv2d", [(3, 3, 2, 4)], ["conv2d/kernel"]),
        ("enc\\_layer_checkpoint_dependencies\\conv2d", [(3, 3, 2, 4)], ["enc/conv2d/kernel"]),
        ("encoder/dense_1", DENSE, ["encoder/dense_1/0", "encoder/dense_1/1"]),
        ("layers/block2_1", [(4,)], ["block2/0"]),
        ("layers/dense", [(4, 3)] * 12, [f"dense/{n}" for n in range(12)]),
    ],
)
def test_a_group_tells_the_slot(tmp_path: Path, group: str, shapes: list[tuple[int, ...]], expected: list[str]) -> None:
    _, found, _ = read(weights_h5(tmp_path / "a.weights.h5", {group: shapes}))
    assert list(found) == expected


def test_seed_generators_and_metrics_are_no_weights(tmp_path: Path) -> None:
    groups = {"layers/dense": DENSE, "layers/dropout/seed_generator": [(2,)], "metrics/mean": [(), ()]}
    model, found, _ = read(weights_h5(tmp_path / "a.weights.h5", groups))
    assert list(found) == ["dense/kernel", "dense/bias"]
    assert sorted((item.what, item.problem) for item in model.skipped) == [
        ("metric state", False),
        ("metric state", False),
        ("seed generator state", False),
    ]


def test_items_of_a_named_list_are_told_by_their_class(tmp_path: Path) -> None:
    names = {"": "net", "encoder": "custom", "encoder/blocks/dense": "dense_41", "head": "dense_42"}
    groups = {"encoder/blocks/dense": DENSE, "head": DENSE}
    _, found, _ = read(weights_h5(tmp_path / "a.weights.h5", groups, names))
    assert list(found) == ["encoder/blocks/dense/kernel", "encoder/blocks/dense/bias", "head/0", "head/1"]
    assert found["encoder/blocks/dense/kernel"].layer == "custom/dense_41"


@pytest.mark.parametrize(
    ("cell", "gates"), [([(4, 12), (3, 12)], "ifco"), ([(4, 9), (3, 9)], "zrh"), ([(4, 3), (3, 3)], "")]
)
def test_a_cell_of_unknown_class_tells_its_gates_by_its_shapes(
    tmp_path: Path, cell: list[tuple[int, ...]], gates: str
) -> None:
    group = "layers/bidirectional/forward_layer/cell"
    for tensor in read(weights_h5(tmp_path / "a.weights.h5", {group: cell}))[0].tensors:
        assert tensor.layout is not None
        assert "".join(tensor.layout.gates) == gates
        assert tensor.layer_class is None


def test_layers_of_a_class_stand_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    groups = {f"layers/dense{'_' * bool(n)}{n or ''}": [(4, 3)] for n in (10, 2, 0)}
    model, found, _ = read(weights_h5(tmp_path / "a.weights.h5", groups))
    assert [tensor.name for tensor in model.tensors] == [
        f"layers/{name}/vars/0" for name in ("dense", "dense_2", "dense_10")
    ]
    assert [tensor.layer_index for tensor in model.tensors] == [0, 1, 2]
    assert list(found) == ["dense/kernel", "dense_1/kernel", "dense_2/kernel"]


def test_a_config_tells_what_groups_do_not(tmp_path: Path) -> None:
    def layer(class_name: str, **config: Any) -> dict[str, Any]:
        return {"module": "keras.layers", "class_name": class_name, "config": config}

    inner = layer("Dense", name="inside", trainable=True, use_bias=True)
    layers = [
        layer("InputLayer", name="in"),
        {"module": "keras.src.ops.numpy", "class_name": "Add", "config": {"name": "add"}},
        layer("TimeDistributed", name="td", trainable=True, layer=inner),
        layer("BatchNormalization", name="bn", trainable=False, center=False),
    ]
    config = {
        "class_name": "Functional",
        "config": {"name": "m", "trainable": True, "layers": layers, "input_layers": []},
    }
    weights = h5({"layers/time_distributed/layer": DENSE, "layers/batch_normalization": [(3,)] * 3})
    model, found, _ = read(keras_zip(tmp_path / "a.keras", weights, config))
    assert [tensor.role for tensor in model.tensors] == ["kernel", "bias", "gamma", "moving_mean", "moving_variance"]
    assert [tensor.layer for tensor in model.tensors] == ["td/inside"] * 2 + ["bn"] * 3
    assert [tensor.layer_index for tensor in model.tensors] == [1, 1, 2, 2, 2]
    assert [tensor.trainable for tensor in model.tensors] == [True, True, False, False, False]
    assert list(found) == [f"time_distributed/layer/{n}" for n in (0, 1)] + [
        f"batch_normalization/{n}" for n in range(3)
    ]
    assert model.framework_version == "3.4.1"


def test_a_model_without_weights_is_no_error(tmp_path: Path) -> None:
    model, _, _ = read(keras_zip(tmp_path / "a.keras", h5({"optimizer": [(), (3,)]})))
    assert (list(model.tensors), [item.what for item in model.skipped]) == ([], ["optimizer state"])


# -- zips ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_are_read_stored_and_compressed(tmp_path: Path, method: int) -> None:
    path = keras_zip(tmp_path / "a.keras", h5({"layers/dense": DENSE}), compression=method)
    _, found, _ = read(path)
    assert list(found) == ["dense/kernel", "dense/bias"]
    assert [item.name for item in tmp_path.iterdir()] == ["a.keras"]


def test_a_keras_file_that_is_hdf5_belongs_to_the_reader_of_its_content(tmp_path: Path) -> None:
    path = tmp_path / "a.keras"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"dense"]
        file.create_group("dense").attrs["weight_names"] = [b"dense/kernel:0"]
        file["dense/dense/kernel:0"] = np.zeros((2, 3), np.float32)
    model, found, _ = read(path)
    assert (model.format, list(found)) == ("keras-h5", ["dense/kernel"])


def test_a_zip_of_something_else_is_not_claimed(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("config.json", "{}")
    with Source(tmp_path / "a.zip") as source:
        assert READER.sniff(source) == 0.0


def _open(path: Path) -> Model:
    with Source(path) as source:
        assert READER.sniff(source) == 0.95
        return READER.open(source)


def test_a_member_named_twice_is_refused(tmp_path: Path) -> None:
    path = keras_zip(tmp_path / "a.keras", h5({"layers/dense": DENSE}))
    with zipfile.ZipFile(path, "a") as file, pytest.warns(UserWarning, match="Duplicate name"):
        file.writestr("config.json", "{}")
    with pytest.raises(HostileFileError, match=r"config\.json"):
        _open(path)


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    path = keras_zip(tmp_path / "a.keras", h5({"layers/dense": DENSE}))
    data = bytearray(path.read_bytes())
    directory = data.index(b"PK\x01\x02")
    data[directory + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(HostileFileError, match="encrypted"):
        _open(path)


def test_a_config_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = keras_zip(tmp_path / "a.keras", h5({"layers/dense": DENSE}), {"class_name": "x" * 100})
    monkeypatch.setattr(keras_config, "MAX_CONFIG_BYTES", 64)
    with pytest.raises(BudgetError, match=r"config\.json"):
        _open(path)


@pytest.mark.parametrize("cut", [10, 0.3, 0.6, 0.9])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_damaged_zip_ends_in_an_error_of_ours(tmp_path: Path, cut: float, method: int) -> None:
    path = keras_zip(tmp_path / "a.keras", h5({"layers/dense": [(40, 30)]}), compression=method)
    data = bytearray(path.read_bytes())
    place = int(cut) if cut > 1 else int(len(data) * cut)
    data[place : place + 40] = b"\xff" * 40
    path.write_bytes(data)
    error, model = None, None
    with Source(path) as source:
        try:
            model = READER.open(source)
            for tensor in model.tensors:
                sha256(tensor)
        except WexportError as raised:
            error = raised
    if error is not None:
        assert str(path) in str(error)
    else:
        assert model is not None
        assert len(model.tensors) + sum(item.problem for item in model.skipped) == 1


def test_a_zip_without_weights_says_so(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.keras", "w") as file:
        file.writestr("config.json", "{}")
        file.writestr("model.weights.npz", b"")
    with pytest.raises(ReadError, match=r"model\.weights\.h5"):
        _open(tmp_path / "a.keras")


def test_a_config_that_doubles_at_each_level_is_cut(tmp_path: Path) -> None:
    layer: dict[str, Any] = {"class_name": "Dense", "config": {"name": "d"}}
    for _ in range(60):
        layer = {"class_name": "Bidirectional", "config": {"name": "b", "layer": layer}}
    config = {"class_name": "Sequential", "config": {"layers": [layer]}}
    assert len(keras_config.holders(config)) < 10


# -- real files of public repositories -------------------------------------------------------------------------------


def test_a_real_subclassed_model_keeps_its_lists(corpus: Path) -> None:
    (path,) = corpus.rglob("*fixed_model.keras")
    _, found, _ = read(path)
    assert list(found)[:2] == ["custom_layer/_custom_layers/dense/kernel", "custom_layer/_custom_layers/dense/bias"]
    assert found["custom_layer/_custom_layers/dense_1/kernel"].layer == "test_layer/dense_7"


@pytest.mark.parametrize("stem", ["models__lstm_model", "models__rnn_model", "models__bidirectional_lstm_model"])
def test_real_models_have_the_same_slots_in_both_containers(corpus: Path, stem: str) -> None:
    (folder,) = corpus.glob("MaheshSyamK__*")
    (_, one, _), (_, two, _) = (read(folder / f"{stem}{ending}") for ending in (".h5", ".keras"))
    assert list(one) == list(two)
    for slot, tensor in one.items():
        other = two[slot]
        assert (tensor.role, tensor.layout, tensor.layer) == (other.role, other.layout, other.layer)
