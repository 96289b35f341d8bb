"""One option per node under a limit of bytes, least loss first: the multiple-choice knapsack.

Pure arithmetic over tables. The options come with bytes and losses that simply add up; what really
is measured of a combination is the search's affair (`search.py`).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

MOST_POINTS = 20_000
"""Points kept of a bound's frontier. Beyond that it is made coarser, which costs steps, never the
exactness."""


@dataclass(frozen=True)
class Option:
    """One form of one node.

    Args:
        name: What it is called; unique among the node's options.
        rom_bytes: What it takes, at least 0.
        loss: What it loses, in any unit that adds up; may be negative.
    """

    name: str
    rom_bytes: int
    loss: float


@dataclass(frozen=True)
class Combination:
    """One option of every node.

    Args:
        names: The options' names, in the order of the nodes.
        rom_bytes: Their sum of bytes.
        loss: Their sum of losses.
    """

    names: tuple[str, ...]
    rom_bytes: int
    loss: float


def combinations(options: Sequence[Sequence[Option]], limit_bytes: int) -> Iterator[Combination]:
    """Yield every combination of at most `limit_bytes`, the one of least loss first.

    Best-first search (A*). The bound of an unfinished combination is exact: the least loss of the
    nodes that remain within the bytes that remain, read off their Pareto frontier of bytes and
    loss. So no combination is visited that does not lead to the next one yielded, but where a
    frontier had to be made coarser.

    Args:
        options: Per node its options, at least one.
        limit_bytes: What all of them together may take.
    """
    frontiers = _frontiers(options, limit_bytes)
    serial = 0  # of equal bounds, the combination that was found first
    heap: list[tuple[float, int, float, int, tuple[int, ...]]] = []
    if frontiers[0].least_loss(limit_bytes) is not None:
        heap.append((0.0, serial, 0.0, 0, ()))
    while heap:
        _, _, loss, used_bytes, chosen = heapq.heappop(heap)
        place = len(chosen)
        if place == len(options):
            names = tuple(options[node][index].name for node, index in enumerate(chosen))
            yield Combination(names, used_bytes, loss)
            continue
        for index, option in enumerate(options[place]):
            now_bytes = used_bytes + option.rom_bytes
            rest = frontiers[place + 1].least_loss(limit_bytes - now_bytes)
            if rest is not None:
                serial += 1
                now = loss + option.loss
                heapq.heappush(heap, (now + rest, serial, now, now_bytes, (*chosen, index)))


def smallest(options: Sequence[Sequence[Option]]) -> Combination:
    """Return the combination of the fewest bytes, of the least loss among equals."""
    chosen = [min(node, key=lambda option: (option.rom_bytes, option.loss)) for node in options]
    return Combination(
        tuple(option.name for option in chosen),
        sum(option.rom_bytes for option in chosen),
        sum(option.loss for option in chosen),
    )


@dataclass(frozen=True)
class _Frontier:
    """The least loss that some nodes can have, by the bytes that they may take.

    Args:
        rom_bytes: int64 (points,), rising.
        losses: float64 (points,), falling.
    """

    rom_bytes: np.ndarray
    losses: np.ndarray

    def least_loss(self, free_bytes: int) -> float | None:
        """Return the least loss within `free_bytes`, or None where nothing is so small."""
        place = int(np.searchsorted(self.rom_bytes, free_bytes, side="right")) - 1
        return float(self.losses[place]) if place >= 0 else None


def _frontiers(options: Sequence[Sequence[Option]], limit_bytes: int) -> list[_Frontier]:
    """Return for every place the frontier of the nodes from there on, and an empty one last."""
    found = [_Frontier(np.zeros(1, np.int64), np.zeros(1))]
    for node in reversed(options):
        behind = found[-1]
        own_bytes = np.array([option.rom_bytes for option in node], np.int64)
        own_losses = np.array([option.loss for option in node])
        found.append(
            _pareto(
                (own_bytes[:, None] + behind.rom_bytes).ravel(),
                (own_losses[:, None] + behind.losses).ravel(),
                limit_bytes,
            )
        )
    return found[::-1]


def _pareto(rom_bytes: np.ndarray, losses: np.ndarray, limit_bytes: int) -> _Frontier:
    """Keep the points that no other beats in both, within the limit."""
    within = rom_bytes <= limit_bytes
    rom_bytes, losses = rom_bytes[within], losses[within]
    order = np.lexsort((losses, rom_bytes))
    rom_bytes, losses = rom_bytes[order], losses[order]
    before = np.concatenate([[np.inf], np.minimum.accumulate(losses)])[:-1]
    better = losses < before
    rom_bytes, losses = rom_bytes[better], losses[better]
    step = -(-len(losses) // MOST_POINTS) if len(losses) else 1
    if step > 1:  # a group gets its fewest bytes and its least loss: a bound from below
        last = np.minimum(np.arange(step - 1, len(losses) + step - 1, step), len(losses) - 1)
        rom_bytes, losses = rom_bytes[::step], losses[last]
    return _Frontier(rom_bytes, losses)
