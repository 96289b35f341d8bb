"""The table of checks, and what each has to say: messages, next steps, parts, notes."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.report import growth, phrases
from deploy.report.html.markup import Child, Markup, escape, joined, tag
from deploy.report.html.tables import folded, table
from deploy.units import format_bytes, format_microseconds
from deploy.usage import Timing, Usage
from deploy.verdict import BudgetReport, Verdict

_MARKS = {"OVER": "\N{MULTIPLICATION X}", "GREW": "\N{NORTH EAST ARROW}", "close": "!"}
_FINDING_HEAD = ("rule", "found", "what to do", "saves")
_FITS_MARK = "\N{CHECK MARK}"


def verdict_badge(word: str) -> Markup:
    """Return a verdict's word with its mark, so that it is not told by colour alone."""
    mark = tag("span", _MARKS.get(word, _FITS_MARK), aria_hidden="true", class_="mark")
    return tag("span", mark, word, class_=f"badge {word.lower()}")


def checks_table(report: BudgetReport) -> Markup:
    """Return one row per check, the worst first."""
    has_time = any(verdict.time is not None for verdict in report.verdicts)
    rows = [_row(verdict, report, has_time) for verdict in report.verdicts]
    head = ["check", "verdict", "ROM", "RAM", *(["time"] if has_time else [])]
    return table(
        "Checks, the worst first", head, rows, "l" * len(head), class_="checks", is_stacked=True
    )


def _row(verdict: Verdict, report: BudgetReport, has_time: bool) -> list[Child]:
    one = verdict.check
    lines = [verdict.check.board.title, phrases.board_line(verdict)]
    if len(report.bundles) > 1:
        lines.insert(0, f"bundle {verdict.bundle.name}")
    if one.tasks is not None:
        lines.append(f"tasks {', '.join(one.tasks)}")
    name = joined(tag("span", one.name, class_="what"), *(_small(line) for line in lines))
    cells = [name, verdict_badge(phrases.verdict_word(verdict))]
    cells += [_usage(usage, report.has_baseline) for usage in (verdict.rom, verdict.ram)]
    return [*cells, *([_time(verdict.time, report.has_baseline)] if has_time else [])]


def _small(text: Child, class_: str = "small") -> Markup:
    return tag("span", text, class_=class_)


def _usage(usage: Usage, has_baseline: bool) -> Markup:
    sums = f"{format_bytes(usage.used_bytes)} of {format_bytes(usage.limit_bytes)}"
    room = (
        f"{format_bytes(usage.free_bytes)} free"
        if usage.fits
        else f"{format_bytes(usage.over_bytes)} over"
    )
    if usage.margin_bytes:
        room += f", margin {format_bytes(usage.margin_bytes)} kept"
    margin = 100 * usage.margin_bytes / usage.limit_bytes
    return joined(
        _bar(usage.percent, margin, _state(usage)),
        tag("span", tag("strong", phrases.percent(usage)), " ", sums, class_="sums"),
        _small(room),
        _delta(usage) if has_baseline else None,
    )


def _time(timing: Timing | None, has_baseline: bool) -> Markup:
    if timing is None:
        return _small("no published measurements")
    told = phrases.time_of_limit(timing)
    band = phrases.error_band(timing.latency.error_percent)
    bar = None
    if timing.limit_us is not None:
        margin = 100 * timing.margin_us / timing.limit_us
        bar = _bar(timing.percent, margin, _state(timing))
    return joined(
        bar,
        tag("span", told, class_="sums"),
        _small(f"task {timing.task}; {band}"),
        _delta(timing) if has_baseline else None,
    )


def _delta(quantity: Usage | Timing) -> Markup:
    told = growth.delta(quantity)
    style = "delta grew" if quantity.grew_too_much else "delta"
    words = {"new": "new, no baseline", "=": "as in the baseline"}
    return tag("span", words.get(told, f"{told} against the baseline"), class_=style)


def _state(quantity: Usage | Timing) -> str:
    if not quantity.fits:
        return "over"
    if quantity.grew_too_much:
        return "grew"
    return "close" if quantity.is_close else "fits"


