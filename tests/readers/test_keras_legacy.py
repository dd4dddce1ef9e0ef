"""Legacy Keras files: order, layers, roles and layouts are what the framework says, for every release."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.conftest import CORPUS, DATA
from wexport.files.source import Source
from wexport.model.cudnn import CudnnLayout
from wexport.model.roles import ROLES
from wexport.model.slots import slot_names
from wexport.model.tensors import Model, Tensor
from wexport.readers.keras.legacy import READER
from wexport.testing import ReaderTests

ORACLES = sorted(DATA.glob("*/*.json"))
LEGACY = [
    pytest.param(oracle, name, id=f"{oracle.parent.name}-{name}")
    for oracle in ORACLES
    for name in json.loads(oracle.read_text()).get("files", ())
    if name.endswith(".h5") and not name.endswith(".weights.h5")
]


def read(path: Path, *, optimizer: bool = False) -> tuple[Model, list[str], list[str]]:
    """A model, its slots, and the SHA-256 of each tensor's values."""
    with Source(path, optimizer=optimizer) as source:
        assert READER.sniff(source) == 0.9
        model = READER.open(source)
        return model, slot_names(model.tensors), [sha256(tensor) for tensor in model.tensors]


def sha256(tensor: Tensor) -> str:
    digest = hashlib.sha256()
    for chunk in tensor.chunks(1 << 20):
        digest.update(chunk.tobytes())
    return digest.hexdigest()


def by_slot(model: Model) -> dict[str, Tensor]:
    return dict(zip(slot_names(model.tensors), model.tensors, strict=True))


def expected_layer(weight: Mapping[str, Any]) -> str | None:
    """A cell is part of its recurrent layer."""
    pairs = zip(weight["layer"], weight["attributes"], strict=True)
    return "/".join(name for name, attribute in pairs if attribute != "cell") or None


def expected_role(weight: Mapping[str, Any]) -> str:
    """Keras 3's word for Keras 2's; words that are not a role are unknown."""
    if weight["role"] == "depthwise_kernel" and weight["classes"][-1].startswith("DepthwiseConv"):
        return "kernel"
    return weight["role"] if weight["role"] in ROLES else "unknown"


class TestContract(ReaderTests):
    reader = READER
    path = DATA / "tfkeras215" / "cnn.h5"


# -- files written by the frameworks, against what the frameworks said -----------------------------------------------


@pytest.mark.parametrize(("oracle", "name"), LEGACY)
def test_every_weight_is_there_once_and_as_the_framework_says(oracle: Path, name: str) -> None:
    said = json.loads(oracle.read_text())
    model, _, hashes = read(oracle.parent / name)
    weights = {weight["sha256"]: weight for weight in said["weights"]}
    assert sorted(hashes) == sorted(weights)
    for tensor, digest in zip(model.tensors, hashes, strict=True):
        weight = weights[digest]
        assert (tensor.shape, tensor.dtype) == (tuple(weight["shape"]), weight["dtype"])
        assert tensor.layer_index == weight["index"]
        assert tensor.direction == weight["direction"]
        assert tensor.role == expected_role(weight)
        assert tensor.trainable in (None, weight["trainable"])
    assert not [item for item in model.skipped if item.problem]


@pytest.mark.parametrize(("oracle", "name"), [item for item in LEGACY if "weights_only" not in str(item.id)])
def test_a_whole_model_tells_layers_classes_and_order(oracle: Path, name: str) -> None:
    said = json.loads(oracle.read_text())
    model, _, hashes = read(oracle.parent / name)
    weights = {weight["sha256"]: weight for weight in said["weights"]}
    for tensor, digest in zip(model.tensors, hashes, strict=True):
        weight = weights[digest]
        assert tensor.layer == expected_layer(weight)
        assert tensor.layer_class in weight["classes"]
        assert tensor.trainable == weight["trainable"] or tensor.role == "unknown" or said["files"][0] in _PARTLY_TOLD
    if said["files"][0] not in _PARTLY_TOLD:
        assert hashes == list(weights)


# Quantised and adapted layers: what training may change is not in the config, and Keras stores another order.
_PARTLY_TOLD = {"int8.h5", "lora.h5"}


