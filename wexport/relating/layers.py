"""What each class of layers does to hidden units: one function a class, from a graph and its tensors to a UnitGraph.

A class that is not here is not understood: the units before and behind it stay where they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wexport.model.gates import CELLS, gates
from wexport.model.gates import KINDS as RECURRENT_KINDS
from wexport.model.graph import Call, Graph
from wexport.relating.units import POSITIVE, SIGN, Builder, Segment, Signal, UnitGraph, config_word, fixed_signal

_HOMOGENEOUS = frozenset({"relu", "leakyrelu"})
_ODD = frozenset({"tanh", "softsign", "hardtanh"})
UNKNOWN = "unknown"
"""An activation that is not told: what is the same but for scales and signs shows that it lets them pass."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the graph needs to know of a tensor. shape: canonical."""

    layer: str
    role: str
    shape: tuple[int, ...]
    direction: str | None = None


Tensors = Mapping[str, int]
"""Numbers of a layer's tensors by role."""


def unit_graph(graph: Graph, tensors: Sequence[Known]) -> UnitGraph:
    """The hidden units of a model."""
    reading = _Reading(tensors)
    signals: list[Signal] = []
    for call in graph.calls:
        inputs = [signals[number] for number in call.inputs]
        signals.append(reading.called(call, inputs))
    for number in graph.outputs:
        reading.builder.fix(signals[number])
    return reading.builder.result()


@dataclass
class _Reading:
    tensors: Sequence[Known]
    builder: Builder = field(default_factory=Builder)
    _before: dict[str, tuple[list[Signal], Signal]] = field(default_factory=dict)

    def called(self, call: Call, inputs: list[Signal]) -> Signal:
        """What a layer gives; one that is called again takes and gives the same units as before."""
        before = self._before.get(call.layer)
        if before is not None and self._of(call.layer):
            for one, other in zip(before[0], inputs, strict=False):
                self.builder.unite(one, other)
            return before[1]
        rule = _RULES.get(call.class_name)
        try:
            found = rule(self, call, inputs) if rule and (inputs or call.class_name == "InputLayer") else None
        except (KeyError, IndexError, TypeError, ValueError):
            found = None
        if found is None:
            found = self.opaque(call, inputs)
        self._before[call.layer] = (inputs, found)
        return found

    def opaque(self, call: Call, inputs: Sequence[Signal]) -> Signal:
        """A layer that is not understood, or that undoes what a channel is."""
        own = self._of(call.layer)
        if own or any(segment.group is not None for signal in inputs for segment in signal.segments):
            self.builder.not_understood[f"{call.layer} ({call.class_name})"] = None
        for signal in inputs:
            self.builder.fix(signal)
        return Signal(())

    def _of(self, layer: str) -> list[int]:
        return [
            number
            for number, known in enumerate(self.tensors)
            if known.layer == layer or known.layer.startswith(f"{layer}/")
        ]

    def own(self, layer: str, direction: str | None = None) -> dict[str, int]:
        """Tensors of a layer by role, of one direction; those of an attention's parts by part and role."""
        found: dict[str, int] = {}
        for number in self._of(layer):
            known = self.tensors[number]
            if direction is not None and known.direction != direction:
                continue
            rest = known.layer[len(layer) + 1 :] if direction is None else ""
            key = f"{rest}/{known.role}" if rest else known.role
            if key in found:
                raise ValueError("two tensors of one role")
            found[key] = number
        return found

    def shape(self, number: int) -> tuple[int, ...]:
        return self.tensors[number].shape

    def made(self, call: Call, units: int, tensors: Sequence[tuple[int, int]], inner: int = 1) -> Signal:
        """New units, made along an axis of each of some tensors; a scale of theirs multiplies all of these."""
        group = self.builder.group(units, call.layer)
        scale = self.builder.scale(group)
        signal = Signal((Segment(units, group, scale, inner),), channels_first=_channels_first(call))
        for tensor, axis in tensors:
            self.builder.part(tensor, axis, signal, self.shape(tensor)[axis], made=True)
            self.builder.scaled(tensor, axis, scale, np.arange(units * inner).reshape(units, inner))
        return signal

    def reads(self, tensor: int, axis: int, signal: Signal) -> None:
        self.builder.part(tensor, axis, signal, self.shape(tensor)[axis], made=False)

    def activated(self, signal: Signal, word: str) -> Signal:
        if word in _HOMOGENEOUS:
            return self.builder.allow(signal, POSITIVE)
        if word in _ODD:
            return self.builder.allow(signal, SIGN)
        return signal if word in ("linear", UNKNOWN) else self.builder.allow(signal)


