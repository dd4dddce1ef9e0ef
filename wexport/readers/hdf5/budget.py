"""What reading one HDF5 file may cost, and whether what it declares can be true."""

from __future__ import annotations

from dataclasses import dataclass

from wexport.errors import BudgetError

MAX_UNBACKED_BYTES = 256 << 20
"""How many bytes a file may declare that nothing on disk stands behind."""
DEFLATE_RATIO = 1032
"""deflate's own upper bound: one bit stands for at most 129 bytes."""


@dataclass
class Budget:
    """What one file may cost to read; shared by all its datasets.

    disk_bytes: what the file takes on disk. file_bytes: the size of the HDF5 file, larger if it lay packed in a zip.
    decoded: bytes decoded so far.
    packed: bytes that its compressed datasets declare to unpack to, so far.
    stored: bytes that its datasets say to occupy, so far.
    unbacked: declared bytes so far that nothing on disk stands behind.
    """

    disk_bytes: int
    file_bytes: int
    decoded: int = 0
    packed: int = 0
    stored: int = 0
    unbacked: int = 0

    @property
    def limit(self) -> int:
        """Bytes a file may decode to: 1 GiB, and 200 for each byte on disk."""
        return (1 << 30) + 200 * self.disk_bytes

    def spend(self, count: int, where: str) -> None:
        """Account for `count` more decoded bytes; raises BudgetError past the limit."""
        self.decoded += count
        if self.decoded > self.limit:
            raise BudgetError(
                f"{where}: decoding went past {self.limit:,} bytes for a file of {self.disk_bytes:,}",
                hint="a file that unpacks to so much more than it holds is refused; save it uncompressed to read it",
            )

    def refusal(self, size: int, stored: int, packed: bool) -> tuple[str, str] | None:
        """Account for a dataset of `size` bytes that says to occupy `stored`; what is wrong with it, and why, or None.

        What datasets say to occupy cannot be more than the file in sum, however they point at the same bytes. One
        that is refused counts no further: the others are still worth having.
        """
        unbacked = max(0, size - (stored * DEFLATE_RATIO if packed else stored))
        if self.stored + stored > self.file_bytes:
            return "storage used twice", f"with its {stored:,} bytes, more is said to be stored than the file holds"
        if unbacked and self.unbacked + unbacked > MAX_UNBACKED_BYTES:
            return "declared but not stored", f"declares {size:,} bytes where the file stores {stored:,}"
        if packed and self.packed + size > self.limit:
            what = f"would unpack to {size:,} bytes, past the {self.limit:,} that a file of {self.disk_bytes:,} may"
            return "unpacks to too much", what
        self.stored += stored
        self.unbacked += unbacked
        self.packed += size if packed else 0
        return None
