"""Hostile and damaged HDF5 files through the public call: one named status each, and nothing else suffers."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest

import wexport
from tests import crafted
from tests.conftest import DATA, ROOT
from wexport.files.source import Source
from wexport.ingestion.pipeline import IngestResult, ModelResult
from wexport.readers.hdf5 import links, walk

TIMEOUT = 30.0

# What each file is, how it ends, and a word of the reason or of a problem.
REFUSED: dict[str, tuple[Callable[..., object], str, str]] = {
    "external_link": (crafted.external_link, "failed", "external link"),
    "external_link_behind_a_slash": (crafted.external_link_behind_a_slash, "failed", "its name is a path"),
    "external_link_twin": (crafted.external_link_twin, "failed", "its name is given twice"),
    "external_storage": (crafted.external_storage, "failed", "external storage"),
    "virtual_dataset": (crafted.virtual_dataset, "failed", "virtual dataset"),
    "shape_bomb": (crafted.shape_bomb, "failed", "declares 4,000,000,000,000 bytes"),
    "many_small_bombs": (crafted.many_small_bombs, "partial", "declared but not stored"),
    "shared_storage": (crafted.shared_storage, "partial", "storage used twice"),
    "overstated_storage": (crafted.overstated_storage, "failed", "more is said to be stored than the file holds"),
    "inflates_past_its_chunk": (crafted.inflates_past_its_chunk, "failed", "inflates to more than the 4,096 bytes"),
    "inflates_far_past_its_chunk": (
        crafted.inflates_far_past_its_chunk,
        "failed",
        "inflates to more than the 1,048,576 bytes",
    ),
    "gzip_bomb": (crafted.gzip_bomb, "failed", "would unpack to 10,737,418,240 bytes"),
    "decoded_again_and_again": (crafted.decoded_again_and_again, "failed", "decoding went past"),
    "chunks_at_one_address": (crafted.chunks_at_one_address, "failed", "two chunks share the bytes"),
    "chunk_off_the_grid": (crafted.chunk_off_the_grid, "failed", "where no chunk can"),
    "chunk_outside_the_file": (crafted.chunk_outside_the_file, "failed", "where no chunk can"),
    "chunk_of_giant_stored_size": (crafted.chunk_of_giant_stored_size, "failed", "more is said to be stored"),
    "giant_chunk": (crafted.giant_chunk, "failed", "compressed chunk too large"),
    "tiny_checksummed_chunk": (crafted.tiny_checksummed_chunk, "failed", "too short for its checksum"),
    "repeated_filter": (crafted.repeated_filter, "failed", "filter applied twice"),
    "lzf_bomb": (crafted.lzf_bomb, "failed", "unreadable tensor"),
    "scaled_past_its_chunk": (crafted.scaled_past_its_chunk, "failed", "unreadable tensor"),
    "unknown_filter": (crafted.unknown_filter, "failed", "filter 40000 not available"),
    "plugin_filter": (lambda path: crafted.unknown_filter(path, 32001), "failed", "(blosc) not available"),
    "dust": (crafted.dust, "failed", "too many chunks"),
    "variable_length": (crafted.variable_length, "empty", "no numbers"),
    "nested_groups": (lambda path: crafted.nested_groups(path, 2000), "failed", "nested more than 256 deep"),
    "no_root": (crafted.no_root, "failed", "cannot open"),
    "empty": (Path.touch, "failed", "is empty"),
    "garbage": (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(2000)), "failed", "cannot open it"),
}
HARMLESS = {
    "hard_link_cycle": crafted.hard_link_cycle,
    "soft_link_cycle": crafted.soft_link_cycle,
    "diamond": crafted.diamond,
}
LEADS_OUTSIDE = (
    "external_link",
    "external_link_behind_a_slash",
    "external_link_twin",
    "external_storage",
    "virtual_dataset",
)


@dataclasses.dataclass(frozen=True)
class Run:
    """One ingest of every crafted file beside a good one."""

    result: IngestResult
    out: Path
    seconds: float

    def model(self, name: str) -> ModelResult:
        return next(model for model in self.result.models if model.model == name)

    def said(self, name: str) -> str:
        """All that the user is told of a file."""
        model = self.model(name)
        return " | ".join([model.reason, *(f"{found.name}: {found.what}: {found.detail}" for found in model.problems)])

    def rows(self, name: str) -> list[dict[str, object]]:
        columns = ["model", "tensor", "value_count", "max", "layer_config", "role"]
        return [row for row in pq.read_table(self.out, columns=columns).to_pylist() if row["model"] == name]


def ingest(folder: Path, paths: list[Path], **options: object) -> Run:
    """Reads the files and, beside them, a good one, which must not suffer."""
    good = folder / "good.h5"
    with h5py.File(good, "w") as file:
        file["w"] = np.arange(12, dtype="<f4").reshape(3, 4)
    begun = time.monotonic()
    result = wexport.ingest([*paths, good], folder / "out.parquet", timeout=TIMEOUT, **options)
    run = Run(result, folder / "out.parquet", time.monotonic() - begun)
    assert run.model("good").status == "ok"
    assert [row["max"] for row in run.rows("good")] == [11.0]
    assert len(result.models) == len(paths) + 1
    for model in result.models:
        assert "Traceback" not in run.said(model.model)
        if model.status == "failed":
            assert str(model.source) in model.reason
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("hostile")
    # Whoever opened what the files lead to would hang.
    target = crafted.fifo(folder / "target")
    paths = []
    for name, make in {**{name: case[0] for name, case in REFUSED.items()}, **HARMLESS}.items():
        paths.append(folder / f"{name}.h5")
        make(paths[-1], target) if name in LEADS_OUTSIDE else make(paths[-1])
    return ingest(folder, paths)


@pytest.mark.parametrize("name", REFUSED)
def test_bad_file_ends_in_one_named_status(run: Run, name: str) -> None:
    _, status, words = REFUSED[name]
    assert words in run.said(name)
    assert run.model(name).status == status


@pytest.mark.parametrize("name", HARMLESS)
def test_cycles_and_diamonds_give_each_dataset_once(run: Run, name: str) -> None:
    assert run.model(name).status == "ok"
    assert [row["max"] for row in run.rows(name)] == [1.0]


def test_all_of_them_take_bounded_time(run: Run) -> None:
    assert run.seconds < 2 * TIMEOUT
    assert not any("took longer" in run.said(model.model) for model in run.result.models)


def test_unbacked_bytes_are_summed_over_the_file(run: Run) -> None:
    read = sum(row["value_count"] for row in run.rows("many_small_bombs"))
    assert 0 < read <= 256 << 20


def test_many_links_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "MAX_LINKS", 100)
    monkeypatch.setattr(links, "LINK_BYTES", 1 << 20)
    with h5py.File(tmp_path / "many.h5", "w") as file:
        file["w"] = np.ones(4)
        for number in range(101):
            file[f"again_{number}"] = file["w"]
    with (
        Source(tmp_path / "many.h5") as source,
        pytest.raises(wexport.HostileFileError, match="more than 100 links"),
    ):
        walk.open_file(source).walk()


# -- what is not a file ------------------------------------------------------------------------------------------------


def test_pipes_devices_and_links_to_them(tmp_path: Path) -> None:
    pipe = crafted.fifo(tmp_path / "pipe.h5")
    link = tmp_path / "link.h5"
    link.symlink_to(pipe.rename(tmp_path / "moved"))
    crafted.fifo(pipe)
    null = tmp_path / "null.h5"
    null.symlink_to("/dev/null")
    dangling = tmp_path / "dangling.h5"
    dangling.symlink_to(tmp_path / "nowhere")
    run = ingest(tmp_path, [pipe, link, null, dangling])
    assert "not a regular file" in run.said("pipe")
    assert "not a regular file" in run.said("link")
    assert "not a regular file" in run.said("null")
    assert "cannot be opened" in run.said("dangling")
    assert run.seconds < TIMEOUT


def test_folder_with_pipes_and_misleading_names(tmp_path: Path) -> None:
    """A pipe met in a folder is passed over, a folder called x.h5 is a folder."""
    folder = tmp_path / "models"
    (folder / "x.h5").mkdir(parents=True)
    crafted.fifo(folder / "pipe.h5")
    with h5py.File(folder / "x.h5" / "inner.h5", "w") as file:
        file["w"] = np.ones(3)
    (folder / "out").symlink_to(folder)  # a cycle of folders
    result = wexport.ingest(folder, tmp_path / "o.parquet", timeout=TIMEOUT)
    assert [(model.source, model.status) for model in result.models] == [(folder / "x.h5" / "inner.h5", "ok")]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read anything")
def test_unreadable_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret.h5"
    crafted.soft_link_cycle(secret)
    secret.chmod(0)
    run = ingest(tmp_path, [secret])
    assert "cannot be opened" in run.said("secret")
    secret.chmod(stat.S_IRUSR)


def test_no_filter_library_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HDF5 would open every library in its plugin path: here one is a pipe, on which it would hang."""
    crafted.unknown_filter(tmp_path / "w.h5")  # before the path is set: HDF5 would look there in this process too
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    crafted.fifo(plugins / "libfilter.so")
    monkeypatch.setenv("HDF5_PLUGIN_PATH", str(plugins))
    run = ingest(tmp_path, [tmp_path / "w.h5"])
    assert "filter 40000 not available" in run.said("w")


