"""What a firmware takes on its board, and whether it fits; for the runtime that was chosen.

On TensorFlow Lite Micro it is what `keras-tree check` says. In plain C the buffer and the constants
are known to the byte, because they were just laid out; code is bounded from above.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from deploy.board import Board
from deploy.budget import judge
from deploy.codegen import CProgram
from deploy.firmware_folder.kernel_code import most_code_bytes
from deploy.firmware_folder.kernel_sources import kernel_files
from deploy.report import phrases
from deploy.units import format_bytes
from deploy.usage import Part, Usage
from deploy.verdict import BudgetReport, Check, Verdict
from quantize.bundle import Bundle, BundleTask

__all__ = [
    "MOST_STACK_BYTES",
    "MOST_UNPACKING_STACK_BYTES",
    "c_verdict",
    "figure_rows",
    "free_bytes",
    "tflm_verdict",
    "verdict_line",
]

_CALL = re.compile(r"^    kt_\w+\(|^void kt_", re.MULTILINE)
_TASK_BYTES = 40  # kt_model_task_t on a 32-bit core

MOST_STACK_BYTES = {"portable": 512, "dsp": 2048, "mve": 1024}
"""Below the caller of `kt_run_<task>`, on Cortex-M and RISC-V with GCC or Clang at any level."""

MOST_UNPACKING_STACK_BYTES = 320
"""What comes to it where weights are packed: a layer's parameters for a block of its channels."""


def tflm_verdict(bundle: Bundle, board: Board, kernels: str | None, allocate: str) -> Verdict:
    """What `keras-tree check` says.

    Raises:
        BudgetError: The cost of an operator is not known, or the kernels are not for the core.
    """
    return judge(bundle, Check(board.name, board, kernels=kernels, allocate=allocate))


def c_verdict(bundle: Bundle, board: Board, program: CProgram) -> Verdict:
    """The same for a program in plain C.

    Args:
        bundle: What was compiled.
        board: The board.
        program: What it was compiled to.
    """
    calls = len(_CALL.findall(program.files["kt_model.c"]))
    files = kernel_files(program.kernels, program.isa, for_host=False)
    code_bytes = most_code_bytes(files, calls, board)
    rom = (
        Part("constants", "runtime", program.stored_bytes),
        Part("parameters of kernels", "runtime", program.parameter_bytes),
        Part("names and labels", "runtime", sum(map(_names_bytes, bundle.tasks.values()))),
        Part("code, at most", "runtime", code_bytes),
    )
    total = sum(part.size_bytes for part in rom)
    stack_bytes = MOST_STACK_BYTES[program.isa]
    stack_bytes += MOST_UNPACKING_STACK_BYTES if program.packs_weights else 0
    ram = [
        Part("one buffer for all tasks", "arena", program.buffer_bytes),
        Part("stack, at most", "arena", stack_bytes),
    ]
    if board.runs_from_ram:
        ram.append(Part("the program, which runs from RAM", "arena", total))
    ram_bytes = sum(part.size_bytes for part in ram)
    bounds = stack_bytes + (code_bytes if board.runs_from_ram else 0)
    return replace(
        judge(bundle, Check(board.name, board)),
        rom=Usage("ROM", board.rom_slot_bytes, False, rom, (-100 * code_bytes / total, 0.0)),
        ram=Usage("RAM", board.ram_bytes, False, tuple(ram), (-100 * bounds / ram_bytes, 0.0)),
        time=None,
        next_steps=(),
        notes=(),
    )


def _names_bytes(task: BundleTask) -> int:
    """A task's row in the table of tasks, its name and its labels, on a 32-bit core."""
    texts = [task.name, *task.labels]
    strings = sum(len(text.encode()) + 1 for text in texts)
    return _TASK_BYTES + strings + 4 * len(task.labels)


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
