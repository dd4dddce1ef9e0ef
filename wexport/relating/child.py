"""What a child process does with one file: open it, and hand over the values of its weights."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from wexport.errors import WexportError
from wexport.files.source import Source
from wexport.ingestion.messages import Failed
from wexport.plugins import host as plugin_host
from wexport.plugins.messages import Setup
from wexport.relating import chains
from wexport.relating.results import ModelOpened, Read, ReadTask, Values
from wexport.stats.blocks import chunks_of
from wexport.stats.one_pass import dtype_named

CHUNK_BYTES = 4 << 20


class ValueReader:
    """What one child process has loaded, and does with a file."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._plugins = plugin_host.load(setup.plugins, dict(setup.without))

    def read(self, task: ReadTask) -> Iterator[ModelOpened | Values | Failed]:
        """The model without its values, then these, tensor by tensor."""
        try:
            with Source(task.path, self._setup.optimizer, self._setup.external_data, task.part) as source:
                opened = self._plugins.open(source, self._plugins.choose(source, self._setup.reader))
                kept = [
                    (tensor, slot)
                    for tensor, slot in zip(opened.tensors, opened.slots, strict=True)
                    if tensor.kind == "weight" and dtype_named(tensor.value_dtype or tensor.dtype) is not None
                ]
                read = tuple(
                    Read(
                        slot,
                        each.layer or "",
                        each.role,
                        each.direction,
                        each.shape,
                        each.layout,
                        each.dtype,
                        each.size,
                    )
                    for each, slot in kept
                )
                graph, why = opened.model.graph, ""
                if graph is None:
                    ordered = all(each.layer_index is not None for each, _ in kept)
                    try:
                        graph = chains.graph_of(read, [each.layer_class for each, _ in kept], ordered=ordered)
                    except chains.NotToldError as error:
                        why = str(error)
                yield ModelOpened(read, graph, why)
                for number, (tensor, _) in enumerate(kept):
                    dtype = dtype_named(tensor.value_dtype or tensor.dtype)
                    assert dtype is not None
                    wide = (
                        np.float64 if dtype.itemsize > 4 or (dtype.kind in "iu" and dtype.itemsize > 2) else np.float32
                    )
                    for chunk in chunks_of(tensor, dtype, CHUNK_BYTES):
                        yield Values(number, chunk.astype(wide))
        except WexportError as error:
            known = tuple(plugin_host.suffixes(self._plugins.readers))
            foreign = not task.named and not task.path.name.lower().endswith(known)
            yield Failed(str(error), error.hint, foreign=foreign)
