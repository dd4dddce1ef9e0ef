"""Any HDF5 file: each numeric dataset is a tensor, by its path alone."""

from __future__ import annotations

from collections.abc import Sequence

from wexport.files.source import Source
from wexport.hookspecs import hookimpl
from wexport.model.tensors import Model, Node, Reader, Tensor
from wexport.readers.hdf5.walk import open_file, signature_offset


def _sniff(source: Source) -> float:
    return 0.1 if signature_offset(source) is not None else 0.0


def _open(source: Source) -> Model:
    tree = open_file(source).walk()
    nodes: dict[str, Node] = {}  # thousands of paths have the same few words
    tensors = []
    for path, dataset in tree.datasets.items():
        *groups, name = path.split("/")
        tensors.append(
            Tensor(
                name=path,
                shape=dataset.shape,
                dtype=dataset.type.name,
                value_dtype=dataset.type.dtype.newbyteorder("=").name,
                chunks=dataset.chunks,
                kind="array",
                layer="/".join(groups) or None,
                lineage=tuple(nodes.get(group) or nodes.setdefault(group, Node(group)) for group in groups),
                slot_leaf=name,
            )
        )
    return Model(tensors=tensors, format="hdf5", skipped=tree.skipped, aliases=tree.links)


@hookimpl
def wexport_readers() -> Sequence[Reader]:
    return [
        Reader(
            name="hdf5",
            reads="any HDF5 file: its numeric datasets, without knowing what they mean",
            sniff=_sniff,
            open=_open,
            suffixes=(".h5", ".hdf5", ".he5", ".nc", ".mat"),
        )
    ]
