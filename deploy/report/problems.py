"""What a CI must be told of a check, one entry per cause, by the name of the rule it broke.

JUnit XML and SARIF write these; the sentences are the report's own, from `verdict.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from deploy.next_steps import Step
from deploy.report.phrases import stated_error
from deploy.units import format_bytes, format_microseconds
from deploy.usage import Timing, Usage
from deploy.verdict import Verdict

QUANTITIES = ("rom", "ram", "latency")
CLOSE = "close-to-budget"


@dataclass(frozen=True)
class Problem:
    """One limit that is passed, or nearly.

    Args:
        rule: "rom-over-budget", "ram-growth", "close-to-budget", and so on; stable.
        quantity: "rom", "ram" or "latency", as a budget file calls it.
        text: What is over, by how much, and the largest part; one sentence without a full stop.
        steps: What would help, the most useful first.
    """

    rule: str
    quantity: str
    text: str
    steps: tuple[Step, ...] = ()

    @property
    def is_failure(self) -> bool:
        """Whether the check fails for it; close to a limit still fits."""
        return self.rule != CLOSE


def problems(verdict: Verdict) -> tuple[Problem, ...]:
    """What fails first, then what is close."""
    found = [problem for key, one in quantities(verdict) for problem in _of(verdict, key, one)]
    return tuple(sorted(found, key=lambda problem: not problem.is_failure))


def quantities(verdict: Verdict) -> tuple[tuple[str, Usage | Timing], ...]:
    """ROM, RAM, and time where it is known, each with its key in a budget file."""
    return tuple(zip(QUANTITIES, verdict.quantities, strict=False))


def _of(verdict: Verdict, key: str, one: Usage | Timing) -> list[Problem]:
    found = []
    if not one.fits:
        steps = tuple(step for step in verdict.next_steps if _helps(step, key))
        found.append(Problem(f"{key}-over-budget", key, one.message, steps))
    if one.grew_too_much:
        found.append(Problem(f"{key}-growth", key, one.growth_message))
    if one.is_close:
        found.append(Problem(CLOSE, key, one.message))
    return found


def _helps(step: Step, key: str) -> bool:
    return step.memory == "both" or step.memory.lower() in (key, {"latency": "time"}.get(key))


def figures(verdict: Verdict) -> tuple[str, ...]:
    """A line for each quantity: used, limit, the change against the baseline, and the error."""
    return tuple(f"{_figure(one)}; {_error(one)}" for _, one in quantities(verdict))


def _error(one: Usage | Timing) -> str:
    band = one.error_percent if isinstance(one, Usage) else one.latency.error_percent
    return stated_error(band)


def _figure(one: Usage | Timing) -> str:
    if isinstance(one, Usage):
        sums = f"{one.memory} {format_bytes(one.used_bytes)} of {format_bytes(one.limit_bytes)}"
        delta = None if one.growth_bytes is None else format_bytes(one.growth_bytes)
    else:
        limit = "" if one.limit_us is None else f" of {format_microseconds(one.limit_us)}"
        sums = f"latency {format_microseconds(one.used_us)}{limit} ({one.task})"
        delta = None if one.growth_us is None else format_microseconds(one.growth_us)
    if delta is None:
        return sums
    return f"{sums}, {delta if delta.startswith('-') else f'+{delta}'} against the baseline"
