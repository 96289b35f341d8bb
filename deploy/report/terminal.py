"""A budget report for a terminal: one line per check, what is over and why, nodes and tasks.

Plain ASCII, so that it reads the same in a log, a mail and a terminal; colour only where asked for.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence

from deploy.report import breakdown, check_table, growth, phrases, precisions
from deploy.report.paint import Paint
from deploy.report.table import columns, widest
from deploy.units import format_microseconds
from deploy.usage import Usage
from deploy.verdict import BudgetReport, Verdict
from quantize.bundle import Bundle

Rows = list[tuple[str, ...]]
_NARROWEST, _WIDEST = 72, 120
_GLUE = "\N{NO-BREAK SPACE}"
_FINDINGS_UNASKED = 5
_TASKS_NOTE = (
    "Sizes in bytes; {what}: on {board}, each by itself; share: shared nodes are split among their "
    "tasks."
)


def render(
    report: BudgetReport, *, width: int = 80, colour: bool = False, why: bool = False
) -> str:
    """Render a report.

    Args:
        report: The report.
        width: Columns of the screen; the lines keep within 72 to 120.
        colour: Whether to colour with ANSI sequences.
        why: Whether to split every check into nodes, operators and parts of flatbuffers, and to
            tell every finding; otherwise only checks that are over budget, grew too much or are
            close, and a single one, are explained by their sums.

    Returns:
        Lines without a trailing newline.
    """
    width, paint = min(max(width, _NARROWEST), _WIDEST), Paint(colour)
    blocks = [
        [
            paint(f"{bundle.name}: ", "heading") + phrases.model_size(bundle)
            for bundle in report.bundles
        ],
        list(check_table.lines(report, width, paint)),
        *_explanations(report, width, paint, why),
        *(list(_lint(report, one, width, paint, why)) for one in report.bundles),
        *(block for one in report.bundles for block in _bundle(report, one, width, paint)),
    ]
    shown = [[paint.printable(line).rstrip() for line in block] for block in blocks if block]
    return "\n\n".join(map("\n".join, shown))


def _explanations(report: BudgetReport, width: int, paint: Paint, why: bool) -> Iterator[list[str]]:
    """A block for each check that is in question, or for all."""
    flatbuffers = {one.name: breakdown.flatbuffer_parts(one) for one in report.bundles if why}
    for verdict in report.verdicts:
        if why or len(report.verdicts) == 1 or phrases.verdict_word(verdict) != "fits":
            bundle = verdict.bundle.name if len(report.bundles) > 1 else ""
            parts = flatbuffers.get(verdict.bundle.name)
            yield list(_explanation(verdict, bundle, parts, width, paint))


def _explanation(
    verdict: Verdict,
    bundle: str,
    flatbuffers: Mapping[str, Mapping[str, int]] | None,
    width: int,
    paint: Paint,
) -> Iterator[str]:
    """Why a check ended as it did: what is over, what to do next, and the parts."""
    yield paint(verdict.check.name, "heading")
    board = f"{verdict.check.board.title}, {phrases.board_line(verdict)}"
    for label, text in (
        ("bundle", bundle),
        ("board", board),
        ("tasks", ", ".join(verdict.check.tasks or ())),
        ("image", "" if verdict.check.image is None else verdict.check.image.as_posix()),
        ("measured", "" if verdict.check.measured is None else verdict.check.measured.as_posix()),
    ):
        yield from _labelled(label, text, width, paint, "heading")
    for name, quantity in phrases.quantities(verdict):
        word = "close" if quantity.fits else "OVER"
        yield from _labelled(word, quantity.message, width, paint, word)
        yield from _labelled("GREW", quantity.growth_message, width, paint, "GREW")
        yield from _steps(verdict, (name,), width, paint)
    others = {step.memory for step in verdict.next_steps} - {"ROM", "RAM"}
    named = {name for name, _ in phrases.quantities(verdict)}
    yield from _steps(verdict, others - named, width, paint)
    yield from _baseline(verdict, width, paint)
    if flatbuffers is None:
        yield from _sums(verdict, width, paint)
    else:
        yield from _trees(verdict, flatbuffers, width, paint)
    for note in verdict.notes:
        yield from _labelled("note", note, width, paint, "note")


def _steps(
    verdict: Verdict, memories: Sequence[str] | set[str], width: int, paint: Paint
) -> Iterator[str]:
    """What to do next about some quantities."""
    steps = [step for step in verdict.next_steps if step.memory in memories]
    for number, step in enumerate(steps):
        yield from _labelled("" if number else "next", str(step), width, paint, "heading")


def _baseline(verdict: Verdict, width: int, paint: Paint) -> Iterator[str]:
    """The figures of the baseline, and what changed since."""
    terms = growth.against_baseline(verdict)
    yield from _labelled("base", _joined(terms), width, paint, "heading")
    changes = growth.growth_terms(verdict)
    if changes:
        yield from _labelled("", f"changed: {_joined(changes)}", width, paint, "heading")


def _sums(verdict: Verdict, width: int, paint: Paint) -> Iterator[str]:
    """Every quantity as the sum of its largest parts."""
    for usage in (verdict.rom, verdict.ram):
        yield from _labelled(usage.memory, _of_limit(verdict, usage), width, paint, "heading")
        yield from _labelled("", _sum(phrases.parts(usage)), width, paint, "heading")
        if usage.memory == "ROM" and not verdict.has_own_rom:
            operators = _joined(phrases.kernels_by_operator(verdict.footprint))
            yield from _labelled("", f"kernels: {operators}", width, paint, "heading")
    if verdict.time is not None:
        yield from _labelled("time", phrases.time_sum(verdict.time), width, paint, "heading")
        parts = _sum(phrases.time_parts(verdict.time.latency))
        yield from _labelled("", parts, width, paint, "heading")


def _of_limit(verdict: Verdict, usage: Usage) -> str:
    is_one_path = usage.memory == "RAM" and verdict.footprint.allocate == "one"
    return phrases.used_of_limit(usage) + (", one path at a time" if is_one_path else "")


def _trees(
    verdict: Verdict, flatbuffers: Mapping[str, Mapping[str, int]], width: int, paint: Paint
) -> Iterator[str]:
    """Every quantity down to its last cause."""
    rom, ram = breakdown.rom(verdict, flatbuffers), breakdown.ram(verdict)
    yield from _labelled("ROM", _of_limit(verdict, verdict.rom), width, paint, "heading")
    yield from _indented(breakdown.lines(rom, width - 10))
    yield from _labelled("RAM", _of_limit(verdict, verdict.ram), width, paint, "heading")
    yield from _indented(breakdown.lines(ram, width - 10))
    yield from _indented(
        breakdown.lines(breakdown.arenas(verdict), width - 10, is_sum=False, has_root=True)
    )
    if verdict.time is None:
        yield from _labelled(
            "time", phrases.unpublished_time(verdict.footprint), width, paint, "heading"
        )
        return
    latency = verdict.time.latency
    yield from _labelled("time", phrases.time_sum(verdict.time), width, paint, "heading")
    yield from _labelled("", f"from {latency.basis}", width, paint, "heading")
    second = phrases.second_opinion(latency)
    if second:
        yield from _labelled("", f"second opinion: {second}", width, paint, "heading")
    for tree in breakdown.times(latency):
        yield from _indented(breakdown.lines(tree, width - 10, is_time=True, has_root=True))
    together = verdict.footprint.latency
    if together is not None:
        text = f"all tasks on one input: {format_microseconds(together.microseconds)}"
        yield from _labelled("", text, width, paint, "heading")


def _indented(lines: Iterator[str]) -> Iterator[str]:
    return (f"{'':10}{line}" for line in lines)


def _joined(terms: Sequence[str]) -> str:
    return ", ".join(map(_glued, terms))


def _sum(terms: Sequence[str]) -> str:
    return f"= {' + '.join(map(_glued, terms))}"


def _glued(term: str) -> str:
    """A term that keeps its name and its figure on one line, until `_labelled` wrapped it."""
    return term.replace(" ", _GLUE)


def _labelled(label: str, text: str, width: int, paint: Paint, style: str) -> Iterator[str]:
    """A paragraph behind a label of eight columns; nothing where there is no text."""
    lines = textwrap.wrap(text, width - 10, break_long_words=False, break_on_hyphens=False)
    for number, line in enumerate(lines):
        shown = label if number == 0 else ""
        yield f"  {paint(f'{shown:6}', style)}  {line.replace(_GLUE, ' ')}"


def _lint(
    report: BudgetReport, bundle: Bundle, width: int, paint: Paint, why: bool
) -> Iterator[str]:
    """What the lint found in a bundle, those that save the most first."""
    findings = report.findings.get(bundle.name, ())
    if not findings:
        return
    yield paint("lint" if len(report.bundles) == 1 else f"lint of {bundle.name}", "heading")
    shown = findings if why else findings[:_FINDINGS_UNASKED]
    for one in shown:
        yield from _labelled(one.memory or "note", phrases.finding(one), width, paint, "note")
    if len(shown) < len(findings):
        yield from _labelled(
            "", f"{len(findings) - len(shown)} more with --why", width, paint, "note"
        )


def _bundle(report: BudgetReport, bundle: Bundle, width: int, paint: Paint) -> Iterator[list[str]]:
    """The nodes and the tasks of a bundle; arenas and times on the board of the widest check."""
    shown = report.widest(bundle)
    heading = [paint(bundle.name, "heading")] if len(report.bundles) > 1 else []
    yield [
        *heading,
        *_table(_node_rows(shown), f"l{'l' * len(precisions.head(bundle))}rrrrl", width, paint),
        *textwrap.wrap(phrases.saving(shown.footprint), width),
    ]
    tables, note = _task_tables(shown, width)
    for rows in tables[:-1]:
        yield list(_table(rows, _right_but_ends(rows), width, paint))
    last = _table(tables[-1], _right_but_ends(tables[-1]), width, paint)
    yield [*last, *textwrap.wrap(note, width)]


def _right_but_ends(rows: Rows) -> str:
    return f"l{'r' * (len(rows[0]) - 2)}l"


def _task_tables(shown: Verdict, width: int) -> tuple[list[Rows], str]:
    """The tasks in one table, or in two where one would be too wide; and the note below."""
    rows = _task_rows(shown)
    what = "arena and time" if "time" in rows[0] else "arena"
    note = _TASKS_NOTE.format(what=what, board=shown.check.board.name)
    costs = [(*row[:-4], row[-1]) for row in rows]
    metrics = {row[-4] for row in rows[1:]}
    if metrics == {phrases.NOT_MEASURED}:
        return [costs], note
    if widest(rows) <= width:
        return [rows], note
    without = [(*row[:-4], *row[-3:]) for row in rows]
    if len(metrics) == 1 and widest(without) <= width:
        return [without], f"{note} Float and int8: {metrics.pop()}."
    return [costs, [(row[0], row[-3], row[-2], row[-4]) for row in rows]], note


def _node_rows(shown: Verdict) -> Rows:
    """Precision, bytes, share of the model, what strip took off, arena and tasks of each node."""
    found, form = shown.footprint, precisions.head(shown.bundle)
    rows: Rows = [("node", *form, "bytes", "share", "stripped", "arena", "tasks")]
    for node in found.nodes.values():
        rows.append(
            (
                node.name,
                *precisions.cell(shown.bundle, node.name),
                f"{node.rom_bytes:,}",
                f"{100 * node.rom_bytes / found.model_rom_bytes:.1f}%",
                phrases.stripped(node.stripped_bytes),
                f"{node.arena.minimum_bytes:,}",
                "all" if len(node.tasks) == len(found.tasks) > 1 else ", ".join(node.tasks),
            )
        )
    stripped = sum(node.stripped_bytes for node in found.nodes.values())
    total = f"{found.model_rom_bytes:,}", "100.0%", phrases.stripped(stripped)
    rows.append(("total", *("" for _ in form), *total, "", ""))
    return rows


def _task_rows(shown: Verdict) -> Rows:
    """Bytes of the path, the task's share of the model, arena, time and accuracies of each task."""
    found = shown.footprint
    time = ("time",) if found.has_times else ()
    rows: Rows = [("task", "bytes", "share", "arena", *time, "metric", "float", "int8", "path")]
    for task in found.tasks.values():
        rows.append(
            (
                task.name,
                f"{task.model_rom_bytes:,}",
                f"{task.share_bytes:,}",
                f"{task.arena_bytes:,}",
                *(phrases.task_time(task) for _ in time),
                *phrases.score_cells(shown.bundle.tasks[task.name].score),
                " > ".join(task.path),
            )
        )
    return rows


def _table(rows: Sequence[Sequence[str]], align: str, width: int, paint: Paint) -> Iterator[str]:
    for number, line in enumerate(columns(rows, align, width)):
        yield paint(line, "heading") if number == 0 else line
