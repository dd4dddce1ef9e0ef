"""Where models are made: compiled trainers, starts, data, and the folder that they are saved in."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import keras

from verdicts import tasks
from verdicts.collection import HALVES, Entry
from verdicts.networks import NETWORKS, Network
from verdicts.training import Recipe, Trainer, Weights

logging.getLogger("absl").setLevel(logging.ERROR)  # Keras warns of the very containers that are wanted here


def half(seed: int) -> str:
    """Even seeds are for tuning rules, odd ones for reporting on them."""
    return HALVES[seed % 2]


@dataclass(slots=True)
class Kitchen:
    """Makes models of one architecture."""

    network: Network
    folder: Path
    entries: list[Entry] = field(default_factory=list)
    _trainers: dict[str, Trainer] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, folder: Path) -> Kitchen:
        return cls(NETWORKS[name], folder)

    def trainer(self, **options: Any) -> Trainer:
        """The trainer of the network as built with these options."""
        key = repr(sorted(options.items()))
        if key not in self._trainers:
            self._trainers[key] = self.built(0, **options)
        return self._trainers[key]

    def built(self, seed: int, **options: Any) -> Trainer:
        """A new model with the start of that seed; layers get the same names each time."""
        keras.backend.clear_session()
        keras.utils.set_random_seed(seed)
        return Trainer(self.network.build(**options), self.network.loss)

    def start(self, seed: int, **options: Any) -> Weights:
        """The weights of a fresh model."""
        return self.built(seed, **options).weights()

    def data(self, seed: int, world: int = 0, count: int | None = None) -> tasks.Data:
        return tasks.data(self.network.task, seed, world=world, count=count or self.network.examples)

    def recipe(self, order: int, **changes: Any) -> Recipe:
        """The usual training of this network."""
        return replace(Recipe(self.network.epochs, self.network.rate, order), **changes)

    def trained(self, seed: int, **changes: Any) -> Iterator[Weights]:
        """A usual training from the start of that seed, epoch by epoch."""
        yield from self.trainer().train(self.start(seed), self.data(seed), self.recipe(seed, **changes))

    def name(self, seed: int, what: str) -> str:
        return f"{self.network.name}-{seed}/{what}"

    def keep(
        self, seed: int, what: str, weights: Weights, *, suffix: str = ".keras", trainer: Trainer | None = None,
        metric: float | None = None, root: str = "", start: str = "", **facts: Any,
    ) -> str:  # fmt: skip
        """Save a model and note what is true of it; returns its name."""
        trainer = trainer or self.trainer()
        model = self.name(seed, what)
        place = Path(half(seed), model + suffix)
        path = self.folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        trainer.assign(weights)
        if suffix == ".weights.h5":
            trainer.model.save_weights(path)
        else:
            trainer.model.save(path)
        if metric is None:
            metric = trainer.metric(weights, self.data(seed))
        self.entries.append(
            Entry(
                str(place), model, half(seed), self.network.name, self.network.task, seed, round(metric, 4),
                root or model, start or f"{self.network.name}-{seed}", **facts,
            )
        )  # fmt: skip
        return model
