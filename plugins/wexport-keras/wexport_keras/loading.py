"""A model from its file, ready to run, if it runs no code but Keras' own or its author is trusted."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

import wexport
from wexport import ReadError, UsageError, archives
from wexport.errors import BudgetError
from wexport.readers import hdf5_walk, keras3, keras_config, keras_legacy
from wexport.tensors import Source
from wexport_keras.trust import Suspect, suspects


def load(path: str | os.PathLike[str], *, trust: bool = False, code: Sequence[str | os.PathLike[str]] = ()) -> Any:
    """The Keras model in a `.keras` or whole-model `.h5` file, with its loss, if that is one of Keras' own.

    trust: run what code the file brings or needs. code: Python files that define its custom layers; they are run.

    Raises UsageError if the model would run code and is not trusted, ReadError if it cannot be loaded.
    """
    path = Path(path)
    if code and not trust:
        raise UsageError("code is given, and the model is not trusted", hint="add --trust if you know both")
    config, compiled, reader = _configs(path)
    found = list(suspects(config))
    if found and not trust:
        raise _refusal(path, found)
    _read_through(path, reader)
    objects = {name: value for file in code for name, value in _run(Path(file)).items()}
    with keras.saving.custom_object_scope(objects):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # on optimizers that were never used, and the like
                model = keras.saving.load_model(path, safe_mode=not trust, compile=False)
        except Exception as error:  # Keras tells damaged files and missing classes by any kind of exception
            said = " ".join(str(error).split())
            raise ReadError(
                f"{path}: Keras {keras.__version__} cannot load it: {said[:300]}",
                hint="name the Python file of its custom layers with --code"
                if found and not code
                else "if another version of Keras wrote it, run it there, or save it again with this one",
            ) from None
        if isinstance(compiled, Mapping) and (trust or not any(suspects(compiled))):
            _compile(model, compiled)
    return model


def _compile(model: Any, compiled: Mapping[str, Any]) -> None:
    """Give a model its loss, which is all of its training that is needed; without, if Keras does not know it."""
    with contextlib.suppress(Exception):
        model.compile(loss=_loss(compiled.get("loss")), loss_weights=compiled.get("loss_weights"))


def _loss(config: Any) -> Any:
    """A loss, or a list or mapping of them, by its config. Raises what Keras does if it knows none such."""
    if isinstance(config, str) or (isinstance(config, Mapping) and "class_name" in config):
        return keras.losses.get(config)
    if isinstance(config, Mapping):
        return {name: _loss(each) for name, each in config.items()}
    return [_loss(each) for each in config] if isinstance(config, (list, tuple)) else config


def _read_through(path: Path, reader: str) -> None:
    """Read the file as a stranger's, in a child process, before Keras reads it in this one.

    Raises ReadError if anything in it leads out of it, or could not be read.
    """
    found = wexport.inspect(path, reader=reader, detail="summary", optimizer=True).result
    if found.problems:
        first = found.problems[0]
        raise ReadError(
            f"{path}: Keras is not let near it: {first.name}: {first.what}{first.detail and f': {first.detail}'}",
            hint="save the model again",
        )
    if soft := found.left_out.get("soft link"):
        raise ReadError(f"{path}: Keras is not let near it: {soft[0]} is a soft link", hint="save the model again")


def _configs(path: Path) -> tuple[Mapping[str, Any], Any, str]:
    """The model's config, that of its training or None, and who reads the file: as inert text, by wexport's readers."""
    with Source(path) as source:
        if keras3.sniff(source) and source.head.startswith(archives.SIGNATURES):
            _check_suffix(path, "a zip", (".keras",))
            archive = archives.open_archive(source)
            unpacked, most = sum(member.file_size for member in archive.members.values()), (1 << 30) + 200 * source.size
            if unpacked > most:
                raise BudgetError(f"{path}: unpacks to {unpacked:,} bytes, {most:,} are allowed")
            config = keras_config.parse(archive.read(keras3.CONFIG, keras_config.MAX_CONFIG_BYTES))
            reader, compiled = keras3.READER.name, (config or {}).get("compile_config")
            config = {name: value for name, value in config.items() if name != "compile_config"} if config else None
        elif keras_legacy.sniff(source):
            _check_suffix(path, "HDF5", (".h5", ".hdf5"))
            tree = hdf5_walk.open_file(source)
            config = keras_config.parse(tree.text("", "model_config"))
            reader, compiled = keras_legacy.READER.name, keras_config.parse(tree.text("", "training_config"))
        else:
            config = None
        if config is None:
            raise ReadError(
                f"{path}: is no model that can be run: it holds no layers, or weights alone",
                hint="save it whole, with model.save('model.keras')",
            )
        return config, compiled, reader


def _check_suffix(path: Path, what: str, suffixes: Sequence[str]) -> None:
    """Keras goes by the name, and would else read another half of a file that is both."""
    if path.suffix not in suffixes:
        raise ReadError(f"{path}: is {what}, and Keras goes by the name", hint=f"rename it to {path.stem}{suffixes[0]}")


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
        raise UsageError(f"{file}: does not exist", hint="--code takes the Python file of the model's custom layers")
    spec = importlib.util.spec_from_file_location(f"wexport_code_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise UsageError(f"{file}: is no Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # it is the user's own code
        raise UsageError(f"{file}: {type(error).__name__}: {error}") from None
    return {name: value for name, value in vars(module).items() if callable(value) and not name.startswith("_")}
