"""Keras' HDF5 format from 0.x to 3: whole models and weights alone.

Order and names come from the attributes `layer_names` and `weight_names`, never from HDF5's own order; classes and
nesting from the attribute `model_config` where there is one. Keras assigns a layer's weights by place (trainable
ones first), so place is what joins them to the config; where that does not fit, exact words in the names are all
that is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from wexport.errors import ReadError
from wexport.readers import hdf5_values, hdf5_walk, keras_config, keras_layers, keras_names
from wexport.readers.hdf5_values import Dataset
from wexport.readers.hdf5_walk import Tree
from wexport.readers.keras_config import Holder
from wexport.roles import STATISTICS
from wexport.tensors import Model, Node, Reader, Skipped, Source, Tensor

_TOP_LEVEL = "top_level_model_weights"


def sniff(source: Source) -> float:
    """0.9 for an HDF5 file with Keras' own attributes, else 0."""
    try:
        if hdf5_walk.signature_offset(source) is None:
            return 0.0
        tree = hdf5_walk.open_file(source)
    except ReadError:
        return 0.0
    marked = (
        any(tree.texts(root, "layer_names") is not None for root in ("", "model_weights"))
        or tree.text("", "model_config") is not None
        or tree.attribute("", "nb_layers") is not None
        or tree.attribute("graph", "nb_params") is not None
    )
    return 0.9 if marked else 0.0


def open_(source: Source) -> Model:
    """The model in a legacy Keras file; its layers in the order of `layer_names`.

    layer_index counts the entries of `layer_names`, layers without weights included; the layers of a nested model
    share their model's. Raises ReadError when the HDF5 library cannot open the file.
    """
    tree = hdf5_walk.open_file(source).walk()
    reading = _Reading(tree, tree.text("", "keras_version") or tree.text("model_weights", "keras_version"))
    root = "model_weights" if tree.is_group("model_weights") else ""
    layers = tree.texts(root, "layer_names")
    if layers is None and root:
        layers = tree.texts("", "layer_names")
        root = root if layers is None else ""
    config = keras_config.parse(tree.text("", "model_config"))
    if layers is None:
        layers = _unnamed_layers(tree, root)
    reading.config = _by_layer(config)
    for index, layer in enumerate(layers):
        reading.add_layer(root, layer, index)
    if tree.is_group(_join(root, _TOP_LEVEL)) and _TOP_LEVEL not in layers:
        reading.add_layer(root, _TOP_LEVEL, None)
    reading.add_optimizer(source.optimizer)
    reading.add_rest(root)
    return Model(
        tensors=reading.tensors,
        format="keras-h5",
        framework="keras",
        framework_version=reading.version,
        backend=tree.text(root, "backend") or tree.text("", "backend"),
        skipped=reading.passed_over(),
    )


READER = Reader(
    name="keras-h5",
    reads="Keras .h5 of every version: whole models and weights alone",
    sniff=sniff,
    open=open_,
    suffixes=(".h5", ".hdf5", ".keras"),
)


@dataclass(frozen=True, slots=True)
class _Stored:
    """A variable that a layer's `weight_names` names and the file holds. place: its number among those named."""

    dataset: Dataset
    name: str
    place: int


