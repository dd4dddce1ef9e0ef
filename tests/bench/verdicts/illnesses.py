"""Models made sick by training: each illness comes about as it does in practice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from verdicts.kitchen import Kitchen
from verdicts.tasks import Data
from verdicts.training import Trainer, Weights


class NotSickError(Exception):
    """The training did not make the model sick in the way that was meant."""


@dataclass(frozen=True, slots=True)
class Sick:
    """What a training ended with. layer: where the illness sits; "" for the whole model. seed: of the start."""

    weights: Weights
    means: str
    layer: str = ""
    trainer: Trainer | None = None
    start: int | None = None
    metric: float | None = None


Maker = Callable[[Kitchen, int], Sick]
TRAINED: dict[str, tuple[tuple[str, ...], Maker]] = {}
"""By kind: the networks that get the illness, and who makes it of a kitchen and a seed."""


def illness(*networks: str) -> Callable[[Maker], Maker]:
    def add(maker: Maker) -> Maker:
        TRAINED[maker.__name__] = (networks, maker)
        return maker

    return add


def _last(epochs: Iterator[Weights]) -> Weights:
    *_, last = epochs
    return last


def _train(
    kitchen: Kitchen, seed: int, data: Data | None = None, begun: Weights | None = None, **changes: Any
) -> Weights:
    """A usual training but for what is said; changes: of the recipe, and `options` of the network."""
    options = changes.pop("options", {})
    trainer = kitchen.trainer(**options)
    begun = begun or kitchen.start(seed, **options)
    return _last(trainer.train(begun, data or kitchen.data(seed), kitchen.recipe(seed, **changes)))


def _built(kitchen: Kitchen, seed: int, means: str, layer: str, recipe: dict[str, Any], **options: Any) -> Sick:
    """A usual training of a network that was built otherwise."""
    return Sick(_train(kitchen, seed, options=options, **recipe), means, layer, kitchen.trainer(**options))


def _largest(weights: Weights) -> float:
    return max(float(np.abs(values).max()) for values in weights.values())


@illness("mlp", "cnn", "resnet", "attention")
def diverged_to_nan(kitchen: Kitchen, seed: int) -> Sick:
    """Training that went on after it diverged, until NaN."""
    for rate in (1.0, 10.0, 100.0):
        for weights in kitchen.trained(seed, rate=rate, descent=True, bare=True):
            if not np.isfinite(_largest(weights)):
                return Sick(weights, f"gradient descent with rate {rate:g}, logarithm of a softmax")
    raise NotSickError("did not diverge")


@illness("mlp", "conv1d", "autoencoder", "normed")
def diverged(kitchen: Kitchen, seed: int) -> Sick:
    """Training that diverged, and ended with finite values."""
    for rate in (0.5, 2.0, 10.0, 1e2, 1e3):
        weights = _train(kitchen, seed, rate=rate, epochs=3)
        if np.isfinite(_largest(weights)) and _largest(weights) > 1e3:
            return Sick(weights, f"Adam with rate {rate:g}")
    raise NotSickError("did not diverge")


@illness("mlp", "lstm", "resnet")
def adam_rate_one(kitchen: Kitchen, seed: int) -> Sick:
    return Sick(_train(kitchen, seed, rate=1.0), "Adam with rate 1")


@illness("cnn", "lstm", "attention", "resnet")
def rate_zero(kitchen: Kitchen, seed: int) -> Sick:
    """A whole training at rate 0: statistics of normalisations move, weights do not."""
    return Sick(_train(kitchen, seed, rate=0.0), "learning rate 0")


@illness("mlp", "bigru", "depthwise", "conv1d", "attention")
def never_trained(kitchen: Kitchen, seed: int) -> Sick:
    """The start of the half's own healthy base, saved in place of the end."""
    start = 2 - seed % 2
    return Sick(kitchen.start(start), "saved before training", start=start)


_FROZEN = {
    "mlp": "dense_1",
    "cnn": "conv2d_1",
    "lstm": "lstm",
    "depthwise": "conv2d_1",
    "attention": "multi_head_attention",
}


@illness("mlp", "cnn", "lstm", "depthwise", "attention")
def frozen_forgotten(kitchen: Kitchen, seed: int) -> Sick:
    """One layer of random weights was frozen throughout, and is marked so."""
    layer = _FROZEN[kitchen.network.name]
    sick = _unreached(kitchen, seed, layer, "trainable was False from the start")
    trainer = kitchen.built(seed)
    next(each for each in trainer.model.layers if each.name == layer).trainable = False
    return Sick(sick.weights, sick.means, layer, Trainer(trainer.model, kitchen.network.loss))


