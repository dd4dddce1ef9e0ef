"""Truths planted in real files are found by the query that asks for them, and its figures are those of plain NumPy."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import duckdb
import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import wexport
from tests.conftest import DATA, EXAMPLES
from tests.tables import write_table
from wexport import library
from wexport.errors import QueryError
from wexport.sessions.connection import Connection
from wexport.sessions.views import views

Answer = list[dict[str, Any]]


def ask(question: str, table: Path, **parameters: Any) -> Answer:
    """The answer of a query of the library, or of SQL."""
    known = library.load()
    text = known[question].sql if question in known else question
    return opened(table, table.stat().st_mtime_ns).sql(text, parameters).to_arrow_table().to_pylist()


@lru_cache(maxsize=2)
def opened(table: Path, stamp: int) -> Connection:
    """A session over a table, kept for the next question."""
    return wexport.connect(table)


def arrays(table: Path, model: str) -> dict[str, np.ndarray]:
    """A shipped model's weights by slot, in float64, as h5py reads them."""
    places = ask(f"SELECT slot, tensor FROM weights WHERE model = '{model}'", table)
    with h5py.File(EXAMPLES / f"{model}.h5") as file:
        root = file["model_weights"]
        return {
            place["slot"]: np.asarray(root[place["tensor"].removeprefix("model_weights/")], np.float64)
            for place in places
        }


def datasets(file: h5py.File) -> Iterator[h5py.Dataset]:
    """The weights of an open file."""
    found: list[h5py.Dataset] = []
    file["model_weights"].visititems(lambda _, item: found.append(item) if isinstance(item, h5py.Dataset) else None)
    yield from found


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped examples."""
    out = tmp_path_factory.mktemp("examples") / "weights.parquet"
    wexport.ingest(sorted(EXAMPLES.glob("*.h5")), out)
    return out


@pytest.fixture
def ingested(tmp_path: Path) -> Callable[..., Path]:
    """Makes a table of files, each in the test's folder or one of the examples by its name."""

    def ingest(*paths: Path | str) -> Path:
        for name in paths:
            if isinstance(name, str):
                shutil.copy(EXAMPLES / f"{name}.h5", tmp_path)
        wexport.ingest(
            [tmp_path / f"{path}.h5" if isinstance(path, str) else path for path in paths], tmp_path / "planted.parquet"
        )
        return tmp_path / "planted.parquet"

    return ingest


# -- planted ----------------------------------------------------------------------------------------------------------


def test_one_nan_in_one_gate_is_found_by_gates(tmp_path: Path, ingested: Callable[..., Path]) -> None:
    sick = tmp_path / "sick.h5"
    shutil.copy(EXAMPLES / "lstm.h5", sick)
    with h5py.File(sick, "r+") as file:
        (kernel,) = (item for item in datasets(file) if "recurrent_kernel" in item.name)
        units = kernel.shape[1] // 4
        kernel[3, units + 2] = np.nan  # Keras orders the gates i f c o
    answer = ask("gates", ingested(sick, "lstm", "gru"))
    found = [(row["model"], row["slot"], row["gate"], row["nan"]) for row in answer if row["nan"] or row["inf"]]
    assert found == [("sick", "lstm/recurrent_kernel", "f", 1)]
    assert answer[0]["note"] == "NaN"


def test_a_renamed_compressed_copy_among_twenty_models_is_found_and_nothing_else_is(
    tmp_path: Path, ingested: Callable[..., Path]
) -> None:
    rng = np.random.default_rng(4)
    paths = [tmp_path / f"model_{number}.h5" for number in range(19)]
    for path in paths:
        shutil.copy(EXAMPLES / "cnn_seed_1.h5", path)
        with h5py.File(path, "r+") as file:
            for item in datasets(file):
                item[...] = np.asarray(item) * rng.normal(1, 0.01, item.shape)
    copy = tmp_path / "another.h5"
    rewritten(paths[7], copy)
    (found,) = ask("duplicates", ingested(*paths, copy))
    assert (found["finding"], found["models"], found["value_fraction"]) == (
        "identical models",
        ["another", "model_7"],
        1.0,
    )
    assert (found["tensor_count"], found["value_count"]) == (12, 2962)
    assert not {"dense/kernel", "conv2d/kernel"} & set(found["slots"])  # it is known by other names


