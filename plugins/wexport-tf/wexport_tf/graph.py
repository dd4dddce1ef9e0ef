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
MAX_NODES, MAX_EDGES = 200_000, 400_000
"""The SavedModel of Keras' EfficientNetB0, of 240 layers, has 3,942 objects and 7,332 ways between them."""
_NOTHING = memoryview(b"")
_LAYER = re.compile(r"layer_with_weights-(\d{1,9})")
# Ways out of the model: to what trains it, measures it and runs it.
_NOT_THE_MODEL = frozenset({"optimizer", "keras_api", "save_counter", "signatures"})
_SEED = "seed_generator_state"
"""What Keras 3 calls the state of random numbers, which is not a weight."""
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
    nodes = _nodes(memoryview(message))
    slots = {slot for node in nodes for slot in node.slots}
    trained = _trained(nodes)
    found: list[Variable] = []
    seen: set[int] = set()
    for place, in_order in _model(nodes):
        seen.add(place)
        if place not in slots:
            for name, key in nodes[place].keys:
                found.append(Variable(key, name, not name.endswith(_SEED), in_order, trained.get(place)))
    for place, node in enumerate(nodes):
        if place not in seen or place in slots:
            found += [Variable(key, name, False, False, None) for name, key in node.keys]
    return found


def _nodes(message: memoryview) -> list[_Node]:
    nodes: list[_Node] = []
    edges = 0
    for number, value in wire.fields(message):
        if number != 1:
            continue
        node = _Node()
        for kind, part in wire.fields(wire.stretch(value)):
            edges += 1
            if edges > MAX_EDGES:
                raise wire.MalformedError(f"a graph of more than {MAX_EDGES:,} ways")
            _add(node, kind, part)
        nodes.append(node)
        if len(nodes) > MAX_NODES:
            raise wire.MalformedError(f"a graph of more than {MAX_NODES:,} objects")
    if not nodes:
        raise wire.MalformedError("a graph of no objects")
    return nodes


def _add(node: _Node, kind: int, value: wire.Value) -> None:
    """One field of an object: a child, an attribute that is saved, or a variable of an optimizer's."""
    if kind not in (1, 2, 3):
        return
    parts = dict(wire.fields(wire.stretch(value)))
    if kind == 1:
        node.children.append((wire.text(parts.get(2, _NOTHING)), wire.whole(parts.get(1, 0))))
    elif kind == 2:
        node.keys.append((wire.text(parts.get(2, _NOTHING)), wire.text(parts.get(3, _NOTHING))))
    else:
        node.slots.append(wire.whole(parts.get(3, 0)))


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


def _trained(nodes: Sequence[_Node]) -> dict[int, bool]:
    """Whether each variable is trained, of those that the saved model lists, as Keras does in a SavedModel."""
    lists = {
        name: {child for _, child in nodes[place].children}
        for name, place in nodes[0].children
        if name in ("variables", "trainable_variables") and place < len(nodes)
    }
    if len(lists) < 2:
        return {}
    return {place: place in lists["trainable_variables"] for place in lists["variables"]}
