"""How a report reads on a terminal: golden files at fixed widths, and what holds at any width."""

import re
from dataclasses import replace

import pytest

from deploy.report import terminal

ANSI = re.compile(r"\x1b\[[0-9;]*m")
REPORTS = [
    "one_fit", "one_over", "twelve", "grown", "timed", "with_margin", "linted", "two_bundles",
    "with_image", "full", "mixed",
]  # fmt: skip


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("report", [name for name in REPORTS if name != "full"])
def test_golden(request, assert_golden, report: str, width: int) -> None:
    text = terminal.render(request.getfixturevalue(report), width=width)
    assert_golden(text, f"terminal_{report}_{width}.txt")


def test_golden_in_colour(one_over, assert_golden) -> None:
    assert_golden(terminal.render(one_over, width=80, colour=True), "terminal_colour.txt")


@pytest.mark.parametrize(("report", "width"), [("one_over", 100), ("full", 80)])
def test_golden_with_every_check_split(request, assert_golden, report: str, width: int) -> None:
    text = terminal.render(request.getfixturevalue(report), width=width, why=True)
    assert_golden(text, f"terminal_why_{report}_{width}.txt")


@pytest.mark.parametrize("report", REPORTS)
def test_colour_changes_no_letter(request, report: str) -> None:
    given = request.getfixturevalue(report)
    coloured = terminal.render(given, width=90, colour=True)
    assert ANSI.search(coloured)
    assert ANSI.sub("", coloured) == terminal.render(given, width=90)


@pytest.mark.parametrize("width", [72, 80, 93, 120])
@pytest.mark.parametrize("report", REPORTS)
def test_no_line_is_wider_than_the_screen(request, report: str, width: int) -> None:
    text = terminal.render(request.getfixturevalue(report), width=width, why=True)
    assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize(("asked", "same_as"), [(1, 72), (0, 72), (500, 120)])
def test_width_keeps_within_what_reads_well(twelve, asked: int, same_as: int) -> None:
    assert terminal.render(twelve, width=asked) == terminal.render(twelve, width=same_as)


@pytest.mark.parametrize("report", REPORTS)
def test_plain_ascii_without_trailing_blanks(request, report: str) -> None:
    text = terminal.render(request.getfixturevalue(report), why=True)
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
    assert "next    ship without task digit (saves 9.8 KiB of ROM), then ROM fits" in text


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


def table_of(text: str) -> dict[str, str]:
    """By the check's first word, its line of the table."""
    lines = [line for line in text.splitlines() if re.match(r"(OVER|GREW|close|fits) +\S", line)]
    return {line[7:].split()[0]: line for line in lines}


def test_growth_stands_beside_every_figure(grown) -> None:
    table = table_of(terminal.render(grown, width=120))
    deltas = re.compile(r"[+-][\d.]+ (?:KiB|B|us|ms)|=|new")
    told = {name: deltas.findall(line) for name, line in table.items()}
    assert told == {
        "nano33ble": ["+3.1 KiB", "+1.1 KiB", "+950 us"],
        "bluepill": ["-1.2 KiB", "-16 B"],
        "nucleo-f411re": ["=", "=", "="],
        "pico": ["new", "new"],
    }
    assert table["nano33ble"].startswith("GREW")


@pytest.mark.parametrize("report", ["one_fit", "twelve", "timed", "linted"])
def test_without_a_baseline_no_column_speaks_of_one(request, report: str) -> None:
    text = terminal.render(request.getfixturevalue(report), why=True)
    assert "vs base" not in text
    assert "  base  " not in text


@pytest.mark.parametrize("report", ["one_fit", "twelve", "with_margin", "two_bundles"])
def test_without_evidence_no_time_is_shown(request, report: str) -> None:
    text = terminal.render(request.getfixturevalue(report), why=True)
    assert not re.search(r"(?<!at a )\btime\b|\bus\b|\bms\b", text)


