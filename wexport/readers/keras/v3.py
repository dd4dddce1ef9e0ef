"""Keras 3's format: `.weights.h5`, and `.keras`, a zip of such a file with the model's config.

The HDF5 groups follow the attributes of the saved objects (`saving_lib._save_state`): lists of layers call their items
by class and number, not by name, and variables are only numbered. What that tells alone is the same in every
container of a model, so slots are made of it; the config, where there is one, adds classes, roles and names.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from wexport.errors import ReadError
from wexport.files import archives
from wexport.files.source import Source
from wexport.hookspecs import hookimpl
from wexport.model import roles
from wexport.model.gates import kind_of_blocks
from wexport.model.tensors import Chunks, Layout, Model, Reader, Skipped, Tensor
from wexport.readers.hdf5 import walk
from wexport.readers.keras import config as keras_config
from wexport.readers.keras import config_files, layers, layouts, legacy, sharded
from wexport.readers.keras.config import LayerConfig
from wexport.readers.keras.config_files import CONFIG, MAX_METADATA_BYTES, METADATA
from wexport.readers.keras.graph import graph_of

WEIGHTS = "model.weights.h5"
_SEEDS = frozenset({"seed_generator", "_seed_generator", "random_generator", "_random_generator"})
_METRICS = "metrics"
_LISTS_OF_2_13 = "_layer_checkpoint_dependencies"
_RANKS = {name: rank for names in keras_config.FIXED_ORDERS for rank, name in enumerate(names)}
Group = tuple[str, ...]


class Variable(Protocol):
    """One variable as it was stored. position: what sorts variables as they were written. type: has a `name`."""

    @property
    def path(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def type(self) -> Any: ...
    @property
    def position(self) -> int: ...
    @property
    def chunks(self) -> Chunks: ...


class Stored(Protocol):
    """What Keras 3's saver laid out: variables by path, the paths of all groups, and the texts beside them."""

    @property
    def datasets(self) -> Mapping[str, Variable]: ...
    @property
    def groups(self) -> Collection[str]: ...
    @property
    def skipped(self) -> Sequence[Skipped]: ...
    def text(self, path: str, name: str) -> str | None: ...


def sniff(source: Source) -> float:
    """0.95 for a zip with Keras' members; 0.9 for an HDF5 file whose datasets lie in numbered `vars` groups.

    0.5 for a damaged zip that begins as Keras begins one, so that opening it says what is wrong.
    """
    if source.head.startswith(archives.SIGNATURES):
        try:
            names = archives.member_names(source)
        except ReadError:
            return 0.5 if _begins_as_keras(source) else 0.0
        weights = METADATA in names or any(name.startswith("model.weights.") for name in names)
        return 0.95 if CONFIG in names and weights else 0.0
    if sharded.is_index(source):
        return 0.9
    try:
        if walk.signature_offset(source) is None:
            return 0.0
        tree = walk.open_file(source)
        if legacy.sniff(source):
            return 0.0
        tree.walk()
    except ReadError:
        return 0.0
    return 0.9 if any(_variable(path) for path in tree.datasets) else 0.0


def open_(source: Source) -> Model:
    """The model in a Keras 3 file.

    Layers are in the config's order, or else in the order in which their values were written, which Keras does
    layer by layer. layer_index is then the rank among the model's layers that hold weights, and None for what is
    an attribute of the model's own code, which Keras writes in alphabetical order. Raises ReadError for a damaged
    file, HostileFileError for a zip that names a member twice, BudgetError for one that unpacks to too much.
    """
    if sharded.is_index(source):
        return _beside_config(source, sharded.tree(source), "weights-h5-sharded")
    if not source.head.startswith(archives.SIGNATURES):
        return _beside_config(source, walk.open_file(source).walk(), "weights-h5")
    archive = archives.open_archive(source)
    window = archive.window(WEIGHTS)
    if window is None:
        raise ReadError(f"{source.path}: holds no {WEIGHTS}", hint="save the model again with a current Keras")
    config = keras_config.parse(archive.read(CONFIG, keras_config.MAX_CONFIG_BYTES)) or {}
    metadata = _metadata(archive.read(METADATA, MAX_METADATA_BYTES))
    tree = walk.open_window(source, window).walk()
    model = model_of(tree, config, metadata, "keras-v3", optimizer=source.optimizer)
    ours = (CONFIG, METADATA, WEIGHTS)
    others = [Skipped("asset", name) for name in archive.members if name not in ours]
    return replace(model, skipped=[*model.skipped, *others])


def _beside_config(source: Source, tree: Stored, container: str) -> Model:
    """Weights alone, with the config that may lie beside them."""
    groups = set(_sorted_out(tree)[0])
    for config in config_files.configs(source):
        known = {holder.group for holder in keras_config.holders(config)}
        if {path for path in groups if path[:1] != ("optimizer",)} <= known:
            metadata = _metadata(config_files.metadata(source))
            return model_of(tree, config, metadata, container, optimizer=source.optimizer)
    return model_of(tree, {}, {}, container, optimizer=source.optimizer)


