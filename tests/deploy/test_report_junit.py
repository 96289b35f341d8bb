"""JUnit XML: golden files, the schema that Jenkins reads, and names that XML cannot hold."""

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest

from deploy.next_steps import Step
from deploy.report import as_junit

REPORTS = ["one_fit", "one_over", "twelve", "grown", "timed", "with_margin", "two_bundles", "full"]
# From `junit-10.xsd` of Jenkins' xunit plugin: attributes (required first) and children by element.
# A test case has no properties there, and neither `time` nor `timestamp` is required.
ATTRIBUTES = {
    "testsuites": ((), ("name", "tests", "failures", "errors")),
    "testsuite": (("name", "tests", "failures", "errors"), ("skipped", "id", "package")),
    "properties": ((), ()),
    "property": (("name", "value"), ()),
    "testcase": (("name",), ("classname",)),
    "failure": ((), ("type", "message")),
    "system-out": ((), ()),
}
CHILDREN = {
    "testsuites": {"testsuite"},
    "testsuite": {"properties", "testcase"},
    "properties": {"property"},
    "testcase": {"failure", "system-out"},
}


def parsed(report) -> ElementTree.Element:
    return ElementTree.fromstring(as_junit.render(report).encode("utf-8"))


def assert_structure(element: ElementTree.Element) -> None:
    required, optional = ATTRIBUTES[element.tag]
    assert set(required) <= set(element.attrib) <= {*required, *optional}
    assert {child.tag for child in element} <= CHILDREN.get(element.tag, set())
    for child in element:
        assert_structure(child)


@pytest.mark.parametrize("report", ["one_fit", "one_over", "grown", "full"])
def test_golden(request, assert_golden, report: str) -> None:
    assert_golden(as_junit.render(request.getfixturevalue(report)), f"junit_{report}.xml")


@pytest.mark.parametrize("name", REPORTS)
def test_the_structure_is_that_of_the_schema(request, name: str) -> None:
    report = request.getfixturevalue(name)
    root = parsed(report)
    assert root.tag == "testsuites"
    assert_structure(root)
    assert int(root.get("tests")) == len(root.findall(".//testcase")) == len(report.verdicts)
    assert int(root.get("failures")) == len(root.findall(".//failure")) == len(report.over_budget)
    for suite in root:
        assert int(suite.get("tests")) == len(suite.findall("testcase"))
        assert int(suite.get("failures")) == len(suite.findall("testcase/failure"))
    boards = {verdict.check.board.name for verdict in report.verdicts}
    assert {suite.get("name") for suite in root} == boards
    assert len(root) == len(boards)


def test_a_case_is_named_after_its_bundle_and_check(two_bundles) -> None:
    cases = parsed(two_bundles).findall(".//testcase")
    told = {(case.get("classname"), case.get("name")) for case in cases}
    assert ("kws", "kws on bluepill") in told
    assert ("vision", "vision on nano33ble") in told
    assert len(told) == 4


def test_a_failure_says_how_much_what_is_largest_and_what_next(one_over) -> None:
    (failure,) = parsed(one_over).iter("failure")
    assert failure.get("type") == "rom-over-budget"
    (verdict,) = one_over.verdicts
    assert failure.get("message") == verdict.rom.message
    first, *steps = failure.text.splitlines()
    assert "over: " in first
    assert "largest part: kernels" in first
    assert steps == [f"next: {step}" for step in verdict.next_steps]


def test_one_failure_tells_all_that_is_over_and_no_step_twice(report_of, verdict_of) -> None:
    steps = (Step("both", "take a larger board", 0, True), Step("time", "run it slower", 0, False))
    over = verdict_of(
        "nano33ble", 60_000, 8_000, is_timed=True, limit_us=10.0, next_steps=steps
    )  # fmt: skip
    (failure,) = parsed(report_of(over)).iter("failure")
    assert failure.get("type") == "rom-over-budget, ram-over-budget, latency-over-budget"
    lines = failure.text.splitlines()
    assert lines[:3] == [over.rom.message, over.ram.message, over.time.message]
    assert lines[3:] == ["next: take a larger board, then ROM and RAM fit", "next: run it slower"]


