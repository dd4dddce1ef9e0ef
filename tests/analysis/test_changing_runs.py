"""Runs in which a layer is put in between two checkpoints: what moved, what was frozen, what jumped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wexport
from tests.tables import write_table


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four checkpoints of Dense layers; behind the second, one of equal shape is put in at the second place.

    The first layer is frozen and stays; all others move a little with each step.
    """
    rng = np.random.default_rng(5)
    draw = lambda: rng.normal(0, 0.2, (24, 24)).astype("f4")  # noqa: E731
    stack, rows = [draw() for _ in range(4)], list[dict[str, Any]]()
    for step in range(1, 5):
        stack = [stack[0], *(values + rng.normal(0, 0.004, values.shape).astype("f4") for values in stack[1:])]
        if step == 3:
            stack.insert(1, draw())
        for place, values in enumerate(stack):
            layer = f"dense_{place}" if place else "dense"
            rows.append(
                {
                    "model": f"net_epoch_{step}", "run": "net", "step": step, "layer": layer, "layer_class": "Dense",
                    "role": "kernel", "values": values, "layer_index": place, "trainable": place > 0,
                }
            )  # fmt: skip
    return write_table(tmp_path_factory.mktemp("run") / "weights.parquet", rows)


def test_drift_follows_each_layer_to_where_it_went(table: Path) -> None:
    moved = {row["slot"]: row for row in wexport.query("drift", table, {"model": "net_epoch_3"}).to_pylist()}
    assert moved["dense/kernel"]["relative_l2"] == 0
    assert moved["dense_1/kernel"]["relative_l2"] is None  # the new one
    for place in (2, 3, 4):
        assert moved[f"dense_{place}/kernel"]["relative_l2"] < 0.05
        assert moved[f"dense_{place}/kernel"]["match_method"] == "order"


@pytest.mark.parametrize("slot", ["dense_4/*", "dense_2/kernel"])
def test_drift_of_one_slot_is_that_of_all(table: Path, slot: str) -> None:
    everything = wexport.query("drift", table, {"model": "net_epoch_3"}).to_pylist()
    (one,) = wexport.query("drift", table, {"model": "net_epoch_3", "slot": slot}).to_pylist()
    assert one == next(row for row in everything if row["slot"] == one["slot"])


def test_no_frozen_layer_changed(table: Path) -> None:
    rows = {row["layer"]: row["verdict"] for row in wexport.query("freeze", table).to_pylist()}
    # Of a layer that is there from the third checkpoint on two steps are known.
    assert rows == {f"dense_{place}" if place else "dense": "as marked" for place in range(5)}


def test_a_layer_that_was_put_in_is_no_finding(table: Path) -> None:
    assert [each for each in wexport.check(table) if each.severity != "info"] == []
