"""The nouns a reader yields: a source to look at, a model, its tensors, and what is known of their meaning.

Nothing here computes. A reader fills in what the file tells and leaves out the rest; every field that is left
out means *unknown*, never a default guess.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from wexport.errors import PluginError
from wexport.files.source import Source
from wexport.model.graph import Graph
from wexport.model.kinds import KINDS

if TYPE_CHECKING:  # the command line needs these nouns before it needs NumPy
    from numpy.typing import NDArray


Chunks: TypeAlias = "Callable[[int], Iterator[NDArray[Any]]]"
"""Given a byte limit, yields the values as one-dimensional arrays in C order, each at most that many bytes."""


_BITS = {"bool": 8, "nf4": 4, "fp4": 4}
"""Of types whose names do not begin with their width."""


@dataclass(frozen=True, slots=True)
class Node:
    """One level of the layer tree, as the slot sees it.

    name: what tells this node from its siblings in the file (`dense_7`, `layer_2`).
    class_name: the layer's class (`Dense`) or None when the file does not tell.
    fixed: the name is a word of the class's own (`query` in attention) and goes into the slot as it stands.
    """

    name: str
    class_name: str | None = None
    fixed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How stored values lie in the canonical layout, which is Keras 3's.

    The stored array is seen as `view` (same values, same order, other shape); canonical axis k is axis
    `permutation[k]` of that view. Gates are equal blocks along `gate_axis`, named in *stored* order. All axes
    are canonical ones.

    view: shape the stored values are seen in; None is the stored shape.
    permutation: None is the identity.
    unit_axes: axes of the output units (filters, neurons, hidden units); empty for vectors and where unknown.
    input_axes: axes of the inputs (channels, features, tokens), without the spatial ones.
    gates: names in stored order, e.g. ("i", "f", "c", "o"); empty when the tensor has none.
    pooled_axes: axes that number repetitions of the same thing, which the grid averages over: the inputs of an output.
    """

    view: tuple[int, ...] | None = None
    permutation: tuple[int, ...] | None = None
    unit_axes: tuple[int, ...] = ()
    input_axes: tuple[int, ...] = ()
    pooled_axes: tuple[int, ...] = ()
    gates: tuple[str, ...] = ()
    gate_axis: int | None = None

    def canonical_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The canonical shape of a tensor that is stored with `shape`."""
        view = shape if self.view is None else self.view
        return view if self.permutation is None else tuple(view[axis] for axis in self.permutation)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """One tensor of a model: what it is called, how to read it, and what the file says it means.

    name: the path inside the file, in the file's own words; unique in the model.
    shape: as stored; () for a scalar.
    dtype: NumPy's or ml_dtypes' name of the stored type without byte order: "float32", "bfloat16", "int8".
    value_dtype: the type of the values that `chunks` yields, where it is not the stored one ("float64" for what is
        stored in 128 bits).
    chunks: called with a byte limit; yields one-dimensional arrays in C order, in any byte order.
    kind: one of `kinds.KINDS`: "weight", "array" (it may be data), "optimizer", or of a model that was run "activation"
        (the output of a layer) or "gradient". Any other raises PluginError: no view of a table would show it.
    layer: the file's own layer names, outermost first, joined by "/".
    layer_class: class of the innermost layer.
    layer_index: place of the layer in the model's true order, from 0.
    layer_config: the layer's config as inert JSON.
    lineage: the layer tree for the slot, outermost first; empty for a format that only knows names.
    direction: "forward" or "backward" in a bidirectional layer.
    role: a word of `roles.ROLES`; "unknown" when the file does not tell.
    gate: set only where one tensor is one gate (Keras 1).
    variable_index: number of the variable in its layer, from 0.
    slot_leaf: last part of the slot where it must not be the role, so that every container of a model agrees.
    slot: the whole slot, where it follows another tensor's: a gradient has that of its weight.
    trainable: whether training may change it; None when the file does not tell.
    layout: None when unknown; the statistics then follow the stored order.
    storage_bytes: bytes in the file, where these are not what type and shape give: blocks with scales, or a sum of two.
    statistics: `stats.TensorStatistics` made while the values passed by, for what is never held whole; `chunks` is then
        not asked.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    chunks: Chunks
    value_dtype: str | None = None
    kind: str = "weight"
    layer: str | None = None
    layer_class: str | None = None
    layer_index: int | None = None
    layer_config: Mapping[str, Any] | None = None
    lineage: tuple[Node, ...] = ()
    direction: str | None = None
    role: str = "unknown"
    gate: str | None = None
    variable_index: int | None = None
    slot_leaf: str | None = None
    slot: str | None = None
    trainable: bool | None = None
    layout: Layout | None = None
    storage_bytes: int | None = None
    statistics: Any = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise PluginError(f"{self.name}: kind {self.kind!r} is none of {', '.join(KINDS)}")

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    @property
    def stored_bytes(self) -> int:
        """Bytes that its values take as they are stored: `storage_bytes`, or by their type, rounded up."""
        if self.storage_bytes is not None:
            return self.storage_bytes
        digits = re.search(r"\d+", self.dtype)
        bits = _BITS.get(self.dtype, int(digits[0]) if digits else 8)
        return -(-self.size * bits // 8)

    @classmethod
    def of_array(cls, name: str, array: NDArray[Any], **meaning: Any) -> Tensor:
        """A tensor over an array that is in memory already: all that a small format needs."""

        def chunks(limit: int) -> Iterator[NDArray[Any]]:
            flat = array.reshape(-1)
            step = max(1, limit // max(1, array.itemsize))
            for start in range(0, flat.size, step):
                yield flat[start : start + step]

        return cls(name=name, shape=array.shape, dtype=array.dtype.name, chunks=chunks, **meaning)


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something in the file that gives no row.

    what: a short class of things, the same for alike ones ("string", "compound", "external link").
    name: the path inside the file.
    problem: True if it should have been readable and the user should hear of it; False if no tensor of a model.
    detail: why, in words.
    size: bytes of numbers that it holds, as they are stored; 0 where it holds none or nobody knows.
    """

    what: str
    name: str
    problem: bool = False
    detail: str = ""
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What a reader makes of one file.

    tensors: in layer order where that is known.
    format: the container, in words a user knows: "keras-h5", "keras-v3", "weights-h5", "hdf5".
    framework, framework_version, backend: who wrote it, as the file says; None when it does not.
    skipped: what was passed over.
    aliases: tensors that are second names of others in the file (a hard link, a shared storage), and the first names.
    part: which of several models in the file it is, where its reader was asked for one and saw to it.
    graph: how its layers feed one another; None where the file does not tell.
    """

    tensors: Sequence[Tensor]
    format: str
    framework: str | None = None
    framework_version: str | None = None
    backend: str | None = None
    skipped: Sequence[Skipped] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    part: str | None = None
    graph: Graph | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """A format that wexport can read.

    name: what `--reader` takes.
    reads: one line for people.
    sniff: how sure, from 0.0 (no) to 1.0, that a source is this format, judged by its content; quick and without
        side effects. 0.5 is "this container, nothing special about it"; 0.9 is "written by the very framework".
    open: the model in a source. Tensors are lazy: values are read only through `Tensor.chunks`.
    suffixes: name endings this format goes by. They never decide; in a folder they tell what should have been
        readable from what is not a model at all.
    """

    name: str
    reads: str
    sniff: Callable[[Source], float]
    open: Callable[[Source], Model]
    suffixes: tuple[str, ...] = ()
