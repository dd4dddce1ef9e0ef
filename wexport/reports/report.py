"""One page that tells it all, from a table alone."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from wexport import library
from wexport.compatibility import renamed
from wexport.errors import UsageError
from wexport.files import outputs
from wexport.files.atomic import atomic_write
from wexport.findings.finding import Finding
from wexport.library.findings import QUERIES as CHECKED
from wexport.plot import figure
from wexport.plot.style import standing_out
from wexport.queries import asking
from wexport.reports import comparison
from wexport.reports.activations import QUERIES as OF_RUNNING
from wexport.reports.activations import kinds, running
from wexport.reports.changes import changes
from wexport.reports.comparison import Comparison
from wexport.reports.drift import Moves
from wexport.reports.elements import Cell, Heading, Layer, Picture, Table, table_of
from wexport.reports.layers import MOST_LAYERS, MOST_MODELS, Chosen, choose, layers
from wexport.reports.overview import overview
from wexport.reports.pictures import picture
from wexport.reports.render import Page, Section, Sentence, render
from wexport.reports.summary import summary
from wexport.sessions.connection import Connection, PathLike
from wexport.sessions.session import MEMORY_BYTES, SECONDS, Session, path_of
from wexport.terminal import tables, text
from wexport.terminal.text import counted

ROWS = 200
"""How many rows of a table the page holds."""

Progress = Callable[[int, int], None]
"""Called as the page grows: layers drawn, layers in all."""


@renamed(seconds="timeout")
def report(
    table: PathLike | Connection,
    out: PathLike = "report.html",
    *,
    metrics: PathLike | Sequence[PathLike] = (),
    by: Mapping[str, Any] | None = None,
    reference: str = "",
    compare: PathLike | Connection | None = None,
    progress: Progress | None = None,
    timeout: float = SECONDS,
    memory: int = MEMORY_BYTES,
    overwrite: bool = False,
) -> Path:
    """Write a page about the models of a table: one HTML file that needs no network and no other file.

    table: a file that `ingest` wrote, a folder of parts, or a pattern; or what `connect` gives. out: the page.
    metrics, by: as for `compare`. reference: the model that drift is told from; by default, each checkpoint's is told
    from the one before. compare: an earlier table, to say what changed since. progress: called as layers are drawn.
    timeout, memory: seconds and bytes that each query may take. overwrite: replace a file at `out` that is not a page
    of wexport's, too; never one that is read.

    Raises UsageError if the page cannot be written or arguments make no sense, TableError if there is no such table,
    QueryError if a question cannot be answered.
    """
    files = [metrics] if isinstance(metrics, (str, os.PathLike)) else list(metrics)
    read = [*outputs.table_inputs(path_of(table)), *files]
    read += [] if compare is None else outputs.table_inputs(path_of(compare))
    outputs.claim(out, outputs.PAGE, inputs=read, overwrite=overwrite)
    found = comparison.compare(table, metrics=files, by=by, query_timeout=timeout, memory=memory)
    limits: dict[str, Any] = {"timeout": timeout, "memory": memory}
    return write(found, out, overwrite=overwrite, reference=reference, compare=compare, progress=progress, **limits)


def write(
    found: Comparison,
    out: PathLike,
    *,
    overwrite: bool = False,
    reference: str = "",
    compare: PathLike | Connection | None = None,
    progress: Progress | None = None,
    timeout: float = SECONDS,
    memory: int = MEMORY_BYTES,
) -> Path:
    """The page of a comparison that was made already; see `report`."""
    target = outputs.claim(out, outputs.PAGE, inputs=outputs.table_inputs(found.table), overwrite=overwrite)
    _known(reference, found)
    with asking.session(found.table, timeout=timeout, memory=memory) as session:
        changed = [] if compare is None else [changes(session, compare, timeout, memory)]
        page = _page(session, found, reference, progress or (lambda done, total: None), changed)
    with atomic_write(target) as file:
        file.write(render(page).encode())
    return target


def _known(reference: str, found: Comparison) -> None:
    models: list[str] = found.models["model"].to_pylist()
    if reference and reference not in models:
        near = difflib.get_close_matches(reference, models, 3) or models[:3]
        raise UsageError(f"there is no model {reference!r} in {found.table}", hint=f"such as {', '.join(near)}")


def _page(
    session: Session,
    found: Comparison,
    reference: str,
    progress: Progress,
    changed: Sequence[tuple[Section, Sentence]],
) -> Page:
    name = text.safe(found.table)
    architectures = asking.ask(session, "architectures")
    chosen = choose(session, [each.place for each in found.findings if each.place and each.severity != "info"])
    links = chosen.links(session, found.findings)
    total = found.models.num_rows
    shown = _shown_models(found)
    drift = _drift(session, found, reference)
    slots = [row["slot"] for row in chosen.slots]
    moves = Moves() if drift is None else Moves.among(drift, reference, slots, shown, whole=len(shown) == total)
    made: dict[int, Layer] = {}
    for place, layer in layers(session, chosen, shown, _badges(chosen, links), moves, name):
        made[place] = layer
        progress(len(made), len(slots))
    held = kinds(session)
    asked = [query for query in CHECKED if query not in OF_RUNNING.values() or query in map(OF_RUNNING.get, held)]
    sections = [
        *(section for section, _ in changed),
        Section(
            "models",
            tables=[
                table_of(
                    "models",
                    found.models,
                    caption=counted(total, "model"),
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
        *_drifts(drift, reference, name),
        Section(
            "layers",
            words=_words_on_layers(chosen.total, len(slots), total, sum(bool(layer.words) for layer in made.values())),
            layers=[made[place] for place in sorted(made)],
            queries=(library.get("tensors"), library.get("histogram")),
        ),
    ]
    return Page(
        f"{counted(total, 'model')} compared" if total > 1 else "1 model",
        f"From the table {name}.",
        summary(found, architectures, links, [sentence for _, sentence in changed]),
        sections,
        overview(session, found),
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


def _findings(findings: Sequence[Finding], links: Mapping[Finding, str], name: str, asked: Sequence[str]) -> Section:
    if not findings:
        return Section("findings", words=["Nothing was found: no NaN, no dead units, no jumps."])
    columns = ("severity", "finding", "model", "place", "seen", "threshold", "advice", "query")
    rows = [
        [
            Cell(
                tables.cell_text(getattr(each, column)),
                link=links.get(each, "") if column == "place" else "",
                style=f"severity {each.severity}" if column == "severity" else "",
            )
            for column in columns
        ]
        for each in findings[:ROWS]
    ]
    table = Table(
        "findings",
        f"{counted(len(findings), 'finding')}, the worst first; a place leads to its layer",
        [Heading(column) for column in columns],
        rows,
        max(0, len(findings) - ROWS),
        queries=tuple(library.get(query) for query in asked),
        command=f"wexport check {name} --rows 0",
    )
    return Section("findings", tables=[table])


def _architectures(answer: pa.Table, name: str) -> Section:
    table = table_of(
        "architectures",
        answer,
        caption="Architectures, and how each differs from the nearest",
        rows=ROWS,
        query="architectures",
        command=f"wexport query architectures {name}",
    )
    return Section("architectures", tables=[table])


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
        hidden=("within", "between", "typical", "usual", "compared_with"),
    )
    return [Section("closeness", words=words, pictures=pictures, tables=[table])]


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
    return [Section("rank", tables=[table])]


def _drift(session: Session, found: Comparison, reference: str) -> pa.Table | None:
    """How far each tensor moved; None where there are neither checkpoints nor a reference to compare with."""
    if not reference and sum(step is not None for step in found.models["step"].to_pylist()) < 2:
        return None
    return asking.ask(session, "drift", {"reference": reference})


def _drifts(drift: pa.Table | None, reference: str, name: str) -> list[Section]:
    if drift is None:
        return []
    since = f"is from {text.safe(reference)}" if reference else "moved from the checkpoint before"
    parameter = f" --param reference='{text.safe(reference)}'" if reference else ""
    table = table_of(
        "drift",
        drift,
        caption=f"How far each tensor {since}; the farthest first",
        rows=ROWS // 2,
        query="drift",
        command=f"wexport query drift {name}{parameter} --rows 0",
        hidden=(
            *("relative_l2_se", "cosine_se", "changed_fraction_se", "js_expected"),
            *("compared", "nonfinite", "basis", "match_method"),
        ),
    )
    return [Section("drift", tables=[table])]


def _words_on_layers(total: int, shown: int, models: int, undrawn: int) -> list[str]:
    words = [
        "Open a layer for its histograms and its figures in each model; of recurrent layers and of checkpoints, "
        "also for its gates and for how far it moved."
    ]
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
    if undrawn:
        words.append(
            f"Gates or drift of {undrawn:,} of them are not drawn, to keep the page small; each says what draws them."
        )
    return words
