"""Text that is safe to show, and numbers and sizes as people read them."""

from __future__ import annotations

import unicodedata


def safe(text: object) -> str:
    """Text without control and direction characters, which could move the cursor or hide what stands there."""
    return "".join(
        character
        if unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Cn")
        else "\N{REPLACEMENT CHARACTER}"
        for character in str(text)
    )


def figure(value: float | None) -> str:
    """A figure to four significant digits; empty when undefined."""
    return "" if value is None else f"{value:.4g}"


def size(count: int) -> str:
    """Bytes in the unit that suits them."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    raise AssertionError


def counted(number: int, noun: str) -> str:
    """A number and its noun, grouped by thousands: 1 model, 12 models.

    >>> counted(1, "model"), counted(1200, "model")
    ('1 model', '1,200 models')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
