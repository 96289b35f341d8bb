"""A budget report as Markdown for a pull request: the checks, what is over, the rest folded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from deploy.report import phrases
from deploy.units import format_bytes
from deploy.verdict import BudgetReport, Usage, Verdict

_WORDS = {"OVER": "OVER BUDGET", "close": "fits, close", "fits": "fits"}


def render(report: BudgetReport) -> str:
    """Render a report as GitHub-flavoured Markdown without a trailing newline."""
    shown = report.widest(report.bundles[0])
    parts = [
        f"### keras-tree: {_text(report.name)}, {phrases.outcome(report)}",
        "\n".join(_checks(report)),
        *("\n".join(_remarks(verdict)) for verdict in report.verdicts if _has_remarks(verdict)),
        f"{phrases.model_size(shown.bundle)}. {_sentence(phrases.saving(shown.footprint))}",
        _folded("Nodes and tasks", [*_nodes(shown), "", *_tasks(shown)]),
        _folded("Parts and errors of the estimates", list(_parts(report))),
    ]
    return "\n\n".join(parts)


def _checks(report: BudgetReport) -> Iterator[str]:
    rows = [("check", "tasks", "ROM", "", "RAM", "", "verdict")]
    for verdict in report.verdicts:
        rows.append(
            (
                verdict.check.name,
                "all" if verdict.check.tasks is None else ", ".join(verdict.check.tasks),
                *_usage(verdict.rom),
                *_usage(verdict.ram),
                _WORDS[phrases.verdict_word(verdict)],
            )
        )
    return _table(rows, "llrrrrl")


def _usage(usage: Usage) -> tuple[str, str]:
    sums = f"{format_bytes(usage.used_bytes)} of {format_bytes(usage.limit_bytes)}"
    return sums, phrases.percent(usage)


def _has_remarks(verdict: Verdict) -> bool:
    return bool(verdict.messages or verdict.next_steps)


def _remarks(verdict: Verdict) -> Iterator[str]:
    """What is over or close, and what to do next, as a list."""
    yield f"**{_text(verdict.check.name)}** ({phrases.board_line(verdict)})"
    yield ""
    for message in verdict.messages:
        yield f"- {_text(message)}"
    for step in verdict.next_steps:
        yield f"- next: {_text(str(step))}"


def _nodes(shown: Verdict) -> Iterator[str]:
    found = shown.footprint
    rows = [("node", "bytes", "share", "stripped", f"arena {shown.check.board.name}", "tasks")]
    for node in found.nodes.values():
        rows.append(
            (
                node.name,
                f"{node.rom_bytes:,}",
                f"{100 * node.rom_bytes / found.model_rom_bytes:.1f}%",
                f"-{node.stripped_bytes:,}",
                f"{node.arena.minimum_bytes:,}",
                ", ".join(node.tasks),
            )
        )
    return _table(rows, "lrrrrl")


def _tasks(shown: Verdict) -> Iterator[str]:
    arena = f"arena {shown.check.board.name}"
    rows = [("task", "path", "bytes", "share", arena, "metric", "float", "int8", "agreement")]
    for task in shown.footprint.tasks.values():
        score = shown.bundle.tasks[task.name].score
        rows.append(
            (
                task.name,
                " > ".join(task.path),
                f"{task.model_rom_bytes:,}",
                f"{task.share_bytes:,}",
                f"{task.arena_bytes:,}",
                *phrases.score_cells(score),
                phrases.agreement(score),
            )
        )
    return _table(rows, "llrrrlrrr")


def _parts(report: BudgetReport) -> Iterator[str]:
    """Each memory of each check as the sum of its parts, and the notes."""
    for verdict in report.verdicts:
        yield f"- **{_text(verdict.check.name)}** ({phrases.board_line(verdict)})"
        for usage in (verdict.rom, verdict.ram):
            sums = f"{phrases.used_of_limit(usage)} = {' + '.join(phrases.parts(usage))}"
            yield f"  - {usage.memory} {sums}; error {phrases.error_band(usage.error_percent)}"
        yield f"  - kernels: {_text(', '.join(phrases.kernels_by_operator(verdict.footprint)))}"
        for note in verdict.notes:
            yield f"  - note: {_text(note)}"


def _table(rows: Sequence[Sequence[str]], align: str) -> Iterator[str]:
    head, *body = rows
    yield _row([_text(cell) for cell in head])
    yield _row([{"l": "---", "r": "---:"}[side] for side in align])
    for row in body:
        yield _row([_text(cell) for cell in row])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _folded(title: str, lines: list[str]) -> str:
    return "\n".join([f"<details><summary>{title}</summary>", "", *lines, "", "</details>"])


def _text(text: str) -> str:
    """Escape what Markdown or HTML would read as markup, also in names that users choose."""
    for mark in "\\`*_|[]~":
        text = text.replace(mark, f"\\{mark}")
    return text.replace("&", "&amp;").replace("<", "&lt;")


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
