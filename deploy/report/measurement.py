"""A measurement as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from deploy.emulation.measurement import MeasuredTask, Measurement
from deploy.units import format_bytes

__all__ = ["measurement_report"]

_KINDS = {
    "constant": "constants: weights, biases, tables",
    "parameters": "parameters of the operators",
    "code": "generated code",
    "kernel": "kernels",
    "library": "compiler's library",
    "padding": "padding between them",
}
_NOBODYS = "kernels, library, padding"


def measurement_report(measurement: Measurement, details: bool = False) -> str:
    """Write a measurement.

    Args:
        measurement: The figures.
        details: Whether to list every constant, function and kernel of the flash.
    """
    lines = [
        f"{measurement.bundle} on {measurement.core}, {measurement.isa} kernels",
        f"built with {measurement.compiler}, {measurement.optimize}; ran on {measurement.emulator}",
        "",
        f"ROM     {_bytes(measurement.rom_bytes)}  ({_sections(measurement)})",
        f"RAM     {_bytes(measurement.static_ram_bytes)}  static, one buffer for all tasks"
        + (f" and {measurement.other_ram_bytes:,} B besides" * bool(measurement.other_ram_bytes)),
        f"stack   {_bytes(measurement.stack_bytes)}  at its deepest",
        "",
        *_columns("ROM by what it holds", "bytes", _by_kind(measurement)),
        "",
        *_columns("ROM by node", "bytes", _by_node(measurement)),
    ]
    if details:
        lines += ["", *_columns("ROM by name", "bytes", _by_name(measurement))]
    for name, task in measurement.tasks.items():
        lines += ["", *_task(name, task)]
    return "\n".join(lines)


def _task(name: str, task: MeasuredTask) -> list[str]:
    """One inference, operator by operator."""
    between = task.instructions - sum(one.instructions for one in task.operators)
    width = max((len(one.node) for one in task.operators), default=0)
    rows = [(f"{one.node:{width}}  {one.operator}", one.instructions) for one in task.operators]
    spread = ""
    if task.most_instructions > task.least_instructions:
        spread = f" ({task.least_instructions:,} to {task.most_instructions:,})"
    title = (
        f"task {name}: {task.instructions:,} instructions{spread}, stack {task.stack_bytes:,} B, "
        f"{task.vectors} of {task.vectors} golden vectors equal"
    )
    return [title, *_rows([*rows, ("between the operators", between)])]


def _by_kind(measurement: Measurement) -> list[tuple[str, int]]:
    found = measurement.rom_by_kind()
    return [(said, found[kind]) for kind, said in _KINDS.items() if kind in found]


def _by_node(measurement: Measurement) -> list[tuple[str, int]]:
    found = measurement.rom_by_node()
    rows = [(" + ".join(nodes), size) for nodes, size in found.items() if nodes]
    return [*rows, *[(_NOBODYS, size) for nodes, size in found.items() if not nodes]]


def _by_name(measurement: Measurement) -> list[tuple[str, int]]:
    parts = sorted(measurement.rom_parts, key=lambda part: -part.size_bytes)
    return [
        (f"{part.name}  {part.kind}" + f" of {', '.join(part.nodes)}" * bool(part.nodes),
         part.size_bytes)
        for part in parts
    ]  # fmt: skip


def _columns(title: str, unit: str, rows: Sequence[tuple[str, int]]) -> list[str]:
    return [f"{title}, {unit}", *_rows(rows)]


def _rows(rows: Iterable[tuple[str, int]]) -> list[str]:
    rows = list(rows)
    width = max((len(name) for name, _ in rows), default=0)
    figures = max((len(f"{value:,}") for _, value in rows), default=0)
    return [f"  {name:{width}}  {value:>{figures},}" for name, value in rows]


def _sections(measurement: Measurement) -> str:
    return ", ".join(f"{name} {size:,}" for name, size in measurement.rom_sections.items())


def _bytes(count: int) -> str:
    said = f" = {format_bytes(count)}" if count >= 1024 else ""
    return f"{count:>9,} B{said}"
