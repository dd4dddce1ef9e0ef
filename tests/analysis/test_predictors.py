"""Figures that go with a metric: found where they are planted, not found in noise, and the same in SQL and Python."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wexport
from tests.tables import write_table
from wexport import library
from wexport.queries import asking

STATISTICS = ["mean", "l2_norm", "abs_max", "kurtosis"]


def table(folder: Path, models: int, seed: int, *, planted: bool = False) -> Path:
    """Models of 12 kernels of noise, and a metric; planted: the metric is in the norm of one kernel."""
    rng = np.random.default_rng(seed)
    losses = rng.normal(size=models)
    rows = []
    for model in range(models):
        for layer in range(12):
            scale = math.exp(0.5 * losses[model]) if planted and layer == 5 else 1.0
            values = rng.normal(0, scale, (12, 8))
            rows.append({"model": f"m{model:02d}", "layer": f"dense_{layer}", "role": "kernel", "values": values})
    lines = "".join(f"m{model:02d},{float(loss)!r}\n" for model, loss in enumerate(losses))
    (folder / "m.csv").write_text("model,val_loss\n" + lines)
    return write_table(folder / "weights.parquet", rows)


def predictors(path: Path, **parameters: Any) -> list[dict[str, Any]]:
    """The answer of the Python form."""
    files = {"metrics": path.parent / "m.csv"}
    return wexport.query("predictors", path, {"statistics": STATISTICS, **parameters}, files=files).to_pylist()


def in_sql(path: Path, **parameters: Any) -> list[dict[str, Any]]:
    """The answer of the SQL form."""
    with wexport.connect(path, {"metrics": path.parent / "m.csv"}) as connection:
        found = connection.sql(library.get("predictors").sql, {"statistics": STATISTICS, **parameters})
        return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]


def test_a_planted_relation_is_found_and_the_two_forms_agree(tmp_path: Path) -> None:
    path = table(tmp_path, 14, 1, planted=True)
    found = predictors(path)
    first = found[0]
    assert (first["slot"], first["better_when"], first["verdict"]) == ("dense_5/kernel", "lower", "hardly chance")
    assert first["rho"] > 0.9
    assert first["p"] <= 0.01
    assert first["figures"] == len(found) == 12 * 4 + 2  # and the norm and the largest of the whole model
    same(found, in_sql(path))


def same(found: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> None:
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert one.pop("rho") == pytest.approx(other.pop("rho"), abs=1e-12)
        assert one == other


def test_ties_give_the_same_in_both_forms(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    rows = [
        {"model": f"m{model:02d}", "layer": f"dense_{layer}", "role": "kernel", "values": rng.integers(0, 3, (3, 2))}
        for model in range(11)
        for layer in range(9)
    ]
    (tmp_path / "m.csv").write_text("model,val_accuracy\n" + "".join(f"m{m:02d},{m % 4}\n" for m in range(11)))
    path = write_table(tmp_path / "weights.parquet", rows)
    parameters = {"statistics": ["mean", "abs_max", "zero_fraction", "q50"], "permutations": 199, "seed": 3}
    found = predictors(path, **parameters)
    assert len(found) > 9
    same(found, in_sql(path, **parameters))


def test_rho_is_spearmans(tmp_path: Path) -> None:
    """Held against the textbook: the correlation of the mid-ranks, computed one at a time."""
    path = table(tmp_path, 10, 3)
    losses = {
        line.split(",")[0]: float(line.split(",")[1]) for line in (tmp_path / "m.csv").read_text().splitlines()[1:]
    }
    columns = ", ".join(STATISTICS)
    rows = wexport.query(f"SELECT model, slot, {columns} FROM weights ORDER BY model", path).to_pylist()
    for found in predictors(path, slot="dense_*"):
        figures = [row[found["statistic"]] for row in rows if row["slot"] == found["slot"]]
        assert found["rho"] == pytest.approx(spearman(figures, [losses[name] for name in sorted(losses)]), abs=1e-12)


def spearman(first: list[float], second: list[float]) -> float:
    def ranks(values: list[float]) -> list[float]:
        return [sum(v < value for v in values) + (sum(v == value for v in values) + 1) / 2 for value in values]

    return float(np.corrcoef(ranks(first), ranks(second))[0, 1])


def test_noise_is_not_taken_for_a_relation(tmp_path: Path) -> None:
    """The least p of a search in noise is uniform: of 20 metrics of noise, few find something and many do not."""
    path = table(tmp_path, 10, 0)
    noise = np.random.default_rng(11).normal(size=(10, 20))
    lines = ["model," + ",".join(f"score_{place}" for place in range(20))]
    lines += [f"m{model:02d}," + ",".join(map(str, row)) for model, row in enumerate(noise.tolist())]
    (tmp_path / "m.csv").write_text("\n".join(lines) + "\n")
    with asking.session(path, {"metrics": tmp_path / "m.csv"}) as session:
        least = []
        for place in range(20):
            asked = {"metric": f"score_{place}", "direction": "higher", "permutations": 199, "statistics": STATISTICS}
            least.append(asking.ask(session, "predictors", asked)["p"][0].as_py())
    # Were p uniform, each would fail with a chance of less than 0.003.
    assert sum(p <= 0.05 for p in least) <= 4
    assert 4 <= sum(p <= 0.5 for p in least) <= 16


def test_five_models_give_no_numbers(tmp_path: Path) -> None:
    found = predictors(table(tmp_path, 5, 0))
    assert [(row["rho"], row["p"], row["models"]) for row in found] == [(None, None, 5)]
    assert found[0]["verdict"].startswith("no answer: 5 models")


def test_checkpoints_of_a_run_count_once_and_other_architectures_not_at_all(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)

    def kernel(model: str, shape: tuple[int, int] = (4, 4), **more: Any) -> dict[str, Any]:
        return {"model": model, "layer": "dense", "role": "kernel", "values": rng.normal(size=shape), **more}

    rows = [kernel(f"m{place}") for place in range(9)]
    rows += [kernel(f"r.{step}", run="r", step=step) for step in range(1, 4)]
    rows += [kernel(f"other_{place}", (5, 5)) for place in range(2)]
    names = [row["model"] for row in rows]
    (tmp_path / "m.csv").write_text("model,val_loss\n" + "".join(f"{name},{rng.normal()}\n" for name in names))
    found = predictors(write_table(tmp_path / "weights.parquet", rows))
    assert {row["models"] for row in found} == {10}
    told = "2 models of other architectures left out, 2 earlier checkpoints left out"
    assert found[0]["verdict"].endswith(told)
    same(found, in_sql(tmp_path / "weights.parquet"))


def test_figures_that_are_not_known_for_all_are_not_tried(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = []
    for model in range(10):
        rows.append({"model": f"m{model}", "layer": "a", "role": "kernel", "values": rng.normal(size=(3, 3))})
        rows.append({"model": f"m{model}", "layer": "b", "role": "bias", "values": [0.0, 0.0]})
        rows.append({"model": f"m{model}", "layer": "c", "role": "kernel", "values": [[1, 1]] if model else [[1, 2]]})
    (tmp_path / "m.csv").write_text("model,val_loss\n" + "".join(f"m{model},{model}\n" for model in range(10)))
    path = write_table(tmp_path / "weights.parquet", rows)
    found = {(row["slot"], row["statistic"]) for row in predictors(path, slot="?/*")}
    # A bias of zeros is the same for all; the kurtosis of a constant is not defined.
    assert found == {("a/kernel", name) for name in STATISTICS} | {("c/kernel", name) for name in STATISTICS[:3]}


def test_an_unknown_statistic_is_named(tmp_path: Path) -> None:
    with pytest.raises(wexport.QueryError, match="maen"):
        predictors(table(tmp_path, 10, 0), statistics=["maen"])
