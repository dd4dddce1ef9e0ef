"""A file of torch as a model of the table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from wexport import Model, ReadError, Skipped, Source, Tensor
from wexport.reading import state_dict
from wexport_torch import choice, classes, layouts, places, stored, values
from wexport_torch.choice import Choice
from wexport_torch.layouts import Loaded
from wexport_torch.places import Found, Other
from wexport_torch.stored import LeftOutError, Stored


def open_(source: Source) -> Model:
    """The model in a file that `torch.save` or `torch.jit.save` wrote.

    Tensors are in the order of the state dict. Raises ReadError for a damaged file, for one of a layout that is not
    read, and for one whose tensors only code could reach; HostileFileError and BudgetError for one past the bounds.
    """
    loaded = layouts.load(source)
    found = places.walk(loaded.root, str(source.path))
    if not found.tensors:
        _refuse_what_only_code_reaches(source, found.others)
    reading = _Reading(source, loaded)
    tensors = reading.model(found)
    return Model(tensors=tensors, format=loaded.format, framework="torch", skipped=reading.skipped)


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
    skipped: list[Skipped] = field(default_factory=list)
    _taken: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._budget = values.Budget(self.source.size)

    def model(self, found: places.Places) -> list[Tensor]:
        """All tensors that are wanted, those of the model first."""
        told = [(item, self._told(item)) for item in found.tensors if self.source.optimizer or not item.optimizer]
        likely = [item.path for item, it in told if isinstance(it, Stored) and not item.optimizer and _is_likely(it)]
        chosen = choice.model_in(found, likely)
        weights: list[tuple[Found, Tensor]] = []
        others: list[Tensor] = []
        for item, it in told:
            name = self._free(chosen.name(item.path))
            kind = _kind(item, it, chosen)
            if isinstance(it, Skipped):
                self.skipped.append(replace(it, name=name))
            elif kind is None:
                self.skipped.append(Skipped("tensor beside the model", name))
            else:
                tensor = self._tensor(name, item, it)
                if tensor is not None and kind == "weight":
                    weights.append((item, tensor))
                elif tensor is not None:
                    others.append(replace(tensor, kind=kind))
        self.skipped += [self._other(other, chosen) for other in found.others]
        if found.more:
            self.skipped.append(Skipped("more of the like", f"{found.more:,} more"))
        return [*_described(weights), *others]

    def _told(self, item: Found) -> Stored | Skipped:
        try:
            return stored.tensor(item.record)
        except LeftOutError as error:
            return Skipped(error.what, "", detail=error.detail)
        except ReadError as error:
            return Skipped("unreadable tensor", "", True, str(error))

    def _tensor(self, name: str, item: Found, it: Stored) -> Tensor | None:
        try:
            found = values.tensor(name, it, self.loaded.storages, self._budget, str(self.source.path))
        except ReadError as error:  # the others are still worth having
            self.skipped.append(Skipped("unreadable tensor", name, True, str(error)))
            return None
        return replace(found, trainable=it.needs_gradient) if it.parameter or item.module is not None else found

    def _other(self, other: Other, chosen: Choice) -> Skipped:
        what = f"{other.what} that holds tensors" if other.what == "object" and other.stored else other.what
        return Skipped(what, chosen.name(other.path), other.what == "object" and other.stored > 0, other.detail)

    def _free(self, wanted: str) -> str:
        """Names are unique, though a dict may hold `a.b` beside an `a` that holds `b`, and 1 beside "1"."""
        name, number = wanted, 2
        while name in self._taken:
            name, number = f"{wanted}~{number}", number + 1
        self._taken.add(name)
        return name


def _is_likely(it: Stored) -> bool:
    """Whether it may be a parameter: floating-point or quantised, and no single number."""
    return it.size > 1 and ("float" in it.type.name or it.quantizer is not None)


def _kind(item: Found, it: Stored | Skipped, chosen: Choice) -> str | None:
    """None for what is no part of the model and says little: counters, the states of random generators."""
    if item.optimizer:
        return "optimizer"
    if chosen.holds(item.path):
        return "weight"
    return "array" if isinstance(it, Stored) and _is_likely(it) else None


def _described(weights: list[tuple[Found, Tensor]]) -> Iterator[Tensor]:
    """The model's tensors with what their names and shapes tell, and their modules' classes where there are any."""
    by_name = {tensor.name: item for item, tensor in weights}
    for tensor in state_dict.describe([tensor for _, tensor in weights], ordered=True):
        # The biases of a recurrent layer are one tensor now, under both names.
        first = tensor.name if tensor.name in by_name else tensor.name.split(" + ")[0].split(", ")[0]
        item = by_name.get(first)
        yield classes.told(tensor, item.module, item.path[-1]) if item is not None and item.module else tensor
