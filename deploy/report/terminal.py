"""A budget report for a terminal: one line per check, what is over and why, nodes and tasks.

Plain ASCII, so that it reads the same in a log, a mail and a terminal; colour only where asked for.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from deploy.report import phrases
from deploy.report.table import columns
from deploy.verdict import BudgetReport, Usage, Verdict

_COLOURS = {"OVER": "31;1", "close": "33", "fits": "32", "heading": "1", "note": "2"}
_NARROWEST, _WIDEST = 72, 120
_GLUE = "\N{NO-BREAK SPACE}"
_ARENA_NOTE = (
    "Sizes in bytes; arena: on {verdict.check.board.name}, each by itself; share: shared nodes are "
    "split among their tasks."
)


def render(
    report: BudgetReport, *, width: int = 80, colour: bool = False, why: bool = False
) -> str:
    """Render a report.

    Args:
        report: The report.
        width: Columns of the screen; the lines keep within 72 to 120.
        colour: Whether to colour with ANSI sequences.
        why: Whether to split every check into its parts; otherwise only those over budget or close
            to it, and a single one.

    Returns:
        Lines without a trailing newline.
    """
    width = min(max(width, _NARROWEST), _WIDEST)
    explained = [v for v in report.verdicts if why or len(report.verdicts) == 1 or not _is_plain(v)]
    blocks = [
        [
            _paint(f"{bundle.name}: ", "heading", colour) + phrases.model_size(bundle)
            for bundle in report.bundles
        ],
        list(_checks(report, width, colour)),
        *(list(_explanation(verdict, width, colour)) for verdict in explained),
        *(block for one in report.bundles for block in _bundle(report.widest(one), width, colour)),
    ]
    return "\n\n".join("\n".join(line.rstrip() for line in block) for block in blocks)


def _is_plain(verdict: Verdict) -> bool:
    return verdict.fits and not verdict.is_close


def _paint(text: str, style: str, colour: bool) -> str:
    return f"\x1b[{_COLOURS[style]}m{text}\x1b[0m" if colour and text.strip() else text


def _checks(report: BudgetReport, width: int, colour: bool) -> Iterator[str]:
    """The table of checks, worst first, the outcome last."""
    figures = {
        memory: [phrases.kibibytes(getattr(verdict, memory)) for verdict in report.verdicts]
        for memory in ("rom", "ram")
    }
    used = {key: max(len(row[0]) for row in rows) for key, rows in figures.items()}
    limit = {key: max(len(row[1]) for row in rows) for key, rows in figures.items()}
    # Fixed columns: the verdict, per memory two brackets, a percentage, the slash and the gaps.
    fixed = 7 + sum(11 + used[key] + limit[key] for key in figures)
    names = [verdict.check.name for verdict in report.verdicts]
    name_width = max(5, min(max(map(len, names)), width - fixed - 2 * 5))
    bar_width = min(20, (width - fixed - name_width) // 2)
    heads = [
        f"{memory.upper():{bar_width + 8}}{'KiB':>{used[memory]}} {'':{limit[memory]}}"
        for memory in figures
    ]
    yield _paint(f"       {'check':{name_width}}  {'  '.join(heads)}".rstrip(), "heading", colour)
    for verdict in report.verdicts:
        word = phrases.verdict_word(verdict)
        cells = []
        for key in figures:
            usage = getattr(verdict, key)
            mine, most = phrases.kibibytes(usage)
            text = f"{_bar(usage, bar_width)} {phrases.percent(usage):>4} {mine:>{used[key]}}"
            cells.append(_paint(f"{text}/{most:{limit[key]}}", "OVER", colour and not usage.fits))
        yield (
            f"{_paint(f'{word:5}', word, colour)}  {_shortened(verdict.check.name, name_width)}  "
            + "  ".join(cells)
        )
    yield _paint(phrases.outcome(report), "OVER" if report.over_budget else "fits", colour)
    for line in textwrap.wrap(phrases.errors(report), width, break_on_hyphens=False):
        yield _paint(line, "note", colour)


def _bar(usage: Usage, width: int) -> str:
    """Such as [####....]; a byte shows, and a full bar means full."""
    filled = min(width, int(width * usage.percent / 100))
    filled = max(filled, 1) if usage.used_bytes else filled
    return f"[{'#' * filled}{'.' * (width - filled)}]"


def _shortened(name: str, width: int) -> str:
    return f"{name:{width}}" if len(name) <= width else f"{name[: width - 2]}.."


def _explanation(verdict: Verdict, width: int, colour: bool) -> Iterator[str]:
    """Why a check ended as it did: what is over, what to do next, and the parts."""
    yield _paint(verdict.check.name, "heading", colour)
    board = f"{verdict.check.board.title}, {phrases.board_line(verdict)}"
    yield from _labelled("board", board, width, colour, "heading")
    if verdict.check.tasks is not None:
        yield from _labelled("tasks", ", ".join(verdict.check.tasks), width, colour, "heading")
    for usage in (verdict.rom, verdict.ram):
        if usage.message:
            word = "close" if usage.fits else "OVER"
            yield from _labelled(word, usage.message, width, colour, word)
        yield from _steps(verdict, usage.memory, width, colour)
    yield from _steps(verdict, "both", width, colour)
    for usage in (verdict.rom, verdict.ram):
        yield from _labelled(usage.memory, phrases.used_of_limit(usage), width, colour, "heading")
        yield from _labelled("", _sum(phrases.parts(usage)), width, colour, "heading")
        if usage.memory == "ROM":
            operators = ", ".join(map(_glued, phrases.kernels_by_operator(verdict.footprint)))
            yield from _labelled("", f"kernels: {operators}", width, colour, "heading")
    for note in verdict.notes:
        yield from _labelled("note", note, width, colour, "note")


def _steps(verdict: Verdict, memory: str, width: int, colour: bool) -> Iterator[str]:
    """What to do next about one memory."""
    steps = [step for step in verdict.next_steps if step.memory == memory]
    for number, step in enumerate(steps):
        yield from _labelled("" if number else "next", str(step), width, colour, "heading")


def _sum(terms: Sequence[str]) -> str:
    return f"= {' + '.join(map(_glued, terms))}"


def _glued(term: str) -> str:
    """A term that keeps its name and its figure on one line, until `_labelled` wrapped it."""
    return term.replace(" ", _GLUE)


def _labelled(label: str, text: str, width: int, colour: bool, style: str) -> Iterator[str]:
    """A paragraph behind a label of eight columns."""
    lines = textwrap.wrap(text, width - 10, break_long_words=False, break_on_hyphens=False)
    for number, line in enumerate(lines):
        shown = label if number == 0 else ""
        yield f"  {_paint(f'{shown:6}', style, colour)}  {line.replace(_GLUE, ' ')}"


def _bundle(shown: Verdict, width: int, colour: bool) -> list[list[str]]:
    """The nodes and the tasks of a bundle; arenas on the board of the widest check."""
    return [
        [
            *_table(_node_rows(shown), "lrrrrl", width, colour),
            *textwrap.wrap(phrases.saving(shown.footprint), width),
        ],
        [
            *_table(_task_rows(shown), "lrrrrrrl", width, colour),
            *textwrap.wrap(_ARENA_NOTE.format(verdict=shown), width),
        ],
    ]


def _node_rows(shown: Verdict) -> list[tuple[str, ...]]:
    """Bytes, share of the model, what the strip took off, arena, and the tasks of each node."""
    found = shown.footprint
    rows: list[tuple[str, ...]] = [("node", "bytes", "share", "stripped", "arena", "tasks")]
    for node in found.nodes.values():
        rows.append(
            (
                node.name,
                f"{node.rom_bytes:,}",
                f"{100 * node.rom_bytes / found.model_rom_bytes:.1f}%",
                f"-{node.stripped_bytes:,}",
                f"{node.arena.minimum_bytes:,}",
                "all" if len(node.tasks) == len(found.tasks) > 1 else ", ".join(node.tasks),
            )
        )
    stripped = sum(node.stripped_bytes for node in found.nodes.values())
    rows.append(("total", f"{found.model_rom_bytes:,}", "100.0%", f"-{stripped:,}", "", ""))
    return rows


def _task_rows(shown: Verdict) -> list[tuple[str, ...]]:
    """Bytes of the path, the task's share of the model, arena and accuracies of each task."""
    rows: list[tuple[str, ...]] = [
        ("task", "bytes", "share", "arena", "metric", "float", "int8", "path")
    ]
    for task in shown.footprint.tasks.values():
        rows.append(
            (
                task.name,
                f"{task.model_rom_bytes:,}",
                f"{task.share_bytes:,}",
                f"{task.arena_bytes:,}",
                *phrases.score_cells(shown.bundle.tasks[task.name].score),
                " > ".join(task.path),
            )
        )
    return rows


def _table(rows: Sequence[Sequence[str]], align: str, width: int, colour: bool) -> Iterator[str]:
    for number, line in enumerate(columns(rows, align, width)):
        yield _paint(line, "heading", colour and number == 0)