def test_growth_is_a_failure_of_its_own(grown) -> None:
    (failure,) = parsed(grown).iter("failure")
    (verdict,) = grown.over_budget
    assert failure.get("type") == "rom-growth, latency-growth"
    assert failure.text.splitlines() == [verdict.rom.growth_message, verdict.time.growth_message]


def test_close_is_no_failure_but_told(timed) -> None:
    close = [one for one in timed.verdicts if one.is_close]
    assert close
    for verdict in close:
        case = parsed(timed).find(f".//testcase[@name='{verdict.check.name}']")
        assert case.find("failure") is None
        assert verdict.time.message in case.findtext("system-out").splitlines()


def test_every_case_tells_used_limit_and_change(grown) -> None:
    root = parsed(grown)
    for verdict in grown.verdicts:
        out = root.find(f".//testcase[@name='{verdict.check.name}']").findtext("system-out")
        rom, ram, *time = out.splitlines()[:3]
        assert re.match(r"ROM [\d.]+ KiB of [\d.,]+ KiB", rom)
        assert ("against the baseline" in rom) == (verdict.baseline is not None)
        assert ram.startswith("RAM ")
        assert verdict.time is None or time[0].startswith("latency ")
    assert "-1.2 KiB against the baseline" in root.find(
        ".//testcase[@name='bluepill']"
    ).findtext("system-out")  # fmt: skip


def test_the_properties_are_the_exact_figures(grown) -> None:
    told = {one.get("name"): one.get("value") for one in parsed(grown).iter("property")}
    for verdict in grown.verdicts:
        name = verdict.check.name
        assert told[f"{name}.rom_used_bytes"] == str(verdict.rom.used_bytes)
        assert told[f"{name}.ram_limit_bytes"] == str(verdict.ram.limit_bytes)
        growth = verdict.ram.growth_bytes
        assert told.get(f"{name}.ram_growth_bytes") == (None if growth is None else str(growth))
        used = None if verdict.time is None else f"{verdict.time.used_us:.1f}"
        assert told.get(f"{name}.latency_used_us") == used


HOSTILE = [
    "<b>&amp;\"'</b>",
    "]]> <!-- --> <?x?>",
    "null\x00 bell\x07 escape\x1b[31m delete\x7f",
    "lone \ud800 surrogate, \ufffe, \uffff",
    "line\none\ttab\rreturn",
    "${jndi:x} $(touch pwned) `id`",
    "\U0001f333 Baum ü",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_text(report_of, verdict_of, name: str) -> None:
    plain = verdict_of("nano33ble", 60_000, next_steps=(Step("ROM", name, 0, False),))
    bundle = replace(plain.bundle, name=name)
    over = replace(plain, check=replace(plain.check, name=name), bundle=bundle, notes=(name,))
    root = parsed(report_of(over))
    assert_structure(root)
    (case,) = root.iter("testcase")
    legal = re.sub("[\x00\x07\x1b\ud800\ufffe\uffff]", "\N{REPLACEMENT CHARACTER}", name)
    assert case.get("name") == case.get("classname") == legal
    newlines = legal.replace("\r", "\n")  # as every XML reader normalizes text
    assert f"next: {newlines}" in case.findtext("failure")
    assert case.findtext("system-out").endswith(f"note: {newlines}")


def test_the_same_report_gives_the_same_text_without_the_time_of_day(full) -> None:
    text = as_junit.render(full)
    assert text == as_junit.render(full)
    assert "time=" not in text
    assert "timestamp" not in text


def test_every_figure_of_a_case_has_its_error(timed) -> None:
    for out in parsed(timed).iter("system-out"):
        lines = out.text.splitlines()
        assert "; error -0.6 to +0.6%" in lines[0]
        assert "; error -2 to +3%" in lines[1]
    assert "(digit); error -15 to +20%" in as_junit.render(timed)
