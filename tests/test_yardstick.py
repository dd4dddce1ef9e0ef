"""The yardstick of verdicts: what is true of pairs follows from the manifest, and grades from what counts as right."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "bench"))

from verdicts import collection, scored
from verdicts.asked import Related, Told, pair
from verdicts.collection import Entry, Family, Illness, Origin


def entry(model: str, **facts: object) -> Entry:
    known = {"root": model, "start": model, "architecture": "mlp"} | facts
    return Entry(f"{model}.keras", model, "development", task="strokes", seed=2, metric=0.9, **known)  # type: ignore[arg-type]


BASE = entry("base", start="s")
FROM_BASE = {"root": "base", "start": "s"}
ENTRIES = [
    BASE,
    entry("copy", origin=Origin(("base",), "copy"), **FROM_BASE),
    entry("h5", origin=Origin(("base",), "reencoded"), **FROM_BASE),
    entry("pruned", origin=Origin(("base",), "pruned"), **FROM_BASE),
    entry("head_1", origin=Origin(("base",), "head_replaced", detail="dense_2"), **FROM_BASE),
    entry("head_2", origin=Origin(("base",), "head_replaced", detail="dense_2"), **FROM_BASE),
    entry("mean", origin=Origin(("base", "other_start"), "average", (0.5, 0.5)), **FROM_BASE),
    entry("same_start", start="s"),
    entry("other_start"),
    entry("student", teacher="base"),
    entry("cnn", architecture="cnn"),
    entry("epoch_1", run="r", step=1, **FROM_BASE),
    entry("epoch_2", run="r", step=2, **FROM_BASE),
]


@pytest.mark.parametrize(
    ("a", "b", "truth"),
    [
        ("base", "copy", "copy"),
        ("copy", "h5", "reencoded"),
        ("copy", "pruned", "pruned"),
        ("base", "head_1", "head_replaced"),
        ("head_1", "head_2", "two_heads"),
        ("base", "mean", "average"),
        ("base", "same_start", "same_start"),
        ("base", "other_start", "strangers"),
        ("pruned", "same_start", "same_start"),
        ("student", "copy", "distilled"),
        ("base", "cnn", "other_architecture"),
        ("epoch_1", "epoch_2", "same_run"),
        ("pruned", "head_1", "one_family"),
    ],
)
def test_what_is_true_of_a_pair(a: str, b: str, truth: str) -> None:
    family = Family.of(ENTRIES)
    of = {each.model: each for each in ENTRIES}
    assert family.relation(of[a], of[b]).kind == family.relation(of[b], of[a]).kind == truth


def test_the_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    sick = entry("sick", illness=Illness("nan_values", "dense", "by hand", planted=True))
    collection.write([*ENTRIES, sick], tmp_path / "manifest.json")
    assert collection.read(tmp_path / "manifest.json") == [*ENTRIES, sick]


def test_claims_are_graded_by_what_is_true() -> None:
    said = {
        pair("base", "other_start"): Related("close"),
        pair("base", "same_start"): Related("nothing"),
        pair("base", "pruned"): Related("close"),
        pair("base", "copy"): Related("identical"),
        pair("head_1", "head_2"): Related("close"),
    }
    found = scored.relations(ENTRIES, said, scored.Expected.read())
    assert {kind: dict(grades) for kind, grades in found.grades.items()} == {
        "strangers": {"false": 1},
        "same_start": {"missed": 1},
        "pruned": {"near": 1},
        "copy": {"right": 1},
        "two_heads": {"false": 1},
    }
    assert {key for _, key, _ in found.false} == {pair("base", "other_start"), pair("head_1", "head_2")}


@pytest.mark.parametrize(("changed", "grade"), [(0, "near"), (1, "false")])
def test_the_same_but_is_true_of_another_layout_where_all_that_both_hold_is_equal(changed: int, grade: str) -> None:
    said = {pair("base", "h5"): Related("same_but", 1.0, {"changed": changed, "lacking": 3})}
    assert scored.relations(ENTRIES, said, scored.Expected.read()).grades["reencoded"] == {grade: 1}


def test_findings_count_for_their_illness_at_each_severity_apart() -> None:
    sick = entry("sick", illness=Illness("frozen_forgotten", "dense_1", "frozen", planted=False))
    other = entry("other", illness=Illness("nan_values", "dense", "by hand", planted=True))
    told = [
        Told("sick", "warning", "hardly_trained", "dense_1", ""),
        Told("sick", "info", "outliers", "dense", ""),
        Told("other", "warning", "hardly trained", "dense", ""),
        Told("base", "warning", "hardly trained", "dense", ""),
        Told("base", "info", "outliers", "dense", ""),
    ]
    expected, entries = scored.Expected.read(), [BASE, sick, other]
    by_model = {each.entry.model: each for each in scored.sicknesses(entries, told, expected)}
    assert (by_model["sick"].found, by_model["sick"].there) == ("warning", True)
    assert (by_model["other"].found, by_model["other"].any) == ("", "warning")
    row = scored.findings(entries, told, expected)["warning", "hardly trained"]
    assert (row.beside, row.false, row.precision) == ({"other"}, {"base"}, 0.5)
    assert [each.finding for each in scored.alarms(entries, told)] == ["hardly trained"]


def test_p_values_of_strangers_are_held_against_the_uniform_law() -> None:
    apart = [entry(f"m{number}") for number in range(30)]
    pairs = [pair(a.model, b.model) for number, a in enumerate(apart) for b in apart[number + 1 :]]
    even = {key: Related("strangers", None, {"p_value": (i + 0.5) / len(pairs)}) for i, key in enumerate(pairs)}
    skewed = {key: Related("strangers", None, {"p_value": row.rest["p_value"] ** 2}) for key, row in even.items()}
    count, _, distance, chance = scored.uniformity(apart, even) or (0, 0.0, 1.0, 0.0)
    assert count == 435
    assert distance == pytest.approx(0.5 / 435)
    assert chance > 0.99
    assert (scored.uniformity(apart, skewed) or (0, 0.0, 0.0, 1.0))[2:] == (
        pytest.approx(0.25, abs=0.01),
        pytest.approx(0, abs=1e-9),
    )
    assert scored.uniformity(apart, {key: Related("nothing") for key in pairs}) is None


def test_every_illness_and_relation_that_is_made_is_expected() -> None:
    expected = scored.Expected.read()
    assert all(row["findings"] for row in expected.illnesses.values())
    assert set(collection.DIRECT) <= set(expected.relations)
    assert {kind for row in expected.relations.values() for kind in (*row["right"], *row["near"])} <= {
        *scored.CLAIMS, "strangers", "not_comparable", "nothing"
    }  # fmt: skip
