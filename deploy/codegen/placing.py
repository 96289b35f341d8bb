"""Blocks that must not overlap are given offsets such that their end is as low as can be found.

The problem is NP-hard; several orders of first fit are tried, then the blocks at the top are moved
forward in the order, until the lower bound is met or the tries are used up. The same blocks always
get the same offsets.

Belongs here: offsets. Does not belong here: which blocks may overlap (`liveness.py`).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Block", "place"]

_TRIES = 400
# Above this many blocks a try is too slow to make many of them.
_MANY_BLOCKS = 200


@dataclass(frozen=True)
class Block:
    """A piece of memory to place.

    Args:
        size_bytes: Its length, a multiple of the alignment.
        first: When it is first needed; only the order of blocks depends on it.
        last: When it is last needed; the same.
        beside: Numbers of the blocks that it must not overlap.
    """

    size_bytes: int
    first: int
    last: int
    beside: frozenset[int]


def place(blocks: Sequence[Block], least_bytes: int) -> tuple[list[int], int]:
    """Find offsets.

    Args:
        blocks: What is placed.
        least_bytes: No placing can need less: the search stops there.

    Returns:
        An offset per block, and the end of the highest block.
    """
    numbers = range(len(blocks))
    orders = [
        sorted(numbers, key=lambda i: (-blocks[i].size_bytes, blocks[i].first)),
        sorted(numbers, key=lambda i: (-blocks[i].size_bytes, -i)),
        sorted(numbers, key=lambda i: (blocks[i].first, -blocks[i].size_bytes)),
        sorted(numbers, key=lambda i: (-blocks[i].last, -blocks[i].size_bytes)),
        sorted(numbers, key=lambda i: -_weight(blocks, i)),
        sorted(
            numbers, key=lambda i: -blocks[i].size_bytes * (1 + blocks[i].last - blocks[i].first)
        ),
    ]
    found = [(*_first_fit(blocks, order), order) for order in orders]
    offsets, end, order = min(found, key=lambda one: one[1])
    chance = random.Random(0)
    for _ in range(_TRIES if len(blocks) <= _MANY_BLOCKS else 0):
        if end <= least_bytes:
            break
        tried = _moved(blocks, offsets, end, order, chance)
        new_offsets, new_end = _first_fit(blocks, tried)
        # Orders of equal end are taken too: they lead out of dead ends.
        if new_end <= end:
            offsets, end, order = new_offsets, new_end, tried
    return offsets, end


def _weight(blocks: Sequence[Block], number: int) -> int:
    """A block's length with all that lies beside it."""
    return blocks[number].size_bytes + sum(blocks[i].size_bytes for i in blocks[number].beside)


def _moved(
    blocks: Sequence[Block],
    offsets: Sequence[int],
    end: int,
    order: Sequence[int],
    chance: random.Random,
) -> list[int]:
    """The order with a block at the top, or beside it, moved forward, and two others exchanged."""
    top = [i for i in order if offsets[i] + blocks[i].size_bytes == end]
    near = [i for one in top for i in sorted(blocks[one].beside)]
    moved = chance.choice(top if not near or chance.random() < 0.5 else near)
    tried = [i for i in order if i != moved]
    tried.insert(chance.randrange(max(1, order.index(moved))), moved)
    if chance.random() < 0.3:
        a, b = chance.randrange(len(tried)), chance.randrange(len(tried))
        tried[a], tried[b] = tried[b], tried[a]
    return tried


def _first_fit(blocks: Sequence[Block], order: Sequence[int]) -> tuple[list[int], int]:
    """Each block in turn at the lowest offset that is free for it."""
    offsets = [-1] * len(blocks)
    end = 0
    for number in order:
        block, offset = blocks[number], 0
        taken = sorted(
            (offsets[i], offsets[i] + blocks[i].size_bytes) for i in block.beside if offsets[i] >= 0
        )
        for start, stop in taken:
            if start - offset >= block.size_bytes:
                break
            offset = max(offset, stop)
        offsets[number] = offset
        end = max(end, offset + block.size_bytes)
    return offsets, end
