"""Loading plugins one by one, telling what each is, and choosing the reader for a file."""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from wexport import hookspecs
from wexport.errors import PluginError, ReadError, UnknownFormatError, UsageError, WexportError
from wexport.files.source import Source
from wexport.model.extensions import Statistic
from wexport.model.parts import part_of
from wexport.model.slots import slot_names
from wexport.model.tensors import Model, Reader, Tensor
from wexport.plugins import contributions
from wexport.plugins.guard import ForeignError, foreign_code
from wexport.plugins.info import PluginInfo
from wexport.plugins.messages import LOADING
from wexport.plugins.signatures import looks_like
from wexport.plugins.unreadable import what_it_is
from wexport.processes.alarm import OutOfTime, within
from wexport.processes.child import breadcrumb
from wexport.version import __version__

SHIPPED = ("wexport.readers.keras.legacy", "wexport.readers.keras.v3", "wexport.readers.raw_hdf5")

LOAD_SECONDS, SNIFF_SECONDS = 30.0, 5.0
"""What a plugin may take to load, and its reader to look at a file; shipped ones are not timed."""


@dataclass(frozen=True, slots=True)
class OpenModel:
    """What is in a source: the model as its reader gave it, its tensors with what plugins know too, a slot for each."""

    model: Model
    tensors: list[Tensor]
    slots: list[str]