def _channels_first(call: Call) -> bool:
    return call.config.get("data_format") == "channels_first"


_Rule = Callable[[_Reading, Call, list[Signal]], Signal | None]
_RULES: dict[str, _Rule] = {}


def _for(*classes: str) -> Callable[[_Rule], _Rule]:
    def add(rule: _Rule) -> _Rule:
        _RULES.update(dict.fromkeys(classes, rule))
        return rule

    return add


_DIMENSIONS = ("1D", "2D", "3D")


@_for("InputLayer")
def _input(reading: _Reading, call: Call, inputs: list[Signal]) -> Signal:
    return inputs[0] if inputs else Signal(())


@_for(
    *("Dropout", "GaussianNoise", "GaussianDropout", "AlphaDropout", "ActivityRegularization", "Masking", "Identity"),
    *(f"SpatialDropout{n}" for n in _DIMENSIONS),
    *(f"{word}{n}" for word in ("ZeroPadding", "Cropping", "UpSampling", "AveragePooling") for n in _DIMENSIONS),
    *(f"GlobalAveragePooling{n}" for n in _DIMENSIONS),
)
def _passed(reading: _Reading, call: Call, inputs: list[Signal]) -> Signal:
    return inputs[0]


@_for(*(f"{word}{n}" for word in ("MaxPooling", "GlobalMaxPooling") for n in _DIMENSIONS))
def _greatest(reading: _Reading, call: Call, inputs: list[Signal]) -> Signal:
    return reading.builder.allow(inputs[0], POSITIVE)


@_for("Activation")
def _activation(reading: _Reading, call: Call, inputs: list[Signal]) -> Signal:
    return reading.activated(inputs[0], config_word(call.config.get("activation")))


@_for("ReLU", "LeakyReLU", "ELU", "ThresholdedReLU")
def _rectified(reading: _Reading, call: Call, inputs: list[Signal]) -> Signal:
    bounded = call.config.get("max_value") is not None or bool(call.config.get("threshold"))
    plain = call.class_name in ("ReLU", "LeakyReLU") and not bounded
    return reading.builder.allow(inputs[0], *([POSITIVE] if plain else []))


@_for("PReLU")
def _sloped(reading: _Reading, call: Call, inputs: list[Signal]) -> Signal:
    (alpha,) = reading.own(call.layer).values()
    last = len(reading.shape(alpha)) - 1
    unscaled = Signal(
        tuple(Segment(each.units, each.group, None, each.inner) for each in inputs[0].segments), inputs[0].flat
    )
    reading.reads(alpha, last, unscaled)
    return reading.builder.allow(inputs[0], POSITIVE)


@_for("Softmax")
def _softmax(reading: _Reading, call: Call, inputs: list[Signal]) -> Signal:
    return reading.builder.allow(inputs[0])


@_for("Flatten")
def _flattened(reading: _Reading, call: Call, inputs: list[Signal]) -> Signal | None:
    (signal,) = inputs
    if signal.flat is not None:
        return signal
    return Signal(signal.segments, "first" if signal.channels_first else "last")


@_for("Dense", "Conv1D", "Conv2D", "Conv3D")
def _affine(reading: _Reading, call: Call, inputs: list[Signal]) -> Signal | None:
    own = reading.own(call.layer)
    if set(own) - {"kernel", "bias"} or call.config.get("groups", 1) not in (1, None):
        return None
    shape = reading.shape(own["kernel"])
    reading.reads(own["kernel"], len(shape) - 2, inputs[0])
    made = [(own["kernel"], len(shape) - 1), *([(own["bias"], 0)] if "bias" in own else [])]
    signal = reading.made(call, shape[-1], made)
    return reading.activated(signal, config_word(call.config.get("activation")))


@_for("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose")
def _transposed(reading: _Reading, call: Call, inputs: list[Signal]) -> Signal | None:
    own = reading.own(call.layer)
    if set(own) - {"kernel", "bias"}:
        return None
    shape = reading.shape(own["kernel"])
    reading.reads(own["kernel"], len(shape) - 1, inputs[0])
    made = [(own["kernel"], len(shape) - 2), *([(own["bias"], 0)] if "bias" in own else [])]
    signal = reading.made(call, shape[-2], made)
    return reading.activated(signal, config_word(call.config.get("activation")))


