"""The whole page: head with a policy that forbids every request, sections, style and script."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from deploy.report import phrases
from deploy.report.html import check_rows
from deploy.report.html.markup import Markup, joined, tag
from deploy.report.html.panel import panel
from deploy.verdict import BudgetReport, Verdict
from quantize.bundle import Bundle

_HERE = Path(__file__).parent
# Charts of every check on every board would make a page of many megabytes.
_MOST_PANELS, _MOST_PATHS = 12, 36


def page(report: BudgetReport) -> Markup:
    """Return the document."""
    body = tag(
        "body",
        tag("header", *_header(report)),
        tag("main", *_sections(report)),
        tag("script", _asset("script.js")),
    )
    return joined(
        Markup("<!DOCTYPE html>\n"),
        tag("html", "\n", tag("head", *_head(report)), "\n", body, "\n", lang="en"),
    )


def _head(report: BudgetReport) -> Iterator[Markup]:
    style, script = _asset("style.css"), _asset("script.js")
    policy = (
        f"default-src 'none'; img-src data:; style-src {_digest(style)}; "
        f"script-src {_digest(script)}; base-uri 'none'; form-action 'none'"
    )
    yield tag("meta", charset="utf-8")
    yield tag("meta", http_equiv="Content-Security-Policy", content=policy)
    yield tag("meta", name="viewport", content="width=device-width, initial-scale=1")
    yield tag("meta", name="color-scheme", content="light dark")
    yield tag("title", f"keras-tree: {report.name}, {_word(report)}")
    # Without an icon of its own a browser asks the server for one.
    yield tag("link", rel="icon", href="data:,")
    yield tag("style", style)


@lru_cache(maxsize=2)
def _asset(name: str) -> Markup:
    return Markup(_HERE.joinpath(name).read_text(encoding="utf-8"))


def _digest(content: str) -> str:
    digest = hashlib.sha256(content.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def _word(report: BudgetReport) -> str:
    """The word of the worst check, which is the first."""
    return phrases.verdict_word(report.verdicts[0])


def _header(report: BudgetReport) -> Iterator[Markup]:
    yield tag("h1", f"Budget of {report.name}")
    badge = check_rows.verdict_badge(_word(report))
    yield tag("p", badge, " ", phrases.outcome(report), class_="headline")
    for bundle in report.bundles:
        yield tag("p", f"{bundle.name}: {phrases.model_size(bundle)}.", class_="small")


def _sections(report: BudgetReport) -> Iterator[Markup]:
    margins = phrases.margins(report)
    yield tag(
        "section",
        tag("h2", "Checks"),
        check_rows.checks_table(report),
        tag("p", _sentence(phrases.errors(report.verdicts)), class_="caption"),
        tag("p", _sentence(margins), class_="caption") if margins else None,
    )
    for heading, content in (
        ("What is over or close, and what to do", list(check_rows.remarks(report))),
        ("Findings", list(check_rows.findings(report))),
    ):
        if content:
            yield tag("section", tag("h2", heading), *content)
    for number, bundle in enumerate(report.bundles):
        yield _charts(report, bundle, number)
    yield tag("section", tag("h2", "Parts and errors"), *check_rows.parts(report))
    notes = check_rows.notes(report)
    if notes is not None:
        yield tag("section", tag("h2", "Notes"), notes)


def _charts(report: BudgetReport, bundle: Bundle, number: int) -> Markup:
    """The widest check of a bundle; the others wait in templates until they are selected."""
    every, shown = report.of(bundle), report.widest(bundle)
    verdicts = _drawn(every, shown)
    names = {id(one): f"bundle{number}-check{index}" for index, one in enumerate(verdicts)}
    identity = names[id(shown)]
    templates = (
        tag("template", panel(one, names[id(one)]), id=names[id(one)])
        for one in verdicts
        if one is not shown
    )
    heading = f"{bundle.name} on {shown.check.board.name}"
    return tag(
        "section",
        tag("h2", heading, class_="subject", data_bundle=bundle.name),
        _choice(verdicts, shown, names) if len(verdicts) > 1 else None,
        tag("p", _left_out(len(verdicts), len(every)), class_="caption")
        if len(every) > len(verdicts)
        else None,
        tag("div", panel(shown, identity), class_="panel", data_check=identity),
        *templates,
        class_="charts",
    )


def _drawn(every: Sequence[Verdict], shown: Verdict) -> list[Verdict]:
    """The checks whose charts are in the page, in the order of the table of checks."""
    most = max(1, min(_MOST_PANELS, _MOST_PATHS // len(shown.footprint.tasks)))
    others = [one for one in every if one is not shown][: most - 1]
    drawn = {id(one) for one in (shown, *others)}
    return [one for one in every if id(one) in drawn]


def _choice(verdicts: Sequence[Verdict], shown: Verdict, names: Mapping[int, str]) -> Markup:
    """What the script shows: without it there is nothing to choose."""
    options = (
        tag(
            "option",
            f"{one.check.name}: {phrases.verdict_word(one)}",
            value=names[id(one)],
            selected=one is shown,
            data_board=one.check.board.name,
        )
        for one in verdicts
    )
    select = tag("select", *options, autocomplete="off")
    return tag("label", "Shown: ", select, class_="choice", hidden=True)


def _left_out(drawn: int, count: int) -> str:
    if drawn == 1:
        return f"Drawn is the check with the most tasks; all {count} are in the tables."
    return (
        f"Drawn are the check with the most tasks and the {drawn - 1} others that are nearest to "
        f"their limits; all {count} are in the tables."
    )


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