@dataclass
class Plugins:
    """The plugins of one run; a broken one is recorded and harms nothing else."""

    infos: list[PluginInfo] = field(default_factory=list)
    manager: pluggy.PluginManager = field(default_factory=contributions.manager)
    notes: list[str] = field(default_factory=list)
    """Faults of plugins met while looking at a file; `choose` starts it anew."""
    _too_slow: set[str] = field(default_factory=set)
    """Readers that took too long to look at a file; the next one would wait as long."""

    @property
    def readers(self) -> list[Reader]:
        """All readers of the plugins that loaded."""
        return [reader for info in self.infos for reader in info.readers]

    @property
    def statistics(self) -> list[tuple[str, Statistic]]:
        """All statistics of the plugins that loaded, each with its plugin's name."""
        return [(info.name, statistic) for info in self.infos for statistic in info.statistics]

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
            raise PluginError(f"there is no reader {forced!r}", hint=f"the readers are: {names}{self._broken()}")
        sure = sorted(
            (
                (confidence, reader)
                for info in self.infos
                for reader in info.readers
                if (confidence := self._sniff(info, reader, source)) > 0
            ),
            key=lambda pair: -pair[0],
        )
        if not sure:
            raise self._unknown(source)
        best = [reader for confidence, reader in sure if confidence == sure[0][0]]
        if len(best) > 1:
            names = " and ".join(reader.name for reader in best)
            raise UnknownFormatError(
                f"{source.path}: {names} are equally sure that it is theirs",
                hint=f"say which: --reader {best[0].name}",
            )
        return best[0]

    def completed(self, model: Model) -> list[Tensor]:
        """The tensors of a model, with what plugins know of those that the reader could not tell all about."""
        asked = self._in_order("wexport_meaning")
        if not asked:
            return list(model.tensors)
        from wexport.plugins.meaning import completed

        return [completed(tensor, model, asked, self.notes) for tensor in model.tensors]

    def open(self, source: Source, reader: Reader) -> OpenModel:
        """The model that the reader makes of a source, checked, with what plugins know of its meaning.

        Raises ReadError if the reader fails, PluginError if it gives something else, and its own WexportError.
        """
        try:
            with foreign_code():
                model = reader.open(source)
        except ForeignError as error:
            raise ReadError(
                f"{source.path}: reader {reader.name} cannot read it: {error}",
                hint="the file may be damaged; if it is not, this is a fault of the reader",
            ) from None
        if not isinstance(model, Model):
            raise PluginError(
                f"{source.path}: reader {reader.name} returned {type(model).__name__} where a wexport.Model is due"
            )
        if source.part is not None:
            model = part_of(model, source.part, source.path)
        tensors = self.completed(model)
        return OpenModel(model, tensors, slot_names(tensors))

    def describe(self, living: object) -> tuple[Model, str]:
        """The model that an object in memory is, and the plugin that says so.

        Raises UsageError if no plugin knows it, PluginError if the one that does fails or returns something else, and
        what that one says in a WexportError of its own.
        """
        what = f"{type(living).__module__}.{type(living).__qualname__}"
        for info in self._in_order("wexport_describe"):
            assert info.describe is not None
            try:
                with foreign_code():
                    found = next(iter(info.describe(living=living)), None)
            except ForeignError as error:
                raise PluginError(
                    f"plugin {info.name} cannot describe a {what}: {error}",
                    hint=f"this is a fault of {info.origin}",
                ) from None
            if found is None:
                continue
            if not isinstance(found, Model):
                raise PluginError(
                    f"plugin {info.name}: wexport_describe returned {type(found).__name__} for a {what}, where a "
                    "wexport.Model is due"
                )
            return found, info.name
        raise UsageError(
            f"no plugin knows how to read a {what}{self._broken()}",
            hint="pip install wexport-keras reads models of Keras 3; wexport.ingest reads files",
        )

    def _in_order(self, hook: str) -> list[PluginInfo]:
        """The plugins that have a hook, in the order that pluggy calls it in."""
        known = {info.key: info for info in self.infos if hook in info.hooks}
        return [known[key] for key in contributions.order(self.manager, hook) if key in known]

    def _sniff(self, info: PluginInfo, reader: Reader, source: Source) -> float:
        if reader.name in self._too_slow:
            return 0.0
        try:
            with foreign_code(passing=(WexportError, OutOfTime, MemoryError)):
                if not info.timed:
                    return float(reader.sniff(source))
                breadcrumb(info.name, f"its reader {reader.name} looked at a file")
                with within(SNIFF_SECONDS):
                    confidence = float(reader.sniff(source))
                breadcrumb()
                if not 0 <= confidence <= 1:  # NaN too
                    raise ValueError(f"sniff returned {confidence}, which is not from 0 to 1")
                return confidence
        except WexportError as error:
            self.notes.append(f"reader {reader.name}: {error}")
        except OutOfTime:
            self._too_slow.add(reader.name)
            self.notes.append(
                f"reader {reader.name} is left out: it looked at the file for more than {SNIFF_SECONDS:g} s"
            )
        except ForeignError as error:  # the file goes to the others
            self.notes.append(f"reader {reader.name} failed while looking at the file: {error}")
        breadcrumb()
        return 0.0

    def _broken(self) -> str:
        found = [f"{info.name} ({info.reason})" for info in self.infos if info.state != "ok"]
        return f"; broken plugins: {', '.join(found)}" if found else ""

    def _unknown(self, source: Source) -> ReadError:
        if not source.size:
            return UnknownFormatError(f"{source.path}: is empty", hint="save or copy it again")
        found = looks_like(source)
        owners = {info.origin.lower(): info for info in self.infos}
        if found is None or (found[1] in owners and owners[found[1]].state == "ok"):  # it has had its say
            if (kind := what_it_is(source)) is not None:
                return UnknownFormatError(f"{source.path}: is {kind[0]}", hint=f"{kind[1]}{self._broken()}")
            return UnknownFormatError(
                f"{source.path}: no reader recognises it (it begins with {source.head[:8]!r})",
                hint=f"`wexport plugins` lists what can be read; --reader NAME forces one{self._broken()}",
            )
        what, package = found
        if package in owners:
            return UnknownFormatError(
                f"{source.path}: looks like {what}, and {package}, which reads it, is broken: {owners[package].reason}",
                hint=f"pip install --upgrade --force-reinstall {package}",
            )
        return UnknownFormatError(
            f"{source.path}: looks like {what}, which no installed plugin reads",
            hint=f"pip install {package}",
        )


