"""A training run as a table that grows: a part an epoch, and the epochs' metrics beside them.

Each part appears whole or not at all, and so does `metrics.csv`, so that `drift`, `stability`, `rank` and `report` can
be asked while training goes on, and what was written outlasts a crash.
"""

from __future__ import annotations

import csv
import io
import math
import os
import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras

import wexport
from wexport import UsageError
from wexport_keras.describing import config_of, described
from wexport_keras.inputs import Batches, batches_of
from wexport_keras.observing import Observer

METRICS = "metrics.csv"
_PART = re.compile(r"epoch_(\d+)\.parquet")
_OWN = ("run", "epoch", "epoch_seconds", "snapshot_seconds")


class Snapshot(keras.callbacks.Callback):
    """A callback that writes the model at the end of epochs: `folder/epoch_0001.parquet` and so on.

    The folder is a table; its name is the run, and an epoch is a step, counted from 1. `folder/metrics.csv` has a row
    an epoch, as `wexport query rank` takes it, with the learning rate, and the seconds that epoch and snapshot took.

    folder: where to. every: which epochs; the last is written in any case.
    inputs, targets: on which to run the model each time, for outputs of layers and for gradients; few are enough.
    layers, output_gradients, loss, training: as of `observe`. detail: "full", or "summary" without samples, which is
        smaller, and shows no drift.
    overwrite: replace a run that is in the folder already. verbose: 1 tells at the end what it cost.

    Training that goes on (`fit(initial_epoch=5)`, or a `BackupAndRestore`) goes on here too; what was written of later
    epochs, before a crash, is removed then. Raises UsageError, before the first epoch, for a folder that holds another
    run, and for inputs that do not fit the model.
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
            raise UsageError(f"every {every} is no number of epochs", hint="1 writes each epoch, 5 each fifth")
        if targets is not None and inputs is None:
            raise UsageError("there are targets and no inputs", hint="Snapshot(folder, inputs=x, targets=y)")
        self.folder, self.every = Path(folder), every
        self.run = Path(os.path.abspath(folder)).name  # noqa: PTH100  # links keep the name that the user gave
        self._inputs, self._targets = inputs, targets
        self._options = {
            "layers": layers, "output_gradients": output_gradients, "loss": loss, "training": training,
            "detail": detail == "full",
        }  # fmt: skip
        self._detail, self._overwrite, self._verbose = detail, overwrite, verbose
        self._config: Mapping[str, Any] = {}
        self._observer: Observer | None = None
        self._batches: Batches | None = None
        self._begun = False
        self._epoch_began = 0.0
        self._last: tuple[int, Mapping[str, Any]] | None = None
        self.written: list[int] = []
        """The epochs that were written, from 1."""
        self.epoch_seconds = self.snapshot_seconds = 0.0
        """What the epochs took, without the snapshots, and what the snapshots took."""

    @property
    def cost(self) -> float:
        """Share of the time of an epoch that a snapshot took, on average over those so far; 0 before the first."""
        return self.snapshot_seconds / self.epoch_seconds if self.epoch_seconds else 0.0

    # -- what Keras calls ----------------------------------------------------------------------------------------------

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        self._begun = False
        self._observer = None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{self.folder}: cannot be made: {error.strerror}", hint="name another folder") from None
        for left in self.folder.glob(".*.partial"):  # of a run that was killed
            left.unlink(missing_ok=True)
        if self.model.built:
            self._prepare()

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        if not self._begun:
            self._go_on_from(epoch)
            self._begun = True
        self._epoch_began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        ended = time.perf_counter()
        took = ended - self._epoch_began
        step = epoch + 1
        wanted = step % self.every == 0
        if wanted:
            self._write(step)
        spent = time.perf_counter() - ended
        self.epoch_seconds += took
        self.snapshot_seconds += spent
        self._last = (step, {}) if not wanted else None
        row = {"run": self.run, "epoch": step, **_numbers(logs), **self._learning_rate(logs)}
        self._add_metrics({**row, "epoch_seconds": round(took, 6), "snapshot_seconds": round(spent, 6)})

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        if self._last is not None:
            began = time.perf_counter()
            self._write(self._last[0])
            self.snapshot_seconds += time.perf_counter() - began
            self._last = None
        if self._verbose and self.written:
            print(
                f"Snapshot: {len(self.written)} epochs in {self.folder}, {self.snapshot_seconds:.1f} s beside "
                f"{self.epoch_seconds:.1f} s of training ({self.cost:.1%})"
            )

    # -- how -----------------------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        """What does not change while training goes on."""
        self._config = config_of(self.model)
        if self._inputs is not None:
            self._batches = batches_of(self.model, self._inputs, self._targets)
            now = described(self.model, self._config)
            self._observer = Observer(self.model, described=now, **self._options)  # type: ignore[arg-type]

    def _write(self, step: int) -> None:
        if not self._config:
            self._prepare()
        weights = described(self.model, self._config).model
        tensors = list(weights.tensors)
        if self._observer is not None and self._batches is not None:
            tensors += self._observer.outputs(self._batches)
            if self._targets is not None:
                tensors += self._observer.gradients(self._batches)
        wexport.ingest(
            replace(weights, tensors=tensors),
            self.folder / f"epoch_{step:04}.parquet",
            name=f"{self.run}/epoch_{step:04}",
            run=self.run,
            step=step,
            detail=self._detail,
        )
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
        kept = [row for row in self._metrics() if int(row.get("epoch") or 0) <= epoch]
        if later or len(kept) < len(self._metrics()):
            self._write_metrics(kept)
        for path in later.values():
            path.unlink()

    def _learning_rate(self, logs: Mapping[str, Any] | None) -> dict[str, float]:
        optimizer = getattr(self.model, "optimizer", None)
        if optimizer is None or "learning_rate" in (logs or {}):
            return {}
        return _numbers({"learning_rate": keras.ops.convert_to_numpy(optimizer.learning_rate)})

    def _metrics(self) -> list[dict[str, Any]]:
        path = self.folder / METRICS
        if not path.is_file():
            return []
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def _add_metrics(self, row: Mapping[str, Any]) -> None:
        self._write_metrics([*(old for old in self._metrics() if old.get("epoch") != str(row["epoch"])), row])

    def _write_metrics(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Replace the file when all of it is written."""
        names = dict.fromkeys(name for row in rows for name in row)
        ordered = [*_OWN[:2], *(name for name in names if name not in _OWN), *_OWN[2:]]
        text = io.StringIO()
        writer = csv.DictWriter(text, ordered, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        handle, temporary = tempfile.mkstemp(prefix=f".{METRICS}.", suffix=".partial", dir=self.folder)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text.getvalue())
                file.flush()
                os.fsync(file.fileno())
            umask = os.umask(0)
            os.umask(umask)
            Path(temporary).chmod(0o666 & ~umask)
            Path(temporary).replace(self.folder / METRICS)
        finally:
            Path(temporary).unlink(missing_ok=True)


def _numbers(logs: Mapping[str, Any] | None) -> dict[str, float]:
    """Those of the logs that are numbers; NaN and infinities are written as such, since they say how training went."""
    found = {}
    for name, value in (logs or {}).items():
        try:
            number = float(value)
        except (TypeError, ValueError):
            continue
        found[name] = number if not math.isnan(number) else math.nan
    return found
