"""Which layers take what a layer gives."""

from __future__ import annotations

from wexport.model.feeding import MOST, as_config, consumers
from wexport.model.graph import Call, Graph


def graph(*calls: tuple[str, str, tuple[int, ...]], outputs: tuple[int, ...] = ()) -> Graph:
    made = [Call(layer, kind, {"activation": "relu"} if kind == "Activation" else {}, of) for layer, kind, of in calls]
    return Graph(made, outputs or (len(made) - 1,), "a test")


def test_what_lies_between_is_told_and_branches_stay_apart() -> None:
    found = consumers(
        graph(
            ("", "InputLayer", ()), ("left", "Conv2D", (0,)), ("right", "Conv2D", (0,)), ("act", "Activation", (1,)),
            ("norm", "BatchNormalization", (2,)), ("deep", "Conv2D", (3,)), ("sum", "Add", (5, 4)),
            ("head", "Dense", (6,)),
        ),
        {"left", "right", "norm", "deep", "head"},
    )  # fmt: skip
    assert found == {
        "left": [("deep", ("relu",))],
        "right": [("head", ("batchnormalization", "add"))],
        "deep": [("head", ("add",))],
        "head": [("", ())],
    }
    assert as_config(found["head"]) == [{"layer": None, "through": []}]


def test_a_layer_of_parts_is_one_and_one_called_twice_has_both_consumers() -> None:
    found = consumers(
        graph(
            ("", "InputLayer", ()), ("embed", "Embedding", (0,)), ("mha", "MultiHeadAttention", (1, 1)),
            ("shared", "Dense", (2,)), ("shared", "Dense", (3,)), ("head", "Dense", (4,)),
        ),
        {"embed", "mha/query", "mha/key", "shared", "head"},
    )  # fmt: skip
    assert found["embed"] == [("mha", ())]
    assert found["mha"] == [("shared", ())]
    assert found["shared"] == [("shared", ()), ("head", ())]


def test_more_consumers_than_are_told_of_are_none() -> None:
    """A long residual chain, in which each layer feeds all later ones: in bounded time, and never a part of them."""
    calls: list[tuple[str, str, tuple[int, ...]]] = [("", "InputLayer", ()), ("layer_0", "Dense", (0,))]
    for number in range(1, 300):
        last = len(calls) - 1
        calls += [(f"layer_{number}", "Dense", (last,)), (f"sum_{number}", "Add", (last + 1, last))]
    found = consumers(graph(*calls), {f"layer_{number}" for number in range(300)})
    assert "layer_0" not in found
    assert all(len(feeds) <= MOST for feeds in found.values())
    assert found["layer_299"] == [("", ("add",))]
    # Those near the end feed all that comes, and no more.
    for number in range(290, 300):
        if f"layer_{number}" in found:
            assert {layer for layer, _ in found[f"layer_{number}"]} == {
                "", *(f"layer_{later}" for later in range(number + 1, 300))
            }  # fmt: skip