def _by_channel(reading: _Reading, call: Call, signal: Signal, kernel: int) -> Signal:
    """A depthwise kernel (*window, channels, multiplier): each unit's channels, times the multiplier."""
    *_, channels, multiplier = reading.shape(kernel)
    reading.reads(kernel, len(reading.shape(kernel)) - 2, signal)
    if channels != signal.channels or signal.flat:
        return reading.builder.fix(fixed_signal(channels * multiplier, signal))
    segments = []
    start = 0
    for each in signal.segments:
        scale = None
        if each.group is not None:
            # The kernel is read and made by the same units; what it makes may have a scale of its own.
            scale = reading.builder.scale(each.group)
            index = np.arange(start, start + each.channels).reshape(each.units, each.inner)
            reading.builder.scaled(kernel, len(reading.shape(kernel)) - 2, scale, index)
        start += each.channels
        segments.append(Segment(each.units, each.group, scale, each.inner * multiplier))
    return Signal(tuple(segments), channels_first=signal.channels_first)


@_for("DepthwiseConv1D", "DepthwiseConv2D", "DepthwiseConv3D")
def _depthwise(reading: _Reading, call: Call, inputs: list[Signal]) -> Signal | None:
    own = reading.own(call.layer)
    kernel = own.get("depthwise_kernel", own.get("kernel"))
    if kernel is None or len(own) > 1 + ("bias" in own):
        return None
    signal = _by_channel(reading, call, inputs[0], kernel)
    if "bias" in own:
        _vector(reading, own["bias"], signal)
    return reading.activated(signal, config_word(call.config.get("activation")))


@_for("SeparableConv1D", "SeparableConv2D")
def _separable(reading: _Reading, call: Call, inputs: list[Signal]) -> Signal | None:
    own = reading.own(call.layer)
    if set(own) - {"depthwise_kernel", "pointwise_kernel", "bias"}:
        return None
    between = _by_channel(reading, call, inputs[0], own["depthwise_kernel"])
    shape = reading.shape(own["pointwise_kernel"])
    reading.reads(own["pointwise_kernel"], len(shape) - 2, between)
    made = [(own["pointwise_kernel"], len(shape) - 1), *([(own["bias"], 0)] if "bias" in own else [])]
    signal = reading.made(call, shape[-1], made)
    return reading.activated(signal, config_word(call.config.get("activation")))


def _vector(reading: _Reading, tensor: int, signal: Signal, *, scaled: bool = True) -> None:
    """A vector with a value a channel, that scales with the signal."""
    bare = Signal(tuple(Segment(each.units, each.group, None, each.inner) for each in signal.segments), signal.flat)
    length = reading.shape(tensor)[-1]
    if not reading.builder.part(tensor, len(reading.shape(tensor)) - 1, bare, length, made=True) or not scaled:
        return
    if signal.flat:
        reading.builder.allow(signal)
        return
    start = 0
    for each in signal.segments:
        if each.scale is not None:
            index = np.arange(start, start + each.channels).reshape(each.units, each.inner)
            reading.builder.scaled(tensor, len(reading.shape(tensor)) - 1, each.scale, index)
        start += each.channels


@_for("BatchNormalization", "LayerNormalization", "RMSNormalization")
def _normalised(reading: _Reading, call: Call, inputs: list[Signal]) -> Signal | None:
    own = {role: tensor for role, tensor in reading.own(call.layer).items() if role != "count"}
    (signal,) = inputs
    if set(own) - {"gamma", "beta", "moving_mean", "moving_variance", "scale"} or any(
        len(reading.shape(each)) != 1 for each in own.values()
    ):
        return None
    # What comes in is divided by its own deviation, but for the epsilon: no scale passes.
    reading.builder.allow(signal)
    segments = tuple(
        Segment(each.units, each.group, None if each.group is None else reading.builder.scale(each.group), each.inner)
        for each in signal.segments
    )
    found = Signal(segments, signal.flat, signal.channels_first)
    if not {"gamma", "scale"} & set(own):
        reading.builder.allow(found)
    for role, tensor in own.items():
        _vector(reading, tensor, found, scaled=role in ("gamma", "beta", "scale"))
    return found


@_for("Embedding")
def _embedded(reading: _Reading, call: Call, inputs: list[Signal]) -> Signal | None:
    (embeddings,) = reading.own(call.layer).values()
    return reading.made(call, reading.shape(embeddings)[1], [(embeddings, 1)])


