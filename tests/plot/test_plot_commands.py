"""`wexport plot`: each kind writes the picture that it is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

import wexport
from tests.conftest import EXAMPLES
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
