"""Runs and steps: what names say by themselves, what they say together, and what says nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wexport.errors import UsageError
from wexport.ingestion.series import describe, series, series_pattern


@pytest.mark.parametrize(
    ("model", "run", "step"),
    [
        ("run/weights.02-0.52", "run/weights", 2),
        ("run/weights.102-0.66", "run/weights", 102),
        ("weights-improvement-07-0.98", "weights-improvement", 7),
        ("cnn_epoch_05", "cnn", 5),
        ("epoch=3-step=500", "step", 500),
        ("a/model-epoch=3-val_loss=0.25", "a/model", 3),
        ("lr1/ckpt-12", "lr1", 12),
        ("checkpoint-500/model", "model", 500),
        ("a/epoch_01/model", "a/model", 1),
        ("epoch_01", "epoch", 1),
        ("weights_epoch01_fold1", "weights_fold1", 1),
        ("resnet50", None, None),
        ("fold_3", None, None),
        ("mini_XCEPTION.102-0.66", None, None),
        ("timestep_encoder", None, None),
        ("footstep3", None, None),
        ("mobilenet_weights_1_0_224", None, None),
        ("lstm_n_steps_10", None, None),
        ("lstm_n_step_10", None, None),
        ("lstm_epochs_2_batch_16", None, None),
        ("model_2024-05-12", None, None),
        ("weights.20240512", None, None),
        ("weights.2024-05-12", None, None),
        ("model-005", None, None),
    ],
)
def test_a_name_alone_tells_by_words_only(model: str, run: str | None, step: int | None) -> None:
    assert series([model]) == [(run, step)]


@pytest.mark.parametrize(
    ("models", "run", "steps"),
    [
        (["01-0.62", "02-0.51", "10-0.40"], ".", [1, 2, 10]),
        (["a/01-0.62", "a/02-0.51"], "a", [1, 2]),
        (["model.05-0.23", "model.06-0.21"], "model", [5, 6]),
        (["mini_XCEPTION.99-0.65", "mini_XCEPTION.102-0.66"], "mini_XCEPTION", [99, 102]),
        (["ep003-loss14.2-val_loss13.9", "ep006-loss12.1-val_loss13.0"], ".", [3, 6]),
        (["model-001", "model-005", "model-010"], "model", [1, 5, 10]),
        (["cp-0010", "cp-0020"], "cp", [10, 20]),
        (["training_2/cp-0010", "training_2/cp-0050"], "training_2/cp", [10, 50]),
        (["checkpoint-4/model", "checkpoint-8/model"], "model", [4, 8]),
        (["epoch=0-step=100", "epoch=1-step=200"], "step", [100, 200]),
        (["net_epoch01_loss0.5", "net_epoch02_loss0.4"], "net", [1, 2]),
        (["net_20240512_epoch01", "net_20240513_epoch02"], "net", [1, 2]),
    ],
)
def test_siblings_that_differ_in_the_number_are_a_series(models: list[str], run: str, steps: list[int]) -> None:
    assert series(models) == [(run, step) for step in steps]


@pytest.mark.parametrize(
    "models",
    [
        [f"lstm_n_steps_{number}" for number in (5, 10, 20, 30)],
        [f"lstm_epochs_{epochs}_batch_{batch}" for epochs in (2, 4) for batch in (16, 32)],
        ["model-20240512", "model-20240513"],
        ["resnet18", "resnet50"],
        ["fold_001", "fold_002"],
        ["seed-001", "seed-002"],
        ["customer_0001", "customer_0002"],
        ["model-5", "model-10"],
        ["model-005", "other-006"],
        ["epochs_10_lr_0.1", "epochs_20_lr_0.1"],
        ["cnn-16-dropout0.5", "cnn-32-dropout0.5"],
        ["hidden_64_0.50", "hidden_128_0.52"],
    ],
)
def test_hyperparameters_dates_and_folds_are_no_steps(models: list[str]) -> None:
    assert series(models) == [(None, None)] * len(models)


def test_three_folds_are_three_runs() -> None:
    models = [f"weights_epoch{epoch:02}_fold{fold}" for epoch in (1, 2, 3) for fold in (1, 2, 3)]
    found = series(models)
    assert found == [(f"weights_fold{fold}", epoch) for epoch in (1, 2, 3) for fold in (1, 2, 3)]
    assert describe(found) == [f"weights_fold{fold}: 3 checkpoints, steps 1 to 3" for fold in (1, 2, 3)]


def test_two_models_at_one_step_are_of_one_run() -> None:
    assert series(["run/weights.02-0.52", "run/weights.02-0.60", "run/weights.03-0.50"]) == [
        ("run/weights", 2),
        ("run/weights", 2),
        ("run/weights", 3),
    ]


@given(st.lists(st.from_regex(r"[a-z]{1,4}[-_.]?[0-9]{0,4}(-[0-9]\.[0-9]{2})?", fullmatch=True)), st.randoms())
def test_the_order_of_the_names_does_not_matter(models: list[str], random: object) -> None:
    shuffled = list(models)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert dict(zip(models, series(models), strict=True)) == dict(zip(shuffled, series(shuffled), strict=True))


def test_a_series_pattern_overrides() -> None:
    pattern = series_pattern(r"(?P<run>.*)\.(?P<step>\d+)-")
    assert series(["mini_XCEPTION.102-0.66"], pattern) == [("mini_XCEPTION", 102)]
    with pytest.raises(UsageError, match="as --series reads it, is 9999"):
        series([f"mini.{'9' * 30}-0.66"], pattern)
    with pytest.raises(UsageError, match="no group named step"):
        series_pattern("epoch")
    with pytest.raises(UsageError, match="not a regular expression"):
        series_pattern("(")
