"""`wexport check`: findings in one list, thresholds and rules of the user's own, forms of output, exit codes."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from tests.tables import write_table
from wexport.commands.check import check as command
from wexport.errors import QueryError, UsageError
from wexport.findings.causes import folded
from wexport.findings.checking import check, groups, reaches
from wexport.findings.finding import Finding
from wexport.library.findings import FINDINGS, QUERIES


def kernel(model: str, values: Any, layer: str = "dense") -> dict[str, Any]:
    return {"model": model, "layer": layer, "layer_class": "Dense", "role": "kernel", "values": values}


SOUND = [[1, 2], [3, -4], [0.5, 1]]
ZERO = [[0, 0], [0, 0]]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One sound model, one with a NaN, two with a zeroed unit in the same layer."""
    return write_table(
        tmp_path_factory.mktemp("check") / "weights.parquet",
        [
            kernel("sound", SOUND),
            kernel("broken", [[float("nan"), 2], [3, 4]]),
            kernel("pruned_1", [[1, 0], [2, 0]]),
            kernel("pruned_2", [[3, 0], [2, 0]]),
        ],
    )


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_table(tmp_path_factory.mktemp("sound") / "weights.parquet", [kernel("sound", SOUND)])


def run(*arguments: str | Path) -> Result:
    # Before click 8.2 what goes to standard error is mixed into standard output unless that is asked for.
    apart: dict[str, Any] = {"mix_stderr": False} if "mix_stderr" in inspect.signature(CliRunner).parameters else {}
    return CliRunner(**apart).invoke(command, list(map(str, arguments)))


def test_findings_come_worst_first_and_name_their_query(table: Path) -> None:
    found = check(table)
    assert [(each.severity, each.finding, each.model, each.place, each.query) for each in found] == [
        ("error", "nan", "broken", "dense/kernel", "health"),
        ("warning", "zero_units", "pruned_1", "dense/kernel", "health"),
        ("warning", "zero_units", "pruned_2", "dense/kernel", "health"),
    ]
    assert found[0].seen == "1 value NaN"
    assert found[0].threshold == "0"
    assert found[0].advice
    assert set(QUERIES) > {found[0].query}


def test_a_sound_table_has_none(sound: Path) -> None:
    assert check(sound) == []
    assert run(sound).exit_code == 0


@pytest.mark.parametrize(
    ("level", "code"), [("error", 1), ("warning", 1), ("info", 1), ("never", 0)], ids=lambda value: str(value)
)
def test_the_exit_code_follows_the_severity(table: Path, level: str, code: int) -> None:
    assert run(table, "--fail-on", level).exit_code == code


