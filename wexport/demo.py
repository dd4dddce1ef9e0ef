"""The example models that ship with wexport: small, really trained, and each worth a look."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from wexport.errors import UsageError
from wexport.files import outputs
from wexport.replacing import written


def write(folder: Path, *, overwrite: bool = False) -> list[str]:
    """Copy the example models into a folder, made if need be; returns the names of the files.

    overwrite: replace files of their names. Raises UsageError if the folder holds others of their names without it.
    """
    with resources.as_file(resources.files("wexport") / "examples") as examples:
        names = sorted(path.relative_to(examples).as_posix() for path in examples.rglob("*") if path.is_file())
        due = [name for name in names if not _is_same(folder / name, examples / name)]
        outputs.claim_all([folder / name for name in due], outputs.EXAMPLE, overwrite=overwrite, option="folder")
        try:
            for name in due:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                with written(folder / name) as file:
                    file.write((examples / name).read_bytes())
        except OSError as error:
            raise UsageError(f"{folder}: cannot be written: {error.strerror}") from None
    return names


def _is_same(path: Path, example: Path) -> bool:
    return path.is_file() and path.read_bytes() == example.read_bytes()