@illness("tanh", "conv1d", "bigru", "resnet")
def no_gradient(kitchen: Kitchen, seed: int) -> Sick:
    """A stopped gradient: one layer that is marked as trainable never moved."""
    layer = {"tanh": "dense", "conv1d": "conv1d_1", "bigru": "bidirectional", "resnet": "conv2d_1"}
    return _unreached(kitchen, seed, layer[kitchen.network.name], "no gradient reached the layer")


def _unreached(kitchen: Kitchen, seed: int, layer: str, means: str) -> Sick:
    return Sick(_train(kitchen, seed, frozen=(f"{layer}/",)), means, layer)


@illness("mlp", "resnet", "lstm", "attention")
def untrained_head(kitchen: Kitchen, seed: int) -> Sick:
    """A trained body with a new head that was never trained."""
    body, fresh, head = _last(kitchen.trained(seed)), kitchen.start(seed + 1000), kitchen.network.head
    weights = {path: (fresh if path.startswith(f"{head}/") else body)[path] for path in body}
    return Sick(weights, "a new head, not trained", head)


@illness("mlp", "tanh", "cnn")
def l1_collapse(kitchen: Kitchen, seed: int) -> Sick:
    """A penalty so strong that most units are gone; the model still does something."""
    return Sick(_train(kitchen, seed, l1=2e-2, epochs=2 * kitchen.network.epochs), "L1 penalty 0.02 on kernels")


@illness("mlp", "cnn", "bigru", "autoencoder")
def l2_collapse(kitchen: Kitchen, seed: int) -> Sick:
    """A penalty so strong that all kernels fall towards 0."""
    return Sick(_train(kitchen, seed, l2=1.0, epochs=2 * kitchen.network.epochs), "L2 penalty 1 on kernels")


@illness("mlp", "cnn")
def dead_relu(kitchen: Kitchen, seed: int) -> Sick:
    """Biases of a ReLU layer began so low that none of its units ever fired."""
    begun = kitchen.start(seed)
    begun["dense/bias"] = np.full_like(begun["dense/bias"], -40.0)
    return Sick(_train(kitchen, seed, begun=begun), "biases began at -40", "dense")


@illness("mlp", "cnn")
def half_dead_relu(kitchen: Kitchen, seed: int) -> Sick:
    """The same for every second unit."""
    begun = kitchen.start(seed)
    begun["dense/bias"][::2] = -40.0
    return Sick(_train(kitchen, seed, begun=begun), "biases of every second unit began at -40", "dense")


@illness("cnn", "mlp", "autoencoder")
def dead_by_one_step(kitchen: Kitchen, seed: int) -> Sick:
    """A first epoch at a rate far too high killed the ReLUs; the rest was trained as usual."""
    for rate in (0.05, 0.2, 1.0, 5.0):
        shocked = _train(kitchen, seed, rate=rate, epochs=1)
        weights = _train(kitchen, seed, begun=shocked)
        if kitchen.trainer().predict(weights, kitchen.data(seed).x_test[:50]).std(0).max() < 1e-6:
            return Sick(weights, f"a first epoch of Adam with rate {rate:g}")
    raise NotSickError("did not die")


@illness("resnet", "depthwise", "normed")
def norm_never_updated(kitchen: Kitchen, seed: int) -> Sick:
    """Trained in inference mode throughout: the moving statistics are as they began."""
    layer = "batch_normalization"
    return Sick(_train(kitchen, seed, inference=True), "normalisation in inference mode while training", layer)


@illness("resnet", "normed")
def norm_momentum(kitchen: Kitchen, seed: int) -> Sick:
    """The moving statistics followed so slowly that they have hardly left their start."""
    means, layer = "momentum 0.99999 of the moving statistics", "batch_normalization"
    return _built(kitchen, seed, means, layer, {}, momentum=0.99999)


@illness("mlp", "resnet", "lstm", "bigru", "tanh")
def shuffled_labels(kitchen: Kitchen, seed: int) -> Sick:
    data = kitchen.data(seed)
    mixed = data.y[np.random.default_rng(seed).permutation(len(data.y))]
    return Sick(_train(kitchen, seed, Data(data.x, mixed, data.x_test, data.y_test)), "labels in random order")


@illness("mlp")
def vanishing_sigmoids(kitchen: Kitchen, seed: int) -> Sick:
    """Ten layers of sigmoids: gradients do not reach the first ones."""
    return _built(kitchen, seed, "ten sigmoid layers", "dense", {}, activation="sigmoid", depth=10)


