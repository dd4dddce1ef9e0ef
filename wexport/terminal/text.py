"""Text that is safe to show, and numbers and sizes as people read them."""

from __future__ import annotations

import re
import unicodedata

_STEERING = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
"""Unicode's categories of control, direction and format characters, separators of lines, and what is no character."""
_FORMULA = re.compile(
    "[=@\N{FULLWIDTH EQUALS SIGN}\N{FULLWIDTH COMMERCIAL AT}]|[-+](?![\\w.,% ]*(?: [-+][\\w.,% ]*)*$)|"
    "[\N{FULLWIDTH PLUS SIGN}\N{FULLWIDTH HYPHEN-MINUS}]"
)
"""How a text begins that a spreadsheet takes for a formula; a number with words behind it does nothing."""


def safe(text: object) -> str:
    """Text without control and direction characters, which could move the cursor or hide what stands there."""
    shown = str(text)
    if shown.isprintable():  # of none of these categories, and the quicker question
        return shown
    return "".join(
        character if unicodedata.category(character) not in _STEERING else "\N{REPLACEMENT CHARACTER}"
        for character in shown
    )


def in_spreadsheet(text: object) -> str:
    """Text that is safe to show, and that a spreadsheet takes for text: before what may be a formula stands a '.

    >>> in_spreadsheet("=1+1"), in_spreadsheet("-0.5 to 2")
    ("'=1+1", '-0.5 to 2')
    """
    shown = safe(text)
    return f"'{shown}" if _FORMULA.match(shown.lstrip()) else shown


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
