"""A long table in parts: python tests/bench/make_long_table.py TABLE FOLDER [--rows 10000000] [--parts 100].

The rows of a real table, over and over, as other models: names are numbered, hashes made new, and figures moved by a
few per cent. Bulky columns (sample, grid, units) are NULL, as `--detail summary` leaves them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from wexport.table.schema import BULKY

MOVED = ("l1_norm", "l2_norm", "abs_mean", "abs_max", "std", "q01", "q05", "q25", "q75", "q95", "q99", "min", "max")


def numbered(rows: pa.Table, number: int, rng: np.random.Generator) -> pa.Table:
    """The rows as those of other models."""
    end = pa.scalar(f".{number:06}")
    for name in ("model", "content_hash", "run"):
        place = rows.schema.get_field_index(name)
        column = pc.binary_join_element_wise(rows[name], end, "")
        rows = rows.set_column(place, rows.schema.field(place), column)
    factor = pa.array(np.exp(rng.normal(0, 0.03, rows.num_rows)))
    for name in MOVED:
        place = rows.schema.get_field_index(name)
        rows = rows.set_column(place, rows.schema.field(place), pc.multiply(rows[name], factor))
    return rows


def main() -> None:
    """Parse and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--parts", type=int, default=100)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    rows = pq.read_table(options.table, columns=[n for n in pq.read_schema(options.table).names if n not in BULKY])
    schema = pq.read_schema(options.table)
    for place, field in enumerate(schema):
        if field.name in BULKY:
            rows = rows.add_column(place, field, pa.nulls(rows.num_rows, field.type))
    rows = rows.combine_chunks()
    rng = np.random.default_rng(1)
    number, left = 0, options.rows
    for part in range(options.parts):
        wanted = left // (options.parts - part)
        left -= wanted
        with pq.ParquetWriter(options.folder / f"part_{part:05}.parquet", schema, compression="zstd") as writer:
            while wanted:
                piece = numbered(rows.slice(0, min(wanted, rows.num_rows)), number, rng)
                writer.write_table(piece.select(schema.names).cast(schema), row_group_size=8_000)
                number, wanted = number + 1, wanted - piece.num_rows


if __name__ == "__main__":
    main()
