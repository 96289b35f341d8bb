"""Finding: one thing that costs more than it need, and what to do about it, in short sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """What one rule found.

    Args:
        rule: Name of the rule, such as "single-user-operator"; stable, for filters and SARIF.
        where: The nodes or tasks it is about.
        text: What was found, in one sentence without a full stop, figures included.
        advice: What to do about it, in one sentence without a full stop; empty for nothing.
        memory: What doing it saves: "ROM", "RAM" or "time"; empty where only attention is due.
        saved_bytes: Bytes of that memory; 0 where only doing it tells.
        board: Name of the board on which `saved_bytes` holds; empty where it holds on all.
    """

    rule: str
    where: tuple[str, ...]
    text: str
    advice: str
    memory: str = ""
    saved_bytes: int = 0
    board: str = ""


def listed(names: Sequence[str]) -> str:
    """Names for a sentence: "a", "a and b", "a, b and c", "4 nodes"."""
    if len(names) > 3:
        return f"{len(names)} nodes"
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)
