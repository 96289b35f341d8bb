"""Which tensors are kept, and where their copies lie: the places where paths part.

The bytes are those that `deploy.footprint.shared_arena.seam_copies` counts: along one path copies
lie behind one another, different paths use the same bytes in turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deploy.footprint.arena import ARENA_ALIGNMENT, round_up


@dataclass(frozen=True)
class Copy:
    """A place for a kept tensor.

    Args:
        prefix: The nodes from the trunk to the one whose output is kept.
        offset: In bytes, from the start of the copies.
        bytes: Room that it takes, a multiple of 16.
        parent: Index of the copy before it on the path, -1 for none.
    """

    prefix: tuple[str, ...]
    offset: int
    bytes: int
    parent: int


def kept_copies(
    paths: Sequence[Sequence[str]], output_bytes: Mapping[str, int]
) -> tuple[Copy, ...]:
    """Return the copies that `paths` need, each after its parent.

    Args:
        paths: The paths of all tasks.
        output_bytes: By node, the bytes of its output.
    """
    followers: dict[tuple[str, ...], set[str]] = {}
    for path in map(tuple, paths):
        for length in range(1, len(path)):
            followers.setdefault(path[:length], set()).add(path[length])
    parting = sorted(
        (prefix for prefix, names in followers.items() if len(names) > 1),
        key=lambda prefix: (len(prefix), prefix),
    )
    copies: list[Copy] = []
    for prefix in parting:
        before = [i for i, one in enumerate(copies) if prefix[: len(one.prefix)] == one.prefix]
        parent = before[-1] if before else -1
        offset = copies[parent].offset + copies[parent].bytes if before else 0
        room = round_up(output_bytes[prefix[-1]], ARENA_ALIGNMENT)
        copies.append(Copy(prefix, offset, room, parent))
    return tuple(copies)


def copy_bytes(copies: Sequence[Copy]) -> int:
    """Return the bytes that all copies need at once."""
    return max((one.offset + one.bytes for one in copies), default=0)
