"""The hidden units of one model put into the order of another's, by their weights.

Weight matching after Ainsworth, Hayase & Srinivasa, "Git Re-Basin" (2022), section 3.2: with all other groups held
still, the order of one group that maximises the sum of products of the two models' weights is a linear assignment;
groups are gone through again and again until none changes. Here each tensor counts with its values divided by their
root mean square, so that a value of a small layer counts as much as one of a large; and units that may turn their sign
are assigned by the size of their products, after which the sign is theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wexport.errors import WexportError
from wexport.relating.units import POSITIVE, SIGN, Part, UnitGraph

Floats = NDArray[np.floating[Any]]
MOST_ROUNDS = 40
BALANCED = 1e-9
"""Largest logarithm of a factor at which scales count as balanced; and how often they are gone through at most."""
MOST_SWEEPS = 300


def assignment(gain: Floats) -> NDArray[np.intp]:
    """The column of each row whose sum is the largest. Raises WexportError where SciPy is missing."""
    try:
        from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped, unused-ignore]
    except ImportError as error:
        raise WexportError(
            "to align hidden units needs SciPy, which is not installed", hint="pip install 'wexport[relate]'"
        ) from error
    found: NDArray[np.intp] = linear_sum_assignment(gain, maximize=True)[1]
    return found


@dataclass(slots=True)
class Order:
    """What is done to a model's units: for each group the unit that goes to each place, for each scale the signs."""

    units: list[NDArray[np.intp]]
    signs: list[NDArray[np.float32]]

    @property
    def moved(self) -> int:
        """Units that are not at their place."""
        return sum(int(np.count_nonzero(order != np.arange(len(order)))) for order in self.units)

    @property
    def turned(self) -> int:
        return sum(int(np.count_nonzero(signs < 0)) for signs in self.signs)

    @classmethod
    def as_it_is(cls, graph: UnitGraph) -> Order:
        units = [np.arange(group.units) for group in graph.groups]
        signs = [np.ones(graph.groups[scale.group].units, np.float32) for scale in graph.scales]
        return cls(units, signs)


