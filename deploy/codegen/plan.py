"""One static plan for all activations of all paths in one buffer.

A seam is one piece of memory for its producer and its consumers; an operator's output lies over its
dying input where the kernel allows it; a path's tensors share the buffer with those of every other
path, and with `keep_seams` what several paths go on from stays until the last has run.

Belongs here: the plan. Does not belong here: lifetimes (`liveness.py`) and the search for offsets
(`placing.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deploy.codegen.compiled import PlannedTensor
from deploy.codegen.liveness import (
    Content,
    Key,
    Paths,
    Storages,
    kept_prefixes,
    path_contents,
    staged,
)
from deploy.codegen.placing import Block, place
from deploy.codegen.program import CodegenError, NodeProgram

__all__ = ["ALIGNMENT", "BUFFER_ALIGNMENT", "Plan", "make_plan"]

ALIGNMENT = 4
"""Of every activation and scratch buffer, in bytes: kernels read words of four codes."""

BUFFER_ALIGNMENT = 16
"""Of the whole buffer."""


@dataclass(frozen=True)
class Plan:
    """Where everything lies.

    Args:
        nodes: The nodes, some with a last step that brings their output into place.
        offsets: By value, and by scratch buffer (node, -1 - step): bytes from the buffer's start.
        buffer_bytes: The buffer's length.
        kept: Beginnings of paths after which other tasks may go on.
        least_bytes: What is held at the fullest moment: no plan of these storages needs less.
    """

    nodes: dict[str, NodeProgram]
    offsets: dict[Key, int]
    buffer_bytes: int
    kept: frozenset[tuple[str, ...]]
    least_bytes: int

    @property
    def functions(self) -> frozenset[str]:
        """The kernels that are called, and what their parameters point to."""
        steps = [step for node in self.nodes.values() for step in node.steps]
        return frozenset(name for step in steps for name in step.functions)

    def tensors(self) -> tuple[PlannedTensor, ...]:
        """Every activation and scratch buffer, node by node."""
        return tuple(
            tensor for node in self.nodes.values() for tensor in _tensors(node, self.offsets)
        )


def make_plan(nodes: Mapping[str, NodeProgram], paths: Paths, keep_seams: bool) -> Plan:
    """Plan the memory of some paths.

    Args:
        nodes: All nodes of the paths.
        paths: Node names by task.
        keep_seams: Whether, after one path has run, the branches of others may run on what it left.

    Returns:
        The plan.

    Raises:
        CodegenError: Two nodes of a path do not fit together.
    """
    if not paths:
        raise CodegenError("`paths` must hold a path, received none. Name a task.")
    nodes = _with_staging(dict(nodes), paths)
    prefixes = kept_prefixes(paths, _producers(nodes, paths)) if keep_seams else frozenset()
    found = []
    for turn in (1, -1, 0):
        storages = Storages(
            nodes, [path_contents(path, nodes, prefixes) for path in paths.values()]
        )
        _join_in_place(storages, nodes, turn)
        blocks, least = _blocks(storages)
        found.append((*place(blocks, least), storages, least))
    offsets, end, storages, least = min(found, key=lambda one: one[1])
    by_storage = dict(zip(storages.all(), offsets, strict=True))
    return Plan(
        nodes,
        {key: by_storage[storages.of(key)] for key in storages.keys()},  # noqa: SIM118
        -(-end // BUFFER_ALIGNMENT) * BUFFER_ALIGNMENT,
        prefixes,
        least,
    )


def _with_staging(nodes: dict[str, NodeProgram], paths: Paths) -> dict[str, NodeProgram]:
    """The nodes, those staged that would write a seam while they still read it."""
    done: set[str] = set()
    while True:
        contents = [path_contents(path, nodes) for path in paths.values()]
        name = Storages(nodes, contents).clash()
        if name is None:
            return nodes
        if name in done:
            raise CodegenError(
                f"node '{name}': a seam that is free when it is written is expected: its paths tie "
                "inputs and outputs in a ring. Use --runtime tflm."
            )
        done.add(name)
        nodes[name] = staged(nodes[name])


def _producers(nodes: Mapping[str, NodeProgram], paths: Paths) -> dict[str, int]:
    """By node, how many nodes write the storage of its output when nothing is done in place."""
    storages = Storages(nodes, [path_contents(path, nodes) for path in paths.values()])
    seams = {name: storages.of((name, node.output)) for name, node in nodes.items()}
    return {name: list(seams.values()).count(seam) for name, seam in seams.items()}


def _join_in_place(storages: Storages, nodes: Mapping[str, NodeProgram], turn: int) -> None:
    """Let outputs lie over dying inputs: the first that allows it (1), the last (-1), none (0)."""
    for name, node in nodes.items():
        for step in node.steps:
            if turn == 0 or len(step.writes) != 1:
                continue
            for value in step.in_place[::turn]:
                if storages.join((name, value), (name, step.writes[0])):
                    break


def _blocks(storages: Storages) -> tuple[list[Block], int]:
    """The storages as blocks, and the most bytes that are held at one time."""
    names = storages.all()
    sizes = [-(-storages.size_bytes(name) // ALIGNMENT) * ALIGNMENT for name in names]
    beside: list[set[int]] = [set() for _ in names]
    held = [storages.held(name) for name in names]
    least = 0
    for path in range(len(storages.contents)):
        spans = [(content, i) for i, one in enumerate(held) for content in one[path]]
        for moment in {content.first for content, _ in spans}:
            alive = {i for content, i in spans if content.first <= moment <= content.last}
            least = max(least, sum(sizes[i] for i in alive))
            for i in alive:
                beside[i] |= alive
    blocks = [
        Block(size, *_span(one), frozenset(others - {i}))
        for i, (size, one, others) in enumerate(zip(sizes, held, beside, strict=True))
    ]
    return blocks, least


def _span(held: Sequence[Sequence[Content]]) -> tuple[int, int]:
    contents = [content for path in held for content in path]
    return min(c.first for c in contents), max(c.last for c in contents)


def _tensors(node: NodeProgram, offsets: Mapping[Key, int]) -> list[PlannedTensor]:
    first, last = {node.input: -1}, {node.input: -1}
    for index, step in enumerate(node.steps):
        for value in step.writes:
            first.setdefault(value, index)
        for value in (*step.reads, *step.writes):
            last[value] = index
    last[node.output] = len(node.steps)
    tensors = [
        PlannedTensor(
            node.name,
            _label(node, number),
            offsets[node.name, number],
            node.values[number].size_bytes,
            first[number],
            last[number],
        )
        for number in first
    ]
    return tensors + [
        PlannedTensor(
            node.name,
            step.scratch.label,
            offsets[node.name, -1 - i],
            step.scratch_bytes,
            i,
            i,
        )
        for i, step in enumerate(node.steps)
        if step.scratch_bytes
    ]


def _label(node: NodeProgram, number: int) -> str:
    if number == node.input:
        return "input"
    return "output" if number == node.output else node.values[number].label
