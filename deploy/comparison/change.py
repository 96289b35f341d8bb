"""The values of a comparison: what changed, from what to what, and by how much.

Arithmetic that a value can make of itself stands here. Finding the changes is in `difference.py`,
rendering in `report/`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from deploy.comparison.comparand import TaskFacts
from deploy.units import format_bytes

# Reports may write times to a tenth of a microsecond.
_SAME_US = 0.1
_CONTRACTS = {
    "seam": "the seam behind {} changed its contract",
    "input": "the input of {} changed its contract",
    "output": "the output of {} changed its contract",
}
_FIRMWARE = {
    "input": "the firmware that feeds it must change with it",
    "output": "the firmware that reads it must change with it",
}


@dataclass(frozen=True)
class Change:
    """One figure on both sides.

    Args:
        name: What it is of.
        old: The figure before; None where there was none.
        new: The figure now; None where it is gone.
        unit: "bytes", "us" or "macs".
        has_same_content: Whether the bytes behind the figure are equal; None where only the figure
            is known.
        precisions: The forms that a node is stored in, before and now; None where one is not known.
    """

    name: str
    old: float | None
    new: float | None
    unit: str = "bytes"
    has_same_content: bool | None = None
    precisions: tuple[str, str] | None = None

    @property
    def delta(self) -> float:
        """New less old, a side that is missing counted as 0."""
        return (self.new or 0) - (self.old or 0)

    @property
    def has_other_precision(self) -> bool:
        """Whether a node is known to be stored in another form than before."""
        return self.precisions is not None and self.precisions[0] != self.precisions[1]

    @property
    def percent(self) -> float | None:
        """`delta` in percent of the old figure; None where there was none to grow from."""
        return 100 * self.delta / self.old if self.old and self.new is not None else None

    @property
    def word(self) -> str:
        """What happened to it: new, gone, changed or same."""
        if self.old is None or self.new is None:
            return "new" if self.old is None else "gone"
        is_same = abs(self.delta) < (_SAME_US if self.unit == "us" else 1)
        return "same" if is_same and self.has_same_content is not False else "changed"


@dataclass(frozen=True)
class CheckChange:
    """The figures of one board, or of one check of a report.

    Args:
        name: The board or check.
        rom: Its ROM.
        ram: Its RAM.
        time: The time of its slowest task; None where it is not known on both sides.
    """

    name: str
    rom: Change
    ram: Change
    time: Change | None = None

    @property
    def changes(self) -> tuple[Change, ...]:
        """ROM, RAM, and time where it is known."""
        return (self.rom, self.ram) if self.time is None else (self.rom, self.ram, self.time)

    @property
    def word(self) -> str:
        """What happened to it: new, gone, changed or same."""
        words = [change.word for change in self.changes]
        return next((word for word in words if word != "same"), "same")


@dataclass(frozen=True)
class OperatorChange:
    """An operator that only one side has.

    Args:
        name: The operator.
        is_new: Whether the new side has it; otherwise the old one.
        rom_bytes: Its share of the kernels by board or check, on the side that has it; empty where
            that is not known.
    """

    name: str
    is_new: bool
    rom_bytes: dict[str, int]


@dataclass(frozen=True)
class TaskChange:
    """A task that is new, gone, takes another path, or was scored otherwise.

    Args:
        name: The task.
        old: What was known of it; None where it is new.
        new: What is known of it; None where it is gone.
    """

    name: str
    old: TaskFacts | None
    new: TaskFacts | None

    @property
    def word(self) -> str:
        """What happened to it: new, gone or changed."""
        if self.old is None:
            return "new"
        return "gone" if self.new is None else "changed"

    @property
    def is_comparable(self) -> bool:
        """Whether both sides were scored with one metric."""
        if self.old is None or self.new is None:
            return False
        return bool(self.old.metric) and self.old.metric == self.new.metric

    @property
    def delta(self) -> float:
        """New int8 metric less the old one; NaN where they cannot be compared."""
        if self.old is None or self.new is None or not self.is_comparable:
            return math.nan
        return self.new.int8_value - self.old.int8_value


@dataclass(frozen=True)
class ContractChange:
    """A tensor whose type, shape, scale, zero point or meaning is another one now.

    Args:
        kind: "seam", "input" or "output".
        node: The node whose tensor it is.
        old: The contract before.
        new: The contract now.
        consumers: For a seam, the nodes that read it, on either side.
    """

    kind: str
    node: str
    old: str
    new: str
    consumers: tuple[str, ...] = ()

    @property
    def message(self) -> str:
        """What changed, and what must be replaced on devices."""
        if self.kind != "seam":
            return f"{_CONTRACTS[self.kind].format(self.node)}: {_FIRMWARE[self.kind]}"
        return (
            f"{_CONTRACTS['seam'].format(self.node)}: every branch behind it must be replaced on "
            f"devices together with {self.node}: {', '.join(self.consumers)}"
        )


@dataclass(frozen=True)
class Growth:
    """A memory held against what it may grow.

    Args:
        memory: "ROM", "RAM" or "the model".
        where: The board or check; empty for the model.
        change: The memory on both sides.
        allowed_bytes: How much it may grow.
    """

    memory: str
    where: str
    change: Change
    allowed_bytes: int

    @property
    def is_too_much(self) -> bool:
        """Whether it grew by more than is allowed."""
        return self.change.delta > self.allowed_bytes

    @property
    def message(self) -> str:
        """Which memory grew, by how much, and what is allowed."""
        old, new = round(self.change.old or 0), round(self.change.new or 0)
        name = f"{self.memory} of {self.where}" if self.where else self.memory
        return (
            f"{name} grew by {_exact(new - old)}, from {_exact(old)} to {_exact(new)}; allowed are "
            f"{_exact(self.allowed_bytes)}"
        )


def _exact(size_bytes: int) -> str:
    """A size for people that never rounds two different ones to the same text."""
    if size_bytes < 1024:
        return format_bytes(size_bytes)
    return f"{format_bytes(size_bytes)} ({size_bytes:,} B)"


@dataclass(frozen=True)
class Difference:
    """All that differs between two sides.

    Args:
        old: Where the old side was read from.
        new: Where the new side was read from.
        nodes: Every node of either side, the largest change first.
        model: All nodes together; None where one name stands for different nodes.
        macs: Multiply-accumulates of all nodes, each once; None where they are not known.
        operators: Operators that only one side has.
        checks: Boards or checks, the largest change first.
        tasks: Tasks that changed.
        contracts: Tensors whose contract changed.
        growths: What was held against an allowance; empty without one.
        notes: What a reader must know besides.
        error_percent: The widest error band (low, high) of the figures of boards on either side, by
            quantity ("rom", "ram", "time"); empty where it is not known.
    """

    old: str
    new: str
    nodes: tuple[Change, ...]
    model: Change | None
    macs: Change | None
    operators: tuple[OperatorChange, ...]
    checks: tuple[CheckChange, ...]
    tasks: tuple[TaskChange, ...]
    contracts: tuple[ContractChange, ...]
    growths: tuple[Growth, ...] = ()
    notes: tuple[str, ...] = ()
    error_percent: dict[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def is_none(self) -> bool:
        """Whether there is no difference in all that could be compared."""
        words = [node.word for node in self.nodes] + [check.word for check in self.checks]
        if self.macs is not None:
            words.append(self.macs.word)
        is_same = all(word == "same" for word in words)
        return is_same and not (self.operators or self.tasks or self.contracts)

    @property
    def too_much(self) -> tuple[Growth, ...]:
        """What grew by more than is allowed."""
        return tuple(growth for growth in self.growths if growth.is_too_much)

    @property
    def fits(self) -> bool:
        """Whether nothing grew by more than is allowed."""
        return not self.too_much
