"""The arena of one node, allocation by allocation, as TensorFlow Lite Micro makes them.

A simulation of `MicroInterpreter::AllocateTensors` with `MicroAllocator`,
`SingleArenaBufferAllocator` and `GreedyMemoryPlanner` (tensorflow/lite/micro, revision 90b983c2).
The arena has two ends: at the head tensors and scratch buffers, which the nodes of one allocator
use in turn; at the tail what stays. Sizes and recipes stand in `structs.py` and
`operator_memory.py`; what a bundle makes of several nodes in `shared_arena.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deploy.footprint.kernel_buffers import KernelSet
from deploy.footprint.memory_planner import PlannedBuffer, plan_bytes
from deploy.footprint.operator_memory import OperatorMemory, operator_memory
from deploy.footprint.structs import Struct
from quantize.flatbuffer import Graph, Tensor
from quantize.wire.lookup_table import DECODE

ARENA_ALIGNMENT = 16
"""Alignment of tensors and of buffers that kernels ask for: MicroArenaBufferAlignment."""

# Scratch requests that every operator finds room for: kMaxScratchBuffersPerOp.
_SCRATCH_REQUESTS_PER_OPERATOR = 12
# What the planner keeps per buffer: requirements 16, two ints, list entry 12, offset 4.
_PLANNER_BYTES_PER_BUFFER = 40
# Made once for all nodes of an allocator.
_SHARED_OBJECTS = ("SingleArenaBufferAllocator", "GreedyMemoryPlanner", "MicroAllocator")
_ELEMENT_BYTES = {"INT8": 1, "UINT8": 1, "BOOL": 1, "INT16": 2, "INT32": 4, "FLOAT32": 4} | {
    "UINT16": 2, "UINT32": 4, "INT64": 8, "UINT64": 8, "FLOAT16": 2, "FLOAT64": 8,
}  # fmt: skip


@dataclass(frozen=True)
class Peak:
    """A moment of the allocation at which temporary memory is held besides the tail.

    Args:
        allocations: How many of the node's allocations are made by then.
        temporary_bytes: What is held from the head on.
        alignment_bytes: To which the free memory between the two ends is cut.
    """

    allocations: int
    temporary_bytes: int
    alignment_bytes: int


@dataclass(frozen=True)
class NodeMemory:
    """What allocating one node does to the arena.

    Args:
        head_bytes: The planned head.
        allocations: What is put at the tail, in order, without what nodes share.
        peaks: When most memory is held, in order.
        decoded_bytes: What of the head is there only for weights that are decoded into it.
    """

    head_bytes: int
    allocations: tuple[Struct, ...]
    peaks: tuple[Peak, ...]
    decoded_bytes: int = 0

    def tail_bytes(self, start_bytes: int) -> int:
        """Size of the tail after this node, when it was `start_bytes` before."""
        return _tail(self.allocations, start_bytes)

    def planning_bytes(self, start_bytes: int) -> int:
        """Most that allocating this node needs at once, the tail before it included."""
        most, tail, done = 0, start_bytes, 0
        for peak in self.peaks:
            tail = _tail(self.allocations[done : peak.allocations], tail)
            most = max(most, round_up(tail, peak.alignment_bytes) + peak.temporary_bytes)
            done = peak.allocations
        return most


def shared_objects_bytes(structs: Mapping[str, Struct]) -> int:
    """Size of the objects that all nodes of one allocator share."""
    return _tail([structs[name] for name in _SHARED_OBJECTS], 0)


def round_up(size: int, multiple: int) -> int:
    """The smallest multiple of `multiple` that is not below `size`."""
    return -(-size // multiple) * multiple


def unknown_operators(graph: Graph) -> tuple[str, ...]:
    """Return the operators of a graph whose memory is not known, sorted."""
    plain = KernelSet(cmsis_nn=False, has_dsp=False, has_mve=False)
    known = (operator_memory(operator, graph, plain) for operator in graph.operators)
    missing = {op.name for op, memory in zip(graph.operators, known, strict=True) if not memory}
    return tuple(sorted(missing))


def node_memory(graph: Graph, structs: Mapping[str, Struct], kernels: KernelSet) -> NodeMemory:
    """Simulate the allocation of one node.

    Args:
        graph: Its graph, one subgraph, every operator known.
        structs: Sizes of the runtime's structures on the core.
        kernels: The kernels that run it.
    """
    operators = [operator_memory(operator, graph, kernels) for operator in graph.operators]
    memories = [memory for memory in operators if memory is not None]
    scratch = scratch_requests(memories)
    allocations = _interpreter_objects(graph, structs)
    allocations += [structs[memory.params] for memory in memories if memory.params]
    allocations += [_buffer(structs[memory.data].size_bytes) for memory in memories if memory.data]
    peaks, requests = [], 0
    for memory in memories:
        allocations += [_buffer(size) for size in memory.buffers.persistent]
        peaks.append(Peak(len(allocations), _preparation(memory, graph, structs, requests), 4))
        requests += len(memory.buffers.scratch)
    if scratch:
        handle = structs["ScratchBufferHandle"]
        allocations.append(Struct(len(scratch) * handle.size_bytes, handle.alignment_bytes))
    allocations += [_buffer(_size_bytes(t)) for t in graph.tensors if t.is_variable]
    planned = planned_buffers(graph, scratch)
    temporary = planning_temporary_bytes(graph, structs, len(scratch), len(planned))
    peaks.append(Peak(len(allocations), temporary, ARENA_ALIGNMENT))
    for tensors in (graph.inputs, graph.outputs):
        allocations.append(_buffer(4 * len(tensors)))
        for index in tensors:
            allocations += _tensor_objects(graph.tensors[index], structs)
    head = plan_bytes(planned)
    return NodeMemory(
        head, tuple(allocations), tuple(peaks), head - _undecoded_bytes(planned, graph, head)
    )


def _undecoded_bytes(planned: Sequence[PlannedBuffer], graph: Graph, head_bytes: int) -> int:
    """The head as it were if no weights had to be decoded into it."""
    decoded = {i for one in graph.operators if one.name == DECODE for i in one.outputs}
    if not decoded:
        return head_bytes
    # A plan of fewer buffers may by chance need more room.
    return min(head_bytes, plan_bytes([one for one in planned if one.tensor not in decoded]))


def _tail(allocations: Sequence[Struct], start_bytes: int) -> int:
    """The tail grows downwards from an aligned end, each allocation aligned by itself."""
    tail = start_bytes
    for allocation in allocations:
        tail = round_up(tail + allocation.size_bytes, allocation.alignment_bytes)
    return tail


def _buffer(size_bytes: int) -> Struct:
    """A buffer as kernels ask for it."""
    return Struct(size_bytes, ARENA_ALIGNMENT)


def _interpreter_objects(graph: Graph, structs: Mapping[str, Struct]) -> list[Struct]:
    """The first allocations of a node: `StartModelAllocation`."""
    tensor, operator = structs["TfLiteEvalTensor"], structs["NodeAndRegistration"]
    return [
        structs["MicroBuiltinDataAllocator"],
        structs["SubgraphAllocations"],
        Struct(len(graph.tensors) * tensor.size_bytes, tensor.alignment_bytes),
        Struct(len(graph.operators) * operator.size_bytes, operator.alignment_bytes),
    ]


def _tensor_objects(tensor: Tensor, structs: Mapping[str, Struct]) -> list[Struct]:
    """What a tensor's full description takes: `InitializeTfLiteTensorFromFlatbuffer`."""
    quantization = tensor.quantization
    if quantization is None or not quantization.zero_points:
        return [structs["TfLiteTensor"]]
    zero_points = Struct(4 + 4 * len(quantization.scales), 4)
    return [structs["TfLiteTensor"], structs["TfLiteAffineQuantization"], zero_points]


