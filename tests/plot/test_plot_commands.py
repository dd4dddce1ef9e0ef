"""`wexport plot`: each kind writes the picture that it is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

import wexport
from tests.conftest import EXAMPLES
from tests.tables import write_table
from wexport.cli import cli


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("table") / "weights.parquet"
    wexport.ingest(EXAMPLES, out)
    return out


@pytest.mark.parametrize(
    ("words", "title"),
    [
        ("scatter --a cnn_seed_1 --b cnn_seed_2 --slot dense/kernel", "dense/kernel: sample of 1,024 of 1,728 values"),
        ("profile --model cnn_seed_* --statistic abs_max", "abs_max of 4 slots of role kernel: 5 models"),
        ("profile --model cnn_* --model !cnn_seed_*", "std of 4 slots of role kernel: 2 models"),
        ("trajectory --slot dense/kernel --scale log", "std of dense/kernel: 8 checkpoints of run/weights"),
        ("units --slot conv2d/kernel --model cnn_seed_1 --layout bars", "conv2d/kernel: cnn_seed_1, 8 units"),
        (
            f"rank --metrics {EXAMPLES / 'metrics.csv'} --model cnn_seed_*",
            "val_loss against l2_norm of the whole model",
        ),
    ],
)
def test_each_kind_writes_its_picture(table: Path, tmp_path: Path, words: str, title: str) -> None:
    out = tmp_path / "f.svg"
    done = CliRunner().invoke(cli, ["plot", *words.split(), str(table), "-o", str(out), "--size", "9", "5"])
    assert done.exit_code == 0, done.output
    assert title in out.read_text()


@pytest.mark.parametrize(
    ("words", "error", "hint"),
    [
        ("histogram --slot dense/kernel --model cnn_sed_1", "there is no model 'cnn_sed_1'", "models are cnn_seed_"),
        ("profile --model gru --model lstn", "there is no model 'lstn'", "models are lstm"),
        ("profile --model !lstn", "there is no model 'lstn'", "models are lstm"),
        ("heatmap --slot dens/kernel", "no model has a slot 'dens/kernel'", "slots here are dense/kernel"),
        ("units --slot conv2d/kernel --slot dense/kernel", "fits 2 slots", "choose one: conv2d/kernel, dense/kernel"),
    ],
)
def test_what_is_wrong_is_named_with_the_nearest(
    table: Path, tmp_path: Path, words: str, error: str, hint: str
) -> None:
    done = CliRunner().invoke(cli, ["plot", *words.split(), str(table), "-o", str(tmp_path / "f.svg")])
    assert isinstance(done.exception, wexport.UsageError)
    assert error in str(done.exception)
    assert done.exception.hint.startswith(hint)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (["*"], {"a", "ab", "b", "!a"}),
        (["!a"], {"ab", "b"} | {"!a"}),  # a name that begins so is meant by itself, and a is left out
        (["a*", "b"], {"a", "ab", "b"}),
        (["*", "!a*"], {"b", "!a"}),
        (["a*", "!ab"], {"a"}),
        (["a", "!*"], set()),
        (["!b", "!ab"], {"a", "!a"}),
        (["x"], set()),
    ],
)
def test_names_that_are_asked_for(pattern: list[str], expected: set[str], tmp_path: Path) -> None:
    rows = [{"model": name, "slot": "s/kernel", "values": [1.0]} for name in ("a", "ab", "b", "!a")]
    text = "\x1f".join(pattern)
    sql = "SELECT model FROM weights WHERE asked_for(model, getvariable('model'))"
    found = wexport.query(sql, write_table(tmp_path / "t.parquet", rows), {"model": text})
    assert set(found["model"].to_pylist()) == expected
