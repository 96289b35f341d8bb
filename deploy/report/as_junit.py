"""A budget report as JUnit XML: a test suite per board, a test case per check.

The elements and attributes are those of the schema that Jenkins reads (`junit-10.xsd` of its xunit
plugin), which GitLab and the others read too. It has no place for properties of a test case, so
they stand in the suite with the check's name before them. No time of day, so that the same bundle
gives the same file.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence

from deploy.report.problems import Problem, figures, problems, quantities
from deploy.usage import Usage
from deploy.verdict import BudgetReport, Verdict

# What an XML 1.0 document may hold (https://www.w3.org/TR/xml/#charsets); the rest cannot even be
# written as a character reference.
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>'


def render(report: BudgetReport) -> str:
    """Render a report as JUnit XML without a trailing newline."""
    root = _element(
        None,
        "testsuites",
        name="keras-tree",
        tests=str(len(report.verdicts)),
        failures=str(len(report.over_budget)),
        errors="0",
    )
    for board, verdicts in _by_board(report).items():
        _suite(root, board, verdicts)
    ElementTree.indent(root)
    return f"{_DECLARATION}\n{ElementTree.tostring(root, encoding='unicode')}"


def _by_board(report: BudgetReport) -> dict[str, list[Verdict]]:
    """The verdicts of each board; the board of the worst first."""
    boards: dict[str, list[Verdict]] = {}
    for verdict in report.verdicts:
        boards.setdefault(verdict.check.board.name, []).append(verdict)
    return boards


def _suite(root: ElementTree.Element, board: str, verdicts: Sequence[Verdict]) -> None:
    suite = _element(
        root,
        "testsuite",
        name=board,
        tests=str(len(verdicts)),
        failures=str(sum(not verdict.fits for verdict in verdicts)),
        errors="0",
        skipped="0",
    )
    properties = _element(suite, "properties")
    for verdict in verdicts:
        for key, value in _figures(verdict):
            _element(properties, "property", name=f"{verdict.check.name}.{key}", value=value)
    for verdict in verdicts:
        _case(suite, verdict)


def _case(suite: ElementTree.Element, verdict: Verdict) -> None:
    """One check; a single failure, because readers of the format show only the first."""
    case = _element(suite, "testcase", classname=verdict.bundle.name, name=verdict.check.name)
    told = problems(verdict)
    failed = [problem for problem in told if problem.is_failure]
    if failed:
        kinds = ", ".join(problem.rule for problem in failed)
        failure = _element(case, "failure", type=kinds, message=failed[0].text)
        failure.text = _legal("\n".join(_failure_lines(failed)))
    close = [problem.text for problem in told if not problem.is_failure]
    notes = [f"note: {note}" for note in verdict.notes]
    out = _element(case, "system-out")
    out.text = _legal("\n".join([*figures(verdict), *close, *notes]))


def _failure_lines(failed: Sequence[Problem]) -> Iterator[str]:
    """Every message, then the next steps, each once."""
    for problem in failed:
        yield problem.text
    steps = dict.fromkeys(str(step) for problem in failed for step in problem.steps)
    yield from (f"next: {step}" for step in steps)


def _figures(verdict: Verdict) -> Iterator[tuple[str, str]]:
    """Used, limit and growth of each quantity, in bytes or microseconds."""
    for key, one in quantities(verdict):
        if isinstance(one, Usage):
            unit = "bytes"
            values = (one.used_bytes, one.limit_bytes, one.growth_bytes)
            texts = [None if value is None else str(value) for value in values]
        else:
            unit = "us"
            times = (one.used_us, one.limit_us, one.growth_us)
            texts = [None if value is None else f"{value:.1f}" for value in times]
        for word, text in zip(("used", "limit", "growth"), texts, strict=True):
            if text is not None:
                yield f"{key}_{word}_{unit}", text


def _element(parent: ElementTree.Element | None, tag: str, **values: str) -> ElementTree.Element:
    """A new element in `parent`, or a root, whose attributes XML may hold."""
    attributes = {key: _legal(value) for key, value in values.items()}
    if parent is None:
        return ElementTree.Element(tag, attributes)
    return ElementTree.SubElement(parent, tag, attributes)


def _legal(text: str) -> str:
    """Replace what no XML document may hold, also in names that users choose."""
    return _ILLEGAL.sub("\N{REPLACEMENT CHARACTER}", text)
