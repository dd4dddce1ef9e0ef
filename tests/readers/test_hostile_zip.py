"""Hostile and damaged `.keras` zips through the public call: one named status each, and nothing else suffers."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest

from tests import crafted
from tests.conftest import DATA
from tests.readers.test_hostile_hdf5 import TIMEOUT, Run, ingest

WEIGHTS, CONFIG, METADATA = "model.weights.h5", "config.json", "metadata.json"
METHOD, CRC, PACKED_SIZE, SIZE, OFFSET, FLAGS = 10, 16, 20, 24, 42, 8
"""Where the fields stand in a record of a zip's central directory."""

Members = dict[str, bytes]


def honest(folder: Path) -> Members:
    return crafted.keras_members(folder)


def with_fields(name: str, **fields: bytes) -> Callable[[Path], None]:
    """A zip whose directory lies about one member."""
    places = {"method": METHOD, "crc": CRC, "packed": PACKED_SIZE, "size": SIZE, "offset": OFFSET, "flags": FLAGS}

    def write(path: Path) -> None:
        crafted.keras_zip(path, list(honest(path.parent).items()))
        for field, value in fields.items():
            crafted.patch_directory(path, name, places[field], value)

    return write


def with_member(name: str, data: bytes, method: int = zipfile.ZIP_STORED) -> Callable[[Path], None]:
    """A zip in which one member is another, or one more."""

    def write(path: Path) -> None:
        crafted.keras_zip(path, list((honest(path.parent) | {name: data}).items()), method)

    return write


def bomb(name: str, mebibytes: int, declared: int) -> Callable[[Path], None]:
    """A member that inflates to `mebibytes` MiB of zeros and declares `declared` bytes."""

    def write(path: Path) -> None:
        stream = crafted.zeros_stream(mebibytes)[2:-4]  # without zlib's header and checksum
        crafted.keras_zip(path, list((honest(path.parent) | {name: stream}).items()))
        crafted.patch_directory(path, name, METHOD, zipfile.ZIP_DEFLATED.to_bytes(2, "little"))
        crafted.patch_directory(path, name, SIZE, declared.to_bytes(4, "little"))

    return write


def duplicate(path: Path) -> None:
    members = honest(path.parent)
    crafted.keras_zip(path, [*members.items(), (WEIGHTS, b"another")])


def overlapping(path: Path) -> None:
    """The weights are said to begin where the metadata do."""
    crafted.keras_zip(path, list(honest(path.parent).items()))
    crafted.patch_directory(path, WEIGHTS, OFFSET, (0).to_bytes(4, "little"))


def without_weights(path: Path) -> None:
    crafted.keras_zip(path, [(name, data) for name, data in honest(path.parent).items() if name != WEIGHTS])


def nested(path: Path) -> None:
    """A whole .keras as the weights of a .keras."""
    inner = path.with_suffix(".inner")
    crafted.keras_zip(inner, list(honest(path.parent).items()))
    with_member(WEIGHTS, inner.read_bytes())(path)


def truncated(path: Path) -> None:
    crafted.keras_zip(path, list(honest(path.parent).items()))
    path.write_bytes(path.read_bytes()[:-40])


def weights_made_by(make: Callable[..., None], *arguments: Path) -> Callable[[Path], None]:
    """A zip whose weights are a hostile HDF5 file."""

    def write(path: Path) -> None:
        inner = path.with_suffix(".made")
        make(inner, *arguments)
        with_member(WEIGHTS, inner.read_bytes())(path)

    return write


REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "size_past_the_end": (with_fields(WEIGHTS, size=b"\xf0\xff\xff\x7f", packed=b"\xf0\xff\xff\x7f"), "do not fit"),
    "sizes_that_differ": (with_fields(WEIGHTS, size=b"\x00\x00\x10\x00"), "do not fit"),
    "encrypted": (with_fields(WEIGHTS, flags=b"\x01\x00"), "encrypted"),
    "odd_method": (with_fields(WEIGHTS, method=b"\x63\x00"), "compressed by method 99"),
    "duplicate": (duplicate, "two members named"),
    "overlapping": (overlapping, "cannot open it"),
    "config_not_deflated": (with_fields(CONFIG, method=b"\x08\x00"), CONFIG),
    "config_with_wrong_sum": (with_fields(CONFIG, crc=b"\x00\x00\x00\x00"), CONFIG),
    "config_bomb": (bomb(CONFIG, 1024, 1 << 30), "config.json declares 1,073,741,824 bytes"),
    "config_bomb_that_lies": (bomb(CONFIG, 1024, 100), CONFIG),
    "metadata_bomb": (bomb(METADATA, 1024, 1 << 30), "metadata.json declares"),
    "weights_bomb": (bomb(WEIGHTS, 2048, 2 << 30), "model.weights.h5 declares 2,147,483,648 bytes"),
    "weights_bomb_that_lies": (bomb(WEIGHTS, 2048, 1000), WEIGHTS),
    "without_weights": (without_weights, "holds no model.weights.h5"),
    "empty_weights": (with_member(WEIGHTS, b""), "cannot open"),
    "nested": (nested, "cannot open"),
    "truncated": (truncated, "zip"),
    "shape_bomb": (weights_made_by(crafted.shape_bomb), "declared but not stored"),
    "hdf5_bomb": (weights_made_by(crafted.gzip_bomb), "unpacks to too much"),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("zips")
    paths = []
    for name, (make, _) in REFUSED.items():
        paths.append(folder / f"{name}.keras")
        make(paths[-1])
    return ingest(folder, paths)


