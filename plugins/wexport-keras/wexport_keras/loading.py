"""A model from its file, ready to run, if it runs no code but Keras' own or its author is trusted."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

import wexport
from wexport import BudgetError, MissingFileError, Model, ReadError, Source, UsageError, WexportError
from wexport.keras_files import SavedModel, read_saved
from wexport_keras.filling import MisfitError, fill
from wexport_keras.legacy import as_meant, modernised
from wexport_keras.trust import Suspect, suspects


@dataclass(frozen=True)
class _Saved:
    """A whole model as its file has it, read by wexport's own readers. config: of the model, in Keras 3's words."""

    path: Path
    config: Mapping[str, Any]
    written: SavedModel

    @property
    def weights(self) -> Model:
        return self.written.weights

    @property
    def has_assets(self) -> bool:
        """Whether layers keep more than weights in the file, such as a vocabulary."""
        return any(skipped.what == "asset" for skipped in self.weights.skipped)


def load(path: str | os.PathLike[str], *, trust: bool = False, code: Sequence[str | os.PathLike[str]] = ()) -> Any:
    """The Keras model in a `.keras` or whole-model `.h5` file, of tf.keras 2 too, with the loss it was compiled with.

    trust: run what code the file brings or needs. code: Python files that define its custom layers; they are run.

    Raises UsageError if the model would run code and is not trusted, ReadError if it cannot be loaded.
    """
    path = Path(path)
    if code and not trust:
        raise UsageError("code is given, and the model is not trusted", hint="add --trust if you know both")
    with Source(path) as source:
        saved = _read(source)
        found = list(suspects(saved.config))
        if found and not trust:
            raise _refusal(path, found)
        objects = {name: value for file in code for name, value in _run(Path(file)).items()}
        hint = "name the Python file of its custom layers with --code" if found and not code else ""
        with _telling(path, hint):
            model = _built(saved, objects, trust=trust)
    with _telling(path, hint), keras.saving.custom_object_scope(objects):
        if model is None:
            _look_over(saved, trust=trust)
            model = keras.saving.load_model(path, compile=False, safe_mode=not trust)
        _compile(model, saved.written.compiled, trust=trust)
    return model


@contextlib.contextmanager
def _telling(path: Path, hint: str) -> Iterator[None]:
    """Keras tells damaged files and missing classes by any kind of exception; here they become one."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except WexportError:
        raise
    except Exception as error:
        raise ReadError(f"{path}: Keras {keras.__version__} cannot load it: {_reason(error)}", hint=hint) from None


def _read(source: Source) -> _Saved:
    """What is in a file. Raises ReadError for one that holds no whole model, and as the readers do."""
    saved = read_saved(source)
    if saved is None:
        raise ReadError(
            f"{source.path}: is not a model that can be run: it holds no layers, or weights alone",
            hint="save it whole, with model.save('model.keras')",
        )
    problem = next((skipped for skipped in saved.weights.skipped if skipped.problem), None)
    if problem is not None:
        raise ReadError(f"{source.path}: {problem.name} cannot be read: {problem.what} {problem.detail}".rstrip())
    return _Saved(source.path, modernised(saved.config, saved.weights.framework_version), saved)


def _look_over(saved: _Saved, *, trust: bool) -> None:
    """What has to hold before Keras itself reads a file. Raises UsageError or ReadError where it does not."""
    path, zipped = saved.path, saved.written.is_zip
    suffixes = (".keras",) if zipped else (".h5", ".hdf5")
    if path.suffix not in suffixes:  # Keras goes by the name, and would read the other half of a file that is both
        raise ReadError(
            f"{path}: is {'a zip' if zipped else 'HDF5'}, and Keras goes by the name",
            hint=f"rename it to {path.stem}{suffixes[0]}",
        )
    if not trust and (found := list(suspects(saved.written.config))):
        raise _refusal(path, found)
    most = (1 << 30) + 200 * path.stat().st_size
    unpacked = saved.written.unpacked_bytes
    if unpacked > most:
        raise BudgetError(f"{path}: unpacks to {unpacked:,} bytes, {most:,} are allowed")
    read = wexport.inspect(path, reader=saved.written.reader, detail="summary", optimizer=True).result
    left = [f"{one.name}: {one.what}" for one in read.problems]
    left += [f"{name}: soft link" for name in read.left_out.get("soft link", ())]
    if left:
        raise ReadError(f"{path}: Keras is not let near it: {left[0]}", hint="save the model again")


def _built(saved: _Saved, objects: Mapping[str, Any], *, trust: bool) -> Any:
    """The model with its weights, not compiled; None where only Keras itself can load it.

    That is where layers keep more in the file than weights, such as a vocabulary, and where code of the user's lays out
    weights in its own way.
    """
    if saved.has_assets:
        return None
    config = as_meant(saved.config, saved.weights.framework_version)
    with keras.saving.custom_object_scope(objects):
        model = keras.saving.deserialize_keras_object(config, safe_mode=not trust)
    try:
        fill(model, saved.weights)
    except MisfitError:
        if not trust:
            raise
        return None
    return model


def _compile(model: Any, compiled: Mapping[str, Any], *, trust: bool) -> None:
    """Give a model the loss that it was compiled with, if that is known; its optimizer and metrics are not needed."""
    loss = compiled.get("loss")
    if not compiled or (not trust and next(suspects(loss), None) is not None):
        return
    with contextlib.suppress(Exception):  # a loss that was never registered, or that Keras 3 has no more
        model.compile(loss=_losses(loss), loss_weights=compiled.get("loss_weights"))


def _losses(value: Any) -> Any:
    """Losses from their configs, in the structure that they were given in."""
    if isinstance(value, Mapping) and "class_name" not in value:
        return {name: _losses(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_losses(item) for item in value]
    if isinstance(value, Mapping):
        config = value.get("config")
        if isinstance(config, Mapping) and config.get("reduction") == "auto":  # as tf.keras calls the usual one
            value = {**value, "config": {**config, "reduction": "sum_over_batch_size"}}
    return keras.losses.get(value)


def _reason(error: BaseException) -> str:
    """What Keras says, without the configs that it says it in."""
    reason = " ".join(str(error).split())
    return reason.rpartition("Exception encountered: ")[2][:300]


def _refusal(path: Path, found: list[Suspect]) -> UsageError:
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    code = " --code FILE.py, the file that defines it" if any(one.is_custom for one in found) else ""
    return UsageError(
        f"{path}: running it would run code: {found[0]}{more}",
        hint=f"if you know who wrote the model: --trust{code}",
    )


def _run(file: Path) -> dict[str, Any]:
    """What a Python file of the user's defines."""
    if not file.is_file():
        raise MissingFileError(f"{file}: does not exist", hint="--code takes the Python file of custom layers")
    spec = importlib.util.spec_from_file_location(f"wexport_code_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise UsageError(f"{file}: is not a Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # it is the user's own code
        raise UsageError(f"{file}: {type(error).__name__}: {error}") from None
    return {name: value for name, value in vars(module).items() if callable(value) and not name.startswith("_")}
