"""How a report reads in a pull request: golden files, and names that must not become markup."""

import re
from dataclasses import replace

import pytest

from deploy.next_steps import Step
from deploy.report import as_markdown
from deploy.verdict import BudgetReport

REPORTS = [
    "one_fit", "one_over", "twelve", "grown", "timed", "with_margin", "linted", "two_bundles",
    "with_image", "full", "mixed",
]  # fmt: skip


@pytest.mark.parametrize("report", REPORTS)
def test_golden(request, assert_golden, report: str) -> None:
    text = as_markdown.render(request.getfixturevalue(report))
    assert_golden(text, f"markdown_{report}.md")


@pytest.mark.parametrize("report", REPORTS)
def test_every_table_is_well_formed(request, report: str) -> None:
    assert_tables_are_well_formed(as_markdown.render(request.getfixturevalue(report)))


def assert_tables_are_well_formed(text: str) -> None:
    lines = text.splitlines()
    assert len([line for line in lines if line.startswith("|")]) > 10
    widths = []
    for line in lines:
        if line.startswith("|"):
            widths.append(line.count("|") - line.count("\\|"))
        else:
            assert len(set(widths)) <= 1
            widths = []
    # Two blank lines end nothing that one does not.
    assert "\n\n\n" not in text


def test_names_do_not_become_markup(report_of, verdict_of) -> None:
    plain = verdict_of("nano33ble")
    name = "a|b <img src=x> `c` *d* [e](f)"
    report = report_of(replace(plain, check=replace(plain.check, name=name)))
    text = as_markdown.render(report)
    assert "<img" not in text
    assert "a\\|b &lt;img src=x> \\`c\\` \\*d\\* \\[e\\](f)" in text


@pytest.mark.parametrize(
    ("report", "count"), [("twelve", 2), ("linted", 3), ("two_bundles", 5), ("full", 5)]
)
def test_details_are_closed(request, report: str, count: int) -> None:
    text = as_markdown.render(request.getfixturevalue(report))
    assert text.count("<details>") == text.count("</details>") == count


@pytest.mark.parametrize("report", REPORTS)
def test_the_first_line_is_the_marker(request, report: str) -> None:
    text = as_markdown.render(request.getfixturevalue(report))
    assert text.splitlines()[0] == as_markdown.MARKER == "<!-- keras-tree -->"
    assert text.count(as_markdown.MARKER) == 1


