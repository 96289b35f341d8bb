"""Time of one inference: cycles of a node on a core and a kernel set, with the stated error.

Belongs here: the estimate and where it comes from. A combination of core and kernels for which
nothing was published has no estimate. Does not belong here: limits (`deploy/budget.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deploy.board import Board
from quantize.bundle import Node


@dataclass(frozen=True)
class Latency:
    """The time that some nodes take, one after another.

    Args:
        microseconds: The estimate.
        error_percent: Band (low, high): the truth, measured on a device, lies within it.
        basis: The published measurements behind it.
        by_node: `microseconds` split by node.
        by_operator: `microseconds` split by operator name.
        instructions: What the instruction counts of each operator give, a second opinion: executed
            instructions, or None where none were counted for the core and kernels.
        second_microseconds: Time by those instructions, or None.
    """

    microseconds: float
    error_percent: tuple[float, float]
    basis: str
    by_node: dict[str, float]
    by_operator: dict[str, float]
    instructions: int | None = None
    second_microseconds: float | None = None


def latency(nodes: Mapping[str, Node], board: Board, kernels: str) -> Latency | None:
    """Return the time of one run through `nodes`, each once.

    Args:
        nodes: The nodes by name.
        board: Supplies core, floating-point unit and clock.
        kernels: "reference", "cmsis-nn" or "cmsis-nn-int8".

    Returns:
        The estimate; None where nothing was published for the core and the kernels.
    """
    return None
