"""A budget report as Markdown for a pull request: the checks, what is over, the rest folded.

One comment, written anew with every push: the first line is a marker by which a script finds it.
GitHub takes at most 65,536 characters, so that what would pass them is cut with a sentence saying
so: the folded parts first, the table of checks last.
"""

from __future__ import annotations

from collections.abc import Iterator

from deploy.report import growth, phrases, precisions
from deploy.report.markdown_table import table
from deploy.units import format_bytes
from deploy.usage import Usage
from deploy.verdict import BudgetReport, Verdict

MARKER = "<!-- keras-tree -->"
"""The first line of every report."""

LONGEST = 65_536
"""Most characters of a comment on GitHub."""

_WORDS = {"OVER": "OVER BUDGET", "GREW": "GREW", "close": "fits, close", "fits": "fits"}
_WHERE_ALL_IS = "The reports on the terminal and in JSON hold all."
# Room for what joins the sections; for the sentence on a cut; for the tags of a folded part; and
# the least room that is worth a folded part.
_RESERVE, _SENTENCE, _MARKUP, _LEAST = 1_000, 160, 60, 400
# Shares of the room that is left: of the table, of the reasons, of the sentences on the models.
_TABLE_SHARE, _REASONS_SHARE, _MODELS_SHARE = 0.5, 0.6, 0.2


def render(report: BudgetReport) -> str:
    """Render a report as GitHub-flavoured Markdown without a trailing newline.

    Args:
        report: The report.

    Returns:
        `MARKER` and at most `LONGEST` characters in all.
    """
    title = f"### keras-tree: {_text(_shortened(report.name))}, {phrases.outcome(report)}"
    sections = [MARKER, title]
    room = LONGEST - _RESERVE - _length(title)
    sections.append(_cut(list(_checks(report)), int(_TABLE_SHARE * room), "checks"))
    room -= _length(sections[-1])
    reasons = [line for one in report.verdicts for line in _reasons(one)]
    if reasons:
        sections.append(_cut(reasons, int(_REASONS_SHARE * room), "lines"))
        room -= _length(sections[-1])
    sections.append(_cut(list(_models(report)), int(_MODELS_SHARE * room), "lines"))
    room -= _length(sections[-1])
    return "\n\n".join([*sections, *_folded_sections(report, room)])


def _folded_sections(report: BudgetReport, room: int) -> Iterator[str]:
    """What is folded: each part gets an even share of the room that those before it left."""
    parts = list(_folded_parts(report))
    for number, (title, lines) in enumerate(parts):
        share = room // (len(parts) - number)
        if share < _LEAST + _length(title):
            yield f"{len(parts) - number} folded parts are left out. {_WHERE_ALL_IS}"
            return
        text = _cut(lines, share - _length(title) - _MARKUP, "lines")
        yield _folded(title, text)
        room -= _length(title) + _length(text) + _MARKUP


def _cut(lines: list[str], room: int, what: str) -> str:
    """The lines, or as many of the first as `room` holds and a sentence on the rest."""
    if sum(_length(line) + 1 for line in lines) <= room:
        return "\n".join(lines).rstrip()
    kept: list[str] = []
    room -= _SENTENCE
    for line in lines:
        room -= _length(line) + 1
        if room < 0:
            break
        kept.append(line)
    rest = len(lines) - len(kept)
    sentence = f"Cut for GitHub's limit of {LONGEST:,} characters, {rest:,} more {what}."
    return "\n".join([*kept, "", f"{sentence} {_WHERE_ALL_IS}"])


def _length(text: str) -> int:
    """Bytes in UTF-8: never fewer than the characters, however GitHub counts them."""
    return len(text.encode())


def _checks(report: BudgetReport) -> Iterator[str]:
    """The table: absolute values, and what they grew by where there is a baseline."""
    has_time = any(verdict.time is not None for verdict in report.verdicts)
    base = ["vs base"] if report.has_baseline else []
    head = ["check", "tasks", "ROM", "", *base, "RAM", "", *base]
    head += ["time", *base] if has_time else []
    rows = [[*head, "verdict"]]
    for verdict in report.verdicts:
        tasks = "all" if verdict.check.tasks is None else ", ".join(verdict.check.tasks)
        row = [verdict.check.name, tasks]
        for usage in (verdict.rom, verdict.ram):
            row += [*_usage(usage), *(_delta(usage) for _ in base)]
        if has_time:
            row += [_time(verdict), *(_delta(verdict.time) for _ in base)]
        rows.append([*row, _WORDS[phrases.verdict_word(verdict)]])
    return table(rows, f"ll{'r' * (len(rows[0]) - 3)}l", _text)


def _usage(usage: Usage) -> tuple[str, str]:
    sums = f"{format_bytes(usage.used_bytes)} of {format_bytes(usage.limit_bytes)}"
    return sums, phrases.percent(usage)


def _time(verdict: Verdict) -> str:
    return phrases.time_of_limit(verdict.time).replace("/", " of ")


def _delta(quantity: growth.Quantity | None) -> str:
    """What a quantity grew by, with a sign that is seen from afar."""
    told = growth.delta(quantity)
    signs = {"+": "🔺 ", "-": "💚 "}
    return told if told == "-" else signs.get(told[0], "") + told


