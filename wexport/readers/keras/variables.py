"""The variables of one layer of a legacy file, joined to what the config and their names tell.

Keras assigns a layer's weights by place, trainable ones first, so place is what joins them to the config. Where that
does not fit, exact words in the names are all that is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from wexport.model.roles import NON_TRAINED
from wexport.model.tensors import Layout, Node, Tensor
from wexport.readers.hdf5.values import Dataset
from wexport.readers.keras import config, layers, layouts, names
from wexport.readers.keras.config import LayerConfig
from wexport.readers.keras.layers import Shape
from wexport.readers.keras.names import ParsedName


@dataclass(frozen=True, slots=True)
class StoredVariable:
    """A variable that a layer's `weight_names` names and the file holds. place: its number among those named."""

    dataset: Dataset
    name: str
    place: int


def tensor_of(dataset: Dataset) -> Tensor:
    """A tensor of which no more is known than where it lies."""
    return Tensor(name=dataset.path, shape=dataset.shape, dtype=dataset.type.name, chunks=dataset.chunks)


def tensors(
    layer: str, stored: Sequence[StoredVariable], holders: Sequence[LayerConfig], *, count: int, keras3: bool
) -> list[Tensor]:
    """Tensors of one entry of `layer_names`, in the order of the config's layers if that is known.

    layer: the entry, or "" for variables of the model itself. holders: the config's innermost layers below it.
    count: how many variables the layer names, whether the file holds them or not. keras3: slots are made as Keras 3's
    other containers can make them.
    """
    if not stored:
        return []
    placed = _by_place(holders, stored, count)
    if placed is not None:
        return list(_of_config(placed, keras3))
    return list(_of_names(layer, stored, holders, keras3))


# -- joined by place -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Placed:
    """A layer of the config and those of its variables that the file holds, by number."""

    holder: LayerConfig
    roles: tuple[str, ...]
    variables: dict[int, StoredVariable]


def _by_place(holders: Sequence[LayerConfig], stored: Sequence[StoredVariable], count: int) -> list[_Placed] | None:
    """Each layer with its variables; None if the config's places and the file's do not fit.

    Layers whose variables are not known are taken to have none, which holds if the others account for all there are
    and every known word agrees.
    """
    placed = [_Placed(holder, holder.variables or (), {}) for holder in holders]
    slots = [(item, number) for item in placed for number in range(len(item.roles))]
    if not slots or len(slots) != count:
        return None
    # Trainable variables stand first, over all layers of a nested model.
    slots.sort(key=lambda slot: slot[0].holder.trainable is False or slot[0].roles[slot[1]] in NON_TRAINED)
    for variable in stored:
        item, number = slots[variable.place]
        if not _agrees(item.holder, item.roles[number], variable.name):
            return None
        item.variables[number] = variable
    return placed


def _agrees(holder: LayerConfig, role: str, name: str) -> bool:
    word = names.read("/".join(holder.names), [name])[0]
    if word.gate is not None:
        return False
    return word.role in ("unknown", role) or (word.depthwise and role == "depthwise_kernel")


def _of_config(placed: Sequence[_Placed], keras3: bool) -> Iterator[Tensor]:
    for item in placed:
        holder = item.holder
        place = config.place(holder.group)
        shapes = [item.variables[number].dataset.shape for number in sorted(item.variables)]
        inferred = layers.infer_roles(place.word, shapes) if len(shapes) == len(item.roles) else None
        for number, variable in sorted(item.variables.items()):
            role = item.roles[number]
            shape = variable.dataset.shape
            yield replace(
                tensor_of(variable.dataset),
                layer="/".join(holder.names),
                layer_class=holder.known_class,
                layer_config=holder.config,
                lineage=place.lineage,
                direction=place.direction,
                role=role,
                variable_index=number,
                slot_leaf=(inferred[number] if inferred else str(number)) if keras3 else None,
                trainable=holder.trains(role),
                layout=layouts.layout(holder.class_name, holder.config, role, shape, part=holder.part),
            )


