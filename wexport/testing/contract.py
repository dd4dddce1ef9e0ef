"""The contract of a reader, as tests that a plugin's author inherits."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import pickle
import shutil
import tracemalloc
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from wexport import stats
from wexport.errors import WexportError
from wexport.files.source import Source
from wexport.ingestion.inspection import inspect
from wexport.model.slots import slot_names
from wexport.model.tensors import Model, Reader
from wexport.plugins import host as plugin_host
from wexport.testing import checks, trials
from wexport.testing.mutants import default_count

_LIMITS = (1, 7, 64, 4096, 1 << 20)
_SPARSE_BYTES, _SNIFF_BYTES = 256 << 20, 32 << 20
"""A file of the first size may not make `sniff` allocate more than the second."""


def _zip_of_texts() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("notes/readme.txt", "nothing to see here")
    return packed.getvalue()


FOREIGN: Mapping[str, bytes] = {
    "empty": b"",
    "text": b"nothing to see here\n" * 20,
    "zeros": bytes(4096),
    "zip": b"PK\x05\x06" + bytes(18),
    "zip of texts": _zip_of_texts(),
    "noise": np.random.default_rng(0).bytes(4096),
    "json": b'{"model": [1, 2, 3], "weights": "none"}',
    "pickle": pickle.dumps({"a": [1, 2, 3]}, protocol=2),
    "png": b"\x89PNG\r\n\x1a\n" + bytes(64),
    "parquet": b"PAR1" + bytes(64) + b"PAR1",
    "npy": b"\x93NUMPY\x01\x00" + bytes(120),
    "hdf5": b"\x89HDF\r\n\x1a\n" + bytes(120),
    "gguf": b"GGUF\x03\x00\x00\x00" + bytes(64),
}
"""Beginnings of files that are not a model of the reader's."""


