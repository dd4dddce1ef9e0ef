"""Roles and gates are declared once, each with its doc, and what is derived knows them all."""

from __future__ import annotations

import itertools

import pytest

from wexport.model import gates, roles
from wexport.model.tensors import Tensor


@pytest.mark.parametrize("role", list(roles.ROLES.values()), ids=lambda role: role.name)
def test_a_role_has_its_doc_and_may_be_a_tensors(role: roles.Role) -> None:
    assert role.doc.endswith(".")
    assert role.trained or not role.kernel
    Tensor(name="t", shape=(), dtype="float32", chunks=lambda limit: iter(()), role=role.name)


@pytest.mark.parametrize("kind", gates.KINDS, ids=lambda kind: kind.name)
def test_a_recurrent_kind_has_its_doc_and_its_classes_have_its_gates(kind: gates.RecurrentKind) -> None:
    assert kind.doc.endswith(".")
    assert all(gate.name for gate in kind.gates)
    assert kind.name in kind.layers
    for name in (*kind.layers, *kind.cells, *(name for _, name in kind.convolutions)):
        assert gates.gates(name) == kind.letters
    assert gates.kind_of_blocks(kind.blocks) is kind


@pytest.mark.parametrize("kind", [kind for kind in gates.KINDS if kind.gates], ids=lambda kind: kind.name)
def test_a_layer_of_a_kind_has_units_and_gates(kind: gates.RecurrentKind) -> None:
    layout = roles.layout(kind.name, "kernel", (5, 2 * kind.blocks))
    assert (layout.unit_axes, layout.input_axes, layout.gates) == ((1,), (0,), kind.letters)
    for axes, name in kind.convolutions:
        layout = roles.layout(name, "kernel", (*(3,) * axes, 5, 2 * kind.blocks))
        assert (layout.unit_axes, layout.gates) == ((axes + 1,), kind.letters)


def test_letters_tell_the_kind() -> None:
    assert len(set(gates.LETTERS)) == len(gates.LETTERS)
    assert len({kind.blocks for kind in gates.KINDS}) == len(gates.KINDS)
    for kind in gates.KINDS:
        assert all(gates.canonical_order(stored) == kind.letters for stored in itertools.permutations(kind.letters))
    assert gates.canonical_order(("b", "a")) == ("b", "a")
