"""Other weights, the same function: hidden units in another order, scaled, or with their signs turned."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from verdicts.networks import Group, Part
from verdicts.training import Weights


def reordered(weights: Weights, groups: tuple[Group, ...], seed: int) -> Weights:
    """Every group's units in a random order."""
    rng = np.random.default_rng([seed, 21])
    found = dict(weights)
    for group in groups:
        order = rng.permutation(group.units)
        for part in group.parts:
            places = np.arange(found[part.tensor].shape[part.axis])
            places[_places(group, part)] = _places(group, part).reshape(part.blocks, -1)[:, order].ravel()
            found[part.tensor] = np.take(found[part.tensor], places, part.axis)
    return found


def rescaled(weights: Weights, groups: tuple[Group, ...], seed: int) -> Weights:
    """Units behind ReLU scaled by random factors from 1/4 to 4, units behind tanh by 1 or -1."""
    rng = np.random.default_rng([seed, 22])
    found = dict(weights)
    for group in groups:
        if not group.scale:
            continue
        random = rng.choice([-1.0, 1.0], group.units) if group.scale == "sign" else 2 ** rng.uniform(-2, 2, group.units)
        for part in group.parts:
            if part.power:
                found[part.tensor] = _scaled(found[part.tensor], group, part, random**part.power)
    return found


def _places(group: Group, part: Part) -> NDArray[np.int64]:
    return np.arange(part.start, part.start + part.blocks * group.units)


def _scaled(values: NDArray[np.float32], group: Group, part: Part, factors: NDArray[np.float64]) -> NDArray[np.float32]:
    along = np.ones(values.shape[part.axis])
    along[_places(group, part)] = np.tile(factors, part.blocks)
    shape = [1] * values.ndim
    shape[part.axis] = -1
    return (values * along.reshape(shape)).astype(values.dtype)