def rewritten(source: Path, target: Path) -> None:
    """Write a file's weights anew: chunked, compressed, other layer names, no config."""
    with h5py.File(source) as old, h5py.File(target, "w") as new:
        for item in datasets(old):
            path = item.name.removeprefix("/model_weights/").replace("dense", "fc").replace("conv2d", "features")
            new.create_dataset(path, data=np.asarray(item), chunks=True, compression="gzip", shuffle=True)


def test_a_frozen_backbone_is_found_and_fresh_biases_are_not(tmp_path: Path, ingested: Callable[..., Path]) -> None:
    rng = np.random.default_rng(5)
    paths = [tmp_path / f"head_{number}.h5" for number in range(3)]
    for path in paths:
        shutil.copy(EXAMPLES / "cnn_seed_1.h5", path)
        with h5py.File(path, "r+") as file:
            for item in datasets(file):
                if "dense" in item.name:
                    item[...] = 0 if "bias" in item.name else rng.normal(0, 1, item.shape)
    (found,) = ask("duplicates", ingested(*paths))
    assert (found["finding"], found["models"]) == ("shared tensors", ["head_0", "head_1", "head_2"])
    assert found["slots"] == ["conv2d/kernel", "conv2d_1/kernel"]
    assert found["value_count"] == 5 * 5 * 1 * 8 + 3 * 3 * 8 * 12


def test_one_model_in_several_containers_is_one(tmp_path: Path) -> None:
    names = ["cnn.h5", "cnn.keras", "cnn.weights.h5", "recurrent.h5", "recurrent.keras", "recurrent.weights.h5"]
    wexport.ingest([DATA / "keras3" / name for name in names], tmp_path / "weights.parquet")
    answer = ask("duplicates", tmp_path / "weights.parquet")
    assert [row["models"] for row in answer] == [names[3:], names[:3]]
    assert {row["finding"] for row in answer} == {"identical models"}


def test_fresh_models_share_nothing(tmp_path: Path) -> None:
    wexport.ingest(DATA / "fresh", tmp_path / "weights.parquet")
    assert ask("duplicates", tmp_path / "weights.parquet") == []


def test_a_fresh_forget_bias_is_told(tmp_path: Path) -> None:
    wexport.ingest(DATA / "fresh" / "keras3_words.keras", tmp_path / "weights.parquet")
    answer = ask("gates", tmp_path / "weights.parquet", slot="bidirectional/*/bias")
    assert [(row["slot"].split("/")[1], row["gate"], row["mean"], row["std"]) for row in answer] == [
        (direction, gate, float(gate == "f"), 0.0) for direction in ("forward", "backward") for gate in "ifco"
    ]
    assert [row["gate"] for row in answer if row["note"] == "forget bias is exactly 1"] == ["f", "f"]


def test_architectures_tell_a_wider_layer(tmp_path: Path, ingested: Callable[..., Path]) -> None:
    wide = tmp_path / "wide.h5"
    shutil.copy(EXAMPLES / "cnn_seed_1.h5", wide)
    with h5py.File(wide, "r+") as file:
        for item in list(datasets(file)):
            if "/dense_1/" in item.name:
                name, values = item.name, np.asarray(item)
                del file[name]
                file[name] = np.concatenate([values, values], axis=-1)
    answer = ask("architectures", ingested(wide, "cnn_seed_1", "cnn_seed_2"))
    told = [(row["architecture"], row["difference"], row["slot"], row["shape"], row["nearest_shape"]) for row in answer]
    assert told == [
        (1, None, None, None, None),
        (2, "other shape", "dense_1/kernel", "16x12", "16x6"),
        (2, "other shape", "dense_1/bias", "12", "6"),
    ]
    assert [row["members"] for row in answer] == [["cnn_seed_1", "cnn_seed_2"], ["wide"], None]


# -- against plain NumPy ----------------------------------------------------------------------------------------------

