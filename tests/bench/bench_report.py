"""Wall time, peak memory and size of the report: python tests/bench/bench_report.py TABLE... [--repeat 3].

For 20 and 1,000 models of 200 tensors: make_many_models.py, and `wexport ingest` of 20 of its files and of all.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from bench_queries import measured


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("tables", nargs="+", type=Path)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        wexport = [sys.executable, "-m", "wexport"]
        for table in options.tables:
            runs = [measured([*wexport, "report", str(table), "--out", str(page)]) for _ in range(options.repeat)]
            seconds, processor, peak = (statistics.median(run[place] for run in runs) for place in range(3))
            print(
                f"{table}: median {seconds:.1f} s, processor {processor:.1f} s, peak {peak:.0f} MiB, "
                f"page {page.stat().st_size / 1e6:.2f} MB"
            )


if __name__ == "__main__":
    main()
