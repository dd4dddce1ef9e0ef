"""One page that tells it all, from a table alone."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from wexport import comparison, library, querying, terminal
from wexport.checking import QUERIES as CHECKED
from wexport.checking import Finding
from wexport.comparison import Comparison
from wexport.connection import PathLike
from wexport.errors import UsageError
from wexport.page.layers import MOST_LAYERS, MOST_MODELS, Chosen, choose, layers
from wexport.page.parts import Cell, Heading, Layer, Picture, Table, table_of
from wexport.page.pictures import picture
from wexport.page.render import Page, Section, render
from wexport.page.running import QUERIES as OF_RUNNING
from wexport.page.running import kinds, running
from wexport.page.summary import summary
from wexport.plot import figure
from wexport.plot.style import standing_out
from wexport.session import MEMORY_BYTES, SECONDS, Session

ROWS = 200
"""How many rows of a table the page holds."""

Progress = Callable[[int, int], None]
"""Called as the page grows: layers drawn, layers in all."""


def report(
    table: PathLike,
    out: PathLike = "report.html",
    *,
    metrics: PathLike | Sequence[PathLike] = (),
    by: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    seconds: float = SECONDS,
    memory: int = MEMORY_BYTES,
) -> Path:
    """Write a page about the models of a table: one HTML file that needs no network and no other file.

    table: a file that `ingest` wrote, a folder of parts, or a pattern. out: the page.
    metrics, by: as for `compare`. progress: called as layers are drawn. seconds, memory: what each query may take.

    Raises UsageError if the page cannot be written or arguments make no sense, TableError if there is no such table,
    QueryError if a question cannot be answered.
    """
    target = _target(out)
    found = comparison.compare(table, metrics=metrics, by=by, seconds=seconds, memory=memory)
    return write(found, target, progress=progress, seconds=seconds, memory=memory)


def write(found: Comparison, out: PathLike, *, progress: Progress | None = None, **limits: Any) -> Path:
    """The page of a comparison that was made already; see `report`. limits: `seconds` and `memory` of each query."""
    target = _target(out)
    with querying.session(found.table, **limits) as session:
        page = _page(session, found, progress or (lambda done, total: None))
    _write(target, render(page))
    return target


def _target(out: PathLike) -> Path:
    target = Path(out)
    if not target.parent.is_dir():
        raise UsageError(f"{target}: its folder does not exist", hint="name a folder that does")
    if target.is_dir():
        raise UsageError(f"{target}: is a folder", hint="name a file, such as report.html")
    return target


def _page(session: Session, found: Comparison, progress: Progress) -> Page:
    name = terminal.safe(found.table)
    architectures = querying.ask(session, "architectures")
    chosen = choose(session, [each.place for each in found.findings if each.place and each.severity != "info"])
    links = chosen.links(session, found.findings)
    made: list[Layer] = []
    for layer in layers(session, chosen, _shown_models(found), _badges(chosen, links)):
        made.append(layer)
        progress(len(made), len(chosen.slots))
    total = found.models.num_rows
    held = kinds(session)
    asked = [query for query in CHECKED if query not in OF_RUNNING.values() or query in map(OF_RUNNING.get, held)]
    sections = [
        Section(
            "models",
            "Models",
            tables=[
                table_of(
                    "models",
                    found.models,
                    caption=f"{total:,} models",
                    rows=ROWS,
                    query="models",
                    command=f"wexport query models {name} --rows 0",
                )
            ],
        ),
        _findings(found.findings, links, name, asked),
        *running(session, found.table, held, ROWS),
        _architectures(architectures, name),
        *_closeness(session, found, name),
        *_rank(found, name),
        *_runs(session, found, name),
        Section(
            "layers",
            "Layers",
            words=_words_on_layers(chosen.total, len(chosen.slots), total),
            layers=made,
            queries=(library.get("tensors"), library.get("histogram")),
        ),
    ]
    return Page(
        f"{total:,} models compared",
        f"From the table {name}.",
        summary(found, architectures, links),
        sections,
    )


def _shown_models(found: Comparison) -> list[str]:
    """The models that layers show: those with findings first to be taken, the others evenly spread."""
    models: list[str] = found.models["model"].to_pylist()
    troubled = list(dict.fromkeys(each.model for each in found.findings if each.severity != "info"))[: MOST_MODELS // 2]
    rest = [model for model in models if model not in troubled]
    spread = standing_out(len(rest), MOST_MODELS - len(troubled)) if rest else []
    return [*troubled, *(rest[place] for place in spread)]


def _badges(chosen: Chosen, links: Mapping[Finding, str]) -> dict[str, list[tuple[str, str]]]:
    """For each slot, what was found there, once each."""
    slots = {f"#{anchor}": slot for slot, anchor in chosen.anchors().items()}
    badges: dict[str, dict[tuple[str, str], None]] = {}
    for each, link in links.items():
        if each.severity != "info":
            badges.setdefault(slots[link], {})[each.severity, each.finding.replace("_", " ")] = None
    return {place: list(found)[:4] for place, found in badges.items()}


def _findings(
    findings: Sequence[Finding], links: Mapping[Finding, str], name: str, asked: Sequence[str]
) -> Section:
    if not findings:
        return Section("findings", "Findings", words=["Nothing was found: no NaN, no dead units, no jumps."])
    columns = ("severity", "finding", "model", "place", "seen", "threshold", "advice", "query")
    rows = [
        [
            Cell(
                terminal.cell_text(getattr(each, column)),
                link=links.get(each, "") if column == "place" else "",
                style=f"severity {each.severity}" if column == "severity" else "",
            )
            for column in columns
        ]
        for each in findings[:ROWS]
    ]
    table = Table(
        "findings",
        f"{len(findings):,} findings, the worst first; a place leads to its layer",
        [Heading(column) for column in columns],
        rows,
        max(0, len(findings) - ROWS),
        queries=tuple(library.get(query) for query in asked),
        command=f"wexport check {name} --rows 0",
    )
    return Section("findings", "Findings", tables=[table])


def _architectures(answer: pa.Table, name: str) -> Section:
    table = table_of(
        "architectures",
        answer,
        caption="Architectures, and how each differs from the nearest",
        rows=ROWS,
        query="architectures",
        command=f"wexport query architectures {name}",
    )
    return Section("architectures", "Architectures", tables=[table])


def _closeness(session: Session, found: Comparison, name: str) -> list[Section]:
    if found.models.num_rows < 2:
        return []
    words = ["Cosine of the weights that two models share: 1 is the same direction, 0 is unrelated, as two seeds are."]
    pictures: list[Picture] = []
    try:
        pictures.append(picture(figure("similarity", session), "Similarity of the models, ordered by cluster"))
    except UsageError as error:  # nothing to compare: said in words
        words.append(f"{error}.")
    table = table_of(
        "clusters",
        found.clusters,
        caption="Which models are close, and which stand apart",
        rows=ROWS,
        query="clusters",
        command=f"wexport query clusters {name}",
    )
    return [Section("closeness", "Closeness", words=words, pictures=pictures, tables=[table])]


def _rank(found: Comparison, name: str) -> list[Section]:
    if found.rank is None:
        return []
    table = table_of(
        "rank",
        found.rank,
        caption="The order by the metric, with the reason for each place",
        rows=ROWS,
        query="rank",
        command=f"wexport query rank {name} --with metrics=FILE",
    )
    return [Section("rank", "Ranking", tables=[table])]


def _runs(session: Session, found: Comparison, name: str) -> list[Section]:
    """Where there are checkpoints: what moved most from one to the next."""
    if sum(step is not None for step in found.models["step"].to_pylist()) < 2:
        return []
    drift = querying.ask(session, "drift")
    drift = drift.sort_by([("relative_l2", "descending")])
    table = table_of(
        "drift",
        drift,
        caption="How far each tensor moved from the checkpoint before; the farthest first",
        rows=ROWS // 2,
        query="drift",
        command=f"wexport query drift {name} --rows 0",
        hidden=("cosine_se", "changed_fraction_se", "compared", "nonfinite", "basis"),
    )
    return [Section("runs", "Training runs", tables=[table])]


def _words_on_layers(total: int, shown: int, models: int) -> list[str]:
    words = ["Open a layer for its histograms and its figures in each model."]
    if shown < total:
        words.append(
            f"{shown:,} of {total:,} tensors are shown (at most {MOST_LAYERS:,}): those with findings, then those that "
            "most models have."
        )
    if models > MOST_MODELS:
        words.append(
            f"Pictures and figures are of {MOST_MODELS:,} of the {models:,} models: those with findings, and others "
            "evenly spread."
        )
    return words


def _write(target: Path, text: str) -> None:
    """Replace the page when all of it is written."""
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{target.name[:100]}.", suffix=".partial", dir=target.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            umask = os.umask(0)
            os.umask(umask)
            Path(temporary).chmod(0o666 & ~umask)
            Path(temporary).replace(target)
        finally:
            Path(temporary).unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"{target}: cannot be written: {error.strerror}") from None
