"""Keras' HDF5 format from 0.x to 3: whole models and weights alone.

Order and names come from the attributes `layer_names` and `weight_names`, never from HDF5's own order; classes and
nesting from the attribute `model_config` where there is one.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from wexport.errors import ReadError
from wexport.files.source import Source
from wexport.hookspecs import hookimpl
from wexport.model.tensors import Model, Reader, Skipped, Tensor
from wexport.readers.hdf5 import values, walk
from wexport.readers.hdf5.values import Dataset
from wexport.readers.hdf5.walk import Tree
from wexport.readers.keras import config as keras_config
from wexport.readers.keras import config_files, variables
from wexport.readers.keras import layers as keras_layers
from wexport.readers.keras.config import LayerConfig
from wexport.readers.keras.graph import graph_of
from wexport.readers.keras.variables import StoredVariable, tensor_of

_WEIGHTS, _OPTIMIZER, _TOP_LEVEL = "model_weights", "optimizer_weights", "top_level_model_weights"


def sniff(source: Source) -> float:
    """0.9 for an HDF5 file with Keras' own attributes, else 0."""
    try:
        if walk.signature_offset(source) is None:
            return 0.0
        tree = walk.open_file(source)
    except ReadError:
        return 0.0
    marked = (
        any(tree.texts(root, "layer_names") is not None for root in ("", _WEIGHTS))
        or tree.text("", "model_config") is not None
        or tree.attribute("", "nb_layers") is not None
        or tree.attribute("graph", "nb_params") is not None
    )
    return 0.9 if marked else 0.0


def open_(source: Source) -> Model:
    """The model in a legacy Keras file; its layers in the order of `layer_names`.

    layer_index counts the entries of `layer_names`, layers without weights included; the layers of a nested model
    share their model's. What a damaged file names but does not hold is told in `skipped`. Raises ReadError when the
    HDF5 library cannot open the file.
    """
    tree = walk.open_file(source).walk()
    root = _WEIGHTS if tree.is_group(_WEIGHTS) and tree.texts("", "layer_names") is None else ""
    layers = tree.texts(root, "layer_names")
    if layers is None:
        layers = _unnamed_layers(tree, root)
    version = tree.text("", "keras_version") or tree.text(root, "keras_version")
    model_config = keras_config.parse(tree.text("", "model_config"))
    config = _by_layer(model_config)
    reading = _Reading(tree, root, config or _config_beside(source, tree, root, layers), _is_keras3(version))
    for index, layer in enumerate(layers):
        reading.add_layer(layer, index)
    if tree.is_group(_join(root, _TOP_LEVEL)):
        reading.add_layer(_TOP_LEVEL, None)
    reading.add_optimizer(source.optimizer)
    reading.add_rest()
    return Model(
        tensors=reading.tensors,
        format="keras-h5",
        framework="keras",
        framework_version=version,
        backend=tree.text("", "backend") or tree.text(root, "backend"),
        skipped=reading.passed_over(),
        aliases={tensor.name: tree.links[tensor.name] for tensor in reading.tensors if tensor.name in tree.links},
        graph=graph_of(model_config),
    )


READER = Reader(
    name="keras-h5",
    reads="Keras .h5 of every version: whole models and weights alone",
    sniff=sniff,
    open=open_,
    suffixes=(".h5", ".hdf5", ".keras"),
)


@hookimpl
def wexport_readers() -> Sequence[Reader]:
    return [READER]


