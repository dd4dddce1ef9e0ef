"""Pairs of tensors: by slot, by order, by content; the same in both directions, and none rather than a wrong one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wexport.analysis.matching import Place, align, match


def model(*rows: tuple[str, str, tuple[int, ...]] | tuple[str, str, tuple[int, ...], str]) -> list[Place]:
    """Weights in the order given: (slot, role, shape[, content])."""
    return [
        Place(row[0], "weight", row[1], row[2], index, row[3] if len(row) > 3 else None)
        for index, row in enumerate(rows)
    ]


def pairs(left: Sequence[Place], right: Sequence[Place]) -> dict[str, tuple[str, str]]:
    """What each slot of the left is paired with, and how."""
    return {left[pair.left].slot: (right[pair.right].slot, pair.method) for pair in match(left, right)}


def dense(name: str, inputs: int, units: int) -> list[tuple[str, str, tuple[int, ...]]]:
    return [(f"{name}/kernel", "kernel", (inputs, units)), (f"{name}/bias", "bias", (units,))]


def test_by_slot_whatever_the_order() -> None:
    left = model(*dense("dense", 4, 3), *dense("dense_1", 4, 3))
    right = model(*dense("dense_1", 4, 3), *dense("dense", 4, 3))
    assert pairs(left, right) == {place.slot: (place.slot, "slot") for place in left}


def test_renamed_layers_by_order() -> None:
    left = model(*dense("fc1", 4, 4), *dense("fc2", 4, 4), *dense("head", 4, 2))
    right = model(*dense("a", 4, 4), *dense("b", 4, 4), *dense("c", 4, 2))
    assert pairs(left, right) == {
        f"{one}/{leaf}": (f"{other}/{leaf}", "order")
        for one, other in (("fc1", "a"), ("fc2", "b"), ("head", "c"))
        for leaf in ("kernel", "bias")
    }


def test_another_shape_in_the_same_slot_is_no_pair() -> None:
    found = pairs(model(*dense("dense", 4, 3)), model(*dense("dense", 5, 3)))
    assert found == {"dense/bias": ("dense/bias", "slot")}


def test_a_layer_between_moves_the_slots_of_what_follows() -> None:
    left = model(*dense("dense", 8, 20), *dense("dense_1", 20, 20), *dense("dense_2", 20, 5))
    right = model(*dense("dense", 8, 20), *dense("dense_1", 20, 5))
    found = pairs(left, right)
    assert found["dense_2/kernel"] == ("dense_1/kernel", "order")
    assert found["dense_2/bias"] == ("dense_1/bias", "order")
    assert not [slot for slot in found if slot.startswith("dense_1/")]


def test_more_alike_layers_on_one_side_stay_alone() -> None:
    left = model(*dense("a", 4, 4), *dense("b", 4, 4), *dense("c", 4, 4))
    right = model(*dense("x", 4, 4), *dense("y", 4, 4))
    assert pairs(left, right) == {}


def test_a_bias_goes_with_its_kernel() -> None:
    """Biases alone would be two against one; their layers tell which it is."""
    left = model(*dense("a", 8, 20), *dense("b", 20, 20))
    right = model(*dense("x", 20, 20))
    assert pairs(left, right) == {"b/kernel": ("x/kernel", "order"), "b/bias": ("x/bias", "order")}


def test_a_layer_is_not_torn_apart() -> None:
    """The bias of `dense` is paired by slot, so its kernel is not that of another layer that happens to fit."""
    left = model(*dense("dense", 10, 20), *dense("dense_1", 20, 20))
    right = model(*dense("dense", 20, 20), *dense("dense_1", 20, 5))
    assert pairs(left, right) == {"dense/bias": ("dense/bias", "slot")}


def test_what_is_left_of_a_paired_layer_does_not_count_as_another() -> None:
    left = model(*dense("dense", 20, 20), ("a/kernel", "kernel", (20, 20)))
    right = model(*dense("dense", 10, 20), ("x/kernel", "kernel", (20, 20)))
    assert pairs(left, right) == {"dense/bias": ("dense/bias", "slot"), "a/kernel": ("x/kernel", "order")}


def test_nor_when_its_kernel_is_paired_by_order() -> None:
    left = model(*dense("a", 4, 4))
    right = model(("x/kernel", "kernel", (4, 4)), *dense("y", 5, 4))
    assert pairs(left, right) == {"a/kernel": ("x/kernel", "order")}


def test_the_largest_tensor_tells_which_layer_it_is() -> None:
    """The same from either side, though the two have their tensors in different orders."""
    left = model(("a/bias", "bias", (4,)), ("a/kernel", "kernel", (5, 4)))
    right = model(("x/kernel", "kernel", (5, 4)), ("y/bias", "bias", (4,)))
    assert pairs(left, right) == {"a/kernel": ("x/kernel", "order")}
    assert pairs(right, left) == {"x/kernel": ("a/kernel", "order")}


def test_layers_without_a_bias_match_those_with_one() -> None:
    left = model(("a/kernel", "kernel", (4, 4)), ("b/kernel", "kernel", (4, 4)))
    right = model(*dense("x", 4, 4), *dense("y", 4, 4))
    assert pairs(left, right) == {"a/kernel": ("x/kernel", "order"), "b/kernel": ("y/kernel", "order")}


def test_equal_contents_contradict_an_order() -> None:
    left = model(("a/kernel", "kernel", (4, 4), "1"), ("b/kernel", "kernel", (4, 4), "2"))
    right = model(("x/kernel", "kernel", (4, 4), "2"), ("y/kernel", "kernel", (4, 4), "1"))
    assert pairs(left, right) == {"a/kernel": ("y/kernel", "content"), "b/kernel": ("x/kernel", "content")}


def test_contents_that_are_met_twice_tell_nothing() -> None:
    zeros = [(f"{name}/bias", "bias", (4,), "0") for name in "ab"]
    assert pairs(model(*zeros), model(("x/bias", "bias", (4,), "0"))) == {}
    paired = model(("dense/bias", "bias", (4,), "0"))
    assert pairs(
        [*paired, *model(("a/beta", "beta", (4,), "0"))], [*paired, *model(("x/beta", "beta", (4,), "1"))]
    ) == {
        "dense/bias": ("dense/bias", "slot"),
        "a/beta": ("x/beta", "order"),
    }


def test_content_finds_what_slot_and_order_do_not() -> None:
    left = model(*[(f"{name}/kernel", "kernel", (4, 4), name) for name in "abc"])
    right = model(("x/kernel", "kernel", (4, 4), "c"), ("y/kernel", "kernel", (4, 4), "new"))
    assert pairs(left, right) == {"c/kernel": ("x/kernel", "content")}


def test_equal_content_of_another_role_is_chance() -> None:
    left = model(("a/gamma", "gamma", (4,), "ones"))
    right = model(("b/moving_variance", "moving_variance", (4,), "ones"))
    assert pairs(left, right) == {}


def test_a_file_that_tells_no_roles_matches_one_that_does() -> None:
    left = model(*dense("dense", 4, 3), *dense("dense_1", 3, 3))
    right = [
        Place(name, "array", "unknown", shape, index)
        for index, (name, shape) in enumerate([("W1", (4, 3)), ("b1", (3,)), ("W2", (3, 3)), ("b2", (3,))])
    ]
    assert pairs(left, right) == {
        "dense/kernel": ("W1", "order"),
        "dense/bias": ("b1", "order"),
        "dense_1/kernel": ("W2", "order"),
        "dense_1/bias": ("b2", "order"),
    }


@pytest.mark.parametrize("names", [("0", "1"), ("p", "q")])
def test_several_roles_of_one_shape_are_not_guessed(names: tuple[str, str]) -> None:
    left = model(("batch_normalization/gamma", "gamma", (8,)), ("batch_normalization/beta", "beta", (8,)))
    right = model(*[(f"bn/{name}", "unknown", (8,)) for name in names])
    assert pairs(left, right) == {}


def test_but_within_a_layer_a_framework_has_its_order() -> None:
    left = model(*[(f"batch_normalization/{role}", role, (8,)) for role in ("beta", "moving_mean", "moving_variance")])
    right = model(*[(f"batch_normalization/{number}", "unknown", (8,)) for number in "012"])
    assert pairs(left, right) == {
        "batch_normalization/beta": ("batch_normalization/0", "order"),
        "batch_normalization/moving_mean": ("batch_normalization/1", "order"),
        "batch_normalization/moving_variance": ("batch_normalization/2", "order"),
    }
    assert pairs(left, [replace(place, kind="array") for place in right]) == {}


def test_a_role_may_stand_in_the_name_alone() -> None:
    left = model(("batch_normalization/gamma", "gamma", (8,)), ("batch_normalization/beta", "beta", (8,)))
    right = model(("bn/beta:0", "unknown", (8,)), ("bn/gamma:0", "unknown", (8,)))
    assert pairs(left, right) == {
        "batch_normalization/gamma": ("bn/gamma:0", "order"),
        "batch_normalization/beta": ("bn/beta:0", "order"),
    }


def test_directions_are_told_apart() -> None:
    left = model(*[(f"bidirectional/{side}/kernel", "kernel", (2, 4)) for side in ("forward", "backward")])
    right = model(*[(f"my_rnn/{side}/kernel", "kernel", (2, 4)) for side in ("backward", "forward")])
    assert pairs(left, right) == {
        f"bidirectional/{side}/kernel": (f"my_rnn/{side}/kernel", "order") for side in ("forward", "backward")
    }


def test_gates_of_their_own_are_told_apart() -> None:
    left = model(*[(f"lstm/kernel_{gate}", "kernel", (2, 4)) for gate in "icfo"])
    right = model(*[(f"my_lstm/kernel_{gate}", "kernel", (2, 4)) for gate in "ifco"])
    assert pairs(left, right) == {f"lstm/kernel_{g}": (f"my_lstm/kernel_{g}", "order") for g in "ifco"}


def test_kinds_are_not_mixed() -> None:
    left = model(*dense("dense", 4, 3))
    assert pairs(left, [replace(place, kind="optimizer") for place in left]) == {}


PLACES = st.builds(
    lambda slot, leaf, kind, shape, content: (f"{slot}/{leaf}", leaf, kind, shape, content),
    st.sampled_from(["dense", "dense_1", "a", "b", "c", "bidirectional/forward", "bidirectional/backward"]),
    st.sampled_from(["kernel", "bias", "0", "1"]),
    st.sampled_from(["weight", "weight", "array", "optimizer"]),
    st.sampled_from([(), (3,), (4,), (4, 3), (3, 3)]),
    st.one_of(st.none(), st.sampled_from("uvwxyz")),
)


@st.composite
def models(draw: st.DrawFn) -> list[Place]:
    rows = draw(st.lists(PLACES, max_size=12, unique_by=lambda row: (row[0], row[2])))
    order = draw(st.permutations(range(len(rows))))
    return [
        Place(slot, kind, leaf if leaf.isalpha() else "unknown", shape, index, content)
        for (slot, leaf, kind, shape, content), index in zip(rows, order, strict=True)
    ]


@given(models(), models())
def test_the_same_both_ways(left: list[Place], right: list[Place]) -> None:
    mirrored = [replace(pair, left=pair.right, right=pair.left) for pair in match(right, left)]
    mirrored.sort(key=lambda pair: pair.left)
    assert match(left, right) == mirrored


@given(models(), models())
def test_no_tensor_twice_and_no_pair_of_unlike_ones(left: list[Place], right: list[Place]) -> None:
    found = match(left, right)
    assert len({pair.left for pair in found}) == len({pair.right for pair in found}) == len(found)
    for pair in found:
        one, other = left[pair.left], right[pair.right]
        assert (one.kind == "optimizer") == (other.kind == "optimizer")
        equal = one.content == other.content is not None
        assert equal or (pair.method != "content" and one.canonical_shape == other.canonical_shape)
        assert (pair.method == "slot") <= (one.slot == other.slot)
        if pair.method != "slot":
            assert one.role == other.role or "unknown" in (one.role, other.role)


@given(models())
def test_a_model_matches_itself_wholly(places: list[Place]) -> None:
    found = match(places, places)
    assert [(pair.left, pair.right, pair.method) for pair in found] == [(n, n, "slot") for n in range(len(places))]
    assert all(pair.confidence > 0.95 for pair in found)


def numbered(units: Sequence[int], contents: Sequence[str | None], *, names: bool = False) -> list[Place]:
    """Dense layers as Keras numbers them: kernels of units x units, and what tells the content of each layer."""
    return [
        Place(
            f"dense_{number}/{role}" if number else f"dense/{role}",
            "weight",
            role,
            (width, width) if role == "kernel" else (width,),
            2 * number + (role == "bias"),
            content and f"{content} {role}",
            name=f"layer {content}" if names else None,
            layer_class="Dense",
        )
        for number, (width, content) in enumerate(zip(units, contents, strict=True))
        for role in ("kernel", "bias")
    ]


@given(st.lists(st.sampled_from([3, 4]), min_size=1, max_size=8), st.data())
@pytest.mark.parametrize("told_by", ["content", "name"])
def test_a_layer_put_in_leaves_all_others_as_they_were(told_by: str, units: list[int], data: st.DataObject) -> None:
    contents = [str(number) for number in range(len(units))]
    place = data.draw(st.integers(0, len(units)))
    wider = [*units[:place], data.draw(st.sampled_from([3, 4, 5])), *units[place:]]
    left = numbered(units, contents, names=told_by == "name")
    right = numbered(wider, [*contents[:place], "new", *contents[place:]], names=told_by == "name")
    if told_by == "name":
        left, right = ([replace(each, content=None) for each in side] for side in (left, right))
    found = {pair.left // 2: pair.right // 2 for pair in match(left, right)}
    assert found == {number: number + (number >= place) for number in range(len(units))}
    assert len(match(left, right)) == len(left)


@given(st.permutations(range(6)))
def test_new_names_and_numbers_change_nothing_where_contents_are_equal(order: list[int]) -> None:
    """Though each slot is there on either side, in the same shape."""
    left = numbered([4] * 6, [str(number) for number in range(6)])
    right = numbered([4] * 6, [str(number) for number in order])
    assert {pair.left // 2: order[pair.right // 2] for pair in match(left, right)} == {n: n for n in range(6)}


def test_where_nothing_tells_which_layer_was_put_in_none_is_forced() -> None:
    found = align(numbered([4] * 3, [None] * 3), numbered([4] * 4, [None] * 4))
    assert not found.pairs
    assert [(len(left), len(right)) for left, right in found.ambiguous] == [(3, 4), (3, 4)]


def test_values_that_moved_a_little_tell_which_layer_was_put_in() -> None:
    rng = np.random.default_rng(0)
    kernels = [rng.normal(size=256) for _ in range(5)]

    def layers(values: Sequence[np.ndarray]) -> list[Place]:
        return [
            Place(f"dense_{number}/kernel", "weight", "kernel", (16, 16), number, values=each)
            for number, each in enumerate(values)
        ]

    tuned = [kernel + 0.3 * rng.normal(size=256) for kernel in kernels]
    found = match(layers(kernels), layers([*tuned[:2], rng.normal(size=256), *tuned[2:]]))
    assert [(pair.left, pair.right) for pair in found] == [(0, 0), (1, 1), (2, 3), (3, 4), (4, 5)]


def test_a_wider_layer_is_told_as_such() -> None:
    left = model(*dense("dense", 8, 8), *dense("dense_1", 8, 8), *dense("dense_2", 8, 2))
    right = model(*dense("dense", 8, 8), *dense("dense_1", 8, 16), *dense("dense_2", 16, 2))
    found = align(left, right)
    assert {left[pair.left].slot: right[pair.right].slot for pair in found.reshaped} == {
        slot: slot for slot in ("dense_1/kernel", "dense_1/bias", "dense_2/kernel")
    }
    assert [left[pair.left].slot for pair in found.pairs] == ["dense/kernel", "dense/bias", "dense_2/bias"]


def test_a_tied_tensor_that_one_file_holds_twice_is_no_lack() -> None:
    left = model(("embedding/embeddings", "embeddings", (9, 4), "e"), ("head/kernel", "unknown", (9, 4), "e"))
    right = model(("embedding/embeddings", "embeddings", (9, 4), "e"))
    found = align(left, right)
    assert [(pair.left, pair.right, pair.method) for pair in found.pairs] == [(0, 0, "slot")]
    assert [(pair.left, pair.right) for pair in found.repeats] == [(1, 0)]


@given(models(), st.randoms(use_true_random=False))
def test_the_sequence_does_not_matter(left: list[Place], random: object) -> None:
    shuffled = list(left)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert {(shuffled[pair.right].slot, left[pair.left].slot) for pair in match(left, shuffled)} == {
        (place.slot, place.slot) for place in left
    }


def test_many_tensors_are_no_trouble() -> None:
    """Quadratic work on 20,000 tensors a side would take minutes."""
    left = model(*[row for number in range(10_000) for row in dense(f"a/layer_{number}", 4, 4)])
    right = model(*[row for number in range(10_000) for row in dense(f"b/block_{number}", 4, 4)])
    assert [(pair.left, pair.right) for pair in match(left, right)] == [(number, number) for number in range(20_000)]


def unordered(*rows: tuple[str, str, tuple[int, ...]], samples: Sequence[str | None] = ()) -> list[Place]:
    """Weights of a file that holds no order: (slot, role, shape), and what tells their contents."""
    places = [replace(place, ordered=False) for place in model(*rows)]
    return [replace(place, sample=sample) for place, sample in zip(places, samples, strict=True)] if samples else places


KERNELS = [(f"{name}/kernel", "kernel", (4, 4)) for name in "ab"]
OTHERS = [(f"{name}/kernel", "kernel", (4, 4)) for name in "xy"]


def test_without_an_order_several_alike_are_not_paired() -> None:
    assert pairs(unordered(*KERNELS), model(*OTHERS)) == {}
    assert pairs(model(*KERNELS), unordered(*OTHERS)) == {}
    assert len(pairs(model(*KERNELS), model(*OTHERS))) == 2


def test_without_an_order_the_only_one_is() -> None:
    left = unordered(*dense("fc1", 4, 3), *dense("fc2", 3, 5))
    right = model(*dense("dense", 4, 3), *dense("dense_1", 3, 5))
    assert pairs(left, right) == {
        f"{one}/{leaf}": (f"{other}/{leaf}", "order")
        for one, other in (("fc1", "dense"), ("fc2", "dense_1"))
        for leaf in ("kernel", "bias")
    }


def test_equal_samples_pair_what_an_order_would_have() -> None:
    left = unordered(*KERNELS, samples=["1", "2"])
    right = [replace(place, sample=sample) for place, sample in zip(model(*OTHERS), ["2", "1"], strict=True)]
    assert pairs(left, right) == {"a/kernel": ("y/kernel", "content"), "b/kernel": ("x/kernel", "content")}


def test_equal_samples_contradict_an_order_too() -> None:
    left = [replace(place, sample=sample) for place, sample in zip(model(*KERNELS), ["1", "2"], strict=True)]
    right = [replace(place, sample=sample) for place, sample in zip(model(*OTHERS), ["2", "1"], strict=True)]
    assert pairs(left, right) == {"a/kernel": ("y/kernel", "content"), "b/kernel": ("x/kernel", "content")}


def test_the_rest_of_a_layer_follows_what_its_content_tells() -> None:
    """Biases that changed, or are all zero, go with their kernels."""
    rows = [dense(name, 4, 4) for name in ("a", "b")]
    others = [dense(name, 4, 4) for name in ("x", "y")]
    left = unordered(*rows[0], *rows[1], samples=["1", None, "2", None])
    right = unordered(*others[0], *others[1], samples=["2", None, "1", None])
    assert pairs(left, right) == {
        "a/kernel": ("y/kernel", "content"),
        "a/bias": ("y/bias", "order"),
        "b/kernel": ("x/kernel", "content"),
        "b/bias": ("x/bias", "order"),
    }


def test_the_last_one_left_is_the_only_one() -> None:
    left = unordered(*KERNELS, samples=["1", "2"])
    right = unordered(*OTHERS, samples=["changed", "1"])
    assert pairs(left, right) == {"a/kernel": ("y/kernel", "content"), "b/kernel": ("x/kernel", "order")}


@given(st.permutations(range(6)), st.integers(0, 6))
def test_contents_undo_any_order(order: list[int], known: int) -> None:
    """Of six layers of one shape, however the file sorts them; one of unknown content is paired if it is the last."""
    left = [replace(place, sample=f"{n}" if n < known else None) for n, place in enumerate(unordered(*SIX))]
    right = [replace(left[n], slot=f"other{place}/kernel", index=place) for place, n in enumerate(order)]
    found = {pair.left: order[pair.right] for pair in match(left, right)}
    assert found == {n: n for n in range(6 if known >= 5 else known)}


SIX = [(f"layer{n}/kernel", "kernel", (4, 4)) for n in range(6)]


def test_two_thousand_alike_without_an_order_are_no_trouble() -> None:
    """A large language model's layers: contents tell them apart in one look."""
    left = unordered(
        *[(f"l{n}/kernel", "kernel", (4, 4)) for n in range(20_000)], samples=[f"{n}" for n in range(20_000)]
    )
    right = [replace(place, slot=f"other{place.slot}") for place in reversed(left)]
    assert [(pair.left, pair.right) for pair in match(left, right)] == [(n, 19_999 - n) for n in range(20_000)]
