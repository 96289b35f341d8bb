"""Where TensorFlow Lite Micro places tensors and scratch buffers in the head of its arena.

A copy, in effect, of `GreedyMemoryPlanner::CalculateOffsetsIfNeeded`
(tensorflow/lite/micro/memory_planner/greedy_memory_planner.cc, revision 90b983c2): the largest
buffer first, each at the lowest gap among the buffers alive at the same time. Which buffers there
are and how long they live is decided in `arena.py`; what lies where at each step is told by
`timeline.py`.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class PlannedBuffer:
    """A buffer of the head and the steps in which it is needed, both ends included.

    Args:
        size_bytes: Its size, a multiple of the arena's alignment.
        first_step: Step in which it is first written.
        last_step: Step in which it is last read.
        tensor: Index of the tensor that it holds, None for scratch memory.
    """

    size_bytes: int
    first_step: int
    last_step: int
    tensor: int | None = None


def plan_bytes(buffers: Sequence[PlannedBuffer]) -> int:
    """Return the size of the head that holds all of `buffers`.

    Args:
        buffers: In the order in which they are added to the planner.
    """
    offsets = plan_offsets(buffers)
    return max(
        (offset + one.size_bytes for offset, one in zip(offsets, buffers, strict=True)), default=0
    )


def plan_offsets(buffers: Sequence[PlannedBuffer]) -> tuple[int, ...]:
    """Return where each of `buffers` begins, in bytes from the start of the head.

    Args:
        buffers: In the order in which they are added to the planner.
    """
    # Buffers are sorted by size only, and of equal ones the last added comes first.
    order = sorted(range(len(buffers)), key=lambda i: (-buffers[i].size_bytes, -i))
    # (offset, order of placement, buffer): those of one offset stay in the order of placement.
    placed: list[tuple[int, int, int]] = []
    for turn, index in enumerate(order):
        insort(placed, (_offset(buffers[index], placed, buffers), turn, index))
    offsets = {index: offset for offset, _, index in placed}
    return tuple(offsets[index] for index in range(len(buffers)))


def _offset(
    wanted: PlannedBuffer,
    placed: Sequence[tuple[int, int, int]],
    buffers: Sequence[PlannedBuffer],
) -> int:
    """The lowest offset at which `wanted` fits between the buffers alive with it."""
    candidate = 0
    for offset, _, index in placed:
        other = buffers[index]
        if other.first_step > wanted.last_step or wanted.first_step > other.last_step:
            continue
        if offset - candidate >= wanted.size_bytes:
            break
        candidate = max(candidate, offset + other.size_bytes)
    return candidate
