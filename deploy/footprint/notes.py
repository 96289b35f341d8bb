"""What a reader must know to trust a footprint: stand-ins, fallbacks, differences.

Belongs here: the sentences about cores, code and arenas. Does not belong here: those about kernels
that do not run a node (`kernel_limits.py`).
"""

from __future__ import annotations

from collections.abc import Mapping

from deploy.board import Board
from deploy.footprint.cores import measured_core
from deploy.footprint.latency import untimed_nodes
from deploy.footprint.ram import NodeRam, recorded_arena_bytes, simulated_reference_bytes
from deploy.footprint.rom import RuntimeRom
from quantize.bundle import Node

# The correction of a recording rounds each operator's data by itself: some bytes in any node.
_DIFFERENCE_TO_REPORT_PERCENT = 2.0
_DIFFERENCE_TO_REPORT_BYTES = 64


def core_notes(board: Board, runtime: RuntimeRom) -> list[str]:
    """Return what stands for a board's core, where its program lies, and what stands for code."""
    stand_in = measured_core(board.core, board.fpu)
    notes = []
    if not stand_in.is_exact:
        unit = f"{board.core} with floating-point unit '{board.fpu}'"
        notes.append(f"{unit} was not measured: {stand_in.name} stands for it ({stand_in.reason})")
    if board.runs_from_ram:
        notes.append(
            f"{board.name} has no flash to execute from: the program counts in the storage and, "
            "copied, in RAM"
        )
    return [*notes, *runtime.notes]


def time_notes(nodes: Mapping[str, Node], board: Board, kernels: str) -> list[str]:
    """Return why there is no time where a board has one for int8 nodes."""
    names = untimed_nodes(nodes, board, kernels)
    if not names:
        return []
    return [
        f"no time of what runs {', '.join(names)}: no kernels of int4 weights or int16 activations "
        "were counted"
    ]


def node_notes(nodes: Mapping[str, Node], rams: Mapping[str, NodeRam]) -> list[str]:
    """Return fallbacks, and simulations that a recording contradicts."""
    notes = []
    for name, node in nodes.items():
        if not rams[name].is_simulated:
            notes.append(f"the arena of {name} was {rams[name].basis}")
            continue
        recorded = recorded_arena_bytes(node.data, node.arena)
        simulated = simulated_reference_bytes(node.data)
        if recorded is None or simulated is None:
            continue
        percent = 100 * (simulated - recorded) / recorded
        is_large = abs(simulated - recorded) > _DIFFERENCE_TO_REPORT_BYTES
        if is_large and abs(percent) > _DIFFERENCE_TO_REPORT_PERCENT:
            notes.append(
                f"the arena of {name}, simulated with reference kernels, is {simulated:,} B and "
                f"{percent:+.1f} % from the recording corrected to 32 bits, {recorded:,} B"
            )
    return notes
