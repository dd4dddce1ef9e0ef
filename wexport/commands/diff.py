"""wexport diff: two files, value by value."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from wexport.commands.common import EXIT_SOME_FAILED, SHOWN_ROWS, reading_options, say

if TYPE_CHECKING:
    from wexport.differences.diff import Diff
    from wexport.differences.results import FileSide, TensorDiff


@click.command()
@click.argument("a")
@click.argument("b")
@click.option("--tolerance", type=float, default=0.0, metavar="ABS", help="Differences up to this count as equal.")
@click.option(
    "--relative-tolerance", type=float, default=0.0, metavar="REL", help="And up to this share of the larger value."
)
@click.option("--all", "show_all", is_flag=True, help="Identical tensors too.")
@click.option(
    "--format", "form", type=click.Choice(["table", "json", "csv", "markdown"]), default="table", show_default=True
)
@click.option(
    "--rows",
    type=click.IntRange(min=0),
    default=SHOWN_ROWS,
    show_default=True,
    help="Rows that the table format shows; 0 for all.",
)
@reading_options
def diff(
    a: str, b: str, tolerance: float, relative_tolerance: float, show_all: bool, form: str, rows: int, **options: Any
) -> None:
    """Compare two model files value by value.

    A and B may be of different formats. Layers are matched by what they are, not by their automatic numbers; values
    are compared in one layout, whatever each file's is.

    The exit code is 0 if all values are the same (within the tolerance), 1 if any differ, 2 for wrong usage, 3 if a
    file cannot be read.
    """
    from wexport.differences.diff import diff as run
    from wexport.differences.results import IDENTICAL

    found = run(a, b, tolerance=tolerance, relative_tolerance=relative_tolerance, **options)
    shown = [each for each in found.tensors if show_all or each.status != IDENTICAL]
    _warn(found)
    if form == "json":
        print(json.dumps(_as_json(found, shown), indent=1))
    else:
        _print(found, shown, form, rows)
    sys.exit(0 if found.same else EXIT_SOME_FAILED)


def _print(found: Diff, shown: list[TensorDiff], form: str, rows: int) -> None:
    from wexport.differences.rows import COLUMNS, flat
    from wexport.terminal import tables
    from wexport.terminal.text import safe

    if form == "csv":
        tables.show(COLUMNS, [list(flat(each).values()) for each in shown], form)
    else:
        cut = shown[:rows] if rows and form == "table" else shown
        if cut:
            tables.show(*_columns_of(cut), form, last=_LAST)
        if len(cut) < len(shown):
            print(f"... and {len(shown) - len(cut):,} more rows (--rows 0 shows all)")
    # Beside data for a program, words would be in the way.
    tell = say if form == "csv" else lambda text: print(safe(text))
    tell(f"a: {found.a.path} ({_written(found.a)})")
    tell(f"b: {found.b.path} ({_written(found.b)})")
    for edit in found.edits[:SHOWN_ROWS]:
        tell(edit)
    if len(found.edits) > SHOWN_ROWS:
        tell(f"... and {len(found.edits) - SHOWN_ROWS:,} more layers (--format json has all)")
    for note in found.notes[:SHOWN_ROWS]:
        tell(f"note: {note}")
    if len(found.notes) > SHOWN_ROWS:
        tell(f"... and {len(found.notes) - SHOWN_ROWS:,} more notes (--format json has all)")
    tell(found.summary())


def _warn(found: Diff) -> None:
    for file in (found.a, found.b):
        for problem in file.problems:
            say(
                f"warning: {file.path}: {problem.name}: {problem.what}"
                + (f": {problem.detail}" if problem.detail else "")
            )
        for note in file.notes:
            say(f"note: {file.path}: {note}")


def _written(file: FileSide) -> str:
    by = " ".join(word for word in (file.framework, file.framework_version) if word)
    return ", ".join(word for word in (file.format, by) if word)


# -- for people --------------------------------------------------------------------------------------------------------


_LAST = ("dtype", "max abs", "changed", "in b", "matched by", "cosine", "detail")
"""What a narrow terminal goes without: who differs, how and how much is told first."""


def _columns_of(shown: list[TensorDiff]) -> tuple[list[str], list[list[Any]]]:
    """Columns and rows, without columns that have nothing to say."""
    from wexport.terminal.text import figure

    rows = []
    for each in shown:
        change, side = each.change, each.side
        rows.append(
            {
                "tensor": each.name,
                "in b": _other_name(each),
                "status": each.status,
                "shape": _both(each, lambda side: "x".join(map(str, side.canonical_shape)) or "scalar"),
                "dtype": _both(each, lambda side: side.dtype),
                "changed": _share(change.changed_count, side.value_count) if change and change.changed_count else None,
                "max abs": figure(change.max_abs_difference) if change and change.max_abs_difference else None,
                "relative L2": figure(change.relative_l2) if change and change.relative_l2 else None,
                "cosine": _cosine(change.cosine_distance) if change and change.cosine_distance is not None else None,
                "matched by": _matched_by(each),
                "detail": each.detail or None,
            }
        )
    columns = [name for name in rows[0] if any(row[name] is not None for row in rows)]
    return columns, [[row[name] for name in columns] for row in rows]


_SURE = 0.95
"""Confidence above which a pair is told without it."""


def _matched_by(each: TensorDiff) -> str | None:
    """What a pair rests on where it is not the slot, and how sure it is where it is not."""
    if each.method is None:
        return None
    unsure = "" if each.confidence is None or each.confidence >= _SURE else f" ({each.confidence:.2f})"
    return None if each.method == "slot" and not unsure else each.method + unsure


def _other_name(each: TensorDiff) -> str | None:
    """What b calls the layer, or the tensor where that is not all that differs; None if it is called the same."""
    a, b = each.a, each.b
    if a is None or b is None or a.name == b.name:
        return None
    one, other = a.name.rpartition("/"), b.name.rpartition("/")
    return other[0] if other[0] and one[2] == other[2] else b.name


def _both(each: TensorDiff, text: Any) -> str:
    """What holds of a and b, once if it is the same."""
    return " / ".join(dict.fromkeys(text(side) for side in (each.a, each.b) if side))


def _share(count: int, total: int) -> str:
    return f"{100 * count / total:.3g} %"


def _cosine(distance: float) -> str:
    """Near 1, how far from it, which is what there is to see."""
    return f"{1 - distance:.4f}" if distance >= 0.001 or not distance else f"1 - {distance:.1e}"


# -- for programs ------------------------------------------------------------------------------------------------------


def _as_json(found: Diff, shown: list[TensorDiff]) -> dict[str, Any]:
    from wexport.differences.rows import flat

    def file(side: FileSide) -> dict[str, Any]:
        names = ("reader", "format", "framework", "framework_version", "backend", "tensor_count", "value_count")
        problems = [{"name": each.name, "what": each.what, "detail": each.detail} for each in side.problems]
        return {"path": str(side.path), **{name: getattr(side, name) for name in names}, "not_read": problems}

    return {
        "same": found.same,
        "summary": found.summary(),
        "counts": found.counts,
        "a": file(found.a),
        "b": file(found.b),
        "edits": list(found.edits),
        "notes": list(found.notes),
        "tensors": [flat(each) for each in shown],
    }