def _reasons(verdict: Verdict) -> Iterator[str]:
    """What is over, close or grew, and what to do next, as a list; nothing where all is well."""
    if not (verdict.messages or verdict.next_steps):
        return
    yield f"**{_text(verdict.check.name)}** ({_text(phrases.board_line(verdict))})"
    yield ""
    for message in verdict.messages:
        yield f"- {_text(message)}"
    changes = growth.growth_terms(verdict) if verdict.grew_too_much else []
    if changes:
        yield f"- changed: {_text(', '.join(changes))}"
    for step in verdict.next_steps:
        yield f"- next: {_text(str(step))}"
    yield ""


def _models(report: BudgetReport) -> Iterator[str]:
    """The errors, what is kept free, and a sentence or two on each bundle."""
    for told in (phrases.errors(report.verdicts), phrases.margins(report)):
        if told:
            yield _text(_sentence(told))
            yield ""
    for bundle in report.bundles:
        shown = report.widest(bundle)
        name = f"**{_text(bundle.name)}**: " if len(report.bundles) > 1 else ""
        saving = _text(_sentence(phrases.saving(shown.footprint)))
        yield f"{name}{phrases.model_size(bundle)}. {saving}"
        yield ""


def _folded_parts(report: BudgetReport) -> Iterator[tuple[str, list[str]]]:
    """Title and lines of what is folded."""
    for bundle in report.bundles:
        of = f" of {_text(bundle.name)}" if len(report.bundles) > 1 else ""
        findings = report.findings.get(bundle.name, ())
        if findings:
            lines = [f"- {_text(phrases.finding(one))}" for one in findings]
            yield f"Lint{of}: {phrases.counted(len(findings), 'finding')}", lines
        shown = report.widest(bundle)
        yield f"Nodes and tasks{of}", [*_nodes(shown), "", *_tasks(shown)]
    yield "Parts and errors of the estimates", list(_parts(report))


def _nodes(shown: Verdict) -> Iterator[str]:
    found, form = shown.footprint, precisions.head(shown.bundle)
    arena = f"arena {shown.check.board.name}"
    rows = [["node", *form, "bytes", "share", "stripped", arena, "tasks"]]
    for node in found.nodes.values():
        rows.append(
            [
                node.name,
                *precisions.cell(shown.bundle, node.name),
                f"{node.rom_bytes:,}",
                f"{100 * node.rom_bytes / found.model_rom_bytes:.1f}%",
                phrases.stripped(node.stripped_bytes),
                f"{node.arena.minimum_bytes:,}",
                ", ".join(node.tasks),
            ]
        )
    return table(rows, f"l{'l' * len(form)}rrrrl", _text)


def _tasks(shown: Verdict) -> Iterator[str]:
    found, board = shown.footprint, shown.check.board.name
    time = [f"time {board}"] if found.has_times else []
    head = ["task", "path", "bytes", "share", f"arena {board}", *time]
    rows = [[*head, "metric", "float", "int8", "agreement"]]
    for task in found.tasks.values():
        score = shown.bundle.tasks[task.name].score
        rows.append(
            [
                task.name,
                " > ".join(task.path),
                f"{task.model_rom_bytes:,}",
                f"{task.share_bytes:,}",
                f"{task.arena_bytes:,}",
                *(phrases.task_time(task) for _ in time),
                *phrases.score_cells(score),
                phrases.agreement(score),
            ]
        )
    return table(rows, f"ll{'r' * (len(rows[0]) - 6)}lrrr", _text)


def _parts(report: BudgetReport) -> Iterator[str]:
    """Each quantity of each check as the sum of its parts, and the notes."""
    for verdict in report.verdicts:
        yield f"- **{_text(verdict.check.name)}** ({_text(phrases.board_line(verdict))})"
        for usage in (verdict.rom, verdict.ram):
            sums = f"{phrases.used_of_limit(usage)} = {' + '.join(phrases.parts(usage))}"
            yield f"  - {usage.memory} {_text(sums)}; {phrases.stated_error(usage.error_percent)}"
        if not verdict.has_own_rom:
            operators = ", ".join(phrases.kernels_by_operator(verdict.footprint))
            yield f"  - kernels: {_text(operators)}"
        if verdict.time is not None:
            latency = verdict.time.latency
            terms = " + ".join(phrases.time_parts(latency))
            yield f"  - time {_text(phrases.time_sum(verdict.time))} = {_text(terms)}"
            yield f"  - from {_text(latency.basis)}"
        base = growth.against_baseline(verdict)
        if base:
            yield f"  - baseline: {_text(', '.join(base))}"
        for note in verdict.notes:
            yield f"  - note: {_text(note)}"


def _folded(title: str, text: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{text}\n\n</details>"


def _shortened(text: str, most: int = 200) -> str:
    return text if len(text) <= most else f"{text[: most - 2]}.."


def _text(text: str) -> str:
    """Escape what Markdown or HTML would read as markup, also in names that users choose."""
    # Half a character, which a manifest may hold, cannot be written.
    text = text.encode("utf-8", "replace").decode()
    for mark in "\\`*_|[]~":
        text = text.replace(mark, f"\\{mark}")
    # A name may mention nobody, and breaks no line of a table.
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    return text.replace("@", "&#64;")


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