@dataclass
class _Reading:
    """What has been made of a file so far."""

    tree: Tree
    version: str | None
    config: Mapping[str, Sequence[Holder]] = field(default_factory=dict)
    tensors: list[Tensor] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    _taken: set[str] = field(default_factory=set)
    _read_after_all: set[str] = field(default_factory=set)

    @property
    def _keras3(self) -> bool:
        """Whether slots must agree with Keras 3's other containers, which know variables by number only."""
        return (
            bool(self.version)
            and str(self.version).split(".")[0].isdecimal()
            and int(str(self.version).split(".")[0]) >= 3
        )

    def add_layer(self, root: str, layer: str, index: int | None) -> None:
        """Make tensors of one entry of `layer_names`."""
        group = _join(root, layer)
        names = self.tree.texts(group, "weight_names")
        if names is None:
            if not self.tree.is_group(group):
                self._miss("missing layer", group, "`layer_names` lists it, but there is no such group")
            names = self._below(group)
            if names and not _is_numbered(names):
                self._miss("missing weight names", group, "its weights are taken in name order")
        holders = self.config.get(layer, ())
        stored = list(self._stored(group, names, holders))
        if not stored:
            return
        expected = _expected(holders, stored, len(names))
        if expected is not None:
            self.tensors += [self._of_config(*item, index) for item in expected]
        else:
            self.tensors += self._of_names(layer, stored, holders, index)

    def _stored(self, group: str, names: Sequence[str], holders: Sequence[Holder]) -> Iterator[_Stored]:
        for place, name in enumerate(names):
            path = _join(group, name)
            dataset = self.tree.datasets.get(path) or self._bfloat16(path, holders)
            if dataset is None:
                passed = [item for item in self.tree.skipped if item.name == path]
                if not passed:
                    self._miss("missing weight", path, "`weight_names` lists it, but there is no such dataset")
                elif not any(item.problem for item in passed):
                    self._miss("weight without numbers", path, f"it is stored as {passed[0].what}")
            elif path not in self._taken:
                self._taken.add(path)
                yield _Stored(dataset, name, place)

    def _bfloat16(self, path: str, holders: Sequence[Holder]) -> Dataset | None:
        """A weight that Keras 3 wrote as two opaque bytes, which only the layer's dtype policy explains."""
        passed = next((item for item in self.tree.skipped if item.name == path and item.what == "opaque"), None)
        policies = {keras_layers.dtype_policy(holder.config) for holder in holders}
        if passed is None or policies != {"bfloat16"}:
            return None
        found = hdf5_values.describe(self.tree.object(path), path, "bfloat16", self.tree)
        if isinstance(found, Skipped):
            return None
        self._read_after_all.add(path)
        return found

    def _miss(self, what: str, name: str, detail: str) -> None:
        self.skipped.append(Skipped(what, name, True, detail))

    def _below(self, group: str) -> list[str]:
        """Names of the datasets below a group that names none itself, as `weight_names` would have them."""
        prefix = f"{group}/" if group else ""
        names = [path.removeprefix(prefix) for path in self.tree.datasets if path.startswith(prefix)]
        return sorted(names, key=lambda name: (len(name), name)) if _is_numbered(names) else names

    def passed_over(self) -> list[Skipped]:
        """What gave no tensor, in this reader and in the walk before it."""
        walked = [item for item in self.tree.skipped if item.name not in self._read_after_all]
        return [*walked, *self.skipped]

    # -- tensors -------------------------------------------------------------------------------------------------

    def _of_config(
        self, stored: _Stored, holder: Holder, role: str, number: int, shapes: Sequence[Any], index: int | None
    ) -> Tensor:
        """A variable whose layer and role the config tells."""
        place = keras_config.place(holder.group)
        leaf = None
        if self._keras3:
            told = keras_layers.told(place.word, shapes)
            leaf = told[number] if told else str(number)
        return replace(
            _tensor(stored.dataset),
            layer="/".join(holder.names),
            layer_class=holder.known_class,
            layer_index=index,
            layer_config=holder.config,
            lineage=place.lineage,
            direction=place.direction,
            role=role,
            variable_index=number,
            slot_leaf=leaf,
            trainable=holder.trains(role),
            layout=keras_layers.layout(holder.class_name, holder.config, role, stored.dataset.shape, part=holder.part),
        )

    def _of_names(
        self, layer: str, stored: Sequence[_Stored], holders: Sequence[Holder], index: int | None
    ) -> Iterator[Tensor]:
        """Variables of a layer that the config does not tell of, or not enough."""
        holder = holders[0] if len(holders) == 1 else None
        named = keras_names.read(layer, [item.name for item in stored])
        if holder and self._keras3 and holder.known_class in keras_layers.QUANTIZABLE:
            stored, named = _as_numbered(stored, named)
        outer = self._outer(layer, holders)
        told = self._told(holder, stored, named)
        counts: dict[tuple[Any, ...], int] = {}
        for item, words in zip(stored, named, strict=True):
            here = (words.inside, words.direction)
            number = counts.get(here, 0)
            counts[here] = number + 1
            shape = item.dataset.shape
            beside = {
                other.role: another.dataset.shape
                for another, other in zip(stored, named, strict=True)
                if (other.inside, other.direction) == here and other.role != "unknown"
            }
            own = holder if holder and not words.inside else None
            layout = keras_names.layout(words, shape, beside)
            if own and own.variables is not None:
                layout = keras_layers.layout(own.class_name, own.config, words.role, shape, gate=words.gate)
            trainable = own.trains(words.role) if own else _trainable_of(holders, words.role)
            leaf = None
            if own and self._keras3:
                leaf = told[number] if number < len(told) else str(number)
            names = layer.split("/") if not holders else [layer]
            yield replace(
                _tensor(item.dataset),
                layer="/".join([*names, *words.inside]) if layer != _TOP_LEVEL else "/".join(words.inside) or None,
                layer_class=own.known_class if own else None,
                layer_index=index,
                layer_config=own.config if own else None,
                lineage=(*outer, *(Node(name) for name in words.inside if not _is_direction(name, words.direction))),
                direction=words.direction,
                role=words.role,
                gate=words.gate,
                variable_index=number,
                slot_leaf=leaf,
                trainable=trainable,
                layout=layout,
            )

    def _told(
        self, holder: Holder | None, stored: Sequence[_Stored], named: Sequence[keras_names.Named]
    ) -> tuple[str, ...]:
        """Leaves of the slots of a layer's own variables, as Keras 3's other containers would tell them.

        The low-rank factors of LoRA are merged into the kernel there, so they do not count.
        """
        shapes = [
            item.dataset.shape
            for item, words in zip(stored, named, strict=True)
            if not words.inside and "lora_" not in item.name.rsplit("/", 1)[-1]
        ]
        place = keras_config.place(holder.group) if holder else None
        return (keras_layers.told(place.word, shapes) or ()) if place else ()

    def _outer(self, layer: str, holders: Sequence[Holder]) -> tuple[Node, ...]:
        if not holders:
            return tuple(Node(name) for name in layer.split("/"))
        return keras_config.place(holders[0].group[:2]).lineage

    def add_optimizer(self, wanted: bool) -> None:
        """Make tensors of the optimizer's state, or name it as passed over."""
        group = "optimizer_weights"
        below = [path for path in self.tree.datasets if path.startswith(f"{group}/")]
        named = [_join(group, name) for name in self.tree.texts(group, "weight_names") or ()]
        order = dict.fromkeys([*(path for path in named if path in self.tree.datasets), *below])
        self._taken.update(order)
        if wanted:
            self.tensors += [
                replace(_tensor(self.tree.datasets[path]), kind="optimizer", variable_index=number)
                for number, path in enumerate(order)
            ]
        elif order:
            self.skipped.append(Skipped("optimizer state", group, False, f"{len(order)} tensors"))

    def add_rest(self, root: str) -> None:
        """Datasets that no name leads to: beside the layers they are weights, elsewhere they may be data."""
        for path, dataset in self.tree.datasets.items():
            if path not in self._taken:
                inside = not root or path.startswith(f"{root}/")
                self.tensors.append(replace(_tensor(dataset), kind="weight" if inside else "array"))


