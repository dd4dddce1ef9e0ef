"""What each layer gives, and is given, while a model runs.

The `call` of each layer is replaced for the time of a run, on the instance, so that any model that calls layers can be
watched: functional or not, nested, with layers that are shared. The tensors may be symbols of a compiler's trace.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from wexport_keras.places import RECURRENT, Place

_CALLS = ("call", "quantized_call")


@dataclass(frozen=True)
class Seen:
    """A tensor that passed by. number: of several that the layer gave, over all its calls. role: output or input."""

    place: Place
    role: str
    number: int

    @property
    def leaf(self) -> str:
        """Last part of its slot."""
        return f"{self.role}_{self.number}" if self.number else self.role

    @property
    def slot(self) -> str:
        return f"{self.place.prefix}/{self.leaf}"


Touch = Callable[[Seen, Any], Any]
"""Called with each tensor that passes; returns what is to go on in its stead."""


@contextlib.contextmanager
def capturing(places: Sequence[Place], touch: Touch, *, inputs: bool = False) -> Iterator[None]:
    """While entered, `touch` sees what the layers at these places give, and for recurrent ones with `inputs` also what
    they are given.
    """
    counts: dict[tuple[int, str], int] = {}

    def seen(place: Place, role: str, tensor: Any) -> Any:
        if tensor is None or not hasattr(tensor, "shape"):
            return tensor
        number = counts.get((id(place), role), 0)
        counts[id(place), role] = number + 1
        return touch(Seen(place, role, number), tensor)

    def watching(place: Place, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            if inputs and args and isinstance(place.layer, RECURRENT):
                args = (seen(place, "input", args[0]), *args[1:])
            given = call(*args, **kwargs)
            return keras.tree.map_structure(lambda tensor: seen(place, "output", tensor), given)

        return watched

    patched = []
    try:
        for place in places:
            for name in _CALLS:
                call = getattr(place.layer, name, None)
                if call is not None:
                    # Past Keras' and torch's own __setattr__, which would take a function for something to track.
                    place.layer.__dict__[name] = watching(place, call)
                    patched.append((place.layer, name))
        yield
    finally:
        for layer, name in patched:
            del layer.__dict__[name]
