"""What a caller of `ingest` may choose."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from wexport.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to ingest.

    detail: "full", or "summary" without sample, grid and units, for mailing.
    spectral: singular values of kernels and what follows from them, in the column `extra`.
    optimizer: rows for the optimizer's state too.
    external_data: read values that a file says stand in others, if these lie in its own folder.
    append: add to the table, replacing models that were read from the same file before.
    prune: leave out what is left of files that are gone, or of models that have other names now.
    name: how models are named, see `inputs.model_names`.
    root: what their names are relative to, absolute; None for what all files of a call have in common.
    series: regular expression with groups `step` and `run`, for checkpoints whose names say it their own way.
    reader: the reader to use for every file.
    plugins: paths of Python files with plugins.
    shard: "i/n": of all models this part alone, chosen by their names.
    jobs: child processes; None is one per core, fewer if memory is short.
    timeout: seconds that one file may take; None is 30, and more for what it has on disk: one for each 10 MB, and of
        its first 32 MiB one for each 40 kB; it is ended sooner if nothing is heard of it.
    memory: bytes that reading one file may take; None is 112 MiB, and 16 for each of its own, up to 256 MiB more.
    """

    detail: str = "full"
    spectral: bool = False
    optimizer: bool = False
    external_data: bool = False
    append: bool = False
    prune: bool = False
    name: str | None = None
    root: str | None = None
    series: str | None = None
    reader: str | None = None
    plugins: tuple[str, ...] = ()
    shard: str | None = None
    jobs: int | None = None
    timeout: float | None = None
    memory: int | None = None

    def checked(self) -> Options:
        """Itself. Raises UsageError for a value that makes no sense."""
        self.takes("")
        if self.detail not in ("full", "summary"):
            raise UsageError(f"detail {self.detail!r} is neither 'full' nor 'summary'")
        if self.jobs is not None and self.jobs < 1:
            raise UsageError(f"jobs {self.jobs} is less than 1")
        if self.memory is not None and self.memory < 1 << 20:
            raise UsageError(f"memory {self.memory} is too few bytes to read a file with", hint="e.g. --memory 1GiB")
        if self.timeout is not None and not self.timeout > 0:
            raise UsageError(f"timeout {self.timeout} is not a positive number of seconds")
        return self

    def takes(self, model: str) -> bool:
        """Whether a model is of this shard: always the same one of n, whatever other models there are.

        Raises UsageError for a shard that is not "i/n".
        """
        if self.shard is None:
            return True
        first, slash, last = self.shard.partition("/")
        number, count = (int(text) if text.isascii() and text.isdigit() else 0 for text in (first, last))
        if not slash or not 1 <= number <= count:
            raise UsageError(
                f"shard {self.shard!r} is not one of several, such as 1/8", hint="--shard 1/8 to --shard 8/8"
            )
        return zlib.crc32(model.encode("utf-8", "surrogateescape")) % count == number - 1
