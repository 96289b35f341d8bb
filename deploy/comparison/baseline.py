"""Baseline: what earlier checks found, for growth gates. Values only.

A baseline is kept in git or as a CI artifact. Its file is written and read in `baseline_file.py`; a
bundle is held against it in `budget.py`, and two of them are compared in `difference.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class BaselineCheck:
    """What one check found earlier.

    Args:
        name: The check.
        rom_bytes: ROM as the check counts it, the reserve included.
        ram_bytes: RAM, the same.
        latency_us: Time of the slowest task, or None.
        node_bytes: Flatbuffer bytes by node.
        operator_bytes: Kernel bytes by operator.
    """

    name: str
    rom_bytes: int
    ram_bytes: int
    latency_us: float | None = None
    node_bytes: dict[str, int] = field(default_factory=dict)
    operator_bytes: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Baseline:
    """Earlier checks by name.

    Args:
        checks: By the name of the check.
        origin: Where it was read from, for messages.
    """

    checks: dict[str, BaselineCheck]
    origin: str = ""