def _recurrent(
    reading: _Reading, call: Call, own: Tensors, class_name: str, config: Mapping[str, Any], inputs: Sequence[Signal]
) -> Signal | None:
    if set(own) - {"kernel", "recurrent_kernel", "bias"}:
        return None
    letters = gates(class_name) or ("h",)
    kernel, recurrent = own["kernel"], own["recurrent_kernel"]
    units = reading.shape(recurrent)[0]
    if reading.shape(recurrent)[1] != units * len(letters):
        return None
    builder = reading.builder
    group = builder.group(units, call.layer)
    scale = builder.scale(group)
    signal = Signal((Segment(units, group, scale),))
    gated = Signal((Segment(units, group),), "last")  # the axis of the gates repeats the units
    reading.reads(kernel, 0, inputs[0])
    reading.reads(recurrent, 0, signal)
    candidate = letters.index("c" if "c" in letters else "h")
    index = (candidate * units + np.arange(units))[:, None]
    for tensor in own.values():
        axis = len(reading.shape(tensor)) - 1
        builder.part(tensor, axis, gated, reading.shape(tensor)[axis], made=True, blocks=len(letters))
        # A unit whose candidate turns its sign turns its state: all gates stay as they are.
        builder.scaled(tensor, axis, scale, index)
    for state in inputs[1:]:
        builder.allow(state)
        builder.allow(signal)
        builder.unite(signal, state)
    plain = config_word(config.get("activation", "tanh")) in _ODD
    return builder.allow(signal, *([SIGN] if plain else []))


_RECURRENT = frozenset(name for kind in RECURRENT_KINDS for name in kind.layers) - CELLS


@_for(*_RECURRENT)
def _recurrent_layer(reading: _Reading, call: Call, inputs: list[Signal]) -> Signal | None:
    return _recurrent(reading, call, reading.own(call.layer), call.class_name, call.config, inputs)


@_for("Bidirectional")
def _both_ways(reading: _Reading, call: Call, inputs: list[Signal]) -> Signal | None:
    inner = call.config["layer"]
    if inner["class_name"] not in _RECURRENT or len(inputs) > 1:
        return None
    ways = []
    for direction in ("forward", "backward"):
        own = reading.own(call.layer, direction)
        found = _recurrent(reading, call, own, inner["class_name"], inner["config"], inputs)
        if found is None:
            return None
        ways.append(found)
    mode = call.config.get("merge_mode", "concat")
    if mode == "concat":
        return Signal((*ways[0].segments, *ways[1].segments))
    if mode == "mul":
        ways = [reading.builder.allow(way) for way in ways]
    return reading.builder.unite(*ways) if mode in ("sum", "ave", "mul") else None


@_for("MultiHeadAttention")
def _attention(reading: _Reading, call: Call, inputs: list[Signal]) -> Signal | None:
    """Heads may change places; the order of what is within a head is left as it is."""
    own = reading.own(call.layer)
    kernels = {part: own[f"{part}/kernel"] for part in ("query", "key", "value", "attention_output")}
    if any(len(reading.shape(kernel)) != 3 for kernel in kernels.values()) or len(inputs) > 3:
        return None
    heads = reading.shape(kernels["query"])[1]
    group = reading.builder.group(heads, call.layer)
    signal = Signal((Segment(heads, group),))
    # Called with query and value, the key is the value.
    sources = {"query": inputs[0], "value": inputs[min(1, len(inputs) - 1)], "key": inputs[-1]}
    for part, source in sources.items():
        reading.reads(kernels[part], 0, source)
        reading.builder.part(kernels[part], 1, signal, heads, made=True)
        if f"{part}/bias" in own:
            reading.builder.part(own[f"{part}/bias"], 0, signal, heads, made=True)
    output = kernels["attention_output"]
    reading.builder.part(output, 0, signal, heads, made=False)
    bias = own.get("attention_output/bias")
    return reading.made(call, reading.shape(output)[2], [(output, 2), *([(bias, 0)] if bias is not None else [])])


@_for("Add", "Subtract", "Average")
def _summed(reading: _Reading, call: Call, inputs: list[Signal]) -> Signal:
    found = inputs[0]
    for other in inputs[1:]:
        found = reading.builder.unite(found, other)
    return found


@_for("Multiply", "Maximum", "Minimum")
def _joined(reading: _Reading, call: Call, inputs: list[Signal]) -> Signal:
    for each in inputs:
        reading.builder.allow(each, *([] if call.class_name == "Multiply" else [POSITIVE]))
    found = inputs[0]
    for other in inputs[1:]:
        found = reading.builder.unite(found, other)
    return found


@_for("Concatenate")
def _concatenated(reading: _Reading, call: Call, inputs: list[Signal]) -> Signal | None:
    first = inputs[0].channels_first
    if call.config.get("axis", -1) not in ((1,) if first else (-1, 3)) or any(
        each.flat or not each.segments or each.channels_first != first for each in inputs
    ):
        return None
    return Signal(tuple(segment for each in inputs for segment in each.segments), channels_first=first)