def row_of(text: str, name: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.startswith(f"| {name} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_growth_stands_beside_absolute_values(grown) -> None:
    text = as_markdown.render(grown)
    assert row_of(text, "check") == [
        "check", "tasks", "ROM", "", "vs base", "RAM", "", "vs base", "time", "vs base", "verdict",
    ]  # fmt: skip
    assert row_of(text, "nano33ble")[2:] == [
        "64.0 KiB of 400.0 KiB", "15%", "🔺 +3.1 KiB", "11.5 KiB of 96.0 KiB", "11%",
        "🔺 +1.1 KiB", "11.5 ms", "🔺 +950 us", "GREW",
    ]  # fmt: skip
    assert row_of(text, "bluepill")[4] == "💚 -1.2 KiB"
    assert row_of(text, "nucleo-f411re")[4] == "="
    assert row_of(text, "pico")[4] == "new"
    assert "- changed: node digit +1,200" in text


def test_what_fails_comes_first_with_its_reasons(full) -> None:
    text = as_markdown.render(full)
    places = [text.index(f"| {name} on ") for name in ("kws", "vision")]
    assert places == sorted(places)
    unfolded = text[: text.index("<details>")]
    for verdict in full.over_budget:
        assert all(message in unfolded for message in verdict.messages)


def test_neither_growth_nor_time_without_them(twelve) -> None:
    text = as_markdown.render(twelve)
    assert "vs base" not in text
    assert "| time |" not in text


@pytest.mark.parametrize("name", ["@somebody", "two\nlines", "tab\tbed", "\ud800"])
def test_a_name_mentions_nobody_and_breaks_no_table(report_of, verdict_of, name: str) -> None:
    text = as_markdown.render(report_of(verdict_of("nano33ble", called=name)))
    assert_tables_are_well_formed(text)
    assert "@" not in text
    assert name not in text
    text.encode()


def many_boards(bundle, verdict_of, is_over: bool, times: int = 1) -> BudgetReport:
    """58 boards and ten tasks, each path of eleven nodes named at length."""
    tasks = {f"task number {i} of the tree": bundle.tasks["digit"] for i in range(10)}
    nodes = {f"node number {i} of the tree": bundle.nodes["digit"] for i in range(11)}
    wide = replace(
        bundle,
        tasks={name: replace(one, name=name, path=tuple(nodes)) for name, one in tasks.items()},
        nodes={name: replace(one, name=name) for name, one in nodes.items()},
    )
    plain = verdict_of("nano33ble", 60_000 if is_over else None)
    node, task = plain.footprint.nodes["digit"], plain.footprint.tasks["digit"]
    found = replace(
        plain.footprint,
        nodes={
            name: replace(node, name=name, share_bytes=dict.fromkeys(tasks, 1)) for name in nodes
        },
        tasks={name: replace(task, name=name, path=tuple(nodes)) for name in tasks},
        notes=("a note of the usual length, which says what stands in for what here",) * 3,
    )
    step = Step("ROM", "do without SOFTMAX (in ten tasks of the tree)", 6_144, False)
    verdicts = [
        replace(
            plain, bundle=wide, footprint=found, notes=found.notes,
            next_steps=(step,) * 4 * is_over,
            check=replace(plain.check, name=f"board number {i}"),
        )
        for i in range(58 * times)
    ]  # fmt: skip
    return BudgetReport(tuple(verdicts))


@pytest.mark.parametrize(
    ("is_over", "times"), [(False, 1), (True, 1), (True, 20)], ids=["fits", "over", "twenty times"]
)
def test_many_boards_fit_into_a_comment(bundle, verdict_of, is_over: bool, times: int) -> None:
    report = many_boards(bundle, verdict_of, is_over, times)
    text = as_markdown.render(report)
    assert len(text.encode()) <= as_markdown.LONGEST == 65_536
    assert len(text) > 40_000
    cut = re.search(r"Cut for GitHub's limit of 65,536 characters, [\d,]+ more lines\.", text)
    assert bool(cut) == is_over
    assert text.count("<details>") == text.count("</details>") == 2
    assert_tables_are_well_formed(text)
    rows = len(re.findall(r"^\| board number", text, re.MULTILINE))
    assert rows == 58 if times == 1 else 58 < rows < 58 * times
    assert ("more checks." in text) == (times > 1)


def test_the_errors_stand_before_all_that_is_folded(timed) -> None:
    shown = as_markdown.render(timed).split("<details>")[0]
    assert "Error of the estimates: ROM -0.6 to +0.6%, RAM -2 to +3%, time -15 to +20%." in shown


def test_margins_are_told(with_margin) -> None:
    text = as_markdown.render(with_margin)
    assert "Margin: limits of nano33ble less 5 %; limits of nucleo-f411re less 8.0 KiB." in text


def test_what_fits_is_not_cut(twelve, full) -> None:
    for report in (twelve, full):
        text = as_markdown.render(report)
        assert "Cut for" not in text
        assert "left out" not in text


def test_many_bundles_are_left_out_rather_than_too_long(one_over) -> None:
    (verdict,) = one_over.verdicts
    verdicts = [
        replace(verdict, bundle=replace(verdict.bundle, name=f"bundle {i}")) for i in range(300)
    ]
    text = as_markdown.render(BudgetReport(tuple(verdicts)))
    assert len(text.encode()) <= as_markdown.LONGEST
    assert "folded parts are left out" in text
