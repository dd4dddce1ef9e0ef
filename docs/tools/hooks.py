"""What MkDocs asks while it builds the site: pages that are generated, and pages that live elsewhere in the project."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # MkDocs is started in the project's folder, and does not say so to Python

from docs.tools import reference, relations, rooms  # noqa: E402

ELSEWHERE = {
    "plugins.md": "plugins/README.md",
    "contributing.md": "CONTRIBUTING.md",
    "security.md": "SECURITY.md",
    "changelog.md": "CHANGELOG.md",
}
"""Pages of the site that stand elsewhere, because they are looked for there."""
_HOME = "index.md"
_STUB = "# How to add a thing\n\nThis page is written with the declarations that it walks through.\n"


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are not in `docs/`."""
    pages = {**reference.pages(), **{page: moved(page) for page in ELSEWHERE}}
    if files.get_file_from_path("adding.md") is None:
        pages["adding.md"] = _STUB
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put what is declared in the code in its place, and take out what speaks to the tests."""
    for name, make in {"rooms": rooms.table, "layers": rooms.layers, "relations": relations.table}.items():
        markdown = markdown.replace(f"<!-- generated: {name} -->", make())
    return re.sub(r"^<!-- (?:setup|file|not run): .* -->\n", _spoken, markdown, flags=re.MULTILINE)


def on_post_build(config: Any, **_: Any) -> None:
    """Refuse a site that asks another machine for anything, or names a folder of the one it was built on."""
    for page in Path(config.site_dir).rglob("*.html"):
        text = page.read_text("utf-8")
        asked = re.findall(r"""<(?:script|img|link|iframe)\b[^>]*?(?:src|href)=["'](?:https?:)?//[^"']+""", text)
        if asked or str(ROOT) in text:
            raise PluginError(f"{page.name}: {asked[0] if asked else 'names the folder it was built in'}")


def _spoken(comment: re.Match[str]) -> str:
    """A file's name is worth reading; the rest is between page and tests."""
    name = re.fullmatch(r"<!-- file: (.*) -->\n", comment[0])
    return f"`{name[1]}`:\n\n" if name else ""


def moved(page: str) -> str:
    """A page that stands elsewhere in the project, with its links as they are on the site."""
    source = ROOT / ELSEWHERE[page]
    at = {ROOT / path: each for each, path in ELSEWHERE.items()}

    def link(match: re.Match[str]) -> str:
        path, hash_, anchor = match["target"].partition("#")
        if not path or re.match(r"\w+:", path):
            return match[0]
        target = (source.parent / path).resolve()
        if target == ROOT / "README.md":
            return f"[{match['text']}]({_HOME})"
        if target in at:
            return f"[{match['text']}]({at[target]}{hash_}{anchor})"
        if target.is_relative_to(ROOT / "docs"):
            return f"[{match['text']}]({target.relative_to(ROOT / 'docs')}{hash_}{anchor})"
        return match["text"]  # a file of the project that is not a page

    return re.sub(r"(?<!!)\[(?P<text>[^\]]+)\]\((?P<target>[^)\s]+)\)", link, source.read_text("utf-8"))
