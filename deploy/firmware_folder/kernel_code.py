"""How much code the plain C kernels take at most: a bound per file, for a verdict before any build.

Bounds are the largest size among Cortex-M0+, M3, M4, M7, M33 and M55 with GCC 12.2 -O2, and a third
to a half more. `keras-tree measure` has the exact figures of one core and one compiler.
"""

from __future__ import annotations

from collections.abc import Iterable

from deploy.board import Board
from deploy.footprint.cores import measured_core

__all__ = ["BYTES_PER_CALL", "MOST_BYTES", "most_code_bytes"]

MOST_BYTES = {
    "kt_conv.c": 2176,
    "kt_conv_dsp.c": 3200,
    "kt_conv_mve.c": 1920,
    "kt_copy.c": 384,
    "kt_depthwise.c": 2368,
    "kt_depthwise_dsp.c": 4608,
    "kt_depthwise_mve.c": 2944,
    "kt_elementwise.c": 1600,
    "kt_fully_connected.c": 896,
    "kt_fully_connected_dsp.c": 1472,
    "kt_fully_connected_mve.c": 1024,
    "kt_lookup.c": 128,
    "kt_packed.c": 1408,
    "kt_packed_conv.c": 96,
    "kt_packed_depthwise.c": 48,
    "kt_packed_fully_connected.c": 576,
    "kt_packed_move.c": 96,
    "kt_pool.c": 1216,
    "kt_prelu.c": 512,
    "kt_reduce.c": 512,
    "kt_resize.c": 640,
    "kt_softmax.c": 1856,
    "kt_transpose_conv.c": 960,
    "kt_unpack_1.c": 320,
    "kt_unpack_2.c": 336,
    "kt_unpack_3.c": 352,
    "kt_unpack_4.c": 336,
    "kt_unpack_int4.c": 256,
}
"""Code and constants of a file, in bytes, on any Cortex-M; a test compiles every file."""
BYTES_PER_CALL = 40
"""A call in the generated code: its arguments, each by a load and a literal, and the call."""

_OTHER_FILE = 4096
_LIBRARY_BYTES = 1024  # division and 64-bit products where a core has no instruction for them


def most_code_bytes(files: Iterable[str], calls: int, board: Board) -> int:
    """A bound on the code of a program, in bytes.

    Args:
        files: Its files of kernels that hold code for the board.
        calls: Calls and functions in the generated code.
        board: On RISC-V and Xtensa, code takes as much more than on Cortex-M as `cores.py` says.
    """
    kernels = sum(MOST_BYTES.get(name, _OTHER_FILE) for name in files)
    factor = measured_core(board.core, board.fpu).code_factor
    return round((kernels + calls * BYTES_PER_CALL + _LIBRARY_BYTES) * factor)
