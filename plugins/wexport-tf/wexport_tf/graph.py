"""The graph of objects that a checkpoint of TensorFlow 2 holds: which variable belongs to which layer, in which order.

`tensorflow/core/protobuf/trackable_object_graph.proto`: node 0 is what was saved; each node names its children, and a
variable its name in the model and its key in the checkpoint.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from wexport_tf import wire

KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"
MAX_NODES, MAX_EDGES = 500_000, 4_000_000
_LAYER = re.compile(r"layer_with_weights-(\d{1,9})")
# Ways out of the model: to what trains it, measures it and runs it.
_NOT_THE_MODEL = frozenset({"optimizer", "keras_api", "save_counter", "signatures"})
# What optimizers call their state, of Keras since 2.11 and before.
_OPTIMIZERS = (frozenset({"_iterations", "_variables"}), frozenset({"iter", "learning_rate"}))


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable as the graph knows it.

    key: in the checkpoint. full_name: in the model, such as `dense/kernel`. of_model: False for the state of
    optimizers, metrics and counters. in_order: whether it was reached by layers that the graph numbers.
    trainable: None where the graph has no list of what is.
    """

    key: str
    full_name: str
    of_model: bool
    in_order: bool
    trainable: bool | None


@dataclass(slots=True)
class _Node:
    children: list[tuple[str, int]] = field(default_factory=list)
    keys: list[tuple[str, str]] = field(default_factory=list)
    slots: list[int] = field(default_factory=list)


def variables(message: bytes) -> list[Variable]:
    """All variables, those of the model first and in its order. Raises MalformedError."""
    nodes = [_node(wire.stretch(value)) for number, value in wire.fields(memoryview(message)) if number == 1]
    edges = sum(len(node.children) + len(node.keys) for node in nodes)
    if not nodes or len(nodes) > MAX_NODES or edges > MAX_EDGES:
        raise wire.MalformedError(f"a graph of {len(nodes):,} objects")
    slots = {slot for node in nodes for slot in node.slots}
    trained = _trained(nodes)
    found: list[Variable] = []
    seen: set[int] = set()
    for place, in_order in _model(nodes):
        seen.add(place)
        if place not in slots:
            trainable = None if trained is None else place in trained
            found += [Variable(key, name, True, in_order, trainable) for name, key in nodes[place].keys]
    for place, node in enumerate(nodes):
        if place not in seen or place in slots:
            found += [Variable(key, name, False, False, None) for name, key in node.keys]
    return found


def _node(message: memoryview) -> _Node:
    node = _Node()
    for number, value in wire.fields(message):
        if number == 1:
            parts = dict(wire.fields(wire.stretch(value)))
            node.children.append((wire.text(parts.get(2, memoryview(b""))), wire.whole(parts.get(1, 0))))
        elif number == 2:
            parts = dict(wire.fields(wire.stretch(value)))
            name, key = (wire.text(parts.get(part, memoryview(b""))) for part in (2, 3))
            node.keys.append((name, key))
        elif number == 3:
            parts = dict(wire.fields(wire.stretch(value)))
            node.slots.append(wire.whole(parts.get(3, 0)))
    return node


def _model(nodes: Sequence[_Node]) -> Iterator[tuple[int, bool]]:
    """Every object of the model once, in the order of its layers, and whether numbered layers lead to it."""
    waiting = [(0, False)]
    seen: set[int] = set()
    while waiting:
        place, in_order = waiting.pop()
        if place in seen or place >= len(nodes):
            continue
        seen.add(place)
        children = nodes[place].children
        if nodes[place].slots or any(words <= {name for name, _ in children} for words in _OPTIMIZERS):
            continue
        yield place, in_order
        ordered = sorted(children, key=lambda child: _rank(child[0]))  # stable: the rest stays in the file's order
        for name, child in reversed(ordered):
            if name not in _NOT_THE_MODEL:
                waiting.append((child, in_order or _LAYER.fullmatch(name) is not None))


def _rank(name: str) -> int:
    match = _LAYER.fullmatch(name)
    return int(match[1]) if match else 1 << 30


def _trained(nodes: Sequence[_Node]) -> set[int] | None:
    """The variables that the saved model lists as trainable, as Keras does in a SavedModel; None without a list."""
    for name, place in nodes[0].children:
        if name == "trainable_variables" and place < len(nodes):
            return {child for _, child in nodes[place].children}
    return None
