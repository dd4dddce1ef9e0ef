"""What values a layer's units can have at all: interval bounds through a model's graph, from a stated range of inputs.

Each channel of each signal has a lowest and a highest value, whatever the input within its range; through each layer
these are carried on as interval arithmetic does (Gowal et al., "On the effectiveness of interval bound propagation",
2018). Bounds hold for every input, and are wider than what inputs reach: a unit whose highest value is not above zero
is dead behind a ReLU, and that is a proof; of one whose bounds span zero nothing is said. With inputs of any range the
same rule proves what weights tell alone: all w <= 0 and b <= 0 behind a ReLU after another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from wexport.model.graph import Call, Graph
from wexport.relating.results import Floats, Read
from wexport.relating.units import config_word

Wide = NDArray[np.float64]
ROUNDING = 1e-6
"""What float32 sums may be off, by the sum of what is summed: a bound must be so far below zero, but where all terms
are."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of a signal. low, high: by channel, or one for all. sure: channels that are not above zero, rounding included.

    made: the layer whose units these are, still as they came out of its sum; None otherwise.
    """

    low: Wide
    high: Wide
    sure: NDArray[np.bool_]
    made: str | None = None

    @classmethod
    def of(cls, low: Wide, high: Wide) -> Bounds:
        return cls(low, high, np.asarray(high <= 0))


@dataclass(frozen=True, slots=True)
class Rectified:
    """Units behind a ReLU. layer: that made them. dead: by unit, whether it is 0 for every input. high: its bound."""

    layer: str
    dead: NDArray[np.bool_]
    high: Wide


def rectified(
    graph: Graph, tensors: Sequence[Read], values: Sequence[Floats], low: float = -np.inf, high: float = np.inf
) -> list[Rectified]:
    """Every layer's units that go through a ReLU, and which of them are dead for all inputs from low to high.

    A layer that is called more than once has units dead if they are in every call.
    """
    tracer = _Tracer(tensors, values, low, high)
    signals: list[Bounds] = []
    for call in graph.calls:
        signals.append(tracer.called(call, [signals[number] for number in call.inputs]))
    return list(tracer.found.values())


@dataclass
class _Tracer:
    tensors: Sequence[Read]
    values: Sequence[Floats]
    low: float
    high: float
    found: dict[str, Rectified] = field(default_factory=dict)

    def called(self, call: Call, inputs: list[Bounds]) -> Bounds:
        if call.class_name == "InputLayer":
            return inputs[0] if inputs else Bounds.of(np.array([self.low]), np.array([self.high]))
        rule = _RULES.get(call.class_name)
        try:
            found = rule(self, call, inputs) if rule and inputs else None
        except (KeyError, IndexError, ValueError, TypeError):
            found = None
        return _ANYTHING if found is None else found

    def own(self, layer: str) -> dict[str, Wide]:
        return {
            each.role: values.astype(np.float64)
            for each, values in zip(self.tensors, self.values, strict=True)
            if each.layer == layer
        }

    def is_dense(self, layer: str | None) -> bool:
        return any(each.layer == layer and each.role == "kernel" and len(each.shape) == 2 for each in self.tensors)

    def activated(self, signal: Bounds, word: str) -> Bounds | None:
        if word == "linear":
            return signal
        if word in ("relu", "relu6") and signal.made is not None:
            before = self.found.get(signal.made)
            dead = signal.sure if before is None else signal.sure & before.dead
            self.found[signal.made] = Rectified(signal.made, dead, signal.high)
        if word not in _MONOTONE:
            low, high = _RANGES.get(word, (-np.inf, np.inf))
            return Bounds.of(np.full_like(signal.low, low), np.full_like(signal.high, high))
        with np.errstate(over="ignore"):
            return Bounds.of(_MONOTONE[word](signal.low), _MONOTONE[word](signal.high))


_ANYTHING = Bounds.of(np.array([-np.inf]), np.array([np.inf]))
_MONOTONE: Mapping[str, Callable[[Wide], Wide]] = {
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softplus": lambda x: np.logaddexp(x, 0),
    "elu": lambda x: np.where(x < 0, np.expm1(np.minimum(x, 0)), x),
}
_RANGES = {"softmax": (0.0, 1.0), "hardsigmoid": (0.0, 1.0), "exponential": (0.0, np.inf), "softsign": (-1.0, 1.0)}

_Rule = Callable[[_Tracer, Call, list[Bounds]], Bounds | None]
_RULES: dict[str, _Rule] = {}
_DIMENSIONS = ("1D", "2D", "3D")


def _for(*classes: str) -> Callable[[_Rule], _Rule]:
    def add(rule: _Rule) -> _Rule:
        _RULES.update(dict.fromkeys(classes, rule))
        return rule

    return add


@_for(
    *("Dropout", "GaussianNoise", "GaussianDropout", "ActivityRegularization", "Identity", "Flatten", "Reshape"),
    *(f"SpatialDropout{n}" for n in _DIMENSIONS),
    *(f"{word}{n}" for word in ("Cropping", "MaxPooling", "AveragePooling") for n in _DIMENSIONS),
    *(f"Global{word}Pooling{n}" for word in ("Max", "Average") for n in _DIMENSIONS),
)
def _passed(tracer: _Tracer, call: Call, inputs: list[Bounds]) -> Bounds:
    """Each value is one of a channel, or between some of it. After a Flatten or Reshape, any of the signal."""
    (signal,) = inputs
    if call.class_name in ("Flatten", "Reshape") and call.config.get("data_format") == "channels_first":
        return Bounds.of(signal.low.min(keepdims=True), signal.high.max(keepdims=True))
    if call.class_name == "Reshape":
        return Bounds.of(signal.low.min(keepdims=True), signal.high.max(keepdims=True))
    return Bounds(signal.low, signal.high, signal.sure)


@_for(*(f"ZeroPadding{n}" for n in _DIMENSIONS))
def _padded(tracer: _Tracer, call: Call, inputs: list[Bounds]) -> Bounds:
    return _with_zero(inputs[0])


def _with_zero(signal: Bounds) -> Bounds:
    return Bounds.of(np.minimum(signal.low, 0), np.maximum(signal.high, 0))


@_for("Activation")
def _activation(tracer: _Tracer, call: Call, inputs: list[Bounds]) -> Bounds | None:
    return tracer.activated(inputs[0], config_word(call.config.get("activation")))


@_for("ReLU")
def _relu(tracer: _Tracer, call: Call, inputs: list[Bounds]) -> Bounds | None:
    if call.config.get("negative_slope") or call.config.get("threshold"):
        return None
    found = tracer.activated(inputs[0], "relu")
    most = call.config.get("max_value")
    return (
        found if most is None or found is None else Bounds.of(*(np.minimum(e, most) for e in (found.low, found.high)))
    )


@_for("Dense", "Conv1D", "Conv2D", "Conv3D")
def _affine(tracer: _Tracer, call: Call, inputs: list[Bounds]) -> Bounds | None:
    own = tracer.own(call.layer)
    if set(own) - {"kernel", "bias"} or call.config.get("groups", 1) not in (1, None):
        return None
    kernel = own["kernel"]
    signal = inputs[0]
    if call.config.get("data_format") == "channels_first" and call.class_name != "Dense" and len(signal.low) > 1:
        signal = Bounds.of(signal.low.min(keepdims=True), signal.high.max(keepdims=True))
    if str(call.config.get("padding", "valid")).lower() in ("same", "causal"):
        signal = _with_zero(signal)
    rows = kernel.reshape(-1, kernel.shape[-2], kernel.shape[-1])
    found = _summed_up(rows, signal, own.get("bias"))
    made = Bounds(found.low, found.high, found.sure, call.layer)
    return tracer.activated(made, config_word(call.config.get("activation")))


def _summed_up(rows: Wide, signal: Bounds, bias: Wide | None) -> Bounds:
    """Bounds of sum(w x) + b. rows: (places, inputs, units); the signal's channels repeat along the inputs."""
    inputs = rows.shape[1]
    if inputs % len(signal.low):
        raise ValueError("a signal of other channels")
    low, high = (np.tile(each, inputs // len(each))[None, :, None] for each in (signal.low, signal.high))
    up, down = np.maximum(rows, 0), np.minimum(rows, 0)
    offset = np.zeros(rows.shape[2]) if bias is None else bias
    with np.errstate(invalid="ignore"):
        tops = [_product(up, high), _product(down, low)]
        bottoms = [_product(up, low), _product(down, high)]
        highest = sum((each.sum(axis=(0, 1)) for each in tops), offset)
        lowest = sum((each.sum(axis=(0, 1)) for each in bottoms), offset)
        sizes = sum((np.abs(each).sum(axis=(0, 1)) for each in tops), np.abs(offset))
    no_term_above = np.all([(each <= 0).all(axis=(0, 1)) for each in tops], axis=0) & (offset <= 0)
    sure = no_term_above | (highest + ROUNDING * sizes < 0)
    return Bounds(np.nan_to_num(lowest, nan=-np.inf, neginf=-np.inf, posinf=np.inf), highest, sure)


def _product(weights: Wide, values: Wide) -> Wide:
    """Of nothing and something without bound: nothing."""
    found: Wide = np.where(weights == 0, 0.0, weights * np.where(weights == 0, 0.0, values))
    return found


@_for("BatchNormalization")
def _normalised(tracer: _Tracer, call: Call, inputs: list[Bounds]) -> Bounds | None:
    own, signal = tracer.own(call.layer), inputs[0]
    mean, variance = own["moving_mean"], own["moving_variance"]
    axis = call.config.get("axis", -1)
    axis = axis[0] if isinstance(axis, (list, tuple)) else axis
    if (variance < 0).any() or (axis == 1 and not tracer.is_dense(signal.made)):
        return None  # of the second axis only a Dense layer's units are sure to be
    factor = own.get("gamma", np.ones_like(mean)) / np.sqrt(variance + float(call.config.get("epsilon", 1e-3)))
    offset = own.get("beta", np.zeros_like(mean)) - mean * factor
    ends = [_product(factor, np.broadcast_to(each, factor.shape)) for each in (signal.low, signal.high)]
    low, high = np.minimum(*ends) + offset, np.maximum(*ends) + offset
    sizes = np.maximum(*(np.abs(each) for each in ends)) + np.abs(mean * factor) + np.abs(offset)
    return Bounds(low, high, high + ROUNDING * sizes < 0, signal.made)


@_for("Add")
def _added(tracer: _Tracer, call: Call, inputs: list[Bounds]) -> Bounds:
    return Bounds.of(sum((each.low for each in inputs), np.zeros(1)), sum((each.high for each in inputs), np.zeros(1)))


@_for("Average", "Maximum", "Minimum")
def _between(tracer: _Tracer, call: Call, inputs: list[Bounds]) -> Bounds:
    lows, highs = ([getattr(each, name) for each in inputs] for name in ("low", "high"))
    return Bounds.of(np.minimum.reduce(np.broadcast_arrays(*lows)), np.maximum.reduce(np.broadcast_arrays(*highs)))


@_for("Embedding")
def _embedded(tracer: _Tracer, call: Call, inputs: list[Bounds]) -> Bounds:
    (table,) = tracer.own(call.layer).values()
    return Bounds.of(table.min(axis=0), table.max(axis=0))


@_for("LSTM", "GRU", "SimpleRNN")
def _recurrent(tracer: _Tracer, call: Call, inputs: list[Bounds]) -> Bounds | None:
    if config_word(call.config.get("activation", "tanh")) != "tanh":
        return None
    units = np.ones(int(call.config["units"]))
    return Bounds.of(-units, units)
