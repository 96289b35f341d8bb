"""What lies in the head of the arena at each step of a node: every buffer, its place and its time.

The same plan that `ram.py` takes the size of the head from, told buffer by buffer. Belongs here:
which tensor or scratch buffer of which operator a place belongs to. Does not belong here: the
algorithm (`memory_planner.py`), the tail (`arena.py`), drawing it (`deploy/report`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from deploy.footprint.arena import planned_buffers, scratch_requests, unknown_operators
from deploy.footprint.cores import check_kernels, measured_core
from deploy.footprint.kernel_buffers import KernelSet
from deploy.footprint.memory_planner import PlannedBuffer, plan_offsets
from deploy.footprint.operator_memory import operator_memory
from deploy.footprint.ram import kernel_set
from quantize.flatbuffer import FlatbufferError, Graph, read_graph
from quantize.wire.lookup_table import DECODE

INPUT_STEP = 0
"""The step in which a node's inputs are filled; its operators run in steps 1, 2, ..."""
UNUSED_STEP = -1
"""The step of a tensor that no operator touches: it has a place, at no time."""


@dataclass(frozen=True)
class PlacedBuffer:
    """A tensor or a scratch buffer with its place in the head and the steps in which it lives.

    Args:
        role: What it is: "input", "output", "between" (from one operator to another), "decoded"
            (weights that TFLM_DECODE unpacks for the operator behind it), "scratch" or "unused".
        operator: Index of the operator that writes it or asks for it; None for an input, and for
            what is unused.
        name: The tensor's name; empty in a stripped file and for scratch memory.
        shape: The tensor's shape; empty for scratch memory.
        offset_bytes: Where it begins, from the start of the head.
        size_bytes: Its size, a multiple of the arena's alignment.
        first_step: Step in which it is first written.
        last_step: Step in which it is last read, itself included.
    """

    role: str
    operator: int | None
    name: str
    shape: tuple[int, ...]
    offset_bytes: int
    size_bytes: int
    first_step: int
    last_step: int

    @property
    def end_bytes(self) -> int:
        """Where it ends, from the start of the head."""
        return self.offset_bytes + self.size_bytes


@dataclass(frozen=True)
class NodeTimeline:
    """The head of one node over its steps.

    Args:
        operators: Names of its operators, in the order in which they run.
        buffers: Every planned buffer, in the order in which the planner is given them.
    """

    operators: tuple[str, ...]
    buffers: tuple[PlacedBuffer, ...]

    @property
    def steps(self) -> range:
        """Every step, that of the inputs first; an unused tensor adds one before it."""
        first = min((one.first_step for one in self.buffers), default=INPUT_STEP)
        return range(min(first, INPUT_STEP), len(self.operators) + 1)

    @property
    def head_bytes(self) -> int:
        """Size of the head: where the highest buffer ends."""
        return max((one.end_bytes for one in self.buffers), default=0)

    @property
    def peak_step(self) -> int:
        """The first of the steps that reach the top of the head with the most bytes alive."""
        return max(self.steps, key=lambda step: (self.top_bytes(step), self.live_bytes(step)))

    def alive(self, step: int) -> tuple[PlacedBuffer, ...]:
        """The buffers that hold something needed in a step."""
        return tuple(one for one in self.buffers if one.first_step <= step <= one.last_step)

    def live_bytes(self, step: int) -> int:
        """Sum of the buffers alive in a step."""
        return sum(one.size_bytes for one in self.alive(step))

    def top_bytes(self, step: int) -> int:
        """Where the highest buffer alive in a step ends; gaps below it count."""
        return max((one.end_bytes for one in self.alive(step)), default=0)


def node_timeline(
    data: bytes, core: str, kernels: str, fpu: str | None = None
) -> NodeTimeline | None:
    """Return what lies in the head of a node's arena at each step.

    Args:
        data: The bytes of the `.tflite` file.
        core: A core that a board may name.
        kernels: "reference", "cmsis-nn" or "cmsis-nn-int8".
        fpu: The core's floating-point unit, None for its usual one.

    Returns:
        The timeline, whose `head_bytes` are those of `node_arena`; None where the node is not
        simulated: an operator is not known, or the file cannot be read.

    Raises:
        CoreError: The core or the kernel set is unknown, or they do not go together.
    """
    check_kernels(kernels, core)
    return _timeline(bytes(data), kernel_set(measured_core(core, fpu), kernels))


@lru_cache(maxsize=1024)
def _timeline(data: bytes, kernels: KernelSet) -> NodeTimeline | None:
    try:
        graph = read_graph(data)
    except FlatbufferError:
        return None
    if graph.subgraph_count != 1 or unknown_operators(graph):
        return None
    known = (operator_memory(operator, graph, kernels) for operator in graph.operators)
    scratch = scratch_requests([memory for memory in known if memory is not None])
    planned = planned_buffers(graph, scratch)
    buffers = [
        _placed(buffer, offset, graph)
        for buffer, offset in zip(planned, plan_offsets(planned), strict=True)
    ]
    return NodeTimeline(tuple(one.name for one in graph.operators), tuple(buffers))


def _placed(buffer: PlannedBuffer, offset_bytes: int, graph: Graph) -> PlacedBuffer:
    """Name what a planned buffer holds."""
    name, shape = "", tuple[int, ...]()
    # Scratch memory lives in the step of its operator only.
    role = "scratch"
    writer: int | None = buffer.first_step - 1
    if buffer.tensor is not None:
        tensor = graph.tensors[buffer.tensor]
        name, shape = tensor.name, tensor.shape
        writer = _writer(buffer.tensor, graph)
        role = _role(buffer, graph, writer)
    return PlacedBuffer(
        role=role,
        operator=writer,
        name=name,
        shape=shape,
        offset_bytes=offset_bytes,
        size_bytes=buffer.size_bytes,
        first_step=buffer.first_step,
        last_step=buffer.last_step,
    )


def _writer(tensor: int, graph: Graph) -> int | None:
    """Index of the operator that writes a tensor; None where none does."""
    writers = (one.index for one in graph.operators if tensor in one.outputs)
    return next(writers, None)


def _role(buffer: PlannedBuffer, graph: Graph, writer: int | None) -> str:
    if buffer.first_step == UNUSED_STEP:
        return "unused"
    if buffer.tensor in graph.inputs:
        return "input"
    if buffer.tensor in graph.outputs:
        return "output"
    is_decoded = writer is not None and graph.operators[writer].name == DECODE
    return "decoded" if is_decoded else "between"
