"""SARIF 2.1.0: golden files, what the standard and GitHub require, and where results point."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.lint import RULES, Finding
from deploy.report import as_sarif
from deploy.report.problems import problems
from deploy.verdict import BudgetReport

REPORTS = ["one_fit", "one_over", "twelve", "grown", "timed", "linted", "two_bundles", "full"]
BUDGET_RULES = [
    "rom-over-budget", "ram-over-budget", "latency-over-budget",
    "rom-growth", "ram-growth", "latency-growth", "close-to-budget",
]  # fmt: skip
LINES = {"check": 20, "rom": 21, "ram": 7, "latency": 23, "allow_growth": 4}


@pytest.fixture(autouse=True)
def _one_version(monkeypatch) -> None:
    """A golden file must not change with every release."""
    monkeypatch.setattr(as_sarif, "version", lambda name: "1.2.3")


@pytest.fixture
def from_file() -> Callable[..., BudgetReport]:
    """A report whose checks stand in a budget file."""

    def make(report: BudgetReport, file: Path, lines: dict[str, int] = LINES) -> BudgetReport:
        verdicts = tuple(
            replace(one, check=replace(one.check, file=file, lines=lines))
            for one in report.verdicts
        )  # fmt: skip
        return replace(report, verdicts=verdicts)

    return make


def run_of(report: BudgetReport, root: Path | None = None) -> dict:
    content = json.loads(as_sarif.render(report, root))
    assert content["version"] == "2.1.0"
    assert content["$schema"].endswith("sarif-2.1.0.json")
    (run,) = content["runs"]
    return run


def place_of(result: dict) -> tuple[str, int]:
    (location,) = result["locations"]
    place = location["physicalLocation"]
    assert place["artifactLocation"]["uriBaseId"] == "%SRCROOT%"
    return place["artifactLocation"]["uri"], place["region"]["startLine"]


@pytest.fixture
def _two_rules(monkeypatch) -> None:
    """Golden files that do not change with every new rule of the lint."""

    def rule(bundle, found):
        """Channels that are all zero."""

    monkeypatch.setattr(
        as_sarif, "RULES", {"dead-channels": rule, "wide-seam": lambda bundle, found: ()}
    )


@pytest.mark.usefixtures("_two_rules")
@pytest.mark.parametrize("name", ["one_fit", "grown", "timed", "full"])
def test_golden(request, assert_golden, from_file, name: str) -> None:
    report = from_file(request.getfixturevalue(name), Path("firmware/keras-tree.toml"))
    assert_golden(as_sarif.render(report), f"sarif_{name}.json")


@pytest.mark.usefixtures("_two_rules")
def test_golden_without_a_budget_file(assert_golden, one_over) -> None:
    assert_golden(as_sarif.render(one_over), "sarif_one_over_no_file.json")


@pytest.mark.parametrize("name", REPORTS)
def test_what_the_standard_requires(request, from_file, name: str) -> None:
    run = run_of(from_file(request.getfixturevalue(name), Path("keras-tree.toml")))
    driver = run["tool"]["driver"]
    assert driver["name"] == "keras-tree"
    assert driver["version"] == "1.2.3"
    rules = driver["rules"]
    assert len({rule["id"] for rule in rules}) == len(rules)
    for rule in rules:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", rule["id"])
        assert re.fullmatch(r"[A-Z]\w*", rule["name"])
        assert rule["shortDescription"]["text"].endswith(".")
        assert rule["fullDescription"]["text"].endswith(".")
        assert rule["help"]["text"]
        assert rule["defaultConfiguration"]["level"] in ("error", "warning", "note")
    assert run["columnKind"] in ("utf16CodeUnits", "unicodeCodePoints")
    for result in run["results"]:
        rule = rules[result["ruleIndex"]]
        assert rule["id"] == result["ruleId"]
        assert rule["defaultConfiguration"]["level"] == result["level"]
        assert result["message"]["text"].endswith(".")
        uri, line = place_of(result)
        assert uri == "keras-tree.toml"
        assert line >= 1
        assert all(isinstance(value, str) for value in result["partialFingerprints"].values())
    prints = [result["partialFingerprints"]["kerasTree/v1"] for result in run["results"]]
    assert len(set(prints)) == len(prints)


@pytest.mark.parametrize("name", REPORTS)
def test_one_result_per_problem_and_finding(request, name: str) -> None:
    report = request.getfixturevalue(name)
    run = run_of(report)
    told = sorted(result["ruleId"] for result in run["results"])
    expected = [one.rule for verdict in report.verdicts for one in problems(verdict)]
    expected += [one.rule for findings in report.findings.values() for one in findings]
    assert told == sorted(expected)
    assert any(result["level"] == "error" for result in run["results"]) != report.fits


def test_every_rule_is_listed_also_unbroken(one_fit) -> None:
    run = run_of(one_fit)
    assert run["results"] == []
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == [*BUDGET_RULES, *RULES]


def test_a_rule_of_the_lint_says_what_its_docstring_says(monkeypatch, one_fit) -> None:
    def rule(bundle, found):
        """An operator that one branch alone needs.

        More of it.
        """

    monkeypatch.setitem(RULES, "single-user-operator", rule)
    rules = run_of(one_fit)["tool"]["driver"]["rules"]
    (told,) = [one for one in rules if one["id"] == "single-user-operator"]
    assert told["name"] == "SingleUserOperator"
    assert told["shortDescription"]["text"] == "Single user operator."
    assert told["fullDescription"]["text"] == "An operator that one branch alone needs."
    assert told["defaultConfiguration"]["level"] == "note"


def test_a_result_points_at_the_line_of_its_limit(grown, timed, one_over, from_file) -> None:
    lines = {}
    for report in (grown, timed, one_over):
        for result in run_of(from_file(report, Path("keras-tree.toml")))["results"]:
            quantity = result["properties"]["quantity"]
            lines[result["ruleId"], quantity] = place_of(result)[1]
    assert lines == {
        ("rom-growth", "rom"): LINES["allow_growth"],
        ("latency-growth", "latency"): LINES["allow_growth"],
        ("latency-over-budget", "latency"): LINES["latency"],
        ("close-to-budget", "latency"): LINES["latency"],
        ("close-to-budget", "rom"): LINES["rom"],
        ("rom-over-budget", "rom"): LINES["rom"],
    }


@pytest.mark.parametrize(("lines", "line"), [({"check": 12}, 12), ({}, 1), ({"rom": 3}, 3)])
def test_without_a_line_of_its_own_the_check_is_pointed_at(one_over, from_file, lines, line):
    (result,) = run_of(from_file(one_over, Path("keras-tree.toml"), lines))["results"]
    assert place_of(result) == ("keras-tree.toml", line)


def test_findings_point_at_the_check_they_were_made_for(two_bundles, from_file) -> None:
    verdicts = from_file(two_bundles, Path("keras-tree.toml")).verdicts
    numbered = tuple(
        replace(one, check=replace(one.check, lines={"check": 10 + number}))
        for number, one in enumerate(verdicts)
    )
    finding = Finding("dead-channels", ("trunk",), "a", "b", "ROM", 9)
    report = replace(two_bundles, verdicts=numbered, findings={"kws": (finding,)})
    (found,) = [one for one in run_of(report)["results"] if one["level"] == "note"]
    widest = report.widest(numbered[0].bundle)
    assert widest.bundle.name == "kws"
    assert place_of(found)[1] == widest.check.lines["check"]
    (location,) = found["locations"]
    assert location["logicalLocations"] == [{"fullyQualifiedName": "kws/trunk"}]
    assert found["message"]["text"] == "kws: a. B."


def test_a_finding_that_asks_for_nothing_is_no_alert(linted) -> None:
    (first, *others) = linted.findings["demo"]
    findings = {"demo": (replace(first, advice=""), *others)}
    told = [one["ruleId"] for one in run_of(replace(linted, findings=findings))["results"]]
    assert told == [one.rule for one in others]


def test_without_a_budget_file_the_bundle_is_named(one_over) -> None:
    (result,) = run_of(one_over)["results"]
    assert place_of(result) == ("demo", 1)
    assert re.fullmatch(
        "[0-9a-f]{16}:1", result["partialFingerprints"]["primaryLocationLineHash"]
    )  # fmt: skip


def test_paths_are_relative_to_the_root(one_over, from_file, tmp_path, monkeypatch) -> None:
    folder = tmp_path / "my repo" / "firmware"
    folder.mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "my repo")
    file = folder / "keras tree#1:%.toml"
    places = {}
    monkeypatch.chdir(folder)
    for name, given, root in (
        ("absolute", file, folder.parent),
        ("relative", Path(file.name), folder.parent),
        ("current folder", file, None),
        ("through a link", tmp_path / "link" / "firmware" / file.name, folder.parent),
        ("outside", tmp_path / "other.toml", folder),
    ):
        text = as_sarif.render(from_file(one_over, given), root)
        assert str(tmp_path) not in text
        assert "my repo" not in text
        (result,) = json.loads(text)["runs"][0]["results"]
        places[name] = place_of(result)[0]
    name = "keras%20tree%231%3A%25.toml"
    assert places == {
        "absolute": f"firmware/{name}",
        "relative": f"firmware/{name}",
        "current folder": name,
        "through a link": f"firmware/{name}",
        "outside": "other.toml",
    }


def test_a_fingerprint_stays_when_figures_and_lines_change(
    verdict_of, report_of, from_file
) -> None:
    def prints(rom: int, check: int, file: str, called: str = "release") -> list[str]:
        one = verdict_of("nano33ble", rom=rom, called=called)
        report = from_file(report_of(one), Path(file), {"check": check})
        return [
            result["partialFingerprints"]["kerasTree/v1"] for result in run_of(report)["results"]
        ]

    (first,) = prints(60_000, 3, "keras-tree.toml")
    assert prints(50_000, 9, "moved/keras-tree.toml") == [first]
    assert prints(60_000, 3, "keras-tree.toml", "debug") != [first]


HOSTILE = [
    "/etc/passwd",
    "../../up",
    "file:///c:/x",
    "a [link](https://example.org) {0} {1}",
    "\ud800 lone",
    "nul\x00 new\nline",
    "ünï 🌳",
    "%SRCROOT%",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names(report_of, verdict_of, name: str) -> None:
    plain = verdict_of("nano33ble", 60_000)
    over = replace(
        plain,
        check=replace(plain.check, name=name),
        bundle=replace(plain.bundle, name=name),
    )
    finding = Finding("dead-channels", (name,), f"{name} is dead", "prune it")
    text = as_sarif.render(replace(report_of(over), findings={name: (finding,)}))
    assert text.isascii()
    results = json.loads(text)["runs"][0]["results"]
    assert len(results) == 2
    for result in results:
        uri, _ = place_of(result)
        assert re.fullmatch(r"(?:[\w.~-]|%[0-9A-F]{2})+", uri, re.ASCII)
        told = result["message"]["text"]
        assert not re.search(r"(?<!\\)[\[\]]", told)
        assert not re.search(r"(?<!{){\d", told)


def test_from_a_checkout_that_is_not_installed(monkeypatch, one_fit) -> None:
    def missing(name: str) -> str:
        raise as_sarif.PackageNotFoundError(name)

    monkeypatch.setattr(as_sarif, "version", missing)
    driver = json.loads(as_sarif.render(one_fit))["runs"][0]["tool"]["driver"]
    assert "version" not in driver
