"""RAM that a firmware needs outside the arena: interpreters, resolver, stack, C library.

Measured on running images (TensorFlow Lite Micro 90b983c2, GCC 12.2 -Os, newlib-nano). Not here:
the arena (`shared_arena.py`), and what the rest of a firmware needs (a reserve in the budget).
"""

from __future__ import annotations

from deploy.board import Board
from deploy.footprint.cores import measured_core
from deploy.footprint.structs import struct_sizes

# `MicroMutableOpResolver<N>` is 12 + 36 N bytes: a registration and a parser for each operator.
_RESOLVER_BYTES = 12
_RESOLVER_BYTES_PER_OPERATOR = 36
# .data of newlib-nano (errno, reentrancy) and .bss beside the resolver.
_GLOBALS_BYTES = 104 + 164
# High-water mark of the stack from main() on, over seven models: reference kernels, CMSIS-NN.
_STACK_BYTES = {
    "cortex-m0plus": (956, 1420),
    "cortex-m3": (904, 1396),
    "cortex-m4": (920, 1444),
    "cortex-m7": (928, 1452),
    "cortex-m33": (928, 1452),
    "cortex-m55": (924, 1520),
}

STACK_ERROR_PERCENT = (-30.0, 10.0)
"""Band (low, high) of the stack: a model with fully connected layers only takes 23 % less than the
seven models' most, kernels compiled with -O2 take up to 8 % more."""


def outside_arena_bytes(
    board: Board, kernels: str, node_count: int, operator_count: int
) -> dict[str, int]:
    """Return RAM outside the arena by cause.

    Args:
        board: The board.
        kernels: "reference", "cmsis-nn" or "cmsis-nn-int8".
        node_count: Nodes, each with an interpreter of its own.
        operator_count: Distinct operators, all in one resolver.
    """
    core = measured_core(board.core, board.fpu)
    interpreter = struct_sizes(core.short_enums)["MicroInterpreter"].size_bytes
    return {
        "interpreters": node_count * interpreter,
        "operator resolver": _RESOLVER_BYTES + operator_count * _RESOLVER_BYTES_PER_OPERATOR,
        "stack": _STACK_BYTES[core.name][kernels != "reference"],
        "globals": _GLOBALS_BYTES,
    }
