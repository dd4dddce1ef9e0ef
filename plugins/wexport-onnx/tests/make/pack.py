"""Packs what the other scripts wrote: python pack.py FOLDER, which writes ../models.zip."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

with zipfile.ZipFile(
    Path(__file__).parent.parent / "models.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9
) as archive:
    for path in sorted(Path(sys.argv[1]).iterdir()):
        archive.writestr(zipfile.ZipInfo(path.name), path.read_bytes(), zipfile.ZIP_DEFLATED)
