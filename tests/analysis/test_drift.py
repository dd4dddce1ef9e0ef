"""Drift: every figure against plain NumPy over all values, from samples and from whole tensors."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wexport
from tests.analysis.test_similarity import KINDS, dense, exact_cosine, moved
from tests.tables import write_table
from wexport import library
from wexport.analysis import drift as drifting
from wexport.errors import QueryError
from wexport.stats import sample


def drift(path: Path, rows: list[dict[str, Any]], **parameters: Any) -> dict[str, dict[str, Any]]:
    """Answers by slot."""
    answer = wexport.query("drift", write_table(path / "weights.parquet", rows), {"reference": "old", **parameters})
    return {row["slot"]: row for row in answer.to_pylist()}


def test_samples_are_within_three_standard_errors_of_all_values(tmp_path: Path) -> None:
    rng = np.random.default_rng(11)
    rows, exact = [], {}
    for number in range(240):
        kernel = rng.normal(0, 0.1, (64, 96)).astype(np.float32)
        new = moved(rng, kernel, KINDS[number % len(KINDS)])
        rows += [dense("old", kernel, f"layer_{number}"), dense("new", new, f"layer_{number}")]
        x, d = kernel.astype(np.float64), new.astype(np.float64) - kernel
        exact[f"layer_{number}/kernel"] = {
            "relative_l2": math.sqrt((d**2).sum() / (x**2).sum()),
            "cosine": exact_cosine(kernel, new),
            "changed_fraction": np.mean(d != 0),
        }
    found = drift(tmp_path, rows)
    assert {row["basis"] for row in found.values()} == {"sample"}
    for figure in ("relative_l2", "cosine", "changed_fraction"):
        errors = np.array(
            [(found[slot][figure] - value[figure]) / found[slot][f"{figure}_se"] for slot, value in exact.items()]
        )
        assert np.mean(np.abs(errors) <= 3) >= 0.99, figure
    relative = np.array(
        [(found[s]["relative_l2"] - v["relative_l2"]) / found[s]["relative_l2_se"] for s, v in exact.items()]
    )
    assert 0.6 < relative.std() < 1.3  # neither too sure nor too careful


def test_whole_tensors_give_exact_figures(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    old = rng.normal(0, 1, (20, 30))
    new = old + rng.normal(0, 1e-9, old.shape)
    found = drift(tmp_path, [{**dense("old", old), "dtype": "float64"}, {**dense("new", new), "dtype": "float64"}])
    row = found["dense/kernel"]
    d = new - old
    assert row["relative_l2"] == pytest.approx(math.sqrt((d**2).sum() / (old**2).sum()), rel=1e-12)
    assert 1 - row["cosine"] == pytest.approx(0, abs=1e-15)
    assert row["rms_change"] == pytest.approx(math.sqrt((d**2).mean()), rel=1e-12)
    assert (row["relative_l2_se"], row["cosine_se"], row["changed_fraction_se"]) == (0, 0, 0)
    assert row["basis"] == "all values"


@pytest.mark.parametrize("scale", [1e-300, 1e37])
def test_magnitudes_do_not_overflow(tmp_path: Path, scale: float) -> None:
    old, new = np.array([[3.0, 4.0]]) * scale, np.array([[3.0, 0.0]]) * scale
    found = drift(tmp_path, [{**dense("old", old), "dtype": "float64"}, {**dense("new", new), "dtype": "float64"}])
    assert found["dense/kernel"]["relative_l2"] == pytest.approx(0.8)
    assert found["dense/kernel"]["cosine"] == pytest.approx(0.6)


def test_a_change_that_the_sample_misses_is_said(tmp_path: Path) -> None:
    old = np.random.default_rng(1).normal(0, 1, (64, 96)).astype(np.float32)
    kept = sample.positions(old.shape, 1024)
    new = old.copy()
    new.flat[min(set(range(old.size)) - set(kept.tolist()))] += 1
    row = drift(tmp_path, [dense("old", old), dense("new", new)])["dense/kernel"]
    assert row["reason"] == "changed, but in no value of the sample"
    assert row["relative_l2"] is None
    assert row["cosine"] is None
    assert row["changed_fraction"] == 0
    assert row["changed_fraction_se"] > 1 / old.size


def test_wasserstein_is_near_that_of_the_values(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    old = rng.normal(0, 0.1, (100, 100)).astype(np.float32)
    rows = [dense("old", old, "wider"), dense("new", (old * 1.5).astype(np.float32), "wider")]
    rows += [dense("old", old, "moved"), dense("new", old + np.float32(0.1), "moved")]
    rows += [dense("old", old, "shuffled"), dense("new", rng.permutation(old.ravel()).reshape(old.shape), "shuffled")]
    found = drift(tmp_path, rows)
    for slot, new in (("wider", old * 1.5), ("moved", old + 0.1)):
        # Of two samples of one size, the Wasserstein-1 distance is the mean distance of their sorted values.
        wanted = np.abs(np.sort(old.ravel()) - np.sort(new.ravel())).mean() / old.std()
        assert found[f"{slot}/kernel"]["wasserstein"] == pytest.approx(wanted, rel=0.02)
    assert found["shuffled/kernel"]["wasserstein"] == pytest.approx(0, abs=1e-12)
    assert found["shuffled/kernel"]["js_distance"] == pytest.approx(0, abs=1e-6)
    assert found["moved/kernel"]["js_distance"] > 0.3


@pytest.mark.parametrize("shape", [(8, 8), (20, 20), (64, 64)])
def test_js_expected_is_what_two_samples_of_one_distribution_give(tmp_path: Path, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(6)
    rows = []
    for number in range(40):
        rows += [dense(model, rng.normal(0, 0.1, shape), f"layer_{number}") for model in ("old", "new")]
    found = drift(tmp_path, rows, js_level=2.0).values()
    distance, expected = (np.mean([row[name] for row in found]) for name in ("js_distance", "js_expected"))
    assert expected == pytest.approx(distance, rel=0.05)
    told = drift(tmp_path, rows).values()
    assert all((row["js_distance"] is not None) == (row["js_expected"] < 0.2) for row in told)


def test_histograms_are_compared_where_most_moved(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    rows = []
    for number in range(4):
        kernel = rng.normal(0, 0.1, (8, 8))
        rows += [dense("old", kernel, f"layer_{number}"), dense("new", kernel * (1.5 + number), f"layer_{number}")]
    found = drift(tmp_path, rows, histograms=2)
    assert {slot for slot, row in found.items() if row["wasserstein"] is not None} == {
        "layer_2/kernel",
        "layer_3/kernel",
    }


# -- the two forms -----------------------------------------------------------------------------------------------------

ODD = [0.0, 1.0, -1.0, 1e-300, 1e300, 3e38, 1e-45, float("nan"), float("inf"), -float("inf")]


@st.composite
def runs(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Checkpoints of a few layers in any order: now and then without samples, or not in the run.

    All are of one architecture: where a run changes it, NumPy's form sees more than SQL alone.
    """
    rows = []
    shapes = draw(st.lists(st.sampled_from([(3, 5), (3, 5), (1, 2), (40, 30), (0, 4)]), max_size=4))
    for step in range(draw(st.integers(1, 5))):
        for layer, shape in enumerate(shapes):
            rng = np.random.default_rng(draw(st.integers(0, 3)))
            values = rng.normal(0, draw(st.sampled_from([1.0, 1e-70, 1e70])), shape)
            if values.size and draw(st.booleans()):
                values.flat[rng.integers(0, values.size, 3)] = draw(st.sampled_from(ODD))
            row = {**dense(f"m{step}", values, f"layer_{layer}"), "dtype": "float64", "step": step}
            row |= {"units": None, "grid": None}  # of float32
            row["run"] = None if draw(st.integers(0, 9)) == 0 and not layer else "run"
            if draw(st.integers(0, 5)) == 0:
                row["sample"] = None
            rows.append(row)
    for row in rows:
        row["run"] = next(each["run"] for each in rows if each["model"] == row["model"])
    return list(draw(st.permutations(rows)))


