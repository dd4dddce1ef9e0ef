"""The guard around code that is not ours: readers, hooks, and whatever yields the values of a model in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from wexport.errors import WexportError


class ForeignError(Exception):
    """What code of somebody else raised, in words: "TypeError: ..."; `cause` is what it raised."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(f"{type(cause).__name__}: {cause}")
        self.cause = cause


@contextmanager
def foreign_code(*, passing: tuple[type[BaseException], ...] = (WexportError, MemoryError)) -> Iterator[None]:
    """Turn whatever the block raises into a ForeignError, for the caller to tell whose fault it is and to go on.

    Foreign code may raise anything, and try to exit. Ctrl-C and the end of a generator pass as they are, and so does
    what is in `passing`: by default our own errors, which say it better, and want of memory, which is nobody's fault.
    """
    passed: tuple[type[BaseException], ...] = (GeneratorExit, KeyboardInterrupt, *passing)
    try:
        yield
    except passed:
        raise
    except BaseException as error:
        raise ForeignError(error) from None
