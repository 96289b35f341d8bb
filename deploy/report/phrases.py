"""Words and figures that every rendering for people writes alike.

Here stands text without layout: no width, no colour, no table.
"""

from __future__ import annotations

import math

from deploy.footprint import Footprint
from deploy.units import format_bytes
from deploy.verdict import BudgetReport, Usage, Verdict
from quantize.bundle import Bundle, Score


def verdict_word(verdict: Verdict) -> str:
    """One word: "OVER", "close" (fits, but not at the upper end of the error band) or "fits"."""
    if not verdict.fits:
        return "OVER"
    return "close" if verdict.is_close else "fits"


def percent(usage: Usage) -> str:
    """Use of a limit, rounded away from it: 100 % never hides on which side it is."""
    rounded = math.floor(usage.percent) if usage.fits else math.ceil(usage.percent)
    return f"{min(rounded, 999)}%"


def kibibytes(usage: Usage) -> tuple[str, str]:
    """Used and limit in KiB, for a column that says KiB in its head."""
    return f"{usage.used_bytes / 1024:.1f}", f"{usage.limit_bytes / 1024:.1f}"


def error_band(band: tuple[float, float]) -> str:
    """Such as "-0.3 to +0.1%"."""
    return f"{band[0]:+.3g} to {band[1]:+.3g}%"


def outcome(report: BudgetReport) -> str:
    """The last line of a table of checks."""
    count = len(report.verdicts)
    over = len(report.over_budget)
    if count == 1:
        return "; ".join(
            _margin(usage) for usage in (report.verdicts[0].rom, report.verdicts[0].ram)
        )
    if not over:
        return f"{count} of {count} checks fit"
    return f"{over} of {count} checks over budget, {count - over} fit"


def _margin(usage: Usage) -> str:
    if usage.fits:
        return f"{usage.memory} fits with {format_bytes(usage.free_bytes)} free"
    return f"{usage.memory} is {format_bytes(usage.over_bytes)} over budget"


def errors(report: BudgetReport) -> str:
    """The stated errors of all estimates: those of most checks, then the checks with others."""
    names: dict[str, list[str]] = {}
    for verdict in report.verdicts:
        bands = (
            f"ROM {error_band(verdict.rom.error_percent)}, "
            f"RAM {error_band(verdict.ram.error_percent)}"
        )
        names.setdefault(bands, []).append(verdict.check.name)
    usual = max(names, key=lambda bands: len(names[bands]))
    others = [f"{', '.join(names[bands])}: {bands}" for bands in names if bands != usual]
    return "; ".join([f"error of the estimates: {usual}", *others])


def saving(found: Footprint) -> str:
    """What one single-task model per task would cost in flatbuffers, and what the tree saves."""
    count = len(found.tasks)
    if count < 2:
        return "one task: a tree saves nothing against a single model"
    share = 100 * found.saved_bytes / found.separate_model_bytes
    return (
        f"{count} separate single-task models would take {found.separate_model_bytes:,} bytes; "
        f"the tree saves {found.saved_bytes:,} ({share:.1f}%)"
    )


def score_cells(score: Score | None) -> tuple[str, str, str]:
    """Metric, float value and int8 value; dashes where nothing was measured."""
    if score is None:
        return "-", "-", "-"
    return score.metric, _metric(score, score.float_value), _metric(score, score.int8_value)


def _metric(score: Score, value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{100 * value:.1f}%" if score.metric == "accuracy" else f"{value:.3g}"


def agreement(score: Score | None) -> str:
    """Share of predictions in which int8 and float agree."""
    return "-" if score is None or math.isnan(score.agreement) else f"{100 * score.agreement:.1f}%"


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
    """Exact bytes, and whose limit it is."""
    return f"{usage.used_bytes:,} of {usage.limit_bytes:,} bytes ({limit_origin(usage)})"


def kernels_by_operator(found: Footprint, most: int = 6) -> list[str]:
    """The operators whose kernels take the most bytes, shared code shared out among them."""
    ordered = sorted(found.runtime.by_operator.items(), key=lambda item: -item[1])
    terms = [f"{name} {size:,}" for name, size in ordered[:most]]
    rest = sum(size for _, size in ordered[most:])
    return [*terms, f"others {rest:,}"] if rest else terms


def model_size(bundle: Bundle) -> str:
    """Tasks, nodes and flatbuffer bytes of a whole bundle."""
    total = format_bytes(sum(node.rom_bytes for node in bundle.nodes.values()))
    tasks, nodes = _count(len(bundle.tasks), "task"), _count(len(bundle.nodes), "node")
    return f"{tasks}, {nodes}, {total} of model"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
