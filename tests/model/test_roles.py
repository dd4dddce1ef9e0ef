"""Slots tell the tensors of a model apart and do not depend on automatic numbers; layouts find the canonical axes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wexport.model import roles
from wexport.model.slots import slot_names
from wexport.model.tensors import Node, Tensor


def tensor(name: str = "t", *lineage: Node, **meaning: object) -> Tensor:
    return Tensor.of_array(name, np.zeros(1, np.float32), lineage=lineage, **meaning)


# -- slots -----------------------------------------------------------------------------------------------------------


def test_a_known_class_counts_among_the_siblings_of_its_class() -> None:
    layers = [Node("dense_7", "Dense"), Node("c", "Conv2D"), Node("dense_9", "Dense")]
    tensors = [tensor(node.name, node, role="kernel") for node in layers]
    assert slot_names(tensors) == ["dense/kernel", "conv2d/kernel", "dense_1/kernel"]


def test_an_unknown_class_is_its_stem_and_the_rank_of_its_number() -> None:
    tensors = [tensor(name, Node(name), role="bias") for name in ("gru_10", "gru_2", "gru", "conv3", "12")]
    assert slot_names(tensors) == ["gru_2/bias", "gru_1/bias", "gru/bias", "conv/bias", "12/bias"]


def test_a_nested_layer_counts_within_its_own_parent() -> None:
    a, b = Node("seq_1", "Sequential"), Node("seq_2", "Sequential")
    inner = Node("dense_4", "Dense")
    tensors = [tensor("x", a, inner, role="kernel"), tensor("y", b, inner, role="kernel")]
    assert slot_names(tensors) == ["sequential/dense/kernel", "sequential_1/dense/kernel"]


def test_a_fixed_node_stands_as_it_is_and_the_direction_comes_before_the_leaf() -> None:
    query = tensor("q", Node("a", "MultiHeadAttention"), Node("query", fixed=True), role="kernel")
    backward = tensor("b", Node("b", "Bidirectional"), role="bias", direction="backward")
    assert slot_names([query, backward]) == ["multi_head_attention/query/kernel", "bidirectional/backward/bias"]


@pytest.mark.parametrize(
    ("meaning", "leaf"),
    [
        ({"role": "kernel"}, "kernel"),
        ({"role": "recurrent_kernel", "gate": "i"}, "recurrent_kernel_i"),
        ({"role": "kernel", "slot_leaf": "0"}, "0"),
        ({"variable_index": 3}, "3"),
        ({}, "w:0"),
    ],
)
def test_the_leaf_is_the_best_word_there_is(meaning: dict[str, object], leaf: str) -> None:
    assert slot_names([tensor("some/layer/w:0", Node("x", "Lstm"), **meaning)]) == [f"lstm/{leaf}"]


def test_a_tensor_without_lineage_is_placed_by_its_name() -> None:
    tensors = [tensor(f"block_{number}/attn/weight") for number in (3, 5)]
    assert slot_names(tensors) == ["block/attn/weight", "block_1/attn/weight"]


def test_each_kind_has_slots_of_its_own() -> None:
    weight = tensor("a", Node("dense", "Dense"), role="kernel")
    assert slot_names([weight, replace(weight, kind="optimizer")]) == ["dense/kernel", "dense/kernel"]


names = st.text("ab_01/~2", max_size=6)
nodes = st.builds(
    Node, name=names, class_name=st.sampled_from([None, "Dense", "A", "Dense_1", "dense~2"]), fixed=st.booleans()
)


@given(st.lists(st.tuples(st.sampled_from(["weight", "optimizer"]), names, st.lists(nodes, max_size=3)), max_size=12))
def test_slots_are_unique_in_their_kind_and_repeatable(items: list[tuple[str, str, list[Node]]]) -> None:
    tensors = [tensor(name, *lineage, kind=kind) for kind, name, lineage in items]
    found = slot_names(tensors)
    pairs = [(item.kind, slot) for item, slot in zip(tensors, found, strict=True)]
    assert len(set(pairs)) == len(pairs)
    assert slot_names(tensors) == found


@given(st.lists(st.sampled_from(["gru", "dense", "conv2d"]), max_size=8), st.integers(1, 200), st.booleans())
def test_automatic_numbers_do_not_change_slots(classes: list[str], start: int, known: bool) -> None:
    def build(first: int) -> list[Tensor]:
        named = [(word, f"{word}_{first + 3 * place}") for place, word in enumerate(classes)]
        return [tensor(name, Node(name, word if known else None), role="kernel") for word, name in named]

    assert slot_names(build(start)) == slot_names(build(1))


# -- layouts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer_class", "role", "shape", "units", "inputs"),
    [
        ("Dense", "kernel", (4, 3), (1,), (0,)),
        ("Conv1D", "kernel", (5, 4, 3), (2,), (1,)),
        ("Conv2D", "kernel", (5, 5, 4, 3), (3,), (2,)),
        ("Conv2DTranspose", "kernel", (5, 5, 3, 4), (2,), (3,)),
        ("DepthwiseConv2D", "kernel", (5, 5, 4, 2), (2, 3), (2,)),
        ("SeparableConv2D", "depthwise_kernel", (5, 5, 4, 2), (2, 3), (2,)),
        ("SeparableConv2D", "pointwise_kernel", (1, 1, 8, 3), (3,), (2,)),
        ("Embedding", "embeddings", (100, 8), (1,), (0,)),
        ("ConvLSTM2D", "recurrent_kernel", (3, 3, 2, 8), (3,), (2,)),
        ("Dense", "bias", (3,), (), ()),
        ("Dense", "kernel", (2, 4, 3), (), ()),
        (None, "kernel", (4, 3), (), ()),
    ],
)
def test_units_and_inputs_follow_class_role_and_rank(
    layer_class: str | None, role: str, shape: tuple[int, ...], units: tuple[int, ...], inputs: tuple[int, ...]
) -> None:
    layout = roles.layout(layer_class, role, shape)
    assert (layout.unit_axes, layout.input_axes) == (units, inputs)


@pytest.mark.parametrize(("layer_class", "gates"), [("LSTM", "ifco"), ("GRU", "zrh"), ("ConvLSTM2D", "ifco")])
@pytest.mark.parametrize(
    ("role", "leading"), [("kernel", (7,)), ("recurrent_kernel", (2,)), ("bias", ()), ("bias", (2,))]
)
def test_gates_are_blocks_of_the_last_axis(layer_class: str, gates: str, role: str, leading: tuple[int, ...]) -> None:
    layout = roles.layout(layer_class, role, (*leading, 2 * len(gates)))
    assert (layout.gates, layout.gate_axis) == (tuple(gates), len(leading))


def test_an_axis_that_does_not_divide_has_no_gates() -> None:
    assert roles.layout("LSTM", "kernel", (3, 7)).gates == ()


def test_axes_are_found_on_the_canonical_shape() -> None:
    layout = roles.layout("Conv2D", "kernel", (8, 3, 5, 6), permutation=(2, 3, 1, 0))
    assert layout.canonical_shape((8, 3, 5, 6)) == (5, 6, 3, 8)
    assert (layout.unit_axes, layout.input_axes) == ((3,), (2,))


@pytest.mark.parametrize(
    ("class_name", "word"),
    [
        ("MultiHeadAttention", "multi_head_attention"),
        ("LSTM", "lstm"),
        ("ConvLSTM2D", "conv_lstm2d"),
        ("SimpleRNN", "simple_rnn"),
        ("Conv2DTranspose", "conv2d_transpose"),
    ],
)
def test_snake_case_is_that_of_keras(class_name: str, word: str) -> None:
    assert roles.snake_case(class_name) == word