# -- names and configs ------------------------------------------------------------------------------------------------

NAMES = [
    b"\xff\xfe",
    b"tab\tnew\nline\x1b[31m",
    b"<script>alert(1)</script>"[:8],
    b"$x$",
    "ключ".encode(),
    b"\xed\xa0\x80",
    b" ",
]


def test_odd_names_are_kept_without_loss(tmp_path: Path) -> None:
    crafted.odd_names(tmp_path / "odd.h5", NAMES)
    run = ingest(tmp_path, [tmp_path / "odd.h5"])
    assert run.model("odd").status == "ok"
    names = {row["tensor"] for row in run.rows("odd")}
    kept = {name.decode("utf-8", "surrogateescape").encode("utf-8", "backslashreplace").decode() for name in NAMES}
    assert names == kept


def _change(group: str, name: str, value: object, dtype: object = None) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        holder = file[group]
        if name in holder.attrs:
            del holder.attrs[name]
        holder.attrs.create(name, value, dtype=dtype)

    return change


def _ragged_names(file: h5py.File) -> None:
    ragged = np.empty(2, object)
    ragged[:] = [np.ones(2, "<f4"), np.ones(3, "<f4")]
    del file["model_weights/d"].attrs["weight_names"]
    file["model_weights/d"].attrs.create("weight_names", ragged, dtype=h5py.vlen_dtype(np.dtype("<f4")))