READER = Reader(
    name="keras-v3",
    reads="Keras 3 .keras and .weights.h5, whole, sharded or in a folder, also of tf.keras 2.12 and later",
    sniff=sniff,
    open=open_,
    suffixes=(".keras", ".weights.h5", ".weights.json"),
)


@hookimpl
def wexport_readers() -> Sequence[Reader]:
    return [READER]


def _begins_as_keras(source: Source) -> bool:
    """Whether the first member is one that Keras writes first."""
    return source.head[archives.LOCAL_HEADER_BYTES :].startswith((METADATA.encode(), CONFIG.encode()))


def _metadata(data: bytes | None) -> Mapping[str, Any]:
    try:
        value = json.loads(data or b"{}")
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _variable(path: str) -> tuple[Group, int] | None:
    """The group and number of a variable; None for a dataset that does not lie as Keras 3's do."""
    *above, last = path.split("/")
    if not above or above[-1].rsplit("\\", 1)[-1] != "vars" or not last.isdecimal() or len(last) > 9:
        return None
    return _canonical("/".join(above))[:-1], int(last)


def _canonical(path: str) -> Group:
    """Parts of a path in the words that the config leads to, whatever the release and the system that wrote it."""
    parts = path.replace("\\", "/").split("/")
    canonical = ["layers" if part == _LISTS_OF_2_13 else part for part in parts]
    for depth in range(1, len(canonical)):
        if keras_config.class_word(canonical[depth - 1]) in keras_config.SNAKE_ATTENTION:
            canonical[depth] = canonical[depth].removeprefix("_")
    return tuple(canonical)


@dataclass
class _Group:
    """The variables of one object. order: what sorts groups as they were written."""

    path: Group
    variables: dict[int, Variable]

    @property
    def order(self) -> int:
        return min(dataset.position for dataset in self.variables.values())


def model_of(
    tree: Stored, config: Mapping[str, Any], metadata: Mapping[str, Any], container: str, *, optimizer: bool = False
) -> Model:
    """The model whose state Keras 3's saver laid out, in a file or in memory.

    tree: what was laid out. config, metadata: the texts of those names in a `.keras` file, parsed; empty where there
    are none. container: what the format is called. optimizer: whether its state is wanted.
    """
    groups, strays, skipped = _sorted_out(tree)
    state = {path: groups.pop(path) for path in list(groups) if path[:1] == ("optimizer",)}
    holders = keras_config.holders(config) if config else []
    known = {holder.group: place for place, holder in enumerate(holders)}
    names = _names(tree)
    reading = _Reading({holder.group: holder for holder in holders}, names, _lists(tree, names))
    tensors: list[Tensor] = []
    places: dict[Group, int] = {}
    ranked = not known and all(path[:1] == ("layers",) for path in groups)
    for group in _ordered(groups.values(), known):
        index = places.setdefault(group.path[:2], len(places)) if ranked else None
        tensors += reading.tensors(group, index)
    if optimizer:
        tensors += _optimizer_tensors(state)
    elif state:
        held = [variable for group in state.values() for variable in group.variables.values()]
        skipped.append(Skipped("optimizer state", "optimizer", False, f"{len(held)} tensors", sum(map(_bytes, held))))
    links = getattr(tree, "links", {})
    version = metadata.get("keras_version")
    return Model(
        tensors=[*tensors, *strays],
        format=container,
        framework="keras",
        framework_version=version if isinstance(version, str) else None,
        skipped=skipped,
        aliases={tensor.name: links[tensor.name] for tensor in tensors if tensor.name in links},
        graph=graph_of(config),
    )


def _sorted_out(tree: Stored) -> tuple[dict[Group, _Group], list[Tensor], list[Skipped]]:
    """A file's datasets: the variables by group, what lies elsewhere, and what is neither."""
    groups: dict[Group, _Group] = {}
    strays: list[Tensor] = []
    skipped = list(tree.skipped)
    for path, dataset in tree.datasets.items():
        found = _variable(path)
        if found is None:
            strays.append(_tensor(dataset))
            continue
        name, number = found
        if _SEEDS & set(name):
            skipped.append(Skipped("seed generator state", path, size=_bytes(dataset)))
        elif name[:1] == (_METRICS,):
            skipped.append(Skipped("metric state", path, size=_bytes(dataset)))
        elif number in groups.setdefault(name, _Group(name, {})).variables:
            strays.append(_tensor(dataset))  # two spellings of one path
        else:
            groups[name].variables[number] = dataset
    return groups, strays, skipped


def _bytes(dataset: Variable) -> int:
    dtype = getattr(dataset.type, "dtype", None)
    return math.prod(dataset.shape) * (dtype.itemsize if dtype is not None else 0)


def _tensor(dataset: Variable) -> Tensor:
    return Tensor(name=dataset.path, shape=dataset.shape, dtype=dataset.type.name, chunks=dataset.chunks)


def _optimizer_tensors(groups: Mapping[Group, _Group]) -> Iterable[Tensor]:
    for group in groups.values():
        for number, dataset in sorted(group.variables.items()):
            yield replace(_tensor(dataset), kind="optimizer", variable_index=number)


