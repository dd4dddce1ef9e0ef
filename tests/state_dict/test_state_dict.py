"""What names and shapes tell, held against the classes that the modules really had; and what they cannot tell."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from itertools import groupby
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.conftest import DATA
from wexport.model import roles
from wexport.model.slots import slot_names
from wexport.model.tensors import Tensor
from wexport.state_dict import describe, looks_like_torch
from wexport.stats import measure


@cache
def layouts() -> dict[str, list[tuple[Any, ...]]]:
    """For each model, in the order of its state dict: name, shape, type, class, role, canonical shape."""
    lines = (DATA / "torch_layouts" / "layouts.jsonl").read_text().splitlines()
    return {row["model"]: row["tensors"] for row in map(json.loads, lines)}


MODELS = sorted(layouts())
WHOLLY_TOLD = [
    *("resnet18", "resnet50", "vgg11", "vgg11_bn", "alexnet", "mobilenet_v2", "mobilenet_v3_small", "efficientnet_b0"),
    *("convnext_tiny", "densenet121", "googlenet", "swin_t", "vit_b_32", "lenet"),
    *("bert", "gpt2", "llama", "mixtral", "distilbert", "whisper", "t5"),
]
"""Models of which every layer that Keras has is told by its class."""


def no_values(limit: int) -> Iterator[NDArray[Any]]:
    raise AssertionError("values are not asked for")


def tensor(name: str, *shape: int, dtype: str = "float32") -> Tensor:
    return Tensor(name=name, shape=shape, dtype=dtype, chunks=no_values)


def tensors(model: str) -> list[Tensor]:
    return [tensor(name, *shape, dtype=dtype) for name, shape, dtype, *_ in layouts()[model]]


def sources(described: Tensor) -> list[str]:
    """The tensors of the file that one is made of."""
    return described.name.replace(" + ", ", ").split(", ")


# -- every answer is right ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_what_is_told_is_what_the_modules_were(model: str) -> None:
    truth = {row[0]: row[3:] for row in layouts()[model]}
    for found in describe(tensors(model), ordered=True):
        layer_class, role, shape = truth[sources(found)[0]]
        if found.role != "unknown":
            assert found.role == role, found.name
        if found.layer_class is not None:
            classes = (layer_class or "").split("|")
            assert found.layer_class in classes, found.name
            if len(classes) > 1 and found.role == "kernel":
                shape = shape[classes.index(found.layer_class)]
            assert found.layout is not None
            assert list(found.layout.canonical_shape(found.shape)) == shape, found.name


@pytest.mark.parametrize("model", WHOLLY_TOLD)
def test_known_architectures_are_told_whole(model: str) -> None:
    truth = {row[0]: row[3:] for row in layouts()[model]}
    for found in describe(tensors(model), ordered=True):
        layer_class, role, _ = truth[sources(found)[0]]
        assert (found.role == "unknown") == (role is None), found.name
        assert (found.layer_class is None) == (layer_class is None), found.name


def test_most_of_all_is_told() -> None:
    known = told = 0
    for model in MODELS:
        truth = {row[0]: row[3:] for row in layouts()[model]}
        for found in describe(tensors(model), ordered=True):
            known += truth[sources(found)[0]][0] is not None
            told += found.layer_class is not None
    assert told / known > 0.9


@pytest.mark.parametrize("model", MODELS)
def test_the_order_of_the_file_changes_nothing_but_the_index(model: str) -> None:
    in_order = describe(tensors(model), ordered=True)
    shuffled = tensors(model)
    random.Random(1).shuffle(shuffled)
    by_name = describe(shuffled, ordered=False)

    def meanings(described: list[Tensor]) -> dict[str, Any]:
        slots = slot_names(described)
        return {
            one.name: (slot, one.role, one.layer, one.layer_class, one.layout, one.direction, one.trainable)
            for one, slot in zip(described, slots, strict=True)
        }

    assert meanings(in_order) == meanings(by_name)
    assert all(one.layer_index is None for one in by_name)
    assert len(set(slot_names(by_name))) == len(by_name)


def test_layers_are_counted_in_the_order_of_the_state_dict() -> None:
    found = describe(tensors("lenet"), ordered=True)
    assert [(one.layer, one.layer_index) for one in found[::2]] == [("conv1", 0), ("conv2", 1), ("fc1", 2)]


def test_without_an_order_numbers_count_by_their_value() -> None:
    names = [f"layers.{number}.weight" for number in (0, 10, 2, 1)]
    found = describe([tensor(name, 3, 3) for name in names], ordered=False)
    assert [one.name for one in found] == [f"layers.{number}.weight" for number in (0, 1, 2, 10)]
    layers = [slot.rpartition("/")[0] for slot in slot_names(describe(tensors("tagger, GRU"), ordered=False))]
    assert len(list(groupby(layers))) == len(set(layers))  # each in one piece


# -- recurrent layers: values ------------------------------------------------------------------------------------------


def canonical(described: Tensor) -> NDArray[np.float64]:
    """Values in the canonical layout, as the table samples them; small tensors only."""
    sample = measure(described).sample
    assert sample is not None
    assert described.layout is not None
    return sample.value.reshape(described.layout.canonical_shape(described.shape))


GATES = {"LSTM": (4, [0, 1, 2, 3]), "GRU": (3, [1, 0, 2]), "SimpleRNN": (1, [0])}
"""How many gates, and where Keras' are among torch's: i f g o is i f c o; r z n becomes z r h."""


@given(st.sampled_from(sorted(GATES)), st.integers(1, 4), st.integers(1, 5), st.booleans(), st.integers(0, 2**32 - 1))
def test_gates_become_those_of_keras(kind: str, inputs: int, units: int, backward: bool, seed: int) -> None:
    count, order = GATES[kind]
    rng = np.random.default_rng(seed)
    shapes = {"weight_ih": (inputs,), "weight_hh": (units,), "bias_ih": (), "bias_hh": ()}
    arrays = {name: rng.normal(size=(count * units, *rest)).astype(np.float32) for name, rest in shapes.items()}
    ends = ("_l0", "_l0_reverse") if backward else ("_l0",)
    state = {f"enc.rnn.{name}{end}": array for end in ends for name, array in arrays.items()}
    found = describe([Tensor.of_array(name, array) for name, array in state.items()], ordered=True)

    def turned(array: NDArray[Any]) -> NDArray[Any]:
        blocks = np.split(array, count)
        return np.concatenate([blocks[place] for place in order]).T

    expected = {"kernel": turned(arrays["weight_ih"]), "recurrent_kernel": turned(arrays["weight_hh"])}
    both = [turned(arrays[name]) for name in ("bias_ih", "bias_hh")]
    expected["bias"] = np.stack(both) if kind == "GRU" else both[0] + both[1]
    assert len(found) == 3 * len(ends)
    for one in found:
        assert (one.layer_class, one.layer) == (kind, "enc/rnn")
        np.testing.assert_array_equal(canonical(one), expected[one.role])
    assert {one.direction for one in found} == ({"forward", "backward"} if backward else {None})


def test_stacked_layers_are_layers_of_their_own() -> None:
    found = describe(tensors("tagger, LSTM"), ordered=True)
    slots = [slot for slot in slot_names(found) if slot.startswith("rnn")]
    sides = [f"rnn/l{layer}/{side}" for layer in (0, 1) for side in ("forward", "backward")]
    assert slots == [f"{side}/{role}" for side in sides for role in ("kernel", "recurrent_kernel", "bias")]
    one_layer = describe([tensor(name, 8, 2) for name in ("rnn.weight_ih_l0", "rnn.weight_hh_l0")], ordered=True)
    assert slot_names(one_layer) == ["rnn/kernel", "rnn/recurrent_kernel"]


def test_rows_that_are_no_number_of_gates_are_not_explained() -> None:
    state = [tensor("rnn.weight_ih_l0", 10, 3), tensor("rnn.weight_hh_l0", 10, 5)]
    assert {one.role for one in describe(state, ordered=True)} == {"unknown"}
    one_bias = [tensor("rnn.weight_ih_l0", 8, 3), tensor("rnn.weight_hh_l0", 8, 2), tensor("rnn.bias_ih_l0", 8)]
    assert {one.role for one in describe(one_bias, ordered=True)} == {"unknown"}


# -- what is not told --------------------------------------------------------------------------------------------------


UNKNOWN = {
    "LoRA": [("q_proj.lora_A.default.weight", (4, 64)), ("q_proj.lora_B.default.weight", (64, 4))],
    "LoRA around a layer": [("q_proj.weight", (64, 64)), ("q_proj.lora_A.weight", (4, 64))],
    "weight norm": [("conv.weight_g", (8, 1, 1)), ("conv.weight_v", (8, 3, 5)), ("conv.bias", (8,))],
    "parametrised": [("conv.parametrizations.weight.original0", (8, 1, 1)), ("conv.bias", (8,))],
    "scaled float8": [("q_proj.weight", (64, 64)), ("q_proj.weight_scale_inv", (1, 1))],
    "fused attention": [("attn.in_proj_weight", (96, 32)), ("attn.in_proj_bias", (96,))],
    "a matrix of no known name": [("mystery.weight", (10, 20))],
    "a vector of no known name": [("mystery.weight", (10,))],
    "a bias of another length": [("fc.weight", (10, 20)), ("fc.bias", (20,))],
    "a convolution's bias of another length": [("conv1.weight", (10, 20, 3, 3)), ("conv1.bias", (7,))],
    "no module": [("logit_scale", ()), ("vit.cls_token", (1, 1, 8))],
    "an embedding that may be Linear": [("embedding.weight", (100, 8))],
    "experts in one tensor": [("experts.weight", (8, 32, 16))],
    "empty": [("fc.weight", (0, 20)), ("conv.weight", (0, 3, 3, 3))],
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_what_names_and_shapes_do_not_tell_is_unknown(case: str) -> None:
    for one in describe([tensor(name, *shape) for name, shape in UNKNOWN[case]], ordered=True):
        if one.size:
            assert (one.role, one.layer_class, one.layout) == ("unknown", None, None), one.name


def test_codes_of_a_quantisation_are_no_kernel() -> None:
    (found,) = describe([tensor("q_proj.weight", 64, 64, dtype="int8")], ordered=True)
    assert (found.role, found.layer_class) == ("unknown", None)


@pytest.mark.parametrize(
    ("name", "shape", "bias", "told"),
    [
        ("0", (16, 16, 3, 3), 16, None),  # either kind, in one group
        ("0", (16, 8, 3, 3), 16, None),  # two groups of a transposed one
        ("conv1", (16, 8, 3, 3), 16, "Conv2D"),
        ("decoder.conv1", (16, 8, 3, 3), 16, None),
        ("deconv1", (16, 16, 3, 3), 16, "Conv2DTranspose"),
        ("0", (16, 8, 3, 3), 8, "Conv2DTranspose"),
        ("0", (64, 3, 7, 7), 64, "Conv2D"),  # three do not divide sixty-four
        ("0", (64, 3, 7, 7, 7), 64, "Conv3D"),
        ("mystery", (7, 5, 6), 7, None),  # a Bilinear's
        ("conv", (7, 5, 6), 7, "Conv1D"),
    ],
)
def test_convolutions_by_what_comes_out(name: str, shape: tuple[int, ...], bias: int, told: str | None) -> None:
    found = describe([tensor(f"{name}.weight", *shape), tensor(f"{name}.bias", bias)], ordered=True)
    assert [one.layer_class for one in found] == [told, told]
    assert [one.role for one in found] == ["kernel", "bias"]


def test_gpt2s_words_are_told_by_the_shapes_beside_them() -> None:
    def square(*others: Tensor) -> Tensor:
        state = [tensor("h.0.c_proj.weight", 8, 8), tensor("h.0.c_proj.bias", 8), *others]
        return describe(state, ordered=True)[0]

    conv1d = [tensor("h.0.c_fc.weight", 8, 32), tensor("h.0.c_fc.bias", 32)]
    linear = [tensor("h.0.c_fc.weight", 32, 8), tensor("h.0.c_fc.bias", 32)]
    assert square(*conv1d).layout == roles.layout("Dense", "kernel", (8, 8))
    assert square().layout is None
    assert square().role == "kernel"
    assert square(*linear).layout is None  # one that is not a Conv1D does not prove that another is none


def test_wrappers_are_no_layers() -> None:
    state = [("conv.weight", (4, 3, 3, 3)), ("fc.weight", (2, 4))]
    for prefix in ("module.", "_orig_mod.", "module._orig_mod."):
        found = describe([tensor(prefix + name, *shape) for name, shape in state], ordered=True)
        assert slot_names(found) == ["conv/kernel", "fc/kernel"]
    not_all = describe([tensor("module.fc.weight", 2, 4), tensor("fc.weight", 2, 4)], ordered=True)
    assert slot_names(not_all) == ["module/fc/kernel", "fc/kernel"]


def test_running_statistics_are_not_trained() -> None:
    trainable = defaultdict(set)
    for one in describe(tensors("resnet18"), ordered=True):
        trainable[one.role].add(one.trainable)
    assert {role for role, values in trainable.items() if values == {False}} == {
        "moving_mean",
        "moving_variance",
        "count",
    }
    assert trainable["kernel"] == {None}


def test_names_that_look_like_torchs() -> None:
    assert looks_like_torch(["a.weight"])
    assert looks_like_torch(["a.b", "rnn.weight_ih_l0"])
    assert not looks_like_torch(["weight", "bias"])
    assert not looks_like_torch(["dense/kernel", "dense/x.weight"])
    assert not looks_like_torch(["params.Dense_0.kernel"])


# -- anything at all ---------------------------------------------------------------------------------------------------

PARTS = st.sampled_from(
    ["0", "1", "10", "conv1", "bn1", "module", "weight", "", "lstm", "q_proj", "/", "٣", "9" * 5000, "a" * 300]
)
LEAVES = st.sampled_from(
    ["weight", "bias", "running_mean", "running_var", "num_batches_tracked", "gamma", "beta", "", "x"]
    + [
        f"{name}{end}"
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        for end in ("", "_l0", "_l1_reverse")
    ]
)
SHAPES = st.lists(st.sampled_from([0, 1, 2, 3, 4, 8, 2**40]), max_size=6).map(tuple)
STATE = st.dictionaries(
    st.builds(lambda path, leaf: ".".join([*path, leaf]), st.lists(PARTS, max_size=4), LEAVES), SHAPES, max_size=12
)


@given(STATE, st.booleans())
def test_no_state_dict_is_too_odd(state: dict[str, tuple[int, ...]], ordered: bool) -> None:
    found = describe([tensor(name, *shape) for name, shape in state.items()], ordered=ordered)
    assert sorted(name for one in found for name in sources(one)) == sorted(state)
    slots = slot_names(found)
    assert len(set(slots)) == len(slots)
    for one in found:
        if one.layout is not None:
            canonical_shape = one.layout.canonical_shape(one.shape)
            assert sorted(d for d in canonical_shape if d != 1) == sorted(d for d in one.shape if d != 1) or (
                "Depthwise" in (one.layer_class or "")
            )


@pytest.mark.parametrize(
    "names",
    [
        [".".join(["a"] * 100_000) + ".weight"],
        [f"layers.{number}.weight" for number in range(10_000)],
        [f"{number}.conv.weight" for number in range(10_000)],
        [f"m{number}.query.weight" for number in range(10_000)],
    ],
    ids=["deep", "a long list", "a long chain", "many named"],
)
def test_size_is_no_trouble(names: list[str]) -> None:
    """Quadratic work would take minutes."""
    assert len(describe([tensor(name, 4, 4, 3, 3) for name in names], ordered=False)) == len(names)
