"""Which part of what was saved is the model: all of it, one dict of a checkpoint, or several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wexport_torch.places import Path, Places


@dataclass(frozen=True, slots=True)
class Choice:
    """The parts that are models, by their paths, which are of one length.

    above: what their tensors' names leave out: the way to the only model; nothing where there are several, so that
    `generator.conv.weight` and `ema.conv.weight` stay apart.
    """

    parts: frozenset[Path]
    above: Path

    def holds(self, path: Path) -> bool:
        """Whether a tensor is of a model."""
        length = len(next(iter(self.parts)))
        return path[:length] in self.parts

    def name(self, path: Path) -> str:
        """What a tensor is called: the key of its state dict where it is in the model, else the whole path."""
        own = path[len(self.above) :] if self.holds(path) else path
        return ".".join(own) or "tensor"


def part_in(places: Places, part: str | None) -> Choice | None:
    """The part that is asked for by the keys that lead to it, as in `model_ema`; None if no tensor is below it."""
    path = tuple(part.split(".")) if part else ()
    if not path or not any(item.path[: len(path)] == path and len(item.path) > len(path) for item in places.tensors):
        return None
    return Choice(frozenset({path}), path)


def model_in(places: Places, likely: Sequence[Path]) -> Choice:
    """Finds the model from the top down.

    likely: paths of tensors that may be parameters: floating-point or quantised, of more than one value, and of no
    optimizer. A level is the model if it is a module, if it has such tensors of its own under dotted names, or if
    nothing below it looks like a model. If one thing below does, it is looked at in turn; if several do, each is one.
    """
    dicts = places.state_dicts | places.modules
    inside = [(path, _innermost(path, dicts)) for path in likely]
    here: Path = ()
    while here not in places.modules:
        inside = [(path, depth) for path, depth in inside if path[: len(here)] == here]
        if any(len(path) == len(here) + 1 and "." in path[-1] for path, _ in inside):
            break
        below = {path[: len(here) + 1] for path, depth in inside if depth > len(here)}
        if len(below) > 1:
            return Choice(frozenset(below), ())
        if not below:
            break
        (here,) = below
    return Choice(frozenset({here}), here)


def _innermost(path: Path, dicts: set[Path]) -> int:
    """How far down the innermost dict or module is that a tensor is in; 0 for none but what was saved itself."""
    return next((depth for depth in range(len(path) - 1, 0, -1) if path[:depth] in dicts), 0)
