"""Limits against a footprint: what counts as used, where the edge is, and who is worst."""

from dataclasses import replace

import pytest

from deploy import budget
from deploy.board import load_board
from deploy.budget import BudgetError, Check, check

NANO = load_board("nano33ble")
ROM_BYTES = 65_506  # of the hand-made bundle on a Cortex-M4
RAM_BYTES = 11_772


@pytest.fixture(autouse=True)
def priced(monkeypatch, small_footprint):
    """The hand-made footprint instead of the models': round figures, exact edges."""

    def footprint(bundle, board, tasks=None, kernels=None, allocate="all"):
        return small_footprint(board, tasks, kernels)

    monkeypatch.setattr(budget, "footprint", footprint)
    monkeypatch.setattr(budget, "next_steps", lambda *_: ())
    monkeypatch.setattr(budget, "lint", lambda *_: ())


def test_default_limits_are_the_slot_and_the_main_block(bundle):
    verdict = check(bundle, [Check("nano", NANO)]).verdicts[0]
    assert verdict.rom.limit_bytes == 983_040
    assert verdict.ram.limit_bytes == 262_144
    assert not verdict.rom.is_own_limit
    assert verdict.fits
    assert verdict.rom.used_bytes == ROM_BYTES
    assert verdict.ram.used_bytes == RAM_BYTES


@pytest.mark.parametrize(
    ("rom_limit", "ram_limit", "fits", "rom_over", "ram_over"),
    [
        (ROM_BYTES, RAM_BYTES, True, 0, 0),
        (ROM_BYTES - 1, RAM_BYTES, False, 1, 0),
        (ROM_BYTES, RAM_BYTES - 1, False, 0, 1),
        (1, 1, False, ROM_BYTES - 1, RAM_BYTES - 1),
    ],
)
def test_a_limit_is_met_to_the_byte(bundle, rom_limit, ram_limit, fits, rom_over, ram_over):
    one = Check("nano", NANO, None, rom_limit, ram_limit)
    verdict = check(bundle, [one]).verdicts[0]
    assert verdict.fits == fits
    assert (verdict.rom.over_bytes, verdict.ram.over_bytes) == (rom_over, ram_over)


def test_a_reserve_counts_as_used_but_not_as_estimated(bundle):
    one = Check("nano", NANO, reserve_rom_bytes=100_000, reserve_ram_bytes=7)
    verdict = check(bundle, [one]).verdicts[0]
    assert verdict.rom.used_bytes == ROM_BYTES + 100_000
    assert verdict.ram.used_bytes == RAM_BYTES + 7
    assert verdict.rom.highest_bytes == ROM_BYTES + 100_000 + round(ROM_BYTES * 0.006)
    assert verdict.rom.largest_part.group == "reserve"


def test_parts_are_nodes_runtime_and_causes(bundle):
    verdict = check(bundle, [Check("nano", NANO)]).verdicts[0]
    assert [part.name for part in verdict.rom.parts] == [
        "trunk", "digit", "orientation", "texture", "runtime core", "kernels",
    ]  # fmt: skip
    assert verdict.rom.group_bytes("nodes") == 21_910
    assert sum(part.size_bytes for part in verdict.ram.parts) == RAM_BYTES


def test_only_the_asked_tasks_count(bundle):
    verdict = check(bundle, [Check("nano", NANO, ("digit",))]).verdicts[0]
    assert list(verdict.footprint.nodes) == ["trunk", "digit"]
    assert verdict.rom.group_bytes("nodes") == 14_132


def test_close_means_it_fits_only_below_the_error_band(bundle):
    slack = round(ROM_BYTES * 0.006)
    for spare, is_close in ((slack - 1, True), (slack, False)):
        verdict = check(bundle, [Check("n", NANO, None, ROM_BYTES + spare)]).verdicts[0]
        assert verdict.fits
        assert verdict.is_close == is_close
        assert len(verdict.messages) == is_close


def test_worst_first_and_over_budget_before_all(bundle):
    names = ["nano33ble", "bluepill", "pico", "nucleo-g071rb"]
    checks = [Check(name, load_board(name)) for name in names]
    checks.append(Check("strict", NANO, None, ROM_BYTES - 1))
    report = check(bundle, checks)
    assert [verdict.check.name for verdict in report.verdicts] == [
        "strict", "bluepill", "nucleo-g071rb", "nano33ble", "pico",
    ]  # fmt: skip
    assert not report.fits
    assert [verdict.check.name for verdict in report.over_budget] == ["strict"]


def test_messages_name_the_overrun_the_sum_and_the_largest_part(bundle):
    verdict = check(bundle, [Check("nano", NANO, None, 60 * 1024, 10 * 1024)]).verdicts[0]
    assert verdict.messages == (
        "ROM is 4.0 KiB over: 64.0 KiB of 60.0 KiB; largest part: kernels, 31.9 KiB",
        "RAM is 1.5 KiB over: 11.5 KiB of 10.0 KiB; largest part: activations (trunk), 6.1 KiB",
    )


@pytest.mark.parametrize(
    ("rom", "ram", "said"),
    [
        (1_000_000, None, "above the application slot of nano33ble, 960.0 KiB"),
        (None, 262_144, None),
        (983_040, None, None),
    ],
)
def test_a_limit_above_the_slot_is_noted(bundle, rom, ram, said):
    verdict = check(bundle, [Check("nano", NANO, None, rom, ram)]).verdicts[0]
    assert [said in note for note in verdict.notes] == ([True] if said else [])


def test_a_limit_above_the_main_block_is_noted(bundle):
    board = replace(NANO, ram_total_bytes=2 * NANO.ram_bytes)
    one = Check("nano", board, None, None, NANO.ram_bytes + 1)
    assert "cannot straddle two blocks" in check(bundle, [one]).verdicts[0].notes[0]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"tasks": ("digits",)}, "received 'digits'. Did you mean 'digit'"),
        ({"tasks": ("zzz",)}, "It has: digit, orientation, texture"),
        ({"tasks": ()}, "must name a task, received none"),
        ({"rom_limit_bytes": 0}, "`rom` of check 'nano' must be above 0"),
        ({"ram_limit_bytes": -1}, "`ram` of check 'nano' must be above 0"),
        ({"rom_limit_bytes": 1024**2 + 1}, "at most the 1,024.0 KiB of flash on nano33ble"),
        ({"ram_limit_bytes": 1024**2}, "at most the 256.0 KiB of RAM on nano33ble"),
    ],
)
def test_impossible_checks_are_refused(bundle, settings, said):
    with pytest.raises(BudgetError) as caught:
        check(bundle, [Check("nano", NANO, **settings)])
    assert said in str(caught.value)


def test_no_check_is_no_report(bundle):
    with pytest.raises(BudgetError, match="received none"):
        check(bundle, [])
