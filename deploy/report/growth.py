"""Words and figures of a report against its baseline, alike in every rendering for people.

What a check found earlier is in `deploy/baseline.py`; whether it grew too much says the verdict.
"""

from __future__ import annotations

from deploy.units import format_bytes, format_microseconds
from deploy.usage import Timing, Usage
from deploy.verdict import Verdict

Quantity = Usage | Timing


def delta_bytes(growth_bytes: int | None) -> str:
    """Use against the baseline's: "+1.2 KiB", "-16 B", "=", or "new" where there is none."""
    if growth_bytes is None:
        return "new"
    return f"{'+' if growth_bytes > 0 else ''}{format_bytes(growth_bytes)}" if growth_bytes else "="


def delta_us(growth_us: float | None) -> str:
    """Time against the baseline's, as `delta_bytes`; less than a nanosecond is nothing."""
    if growth_us is None:
        return "new"
    if abs(growth_us) < 1e-3:
        return "="
    return f"{'+' if growth_us > 0 else ''}{format_microseconds(growth_us)}"


def delta(quantity: Quantity | None) -> str:
    """What a quantity grew by against the baseline; a dash where it is not known."""
    if quantity is None:
        return "-"
    if isinstance(quantity, Timing):
        return delta_us(quantity.growth_us)
    return delta_bytes(quantity.growth_bytes)


def against_baseline(verdict: Verdict) -> list[str]:
    """Exact use before, and its growth: ["ROM 62,306 +3,200 (allowed 2,048)", ...]."""
    if verdict.baseline is None:
        return []
    terms = []
    for usage in (verdict.rom, verdict.ram):
        if usage.baseline_bytes is not None:
            allowed = usage.allowed_growth_bytes
            told = f"{usage.memory} {usage.baseline_bytes:,} {_signed(usage.growth_bytes or 0)}"
            terms.append(told + ("" if allowed is None else f" (allowed {allowed:,})"))
    time = verdict.time
    if time is not None and time.baseline_us is not None:
        told = f"time {format_microseconds(time.baseline_us)} {delta(time)}"
        limit = time.allowed_growth_us
        terms.append(told + ("" if limit is None else f" (allowed {format_microseconds(limit)})"))
    return terms


def _signed(number: int) -> str:
    return f"{number:+,}" if number else "="


def growth_causes(verdict: Verdict) -> list[tuple[str, str, int]]:
    """Nodes and operators whose bytes changed against the baseline, the largest change first.

    Returns:
        "node" or "operator", the name, and the growth in bytes.
    """
    before, found = verdict.baseline, verdict.footprint
    if before is None:
        return []
    nodes = {name: node.rom_bytes for name, node in found.nodes.items()}
    changes = []
    for kind, then, now in (
        ("node", before.node_bytes, nodes),
        ("operator", before.operator_bytes, found.runtime.by_operator),
    ):
        # A baseline that was written without the split says nothing about it.
        for name in {**then, **now} if then else ():
            change = now.get(name, 0) - then.get(name, 0)
            changes += [(kind, name, change)] if change else []
    return sorted(changes, key=lambda one: -abs(one[2]))


def growth_terms(verdict: Verdict, most: int = 6) -> list[str]:
    """`growth_causes` for people: ["node digit +1,200", ...]."""
    causes = growth_causes(verdict)
    rest = sum(change for _, _, change in causes[most:])
    terms = [f"{kind} {name} {change:+,}" for kind, name, change in causes[:most]]
    return [*terms, f"others {_signed(rest)}"] if len(causes) > most else terms