@pytest.mark.parametrize(("oracle", "name"), LEGACY)
def test_recurrent_layers_tell_their_gates(oracle: Path, name: str) -> None:
    weights = {weight["sha256"]: weight for weight in json.loads(oracle.read_text())["weights"]}
    model, _, hashes = read(oracle.parent / name)
    for tensor, digest in zip(model.tensors, hashes, strict=True):
        gates = _gates(weights[digest]["classes"])
        assert (tensor.layout.gates if tensor.layout else ()) == gates
        if gates and tensor.layout:
            canonical = tensor.layout.canonical_shape(tensor.shape)
            assert tensor.layout.gate_axis == len(canonical) - 1
            assert canonical[-1] % len(gates) == 0
            assert (tensor.layout.unit_axes == ()) == (tensor.role == "bias")


def _gates(classes: Iterable[str]) -> tuple[str, ...]:
    for name in classes:
        if "LSTM" in name:
            return ("i", "f", "c", "o")
        if "GRU" in name:
            return ("z", "r", "h")
    return ()


FOLDS = [path for path in sorted(DATA.glob("*/fold_1*.h5")) if not path.name.endswith(".weights.h5")]


@pytest.mark.parametrize("path", FOLDS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_folds_that_are_numbered_differently_have_the_same_slots(path: Path) -> None:
    paths = [path, path.with_name(path.name.replace("fold_1", "fold_2"))]
    (first, first_slots, _), (second, second_slots, _) = (read(path) for path in paths)
    assert first_slots == second_slots
    assert {tensor.layer for tensor in first.tensors} != {tensor.layer for tensor in second.tensors}


@pytest.mark.parametrize("name", ["cudnn.h5", "cudnn.weights_only.h5"])
def test_cudnn_layers_are_known_by_the_length_of_their_bias(name: str) -> None:
    model, _, _ = read(DATA / "tfkeras215" / name)
    assert model.tensors
    for tensor in model.tensors:
        assert tensor.layout is not None
        if tensor.role == "bias":
            assert tensor.layout.canonical_shape(tensor.shape) == (2, tensor.size // 2)
        elif tensor.layout.gates:
            assert isinstance(tensor.layout, CudnnLayout)


def test_optimizer_state_is_read_only_when_asked_for() -> None:
    path = DATA / "tfkeras215" / "trained_adam.h5"
    without, _, _ = read(path)
    with_state, found, _ = read(path, optimizer=True)
    extra = [tensor for tensor in with_state.tensors if tensor.kind == "optimizer"]
    assert [item.what for item in without.skipped] == ["optimizer state"]
    assert len(with_state.tensors) == len(without.tensors) + len(extra)
    assert extra
    assert len(set(found[-len(extra) :])) == len(extra)


# -- files in layouts of other releases ------------------------------------------------------------------------------


def write(path: Path, layers: Mapping[str, Mapping[str, Any]], config: Any = None, **attributes: str) -> Path:
    """A legacy file: `layers` maps layer names to arrays by weight name; with a config it is a whole model."""
    with h5py.File(path, "w") as file:
        root = file if config is None else file.create_group("model_weights")
        if config is not None:
            file.attrs["model_config"] = json.dumps(config)
        for name, value in attributes.items():
            file.attrs[name] = value
        root.attrs["layer_names"] = [layer.encode() for layer in layers]
        for layer, weights in layers.items():
            group = root.create_group(layer)
            group.attrs["weight_names"] = [name.encode() for name in weights]
            for name, array in weights.items():
                group.create_dataset(name, data=np.asarray(array, np.float32))
    return path


def layer(class_name: str, name: str, **config: Any) -> dict[str, Any]:
    return {"class_name": class_name, "config": {"name": name, **config}}


def zeros(*shape: int) -> np.ndarray[Any, Any]:
    return np.zeros(shape, np.float32)


def test_layers_come_in_the_order_of_layer_names(tmp_path: Path) -> None:
    names = ["lstm_9", "pool", "lstm_10"]
    path = write(tmp_path / "a.h5", {name: {} if name == "pool" else {f"{name}/x:0": zeros(2)} for name in names})
    model, found, _ = read(path)
    assert [(tensor.layer, tensor.layer_index) for tensor in model.tensors] == [("lstm_9", 0), ("lstm_10", 2)]
    assert found == ["lstm/0", "lstm_1/0"]


@pytest.mark.parametrize(
    ("shape", "filters", "canonical"),
    [
        ((8, 3, 5, 6), 8, (5, 6, 3, 8)),
        ((5, 6, 3, 8), 8, (5, 6, 3, 8)),
        ((8, 3, 5, 8), 8, None),
    ],
)
def test_the_bias_proves_theano_order_or_nothing_does(
    tmp_path: Path, shape: tuple[int, ...], filters: int, canonical: tuple[int, ...] | None
) -> None:
    path = write(tmp_path / "a.h5", {"c_1": {"c_1_W": zeros(*shape), "c_1_b": zeros(filters)}})
    model, _, _ = read(path)
    kernel = by_slot(model)["c/kernel"]
    assert (kernel.layout and kernel.layout.canonical_shape(shape)) == canonical
    assert kernel.layout is None or (kernel.layout.unit_axes, kernel.layout.input_axes) == ((3,), (2,))


@pytest.mark.parametrize(
    ("class_name", "config", "shape", "canonical"),
    [
        ("Convolution2D", {"dim_ordering": "th", "nb_filter": 8}, (8, 3, 5, 6), (5, 6, 3, 8)),
        ("Convolution2D", {"dim_ordering": "tf", "nb_filter": 8}, (5, 6, 3, 8), (5, 6, 3, 8)),
        ("Deconvolution2D", {"dim_ordering": "th", "nb_filter": 8}, (3, 8, 5, 6), (5, 6, 3, 8)),
        ("Convolution1D", {"nb_filter": 8, "filter_length": 5}, (5, 1, 3, 8), (5, 3, 8)),
        ("Convolution1D", {"nb_filter": 8, "filter_length": 5}, (8, 3, 5, 1), (5, 3, 8)),
        ("Conv2D", {"data_format": "channels_first", "filters": 8}, (5, 6, 3, 8), (5, 6, 3, 8)),
    ],
)
def test_a_config_tells_the_order_of_convolutions(
    tmp_path: Path,
    class_name: str,
    config: dict[str, Any],
    shape: tuple[int, ...],
    canonical: tuple[int, ...],
) -> None:
    model_config = {"class_name": "Sequential", "config": [layer(class_name, "c_1", **config)]}
    path = write(
        tmp_path / "a.h5", {"c_1": {"c_1_W": zeros(*shape), "c_1_b": zeros(8)}}, model_config, keras_version="1.2.1"
    )
    (kernel, _) = read(path)[0].tensors
    assert kernel.role == "kernel"
    assert kernel.layout is not None
    assert kernel.layout.canonical_shape(shape) == canonical


def test_a_users_class_of_an_old_name_is_left_alone(tmp_path: Path) -> None:
    config = {"class_name": "Sequential", "config": {"layers": [layer("Deconv2D", "x_1", size=2)]}}
    path = write(tmp_path / "a.h5", {"x_1": {"x_1/kernel:0": zeros(3, 3, 2, 2)}}, config)
    (kernel,) = read(path)[0].tensors
    assert (kernel.layer_class, kernel.layout) == ("Deconv2D", None)


def test_keras1_gates_are_tensors_of_their_own(tmp_path: Path) -> None:
    words = [f"{word}_{gate}" for gate in "icfo" for word in "WUb"]
    weights = {f"lstm_3_{word}": zeros(*{"W": (4, 2), "U": (2, 2), "b": (2,)}[word[0]]) for word in words}
    for config in (None, {"class_name": "Sequential", "config": [layer("LSTM", "lstm_3", output_dim=2)]}):
        model, found, _ = read(write(tmp_path / "a.h5", {"lstm_3": weights}, config))
        assert found[:4] == ["lstm/kernel_i", "lstm/recurrent_kernel_i", "lstm/bias_i", "lstm/kernel_c"]
        assert {tensor.gate for tensor in model.tensors} == set("ifco")
        assert not any(tensor.layout is None or tensor.layout.gates for tensor in model.tensors)
        assert model.tensors[0].layout is not None
        assert model.tensors[0].layout.unit_axes == (1,)


def test_keras1_bidirectional_tells_both_directions(tmp_path: Path) -> None:
    weights = {f"{side}_gru_1_{word}_z:0": zeros(2, 2) for side in ("forward", "backward") for word in "WU"}
    _, found, _ = read(write(tmp_path / "a.h5", {"bidirectional_1": weights}))
    assert found == [
        "bidirectional/forward/kernel_z",
        "bidirectional/forward/recurrent_kernel_z",
        "bidirectional/backward/kernel_z",
        "bidirectional/backward/recurrent_kernel_z",
    ]


def test_a_word_inside_a_layer_name_is_no_role(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.h5", {"kernel_bias": {"kernel_bias/gamma_factor:0": zeros(2)}, "e_1": {"e_1_W": zeros(9, 2)}}
    )
    assert {tensor.role for tensor in read(path)[0].tensors} == {"unknown"}


@pytest.mark.parametrize(("count", "gates"), [(4, "ifco"), (3, "zrh"), (1, ""), (2, None)])
@pytest.mark.parametrize("doubled", [False, True])
def test_words_and_shapes_together_prove_gates(tmp_path: Path, count: int, gates: str | None, doubled: bool) -> None:
    weights = {"kernel": (5, count * 6), "recurrent_kernel": (6, count * 6), "bias": (count * 6,)}
    if doubled:
        weights["bias"] = (2, count * 6)
    path = write(tmp_path / "a.h5", {"x": {f"x/{word}:0": zeros(*shape) for word, shape in weights.items()}})
    for tensor in read(path)[0].tensors:
        assert (tensor.layout and "".join(tensor.layout.gates)) == gates
        assert tensor.layer_class is None


def test_nested_trainable_weights_stand_before_the_others(tmp_path: Path) -> None:
    inner = [
        layer("Dense", "d_1", trainable=False),
        layer("BatchNormalization", "b_1", trainable=True),
        layer("Dense", "d_2", trainable=True),
    ]
    config = {
        "class_name": "Sequential",
        "config": {"name": "s", "layers": [{"class_name": "Sequential", "config": {"name": "in", "layers": inner}}]},
    }
    order = [
        "b_1/gamma",
        "b_1/beta",
        "d_2/kernel",
        "d_2/bias",
        "d_1/kernel",
        "d_1/bias",
        "b_1/moving_mean",
        "b_1/moving_variance",
    ]
    values = {f"{name}:0": zeros(2, 2) if "kernel" in name else zeros(2) for name in order}
    model, found, _ = read(write(tmp_path / "a.h5", {"in": values}, config, keras_version="2.4.0"))
    assert [tensor.layer for tensor in model.tensors] == ["in/d_1"] * 2 + ["in/b_1"] * 4 + ["in/d_2"] * 2
    assert found[0] == "sequential/dense/kernel"
    assert found[-1] == "sequential/dense_1/bias"
    assert [tensor.trainable for tensor in model.tensors] == [False, False, True, True, False, False, True, True]


def test_a_batch_normalisation_of_three_is_told_by_its_config(tmp_path: Path) -> None:
    for without, roles in (
        ("scale", ["beta", "moving_mean", "moving_variance"]),
        ("center", ["gamma", "moving_mean", "moving_variance"]),
    ):
        config = {
            "class_name": "Sequential",
            "config": {"layers": [layer("BatchNormalization", "b", trainable=True, **{without: False})]},
        }
        path = write(
            tmp_path / "a.h5", {"b": {f"b/Variable_{n}:0": zeros(2) for n in range(3)}}, config, keras_version="2.2.0"
        )
        assert [tensor.role for tensor in read(path)[0].tensors] == roles


def test_names_split_over_attributes_are_put_together(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", {"dense": {"dense/kernel:0": zeros(2, 3), "dense/bias:0": zeros(3)}})
    with h5py.File(path, "r+") as file:
        names = file["dense"].attrs["weight_names"]
        del file["dense"].attrs["weight_names"]
        for number, name in enumerate(names):
            file["dense"].attrs[f"weight_names{number}"] = [name]
    assert read(path)[1] == ["dense/kernel", "dense/bias"]


def test_what_is_named_but_absent_is_a_problem_and_the_rest_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", {"dense": {"dense/kernel:0": zeros(2, 3), "dense/bias:0": zeros(3)}, "gone": {}})
    with h5py.File(path, "r+") as file:
        del file["dense/dense/bias:0"]
        del file["gone"]
    model, found, _ = read(path)
    assert found == ["dense/kernel"]
    assert {(item.what, item.name) for item in model.skipped if item.problem} == {
        ("missing weight", "dense/dense/bias:0"),
        ("missing layer", "gone"),
    }


def test_no_dataset_vanishes(tmp_path: Path) -> None:
    config = {"class_name": "Sequential", "config": {"layers": [layer("Dense", "d")]}}
    path = write(tmp_path / "a.h5", {"d": {"d/kernel:0": zeros(2, 3)}}, config)
    with h5py.File(path, "r+") as file:
        file["model_weights/d/stray"] = zeros(4)
        file["notes"] = zeros(5)
        del file["model_weights"].attrs["layer_names"]
    kinds = {tensor.name: tensor.kind for tensor in read(path)[0].tensors}
    assert kinds == {"model_weights/d/d/kernel:0": "weight", "model_weights/d/stray": "weight", "notes": "array"}


@pytest.mark.parametrize(
    "config", ["{", "[1]", '{"config": 3}', '{"config": {"layers": [{"class_name": 1}]}}', "[" * 10000]
)
def test_a_config_that_is_none_leaves_the_names(tmp_path: Path, config: str) -> None:
    path = write(tmp_path / "a.h5", {"dense_4": {"dense_4/kernel:0": zeros(2, 3)}})
    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = config
    assert read(path)[1] == ["dense/kernel"]


def test_bfloat16_is_explained_by_the_dtype_policy(tmp_path: Path) -> None:
    policy = {"class_name": "DTypePolicy", "config": {"name": "bfloat16"}}
    config = {"class_name": "Sequential", "config": {"layers": [layer("Dense", "d", dtype=policy, use_bias=False)]}}
    path = write(tmp_path / "a.h5", {"d": {"d/kernel": zeros(2, 3)}}, config, keras_version="3.8.0")
    with h5py.File(path, "r+") as file:
        del file["model_weights/d/d/kernel"]
        file["model_weights/d/d/kernel"] = np.full((2, 3), 0x3F80, "<u2").view("V2")  # 1.0
    with Source(path) as source:
        model = READER.open(source)
        (tensor,) = model.tensors
        values = np.concatenate([chunk.astype(np.float32) for chunk in tensor.chunks(4)])
    assert (tensor.dtype, values.tolist(), list(model.skipped)) == ("bfloat16", [1.0] * 6, [])


def test_a_file_of_something_else_is_not_claimed(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["layer_0/param_0"] = zeros(2)
    (tmp_path / "b.h5").write_bytes(b"not HDF5 at all")
    for name in ("a.h5", "b.h5"):
        with Source(tmp_path / name) as source:
            assert READER.sniff(source) == 0.0


# -- real files of public repositories -------------------------------------------------------------------------------


def _real() -> list[Any]:
    if not CORPUS.is_dir():
        return []
    found = []
    for path in sorted(CORPUS.rglob("*.h*5")):
        with Source(path) as source:
            if READER.sniff(source):
                found.append(pytest.param(path, id=path.name))
    return found


def readable(group: h5py.Group) -> Iterator[str]:
    """Paths of all datasets that h5py can open; in a damaged file it cannot open some."""
    for name in group:
        try:
            item = group[name]
        except KeyError:
            continue
        if isinstance(item, h5py.Group):
            yield from readable(item)
        else:
            yield item.name.strip("/")


@pytest.mark.parametrize("path", _real())
def test_real_files_give_every_dataset_and_unique_slots(path: Path) -> None:
    with Source(path, optimizer=True) as source:
        model = READER.open(source)
        found = list(zip((tensor.kind for tensor in model.tensors), slot_names(model.tensors), strict=True))
    assert len(set(found)) == len(found)
    with h5py.File(path) as file:
        assert sorted(tensor.name for tensor in model.tensors) == sorted(readable(file))
    assert {tensor.role for tensor in model.tensors} <= ROLES.keys()


def test_theano_kernels_of_a_real_file(corpus: Path) -> None:
    (path,) = corpus.rglob("*music_tagger_crnn_weights_theano.h5")
    found = by_slot(read(path)[0])
    kernel = found["conv_1/kernel"]
    assert kernel.layout is not None
    assert kernel.layout.canonical_shape(kernel.shape) == (3, 3, 64, 128)
    assert {tensor.gate for slot, tensor in found.items() if slot.startswith("gru/")} == set("zrh")
    assert found["bn/moving_variance"].name == "bn1/bn1_running_std"


def test_a_real_keras1_model_tells_its_convolutions(corpus: Path) -> None:
    (path,) = (corpus / "naokishibuya__car-behavioral-cloning").glob("*.h5")
    model, found, _ = read(path)
    assert found[:2] == ["conv2d/kernel", "conv2d/bias"]
    assert model.tensors[0].layout is not None
    assert model.tensors[0].layout.unit_axes == (3,)
    assert model.framework_version == "1.2.1"


def test_real_checkpoints_of_one_run_have_the_same_slots(corpus: Path) -> None:
    paths = sorted(corpus.rglob("trained_models__emotion_models__fer2013_mini_XCEPTION*"))
    assert len(paths) > 3
    assert len({tuple(read(path)[1]) for path in paths}) == 1
