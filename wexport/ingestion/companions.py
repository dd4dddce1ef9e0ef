"""The files that URIs name, each with the others of its store that a reader wants beside it."""

from __future__ import annotations

import re
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from wexport.errors import MissingFileError, ReadError, UsageError
from wexport.files import remote, shards, uris
from wexport.files.remote import RemoteFile

_WEIGHTS = re.compile(r"(?P<stem>.+?)(\.weights\.h5|\.weights\.json|\.h5|\.hdf5)$")
_TELLING = ("config.json", "model.json", "metadata.json")
"""Beside weights of Keras: what the model is."""
_TEXTS = {".csv", ".tsv", ".json", ".jsonl", ".txt", ".md", ".rst", ".log", ".yaml", ".yml", ".toml", ".html", ".sql"}
NO_MODELS = frozenset(_TEXTS | {".png", ".jpg", ".jpeg", ".svg", ".pdf", ".py", ".ipynb", ".parquet"})
"""Suffixes of what lies among models and is none."""
MANY = 3
"""Files of one folder that are asked for one by one; for more, it is listed."""
BESIDE_BYTES = 64 << 20
"""No larger file is fetched for what it may tell of another."""


class Lookups:
    """Finds what URIs name; a folder that several of them are in is listed once instead of asked for each."""

    def __init__(self) -> None:
        self._asked: Counter[str] = Counter()
        self._listed: dict[str, dict[str, RemoteFile]] = {}

    def named(self, uri: str) -> RemoteFile:
        """The one file that a URI names, with the part behind a "#" if there is no file of the whole name.

        Raises MissingFileError if there is none, and as `remote.head` does.
        """
        file = self._exact(uri)
        if file is None:
            raise MissingFileError(f"{uri}: does not exist", hint="check the name")
        return file

    def expanded(self, uri: str) -> tuple[list[RemoteFile], bool]:
        """The files that a URI stands for, sorted; and whether they were met in a folder rather than named.

        uri: of a file, of a folder (whose name no file has, or that ends in "/"), or a pattern.
        Raises UsageError if there are none, and as `remote.listed` does.
        """
        if uris.has_magic(uri):
            folder, wanted = uris.pattern(uri)
            files = list(remote.listed(folder))
            found = [file for file in files if wanted.fullmatch(file.uri)]
            if not found:
                raise UsageError(f"{uri}: matches no file", hint="check the pattern, and quote it")
            return sorted(_with_others(found, files), key=lambda file: file.uri), False
        file = None if uri.endswith("/") else self._exact(uri)
        if file is not None:
            return [file], False
        files = [] if uris.is_web(uri) else list(remote.listed(uri))
        if not files:
            raise MissingFileError(f"{uri}: does not exist", hint="check the name")
        below = len(uri.rstrip("/")) + 1
        shown = [file for file in files if not re.search(r"(^|/)\.|/$", file.uri[below:]) and _may_be_model(file)]
        shown += [file for file in files if file.name == shards.DISTRIBUTED and file not in shown]
        return sorted(_with_others(shown, files), key=lambda file: file.uri), True

    def _exact(self, uri: str) -> RemoteFile | None:
        file, part = self._there(uri), None
        whole, _, last = uri.rpartition("#")
        if file is None and whole and "/" not in last:
            file, part = self._there(whole), last or None
        if file is None:
            return None
        may_have = _may_have_others(file.name) and not uris.is_web(uri)
        siblings = self._in_folder(_folder(file.uri)).values() if may_have else [file]
        (file,) = _with_others([file], siblings)
        return replace(file, part=part)

    def _there(self, uri: str) -> RemoteFile | None:
        folder = _folder(uri)
        self._asked[folder] += 1
        if folder in self._listed or (self._asked[folder] > MANY and not uris.is_web(uri)):
            return self._in_folder(folder).get(uri)
        return remote.head(uri)

    def _in_folder(self, folder: str) -> dict[str, RemoteFile]:
        if folder not in self._listed:
            self._listed[folder] = {file.uri: file for file in remote.listed(folder, below=False)}
        return self._listed[folder]


def _folder(uri: str) -> str:
    return uri.rpartition("/")[0] + "/"


def _may_be_model(file: RemoteFile) -> bool:
    """Whether it is worth to be fetched from a folder, where nobody named it."""
    return file.name.endswith(shards.READ) or file.suffix.lower() not in NO_MODELS


def _may_have_others(name: str) -> bool:
    return name.endswith((*shards.READ, shards.CHECKPOINT_SUFFIX)) or bool(_telling(name)) or name == shards.DISTRIBUTED


def _with_others(files: Iterable[RemoteFile], siblings: Iterable[RemoteFile]) -> list[RemoteFile]:
    """siblings: all files that may lie beside one of `files`."""
    folders: dict[str, dict[str, RemoteFile]] = defaultdict(dict)
    for each in siblings:
        folder, _, name = each.uri.rpartition("/")
        folders[folder][name] = each
    found = []
    for file in files:
        there = folders[file.uri.rpartition("/")[0]]
        parts = [there[name] for name in _part_names(file, there) if name in there]
        beside = [there[name] for name in _telling(file.name) if name in there and name != file.name]
        small = [each for each in beside if each.size <= BESIDE_BYTES]
        found.append(replace(file, parts=tuple(parts), beside=tuple(small)))
    return found


def _part_names(file: RemoteFile, there: Mapping[str, RemoteFile]) -> list[str]:
    """The other files of a model, as `shards.parts` finds them on disk."""
    if file.name.endswith(shards.READ):
        with tempfile.TemporaryDirectory(prefix="wexport-") as folder:
            index = Path(folder) / file.name
            try:
                if file.size <= shards.MAX_INDEX_BYTES:
                    remote.fetch(file, index)
                return [part.name for part in shards.parts(index)]
            except (ReadError, OSError):
                return []  # whoever reads it will tell
    if file.name.endswith(shards.CHECKPOINT_SUFFIX):
        start = file.name.removesuffix(shards.CHECKPOINT_SUFFIX) + ".data-"
        data = re.compile(re.escape(start) + r"\d{5}-of-\d{5}")
        return sorted(name for name in there if data.fullmatch(name))
    if file.name == shards.DISTRIBUTED:
        return sorted(name for name in there if name.endswith(shards.DISTRIBUTED_PART))
    return []


def _telling(name: str) -> list[str]:
    match = _WEIGHTS.match(name)
    return [f"{match['stem']}.json", *_TELLING] if match else []
