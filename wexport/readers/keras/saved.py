"""A whole model as a Keras file has it: not the weights alone, but its config, and how it was compiled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wexport.files import archives
from wexport.files.source import Source
from wexport.model.tensors import Model
from wexport.readers.hdf5 import walk
from wexport.readers.keras import config as keras_config
from wexport.readers.keras import config_files, legacy, v3


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedModel:
    """What a file holds of a model; all of it inert.

    config: the model's, in the words of the Keras that wrote it. compiled: how it was compiled, {} where the file does
    not tell. weights: as the file's reader gives them. reader: the name of that reader. unpacked_bytes: what the
    members of a zip come to; 0 for HDF5.
    """

    config: Mapping[str, Any]
    compiled: Mapping[str, Any]
    weights: Model
    reader: str
    unpacked_bytes: int = 0

    @property
    def is_zip(self) -> bool:
        return self.reader == v3.READER.name


def read_saved(source: Source) -> SavedModel | None:
    """The model in a `.keras` or whole-model `.h5` file; None for what is neither, or holds weights alone.

    Raises ReadError, and those below it, as the readers of these files do.
    """
    if v3.sniff(source) and source.head.startswith(archives.SIGNATURES):
        return _zipped(source)
    return _hdf5(source) if legacy.sniff(source) else None


def _zipped(source: Source) -> SavedModel | None:
    archive = archives.open_archive(source)
    config = keras_config.parse(archive.read(config_files.CONFIG, keras_config.MAX_CONFIG_BYTES))
    if not config:
        return None
    return SavedModel(
        config={name: value for name, value in config.items() if name != "compile_config"},
        compiled=_mapping(config.get("compile_config")),
        weights=v3.open_(source),
        reader=v3.READER.name,
        unpacked_bytes=sum(member.file_size for member in archive.members.values()),
    )


def _hdf5(source: Source) -> SavedModel | None:
    tree = walk.open_file(source)
    config = keras_config.parse(tree.text("", "model_config"))
    if config is None:
        return None
    compiled = _mapping(keras_config.parse(tree.text("", "training_config")))
    return SavedModel(config=config, compiled=compiled, weights=legacy.open_(source), reader=legacy.READER.name)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
