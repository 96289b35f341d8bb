"""RAM of one node: the arena that TensorFlow Lite Micro fills on a 32-bit core.

The door to the simulation in `arena.py`: which structures and kernels a core and a kernel set mean,
and what to do where an operator is not known to it. What several nodes take together is in
`shared_arena.py`, the arithmetic on a recording in `recording.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

from deploy.footprint.arena import (
    ARENA_ALIGNMENT,
    NodeMemory,
    node_memory,
    round_up,
    shared_objects_bytes,
    unknown_operators,
)
from deploy.footprint.cores import MeasuredCore, check_kernels, measured_core
from deploy.footprint.kernel_buffers import KernelSet
from deploy.footprint.recording import corrected_arena_bytes, recorded_memory
from deploy.footprint.structs import struct_sizes
from quantize.flatbuffer import Graph, read_graph
from quantize.interpreter import ArenaRecording

# Against 87 nodes on three emulated cores (docs/footprint.md): never too small, and at most one
# step of 16 bytes larger than the smallest arena that works.
_SIMULATED_ERROR_BYTES = 16
# Layouts of a compiler's structures that were not run on a device.
_STAND_IN_ERROR_PERCENT = (-2.0, 2.0)
_RECORDED_ERROR_PERCENT = (-10.0, 10.0)


class RamError(ValueError):
    """A node whose memory can be found neither by simulation nor from a recording."""


@dataclass(frozen=True)
class Arena:
    """Memory of one node's flatbuffer in TensorFlow Lite Micro, in bytes.

    Args:
        head_bytes: Activations and scratch buffers; nodes of one allocator share the largest.
        tail_bytes: What stays allocated for as long as the node is in use.
        tenant_tail_bytes: The tail when the node is not the first in its allocator, whose own
            objects it then shares.
        planning_bytes: The peak while memory is planned, tail included; larger than head and tail
            together for nodes with a small head.
        minimum_bytes: What must be reserved for this node alone, in an array aligned to 16 bytes.
        error_percent: Band (low, high) of `minimum_bytes` against what TensorFlow Lite Micro needs.
        basis: How the figures were found.
    """

    head_bytes: int
    tail_bytes: int
    tenant_tail_bytes: int
    planning_bytes: int
    minimum_bytes: int
    error_percent: tuple[float, float]
    basis: str

    @property
    def used_bytes(self) -> int:
        """Head and tail, which is what `arena_used_bytes()` returns on the device."""
        return self.head_bytes + self.tail_bytes


@dataclass(frozen=True)
class NodeRam:
    """The memory of a node on a core, and how it was found.

    Args:
        memory: Allocation by allocation, for allocators with several nodes.
        shared_bytes: Objects that all nodes of an allocator share.
        error_percent: As in `Arena`.
        basis: As in `Arena`.
        is_simulated: Whether it was simulated, rather than taken from a recording.
    """

    memory: NodeMemory
    shared_bytes: int
    error_percent: tuple[float, float]
    basis: str
    is_simulated: bool

    @cached_property
    def alone(self) -> Arena:
        """The arena of this node by itself."""
        tail = self.memory.tail_bytes(self.shared_bytes)
        planning = self.memory.planning_bytes(self.shared_bytes)
        used = self.memory.head_bytes + tail
        return Arena(
            head_bytes=self.memory.head_bytes,
            tail_bytes=tail,
            tenant_tail_bytes=tail - self.shared_bytes,
            planning_bytes=planning,
            minimum_bytes=round_up(max(used, planning), ARENA_ALIGNMENT),
            error_percent=self.error_percent,
            basis=self.basis,
        )


def node_arena(
    data: bytes,
    core: str,
    kernels: str,
    fpu: str | None = None,
    recording: ArenaRecording | None = None,
) -> Arena:
    """Return the arena of a node's flatbuffer, if it is allocated alone.

    Args:
        data: The bytes of the `.tflite` file.
        core: A core that a board may name.
        kernels: "reference", "cmsis-nn" or "cmsis-nn-int8".
        fpu: The core's floating-point unit, None for its usual one.
        recording: What TensorFlow Lite Micro recorded on a 64-bit host; used where an operator is
            not known to the simulation.

    Raises:
        CoreError: The core or the kernel set is unknown, or they do not go together.
        RamError: An operator is not known and there is no recording.
        FlatbufferError: `data` is no sound `.tflite` file.
    """
    return node_ram(data, core, kernels, fpu, recording).alone


@lru_cache(maxsize=4096)
def node_ram(
    data: bytes,
    core: str,
    kernels: str,
    fpu: str | None = None,
    recording: ArenaRecording | None = None,
) -> NodeRam:
    """Return a node's memory in a form that can be put together with other nodes'.

    Arguments and errors are those of `node_arena`.
    """
    check_kernels(kernels, core)
    stand_in = measured_core(core, fpu)
    structs = struct_sizes(stand_in.short_enums)
    missing = _graph_and_unknown(data)[1]
    if missing and recording is None:
        raise RamError(
            f"A node's memory must be known: {', '.join(missing)} is not known to the simulation, "
            "and the bundle has no recording of the node. Write the bundle where `tflite_micro` is "
            "installed (Linux x86-64), or replace the operator."
        )
    memory = _memory(
        data, kernel_set(stand_in, kernels), stand_in.short_enums, recording if missing else None
    )
    return NodeRam(
        memory=memory,
        shared_bytes=shared_objects_bytes(structs),
        error_percent=_RECORDED_ERROR_PERCENT if missing else _simulation_error(stand_in, memory),
        basis=_basis(stand_in, missing),
        is_simulated=not missing,
    )


def kernel_set(stand_in: MeasuredCore, kernels: str) -> KernelSet:
    """Return what a kernel set's name means on a core for the memory of a node."""
    is_cmsis_nn = kernels != "reference"
    return KernelSet(
        cmsis_nn=is_cmsis_nn,
        has_dsp=is_cmsis_nn and stand_in.has_dsp,
        has_mve=is_cmsis_nn and stand_in.has_mve,
    )


