"""Units that are proved dead, and beside them those that are only suspected."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wexport.answers.tabular import Part, Tabular, table_of
from wexport.errors import ReadError, UsageError
from wexport.ingestion import inputs
from wexport.plugins.catalog import absolute
from wexport.plugins.messages import Setup
from wexport.relating import reading
from wexport.relating.bounds import Rectified, rectified
from wexport.relating.reading import Held

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What is proved of the units of one layer behind a ReLU.

    dead: how many give 0 for every input of the stated range. by_weights: how many of these for any input at all.
    suspected: how many others are off for every input of the layer whose root mean square is at most that of a typical
    one, 1 (bias < -||w|| sqrt(inputs), by Cauchy-Schwarz): that is no proof. proved: the units of `dead`, from 0.
    """

    model: str
    layer: str
    units: int
    dead: int
    by_weights: int
    suspected: int
    proved: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Proofs(Tabular):
    """layers: a row a layer with units behind a ReLU. low, high: the range of inputs. untold: models without a graph.

    failed: name, reason and way out.
    """

    layers: Sequence[Proof]
    low: float
    high: float
    untold: Sequence[str]
    failed: Sequence[tuple[str, str, str]]

    def to_arrow(self) -> pa.Table:
        """A row a layer, with the fields of `Proof` as columns."""
        return table_of(Proof, self.layers)

    def _parts(self) -> Iterable[Part]:
        failed = [f"{name}: {reason}" for name, reason, _ in self.failed]
        return [Part(self.to_arrow(), told=[*failed, *(f"{name}: tells no graph of layers" for name in self.untold)])]


def prove(
    paths: Sequence[str | os.PathLike[str]],
    *,
    low: float | None = None,
    high: float | None = None,
    external_data: bool = False,
    reader: str | None = None,
    plugins: Sequence[str] = (),
    timeout: float | None = None,
) -> Proofs:
    """Which units are dead for every input, by interval bounds through each model's graph.

    paths: model files, folders and patterns. low, high: what the inputs' values lie between, after all preprocessing;
    without them, inputs may be anything. The others as in `diff`.

    Raises UsageError for a range that is none, ReadError if no file could be read.
    """
    given = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    least, most = -math.inf if low is None else low, math.inf if high is None else high
    if not least <= most:
        raise UsageError(f"inputs from {least} to {most} are not a range", hint="--range 0 1")
    found = inputs.expand(given)
    names = inputs.model_names([item.called for item in found])
    held, failed = reading.read(found, names, Setup(absolute(plugins), reader, external_data=external_data), timeout)
    if not held:
        told = "; ".join(f"{name}: {reason}" for name, reason, _ in failed[:3])
        raise ReadError(f"no model could be read{f': {told}' if told else ''}", hint="name model files")
    layers = [proof for model in held for proof in _of_model(model, least, most)]
    return Proofs(layers, least, most, [each.name for each in held if each.opened.graph is None], failed)


def _of_model(model: Held, low: float, high: float) -> Iterator[Proof]:
    graph, tensors = model.opened.graph, model.opened.tensors
    if graph is None:
        return
    anyway = {each.layer: each.dead for each in rectified(graph, tensors, model.values)}
    for each in rectified(graph, tensors, model.values, low, high):
        yield Proof(
            model=model.name,
            layer=each.layer,
            units=len(each.dead),
            dead=int(each.dead.sum()),
            by_weights=int(anyway[each.layer].sum()),
            suspected=int((_suspected(model, each) & ~each.dead).sum()),
            proved=tuple(np.flatnonzero(each.dead).tolist()),
        )


def _suspected(model: Held, layer: Rectified) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Units that are off unless their inputs are larger than is usual."""
    own = {
        each.role: values.astype(np.float64)
        for each, values in zip(model.opened.tensors, model.values, strict=True)
        if each.layer == layer.layer
    }
    if "bias" not in own:
        return np.zeros(len(layer.dead), bool)
    kernel = own["kernel"].reshape(-1, own["kernel"].shape[-1])
    found: np.ndarray[tuple[int, ...], np.dtype[np.bool_]] = -own["bias"] > np.linalg.norm(kernel, axis=0) * math.sqrt(
        len(kernel)
    )
    return found
