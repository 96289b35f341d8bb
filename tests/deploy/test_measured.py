"""A check of the plain-C runtime: what was measured counts, of these nodes and this core only."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.board import load_board
from deploy.budget import BudgetError, Check, check
from deploy.emulation.measurement import MeasuredTask, Measurement, RomPart, measurement_text

NANO = load_board("nano33ble")
ROM = (
    RomPart("kt_data_0", "constant", ".rodata", 4_000, ("trunk",)),
    RomPart("kt_data_1", "constant", ".rodata", 700, ("digit",)),
    RomPart("kt_data_2", "constant", ".rodata", 300, ("digit", "angle")),
    RomPart("kt_conv2d", "kernel", ".text", 900),
)


@pytest.fixture
def measured(device_bundle, tmp_path) -> Path:
    """A measurement of the device bundle in round figures."""
    tasks = {
        name: MeasuredTask(task.path, 2, 1_000, 990, 1_010, 240, ())
        for name, task in device_bundle.tasks.items()
    }
    found = Measurement(
        bundle=device_bundle.name,
        nodes={name: node.sha256 for name, node in device_bundle.nodes.items()},
        core="cortex-m4",
        isa="dsp",
        compiler="gcc 12.2",
        optimize="-O2",
        emulator="Unicorn",
        tasks=tasks,
        rom_sections={".text": 900, ".rodata": 5_000},
        rom_parts=ROM,
        harness_bytes=512,
        buffer_bytes=3_000,
        other_ram_bytes=0,
    )
    path = tmp_path / "measured.json"
    path.write_text(measurement_text(found))
    return path


def test_what_was_measured_counts_instead_of_the_estimates(device_bundle, measured):
    one = Check("nano", NANO, measured=measured, reserve_rom_bytes=100, reserve_ram_bytes=10)
    verdict = check(device_bundle, [one]).verdicts[0]
    assert {part.name: part.size_bytes for part in verdict.rom.parts} == {
        "trunk": 4_000, "digit": 700, "digit + angle": 300, "kernels and library": 900,
        "the reserve": 100,
    }  # fmt: skip
    assert {part.name: part.size_bytes for part in verdict.ram.parts} == {
        "buffer of all tasks": 3_000, "stack": 240, "the reserve": 10,
    }  # fmt: skip
    assert verdict.rom.error_percent == verdict.ram.error_percent == (0.0, 0.0)
    assert verdict.time is None
    assert "emulated cortex-m4" in verdict.notes[0]
    assert "digit 1,010" in verdict.notes[0]


@pytest.mark.parametrize(("rom_limit", "fits"), [(5_900, True), (5_899, False)])
def test_its_limits_are_exact(device_bundle, measured, rom_limit, fits):
    one = Check("nano", NANO, rom_limit_bytes=rom_limit, measured=measured)
    verdict = check(device_bundle, [one]).verdicts[0]
    assert verdict.fits == fits
    assert not verdict.is_close


def test_a_program_that_runs_from_ram_counts_there_too(device_bundle, measured):
    board = replace(NANO, rom_chip_bytes=0)
    verdict = check(device_bundle, [Check("ram", board, measured=measured)]).verdicts[0]
    assert verdict.ram.used_bytes == 3_000 + 240 + 5_900


def test_of_a_folder_the_file_of_the_core_counts_where_there_is_one(device_bundle, measured):
    folder = measured.parent / "measured"
    folder.mkdir()
    measured.rename(folder / "cortex-m4.json")
    checks = [Check(name, load_board(name), measured=folder) for name in ("nano33ble", "pico")]
    by_name = {one.check.name: one for one in check(device_bundle, checks).verdicts}
    assert by_name["nano33ble"].rom.used_bytes == 5_900
    assert by_name["nano33ble"].has_own_rom
    assert not by_name["pico"].has_own_rom
    assert by_name["pico"].rom.error_percent != (0.0, 0.0)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"board": load_board("pico")}, "on the board's core cortex-m0plus, received one on"),
        ({"tasks": ("digit",)}, "it is stale"),
        ({"latency_limit_us": 1e6}, "received `latency` besides"),
        ({"image": Path("firmware.elf")}, "received `image` besides"),
        ({"measured": Path("gone.json")}, "must be a measurement that can be read"),
    ],
)
def test_what_a_measurement_does_not_answer_is_refused(device_bundle, measured, settings, said):
    one = replace(Check("nano", NANO, measured=measured), **settings)
    with pytest.raises(BudgetError, match="Check 'nano'") as caught:
        check(device_bundle, [one])
    assert said in str(caught.value)


def test_a_stale_measurement_is_refused(device_bundle, measured):
    data = json.loads(measured.read_text())
    data["nodes"]["trunk"] = "0" * 64
    measured.write_text(json.dumps(data))
    with pytest.raises(BudgetError, match="it is stale: node 'trunk' differs"):
        check(device_bundle, [Check("nano", NANO, measured=measured)])
