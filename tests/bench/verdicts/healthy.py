"""Healthy models of one architecture: trainings, and all that is honestly made of them."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from verdicts import same_function
from verdicts.collection import Origin
from verdicts.kitchen import Kitchen
from verdicts.training import Weights

SEEDS = range(1, 11)
TOLERANCE = 2e-5
"""Outputs of the same function may differ by so much, from rounding."""


def make(kitchen: Kitchen, seed: int) -> None:
    """The training of that seed, and what comes of it: seeds take turns, two of each, one for each half."""
    epochs = list(kitchen.trained(seed))
    turn = (seed - 1) // 2
    facts: dict[str, Any] = {"run": kitchen.name(seed, "run"), "step": len(epochs)} if turn == 0 else {}
    base = kitchen.keep(seed, "base", epochs[-1], **facts)
    facts = {"root": base}
    if turn == 0:
        _run(kitchen, seed, epochs, facts)
    elif turn == 1:
        _same_function(kitchen, seed, epochs[-1], facts)
    elif turn == 2:
        _descendants(kitchen, seed, epochs[-1], facts)


def _run(kitchen: Kitchen, seed: int, epochs: list[Weights], facts: dict[str, Any]) -> None:
    """Checkpoints, averages of them, the run gone on, and another training from the same start."""
    run = kitchen.name(seed, "run")
    steps = [len(epochs) // 2 - 1, *range(len(epochs) - 4, len(epochs))]
    names = []
    for step in steps:
        origin = Origin((kitchen.name(seed, "base"),), "copy") if step == steps[-1] else None
        what, place = f"run/epoch_{step + 1:02}", {"run": run, "step": step + 1}
        names.append(kitchen.keep(seed, what, epochs[step], origin=origin, **place, **facts))
    last = [epochs[step] for step in steps[1:]]
    mean, ema = [0.25] * 4, [0.125, 0.125, 0.25, 0.5]
    for what, shares in (("mean_of_checkpoints", mean), ("ema", ema)):
        mixed = mixture(last, shares)
        kitchen.keep(seed, what, mixed, origin=Origin(tuple(names[1:]), "average", tuple(shares)), **facts)
    longer = list(kitchen.trainer().train(epochs[-1], kitchen.data(seed), kitchen.recipe(seed + 50, epochs=4)))
    kitchen.keep(seed, "trained_on", longer[-1], origin=Origin((kitchen.name(seed, "base"),), "fine_tuned"), **facts)
    other = list(
        kitchen.trainer().train(kitchen.start(seed), kitchen.data(seed + 500), kitchen.recipe(seed + 500))
    )  # fmt: skip
    kitchen.keep(seed, "same_start", other[-1])


def _same_function(kitchen: Kitchen, seed: int, base: Weights, facts: dict[str, Any]) -> None:
    """Copies, other containers, other number formats, and other weights that compute the same."""
    groups, parent = kitchen.network.groups, kitchen.name(seed, "base")
    kitchen.keep(seed, "copy", base, origin=Origin((parent,), "copy"), **facts)
    for suffix in (".h5", ".weights.h5"):
        what = "in" + suffix.replace(".", "_")
        kitchen.keep(seed, what, base, suffix=suffix, origin=Origin((parent,), "reencoded"), **facts)
    half, brain = rounded(base, np.float16), rounded(base, ml_dtypes.bfloat16)
    kitchen.keep(seed, "through_float16", half, origin=Origin((parent,), "rounded", detail="float16"), **facts)
    kitchen.keep(seed, "through_bfloat16", brain, origin=Origin((parent,), "rounded", detail="bfloat16"), **facts)
    _keep_equal(kitchen, seed, "reordered", base, same_function.reordered(base, groups, seed), facts)
    if any(group.scale for group in groups):
        by = "sign_flipped" if groups[0].scale == "sign" else "rescaled"
        scaled = same_function.rescaled(base, groups, seed)
        _keep_equal(kitchen, seed, by, base, scaled, facts)
    for share in (0.3, 0.6):
        pruned = {path: _pruned(values, share) for path, values in base.items()}
        kitchen.keep(seed, f"pruned_{share:.0%}"[:-1], pruned, origin=Origin((parent,), "pruned"), **facts)
    quantised = {path: _quantised(values) for path, values in base.items()}
    kitchen.keep(seed, "quantised_int8", quantised, origin=Origin((parent,), "quantised"), **facts)


def _keep_equal(
    kitchen: Kitchen, seed: int, what: str, base: Weights, other: Weights, facts: dict[str, Any]
) -> None:  # fmt: skip
    x = kitchen.data(seed).x_test
    off = np.abs(kitchen.trainer().predict(base, x) - kitchen.trainer().predict(other, x)).max()
    if not off < TOLERANCE:
        raise AssertionError(f"{kitchen.network.name} {what}: outputs differ by {off}")
    kitchen.keep(seed, what, other, origin=Origin((kitchen.name(seed, "base"),), what), **facts)


def _descendants(kitchen: Kitchen, seed: int, base: Weights, facts: dict[str, Any]) -> None:
    """Fine-tunes, a soup of them, new heads on the frozen rest, a distilled student."""
    trainer, parent = kitchen.trainer(), kitchen.name(seed, "base")
    tuned, names = [], []
    for number in (1, 2):
        data = kitchen.data(seed + 600 + number)
        recipe = kitchen.recipe(seed + number, epochs=3, rate=kitchen.network.rate / 10)
        tuned.append(list(trainer.train(base, data, recipe))[-1])
        origin = Origin((parent,), "fine_tuned")
        names.append(kitchen.keep(seed, f"fine_tuned_{number}", tuned[-1], origin=origin, **facts))
    soup = mixture(tuned, [0.5, 0.5])
    kitchen.keep(seed, "soup", soup, origin=Origin(tuple(names), "average", (0.5, 0.5)), **facts)
    head = kitchen.network.head
    body = tuple(path for path in base if not path.startswith(f"{head}/"))
    for world in (1, 2):
        fresh = kitchen.start(seed + 700 + world)
        begun = {path: base[path] if path in body else fresh[path] for path in base}
        data = kitchen.data(seed, world=world)
        # Statistics of normalisations belong to the frozen part: the head is trained in inference mode.
        recipe = kitchen.recipe(seed + world, frozen=body, inference=True)
        ended = list(trainer.train(begun, data, recipe))[-1]
        origin = Origin((parent,), "head_replaced", detail=head)
        metric = trainer.metric(ended, data)
        kitchen.keep(seed, f"head_{world}", ended, metric=metric, origin=origin, **facts)
    data = kitchen.data(seed)
    taught = type(data)(data.x, trainer.predict(base, data.x), data.x_test, data.y_test)
    student = list(trainer.train(kitchen.start(seed + 800), taught, kitchen.recipe(seed + 800)))[-1]
    kitchen.keep(seed, "student", student, start=f"{kitchen.network.name}-{seed + 800}", teacher=parent)


def mixture(models: list[Weights], shares: list[float]) -> Weights:
    """The weighted mean, in float64."""
    parts = list(zip(models, shares, strict=True))
    return {
        path: np.sum([share * np.asarray(model[path], np.float64) for model, share in parts], 0).astype(np.float32)
        for path in models[0]
    }


def rounded(weights: Weights, dtype: Any) -> Weights:
    return {path: values.astype(dtype).astype(values.dtype) for path, values in weights.items()}


def _pruned(values: Any, share: float) -> Any:
    if values.ndim < 2:
        return values
    return np.where(np.abs(values) < np.quantile(np.abs(values), share), np.float32(0), values)


def _quantised(values: Any) -> Any:
    """Through int8 and back, symmetric, a scale for each output channel; vectors stay."""
    if values.ndim < 2:
        return values
    scale = np.abs(values).max(tuple(range(values.ndim - 1)), keepdims=True) / 127
    return (np.round(values / np.where(scale > 0, scale, 1)) * scale).astype(values.dtype)
