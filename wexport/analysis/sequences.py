"""Which items of two lists go together, given how much speaks for each pair; and by how much that is the best answer.

Scores are in nats of evidence, 0 where two items cannot be the same. What another answer explains as well stays without
a partner: the margin of a pair is the score of the best answer less that of the best one without the pair.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float32]
Pair = tuple[int, int, float]
"""Positions in the two lists, and the margin."""

MARGIN = 1.0
"""Nats by which a pair must be better than the next best explanation."""
MOST_CELLS = 1 << 24
"""Scores of a table, at most: 64 MiB for each of the few tables of an alignment."""


def confidence(margin: float) -> float:
    """The margin as odds: 0.5 for none, 0.95 for 3 nats, never quite 1.

    >>> confidence(0.0), round(confidence(3.0), 2)
    (0.5, 0.95)
    """
    return 1 / (1 + math.exp(-min(margin, 30.0)))


def aligned(scores: Scores) -> list[Pair]:
    """Pairs that keep the order of both lists, the sum of their scores the largest; those of enough margin.

    scores: (items of one, items of the other). Gaps cost nothing (Needleman and Wunsch 1970 with a gap penalty of 0, so
    that a row follows from the one before by a running maximum).
    """
    rows, columns = scores.shape
    if not rows or not columns:
        return []
    before = _best_before(scores)
    after = _best_before(scores[::-1, ::-1])[::-1, ::-1]
    total = float(before[-1, -1])
    found = []
    for row in range(rows):
        # The best answers that pair this row with each column, and the best that leaves it alone.
        through = np.where(scores[row] > 0, before[row, :-1] + scores[row] + after[row + 1, 1:], 0)
        alone = float((before[row] + after[row + 1]).max())
        column = int(through.argmax())
        best = float(through[column])
        through[column] = 0
        margin = min(total - alone, total - float(through.max(initial=0.0)))
        if best >= total - 1e-3 and margin >= MARGIN:
            found.append((row, column, margin))
    return found


def _best_before(scores: Scores) -> Scores:
    """The best sum over the first items of either list, by how many are taken of each."""
    best = np.zeros((scores.shape[0] + 1, scores.shape[1] + 1), np.float32)
    for row, line in enumerate(scores):
        here = best[row + 1]
        here[1:] = np.maximum(best[row, 1:], np.where(line > 0, best[row, :-1] + line, 0))
        np.maximum.accumulate(here, out=here)
    return best


def assigned(scores: Scores) -> list[Pair]:
    """Pairs in any order: each the other's best by a margin. What is taken leaves room for what was second."""
    rows, columns = np.arange(scores.shape[0]), np.arange(scores.shape[1])
    left = scores
    found: list[Pair] = []
    while left.size:
        row_best, row_next = _two_best(left)
        column_best, column_next = _two_best(left.T)
        one = left.argmax(axis=1)
        mutual = (row_best > 0) & (column_best[one] == row_best)
        margin = np.minimum(row_best - row_next, (column_best - column_next)[one])
        new = np.flatnonzero(mutual & (margin >= MARGIN))
        if not len(new):
            break
        found += [(int(rows[i]), int(columns[one[i]]), float(margin[i])) for i in new]
        taken = one[new]
        left = np.delete(np.delete(left, new, axis=0), taken, axis=1)
        rows, columns = np.delete(rows, new), np.delete(columns, taken)
    return found


def _two_best(scores: Scores) -> tuple[Scores, Scores]:
    """The largest and the second largest of each row, 0 where there is none."""
    if scores.shape[1] < 2:
        return scores.max(axis=1, initial=0), np.zeros(len(scores), np.float32)
    two = np.partition(scores, -2, axis=1)[:, -2:]
    return two[:, 1], two[:, 0]
