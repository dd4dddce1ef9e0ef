"""From what the user typed to files and model names."""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from wexport.errors import MissingFileError, UsageError
from wexport.files import shards, uris
from wexport.files.remote import RemoteFile
from wexport.ingestion.companions import Lookups
from wexport.table.text import printable

_SUFFIX = re.compile(r"(\.[A-Za-z][A-Za-z0-9]{0,11}\.index\.json|(\.weights)?\.[A-Za-z][A-Za-z0-9]{0,11})$")
KERAS_FOLDER = ("model.weights.h5", "model.weights.json")
"""What Keras calls the weights in a folder that it saves a model as."""
_GLOB = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class Input:
    """A file to read.

    named: the user named it (or a pattern that matches it); False if it was met in a folder, where what is not a model
    is passed over. part: which of several models in it, as in `checkpoint.pt#model_ema`; None for all there is.
    unread: why it is a folder whose files cannot be listed; empty for a file. remote: what its store says of a file
    that a URI names; `path` only tells its place from others' then.
    """

    path: Path
    named: bool
    part: str | None = None
    unread: str = ""
    remote: RemoteFile | None = None

    @property
    def origin(self) -> Path | RemoteFile:
        """Where it lies: the path, or what its store says of it."""
        return self.path if self.remote is None else self.remote

    @property
    def called(self) -> Path | RemoteFile:
        """The path or URI as it was given, with the part."""
        if self.remote is not None:
            return replace(self.remote, part=self.part)
        return self.path if self.part is None else self.path.with_name(f"{self.path.name}#{self.part}")


def expand(arguments: Iterable[str | os.PathLike[str]]) -> list[Input]:
    """Files, folders, glob patterns and URIs of these as a list of files without repeats, in the order given, folders
    sorted.

    Files that an index among them names are parts of that model and left out, see `shards`.

    Raises UsageError for a path that does not exist, a pattern that matches nothing, a folder without files where there
    are none besides, and what is not a path.
    """
    found: dict[tuple[str, str | None], Input] = {}
    lookups = Lookups()
    arguments = list(arguments)
    for argument in arguments:
        if not isinstance(argument, (str, os.PathLike)):
            raise UsageError(
                f"something of type {type(argument).__name__} is not a path",
                hint="name files; a model in memory is given by itself",
            )
        for item in _expand_one(os.fspath(argument), lookups):
            found.setdefault((_identity(item.origin), item.part), item)
    empty = next((each for each in arguments if isinstance(each, (str, os.PathLike)) and Path(each).is_dir()), None)
    if not found and empty is not None:
        raise UsageError(f"{empty}: there is no file in this folder", hint="name a folder that holds model files")
    parts = {_identity(part) for item in found.values() for part in _parts(item.origin)}
    return [item for (path, _), item in found.items() if path not in parts]


def _identity(origin: Path | RemoteFile) -> str:
    return origin.uri if isinstance(origin, RemoteFile) else os.path.realpath(origin)


def _parts(origin: Path | RemoteFile) -> Sequence[Path | RemoteFile]:
    return origin.parts if isinstance(origin, RemoteFile) else shards.parts(origin)


def named(argument: str | os.PathLike[str]) -> Input:
    """A file, with the part that stands behind a "#" if there is no file of the whole name.

    Raises MissingFileError for a URI of nothing, ReadError for a store that does not answer.
    """
    text = os.fspath(argument)
    if uris.is_remote(text):
        return _of_store(Lookups().named(text), named=True)
    path = Path(uris.local_path(text) or text) if uris.is_uri(text) else Path(text)
    if "#" in path.name and not os.path.lexists(path):
        name, _, part = path.name.rpartition("#")
        if name and part and os.path.lexists(path.with_name(name)):
            return Input(path.with_name(name), True, part)
    return Input(path, True)


def _of_store(file: RemoteFile, *, named: bool) -> Input:
    return Input(file.path, named, file.part, remote=replace(file, part=None))


def _expand_one(argument: str, lookups: Lookups) -> Iterator[Input]:
    if uris.is_remote(argument):
        files, met = lookups.expanded(argument)
        yield from (_of_store(file, named=not met) for file in files)
        return
    if uris.is_uri(argument):
        argument = uris.local_path(argument) or argument
    path = Path(argument)
    if path.is_dir():
        yield from _in_folder(path)
    elif os.path.lexists(path):
        yield Input(path, named=True)
    elif _GLOB.search(argument):
        matches = sorted(glob.glob(argument, recursive=True))  # noqa: PTH207  # Path.glob takes no absolute patterns
        if not matches:
            raise UsageError(
                f"{argument}: matches no file",
                hint="check the pattern; quote it so that the shell leaves it alone",
            )
        for match in matches:
            if not Path(match).is_dir():
                yield Input(Path(match), named=True)
    elif (item := named(argument)).part is not None:
        yield item
    else:
        raise MissingFileError(f"{argument}: does not exist", hint="check the path")


