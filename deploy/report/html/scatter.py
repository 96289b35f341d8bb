"""Accuracy against bytes: one drawing per metric, one row of marks per task."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from deploy.report import phrases
from deploy.report.html.arena_picture import nice_step
from deploy.report.html.drawing import drawing, label
from deploy.report.html.fitting import fitted
from deploy.report.html.markup import Markup, number, tag
from deploy.units import format_bytes
from deploy.verdict import Verdict
from quantize.bundle import Score

_WIDTH, _HEIGHT = 640.0, 300.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 64.0, 150.0, 18.0, 48.0
_SIZE, _LINE = 13.0, 15.0
_TICKS = (1.0, 2.0, 2.5, 5.0)


@dataclass(frozen=True)
class Point:
    """One task with a score.

    Args:
        task: Its name.
        score: What was measured.
        share_bytes: Its share of the stored nodes.
        path_bytes: The flatbuffers of its whole path.
    """

    task: str
    score: Score
    share_bytes: int
    path_bytes: int

    @property
    def values(self) -> list[float]:
        """The metric's values that are finite: int8, float."""
        return [one for one in (self.score.int8_value, self.score.float_value) if _is_value(one)]


def points(verdict: Verdict) -> dict[str, list[Point]]:
    """Return the tasks of a check that have a finite int8 score, by metric."""
    found: dict[str, list[Point]] = {}
    for task in verdict.footprint.tasks.values():
        score = verdict.bundle.tasks[task.name].score
        if score is not None and _is_value(score.int8_value):
            point = Point(task.name, score, task.share_bytes, task.model_rom_bytes)
            found.setdefault(score.metric, []).append(point)
    return found


def _is_value(value: float) -> bool:
    return math.isfinite(value)


def scatter(metric: str, tasks: Sequence[Point], identity: str) -> Markup:
    """Return the drawing of one metric.

    Args:
        metric: Its name.
        tasks: At least one.
        identity: As for `drawing`.
    """
    scale = _Scale(metric, tasks)
    better = "" if metric == "accuracy" else ", lower is better"
    text = "; ".join(
        f"{one.task}: int8 {_value(one.score, one.score.int8_value)}, share "
        f"{format_bytes(one.share_bytes)}, path {format_bytes(one.path_bytes)}"
        for one in tasks
    )
    return drawing(
        _WIDTH,
        _HEIGHT,
        identity,
        f"{metric} against bytes per task{better}",
        text,
        *_axes(scale),
        *(mark for one in tasks for mark in _marks(one, scale)),
        *_labels(tasks, scale),
        class_="scatter",
    )


class _Scale:
    """Bytes and values to coordinates, with the ticks of both."""

    def __init__(self, metric: str, tasks: Sequence[Point]) -> None:
        self.metric = metric
        self.score = tasks[0].score
        most = max(one.path_bytes for one in tasks)
        self.byte_step = nice_step(1.08 * most, 6)
        self.most_bytes = self.byte_step * (most // self.byte_step + 1)
        values = [value for one in tasks for value in one.values]
        self.low, self.high, self.step = value_range(values, metric == "accuracy")

    def x(self, size_bytes: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * size_bytes / self.most_bytes

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)


def value_range(values: Sequence[float], is_share: bool) -> tuple[float, float, float]:
    """Return the lower and upper end of an axis and the step of its ticks.

    Args:
        values: Finite, at least one.
        is_share: Whether they are shares of 1, beyond which the axis does not go.
    """
    low, high = min(values), max(values)
    span = max(high - low, 0.01 if is_share else abs(high) * 0.1, 1e-12)
    power = 10 ** math.floor(math.log10(span / 4))
    step = next((power * one for one in _TICKS if power * one >= span / 4), 10 * power)
    first, last = math.floor(low / step - 0.3), math.ceil(high / step + 0.3)
    if is_share and high <= 1:
        last = min(last, math.ceil(1 / step - 1e-9))
    if low >= 0:
        first = max(first, 0)
    return first * step, max(last, first + 1) * step, step


def _axes(scale: _Scale) -> Iterator[Markup]:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    for index in range(round((scale.high - scale.low) / scale.step) + 1):
        value = scale.low + index * scale.step
        y = scale.y(value)
        yield tag("line", x1=_LEFT, x2=right, y1=y, y2=y, class_="grid")
        yield label(_tick(scale, value), _LEFT - 8, y + 4, anchor="end", class_="tick")
    for size in range(0, scale.most_bytes + 1, scale.byte_step):
        x = scale.x(size)
        yield tag("line", x1=x, x2=x, y1=bottom, y2=bottom + 5, class_="axis")
        yield label(format_bytes(size), x, bottom + 19, anchor="middle", class_="tick")
    yield tag("line", x1=_LEFT, x2=right, y1=bottom, y2=bottom, class_="axis")
    yield label("flatbuffer bytes", right, _HEIGHT - 6, anchor="end", class_="tick")


def _tick(scale: _Scale, value: float) -> str:
    if scale.metric == "accuracy":
        return f"{100 * value:.{0 if scale.step >= 0.01 else 1}f}%"
    return f"{value:.3g}"


def _value(score: Score, value: float) -> str:
    if not _is_value(value):
        return "-"
    return f"{100 * value:.1f}%" if score.metric == "accuracy" else f"{value:.3g}"


def _marks(one: Point, scale: _Scale) -> Iterator[Markup]:
    """A line from share to path, a disc and a square for int8, small crosses for float."""
    y = scale.y(one.score.int8_value)
    share, path = scale.x(one.share_bytes), scale.x(one.path_bytes)
    cells = phrases.score_cells(one.score)
    told = f"{one.task}: int8 {_value(one.score, one.score.int8_value)}"
    told += f", float {cells[1]}" if _is_value(one.score.float_value) else ""
    hover = f"{told}, share {one.share_bytes:,} bytes, path {one.path_bytes:,} bytes"
    yield tag("line", x1=share, x2=path, y1=y, y2=y, class_="between")
    if _is_value(one.score.float_value):
        other = scale.y(one.score.float_value)
        for x in (share, path):
            d = f"M{number(x - 4)} {number(other)}h8M{number(x)} {number(other - 4)}v8"
            yield tag("path", tag("title", hover), d=d, class_="float")
    yield tag("circle", tag("title", hover), cx=share, cy=y, r=5, class_="share")
    yield tag(
        "rect", tag("title", hover), x=path - 4.5, y=y - 4.5, width=9, height=9, class_="whole"
    )


def _labels(tasks: Sequence[Point], scale: _Scale) -> Iterator[Markup]:
    """Each task's name behind its square, below the names above it."""
    lowest = 0.0
    for one in sorted(tasks, key=lambda one: scale.y(one.score.int8_value)):
        x = scale.x(one.path_bytes) + 10
        y = lowest = max(scale.y(one.score.int8_value) + 4, lowest + _LINE)
        shown = fitted(one.task, _WIDTH - 2 - x, _SIZE, is_bold=True)
        if shown and y < _HEIGHT - _BOTTOM + _LINE:
            yield label(shown, x, y, class_="name")
