"""The best few values for the codes of one channel: k-means in one dimension, exactly.

Lloyd's algorithm depends on where it starts and stops short of the best. In one dimension the best
clusters are intervals, which dynamic programming finds (Wang and Song, "Ckmeans.1d.dp: Optimal
k-means Clustering in One Dimension by Dynamic Programming", The R Journal 3/2, 2011). A channel of
int8 has at most 256 distinct codes, so it takes a millisecond.

Belongs here: numbers alone. Does not belong here: where they are stored (`lookup_tables.py`).
"""

from __future__ import annotations

import numpy as np


def clustered(codes: np.ndarray, most_values: int) -> np.ndarray:
    """Replace codes by at most some distinct ones, with the least sum of squared differences.

    Args:
        codes: int8, any shape.
        most_values: At most this many distinct values, at least 1.

    Returns:
        int8 of the same shape; `codes` themselves where they have few enough distinct values.
    """
    values, places, counts = np.unique(codes, return_inverse=True, return_counts=True)
    if len(values) <= most_values:
        return codes
    nearest = _best_values(values.astype(np.int64), counts.astype(np.int64), most_values)
    return nearest[places].reshape(codes.shape).astype(np.int8)


def _best_values(values: np.ndarray, counts: np.ndarray, most_values: int) -> np.ndarray:
    """Return for every one of the sorted values the one that it becomes.

    The cost of an interval is taken with its mean rounded to an integer, as an int8 table holds it,
    in integers: so the result is the best among integers, and the same everywhere.
    """
    costs, means = _intervals(values, counts)
    size = len(values)
    # best[j]: the least cost of the values up to j in so many clusters; starts: where the last is.
    best = costs[0].copy()
    starts = [np.zeros(size, np.int64)]
    for _ in range(most_values - 1):
        # A further cluster from i to j: what stands before i, and the interval.
        totals = np.concatenate([[0], best[:-1]])[:, None] + costs
        starts.append(totals.argmin(axis=0))
        best = totals.min(axis=0)
    nearest = np.empty(size, np.int64)
    end = size
    for first in reversed(starts):
        if end > 0:
            start = int(first[end - 1])
            nearest[start:end] = means[start, end - 1]
            end = start
    return nearest


def _intervals(values: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the cost and the rounded mean of every interval of values, int64 (first, last)."""

    def sums(terms: np.ndarray) -> np.ndarray:
        running = np.concatenate([[0], np.cumsum(terms)])
        return np.asarray(running[None, 1:] - running[:-1, None])

    weight, first_moment, second = (
        sums(counts),
        sums(counts * values),
        sums(counts * values * values),
    )
    weight = np.where(weight > 0, weight, 1)  # below the diagonal nothing is an interval
    means = np.floor_divide(2 * first_moment + weight, 2 * weight)
    costs = second - 2 * means * first_moment + means * means * weight
    impossible = np.tri(len(values), k=-1, dtype=bool)
    return np.where(impossible, np.int64(1) << 40, costs), means
