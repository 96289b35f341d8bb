"""RAM of one node: the arena that TensorFlow Lite Micro fills on a 32-bit core."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Arena:
    """Memory of one node's flatbuffer in TensorFlow Lite Micro, in bytes.

    Args:
        head_bytes: Activations and scratch buffers; nodes of one allocator share the largest.
        tail_bytes: What stays allocated for as long as the node is in use.
        tenant_tail_bytes: The tail when the node is not the first in its allocator, whose own
            objects it then shares.
        planning_bytes: The peak while memory is planned, tail included; larger than head and tail
            together for nodes with a small head.
        minimum_bytes: What must be reserved for this node alone.
        error_percent: Band (low, high) of `minimum_bytes` against what TensorFlow Lite Micro needs.
        basis: How the figures were found.
    """

    head_bytes: int
    tail_bytes: int
    tenant_tail_bytes: int
    planning_bytes: int
    minimum_bytes: int
    error_percent: tuple[float, float]
    basis: str