def _in_folder(folder: Path) -> Iterator[Input]:
    due = [folder]
    while due:  # no recursion: folders may be deeper than Python's stack
        here = due.pop()
        try:
            with os.scandir(here) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            yield Input(here, named=True, unread=error.strerror or str(error))
            continue
        names = {entry.name for entry in found}
        if shards.DISTRIBUTED in names and any(name.endswith(shards.DISTRIBUTED_PART) for name in names):
            yield Input(here / shards.DISTRIBUTED, named=False)  # the one hidden file that is a model
        shown = [entry for entry in found if not entry.name.startswith(".")]
        # Only what is a file already: opening a pipe or device that happens to lie in a folder helps nobody.
        yield from (Input(Path(entry.path), named=False) for entry in shown if _is_file(entry))
        due += [Path(entry.path) for entry in reversed(shown) if entry.is_dir(follow_symlinks=False)]


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link into a folder that cannot be read, or in a circle
        return True  # reading it will fail and say why


def model_names(
    paths: Sequence[Path | RemoteFile],
    pattern: str | None = None,
    known: Mapping[str, str] | None = None,
    root: str | None = None,
) -> list[str]:
    """A name for each file: its path relative to a root, without its suffix unless a sibling shares the stem.

    pattern: overrides it; `{stem}`, `{name}`, `{parent}` and `{path}` are filled in (file name without and with
    suffix, folder's name, relative path without suffix). Where the folder is the model, as with a SavedModel, its path
    takes the place of the file's. known: names that files have already, by `source_name`, and keep without a pattern.
    root: the folder or URI that the paths are relative to; by default what all files of this call have in common.
    Raises UsageError if two files get the same name, or one is not below the root.
    """
    absolute = [_model_path(path) for path in paths]
    relative = _relative(paths, absolute, root)
    stems = [_SUFFIX.sub("", name) or name for name in relative]
    if pattern is None:
        shared = Counter(stems)
        names = [stem if shared[stem] == 1 else name for stem, name in zip(stems, relative, strict=True)]
        kept = [(known or {}).get(source_name(path)) for path in paths]
        taken = set(kept)
        names = [
            old or (longer if name in taken else name) for name, longer, old in zip(names, relative, kept, strict=True)
        ]
    else:
        try:
            names = [
                pattern.format(stem=Path(stem).name, name=path.name, parent=path.parent.name, path=stem)
                for stem, path in zip(stems, absolute, strict=True)
            ]
        except (KeyError, IndexError, ValueError) as error:
            raise UsageError(
                f"--name {pattern!r} cannot be filled in: {error}",
                hint="use {stem}, {name}, {parent} and {path}",
            ) from None
    names = [printable(name) for name in names]
    for name, count in Counter(names).items():
        if count > 1:
            both = [str(path) for path, given in zip(paths, names, strict=True) if given == name][:2]
            raise UsageError(
                f"{both[0]} and {both[1]} would both be named {name!r}",
                hint="tell them apart, e.g. with --name '{parent}/{stem}'",
            )
    return names


def absolute_root(root: str) -> str:
    """A root as a table keeps it. Raises UsageError for what is no folder of this machine and no URI."""
    if uris.is_remote(root):
        return root.rstrip("/")
    path = os.path.abspath(uris.local_path(root) or root) if uris.is_uri(root) else os.path.abspath(root)  # noqa: PTH100
    if not root or "\0" in root:
        raise UsageError(f"--root {root!r} is no folder", hint="name a folder or URI that all files are in")
    return path


def _relative(paths: Sequence[Path | RemoteFile], absolute: Sequence[Path], root: str | None) -> list[str]:
    if not absolute:
        return []
    if root is None:
        common = Path(os.path.commonpath([path.parent for path in absolute]))
        return [path.relative_to(common).as_posix() for path in absolute]
    base = uris.as_path(root) if uris.is_remote(root) else Path(root)
    for path, place in zip(paths, absolute, strict=True):
        if not place.is_relative_to(base) or place == base:
            raise UsageError(f"{path}: is not in {root}, from which models are named", hint="see --root, or --name")
    return [path.relative_to(base).as_posix() for path in absolute]


def _model_path(origin: Path | RemoteFile) -> Path:
    """The file, or the folder that is the model where the file's own name is the same in every one.

    A SavedModel of TensorFlow's keeps its variables in `variables/variables.index`; Keras' folders have their config
    beside `model.weights.h5`; torch.distributed.checkpoint calls its index `.metadata`.
    """
    if isinstance(origin, RemoteFile):
        path, others = origin.path, {each.name for each in origin.beside}
    else:
        path, others = Path(os.path.abspath(origin)), None  # noqa: PTH100  # resolve() would follow links
    if path.parts[-2:] == ("variables", "variables.index") and len(path.parts) > 3:
        return path.parents[1]
    name, _, part = path.name.partition("#")
    of_keras = name in KERAS_FOLDER and all(
        other in others if others is not None else path.with_name(other).is_file()
        for other in ("config.json", "metadata.json")
    )
    if (of_keras or name == shards.DISTRIBUTED) and len(path.parts) > 2:
        return path.parent.with_name(f"{path.parent.name}#{part}") if part else path.parent
    return path


def source_name(path: Path | RemoteFile) -> str:
    """The file as the table names it: its absolute path, links not followed, or its URI."""
    if isinstance(path, RemoteFile):
        return printable(str(path))
    return printable(os.path.abspath(path))  # noqa: PTH100  # resolve() would follow links
