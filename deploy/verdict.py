"""The values of a budget: a check, the use of a memory, a verdict, and the report over them.

Sums and comparisons that a value can make of itself stand here. Holding a bundle against checks is
in `budget.py`, rendering in `report/`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deploy.board import Board
from deploy.units import format_bytes

if TYPE_CHECKING:
    from deploy.footprint import Footprint
    from deploy.next_steps import Step
    from quantize.bundle import Bundle


@dataclass(frozen=True)
class Check:
    """One question: does the bundle, or some of its tasks, fit on this board?

    Args:
        name: Name of the check; in a plain call the board's name.
        board: The board.
        tasks: The tasks that are shipped; None for all.
        rom_limit_bytes: Most flash the firmware may take; None for the board's application slot.
        ram_limit_bytes: Most RAM; None for the board's main block.
        kernels: Kernel set, or None for the best that was measured for the board's core.
        reserve_rom_bytes: Flash that the rest of the firmware takes; it counts as used.
        reserve_ram_bytes: RAM that the rest of the firmware takes; it counts as used.
    """

    name: str
    board: Board
    tasks: tuple[str, ...] | None = None
    rom_limit_bytes: int | None = None
    ram_limit_bytes: int | None = None
    kernels: str | None = None
    reserve_rom_bytes: int = 0
    reserve_ram_bytes: int = 0


@dataclass(frozen=True)
class Part:
    """One cause of use, in bytes.

    Args:
        name: The cause.
        group: "nodes" or "runtime" (ROM), "arena" (RAM), or "reserve".
        size_bytes: What it takes.
    """

    name: str
    group: str
    size_bytes: int


@dataclass(frozen=True)
class Usage:
    """One memory of one check.

    Args:
        memory: "ROM" or "RAM".
        limit_bytes: What may be used, above 0.
        is_own_limit: Whether the user set the limit; otherwise it is the board's.
        parts: What is used; their sum is `used_bytes`.
        error_percent: Band (low, high) of the estimated parts, all but the reserve.
    """

    memory: str
    limit_bytes: int
    is_own_limit: bool
    parts: tuple[Part, ...]
    error_percent: tuple[float, float]

    @property
    def used_bytes(self) -> int:
        """The estimate: sum of the parts."""
        return sum(part.size_bytes for part in self.parts)

    @property
    def highest_bytes(self) -> int:
        """The upper end of the estimate's error band."""
        estimated = sum(part.size_bytes for part in self.parts if part.group != "reserve")
        return self.used_bytes + round(estimated * max(0.0, self.error_percent[1]) / 100)

    @property
    def fits(self) -> bool:
        """Whether the estimate is within the limit."""
        return self.used_bytes <= self.limit_bytes

    @property
    def is_close(self) -> bool:
        """Whether it fits, but would not at the upper end of the error band."""
        return self.fits and self.highest_bytes > self.limit_bytes

    @property
    def over_bytes(self) -> int:
        """By how much the limit is passed; 0 when it fits."""
        return max(0, self.used_bytes - self.limit_bytes)

    @property
    def free_bytes(self) -> int:
        """What is left below the limit; 0 when it is passed."""
        return max(0, self.limit_bytes - self.used_bytes)

    @property
    def percent(self) -> float:
        """Use in percent of the limit."""
        return 100 * self.used_bytes / self.limit_bytes

    @property
    def largest_part(self) -> Part:
        """The part that takes the most."""
        return max(self.parts, key=lambda part: part.size_bytes)

    @property
    def message(self) -> str:
        """By how much it is over and its largest part, or how close it is; empty when it fits."""
        sums = f"{format_bytes(self.used_bytes)} of {format_bytes(self.limit_bytes)}"
        if self.is_close:
            free, highest = format_bytes(self.free_bytes), format_bytes(self.highest_bytes)
            return (
                f"{self.memory} fits with {free} to spare: {sums}, but the estimate's error "
                f"reaches up to {highest}"
            )
        if self.fits:
            return ""
        part = self.largest_part
        name = f"node {part.name}" if part.group == "nodes" else part.name
        return (
            f"{self.memory} is {format_bytes(self.over_bytes)} over: {sums}; largest part: {name}, "
            f"{format_bytes(part.size_bytes)}"
        )

    def group_bytes(self, group: str) -> int:
        """Sum over the parts of one group."""
        return sum(part.size_bytes for part in self.parts if part.group == group)


@dataclass(frozen=True)
class Verdict:
    """What one check found.

    Args:
        check: The question.
        footprint: What the bundle costs on the board.
        rom: Flash against its limit.
        ram: RAM against its limit.
        next_steps: What would bring it below the limits, the most useful first; empty when it fits.
        notes: What a reader must know besides.
    """

    check: Check
    footprint: Footprint
    rom: Usage
    ram: Usage
    next_steps: tuple[Step, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether both memories are within their limits."""
        return self.rom.fits and self.ram.fits

    @property
    def is_close(self) -> bool:
        """Whether it fits, but not at the upper end of the estimate's error band."""
        return self.fits and (self.rom.is_close or self.ram.is_close)

    @property
    def percent(self) -> float:
        """Use of the fuller memory, in percent of its limit."""
        return max(self.rom.percent, self.ram.percent)

    @property
    def messages(self) -> tuple[str, ...]:
        """What there is to say of either memory."""
        return tuple(usage.message for usage in (self.rom, self.ram) if usage.message)


@dataclass(frozen=True)
class BudgetReport:
    """A bundle held against several checks.

    Args:
        bundle: What was checked.
        verdicts: One per check, the worst first.
    """

    bundle: Bundle = field(repr=False)
    verdicts: tuple[Verdict, ...]

    @property
    def bundle_name(self) -> str:
        """The bundle's name."""
        return self.bundle.name

    @property
    def fits(self) -> bool:
        """Whether every check fits."""
        return all(verdict.fits for verdict in self.verdicts)

    @property
    def over_budget(self) -> tuple[Verdict, ...]:
        """The verdicts that do not fit."""
        return tuple(verdict for verdict in self.verdicts if not verdict.fits)
