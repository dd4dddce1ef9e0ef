"""Models that are spread over several files, which an index beside them names.

`model.safetensors.index.json` holds `weight_map`, the file of each tensor. The data files of TensorFlow's checkpoints
go by the name of their index: `ckpt-1.data-00000-of-00002` belongs to `ckpt-1.index`. The `.distcp` files of a folder
that torch.distributed.checkpoint wrote belong to its `.metadata`. Such an index is a model; the files that it names are
parts of it, and no models of their own where the index is read, too.

No reader opens `tf_model.h5.index.json`: the files that it names are read each as the model that it is.
"""

from __future__ import annotations

import glob
import json
import os
import re
from pathlib import Path
from typing import Any

from wexport.errors import BudgetError, HostileFileError, ReadError

SUFFIX = ".index.json"
KERAS = ".weights.json"
"""How the index of Keras' sharded weights ends; the files that it names end in `.weights.h5`."""
READ = (KERAS, ".safetensors" + SUFFIX, ".bin" + SUFFIX, ".pt" + SUFFIX, ".pth" + SUFFIX)
"""How the names of such indexes end that a reader opens."""
CHECKPOINT_SUFFIX = ".index"
DISTRIBUTED, DISTRIBUTED_PART = ".metadata", ".distcp"
"""The file that tells of the others in a folder of torch.distributed.checkpoint, and how those end."""
MAX_INDEX_BYTES = 64 << 20
"""An index has about a hundred bytes for each tensor; today's largest models have 90,000."""
MAX_FILES = 10_000
"""Which an index names. Each is looked at several times before it is read, and no model is in that many."""
_PLAIN_NAME = re.compile(r"[^/\\:\0]{1,255}")


def begins_as_index(head: bytes, suffix: str) -> bool:
    """Whether a file that begins so is an index of files of this suffix."""
    return head.lstrip().startswith(b"{") and b'"weight_map"' in head and f'{suffix}"'.encode() in head


def read_index(path: Path) -> dict[str, str]:
    """The file of each tensor: a plain name, of a file in the folder of the index, and of the suffix in its name.

    Raises BudgetError for an index of more than 64 MiB or 10,000 files, HostileFileError for one that names others,
    ReadError for what is not an index.
    """
    found = _weight_map(path)
    suffix = ".weights.h5" if path.name.endswith(KERAS) else Path(path.name.removesuffix(SUFFIX)).suffix
    files = set(found.values())
    if len(files) > MAX_FILES:
        raise BudgetError(
            f"{path}: names {len(files):,} files, {MAX_FILES:,} are allowed", hint="name the files themselves instead"
        )
    for file in files:
        if not _PLAIN_NAME.fullmatch(file) or not file.endswith(suffix) or file in (".", "..", path.name):
            raise HostileFileError(
                f"{path}: names {file[:200]!r}, which is not a {suffix} file of its own folder",
                hint="put the shards beside their index",
            )
    return found


def _weight_map(path: Path) -> dict[str, str]:
    if not path.is_file():
        raise ReadError(f"{path}: is not a regular file", hint="name a file, not a pipe, device or socket")
    size = path.stat().st_size
    if size > MAX_INDEX_BYTES:
        raise BudgetError(f"{path}: an index of {size:,} bytes, {MAX_INDEX_BYTES:,} are allowed")
    try:
        index = json.loads(path.read_bytes())
    except OSError as error:
        raise ReadError(f"{path}: cannot be opened: {error.strerror}", hint="check its permissions") from None
    except (ValueError, RecursionError) as error:
        raise ReadError(
            f"{path}: is not an index of a sharded model: {str(error)[:200]}", hint="copy or save it again"
        ) from None
    found: Any = index.get("weight_map") if isinstance(index, dict) else None
    if isinstance(found, dict) and path.name.endswith(KERAS):
        # One layer may be in several files.
        lists = {name: files if isinstance(files, list) else [files] for name, files in found.items()}
        found = {f"{name}#{number}": file for name, files in lists.items() for number, file in enumerate(files)}
    if not isinstance(found, dict) or not all(isinstance(file, str) for file in found.values()):
        raise ReadError(f"{path}: has no weight_map of names to files", hint="name the files of the model instead")
    return found


def parts(path: Path) -> list[Path]:
    """The files that an index names, in the order of their names; none for a file that is not an index, or not read."""
    if path.name.endswith(CHECKPOINT_SUFFIX):
        return _checkpoint_parts(path)
    if path.name == DISTRIBUTED:
        return sorted(path.parent.glob(f"*{DISTRIBUTED_PART}"))
    if not path.name.endswith(READ):
        return []
    try:
        return [path.with_name(file) for file in sorted(set(read_index(path).values()))]
    except ReadError:
        return []  # whoever reads it will tell


def checkpoint_part(path: Path, number: int, count: int) -> Path:
    """The data file of a checkpoint of TensorFlow's with this number, from 0, of this many. path: of the index."""
    return path.with_name(f"{path.name.removesuffix(CHECKPOINT_SUFFIX)}.data-{number:05}-of-{count:05}")


def _checkpoint_parts(path: Path) -> list[Path]:
    """Those that are there; the index is not read for it."""
    first = checkpoint_part(path, 0, 1)
    if first.is_file():  # nearly always, and a folder may hold thousands of checkpoints
        return [first]
    pattern = glob.escape(checkpoint_part(path, 0, 0).name.removesuffix("00000-of-00000"))
    return sorted(found for found in path.parent.glob(f"{pattern}?????-of-?????") if found.is_file())


def total_size(path: Path) -> int:
    """Bytes of a file and the parts that it names; 0 for what is not there."""
    return sum(known.st_size for known in _stats(path))


def disk_size(path: Path) -> int:
    """What they take on disk: less than their bytes where they have holes."""
    return sum(min(known.st_size, getattr(known, "st_blocks", 1 << 54) * 512) for known in _stats(path))


def _stats(path: Path) -> list[os.stat_result]:
    return [os.stat(file) for file in (path, *parts(path)) if os.path.isfile(file)]  # noqa: PTH116, PTH113
