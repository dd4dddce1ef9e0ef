"""The values themselves, as arrays by slot, for whoever wants more than figures. All is held in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wexport import UsageError
from wexport.reading import roles
from wexport_keras.capturing import Seen
from wexport_keras.describing import described, to_numpy
from wexport_keras.inputs import batches_of
from wexport_keras.observing import Observer
from wexport_keras.places import chosen, places

Array = np.ndarray[Any, Any]


def layer(model: Any, pattern: str) -> Any:
    """The layer of a model whose path (`encoder/lstm_1`) or slot fits a name or pattern.

    Raises UsageError if none does, or several do.
    """
    found = chosen(places(model, described(model)), [pattern])
    if len(found) > 1:
        raise UsageError(f"{pattern!r} fits {', '.join(place.path for place in found[:8])}", hint="name one of them")
    return found[0].layer


def weights(model: Any, layers: str | Sequence[str] = "*") -> dict[str, Array]:
    """The weights of a model by slot, for the layers whose path or slot fits a pattern, and what is inside them."""
    whole = described(model)
    patterns = _patterns(layers)
    wanted = None if patterns == ["*"] else {place.path for place in chosen(places(model, whole), patterns)}
    found = {}
    for tensor, slot in zip(whole.model.tensors, whole.slots(), strict=True):
        if wanted is None or any(f"{tensor.layer}/".startswith(f"{path}/") for path in wanted):
            parts = list(tensor.chunks(1 << 62))
            found[slot] = (np.concatenate(parts) if parts else np.empty(0, tensor.dtype)).reshape(tensor.shape)
    return found


def by_gate(array: Array, layer_class: str) -> dict[str, Array]:
    """A kernel or bias of a recurrent layer gate by gate: i f c o for an LSTM, z r h for a GRU.

    Raises UsageError for a class without gates, or an array that does not divide into them.
    """
    names = roles.gates(layer_class)
    if not names or array.shape[-1] % len(names):
        raise UsageError(f"a {layer_class} of the shape {array.shape} has no gates", hint="LSTM and GRU kinds have")
    return dict(zip(names, np.split(array, len(names), axis=-1), strict=True))


def outputs(model: Any, inputs: Any, layers: str | Sequence[str] = "*", *, training: bool = False) -> dict[str, Array]:
    """What the layers of a model give on some inputs, by slot: `lstm/output`, (inputs, ...).

    Raises UsageError for inputs that do not fit the model, or layers that it does not have.
    """
    observer = Observer(model, layers=_patterns(layers), training=training)
    return _joined(observer.each_output(batches_of(model, inputs)))


def gradients(
    model: Any,
    inputs: Any,
    targets: Any,
    layers: str | Sequence[str] = "*",
    *,
    of: str = "weights",
    loss: str | None = None,
    training: bool = False,
) -> dict[str, Array]:
    """Gradients of the loss over all inputs, by slot.

    of: "weights", by each trainable weight of the layers, or "outputs", by what they give, and by what recurrent ones
    are given. loss: one of Keras'; what the model was compiled with by default.
    Raises UsageError as `outputs` does, and on a backend without gradients.
    """
    if of not in ("weights", "outputs"):
        raise UsageError(f"gradients of {of!r} are not known", hint="of weights or of outputs")
    patterns = _patterns(layers)
    observer = Observer(model, layers=patterns, output_gradients=of == "outputs", loss=loss, training=training)
    passed: list[tuple[Seen, Array]] = []
    by_weights = observer.differentiate(
        batches_of(model, inputs, targets, loss), lambda seen, array: passed.append((seen, array))
    )
    wanted = {place.path for place in observer.places}
    if of == "outputs":
        return _joined((seen, array) for seen, array in passed if seen.place.path in wanted)
    return {
        tensor.slot or "": np.concatenate(list(tensor.chunks(1 << 62))).reshape(tensor.shape)
        for tensor in by_weights
        if patterns == ["*"] or any(f"{tensor.layer}/".startswith(f"{path}/") for path in wanted)
    }


def _joined(passing: Any) -> dict[str, Array]:
    found: dict[str, list[Array]] = {}
    for seen, array in passing:
        found.setdefault(seen.slot, []).append(to_numpy(array, array.dtype.name))
    return {slot: np.concatenate(arrays) for slot, arrays in found.items()}


def _patterns(layers: str | Sequence[str]) -> list[str]:
    return [layers] if isinstance(layers, str) else list(layers)
