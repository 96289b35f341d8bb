"""Words and figures that every rendering for people writes alike.

Here stands text without layout: no width, no colour, no table.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from deploy.footprint import Footprint, TaskFootprint
from deploy.footprint.latency import Latency
from deploy.lint import Finding
from deploy.report import growth
from deploy.units import NOTHING, format_bytes, format_microseconds
from deploy.usage import Timing, Usage
from deploy.verdict import BudgetReport, Verdict
from quantize.bundle import Bundle, Score

NOT_MEASURED = "-"
"""Stands for a figure that there is not."""


def verdict_word(verdict: Verdict) -> str:
    """One word: "OVER", "GREW", "close" (fits, but not at the upper end of its error) or "fits"."""
    if not verdict.is_within_limits:
        return "OVER"
    if verdict.grew_too_much:
        return "GREW"
    return "close" if verdict.is_close else "fits"


def percent(usage: Usage) -> str:
    """Use of a limit, rounded away from it: 100 % never hides on which side it is."""
    rounded = math.floor(usage.percent) if usage.fits else math.ceil(usage.percent)
    return f"{min(rounded, 999)}%"


def kibibytes(usage: Usage) -> tuple[str, str]:
    """Used and limit in KiB, for a column that says KiB in its head."""
    return f"{usage.used_bytes / 1024:.1f}", f"{usage.limit_bytes / 1024:.1f}"


def error_band(band: tuple[float, float]) -> str:
    """Such as "-0.3 to +0.1%"; "exact" where it is measured."""
    if band == (0, 0):
        return "exact"
    return f"{band[0]:+.3g} to {band[1]:+.3g}%"


def time_of_limit(timing: Timing | None, has_limit: bool = True) -> str:
    """Such as "12.3 ms", "11.5/10.0 ms" with a limit to be shown; a dash where none is known."""
    if timing is None:
        return NOT_MEASURED
    used = format_microseconds(timing.used_us)
    if timing.limit_us is None or not has_limit:
        return used
    limit = format_microseconds(timing.limit_us)
    (number, unit), limit_unit = used.split(), limit.split()[1]
    return f"{number if unit == limit_unit else used}/{limit}"


def stated_error(band: tuple[float, float]) -> str:
    """Such as "error -0.3 to +0.1%", or "exact"."""
    told = error_band(band)
    return told if told == "exact" else f"error {told}"


def outcome(report: BudgetReport) -> str:
    """The last line of a table of checks."""
    count, over = len(report.verdicts), len(report.over_budget)
    if count == 1:
        return "; ".join(_outcome_of_one(report.verdicts[0]))
    if not over:
        return f"{count} of {count} checks fit"
    grew = sum(verdict_word(verdict) == "GREW" for verdict in report.verdicts)
    told = f"{over - grew} of {count} checks over budget"
    if grew:
        told = (
            f"{told}, {grew} grew too much"
            if over > grew
            else f"{grew} of {count} checks grew too much"
        )
    return f"{told}, {count - over} fit"


def _outcome_of_one(verdict: Verdict) -> Iterator[str]:
    for usage in (verdict.rom, verdict.ram):
        yield _room(usage.memory, usage.fits, format_bytes(usage.free_bytes or usage.over_bytes))
    time = verdict.time
    if time is not None and time.limit_us is not None:
        free = time.limit_us - time.margin_us - time.used_us
        yield _room("latency", time.fits, format_microseconds(abs(free)))
    for name, quantity in quantities(verdict):
        if quantity.grew_too_much:
            yield f"{name} grew by {growth.delta(quantity).removeprefix('+')}"


def _room(name: str, fits: bool, amount: str) -> str:
    return f"{name} fits with {amount} free" if fits else f"{name} is {amount} over budget"


def quantities(verdict: Verdict) -> list[tuple[str, growth.Quantity]]:
    """ROM, RAM, and time where it is known, each with its name."""
    return list(zip(("ROM", "RAM", "time"), verdict.quantities, strict=False))


def errors(verdicts: Iterable[Verdict]) -> str:
    """The stated errors of all estimates: of each the usual band, then the checks with others."""
    bands: dict[str, dict[str, list[str]]] = {}
    for verdict in verdicts:
        for name, quantity in quantities(verdict):
            band = (
                quantity.latency.error_percent
                if isinstance(quantity, Timing)
                else quantity.error_percent
            )
            bands.setdefault(name, {}).setdefault(error_band(band), []).append(verdict.check.name)
    return f"error of the estimates: {', '.join(_bands(name, of) for name, of in bands.items())}"


def _bands(name: str, checks: dict[str, list[str]]) -> str:
    usual = max(checks, key=lambda band: len(checks[band]))
    others = [f"{some(names)} {band}" for band, names in checks.items() if band != usual]
    return f"{name} {usual}" + (f" ({'; '.join(others)})" if others else "")


def some(names: Sequence[str], most: int = 4) -> str:
    """The first names of a list, and how many follow."""
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[:most])} and {len(names) - most} more"


def margins(report: BudgetReport) -> str:
    """What is kept free below the limits; empty where no check has a margin."""
    checks: dict[str, list[str]] = {}
    for verdict in report.verdicts:
        if verdict.check.margin != NOTHING:
            checks.setdefault(verdict.check.margin.text, []).append(verdict.check.name)
    if not checks:
        return ""
    if [len(report.verdicts)] == [len(names) for names in checks.values()]:
        return f"margin: every limit less {next(iter(checks))}"
    told = [f"limits of {some(names)} less {text}" for text, names in checks.items()]
    return f"margin: {'; '.join(told)}"


def saving(found: Footprint) -> str:
    """What one single-task model per task would cost in flatbuffers, and what the tree saves."""
    count = len(found.tasks)
    if count < 2:
        return "one task: a tree saves nothing against a single model"
    if not found.saved_bytes:
        return "no node is shared: a tree saves nothing against one model per task"
    share = 100 * found.saved_bytes / found.separate_model_bytes
    return (
        f"{count} separate single-task models would take {found.separate_model_bytes:,} bytes; "
        f"the tree saves {found.saved_bytes:,} ({share:.1f}%)"
    )


def stripped(size_bytes: int) -> str:
    """What the strip took off a node."""
    return f"-{size_bytes:,}" if size_bytes else "0"


def score_cells(score: Score | None) -> tuple[str, str, str]:
    """Metric, float value and int8 value; dashes where nothing was measured."""
    if score is None:
        return NOT_MEASURED, NOT_MEASURED, NOT_MEASURED
    return score.metric, _metric(score, score.float_value), _metric(score, score.int8_value)


def _metric(score: Score, value: float) -> str:
    if not math.isfinite(value):
        return NOT_MEASURED
    return f"{100 * value:.1f}%" if score.metric == "accuracy" else f"{value:.3g}"


def agreement(score: Score | None) -> str:
    """Share of predictions in which int8 and float agree."""
    return (
        NOT_MEASURED
        if score is None or not math.isfinite(score.agreement)
        else f"{100 * score.agreement:.1f}%"
    )


def board_line(verdict: Verdict) -> str:
    """Core, clock and kernels behind a check."""
    board = verdict.check.board
    return f"{board.core} at {board.clock_hz / 1e6:g} MHz, {verdict.footprint.kernels} kernels"


def limit_origin(usage: Usage) -> str:
    """Whose limit it is."""
    if usage.is_own_limit:
        return "your limit"
    return "the board's application slot" if usage.memory == "ROM" else "the board's main block"


def parts(usage: Usage) -> list[str]:
    """What a memory is the sum of, in bytes: ["model 21,910", "runtime core 10,896", ...]."""
    terms = []
    if usage.group_bytes("nodes"):
        terms.append(f"model {usage.group_bytes('nodes'):,}")
    terms += [
        f"{part.name} {part.size_bytes:,}"
        for part in usage.parts
        if part.group != "nodes" and part.size_bytes
    ]
    return terms


def used_of_limit(usage: Usage) -> str:
    """Exact bytes, whose limit it is, and the margin below it."""
    less = f" less a margin of {usage.margin_bytes:,}" if usage.margin_bytes else ""
    return f"{usage.used_bytes:,} of {usage.limit_bytes:,} bytes ({limit_origin(usage)}{less})"


def kernels_by_operator(found: Footprint, most: int = 6) -> list[str]:
    """The operators whose kernels take the most bytes, shared code shared out among them."""
    ordered = sorted(found.runtime.by_operator.items(), key=lambda item: -item[1])
    terms = [f"{name} {size:,}" for name, size in ordered[:most]]
    rest = sum(size for _, size in ordered[most:])
    return [*terms, f"others {rest:,}"] if rest else terms


def model_size(bundle: Bundle) -> str:
    """Tasks, nodes and flatbuffer bytes of a whole bundle."""
    total = format_bytes(sum(node.rom_bytes for node in bundle.nodes.values()))
    tasks, nodes = counted(len(bundle.tasks), "task"), counted(len(bundle.nodes), "node")
    return f"{tasks}, {nodes}, {total} of model"


def counted(number: int, noun: str) -> str:
    """A number and its noun: "1 node", "3 nodes"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def time_sum(timing: Timing) -> str:
    """Time of the slowest task, its limit and its error."""
    told = format_microseconds(timing.used_us)
    if timing.limit_us is not None:
        less = (
            f" less a margin of {format_microseconds(timing.margin_us)}" if timing.margin_us else ""
        )
        told += f" of {format_microseconds(timing.limit_us)} (your limit{less})"
    return f"{told}, task {timing.task}; {stated_error(timing.latency.error_percent)}"