def test_a_time_with_its_limit_its_band_and_a_dash_where_none_is_known(timed) -> None:
    text = terminal.render(timed, width=120)
    table = table_of(text)
    assert table["nano33ble"].startswith("OVER")
    assert table["nano33ble"].endswith("11.5/10.0 ms")
    assert table["nucleo-f411re"].startswith("close")
    assert table["nucleo-f746zg"].endswith("3.41 ms")
    assert table["esp32-c3"].endswith(" -")
    assert "time -15 to +20%" in text
    assert "latency of digit is 1.50 ms over: 11.5 ms of 10.0 ms" in text


def test_growth_says_what_changed(grown) -> None:
    text = terminal.render(grown, width=120)
    assert "ROM grew by 3.1 KiB against the baseline, from 60.8 KiB to 64.0 KiB" in text
    assert "base    ROM 62,306 +3,200 (allowed 2,048), RAM 10,672 +1,100 (allowed 10,240)" in text
    assert "changed: node digit +1,200" in text


def test_a_margin_is_named_and_kept_free(with_margin) -> None:
    text = terminal.render(with_margin, width=120)
    assert table_of(text)["nano33ble"].startswith("OVER")
    assert "ROM is 906 B over: 64.0 KiB of 66.4 KiB less a margin of 3.3 KiB" in text
    assert "margin: limits of nano33ble less 5 %; limits of nucleo-f411re less 8.0 KiB" in text
    assert "65,506 of 68,000 bytes (your limit less a margin of 3,400)" in text


def test_at_most_five_findings_unasked(linted) -> None:
    asked, unasked = (terminal.render(linted, width=120, why=why) for why in (True, False))
    texts = [finding.text for finding in linted.findings["demo"]]
    assert [text in asked for text in texts] == [True] * 7
    assert [text in unasked for text in texts] == [True] * 5 + [False] * 2
    assert "2 more with --why" in unasked
    assert "more with --why" not in asked
    words = " ".join(unasked.split())
    assert "the other branches have; saves 11.0 KiB of ROM on nano33ble" in words


def test_no_findings_no_lint(one_over) -> None:
    assert "lint" not in terminal.render(one_over, why=True)


def test_several_bundles_have_tables_of_their_own(two_bundles) -> None:
    text = terminal.render(two_bundles)
    assert text.startswith("kws: 3 tasks, 4 nodes, 21.4 KiB of model\nvision: 3 tasks")
    assert [text.count(f"\n{name}\nnode ") for name in ("kws", "vision")] == [1, 1]
    assert "  bundle  kws" in text
    assert "bundle" not in terminal.render(replace(two_bundles, verdicts=two_bundles.of(
        two_bundles.bundles[0])))  # fmt: skip


def tree_of(text: str, label: str) -> list[tuple[int, str, int]]:
    """Depth, name and bytes of the lines of a tree behind a label."""
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"  {label} "))
    found = []
    for line in lines[start + 1 :]:
        match = re.match(r"(\s+[|` ]*-- )(.+?)  +([\d,]+)  +[\d.]+%$", line)
        if match:
            depth = (len(match[1]) - 10) // 4
            found.append((depth, match[2], int(match[3].replace(",", ""))))
        elif found:
            break
    return found


def test_why_splits_rom_down_to_flatbuffers_and_operators(one_over) -> None:
    (verdict,) = one_over.verdicts
    tree = tree_of(terminal.render(one_over, why=True), "ROM")
    sums = dict.fromkeys(range(1, 4), 0)
    for depth, _, size in tree:
        sums[depth] += size
    runtime = verdict.footprint.runtime
    assert sums[1] == verdict.rom.used_bytes
    assert sums[2] == verdict.rom.used_bytes - runtime.core_bytes
    assert sums[3] == verdict.footprint.model_rom_bytes
    names = [name for _, name, _ in tree]
    assert set(runtime.by_operator) | set(verdict.footprint.nodes) <= set(names)
    assert names.count("weights") == len(verdict.footprint.nodes)


def test_why_tells_every_arena(one_over) -> None:
    text = terminal.render(one_over, why=True)
    (verdict,) = one_over.verdicts
    assert sum(size for _, _, size in tree_of(text, "RAM")) == verdict.ram.used_bytes
    for name in ("all paths at once", "one path at a time", "digit alone", "texture alone"):
        assert re.search(rf"-- {name} +[\d,]+$", text, re.MULTILINE)


