"""Trees of models by average linkage, and the order of their leaves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Merge:
    """Two clusters that become one, `height` apart. Leaves are 0 to n - 1, the cluster of merge k is n + k."""

    left: int
    right: int
    height: float


def average_linkage(distance: Floats) -> list[Merge]:
    """Average linkage (UPGMA: Sokal and Michener, 1958) of a symmetric matrix of distances.

    NaN is not a distance: the distance of two clusters is the mean over the pairs that have one, and clusters of which
    no pair has one are not merged, so that there may be several trees.
    """
    count = len(distance)
    known = np.isfinite(distance) & ~np.eye(count, dtype=bool)
    totals, pairs = np.where(known, distance, 0.0), known.astype(np.float64)
    mean = np.full_like(totals, np.inf)
    np.divide(totals, pairs, out=mean, where=known)
    names, heights = list(range(count)), dict.fromkeys(range(count), 0.0)
    merges: list[Merge] = []
    while count > 1:
        a, b = sorted(divmod(int(mean.argmin()), len(mean)))
        if not np.isfinite(mean[a, b]):
            break
        # Without some of the pairs a mean may be below the means within; the tree does not turn back.
        height = max(float(mean[a, b]), heights[names[a]], heights[names[b]])
        merges.append(Merge(names[a], names[b], height))
        for sums in (totals, pairs):
            sums[a] += sums[b]
            sums[:, a] = sums[a]
            sums[a, a] = 0
        row = np.full(len(mean), np.inf)
        np.divide(totals[a], pairs[a], out=row, where=pairs[a] > 0)
        mean[b], mean[:, b] = np.inf, np.inf
        totals[b], totals[:, b], pairs[b], pairs[:, b] = 0, 0, 0, 0
        row[[a, b]] = np.inf
        mean[a] = mean[:, a] = row
        names[a] = len(distance) + len(merges) - 1
        heights[names[a]] = height
        count -= 1
    return merges


def leaves(merges: list[Merge], count: int, cluster: int | None = None) -> list[int]:
    """The leaves of a cluster from one side of its tree to the other; of all trees, the larger ones first."""
    if cluster is None:
        inner = {side for merge in merges for side in (merge.left, merge.right)}
        trees = [leaves(merges, count, root) for root in range(count + len(merges)) if root not in inner]
        return [leaf for tree in sorted(trees, key=lambda tree: (-len(tree), tree[0])) for leaf in tree]
    found, waiting = [], [cluster]
    while waiting:
        here = waiting.pop()
        if here < count:
            found.append(here)
        else:
            waiting += [merges[here - count].right, merges[here - count].left]
    return found


def branches(merges: list[Merge], count: int, wanted: int) -> list[list[int]]:
    """The leaves of the clusters that are left when the highest merges are undone, as few as give `wanted` clusters."""
    trees = count - len(merges)
    kept = merges[: len(merges) - max(0, wanted - trees)]
    inner = {side for merge in kept for side in (merge.left, merge.right)}
    roots = [root for root in range(count + len(kept)) if root not in inner]
    place = {leaf: number for number, leaf in enumerate(leaves(merges, count))}
    return sorted((leaves(merges, count, root) for root in roots), key=lambda found: place[found[0]])


def draw(merges: list[Merge], count: int, ax: Axes) -> LineCollection:
    """Draw the trees onto axes, growing to the right from leaves at y = 0, 1, ... in the order of `leaves`."""
    place = {leaf: (0.0, float(number)) for number, leaf in enumerate(leaves(merges, count))}
    lines = []
    for number, merge in enumerate(merges):
        (x_left, y_left), (x_right, y_right) = place[merge.left], place[merge.right]
        lines.append([(x_left, y_left), (merge.height, y_left), (merge.height, y_right), (x_right, y_right)])
        place[count + number] = (merge.height, (y_left + y_right) / 2)
    made = LineCollection(lines, colors="#333333", linewidths=0.9)
    ax.add_collection(made, autolim=False)
    highest = max((merge.height for merge in merges), default=0.0)
    ax.set_xlim(0, 1.05 * highest or 1.0)
    return made