def _names(tree: Stored) -> dict[Group, str]:
    """Real names of saved objects, which Keras 3.6 and later write beside their variables."""
    found = {}
    for path in tree.groups:
        parts = _canonical(path)
        if parts[-1] == "vars" and (name := tree.text(path, "name")) is not None:
            found[parts[:-1]] = name
    return found


def _lists(tree: Stored, names: Mapping[Group, str]) -> frozenset[Group]:
    """Groups that are lists of layers: from 3.6 on every object has a name, so what has none is a list."""
    if not names:
        return frozenset()
    paths = (_canonical(path) for path in tree.groups if path)
    return frozenset(path for path in paths if path[-1] != "vars" and path not in names)


def _ordered(groups: Iterable[_Group], known: Mapping[Group, int]) -> list[_Group]:
    """Groups in the config's order, those it does not tell of behind them."""
    return sorted(_as_written(list(groups)), key=lambda group: known.get(group.path, len(known)))


def _as_written(groups: list[_Group]) -> list[_Group]:
    """Groups in the order in which they were written, but what Keras numbers or sorts by name in its own order."""
    first: dict[Group, int] = {}
    children: dict[Group, list[Group]] = {}
    for group in groups:
        for depth in range(1, len(group.path) + 1):
            path = group.path[:depth]
            if path not in first:
                children.setdefault(path[:-1], []).append(path)
            first[path] = min(first.get(path, group.order), group.order)
    ranks = {path: rank for paths in children.values() for rank, path in enumerate(_siblings(paths, first))}
    return sorted(groups, key=lambda group: [ranks[group.path[:depth]] for depth in range(1, len(group.path) + 1)])


def _siblings(paths: list[Group], first: Mapping[Group, int]) -> list[Group]:
    """HDF5 puts small datasets into gaps, so for `dense`, `dense_1`, ... numbers are right where places are not."""
    ordered = sorted(paths, key=lambda path: (_RANKS.get(path[-1], 0), first[path], path))
    stems: dict[str, list[Group]] = {}
    for path in ordered:
        stems.setdefault(keras_config.class_word(path[-1]), []).append(path)
    numbered = {stem: iter(sorted(same, key=lambda path: _natural(path[-1]))) for stem, same in stems.items()}
    return [next(numbered[keras_config.class_word(path[-1])]) for path in ordered]


def _natural(name: str) -> tuple[int, str]:
    return len(name), name


@dataclass
class _Reading:
    """What makes tensors of groups: the config's layers by group, real names, and which groups are lists."""

    holders: Mapping[Group, LayerConfig]
    names: Mapping[Group, str]
    lists: frozenset[Group]

    def tensors(self, group: _Group, index: int | None) -> list[Tensor]:
        numbers = sorted(group.variables)
        shapes = [group.variables[number].shape for number in numbers]
        whole = numbers == list(range(len(numbers)))
        place = keras_config.place(group.path, self.lists)
        inferred = layers.infer_roles(place.word, shapes) if whole else None
        holder = self.holders.get(group.path)
        own = holder.variables if holder is not None else None
        words = own if own is not None and len(own) == len(numbers) and whole else inferred
        found = []
        for number, shape in zip(numbers, shapes, strict=True):
            role = words[number] if words else "unknown"
            tensor = replace(
                _tensor(group.variables[number]),
                layer=self._layer(group.path, holder),
                layer_class=holder.known_class if holder else _class(place),
                layer_index=holder.index if holder else index,
                layer_config=holder.config if holder else None,
                lineage=place.lineage,
                direction=place.direction,
                role=role,
                variable_index=number,
                slot_leaf=inferred[number] if inferred else str(number),
                trainable=holder.trains(role) if holder else (False if role in roles.NON_TRAINED else None),
                layout=self._layout(holder, place, role, shape, shapes),
            )
            found.append(tensor)
        return found

    def _layer(self, path: Group, holder: LayerConfig | None) -> str | None:
        if holder is not None:
            return "/".join(holder.names)
        steps = [path[: depth + 1] for depth in range(len(path))]
        # A cell is part of its recurrent layer, whose name stands above it.
        words = [self.names[step] for step in steps if step in self.names and step[-1] != "cell"]
        return "/".join(words) or None

    @staticmethod
    def _layout(
        holder: LayerConfig | None, place: keras_config.GroupPlace, role: str, shape: Any, shapes: list[Any]
    ) -> Layout | None:
        if role == "unknown":
            return None
        if holder is not None:
            return layouts.layout(holder.class_name, holder.config, role, shape, part=holder.part)
        if place.word == "cell":
            kind = kind_of_blocks(layers.cell_gate_count(shapes))
            cell = (kind.name if kind else "SimpleRNN") if len(shapes[1]) == 2 else "ConvLSTM2D"
            return roles.layout(_class(place) or cell, role, shape)
        return layouts.layout(_class(place) or "", {}, role, shape, part=place.part)


def _class(place: keras_config.GroupPlace) -> str | None:
    """Keras' own class of the innermost layer, where the group's name is its word and no attribute lies between."""
    if place.element is None or place.word is None or place.direction is not None:
        return None
    return layers.CLASS_OF_GROUP.get(place.element)
