"""Words and figures of a comparison, alike on a terminal and in Markdown."""

from __future__ import annotations

import math

from deploy.comparison.change import Change, CheckChange, Difference, OperatorChange, TaskChange
from deploy.comparison.comparand import TaskFacts
from deploy.report.phrases import error_band
from deploy.units import format_microseconds

_MOST_BOARDS = 4
_MARKS = {"new": "[NEW]", "gone": "[GONE]"}


def figure(value: float | None, unit: str = "bytes") -> str:
    """A figure by itself: exact bytes and operations, a time with its unit, a dash for none."""
    if value is None:
        return "-"
    return format_microseconds(value) if unit == "us" else f"{round(value):,}"


def delta(change: Change) -> str:
    """A change with its sign; "=" for none."""
    if abs(change.delta) < (1e-3 if change.unit == "us" else 1):
        return "="
    return f"{'+' if change.delta > 0 else ''}{figure(change.delta, change.unit)}"


def percent(change: Change) -> str:
    """A change in percent of the old figure; [NEW], [GONE]; empty for none."""
    if change.word in _MARKS:
        return _MARKS[change.word]
    if change.percent is None or delta(change) == "=":
        return ""
    return f"{change.percent:+.1f}%"


def content(change: Change) -> str:
    """What else there is to say of a node: its form, or other bytes although they are as many."""
    if change.precisions and change.has_other_precision:
        return " -> ".join(change.precisions)
    if change.word == "changed" and not change.delta:
        return "other bytes, as many"
    return ""


def unchanged(count: int) -> str:
    """A name for all nodes that are the same."""
    return "1 unchanged node" if count == 1 else f"{count} unchanged nodes"


def no_difference(difference: Difference) -> str:
    """What may be said where nothing differs: of a baseline's nodes only the sizes are known."""
    is_known = all(node.has_same_content for node in difference.nodes)
    return "no difference" if is_known else "no difference in size"


def operator(change: OperatorChange) -> str:
    """Such as "SOFTMAX (6,939 on nano33ble)"; without boards only the name."""
    sizes = list(change.rom_bytes.items())
    terms = [f"{size:,} on {name}" for name, size in sizes[:_MOST_BOARDS]]
    if len(sizes) > _MOST_BOARDS:
        terms.append(f"{len(sizes) - _MOST_BOARDS} more")
    return f"{change.name} ({', '.join(terms)})" if terms else change.name


def score(facts: TaskFacts | None, value: float) -> str:
    """A metric: an accuracy in percent, any other as it is; a dash where there is none."""
    if facts is None or math.isnan(value):
        return "-"
    return f"{100 * value:.2f}%" if facts.metric == "accuracy" else f"{value:.4g}"


def score_delta(change: TaskChange) -> str:
    """A change of the int8 metric: an accuracy's in points of a percent."""
    if change.word in _MARKS:
        return _MARKS[change.word]
    if math.isnan(change.delta):
        return "-"
    if not change.delta:
        return "="
    is_share = change.new is not None and change.new.metric == "accuracy"
    return f"{100 * change.delta:+.2f} points" if is_share else f"{change.delta:+.4g}"


def path_change(change: TaskChange) -> str:
    """The new path of a task that takes another one; empty otherwise."""
    if change.old is None or change.new is None or change.old.path == change.new.path:
        return ""
    return f"{change.name} runs {' > '.join(change.new.path)}, not {' > '.join(change.old.path)}"


def shown_checks(difference: Difference, most: int = 1) -> tuple[list[CheckChange], int]:
    """The boards or checks to show, and how many are left out because nothing changed on them.

    Args:
        difference: The comparison.
        most: Up to so many are shown whether they changed or not.
    """
    if len(difference.checks) <= most:
        return list(difference.checks), 0
    changed = [check for check in difference.checks if check.word != "same"]
    return changed, len(difference.checks) - len(changed)


def errors(difference: Difference) -> str:
    """The stated errors of the figures of boards; empty where they are not known."""
    names = {"rom": "ROM", "ram": "RAM", "time": "time"}
    bands = [f"{names[key]} {error_band(band)}" for key, band in difference.error_percent.items()]
    return f"error of the estimates on either side: {', '.join(bands)}" if bands else ""


def outcome(difference: Difference) -> list[str]:
    """What grew too much, or that nothing did; empty where nothing was held."""
    if difference.too_much:
        return [growth.message for growth in difference.too_much]
    return ["nothing grew by more than is allowed"] if difference.growths else []