def _as_numbered(
    stored: Sequence[_Stored], named: Sequence[keras_names.Named]
) -> tuple[list[_Stored], list[keras_names.Named]]:
    """A layer's variables in the order in which Keras 3 numbers them: a quantised kernel, not being trained, stands
    behind the bias in `weight_names`, but is number 0.
    """
    first = {"kernel": 0, "embeddings": 0, "bias": 1}
    pairs = sorted(zip(stored, named, strict=True), key=lambda pair: first.get(pair[1].role, 2))
    return [item for item, _ in pairs], [words for _, words in pairs]


def _tensor(dataset: Dataset) -> Tensor:
    return Tensor(name=dataset.path, shape=dataset.shape, dtype=dataset.type.name, chunks=dataset.chunks)


def _expected(
    holders: Sequence[Holder], stored: Sequence[_Stored], count: int
) -> list[tuple[_Stored, Holder, str, int, list[Any]]] | None:
    """Each stored variable with the layer and role that its place tells, in layer order; None if that does not fit.

    Keras stores trainable variables first, over all layers of a nested model. Layers whose variables are not known
    are taken to have none, which holds if the others account for all there are and every known word agrees.
    """
    slots = [(holder, role, number) for holder in holders for number, role in enumerate(holder.variables or ())]
    if not slots or len(slots) != count:
        return None
    by_place = [slot for late in (False, True) for slot in slots if _is_late(slot[0], slot[1]) is late]
    found = {}
    for item in stored:
        holder, role, number = by_place[item.place]
        word = keras_names.read("/".join(holder.names), [item.name])[0]
        if word.gate or (word.role not in ("unknown", role) and not (word.depthwise and "kernel" in role)):
            return None
        found[id(holder), number] = item
    result = []
    for holder, role, number in slots:
        if (id(holder), number) in found:
            shapes = [found[id(holder), n].dataset.shape for h, _, n in slots if h is holder and (id(h), n) in found]
            result.append((found[id(holder), number], holder, role, number, shapes))
    return result


def _is_late(holder: Holder, role: str) -> bool:
    return holder.trainable is False or role in STATISTICS


def _trainable_of(holders: Sequence[Holder], role: str) -> bool | None:
    frozen = bool(holders) and all(holder.trainable is False for holder in holders)
    return False if frozen or role in STATISTICS - {"mean", "variance", "count"} else None


def _is_direction(name: str, direction: str | None) -> bool:
    return direction is not None and name.startswith(f"{direction}_")


def _by_layer(config: Mapping[str, Any] | None) -> dict[str, list[Holder]]:
    """The config's layers by the name of the outermost one, or of any inner one that the model flattens."""
    found: dict[str, list[Holder]] = {}
    inner: dict[str, list[Holder]] = {}
    for holder in keras_config.holders(config) if config else ():
        for depth, name in enumerate(holder.names):
            (inner if depth else found).setdefault(name, []).append(holder)
    return {**inner, **found}


def _unnamed_layers(tree: Tree, root: str) -> list[str]:
    """Keras 0.x: `layer_0`, `layer_1`, ... as many as `nb_layers` says; a Graph is one group."""
    if root:
        return [name for name in tree.children(root) if tree.is_group(_join(root, name))]
    numbered = [name for name in tree.children("") if name.startswith("layer_") and name[6:].isdecimal()]
    if tree.attribute("graph", "nb_params") is not None:
        numbered.append("graph")
    return sorted(numbered, key=lambda name: (len(name), name))


def _is_numbered(names: Sequence[str]) -> bool:
    """Whether these are Keras 0.x's `param_0`, `param_1`, ..."""
    return all(name.startswith("param_") and name[6:].isdecimal() for name in names)


def _join(*parts: str) -> str:
    return "/".join(part for part in parts if part)
