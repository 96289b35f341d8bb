"""From a bundle and a board to a footprint: sums, shares and what is live when.

One rule for every shape of tree: ROM is the sum over distinct stored nodes, a task costs the sum
over its path, and a node's bytes shared out among its users sum to the ROM. The values are in
`footprint.py`, the models in `rom.py`, `ram.py` and `shared_arena.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from deploy.board import Board
from deploy.footprint.footprint import Footprint, NodeFootprint, TaskFootprint
from deploy.footprint.kernel_limits import running_kernels
from deploy.footprint.latency import latency
from deploy.footprint.latency_instructions import instructions
from deploy.footprint.notes import core_notes, node_notes, time_notes
from deploy.footprint.outside import STACK_ERROR_PERCENT, outside_arena_bytes
from deploy.footprint.ram import NodeRam, node_ram, recorded_arena_bytes
from deploy.footprint.registrations import registered_operators, split_form
from deploy.footprint.rom import RuntimeRom, runtime_rom
from deploy.footprint.shared_arena import SharedArena, seam_copies, share_arena
from quantize.bundle import Bundle, BundleTask, Node
from quantize.flatbuffer import Graph, read_graph

_PROGRAM = "the program, copied into RAM"
_EXACT = dict.fromkeys(("interpreters", "operator resolver", "globals"), (0.0, 0.0))


def footprint(
    bundle: Bundle,
    board: Board,
    tasks: Sequence[str] | None = None,
    kernels: str | None = None,
    allocate: str = "all",
) -> Footprint:
    """Return what a bundle costs on a board.

    Args:
        bundle: The bundle.
        board: The board.
        tasks: Only these tasks and the nodes that they use; None for all.
        kernels: "reference", "cmsis-nn" or "cmsis-nn-int8"; None for the best one measured for the
            board's core that runs the nodes: "cmsis-nn-int8" on Cortex-M, "reference" elsewhere.
        allocate: "all" for every path in the arena at once, "one" for only the path that runs.

    Raises:
        BundleError: A task is not one of the bundle's.
        CoreError: The kernel set is unknown, not made for the board's core, or does not run a node.
        RomError: An operator's code size is not known.
        RamError: A node's memory is not known.
    """
    chosen = bundle if tasks is None else bundle.select(tasks)
    nodes = _used_nodes(chosen)
    graphs = {name: _graph(node.data) for name, node in nodes.items()}
    kernels, kernel_notes = running_kernels(graphs, board, kernels)
    runtime = _runtime(_operators(nodes, graphs), board.core, kernels, board.fpu)
    rams = {
        name: node_ram(node.data, board.core, kernels, board.fpu, node.arena)
        for name, node in nodes.items()
    }
    shares = _shares(nodes, chosen.tasks)
    model_bytes = sum(node.rom_bytes for node in nodes.values())
    together = _arena(rams, tuple(nodes))
    copied, copy_bytes = seam_copies([task.path for task in chosen.tasks.values()], nodes)
    paths = {
        name: _timed(_task(task, nodes, rams, shares), nodes, board, kernels)
        for name, task in chosen.tasks.items()
    }
    parts = (
        _all_paths_parts(nodes, together, runtime, board, kernels, copied, copy_bytes)
        if allocate == "all"
        else _one_path_parts(rams, paths, runtime, board, kernels)
    )
    if board.runs_from_ram:
        parts[_PROGRAM] = model_bytes + runtime.rom_bytes
    parts = {cause: size for cause, size in parts.items() if size}
    return Footprint(
        board=board,
        kernels=kernels,
        tasks=paths,
        nodes={name: _node(node, rams[name], shares[name]) for name, node in nodes.items()},
        runtime=runtime,
        ram_parts=parts,
        separate_model_bytes=sum(path.model_rom_bytes for path in paths.values()),
        rom_error_percent=_rom_error(runtime, model_bytes),
        ram_error_percent=_ram_error(rams, runtime, parts),
        notes=(
            *core_notes(board, runtime),
            *kernel_notes,
            *time_notes(nodes, board, kernels),
            *node_notes(nodes, rams),
        ),
        allocate=allocate,
        all_paths_arena_bytes=together.minimum_bytes + copy_bytes,
        one_path_arena_bytes=max(path.arena_bytes for path in paths.values()),
        latency=latency(nodes, board, kernels),
    )


def _timed(
    task: TaskFootprint, nodes: Mapping[str, Node], board: Board, kernels: str
) -> TaskFootprint:
    """The task with the time and the instructions of its path."""
    path = {name: nodes[name] for name in task.path}
    return replace(
        task,
        latency=latency(path, board, kernels),
        instructions=instructions(path, board.core, kernels),
    )


def _used_nodes(bundle: Bundle) -> dict[str, Node]:
    """The nodes on the tasks' paths, in the bundle's order."""
    used = {name for task in bundle.tasks.values() for name in task.path}
    return {name: node for name, node in bundle.nodes.items() if name in used}


@lru_cache(maxsize=256)
def _graph(data: bytes) -> Graph:
    """A node's graph, read once for all boards."""
    return read_graph(data)


def _operators(nodes: Mapping[str, Node], graphs: Mapping[str, Graph]) -> frozenset[str]:
    """The operators in the forms that the graphs use; what else a node names must be known too."""
    named = {name for node in nodes.values() for name in node.operators}
    found = {name for graph in graphs.values() for name in graph.operator_names}
    return registered_operators(graphs.values()) | (named - found)


