"""The two forms of the one pass, side by side, and whole commands: `python tests/bench/bench_speed.py [--runs 7]`.

In the first part each line is of one kind of tensor: ns of processor time per value in the compiled form and in
NumPy's; they take turns so that other work on the machine hits both alike, and the ratio of their minima; then stored
bytes a second of the compiled form, beside the machine's own for copying and for hashing the same bytes. Processor time
leaves out what others take, but not the caches and the memory that they fill: compare ratios, and figures of one run
alone.

`bench_work` says what the second part is. `--part kernels` or `--part work` prints one of them; `--whole` takes a
thousand models, a tensor of 4 GiB and the like, and its time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import xxhash
from bench_kernels import DENSE, LARGE, SMALL, weights
from bench_work import work

from wexport.model.tensors import Tensor
from wexport.stats import form, measure

TYPES = ("float64", "float16", "bfloat16", "float8_e4m3fn", "int8", "int64")


def taking_turns(calls: list[Callable[[], object]], runs: int) -> list[float]:
    """The least processor seconds of each call."""
    least = [float("inf")] * len(calls)
    for _ in range(runs):
        for place, call in enumerate(calls):
            start = time.process_time()
            call()
            least[place] = min(least[place], time.process_time() - start)
    return least


def both(tensor: Tensor, times: int, runs: int) -> tuple[float, float]:
    """Processor seconds of measuring a tensor in the compiled form and in NumPy's."""
    compiled = form.module

    def in_form(module: object) -> None:
        form.module = module  # type: ignore[assignment]
        for _ in range(times):
            measure(tensor)

    fast, slow = taking_turns([lambda: in_form(compiled), lambda: in_form(None)], runs)
    form.module = compiled
    return fast / times, slow / times


def main() -> None:
    """Parse, run in turn, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--part", choices=["kernels", "work"])
    parser.add_argument("--whole", action="store_true")
    arguments = parser.parse_args()
    if form.module is None:
        print(form.FORM)
    elif arguments.part != "work":
        kernels(arguments.runs)
        print()
    if arguments.part != "kernels":
        work(max(1, arguments.runs // 3), whole=arguments.whole)


def kernels(runs: int) -> None:
    """The first part."""
    array = weights(LARGE["dense 2048x4096"][0], "float32")
    copy = np.empty_like(array)
    rates = taking_turns([lambda: np.copyto(copy, array), lambda: xxhash.xxh3_128(array)], runs)
    for name, seconds in zip(("memcpy", "hash"), rates, strict=True):
        print(f"{name:36}{array.nbytes / seconds / 1e9:28.2f} GB/s")
    print(f"\n{'':36}{'compiled':>10}{'NumPy':>10}{'ratio':>8}{'GB/s':>8}")
    cases = [(name, *LARGE[name], "float32") for name in LARGE]
    cases += [("dense 2048x4096", LARGE["dense 2048x4096"][0], DENSE, dtype) for dtype in TYPES]
    for name, shape, layout, dtype in cases:
        array = weights(shape, dtype)
        fast, slow = both(Tensor.of_array(name, array, layout=layout), 1, runs)
        per_value = [seconds / array.size * 1e9 for seconds in (fast, slow)]
        rate = array.nbytes / fast / 1e9
        print(f"{name + ' ' + dtype:36}{per_value[0]:7.2f} ns{per_value[1]:7.2f} ns{slow / fast:8.1f}{rate:8.2f}")
    for name, (shape, layout) in SMALL.items():
        fast, slow = both(Tensor.of_array(name, weights(shape, "float32"), layout=layout), 30, runs)
        print(f"{name + ' float32':36}{fast * 1e6:7.0f} us{slow * 1e6:7.0f} us{slow / fast:8.1f}")


if __name__ == "__main__":
    main()
