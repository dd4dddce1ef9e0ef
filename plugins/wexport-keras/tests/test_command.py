"""`wexport activations`: what it writes, what it refuses, and what it costs those who do not use it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pyarrow.parquet as pq
import pytest
import wexport_keras
import zoo
from click.testing import CliRunner, Result
from keras import layers as k

import wexport
from wexport.cli import cli
from wexport.errors import UsageError


def run(*arguments: object) -> Result:
    """The command as it runs; an error of ours is raised, as the program's entry point catches it."""
    return CliRunner().invoke(cli, ["activations", *map(str, arguments)], catch_exceptions=False)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    model, [x], [y] = zoo.cnn()
    model.save(tmp_path / "cnn.keras")
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    return tmp_path


def rows(table: Path) -> list[dict]:
    return pq.read_table(table).to_pylist()


def test_weights_outputs_and_gradients_stand_in_one_table(saved: Path) -> None:
    out = saved / "acts.parquet"
    done = run(saved / "cnn.keras", "-i", saved / "x.npy", "-t", saved / "y.npy", "-o", out)
    assert "outputs and gradients" in done.output
    found = rows(out)
    assert {row["model"] for row in found} == {"cnn"}
    assert {row["source"] for row in found} == {str(saved / "cnn.keras")}
    kinds = [row["kind"] for row in found]
    assert (kinds.count("weight"), kinds.count("activation"), kinds.count("gradient")) == (10, 8, 8)
    weights = {row["slot"]: row for row in found if row["kind"] == "weight"}
    for row in found:
        if row["kind"] == "gradient":
            assert (row["shape"], row["role"], row["layer"]) == tuple(
                weights[row["slot"]][name] for name in ("shape", "role", "layer")
            )
    # What compares weights does not see the rest.
    assert wexport.query("models", out).to_pylist()[0]["tensors"] == 10
    assert {row["slot"] for row in wexport.query("sparsity", out).to_pylist()} <= {*weights, None}
    [one] = wexport.query("models", out, kinds=["activation"]).to_pylist()
    assert one["tensors"] == 8


def test_it_is_added_to_the_table_of_the_files_weights(saved: Path) -> None:
    table = saved / "weights.parquet"
    wexport.ingest(saved / "cnn.keras", table)
    before = {row["slot"]: row["content_hash"] for row in rows(table)}
    run(saved / "cnn.keras", "-i", saved / "x.npy", "-o", table, "--append", "-l", "conv2d")
    after = rows(table)
    assert {row["slot"]: row["content_hash"] for row in after if row["kind"] == "weight"} == before
    assert [row["slot"] for row in after if row["kind"] == "activation"] == ["conv2d/output"]


def test_several_models_on_the_same_inputs(saved: Path) -> None:
    keras.models.load_model(saved / "cnn.keras").save(saved / "again.keras")
    (saved / "bad.keras").write_bytes(b"PK no model")
    done = run(
        saved / "cnn.keras",
        saved / "bad.keras",
        saved / "again.keras",
        "-i",
        saved / "x.npy",
        "-o",
        saved / "t.parquet",
    )
    assert done.exit_code == 1
    assert "bad.keras" in done.stderr
    found = rows(saved / "t.parquet")
    assert {row["model"] for row in found} == {"cnn", "again"}
    hashes = {row["content_hash"] for row in found if row["slot"] == "dense/output"}
    assert len(hashes) == 1


def test_inputs_by_name_and_one_file_each(tmp_path: Path) -> None:
    model, [left, right], _ = zoo.two_inputs()
    model.save(tmp_path / "m.keras")
    np.savez(tmp_path / "x.npz", right=right, left=left)
    np.save(tmp_path / "left.npy", left)
    np.save(tmp_path / "right.npy", right)
    run(tmp_path / "m.keras", "-i", tmp_path / "x.npz", "-o", tmp_path / "named.parquet")
    run(
        tmp_path / "m.keras",
        "-i",
        tmp_path / "left.npy",
        "-i",
        tmp_path / "right.npy",
        "-o",
        tmp_path / "listed.parquet",
    )
    named, listed = (
        [row["content_hash"] for row in rows(tmp_path / f"{name}.parquet")] for name in ("named", "listed")
    )
    assert named == listed


class Scale(keras.layers.Layer):
    def call(self, x: Any) -> Any:
        return x * 2