def alike(one: pa.Table, other: pa.Table) -> None:
    """The same rows; in the same order but for what rounding tells apart."""
    assert one.schema == other.schema
    key = ("model", "slot", "against", "reason")
    left, right = ({tuple(row[name] for name in key): row for row in table.to_pylist()} for table in (one, other))
    assert left.keys() == right.keys()
    assert len(left) == one.num_rows == other.num_rows
    for name, row in left.items():
        for column, value in row.items():
            if isinstance(value, float) and isinstance(right[name][column], float):
                assert value == pytest.approx(right[name][column], rel=1e-9, abs=1e-12), column
            else:
                assert value == right[name][column], column


@settings(max_examples=10, deadline=None)
@given(
    rows=runs(),
    against=st.sampled_from(["previous", "first"]),
    reference=st.just(""),  # against one, this form sees more than SQL alone: which layers were put in
    most=st.integers(1, 2**13),
)
def test_numpy_and_sql_say_the_same_whatever_is_read_at_once(
    rows: list[dict[str, Any]], against: str, reference: str, most: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    table = write_table(tmp_path_factory.mktemp("drift") / "weights.parquet", rows)
    parameters = {"against": against} | (
        {"reference": reference} if reference in {row["model"] for row in rows} else {}
    )
    text = library.get("drift").sql
    with wexport.connect(table, threads=1) as connection:
        numpy = drifting.drift(connection, text, parameters, most).read_all()
        alike(numpy, connection.sql(text, parameters).to_arrow_table())


def test_the_order_of_both_forms_is_the_same(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    rows = [
        {**dense(f"m{step}", rng.normal(0, 1, (4, 8)), f"layer_{layer}"), "run": "run", "step": step}
        for step in range(6)
        for layer in range(5)
    ]
    table = write_table(tmp_path / "weights.parquet", rows)
    with wexport.connect(table) as connection:
        sql = connection.sql(library.get("drift").sql).to_arrow_table()
    found = wexport.query("drift", table)
    assert found.select(["model", "slot"]).equals(sql.select(["model", "slot"]))
    assert found["relative_l2"].to_pylist() == sorted(found["relative_l2"].to_pylist(), reverse=True)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [({"reference": "nobody"}, "there is no model nobody"), ({"against": "frist"}, "'frist'; it is previous or first")],
)
def test_what_is_not_known_is_told(tmp_path: Path, parameters: dict[str, str], said: str) -> None:
    row = {"model": "a", "layer": "dense", "role": "kernel", "values": [[1]], "run": "run", "step": 1}
    table = write_table(tmp_path / "weights.parquet", [row])
    with pytest.raises(QueryError, match=said):
        wexport.query("drift", table, parameters)
    with wexport.connect(table) as connection, pytest.raises(Exception, match=said):
        connection.sql(library.get("drift").sql, parameters).fetchall()
