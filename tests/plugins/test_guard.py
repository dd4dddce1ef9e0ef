"""The guard around foreign code: what passes, and what is told."""

from __future__ import annotations

import pytest

from wexport.errors import ReadError
from wexport.plugins.guard import ForeignError, foreign_code


@pytest.mark.parametrize("raised", [ValueError("no"), SystemExit(3), RecursionError("deep"), OSError("gone")])
def test_whatever_foreign_code_raises_is_told_in_words(raised: BaseException) -> None:
    with pytest.raises(ForeignError, match=f"^{type(raised).__name__}: {raised}$") as error, foreign_code():
        raise raised
    assert error.value.cause is raised


@pytest.mark.parametrize("raised", [KeyboardInterrupt(), GeneratorExit(), MemoryError(), ReadError("ours")])
def test_what_is_nobodys_fault_or_ours_passes(raised: BaseException) -> None:
    with pytest.raises(type(raised)) as error, foreign_code():
        raise raised
    assert error.value is raised


def test_want_of_memory_is_the_codes_own_where_the_caller_says_so() -> None:
    with pytest.raises(ForeignError, match="MemoryError"), foreign_code(passing=()):
        raise MemoryError
