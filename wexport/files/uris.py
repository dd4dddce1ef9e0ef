"""What a URI is, and what it names by its text alone."""

from __future__ import annotations

import re
import urllib.parse
from pathlib import Path

from wexport.errors import UsageError

SCHEMES = ("s3", "gs", "az", "abfss", "https", "http", "file")
_URI = re.compile(rf"({'|'.join(SCHEMES)})://", re.IGNORECASE)
_WEB = ("https", "http")
_MAGIC = re.compile(r"[*?\[]")


def is_uri(text: object) -> bool:
    """Whether something is a URI of a scheme that is known."""
    return isinstance(text, str) and _URI.match(text) is not None


def is_remote(text: object) -> bool:
    """Whether something is a URI of what is not on this machine."""
    return is_uri(text) and local_path(str(text)) is None


def local_path(uri: str) -> str | None:
    """The path that a file URI names; None for any other."""
    scheme, _, rest = uri.partition("://")
    if scheme.lower() != "file":
        return None
    host, slash, path = rest.partition("/")
    if host not in ("", "localhost"):
        raise UsageError(f"{uri}: names another machine", hint="file:///folder/model.h5 has three slashes")
    return urllib.parse.unquote(slash + path)


def as_path(uri: str) -> Path:
    """A URI as a path, to tell its place from others'."""
    return Path("/" + uri.replace("://", ":/", 1))


def has_magic(uri: str) -> bool:
    """Whether a URI is a pattern; those of web servers never are."""
    return not is_web(uri) and _MAGIC.search(uri) is not None


def is_web(uri: str) -> bool:
    """Whether a URI is of a web server, which lists nothing."""
    return uri.partition("://")[0].lower() in _WEB


def split(uri: str) -> tuple[str, str]:
    """The store of a URI, and the name that it has there."""
    scheme, _, rest = uri.partition("://")
    scheme = scheme.lower()
    host, _, path = rest.partition("/")
    if not host:
        raise UsageError(f"{uri}: names no {'server' if scheme in _WEB else 'bucket'}", hint=f"{scheme}://NAME/...")
    if scheme in _WEB:
        if "?" in path:
            raise UsageError(f"{uri}: has a query, which is not sent", hint="fetch the file, and name the copy")
        path = urllib.parse.unquote(path)
    return f"{scheme}://{host}", path


def pattern(uri: str) -> tuple[str, re.Pattern[str]]:
    """The folder that all lie in that a pattern may match, and what URIs match it."""
    base, path = split(uri)
    folder = _MAGIC.split(path)[0].rpartition("/")[0]
    return f"{base}/{folder}", re.compile(re.escape(f"{base}/") + _translated(path), re.DOTALL)


def _translated(pattern: str) -> str:
    """A pattern as a regular expression: `**` is any number of folders, hidden names are matched only by a dot."""
    found = []
    parts = pattern.split("/")
    for number, part in enumerate(parts):
        last = number + 1 == len(parts)
        if part == "**":
            found.append("(?:[^/.][^/]*/)*" + ("[^/.][^/]*" if last else ""))
            continue
        text = "(?!\\.)" if part[:1] in "*?[" and part else ""
        place = 0
        while place < len(part):
            character = part[place]
            end = part.find("]", place + 2)
            if character == "[" and end > 0:
                inner = part[place + 1 : end].replace("\\", "\\\\")
                text += f"[{'^' + inner[1:] if inner.startswith('!') else inner}]"
                place = end
            else:
                text += {"*": "[^/]*", "?": "[^/]"}.get(character) or re.escape(character)
            place += 1
        found.append(text + ("" if last else "/"))
    return "".join(found)