def test_warnings_alone_do_not_fail_by_default(tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.parquet", [kernel("pruned", [[1, 0], [2, 0]])])
    assert run(table).exit_code == 0
    assert run(table, "--fail-on", "warning").exit_code == 1


@pytest.mark.parametrize("level", ["error", "warning", "info", "never"])
@pytest.mark.parametrize("severity", ["error", "warning", "info"])
def test_reaches(severity: str, level: str) -> None:
    order = ["never", "error", "warning", "info"]
    found = [Finding(severity, "nan", "a", None, "", None, None, "health")]
    assert reaches(found, level) == (order.index(level) >= order.index(severity))
    assert not reaches([], level)


def test_the_same_finding_in_several_models_is_one_group(table: Path) -> None:
    grouped = groups(check(table))
    assert [(group.models, group.example.finding, group.example.model) for group in grouped] == [
        (1, "nan", "broken"),
        (2, "zero_units", "pruned_1"),
    ]
    shown = run(table)
    assert "2 models" in shown.output
    assert "pruned_2" not in shown.stdout
    assert "pruned_2" in run(table, "--rows", "0").stdout


def test_the_table_is_cut(table: Path) -> None:
    assert "... and 1 more (--rows 0 shows all)" in run(table, "--rows", "1").stdout


def test_a_parameter_moves_a_threshold(sound: Path) -> None:
    [finding] = check(sound, {"largest_value": 3.5})
    assert (finding.finding, finding.seen, finding.threshold) == ("exploding", "largest value 4", "3.5")
    assert run(sound, "--param", "largest_value=3.5", "--fail-on", "warning").exit_code == 1


def test_an_unknown_parameter_is_told(sound: Path) -> None:
    with pytest.raises(UsageError, match="no check has a parameter 'largest_valeu'") as error:
        check(sound, {"largest_valeu": 3})
    assert "largest_value" in error.value.hint


RULE = """-- The largest weight of the house.
SET VARIABLE house_limit = 3;
SELECT 'error' AS severity, 'too_large' AS finding, model, slot, abs_max AS seen,
    coalesce(getvariable('house_limit'), 9) AS threshold, 'ask the house' AS advice
FROM weights WHERE abs_max > coalesce(getvariable('house_limit'), 9);
"""


def test_a_rule_of_the_users_own(sound: Path, tmp_path: Path) -> None:
    rule = tmp_path / "house.sql"
    rule.write_text(RULE)
    [finding] = check(sound, rules=[rule])
    assert finding == Finding("error", "too_large", "sound", "dense/kernel", "4", "3", "ask the house", str(rule))
    assert check(sound, {"house_limit": "5"}, rules=[rule]) == []
    assert run(sound, "--rules", rule).exit_code == 1


def test_a_file_of_thresholds_in_a_folder(sound: Path, tmp_path: Path) -> None:
    (tmp_path / "limits.sql").write_text("SET VARIABLE largest_value = 3.5; -- ours\nSET VARIABLE jump_factor = 9;\n")
    (tmp_path / "house.sql").write_text(RULE)
    assert {each.finding for each in check(sound, rules=[tmp_path])} == {"exploding", "too_large"}


def test_a_threshold_that_no_check_has_is_told(sound: Path, tmp_path: Path) -> None:
    (tmp_path / "limits.sql").write_text("SET VARIABLE nonsense = 3.5;")
    with pytest.raises(UsageError, match="nonsense"):
        check(sound, rules=[tmp_path])


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("SELECT model FROM weights", UsageError, "no column severity"),
        ("SELECT 'fatal' AS severity, 'x' AS finding, model FROM weights", UsageError, "'fatal' is not a severity"),
        ("COPY weights TO 'out.csv'", QueryError, "house.sql"),
        ("SELECT nothing FROM weights", QueryError, "nothing"),
        ("SET memory_limit = '1TB'; SELECT 1", UsageError, "is not understood"),
        ("SET VARIABLE x = (SELECT 1); SELECT 1", UsageError, "is not understood"),
        ("  -- nothing\n", UsageError, "is empty"),
    ],
)
def test_a_rule_that_cannot_be_used_is_named(
    sound: Path, tmp_path: Path, text: str, error: type[Exception], message: str
) -> None:
    rule = tmp_path / "house.sql"
    rule.write_text(text)
    with pytest.raises(error, match=message) as raised:
        check(sound, rules=[rule])
    assert "house.sql" in str(raised.value)


def test_rules_that_are_not_there(sound: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there are no rules"):
        check(sound, rules=[tmp_path / "none.sql"])


def test_rows_of_a_rule_without_a_severity_are_evidence_only(sound: Path, tmp_path: Path) -> None:
    rule = tmp_path / "house.sql"
    rule.write_text("SELECT NULL AS severity, 'x' AS finding, model FROM weights")
    assert check(sound, rules=[rule]) == []


def test_json_holds_every_finding(table: Path) -> None:
    rows = json.loads(run(table, "--format", "json").stdout)
    assert [row["model"] for row in rows] == ["broken", "pruned_1", "pruned_2"]
    assert set(rows[0]) == {"severity", "finding", "model", "place", "seen", "threshold", "advice", "query", "explains"}


@pytest.mark.parametrize(("form", "start"), [("csv", "severity,finding,model"), ("markdown", "| severity | finding |")])
def test_csv_and_markdown(table: Path, form: str, start: str) -> None:
    assert run(table, "--format", form).stdout.startswith(start)


def test_junit_counts_failures_by_the_severity_that_fails(table: Path, tmp_path: Path) -> None:
    for level, failures in (("error", 1), ("warning", 3), ("never", 0)):
        out = tmp_path / f"{level}.xml"
        run(table, "--format", "junit", "--fail-on", level, "--out", out)
        root = ElementTree.fromstring(out.read_text())
        assert root.get("failures") == str(failures)
        assert len(root.findall(".//failure")) == failures
        assert len(root.findall("testsuite")) == len(QUERIES)
        assert root.get("tests") == str(len(root.findall(".//testcase")))


def test_junit_survives_hostile_names(tmp_path: Path) -> None:
    model = "<x>&\x01\u202e"
    table = write_table(tmp_path / "t.parquet", [kernel(model, ZERO) | {"source": "a.h5"}])
    root = ElementTree.fromstring(run(table, "--format", "junit").stdout)
    assert [case.get("classname") for case in root.findall(".//testcase[failure]")] == ["<x>&\ufffd\ufffd"]


def test_a_folder_of_parts(tmp_path: Path) -> None:
    write_table(tmp_path / "parts" / "a.parquet", [kernel("a", ZERO)])
    write_table(tmp_path / "parts" / "b.parquet", [kernel("b", SOUND)])
    assert [each.model for each in check(tmp_path / "parts")] == ["a"]


def test_about_tells_what_each_finding_means() -> None:
    told = json.loads(run("--about", "--format", "json").stdout)
    assert {(each["query"], each["name"]) for each in told} == set(FINDINGS)
    assert all(each["meaning"] and each["threshold"] and each["advice"] for each in told)
    assert isinstance(run("--about", "--format", "junit").exception, UsageError)


def test_a_finding_without_advice_of_its_own_has_the_declared_one(tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.parquet", [kernel("m/a", SOUND) | {"run": "m", "step": 1},
                                                 kernel("m/b", SOUND) | {"run": "m", "step": 2}])  # fmt: skip
    (found,) = [each for each in check(table) if each.query == "freeze"]
    assert (found.finding, found.advice) == ("nothing changed", FINDINGS["freeze", "nothing changed"].advice)


