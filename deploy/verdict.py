"""The values of a budget: a check, its verdict, and the report over all verdicts.

Sums and comparisons that a value can make of itself stand here. Holding a bundle against checks is
in `budget.py`, rendering in `report/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.board import Board
from deploy.units import NOTHING, Allowance
from deploy.usage import Timing, Usage

if TYPE_CHECKING:
    from deploy.comparison.baseline import BaselineCheck
    from deploy.footprint import Footprint
    from deploy.lint import Finding
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
        bundle: Name of the bundle that is checked; empty where there is only one.
        latency_limit_us: Most time that one task may take, in microseconds; None for no limit.
        margin: What must stay free below every limit, of a size or a share of the limit.
        allow_growth: By quantity ("rom", "ram", "latency"), how much it may grow against the
            baseline; a quantity that is missing may grow up to its limit.
        allocate: "all": every path lies in the arena at once; "one": only the path that runs.
        image: A linked firmware image (ELF) whose ROM counts instead of the estimate, or None.
        measured: What `keras-tree measure` found of the plain-C runtime on the board's core, whose
            ROM and RAM count instead of the estimates: a file, or a folder with a file per core,
            used where there is one of the board's. None for estimates.
        file: The budget file that the check stands in, or None.
        lines: Lines of that file, from 1, by key ("check", "rom", "ram", "latency",
            "allow_growth"); "check" is always there.
    """

    name: str
    board: Board
    tasks: tuple[str, ...] | None = None
    rom_limit_bytes: int | None = None
    ram_limit_bytes: int | None = None
    kernels: str | None = None
    reserve_rom_bytes: int = 0
    reserve_ram_bytes: int = 0
    bundle: str = ""
    latency_limit_us: float | None = None
    margin: Allowance = NOTHING
    allow_growth: Mapping[str, Allowance] = field(default_factory=dict)
    allocate: str = "all"
    image: Path | None = None
    measured: Path | None = None
    file: Path | None = None
    lines: Mapping[str, int] = field(default_factory=dict)

    def ram_reserve_bytes(self, board: Board) -> int:
        """RAM that the rest of the firmware takes on `board`, its code included where that is."""
        return self.reserve_ram_bytes + (self.reserve_rom_bytes if board.runs_from_ram else 0)


@dataclass(frozen=True)
class Verdict:
    """What one check found.

    Args:
        check: The question.
        bundle: What was checked.
        footprint: What the bundle costs on the board.
        rom: Flash against its limit.
        ram: RAM against its limit.
        time: Latency against its limit; None where nothing was published for the core and kernels.
        next_steps: What would bring it below the limits, the most useful first; empty when it fits.
        notes: What a reader must know besides.
        baseline: What the same check found earlier, or None.
    """

    check: Check
    bundle: Bundle = field(repr=False)
    footprint: Footprint
    rom: Usage
    ram: Usage
    time: Timing | None = None
    next_steps: tuple[Step, ...] = ()
    notes: tuple[str, ...] = ()
    baseline: BaselineCheck | None = None

    @property
    def has_own_rom(self) -> bool:
        """Whether ROM is that of an image or a measurement, and no estimate."""
        return any(part.group == "image" for part in self.rom.parts)

    @property
    def quantities(self) -> tuple[Usage | Timing, ...]:
        """ROM, RAM, and time where it is known."""
        return (self.rom, self.ram) if self.time is None else (self.rom, self.ram, self.time)

    @property
    def is_within_limits(self) -> bool:
        """Whether ROM, RAM and time are within their limits."""
        return all(quantity.fits for quantity in self.quantities)

    @property
    def grew_too_much(self) -> bool:
        """Whether ROM, RAM or time grew by more than is allowed against the baseline."""
        return any(quantity.grew_too_much for quantity in self.quantities)

    @property
    def fits(self) -> bool:
        """Whether everything is within its limits, and nothing grew too much."""
        return self.is_within_limits and not self.grew_too_much

    @property
    def is_close(self) -> bool:
        """Whether it fits, but not at the upper end of the estimate's error band."""
        return self.fits and any(quantity.is_close for quantity in self.quantities)

    @property
    def percent(self) -> float:
        """Use of the fullest of ROM, RAM and time, in percent of its limit."""
        return max(quantity.percent for quantity in self.quantities)

    @property
    def messages(self) -> tuple[str, ...]:
        """What there is to say of ROM, RAM and time: over or close first, then growth."""
        told = [quantity.message for quantity in self.quantities]
        grown = [quantity.growth_message for quantity in self.quantities]
        return tuple(message for message in (*told, *grown) if message)


@dataclass(frozen=True)
class BudgetReport:
    """Bundles held against several checks.

    Args:
        verdicts: One per check, at least one, the worst first.
        findings: By the bundle's name, what the lint found.
        is_compared: Whether a baseline was given, also one that knows none of the checks.
    """

    verdicts: tuple[Verdict, ...]
    findings: Mapping[str, tuple[Finding, ...]] = field(default_factory=dict)
    is_compared: bool = False

    @property
    def bundles(self) -> tuple[Bundle, ...]:
        """What was checked, each once, in the order of its worst verdict."""
        return tuple({verdict.bundle.name: verdict.bundle for verdict in self.verdicts}.values())

    @property
    def name(self) -> str:
        """The names of the bundles."""
        return ", ".join(bundle.name for bundle in self.bundles)

    @property
    def fits(self) -> bool:
        """Whether every check fits."""
        return all(verdict.fits for verdict in self.verdicts)

    @property
    def over_budget(self) -> tuple[Verdict, ...]:
        """The verdicts that do not fit."""
        return tuple(verdict for verdict in self.verdicts if not verdict.fits)

    @property
    def has_baseline(self) -> bool:
        """Whether a baseline was given, or any check has one."""
        return self.is_compared or any(verdict.baseline is not None for verdict in self.verdicts)

    def of(self, bundle: Bundle) -> tuple[Verdict, ...]:
        """The verdicts of one bundle, the worst first."""
        return tuple(one for one in self.verdicts if one.bundle.name == bundle.name)

    def widest(self, bundle: Bundle) -> Verdict:
        """The bundle's verdict with the most tasks, the worst of them: its nodes are shown."""
        return max(self.of(bundle), key=lambda verdict: len(verdict.footprint.tasks))
