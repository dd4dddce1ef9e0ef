"""What names tell: layers, roles and layouts, of Keras' words alone."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from wexport import Node, Tensor
from wexport.keras_files import ParsedName
from wexport.keras_files import names as keras_names
from wexport.reading import roles
from wexport_tf.graph import Variable

VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
"""What keys of TensorFlow 2 end in."""
_SLOT = "/.OPTIMIZER_SLOT/"
_UNNAMED = re.compile(r"Variable(_\d+)?")
# What optimizers of TensorFlow 1 (and BERT's own) hang behind the name of the variable that they train.
_SLOTS_OF_TF1 = frozenset(
    {
        *("Adam", "Adam_1", "Momentum", "RMSProp", "RMSProp_1", "RMSProp_2", "Adagrad", "Adadelta", "Adadelta_1"),
        *("Ftrl", "Ftrl_1", "adam_m", "adam_v"),
    }
)
_COUNTERS_OF_TF1 = frozenset({"global_step", "beta1_power", "beta2_power"})
# Cells of TensorFlow 1 keep both kernels in one matrix, gates i j f o: no layout of Keras', though its words.
_CELLS_OF_TF1 = re.compile(r"(\w+_)?(lstm|gru|rnn)_cell(_\d+)?")


def state(names: Collection[str], variables: Sequence[Variable] | None) -> set[str]:
    """The keys of what belongs to optimizers, metrics and counters.

    names: all keys of the checkpoint. variables: of its graph of objects; None where it has none.
    """
    by_key = {variable.key: variable.of_model for variable in variables or ()}
    return {name for name in names if not (by_key[name] if name in by_key else not _is_state(name, names))}


def of_graph(tensors: Mapping[str, Tensor], variables: Sequence[Variable]) -> list[Tensor]:
    """Tensors, by their key, with what the graph of objects says of them; in its order."""
    by_key: dict[str, Variable] = {}
    for variable in variables:
        if variable.key in tensors:
            by_key.setdefault(variable.key, variable)
    model = [variable for variable in by_key.values() if variable.of_model]
    others = [variable for variable in by_key.values() if not variable.of_model]
    weights = _with_layers(
        _names(model), [replace(tensors[variable.key], trainable=variable.trainable) for variable in model]
    )
    unknown = {key: tensor for key, tensor in tensors.items() if key not in by_key}
    return [
        *_with_order(weights, [variable.in_order for variable in model]),
        *(_state(tensors[variable.key], name) for variable, name in zip(others, _names(others), strict=True)),
        *of_names(unknown),
    ]


def _names(variables: Sequence[Variable]) -> list[str]:
    """The name of each in the model, behind that of its model where several have variables of that name.

    Of one that has none, or still not for itself alone, the key.
    """
    counts = Counter(variable.full_name for variable in variables)
    within = Counter((_root(variable), variable.full_name) for variable in variables)
    names = []
    for variable in variables:
        name = variable.full_name
        if counts[name] > 1:
            name = f"{_root(variable)}/{name}" if within[_root(variable), name] == 1 else ""
        unnamed = not name or _UNNAMED.fullmatch(variable.full_name)
        names.append(_short(variable.key) if unnamed else name)
    return names


def _root(variable: Variable) -> str:
    """What the object that was saved calls the part that the variable is of: `generator` in a GAN's checkpoint."""
    return variable.key.partition("/")[0]


def of_names(tensors: Mapping[str, Tensor]) -> list[Tensor]:
    """Tensors, by their key, with what the keys themselves tell, as those of TensorFlow 1 do."""
    others = state(tensors.keys(), None)
    model = [key for key in tensors if key not in others]
    return [
        *_with_layers([_short(key) for key in model], [tensors[key] for key in model]),
        *(_state(tensor, _short(key)) for key, tensor in tensors.items() if key in others),
    ]


def _short(key: str) -> str:
    return key.removesuffix(VALUE)


def _is_state(key: str, names: Collection[str]) -> bool:
    head, _, last = key.rpartition("/")
    if _SLOT in key or last in _COUNTERS_OF_TF1:
        return True
    if last not in _SLOTS_OF_TF1:
        return False
    # The optimizer may have had a scope of its own, in front of the variable's name.
    parts = head.split("/")
    return any("/".join(parts[start:]) in names for start in range(len(parts)))


def _state(tensor: Tensor, name: str) -> Tensor:
    """State of an optimizer, a metric or a counter, whose place is told by a name such as `Adam/m/dense/kernel`."""
    path, _, last = name.rpartition("/")
    lineage = tuple(Node(part) for part in path.split("/") if part)
    return replace(tensor, name=_short(tensor.name), kind="optimizer", lineage=lineage, slot_leaf=last or name)


def _with_layers(names: Sequence[str], tensors: Sequence[Tensor]) -> list[Tensor]:
    """Layers, roles and layouts by names as Keras gives them: `bidirectional/forward_lstm/lstm_cell/kernel`."""
    by_top: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        by_top.setdefault(name.partition("/")[0] if "/" in name else "", []).append(place)
    found = list(tensors)
    for top, places in by_top.items():
        read = [_of_keras(named) for named in keras_names.read(top, [names[place] for place in places])]
        siblings: dict[tuple[object, ...], dict[str, tuple[int, ...]]] = {}
        for named, place in zip(read, places, strict=True):
            siblings.setdefault((named.inside, named.direction), {})[named.role] = tensors[place].shape
        for named, place in zip(read, places, strict=True):
            shapes = siblings[named.inside, named.direction]
            found[place] = _with_layer(top, names[place], tensors[place], named, shapes)
    return found


def _of_keras(named: ParsedName) -> ParsedName:
    """Without what only a file of Keras 1 may be read into: a variable `W` of TensorFlow's is anybody's."""
    return replace(named, role="unknown", gate=None, keras1=False) if named.keras1 else named


def _with_layer(
    top: str, name: str, tensor: Tensor, named: ParsedName, siblings: Mapping[str, tuple[int, ...]]
) -> Tensor:
    path = [part for part in (top, *named.inside) if part]
    start = f"{named.direction}_"
    lineage = [part for part in path if named.direction is None or not part.startswith(start)]
    cell = "recurrent_kernel" not in siblings and any(_CELLS_OF_TF1.fullmatch(part) for part in path)
    known = named.role != "unknown"
    return replace(
        tensor,
        name=_short(tensor.name),
        layer="/".join(path) or None,
        lineage=tuple(map(Node, lineage)),
        direction=named.direction,
        role=named.role,
        slot_leaf=None if known else name.rpartition("/")[2],
        trainable=False if named.role in roles.NON_TRAINED else tensor.trainable,
        layout=None if cell else keras_names.layout(named, tensor.shape, siblings),
    )


def _with_order(tensors: Sequence[Tensor], in_order: Sequence[bool]) -> list[Tensor]:
    """The place of each layer that the graph numbers, among those with weights."""
    places: dict[str | None, int] = {}
    for tensor, ordered in zip(tensors, in_order, strict=True):
        if ordered:
            places.setdefault(tensor.layer, len(places))
    return [
        replace(tensor, layer_index=places[tensor.layer]) if ordered else tensor
        for tensor, ordered in zip(tensors, in_order, strict=True)
    ]