CNN = ["cnn_dead_layer", "cnn_overregularised", *(f"cnn_seed_{seed}" for seed in range(1, 6))]
FIGURES: dict[str, Callable[[np.ndarray], float]] = {
    "mean": np.mean,
    "std": np.std,
    "rms": lambda values: np.sqrt(np.mean(values**2)),
    "abs_mean": lambda values: np.mean(np.abs(values)),
    "abs_max": lambda values: np.max(np.abs(values)),
    "min": np.min,
    "max": np.max,
    "l1_norm": lambda values: np.sum(np.abs(values)),
    "l2_norm": np.linalg.norm,
    "value_count": np.size,
    "zero_count": lambda values: np.sum(values == 0),
    "near_zero_fraction": lambda values: np.mean(np.abs(values) < 2**-10),
    "zero_fraction": lambda values: np.mean(values == 0),
}


@pytest.mark.parametrize("statistic", FIGURES)
def test_layers_pool_all_values(table: Path, statistic: str) -> None:
    answer = ask("layers", table, statistic=statistic, model="cnn_*")
    assert [row["layer"] for row in answer] == ["conv2d", "batch_normalization", "conv2d_1", "dense", "dense_1"]
    for model in CNN:
        weights = arrays(table, model)
        for row in answer:
            roles = ("gamma", "beta") if row["layer"] == "batch_normalization" else ("kernel", "bias")
            values = np.concatenate([weights[f"{row['layer']}/{role}"].ravel() for role in roles])
            assert row[model] == pytest.approx(FIGURES[statistic](values), rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("statistic", FIGURES)
def test_tensors_show_each(table: Path, statistic: str) -> None:
    answer = ask("tensors", table, statistic=statistic, model="cnn_*")
    assert [name for name in answer[0] if name.startswith("cnn_")] == CNN
    for model in CNN:
        weights = arrays(table, model)
        assert {row["slot"] for row in answer} == weights.keys()
        for row in answer:
            assert row[model] == pytest.approx(FIGURES[statistic](weights[row["slot"]]), rel=1e-9, abs=1e-15)


def test_every_numeric_column_is_a_statistic(table: Path) -> None:
    columns = ask("DESCRIBE tensors", table)
    numeric = [row["column_name"] for row in columns if row["column_type"] in ("BIGINT", "INTEGER", "DOUBLE")]
    assert len(numeric) > 25
    for name in numeric:
        tensors = ask("tensors", table, statistic=name, model="lstm", slot="lstm/kernel")
        layers = ask("layers", table, statistic=name, model="lstm", slot="lstm/kernel")
        (want,) = ask(f"SELECT {name} AS n FROM weights WHERE slot = 'lstm/kernel'", table)
        assert tensors[0]["lstm"] == pytest.approx(want["n"])
        assert layers[0]["lstm"] == pytest.approx(want["n"])


@pytest.mark.parametrize("name", ["tensors", "layers"])
def test_an_unknown_statistic_is_an_error(table: Path, name: str) -> None:
    with pytest.raises(QueryError, match="no statistic 'stdd'"):
        wexport.query(name, table, {"statistic": "stdd"})


@pytest.mark.parametrize("parameters", [{"per": "filter"}, {"threshold": 0.0}, {"threshold": float("inf")}])
def test_sparsity_refuses_what_makes_no_sense(table: Path, parameters: dict[str, Any]) -> None:
    with pytest.raises(QueryError, match=r"per is 'filter'|positive number"):
        wexport.query("sparsity", table, parameters)


@pytest.mark.parametrize("threshold", [0.0009765625, 0.01, 0.0625, 0.1, 1.0])
def test_sparsity_counts_what_is_below_the_edge(table: Path, threshold: float) -> None:
    answer = ask("sparsity", table, threshold=threshold, per="tensor", model="cnn_*")
    assert len(answer) == 12 * len(CNN)
    weights = {model: arrays(table, model) for model in CNN}
    for row in answer:
        values = weights[row["model"]][row["slot"]]
        assert row["threshold"] == pytest.approx(threshold, rel=1 / 16)
        assert row["below"] == np.sum(np.abs(values) < row["threshold"])
        assert (row["values"], row["zeros"]) == (values.size, np.sum(values == 0))
    shares = [row["below_fraction"] for row in answer]
    assert shares == sorted(shares, reverse=True)


@given(st.floats(2.0**-100, 2.0**100))
def test_an_edge_is_the_nearest(magnitude: float) -> None:
    ((edge,),) = in_memory().execute("SELECT histogram_edge(?::DOUBLE)", [magnitude]).fetchall()
    octave = 2.0 ** np.floor(np.log2(magnitude))
    candidates = octave * (1 + np.arange(9) / 8)
    assert abs(edge - magnitude) == pytest.approx(np.abs(candidates - magnitude).min(), abs=octave * 1e-9)
    assert edge in candidates or edge in octave / 2 * (1 + np.arange(9) / 8)


@lru_cache(maxsize=1)
def in_memory() -> duckdb.DuckDBPyConnection:
    """A session that knows the macro `histogram_edge`."""
    macro = views().partition("CREATE OR REPLACE MACRO histogram_edge")[2].partition(";")[0]
    duck = duckdb.connect()
    duck.execute(f"CREATE MACRO histogram_edge{macro}")
    return duck


@pytest.mark.parametrize(("model", "layer", "order"), [("lstm", "lstm", "ifco"), ("gru", "gru", "zrh")])
def test_gates_are_those_of_the_file(table: Path, model: str, layer: str, order: str) -> None:
    answer = ask("gates", table, model=model)
    weights = arrays(table, model)
    places = [(row["slot"], row["gate"]) for row in answer]
    assert places == [(f"{layer}/{role}", gate) for role in ("kernel", "recurrent_kernel", "bias") for gate in order]
    for row in answer:
        values = np.split(weights[row["slot"]], len(order), axis=-1)[order.index(row["gate"])]
        assert row["values"] == values.size
        assert row["mean"] == pytest.approx(values.mean(), rel=1e-9)
        assert row["std"] == pytest.approx(values.std(), rel=1e-9)
        assert row["abs_max"] == np.abs(values).max()
        assert row["near_zero_fraction"] == np.mean(np.abs(values) < 2**-10)


def test_gates_of_both_directions_and_of_convolutions(tmp_path: Path) -> None:
    source = DATA / "keras3" / "recurrent.h5"
    wexport.ingest(source, tmp_path / "weights.parquet")
    answer = ask("gates", tmp_path / "weights.parquet")
    places = ask("SELECT slot, tensor, layer_class FROM weights WHERE gates IS NOT NULL", tmp_path / "weights.parquet")
    assert {place["layer_class"] for place in places} >= {"LSTM", "GRU", "ConvLSTM2D"}
    found = {(row["slot"], row["gate"]): row["mean"] for row in answer}
    wanted = {}
    with h5py.File(source) as file:
        for place in places:
            values = np.asarray(file["model_weights"][place["tensor"].removeprefix("model_weights/")], np.float64)
            order = "zrh" if "GRU" in place["layer_class"] else "ifco"
            for gate, part in zip(order, np.split(values, len(order), axis=-1), strict=True):
                wanted[place["slot"], gate] = part.mean()
    assert found == pytest.approx(wanted, rel=1e-9, abs=1e-15)
    assert any("/backward/" in slot for slot, _ in found)


@pytest.mark.parametrize("gate", ["", "f"])
def test_histograms_count_the_values_of_the_file(table: Path, gate: str) -> None:
    answer = ask("histogram", table, model="lstm", slot="lstm/recurrent_kernel", gate=gate)
    values = arrays(table, "lstm")["lstm/recurrent_kernel"]
    if gate:
        values = np.split(values, 4, axis=-1)[1]
    for row in answer:
        low, high = sorted((abs(row["lower"]), abs(row["upper"])))
        same_side = values[np.sign(values) == np.sign(row["lower"] + row["upper"])]
        assert row["count"] == np.sum((np.abs(same_side) >= low) & (np.abs(same_side) < high))
        assert row["share"] == pytest.approx(row["count"] / values.size)
        assert row["density"] == pytest.approx(row["share"] / (row["upper"] - row["lower"]))
    assert sum(row["count"] for row in answer) == values.size


def test_an_empty_table_and_models_that_are_not_there_give_no_rows(tmp_path: Path, table: Path) -> None:
    empty = write_table(tmp_path / "empty.parquet", [])
    for name in ("models", "architectures", "layers", "tensors", "sparsity", "gates", "histogram", "duplicates"):
        assert ask(name, empty) == []
        assert ask(name, table, model="nobody") == []
