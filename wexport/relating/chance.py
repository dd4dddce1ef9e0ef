"""The similarity that alignment finds where there is none: to a model whose values are shuffled within each tensor."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np

from wexport.relating.figures import similarity
from wexport.relating.results import Floats
from wexport.relating.weight_matching import LARGE, Matcher, applied

DRAWS = 5
"""How often values are shuffled."""
MARGIN = 1.03
"""Of large models they are shuffled once, and this is how far above that chance is taken to reach: between draws of two
ResNet50 it varied by less than 0.01 of itself."""


def null_similarity(
    matcher: Matcher, one: Sequence[Floats], other: Sequence[Floats | None], counted: Sequence[bool],
    kernels: Sequence[bool],
) -> float | None:  # fmt: skip
    """The upper end of the similarity of `one` to shuffled values of `other`, as `Matcher.best` aligns them.

    matcher: of the two models as they are. None where no kernel has a partner.
    """
    is_large = matcher.values > LARGE
    drawn = []
    for draw in range(1 if is_large else DRAWS):
        rng = np.random.default_rng([draw, 16])
        shuffled = [None if x is None else rng.permutation(x.ravel()).reshape(x.shape) for x in other]
        order = Matcher(matcher.graph, one, shuffled, counted, like=matcher).best()
        there = [n for n, x in enumerate(shuffled) if x is not None]
        ordered = (applied(matcher.graph, n, x, order) for n, x in enumerate(shuffled) if x is not None)
        drawn.append(similarity([one[n] for n in there], ordered, [kernels[n] for n in there]))
    known = [value for value in drawn if value is not None]
    return max(known) * (MARGIN if is_large else 1.0) if known else None


class Later:
    """What is worked out by a thread of its own while this one goes on; who is interrupted need not wait for it."""

    def __init__(self, work: Callable[[], float | None]) -> None:
        self._work = work
        self._found: float | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._found = self._work()
        except BaseException as error:  # raised where the result is asked for
            self._error = error

    def result(self) -> float | None:
        """Wait for it. Raises what the work raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._found