# -- told by their names -------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Family:
    """The variables that one innermost layer owns, in the order in which slots number them.

    holder: that layer in the config, if it can be told from its name.
    """

    holder: LayerConfig | None
    members: list[tuple[StoredVariable, ParsedName]]

    def sort_as_saved(self) -> None:
        """Keras 3 numbers a quantised kernel first, though in `weight_names`, untrained, it stands behind the bias."""
        if self.holder and self.holder.known_class in layers.QUANTIZABLE:
            first = {"kernel": 0, "embeddings": 0, "bias": 1}
            self.members.sort(key=lambda member: first.get(member[1].role, 2))

    def leaves(self) -> tuple[str, ...]:
        """Leaves of the slots as Keras 3's other containers would tell them.

        The low-rank factors of LoRA are merged into the kernel there, so they do not count.
        """
        if self.holder is None:
            return ()
        own = [item for item, _ in self.members if "lora_" not in item.name.rsplit("/", 1)[-1]]
        word = config.place(self.holder.group).word
        return layers.infer_roles(word, [item.dataset.shape for item in own]) or ()


def _of_names(
    layer: str, stored: Sequence[StoredVariable], holders: Sequence[LayerConfig], keras3: bool
) -> Iterator[Tensor]:
    """Variables of a layer that the config does not tell of, or not enough."""
    for family in _families(layer, stored, holders):
        holder = family.holder
        if keras3:
            family.sort_as_saved()
        leaves = family.leaves()
        siblings = {words.role: item.dataset.shape for item, words in family.members if not words.gate}
        for number, (item, words) in enumerate(family.members):
            lineage, direction = _lineage(layer, holders, holder, words)
            leaf = leaves[number] if number < len(leaves) else str(number)
            yield replace(
                tensor_of(item.dataset),
                layer="/".join(holder.names if holder else [layer, *words.inside] if layer else words.inside) or None,
                layer_class=holder.known_class if holder else None,
                layer_config=holder.config if holder else None,
                lineage=lineage,
                direction=direction,
                role=words.role,
                gate=words.gate,
                variable_index=number,
                slot_leaf=leaf if keras3 and (holder or not layer) else None,
                trainable=holder.trains(words.role) if holder else _trains(holders, words.role),
                layout=_layout(holder, words, item.dataset.shape, siblings),
            )


def _families(layer: str, stored: Sequence[StoredVariable], holders: Sequence[LayerConfig]) -> list[_Family]:
    """Variables by the layer that owns them, in order of appearance."""
    by_path = {"/".join(holder.names): holder for holder in holders}
    by_name: dict[str, LayerConfig | None] = {}
    for holder in holders:
        name = holder.names[-1] if holder.names else ""
        by_name[name] = None if name in by_name else holder
    families: dict[tuple[object, ...], _Family] = {}
    named = names.read(layer, [item.name for item in stored])
    for item, words in zip(stored, named, strict=True):
        path = "/".join(words.inside)
        holder_here = by_path.get("/".join([layer, *words.inside])) or (by_name.get(path) if path else None)
        family = families.setdefault((words.inside, words.direction), _Family(holder_here, []))
        family.members.append((item, words))
    return list(families.values())


def _lineage(
    layer: str, holders: Sequence[LayerConfig], holder: LayerConfig | None, words: ParsedName
) -> tuple[tuple[Node, ...], str | None]:
    """The nodes and the direction for the slot."""
    if holder is not None:
        place = config.place(holder.group)
        return place.lineage, place.direction
    if not layer:
        return (config.TOP_LEVEL,), None
    outer = config.place(holders[0].group[:2]).lineage if holders else tuple(map(Node, layer.split("/")))
    # The copy of a Bidirectional is in the slot by its direction.
    start = f"{words.direction}_"
    inner = [Node(name) for name in words.inside if words.direction is None or not name.startswith(start)]
    return (*outer, *inner), words.direction


def _trains(holders: Sequence[LayerConfig], role: str) -> bool | None:
    frozen = bool(holders) and all(holder.trainable is False for holder in holders)
    return False if frozen or role in ("moving_mean", "moving_variance") else None


def _layout(holder: LayerConfig | None, words: ParsedName, shape: Shape, siblings: dict[str, Shape]) -> Layout | None:
    if holder is not None and holder.variables is not None:
        return layouts.layout(holder.class_name, holder.config, words.role, shape, gate=words.gate)
    return names.layout(words, shape, siblings)
