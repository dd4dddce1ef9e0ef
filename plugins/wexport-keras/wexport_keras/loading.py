"""A model from its file, ready to run, if it runs no code but Keras' own or its author is trusted."""

from __future__ import annotations

import importlib.util
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from wexport import ReadError, UsageError, archives
from wexport.readers import hdf5_walk, keras3, keras_config, keras_legacy
from wexport.tensors import Source
from wexport_keras.trust import Suspect, suspects


def load(path: str | os.PathLike[str], *, trust: bool = False, code: Sequence[str | os.PathLike[str]] = ()) -> Any:
    """The Keras model in a `.keras` or whole-model `.h5` file.

    trust: run what code the file brings or needs. code: Python files that define its custom layers; they are run.

    Raises UsageError if the model would run code and is not trusted, ReadError if it cannot be loaded.
    """
    path = Path(path)
    if code and not trust:
        raise UsageError("code is given, and the model is not trusted", hint="add --trust if you know both")
    config, compiled = _configs(path)
    objects = {name: value for file in code for name, value in _run(Path(file)).items()}
    found = list(suspects(config))
    if found and not trust:
        raise _refusal(path, found)
    unknown_loss = next(suspects(compiled, "its training"), None)
    try:
        with keras.saving.custom_object_scope(objects), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on optimizers that were never used, and the like
            return keras.saving.load_model(
                path, safe_mode=not trust, compile=compiled is not None and (unknown_loss is None or trust)
            )
    except Exception as error:  # Keras tells damaged files and missing classes by any kind of exception
        said = " ".join(str(error).split())
        raise ReadError(
            f"{path}: Keras {keras.__version__} cannot load it: {said[:300]}",
            hint="name the Python file of its custom layers with --code" if found and not code else "",
        ) from None


def _configs(path: Path) -> tuple[Mapping[str, Any], Any]:
    """The model's config, and that of its training or None, read as inert text by wexport's own readers."""
    with Source(path) as source:
        if keras3.sniff(source) and source.head.startswith(archives.SIGNATURES):
            text: Any = archives.open_archive(source).read(keras3.CONFIG, keras_config.MAX_CONFIG_BYTES)
            config = keras_config.parse(text)
            compiled = (config or {}).get("compile_config")
            config = {name: value for name, value in config.items() if name != "compile_config"} if config else None
        elif keras_legacy.sniff(source):
            tree = hdf5_walk.open_file(source)
            config = keras_config.parse(tree.text("", "model_config"))
            compiled = keras_config.parse(tree.text("", "training_config"))
        else:
            config = None
        if config is None:
            raise ReadError(
                f"{path}: is no model that can be run: it holds no layers, or weights alone",
                hint="save it whole, with model.save('model.keras')",
            )
        return config, compiled


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