def load(files: Iterable[str | Path] = (), without: Mapping[str, str] | None = None) -> Plugins:
    """The shipped readers, the installed plugins, and plugin files named by path.

    without: plugins that are not to be loaded, each with the reason; a process may have died of them.
    """
    plugins, without = Plugins(), without or {}
    for name in SHIPPED:
        _add(
            plugins,
            name.removeprefix("wexport.readers.").replace(".", "_"),
            __version__,
            "shipped",
            partial(importlib.import_module, name),
            {},
        )
    for entry in importlib.metadata.entry_points(group=hookspecs.ENTRY_POINT_GROUP):
        version = entry.dist.version if entry.dist else ""
        origin = entry.dist.name if entry.dist else entry.value
        _add(plugins, entry.name, version, origin, entry.load, without)
    for file in files:
        path = Path(file)
        _add(plugins, path.stem, _version_of(path), str(file), partial(_from_file, path), without)
    return plugins


def _add(
    plugins: Plugins, name: str, version: str, origin: str, find: Callable[[], Any], without: Mapping[str, str]
) -> None:
    """Load one plugin; whatever is wrong with it is recorded."""
    info = PluginInfo(name, version, origin)
    if name in without:
        plugins.infos.append(replace(info, state="broken", reason=without[name]))
        return
    try:
        with foreign_code(passing=(OutOfTime,)):
            if not info.timed:
                info = _loaded(info, find, plugins)
            else:
                breadcrumb(name, LOADING)
                with within(LOAD_SECONDS):
                    info = _loaded(info, find, plugins)
    except OutOfTime:
        info = replace(info, state="broken", reason=f"took longer than {LOAD_SECONDS:g} s to load")
    except ForeignError as error:
        info = replace(info, state="broken", reason=_reason(error.cause))
    breadcrumb()
    plugins.infos.append(info)


def _loaded(info: PluginInfo, find: Callable[[], Any], plugins: Plugins) -> PluginInfo:
    """Imports a plugin and asks its hooks. Raises PluginError if one breaks the contract, and whatever it raises."""
    hooks = contributions.Hooks(plugins.manager, find(), info.key)
    info = replace(
        info,
        hooks=hooks.names,
        readers=contributions.readers_of(hooks),
        statistics=contributions.statistics_of(hooks),
        queries=contributions.queries_of(hooks, info.name),
        meaning=hooks.caller("wexport_meaning"),
        describe=hooks.caller("wexport_describe"),
    )
    for what in ("readers", "statistics", "queries"):
        taken = {item.name: f"plugin {other.name}" for other in plugins.infos for item in getattr(other, what)}
        found = contributions.first_taken([item.name for item in getattr(info, what)], taken)
        if found is not None:
            word = {"readers": "reader", "statistics": "statistic", "queries": "query"}[what]
            raise PluginError(f"its {word} {found[0]!r} has the name of one of {found[1]}, which is loaded already")
    return info


def _reason(error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name:
        detail = f"needs the module {error.name}, which is not installed"
    elif isinstance(error, WexportError):
        detail = str(error)
    else:
        detail = f"{type(error).__name__}: {error}"
    return " ".join(detail.split())[:500]


def _version_of(path: Path) -> str:
    """What tells one state of a plugin's file from another: tables remember which statistics made their figures."""
    try:
        return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"
    except OSError:
        return ""


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise PluginError(f"{path} does not exist", hint="--plugin takes the path of a Python file")
    name = f"wexport_plugin_{re.sub(r'[^0-9A-Za-z]', '_', path.stem)}"
    spec = importlib.util.spec_from_file_location(name, path, loader=_Loader(name, str(path)))
    if spec is None or spec.loader is None:
        raise PluginError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


class _Loader(SourceFileLoader):
    """A loader that leaves no bytecode in the user's folder."""

    def set_data(self, path: str, data: Any, *, _mode: int = 0o666) -> None:
        """Keep nothing."""


def suffixes(readers: Sequence[Reader]) -> Iterator[str]:
    """All suffixes the readers go by."""
    for reader in readers:
        yield from reader.suffixes
