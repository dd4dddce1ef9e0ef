"""Models of known origin, written as Keras writes them, and what `relate` says of them."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from scipy import stats

import wexport
from wexport.cli import cli
from wexport.relating.lineage import lineage
from wexport.relating.units import Builder
from wexport.relating.weight_matching import Matcher

Weights = dict[str, dict[str, np.ndarray]]


def layer(kind: str, name: str, *inputs: str, **config: Any) -> dict[str, Any]:
    nodes = [[[source, 0, 0, {}] for source in inputs]] if inputs else []
    return {"class_name": kind, "name": name, "config": {"name": name, **config}, "inbound_nodes": nodes}


RESIDUAL = [
    layer("InputLayer", "input"),
    layer("Conv2D", "stem", "input", use_bias=False),
    layer("BatchNormalization", "norm", "stem"),
    layer("Activation", "first", "norm", activation="relu"),
    layer("Conv2D", "conv", "first", activation="relu"),
    layer("Conv2D", "back", "conv"),
    layer("Add", "sum", "back", "first"),
    layer("Flatten", "flat", "sum"),
    layer("Dense", "hidden", "flat", activation="tanh"),
    layer("Dense", "head", "hidden", activation="softmax"),
]


def residual(seed: int) -> Weights:
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype("f4")

    return {
        "stem": {"kernel": normal(3, 3, 2, 12)},
        "norm": {
            "gamma": 1 + 0.1 * normal(12), "beta": normal(12), "moving_mean": normal(12),
            "moving_variance": normal(12) ** 2 + 1,
        },
        "conv": {"kernel": normal(3, 3, 12, 16), "bias": normal(16)},
        "back": {"kernel": normal(3, 3, 16, 12), "bias": normal(12)},
        "hidden": {"kernel": normal(4 * 12, 20), "bias": normal(20)},
        "head": {"kernel": normal(20, 5), "bias": normal(5)},
    }  # fmt: skip


def shuffled(weights: Weights, seed: int = 5) -> Weights:
    """The same function: the stream of the residual sum, and the units of conv and hidden, in another order."""
    rng = np.random.default_rng(seed)
    stream, conv, hidden = rng.permutation(12), rng.permutation(16), rng.permutation(20)
    w = {name: dict(values) for name, values in weights.items()}
    w["stem"]["kernel"] = w["stem"]["kernel"][..., stream]
    w["norm"] = {role: values[stream] for role, values in w["norm"].items()}
    w["conv"] = {"kernel": w["conv"]["kernel"][:, :, stream][..., conv], "bias": w["conv"]["bias"][conv]}
    w["back"] = {"kernel": w["back"]["kernel"][:, :, conv][..., stream], "bias": w["back"]["bias"][stream]}
    kernel = w["hidden"]["kernel"].reshape(4, 12, 20)[:, stream][..., hidden].reshape(48, 20)
    w["hidden"] = {"kernel": kernel, "bias": w["hidden"]["bias"][hidden]}
    w["head"] = {"kernel": w["head"]["kernel"][hidden], "bias": w["head"]["bias"]}
    return w


def scaled(weights: Weights) -> Weights:
    """The same function: positive factors behind the ReLU of conv, signs behind the tanh of hidden."""
    rng = np.random.default_rng(6)
    factors, signs = (2 ** rng.uniform(-2, 2, 16)).astype("f4"), rng.choice([-1, 1], 20).astype("f4")
    w = {name: dict(values) for name, values in weights.items()}
    w["conv"] = {role: values * factors for role, values in w["conv"].items()}
    w["back"]["kernel"] = w["back"]["kernel"] / factors[:, None]
    w["hidden"] = {role: values * signs for role, values in w["hidden"].items()}
    w["head"]["kernel"] = w["head"]["kernel"] * signs[:, None]
    return w


def saved(path: Path, weights: Weights, layers: list[dict[str, Any]] | None = None) -> Path:
    """A legacy Keras file; layers: None leaves the config out, as `save_weights` does."""
    path.parent.mkdir(exist_ok=True)
    with h5py.File(path, "w") as file:
        group = file if layers is None else file.create_group("model_weights")
        if layers is not None:
            config = {
                "layers": layers,
                "input_layers": [["input", 0, 0]],
                "output_layers": [[layers[-1]["name"], 0, 0]],
            }
            file.attrs["model_config"] = json.dumps({"class_name": "Functional", "config": config})
            file.attrs["keras_version"] = "2.9.0"
        names = list(weights) if layers is None else [each["name"] for each in layers]
        group.attrs["layer_names"] = [name.encode() for name in names]
        for name in names:
            inner = group.create_group(name)
            inner.attrs["weight_names"] = [f"{name}/{role}:0".encode() for role in weights.get(name, {})]
            for role, values in weights.get(name, {}).items():
                inner[f"{name}/{role}:0"] = values
    return path


def the_pair(*paths: Path) -> wexport.Kinship:
    (pair,) = wexport.relate(paths).pairs
    return pair


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return saved(tmp_path / "base.h5", residual(1), RESIDUAL)


def test_shuffled_units_of_convolutions_a_residual_sum_and_a_flatten_are_found(base: Path, tmp_path: Path) -> None:
    pair = the_pair(base, saved(tmp_path / "other.h5", shuffled(residual(1)), RESIDUAL))
    assert pair.relation == "reordered"
    assert pair.aligned_similarity == pytest.approx(1, abs=1e-6)
    assert abs(pair.similarity or 0) < 0.3
    assert pair.null_similarity is not None
    assert pair.null_similarity < 0.6
    assert pair.moved is not None
    assert pair.moved > 30


@pytest.mark.parametrize("reordered", [False, True])
def test_factors_behind_relu_and_signs_behind_tanh_are_undone(base: Path, tmp_path: Path, reordered: bool) -> None:
    weights = scaled(residual(1))
    other = shuffled(weights) if reordered else weights
    pair = the_pair(base, saved(tmp_path / "other.h5", other, RESIDUAL))
    assert pair.relation == "rescaled"
    assert pair.aligned_similarity == pytest.approx(1, abs=1e-5)
    assert pair.worst_relative_l2 is not None
    assert pair.worst_relative_l2 < 1e-5


def test_a_later_checkpoint_with_shuffled_units_is_related(base: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    later = {
        name: {role: values + 0.2 * rng.standard_normal(values.shape).astype("f4") for role, values in tensors.items()}
        for name, tensors in residual(1).items()
    }
    pair = the_pair(base, saved(tmp_path / "later.h5", shuffled(later), RESIDUAL))
    assert pair.relation == "related"
    assert pair.p_value is not None
    assert pair.p_value < 1e-6
    assert pair.aligned_similarity is not None
    assert pair.aligned_similarity > 0.95


def test_models_that_have_nothing_in_common_are_strangers(base: Path, tmp_path: Path) -> None:
    pair = the_pair(base, saved(tmp_path / "other.h5", residual(2), RESIDUAL))
    assert pair.relation in ("strangers", "undecided")
    assert pair.p_value is not None
    assert pair.p_value > 1e-4
    assert pair.aligned_similarity is not None
    assert pair.null_similarity is not None
    assert pair.aligned_similarity < pair.null_similarity + 0.05


def test_another_head_is_named(base: Path, tmp_path: Path) -> None:
    pair = the_pair(base, saved(tmp_path / "o.h5", residual(1) | {"head": residual(9)["head"]}, RESIDUAL))
    assert pair.relation == "same_but"
    assert set(pair.differs) == {"dense_1/kernel", "dense_1/bias"}


def test_a_copy_is_identical(base: Path, tmp_path: Path) -> None:
    assert the_pair(base, saved(tmp_path / "copy.h5", residual(1), RESIDUAL)).relation == "identical"


def test_files_that_tell_no_graph_are_not_aligned(tmp_path: Path) -> None:
    one = saved(tmp_path / "a.h5", residual(1))
    pair = the_pair(one, saved(tmp_path / "b.h5", shuffled(residual(1))))
    assert pair.relation == "not_aligned"
    assert pair.aligned_similarity is None
    assert pair.p_value is None
    assert "does not tell" in " ".join(pair.evidence)


def test_units_around_a_layer_that_is_not_known_are_left_as_they_are(tmp_path: Path) -> None:
    strange = [each if each["name"] != "sum" else {**each, "class_name": "Mine"} for each in RESIDUAL]
    paths = [saved(tmp_path / f"{n}.h5", w, strange) for n, w in enumerate((residual(1), shuffled(residual(1))))]
    pair = the_pair(*paths)
    assert pair.relation not in ("reordered", "rescaled")
    assert any("sum (Mine)" in line for line in pair.evidence)


WIDE = [
    layer("InputLayer", "input"),
    layer("Dense", "first", "input", activation="relu"),
    layer("Dense", "second", "first", activation="tanh"),
    layer("Dense", "head", "second", activation="softmax"),
]


def wide(seed: int, noise: float = 0.0, *, in_other_order: bool = False) -> Weights:
    """More than a million values, in rows so long that they are sketched."""
    rng, other = np.random.default_rng(seed), np.random.default_rng(seed + 100)
    shapes = {"first": (1_600, 512), "second": (512, 512), "head": (512, 10)}
    w = {
        name: {"kernel": rng.standard_normal(shape, "f4"), "bias": rng.standard_normal(shape[1:], "f4")}
        for name, shape in shapes.items()
    }
    for each in w.values():
        each["kernel"] += noise * other.standard_normal(each["kernel"].shape, "f4")
    if in_other_order:
        factors = (2 ** other.uniform(-2, 2, 512)).astype("f4"), other.choice(np.float32([-1, 1]), 512)
        for one, following, factor in (("first", "second", factors[0]), ("second", "head", factors[1])):
            order = other.permutation(512)
            w[one] = {role: (values * factor)[..., order] for role, values in w[one].items()}
            w[following]["kernel"] = (w[following]["kernel"] / factor[:, None])[order]
    return w


@pytest.mark.parametrize(("noise", "relation", "aligned"), [(0.0, "rescaled", 1.0), (1.0, "fine_tuned", 0.5**0.5)])
def test_a_large_model_is_found_by_sketches(tmp_path: Path, noise: float, relation: str, aligned: float) -> None:
    other = wide(1, noise, in_other_order=True)
    paths = [saved(tmp_path / "a.h5", wide(1), WIDE), saved(tmp_path / "b.h5", other, WIDE)]
    pair = the_pair(*paths)
    assert pair.relation == relation
    assert pair.aligned_similarity == pytest.approx(aligned, abs=1e-5 if not noise else 0.02)
    assert pair.p_value is not None
    assert 0 < pair.p_value < 1e-20
    assert pair.null_similarity is not None
    assert pair.null_similarity < 0.2


def test_large_strangers_reach_no_more_than_chance(tmp_path: Path) -> None:
    pair = the_pair(saved(tmp_path / "a.h5", wide(1), WIDE), saved(tmp_path / "b.h5", wide(2), WIDE))
    assert pair.relation == "strangers"
    assert pair.aligned_similarity is not None
    assert pair.null_similarity is not None
    assert pair.aligned_similarity <= pair.null_similarity


@pytest.mark.parametrize("seed", [0])
def test_p_values_of_independent_models_are_uniform(seed: int) -> None:
    """500 pairs of random networks of three hidden layers: the rate of small p-values is what it says."""
    rng = np.random.default_rng(seed)
    shapes = [(10, 24), (24, 32), (32, 16), (16, 6)]
    builder = Builder()
    from wexport.relating.units import Segment, Signal

    signals = [Signal((Segment(units, builder.group(units, str(units))),)) for _, units in shapes[:-1]]
    for number, signal in enumerate(signals):
        builder.part(number, 1, signal, shapes[number][1], made=True)
        builder.part(number + 1, 0, signal, shapes[number][1], made=False)
    graph = builder.result()
    found = []
    for _ in range(500):
        one, other = ([rng.standard_normal(shape).astype("f4") for shape in shapes] for _ in range(2))
        test = lineage(Matcher(graph, one, other, [True] * 4))
        assert test is not None
        assert len(test.groups) == 3
        found.append(test.p_value)
    assert stats.kstest(found, "uniform").pvalue > 0.01


def test_the_command_tells_a_folder_and_a_pair(base: Path, tmp_path: Path) -> None:
    saved(tmp_path / "other.h5", shuffled(residual(1)), RESIDUAL)
    saved(tmp_path / "stranger.h5", residual(2), RESIDUAL)
    (tmp_path / "notes.txt").write_text("no model")
    done = CliRunner().invoke(cli, ["relate", str(tmp_path), "--format", "json"])
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)
    assert len(rows) == 3
    assert rows[0]["relation"] == "reordered"
    assert {rows[0]["model_a"], rows[0]["model_b"]} == {"base", "other"}
    done = CliRunner().invoke(cli, ["relate", str(base), str(tmp_path / "other.h5")])
    assert "hidden units are in another place" in done.output


def test_what_decides_stays_in_a_terminal_of_80_columns(tmp_path: Path) -> None:
    for seed in range(4):
        saved(tmp_path / f"a_folder_of/some_models-with_{seed:02}-long.names.h5", residual(seed // 2), RESIDUAL)
    done = CliRunner(env={"COLUMNS": "80"}).invoke(cli, ["relate", str(tmp_path)])
    lines = done.stdout.splitlines()
    assert max(map(len, lines[:-4])) <= 80
    head = " ".join(lines[:4])
    assert all(word in head for word in ("relation", "similarity", "aligned", "chance"))
    assert "trained apart" not in head
    assert any("identical" in line and "1.000" in line for line in lines)


def test_progress_tells_of_files_and_pairs(base: Path, tmp_path: Path) -> None:
    other = saved(tmp_path / "other.h5", residual(2), RESIDUAL)
    told: list[tuple[int, int, str]] = []
    wexport.relate([base, other], progress=lambda *each: told.append(each))
    assert [each[:2] for each in told] == [(1, 2), (2, 2), (0, 1)]
    assert told[-1][2] == "base and other"


def test_one_file_is_nothing_to_relate(base: Path) -> None:
    with pytest.raises(wexport.UsageError, match="nothing to relate"):
        wexport.relate([base])


def test_a_file_that_cannot_be_read_is_told_and_the_others_related(base: Path, tmp_path: Path) -> None:
    other = saved(tmp_path / "other.h5", residual(2), RESIDUAL)
    broken = tmp_path / "broken.h5"
    broken.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(50))
    found = wexport.relate([base, other, broken])
    assert len(found.pairs) == 1
    assert [name for name, _, _ in found.failed] == ["broken"]


def test_checkpoints_of_one_run_are_told_by_their_names_with_the_earlier_one() -> None:
    run = Path(wexport.__file__).parent / "examples" / "run"
    first, *_, last = sorted(run.glob("*.h5"))
    pair = wexport.relate([last, first]).pairs[0]
    assert (pair.relation, pair.confidence) == ("same_run", "fair")
    assert first.stem.endswith(str(pair.earlier))
    assert "by the names" in pair.evidence[0]


def test_one_run_is_no_word_against_what_the_values_say(tmp_path: Path) -> None:
    run = Path(wexport.__file__).parent / "examples" / "run"
    for step in (1, 2):
        (tmp_path / f"weights.{step:02d}.h5").write_bytes(sorted(run.glob("*.h5"))[0].read_bytes())
    pair = wexport.relate([tmp_path]).pairs[0]
    assert (pair.relation, pair.confidence) == ("identical", "certain")


@pytest.mark.parametrize("options", [[], ["--change"]])
def test_a_program_gets_whole_values(options: list[str]) -> None:
    models = [str(Path(wexport.__file__).parent / "examples" / f"cnn_seed_{seed}.h5") for seed in (1, 2)]
    as_json = json.loads(CliRunner().invoke(cli, ["relate", *models, *options, "--format", "json"]).stdout)
    as_csv = list(
        csv.DictReader(io.StringIO(CliRunner().invoke(cli, ["relate", *models, *options, "--format", "csv"]).stdout))
    )
    assert len(as_csv) == len(as_json)
    for row, record in zip(as_csv, as_json, strict=True):
        assert {name: row[name] for name in record if isinstance(record[name], str)} == {
            name: value for name, value in record.items() if isinstance(value, str)
        }
        figures = [name for name, value in record.items() if isinstance(value, float)]
        assert figures
        assert [float(row[name]) for name in figures] == [record[name] for name in figures]


def test_two_questions_at_once_are_refused() -> None:
    found = CliRunner().invoke(cli, ["relate", "a.h5", "b.h5", "--averages", "--change"])
    assert "different things" in str(found.exception) + found.output