CONFIGS: dict[str, tuple[str | bytes | None, Callable[[h5py.File], None] | None]] = {
    "not_json": ("this is not JSON", None),
    "cut_json": (crafted.config_of()[:-5], None),
    "deep_json": (b"[" * 100_000, None),
    "deep_in_config": (crafted.config_of().replace('"relu"', "[" * 5000 + "]" * 5000), None),
    "surrogates": (crafted.config_of().replace('"relu"', r'"\ud800"'), None),
    "surrogate_name": (crafted.config_of().replace('"d"', r'"\udcff"'), None),
    "numbers_for_names": (crafted.config_of().replace('"Dense"', "7").replace('"d"', "null"), None),
    "list": ("[1, 2, [3]]", None),
    "null": ("null", None),
    "nan": (crafted.config_of().replace("2", "NaN"), None),
    "huge_number": (crafted.config_of().replace("2", "9" * 5000), None),
    "large": (b"x" * (20 << 20), None),
    "not_utf8": (b"\xff\xfe{}", None),
    "config_of_numbers": ("{}", _change("/", "model_config", np.arange(5))),
    "null_attribute": ("{}", _change("/", "model_config", h5py.Empty("f4"))),
    "compound_attribute": ("{}", _change("/", "model_config", np.zeros(2, [("a", "f4"), ("b", "i4")]))),
    "vlen_attribute": (
        crafted.config_of(),
        _ragged_names,
    ),
    "numeric_names": (crafted.config_of(), _change("model_weights", "layer_names", np.arange(3))),
    "missing_layer": (crafted.config_of(), _change("model_weights", "layer_names", np.array([b"d", b"nowhere"]))),
    "twice_named": (crafted.config_of(), _change("model_weights", "layer_names", np.array([b"d"] * 3))),
    "endless_name": (
        crafted.config_of(),
        _change("model_weights", "layer_names", np.array([b"d", b"a/" * 5000])),
    ),
    "names_with_dots": (crafted.config_of(), _change("model_weights", "layer_names", np.array([b"d", b"../../etc"]))),
}


