"""What a check uses of one quantity: bytes of ROM or RAM, or time, against limit and baseline.

Sums and comparisons that a value can make of itself stand here; the verdict over all quantities is
in `verdict.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploy.units import format_bytes, format_microseconds

if TYPE_CHECKING:
    from deploy.footprint.latency import Latency


@dataclass(frozen=True)
class Part:
    """One cause of use, in bytes.

    Args:
        name: The cause.
        group: "nodes", "runtime" or "image" (ROM), "arena" (RAM), or "reserve".
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
        margin_bytes: What must stay free below the limit.
        baseline_bytes: What the baseline used, or None where it has no such check.
        allowed_growth_bytes: How much more than the baseline may be used; None for any.
    """

    memory: str
    limit_bytes: int
    is_own_limit: bool
    parts: tuple[Part, ...]
    error_percent: tuple[float, float]
    margin_bytes: int = 0
    baseline_bytes: int | None = None
    allowed_growth_bytes: int | None = None

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
    def usable_bytes(self) -> int:
        """The limit without the margin."""
        return self.limit_bytes - self.margin_bytes

    @property
    def fits(self) -> bool:
        """Whether the estimate is within the limit, the margin kept free."""
        return self.used_bytes <= self.usable_bytes

    @property
    def is_close(self) -> bool:
        """Whether it fits, but would not at the upper end of the error band."""
        return self.fits and self.highest_bytes > self.usable_bytes

    @property
    def over_bytes(self) -> int:
        """By how much the limit less the margin is passed; 0 when it fits."""
        return max(0, self.used_bytes - self.usable_bytes)

    @property
    def free_bytes(self) -> int:
        """What is left below the limit less the margin; 0 when it is passed."""
        return max(0, self.usable_bytes - self.used_bytes)

    @property
    def growth_bytes(self) -> int | None:
        """Use against the baseline's; None without one."""
        return None if self.baseline_bytes is None else self.used_bytes - self.baseline_bytes

    @property
    def grew_too_much(self) -> bool:
        """Whether it grew by more than is allowed."""
        growth, allowed = self.growth_bytes, self.allowed_growth_bytes
        return growth is not None and allowed is not None and growth > allowed

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
        if self.margin_bytes:
            sums += f" less a margin of {format_bytes(self.margin_bytes)}"
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

    @property
    def growth_message(self) -> str:
        """By how much it grew too much; empty otherwise."""
        if not self.grew_too_much:
            return ""
        growth, allowed = self.growth_bytes or 0, self.allowed_growth_bytes or 0
        return (
            f"{self.memory} grew by {format_bytes(growth)} against the baseline, from "
            f"{format_bytes(self.baseline_bytes or 0)} to {format_bytes(self.used_bytes)}; allowed "
            f"are {format_bytes(allowed)}"
        )

    def group_bytes(self, group: str) -> int:
        """Sum over the parts of one group."""
        return sum(part.size_bytes for part in self.parts if part.group == group)


@dataclass(frozen=True)
class Timing:
    """The time of one check: that of its slowest task, whose path is run once.

    Args:
        task: The slowest task.
        latency: The estimate for its path.
        limit_us: Most time it may take, in microseconds; None for no limit.
        margin_us: What must stay free below the limit.
        baseline_us: What the baseline took, or None.
        allowed_growth_us: How much longer than the baseline it may take; None for any.
    """

    task: str
    latency: Latency
    limit_us: float | None = None
    margin_us: float = 0.0
    baseline_us: float | None = None
    allowed_growth_us: float | None = None

    @property
    def used_us(self) -> float:
        """The estimate, in microseconds."""
        return self.latency.microseconds

    @property
    def highest_us(self) -> float:
        """The upper end of the estimate's error band."""
        return self.used_us * (1 + max(0.0, self.latency.error_percent[1]) / 100)

    @property
    def fits(self) -> bool:
        """Whether the estimate is within the limit, the margin kept free; true without a limit."""
        return self.limit_us is None or self.used_us <= self.limit_us - self.margin_us

    @property
    def is_close(self) -> bool:
        """Whether it fits, but would not at the upper end of the error band."""
        if self.limit_us is None:
            return False
        return self.fits and self.highest_us > self.limit_us - self.margin_us

    @property
    def over_us(self) -> float:
        """By how much the limit less the margin is passed; 0 when it fits."""
        return (
            0.0
            if self.limit_us is None
            else max(0.0, self.used_us - (self.limit_us - self.margin_us))
        )

    @property
    def percent(self) -> float:
        """Use in percent of the limit; 0 without one."""
        return 0.0 if self.limit_us is None else 100 * self.used_us / self.limit_us

    @property
    def growth_us(self) -> float | None:
        """Time against the baseline's; None without one."""
        return None if self.baseline_us is None else self.used_us - self.baseline_us

    @property
    def grew_too_much(self) -> bool:
        """Whether it grew by more than is allowed."""
        growth, allowed = self.growth_us, self.allowed_growth_us
        return growth is not None and allowed is not None and growth > allowed

    @property
    def message(self) -> str:
        """By how much it is over, or how close it is; empty when it fits."""
        if self.limit_us is None or (self.fits and not self.is_close):
            return ""
        sums = f"{format_microseconds(self.used_us)} of {format_microseconds(self.limit_us)}"
        if self.margin_us:
            sums += f" less a margin of {format_microseconds(self.margin_us)}"
        if self.is_close:
            return (
                f"latency of {self.task} fits: {sums}, but the estimate's error reaches up to "
                f"{format_microseconds(self.highest_us)}"
            )
        node = max(self.latency.by_node, key=lambda name: self.latency.by_node[name])
        return (
            f"latency of {self.task} is {format_microseconds(self.over_us)} over: {sums}; largest "
            f"part: node {node}, {format_microseconds(self.latency.by_node[node])}"
        )

    @property
    def growth_message(self) -> str:
        """By how much it grew too much; empty otherwise."""
        if not self.grew_too_much:
            return ""
        growth, baseline, used, allowed = map(
            format_microseconds,
            (self.growth_us or 0, self.baseline_us or 0, self.used_us, self.allowed_growth_us or 0),
        )
        return (
            f"latency grew by {growth} against the baseline, from {baseline} to {used}; allowed "
            f"are {allowed}"
        )
