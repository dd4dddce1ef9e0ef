"""How fast a tensor is measured, in all and stage by stage: `python tests/bench/bench_kernels.py`.

GB/s are of stored bytes on one core, the best of several runs, data in memory; ms are per small tensor.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import xxhash

from wexport.model.cudnn import CudnnLayout
from wexport.model.tensors import Layout, Tensor
from wexport.stats import measure, moments
from wexport.stats.blocks import BLOCK
from wexport.stats.distribution import DistributionSums
from wexport.stats.grid import GridSums
from wexport.stats.histogram import Counter
from wexport.stats.streams import streams_of
from wexport.stats.units import LiveInputs, UnitStatistics, fold_of
from wexport.stats.workspace import Workspace

DENSE = Layout(unit_axes=(1,), input_axes=(0,))
LSTM = Layout(unit_axes=(1,), input_axes=(0,), gates=("i", "f", "c", "o"), gate_axis=1)
LARGE: dict[str, tuple[tuple[int, ...], Layout]] = {
    "vector": ((1 << 23,), Layout()),
    "dense 2048x4096": ((2048, 4096), DENSE),
    "dense 131072x64": ((131_072, 64), DENSE),
    "dense, torch 4096x2048": ((4096, 2048), Layout(permutation=(1, 0), unit_axes=(1,), input_axes=(0,))),
    "conv 3x3x512x1024": ((3, 3, 512, 1024), Layout(unit_axes=(3,), input_axes=(2,))),
    "conv, theano 1024x512x3x3": (
        (1024, 512, 3, 3),
        Layout(permutation=(2, 3, 1, 0), unit_axes=(3,), input_axes=(2,)),
    ),
    "conv transpose 3x3x512x1024": ((3, 3, 512, 1024), Layout(unit_axes=(2,), input_axes=(3,))),
    "lstm 1024x4096": ((1024, 4096), LSTM),
    "lstm, cudnn 1024x4096": (
        (1024, 4096),
        CudnnLayout(
            unit_axes=(1,),
            input_axes=(0,),
            gates=("i", "f", "c", "o"),
            gate_axis=1,
        ),
    ),
}
SMALL: dict[str, tuple[tuple[int, ...], Layout]] = {
    "vector of 64": ((64,), Layout()),
    "dense 64x64": ((64, 64), DENSE),
    "conv 3x3x64x64": ((3, 3, 64, 64), Layout(unit_axes=(3,), input_axes=(2,))),
    "lstm 64x256": ((64, 256), LSTM),
}


def best(call: Callable[[], object], runs: int) -> float:
    """Seconds of the fastest of several runs."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def weights(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    values = np.random.default_rng(0).standard_normal(shape, np.float32) * np.float32(0.05)
    return values.astype(np.dtype(getattr(ml_dtypes, dtype, dtype)))


def stages(array: np.ndarray, layout: Layout) -> dict[str, Callable[[], object]]:
    """Each stage alone over all blocks; all but the first two on one prepared block again and again."""
    streams = streams_of(array.shape, layout)
    flat, room = array.reshape(-1), Workspace(array.dtype, BLOCK)
    starts = range(0, flat.size // BLOCK * BLOCK, BLOCK)
    block = room.prepare(flat[:BLOCK])
    unit_fold, input_fold = fold_of(streams, layout.unit_axes), fold_of(streams, layout.input_axes)
    assert unit_fold
    assert input_fold
    units, grid = UnitStatistics(unit_fold, flat.size, listed=True), GridSums(streams)
    sums, counter = DistributionSums(flat.size, exact=False), Counter(array.dtype, flat.size)
    hasher = xxhash.xxh3_128()

    def moment(start: int) -> Any:
        return moments.of_block(block.x, block.squares, block.spare, block.low, block.high, block.exponent)

    def fresh(start: int) -> None:
        block._columns.clear()  # the stage is to pay for its own sums

    steps: dict[str, Callable[[int], object]] = {
        "hash": lambda start: hasher.update(flat[start : start + BLOCK].view(np.uint8).data),
        "prepare": lambda start: room.prepare(flat[start : start + BLOCK]),
        "moments": moment,
        "count": lambda start: counter.add(block.counted, block.zeros, block.negative_zeros),
        "moments and count": lambda start: sums.add(block),
        "units": lambda start: (fresh(start), units.add(block, start)),
        "grid": lambda start: (fresh(start), grid.add(0, block, start)),
        "inputs": lambda start: LiveInputs(input_fold).add(block, start),
    }
    return {name: (lambda step=step: [step(start) for start in starts]) for name, step in steps.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    print(f"{'stage, dense float32':36}{'GB/s':>8}{'ns/value':>10}")
    array = weights(*[LARGE["dense 2048x4096"][0], "float32"])
    for name, call in stages(array, DENSE).items():
        seconds = best(call, runs)
        print(f"{name:36}{array.nbytes / seconds / 1e9:8.2f}{seconds / array.size * 1e9:10.2f}")
    print(f"\n{'measure':36}{'GB/s':>8}{'ns/value':>10}")
    cases = [(name, "float32") for name in LARGE]
    cases += [("dense 2048x4096", dtype) for dtype in ("float64", "float16", "bfloat16", "int8", "int64")]
    for name, dtype in cases:
        shape, layout = LARGE[name]
        array = weights(shape, dtype)
        tensor = Tensor.of_array(name, array, layout=layout)
        seconds = best(lambda tensor=tensor: measure(tensor), runs)
        print(f"{name + ' ' + dtype:36}{array.nbytes / seconds / 1e9:8.2f}{seconds / array.size * 1e9:10.2f}")
    print(f"\n{'measure, small float32':36}{'ms':>8}")
    for name, (shape, layout) in SMALL.items():
        tensor = Tensor.of_array(name, weights(shape, "float32"), layout=layout)
        print(f"{name:36}{best(lambda tensor=tensor: measure(tensor), 60 * runs) * 1e3:8.3f}")


if __name__ == "__main__":
    main()