def running_code(kind: str) -> keras.Model:
    inputs = keras.Input((3,))
    layer = {"lambda": lambda: k.Lambda(lambda x: x * 2, name="twice"), "custom": lambda: Scale(name="scale")}[kind]()
    return keras.Model(inputs, k.Dense(1)(layer(inputs)))


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("lambda", r"the layer 'twice' \(Lambda\) holds Python code of its own"),
        ("custom", "the layer 'scale' is of the class 'Scale'( of test_command)?, which is not Keras' own"),
    ],
)
def test_a_model_that_would_run_code_is_refused_before_it_is_loaded(
    kind: str, said: str, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"m{suffix}"
    running_code(kind).save(path)
    monkeypatch.setattr(keras.saving, "load_model", lambda *_, **__: pytest.fail("it was loaded"))
    with pytest.raises(UsageError, match=said) as caught:
        wexport_keras.load(path)
    assert "--trust" in caught.value.hint


def test_who_is_trusted_runs(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones((2, 3), "float32"))
    running_code("lambda").save(tmp_path / "lambda.keras")
    run(tmp_path / "lambda.keras", "-i", tmp_path / "x.npy", "-o", tmp_path / "t.parquet", "--trust")
    running_code("custom").save(tmp_path / "custom.keras")
    code = tmp_path / "mine.py"
    code.write_text("import keras\nclass Scale(keras.layers.Layer):\n    def call(self, x): return x * 2\n")
    arguments = [tmp_path / "custom.keras", "-i", tmp_path / "x.npy", "-o", tmp_path / "t.parquet"]
    with pytest.raises(UsageError, match="not trusted"):
        run(*arguments, "--code", code)
    run(*arguments, "--code", code, "--trust")
    [row] = [row for row in rows(tmp_path / "t.parquet") if row["slot"] == "scale/output"]
    assert row["mean"] == 2.0


def test_other_ways_to_run_code_are_seen_in_the_config() -> None:
    from wexport_keras.trust import suspects

    def said(config: dict) -> list[str]:
        return [
            str(one)
            for one in suspects({"class_name": "Functional", "module": "keras", "config": {"layers": [config]}})
        ]

    layer = {"module": "keras.layers", "class_name": "Dense", "config": {"name": "d"}, "registered_name": None}
    assert said(layer) == []
    evil = {"module": "os", "class_name": "system", "config": "true", "registered_name": "system"}
    assert said({**layer, "config": {"name": "d", "kernel_initializer": evil}}) == [
        "the layer 'd' is of the class 'system' of os, which is not Keras' own"
    ]
    get = {"module": "keras.utils", "class_name": "get_file", "config": {}, "registered_name": None}
    assert said(get) == ["the model is of the class 'get_file', which is not Keras' own"]
    function = {"class_name": "function", "module": "builtins", "config": "exec", "registered_name": "function"}
    assert "calls the function 'exec'" in said({**layer, "config": {"name": "d", "activation": function}})[0]
    torch = {"module": "keras.layers", "class_name": "TorchModuleWrapper", "config": {"name": "t"}}
    assert "unpickling runs code" in said(torch)[0]
    lookup = {"module": "keras.layers", "class_name": "StringLookup", "config": {"name": "s", "vocabulary": "/etc/x"}}
    assert "reads a file that the model names: /etc/x" in said(lookup)[0]


def test_weights_alone_cannot_be_run(saved: Path) -> None:
    keras.models.load_model(saved / "cnn.keras").save_weights(saved / "w.weights.h5")
    with pytest.raises(wexport.ReadError, match="holds no layers, or weights alone"):
        wexport_keras.load(saved / "w.weights.h5")


def test_the_help_lists_it_and_imports_nothing() -> None:
    code = (
        "import sys; from wexport.cli import cli\n"
        "try: cli(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'keras', 'numpy', 'jax', 'wexport_keras'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "activations" in done.stdout
    assert "From wexport-keras." in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("backend", "said"),
    [
        ("", "Keras cannot start on numpy: .*pip install 'jax\\[cpu\\]'"),
        ("jax", "the backend jax is not installed.*pip install 'jax\\[cpu\\]'"),
        ("abacus", "the backend abacus is not known here.*jax, torch, tensorflow, numpy"),
    ],
)
def test_a_backend_that_cannot_start_is_told_with_the_way_out(backend: str, said: str) -> None:
    code = (
        "import importlib.util, sys\n"
        "sys.modules['jax'] = None; there = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name: None if name in ('jax', 'torch', 'tensorflow') else there(name)\n"
        "from wexport_keras.starting import start\n"
        f"try: start({backend!r})\n"
        "except Exception as error: print(type(error).__name__, error, error.hint)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert re.match(f"UsageError {said}", done.stdout.splitlines()[-1])


def test_importing_the_package_imports_no_keras() -> None:
    code = "import sys, wexport_keras, wexport_keras.plugin, wexport_keras.command; print('keras' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_without_targets_no_loss() -> None:
    with pytest.raises(UsageError, match="no targets"):
        run(__file__, "-i", "x.npy", "-o", "t.parquet", "--loss", "mse")
