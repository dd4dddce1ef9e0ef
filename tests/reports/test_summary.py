"""The report's summary: plain words, and true ones."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import numpy as np

import wexport
from tests.conftest import EXAMPLES
from tests.tables import write_table


def summary(table: Path, **options: Any) -> dict[str, list[str]]:
    """The sentences of a table's report under each heading, without the words of links."""
    text = wexport.report(table, table.with_suffix(".html"), **options).read_text()
    text = text.partition('<section id="summary"')[2].partition("</section>")[0]
    found = {}
    for part in text.split("<h3>")[1:]:
        heading, _, rest = part.partition("</h3>")
        items = re.findall(r"<li>(.*?)(?: <a [^>]*>.*?</a>)?</li>", rest)
        found[heading] = [html.unescape(item) for item in items]
    return found


def kernels(model: str, *arrays: np.ndarray, **more: Any) -> list[dict[str, Any]]:
    return [
        {
            "model": model,
            "slot": f"dense_{n}/kernel",
            "role": "kernel",
            "layer_class": "Dense",
            "values": values,
            **more,
        }
        for n, values in enumerate(arrays)
    ]


def random(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(20, 10))


def test_one_model(tmp_path: Path) -> None:
    wexport.ingest(EXAMPLES / "lstm.h5", tmp_path / "t.parquet")
    found = summary(tmp_path / "t.parquet")
    assert found["What was compared"] == ["1 model with 772 parameters in all, written by keras."]
    assert [text[:24] for text in found["What stands out"]] == ["No error and no warning:"]
    assert not [text for texts in found.values() for text in texts if "ranking" in text or "close" in text]


def test_independent_trainings(tmp_path: Path) -> None:
    rows = [row for n in range(5) for row in kernels(f"fold_{n}", random(n), random(n + 10))]
    found = summary(write_table(tmp_path / "t.parquet", rows))
    assert "All have one architecture" in found["What was compared"][1]
    (apart,) = [text for text in found["What stands out"] if "unlike" in text]
    assert re.match(
        r"fold_0, fold_1, fold_2, fold_3 and fold_4 are as unlike any other as independent trainings", apart
    )
    assert "chance and one kind of data give up to" in apart
    assert found["What to look at first"] == ["Which models are close to which."]


def test_groups_relatives_and_strangers(tmp_path: Path) -> None:
    base, noise = random(0), random(1)
    rows = [
        *kernels("a", base),
        *kernels("b", base + 0.01 * noise),
        *kernels("cousin", base + 0.7 * random(2)),
        *kernels("other", np.ones((3, 4))),
    ]
    found = summary(write_table(tmp_path / "t.parquet", rows))["What stands out"]
    assert any(re.match(r"a and b are close in every tensor: .* differs most, by \d\.\d+ %", text) for text in found)
    assert any(re.match(r"a, b and cousin are related .* cousin is not close to any: ", text) for text in found)
    assert "other shares too few tensors with the others to be compared with them weight by weight." in found
    assert not [text for text in found if "would do" in text]


def test_nothing_in_common(tmp_path: Path) -> None:
    rows = [row for n in range(3) for row in kernels(f"m{n}", random(n)[:, : n + 2])]
    found = summary(write_table(tmp_path / "t.parquet", rows))
    assert "They have 3 architectures" in found["What was compared"][1]
    assert "no two models share one" in found["What was compared"][1]
    assert "No two models can be compared weight by weight" in found["What stands out"][-1]


def test_a_broken_model_comes_first(tmp_path: Path) -> None:
    broken = random(3)
    broken[2, 3] = np.nan
    rows = [row for n in range(3) for row in kernels(f"m{n}", random(n))] + kernels("broken", broken)
    found = summary(write_table(tmp_path / "t.parquet", rows))
    assert (
        found["What stands out"][0]
        == "Error: values that are not numbers (nan), in dense_0/kernel of broken: 1 value NaN."
    )
    assert found["What to look at first"][0].startswith("dense_0/kernel of broken: 1 value NaN. What may help: ")
    assert any("does harm" in text for text in found["What cannot be concluded"])


def test_the_same_in_several_models_is_said_once(tmp_path: Path) -> None:
    rows = [row for n in range(4) for row in kernels(f"m{n}", np.zeros((6, 5)))]
    found = summary(write_table(tmp_path / "t.parquet", rows))["What stands out"]
    assert found[0].startswith("Error: a tensor of zeros alone (zero tensor), in dense_0/kernel of m0: ")
    assert found[0].endswith(", and the same in 3 other models.")
    assert len([text for text in found if "zero tensor" in text]) == 1


def test_checkpoints(tmp_path: Path) -> None:
    rows = [row for n in range(3) for row in kernels(f"r.{n}", random(0) * (1 + n / 10), run="r", step=n)]
    found = summary(write_table(tmp_path / "t.parquet", rows))
    assert "All are checkpoints: states of a model along its training." in found["What was compared"]
    assert "What moved most from checkpoint to checkpoint." in found["What to look at first"]
