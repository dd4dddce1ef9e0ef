"""Pack the folders that the other scripts wrote into one zip each, which is what the tests read.

    python tests/data/make/pack.py

HDF5 spends so much on empty space that the models take ten times as much room unpacked. Entries carry one fixed
date, so that the same models give the same zip.
"""

import zipfile
from pathlib import Path

DATA = Path(__file__).resolve().parents[1]

for folder in ("keras3", "tfkeras215", "fresh"):
    with zipfile.ZipFile(DATA / f"{folder}.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in sorted((DATA / folder).iterdir()):
            entry = zipfile.ZipInfo(f"{folder}/{path.name}", (2026, 1, 1, 0, 0, 0))
            archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED, 9)
