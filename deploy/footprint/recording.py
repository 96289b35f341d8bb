"""What a recording made on a 64-bit host says of a 32-bit core.

The `tflite_micro` wheel records an arena with the structures of x86-64 and the reference kernels.
The head is the same on both; the tail is corrected structure by structure. The simulation in
`arena.py` is exact and does not need this: a recording checks it, and stands in for a node with an
operator that the simulation does not know.
"""

from __future__ import annotations

from collections.abc import Mapping

from deploy.footprint.arena import (
    NodeMemory,
    Peak,
    planning_temporary_bytes,
    round_up,
    shared_objects_bytes,
)
from deploy.footprint.kernel_buffers import KernelSet
from deploy.footprint.operator_memory import OperatorMemory, operator_memory
from deploy.footprint.structs import Struct, struct_sizes
from quantize.flatbuffer import Graph, Operator
from quantize.interpreter import ArenaRecording

_REFERENCE = KernelSet(cmsis_nn=False, has_dsp=False, has_mve=False)
# Bytes by which an operator's own data is larger on the host, after rounding to 16; the wheel's
# fully connected layer has fields of its own besides.
_HOST_SURPLUS = {"CONV_2D": 16, "DEPTHWISE_CONV_2D": 16, "SOFTMAX": 16, "FULLY_CONNECTED": 32}
# What the host's TFLM_DECODE, the runtime's own, keeps for each tensor that it decodes, besides a
# pointer to it: the device's keeps nothing.
_HOST_STATE_BYTES, _HOST_POINTER_BYTES = 80, 8
# Pointer array, tensor, quantization and zero point of the one input and the one output.
_ENDS_BYTES = 104
# The largest structure of options, for an operator that is not known.
_UNKNOWN_PARAMS_BYTES = 40


def corrected_arena_bytes(recording: ArenaRecording, graph: Graph) -> int:
    """Return the arena on a 32-bit core with reference kernels, from a recording on 64 bits.

    Within 0.6 % of seven models measured on a Cortex-M4 (head and tail; not what planning needs).

    Args:
        recording: What TensorFlow Lite Micro recorded of the node.
        graph: The node's graph.
    """
    return recording.head_bytes + _tail_bytes(recording, graph, struct_sizes(short_enums=True))


def recorded_memory(
    recording: ArenaRecording, graph: Graph, structs: Mapping[str, Struct], kernels: KernelSet
) -> NodeMemory:
    """Return a node's memory from its recording, with what the kernel set adds.

    Args:
        recording: What TensorFlow Lite Micro recorded of the node.
        graph: The node's graph; its operators need not all be known.
        structs: Sizes of the runtime's structures on the core.
        kernels: The kernels that run it. Scratch memory is added to the head whole, as if it were
            needed when the head is fullest.
    """
    pairs = [
        (operator_memory(op, graph, _REFERENCE), operator_memory(op, graph, kernels))
        for op in graph.operators
    ]
    known = [(plain, own) for plain, own in pairs if plain is not None and own is not None]
    scratch = [sum(own.buffers.scratch) - sum(plain.buffers.scratch) for plain, own in known]
    kept = [_kept_bytes(own, structs) - _kept_bytes(plain, structs) for plain, own in known]
    tail = _tail_bytes(recording, graph, structs) + sum(kept)
    buffers = sum(len(own.buffers.scratch) for _, own in known)
    own_tail = Struct(tail - shared_objects_bytes(structs), 4)
    planned = sum(tensor.data is None for tensor in graph.tensors) + buffers
    temporary = planning_temporary_bytes(graph, structs, buffers, planned)
    head = recording.head_bytes + max(0, *scratch, 0)
    return NodeMemory(round_up(head, 16), (own_tail,), (Peak(1, temporary, 16),))


def _tail_bytes(recording: ArenaRecording, graph: Graph, structs: Mapping[str, Struct]) -> int:
    memories = [operator_memory(operator, graph, _REFERENCE) for operator in graph.operators]
    params = sum(_params_bytes(memory, structs) for memory in memories)
    scratch = sum(len(memory.buffers.scratch) for memory in memories if memory is not None)
    surplus = sum(_surplus_bytes(operator) for operator in graph.operators)
    fixed = shared_objects_bytes(structs) + sum(
        structs[name].size_bytes for name in ("MicroBuiltinDataAllocator", "SubgraphAllocations")
    )
    return (
        fixed
        + recording.tensor_count * structs["TfLiteEvalTensor"].size_bytes
        + recording.operator_count * structs["NodeAndRegistration"].size_bytes
        + params
        + recording.persistent_buffer_bytes
        - surplus
        + scratch * structs["ScratchBufferHandle"].size_bytes
        + _ENDS_BYTES
    )


def _surplus_bytes(operator: Operator) -> int:
    if operator.name == "TFLM_DECODE":
        count = len(operator.outputs)
        return round_up(_HOST_POINTER_BYTES * count, 16) + _HOST_STATE_BYTES * count
    return _HOST_SURPLUS.get(operator.name, 0)


def _params_bytes(memory: OperatorMemory | None, structs: Mapping[str, Struct]) -> int:
    if memory is None:
        return _UNKNOWN_PARAMS_BYTES
    return structs[memory.params].size_bytes if memory.params else 0


def _kept_bytes(memory: OperatorMemory, structs: Mapping[str, Struct]) -> int:
    """What an operator's kernel keeps at the tail."""
    data = round_up(structs[memory.data].size_bytes, 16) if memory.data else 0
    return data + sum(round_up(size, 16) for size in memory.buffers.persistent)
