"""A figure split into its causes, as a tree: ROM to flatbuffer parts and operators, RAM, time.

Values and their layout as plain lines; what a cause costs is only read here, never estimated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from deploy.footprint.latency import Latency
from deploy.report.table import shortened
from deploy.units import format_microseconds
from deploy.usage import Part
from deploy.verdict import Verdict
from quantize.bundle import Bundle
from quantize.flatbuffer import anatomy

# Columns that names and amounts take at least, so that neighbouring trees stand below each other.
_USUAL_NAME, _USUAL_AMOUNT = 29, 9


@dataclass(frozen=True)
class Cause:
    """What takes some of a whole, and what it consists of in turn.

    Args:
        name: The cause.
        amount: Bytes or microseconds.
        causes: What it consists of; empty, or summing to `amount`.
    """

    name: str
    amount: float
    causes: tuple[Cause, ...] = ()


def flatbuffer_parts(bundle: Bundle) -> dict[str, dict[str, int]]:
    """By node, the bytes of its flatbuffer by category; they sum to its size."""
    return {name: anatomy(node.data) for name, node in bundle.nodes.items()}


def rom(verdict: Verdict, flatbuffers: Mapping[str, Mapping[str, int]]) -> Cause:
    """ROM: nodes and the parts of each flatbuffer, kernels by operator, runtime core, reserve.

    Args:
        verdict: A check.
        flatbuffers: As of `flatbuffer_parts`.
    """
    usage, found = verdict.rom, verdict.footprint
    nodes = tuple(
        Cause(part.name, part.size_bytes, _causes(flatbuffers[part.name]))
        for part in usage.parts
        if part.group == "nodes"
    )
    parts = [
        _part(part, found.runtime.by_operator) for part in usage.parts if part.group != "nodes"
    ]
    if nodes:
        parts.append(Cause("nodes", usage.group_bytes("nodes"), nodes))
    return Cause("ROM", usage.used_bytes, tuple(parts))


def _part(part: Part, by_operator: Mapping[str, int]) -> Cause:
    is_kernels = (part.group, part.name) == ("runtime", "kernels")
    return Cause(part.name, part.size_bytes, _causes(by_operator) if is_kernels else ())


def ram(verdict: Verdict) -> Cause:
    """RAM by cause."""
    parts = tuple(Cause(part.name, part.size_bytes) for part in verdict.ram.parts)
    return Cause("RAM", verdict.ram.used_bytes, parts)


def arenas(verdict: Verdict) -> Cause:
    """The arena to reserve for all paths, one at a time, and each path alone; no sums."""
    found = verdict.footprint
    paths = tuple(Cause(f"{one.name} alone", one.arena_bytes) for one in found.tasks.values())
    ways = {
        "all": Cause("all paths at once", found.all_paths_arena_bytes),
        "one": Cause("one path at a time", found.one_path_arena_bytes, paths),
    }
    return Cause("arena of this check", ways[found.allocate].amount, tuple(ways.values()))


def times(latency: Latency) -> tuple[Cause, Cause]:
    """A time by node and by operator."""
    return (
        Cause("time by node", latency.microseconds, _causes(latency.by_node)),
        Cause("time by operator", latency.microseconds, _causes(latency.by_operator)),
    )


def _causes(amounts: Mapping[str, float]) -> tuple[Cause, ...]:
    return tuple(Cause(name, amount) for name, amount in amounts.items())


def lines(
    whole: Cause,
    width: int,
    *,
    is_time: bool = False,
    is_sum: bool = True,
    has_root: bool = False,
) -> Iterator[str]:
    """Lay a tree out, the largest first on every level.

    Args:
        whole: The root.
        width: Most columns; longer names are shortened.
        is_time: Whether amounts are microseconds instead of bytes.
        is_sum: Whether causes sum to what they cause, so that each is a share of the whole.
        has_root: Whether the root has a line too.

    Yields:
        A line per cause that takes something: name, amount, percent of the whole.
    """
    shown: Callable[[float], str] = format_microseconds if is_time else "{:,.0f}".format
    rows = list(_rows(whole, "", "", is_sum))[0 if has_root else 1 :]
    amounts = [shown(cause.amount) for _, cause in rows]
    amount_width = max([_USUAL_AMOUNT, *map(len, amounts)])
    room = width - amount_width - (10 if is_sum else 2)
    name_width = min(room, max([_USUAL_NAME, *(len(label) for label, _ in rows)]))
    for (label, cause), amount in zip(rows, amounts, strict=True):
        share = f"  {100 * cause.amount / whole.amount:5.1f}%" if is_sum and whole.amount else ""
        yield f"{shortened(label, name_width):{name_width}}  {amount:>{amount_width}}{share}"


def _rows(cause: Cause, mine: str, below: str, is_sum: bool) -> Iterator[tuple[str, Cause]]:
    """Every cause with its name behind the branches of the tree."""
    yield f"{mine}{cause.name}", cause
    causes = [one for one in cause.causes if one.amount]
    if is_sum:
        causes.sort(key=lambda one: -one.amount)
    for number, one in enumerate(causes, 1):
        is_last = number == len(causes)
        branch, stem = ("`-- ", "    ") if is_last else ("|-- ", "|   ")
        yield from _rows(one, below + branch, below + stem, is_sum)
