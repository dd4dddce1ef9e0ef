"""Illnesses planted in a small trained model, one at a time, and what is healthy and might be taken for one.

The model is made of random numbers, with what training leaves: constants that moved, and kernels with a few strong
directions beside what they began with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.tables import write_table
from wexport.findings.checking import check

Array = NDArray[Any]
Weights = dict[str, Array]

GATES = 32  # units of the recurrent layer
LAYERS = {
    "conv2d": ("Conv2D", "relu"), "conv2d_1": ("Conv2D", "relu"), "norm": ("BatchNormalization", None),
    "dense": ("Dense", "relu"), "dense_1": ("Dense", "relu"), "dense_2": ("Dense", "softmax"),
    "embedding": ("Embedding", None), "lstm": ("LSTM", "tanh"),
}  # fmt: skip


def _kernel(rng: np.random.Generator, *shape: int) -> Array:
    drawn = rng.uniform(-1, 1, shape) * np.sqrt(6 / (np.prod(shape[:-1]) + shape[-1]))
    flat = rng.normal(size=(int(np.prod(shape[:-1])), 3)) @ rng.normal(size=(3, shape[-1])) / np.sqrt(3)
    return drawn + 0.5 * drawn.std() * flat.reshape(shape) * rng.lognormal(0, 0.3, shape[-1])


def trained(seed: int) -> Weights:
    """The weights of a model, by slot."""
    rng = np.random.default_rng(seed)
    moved = lambda *shape: rng.normal(0, 0.05, shape)  # noqa: E731
    lstm = moved(4 * GATES)
    lstm[GATES : 2 * GATES] += 1
    return {
        "conv2d/kernel": _kernel(rng, 3, 3, 3, 16), "conv2d/bias": moved(16),
        "norm/gamma": 1 + 2 * moved(16), "norm/beta": moved(16),
        "norm/moving_mean": 10 * moved(16), "norm/moving_variance": rng.gamma(3, 0.3, 16),
        "conv2d_1/kernel": _kernel(rng, 3, 3, 16, 32), "conv2d_1/bias": moved(32),
        "embedding/embeddings": rng.normal(0, 0.3, (200, 24)),
        "lstm/kernel": _kernel(rng, 24, 4 * GATES), "lstm/recurrent_kernel": _kernel(rng, GATES, 4 * GATES),
        "lstm/bias": lstm,
        "dense/kernel": _kernel(rng, 64, 96), "dense/bias": moved(96),
        "dense_1/kernel": _kernel(rng, 96, 48), "dense_1/bias": moved(48),
        "dense_2/kernel": _kernel(rng, 48, 10), "dense_2/bias": moved(10),
    }  # fmt: skip


Plant = Callable[[Weights, np.random.Generator], Any]
SICK: dict[str, tuple[str, str, Plant]] = {}
HEALTHY: dict[str, Plant] = {}


def sick(finding: str, place: str) -> Callable[[Plant], Plant]:
    """Declare a plant: what must be found, and where."""

    def keep(plant: Plant) -> Plant:
        SICK[plant.__name__] = (finding, place, plant)
        return plant

    return keep


def healthy(plant: Plant) -> Plant:
    """Declare what is no illness."""
    HEALTHY[plant.__name__] = plant
    return plant


@sick("twin_units", "conv2d/kernel")
def most_filters_copied(w: Weights, rng: np.random.Generator) -> None:
    w["conv2d/kernel"][..., 3:] = w["conv2d/kernel"][..., :1]


@sick("twin_units", "conv2d_1/kernel")
def most_filters_of_a_larger_kernel_copied(w: Weights, rng: np.random.Generator) -> None:
    w["conv2d_1/kernel"][..., 4:] = w["conv2d_1/kernel"][..., :1]


@sick("twin_units", "dense_1/kernel")
def units_copied_in_pairs(w: Weights, rng: np.random.Generator) -> None:
    w["dense_1/kernel"][:, 1::2] = w["dense_1/kernel"][:, ::2]


@sick("twin_units", "dense_1/kernel")
def units_that_are_others_turned(w: Weights, rng: np.random.Generator) -> None:
    w["dense_1/kernel"][:, 1::2] = -w["dense_1/kernel"][:, ::2]


@sick("twin_units", "dense_2/kernel")
def head_with_one_profile_for_all_classes(w: Weights, rng: np.random.Generator) -> None:
    w["dense_2/kernel"][:] = w["dense_2/kernel"][:, :1]


@sick("zero_inputs", "conv2d_1/kernel")
def more_than_half_of_the_channels_lost(w: Weights, rng: np.random.Generator) -> None:
    w["conv2d_1/kernel"][:, :, :10] = 0


@sick("zero_inputs", "dense_1/kernel")
def every_other_row_lost(w: Weights, rng: np.random.Generator) -> None:
    w["dense_1/kernel"][::2] = 0


@sick("zero_block", "dense_1/kernel")
def tail_lost(w: Weights, rng: np.random.Generator) -> None:
    w["dense_1/kernel"].reshape(-1)[3000:] = 0


@sick("vanishing_gamma", "norm/gamma")
def gamma_all_zero(w: Weights, rng: np.random.Generator) -> None:
    w["norm/gamma"][:] = 0


@sick("vanishing_gamma", "norm/gamma")
def gamma_zero_in_a_third(w: Weights, rng: np.random.Generator) -> None:
    w["norm/gamma"][:5] = 1e-7


@sick("statistics_uniform", "norm/moving_variance")
def variance_all_zero(w: Weights, rng: np.random.Generator) -> None:
    w["norm/moving_variance"][:] = 0


@sick("statistics_uniform", "norm/moving_variance")
def variance_one_constant(w: Weights, rng: np.random.Generator) -> None:
    w["norm/moving_variance"][:] = 0.37


@sick("statistics_never_updated", "norm/moving_variance")
def statistics_as_they_began(w: Weights, rng: np.random.Generator) -> None:
    w["norm/moving_variance"][:], w["norm/moving_mean"][:] = 1, 0


@sick("negative_variance", "norm/moving_variance")
def a_negative_variance(w: Weights, rng: np.random.Generator) -> None:
    w["norm/moving_variance"][4] = -0.02


@sick("exploding", "dense/bias")
def a_bias_with_a_flipped_bit(w: Weights, rng: np.random.Generator) -> None:
    w["dense/bias"][3] = 3e8


@sick("exploding", "dense_1/kernel")
def a_kernel_500_times_too_large(w: Weights, rng: np.random.Generator) -> None:
    w["dense_1/kernel"] *= 500


@sick("near_zero_tensor", "dense_1/kernel")
def a_kernel_decayed_away(w: Weights, rng: np.random.Generator) -> None:
    w["dense_1/kernel"] *= 1e-5


@sick("dead_units", "dense_1/kernel")
def a_layer_off_by_its_bias(w: Weights, rng: np.random.Generator) -> None:
    w["dense_1/bias"][:] = -30


@sick("dead_units", "dense_1/kernel")
def a_layer_with_nothing_above_zero(w: Weights, rng: np.random.Generator) -> None:
    w["dense_1/kernel"][:] = -abs(w["dense_1/kernel"])
    w["dense_1/bias"][:] = -abs(w["dense_1/bias"])


@sick("collapsed_units", "conv2d_1/kernel")
def filters_all_but_gone(w: Weights, rng: np.random.Generator) -> None:
    w["conv2d_1/kernel"][..., :20] *= 1e-4


@sick("bias never moved", "dense_1")
def a_bias_left_out(w: Weights, rng: np.random.Generator) -> None:
    w["dense_1/bias"][:] = 0


@sick("rank_one", "dense_1/kernel")
def a_kernel_of_rank_one(w: Weights, rng: np.random.Generator) -> None:
    w["dense_1/kernel"][:] = 0.1 * np.outer(rng.normal(size=96), rng.normal(size=48))


@sick("ordered_kernel", "dense_1/kernel")
def a_kernel_sorted_within_its_units(w: Weights, rng: np.random.Generator) -> None:
    w["dense_1/kernel"].sort(axis=0)


@sick("gate_shut", "lstm/bias")
def an_input_gate_that_is_shut(w: Weights, rng: np.random.Generator) -> None:
    w["lstm/bias"][:GATES] = -9


@sick("gate_open", "lstm/bias")
def a_forget_gate_that_is_open(w: Weights, rng: np.random.Generator) -> None:
    w["lstm/bias"][GATES : 2 * GATES] = 14


@sick("gate_zero", "lstm/kernel")
def a_cell_gate_of_zeros(w: Weights, rng: np.random.Generator) -> None:
    w["lstm/kernel"][:, 2 * GATES : 3 * GATES] = 0


@sick("gate_scale", "lstm/kernel")
def a_gate_20_times_too_large(w: Weights, rng: np.random.Generator) -> None:
    w["lstm/kernel"][:, :GATES] *= 20


@sick("recurrent_scale", "lstm/recurrent_kernel")
def a_recurrent_kernel_that_saturates(w: Weights, rng: np.random.Generator) -> None:
    w["lstm/recurrent_kernel"] *= 12


@sick("zero_tensor", "lstm/recurrent_kernel")
def a_recurrent_kernel_of_zeros(w: Weights, rng: np.random.Generator) -> None:
    w["lstm/recurrent_kernel"][:] = 0


@healthy
def as_it_is(w: Weights, rng: np.random.Generator) -> None:
    pass


@healthy
def pruned_to_a_fifth(w: Weights, rng: np.random.Generator) -> None:
    for values in w.values():
        if values.ndim > 1:
            values[abs(values) < np.quantile(abs(values), 0.8)] = 0


@healthy
def pixels_that_are_always_blank(w: Weights, rng: np.random.Generator) -> None:
    w["conv2d/kernel"][0, :, 1] = w["conv2d/kernel"][2, 1, 0] = 0


@healthy
def a_padding_row_and_a_one_of_kernel(w: Weights, rng: np.random.Generator) -> None:
    w["embedding/embeddings"][0] = 0
    w["dense_1/kernel"][7] = 0


@healthy
def a_layer_that_computes_spectra(w: Weights, rng: np.random.Generator) -> None:
    time, frequency = np.arange(64)[:, None], np.arange(48)[None, :]
    phase = 2 * np.pi * time * frequency / 96
    w["dense/kernel"][:] = np.concatenate([np.cos(phase), np.sin(phase + 0.1)], axis=1) * 0.1


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[tuple[str, str | None]]]:
    """Errors and warnings of each model: findings and places. Each plant stands in a model of its own table rows."""
    table = write_table(tmp_path_factory.mktemp("plants") / "weights.parquet", _rows())
    told: dict[str, set[tuple[str, str | None]]] = {name: set() for name in (*SICK, *HEALTHY)}
    for each in check(table):
        # All plants in one table are siblings of each other, which is another way to find them.
        if each.severity != "info" and each.finding != "far_from_siblings":
            told[each.model].add((each.finding, each.place))
    return told


def _rows() -> Iterator[dict[str, Any]]:
    plants = {**{name: plant for name, (_, _, plant) in SICK.items()}, **HEALTHY}
    for seed, (model, plant) in enumerate(plants.items()):
        weights = trained(seed)
        plant(weights, np.random.default_rng(seed))
        for slot, values in weights.items():
            layer, role = slot.split("/")
            layer_class, activation = LAYERS[layer]
            config = {"name": layer, **({"activation": activation} if activation else {})}
            yield {
                "model": model, "layer": layer, "layer_class": layer_class, "role": role, "values": values,
                "layer_index": list(LAYERS).index(layer), "layer_config": config, "trainable": "moving" not in role,
            }  # fmt: skip


@pytest.mark.parametrize("model", SICK)
def test_an_illness_is_found_where_it_is(model: str, found: dict[str, set[tuple[str, str | None]]]) -> None:
    finding, place, _ = SICK[model]
    assert (finding, place) in found[model]


@pytest.mark.parametrize("model", HEALTHY)
def test_what_is_healthy_is_left_in_peace(model: str, found: dict[str, set[tuple[str, str | None]]]) -> None:
    assert found[model] == set()
