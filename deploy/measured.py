"""A check of a bundle compiled to plain C: what was measured of it counts instead of an estimate.

Here stands what becomes of a measurement in a check. Measuring is in `deploy/emulation`.
"""

from __future__ import annotations

from pathlib import Path

from deploy.board import Board
from deploy.emulation.measurement import (
    Measurement,
    MeasurementError,
    check_measurement,
    read_measurement,
)
from deploy.usage import Part
from quantize.bundle import Bundle

__all__ = [
    "Measurement",
    "MeasurementError",
    "file_of_core",
    "measured_of",
    "ram_parts",
    "rom_parts",
    "run_note",
]

_WITHOUT_NODE = "kernels and library"


def file_of_core(path: Path, core: str) -> Path | None:
    """The file itself; of a folder the core's, None where it has none."""
    if not path.is_dir():
        return path
    file = path / f"{core}.json"
    return file if file.exists() else None


def measured_of(path: Path, bundle: Bundle, core: str) -> Measurement:
    """Read what was measured of these nodes on this core.

    Args:
        path: What `keras-tree measure --output` wrote.
        bundle: What is checked, of the checked tasks only.
        core: The board's.

    Raises:
        MeasurementError: The file cannot be used, is stale, or of another core.
    """
    try:
        measurement = read_measurement(path)
    except OSError as error:
        raise MeasurementError(
            f"'{path}' must be a measurement that can be read; {error.strerror}. Check the path, "
            "or write it with `keras-tree measure --output`."
        ) from error
    check_measurement(measurement, bundle)
    if measurement.core != core:
        raise MeasurementError(
            f"'{path}' must be a measurement on the board's core {core}, received one on "
            f"{measurement.core}. Measure again: `keras-tree measure BUNDLE --core {core}`."
        )
    return measurement


def rom_parts(measurement: Measurement) -> tuple[Part, ...]:
    """Flash by the nodes that share it, then what no node owns; exact."""
    return tuple(
        Part(" + ".join(nodes) or _WITHOUT_NODE, "image", size)
        for nodes, size in measurement.rom_by_node().items()
    )


def ram_parts(measurement: Measurement, board: Board) -> tuple[Part, ...]:
    """RAM by cause on a board; exact."""
    program_bytes = measurement.rom_bytes if board.runs_from_ram else 0
    parts = (
        Part("buffer of all tasks", "arena", measurement.buffer_bytes),
        Part("stack", "arena", measurement.stack_bytes),
        Part("other static memory", "arena", measurement.other_ram_bytes),
        Part("the program, copied into RAM", "arena", program_bytes),
    )
    return tuple(part for part in parts if part.size_bytes)


def run_note(measurement: Measurement) -> str:
    """How it was measured, and the instructions of every task."""
    counts = ", ".join(
        f"{name} {task.most_instructions:,}" for name, task in measurement.tasks.items()
    )
    return (
        f"ROM and RAM were measured of the plain-C runtime on an emulated {measurement.core} "
        f"({measurement.compiler}, {measurement.optimize}); instructions at most: {counts}. What "
        "is said of nodes, arenas and operators is of the flatbuffers on TensorFlow Lite Micro"
    )
