"""Two model files compared value by value."""

from __future__ import annotations

import contextlib
import math
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wexport.answers.tabular import Part, Tabular
from wexport.differences import rows
from wexport.differences.results import (
    AMBIGUOUS,
    CHANGED,
    IDENTICAL,
    NOT_COMPARED,
    ONLY_A,
    ONLY_B,
    OTHER_DTYPE,
    OTHER_SHAPE,
    REPEATED,
    ROUNDED,
    SAME,
    STATUSES,
    WITHIN,
    At,
    DiffTask,
    Edits,
    FileSide,
    FilesOpened,
    TensorDiff,
)
from wexport.errors import ReadError, UsageError
from wexport.files import shards
from wexport.ingestion.folders import one_model
from wexport.ingestion.messages import Failed
from wexport.ingestion.reading import BASE_SECONDS, SECOND_BYTES
from wexport.plugins.catalog import absolute, blame_plugins
from wexport.plugins.messages import Setup
from wexport.processes.child import Work
from wexport.processes.pool import MEMORY_BYTES, Done, Pool

if TYPE_CHECKING:
    import pyarrow as pa

_WORDS = {
    IDENTICAL: "identical",
    OTHER_DTYPE: "equal but for their dtype",
    WITHIN: "equal within the tolerance",
    ROUNDED: "equal after rounding",
    CHANGED: "changed",
    OTHER_SHAPE: "of another shape",
    ONLY_A: "only in a",
    ONLY_B: "only in b",
    REPEATED: "equal to another that has its pair",
    AMBIGUOUS: "that may be one of several",
    NOT_COMPARED: "not compared",
}
_SHOWN = [
    *("status", "name_a", "name_b", "canonical_shape_a", "canonical_shape_b", "changed_fraction", "max_abs_difference"),
    *("relative_l2", "cosine", "matched_by", "detail"),
]
"""The columns that a page shows."""
_TOLD = 20
"""How many layers and notes a page tells."""
_HINTS = {
    "timed out": "give it longer with --timeout SECONDS",
    "memory": "a file asks for more than any of its tensors should; it may be damaged or hostile",
    "crashed": "one of the files is damaged or hostile; copy or save it again",
}


@dataclass(frozen=True, slots=True)
class Diff(Tabular):
    """How two model files differ.

    tensors: every tensor of either file, what needs looking at first; in the model's order within one status.
    edits: layers that were put in, left out or made wider, in words.
    notes: what else the files say of themselves and their layers, where it differs: versions, trainable flags, layers'
        configs. No note makes a difference.
    """

    a: FileSide
    b: FileSide
    tensors: Sequence[TensorDiff]
    notes: tuple[str, ...]
    edits: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        """Whether every value of either file has its equal, within the tolerance, in the other.

        A counter that only one file keeps makes no difference: it belongs to training (torch's BatchNorm has one,
        Keras' has none). False too if there is anything that could not be read, as nobody knows then.
        """
        return all(map(_no_difference, self.tensors)) and not self.a.problems and not self.b.problems

    @property
    def counts(self) -> dict[str, int]:
        """Tensors (pairs, where there are two) by status; every status is there."""
        found = Counter(each.status for each in self.tensors)
        return {status: found[status] for status in STATUSES}

    def summary(self) -> str:
        """One sentence, such as "different: 12 tensors identical, 3 changed, 1 only in b"."""
        counts = self.counts
        parts = [f"{counts[status]:,} {words}" for status, words in _WORDS.items() if counts[status]]
        count, _, rest = (parts or ["0 compared"])[0].partition(" ")
        parts[:1] = [f"{count} {'tensor' if count == '1' else 'tensors'} {rest}"]
        if problems := len(self.a.problems) + len(self.b.problems):
            parts.append(f"{problems:,} that could not be read")
        methods = Counter(each.method for each in self.tensors if each.method)
        by = [f"{methods[key]:,} by {words}" for key, words in _METHODS.items() if methods[key]]
        return f"{'same' if self.same else 'different'}: {', '.join(parts)}" + (
            f" (matched {', '.join(by)})" if by else ""
        )

    def to_arrow(self) -> pa.Table:
        """A row a tensor of either file, or a pair, with the columns of `wexport diff --format csv`."""
        return rows.to_arrow(self.tensors)

    def _parts(self) -> Iterable[Part]:
        files = [f"{which}: {side.path} ({side.format})" for which, side in (("a", self.a), ("b", self.b))]
        notes = [*self.edits[:_TOLD], *(f"note: {note}" for note in self.notes[:_TOLD])]
        shown = [each for each in self.tensors if each.status != IDENTICAL]
        table = rows.to_arrow(shown).select(_SHOWN)
        empty = [name for name in _SHOWN if table[name].null_count == table.num_rows]
        return [Part(table, told=[*files, *notes, self.summary()], left_out=empty)]


