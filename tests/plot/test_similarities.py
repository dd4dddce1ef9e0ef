"""The similarity matrix: cells in the order of the tree, and the tree that average linkage gives."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

import wexport
from tests.conftest import EXAMPLES
from tests.plot.test_histograms import HOSTILE
from tests.tables import write_table
from wexport import plot
from wexport.errors import UsageError
from wexport.plot import similarities
from wexport.plot.dendrograms import average_linkage, branches, leaves
from wexport.plot.similarities import Similarities


def random(count: int, seed: int = 0, groups: int = 3, noise: float = 0.4) -> Similarities:
    """Models that are copies of some, with noise."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(groups, 200))[rng.integers(0, groups, count)] + noise * rng.normal(size=(count, 200))
    vectors /= np.linalg.norm(vectors, axis=1)[:, None]
    matrix = vectors @ vectors.T
    np.fill_diagonal(matrix, 1)
    return Similarities(
        [f"m{n:03}" for n in range(count)], (matrix + matrix.T) / 2, np.ones((count, count)), np.zeros((count, count))
    )


def by_hand(distance: np.ndarray) -> list[float]:
    """Heights of average linkage by its definition: merge the two clusters with the least mean distance of members."""
    clusters, heights = [[n] for n in range(len(distance))], []
    while len(clusters) > 1:
        means = {
            (a, b): np.nanmean(pairs)
            for a, b in product(range(len(clusters)), repeat=2)
            if a < b and np.isfinite(pairs := distance[np.ix_(clusters[a], clusters[b])]).any()
        }
        if not means:
            break
        a, b = min(means, key=lambda pair: means[pair])
        heights.append(means[a, b])
        clusters[a] += clusters.pop(b)
    return heights


@given(st.integers(2, 12), st.integers(0, 10_000))
def test_average_linkage_is_as_defined(count: int, seed: int) -> None:
    distance = 1 - random(count, seed).matrix
    merges = average_linkage(distance)
    np.testing.assert_allclose([merge.height for merge in merges], by_hand(distance), rtol=1e-9)
    assert sorted(leaves(merges, count)) == list(range(count))


def test_average_linkage_is_scipys() -> None:
    hierarchy = pytest.importorskip("scipy.cluster.hierarchy")
    squareform = pytest.importorskip("scipy.spatial.distance").squareform
    distance = 1 - random(60).matrix
    expected = hierarchy.average(squareform(distance, checks=False))
    found = [(*sorted((merge.left, merge.right)), merge.height) for merge in average_linkage(distance)]
    np.testing.assert_allclose(found, [(*sorted(row[:2]), row[2]) for row in expected], rtol=1e-9)


def test_models_that_cannot_be_compared_are_in_trees_of_their_own() -> None:
    distance = np.full((5, 5), np.nan)
    distance[np.ix_([0, 2, 4], [0, 2, 4])] = [[0, 0.1, 0.5], [0.1, 0, 0.7], [0.5, 0.7, 0]]
    distance[1, 3] = distance[3, 1] = 0.2
    merges = average_linkage(distance)
    assert [merge.height for merge in merges] == pytest.approx([0.1, 0.2, 0.6])
    assert leaves(merges, 5) == [0, 2, 4, 1, 3]
    assert branches(merges, 5, 3) == [[0, 2], [4], [1, 3]]
    assert branches(merges, 5, 1) == [[0, 2, 4], [1, 3]]


def drawn(data: Similarities, low: float = 0.0) -> tuple[Any, list[Any]]:
    ax = Figure(figsize=(8, 6)).subplots()
    return ax, similarities.draw(data, ax, low=low)


def test_cells_are_the_similarities_in_the_order_of_the_names() -> None:
    data = random(10)
    ax, [mesh, tree] = drawn(data)
    order = [data.models.index(text.get_text()) for text in ax.get_yticklabels()]
    assert sorted(order) == list(range(10))
    np.testing.assert_array_equal(mesh.get_array(), data.matrix[np.ix_(order, order)])
    assert [text.get_text() for text in ax.get_xticklabels()] == [data.models[n] for n in order]
    for text in ax.texts:
        column, row = text.get_position()
        written = text.get_text()
        assert float(written) == pytest.approx(data.matrix[order[row], order[column]], abs=0.00501)
    assert len(ax.texts) == 100
    heights = sorted(segment[1][0] for segment in tree.get_segments())
    np.testing.assert_allclose(heights, sorted(by_hand(1 - data.matrix)))


def test_the_trees_leaves_stand_beside_their_rows() -> None:
    data = random(7)
    ax, [_, tree] = drawn(data)
    ends = {float(y) for segment in tree.get_segments() for x, y in (segment[0], segment[-1]) if x == 0}
    assert ends == set(range(7))
    [side] = ax.child_axes
    assert side.get_ylim() == ax.get_ylim()