def test_why_tells_a_time_by_node_and_operator_with_its_basis(timed) -> None:
    text = terminal.render(timed, why=True)
    slowest = text[text.index("time by node") :]
    assert re.match(r"time by node +11\.5 ms  100\.0%", slowest)
    assert re.search(r"-- trunk +9\.10 ms +79\.1%", slowest)
    assert re.search(r"-- FULLY_CONNECTED +2\.30 ms +20\.0%", slowest)
    assert "from MLPerf Tiny v1.2, 4 models" in text
    assert "second opinion: 588,800 instructions; by MACs 12.1 ms (+5.0%)" in text


@pytest.mark.parametrize("name", ["a", "a name of more than forty columns, which none can hold"])
@pytest.mark.parametrize("width", [72, 80, 120])
def test_any_name_leaves_every_figure_on_the_line(grown, name: str, width: int) -> None:
    first, *others = grown.verdicts
    renamed = replace(first, check=replace(first.check, name=name))
    text = terminal.render(replace(grown, verdicts=(renamed, *others)), width=width)
    line = next(line for line in text.splitlines() if line.startswith("GREW"))
    assert len(line) <= width
    assert "15%" in line
    assert "64.0" in line
    assert "+3.1 KiB" in line


def test_names_of_any_length_keep_every_line_on_the_screen(report_of, verdict_of) -> None:
    plain = verdict_of("nano33ble", is_timed=True)
    name = "a_node_whose_name_takes_more_columns_than_a_table_of_figures_leaves_it"
    found, bundle = plain.footprint, plain.bundle
    task = replace(found.tasks["digit"], name=name, path=("trunk", name))
    node = replace(found.nodes["digit"], name=name, share_bytes={name: 1})
    bundle = replace(
        bundle,
        tasks={name: replace(bundle.tasks["digit"], name=name)},
        nodes={name: bundle.nodes["digit"]},
    )
    found = replace(found, tasks={name: task}, nodes={name: node})
    text = terminal.render(report_of(replace(plain, footprint=found, bundle=bundle)), width=80)
    assert max(map(len, text.splitlines())) <= 80
    for figure in ("5,012", "14,132", "7,972", "98.1%", "97.9%"):
        assert figure in text


def test_tasks_without_scores_have_no_columns_for_them(report_of, verdict_of) -> None:
    plain = verdict_of("nano33ble")
    tasks = {name: replace(task, score=None) for name, task in plain.bundle.tasks.items()}
    verdict = replace(plain, bundle=replace(plain.bundle, tasks=tasks))
    assert "metric" not in terminal.render(report_of(verdict))


def test_models_that_share_nothing_claim_no_saving(report_of, verdict_of) -> None:
    plain = verdict_of("nano33ble")
    found = replace(plain.footprint, separate_model_bytes=plain.footprint.model_rom_bytes)
    text = terminal.render(report_of(replace(plain, footprint=found)))
    assert "no node is shared: a tree saves nothing" in text
    assert "the tree saves" not in text


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize(
    "name", ["two\n::error::lines", "\x1b[2Jcleared", "\x9b31m", "bell\a", "\u202eabc", "\ud800"]
)
def test_a_name_gives_a_terminal_no_orders(report_of, verdict_of, name: str, colour: bool) -> None:
    text = terminal.render(report_of(verdict_of("nano33ble", called=name)), colour=colour)
    assert name not in text
    text.encode()
    kept = ANSI.sub("", text) if colour else text
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", kept)
    assert not any(line.startswith("::") for line in text.splitlines())


def test_a_second_opinion_without_instructions(timed) -> None:
    first = timed.verdicts[0]
    latency = replace(first.time.latency, instructions=None)
    verdict = replace(first, time=replace(first.time, latency=latency))
    text = terminal.render(replace(timed, verdicts=(verdict,)), why=True)
    assert "second opinion: by MACs 12.1 ms (+5.0%)" in text
