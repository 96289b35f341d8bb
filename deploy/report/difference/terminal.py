"""A comparison for a terminal: what must be replaced first, then nodes, boards, tasks, and the end.

As bloaty shows two binaries: the change before the figures, the largest first, the total last.
Plain ASCII, colour only where asked for.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from deploy.comparison.change import Change, Difference
from deploy.report.difference import phrases
from deploy.report.paint import Paint
from deploy.report.table import columns

_NARROWEST, _WIDEST = 72, 120
_FIGURES = "rrrlrl"
_CHECK_HEAD = "board or check (bytes, estimated)"


def render(difference: Difference, *, width: int = 80, colour: bool = False) -> str:
    """Render a comparison.

    Args:
        difference: The comparison.
        width: Columns of the screen; the lines keep within 72 to 120 where names allow it.
        colour: Whether to colour with ANSI sequences.

    Returns:
        Lines without a trailing newline.
    """
    paint, width = Paint(colour), min(max(width, _NARROWEST), _WIDEST)
    blocks = [[f"old  {difference.old}", f"new  {difference.new}"]]
    if difference.is_none:
        blocks.append([paint(_no_difference(difference), "fits")])
    else:
        blocks += [
            list(_contracts(difference, width, paint)),
            list(_nodes(difference, width, paint)),
            list(_checks(difference, width, paint)),
            list(_operators(difference, width, paint)),
            list(_tasks(difference, width, paint)),
        ]
    blocks += [list(_notes(difference, width, paint)), list(_outcome(difference, width, paint))]
    return "\n\n".join("\n".join(line.rstrip() for line in block) for block in blocks if block)


def _no_difference(difference: Difference) -> str:
    told = phrases.no_difference(difference)
    if difference.model is None:
        return told
    return f"{told}; the model has {phrases.figure(difference.model.new)} bytes"


def _contracts(difference: Difference, width: int, paint: Paint) -> Iterator[str]:
    """What devices in the field cannot mix with what they have."""
    for contract in difference.contracts:
        loud = f"!! {contract.message}"
        for line in textwrap.wrap(loud, width, subsequent_indent="   ", break_on_hyphens=False):
            yield paint(line, "OVER")
        for word, text in (("old", contract.old), ("new", contract.new)):
            yield from textwrap.wrap(
                f"{word} {text}", width, initial_indent="   ", subsequent_indent="       ",
                break_on_hyphens=False,
            )  # fmt: skip


def _nodes(difference: Difference, width: int, paint: Paint) -> Iterator[str]:
    """Every node that changed, what did not as one line, and the total."""
    rows: list[tuple[str, ...]] = [("delta", "", "old", "", "new", "node (bytes)")]
    same = [node for node in difference.nodes if node.word == "same"]
    for node in difference.nodes:
        if node.word != "same":
            remark = phrases.content(node)
            rows.append(_row(node, f"{node.name} ({remark})" if remark else node.name))
    if same:
        size = sum(node.new or 0 for node in same)
        rows.append(_row(Change("", size, size), phrases.unchanged(len(same))))
    if difference.model is not None:
        rows.append(_row(difference.model, "TOTAL"))
    yield from _painted(rows, width, paint)
    macs = difference.macs
    if macs is not None and macs.word != "same":
        delta, old, new = phrases.delta(macs), phrases.figure(macs.old), phrases.figure(macs.new)
        yield f"MACs {delta} ({phrases.percent(macs)}), {old} -> {new}"


def _row(change: Change, name: str) -> tuple[str, ...]:
    return (
        phrases.delta(change),
        phrases.percent(change),
        phrases.figure(change.old, change.unit),
        "->",
        phrases.figure(change.new, change.unit),
        name,
    )


def _painted(rows: list[tuple[str, ...]], width: int, paint: Paint) -> Iterator[str]:
    """A table whose lines are coloured by the sign of the change that they begin with."""
    delta_width = max(len(row[0]) for row in rows)
    for number, line in enumerate(columns(rows, _FIGURES, width)):
        sign = line[:delta_width].lstrip()[:1]
        style = "heading" if number == 0 else {"+": "close", "-": "fits"}.get(sign)
        yield line if style is None else paint(line, style)


def _checks(difference: Difference, width: int, paint: Paint) -> Iterator[str]:
    """ROM, RAM and time of each board or check that changed."""
    shown, left_out = phrases.shown_checks(difference)
    rows: list[tuple[str, ...]] = [("delta", "", "old", "", "new", _CHECK_HEAD)]
    for check in shown:
        rows += [_row(change, f"{check.name} {change.name}") for change in check.changes]
    if shown:
        yield from _painted(rows, width, paint)
    if left_out:
        yield f"{left_out} of {len(difference.checks)} boards or checks without a difference"
    for line in textwrap.wrap(phrases.errors(difference), width, break_on_hyphens=False):
        yield paint(line, "note")


def _operators(difference: Difference, width: int, paint: Paint) -> Iterator[str]:
    """Operators that come or go, with their share of the kernels."""
    for word, is_new in (("[NEW]", True), ("[GONE]", False)):
        told = [phrases.operator(one) for one in difference.operators if one.is_new == is_new]
        text = f"{word:6} operators, with their share of the kernels: {'; '.join(told)}"
        if told:
            yield from textwrap.wrap(text, width, subsequent_indent=" " * 7, break_on_hyphens=False)


def _tasks(difference: Difference, width: int, paint: Paint) -> Iterator[str]:
    """Scores of the tasks that changed; a task that takes another path."""
    if not difference.tasks:
        return
    rows = [("delta", "int8 old", "", "int8 new", "float old", "", "float new", "task")]
    for one in difference.tasks:
        old, new = one.old, one.new
        metric = next((facts.metric for facts in (new, old) if facts and facts.metric), "")
        rows.append(
            (
                phrases.score_delta(one),
                phrases.score(old, old.int8_value) if old else "-",
                "->",
                phrases.score(new, new.int8_value) if new else "-",
                phrases.score(old, old.float_value) if old else "-",
                "->",
                phrases.score(new, new.float_value) if new else "-",
                f"{one.name} ({metric})" if metric else one.name,
            )
        )
    for number, line in enumerate(columns(rows, "rrlrrlrl", width)):
        yield paint(line, "heading") if number == 0 else line
    for one in difference.tasks:
        yield from textwrap.wrap(phrases.path_change(one), width, break_on_hyphens=False)


def _notes(difference: Difference, width: int, paint: Paint) -> Iterator[str]:
    for note in difference.notes:
        for line in textwrap.wrap(f"note: {note}", width, break_on_hyphens=False):
            yield paint(line, "note")


def _outcome(difference: Difference, width: int, paint: Paint) -> Iterator[str]:
    word = "GREW" if difference.too_much else "fits"
    for told in phrases.outcome(difference):
        for line in textwrap.wrap(f"{word}  {told}", width, subsequent_indent=" " * 6):
            yield paint(line, word)