class ReaderTests:
    """Subclass with `reader` and `path`, a small model file.

    values: tensor name to array, as stored; where you know them.
    canonical: tensor name to array in the canonical (Keras 3) layout, for readers that fill `Tensor.layout`.
    beside: files that `path` needs beside it, such as shards.
    plugins: the reader's Python file, where its package is not installed.
    also_reads: names in `FOREIGN` that the reader rightly claims though `path` begins otherwise.
    tolerated: "crashed", "timed out", "memory": how a library underneath, which is not the reader's to mend, may lose
        the process on damaged files. It costs the user that one file.
    mutants: how many damaged copies of `path` are tried; None is as many as `ingest_mutants` tries.
    mutant_seconds: what each of them may take.
    """

    reader: ClassVar[Reader]
    path: ClassVar[Path]
    values: ClassVar[Mapping[str, NDArray[Any]]] = {}
    canonical: ClassVar[Mapping[str, NDArray[Any]]] = {}
    beside: ClassVar[Sequence[Path]] = ()
    plugins: ClassVar[Sequence[str | Path]] = ()
    also_reads: ClassVar[Sequence[str]] = ()
    tolerated: ClassVar[Sequence[str]] = ()
    mutants: ClassVar[int | None] = None
    mutant_seconds: ClassVar[float] = trials.MUTANT_SECONDS

    @contextlib.contextmanager
    def opened(self, optimizer: bool = True, path: Path | None = None) -> Iterator[Model]:
        """The model in `path`, as the reader opens it."""
        with Source(Path(path or self.path), optimizer) as source:
            yield self.reader.open(source)

    # -- whose file it is ----------------------------------------------------------------------------------------------

    def test_recognises_its_file(self) -> None:
        with Source(Path(self.path)) as source:
            confidence = self.reader.sniff(source)
        assert 0 < confidence <= 1, f"sniff says {confidence!r} to {self.path}"

    def test_recognises_it_under_another_name(self, tmp_path: Path) -> None:
        renamed = tmp_path / "renamed.bin"
        renamed.write_bytes(Path(self.path).read_bytes())
        with Source(renamed) as source:
            assert self.reader.sniff(source) > 0, "sniff goes by the name, and the content decides"

    def test_does_not_claim_what_is_foreign(self, tmp_path: Path) -> None:
        begins = Path(self.path).read_bytes()[:4]
        for name, content in FOREIGN.items():
            if name in self.also_reads or (content[:4] == begins and name != "zip of texts"):
                continue
            path = tmp_path / f"{name}{(self.reader.suffixes or ('',))[0]}"
            path.write_bytes(content)
            with Source(path) as source:
                confidence = self.reader.sniff(source)
            assert confidence == 0, f"sniff says {confidence!r} to a file of {name}"

    def test_is_not_in_doubt_with_another_reader(self) -> None:
        loaded = plugin_host.load(self._plugin_files())
        with Source(Path(self.path)) as source:
            loaded.choose(source)  # raises if two are equally sure

    def test_sniffing_does_not_read_the_whole_file(self, tmp_path: Path) -> None:
        large = tmp_path / "large.bin"
        large.write_bytes(Path(self.path).read_bytes())
        os.truncate(large, _SPARSE_BYTES)
        tracemalloc.start()
        try:
            with Source(large) as source:
                assert 0 <= self.reader.sniff(source) <= 1
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < _SNIFF_BYTES, f"sniff took {peak >> 20} MiB for a file of {_SPARSE_BYTES >> 20} MiB"

    # -- what is in it -------------------------------------------------------------------------------------------------

    def test_yields_tensors(self) -> None:
        with self.opened() as model:
            checks.model_is_well_formed(model)
            assert model.tensors, f"{self.path} gives no tensor"

    def test_slots_are_unique(self) -> None:
        with self.opened() as model:
            kinds = [tensor.kind for tensor in model.tensors]
            checks.no_two_are_alike(list(zip(kinds, slot_names(model.tensors), strict=True)), "tensors have the slot")

    def test_optimizer_state_comes_only_when_it_is_asked_for(self) -> None:
        with self.opened(optimizer=True) as model:
            weights = [tensor.name for tensor in model.tensors if tensor.kind != "optimizer"]
        with self.opened(optimizer=False) as model:
            unasked = [tensor.name for tensor in model.tensors if tensor.kind == "optimizer"]
            assert not unasked, f"optimizer state unasked for: {unasked[0]}"
            assert [tensor.name for tensor in model.tensors] == weights, "other weights come without optimizer state"

    def test_values_are_those_expected(self) -> None:
        with self.opened() as model:
            found = {tensor.name: tensor for tensor in model.tensors}
            for name, expected in self.values.items():
                assert name in found, f"{name} is missing; there are {', '.join(found)}"
                values = checks.values_of(found[name], 1 << 20)
                assert found[name].shape == expected.shape, f"{name}: {found[name].shape} is not {expected.shape}"
                assert values.dtype == expected.dtype.newbyteorder("="), f"{name}: {values.dtype}, not {expected.dtype}"
                np.testing.assert_array_equal(values.reshape(expected.shape), expected, err_msg=name)

    def test_the_canonical_layout_is_that_expected(self) -> None:
        with self.opened() as model:
            found = {tensor.name: tensor for tensor in model.tensors}
            for name, expected in self.canonical.items():
                assert name in found, f"{name} is missing; there are {', '.join(found)}"
                values = checks.canonical_values(found[name])
                assert values.shape == expected.shape, f"{name}: canonical {values.shape} is not {expected.shape}"
                np.testing.assert_array_equal(values, expected, err_msg=name)

    # -- chunks --------------------------------------------------------------------------------------------------------

    def test_chunks_hold_every_value_and_keep_to_the_limit(self) -> None:
        with self.opened() as model:
            for tensor in model.tensors:
                for limit in _LIMITS:
                    for _ in checks.checked_chunks(tensor, limit):
                        pass

    def test_values_do_not_depend_on_the_chunks(self) -> None:
        with self.opened() as model:
            for tensor in model.tensors:
                whole = checks.values_of(tensor, 1 << 30).tobytes()
                for limit in _LIMITS:
                    assert checks.values_of(tensor, limit).tobytes() == whole, f"{tensor.name} differs at limit {limit}"

    def test_values_do_not_depend_on_what_was_read_before(self) -> None:
        """Tensors are read in any order, by several processes, and a reading may end in the middle."""
        with self.opened() as model:
            inorder = [checks.values_of(tensor, 64).tobytes() for tensor in model.tensors]
            for tensor in model.tensors:
                next(iter(tensor.chunks(1)), None)
            backwards = [checks.values_of(tensor, 64).tobytes() for tensor in reversed(model.tensors)]
        for tensor, one, other in zip(model.tensors, inorder, reversed(backwards), strict=True):
            assert one == other, f"{tensor.name} differs when read after others, or after a reading that was left"

    def test_every_tensor_can_be_measured(self) -> None:
        with self.opened() as model:
            for tensor in model.tensors:
                assert stats.measure(tensor).value_count == tensor.size

    # -- as wexport uses it --------------------------------------------------------------------------------------------

    def test_a_child_process_reads_the_same(self) -> None:
        """Found by its name in a process of its own, with another order of sets, and within the memory it may take."""
        files = self._plugin_files()
        with self.opened() as model:
            expected = [(tensor.name, stats.measure(tensor).content_hash) for tensor in model.tensors]
        found = inspect(self.path, reader=self.reader.name, plugins=files, optimizer=True)
        assert found.result.status == "ok", f"{found.result.status}: {found.result.problems[:1]}"
        for here, row in zip(expected, found.rows, strict=True):
            there = (row["tensor"], row["content_hash"])
            assert there == here, f"tensor {row['tensor_index']} is {there} in a child process, {here} in this one"

    def test_leaves_files_as_they_are_and_none_open(self, tmp_path: Path) -> None:
        path = self._copy(tmp_path / "own", Path(self.path).read_bytes())
        before = {item.name: item.read_bytes() for item in path.parent.iterdir()}
        with self.opened(path=path) as model:
            for tensor in model.tensors:
                checks.values_of(tensor, 1 << 20)
        del model, tensor
        gc.collect()
        assert {item.name: item.read_bytes() for item in path.parent.iterdir()} == before, "reading changed the folder"
        assert str(path) not in _open_files(), "the file is still open; leave it with source.closing(...)"

    # -- damaged files -------------------------------------------------------------------------------------------------

    def test_a_file_cut_short_is_told_by_name(self, tmp_path: Path) -> None:
        """Whatever is cut off, the reader opens what is left or raises an error of wexport's that names the file."""
        content = Path(self.path).read_bytes()
        lengths = sorted({*(len(content) * part // 16 for part in range(16)), *range(1, min(16, len(content)))})
        paths = [self._copy(tmp_path / f"cut{length}", content[:length]) for length in lengths]
        self._survives(paths, [f"cut to {length} of {len(content)} bytes" for length in lengths])

    def test_damaged_files_give_a_model_or_an_error_that_names_the_file(self, tmp_path: Path) -> None:
        """Strict, and by this reader alone: no other exception, no crash, no hang, no memory beyond the limit."""
        beside = [Path(other) for other in self.beside]
        count = default_count() if self.mutants is None else self.mutants
        self._survives(*trials.written(Path(self.path), tmp_path, count, 0, beside))

    def _survives(self, paths: list[Path], changes: list[str]) -> None:
        found = trials.faults(self.reader, paths, self._plugin_files(), self.mutant_seconds, self.tolerated)
        shown = "\n".join(f"  {paths[place].parent.name} ({changes[place]}): {fault}" for place, fault in found[:5])
        assert not found, f"{len(found)} of {len(paths)} damaged files broke the reader:\n{shown}"

    # -- helpers -------------------------------------------------------------------------------------------------------

    def _plugin_files(self) -> tuple[str, ...]:
        """The plugin files to load; fails, saying what to do, where wexport would not find the reader."""
        files = tuple(os.fspath(path) for path in self.plugins)
        try:
            trials.reader_named(self.reader.name, files)
        except WexportError as error:
            raise AssertionError(f"{error}: {error.hint}") from None
        return files

    def _copy(self, folder: Path, content: bytes) -> Path:
        """`path` with this content, in a folder of its own, with what belongs beside it."""
        folder.mkdir()
        for other in self.beside:
            shutil.copyfile(other, folder / Path(other).name)
        path = folder / Path(self.path).name
        path.write_bytes(content)
        return path


def _open_files() -> set[str]:
    """The files that this process has open; empty where the system does not tell."""
    found = set()
    with contextlib.suppress(OSError):
        for descriptor in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(OSError):  # the one that lists the folder is gone
                found.add(str(descriptor.readlink()))
    return found
