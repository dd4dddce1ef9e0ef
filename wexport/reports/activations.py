"""The page's part on models that were run: what their layers gave, and how gradients went through them."""

from __future__ import annotations

from wexport.errors import UsageError
from wexport.plot import figure
from wexport.queries import asking
from wexport.reports.elements import Picture, table_of
from wexport.reports.pictures import picture
from wexport.reports.render import Section
from wexport.sessions.connection import PathLike
from wexport.sessions.session import Session
from wexport.terminal import text

QUERIES = {"activation": "outputs", "gradient": "gradients"}
"""The query about each kind of row that only a model that was run has."""
ANCHOR = "running"

_KINDS = "SELECT DISTINCT kind FROM tensors WHERE kind IN ('activation', 'gradient') ORDER BY kind"
_CAPTIONS = {
    "outputs": "What the layers gave on the inputs; what was found comes first",
    "gradients": "Gradients of the loss; what was found comes first",
}


def kinds(session: Session) -> list[str]:
    """Which of those kinds a table holds."""
    found: list[str] = session.ask(_KINDS)["kind"].to_pylist()
    return found


def running(session: Session, table: PathLike, held: list[str], rows: int) -> list[Section]:
    """The part, or nothing where no model was run. held: the kinds. rows: how many a table of the page holds."""
    if not held:
        return []
    name = text.safe(table)
    tables = [
        table_of(
            query,
            asking.ask(session, query),
            caption=_CAPTIONS[query],
            rows=rows,
            query=query,
            command=f"wexport query {query} {name} --rows 0",
        )
        for query in (QUERIES[kind] for kind in held)
    ]
    words = ["Models were run on inputs of yours; what is said here holds for those inputs."]
    return [Section(ANCHOR, words=words, pictures=_pictures(table, held), tables=tables)]


def _pictures(table: PathLike, held: list[str]) -> list[Picture]:
    if "gradient" not in held:
        return []
    try:
        made = figure("profile", table, kinds=["gradient"], statistic="rms", scale="log", role="kernel")
    except UsageError:  # no kernel among them, or none of a gradient above 0
        return []
    return [picture(made, "Root mean square of the gradients of kernels, from the first layer to the last")]
