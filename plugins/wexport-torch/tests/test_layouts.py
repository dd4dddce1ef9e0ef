"""Layouts beside the plain file: each gives the very tensors that `torch.save` of the same state dict gives."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch_files as files
from wexport_torch import READER

import wexport
from wexport.errors import ReadError

CASES = Path(__file__).parents[4] / "shared" / "cases"
with_cases = pytest.mark.skipif(not CASES.is_dir(), reason="the shared cases are not here")


@pytest.fixture
def layouts(tmp_path: Path) -> Path:
    with zipfile.ZipFile(Path(__file__).parent / "layouts.zip") as archive:
        archive.extractall(tmp_path)
    return tmp_path


def told(path: Path, *, optimizer: bool = False, part: str | None = None) -> tuple[wexport.Model, dict[str, Any]]:
    """The model, and its values by name."""
    with wexport.Source(path, optimizer=optimizer, part=part) as source:
        assert READER.sniff(source) == 0.9
        model = READER.open(source)
        values = {tensor.name: array_of(tensor) for tensor in model.tensors}
    return model, values


def array_of(tensor: wexport.Tensor, limit: int = 1 << 20) -> Any:
    parts = [chunk.copy() for chunk in tensor.chunks(limit)]
    return np.concatenate(parts).reshape(tensor.shape)


def facts(model: wexport.Model) -> dict[str, Any]:
    return {t.name: (t.role, t.layer_class, t.layer, t.shape, t.dtype, t.kind) for t in model.tensors}


SAME = [
    ("one_process/.metadata", "one_process"),
    ("two_processes/.metadata", "two_processes"),
    ("program.pt2", "program"),
    ("sharded/pytorch_model.bin.index.json", "sharded"),
    ("pruned.pt", "pruned"),
    ("pruned_whole.pt", "pruned"),
]


@pytest.mark.parametrize(("name", "reference"), SAME)
def test_the_same_tensors_as_in_a_plain_file(layouts: Path, name: str, reference: str) -> None:
    model, values = told(layouts / name)
    plain, expected = told(layouts / f"{reference}.ref.pt")
    assert values.keys() == expected.keys()
    for key, array in expected.items():
        np.testing.assert_array_equal(values[key], array)
    if name != "pruned_whole.pt":  # which knows its classes
        assert facts(model) == facts(plain)


@pytest.mark.parametrize("limit", [4, 24, 100])
def test_parts_are_put_together_whatever_the_size_of_chunks(layouts: Path, limit: int) -> None:
    _, expected = told(layouts / "two_processes.ref.pt")
    with wexport.Source(layouts / "two_processes" / ".metadata") as source:
        for tensor in READER.open(source).tensors:
            chunks = [chunk.copy() for chunk in tensor.chunks(limit)]
            assert all(chunk.nbytes <= limit for chunk in chunks)
            np.testing.assert_array_equal(np.concatenate(chunks).reshape(tensor.shape), expected[tensor.name])


def test_what_else_a_distributed_checkpoint_holds_is_named(layouts: Path) -> None:
    model, _ = told(layouts / "two_processes" / ".metadata")
    assert {(each.what, each.name, each.size) for each in model.skipped} == {
        ("optimizer state", "optimizer", 120),
        ("object", "optimizer.lr", 0),
        ("object", "epoch", 0),
    }
    with_state, _ = told(layouts / "two_processes" / ".metadata", optimizer=True)
    assert [tensor.name for tensor in with_state.tensors if tensor.kind == "optimizer"] == [
        "optimizer.state.fc.weight.exp_avg"
    ]


def test_a_part_that_is_missing_costs_its_tensors_alone(layouts: Path) -> None:
    (layouts / "two_processes" / "__1_0.distcp").unlink()
    model, values = told(layouts / "two_processes" / ".metadata")
    assert len(values) < 3
    assert {each.what for each in model.skipped if each.problem} == {"unreadable tensor"}


@pytest.mark.skipif(os.name != "posix", reason="makes links")
def test_no_link_is_followed(layouts: Path) -> None:
    file = layouts / "one_process" / "__0_0.distcp"
    file.rename(layouts / "elsewhere")
    file.symlink_to(layouts / "elsewhere")
    model, values = told(layouts / "one_process" / ".metadata")
    assert not values
    assert all("a link that leads out of" in each.detail for each in model.skipped)


def test_an_index_names_files_of_its_own_folder_only(layouts: Path) -> None:
    index = layouts / "sharded" / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "../program.ref.bin"}}))
    with pytest.raises(wexport.HostileFileError, match="own folder"):
        told(index)


def test_a_folder_is_one_model(layouts: Path) -> None:
    result = wexport.ingest([layouts / "two_processes", layouts / "sharded"], layouts / "t.parquet")
    assert [(model.model, model.status, model.tensors) for model in result.models if model.status != "skipped"] == [
        ("two_processes", "ok", 3),
        ("sharded/pytorch_model", "ok", 9),
    ]
    assert wexport.inspect(layouts / "one_process").result.parameters == 154
    assert wexport.diff(layouts / "one_process", layouts / "one_process.ref.pt").same


def test_constants_of_a_program_are_named(layouts: Path) -> None:
    model, _ = told(layouts / "program.pt2")
    assert [(each.what, each.name, each.size) for each in model.skipped] == [("constant of the program", "passing", 20)]
    assert all(tensor.trainable is True for tensor in model.tensors if tensor.role in ("kernel", "gamma", "beta"))


# -- states of a run ---------------------------------------------------------------------------------------------------

STATES = {
    "optimizer.pt": "optimizer state",
    "scheduler.pt": "state of a scheduler",
    "rng_state.pth": "state of random generators",
}


@pytest.mark.parametrize("name", STATES)
def test_a_state_of_a_run_is_no_model(layouts: Path, name: str) -> None:
    path = layouts / "run" / "checkpoint-4" / name
    model, values = told(path)
    assert not values
    assert [each.what for each in model.skipped] == [STATES[name]]
    with pytest.raises(ReadError, match=f"no model but the {STATES[name]}"):
        wexport.inspect(path)
    result = wexport.ingest([path.parent], layouts / "t.parquet")
    assert [model.model for model in result.models if model.status != "skipped"] == ["pytorch_model"]


def test_a_dict_of_bytes_is_no_state_of_generators(tmp_path: Path) -> None:
    held = files.storage("0", 6, "ByteStorage")
    path = files.write_zip(tmp_path / "m.pt", files.mapping({"data": files.tensor((6,), held=held)}), {"0": b"\1" * 6})
    assert list(told(path)[1]) == ["data"]


@with_cases
def test_the_folder_of_a_trainer(tmp_path: Path) -> None:
    result = wexport.ingest([CASES / "trainer_folder"], tmp_path / "t.parquet")
    models = [model for model in result.models if model.status != "skipped"]
    assert [model.model for model in models] == ["checkpoint-4/model", "checkpoint-8/model"]


@with_cases
def test_the_shared_folder_is_one_model() -> None:
    assert wexport.inspect(CASES / "dcp").result.parameters == 785


# -- modules of torch 0.3 ----------------------------------------------------------------------------------------------


def parameter(held: bytes) -> bytes:
    """As torch 0.3 pickled one: the class, called with the tensor, and then its state."""
    plain = files.call(
        "torch._utils", "_rebuild_tensor", held, files.number(0), files.numbers([2, 3]), files.numbers([3, 1])
    )
    return files.call("torch.nn.parameter", "Parameter", plain) + files.group(b"\x88", b"\x89", b"N") + b"b"


def test_parameters_that_are_made_of_a_tensor(tmp_path: Path) -> None:
    path = files.write_zip(tmp_path / "m.pt", files.mapping({"fc.weight": parameter(files.storage())}))
    model, values = told(path)
    assert list(values) == ["fc.weight"]
    assert model.tensors[0].trainable is True


@with_cases
def test_a_whole_module_of_torch_0_3() -> None:
    assert wexport.inspect(CASES / "torch03" / "torch03_whole.pt").result.parameters == 385


# -- parts of a file ---------------------------------------------------------------------------------------------------


def two_models(path: Path) -> Path:
    one = files.mapping({"fc.weight": files.tensor(), "fc.bias": files.tensor((2,), offset=1)})
    other = files.mapping({"fc.weight": files.tensor(), "fc.bias": files.tensor((2,), offset=2)})
    body = files.mapping({"model": one, "model_ema": one, "student": other, "optimizer": files.mapping({})})
    return files.write_zip(path / "checkpoint.pt", body)


def test_two_parts_of_a_file_are_two_models(tmp_path: Path) -> None:
    path = two_models(tmp_path)
    assert wexport.inspect(path).result.tensors == 6
    assert wexport.inspect(f"{path}#model_ema").result.tensors == 2
    assert wexport.diff(f"{path}#model", f"{path}#model_ema").same
    found = wexport.diff(f"{path}#model", f"{path}#student")
    assert (found.counts["identical"], found.counts["changed"]) == (1, 1)
    result = wexport.ingest([f"{path}#model", f"{path}#model_ema"], tmp_path / "t.parquet")
    assert [model.model for model in result.models] == ["checkpoint.pt#model", "checkpoint.pt#model_ema"]


def test_a_part_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="has no part 'teacher'") as raised:
        wexport.inspect(f"{two_models(tmp_path)}#teacher")
    assert "model, model_ema, student" in raised.value.hint


def test_tied_tensors_are_told_as_one_object(tmp_path: Path) -> None:
    body = files.mapping({"emb.weight": files.tensor(), "head.weight": files.tensor()})
    path = files.write_zip(tmp_path / "tied.pt", body)
    assert wexport.inspect(path).result.aliases == {"head.weight": "emb.weight"}


# -- several archives in a file ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "behind", "words"),
    [("whole", b"", "several archives"), ("junk", b"", "behind what is not part"), ("", b"more" * 9, "stand behind")],
)
def test_a_file_that_only_contains_an_archive_is_refused(
    tmp_path: Path, before: str, behind: bytes, words: str
) -> None:
    path = files.write_zip(tmp_path / "m.pt", files.mapping({"fc.weight": files.tensor()}))
    content = path.read_bytes()
    path.write_bytes({"whole": content, "junk": b"junk" * 50, "": b""}[before] + content + behind)
    with pytest.raises(ReadError, match=words):
        wexport.inspect(path)


def test_padding_behind_an_archive_does_no_harm(tmp_path: Path) -> None:
    path = files.write_zip(tmp_path / "m.pt", files.mapping({"fc.weight": files.tensor()}))
    path.write_bytes(path.read_bytes() + bytes(100))
    assert wexport.inspect(path).result.tensors == 1


@with_cases
@pytest.mark.parametrize("name", ["concatenated/concat.pt", "concatenated/prepended.pt", "dcp/__0_0.distcp"])
def test_shared_files_that_only_contain_an_archive(name: str) -> None:
    with pytest.raises(ReadError, match=r"archive|checkpoint"):
        wexport.inspect(CASES / name)


def test_mutants_of_metadata_end_well(layouts: Path) -> None:
    """Each ends with a model or an error of our own."""
    folder = layouts / "two_processes"
    content = (folder / ".metadata").read_bytes()
    rng = np.random.default_rng(0)
    for number in range(150):
        changed = bytearray(content)
        for place in rng.integers(len(content), size=1 + number % 4):
            changed[place] = rng.integers(256)
        target = layouts / f"mutant{number}"
        shutil.copytree(folder, target)
        (target / ".metadata").write_bytes(changed)
        with wexport.Source(target / ".metadata") as source:
            try:
                for tensor in READER.open(source).tensors:
                    list(tensor.chunks(1 << 16))
            except ReadError:
                pass
