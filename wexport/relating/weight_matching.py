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
from wexport.relating.sketches import Folded, Normed, Rows
from wexport.relating.units import SIGN, Part, UnitGraph

Floats = NDArray[np.floating[Any]]
MOST_ROUNDS = 40
LARGE = 1 << 20
"""Values from which on a model is aligned in the ways that `Matcher.best` names."""
ENOUGH = 64
"""Values of each unit along known axes that are enough to begin with; else sorted ones are added."""
LITTLE, UNLIKE, FINISHED = 0.025, 0.3, 1e-7
"""The share that a round gains at least; the mean cosine below which models are not alike; and how near 1 is 1."""


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

    counted: which tensors decide; statistics of normalisations are put into order and do not. like: a matcher of the
    same first model, whose work on it is used again.
    """

    def __init__(
        self,
        graph: UnitGraph,
        one: Sequence[Floats | None],
        other: Sequence[Floats | None],
        counted: Sequence[bool],
        like: Matcher | None = None,
    ) -> None:
        self.graph = graph
        self._one = [Normed.of(x) if count else None for x, count in zip(one, counted, strict=True)]
        self._other = [Normed.of(x) if count else None for x, count in zip(other, counted, strict=True)]
        self._parts: list[list[Part]] = [[] for _ in graph.groups]
        self._of: dict[int, list[Part]] = {}
        self._rows: dict[object, Rows] = like._rows if like else {}
        """What the first model's units are compared by: it is the same in every round."""
        for part in graph.parts:
            if self.decides(part.tensor):
                self._parts[part.group].append(part)
                self._of.setdefault(part.tensor, []).append(part)
        self.values = sum(x.values.size for number, x in enumerate(self._one) if x and self.decides(number))

    def decides(self, tensor: int) -> bool:
        """Whether both models have values of it that count."""
        return self._one[tensor] is not None and self._other[tensor] is not None

    def is_matrix(self, tensor: int) -> bool:
        one = self._one[tensor]
        return one is not None and self.decides(tensor) and one.values.ndim > 1

    def best(self) -> Order:
        """The better of what is found from the order as it is, and from what no order changes.

        Of large models, units are compared by sketches, the better start is chosen early, and models that are
        not alike are left when a round gains little: the last swaps of strangers tell nothing. Those that are somewhat
        alike go on with all values.
        """
        found = [Order.as_it_is(self.graph), self.started()]
        if self.values <= LARGE:
            return max((self.improved(each) for each in found), key=self.gain)
        order = max(self.improved(found[0], rounds=1), found[1], key=self.gain)
        order = self.improved(order, watched=True)
        if UNLIKE < self.gain(order) / self.values < 1 - FINISHED:
            order = self.improved(order, watched=True, folded=False)
        return order

    def started(self) -> Order:
        """Group by group in the model's order; along axes whose order is not yet known, values are sorted."""
        order, known = Order.as_it_is(self.graph), set[int]()
        for group in range(len(self.graph.groups)):
            if self._parts[group]:
                self._assign(group, order, known)
            known.add(group)
        return order

    def improved(self, order: Order, *, rounds: int = MOST_ROUNDS, watched: bool = False, folded: bool = True) -> Order:
        """Groups in turn, until none changes.

        watched: or until a round gains next to nothing, which sketches do not tell. folded: whether long rows are
        sketched.
        """
        everything = set(range(len(self.graph.groups)))
        due = set(everything)  # a group whose neighbours stand as they did has nothing to gain
        now = self.gain(order) if watched else 0.0
        for _ in range(rounds):
            for group in everything:
                if self._parts[group] and group in due:
                    changed = self._assign(group, order, everything, folded=folded)
                    due.discard(group)
                    due |= self._beside(group) if changed else set()
            if not due:
                break
            before, now = now, self.gain(order) if watched else 0.0
            if watched and now - before < (LITTLE if now < UNLIKE * self.values else FINISHED) * now:
                break
        return order

    def gain(self, order: Order) -> float:
        """The sum of products that is maximised."""
        total = 0.0
        for number, (one, other) in enumerate(zip(self._one, self._other, strict=True)):
            if one is not None and other is not None:
                ordered = applied(self.graph, number, other.values, order)
                total += one.factor * other.factor * float(np.vdot(one.values, ordered))
        return total

    def products(
        self, group: int, order: Order, known: set[int], parts: Sequence[Part], *, folded: bool = True,
        normed: bool = False,
    ) -> tuple[Floats, dict[int | None, Floats]]:  # fmt: skip
        """Sums of products of every unit with every other; and those that turn with each scale (None: with none).

        folded: long rows by their sketches. normed: each unit's row of each part is brought to length 1.
        """
        units = self.graph.groups[group].units
        unknown = [self._unknown_axes(part, known) for part in parts]
        key = (
            group,
            folded,
            normed,
            tuple((part.tensor, part.axis, tuple(x)) for part, x in zip(parts, unknown, strict=True)),
        )
        one = self._rows.get(key)
        if one is None:
            one = self._rows_of(self._one, None, units, parts, unknown, folded, normed)
            if folded:
                self._rows[key] = one
        other = self._rows_of(self._other, order, units, parts, unknown, folded, normed)
        found: dict[int | None, Floats] = {scale: one[scale] @ other[scale].T for scale in one}
        total: Floats = np.zeros((units, units), np.float32)
        for scale, product in found.items():
            total += product if scale is None else np.abs(product)
        return total, found

    def _rows_of(
        self, values: Sequence[Normed | None], order: Order | None, units: int, parts: Sequence[Part],
        unknown: Sequence[Sequence[int]], folded: bool, normed: bool,
    ) -> Rows:  # fmt: skip
        """The units of a model as rows, those that turn with each scale apart; order: None for as it is."""
        lengths = [self._columns(part) for part in parts]
        rows = Folded(units, sum(lengths), folded=folded)
        for part, axes in zip(parts, unknown, strict=True):
            each = values[part.tensor]
            assert each is not None
            array = each.values if order is None else applied(self.graph, part.tensor, each.values, order, part)
            taken = _rows(array, part, axes)
            factor: Floats | np.float32 = np.float32(each.factor)
            if normed:
                lengths_of = np.sqrt(np.einsum("upr,upr->u", taken, taken, dtype=np.float64))
                factor = (1 / np.where(lengths_of > 0, lengths_of, 1.0)).astype(np.float32)[:, None]
            for scale, places in self._by_scale(part, taken.shape[1]):
                some = taken if places is None else taken[:, places]
                rows.add(
                    scale, some.reshape(units, -1), factor, (part.tensor, part.axis, 0 if scale is None else 1 + scale)
                )
        return rows.found

    def _columns(self, part: Part) -> int:
        one = self._one[part.tensor]
        assert one is not None
        return int(part.index.shape[1] * (one.values.size // one.values.shape[part.axis]))

    def _assign(self, group: int, order: Order, known: set[int], *, folded: bool = True) -> bool:
        """Put a group into the best order; whether anything changed."""
        parts = self._parts[group]
        told = [part for part in parts if not self._unknown_axes(part, known)]
        if sum(self._columns(part) for part in told) >= ENOUGH:
            parts = told
        total, by_scale = self.products(group, order, known, parts, folded=folded)
        new = assignment(total)
        rows = np.arange(len(new))
        before = total[rows, order.units[group]].sum(dtype=np.float64)
        gained = total[rows, new].sum(dtype=np.float64) - before
        changed = bool((new != order.units[group]).any())
        # Another order that is no better is no change: it would go on for ever.
        if changed and gained <= 1e-6 * abs(before):
            changed, new = False, order.units[group]
        order.units[group] = new
        for scale, product in by_scale.items():
            if scale is not None:
                signs = np.where(product[rows, new] < 0, -1, 1).astype(np.float32)
                changed |= bool((signs != order.signs[scale]).any())
                order.signs[scale] = signs
        return changed

    def _beside(self, group: int) -> set[int]:
        """Groups that share a tensor with one, itself if it has two axes of one."""
        return {other.group for part in self._parts[group] for other in self._of[part.tensor] if other is not part}

    def _by_scale(self, part: Part, width: int) -> list[tuple[int | None, Any]]:
        """Which places of each unit turn their sign with which scale, and the rest with none; None for all places."""
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
                found.append((each.scale, None if place.all() else place))
                free &= ~place
        if free.any():
            found.append((None, None if free.all() else free))
        return found

    def _unknown_axes(self, part: Part, known: set[int]) -> list[int]:
        return [other.axis for other in self._of[part.tensor] if other.axis != part.axis and other.group not in known]


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


def _rows(array: Floats, part: Part, unknown: Sequence[int]) -> Floats:
    """(units, places of each, all else); axes whose order is not known are sorted by size."""
    if unknown:
        array = np.abs(array)
        for axis in unknown:
            array = np.sort(array, axis)
    units, places = part.index.shape
    taken = np.take(np.moveaxis(array, part.axis, 0), part.index.ravel(), 0)
    return taken.reshape(units, places, -1)
