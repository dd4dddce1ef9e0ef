"""Which of what is stored, and of what the graph makes of it, becomes a tensor: each number once.

A kernel that is joined of slices is told as the kernel, and not as what was sliced, if all of that is in it. Where a
part of what is stored would be missing, it is told as it is stored, and the fold is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from wexport_onnx.folding import Folder
from wexport_onnx.nouns import Part
from wexport_onnx.values import Stored, Use, meanings, origins

MAX_TRACED = 8 << 20
"""Values of which it is looked up one by one whether all are in folds; what has more is told as it is stored."""


@dataclass(frozen=True, slots=True)
class Settled:
    """rows: what is told. gone: factors and offsets that are part of another tensor, and the name of that."""

    rows: list[Stored]
    gone: dict[Stored, str]


def settle(everything: Sequence[Stored], folder: Folder) -> Settled:
    """everything: what is stored and what is made of it, in the order in which it was met."""
    made = [stored for stored in everything if stored.made is not None]
    if not made:
        return Settled(list(everything), {})
    wanted = {stored for stored in made if any(use.described or not use.layer.standard for use in meanings(stored))}
    while True:
        whole = _whole(wanted, folder)
        lost = {fold for fold in wanted if not all(_is_described(origin, whole) for origin in _main(fold))}
        if not lost:
            break
        wanted -= lost
    gone = _factors(made, wanted)
    rows = [
        stored
        for stored in everything
        if stored in wanted or (stored.made is None and stored not in gone and (stored not in whole or stored.uses))
    ]
    _hand_down((fold for fold in made if fold not in wanted), set(rows))
    for fold in wanted:
        _name(fold, wanted)
    return Settled(rows, {stored: fold.tensor.name for stored, fold in gone.items()})


def _is_described(origin: Stored, whole: set[Stored]) -> bool:
    return origin in whole or any(use.described for use in meanings(origin))


def _main(fold: Stored) -> list[Stored]:
    """What the numbers of a fold come from."""
    found: dict[Stored, None] = {}
    seen, waiting = {fold}, [fold]
    while waiting:
        here = waiting.pop()
        if here.made is None:
            found[here] = None
            continue
        for number in here.made.main:
            below = here.made.inputs[number].stored
            if below not in seen:
                seen.add(below)
                waiting.append(below)
    return list(found)


def _whole(wanted: Iterable[Stored], folder: Folder) -> set[Stored]:
    """What is in folds with each of its values."""
    parts: dict[Stored, list[Stored]] = {}
    for fold in wanted:
        for origin in _main(fold):
            parts.setdefault(origin, []).append(fold)
    return {origin for origin, folds in parts.items() if _covers(origin, folds, folder)}


def _covers(origin: Stored, folds: list[Stored], folder: Folder) -> bool:
    size = origin.tensor.size
    if size > MAX_TRACED or sum(fold.tensor.size for fold in folds) < size:
        return False
    there = np.zeros(size, bool)
    for fold in folds:
        if fold.tensor.size > MAX_TRACED:
            return False
        places = folder.places(fold, origin).reshape(-1)
        there[places[places >= 0]] = True
    return bool(there.all())


def _hand_down(folds: Iterable[Stored], rows: set[Stored]) -> None:
    """What uses a fold that is not told uses what that is made of; where nothing does, the node that folds it does."""
    for fold in folds:
        uses = list(meanings(fold))
        layer = uses[0].layer if uses else fold.folded_by
        for number, origin in enumerate(origins(fold)):
            if origin in rows and not origin.uses and layer is not None:
                origin.uses.append(Use(layer, uses[0].number if uses else number, origin.tensor.name, None, (Part(),)))


def _factors(made: Sequence[Stored], wanted: set[Stored]) -> dict[Stored, Stored]:
    """Those that are not numbers of a fold's own, and are in nothing but folds that are told."""
    found: dict[Stored, Stored] = {}
    elsewhere: set[Stored] = set()
    for fold in made:
        if fold in wanted:
            main = set(_main(fold))
            for origin in origins(fold):
                if origin not in main:
                    found[origin] = fold
                else:
                    elsewhere.add(origin)
    for fold in made:
        if fold not in wanted and fold.uses:
            elsewhere.update(origins(fold))
    return {stored: fold for stored, fold in found.items() if stored not in elsewhere and not stored.uses}


def _name(fold: Stored, wanted: set[Stored]) -> None:
    """A fold that has all values of one thing stored, and no other's, goes by the name of that."""
    main = _main(fold)
    others = {origin for other in wanted if other is not fold for origin in _main(other)}
    if len(main) == 1 and main[0].tensor.size == fold.tensor.size and main[0] not in others and not main[0].uses:
        name = main[0].tensor.name
        fold.tensor = replace(fold.tensor, name=name)
        fold.uses = [replace(use, name=name) for use in fold.uses]