DIVERGED = [[3e5, -2e5], [1e6, 4e5]]


def test_a_diverged_model_is_one_finding_that_says_what_it_explains(tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.parquet", [kernel("a", DIVERGED, "one"), kernel("a", DIVERGED, "two")])
    [found] = check(table)
    assert (found.severity, found.finding, found.place, found.explains) == ("error", "diverged", None, 2)
    assert found.seen.endswith("; with it: 2 exploding")
    assert [each.finding for each in check(table, every=True)] == ["diverged", "exploding", "exploding"]
    assert run(table, "--every", "--fail-on", "never").stdout.count("exploding") == 2


def test_findings_of_other_models_and_of_own_rules_are_not_explained() -> None:
    rows = [
        Finding("error", "diverged", "a", None, "big", None, None, "stability"),
        Finding("warning", "exploding", "a", "x/kernel", "", None, None, "stability"),
        Finding("warning", "exploding", "b", "x/kernel", "", None, None, "stability"),
        Finding("warning", "exploding", "a", "x/kernel", "", None, None, "house.sql"),
    ]
    left = {(each.model, each.finding, each.query) for each in folded(rows, ["house.sql"])}
    assert left == {("a", "diverged", "stability"), ("b", "exploding", "stability"), ("a", "exploding", "house.sql")}


def test_only_what_is_not_in_the_baseline_is_told(table: Path, tmp_path: Path) -> None:
    old = write_table(tmp_path / "old.parquet", [kernel("pruned_1", [[1, 0], [2, 0]]), kernel("broken", SOUND)])
    assert [each.model for each in check(table, baseline=old)] == ["broken", "pruned_2"]
    assert check(table, baseline=table) == []
    shown = run(table, "--baseline", old, "--format", "json", "--fail-on", "never")
    assert [row["model"] for row in json.loads(shown.stdout)] == ["broken", "pruned_2"]


def test_a_rule_joins_a_file(sound: Path, tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("model,val_accuracy\nsound,0.4\n")
    rule = tmp_path / "house.sql"
    rule.write_text(
        "SELECT DISTINCT 'error' AS severity, 'inaccurate' AS finding, model, val_accuracy AS seen "
        "FROM weights JOIN metrics USING (model) WHERE val_accuracy < 0.5"
    )
    [found] = check(sound, rules=[rule], files={"metrics": tmp_path / "metrics.csv"})
    assert (found.finding, found.seen) == ("inaccurate", "0.4")
    given = ["--rules", rule, "--with", f"metrics={tmp_path / 'metrics.csv'}"]
    assert run(sound, *given).exit_code == 1


def test_a_column_that_no_finding_has_is_refused(sound: Path, tmp_path: Path) -> None:
    rule = tmp_path / "house.sql"
    rule.write_text("SELECT 'error' AS severity, 'x' AS finding, model, slot AS slott FROM weights")
    with pytest.raises(UsageError, match="a column 'slott', which no finding has") as error:
        check(sound, rules=[rule])
    assert error.value.hint == "did you mean slot?"
