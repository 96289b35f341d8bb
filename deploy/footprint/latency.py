"""Time of one inference on a core and a kernel set, with the stated error.

Instructions by cost models of counted operators (`latency_instructions.py`), times the cycles per
instruction that published timings give for the core, or for the very chip where it was timed. Where
nothing was published for the core and the kernels there is no time. docs/latency.md says how far to
trust it. Limits are in `deploy/budget.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deploy.board import Board
from deploy.footprint.latency_instructions import (
    OperatorCost,
    counted_build,
    latency_table,
    node_costs,
)
from quantize.bundle import Node

# Clocks that differ by less are the same clock, rounded.
_SAME_CLOCK = 0.01
# Operators whose instructions were not counted take from a tenth (those that only copy) to three
# times what the one that stands for them does.
_UNCOUNTED_PERCENT = (-90.0, 200.0)


@dataclass(frozen=True)
class Latency:
    """The time that some nodes take, one after another.

    Args:
        microseconds: The estimate.
        error_percent: Band (low, high): the truth, measured on a device, lies within it.
        basis: The published measurements behind it.
        by_node: `microseconds` split by node.
        by_operator: `microseconds` split by operator name.
        instructions: Executed instructions, kernels compiled with -Os, which the estimate is made
            of; None where none were counted for the core and kernels.
        second_microseconds: A second opinion: the time by published cycles per multiply-accumulate
            of convolutions, depthwise convolutions and fully connected layers, or None.
        uncounted_percent: Share of the estimate that operators take whose own instructions were
            not counted, so that an operator of like work stands for them.
    """

    microseconds: float
    error_percent: tuple[float, float]
    basis: str
    by_node: dict[str, float]
    by_operator: dict[str, float]
    instructions: int | None = None
    second_microseconds: float | None = None
    uncounted_percent: float = 0.0


def latency(nodes: Mapping[str, Node], board: Board, kernels: str) -> Latency | None:
    """Return the time of one run through `nodes`, each once.

    Args:
        nodes: The nodes by name.
        board: Supplies core, chip and clock.
        kernels: "reference", "cmsis-nn" or "cmsis-nn-int8"; the last two run at the same speed.

    Returns:
        The estimate; None where nothing was published for the core and the kernels, or a node is
        not int8.

    Raises:
        CoreError: The kernel set is unknown, or not made for the core.
        FlatbufferError: A node is no sound `.tflite` file.
    """
    build, published = counted_build(board.core, kernels), _published(board, kernels)
    costs = None if build is None or published is None else node_costs(nodes, build)
    if costs is None or published is None:
        return None
    every = [cost for node in costs.values() for cost in node]
    instructions = sum(cost.instructions for cost in every)
    per_instruction = 1e6 * published["cycles_per_instruction"] / board.clock_hz
    by_operator: dict[str, float] = {}
    for cost in every:
        taken = per_instruction * cost.instructions
        by_operator[cost.name] = by_operator.get(cost.name, 0.0) + taken
    uncounted = sum(cost.instructions for cost in every if not cost.is_counted)
    uncounted_percent = 100 * uncounted / instructions if instructions else 0.0
    return Latency(
        microseconds=per_instruction * instructions,
        error_percent=_band(published["error_percent"], uncounted_percent),
        basis=_basis(published["basis"], uncounted_percent),
        by_node={
            name: per_instruction * sum(cost.instructions for cost in node)
            for name, node in costs.items()
        },
        by_operator=by_operator,
        instructions=round(instructions),
        second_microseconds=1e6 * _cycles_by_macs(every, published) / board.clock_hz,
        uncounted_percent=uncounted_percent,
    )


def untimed_nodes(nodes: Mapping[str, Node], board: Board, kernels: str) -> tuple[str, ...]:
    """Return the nodes whose kernels were not counted, on a board that int8 nodes have a time on.

    Arguments and errors are those of `latency`.
    """
    build = counted_build(board.core, kernels)
    if build is None or _published(board, kernels) is None:
        return ()
    return tuple(name for name, node in nodes.items() if node_costs({name: node}, build) is None)


def _published(board: Board, kernels: str) -> dict[str, Any] | None:
    """What published rows give: of the same chip at the same clock, else of the same core."""
    entries = [
        entry
        for entry in latency_table()["cycles"]
        if entry["core"] == board.core and entry["kernels"] == kernels.removesuffix("-int8")
    ]
    for entry in entries:
        if entry["chip"] is not None and board.mcu.startswith(entry["chip"]):
            hertz = 1e6 * entry["mhz"]
            if abs(board.clock_hz - hertz) <= _SAME_CLOCK * hertz:
                return entry
    return next((entry for entry in entries if entry["chip"] is None), None)


def _band(published: Sequence[float], uncounted_percent: float) -> tuple[float, float]:
    """The band of the rows, wider by the share of operators that were not counted."""
    share = uncounted_percent / 100
    low, high = (
        (1 - share) * own + share * uncounted
        for own, uncounted in zip(published, _UNCOUNTED_PERCENT, strict=True)
    )
    return round(low, 1), round(high, 1)


def _basis(published: str, uncounted_percent: float) -> str:
    if round(uncounted_percent) == 0:
        return published
    return f"{published}; {uncounted_percent:.0f} % of it are operators that were not counted"


def _cycles_by_macs(costs: Iterable[OperatorCost], published: Mapping[str, Any]) -> float:
    """Cycles per multiply-accumulate by class; any other operator by its instructions."""
    per_mac: dict[str, float] = published["cycles_per_mac"]
    return sum(
        per_mac[cost.kind] * cost.macs
        if cost.kind in per_mac
        else published["cycles_per_instruction"] * cost.instructions
        for cost in costs
    )
