"""A training run as a table that grows: a part an epoch, and the epochs' metrics beside them.

Each part appears whole or not at all, and so does `metrics.csv`, so that `drift`, `stability`, `rank` and `report` can
be asked while training goes on, and what was written outlasts a crash.
"""

from __future__ import annotations

import csv
import io
import os
import re
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras

import wexport
from wexport import UsageError, WexportError
from wexport.tools import Lock, atomic_write, outputs
from wexport_keras.describing import config_of, described
from wexport_keras.inputs import Batches, batches_of
from wexport_keras.observing import Observer

METRICS = "metrics.csv"
_PART = re.compile(r"epoch_(\d+)\.parquet")
_OWN = ("run", "epoch", "epoch_seconds", "snapshot_seconds")
_held: dict[str, Lock] = {}
"""The locks that this process has, by folder: a training that was broken off leaves its own to the next."""


class Snapshot(keras.callbacks.Callback):
    """A callback that writes the model at the end of epochs: `folder/epoch_0001.parquet` and so on.

    The folder is a table; its name is the run, and an epoch is a step, counted from 1. `folder/metrics.csv` has a row
    an epoch, as `wexport query rank` takes it, with the learning rate, and the seconds that epoch and snapshot took.

    folder: where to. every: which epochs; the last of a training that comes to its end is written in any case.
    inputs, targets: on which to run the model each time, for outputs of layers and for gradients; few are enough.
    layers, output_gradients, loss, training: as of `observe`. detail: "full", or "summary" without samples, which is
        smaller, and shows no drift.
    overwrite: replace a run that is in the folder already. verbose: 1 tells at the end what it cost.

    Training that goes on (`fit(initial_epoch=5)`, or a `BackupAndRestore`) goes on here too; what was written of later
    epochs, before a crash, is removed then. Raises UsageError, before the first epoch, for a folder that holds another
    run, and for inputs that do not fit the model; after it, if it is training that builds the model. Whatever else
    fails, such as a full disk, is warned of, and training goes on: `failed` has what was not written, and why.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        every: int = 1,
        *,
        inputs: Any = None,
        targets: Any = None,
        layers: Sequence[str] = ("*",),
        output_gradients: bool = False,
        loss: str | None = None,
        training: bool = False,
        detail: str = "full",
        overwrite: bool = False,
        verbose: int = 1,
    ) -> None:
        super().__init__()
        if every < 1:
            raise UsageError(f"every {every} is not a number of epochs", hint="1 writes each epoch, 5 each fifth")
        if targets is not None and inputs is None:
            raise UsageError("there are targets and no inputs", hint="Snapshot(folder, inputs=x, targets=y)")
        self.folder, self.every = Path(folder), every
        self.run = Path(os.path.abspath(folder)).name  # noqa: PTH100  # links keep the name that the user gave
        self._inputs, self._targets, self._loss = inputs, targets, loss
        self._options = {
            "layers": layers, "output_gradients": output_gradients, "loss": loss, "training": training,
            "detail": detail == "full",
        }  # fmt: skip
        self._detail, self._overwrite, self._verbose = detail, overwrite, verbose
        self._config: Mapping[str, Any] = {}
        self._observer: Observer | None = None
        self._batches: Batches | None = None
        self._begun = self._prepared = False
        self._epoch_began = 0.0
        self._last: int | None = None
        self.written: list[int] = []
        """The epochs that were written, from 1."""
        self.failed: dict[int, str] = {}
        """The epochs that could not be written, and the reasons."""
        self._rows: list[dict[str, Any]] = []
        self._text: bytes | None = None
        self._trainable: list[bool] = []
        self.epoch_seconds = self.snapshot_seconds = 0.0
        """What the epochs took, without the snapshots, and what the snapshots took."""

    @property
    def cost(self) -> float:
        """Share of the time of an epoch that a snapshot took, on average over those so far; 0 before the first."""
        return self.snapshot_seconds / self.epoch_seconds if self.epoch_seconds else 0.0

    # -- what Keras calls ----------------------------------------------------------------------------------------------

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        self._begun = self._prepared = False
        self._observer = None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{self.folder}: cannot be made: {error.strerror}", hint="name another folder") from None
        self._lock()
        self._claim()
        if self.model.built:
            self._prepare()

    def _lock(self) -> None:
        """Keep other processes from the folder until training ends, or this process does."""
        where = os.path.realpath(self.folder)
        if where not in _held:
            try:
                _held[where] = Lock(self.folder / "snapshot")
            except WexportError as error:
                raise UsageError(
                    str(error).replace(f"{self.folder / 'snapshot'}", str(self.folder)),
                    hint="give each run a folder of its own",
                ) from None

    def _unlock(self) -> None:
        lock = _held.pop(os.path.realpath(self.folder), None)
        if lock is not None:
            lock.release()

    def _claim(self) -> None:
        """Refuse a folder in which files have the names of ours and are none; remove what killed runs left there."""
        ours = [path for path in self.folder.iterdir() if _PART.fullmatch(path.name)]
        outputs.claim_all(ours, outputs.TABLE, overwrite=self._overwrite, option="folder")
        outputs.claim(self.folder / METRICS, outputs.METRICS, overwrite=self._overwrite, option="folder")

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        if not self._begun:
            self._go_on_from(epoch)
            self._begun = True
        self._epoch_began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        ended = time.perf_counter()
        took = ended - self._epoch_began
        step = epoch + 1
        # The last now, if it is known to be: callbacks may bring other weights back when training ends.
        wanted = step % self.every == 0 or self.model.stop_training or step == self.params.get("epochs")
        if not self._prepared:
            self._prepare()
        if wanted:
            self._attempt(step, lambda: self._write(step))
        spent = time.perf_counter() - ended
        self.epoch_seconds += took
        self.snapshot_seconds += spent
        self._last = step if not wanted else None
        row = {"run": self.run, "epoch": step, **_numbers(logs), **self._learning_rate(logs)}
        row |= {"epoch_seconds": round(took, 6), "snapshot_seconds": round(spent, 6)}
        self._attempt(step, lambda: self._add_metrics(row))

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        if self._last is not None:
            began = time.perf_counter()
            last = self._last
            self._attempt(last, lambda: self._write(last))
            self.snapshot_seconds += time.perf_counter() - began
            self._last = None
        self._unlock()
        if self._verbose and self.written:
            print(
                f"Snapshot: {len(self.written)} epochs in {self.folder}, {self.snapshot_seconds:.1f} s beside "
                f"{self.epoch_seconds:.1f} s of training ({self.cost:.1%})"
            )

    # -- how -----------------------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        """What does not change while training goes on, unless layers are frozen or thawed."""
        self._trainable, self._prepared = self._trains(), True
        self._config = config_of(self.model)
        if self._inputs is not None:
            self._batches = batches_of(self.model, self._inputs, self._targets, self._loss)
            now = described(self.model, self._config)
            self._observer = Observer(self.model, described=now, **self._options)  # type: ignore[arg-type]

    def _trains(self) -> list[bool]:
        return [bool(layer.trainable) for layer in self.model._flatten_layers()]

    def _attempt(self, step: int, act: Callable[[], None]) -> None:
        """Training is worth more than what is written of it."""
        try:
            act()
        except Exception as error:  # a full disk, a folder that is gone, or what a layer raises when it is run
            reason = " ".join(str(error).split())
            self.failed[step] = reason
            warnings.warn(f"Snapshot: epoch {step} is not all written: {type(error).__name__}: {reason}", stacklevel=2)

    def _write(self, step: int) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self.folder / f"epoch_{step:04}.parquet"
        if part.exists() and step not in self.written:
            raise self._another()
        if self._trains() != self._trainable:
            self._prepare()
        weights = described(self.model, self._config).model
        tensors = list(weights.tensors)
        if self._observer is not None and self._batches is not None:
            tensors += self._observer.outputs(self._batches)
            if self._targets is not None:
                tensors += self._observer.gradients(self._batches)
        wexport.ingest_model(
            replace(weights, tensors=tensors),
            part,
            name=f"{self.run}/epoch_{step:04}",
            run=self.run,
            step=step,
            detail=self._detail,
        )
        if step not in self.written:
            self.written.append(step)

    def _go_on_from(self, epoch: int) -> None:
        """Make the folder hold what was written up to an epoch, and nothing of later ones."""
        parts = {int(match[1]): path for path in self.folder.iterdir() if (match := _PART.fullmatch(path.name))}
        later = {step: path for step, path in parts.items() if step > epoch}
        if later and epoch == 0 and not self._overwrite:
            raise UsageError(
                f"{self.folder}: holds a run already, epochs {min(parts)} to {max(parts)}",
                hint=f"go on with fit(initial_epoch={max(parts)}), name another folder, or say overwrite=True",
            )
        before = self._metrics()
        self._rows = [row for row in before if _whole(row.get("epoch")) <= epoch]
        if later or len(self._rows) < len(before):
            self._write_metrics()
        for path in later.values():
            path.unlink()
        self.written = [step for step in self.written if step <= epoch]

    def _learning_rate(self, logs: Mapping[str, Any] | None) -> dict[str, float]:
        optimizer = getattr(self.model, "optimizer", None)
        if optimizer is None or "learning_rate" in (logs or {}):
            return {}
        return _numbers({"learning_rate": keras.ops.convert_to_numpy(optimizer.learning_rate)})

    def _another(self) -> UsageError:
        return UsageError(f"{self.folder}: another run writes there too", hint="give each run a folder of its own")

    def _metrics(self) -> list[dict[str, Any]]:
        """What the file holds; it is known from then on."""
        path = self.folder / METRICS
        self._text = path.read_bytes() if path.is_file() else None
        return list(csv.DictReader(io.StringIO((self._text or b"").decode("utf-8", "replace"), newline="")))

    def _add_metrics(self, row: dict[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._rows = [*(old for old in self._rows if str(old.get("epoch")) != str(row["epoch"])), row]
        path = self.folder / METRICS
        if path.is_file() and path.read_bytes() != self._text:
            raise self._another()
        self._write_metrics()

    def _write_metrics(self) -> None:
        """Replace the file when all of it is written."""
        rows = self._rows
        names = dict.fromkeys(name for row in rows for name in row)
        ordered = [*_OWN[:2], *(name for name in names if name not in _OWN), *_OWN[2:]]
        text = io.StringIO()
        writer = csv.DictWriter(text, ordered, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        whole = text.getvalue().encode()
        with atomic_write(self.folder / METRICS, durable=True) as file:
            file.write(whole)
        self._text = whole


def _numbers(logs: Mapping[str, Any] | None) -> dict[str, float]:
    """Those of the logs that are numbers; NaN and infinities are written as such, since they say how training went. A
    metric that is called like a column of ours is not to take its place.
    """
    found = {}
    for name, value in (logs or {}).items():
        try:
            number = float(value)
        except (TypeError, ValueError):
            continue
        found[f"metric_{name}" if name in _OWN else name] = number
    return found


def _whole(text: str | None) -> int:
    """The epoch of a row; 0 for what is none."""
    return int(text) if text and text.isdecimal() else 0
