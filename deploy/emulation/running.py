"""Run a bundle's tasks on an emulated core, vector by vector, and count."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from deploy.emulation.core import EmulatedCore, EmulationError, KernelCall, Run
from deploy.emulation.elf_sections import LinkedImage
from deploy.emulation.measurement import MeasuredOperator, MeasuredTask

if TYPE_CHECKING:
    from deploy.codegen.compiled import CProgram, TaskProgram

__all__ = ["GoldenMismatchError", "StepName", "run_task"]

StepName = tuple[str, int, str, str]
"""Node, number of the step in it, operator, kernel."""


class GoldenMismatchError(RuntimeError):
    """An output of the firmware that is not the golden one."""


@dataclass(frozen=True)
class _Place:
    """Where the program's buffer and functions are."""

    image: LinkedImage
    program: CProgram

    @property
    def buffer(self) -> int:
        return self.image.addresses["kt_selftest_buffer"]

    def kernels(self) -> dict[int, str]:
        addresses = self.image.addresses
        return {addresses[name]: name for name in self.program.kernels if name in addresses}


def run_task(
    core: EmulatedCore,
    image: LinkedImage,
    program: CProgram,
    task: TaskProgram,
    golden: tuple[np.ndarray, np.ndarray],
    steps: Sequence[StepName],
    progress: Callable[[str], None],
) -> MeasuredTask:
    """Run every golden vector of a task.

    Args:
        core: The core, started.
        image: What it holds.
        program: What was compiled.
        task: The task.
        golden: int8 inputs (n, ...) and outputs (n, ...).
        steps: The kernels that its path calls, in order.
        progress: Told after each vector.

    Raises:
        GoldenMismatchError: An output differs; names task, vector and element.
        EmulationError: The core faults, or calls other kernels than the program has.
    """
    place = _Place(image, program)
    inputs, outputs = (np.ascontiguousarray(array, np.int8) for array in golden)
    runs: list[Run] = []
    for vector, (codes, expected) in enumerate(zip(inputs, outputs, strict=True)):
        core.write(place.buffer + task.input_offset, codes.tobytes())
        kernels = None if runs else place.kernels()
        runs.append(core.run(image.addresses[task.run], place.buffer, kernels))
        received = core.read(place.buffer + task.output_offset, task.output_bytes)
        _compare(task.name, vector, expected.ravel(), np.frombuffer(received, np.int8))
        progress(
            f"{task.name}: vector {vector + 1} of {len(inputs)} equal, "
            f"{runs[-1].instructions:,} instructions"
        )
    counts = [run.instructions for run in runs]
    return MeasuredTask(
        path=task.path,
        vectors=len(runs),
        instructions=counts[0],
        least_instructions=min(counts),
        most_instructions=max(counts),
        stack_bytes=max(run.stack_bytes for run in runs),
        operators=_named(task.name, runs[0].calls, steps),
    )


def _compare(task: str, vector: int, expected: np.ndarray, received: np.ndarray) -> None:
    wrong = np.flatnonzero(expected != received)
    if len(wrong):
        element = int(wrong[0])
        raise GoldenMismatchError(
            f"task '{task}', golden vector {vector}, element {element}: expected "
            f"{expected[element]}, received {received[element]}; {len(wrong)} of {len(expected)} "
            "elements differ. The C firmware must compute what the golden vectors hold."
        )


def _named(
    task: str, calls: Sequence[KernelCall], steps: Sequence[StepName]
) -> tuple[MeasuredOperator, ...]:
    """Put the steps' names to the calls that were seen."""
    seen, expected = [call.kernel for call in calls], [step[3] for step in steps]
    if seen != expected:
        raise EmulationError(
            f"Task '{task}' must call its kernels in the order {expected}, it calls {seen}."
        )
    return tuple(
        MeasuredOperator(node, index, operator, kernel, call.instructions)
        for (node, index, operator, kernel), call in zip(steps, calls, strict=True)
    )
