"""State dicts, which tell names and shapes alone: how layers are put together, and what `relate` finds with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import wexport
from wexport.relating import chains
from wexport.relating.results import Read

safetensors = pytest.importorskip("safetensors.numpy")
State = dict[str, np.ndarray]


def normal(seed: int) -> Callable[..., np.ndarray]:
    rng = np.random.default_rng(seed)
    return lambda *shape: rng.standard_normal(shape).astype("f4")


def ordered_units(state: State, makers: str, readers: str, order: np.ndarray) -> None:
    """Put the units that some modules make into another order, and the channels of what reads them."""
    for name in makers.split():
        for key in [key for key in state if key.rpartition(".")[0] == name and state[key].ndim]:
            state[key] = state[key][order]
    for name in readers.split():
        weight = state[f"{name}.weight"]
        places = weight.shape[1] // len(order)
        index = (order[:, None] * places + np.arange(places)).ravel()  # channels first, as torch flattens
        state[f"{name}.weight"] = weight[:, index]


def resnet(seed: int) -> State:
    """Names as torchvision has them; layer1 has no shortcut, layer2 has one."""
    new, state = normal(seed), {}

    def convolution(name: str, units: int, channels: int, width: int, norm: str) -> None:
        state[f"{name}.weight"] = new(units, channels, width, width)
        state.update({f"{norm}.{part}": new(units) for part in ("weight", "bias", "running_mean")})
        state[f"{norm}.running_var"] = new(units) ** 2 + 1
        state[f"{norm}.num_batches_tracked"] = np.array(3)

    convolution("conv1", 10, 3, 3, "bn1")
    for block, channels, units in (("layer1.0", 10, 10), ("layer2.0", 10, 16)):
        convolution(f"{block}.conv1", units, channels, 3, f"{block}.bn1")
        convolution(f"{block}.conv2", units, units, 3, f"{block}.bn2")
    convolution("layer2.0.downsample.0", 16, 10, 1, "layer2.0.downsample.1")
    return state | {"fc.weight": new(5, 16), "fc.bias": new(5)}


def resnet_in_other_order(state: State) -> State:
    rng, state = np.random.default_rng(9), dict(state)
    first = "conv1 bn1 layer1.0.conv2 layer1.0.bn2"
    ordered_units(state, first, "layer1.0.conv1 layer2.0.conv1 layer2.0.downsample.0", rng.permutation(10))
    ordered_units(state, "layer1.0.conv1 layer1.0.bn1", "layer1.0.conv2", rng.permutation(10))
    ordered_units(state, "layer2.0.conv1 layer2.0.bn1", "layer2.0.conv2", rng.permutation(16))
    last = "layer2.0.conv2 layer2.0.bn2 layer2.0.downsample.0 layer2.0.downsample.1"
    ordered_units(state, last, "fc", rng.permutation(16))
    return state


def chain(seed: int) -> State:
    new = normal(seed)
    shapes = {
        "features.0": (10, 3, 3, 3), "features.2": (12, 10, 3, 3), "classifier.0": (20, 48), "classifier.2": (5, 20)
    }  # fmt: skip
    state = {f"{name}.weight": new(*shape) for name, shape in shapes.items()}
    return state | {f"{name}.bias": new(shape[0]) for name, shape in shapes.items()}


def chain_in_other_order(state: State) -> State:
    rng, state = np.random.default_rng(9), dict(state)
    ordered_units(state, "features.0", "features.2", rng.permutation(10))
    ordered_units(state, "features.2", "classifier.0", rng.permutation(12))
    ordered_units(state, "classifier.0", "classifier.2", rng.permutation(20))
    return state


def chain_rescaled(state: State) -> State:
    state = chain_in_other_order(state)
    factor = (2 ** np.random.default_rng(5).uniform(-2, 2, 20)).astype("f4")
    state["classifier.0.weight"] = state["classifier.0.weight"] * factor[:, None]
    state["classifier.0.bias"] = state["classifier.0.bias"] * factor
    state["classifier.2.weight"] = state["classifier.2.weight"] / factor
    return state


def both_ways(seed: int) -> State:
    """An embedding, a bidirectional GRU and a Linear."""
    new, state = normal(seed), {}
    for way in ("", "_reverse"):
        state |= {f"rnn.weight_ih_l0{way}": new(36, 10), f"rnn.weight_hh_l0{way}": new(36, 12)}
        state |= {f"rnn.bias_{kind}_l0{way}": new(36) for kind in ("ih", "hh")}
    return {"embedding.weight": new(50, 10), **state, "fc.weight": new(5, 24), "fc.bias": new(5)}


def both_ways_in_other_order(state: State) -> State:
    rng, state = np.random.default_rng(9), dict(state)
    embedded, orders = rng.permutation(10), [rng.permutation(12), rng.permutation(12)]
    state["embedding.weight"] = state["embedding.weight"][:, embedded]
    for way, order in zip(("", "_reverse"), orders, strict=True):
        gates = np.concatenate([order + 12 * gate for gate in range(3)])
        for key in [f"rnn.{kind}_l0{way}" for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]:
            state[key] = state[key][gates]
        state[f"rnn.weight_ih_l0{way}"] = state[f"rnn.weight_ih_l0{way}"][:, embedded]
        state[f"rnn.weight_hh_l0{way}"] = state[f"rnn.weight_hh_l0{way}"][:, order]
    state["fc.weight"] = state["fc.weight"][:, np.concatenate([orders[0], 12 + orders[1]])]
    return state


def written(path: Path, state: State) -> Path:
    safetensors.save_file({name: np.array(values, order="C") for name, values in state.items()}, path)
    return path


@pytest.mark.parametrize(
    ("made", "changed", "relation"),
    [
        (resnet, resnet_in_other_order, "reordered"),
        (chain, chain_in_other_order, "reordered"),
        (chain, chain_rescaled, "rescaled"),
        (both_ways, both_ways_in_other_order, "reordered"),
    ],
)
def test_a_state_dict_in_other_clothes_is_found_and_a_stranger_is_not(
    tmp_path: Path, made: Callable[[int], State], changed: Callable[[State], State], relation: str
) -> None:
    states = {"a": made(1), "b": changed(made(1)), "c": made(2)}
    found = wexport.relate([written(tmp_path / f"{name}.safetensors", state) for name, state in states.items()])
    same, stranger, _ = found.pairs
    assert same.relation == relation
    assert same.aligned_similarity == pytest.approx(1, abs=1e-5)
    assert "names and shapes" in same.evidence[0]
    assert stranger.relation == "strangers"


def tensor(layer: str, role: str, *shape: int) -> Read:
    return Read(f"{layer}/{role}", layer, role, None, shape, None, "float32", int(np.prod(shape)))


@pytest.mark.parametrize(
    ("tensors", "classes", "reason"),
    [
        ([tensor("a", "kernel", 4, 8), tensor("b", "kernel", 6, 2)], ["Dense", "Dense"], "b takes 6 channels where 8"),
        ([tensor("a", "kernel", 4, 8), tensor("b", "unknown", 8)], ["Dense", None], "what b/unknown does"),
        ([tensor("a", "kernel", 4, 8), tensor("n", "gamma", 6)], ["Dense", "LayerNormalization"], "n is of 6 channels"),
        ([tensor("a", "kernel", 4, 8), tensor("e", "embeddings", 9, 3)], ["Dense", "Embedding"], "e is an embedding"),
        ([tensor("q_proj", "kernel", 8, 8), tensor("k_proj", "kernel", 8, 8)], ["Dense", "Dense"], "no chain"),
        ([], [], "no layers"),
    ],
)
def test_what_is_no_chain_is_left_with_the_reason(tensors: list[Read], classes: list[str | None], reason: str) -> None:
    with pytest.raises(chains.NotToldError, match=reason):
        chains.graph_of(tensors, classes, ordered=True)
