"""Recurrent layers and their gates: which class has which, in which order, and what each is called.

The one declaration of the recurrent kinds. Orders are Keras', which is the canonical one; a reader whose format stores
another order says so in `Layout.gates`. The SQL gets names and order from here too (`library.declared_views`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Gate:
    """letter: as columns and slots have it. name: in words."""

    letter: str
    name: str


@dataclass(frozen=True, slots=True)
class RecurrentKind:
    """Layers that compute alike.

    name: Keras 3's class of the plain layer. doc: what it is.
    gates: in Keras' order; empty for one without, whose kernels are one block.
    layers, cells: all of Keras' classes of this kind, of every version; a layer holds its variables in a cell.
    convolutions: those whose kernels are convolutions, by the number of their spatial axes; layers and cells are
        called after them, ConvLSTM2D and ConvLSTM2DCell.
    """

    name: str
    doc: str
    gates: tuple[Gate, ...]
    layers: tuple[str, ...]
    cells: tuple[str, ...]
    convolutions: tuple[tuple[int, str], ...] = ()

    @property
    def letters(self) -> tuple[str, ...]:
        """The gates as `Layout.gates` has them."""
        return tuple(gate.letter for gate in self.gates)

    @property
    def blocks(self) -> int:
        """Blocks of a kernel along its last axis, one a gate."""
        return max(1, len(self.gates))


KINDS = (
    RecurrentKind(
        "LSTM",
        "Long short-term memory; `c` is the candidate of the cell, which torch calls g.",
        (Gate("i", "input"), Gate("f", "forget"), Gate("c", "cell"), Gate("o", "output")),
        ("LSTM", "CuDNNLSTM"),
        ("LSTMCell",),
        ((1, "ConvLSTM1D"), (2, "ConvLSTM2D"), (3, "ConvLSTM3D")),
    ),
    RecurrentKind(
        "GRU",
        "Gated recurrent unit; `h` is the candidate of the hidden state, which torch calls n.",
        (Gate("z", "update"), Gate("r", "reset"), Gate("h", "hidden")),
        ("GRU", "CuDNNGRU"),
        ("GRUCell",),
    ),
    RecurrentKind("SimpleRNN", "A plain recurrent layer, without gates.", (), ("SimpleRNN",), ("SimpleRNNCell",)),
)

LAYERS = frozenset(name for kind in KINDS for name in (*kind.layers, *(name for _, name in kind.convolutions)))
"""Classes of layers that keep their variables in a cell of their own."""
CELLS = frozenset(name for kind in KINDS for name in kind.cells)
"""Classes of cells of matrices."""
LETTERS = tuple(letter for kind in KINDS for letter in kind.letters)
"""Every gate, kind by kind in canonical order."""
CONVOLUTIONS = tuple(each for kind in KINDS for each in kind.convolutions)
"""The number of spatial axes and the class of recurrent layers whose kernels are convolutions."""

_GATES = {
    name: kind.letters
    for kind in KINDS
    for name in (
        *(*kind.layers, *kind.cells),
        *(name + part for _, name in kind.convolutions for part in ("", "Cell")),
    )
}
_BY_BLOCKS = {kind.blocks: kind for kind in KINDS}


def gates(layer_class: str | None) -> tuple[str, ...]:
    """Keras' order of the gates of a layer class; empty for a class without gates.

    >>> gates("GRU")
    ('z', 'r', 'h')
    """
    return _GATES.get(layer_class or "", ())


def kind_of_blocks(count: int | None) -> RecurrentKind | None:
    """The kind whose kernels have this many blocks along the last axis, a block a gate; None if none has.

    >>> kind_of_blocks(4).name, kind_of_blocks(3).name, kind_of_blocks(1).name
    ('LSTM', 'GRU', 'SimpleRNN')
    """
    return _BY_BLOCKS.get(count or 0)


def canonical_order(stored: tuple[str, ...]) -> tuple[str, ...]:
    """The canonical order of gates that are stored in another; as stored where no kind has just these."""
    for kind in KINDS:
        if kind.gates and sorted(kind.letters) == sorted(stored):
            return kind.letters
    return stored
