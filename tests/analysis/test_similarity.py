"""Similarity and clusters: against exact values, between their two forms, and what was planted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wexport
from tests.tables import write_table
from wexport import library
from wexport.analysis import similarity
from wexport.analysis.cosines import Rows, pairwise_cosines
from wexport.sessions.connection import connect

SHAPE = (3, 3, 32, 64)  # 18,432 values, of which the table keeps 1,024


def rows_of(model: str, kernel: np.ndarray, layer: str = "conv") -> dict[str, Any]:
    return {"model": model, "layer": layer, "layer_class": "Conv2D", "role": "kernel", "values": kernel}


def dense(model: str, kernel: np.ndarray, layer: str = "dense") -> dict[str, Any]:
    return {"model": model, "layer": layer, "layer_class": "Dense", "role": "kernel", "values": kernel}


def exact_cosine(one: np.ndarray, other: np.ndarray) -> float:
    x, y = one.astype(np.float64).ravel(), other.astype(np.float64).ravel()
    x, y = x / np.sqrt(x @ x), y / np.sqrt(y @ y)
    return float(1 - (x - y) @ (x - y) / 2)


def moved(rng: np.random.Generator, kernel: np.ndarray, kind: str) -> np.ndarray:
    noise = {
        "little": lambda: rng.normal(0, 0.001, kernel.shape),
        "much": lambda: rng.normal(0, 0.1, kernel.shape),
        "heavy": lambda: rng.standard_t(4, kernel.shape) * 0.02,
        "sparse": lambda: rng.normal(0, 0.1, kernel.shape) * (rng.random(kernel.shape) < 0.05),
        "in proportion": lambda: kernel * rng.normal(0, 0.2, kernel.shape),
        "other": lambda: rng.normal(0, 0.1, kernel.shape) - kernel,
    }[kind]()
    return (kernel + noise).astype(np.float32)


KINDS = ("little", "much", "heavy", "sparse", "in proportion", "other")


def test_is_within_three_standard_errors_of_the_exact_value(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    rows, exact = [], {}
    for pair in range(200):
        kind = KINDS[pair % len(KINDS)]
        kernel = rng.normal(0, 0.1, (64, 96)).astype(np.float32)
        other = moved(rng, kernel, kind)
        rows += [dense(f"{pair:03}a", kernel), dense(f"{pair:03}b", other)]
        exact[f"{pair:03}a", f"{pair:03}b"] = exact_cosine(kernel, other)
    found = similarity.similarity(write_table(tmp_path / "weights.parquet", rows))
    place = {name: number for number, name in enumerate(found.models)}
    errors = np.array(
        [
            (found.matrix[place[a], place[b]] - value) / found.standard_error[place[a], place[b]]
            for (a, b), value in exact.items()
        ]
    )
    assert np.mean(np.abs(errors) <= 3) >= 0.99
    assert 0.7 < errors.std() < 1.3  # neither too sure nor too careful


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(1e-9, 10), st.booleans())
def test_products_say_what_differences_say(seed: int, amount: float, holes: bool) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 1, (3, 40))
    y = x + amount * rng.normal(0, 1, (3, 40))
    if holes:
        x[0, 3], y[1, 7], y[0, 5] = np.nan, np.inf, -np.inf
    found = pairwise_cosines(Rows.of(x, 400), Rows.of(y, 400))
    for i in range(3):
        for j in range(3):
            known = np.isfinite(x[i]) & np.isfinite(y[j])
            a, b = x[i, known], y[j, known]
            u, v = a / np.sqrt(a @ a), b / np.sqrt(b @ b)
            apart = (u - v) @ (u - v) / 2
            contributions = (apart * (u * u + v * v) - (u - v) ** 2) / 2
            n = known.sum()
            variance = (contributions @ contributions) * (1 - n / 400) * n / (n - 1)
            assert found.cosine[i, j] == pytest.approx(1 - apart, abs=1e-12)
            assert found.mean_square[i, j] == pytest.approx(np.mean((a - b) ** 2), rel=1e-7)
            assert found.variance[i, j] == pytest.approx(variance, rel=1e-4, abs=1e-20)


def test_both_forms_answer_alike(demo_table: Path) -> None:
    for name in ("similarity", "clusters"):
        python = wexport.query(name, demo_table).to_pylist()
        with connect(demo_table) as connection:
            relation = connection.sql(library.get(name).sql)
            sql = [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]
        assert len(python) == len(sql) > 10
        for one, other in zip(python, sql, strict=True):
            assert one.keys() == other.keys()
            for column, value in other.items():
                if column == "confidence":  # in SQL that of the method, in Python that of the pair
                    assert one[column] == pytest.approx(value, abs=0.01)
                    continue
                expected = pytest.approx(value, rel=1e-7, abs=1e-9) if isinstance(value, float) else value
                assert one[column] == expected, column


@pytest.fixture(scope="module")
def demo_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo") / "weights.parquet"
    examples = Path(wexport.__file__).parent / "examples"
    wexport.ingest([str(examples)], str(out))
    return out


def test_the_odd_one_out_among_fine_tunes_of_one_base(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    base, another = (rng.normal(0, 0.1, (64, 48)).astype(np.float32) for _ in range(2))
    rows = [dense(f"tune_{number}", moved(rng, base, "little")) for number in range(10)]
    rows.append(dense("tune_x", moved(rng, another, "little")))
    found = wexport.query("clusters", write_table(tmp_path / "weights.parquet", rows)).to_pylist()
    assert [row["model"] for row in found if row["verdict"] == "odd one out"] == ["tune_x"]
    assert {row["group_size"] for row in found if row["verdict"] == "close"} == {10}
    (odd,) = [row for row in found if row["model"] == "tune_x"]
    assert abs(odd["typical"]) < odd["null_similarity"] < 0.4


def test_independent_trainings_are_neither_close_nor_odd(demo_table: Path) -> None:
    found = wexport.query("clusters", demo_table, {"model": "cnn_seed_*"}).to_pylist()
    assert len(found) == 5
    assert {row["verdict"] for row in found} == {"strangers"}
    assert all(row["nearest_similarity"] < row["null_similarity"] for row in found)


def test_copies_are_close_whatever_stands_between(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    kernel = rng.normal(0, 0.1, SHAPE).astype(np.float32)
    rows = [rows_of("original", kernel), rows_of("renamed", kernel, "other_name")]
    rows += [rows_of(f"seed_{number}", rng.normal(0, 0.1, SHAPE).astype(np.float32)) for number in range(3)]
    found = similarity.similarity(write_table(tmp_path / "weights.parquet", rows))
    first = found.pairs().to_pylist()[0]
    assert (first["model_a"], first["model_b"]) == ("original", "renamed")
    assert (first["similarity"], first["standard_error"], first["match_method"]) == (1.0, 0.0, "content")
    assert (first["relation"], first["changed"]) == ("identical", 0)
    assert first["confidence"] == pytest.approx(1, abs=1e-9)
    assert np.array_equal(found.matrix, found.matrix.T)


def test_a_model_is_not_compared_with_itself_alone(tmp_path: Path) -> None:
    rows = [dense("alone", np.ones((2, 2)))]
    found = similarity.similarity(write_table(tmp_path / "weights.parquet", rows))
    assert found.pairs().num_rows == 0
    assert found.matrix.tolist() == [[1.0]]


def test_equal_units_are_no_relation(tmp_path: Path) -> None:
    """Where all units are equal there are as many draws of chance as inputs, not as many as values."""
    rng = np.random.default_rng(11)
    column = rng.normal(0, 0.1, (64, 1)).astype(np.float32)
    rows = [dense("alike", np.repeat(column, 48, axis=1))]
    rows.append(dense("kin_by_chance", (0.3 * column + rng.normal(0, 0.1, (64, 48))).astype(np.float32)))
    (found,) = wexport.query("similarity", write_table(tmp_path / "weights.parquet", rows)).to_pylist()
    assert 0.15 < found["correlation"] < found["null_similarity"]
    assert found["relation"] == "strangers"
