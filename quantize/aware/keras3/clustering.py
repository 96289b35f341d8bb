"""Few values per output channel: one-dimensional k-means over all the channels of a kernel at once.

Belongs here: the choice of the values and which weight takes which. Does not belong here: how the
values are trained (`kernels.py`: a weight is its centroid, looked up).

"Deep Compression" (arXiv:1510.00149, section 3) shares values over a layer and starts them evenly
over its range. Here every output channel has its own, since that is what the lookup tables of the
stored form have, and of two starts, even and by quantiles, each channel keeps the better.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from quantize.aware.keras3.kernels import Kernel

_MOST_ITERATIONS = 50


def cluster(kernels: Sequence[Kernel], bits: int) -> None:
    """Let every kernel have few values per channel from now on.

    In a kernel that was pruned zero is one of them, and it is not trained. A kernel whose channels
    have no more weights than values stays as it is.

    Args:
        kernels: The kernels.
        bits: 2 to 4; a channel has at most 2**bits values.
    """
    for kernel in kernels:
        weights = kernel.matrix(kernel.numpy())
        if len(weights) <= 2**bits:
            continue
        if kernel.mask is None:
            counted, values = np.ones(weights.shape, bool), 2**bits
        else:
            counted, values = kernel.matrix(kernel.mask.numpy()), 2**bits - 1
        kernel.set_clusters(*k_means(weights, counted, values))


def k_means(weights: np.ndarray, counted: np.ndarray, values: int) -> tuple[np.ndarray, np.ndarray]:
    """Find each channel's values of least squared error, by Lloyd's iterations.

    Args:
        weights: float32 (weights of a channel, channels).
        counted: bool of the same shape; False where a weight does not count, as a pruned one.
        values: Values per channel, at least 1.

    Returns:
        The values, float32 (values, channels), ascending; and which of them each weight takes, int
        of the shape of `weights`.
    """
    starts = _even_start(weights, counted, values), _quantile_start(weights, counted, values)
    results = [_lloyd(weights, counted, start) for start in starts]
    errors = [
        np.where(counted, weights - np.take_along_axis(found, taken, axis=0), 0)
        for found, taken in results
    ]
    better = (errors[1] ** 2).sum(0) < (errors[0] ** 2).sum(0)  # (channels,)
    centroids = np.where(better, results[1][0], results[0][0])
    return centroids.astype(np.float32), np.where(better, results[1][1], results[0][1])


def _even_start(weights: np.ndarray, counted: np.ndarray, values: int) -> np.ndarray:
    """Return values evenly spaced from the least to the greatest weight, ends included."""
    lowest = np.where(counted, weights, np.inf).min(0)
    highest = np.where(counted, weights, -np.inf).max(0)
    lowest, highest = (np.where(np.isfinite(end), end, 0.0) for end in (lowest, highest))
    shares = np.linspace(0, 1, values)[:, None]
    return lowest + shares * (highest - lowest)


def _quantile_start(weights: np.ndarray, counted: np.ndarray, values: int) -> np.ndarray:
    """Return values that stand for equally many weights each."""
    ordered = np.sort(np.where(counted, weights, np.inf), axis=0)
    counts = counted.sum(0)  # (channels,)
    shares = (np.arange(values) + 0.5)[:, None] / values
    places = np.minimum((shares * counts).astype(int), np.maximum(counts - 1, 0))
    return np.where(counts > 0, np.take_along_axis(ordered, places, axis=0), 0.0)


def _lloyd(
    weights: np.ndarray, counted: np.ndarray, start: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return values and assignment once they no longer change; a value without weights stays."""
    centroids = start.astype(np.float64)
    channels = weights.shape[1]
    taken = _nearest(weights, centroids)
    for _ in range(_MOST_ITERATIONS):
        places = (taken * channels + np.arange(channels))[counted]
        sums = np.bincount(places, weights[counted], centroids.size).reshape(centroids.shape)
        counts = np.bincount(places, minlength=centroids.size).reshape(centroids.shape)
        centroids = np.sort(np.where(counts > 0, sums / np.maximum(counts, 1), centroids), axis=0)
        before, taken = taken, _nearest(weights, centroids)
        if (before == taken).all():
            break
    return centroids, taken


def _nearest(weights: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Return which of each channel's ascending values is nearest to each weight."""
    taken = np.zeros(weights.shape, np.int64)
    for boundary in (centroids[1:] + centroids[:-1]) / 2:
        taken += weights > boundary
    return taken
