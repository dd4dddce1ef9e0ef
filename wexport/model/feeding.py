"""Which layers take what a layer gives, and through what, from a model's graph.

Layers without weights have no rows in a table; so a layer's consumers are the next ones with weights, and what lies
between is told in words. Normalisations and PReLU lie between as well: they work on each channel by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from wexport.model.graph import Call, Graph

CHANNELWISE: Final = frozenset(
    {"BatchNormalization", "LayerNormalization", "GroupNormalization", "RMSNormalization", "PReLU", "LayerScale"}
)
"""Classes with weights that pass units on one by one."""
MOST: Final = 16
"""Consumers that are told of; of more, as of each block of a long residual chain, none are."""

Feed = tuple[str, tuple[str, ...]]
"""A layer, and in words what lies before it: an activation by its own name, else a class in small letters."""


def consumers(graph: Graph, layers: Iterable[str]) -> dict[str, list[Feed]]:
    """By layer who takes what it gives; "" is the model's output.

    layers: those with tensors, as `Tensor.layer` has them; a layer of parts, such as an attention, counts as one where
    the graph calls it as one. Layers with more than `MOST` consumers are left out.
    """
    weighted = _beginnings(layers)
    found: dict[str, dict[Feed, None]] = {}
    signals: list[dict[Feed, None]] = []
    ends, lost, places = set(graph.outputs), set[str](), dict[str, int]()
    for number, call in enumerate(graph.calls):
        taken = {feed: None for each in call.inputs for feed in signals[each]}
        if call.layer in weighted and call.class_name not in CHANNELWISE:
            for layer, through in taken:
                found.setdefault(layer, {})[call.layer, through] = None
            gives: dict[Feed, None] = {(call.layer, ()): None}
        else:
            word = _word(call)
            gives = {(layer, (*through, word)): None for layer, through in taken}
        if number in ends:
            for layer, through in gives:
                found.setdefault(layer, {})["", through] = None
        # A residual chain hands all that came before along; of what it drops, nothing is told.
        places[call.layer] = number
        latest = sorted(gives, key=lambda feed: -places[feed[0]])
        lost |= {layer for layer, _ in latest[4 * MOST :]}
        signals.append(dict.fromkeys(latest[: 4 * MOST]))
    return {layer: list(feeds) for layer, feeds in found.items() if layer not in lost and len(feeds) <= MOST}


def as_config(feeds: Iterable[Feed]) -> list[dict[str, Any]]:
    """As the table's `layer_config` has it: {"layer": name, or None for the model's output, "through": words}."""
    return [{"layer": layer or None, "through": list(through)} for layer, through in feeds]


def _beginnings(layers: Iterable[str]) -> set[str]:
    """Each name and those that it begins with."""
    found: set[str] = set()
    for layer in set(layers):
        parts = layer.split("/")
        found.update("/".join(parts[:count]) for count in range(1, len(parts) + 1))
    return found


def _word(call: Call) -> str:
    config = call.config if isinstance(call.config, Mapping) else {}
    if call.class_name == "Activation":
        word = config.get("activation")
        if isinstance(word, Mapping):
            word = word.get("registered_name") or word.get("class_name")
        return str(word or "activation").rpartition(">")[2].lower()
    if call.class_name == "ReLU":
        leak = config.get("negative_slope") or config.get("threshold")
        return "leakyrelu" if leak else "relu"
    return call.class_name.lower()