class Matcher:
    """Two models of one architecture. values: their tensors in canonical layout, in one order; None for one left out.

    counted: which tensors decide; statistics of normalisations are put into order and do not.
    """

    def __init__(
        self,
        graph: UnitGraph,
        one: Sequence[Floats | None],
        other: Sequence[Floats | None],
        counted: Sequence[bool],
    ) -> None:
        self.graph = graph
        self.one = [_normed(array) if count else None for array, count in zip(one, counted, strict=True)]
        self.other = [_normed(array) if count else None for array, count in zip(other, counted, strict=True)]
        self._parts: list[list[Part]] = [[] for _ in graph.groups]
        self._of: dict[int, list[Part]] = {}
        for part in graph.parts:
            if self.one[part.tensor] is None or self.other[part.tensor] is None:
                continue
            self._parts[part.group].append(part)
            self._of.setdefault(part.tensor, []).append(part)

    def best(self) -> Order:
        """The better of what is found from the order as it is, and from what no order changes."""
        found = [self.improved(Order.as_it_is(self.graph)), self.improved(self.started())]
        return max(found, key=self.gain)

    def started(self) -> Order:
        """Group by group in the model's order; along axes whose order is not yet known, values are sorted."""
        order, known = Order.as_it_is(self.graph), set[int]()
        for group in range(len(self.graph.groups)):
            if self._parts[group]:
                self._assign(group, order, known)
            known.add(group)
        return order

    def improved(self, order: Order) -> Order:
        """Groups in turn, until none changes."""
        everything = set(range(len(self.graph.groups)))
        for _ in range(MOST_ROUNDS):
            changed = False
            for group in everything:
                if self._parts[group]:
                    changed |= self._assign(group, order, everything)
            if not changed:
                break
        return order

    def gain(self, order: Order) -> float:
        """The sum of products that is maximised."""
        total = 0.0
        for number, a in enumerate(self.one):
            b = self.other[number]
            if a is not None and b is not None:
                total += float(np.vdot(a, self._ordered(number, b, order, None)))
        return total

    def products(
        self, group: int, order: Order, known: set[int], parts: Sequence[Part] | None = None
    ) -> tuple[Floats, dict[int | None, Floats]]:
        """Sums of products of every unit with every other; and those that turn with each scale (None: with none)."""
        units = self.graph.groups[group].units
        found: dict[int | None, Floats] = {}
        for part in self._parts[group] if parts is None else parts:
            a, b = self.one[part.tensor], self.other[part.tensor]
            assert a is not None
            assert b is not None
            b = self._ordered(part.tensor, b, order, part)
            unknown = self._unknown_axes(part, known)
            a, b = (_rows(array, part, unknown) for array in (a, b))
            for scale, rows in self._by_scale(part, a.shape[1]):
                product: Floats = a[:, rows].reshape(units, -1) @ b[:, rows].reshape(units, -1).T
                found[scale] = found[scale] + product if scale in found else product
        total: Floats = np.zeros((units, units), np.float32)
        for scale, product in found.items():
            total += product if scale is None else np.abs(product)
        return total, found

    def _assign(self, group: int, order: Order, known: set[int]) -> bool:
        total, by_scale = self.products(group, order, known)
        new = assignment(total)
        rows = np.arange(len(new))
        before = total[rows, order.units[group]].sum(dtype=np.float64)
        changed = bool((new != order.units[group]).any())
        # Another order that is no better is no change: it would go on for ever.
        if changed and total[rows, new].sum(dtype=np.float64) <= before + 1e-6 * abs(before):
            changed, new = False, order.units[group]
        order.units[group] = new
        for scale, product in by_scale.items():
            if scale is not None:
                signs = np.where(product[rows, new] < 0, -1, 1).astype(np.float32)
                changed |= bool((signs != order.signs[scale]).any())
                order.signs[scale] = signs
        return changed

    def _by_scale(self, part: Part, width: int) -> list[tuple[int | None, Any]]:
        """Which places of each unit turn their sign with which scale; `width` places, the rest of them with none."""
        found: list[tuple[int | None, Any]] = []
        free = np.ones(width, bool)
        for each in self.graph.scale_parts:
            scale = self.graph.scales[each.scale]
            if (each.tensor, each.axis, scale.group) != (
                part.tensor,
                part.axis,
                part.group,
            ) or SIGN not in scale.allows:
                continue
            place = np.isin(part.index[0], each.index[0])
            if place.any():
                found.append((each.scale, place))
                free &= ~place
        if free.any():
            found.append((None, free))
        return found

    def _unknown_axes(self, part: Part, known: set[int]) -> list[int]:
        return [other.axis for other in self._of[part.tensor] if other.axis != part.axis and other.group not in known]

    def _ordered(self, number: int, values: Floats, order: Order, but: Part | None) -> Floats:
        """A tensor of the other model in this order, along all axes but one part's."""
        return applied(self.graph, number, values, order, but)


def applied(graph: UnitGraph, number: int, values: Floats, order: Order, but: Part | None = None) -> Floats:
    """A tensor with its units in an order and their signs turned; but: the part that stays as it is."""
    for part in graph.parts:
        if part.tensor == number and part is not but and (but is None or part.axis != but.axis):
            new = order.units[part.group]
            if (new != np.arange(len(new))).any():
                places = np.arange(values.shape[part.axis])
                places[part.index] = part.index[new]
                values = np.take(values, places, part.axis)
    for each in graph.scale_parts:
        signs = order.signs[each.scale]
        if each.tensor == number and (but is None or each.axis != but.axis) and (signs < 0).any():
            along = np.ones(values.shape[each.axis], np.float32)
            along[each.index] = signs[:, None]
            values = values * along.reshape([-1 if axis == each.axis else 1 for axis in range(values.ndim)])
    return values


