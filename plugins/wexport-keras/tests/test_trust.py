"""Strangers' models: whatever would run code, import a module or read another file is refused before Keras sees it."""

from __future__ import annotations

import copy
import io
import json
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import wexport_keras
import zoo
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keras import layers as k
from wexport_keras.trust import suspects

from wexport.errors import BudgetError, ReadError, UsageError


def function(name: Any, module: str | None = "builtins", registered: str = "function") -> dict[str, Any]:
    return {"class_name": "function", "config": name, "module": module, "registered_name": registered}


def thing(name: Any, module: Any = "keras.layers", config: Any = None, registered: Any = None) -> dict[str, Any]:
    return {"class_name": name, "module": module, "config": config or {}, "registered_name": registered}


HOSTILE = {
    "lambda": thing("Lambda", config={"name": "l", "function": {"class_name": "__lambda__", "config": {}}}),
    "lambda of tf.keras 2": {"class_name": "Lambda", "config": {"name": "l", "function": ["4wAA", None, None]}},
    "bare lambda": {"class_name": "__lambda__", "config": {"value": "4w=="}},
    "function of torch": function("load", "torch"),
    "function whose name Keras has too": function("abs", "antigravity"),
    "function by its registered name": function("abs", "builtins", "system"),
    "function that is none": function("__builtins__"),
    "function of the loader": function("deserialize"),
    "function by a number": function(3),
    "exec": function("exec"),
    "a module's own": function("__loader__", "keras.ops"),
    "download": function("get_file", "keras.utils"),
    "download as a class": thing("get_file", "keras.utils"),
    "download by a dotted name": thing("utils.get_file", "keras"),
    "the loader as a class": thing("load_model", "keras.saving"),
    "inner function": thing("func_load", "keras.src.utils.python_utils"),
    "class of another module": thing("Dense", "os"),
    "class of a package like Keras": thing("Dense", "keras_hub.layers"),
    "class by its registered name": thing("Dense", registered="mine>Dense"),
    "class by another's registered name": thing("Dense", registered="system"),
    "class by no name": thing(["Dense"]),
    "module by no name": thing("Dense", {"a": 1}),
    "type of TensorFlow": {"class_name": "__typespec__", "module": "os", "spec_name": "system", "config": []},
    "pickle": thing("TorchModuleWrapper", "keras.src.utils.torch_utils"),
    "program": thing("TFSMLayer", config={"filepath": "/etc"}),
    "words": thing("StringLookup", config={"vocabulary": "/etc/passwd"}),
    "words of an inner class": thing(
        "IndexLookup", "keras.src.layers.preprocessing.index_lookup", {"vocabulary": "/etc/passwd"}
    ),
}  # fmt: skip


def unusual() -> Any:
    inputs = keras.Input((6, 4))
    x = k.Bidirectional(k.RNN(k.StackedRNNCells([k.LSTMCell(3), k.GRUCell(2)]), return_sequences=True))(inputs)
    x = k.TimeDistributed(k.SpectralNormalization(k.Dense(3, kernel_constraint="max_norm", activation=keras.ops.sin)))(
        x
    )
    x = keras.ops.tanh(x + 1) * 2
    model = keras.Model(inputs, k.EinsumDense("abc,cd->abd", (None, 2), kernel_initializer="he_normal")(x))
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 3, 0.5)
    model.compile(keras.optimizers.Adam(schedule), keras.losses.Huber(), metrics=[keras.metrics.mean_absolute_error])
    return model


