"""What a firmware takes on its board, and whether it fits; for the runtime that was chosen.

On TensorFlow Lite Micro it is what `keras-tree check` says. In plain C the buffer and the constants
are known to the byte, because they were just laid out; code is bounded from above.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from deploy.board import Board
from deploy.budget import judge
from deploy.codegen import CProgram
from deploy.report import phrases
from deploy.units import format_bytes
from deploy.usage import Part, Usage
from deploy.verdict import BudgetReport, Check, Verdict
from quantize.bundle import Bundle

__all__ = [
    "MOST_BYTES_PER_FILE",
    "c_verdict",
    "figure_rows",
    "free_bytes",
    "tflm_verdict",
    "verdict_line",
]

MOST_BYTES_PER_FILE = 4096
"""More than any file of kernels takes on any core, compiled with -O2; held by a test."""
_BYTES_PER_CALL = 40  # seven arguments, each by a load, a pointer to it, and the call


def tflm_verdict(bundle: Bundle, board: Board, kernels: str | None, allocate: str) -> Verdict:
    """What `keras-tree check` says.

    Raises:
        BudgetError: The cost of an operator is not known, or the kernels are not for the core.
    """
    return judge(bundle, Check(board.name, board, kernels=kernels, allocate=allocate))


def c_verdict(bundle: Bundle, board: Board, program: CProgram, kernel_files: int) -> Verdict:
    """The same for a program in plain C.

    Args:
        bundle: What was compiled.
        board: The board.
        program: What it was compiled to.
        kernel_files: Files of kernels for the board's instruction set.
    """
    calls = program.files["kt_model.c"].count("(buffer") + len(program.kernels)
    code_bytes = kernel_files * MOST_BYTES_PER_FILE + calls * _BYTES_PER_CALL
    rom = (
        Part("constants", "runtime", program.stored_bytes),
        Part("parameters of kernels", "runtime", program.parameter_bytes),
        Part("code, at most", "runtime", code_bytes),
    )
    total = sum(part.size_bytes for part in rom)
    ram = [Part("one buffer for all tasks", "arena", program.buffer_bytes)]
    if board.runs_from_ram:
        ram.append(Part("the program, which runs from RAM", "arena", total))
    return replace(
        judge(bundle, Check(board.name, board)),
        rom=Usage("ROM", board.rom_slot_bytes, False, rom, (-100 * code_bytes / total, 0.0)),
        ram=Usage("RAM", board.ram_bytes, False, tuple(ram), (0.0, 0.0)),
        time=None,
        next_steps=(),
        notes=(),
    )


def verdict_line(verdict: Verdict) -> str:
    """The line that ends the table of `keras-tree check`, with the board before it."""
    word = phrases.verdict_word(verdict)
    return f"{word}  {verdict.check.board.name}: {phrases.outcome(BudgetReport((verdict,)))}"


def figure_rows(verdict: Verdict) -> list[Sequence[str]]:
    """Rows of the README's table: what, bytes, of the board's, error."""
    rows: list[Sequence[str]] = []
    for usage in (verdict.rom, verdict.ram):
        limit = f"{usage.limit_bytes:,} ({phrases.limit_origin(usage)})"
        error = phrases.error_band(usage.error_percent)
        rows.append((f"**{usage.memory}**", f"**{usage.used_bytes:,}**", limit, error))
        rows += [(part.name, f"{part.size_bytes:,}", "", "") for part in _parts(usage)]
    if verdict.time is not None:
        band = verdict.time.latency.error_percent
        task, told = verdict.time.task, phrases.time_of_limit(verdict.time)
        rows.append((f"**time** of task {task}", f"**{told}**", "", phrases.error_band(band)))
    return rows


def _parts(usage: Usage) -> list[Part]:
    return [part for part in usage.parts if part.size_bytes]


def free_bytes(verdict: Verdict) -> str:
    """What both memories leave to the rest of a firmware."""
    rom, ram = (format_bytes(max(0, usage.free_bytes)) for usage in (verdict.rom, verdict.ram))
    return f"{rom} of ROM and {ram} of RAM are left for the rest of the firmware"
