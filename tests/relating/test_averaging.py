"""Averages among files and in tables."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import wexport
from tests.relating.test_relate import RESIDUAL, Weights, residual, saved
from wexport.cli import cli


def averaged(models: list[Weights], shares: list[float]) -> Weights:
    return {
        name: {
            role: sum(
                share * model[name][role].astype("f8") for share, model in zip(shares, models, strict=True)
            ).astype("f4")
            for role in tensors
        }
        for name, tensors in models[0].items()
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    models = [residual(seed) for seed in range(3)]
    for name, model in zip("abc", models, strict=True):
        saved(tmp_path / f"{name}.h5", model, RESIDUAL)
    saved(tmp_path / "soup.h5", averaged(models, [0.5, 0.3, 0.2]), RESIDUAL)
    saved(tmp_path / "other.h5", {"one": residual(9)["hidden"]})
    return tmp_path


def test_a_soup_in_a_folder_is_told_with_its_coefficients(folder: Path) -> None:
    told = wexport.averages([folder])
    (found,) = told.found
    assert (found.model, told.compared) == ("soup", 4)
    assert dict(zip(found.parts, found.coefficients, strict=True)) == pytest.approx(
        {"a": 0.5, "b": 0.3, "c": 0.2}, abs=1e-6
    )


def test_a_table_tells_it_too(folder: Path) -> None:
    table = folder / "weights.parquet"
    wexport.ingest(folder, table)
    (found,) = wexport.averages([table]).found
    assert dict(zip(found.parts, found.coefficients, strict=True)) == pytest.approx(
        {"a": 0.5, "b": 0.3, "c": 0.2}, abs=1e-6
    )


def test_the_command_tells_averages_alone(folder: Path) -> None:
    done = CliRunner(env={"COLUMNS": "80"}).invoke(cli, ["relate", "--averages", str(folder)])
    assert done.exit_code == 0, done.output
    assert all(part in done.stdout for part in ("0.5 a", "0.3 b", "0.2 c"))
    done = CliRunner().invoke(cli, ["relate", "--averages", "--format", "json", str(folder)])
    assert json.loads(done.stdout)[0]["rank"] == 2
    (folder / "soup.h5").unlink()
    done = CliRunner().invoke(cli, ["relate", "--averages", str(folder)])
    assert "none of 3 models" in done.stdout
