"""Keras 3's weights in several files, which `model.weights.json` names: one tree of all of them.

Source: `ShardedH5IOStore` of keras/src/saving/saving_lib.py, which fills one HDF5 file after the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from wexport.files import shards
from wexport.files.external import ExternalFiles
from wexport.files.source import Source
from wexport.model.tensors import Skipped
from wexport.readers.hdf5 import walk
from wexport.readers.hdf5.values import Dataset
from wexport.readers.hdf5.walk import Tree

_SHARD = 1 << 48
"""More than any place in a file: what is in a later one was written later."""


@dataclass
class Trees:
    """The files of one model as one tree, see `hdf5.walk.Tree`."""

    trees: list[Tree]
    datasets: dict[str, Dataset] = field(default_factory=dict)
    groups: list[str] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    links: dict[str, str] = field(default_factory=dict)

    def text(self, path: str, name: str) -> str | None:
        """An attribute that is one text, in the first file that has it."""
        return next((text for tree in self.trees if (text := tree.text(path, name)) is not None), None)


def is_index(source: Source) -> bool:
    return shards.begins_as_index(source.head, ".weights.h5")


def tree(source: Source) -> Trees:
    """All files that an index names, which lie in its own folder.

    Raises ReadError for one that is missing or damaged, HostileFileError for a name that leads elsewhere.
    """
    external = ExternalFiles(source)
    found = Trees([])
    for number, file in enumerate(sorted(set(shards.read_index(source.path).values()))):
        shard = walk.open_file(external.opened(file)).walk()
        found.trees.append(shard)
        for path, dataset in shard.datasets.items():
            if path in found.datasets:
                found.skipped.append(Skipped("second tensor of one name", path, True, f"in {file}"))
            else:
                found.datasets[path] = replace(dataset, position=dataset.position + number * _SHARD)
        found.skipped += shard.skipped
        found.links |= shard.links
    found.groups = sorted({group for shard in found.trees for group in shard.groups})
    return found