def _normed(array: Floats | None) -> Floats | None:
    """Values by their root mean square; vectors less their mean, which tells nothing of an order."""
    if array is None or not array.size:
        return None
    values = np.asarray(array, np.float32)
    values = np.where(np.isfinite(values), values, 0)
    if values.ndim == 1:
        values = values - values.mean()
    size = float(np.sqrt(np.mean(np.square(values), dtype=np.float64)))
    return values / np.float32(size) if size > 0 else values


def _rows(array: Floats, part: Part, unknown: Sequence[int]) -> Floats:
    """(units, places of each, all else); axes whose order is not known are sorted by size."""
    if unknown:
        array = np.abs(array)
        for axis in unknown:
            array = np.sort(array, axis)
    units, places = part.index.shape
    taken = np.take(np.moveaxis(array, part.axis, 0), part.index.ravel(), 0)
    return taken.reshape(units, places, -1)


# -- positive scales ---------------------------------------------------------------------------------------------------


def balanced(graph: UnitGraph, values: Sequence[Floats | None]) -> list[Floats | None]:
    """The tensors of a model with every unit behind a ReLU scaled so that what makes it and what reads it are as long.

    Of all models of the same function that scaling gives, the one whose L2 norm is least: the norm is convex in the
    logarithms of the factors, so that going through the units in turn finds it, from wherever it starts. Units of which
    nothing is made or nothing read are left as they are.
    """
    scales = [number for number, scale in enumerate(graph.scales) if POSITIVE in scale.allows]
    if not scales:
        return list(values)
    found: list[Floats | None] = [
        None if array is None else np.asarray(array, np.float64 if array.dtype == np.float64 else np.float32)
        for array in values
    ]
    shown = [each for each in graph.scale_parts if each.scale in scales and values[each.tensor] is not None]
    axes: dict[int, set[int]] = {}
    for each in shown:
        axes.setdefault(each.tensor, set()).add(each.axis)
    squares = {}
    for tensor, kept in axes.items():
        array = found[tensor]
        assert array is not None
        rest = tuple(axis for axis in range(array.ndim) if axis not in kept)
        finite = np.where(np.isfinite(array), array, 0).astype(np.float64)
        squares[tensor] = np.square(finite).sum(axis=rest, keepdims=True)
    factors = {scale: np.ones(graph.groups[graph.scales[scale].group].units) for scale in scales}
    for _ in range(MOST_SWEEPS):
        largest = 0.0
        for scale in scales:
            mine = [each for each in shown if each.scale == scale]
            length = {1: np.zeros(len(factors[scale])), -1: np.zeros(len(factors[scale]))}
            for each in mine:
                sums = squares[each.tensor].sum(
                    axis=tuple(axis for axis in range(squares[each.tensor].ndim) if axis != each.axis)
                )
                length[each.power] += sums[each.index].sum(axis=1)
            sound = (length[1] > 0) & (length[-1] > 0)
            factor = np.ones(len(sound))
            factor[sound] = (length[-1][sound] / length[1][sound]) ** 0.25
            factors[scale] *= factor
            largest = max(largest, float(np.abs(np.log(factor)).max()))
            for each in mine:
                _scale(squares[each.tensor], each.axis, each.index, factor ** (2 * each.power))
        if largest < BALANCED:
            break
    for tensor in axes:
        array = found[tensor]
        assert array is not None
        found[tensor] = array.copy()
    for each in shown:
        array = found[each.tensor]
        assert array is not None
        _scale(array, each.axis, each.index, factors[each.scale] ** each.power)
    return found


def _scale(array: Floats, axis: int, index: NDArray[np.intp], factor: Floats) -> None:
    along = np.ones(array.shape[axis])
    along[index] = factor[:, None]
    np.multiply(array, along.reshape([-1 if n == axis else 1 for n in range(array.ndim)]), out=array, casting="unsafe")
