"""The tables that a command shows of the bundle that it made. Text only; nothing is measured."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quantize.bundle import Bundle


def summary(bundle: Bundle, width: int) -> str:
    """The nodes with their forms and bytes, and what the bundle keeps of every task."""
    from deploy.report.phrases import agreement, score_cells
    from deploy.report.table import columns

    nodes: list[tuple[str, ...]] = [
        ("node", "precision", "bytes", "stripped", "parameters", "operators")
    ]
    for node in bundle.nodes.values():
        stripped = node.unstripped_bytes - node.rom_bytes
        nodes.append(
            (
                node.name,
                node.precision,
                f"{node.rom_bytes:,}",
                f"-{stripped:,}",
                f"{node.parameters:,}",
                ", ".join(node.operators),
            )
        )
    nodes.append(_total(bundle))
    tasks = [("task", "metric", "float", "bundle", "agreement", "weakest node", "path")]
    for task in bundle.tasks.values():
        weakest = task.score.weakest_node if task.score else None
        tasks.append(
            (
                task.name,
                *score_cells(task.score),
                agreement(task.score),
                weakest or "-",
                " > ".join(task.path),
            )
        )
    return "\n".join(
        [
            *columns(nodes, "llrrrl", width),
            "",
            *columns(tasks, "llrrrll", width),
        ]
    )


def _total(bundle: Bundle) -> tuple[str, ...]:
    """The last row of the table of nodes."""
    nodes = bundle.nodes.values()
    rom_bytes = sum(node.rom_bytes for node in nodes)
    stripped = sum(node.unstripped_bytes for node in nodes) - rom_bytes
    parameters = sum(node.parameters for node in nodes)
    return "total", "", f"{rom_bytes:,}", f"-{stripped:,}", f"{parameters:,}", ""


def screen_width() -> int:
    """Columns for tables: those of the terminal, from 72 to 120."""
    return min(max(shutil.get_terminal_size((100, 24)).columns, 72), 120)
