"""The terminal's table of checks: one line per check, worst first, the outcome last.

Where a screen is too narrow for all columns, bars go first, then limits, then the growth of RAM and
time; what goes is still said in the explanation of a check.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from deploy.report import growth, phrases
from deploy.report.paint import Paint
from deploy.report.table import shortened
from deploy.usage import Usage
from deploy.verdict import BudgetReport, Verdict

_WIDEST_BAR = 20
_NARROWEST_NAME = 5
_HEAD_OF_GROWTH = "vs base"


@dataclass(frozen=True)
class _Layout:
    """Which columns there are besides the name, the verdict, percentages and sizes.

    Args:
        readable_name: Columns of the names at least; longer names are cut there.
        narrowest_bar: What is inside the brackets of a bar at least; 0 for no bars.
        has_limits: Whether limits stand behind the sizes.
        deltas: Of which quantities the growth is shown.
    """

    readable_name: int
    narrowest_bar: int
    has_limits: bool
    deltas: frozenset[str]

    @property
    def has_bars(self) -> bool:
        return self.narrowest_bar > 0


_ALL = frozenset({"rom", "ram", "time"})
_LAYOUTS = (
    _Layout(12, 5, True, _ALL),
    _Layout(24, 3, True, _ALL),
    _Layout(12, 0, True, _ALL),
    _Layout(12, 0, False, _ALL),
    _Layout(12, 0, False, frozenset({"rom"})),
)


def lines(report: BudgetReport, width: int, paint: Paint) -> Iterator[str]:
    """The table with its head, the outcome, and the errors and margins behind it."""
    layout, name_width = _chosen(report, width)
    sizes = _Sizes.of(report, layout)
    bar_width = 0
    if layout.has_bars:
        bar_width = min(_WIDEST_BAR, (width - sizes.fixed(layout) - name_width) // 2)
    yield paint(_head(layout, sizes, name_width, bar_width), "heading")
    for verdict in report.verdicts:
        word = phrases.verdict_word(verdict)
        cells = [_memory(verdict, key, layout, sizes, bar_width, paint) for key in ("rom", "ram")]
        if sizes.time:
            cells.append(_time(verdict, layout, sizes, paint))
        name = f"{shortened(verdict.check.name, name_width):{name_width}}"
        yield "  ".join([f"{paint(f'{word:5}', word)}", name, *cells])
    yield paint(phrases.outcome(report), "OVER" if report.over_budget else "fits")
    for remark in (phrases.errors(report.verdicts), phrases.margins(report)):
        for line in textwrap.wrap(remark, width, break_on_hyphens=False):
            yield paint(line, "note")


@dataclass(frozen=True)
class _Sizes:
    """Widths of the columns, 0 where a column is left out."""

    used: dict[str, int]
    limit: dict[str, int]
    delta: dict[str, int]
    time: int

    @classmethod
    def of(cls, report: BudgetReport, layout: _Layout) -> _Sizes:
        used, limit, delta = {}, {}, {}
        for key in ("rom", "ram"):
            figures = [phrases.kibibytes(getattr(one, key)) for one in report.verdicts]
            used[key] = max(len(mine) for mine, _ in figures)
            limit[key] = max(len(most) for _, most in figures) if layout.has_limits else 0
        for key in ("rom", "ram", "time"):
            shown = report.has_baseline and key in layout.deltas
            cells = [growth.delta(getattr(one, key)) for one in report.verdicts]
            delta[key] = max(len(_HEAD_OF_GROWTH), *map(len, cells)) if shown else 0
        times = [_time_cell(one, layout) for one in report.verdicts]
        has_time = any(one.time is not None for one in report.verdicts)
        return cls(used, limit, delta, max(map(len, times)) if has_time else 0)

    def fixed(self, layout: _Layout) -> int:
        """Columns of everything but the name and what is inside the bars' brackets."""
        total = 7
        for key in ("rom", "ram"):
            # A gap, a percentage and a blank; the slash; the bar's brackets and a blank.
            total += 7 + self.used[key] + _with_gap(self.limit[key]) + 3 * layout.has_bars
            total += _with_gap(self.delta[key])
        return total + (2 + self.time + _with_gap(self.delta["time"]) if self.time else 0)


def _with_gap(column: int) -> int:
    return column + 1 if column else 0


def _chosen(report: BudgetReport, width: int) -> tuple[_Layout, int]:
    """The first layout that leaves room for readable names, and the width of the names."""
    longest = max(len(verdict.check.name) for verdict in report.verdicts)
    room = 0
    for layout in _LAYOUTS:
        bars = 2 * layout.narrowest_bar
        room = width - _Sizes.of(report, layout).fixed(layout) - bars
        if room >= min(longest, layout.readable_name):
            break
    return layout, max(_NARROWEST_NAME, min(longest, room))


def _head(layout: _Layout, sizes: _Sizes, name_width: int, bar_width: int) -> str:
    cells = [f"       {'check':{name_width}}"]
    for key in ("rom", "ram"):
        before = bar_width + 8 if layout.has_bars else 5
        head = f"{key.upper():{before}}{'KiB':>{sizes.used[key]}}"
        head += " " * _with_gap(sizes.limit[key])
        cells.append(head + _head_of_growth(sizes.delta[key]))
    if sizes.time:
        cells.append(f"{'time':>{sizes.time}}" + _head_of_growth(sizes.delta["time"]))
    return "  ".join(cells).rstrip()


def _head_of_growth(width: int) -> str:
    return f" {_HEAD_OF_GROWTH:>{width}}" if width else ""


def _memory(
    verdict: Verdict, key: str, layout: _Layout, sizes: _Sizes, bar_width: int, paint: Paint
) -> str:
    """Bar, percentage, sizes and growth of one memory."""
    usage: Usage = getattr(verdict, key)
    mine, most = phrases.kibibytes(usage)
    text = f"{phrases.percent(usage):>4} {mine:>{sizes.used[key]}}"
    if layout.has_bars:
        text = f"{_bar(usage, bar_width)} {text}"
    if layout.has_limits:
        text += f"/{most:{sizes.limit[key]}}"
    cell = text if usage.fits else paint(text, "OVER")
    return cell + _growth(usage, sizes.delta[key], paint)


def _time(verdict: Verdict, layout: _Layout, sizes: _Sizes, paint: Paint) -> str:
    """The slowest task's time, its limit and its growth."""
    text = f"{_time_cell(verdict, layout):>{sizes.time}}"
    is_over = verdict.time is not None and not verdict.time.fits
    cell = paint(text, "OVER") if is_over else text
    return cell + _growth(verdict.time, sizes.delta["time"], paint)


def _time_cell(verdict: Verdict, layout: _Layout) -> str:
    return phrases.time_of_limit(verdict.time, layout.has_limits)


def _growth(quantity: growth.Quantity | None, width: int, paint: Paint) -> str:
    if not width:
        return ""
    text = f" {growth.delta(quantity):>{width}}"
    return paint(text, "GREW") if quantity is not None and quantity.grew_too_much else text


def _bar(usage: Usage, width: int) -> str:
    """Such as [####....]; a byte shows, and a full bar means full."""
    filled = min(width, int(width * usage.percent / 100))
    filled = max(filled, 1) if usage.used_bytes else filled
    return f"[{'#' * filled}{'.' * (width - filled)}]"
