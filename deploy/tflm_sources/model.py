"""What is generated of a bundle for a board: every figure, before any text is written.

Belongs here: the choice of tasks, nodes, registrations, copies and of the arena's size. Does not
belong here: C++ (`config_source.py` and its neighbours), or what things cost
(`deploy/footprint`).
"""

from __future__ import annotations

from dataclasses import dataclass

from deploy.board import Board
from deploy.footprint import footprint
from deploy.footprint.arena import ARENA_ALIGNMENT, round_up
from deploy.tflm_sources.copies import Copy, copy_bytes, kept_copies
from deploy.tflm_sources.identifiers import identifiers
from deploy.tflm_sources.operators import operator_forms
from quantize.bundle import Bundle, Node
from quantize.flatbuffer import Graph, read_graph
from quantize.tensor_spec import TensorSpec
from quantize.wire.lookup_table import DECODE

ALLOCATIONS = ("all", "one")


class TflmSourcesError(ValueError):
    """A bundle that no sources can be generated from; says why, and what to do."""


@dataclass(frozen=True)
class Arena:
    """The arena to reserve, in bytes, and where the figure comes from.

    Args:
        runtime_bytes: What TensorFlow Lite Micro allocates from.
        margin_bytes: Added where the figure was not simulated for exactly this core.
        copy_bytes: Tensors that are kept where paths part.
        basis: How the figures were found, one line per kind.
    """

    runtime_bytes: int
    margin_bytes: int
    copy_bytes: int
    basis: tuple[str, ...]


@dataclass(frozen=True)
class Model:
    """All that the generated sources say.

    Args:
        bundle: The bundle, of the chosen tasks only.
        board: The board.
        kernels: Kernel set, as for `deploy.footprint.footprint`.
        allocate: "all" or "one".
        nodes: Identifiers by name, in the order in which nodes are allocated.
        tasks: Identifiers by name.
        operators: The union of the nodes' operators, sorted.
        forms: By operator, the forms that it is registered for, where CMSIS-NN is there; () for
            its generic registration.
        copies: Tensors that are kept.
        arena: The arena.
        interpreter_count: Interpreters that are there at once.
    """

    bundle: Bundle
    board: Board
    kernels: str
    allocate: str
    nodes: dict[str, str]
    tasks: dict[str, str]
    operators: tuple[str, ...]
    forms: dict[str, tuple[str, ...]]
    copies: tuple[Copy, ...]
    arena: Arena
    interpreter_count: int

    def path(self, task: str) -> tuple[Node, ...]:
        """The nodes of a task's path."""
        return self.bundle.path_nodes(task)


def make_model(
    bundle: Bundle, board: Board, tasks: list[str] | None, kernels: str | None, allocate: str
) -> Model:
    """Gather what the sources say; arguments as for `tflm_sources`.

    Raises:
        TflmSourcesError: A node has not one int8 input and one int8 output, or decodes something
            else than int8.
    """
    if allocate not in ALLOCATIONS:
        raise TflmSourcesError(
            f"`allocate` must be one of {', '.join(ALLOCATIONS)}; received {allocate!r}."
        )
    chosen = bundle if tasks is None else bundle.select(tasks)
    found = footprint(chosen, board, kernels=kernels, allocate=allocate)
    nodes = {name: chosen.nodes[name] for name in chosen.nodes if name in found.nodes}
    graphs = {name: read_graph(node.data) for name, node in nodes.items()}
    for name, node in nodes.items():
        _check_ends(node, graphs[name])
        _check_decoded(node, graphs[name])
    paths = [task.path for task in chosen.tasks.values()]
    sizes = {name: node.output.element_count for name, node in nodes.items()}
    copies = kept_copies(paths, sizes) if allocate == "all" else ()
    total = found.all_paths_arena_bytes if allocate == "all" else found.one_path_arena_bytes
    runtime_bytes = total - copy_bytes(copies)
    percent = max(node.arena.error_percent[1] for node in found.nodes.values())
    return Model(
        bundle=chosen,
        board=board,
        kernels=found.kernels,
        allocate=allocate,
        nodes=identifiers(nodes),
        tasks=identifiers(chosen.tasks),
        operators=tuple(sorted({name for node in nodes.values() for name in node.operators})),
        forms=operator_forms(graphs.values()) if found.kernels == "cmsis-nn-int8" else {},
        copies=copies,
        arena=Arena(
            runtime_bytes,
            round_up(int(runtime_bytes * percent / 100), ARENA_ALIGNMENT),
            copy_bytes(copies),
            tuple(dict.fromkeys(node.arena.basis for node in found.nodes.values())),
        ),
        interpreter_count=(
            len(nodes) if allocate == "all" else max(len(set(path)) for path in paths)
        ),
    )


def _check_ends(node: Node, graph: Graph) -> None:
    """Refuse what the adapter would refuse on the device."""
    for side, indices, stated in (
        ("input", graph.inputs, node.input),
        ("output", graph.outputs, node.output),
    ):
        dtypes = [graph.tensors[index].dtype for index in indices]
        if dtypes != ["INT8"]:
            raise TflmSourcesError(
                f"Node '{node.name}' must have one int8 {side}, received "
                f"{', '.join(dtypes) or 'none'}. Convert it with int8 inputs and outputs, one each."
            )
        if TensorSpec.from_tensor(graph.tensors[indices[0]]) != stated:
            raise TflmSourcesError(
                f"Node '{node.name}' must have the {side} that the bundle states, {stated}; its "
                "flatbuffer has another one. Write the bundle again."
            )


def _check_decoded(node: Node, graph: Graph) -> None:
    """Refuse what kt_decode.cc would refuse on the device."""
    for operator in (one for one in graph.operators if one.name == DECODE):
        for indices, dtype in ((operator.inputs, "UINT8"), (operator.outputs, "INT8")):
            others = {graph.tensors[index].dtype for index in indices} - {dtype}
            if others:
                raise TflmSourcesError(
                    f"Node '{node.name}' must decode INT8 values from UINT8 bytes in operator "
                    f"{operator.index}, {DECODE}; received {', '.join(sorted(others))}. Store its "
                    "weights as int8 lookup tables, or plain."
                )
