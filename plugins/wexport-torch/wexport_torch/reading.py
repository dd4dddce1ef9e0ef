"""What one file of torch holds: the tensors of a model, others beside them, and what is left out by name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from wexport import ReadError, Skipped, Source, Tensor
from wexport_torch import choice, layouts, places, stored, values
from wexport_torch.choice import Choice
from wexport_torch.layouts import Loaded
from wexport_torch.places import Found, Other
from wexport_torch.run_states import what_it_is
from wexport_torch.stored import LeftOutError, TorchTensor


@dataclass(frozen=True, slots=True)
class Weight:
    """A tensor of the model. found: where in the file; None where no pickle leads to it."""

    tensor: Tensor
    found: Found | None = None


@dataclass(slots=True)
class Contents:
    """What a file holds.

    others: tensors that are not weights, with their kinds. part: the one that was asked for, if it is that alone.
    """

    format: str
    weights: list[Weight] = field(default_factory=list)
    others: list[Tensor] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    aliases: dict[str, str] = field(default_factory=dict)
    part: str | None = None

    def add(self, more: Contents) -> None:
        """What another file of the same model holds."""
        self.weights += more.weights
        self.others += more.others
        self.skipped += more.skipped
        self.aliases |= more.aliases


def contents(source: Source) -> Contents:
    """What a file that `torch.save` or `torch.jit.save` wrote holds, in the order of the state dict.

    Raises ReadError for a damaged file, for one of a layout that is not read, and for one whose tensors only code could
    reach; HostileFileError and BudgetError for one past the bounds.
    """
    loaded = layouts.load(source)
    found = places.walk(loaded.root, str(source.path))
    state = what_it_is(loaded.root, found)
    if state is not None:
        return Contents(loaded.format, skipped=[state])
    if not found.tensors:
        _refuse_what_only_code_reaches(source, found.others)
    return _Reading(source, loaded).contents(found)


def _refuse_what_only_code_reaches(source: Source, others: Iterable[Other]) -> None:
    for other in others:
        if other.what == "object" and other.stored:
            raise ReadError(
                f"{source.path}: its tensors are inside of an object {other.detail}",
                hint="save the model's state dict: torch.save(model.state_dict(), path)",
            )


@dataclass
class _Reading:
    """Tensors from what the walk found, and what was left out on the way."""

    source: Source
    loaded: Loaded
    _taken: set[str] = field(default_factory=set)
    _stretches: dict[str, set[tuple[int, int]]] = field(default_factory=dict)
    _places: dict[tuple[object, ...], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._budget = values.Budget(self.source.size)
        self._held = Contents(self.loaded.format)

    def contents(self, found: places.Places) -> Contents:
        """All tensors that are wanted."""
        held = self._held
        self._leave_out_optimizers(found)
        described = [
            (item, self._described(item)) for item in found.tensors if self.source.optimizer or not item.optimizer
        ]
        likely = [
            item.path for item, it in described if isinstance(it, TorchTensor) and not item.optimizer and _is_likely(it)
        ]
        asked = choice.part_in(found, self.source.part)
        chosen = asked or choice.model_in(found, likely)
        if asked is not None:
            held.part = self.source.part
            described = [(item, it) for item, it in described if asked.holds(item.path)]
            found = replace(found, others=[], more=0)
        for item, it in described:
            name = self._free(chosen.name(item.path))
            kind = _kind(item, it, chosen)
            if isinstance(it, Skipped):
                held.skipped.append(replace(it, name=name))
            elif kind is None:
                held.skipped.append(Skipped("tensor beside the model", name, size=it.size * it.type.size))
            else:
                tensor = self._tensor(name, item, it)
                if tensor is not None:
                    self._note_alias(name, it)
                if tensor is not None and kind == "weight":
                    held.weights.append(Weight(tensor, item))
                elif tensor is not None:
                    held.others.append(replace(tensor, kind=kind))
        held.skipped += [self._other(other, chosen) for other in found.others]
        if asked is None:
            held.skipped += self._unseen()
        if found.more:
            held.skipped.append(Skipped("more of the like", f"{found.more:,} more"))
        return held

    def _leave_out_optimizers(self, found: places.Places) -> None:
        """Name the state of each optimizer, with its size, where it is not wanted."""
        if self.source.optimizer:
            return
        sizes: dict[str, int] = {}
        for item in found.tensors:
            if item.optimizer:
                it = self._described(item)
                owner = item.path[0] if len(item.path) > 1 else "state"
                sizes[owner] = sizes.get(owner, 0) + (it.size * it.type.size if isinstance(it, TorchTensor) else 0)
        if sizes.keys() <= {"state", "param_groups"}:  # the file is the optimizer's own
            sizes = {"state": sum(sizes.values())} if sizes else {}
        self._held.skipped += [Skipped("optimizer state", owner, size=size) for owner, size in sizes.items()]

    def _unseen(self) -> list[Skipped]:
        """Bytes of storages beside the tensors in them: what was saved of a slice is all that it was a slice of."""
        total, count = 0, 0
        for key, stretches in self._stretches.items():
            try:
                left = self.loaded.storages.size(key)
            except ReadError:
                continue
            end = 0
            for begin, stop in sorted(stretches):
                left -= max(0, stop - max(begin, end))
                end = max(end, stop)
            total, count = total + max(0, left), count + (left > 0)
        what = "bytes of storages that are in no tensor"
        return [Skipped(what, f"{count:,} storages", size=total)] if total else []

    def _described(self, item: Found) -> TorchTensor | Skipped:
        try:
            it = stored.tensor(item.record)
            first = it.storage.first * it.storage.type.size
            begin, stop = first + it.offset * it.type.size, first + it.end * it.type.size
            self._stretches.setdefault(it.storage.key, set()).add((begin, stop))
            return it
        except LeftOutError as error:
            return Skipped(error.what, "", detail=error.detail)
        except ReadError as error:
            return Skipped("unreadable tensor", "", True, str(error))

    def _tensor(self, name: str, item: Found, it: TorchTensor) -> Tensor | None:
        try:
            found = values.tensor(name, it, self.loaded.storages, self._budget, str(self.source.path))
        except ReadError as error:  # the others are still worth having
            self._held.skipped.append(Skipped("unreadable tensor", name, True, str(error)))
            return None
        return replace(found, trainable=it.needs_gradient) if it.parameter or item.module is not None else found

    def _other(self, other: Other, chosen: Choice) -> Skipped:
        what = f"{other.what} that holds tensors" if other.what == "object" and other.stored else other.what
        return Skipped(what, chosen.name(other.path), other.what == "object" and other.stored > 0, other.detail)

    def _note_alias(self, name: str, it: TorchTensor) -> None:
        """Tied parameters are one stretch of one storage, seen in one way."""
        place = (it.storage.key, it.storage.first, it.offset, it.shape, it.strides, it.type.name)
        first = self._places.setdefault(place, name)
        if first != name and it.size:
            self._held.aliases[name] = first

    def _free(self, wanted: str) -> str:
        """Names are unique, though a dict may hold `a.b` beside an `a` that holds `b`, and 1 beside "1"."""
        name, number = wanted, 2
        while name in self._taken:
            name, number = f"{wanted}~{number}", number + 1
        self._taken.add(name)
        return name


def _is_likely(it: TorchTensor) -> bool:
    """Whether it may be a parameter: floating-point or quantised, and no single number."""
    return it.size > 1 and ("float" in it.type.name or it.quantizer is not None)


def _kind(item: Found, it: TorchTensor | Skipped, chosen: Choice) -> str | None:
    """None for what is not part of the model and says little: counters, the states of random generators."""
    if item.optimizer:
        return "optimizer"
    if chosen.holds(item.path):
        return "weight"
    return "array" if isinstance(it, TorchTensor) and _is_likely(it) else None
