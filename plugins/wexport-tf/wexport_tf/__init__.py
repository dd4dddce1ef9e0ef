"""TensorFlow checkpoints and SavedModel variables for wexport, without TensorFlow.

The `.index` file is the model; the data files that belong to it are found beside it by their computed names.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import wexport

if TYPE_CHECKING:
    from wexport_tf.bundle import Bundle
    from wexport_tf.graph import Variable
    from wexport_tf.shards import Shards


def sniff(source: wexport.Source) -> float:
    """0.9 for a table of LevelDB's kind that begins with a checkpoint's header."""
    from wexport_tf import bundle

    return 0.9 if bundle.is_bundle(source) else 0.0


def open_(source: wexport.Source) -> wexport.Model:
    """All variables of a checkpoint, and with `source.optimizer` the state of optimizers, metrics and counters.

    Raises ReadError for a damaged index and where no data file is there, HostileFileError for an index that asks for
    too much or whose tensors share bytes. A tensor that alone cannot be read is named and left out.
    """
    from wexport_tf import bundle, graph, meaning, shards

    index = bundle.read(source)
    shards.refuse_shared_bytes(source, index)
    files = shards.Shards(source, index)
    skipped: list[wexport.Skipped] = []
    variables = _graph(files, index, skipped)
    unwanted = set() if source.optimizer else meaning.state({entry.name for entry in index.entries}, variables)
    tensors: dict[str, wexport.Tensor] = {}
    for entry in index.entries:
        if entry.name == graph.KEY or entry.name in unwanted:
            continue
        found = files.tensor(entry)
        if isinstance(found, wexport.Tensor):
            tensors[entry.name] = found
        else:
            skipped.append(found)
    problems = [item for item in skipped if item.problem]
    if problems and not tensors:
        raise wexport.ReadError(f"{source.path}: {problems[0].detail}", hint="copy or save the whole checkpoint again")
    return wexport.Model(
        tensors=meaning.of_names(tensors) if variables is None else meaning.of_graph(tensors, variables),
        format="tf-checkpoint",
        framework="tensorflow",
        skipped=skipped,
    )


def _graph(files: Shards, index: Bundle, skipped: list[wexport.Skipped]) -> list[Variable] | None:
    """What the graph of objects tells; None where there is none, or where it is damaged, which `skipped` then says."""
    from wexport_tf import graph, wire

    entry = next((entry for entry in index.entries if entry.name == graph.KEY), None)
    if entry is None:
        return None
    try:
        return graph.variables(files.text(entry))
    except (wexport.ReadError, wire.MalformedError) as error:  # names still tell something
        skipped.append(wexport.Skipped("graph of objects", entry.name, True, str(error)))
        return None


READER = wexport.Reader(
    name="tf",
    reads="TensorFlow checkpoints and SavedModel variables (.index and its data files)",
    sniff=sniff,
    open=open_,
    suffixes=(".index",),
)


@wexport.hookimpl
def wexport_readers() -> Sequence[wexport.Reader]:
    return [READER]
