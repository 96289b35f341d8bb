"""Arithmetic on shapes: how elements are reached by strides over at most four axes.

Belongs here: strides, blocks and broadcasting. Does not belong here: operators.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["broadcast_strides", "merge_axes", "row_major"]

_AXES = 4


def row_major(shape: Sequence[int]) -> list[int]:
    """Elements from one index of each axis to the next."""
    return [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]


def merge_axes(sizes: Sequence[int], *strides: Sequence[int]) -> tuple[tuple[int, ...], ...] | None:
    """Write a walk over any axes as one over four.

    Axes of size 1 are dropped, and neighbours that every walk passes without a jump become one.

    Args:
        sizes: Of the axes.
        *strides: One walk each, as long as `sizes`.

    Returns:
        Four sizes, then the four strides of each walk, unused axes first; None where four axes do
        not do.
    """
    axes = [(size, *steps) for size, *steps in zip(sizes, *strides, strict=True) if size != 1]
    merged: list[tuple[int, ...]] = []
    for size, *steps in axes:
        if merged and all(
            outer == size * inner for outer, inner in zip(merged[-1][1:], steps, strict=True)
        ):
            merged[-1] = (merged[-1][0] * size, *steps)
        else:
            merged.append((size, *steps))
    if len(merged) > _AXES:
        return None
    unused = (1,) + (0,) * len(strides)
    padded = [unused] * (_AXES - len(merged)) + merged
    return tuple(zip(*padded, strict=True))


def broadcast_strides(shape: Sequence[int], target: Sequence[int]) -> list[int] | None:
    """How an input of `shape` is read for an output of `target`: a stride of 0 repeats.

    Returns:
        A stride for each axis of `target`; None where the shapes do not fit.
    """
    padded = [1] * (len(target) - len(shape)) + list(shape)
    if len(padded) != len(target):
        return None
    if any(size not in (1, wanted) for size, wanted in zip(padded, target, strict=True)):
        return None
    steps = row_major(padded)
    return [0 if size == 1 else step for size, step in zip(padded, steps, strict=True)]
