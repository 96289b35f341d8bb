"""How a report reads on a terminal: golden files at fixed widths, and what holds at any width."""

import re
from dataclasses import replace

import pytest

from deploy.report import terminal

ANSI = re.compile(r"\x1b\[[0-9;]*m")


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("report", ["one_fit", "one_over", "twelve"])
def test_golden(request, assert_golden, report: str, width: int) -> None:
    text = terminal.render(request.getfixturevalue(report), width=width)
    assert_golden(text, f"terminal_{report}_{width}.txt")


def test_golden_in_colour(one_over, assert_golden) -> None:
    assert_golden(terminal.render(one_over, width=80, colour=True), "terminal_colour.txt")


def test_golden_with_every_check_split(twelve, assert_golden) -> None:
    assert_golden(terminal.render(twelve, width=100, why=True), "terminal_why_100.txt")


@pytest.mark.parametrize("report", ["one_fit", "one_over", "twelve"])
def test_colour_changes_no_letter(request, report: str) -> None:
    given = request.getfixturevalue(report)
    coloured = terminal.render(given, width=90, colour=True)
    assert ANSI.search(coloured)
    assert ANSI.sub("", coloured) == terminal.render(given, width=90)


@pytest.mark.parametrize("width", [72, 80, 93, 120])
@pytest.mark.parametrize("report", ["one_fit", "one_over", "twelve"])
def test_no_line_is_wider_than_the_screen(request, report: str, width: int) -> None:
    text = terminal.render(request.getfixturevalue(report), width=width, why=True)
    assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize(("asked", "same_as"), [(1, 72), (0, 72), (500, 120)])
def test_width_keeps_within_what_reads_well(twelve, asked: int, same_as: int) -> None:
    assert terminal.render(twelve, width=asked) == terminal.render(twelve, width=same_as)


def test_plain_ascii_without_trailing_blanks(twelve) -> None:
    text = terminal.render(twelve, why=True)
    assert text.isascii()
    assert all(line == line.rstrip() for line in text.splitlines())


def test_one_line_per_check_worst_first(twelve) -> None:
    lines = terminal.render(twelve, width=120).splitlines()
    table = [line for line in lines if re.match(r"(OVER|close|fits) ", line)]
    assert [line.split()[0] for line in table] == ["close"] + ["fits"] * 12
    for line, verdict in zip(table, twelve.verdicts, strict=True):
        assert verdict.check.name in line
    percents = [max(map(int, re.findall(r"(\d+)%", line))) for line in table]
    assert percents == sorted(percents, reverse=True)


def test_over_budget_says_by_how_much_the_largest_part_and_what_next(one_over) -> None:
    text = terminal.render(one_over, width=120)
    assert "ROM is 4.0 KiB over: 64.0 KiB of 60.0 KiB; largest part: kernels" in text
    assert "next    ship without task digit (saves 9.8 KiB), then it fits" in text


def test_a_percentage_never_hides_on_which_side_of_the_limit_it_is(report_of, verdict_of) -> None:
    used = verdict_of("nano33ble").rom.used_bytes
    just_over = terminal.render(report_of(verdict_of("nano33ble", rom=used - 1)))
    just_fits = terminal.render(report_of(verdict_of("nano33ble", rom=used)))
    barely_below = terminal.render(report_of(verdict_of("nano33ble", rom=used + 1)))
    assert "101%" in just_over
    assert "100%" in just_fits
    assert "99%" in barely_below


def test_notes_are_shown(report_of, verdict_of) -> None:
    noted = replace(verdict_of("esp32-c3"), notes=("no rv32imc build was measured",))
    assert "note    no rv32imc build was measured" in terminal.render(report_of(noted))


def test_a_tree_of_one_task_claims_no_saving(report_of, verdict_of) -> None:
    text = terminal.render(report_of(verdict_of("nano33ble", tasks=("digit",))))
    assert "separate" not in text
    assert "saves nothing" in text
