"""Files of a store on their way to readers: fetched ahead into a private folder, and gone once they were read.

The process that owns the spool fetches; readers see plain files, so that they need no network, and every format works.
A model's other files lie beside it, under the names that they have in the store.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from wexport.errors import ReadError, WexportError, unwritable
from wexport.files import remote
from wexport.files.remote import RemoteFile

HELD_BYTES = 512 << 20
"""What lies there at a time; a larger model comes alone."""
HELD_MODELS = 64
FETCHERS = 8
"""How many models are fetched side by side: a store answers each late, and many at once."""
_NAME_BYTES = 200


class _Model:
    """A model that is expected. left: how often it will still be asked for."""

    def __init__(self, file: RemoteFile, place: Path, uses: int) -> None:
        self.file, self.place, self.left = file, place, uses
        self.bytes = sum(each.size for each in (*file.whole(), *file.beside))
        self.there = False
        self.failure: WexportError | None = None


class Spool:
    """A private folder that models are fetched into, in the order in which they were told with `expect`.

    most: bytes that may lie there at a time; None for any number. A context manager: what is left is removed.
    """

    def __init__(self, most: int | None = HELD_BYTES) -> None:
        self._most = most
        self._folder: Path | None = None
        self._models: dict[Path, _Model] = {}
        self._due: list[_Model] = []
        self._held: list[_Model] = []
        self._state = threading.Condition()
        self._stop = False

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Fetch no more, and remove what is there."""
        with self._state:
            self._stop = True
            self._state.notify_all()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def expect(self, file: RemoteFile, uses: int = 1) -> Path:
        """Where a model will lie. uses: how often it will be asked for with `there`, before it is removed."""
        if self._folder is None:
            try:
                self._folder = Path(tempfile.mkdtemp(prefix="wexport-"))
            except OSError as error:
                raise unwritable(tempfile.gettempdir(), error) from None
        place = self._folder / str(len(self._models)) / safe_name(file.name)
        self._models[place] = _Model(file, place, uses)
        self._due.append(self._models[place])
        return place

    def begin(self) -> None:
        """Fetch ahead from now on, side by side."""
        for _ in range(min(FETCHERS, len(self._due))):
            threading.Thread(target=self._fetch_all, daemon=True).start()

    @contextlib.contextmanager
    def there(self, place: Path) -> Iterator[None]:
        """Waits until a model is there, which it is while this is entered; does nothing for what is not of the spool.

        Raises ReadError if it cannot be fetched, `ChangedError` if it is not what was listed.
        """
        model = self._models.get(place)
        if model is None:
            yield
            return
        with self._state:
            while not (model.there or model.failure or self._stop):
                self._state.wait()
        try:
            if model.failure is not None:
                raise model.failure
            if not model.there:
                raise ReadError(f"{model.file}: was not fetched before the end")
            yield
        finally:
            with self._state:
                model.left -= 1
                if not model.left:
                    self._remove(model)

    def _fetch_all(self) -> None:
        while (model := self._next()) is not None:
            failure = _fetched(model)
            with self._state:
                model.there, model.failure = failure is None, failure
                if failure is not None:
                    self._remove(model)
                self._state.notify_all()

    def _next(self) -> _Model | None:
        with self._state:
            while self._due and not self._stop:
                held = sum(model.bytes for model in self._held)
                fits = self._most is None or held + self._due[0].bytes <= self._most
                if not self._held or (fits and len(self._held) < HELD_MODELS):
                    model = self._due.pop(0)
                    self._held.append(model)
                    return model
                self._state.wait()
            return None

    def _remove(self, model: _Model) -> None:
        """Make room; the caller holds the lock."""
        if model in self._held:
            self._held.remove(model)
            model.there = False
            shutil.rmtree(model.place.parent, ignore_errors=True)
        self._state.notify_all()


def _fetched(model: _Model) -> WexportError | None:
    """Fetch a model with what belongs to it; returns why it could not be."""
    try:
        model.place.parent.mkdir(mode=0o700)
        remote.fetch(model.file, model.place)
        for part in model.file.parts:
            remote.fetch(part, model.place.with_name(safe_name(part.name)))
        for other in model.file.beside:
            with contextlib.suppress(ReadError):  # it tells more of the model, and is none of it
                remote.fetch(other, model.place.with_name(safe_name(other.name)))
    except WexportError as error:
        return error
    except OSError as error:
        why = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
        return ReadError(f"{model.file}: cannot be put into {tempfile.gettempdir()}: {why}", hint="set TMPDIR")
    return None


def safe_name(name: str) -> str:
    """A name of a store's as one of a file: readers know formats by how it ends."""
    name = name.replace("\0", "_").replace(os.sep, "_")
    encoded = os.fsencode(name)
    if len(encoded) > _NAME_BYTES:
        name = encoded[-_NAME_BYTES:].decode("utf-8", "ignore")
    return "_" if name in ("", ".", "..") else name
