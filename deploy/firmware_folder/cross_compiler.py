"""The cross compiler and its flags for a board's core, as they are told in a README."""

from __future__ import annotations

from dataclasses import dataclass

from deploy.board import Board

__all__ = ["CrossCompiler", "cross_compiler"]

_FLOAT_UNITS = {
    ("cortex-m4", "single"): "fpv4-sp-d16",
    ("cortex-m7", "single"): "fpv5-sp-d16",
    ("cortex-m7", "double"): "fpv5-d16",
    ("cortex-m33", "single"): "fpv5-sp-d16",
    ("cortex-m35p", "single"): "fpv5-sp-d16",
    ("cortex-m52", "double"): "auto",
    ("cortex-m55", "double"): "auto",
    ("cortex-m85", "double"): "auto",
}
_ABI = {"none": "ilp32", "single": "ilp32f", "double": "ilp32d"}
_XTENSA = {"xtensa-lx6": "xtensa-esp32-elf", "xtensa-lx7": "xtensa-esp32s3-elf"}


@dataclass(frozen=True)
class CrossCompiler:
    """A cross compiler.

    Args:
        prefix: Such as "arm-none-eabi"; the C compiler is "<prefix>-gcc".
        flags: What it needs to know of the core.
    """

    prefix: str
    flags: tuple[str, ...]


def cross_compiler(board: Board) -> CrossCompiler:
    """GCC for a board's core, hard float where there is a unit for it."""
    if board.core.startswith("cortex-m"):
        unit = _FLOAT_UNITS.get((board.core, board.fpu))
        floats = ("-mfloat-abi=hard", f"-mfpu={unit}") if unit else ("-mfloat-abi=soft",)
        return CrossCompiler("arm-none-eabi", ("-mthumb", f"-mcpu={board.core}", *floats))
    if board.core in _XTENSA:
        return CrossCompiler(_XTENSA[board.core], ("-mlongcalls",))
    abi = "ilp32d" if board.core == "rv32gc" else _ABI[board.fpu]
    return CrossCompiler("riscv64-unknown-elf", (f"-march={board.core}", f"-mabi={abi}"))
