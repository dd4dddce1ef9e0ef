"""A stretch of a file as a file of its own."""

from __future__ import annotations

import io
import os
from typing import Any, BinaryIO


class FileSlice(io.RawIOBase):
    """A stretch of a file as a file of its own: reads only, never outside."""

    def __init__(self, file: BinaryIO | FileSlice, start: int, size: int) -> None:
        super().__init__()
        self.base: BinaryIO
        self.start: int
        self.size: int
        if isinstance(file, FileSlice):  # of the file itself, so that it can be mapped into memory
            self.base, self.start, self.size = file.base, file.start + start, max(0, min(size, file.size - start))
        else:
            self.base, self.start, self.size = file, start, size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        count = self.read_into_at(self._position, view)
        self._position += count
        return count

    def read_into_at(self, offset: int, buffer: memoryview) -> int:
        """Fill `buffer` from `offset` on; returns how many bytes there were."""
        count = max(0, min(len(buffer), self.size - offset))
        self.base.seek(self.start + offset)
        done = 0
        while done < count:
            got = self.base.readinto(buffer[done:count])  # type: ignore[attr-defined]  # a raw FileIO
            if not got:
                break
            done += got
        return done