@pytest.mark.parametrize("name", REFUSED)
def test_bad_zip_ends_in_one_named_status(run: Run, name: str) -> None:
    assert REFUSED[name][1] in run.said(name)
    assert run.model(name).status == "failed"


def test_all_of_them_take_bounded_time(run: Run) -> None:
    assert run.seconds < 2 * TIMEOUT
    assert not any("took longer" in run.said(model.model) for model in run.result.models)


def test_links_out_of_a_member_are_not_followed(tmp_path: Path) -> None:
    target = crafted.fifo(tmp_path / "target")
    makers = (crafted.external_link, crafted.external_link_behind_a_slash, crafted.external_storage)
    paths = []
    for number, make in enumerate((*makers, crafted.virtual_dataset)):
        paths.append(tmp_path / f"m{number}.keras")
        weights_made_by(make, target)(paths[-1])
    run = ingest(tmp_path, paths)
    assert {run.model(f"m{number}").status for number in range(len(paths))} == {"failed"}
    assert run.seconds < TIMEOUT


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_honest_zip_with_members_that_lead_outside(tmp_path: Path, method: int) -> None:
    """Nothing is unpacked by a member's name, so names with `..` or a root are only names."""
    folder = tmp_path / "deep" / "models"
    folder.mkdir(parents=True)
    members = honest(folder) | {"../../escaped.txt": b"x", "/tmp_escaped.txt": b"x", "assets/\x1b[31m": b"x"}
    crafted.keras_zip(folder / "m.keras", list(members.items()), method)
    before = sorted(tmp_path.rglob("*"))
    run = ingest(folder, [folder / "m.keras"])
    assert run.model("m").status == "ok"
    assert len(run.rows("m")) == 2
    assert set(tmp_path.rglob("*")) - set(before) == {folder / "good.h5", folder / "out.parquet"}


def test_odd_configs_cost_the_meaning_not_the_weights(tmp_path: Path) -> None:
    config = crafted.config_of()
    odd = {
        "not_json": "not JSON",
        "empty": "",
        "deep": "[" * 100_000,
        "deep_inside": config.replace('"relu"', "[" * 5000 + "]" * 5000),
        "list": "[]",
        "null": "null",
        "surrogate": config.replace('"relu"', r'"\ud800"'),
        "surrogate_name": config.replace('"d"', r'"\udcff"'),
        "nan": config.replace("2", "NaN"),
        "no_layers": config.replace('"layers"', '"strata"'),
        "layers_of_numbers": '{"class_name": "Sequential", "config": {"layers": [1, null, "x", [], {}]}}',
        "class_of_numbers": config.replace('"Dense"', "{}"),
        "large_number": config.replace("2", "9" * 5000),
    }
    for name, text in odd.items():
        with_member(CONFIG, text.encode())(tmp_path / f"{name}.keras")
    with_member(CONFIG, b"\xff\xfe\x00{")(tmp_path / "not_utf8.keras")
    names = [*odd, "not_utf8"]
    run = ingest(tmp_path, [tmp_path / f"{name}.keras" for name in names])
    for name in names:
        assert run.model(name).status in ("ok", "partial"), run.said(name)
        assert len(run.rows(name)) == 2, name


def test_lambda_code_stays_text(tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    with_member(CONFIG, crafted.config_of(crafted.lambda_layer(marker)).encode())(tmp_path / "evil.keras")
    run = ingest(tmp_path, [tmp_path / "evil.keras"])
    assert run.model("evil").status == "ok"
    assert not marker.exists()


def test_truncated_at_many_lengths(tmp_path: Path) -> None:
    seed = (DATA / "keras3" / "cnn.keras").read_bytes()
    paths = []
    for part in (0.001, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 0.9999):
        paths.append(tmp_path / f"{len(paths)}.keras")
        paths[-1].write_bytes(seed[: int(part * len(seed))])
    run = ingest(tmp_path, paths)
    assert {model.status for model in run.result.models if model.model != "good"} == {"failed"}


def test_keras_suffix_on_hdf5_and_the_other_way_round(tmp_path: Path) -> None:
    """The content decides."""
    crafted.keras_h5(tmp_path / "legacy.keras", crafted.config_of())
    with_member(CONFIG, crafted.config_of().encode())(tmp_path / "zip.h5")
    run = ingest(tmp_path, [tmp_path / "legacy.keras", tmp_path / "zip.h5"])
    assert (run.model("legacy").format, run.model("zip").format) == ("keras-h5", "keras-v3")
    assert not h5py.is_hdf5(tmp_path / "zip.h5")
