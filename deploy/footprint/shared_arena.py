"""Several nodes in one allocator: one head that they use in turn, and a tail of each.

Belongs here: what paths of nodes need together, and which seams have to be copied because more than
one node still reads them. Does not belong here: the memory of one node (`arena.py`), or what a
firmware needs outside its arena (`footprint.py`).

The order on the device: nodes are allocated as the bundle lists them, trunk first. Every task's
path is run from the trunk on; where paths part, the tensor they part at is copied out of the arena
once, since the next node's activations overwrite it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from deploy.footprint.arena import ARENA_ALIGNMENT, NodeMemory, round_up
from quantize.bundle import Node


@dataclass(frozen=True)
class SharedArena:
    """The arena of several nodes in one allocator, in bytes.

    Args:
        head_bytes: The largest head; every other node fits into it.
        tail_bytes: The tails of all nodes, and the allocator's own objects once.
        planning_bytes: What allocating the nodes needs beyond head and tail for a moment; 0 where
            the head is large enough.
        largest: Index of the node with the largest head.
        activation_bytes: The largest head without the weights that are decoded into it.
        largest_activations: Index of the node that it belongs to.
    """

    head_bytes: int
    tail_bytes: int
    planning_bytes: int
    largest: int
    activation_bytes: int
    largest_activations: int

    @property
    def used_bytes(self) -> int:
        """Head and tail, which is what the allocator says it uses."""
        return self.head_bytes + self.tail_bytes

    @property
    def minimum_bytes(self) -> int:
        """What must be reserved, in an array aligned to 16 bytes."""
        return round_up(self.used_bytes + self.planning_bytes, ARENA_ALIGNMENT)


@lru_cache(maxsize=4096)
def share_arena(memories: tuple[NodeMemory, ...], shared_bytes: int) -> SharedArena:
    """Return the arena of `memories`.

    Args:
        memories: One per node, at least one, in the order in which they are allocated: a node whose
            allocation needs much temporary memory costs less when it comes early.
        shared_bytes: Objects that all nodes of an allocator share.
    """
    tail, most = shared_bytes, 0
    for memory in memories:
        most = max(most, memory.planning_bytes(tail))
        tail = memory.tail_bytes(tail)
    heads = [memory.head_bytes for memory in memories]
    planning = max(0, most - max(heads) - tail)
    activations = [memory.head_bytes - memory.decoded_bytes for memory in memories]
    return SharedArena(
        head_bytes=max(heads),
        tail_bytes=tail,
        planning_bytes=planning,
        largest=heads.index(max(heads)),
        activation_bytes=max(activations),
        largest_activations=activations.index(max(activations)),
    )


def seam_copies(
    paths: Iterable[Sequence[str]], nodes: Mapping[str, Node]
) -> tuple[dict[str, int], int]:
    """Return the seams to copy, and the bytes that the copies take.

    Args:
        paths: The paths of all tasks that are run one after another on one input.
        nodes: The nodes by name.

    Returns:
        By node, the bytes of its output where paths part; and the bytes of the copies needed at
        once: along one path they add up, and different paths use the same place in turn.
    """
    followers: dict[tuple[str, ...], set[str]] = {}
    for path in map(tuple, paths):
        for length in range(1, len(path)):
            followers.setdefault(path[:length], set()).add(path[length])
    parting = {prefix for prefix, names in followers.items() if len(names) > 1}
    sizes = {prefix: _copy_bytes(nodes[prefix[-1]]) for prefix in parting}
    at_once = [
        sum(size for prefix, size in sizes.items() if leaf[: len(prefix)] == prefix)
        for leaf in parting
    ]
    by_node = {prefix[-1]: size for prefix, size in sorted(sizes.items())}
    return by_node, max(at_once, default=0)


def _copy_bytes(node: Node) -> int:
    """Bytes of a node's int8 output."""
    return round_up(math.prod(node.output.shape), ARENA_ALIGNMENT)
