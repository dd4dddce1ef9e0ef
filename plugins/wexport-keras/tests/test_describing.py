"""A model in memory gives the rows that its files give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import wexport_keras
import zoo

import wexport
from wexport.errors import UsageError

FROM_THE_FILE = {"model", "source", "source_bytes", "format", "backend"}


def rows(path: Path) -> list[dict]:
    return pq.read_table(path).to_pylist()


def without_addresses(text: str | None) -> str | None:
    """Keras writes where objects that are shared lay in memory into a file's config."""
    import json

    def cleaned(value: object) -> object:
        if isinstance(value, dict):
            return {name: cleaned(item) for name, item in value.items() if name != "shared_object_id"}
        return [cleaned(item) for item in value] if isinstance(value, list) else value

    return None if text is None else json.dumps(cleaned(json.loads(text)))


@pytest.mark.parametrize("name", zoo.MODELS)
def test_rows_are_those_of_the_same_model_saved(name: str, tmp_path: Path) -> None:
    model, _, _ = zoo.MODELS[name]()
    model.save(tmp_path / "m.keras")
    live = wexport.ingest_model(model, tmp_path / "live.parquet", name="m")
    wexport.ingest(tmp_path / "m.keras", tmp_path / "file.parquet")
    assert live.models[0].status == "ok"
    mine, theirs = rows(tmp_path / "live.parquet"), rows(tmp_path / "file.parquet")
    assert [row["slot"] for row in mine] == [row["slot"] for row in theirs]
    for one, other in zip(mine, theirs, strict=True):
        for row in (one, other):
            row["layer_config"] = without_addresses(row["layer_config"])
        assert {key: one[key] for key in one.keys() - FROM_THE_FILE} == {
            key: other[key] for key in other.keys() - FROM_THE_FILE
        }


@pytest.mark.parametrize("name", ["cnn", "lstm", "bidirectional_gru", "two_inputs"])
@pytest.mark.parametrize("suffix", [".h5", ".weights.h5"])
def test_slots_are_those_of_the_other_containers(name: str, suffix: str, tmp_path: Path) -> None:
    model, _, _ = zoo.MODELS[name]()
    path = tmp_path / f"m{suffix}"
    model.save(path) if suffix == ".h5" else model.save_weights(path)
    wexport.ingest_model(model, tmp_path / "live.parquet", name="m")
    wexport.ingest(path, tmp_path / "file.parquet")
    mine, theirs = (
        sorted((row["slot"], row["content_hash"]) for row in rows(tmp_path / f"{which}.parquet"))
        for which in ("live", "file")
    )
    assert mine == theirs


def test_appending_replaces_the_model_and_a_file_of_that_name_is_not_lost(tmp_path: Path) -> None:
    model, _, _ = zoo.cnn()
    table = tmp_path / "w.parquet"
    wexport.ingest_model(model, table, name="m")
    model.layers[-1].set_weights([np.ones_like(weight) for weight in model.layers[-1].get_weights()])
    wexport.ingest_model(model, table, name="m", append=True)
    wexport.ingest_model(model, table, name="n", append=True)
    found = rows(table)
    assert {row["model"] for row in found} == {"m", "n"}
    assert len(found) == 2 * len(model.weights)
    assert [row["mean"] for row in found if (row["model"], row["slot"]) == ("m", "dense/kernel")] == [1.0]
    model.save(tmp_path / "m.keras")
    with pytest.raises(wexport.TableError, match="has a model 'm' already, read from memory"):
        wexport.ingest(tmp_path / "m.keras", table, append=True)


def test_a_folder_gets_a_part(tmp_path: Path) -> None:
    model, _, _ = zoo.cnn()
    result = wexport.ingest_model(model, f"{tmp_path}/parts/", name="run/m", run="r", step=3)
    assert result.written
    [part] = (tmp_path / "parts").iterdir()
    assert {(row["model"], row["run"], row["step"]) for row in rows(part)} == {("run/m", "r", 3)}


def test_what_no_plugin_knows_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no plugin knows how to read a builtins\.object"):
        wexport.ingest_model(object(), tmp_path / "w.parquet", name="o")
    with pytest.raises(UsageError, match="needs a name"):
        wexport.ingest_model(wexport.Model(tensors=[], format="x"), tmp_path / "w.parquet")
    with pytest.raises(UsageError, match="run, step and source are for a model in memory"):
        wexport.ingest(str(tmp_path), tmp_path / "w.parquet", step=1)


def test_weights_are_arrays_by_slot() -> None:
    model, _, _ = zoo.lstm()
    found = wexport_keras.weights(model, "lstm")
    assert list(found) == ["lstm/kernel", "lstm/recurrent_kernel", "lstm/bias"]
    for mine, theirs in zip(found.values(), model.layers[1].get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    gates = wexport_keras.by_gate(found["lstm/kernel"], "LSTM")
    np.testing.assert_array_equal(gates["c"], model.layers[1].get_weights()[0][:, 10:15])
    with pytest.raises(UsageError, match="has no gates"):
        wexport_keras.by_gate(found["lstm/kernel"], "Dense")


def test_layers_go_by_name_path_or_slot() -> None:
    model, _, _ = zoo.nested()
    assert wexport_keras.layer(model, "shared") is model.get_layer("shared")
    inner = model.get_layer("outer").layers[0]
    assert wexport_keras.layer(model, "outer/inner/dense") is inner.layers[-1]
    with pytest.raises(UsageError, match="fits"):
        wexport_keras.layer(model, "outer/*")
    with pytest.raises(UsageError, match="no layer is called 'conv'") as caught:
        wexport_keras.layer(model, "conv")
    assert "shared" in caught.value.hint
