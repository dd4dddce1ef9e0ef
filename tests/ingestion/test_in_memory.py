"""Models in memory: what `wexport.ingest` writes of an object that is not a path."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import wexport
from tests.conftest import EXAMPLES
from tests.plugins.test_hooks import documented, written
from wexport import Layout, Model, PluginError, TableError, Tensor, UsageError
from wexport.files.locks import locked

WriteH5 = Callable[..., Path]

# What does not follow from the values: where they came from, and who read them.
ORIGIN = {"model", "source", "source_bytes", "format", "framework", "framework_version", "backend", "kind"}
ORIGIN |= {"slot", "layer", "layer_index", "tensor_index"}


def model(**arrays: Any) -> Model:
    return Model(format="memory", tensors=[Tensor.of_array(name, np.asarray(array)) for name, array in arrays.items()])


def rows(table: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(table).to_pylist()
    return sorted(found, key=lambda row: (row["model"], row["kind"], row["tensor"]))


def column(table: Path, name: str) -> list[Any]:
    return [row[name] for row in rows(table)]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "weights.parquet"


@pytest.fixture
def old(out: Path) -> bytes:
    """A table that was there before, as bytes."""
    wexport.ingest_model(model(before=np.ones(3)), out, name="old")
    return out.read_bytes()


# -- what is written ---------------------------------------------------------------------------------------------------


def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    damaged = rng.normal(size=(7, 5)).astype("f4")
    damaged.flat[[0, 9, 30]] = np.nan, np.inf, -np.inf
    return {
        "a/large": rng.normal(size=(300, 401)).astype("f4"),
        "a/small": damaged,
        "b/half": rng.normal(size=(3, 3, 4, 8)).astype("f2"),
        "b/whole": rng.integers(-9, 9, (50, 60)).astype("i4"),
        "c/mask": rng.random((40, 40)) < 0.5,
        "c/empty": np.zeros((0, 4)),
        "c/one": np.float64(2.5),
        "d/reversed": rng.normal(size=(20, 30))[::-1, ::2],
    }


@pytest.mark.parametrize("detail", ["full", "summary"])
def test_figures_are_those_of_the_same_arrays_in_a_file(
    tmp_path: Path, out: Path, write_h5: WriteH5, detail: str
) -> None:
    given = arrays()
    del given["c/mask"]  # h5py's booleans are left out by the reader of files
    wexport.ingest_model(model(**given), out, name="m", detail=detail)
    wexport.ingest(write_h5("m.h5", **given), tmp_path / "file.parquet", detail=detail)
    in_memory, in_file = rows(out), rows(tmp_path / "file.parquet")
    assert [row["tensor"] for row in in_memory] == [row["tensor"] for row in in_file] == sorted(given)
    for mine, theirs in zip(in_memory, in_file, strict=True):
        for key in mine.keys() - ORIGIN:
            assert repr(mine[key]) == repr(theirs[key]), (mine["tensor"], key)  # NaN does not equal itself


def test_figures_are_those_that_numpy_gives(out: Path) -> None:
    given = arrays()
    wexport.ingest_model(model(**given), out, name="m")
    found = {row["tensor"]: row for row in rows(out)}
    for name, array in given.items():
        values = array.astype(np.float64)
        values = values[np.isfinite(values)]
        assert found[name]["value_count"] == array.size
        if values.size:
            assert found[name]["mean"] == pytest.approx(values.mean(), rel=1e-12, abs=1e-15)
            assert found[name]["abs_max"] == np.abs(values).max()


def test_where_it_belongs(tmp_path: Path, out: Path) -> None:
    wexport.ingest_model(model(w=[1.0]), out, name="run/weights.07", source=EXAMPLES / "lstm.h5")
    (row,) = rows(out)
    assert (row["model"], row["run"], row["step"]) == ("run/weights.07", "run/weights", 7)
    assert row["source"] == str(EXAMPLES / "lstm.h5")
    assert row["source_bytes"] == (EXAMPLES / "lstm.h5").stat().st_size
    for said, expected in {
        (): ("run/weights", 7),
        (("step", 3),): ("run/weights", 3),
        (("run", "r"),): ("r", 7),
        (("run", "r"), ("step", np.int64(3))): ("r", 3),
    }.items():
        wexport.ingest_model(model(w=[1.0]), out, name="run/weights.07", **dict(said))
        (row,) = rows(out)
        assert (row["run"], row["step"], row["source"], row["source_bytes"]) == (*expected, None, None)
    wexport.ingest_model(model(w=[1.0]), out, name="a-12", series=r"(?P<run>\w)-(?P<step>\d+)")
    assert (column(out, "run"), column(out, "step")) == (["a"], [12])


def test_the_result_and_the_progress_tell(out: Path) -> None:
    told: list[tuple[str, int, int]] = []
    skipped = [wexport.Skipped("string", "note"), wexport.Skipped("array of objects", "odd", True, "why")]
    tensors = [Tensor.of_array(kind, np.ones(4), kind=kind) for kind in ("weight", "optimizer", "gradient")]
    given = Model(format="memory", tensors=tensors, skipped=skipped)
    result = wexport.ingest_model(given, out, name="m", progress=lambda each, *of: told.append((each.model, *of)))
    (ended,) = result.models
    assert told == [("m", 1, 1)]
    assert (result.out, result.rows, result.written) == (out, 3, True)
    assert (ended.status, ended.format, ended.tensors, ended.parameters) == ("partial", "memory", 3, 4)
    assert ([each.name for each in ended.problems], ended.left_out) == (["odd"], {"string": ["note"]})


def test_views_tell_weights_from_what_only_a_run_has(out: Path) -> None:
    layout = Layout(pooled_axes=(0,), unit_axes=(1,))
    tensors = [
        Tensor.of_array("dense/kernel", np.ones((3, 2)), slot="dense/kernel", role="kernel"),
        Tensor.of_array("by dense/kernel", np.full((3, 2), 2.0), slot="dense/kernel", role="kernel", kind="gradient"),
        Tensor.of_array("of dense", np.full((9, 2), 3.0), slot="dense/output", kind="activation", layout=layout),
        Tensor.of_array("momentum", np.full(2, 4.0), slot="m", kind="optimizer"),
    ]
    wexport.ingest_model(Model(format="memory", tensors=tensors), out, name="m")

    def means(view: str, *kinds: str) -> list[float]:
        found: list[float] = wexport.query(f"SELECT mean FROM {view}", out, kinds=kinds)["mean"].to_pylist()
        return sorted(found)

    assert means("tensors") == means("tensors", "gradient") == [1, 2, 3, 4]
    assert means("weights") == [1]
    assert means("weights", "gradient") == [2]
    assert means("weights", "activation") == [3]
    assert means("weights", "gradient", "optimizer") == [2, 4]
    # A gradient has the slot of its weight: (model, kind, slot) is what is unique.
    assert sorted(column(out, "slot")) == ["dense/kernel", "dense/kernel", "dense/output", "m"]


def test_many_tensors_stand_in_their_order(out: Path) -> None:
    given = {f"{number:04}": np.full(1_000, number, "f4") for number in range(700)}
    result = wexport.ingest_model(model(**given), out, name="m")
    assert (result.rows, result.models[0].tensors, result.models[0].parameters) == (700, 700, 700_000)
    found = rows(out)
    assert [(row["tensor_index"], row["mean"], len(row["sample"]["value"])) for row in found] == [
        (number, number, 1_000) for number in range(700)
    ]


def test_two_tensors_of_one_slot_are_told_apart(out: Path) -> None:
    tensors = [Tensor.of_array(name, np.ones(2), slot="same/w", kind="activation") for name in "ab"]
    wexport.ingest_model(Model(format="memory", tensors=tensors), out, name="m")
    assert len(set(column(out, "slot"))) == 2


# -- beside others -----------------------------------------------------------------------------------------------------


def test_append_replaces_the_model_and_keeps_others(out: Path) -> None:
    wexport.ingest([EXAMPLES / "lstm.h5"], out)
    of_file = [row for row in rows(out) if row["model"] == "lstm"]
    wexport.ingest_model(model(w=[1.0], v=[2.0]), out, name="m", append=True)
    wexport.ingest_model(model(w=[5.0]), out, name="m", append=True)
    found = rows(out)
    assert [row for row in found if row["model"] == "lstm"] == of_file
    assert [(row["tensor"], row["mean"]) for row in found if row["model"] == "m"] == [("w", 5)]
    wexport.ingest(EXAMPLES / "gru.h5", out, append=True)
    assert set(column(out, "model")) == {"gru", "lstm", "m"}


def test_a_name_that_another_source_has_is_refused_both_ways(out: Path) -> None:
    wexport.ingest(EXAMPLES / "lstm.h5", out)
    before = out.read_bytes()
    with pytest.raises(TableError, match=r"has a model 'lstm' already, read from .*lstm.h5") as caught:
        wexport.ingest_model(model(w=[1.0]), out, name="lstm", append=True)
    assert "name='lstm_2'" in caught.value.hint
    assert out.read_bytes() == before
    # Loaded from that very file, it is that model.
    wexport.ingest_model(model(w=[1.0]), out, name="lstm", append=True, source=EXAMPLES / "lstm.h5")
    assert column(out, "mean") == [1]
    wexport.ingest_model(model(w=[1.0]), out, name="lstm")
    with pytest.raises(TableError, match="has a model 'lstm' already, read from memory"):
        wexport.ingest(EXAMPLES / "lstm.h5", out, append=True)


def test_append_refuses_other_options(out: Path) -> None:
    wexport.ingest_model(model(w=[1.0]), out, name="a", detail="summary")
    with pytest.raises(TableError, match="was written with options"):
        wexport.ingest_model(model(w=[1.0]), out, name="b", append=True)


def test_a_folder_has_a_part_a_model(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    wexport.ingest_model(model(w=[1.0]), f"{folder}/", name="a/b")
    wexport.ingest_model(model(w=[2.0]), folder, name="c")
    wexport.ingest(EXAMPLES / "lstm.h5", folder)
    wexport.ingest_model(model(w=[3.0]), folder, name="c")
    found = wexport.query("SELECT model, mean FROM weights WHERE model <> 'lstm' ORDER BY model", folder)
    assert found.to_pylist() == [{"model": "a/b", "mean": 1}, {"model": "c", "mean": 3}]
    assert len(list(folder.iterdir())) == 3


# -- plugins -----------------------------------------------------------------------------------------------------------


def test_the_documented_describe_is_a_whole_plugin(tmp_path: Path, out: Path) -> None:
    mine = documented("wexport_describe", tmp_path)
    given = arrays()
    result = wexport.ingest_model(given, out, name="m", plugins=(mine,))
    assert (result.models[0].status, result.models[0].format) == ("ok", "dict")
    wexport.ingest_model(model(**given), tmp_path / "own.parquet", name="m")
    for mine_row, own in zip(rows(out), rows(tmp_path / "own.parquet"), strict=True):
        assert repr({**mine_row, "format": ""}) == repr({**own, "format": ""})


def test_meaning_and_statistics_of_plugins_are_asked_as_for_files(tmp_path: Path, out: Path, write_h5: WriteH5) -> None:
    mine = written(
        tmp_path,
        "@wexport.hookimpl\ndef wexport_meaning(tensor):\n"
        "    return wexport.Meaning(role='kernel', layout=wexport.Layout(unit_axes=(1,)))\n"
        "@wexport.hookimpl\ndef wexport_statistics():\n"
        "    return [wexport.Statistic(name='total', doc='sum', of=lambda values, tensor: values.sum())]\n",
    )
    wexport.ingest(write_h5("file.h5", w=np.arange(6.0).reshape(3, 2)), out, plugins=(mine,))
    # The same plugins shaped both, so they may stand in one table.
    wexport.ingest_model(model(w=np.arange(6.0).reshape(3, 2)), out, name="m", append=True, plugins=(mine,))
    of_file, of_memory = rows(out)
    assert (of_memory["role"], of_memory["unit_count"], of_memory["extra"]) == ("kernel", 2, [("total", 15.0)])
    for name in ("role", "unit_count", "units", "extra"):
        assert of_memory[name] == of_file[name]
    with pytest.raises(TableError, match="was written with options"):
        wexport.ingest_model(model(w=[1.0]), out, name="n", append=True)


def test_figures_made_while_values_passed_have_no_statistic(tmp_path: Path, out: Path) -> None:
    mine = documented("wexport_statistics", tmp_path)
    array = np.arange(6.0).reshape(3, 2)
    known = Tensor.of_array("w", array)
    gone = Tensor(name="w", shape=(3, 2), dtype="float64", chunks=_asked, statistics=wexport.stats.measure(known))
    wexport.ingest_model(Model(format="memory", tensors=[gone]), out, name="m", plugins=(mine,))
    (row,) = rows(out)
    assert (row["mean"], row["extra"]) == (2.5, None)


def _asked(limit: int) -> Any:
    raise AssertionError("these values are gone")


def test_a_statistic_that_fails_is_noted(tmp_path: Path, out: Path) -> None:
    mine = written(
        tmp_path,
        "@wexport.hookimpl\ndef wexport_statistics():\n"
        "    return [wexport.Statistic(name='bad', doc='', of=lambda values, tensor: 1 / 0)]\n",
    )
    result = wexport.ingest_model(model(w=[1.0]), out, name="m", plugins=(mine,))
    assert result.models[0].status == "ok"
    (note,) = result.models[0].notes
    assert "statistic bad of plugin mine is NULL for some: ZeroDivisionError" in note


def test_a_broken_plugin_is_told_and_costs_nothing(tmp_path: Path, out: Path) -> None:
    broken = written(tmp_path, "import does_not_exist", "broken.py")
    result = wexport.ingest_model(
        {"w": np.ones(3)}, out, name="m", plugins=(broken, documented("wexport_describe", tmp_path))
    )
    assert [(each.name, each.state) for each in result.broken] == [("broken", "broken")]
    with pytest.raises(
        UsageError, match=r"no plugin knows how to read a builtins.dict; broken plugins: broken \(needs"
    ):
        wexport.ingest_model({"w": np.ones(3)}, out, name="m", plugins=(broken,))


DESCRIBED = {
    "raises": ("1 / 0", "plugin mine cannot describe a builtins.dict: ZeroDivisionError"),
    "exits": ("exit(3)", "plugin mine cannot describe a builtins.dict: SystemExit: 3"),
    "no model": ("5", "wexport_describe returned int for a builtins.dict, where a wexport.Model is due"),
    "no tensors": ("wexport.Model(format='x', tensors=None)", "plugin mine makes no sense: TypeError"),
    "odd tensors": ("wexport.Model(format='x', tensors=['w'])", "hold a str, where a wexport.Tensor is due"),
    "no kind": ("model(kind='weights')", "w: kind 'weights' is none of weight, array"),
    "no role": ("model(role=5)", "plugin mine makes no sense: TypeError"),
    "no index": ("model(layer_index='first')", "column layer_index holds int32, and was given something else"),
    "no layout": ("model(layout=wexport.Layout(pooled_axes=(7,)))", "a unit, input or pooled axis does not exist"),
    "units pooled": (
        "model(layout=wexport.Layout(pooled_axes=(0,), unit_axes=(0,)))", "an axis is both of units and pooled"
    ),
    "raises while read": ("model(chunks=lambda limit: 1 / 0)", "tensor w of plugin mine cannot be read: ZeroDivision"),
    "exits while read": ("model(chunks=lambda limit: exit(3))", "tensor w of plugin mine cannot be read: SystemExit"),
    "too few": ("model(chunks=lambda limit: [np.ones(2)])", "tensor w of plugin mine .* 1 values are missing"),
    "another type": ("model(chunks=lambda limit: [np.ones(3, 'f4')])", "a chunk is 1-dimensional float32"),
    "no type": ("model(dtype='object')", "object is not a type that statistics are made of"),
}  # fmt: skip


@pytest.mark.parametrize("fault", DESCRIBED)
def test_a_plugin_at_fault_is_named_and_the_table_stays(tmp_path: Path, out: Path, old: bytes, fault: str) -> None:
    code, told = DESCRIBED[fault]
    mine = written(
        tmp_path,
        "import dataclasses\n"
        "def model(**said):\n"
        "    good = wexport.Tensor.of_array('good', np.ones(3))\n"
        "    w = dataclasses.replace(wexport.Tensor.of_array('w', np.ones(3)), **said)\n"
        "    return wexport.Model(format='x', tensors=[good, w])\n"
        f"@wexport.hookimpl\ndef wexport_describe(living):\n    return {code}\n",
    )
    with pytest.raises(wexport.WexportError, match=told):
        wexport.ingest_model({"w": np.ones(3)}, out, name="m", plugins=(mine,), append=True)
    assert out.read_bytes() == old
    assert not list(tmp_path.glob(".*.partial"))


def test_what_a_plugin_says_on_purpose_is_passed_on(tmp_path: Path, out: Path) -> None:
    mine = written(
        tmp_path,
        "@wexport.hookimpl\ndef wexport_describe(living):\n"
        "    raise wexport.UsageError('it is not built', hint='call it once')\n",
    )
    with pytest.raises(UsageError, match="it is not built") as caught:
        wexport.ingest_model({}, out, name="m", plugins=(mine,))
    assert caught.value.hint == "call it once"


def test_nothing_but_problems_is_an_error(out: Path, old: bytes) -> None:
    given = Model(format="memory", tensors=[], skipped=[wexport.Skipped("odd", "w", True, "why")])
    with pytest.raises(PluginError, match="none of its tensors can be read"):
        wexport.ingest_model(given, out, name="m")
    assert out.read_bytes() == old


# -- calls that make no sense ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "options", "told"),
    [
        (object(), {"name": "m"}, "no plugin knows how to read a builtins.object"),
        (None, {}, "no plugin knows how to read a builtins.NoneType"),
        (model(), {}, "a model in memory needs a name"),
        (model(), {"name": ""}, "a model in memory needs a name"),
        (model(), {"name": "m", "step": "3"}, "step '3' is not a whole number"),
        (model(), {"name": "m", "step": 2.5}, "step 2.5 is not a whole number"),
        (model(), {"name": "m", "step": 10**30}, "step is 10000"),
        (model(), {"name": "m", "run": 5}, "run 5 is not text"),
        (model(), {"name": "m", "source": "nowhere.h5"}, "nowhere.h5: does not exist"),
        (model(), {"name": "m", "series": "("}, "is not a regular expression"),
        (model(), {"name": "m", "detail": "few"}, "detail 'few' is neither"),
        ([model()], {"name": "m"}, "no plugin knows how to read a builtins.list"),
        (str(EXAMPLES), {"name": "m"}, "no plugin knows how to read a builtins.str"),
    ],
)
def test_calls_that_make_no_sense(out: Path, given: Any, options: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        wexport.ingest_model(given, out, **options)
    assert not out.exists()


@pytest.mark.parametrize(
    ("given", "options", "told"),
    [
        ([model()], {"name": "m"}, "something of type Model is not a path"),
        (str(EXAMPLES), {"step": 1}, "run, step and source are for a model in memory"),
        (str(EXAMPLES), {"source": "x.h5"}, "run, step and source are for a model in memory"),
        (str(EXAMPLES), {"detial": "full"}, "no option 'detial'"),
    ],
)
def test_calls_for_files_that_make_no_sense(out: Path, given: Any, options: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        wexport.ingest(given, out, **options)
    assert not out.exists()


def test_ingest_still_takes_a_model_and_says_what_to_call(out: Path) -> None:
    with pytest.warns(DeprecationWarning, match=r"wexport\.ingest_model") as said:
        wexport.ingest(model(w=[1.0]), out, name="m", run="r", step=3)  # type: ignore[arg-type]
    assert said[0].filename == __file__
    assert [(row["model"], row["run"], row["step"]) for row in rows(out)] == [("m", "r", 3)]


def test_a_folder_that_does_not_exist_is_told(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"the folder .*nowhere does not exist"):
        wexport.ingest_model(model(w=[1.0]), tmp_path / "nowhere" / "w.parquet", name="m")


def test_an_empty_model_is_told_to_be_empty(out: Path) -> None:
    result = wexport.ingest_model(model(), out, name="m")
    assert (result.models[0].status, result.models[0].reason) == ("empty", "it holds no numbers")


# -- in what comes after -----------------------------------------------------------------------------------------------


def test_compare_loses_no_model_that_was_in_memory(tmp_path: Path) -> None:
    out = tmp_path / "weights.parquet"
    wexport.ingest(EXAMPLES / "lstm.h5", out)
    wexport.ingest_model(model(w=[1.0]), out, name="m", append=True)
    before = out.read_bytes()
    with pytest.raises(TableError, match=r"holds 1 model that is not among these files, e\.g\. m"):
        wexport.compare(EXAMPLES / "lstm.h5", out=out)
    assert out.read_bytes() == before
    assert wexport.compare(out).models.num_rows == 2


def test_metrics_beside_the_parts_of_a_run_are_compared_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    for step in (1, 2):
        wexport.ingest_model(
            model(**{"d/kernel": np.eye(3) * step}), f"{folder}/", name=f"e{step}", run="run", step=step
        )
    metrics = folder / "metrics.csv"
    metrics.write_text("run,epoch,val_loss\nrun,1,0.5\nrun,2,0.25\n")
    found = wexport.compare(folder, metrics=metrics)
    assert found.ingested is None  # a folder of parts and their metrics is a table
    assert found.rank is not None
    ranked = [(row["model"], row["value"]) for row in found.rank.to_pylist()]
    assert ranked == [("e2", 0.25), ("e1", 0.5)]


def test_the_first_model_in_a_folder_is_written_under_a_lock(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    folder, refused = tmp_path / "parts", []

    def chunks(limit: int) -> Iterator[Any]:
        with pytest.raises(TableError, match="is being written by"), locked(folder / "m.parquet"):
            pass
        refused.append(limit)
        yield np.ones(3)

    tensor = Tensor(name="w", shape=(3,), dtype="float64", chunks=chunks)
    wexport.ingest_model(Model(format="memory", tensors=[tensor]), f"{folder}/", name="m")
    assert refused
