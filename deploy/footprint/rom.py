"""ROM of the runtime: the core of TensorFlow Lite Micro and the kernels that operators link."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RuntimeRom:
    """Code and constants of the runtime, in bytes of flash.

    Args:
        core_bytes: Start-up, interpreter, allocator, planner and the C library parts they need.
        kernel_bytes: Everything that the operators link on top of it.
        by_operator: `kernel_bytes` split: an operator's own bytes, and an even share of what it
            shares with other operators that are present; they sum to `kernel_bytes`.
        error_percent: Band (low, high): the linked image lies within it around the estimate.
        basis: The measured build behind the figures, and the stand-in where the core has none.
        notes: Operators without a measured row and what stands for them.
    """

    core_bytes: int
    kernel_bytes: int
    by_operator: dict[str, int]
    error_percent: tuple[float, float]
    basis: str
    notes: tuple[str, ...] = ()

    @property
    def rom_bytes(self) -> int:
        """Core and kernels together."""
        return self.core_bytes + self.kernel_bytes
