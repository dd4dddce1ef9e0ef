"""The contract of a reader, as tests that a plugin's author inherits.

    import pytest
    import wexport.testing
    from my_plugin import READER

    class TestMyReader(wexport.testing.ReaderTests):
        reader = READER
        path = Path(__file__).parent / "model.my"
        values = {"layer/kernel": np.load(...)}      # optional: what the file must give

Needs pytest and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from wexport import roles, stats
from wexport.errors import WexportError
from wexport.tensors import Model, Reader, Source, Tensor

KINDS = frozenset({"weight", "array", "optimizer", "activation", "gradient"})
_LIMITS = (1, 7, 64, 4096, 1 << 20)
_FOREIGN = {
    "empty": b"",
    "text": b"nothing to see here\n" * 20,
    "zeros": bytes(4096),
    "zip": b"PK\x05\x06" + bytes(18),
    "noise": np.random.default_rng(0).bytes(4096),
}


class ReaderTests:
    """Subclass with `reader` and `path`, the model file; `values` (tensor name to array) where you know them."""

    reader: ClassVar[Reader]
    path: ClassVar[Path]
    values: ClassVar[Mapping[str, NDArray[Any]]] = {}

    @contextmanager
    def opened(self, optimizer: bool = True) -> Iterator[Model]:
        """The model in `path`, as the reader opens it."""
        with Source(Path(self.path), optimizer) as source:
            yield self.reader.open(source)

    def test_recognises_its_file(self) -> None:
        with Source(Path(self.path)) as source:
            confidence = self.reader.sniff(source)
        assert 0 < confidence <= 1

    def test_recognises_it_under_another_name(self, tmp_path: Path) -> None:
        renamed = tmp_path / "renamed.bin"
        renamed.write_bytes(Path(self.path).read_bytes())
        with Source(renamed) as source:
            assert self.reader.sniff(source) > 0

    def test_does_not_claim_what_is_foreign(self, tmp_path: Path) -> None:
        for name, content in _FOREIGN.items():
            path = tmp_path / f"{name}{(self.reader.suffixes or ('',))[0]}"
            path.write_bytes(content)
            with Source(path) as source:
                assert self.reader.sniff(source) == 0, f"claims a file of {name}"

    def test_yields_tensors(self) -> None:
        with self.opened() as model:
            assert isinstance(model, Model)
            assert model.tensors
            assert model.format

    def test_names_are_unique(self) -> None:
        with self.opened() as model:
            names = [tensor.name for tensor in model.tensors]
        assert len(set(names)) == len(names)

    def test_slots_are_unique(self) -> None:
        with self.opened() as model:
            slots = [
                (tensor.kind, slot) for tensor, slot in zip(model.tensors, roles.slots(model.tensors), strict=True)
            ]
        assert len(set(slots)) == len(slots)

    def test_words_are_of_the_vocabulary(self) -> None:
        with self.opened() as model:
            for tensor in model.tensors:
                assert tensor.kind in KINDS, tensor.name
                assert tensor.role in roles.ROLES, tensor.name
                assert tensor.direction in (None, "forward", "backward"), tensor.name

    def test_layouts_fit_their_shapes(self) -> None:
        with self.opened() as model:
            for tensor in model.tensors:
                if tensor.layout is not None:
                    canonical = tensor.layout.canonical_shape(tensor.shape)
                    assert math.prod(canonical) == tensor.size, tensor.name
                    for axis in (*tensor.layout.unit_axes, *tensor.layout.input_axes):
                        assert 0 <= axis < len(canonical), tensor.name

    def test_chunks_hold_every_value_and_keep_to_the_limit(self) -> None:
        with self.opened() as model:
            for tensor in model.tensors:
                for limit in _LIMITS:
                    _read(tensor, limit)

    def test_values_do_not_depend_on_the_chunks(self) -> None:
        with self.opened() as model:
            for tensor in model.tensors:
                whole = _read(tensor, 1 << 30)
                for limit in _LIMITS:
                    assert _read(tensor, limit).tobytes() == whole.tobytes(), f"{tensor.name} differs at limit {limit}"

    def test_values_are_those_expected(self) -> None:
        with self.opened() as model:
            found = {tensor.name: tensor for tensor in model.tensors}
            for name, expected in self.values.items():
                assert name in found, f"{name} is missing; there are {', '.join(found)}"
                assert found[name].shape == expected.shape, name
                np.testing.assert_array_equal(
                    _read(found[name], 1 << 20).reshape(expected.shape), expected, err_msg=name
                )

    def test_every_tensor_can_be_measured(self) -> None:
        with self.opened() as model:
            for tensor in model.tensors:
                assert stats.measure(tensor).value_count == tensor.size

    def test_a_file_cut_short_is_told_by_name(self, tmp_path: Path) -> None:
        """Whatever is cut off, the reader opens what is left or raises an error of wexport's that names the file."""
        content = Path(self.path).read_bytes()
        for length in sorted({len(content) * part // 16 for part in range(16)}):
            path = tmp_path / f"cut{length}.bin"
            path.write_bytes(content[:length])
            try:
                with Source(path) as source:
                    for tensor in self.reader.open(source).tensors:
                        for _ in tensor.chunks(1 << 20):
                            pass
            except WexportError as error:
                assert path.name in str(error)  # noqa: PT017  # it may be raised or not


def _read(tensor: Tensor, limit: int) -> NDArray[Any]:
    """All values of a tensor; asserts that the chunks are as the contract says."""
    parts = []
    for chunk in tensor.chunks(limit):
        assert chunk.ndim == 1, tensor.name
        assert chunk.nbytes <= max(limit, chunk.itemsize), f"{tensor.name}: a chunk of {chunk.nbytes} bytes"
        parts.append(chunk.copy())
    values = np.concatenate(parts) if parts else np.empty(0, np.float32)
    assert values.size == tensor.size, f"{tensor.name}: {values.size} values where {tensor.size} are declared"
    return values