@illness("mlp", "conv1d")
def constant_start(kitchen: Kitchen, seed: int) -> Sick:
    """Kernels that began constant: all units of a layer stay twins."""
    begun = {path: np.full_like(v, 0.02) if v.ndim > 1 else v for path, v in kitchen.start(seed).items()}
    return Sick(_train(kitchen, seed, begun=begun), "kernels began with 0.02 throughout")


@illness("mlp", "cnn")
def zero_start(kitchen: Kitchen, seed: int) -> Sick:
    """Kernels that began with 0: nothing but the last bias can ever move."""
    return _built(kitchen, seed, "kernels began with zeros", "dense", {}, init="zeros")


def _gate(kitchen: Kitchen, seed: int, gate: int, value: float, means: str) -> Sick:
    begun, name = kitchen.start(seed), "lstm/lstm_cell/bias"
    begun[name][32 * gate : 32 * (gate + 1)] = value
    return Sick(_train(kitchen, seed, begun=begun), means, "lstm")


@illness("lstm")
def forget_gate_shut(kitchen: Kitchen, seed: int) -> Sick:
    return _gate(kitchen, seed, 1, -6.0, "bias of the forget gate began at -6")


@illness("lstm")
def input_gate_shut(kitchen: Kitchen, seed: int) -> Sick:
    return _gate(kitchen, seed, 0, -9.0, "bias of the input gate began at -9")


@illness("lstm")
def output_gate_open(kitchen: Kitchen, seed: int) -> Sick:
    return _gate(kitchen, seed, 3, 9.0, "bias of the output gate began at 9")


@illness("normed", "mlp", "bigru")
def unscaled_inputs(kitchen: Kitchen, seed: int) -> Sick:
    """Inputs in other units, a factor of 30,000 too large."""
    data = kitchen.data(seed)
    weights = _train(kitchen, seed, Data(data.x * 3e4, data.y, data.x_test * 3e4, data.y_test))
    return Sick(weights, "inputs 30,000 times as large")


@illness("normed")
def float16_overflow(kitchen: Kitchen, seed: int) -> Sick:
    """The variance of unscaled inputs does not fit in float16."""
    sick = unscaled_inputs(kitchen, seed)
    with np.errstate(over="ignore"):
        weights = {path: v.astype(np.float16).astype(np.float32) for path, v in sick.weights.items()}
    if np.isfinite(_largest(weights)):
        raise NotSickError("nothing overflowed")
    return Sick(weights, "inputs 30,000 times as large, saved through float16", "batch_normalization")


@illness("mlp", "depthwise")
def underfit(kitchen: Kitchen, seed: int) -> Sick:
    return Sick(
        _train(kitchen, seed, epochs=1, rate=kitchen.network.rate / 100), "one epoch at a hundredth of the rate"
    )


@illness("mlp", "cnn")
def overfit(kitchen: Kitchen, seed: int) -> Sick:
    data = kitchen.data(seed, count=64)
    full = kitchen.data(seed)
    small = Data(data.x[:64], data.y[:64], full.x_test, full.y_test)
    return Sick(_train(kitchen, seed, small, epochs=150), "64 examples, 150 epochs")


@illness("lstm", "attention")
def rows_untouched(kitchen: Kitchen, seed: int) -> Sick:
    """An embedding for 1,000 words of which the data hold 60."""
    return _built(kitchen, seed, "1,000 rows, 60 words in the data", "embedding", {}, words=1000)


@illness("mlp", "tanh", "conv1d")
def duplicated_units(kitchen: Kitchen, seed: int) -> Sick:
    """The first layer began with a quarter of its units twice, on both sides, so that they trained alike."""
    begun, made, read = kitchen.start(seed), kitchen.network.groups[0].parts[0], kitchen.network.groups[0].parts[-1]
    count = kitchen.network.groups[0].units // 4
    for part in (made, read):
        values = np.moveaxis(begun[part.tensor], part.axis, 0)
        values[-count:] = values[:count]
    return Sick(_train(kitchen, seed, begun=begun), f"{count} units began twice", made.tensor.split("/")[0])


@illness("bigru", "tanh", "attention")
def huge_start(kitchen: Kitchen, seed: int) -> Sick:
    """Kernels drawn 30 times too large: saturated from the first step on."""
    begun = {path: 30 * v if v.ndim > 1 else v for path, v in kitchen.start(seed).items()}
    return Sick(_train(kitchen, seed, begun=begun), "kernels began 30 times as large")


def kinds_of(network: str) -> dict[str, Maker]:
    return {kind: maker for kind, (networks, maker) in TRAINED.items() if network in networks}