def time_parts(latency: Latency) -> list[str]:
    """A time as the sum over its nodes: ["trunk 9.10 ms", "digit 2.40 ms"]."""
    return [f"{name} {format_microseconds(us)}" for name, us in latency.by_node.items()]


def unpublished_time(found: Footprint) -> str:
    """What is known instead of a time: instructions; empty where not even they were counted."""
    counted_paths = [
        f"{task.name} {task.instructions:,}"
        for task in found.tasks.values()
        if task.instructions is not None
    ]
    if not counted_paths:
        return ""
    return (
        f"none was published for {found.board.core} with {found.kernels} kernels; instructions of "
        f"a path, kernels compiled with -Os: {', '.join(counted_paths)}"
    )


def second_opinion(latency: Latency) -> str:
    """The instructions behind a time, and what MACs say of it; empty where neither is known."""
    count = latency.instructions
    told = "" if count is None else f"{count:,} instructions"
    if latency.second_microseconds is None:
        return told
    # Plus nothing, so that no change is never "-0.0".
    change = round(100 * (latency.second_microseconds / latency.microseconds - 1), 1) + 0.0
    by_macs = f"by MACs {format_microseconds(latency.second_microseconds)} ({change:+.1f}%)"
    return f"{told}; {by_macs}" if told else by_macs


def finding(one: Finding) -> str:
    """What was found, what to do, and what it saves."""
    told = f"{one.text}; {one.advice}" if one.advice else one.text
    if not one.saved_bytes:
        return told
    where = f" on {one.board}" if one.board else ""
    of = f" of {one.memory}" if one.memory else ""
    return f"{told}; saves {format_bytes(one.saved_bytes)}{of}{where}"


def task_time(task: TaskFootprint) -> str:
    """Time of one task's path; a dash where it is not known."""
    return NOT_MEASURED if task.latency is None else format_microseconds(task.latency.microseconds)