def test_odd_configs_cost_the_meaning_not_the_weights(tmp_path: Path) -> None:
    paths = []
    for name, (config, change) in CONFIGS.items():
        paths.append(tmp_path / f"{name}.h5")
        crafted.keras_h5(paths[-1], config, change)
    run = ingest(tmp_path, paths)
    for name in CONFIGS:
        assert run.model(name).status in ("ok", "partial"), run.said(name)
        tensors = [str(row["tensor"]).rpartition("/")[2] for row in run.rows(name)]
        assert sorted(tensors) == ["bias:0", "kernel:0"], name


def test_lambda_code_stays_text(tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    crafted.keras_h5(tmp_path / "evil.h5", crafted.config_of(crafted.lambda_layer(marker)))
    run = ingest(tmp_path, [tmp_path / "evil.h5"])
    assert run.model("evil").status == "ok"
    assert [row["role"] for row in run.rows("evil")] == ["kernel", "bias"]
    configs = [json.loads(str(row["layer_config"])) for row in run.rows("evil")]
    assert all(config["activation"] == "relu" for config in configs)
    assert not marker.exists()


# -- damage -----------------------------------------------------------------------------------------------------------


def seeds() -> Iterator[Path]:
    """Small files of every container."""
    for folder in (DATA / "keras3", DATA / "tfkeras215"):
        for name in ("cnn.h5", "fold_1.weights.h5", "cnn.keras"):
            if (path := folder / name).is_file():
                yield path


def test_truncated_at_many_lengths(tmp_path: Path) -> None:
    paths = []
    for seed in list(seeds())[:3]:
        data = seed.read_bytes()
        for part in (0.01, 0.2, 0.5, 0.8, 0.95, 0.999):
            paths.append(tmp_path / f"{len(paths):02}_{seed.name}")
            paths[-1].write_bytes(data[: int(part * len(data))])
    assert len(paths) >= 12
    run = ingest(tmp_path, paths)
    for model in run.result.models:
        if model.model != "good":
            assert model.status == "failed", run.said(model.model)


def test_mutants(tmp_path: Path) -> None:
    """Flipped bytes: whatever happens in a child, each file has its status and the parent lives."""
    chance = random.Random(2026)
    paths = []
    for seed in list(seeds())[:4]:
        for _ in range(15):
            data = bytearray(seed.read_bytes())
            for _ in range(chance.choice((1, 4, 16, 64))):
                # Half of them at the beginning, where the structure is.
                data[chance.randrange(len(data) if chance.random() < 0.5 else 4096)] = chance.randrange(256)
            paths.append(tmp_path / f"{len(paths):02}_{seed.name}")
            paths[-1].write_bytes(data)
    run = ingest(tmp_path, paths)
    assert {model.status for model in run.result.models} <= {"ok", "partial", "empty", "failed"}
    assert all(model.reason for model in run.result.models if model.status == "failed")


@pytest.mark.parametrize("path", sorted((ROOT / "wexport" / "readers").glob("hdf5_*.py")), ids=lambda path: path.stem)
def test_only_the_file_itself_is_opened(path: Path) -> None:
    """h5py's high-level interface follows every link; the readers never touch it."""
    text = path.read_text(encoding="utf-8")
    assert "h5py.File" not in text
    assert "visititems" not in text
