"""The arena over one task's path, as figures: steps, buffers, tails, limit and peak.

Steps of the path's nodes follow one another; each node's head begins at the same place, the start
of the arena. Drawing it is in `arena_chart.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from deploy.footprint import Footprint, NodeFootprint
from deploy.footprint.cores import CoreError
from deploy.footprint.shared_arena import seam_copies
from deploy.footprint.timeline import INPUT_STEP, NodeTimeline, PlacedBuffer, node_timeline
from deploy.units import format_bytes
from deploy.verdict import Verdict


@dataclass(frozen=True)
class Column:
    """One step of the path.

    Args:
        node: The node that runs.
        label: Its operator, or what happens otherwise.
        live_bytes: Sum of the buffers that are needed.
        top_bytes: Where the highest of them ends.
        is_first: Whether the node's run begins with it.
    """

    node: str
    label: str
    live_bytes: int
    top_bytes: int
    is_first: bool = False


@dataclass(frozen=True)
class Block:
    """One buffer, over the steps in which it lives.

    Args:
        kind: "activation", "seam" (a node's input or output), "decoded" (weights), "scratch",
            "unused", or "whole" for a node of which only the size of its head is known.
        text: What it holds.
        first_column: The first of its columns.
        columns: How many.
        offset_bytes: Where it begins.
        size_bytes: Its size.
    """

    kind: str
    text: str
    first_column: int
    columns: int
    offset_bytes: int
    size_bytes: int


@dataclass(frozen=True)
class Tail:
    """What one node keeps at the end of the arena.

    Args:
        node: The node.
        size_bytes: What it keeps, the allocator's own objects counted with the first node.
        is_on_path: Whether this task's path uses the node.
    """

    node: str
    size_bytes: int
    is_on_path: bool


@dataclass(frozen=True)
class ArenaPicture:
    """The arena of one check over one task's path.

    Args:
        task: The task.
        columns: Its steps.
        blocks: Its buffers.
        tails: By node, in the order of allocation.
        head_bytes: The largest head of the nodes that are allocated.
        arena_bytes: What is reserved: head, tails, and what planning and alignment add.
        limit_bytes: What the check's RAM limit leaves for the arena; may be below 0.
    """

    task: str
    columns: tuple[Column, ...]
    blocks: tuple[Block, ...]
    tails: tuple[Tail, ...]
    head_bytes: int
    arena_bytes: int
    limit_bytes: int

    @property
    def peak_column(self) -> int:
        """The first of the columns that reach highest with the most bytes in use."""
        keys = [(one.top_bytes, one.live_bytes) for one in self.columns]
        return keys.index(max(keys))

    @property
    def planning_bytes(self) -> int:
        """What lies between head and tails: for planning, and by alignment."""
        return self.arena_bytes - self.head_bytes - sum(tail.size_bytes for tail in self.tails)


def arena_picture(verdict: Verdict, task: str) -> ArenaPicture:
    """Return the arena over the path of `task`, as the check allocates it."""
    found = verdict.footprint
    path = found.tasks[task].path
    allocated = tuple(found.nodes) if found.allocate == "all" else tuple(dict.fromkeys(path))
    columns: list[Column] = []
    blocks: list[Block] = []
    for name in path:
        timeline = _timeline(verdict, name)
        first = len(columns)
        if timeline is None:
            columns.append(_whole(found.nodes[name]))
            text = f"all of {name}, {found.nodes[name].arena.basis}"
            blocks.append(Block("whole", text, first, 1, 0, columns[-1].top_bytes))
        else:
            columns += _columns(name, timeline)
            blocks += [_block(name, one, timeline, first) for one in timeline.buffers]
    tails = tuple(
        Tail(name, _tail_bytes(found.nodes[name], index == 0), name in path)
        for index, name in enumerate(allocated)
    )
    head = max(found.nodes[name].arena.head_bytes for name in allocated)
    arena = max(_arena_bytes(verdict, task), head + sum(tail.size_bytes for tail in tails))
    limit = verdict.ram.usable_bytes - (verdict.ram.used_bytes - _checked_bytes(verdict, arena))
    return ArenaPicture(task, tuple(columns), tuple(blocks), tails, head, arena, limit)


def _timeline(verdict: Verdict, name: str) -> NodeTimeline | None:
    """The steps of a node; None where they are not known, or tell another size than the footprint.

    A footprint need not come from the models of this package, and the picture follows it.
    """
    found = verdict.footprint
    try:
        timeline = node_timeline(
            verdict.bundle.nodes[name].data, found.board.core, found.kernels, found.board.fpu
        )
    except CoreError:
        return None
    is_same = timeline is not None and timeline.head_bytes == found.nodes[name].arena.head_bytes
    return timeline if is_same else None


def _columns(name: str, timeline: NodeTimeline) -> list[Column]:
    return [
        Column(
            name,
            _step_name(step, timeline),
            timeline.live_bytes(step),
            timeline.top_bytes(step),
            is_first=step == timeline.steps.start,
        )
        for step in timeline.steps
    ]


def _step_name(step: int, timeline: NodeTimeline) -> str:
    if step > INPUT_STEP:
        return timeline.operators[step - 1]
    return "input" if step == INPUT_STEP else "never used"


def _whole(node: NodeFootprint) -> Column:
    head = node.arena.head_bytes
    return Column(node.name, "whole node", head, head, is_first=True)


def _block(name: str, one: PlacedBuffer, timeline: NodeTimeline, first_column: int) -> Block:
    kind = {"between": "activation", "input": "seam", "output": "seam"}.get(one.role, one.role)
    start = one.first_step - timeline.steps.start
    return Block(
        kind,
        _text(name, one, timeline),
        first_column + start,
        one.last_step - one.first_step + 1,
        one.offset_bytes,
        one.size_bytes,
    )


def _text(name: str, one: PlacedBuffer, timeline: NodeTimeline) -> str:
    operator = "" if one.operator is None else timeline.operators[one.operator]
    what = {
        "input": f"input of {name}",
        "output": f"output of {name}",
        "between": f"output of {operator}",
        "decoded": f"weights decoded by {operator}",
        "scratch": f"scratch memory of {operator}",
        "unused": "a tensor that no operator touches",
    }[one.role]
    shape = f", {' x '.join(map(str, one.shape))}" if one.shape else ""
    called = f" ({one.name})" if one.name else ""
    steps = f"step {one.first_step}" + f" to {one.last_step}" * (one.last_step > one.first_step)
    return f"{what}{called}{shape}: {format_bytes(one.size_bytes)} at {one.offset_bytes:,}, {steps}"


def _tail_bytes(node: NodeFootprint, is_first: bool) -> int:
    return node.arena.tail_bytes if is_first else node.arena.tenant_tail_bytes


def _arena_bytes(verdict: Verdict, task: str) -> int:
    """The arena as the footprint has it, without the copies of seams, which lie outside of it."""
    found = verdict.footprint
    if found.allocate != "all":
        return found.tasks[task].arena_bytes
    paths = [one.path for one in found.tasks.values()]
    return found.all_paths_arena_bytes - seam_copies(paths, verdict.bundle.nodes)[1]


def _checked_bytes(verdict: Verdict, arena_bytes: int) -> int:
    """The arena that the check counts: with one path at a time, that of the largest path."""
    found: Footprint = verdict.footprint
    if found.allocate == "all":
        return arena_bytes
    return max(path.arena_bytes for path in found.tasks.values())


def nice_step(most: float, count: int) -> int:
    """Return a power of two, such that at most `count` of it make up `most`; at least 16."""
    return max(16, 2 ** math.ceil(math.log2(max(1.0, most / count))))
