"""Which tensors a figure of several panels shows: some slots in some of the models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from wexport.errors import UsageError
from wexport.plot.data import ORDER, Table, fetch, listed, quoted
from wexport.plot.quantities import Quantity, quantity_of
from wexport.sessions.session import opened

# Without the long columns first: a slot may be in a thousand models, of which a few are drawn.
_PLACES = f"""
SELECT model, slot, min(tensor_index) AS place
FROM weights
WHERE asked_for(slot, getvariable('slot')) AND asked_for(model, getvariable('model'))
GROUP BY model, slot, run, step
ORDER BY {ORDER}, place, slot
"""
_TENSORS = """
SELECT
    model, slot, kind, role, layer_class, canonical_shape, unit_axes, value_count, nan_count, inf_count, sample, grid,
    list_transform(gates, lambda figures: figures.gate) AS gates
FROM weights
WHERE list_contains(getvariable('slots'), slot) AND list_contains(getvariable('models'), model)
"""


@dataclass(frozen=True, slots=True)
class Picks:
    """What is shown: a row a slot, a column a model.

    of: how many models have any of the slots. rows: rows of the table by slot and model, where there is one; their
    column `gates` is a list of names. quantity: what their values are.
    """

    slots: list[str]
    models: list[str]
    of: int
    rows: dict[tuple[str, str], dict[str, Any]]
    quantity: Quantity


def pick(table: Table, slot: str, model: str, *, slots: int, models: int, models_of_several: int) -> Picks:
    """The slots and models that fit two patterns; of too many models, some evenly spread over their order.

    slots: how many there is room for. models, models_of_several: the same, for one slot and for several.
    Raises UsageError if there is none, or more slots fit than there is room for.
    """
    if models < 1:
        raise UsageError(f"shown {models} is not a number of models", hint="give 1 or more")
    nothing = f"no model has a slot {quoted(slot)}"
    with opened(table) as session:
        found = fetch(session, _PLACES, {"slot": slot, "model": model}, nothing)
        places = {row["slot"]: row["place"] for row in reversed(found)}
        names = sorted(places, key=lambda name: (places[name], name))
        if len(names) > slots:
            room = "one" if slots == 1 else f"at most {slots}"
            raise UsageError(
                f"{quoted(slot)} fits {len(names):,} slots, and the figure shows {room}",
                hint=f"choose of {listed(names)}",
            )
        everyone = list(dict.fromkeys(row["model"] for row in found))
        chosen = _spread(everyone, min(models, models_of_several) if len(names) > 1 else models)
        rows = fetch(session, _TENSORS, {"slots": names, "models": chosen}, nothing)
    by_place = {(row["slot"], row["model"]): row for row in rows}
    return Picks(names, chosen, len(everyone), by_place, quantity_of(rows))


def _spread(models: list[str], room: int) -> list[str]:
    if len(models) <= room:
        return models
    return [models[round(place * (len(models) - 1) / max(1, room - 1))] for place in range(room)]


def models_words(picks: Picks) -> str:
    """How many models are shown, of how many."""
    shown, of = len(picks.models), picks.of
    if shown == of:
        return f"{of:,} models"
    return f"{shown:,} of {of:,} models, {'evenly spread' if shown > 1 else 'the first'}"
