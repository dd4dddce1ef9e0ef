"""Loading plugins one by one, telling what each is, and choosing the reader for a file."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from wexport import hookspecs
from wexport.errors import PluginError, ReadError, UnknownFormatError, UsageError, WexportError
from wexport.tensors import Model, Reader, Source
from wexport.version import __version__

SHIPPED = ("wexport.readers.keras_legacy", "wexport.readers.keras3", "wexport.readers.raw_hdf5")

# Formats that are told by their first bytes, and who reads them.
_KNOWN = (
    (re.compile(rb"\x93NUMPY"), "a NumPy array", "wexport-npz"),
    (re.compile(rb"GGUF"), "a GGUF model", "wexport-gguf"),
    (re.compile(rb".{7}\0\{\s*\"", re.DOTALL), "a safetensors model", "wexport-safetensors"),
    (
        re.compile(rb"PK\x03\x04.{26}[^/\0]+/(data\.pkl|\.data/|byteorder)", re.DOTALL),
        "a PyTorch file",
        "wexport-torch",
    ),
    (re.compile(rb"PK\x03\x04.{26}[^/\0]+\.npy", re.DOTALL), "a NumPy archive", "wexport-npz"),
    (re.compile(rb"\x80[\x02-\x05]"), "a pickle, as older PyTorch writes them", "wexport-torch"),
)


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """A plugin as `wexport plugins` shows it.

    state: "ok" or "broken". reason: why it is broken. origin: "shipped", the distribution, or the file.
    """

    name: str
    version: str
    origin: str
    state: str = "ok"
    reason: str = ""
    readers: tuple[Reader, ...] = ()
    describe: Callable[..., Any] | None = None
    """Its hook for objects in memory, where it has one."""


@dataclass
class Plugins:
    """The plugins of one run; a broken one is recorded and harms nothing else."""

    infos: list[PluginInfo] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Faults of plugins met while looking at a file; `choose` starts it anew."""

    @property
    def readers(self) -> list[Reader]:
        """All readers of the plugins that loaded."""
        return [reader for info in self.infos for reader in info.readers]

    def choose(self, source: Source, forced: str | None = None) -> Reader:
        """The reader for a source: the one that is named, or the one whose confidence is highest.

        Raises UnknownFormatError if none recognises the file or two are equally sure; PluginError for an unknown name.
        """
        self.notes.clear()
        if forced is not None:
            for reader in self.readers:
                if reader.name == forced:
                    return reader
            names = ", ".join(sorted(reader.name for reader in self.readers))
            raise PluginError(f"there is no reader {forced!r}", hint=f"the readers are: {names}")
        sure = sorted(
            ((confidence, reader) for reader in self.readers if (confidence := self._sniff(reader, source)) > 0),
            key=lambda pair: -pair[0],
        )
        if not sure:
            raise _unknown(source)
        best = [reader for confidence, reader in sure if confidence == sure[0][0]]
        if len(best) > 1:
            names = " and ".join(reader.name for reader in best)
            raise UnknownFormatError(
                f"{source.path}: {names} are equally sure that it is theirs",
                hint=f"say which: --reader {best[0].name}",
            )
        return best[0]

    def describe(self, living: object) -> Model:
        """The model that an object in memory is.

        Raises UsageError if no plugin knows it, PluginError if the one that does returns something else.
        """
        for info in self.infos:
            found = info.describe(living=living) if info.describe is not None else None
            if found is None:
                continue
            if not isinstance(found, Model):
                raise PluginError(f"{info.name}: wexport_describe returned {type(found).__name__}, not a wexport.Model")
            return found
        broken = "; ".join(f"{info.name} is broken: {info.reason}" for info in self.infos if info.state == "broken")
        what = f"{type(living).__module__}.{type(living).__qualname__}"
        raise UsageError(
            f"no plugin knows how to read a {what}{f' ({broken})' if broken else ''}",
            hint="pip install wexport-keras reads models of Keras 3; files are given as paths",
        )

    def _sniff(self, reader: Reader, source: Source) -> float:
        try:
            return float(reader.sniff(source))
        except WexportError as error:
            self.notes.append(f"reader {reader.name}: {error}")
        except Exception as error:  # a plugin may raise anything; the file goes to the others
            self.notes.append(f"reader {reader.name} failed while looking at the file: {type(error).__name__}: {error}")
        return 0.0