def recorded_arena_bytes(data: bytes, recording: ArenaRecording | None) -> int | None:
    """Return a node's arena on a 32-bit core with reference kernels, by its recording.

    Args:
        data: The bytes of the `.tflite` file.
        recording: What TensorFlow Lite Micro recorded on a 64-bit host, or None.
    """
    if recording is None:
        return None
    return corrected_arena_bytes(recording, _graph_and_unknown(data)[0])


def simulated_reference_bytes(data: bytes) -> int | None:
    """Return the same by simulation, None where an operator is not known."""
    if _graph_and_unknown(data)[1]:
        return None
    return node_ram(data, "cortex-m4", "reference").alone.used_bytes


@lru_cache(maxsize=256)
def _graph_and_unknown(data: bytes) -> tuple[Graph, tuple[str, ...]]:
    """A flatbuffer's graph, and its operators that the simulation does not know."""
    graph = read_graph(data)
    if graph.subgraph_count != 1:
        raise RamError(
            f"A node must have one subgraph, received {graph.subgraph_count}: control flow is not "
            "supported. Unroll the loop or take the branch out of the model."
        )
    return graph, unknown_operators(graph)


@lru_cache(maxsize=1024)
def _memory(
    data: bytes, kernels: KernelSet, short_enums: bool, recording: ArenaRecording | None
) -> NodeMemory:
    graph, structs = _graph_and_unknown(data)[0], struct_sizes(short_enums)
    if recording is not None:
        return recorded_memory(recording, graph, structs, kernels)
    return node_memory(graph, structs, kernels)


def _simulation_error(stand_in: MeasuredCore, memory: NodeMemory) -> tuple[float, float]:
    if not stand_in.short_enums:
        return _STAND_IN_ERROR_PERCENT
    share = _SIMULATED_ERROR_BYTES / memory.tail_bytes(memory.head_bytes)
    return math.floor(-1000 * share) / 10, 0.0


def _basis(stand_in: MeasuredCore, missing: tuple[str, ...]) -> str:
    if missing:
        return (
            f"recorded on a 64-bit host and corrected to 32 bits ({', '.join(missing)} is not "
            "known to the simulation)"
        )
    core = f"{stand_in.name} for {stand_in.stands_for}" * (not stand_in.is_exact)
    return f"simulated for {core or stand_in.name}"