@dataclass
class _Reading:
    """What has been made of a file so far.

    root: the group of the layers. config: innermost layers by the name that `layer_names` has for the outermost.
    keras3: whether slots must agree with Keras 3's other containers, which know variables by number only.
    """

    tree: Tree
    root: str
    config: Mapping[str, Sequence[LayerConfig]]
    keras3: bool
    tensors: list[Tensor] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    _taken: set[str] = field(default_factory=set)
    _done: set[str] = field(default_factory=set)
    _passed: dict[str, Skipped] = field(default_factory=dict)
    _paths: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._passed = {item.name: item for item in self.tree.skipped}
        self._paths = sorted(self.tree.datasets)

    def add_layer(self, layer: str, index: int | None) -> None:
        """Make tensors of one entry of `layer_names`."""
        if layer in self._done:
            return
        self._done.add(layer)
        group = _join(self.root, layer)
        names = self.tree.texts(group, "weight_names")
        if names is None:
            if not self.tree.is_group(group):
                self._miss("missing layer", group, "`layer_names` lists it, but there is no such group")
            names = self._below(group)
            if not _is_numbered(names):
                self._miss("missing weight names", group, "its weights are taken in name order")
        holders = self.config.get(layer, ())
        stored = list(self._stored(group, names, holders))
        of_model = layer == _TOP_LEVEL and index is None
        found = variables.tensors("" if of_model else layer, stored, holders, count=len(names), keras3=self.keras3)
        self.tensors += [replace(tensor, layer_index=index) for tensor in found]

    def _stored(self, group: str, names: Sequence[str], holders: Sequence[LayerConfig]) -> Iterator[StoredVariable]:
        for place, name in enumerate(names):
            path = _join(group, name)
            dataset = self.tree.datasets.get(path) or self._bfloat16(path, holders)
            if dataset is None:
                passed = self._passed.get(path)
                if passed is None:
                    self._miss("missing weight", path, "`weight_names` lists it, but there is no such dataset")
                elif not passed.problem:
                    self._miss("weight without numbers", path, f"it is stored as {passed.what}")
            elif path not in self._taken:
                self._taken.add(path)
                yield StoredVariable(dataset, name, place)

    def _bfloat16(self, path: str, holders: Sequence[LayerConfig]) -> Dataset | None:
        """A weight that Keras 3 wrote as two opaque bytes, which only the layer's dtype policy explains."""
        passed = self._passed.get(path)
        policies = {keras_layers.dtype_policy(holder.config) for holder in holders}
        if passed is None or passed.what != "opaque" or policies != {"bfloat16"}:
            return None
        found = values.describe(self.tree.object(path), path, "bfloat16", 0, self.tree)
        if isinstance(found, Skipped):
            return None
        del self._passed[path]
        return found

    def _below(self, group: str) -> list[str]:
        """Names of the datasets below a group that names none itself, as `weight_names` would have them."""
        prefix = f"{group}/"
        start = bisect_left(self._paths, prefix)
        end = bisect_left(self._paths, f"{group}0")  # "0" is the character after "/"
        names = [path.removeprefix(prefix) for path in self._paths[start:end]]
        return sorted(names, key=lambda name: (len(name), name)) if _is_numbered(names) else names

    def add_optimizer(self, wanted: bool) -> None:
        """Make tensors of the optimizer's state, or tell that it was passed over."""
        named = [_join(_OPTIMIZER, name) for name in self.tree.texts(_OPTIMIZER, "weight_names") or ()]
        below = [_join(_OPTIMIZER, name) for name in self._below(_OPTIMIZER)]
        order = dict.fromkeys([path for path in named if path in self.tree.datasets] + below)
        self._taken.update(order)
        if wanted:
            self.tensors += [
                replace(
                    tensor_of(self.tree.datasets[path]),
                    kind="optimizer",
                    variable_index=number,
                    slot_leaf=path.rpartition("/")[2].removesuffix(":0"),  # the name that the file has
                )
                for number, path in enumerate(order)
            ]
        elif order:
            self.skipped.append(_optimizer_state([self.tree.datasets[path] for path in order]))

    def add_rest(self) -> None:
        """Datasets that no name leads to: beside the layers they are weights, elsewhere they may be data."""
        for path, dataset in self.tree.datasets.items():
            if path not in self._taken:
                inside = not self.root or path.startswith(f"{self.root}/")
                self.tensors.append(replace(tensor_of(dataset), kind="weight" if inside else "array"))

    def passed_over(self) -> list[Skipped]:
        """What gave no tensor, in this reader and in the walk before it."""
        return [*self._passed.values(), *self.skipped]

    def _miss(self, what: str, name: str, detail: str) -> None:
        self.skipped.append(Skipped(what, name, True, detail))


def _optimizer_state(datasets: Sequence[Dataset]) -> Skipped:
    size = sum(math.prod(dataset.shape) * dataset.type.dtype.itemsize for dataset in datasets)
    return Skipped("optimizer state", _OPTIMIZER, False, f"{len(datasets)} tensors", size)


def _config_beside(source: Source, tree: Tree, root: str, layers: Sequence[str]) -> dict[str, list[LayerConfig]]:
    """The layers of a config that lies beside weights alone, if it tells of all that hold some."""
    holding = {layer for layer in layers if tree.texts(_join(root, layer), "weight_names")}
    for config in config_files.configs(source) if holding else ():
        found = _by_layer(config)
        if holding <= found.keys():
            return found
    return {}


def _by_layer(model: Mapping[str, Any] | None) -> dict[str, list[LayerConfig]]:
    """The config's layers by the name of the outermost one, or of any inner one that the model flattens."""
    outer: dict[str, list[LayerConfig]] = {}
    inner: dict[str, list[LayerConfig]] = {}
    for holder in keras_config.holders(model) if model else ():
        for depth, name in enumerate(holder.names):
            (inner if depth else outer).setdefault(name, []).append(holder)
    return {**inner, **outer}


def _unnamed_layers(tree: Tree, root: str) -> list[str]:
    """Keras 0.x: `layer_0`, `layer_1`, ...; a Graph is one group. In a damaged file: all groups, in name order."""
    groups = [name for name in tree.children(root) if tree.is_group(_join(root, name))]
    if root:
        return groups
    found = [name for name in groups if name == "graph" or (name.startswith("layer_") and name[6:].isdecimal())]
    return sorted(found, key=lambda name: (len(name), name))


def _is_numbered(names: Sequence[str]) -> bool:
    """Whether these are Keras 0.x's `param_0`, `param_1`, ..., or none at all."""
    return all(name.startswith("param_") and name[6:].isdecimal() for name in names)


def _is_keras3(version: str | None) -> bool:
    major = (version or "").partition(".")[0]
    return major.isdecimal() and int(major[:6]) >= 3


def _join(*parts: str) -> str:
    return "/".join(part for whole in parts for part in whole.split("/") if part)