def test_pairs_that_cannot_be_compared_are_left_to_the_hatching_and_counted() -> None:
    data = random(6)
    data.matrix[2, [0, 1, 3, 4, 5]] = data.matrix[[0, 1, 3, 4, 5], 2] = np.nan
    ax, [mesh, _] = drawn(data)
    assert np.ma.getmaskarray(mesh.get_array()).sum() == 10
    assert "5 of 15 pairs cannot be compared (hatched)" in ax.get_title("left")
    assert ax.patches[0].get_hatch() == "////"
    assert len(ax.texts) == 26


def test_the_scale_does_not_depend_on_the_models() -> None:
    for data in (random(3), random(30, noise=2.0)):
        _, [mesh, _] = drawn(data)
        assert (mesh.norm.vmin, mesh.norm.vmax) == (0, 1)
    data = random(4)
    data.matrix[0, 1] = data.matrix[1, 0] = -0.5
    ax, _ = drawn(data)
    below = int((data.matrix[np.triu_indices(4, 1)] < 0).sum())
    [bar] = [other for other in ax.figure.axes if other is not ax and other.get_ylabel()]
    assert f"{below} pairs below 0" in bar.get_ylabel()


def test_what_is_not_one_is_not_written_as_one() -> None:
    data = Similarities(["a", "b"], np.array([[1, 0.99998], [0.99998, 1]]), np.ones((2, 2)), np.zeros((2, 2)))
    ax, _ = drawn(data)
    assert [text.get_text() for text in ax.texts] == ["1", ">.999", ">.999", "1"]


def test_the_tables_models_are_compared(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    base, noise, other = rng.normal(size=(3, 20, 10))
    arrays = {"a": base, "b": other, "c": base + 0.1 * noise, "d": rng.normal(size=(4, 4))}
    row = {"slot": "dense/kernel", "role": "kernel", "dtype": "float64"}
    table = write_table(tmp_path / "t.parquet", [{**row, "model": n, "values": v} for n, v in arrays.items()])
    ax = Figure().subplots()
    mesh, _ = plot.similarity(table, ax=ax)
    order = [text.get_text() for text in ax.get_yticklabels()]
    assert order == ["a", "c", "b", "d"]
    for (row_, column), cell in np.ndenumerate(mesh.get_array().filled(np.nan)):
        left, right = arrays[order[row_]].ravel(), arrays[order[column]].ravel()
        if left.size == right.size:
            assert cell == pytest.approx(left @ right / np.linalg.norm(left) / np.linalg.norm(right), abs=1e-9)
        else:
            assert np.isnan(cell)


def test_a_standard_error_is_said() -> None:
    data = random(3)
    assert "standard error" not in drawn(data)[0].get_title("left")
    data.standard_error[0, 1] = data.standard_error[1, 0] = 0.0312
    assert "from samples, with a standard error of at most 0.031" in drawn(data)[0].get_title("left")


def test_coverage_is_said_and_never_rounded_to_all() -> None:
    data = random(3)
    data.coverage[0, 1] = data.coverage[1, 0] = 0.998
    assert "over 99 to 100 % of the parameters" in drawn(data)[0].get_title("left")


def test_of_many_models_the_branches_are_named() -> None:
    data = random(80, groups=4)
    ax, [mesh, _] = drawn(data)
    assert not ax.texts
    labels = [text.get_text() for text in ax.get_yticklabels()]
    assert 1 <= len(labels) <= similarities.BRANCHES
    assert any(label.endswith(" more") for label in labels)
    assert "80 models in the order of the tree" in ax.get_xlabel()
    assert mesh.get_array().shape == (80, 80)


@pytest.mark.parametrize("count", [2, 5, 50])
def test_hostile_names_are_only_text(tmp_path: Path, count: int) -> None:
    data = random(count)
    data.models[:2] = HOSTILE[:2]
    made = Figure()
    similarities.draw(data, made.subplots())
    for suffix in plot.figures.SUFFIXES:
        plot.save(made, tmp_path / f"f{suffix}")
    drawn = (tmp_path / "f.svg").read_text()
    assert "<img" not in drawn
    assert "&lt;img src=x" in drawn


def test_bad_options_are_told(tmp_path: Path) -> None:
    wexport.ingest(EXAMPLES.glob("cnn_seed_*.h5"), table := tmp_path / "t.parquet")
    with pytest.raises(UsageError, match="there is only cnn_seed_1, and a comparison needs two") as caught:
        plot.figure("similarity", table, model="cnn_seed_1")
    assert "models are cnn_seed_1, " in caught.value.hint
    with pytest.raises(UsageError, match="no model fits 'nothing'"):
        plot.figure("similarity", table, model="nothing")
    with pytest.raises(UsageError, match="low 1 is not a beginning"):
        drawn(random(3), low=1)
