"""The page of findings, from their declarations."""

from __future__ import annotations

from docs.tools.markdown import plain, table
from wexport import library
from wexport.library.findings import FINDINGS, QUERIES


def page() -> str:
    """Each finding by the query that finds it: how severe, what it means, where it begins, what to do."""
    text = [
        "# Findings",
        "",
        "What `wexport check` looks for. A severity is the worst that a finding has; in its place it may be less. A",
        "threshold between backticks is a parameter of the query: `wexport check --param name=value` sets it, and",
        "[the query](queries.md) says its default. The advice stands where nothing in the file asks for a better one.",
        "Nothing here proves that a model is bad, or that one without findings is good: your metrics do.",
        "",
    ]
    for query in QUERIES:
        text += [f"## {query}", "", f"[{plain(library.get(query).question)}](queries.md#{query})", ""]
        rows = [
            [f"`{each.name}`", each.severity, plain(each.meaning), plain(each.threshold), plain(each.advice)]
            for each in FINDINGS.values()
            if each.query == query
        ]
        text += [*table(["finding", "severity", "what it means", "where it begins", "what to do"], rows), ""]
    return "\n".join(text)