def _requests_bytes(structs: Mapping[str, Struct], requests: int) -> int:
    """The list of scratch requests, which occupies the head until memory is planned."""
    count = requests + _SCRATCH_REQUESTS_PER_OPERATOR
    return count * structs["ScratchBufferRequest"].size_bytes


def _preparation(
    memory: OperatorMemory, graph: Graph, structs: Mapping[str, Struct], requests: int
) -> int:
    """Temporary bytes while one operator is prepared."""
    copies = [
        part.size_bytes
        for index in memory.temporaries
        for part in _tensor_objects(graph.tensors[index], structs)
    ]
    return _requests_bytes(structs, requests) + sum(copies)


def planning_temporary_bytes(
    graph: Graph, structs: Mapping[str, Struct], scratch_count: int, planned_count: int
) -> int:
    """Temporary bytes while memory is planned: `CommitStaticMemoryPlan`."""
    infos = (len(graph.tensors) + scratch_count) * structs["AllocationInfo"].size_bytes
    offsets = 4 * graph.subgraph_count
    lists = _requests_bytes(structs, scratch_count) + offsets + infos
    return round_up(lists, ARENA_ALIGNMENT) + planned_count * _PLANNER_BYTES_PER_BUFFER


def scratch_requests(memories: Sequence[OperatorMemory]) -> list[tuple[int, int]]:
    """Return (operator, bytes) of every scratch buffer, in the order of the operators."""
    return [(i, size) for i, one in enumerate(memories) for size in one.buffers.scratch]


def planned_buffers(graph: Graph, scratch: Sequence[tuple[int, int]]) -> list[PlannedBuffer]:
    """Return tensors and scratch buffers with the steps in which they live.

    What `AllocationInfoBuilder` does: in step 0 the inputs are filled, and the operator of index i
    runs in step i + 1.

    Args:
        graph: The node's graph.
        scratch: (operator, bytes) of every scratch buffer.
    """
    first = dict.fromkeys(graph.inputs, 0)
    last = dict.fromkeys(graph.inputs, 0)
    for operator in graph.operators:
        step = operator.index + 1
        for index in operator.outputs:
            first.setdefault(index, step)
        for index in (*operator.inputs, *operator.outputs):
            last[index] = step
    for index in graph.outputs:
        first.setdefault(index, len(graph.operators))
        last[index] = len(graph.operators)
    # A tensor that no operator writes or reads still gets a place, at no time at all.
    tensors = [
        PlannedBuffer(
            _aligned(_size_bytes(t)), first.get(t.index, -1), last.get(t.index, -1), t.index
        )
        for t in graph.tensors
        if t.data is None and not t.is_variable and _size_bytes(t)
    ]
    return tensors + [PlannedBuffer(_aligned(size), op + 1, op + 1) for op, size in scratch]


def _aligned(size: int) -> int:
    return round_up(size, ARENA_ALIGNMENT)


def _size_bytes(tensor: Tensor) -> int:
    """Bytes of a tensor's data in memory."""
    count = math.prod(tensor.shape)
    if tensor.dtype == "INT4":
        return (count + 1) // 2
    return count * _ELEMENT_BYTES.get(tensor.dtype, 4)
