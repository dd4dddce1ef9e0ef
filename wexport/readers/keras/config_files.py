"""A model's config where it lies beside its weights: as `model.save(zipped=False)` or `to_json()` wrote it.

A config that lies beside may be another model's. It counts only if it tells of every group of weights that there is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wexport.errors import ReadError
from wexport.files.external import ExternalFiles
from wexport.files.source import Source
from wexport.readers.keras import config as keras_config

CONFIG, METADATA = "config.json", "metadata.json"
MAX_METADATA_BYTES = 1 << 20
_ENDS = (".weights.h5", ".weights.json", ".h5", ".hdf5")


def configs(source: Source) -> list[Mapping[str, Any]]:
    """What may be the model's config, the likeliest first: of the weights' own name, then of the folder's."""
    stem = next(
        (source.path.name.removesuffix(end) for end in _ENDS if source.path.name.endswith(end)), source.path.stem
    )
    names = dict.fromkeys((f"{stem}.json", CONFIG, "model.json"))
    found = []
    for name in names:
        config = keras_config.parse(_read(source, name, keras_config.MAX_CONFIG_BYTES))
        if config and keras_config.holders(config):
            found.append(config)
    return found


def metadata(source: Source) -> bytes | None:
    """The text that Keras writes beside the config, of the version that saved the model."""
    return _read(source, METADATA, MAX_METADATA_BYTES)


def _read(source: Source, name: str, limit: int) -> bytes | None:
    """A small file beside the weights; None if there is none, or only a link to one."""
    if not source.path.with_name(name).is_file():
        return None
    try:
        external = ExternalFiles(source)
        size = external.size(name)
        return external.read_at(name, 0, size) if size <= limit else None
    except ReadError:
        return None