def _no_difference(each: TensorDiff) -> bool:
    return each.status in SAME or (each.status in (ONLY_A, ONLY_B) and each.side.role == "count")


_METHODS = {"name": "name", "order": "order and shape", "content": "content"}
"""How pairs were found that slots do not tell."""


def diff(
    a: str | os.PathLike[str],
    b: str | os.PathLike[str],
    *,
    tolerance: float = 0.0,
    relative_tolerance: float = 0.0,
    optimizer: bool = False,
    external_data: bool = False,
    reader: str | None = None,
    plugins: Sequence[str] = (),
    timeout: float | None = None,
) -> Diff:
    """Compare two model files value by value, in the canonical layout, in a child process.

    a, b: files of any readable formats, which need not be the same; folders that hold one model; or one of several
    models in a file (`checkpoint.pt#model_ema`).
    tolerance, relative_tolerance: values count as equal if |a - b| <= tolerance + relative_tolerance * max(|a|, |b|).
    optimizer: the optimizer's state too. external_data: values that a file says stand in others, if these lie in its
    own folder. reader: the reader to use for both. plugins: paths of Python files with readers. timeout: seconds for
    each of the two; None is 30, and one more for each 10 MB.

    Memory does not depend on the tensors' sizes, save that large tensors stored in different orders are put into
    temporary files. Raises ReadError if a file cannot be read or neither holds numbers, UsageError for arguments that
    make no sense.
    """
    for name, value in (("tolerance", tolerance), ("relative tolerance", relative_tolerance)):
        if not 0 <= value < math.inf:
            raise UsageError(f"{name} {value} is not a number from 0 on")
    if timeout is not None and not timeout > 0:
        raise UsageError(f"timeout {timeout} is not a positive number of seconds")
    sides = [one_model(path, reader=reader, plugins=plugins, external_data=external_data) for path in (a, b)]
    task = DiffTask(sides[0].path, sides[1].path, sides[0].part, sides[1].part, tolerance, relative_tolerance)
    setup = Setup(absolute(plugins), reader, optimizer, external_data=external_data)
    opened, tensors, edits = _collected(task, setup, timeout)
    if not tensors and not opened.a.problems and not opened.b.problems:
        raise ReadError(f"neither {task.a} nor {task.b} holds any numbers", hint="name two model files")
    tensors.sort(key=lambda each: STATUSES.index(each.status))
    layers = [(each.side.layer or each.name, note) for each in tensors for note in each.notes]
    of_layers = dict.fromkeys(f"{layer}: {note}" for layer, note in layers)
    return Diff(opened.a, opened.b, tensors, (*opened.notes, *of_layers), edits)


PRELOAD = ("wexport.differences.child",)
"""What `_worker` imports; see `forkserver.fork`."""


def _worker(setup: Setup) -> tuple[None, Work]:
    """What the child does that compares two files."""
    from wexport.differences.child import FileComparison

    return None, FileComparison(setup).compare


def _collected(
    task: DiffTask, setup: Setup, timeout: float | None
) -> tuple[FilesOpened, list[TensorDiff], tuple[str, ...]]:
    """Run the task in a child process and gather what it says."""
    sizes = shards.total_size(task.a) + shards.total_size(task.b)
    seconds = 2 * BASE_SECONDS + sizes // SECOND_BYTES if timeout is None else 2 * timeout
    pool = Pool(
        _worker,
        jobs=1,
        setup=setup,
        budget_of=lambda task: (task, seconds),
        memory=2 * MEMORY_BYTES,  # two files are open
        spare=blame_plugins(),
    )
    opened: FilesOpened | None = None
    tensors: list[TensorDiff] = []
    edits: tuple[str, ...] = ()
    now = ""
    events: Any = pool.run([task])
    with contextlib.closing(events):
        for event in events:
            if isinstance(event, Done):
                if event.failure is not None:
                    raise ReadError(
                        f"{task.a} and {task.b}: {event.reason}{f' while {now}' if now else ''}",
                        hint=_HINTS.get(event.failure, ""),
                    )
            elif isinstance(event.value, Failed):
                raise ReadError(event.value.reason, hint=event.value.hint)
            elif isinstance(event.value, At):
                now = event.value.what
            elif isinstance(event.value, FilesOpened):
                opened = event.value
            elif isinstance(event.value, Edits):
                edits = event.value.described
            else:
                tensors.append(event.value)
    assert opened is not None
    return opened, tensors, edits