def quantized() -> Any:
    inputs = keras.Input((4,))
    model = keras.Model(inputs, k.Dense(3)(k.Normalization(mean=[0.0] * 4, variance=[1.0] * 4)(inputs)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the input layer cannot be quantized
        model.quantize("int8")
    return model


def configs() -> dict[str, Any]:
    models = {"cnn": zoo.cnn()[0], "two_inputs": zoo.two_inputs()[0], "unusual": unusual(), "quantized": quantized()}
    found = {name: json.loads(json.dumps(keras.saving.serialize_keras_object(one))) for name, one in models.items()}
    with keras.src.legacy.saving.saving_options.keras_option_scope(use_legacy_config=True):
        metadata = keras.src.legacy.saving.saving_utils.model_metadata(models["cnn"])
    found["legacy"] = json.loads(json.dumps(metadata, default=keras.src.legacy.saving.json_utils.get_json_type))
    return found


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container of a config with each of its keys, and one key more."""
    if isinstance(value, (dict, list)):
        yield value, "more" if isinstance(value, dict) else None
        for key in value if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from places(value[key])


@pytest.fixture(scope="module")
def real() -> dict[str, Any]:
    return configs()


def test_what_keras_writes_of_its_own_is_let_through(real: dict[str, Any]) -> None:
    assert {name: [str(one) for one in suspects(config)] for name, config in real.items()} == {
        name: [] for name in real
    }


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
def test_each_is_told_by_itself(hostile: dict[str, Any]) -> None:
    assert len(list(suspects(hostile))) == 1


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_it_is_found_wherever_it_stands(real: dict[str, Any], data: st.DataObject) -> None:
    config = copy.deepcopy(real[data.draw(st.sampled_from(sorted(real)))])
    spots = list(places(config))
    container, key = spots[data.draw(st.integers(0, len(spots) - 1))]
    hostile = copy.deepcopy(HOSTILE[data.draw(st.sampled_from(sorted(HOSTILE)))])
    container.append(hostile) if key is None else container.__setitem__(key, hostile)
    assert list(suspects(config))


def test_nothing_is_imported_because_a_config_says_so() -> None:
    assert list(suspects(function("abs", "keras.src.backend.openvino.numpy")))
    assert list(suspects(thing("Dense", "antigravity")))
    assert not {"antigravity", "keras.src.backend.openvino.numpy"} & set(sys.modules)


def test_depth_is_no_matter() -> None:
    config: dict[str, Any] = HOSTILE["exec"]
    for _ in range(20_000):
        config = {"config": [config]}
    assert len(list(suspects(config))) == 1


# -- files -------------------------------------------------------------------------------------------------------------


def small() -> Any:
    inputs = keras.Input((3,))
    model = keras.Model(inputs, k.Dense(2, name="dense")(inputs))
    model.compile("sgd", "mse")
    return zoo.settled(model)


def rewritten(path: Path, change: Callable[[dict[str, bytes]], None], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def with_weights(change: Callable[[h5py.File], None]) -> Callable[[dict[str, bytes]], None]:
    def changed(members: dict[str, bytes]) -> None:
        file = io.BytesIO(members["model.weights.h5"])
        with h5py.File(file, "r+") as weights:
            change(weights)
        members["model.weights.h5"] = file.getvalue()

    return changed


def outside(weights: h5py.File) -> None:
    del weights["layers/dense/vars/0"]
    weights["layers/dense/vars/0"] = h5py.ExternalLink("/etc/passwd", "kernel")


def around(weights: h5py.File) -> None:
    weights.move("layers/dense/vars/0", "kernel")
    weights["layers/dense/vars/0"] = h5py.SoftLink("/kernel")


def bomb(weights: h5py.File) -> None:
    del weights["layers/dense/vars/0"]
    weights.create_dataset("layers/dense/vars/0", (1 << 36,), "f4", chunks=(1 << 20,), compression="gzip")


@pytest.mark.parametrize("assets", [False, True])
@pytest.mark.parametrize(
    ("change", "said"), [(outside, "external link"), (around, "soft link|1 weights"), (bomb, "layers/dense/vars/0")]
)
def test_weights_are_read_by_guarded_readers_first(
    change: Callable[[h5py.File], None], said: str, assets: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small().save(tmp_path / "m.keras")
    rewritten(tmp_path / "m.keras", with_weights(change))
    if assets:  # then Keras is to read the file, and not wexport alone
        rewritten(tmp_path / "m.keras", lambda members: members.update({"assets/words.txt": b"a"}))
    monkeypatch.setattr(keras.saving, "load_model", lambda *_, **__: pytest.fail("Keras read it"))
    with pytest.raises(ReadError, match=said):
        wexport_keras.load(tmp_path / "m.keras")


def test_a_zip_that_unpacks_to_too_much(tmp_path: Path) -> None:
    small().save(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras", "a", zipfile.ZIP_DEFLATED) as archive:
        for number in range(50):
            archive.writestr(f"assets/{number}", bytes(1 << 20))
            archive.filelist[-1].file_size = 50 << 20  # the directory is written at the end
    with pytest.raises(BudgetError, match="unpacks to"):
        wexport_keras.load(tmp_path / "m.keras")


def test_a_file_that_is_two_is_read_as_what_it_was_judged_as(tmp_path: Path) -> None:
    """Keras goes by the name: by that of the zip it would read what stands behind the HDF5 that was judged."""
    small().save(tmp_path / "m.h5")
    running = keras.Sequential([keras.Input((3,)), k.Lambda(lambda x: x * 2)])
    running.save(tmp_path / "evil.keras")
    both = (tmp_path / "m.h5").read_bytes() + (tmp_path / "evil.keras").read_bytes()
    (tmp_path / "both.keras").write_bytes(both)
    assert [layer.name for layer in wexport_keras.load(tmp_path / "both.keras").layers[1:]] == ["dense"]
    small().save(tmp_path / "m.keras")
    rewritten(tmp_path / "m.keras", lambda members: members.update({"assets/words.txt": b"a"}))
    assert wexport_keras.load(tmp_path / "m.keras")
    (tmp_path / "m.keras").rename(tmp_path / "zip.h5")
    with pytest.raises(ReadError, match="is a zip, and Keras goes by the name") as caught:
        wexport_keras.load(tmp_path / "zip.h5")
    assert caught.value.hint == "rename it to zip.keras"


def test_a_hostile_part_of_training_is_left_out_and_the_model_runs(tmp_path: Path) -> None:
    small().save(tmp_path / "m.keras")

    def change(members: dict[str, bytes]) -> None:
        config = json.loads(members["config.json"])
        config["compile_config"]["loss"] = HOSTILE["function of torch"]
        config["compile_config"]["optimizer"] = HOSTILE["class of another module"]
        members["config.json"] = json.dumps(config).encode()

    model = wexport_keras.load(rewritten(tmp_path / "m.keras", change))
    x = np.ones((4, 3), "float32")
    assert list(wexport_keras.outputs(model, x)) == ["dense/output"]
    with pytest.raises(UsageError, match="has no loss"):
        wexport_keras.gradients(model, x, x[:, :2])
    assert wexport_keras.gradients(model, x, x[:, :2], loss="mse")


def test_an_optimizer_that_keras_no_longer_knows_keeps_nobody_from_the_loss(tmp_path: Path) -> None:
    small().save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "r+") as file:
        training = json.loads(file.attrs["training_config"])
        training["optimizer_config"] = {"class_name": "Adam", "config": {"lr": 0.1, "decay": 0.0}}
        file.attrs["training_config"] = json.dumps(training)
    x = np.ones((4, 3), "float32")
    assert wexport_keras.gradients(wexport_keras.load(tmp_path / "m.h5"), x, x[:, :2])