@lru_cache(maxsize=1024)
def _runtime(operators: frozenset[str], core: str, kernels: str, fpu: str) -> RuntimeRom:
    """The runtime's code, found once for all boards of one core."""
    return runtime_rom(operators, core, kernels, fpu)


def _shares(
    nodes: Mapping[str, Node], tasks: Mapping[str, BundleTask]
) -> dict[str, dict[str, int]]:
    """By node and user, an even share of the node's bytes; the first users take the remainder."""
    shares = {}
    for name, node in nodes.items():
        users = [task for task, one in tasks.items() if name in one.path]
        each, rest = divmod(node.rom_bytes, len(users))
        shares[name] = {task: each + (i < rest) for i, task in enumerate(users)}
    return shares


def _arena(rams: Mapping[str, NodeRam], names: Sequence[str]) -> SharedArena:
    """The arena of some nodes in one allocator."""
    return share_arena(tuple(rams[name].memory for name in names), rams[names[0]].shared_bytes)


def _node(node: Node, ram: NodeRam, share_bytes: dict[str, int]) -> NodeFootprint:
    return NodeFootprint(
        name=node.name,
        rom_bytes=node.rom_bytes,
        stripped_bytes=node.unstripped_bytes - node.rom_bytes,
        share_bytes=share_bytes,
        arena=ram.alone,
        recorded_arena_bytes=recorded_arena_bytes(node.data, node.arena),
    )


def _task(
    task: BundleTask,
    nodes: Mapping[str, Node],
    rams: Mapping[str, NodeRam],
    shares: Mapping[str, Mapping[str, int]],
) -> TaskFootprint:
    # A path may come to one node twice; it is stored and allocated once.
    distinct = tuple(dict.fromkeys(task.path))
    return TaskFootprint(
        name=task.name,
        path=task.path,
        model_rom_bytes=sum(nodes[name].rom_bytes for name in distinct),
        share_bytes=sum(shares[name][task.name] for name in distinct),
        arena_bytes=_arena(rams, distinct).minimum_bytes,
    )


def _all_paths_parts(
    nodes: Mapping[str, Node],
    arena: SharedArena,
    runtime: RuntimeRom,
    board: Board,
    kernels: str,
    copied: Mapping[str, int],
    copy_bytes: int,
) -> dict[str, int]:
    """RAM by cause with every path in one allocator; some causes may take nothing."""
    return {
        **_arena_parts(arena, tuple(nodes)),
        f"copy of the output of {' and '.join(copied)}": copy_bytes,
        **outside_arena_bytes(board, kernels, len(nodes), _operator_count(runtime)),
    }


def _operator_count(runtime: RuntimeRom) -> int:
    """Entries of the resolver: an operator has one, in whichever forms it is linked."""
    return len({split_form(name)[0] for name in runtime.by_operator})


def _one_path_parts(
    rams: Mapping[str, NodeRam],
    paths: Mapping[str, TaskFootprint],
    runtime: RuntimeRom,
    board: Board,
    kernels: str,
) -> dict[str, int]:
    """RAM by cause with only the largest path allocated; some causes may take nothing."""
    largest = max(paths.values(), key=lambda path: (path.arena_bytes, len(path.path)))
    names = tuple(dict.fromkeys(largest.path))
    most_nodes = max(len(set(path.path)) for path in paths.values())
    return {
        **_arena_parts(_arena(rams, names), names),
        **outside_arena_bytes(board, kernels, most_nodes, _operator_count(runtime)),
    }


def _arena_parts(arena: SharedArena, names: Sequence[str]) -> dict[str, int]:
    activations, decoded = names[arena.largest_activations], names[arena.largest]
    return {
        f"activations ({activations})": arena.activation_bytes,
        f"decoded weights ({decoded})": arena.head_bytes - arena.activation_bytes,
        "kept by the nodes": arena.tail_bytes,
        "planning and alignment": arena.minimum_bytes - arena.used_bytes,
    }


def _rom_error(runtime: RuntimeRom, model_bytes: int) -> tuple[float, float]:
    """The runtime's band over the whole: flatbuffers are exact."""
    share = runtime.rom_bytes / (runtime.rom_bytes + model_bytes)
    low, high = runtime.error_percent
    return round(low * share, 1), round(high * share, 1)


def _ram_error(
    rams: Mapping[str, NodeRam], runtime: RuntimeRom, parts: Mapping[str, int]
) -> tuple[float, float]:
    """Every cause at the end of its own band: the widest of a node's arena, stack, program."""
    arena = (
        min(ram.error_percent[0] for ram in rams.values()),
        max(ram.error_percent[1] for ram in rams.values()),
    )
    bands = {_PROGRAM: runtime.error_percent, "stack": STACK_ERROR_PERCENT, **_EXACT}
    low, high = (
        sum(size * bands.get(cause, arena)[end] for cause, size in parts.items())
        / sum(parts.values())
        for end in (0, 1)
    )
    return -_rounded_up(-low), _rounded_up(high)


def _rounded_up(percent: float) -> float:
    """An end of a band, outwards: to tenths below one percent, to whole percents from there on."""
    step = 1 if percent > 1 else 10
    return math.ceil(round(percent * step, 6)) / step + 0.0
