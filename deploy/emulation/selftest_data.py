"""Golden vectors as the C file that `firmware_stubs/ports/selftest.c` replays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from deploy.codegen.compiled import CProgram, TaskProgram

__all__ = ["GoldenVectors", "selftest_data"]

GoldenVectors = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""int8 inputs (n, ...) and outputs (n, ...) by task."""

_NUMBERS_PER_LINE = 24


def selftest_data(program: CProgram, golden: GoldenVectors, most_bytes: int | None = None) -> str:
    """Write `kt_selftest_data.c`.

    Args:
        program: What is tested; its header must be named `kt_model.h`.
        golden: The vectors of every task of the program.
        most_bytes: Memory for all vectors together; later vectors of each task are left out where
            they would take more, and the first of each is kept.
    """
    counts = _vector_counts(program, golden, most_bytes)
    parts = [_HEAD.format(buffer_bytes=max(program.buffer_bytes, 1))]
    cases = []
    for index, (name, task) in enumerate(program.tasks.items()):
        inputs, outputs = (np.asarray(array)[: counts[name]] for array in golden[name])
        parts.append(_array(f"inputs_{index}", inputs))
        parts.append(_array(f"outputs_{index}", outputs))
        cases.append(_case(index, task, counts[name]))
    parts.append(_CASES.format(cases="".join(cases), count=len(cases)))
    return "\n".join(parts)


def _vector_counts(
    program: CProgram, golden: GoldenVectors, most_bytes: int | None
) -> dict[str, int]:
    """How many vectors of each task are kept."""
    counts = {name: len(golden[name][0]) for name in program.tasks}
    sizes = {name: task.input_bytes + task.output_bytes for name, task in program.tasks.items()}
    while most_bytes is not None:
        total = sum(counts[name] * sizes[name] for name in counts)
        largest = max(counts, key=lambda name: counts[name] * sizes[name] * (counts[name] > 1))
        if total <= most_bytes or counts[largest] <= 1:
            break
        counts[largest] = (counts[largest] + 1) // 2
    return counts


def _array(name: str, codes: np.ndarray) -> str:
    # An array of C has at least one element.
    numbers = [str(code) for code in np.asarray(codes, np.int8).ravel()] or ["0"]
    lines = [
        "    " + ", ".join(numbers[at : at + _NUMBERS_PER_LINE])
        for at in range(0, len(numbers), _NUMBERS_PER_LINE)
    ]
    body = ",\n".join(lines)
    return f"GOLDEN static const int8_t {name}[{len(numbers)}] = {{\n{body}}};\n"


def _case(index: int, task: TaskProgram, vectors: int) -> str:
    label = task.name.replace("\\", "\\\\").replace('"', '\\"')
    return (
        f'    {{"{label}", {task.run}, inputs_{index}, outputs_{index}, {vectors}U, '
        f"{task.input_offset}U, {task.input_bytes}U, {task.output_offset}U, "
        f"{task.output_bytes}U}},\n"
    )


_HEAD = """\
/* Golden vectors of the bundle; generated. */
#include "kt_model.h"
#include "kt_selftest.h"

#if defined(__ELF__)
#define GOLDEN __attribute__((section(".golden")))
#else
#define GOLDEN
#endif

#if defined(__GNUC__)
__attribute__((aligned(16)))
#endif
int8_t kt_selftest_buffer[{buffer_bytes}];
"""

_CASES = """\
GOLDEN const kt_selftest_case_t kt_selftest_cases[] = {{
{cases}}};

GOLDEN const uint32_t kt_selftest_case_count = {count};
"""
