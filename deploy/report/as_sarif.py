"""A budget report as SARIF 2.1.0: a result per limit that is passed or nearly, and per finding.

Results point at the line of the budget file that sets the limit, relative to the folder from which
a code host shows files. Limits of the command line stand in no file: their results then name the
bundle, which a code host lists without showing a line. What fits has no result, so that a host
closes its alert.

Reference: OASIS, Static Analysis Results Interchange Format (SARIF) Version 2.1.0; GitHub, "SARIF
support for code scanning".
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from urllib.parse import quote

from deploy.lint import RULES, Finding
from deploy.report.problems import CLOSE, QUANTITIES, Problem, problems, quantities
from deploy.usage import Usage
from deploy.verdict import BudgetReport, Check, Verdict
from quantize.bundle import Bundle

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_ROOT = "%SRCROOT%"
_NAMES = {"rom": "ROM", "ram": "RAM", "latency": "Latency"}
_COUNTS = {
    "rom": "The sum of the models, the runtime, the reserve and the margin",
    "ram": "The sum of the arena, what the runtime needs besides, the reserve and the margin",
    "latency": "The time of the slowest task, with the margin,",
}
_HELP = "docs/check.md and docs/ci.md of keras-tree say what counts and where the limits stand."


def render(report: BudgetReport, root: Path | None = None) -> str:
    """Render a report as indented SARIF without a trailing newline.

    Args:
        report: The report.
        root: The folder to which paths are relative, the repository's; None for the current one.
    """
    rules = {rule["id"]: rule for rule in _rules(report)}
    base = Path() if root is None else root
    results = [*_problem_results(report, base), *_finding_results(report, base)]
    order = list(rules)
    for result in results:
        result["ruleIndex"] = order.index(result["ruleId"])
    run = {
        "tool": {"driver": {"name": "keras-tree", **_version(), "rules": list(rules.values())}},
        "automationDetails": {"id": "keras-tree/"},
        "originalUriBaseIds": {_ROOT: {"description": {"text": "The root of the repository."}}},
        "columnKind": "unicodeCodePoints",
        "results": results,
    }
    content = {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(content, indent=2, ensure_ascii=True, allow_nan=False)


def _version() -> dict[str, str]:
    """The installed version; nothing where it runs from a checkout that is not installed."""
    try:
        return {"version": version("keras-tree")}
    except PackageNotFoundError:
        return {}


def _rules(report: BudgetReport) -> Iterator[dict[str, Any]]:
    """All rules, whether broken or not: over a limit, growth, close, and those of the lint."""
    for quantity in QUANTITIES:
        name = _NAMES[quantity]
        yield _rule(
            f"{quantity}-over-budget",
            f"{name} over budget",
            f"{_COUNTS[quantity]} is above the limit.",
            "error",
        )
    for quantity in QUANTITIES:
        name = _NAMES[quantity]
        yield _rule(
            f"{quantity}-growth",
            f"{name} grew too much",
            f"{name} grew against the baseline by more than `allow_growth` allows.",
            "error",
        )
    yield _rule(
        CLOSE,
        "Close to the budget",
        "The estimate is within the limit, but the upper end of its error band is not.",
        "warning",
    )
    found = [finding.rule for findings in report.findings.values() for finding in findings]
    for rule in dict.fromkeys([*RULES, *found]):
        short = rule[:1].upper() + rule[1:].replace("-", " ")
        yield _rule(rule, short, _summary(RULES.get(rule)) or f"{short}.", "note")


def _summary(documented: object) -> str:
    """The first paragraph of a docstring in one line."""
    return " ".join((inspect.getdoc(documented) or "").split("\n\n")[0].split())


def _rule(rule: str, short: str, full: str, level: str) -> dict[str, Any]:
    return {
        "id": rule,
        "name": "".join(word[:1].upper() + word[1:] for word in rule.split("-")),
        "shortDescription": {"text": f"{short}."},
        "fullDescription": {"text": full},
        "help": {"text": _HELP},
        "defaultConfiguration": {"level": level},
    }


def _problem_results(report: BudgetReport, root: Path) -> Iterator[dict[str, Any]]:
    for verdict in report.verdicts:
        for problem in problems(verdict):
            check = verdict.check
            key = "allow_growth" if problem.rule.endswith("-growth") else problem.quantity
            yield {
                "ruleId": problem.rule,
                "level": "error" if problem.is_failure else "warning",
                "message": {"text": _text(_problem_text(verdict, problem))},
                **_place(check, verdict.bundle, key, root),
                **_fingerprints(check, problem.rule, check.name, problem.quantity),
                "properties": _properties(verdict, problem),
            }


def _problem_text(verdict: Verdict, problem: Problem) -> str:
    steps = [f"Next: {step}." for step in problem.steps]
    return " ".join([f"{verdict.check.name}: {problem.text}.", *steps])


def _properties(verdict: Verdict, problem: Problem) -> dict[str, Any]:
    """The figures, for whoever filters results."""
    one = dict(quantities(verdict))[problem.quantity]
    named = {
        "bundle": verdict.bundle.name,
        "check": verdict.check.name,
        "board": verdict.check.board.name,
        "quantity": problem.quantity,
    }
    if isinstance(one, Usage):
        return {**named, "usedBytes": one.used_bytes, "limitBytes": one.limit_bytes}
    return {**named, "usedMicroseconds": one.used_us, "limitMicroseconds": one.limit_us}


def _finding_results(report: BudgetReport, root: Path) -> Iterator[dict[str, Any]]:
    """The lint's findings, at the check whose footprint the lint was given.

    One that asks for nothing has no result: an alert that cannot be closed helps nobody.
    """
    for bundle in report.bundles:
        check = report.widest(bundle).check
        findings = report.findings.get(bundle.name, ())
        for finding in (one for one in findings if one.advice):
            place = _place(check, bundle, "check", root)
            nodes = [{"fullyQualifiedName": f"{bundle.name}/{one}"} for one in finding.where]
            if nodes:
                place["locations"][0]["logicalLocations"] = nodes
            yield {
                "ruleId": finding.rule,
                "level": "note",
                "message": {"text": _text(_finding_text(bundle, finding))},
                **place,
                **_fingerprints(check, finding.rule, bundle.name, *finding.where),
                "properties": {
                    "bundle": bundle.name,
                    "memory": finding.memory,
                    "savedBytes": finding.saved_bytes,
                },
            }


def _finding_text(bundle: Bundle, finding: Finding) -> str:
    advice = finding.advice
    return f"{bundle.name}: {finding.text}. {advice[:1].upper()}{advice[1:]}."


def _place(check: Check, bundle: Bundle, key: str, root: Path) -> dict[str, Any]:
    """The line of the budget file that sets `key`, or of the check; else the bundle's name."""
    if check.file is None:
        uri, line = quote(bundle.name.encode("utf-8", "replace"), safe=""), 1
    else:
        uri = quote(os.fsencode(_relative(check.file, root)))
        line = check.lines.get(key, check.lines.get("check", 1))
    artifact = {"uri": uri, "uriBaseId": _ROOT}
    location = {"artifactLocation": artifact, "region": {"startLine": line}}
    return {"locations": [{"physicalLocation": location}]}


def _relative(file: Path, root: Path) -> str:
    """The path from `root` with forward slashes; of a file outside of it only the name."""
    for absolute in (os.path.abspath, os.path.realpath):
        try:
            return Path(absolute(file)).relative_to(absolute(root)).as_posix()
        except ValueError:
            continue
    return file.name


def _fingerprints(check: Check, *parts: str) -> dict[str, Any]:
    """What stays the same when figures, lines and folders change.

    GitHub's upload adds `primaryLocationLineHash` from the line itself. It cannot where there is no
    file, so there it is given.
    """
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]
    prints = {"kerasTree/v1": digest}
    if check.file is None:
        prints["primaryLocationLineHash"] = f"{digest[:16]}:1"
    return {"partialFingerprints": prints}


def _text(text: str) -> str:
    """Escape what a SARIF message (sections 3.11.5, 3.11.6) reads as a placeholder or a link."""
    for mark in "\\[]":
        text = text.replace(mark, f"\\{mark}")
    return text.replace("{", "{{").replace("}", "}}")
