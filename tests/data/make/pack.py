"""Pack the folders that the other scripts wrote into one zip each, which is what the tests read.

    python tests/data/make/pack.py

HDF5 spends so much on empty space that the models take ten times as much room unpacked. Entries carry one fixed
date, so that the same models give the same zip.
"""

import zipfile
from pathlib import Path

DATA = Path(__file__).resolve().parents[1]

FOLDERS = ("keras3", "tfkeras215", "fresh", "one_model", "torch_layouts")

for folder in FOLDERS:
    if not (DATA / folder).is_dir():
        continue  # it was not made anew
    with zipfile.ZipFile(DATA / f"{folder}.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in sorted(path for path in (DATA / folder).rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(path.relative_to(DATA).as_posix(), (2026, 1, 1, 0, 0, 0))
            archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED, 9)