def load(files: Iterable[str | Path] = ()) -> Plugins:
    """The shipped readers, the installed plugins, and plugin files named by path."""
    plugins = Plugins()
    for name in SHIPPED:
        _add(
            plugins,
            name.rpartition(".")[2],
            __version__,
            "shipped",
            lambda name=name: importlib.import_module(name),
        )
    for entry in importlib.metadata.entry_points(group=hookspecs.ENTRY_POINT_GROUP):
        version = entry.dist.version if entry.dist else ""
        origin = entry.dist.name if entry.dist else entry.value
        _add(plugins, entry.name, version, origin, entry.load)
    for file in files:
        _add(plugins, Path(file).stem, "", str(file), lambda file=file: _from_file(Path(file)))
    return plugins


def _add(plugins: Plugins, name: str, version: str, origin: str, find: Any) -> None:
    """Load one plugin in a manager of its own, so that what it does wrong stays its own."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    try:
        module = find()
        manager.register(module, name=name)
        manager.check_pending()
        readers = tuple(_checked(reader) for found in manager.hook.wexport_readers() for reader in found)
        taken = {reader.name for reader in plugins.readers}
        for reader in readers:
            if reader.name in taken:
                raise PluginError(f"its reader {reader.name!r} has the name of one that is loaded already")
        _tell_misspelled(module)
        describe = manager.hook.wexport_describe if manager.hook.wexport_describe.get_hookimpls() else None
        plugins.infos.append(PluginInfo(name, version, origin, readers=readers, describe=describe))
    except Exception as error:  # whatever a plugin raises at import is its own
        detail = str(error) if isinstance(error, WexportError) else f"{type(error).__name__}: {error}"
        plugins.infos.append(PluginInfo(name, version, origin, "broken", " ".join(detail.split())))


def _checked(reader: object) -> Reader:
    if not isinstance(reader, Reader):
        raise PluginError(f"wexport_readers returned {type(reader).__name__} where a wexport.Reader is due")
    return reader


def _tell_misspelled(module: object) -> None:
    """Functions named like a hook that are none, or are one and not marked, would be ignored in silence."""
    known = {name for name in vars(hookspecs) if name.startswith("wexport_")}
    for name, value in vars(module).items():
        if not name.startswith("wexport_") or not callable(value):
            continue
        if name not in known:
            raise PluginError(f"{name} is no hook; the hooks are: {', '.join(sorted(known))}")
        if not hasattr(value, f"{hookspecs.PROJECT}_impl"):
            raise PluginError(f"{name} is not marked with @wexport.hookimpl")


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise PluginError(f"{path} does not exist", hint="--plugin takes the path of a Python file")
    name = f"wexport_plugin_{re.sub(r'[^0-9A-Za-z]', '_', path.stem)}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise PluginError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _unknown(source: Source) -> ReadError:
    if not source.size:
        return UnknownFormatError(f"{source.path}: is empty", hint="save or copy it again")
    for pattern, what, package in _KNOWN:
        if pattern.match(source.head):
            return UnknownFormatError(
                f"{source.path}: looks like {what}, which no installed plugin reads",
                hint=f"pip install {package}",
            )
    return UnknownFormatError(
        f"{source.path}: no reader recognises it (it begins with {source.head[:8]!r})",
        hint="`wexport plugins` lists what can be read; --reader NAME forces one",
    )


def suffixes(readers: Sequence[Reader]) -> Iterator[str]:
    """All suffixes the readers go by."""
    for reader in readers:
        yield from reader.suffixes