def _bar(percent: float, margin_percent: float, state: str) -> Markup:
    """A bar whose end is the limit; the margin is set off at that end."""
    filled = min(100.0, max(percent, 0.5))
    margin = min(100.0, margin_percent)
    return tag(
        "svg",
        tag("rect", x=0, y=0, width=100, height=8, class_="track"),
        tag("rect", x=100 - margin, y=0, width=margin, height=8, class_="margin"),
        tag("rect", x=0, y=0, width=filled, height=8, class_="fill"),
        class_=f"bar {state}",
        viewBox="0 0 100 8",
        preserveAspectRatio="none",
        aria_hidden="true",
    )


def remarks(report: BudgetReport) -> Iterator[Markup]:
    """Return, for each check that has any, its messages and what to do next."""
    for verdict in report.verdicts:
        if not verdict.messages and not verdict.next_steps:
            continue
        yield tag(
            "section",
            tag("h3", verdict.check.name, " ", verdict_badge(phrases.verdict_word(verdict))),
            tag("ul", *(tag("li", message) for message in verdict.messages)),
            joined(
                tag("p", "Next steps", class_="label"),
                tag("ol", *(tag("li", _with_code(str(step))) for step in verdict.next_steps)),
            )
            if verdict.next_steps
            else None,
            class_="remark",
        )


def _with_code(text: str) -> Markup:
    """Text in which what stands in backticks is code."""
    pieces = text.split("`")
    if len(pieces) % 2 == 0:  # one of them belongs to a name
        return escape(text)
    return joined(*(tag("code", one) if i % 2 else one for i, one in enumerate(pieces)))


def findings(report: BudgetReport) -> Iterator[Markup]:
    """Return what the lint found, one table per bundle."""
    for bundle in report.bundles:
        rows = [
            (
                tag("code", one.rule),
                one.text,
                _with_code(one.advice),
                _saving(one.saved_bytes, one.memory, one.board),
            )
            for one in report.findings.get(bundle.name, ())
        ]
        if rows:
            caption = f"What {bundle.name} pays for without need"
            yield table(caption, _FINDING_HEAD, rows, "lllr", is_stacked=True)


def _saving(saved_bytes: int, memory: str, board: str) -> Markup:
    if not saved_bytes:
        return tag("span", "-")
    told = f"{format_bytes(saved_bytes)} {memory}".rstrip()
    return joined(tag("span", told, class_="sums"), _small(f"on {board}") if board else None)


def parts(report: BudgetReport) -> Iterator[Markup]:
    """Return each memory and time of each check as the sum of its parts, with its error."""
    for verdict in report.verdicts:
        rows = list(_sums(verdict))
        caption = f"{verdict.check.name}: parts and errors of the estimates"
        whole = table(caption, ("", "used", "sum of", "error"), rows, "llll", class_="broad")
        terms = [*growth.against_baseline(verdict), *growth.growth_terms(verdict)]
        yield folded(
            f"{verdict.check.name} ({phrases.board_line(verdict)})",
            whole,
            tag(
                "p", f"Kernels: {', '.join(phrases.kernels_by_operator(verdict.footprint))} bytes."
            ),
            tag("p", f"Code: {verdict.footprint.runtime.basis}."),
            tag("p", f"Against the baseline: {', '.join(terms)}.") if terms else None,
        )


def _sums(verdict: Verdict) -> Iterator[tuple[str, ...]]:
    for usage in (verdict.rom, verdict.ram):
        yield (
            usage.memory,
            phrases.used_of_limit(usage),
            " + ".join(phrases.parts(usage)),
            phrases.error_band(usage.error_percent),
        )
    time = verdict.time
    if time is not None:
        told = format_microseconds(time.used_us)
        if time.limit_us is not None:
            told += f" of {format_microseconds(time.limit_us)} (your limit)"
        second = phrases.second_opinion(time.latency)
        basis = f"{' + '.join(phrases.time_parts(time.latency))}; {time.latency.basis}"
        yield (
            "time",
            f"{told}, task {time.task}",
            basis + (f"; {second}" if second else ""),
            phrases.error_band(time.latency.error_percent),
        )


def notes(report: BudgetReport) -> Markup | None:
    """Return the notes, each once with the checks that it belongs to; None without any."""
    checks: dict[str, list[str]] = {}
    for verdict in report.verdicts:
        for note in verdict.notes:
            checks.setdefault(note, []).append(verdict.check.name)
    if not checks:
        return None
    items = (
        tag("li", note, " ", _small(f"({phrases.some(names)})")) for note, names in checks.items()
    )
    return tag("ul", *items, class_="notes")
