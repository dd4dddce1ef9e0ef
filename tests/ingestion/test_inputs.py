from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wexport import UsageError
from wexport.ingestion import inputs
from wexport.table.text import printable


def touch(folder: Path, *names: str) -> list[Path]:
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return paths


def test_a_folder_gives_its_files_in_order_without_hidden_ones(tmp_path: Path) -> None:
    touch(tmp_path, "b.h5", "a/c.h5", "a.h5", ".hidden.h5", ".git/x.h5")
    found = inputs.expand([tmp_path])
    assert [item.path.relative_to(tmp_path).as_posix() for item in found] == ["a.h5", "b.h5", "a/c.h5"]
    assert not any(item.named for item in found)


@pytest.mark.parametrize(
    ("index", "shard", "left"),
    [
        ("model.safetensors.index.json", "model-00001-of-00001.safetensors", ["model.safetensors.index.json"]),
        ("model.safetensors.index.json", "other.h5", ["model.safetensors.index.json", "other.h5"]),
        # What no reader opens hides nothing.
        ("tf_model.h5.index.json", "tf_model-1.h5", ["tf_model-1.h5", "tf_model.h5.index.json"]),
        ("pytorch_model.bin.index.json", "model-1.bin", ["pytorch_model.bin.index.json"]),
        ("model.weights.json", "model_00000.weights.h5", ["model.weights.json"]),
    ],
)
def test_shards_are_parts_of_the_model_that_names_them(tmp_path: Path, index: str, shard: str, left: list[str]) -> None:
    touch(tmp_path, shard)
    (tmp_path / index).write_text(json.dumps({"weight_map": {"a": shard}}))
    assert [item.path.name for item in inputs.expand([tmp_path])] == left
    assert [item.path.name for item in inputs.expand([str(tmp_path / "*")])] == left
    assert [item.path.name for item in inputs.expand([tmp_path / shard])] == [shard]


def test_a_part_of_a_file_is_named_behind_it(tmp_path: Path) -> None:
    touch(tmp_path, "m.pt", "odd#name.pt")
    found = inputs.expand(
        [tmp_path / "m.pt#model", f"{tmp_path}/m.pt#ema", tmp_path / "m.pt", tmp_path / "odd#name.pt"]
    )
    assert [(item.path.name, item.part) for item in found] == [
        ("m.pt", "model"),
        ("m.pt", "ema"),
        ("m.pt", None),
        ("odd#name.pt", None),
    ]
    assert inputs.model_names([item.called for item in found]) == ["m.pt#model", "m.pt#ema", "m", "odd#name"]
    with pytest.raises(UsageError, match="does not exist"):
        inputs.expand([tmp_path / "other.pt#model"])


def test_a_distributed_checkpoint_is_one_model_of_its_folder_s_name(tmp_path: Path) -> None:
    touch(tmp_path / "run", ".metadata", "__0_0.distcp", "__1_0.distcp", ".hidden.pt")
    (found,) = inputs.expand([tmp_path / "run"])
    assert (found.path.name, found.named) == (".metadata", False)
    assert inputs.model_names([found.path]) == ["run"]


def test_a_damaged_index_hides_nothing(tmp_path: Path) -> None:
    touch(tmp_path, "model-1.safetensors")
    (tmp_path / "model.safetensors.index.json").write_bytes(b'{"weight_map": ' + b"[" * 100_000)
    assert len(inputs.expand([tmp_path])) == 2


def test_a_model_in_shards_is_named_by_its_index(tmp_path: Path) -> None:
    paths = touch(tmp_path, "a/model.safetensors.index.json", "b/model.safetensors.index.json")
    assert inputs.model_names(paths) == ["a/model", "b/model"]


def test_a_quoted_pattern_works_and_may_recurse(tmp_path: Path) -> None:
    touch(tmp_path, "a.h5", "x/b.h5", "c.txt")
    assert [item.path.name for item in inputs.expand([str(tmp_path / "*.h5")])] == ["a.h5"]
    assert sorted(item.path.name for item in inputs.expand([str(tmp_path / "**/*.h5")])) == ["a.h5", "b.h5"]


def test_a_name_that_looks_like_a_pattern_is_taken_as_it_stands(tmp_path: Path) -> None:
    (path,) = touch(tmp_path, "model[1].h5")
    assert [item.path for item in inputs.expand([path])] == [path]


def test_the_same_file_counts_once_however_it_is_named(tmp_path: Path) -> None:
    (path,) = touch(tmp_path, "a.h5")
    (tmp_path / "link.h5").symlink_to(path)
    found = inputs.expand([path, tmp_path / "." / "a.h5", tmp_path / "link.h5", tmp_path])
    assert len(found) == 1
    assert found[0].named


@pytest.mark.parametrize("argument", ["missing.h5", "*.nothing"])
def test_what_matches_nothing_is_an_error_that_names_it(tmp_path: Path, argument: str) -> None:
    with pytest.raises(UsageError, match=argument.replace("*", r"\*")):
        inputs.expand([str(tmp_path / argument)])


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["runs/a/m.h5", "runs/b/m.h5"], ["a/m", "b/m"]),
        (["m.h5", "m.keras", "n.h5"], ["m.h5", "m.keras", "n"]),
        (["m.weights.h5", "n.weights.h5"], ["m", "n"]),
        (["m.weights.h5", "m.h5"], ["m.weights.h5", "m.h5"]),
        (["net.05-0.56.hdf5"], ["net.05-0.56"]),
        (["net.05"], ["net.05"]),
        (["only"], ["only"]),
        (["cnn/variables/variables.index"], ["cnn"]),
        (["runs/a/variables/variables.index", "runs/b.h5", "b/ckpt-3.index"], ["runs/a", "runs/b", "b/ckpt-3"]),
        (["a/variables/variables.index", "a.h5"], ["a", "a.h5"]),
    ],
)
def test_model_names(paths: list[str], names: list[str]) -> None:
    assert inputs.model_names([Path("/data") / path for path in paths]) == names


def test_a_name_pattern_overrides_and_a_clash_is_told() -> None:
    paths = [Path("/data/run1/m.h5"), Path("/data/run2/m.h5")]
    assert inputs.model_names(paths, "{parent}-{stem}") == ["run1-m", "run2-m"]
    assert inputs.model_names([Path("/data/run1/cnn/variables/variables.index")], "{parent}-{stem}") == ["run1-cnn"]
    with pytest.raises(UsageError, match="would both be named 'm'") as caught:
        inputs.model_names(paths, "{stem}")
    assert "--name" in caught.value.hint
    with pytest.raises(UsageError, match="cannot be filled in"):
        inputs.model_names(paths, "{nonsense}")


@given(st.lists(st.text(st.characters(exclude_characters="/\0"), min_size=1), min_size=1, unique=True))
def test_names_never_clash_by_default(stems: list[str]) -> None:
    stems = [stem for stem in stems if stem not in (".", "..")]
    names = inputs.model_names([Path("/data") / stem for stem in stems])
    assert len(set(names)) == len(stems)


@given(st.text(st.characters()))
def test_printable_text_is_valid_utf8_and_plain_text_stays(text: str) -> None:
    printable(text).encode("utf-8")
    if not any("\ud800" <= character <= "\udfff" for character in text):
        assert printable(text) == text
