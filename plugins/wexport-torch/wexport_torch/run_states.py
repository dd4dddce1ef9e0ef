"""Files that a training run leaves beside its models: states of random generators and schedulers, its arguments.

They are written by `torch.save` as models are. transformers' Trainer calls them `rng_state.pth`, `scheduler.pt` and
`training_args.bin`; what they hold tells, whatever they are called.
"""

from __future__ import annotations

import re
from typing import Any

from wexport import ReadError, Skipped
from wexport_torch import stored
from wexport_torch.inert import Record, entries, is_mapping
from wexport_torch.places import Places
from wexport_torch.stored import LeftOutError, Stored

GENERATORS = frozenset(
    {"python", "numpy", "cpu", "cuda", "xla", "npu", "mps", "mlu", "musa", "hpu", "xpu", "torch"}
) | {
    "random",
    "rng_state",
    "cuda_rng_state",
    "torch_rng_state",
    "numpy_rng_state",
    "random_rng_state",
    "python_rng_state",
    "random_state",
    "np_rng_state",
    "rng_tracker_states",
    "random_numpy_seed",
    "torch_manual_seed",
    "torch_cuda_manual_seed",
    "step",
}
_SCHEDULER = frozenset({"last_epoch", "_step_count", "_last_lr", "base_lrs", "lr_lambdas"})
_ARGUMENTS = re.compile(r"(.*\.)?(\w*TrainingArguments|\w+Config|Namespace)")


def what_it_is(root: Any, found: Places) -> Skipped | None:
    """What a file holds that is the state of a run and no model; None for all else."""
    if isinstance(root, Record) and not found.tensors and _ARGUMENTS.fullmatch(root.class_name):
        return Skipped("arguments of a training run", root.class_name.rpartition(".")[2])
    if not is_mapping(root):
        return None
    keys = {key for key, _ in entries(root) if isinstance(key, str)}
    if not found.tensors and len(keys & _SCHEDULER) >= 2:
        return Skipped("state of a scheduler", "last_epoch")
    if keys and keys <= GENERATORS and next(iter(keys)) != "step":
        sizes = [_bytes_of(item.record) for item in found.tensors]
        if all(size is not None for size in sizes):
            return Skipped("state of random generators", ", ".join(sorted(keys)), size=sum(filter(None, sizes)))
    return None


def _bytes_of(record: Record) -> int | None:
    """Of the tensor of bytes that is the state of a generator; None for any other."""
    try:
        it: Stored = stored.tensor(record)
    except (LeftOutError, ReadError):
        return None
    return it.size if it.type.name == "uint8" and len(it.shape) == 1 else None
