"""`keras-tree boards`: the list, one board with its sources, and the boards that a bundle fits."""

import csv
import json
import re
import time
from pathlib import Path

import pytest
from made_bundle import small_bundle, verdict

from deploy.board import Board, board_names, load_board
from deploy.board_ranking import Ranking, rank_boards
from deploy.budget import BudgetError
from deploy.cli import main
from deploy.footprint.cores import CoreError
from deploy.models import load_models
from deploy.report.board_list import explanation, listing, ranking, ranking_json

# As published by vendors, distributions and board packages; where each comes from is in the files.
PUBLISHED = list(
    csv.DictReader(
        (Path(__file__).parent / "boards_as_published.csv").read_text(encoding="utf-8").splitlines()
    )
)
FLOATING_POINT = {"none": "none", "sp": "single", "dp": "double"}
# The table gives what the radio leaves for the chip's flash, and no flash for an external one.
OTHERWISE = {
    ("nucleo-wb55rg", "flash_bytes"): 1 << 20,
    ("stm32n6570-dk", "flash_app_default_bytes"): 128 << 20,
}


def public(shared: Path, *names: str) -> list[str]:
    files = {"kws": "mlperftiny__kws_ref_model", "ad": "mlperftiny__ad01_int8",
             "resnet": "mlperftiny__pretrainedResnet_quant",
             "speech": "tflm__micro_speech_quantized"}  # fmt: skip
    return [str(shared / "models" / f"{files[name]}.tflite") for name in names]


# The boards.


def test_every_published_board_is_built_in() -> None:
    assert {row["slug"] for row in PUBLISHED} == set(board_names())
    assert len(PUBLISHED) == 58


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: row["slug"])
def test_the_figures_of_a_board_are_the_published_ones(row: dict[str, str]) -> None:
    board = load_board(row["slug"])
    assert (board.core, board.fpu) == (row["core"], FLOATING_POINT[row["fpu"]])
    assert board.clock_hz == int(row["clock_mhz"]) * 1_000_000
    for column, size_bytes in (
        ("flash_bytes", board.rom_chip_bytes),
        ("flash_app_default_bytes", board.rom_slot_bytes),
        ("ram_bytes", board.ram_bytes),
        ("ram_total_bytes", board.ram_total_bytes),
    ):
        assert size_bytes == OTHERWISE.get((row["slug"], column), int(row[column])), column


# The list.


def test_the_list_tells_slot_from_flash_and_block_from_all_ram() -> None:
    lines = listing([load_board(name) for name in board_names()]).splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0].split("  ")[-2:] == ["RAM block", " RAM in all"]
    row = next(line for line in lines if line.startswith("nucleo-h743zi"))
    assert re.findall(r"[\d,.]+ [KM]iB", row) == [
        "2,048.0 KiB", "2,048.0 KiB", "512.0 KiB", "1,056.0 KiB",
    ]  # fmt: skip
    row = next(line for line in lines if line.startswith("esp32 "))
    assert "4,096.0 KiB  1,280.0 KiB" in row
    row = next(line for line in lines if line.startswith("stm32n6570-dk"))
    assert re.search(r" none +128\.0 MiB ", row)
    assert lines[-2].startswith("58 boards;")


def test_boards_are_filtered(capsys: pytest.CaptureFixture) -> None:
    assert main(["boards", "--core", "cortex-m4", "--min-ram", "300 KiB"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all("cortex-m4" in line for line in lines[1:-3])
    assert lines[-2].split()[0] == str(len(lines) - 4)
    assert not any("nano33ble" in line for line in lines)
    assert main(["boards", "--min-rom", "900 MiB"]) == 0
    assert "No built-in board passes" in capsys.readouterr().out
    assert main(["boards", "--core", "cortex-m3", "--json"]) == 0
    (board,) = json.loads(capsys.readouterr().out)
    assert (board["name"], board["rom_slot_bytes"]) == ("bluepill", 65_536)


# One board.


@pytest.mark.parametrize("name", board_names())
def test_every_figure_of_a_board_has_its_source(name: str) -> None:
    board = load_board(name)
    told = explanation(board)
    numbers = {int(number) for number in re.findall(r"\[(\d+)\]", told.split("\n  sources")[0])}
    listed = [int(n) for n in re.findall(r"^    \[(\d+)\] ", told.split("  sources")[1], re.M)]
    assert listed == sorted(numbers) == list(range(1, len(set(board.sources.values())) + 1))
    # Core, clock, unit, flash, slot, block, all RAM.
    assert len(re.findall(r"\[\d+\]", told.split("\n  sources")[0].split("\n  notes")[0])) == 7
    assert max(map(len, told.splitlines())) <= 100 or "http" in told


def test_a_board_is_explained(capsys: pytest.CaptureFixture, assert_golden) -> None:
    assert main(["boards", "nucleo-wb55rg"]) == 0
    assert_golden(capsys.readouterr().out.rstrip("\n"), "board_nucleo-wb55rg.txt")
    assert main(["boards", "nano33ble"]) == 0
    out = capsys.readouterr().out
    assert "960.0 KiB (983,040 B)" in out
    assert "1,024.0 KiB (1,048,576 B) in all" in out
    assert "maximum_data_size=262144" in out.replace("\n", " ")


def test_a_board_of_ones_own_without_sources(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(
        'name = "own"\ncore = "cortex-m3"\nclock = "8 MHz"\nrom = "64 KiB"\nram = "8 KiB"\n'
    )
    told = explanation(load_board(path))
    assert "sources" not in told
    assert "64.0 KiB (65,536 B) for one application" in told


def test_a_board_as_json(capsys: pytest.CaptureFixture) -> None:
    assert main(["boards", "pico", "--json"]) == 0
    assert Board(**json.loads(capsys.readouterr().out)) == load_board("pico")


# Which boards a bundle fits.


def assert_order_is_smallest_first(found: Ranking) -> None:
    sizes = [(v.check.board.rom_slot_bytes, v.check.board.ram_bytes) for v in found.fitting]
    assert sizes == sorted(sizes)
    assert all(one.fits for one in found.fitting)
    shares = [one.percent for one in found.missing]
    assert shares == sorted(shares)
    assert not any(one.fits for one in found.missing)


def test_a_public_model_on_every_board(shared: Path) -> None:
    bundle = load_models(public(shared, "resnet"))
    found = rank_boards(bundle, [load_board(name) for name in board_names()])
    assert_order_is_smallest_first(found)
    assert len(found.verdicts) == 58
    # 137 KB of ROM and 56 KB of RAM at the least: too much for 64 KiB of flash or 36 KiB of RAM.
    assert {one.check.board.name for one in found.missing} == {"bluepill", "nucleo-g071rb"}
    assert found.nearest_miss is not None
    assert found.nearest_miss.check.board.name == "nucleo-g071rb"
    assert [usage.memory for usage in found.nearest_miss_by] == ["RAM", "ROM"]
    told = ranking(found)
    assert max(map(len, told.splitlines())) <= 100
    assert "fits 56 of 58 boards, the smallest first" in told
    assert "misses 2; the nearest is nucleo-g071rb: RAM is " in told


def test_a_reserve_moves_boards_from_fits_to_misses(shared: Path) -> None:
    bundle = load_models(public(shared, "kws"))
    boards = [load_board(name) for name in board_names()]
    plain = rank_boards(bundle, boards)
    reserved = rank_boards(bundle, boards, None, None, 400 << 10, 200 << 10)
    assert_order_is_smallest_first(reserved)
    fits = [{one.check.board.name for one in found.fitting} for found in (plain, reserved)]
    assert fits[1] < fits[0]
    assert "feather-m4" not in fits[1]
    assert "; ROM reserve: 400.0 KiB; RAM reserve: 200.0 KiB" in " ".join(
        ranking(reserved).split("\n    ")
    )


def test_kernels_leave_out_other_cores(shared: Path) -> None:
    bundle = load_models(public(shared, "speech"))
    boards = [load_board(name) for name in ("esp32", "pico", "esp32-c3")]
    found = rank_boards(bundle, boards, kernels="cmsis-nn")
    assert [one.check.board.name for one in found.verdicts] == ["pico"]
    assert "left out 2 boards: cmsis-nn kernels are not made for the core" in ranking(found)
    none = rank_boards(bundle, boards[:1], kernels="cmsis-nn")
    assert "fits 0 of 0 boards" in ranking(none)
    assert none.nearest_miss is None
    assert none.nearest_miss_by == ()
    with pytest.raises(CoreError, match="received 'cmsis'"):
        rank_boards(bundle, boards, kernels="cmsis")


def test_an_unknown_task_is_refused(shared: Path) -> None:
    bundle = load_models(public(shared, "speech"))
    with pytest.raises(BudgetError, match="Did you mean 'tflm__micro_speech_quantized'"):
        rank_boards(bundle, [load_board("pico")], ("tflm_micro_speech",))


def made_ranking() -> Ranking:
    """Three boards that fit, one of them closely, and two that do not."""
    return Ranking(
        small_bundle(),
        (verdict("nucleo-g071rb", rom=100_000), verdict("feather-m4", is_timed=True),
         verdict("esp32", rom=65_700)),
        (verdict("bluepill", ram=11_000), verdict("bluepill", rom=20_000, ram=5_000)),
    )  # fmt: skip


def test_the_screen(assert_golden) -> None:
    assert_golden(ranking(made_ranking()), "boards_fits.txt")


def test_json_says_all_that_the_screen_does() -> None:
    found = made_ranking()
    value = json.loads(json.dumps(ranking_json(found)))
    assert value["bundle"] == "demo"
    assert [len(value[key]) for key in ("fitting", "missing", "left_out")] == [3, 2, 0]
    for one, told in zip(found.verdicts, value["fitting"] + value["missing"], strict=True):
        assert (told["board"], told["fits"]) == (one.check.board.name, one.fits)
        assert told["rom"]["used_bytes"] == one.rom.used_bytes
        assert told["ram"]["over_bytes"] == one.ram.over_bytes
        assert (told["time"] is None) == (one.time is None)


def test_the_command_ranks(shared: Path, capsys: pytest.CaptureFixture) -> None:
    arguments = ["boards", "--fits", *public(shared, "kws", "speech"), "--core", "cortex-m4"]
    assert main(arguments) == 0
    assert "2 nodes, 71.0 KiB; kernels: the best measured" in " ".join(
        capsys.readouterr().out.split("\n    ")
    )
    tasks = ["--tasks", "tflm__micro_speech_quantized"]
    assert main([*arguments, *tasks, "--kernels", "reference", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert {one["kernels"] for one in value["fitting"]} == {"reference"}
    assert {one["rom"]["used_bytes"] for one in value["fitting"]} == {49_394}
    assert main([*arguments, "--reserve-ram", "1 MiB"]) == 0
    capsys.readouterr()
    assert main([*arguments, "--reserve-ram", "900 MiB"]) == 1
    assert "fits 0 of " in capsys.readouterr().out


def test_no_board_is_left_by_the_filters(
    bundle_folder: Path, capsys: pytest.CaptureFixture
) -> None:
    command = ["boards", "--fits", str(bundle_folder), "--min-rom", "900 MiB"]
    assert main(command) == 1
    assert "No built-in board passes" in capsys.readouterr().out
    assert main([*command, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["fitting"] == []


def test_a_bundle_is_ranked(bundle_folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["boards", "--fits", str(bundle_folder)]) == 0
    assert "fits " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["pico", "--fits", "x.tflite"], "`--fits` is for the list of boards"),
        (["pico", "--min-ram", "1 KiB"], "`--min-ram` is for the list of boards"),
        (["--reserve-rom", "1 KiB"], "Add `--fits BUNDLE`"),
        (["--kernels", "reference"], "`--kernels` says what is checked"),
        (["--fits", "gone.tflite"], "'gone.tflite' cannot be checked"),
        (["--fits", "file.tflite"], "with TFL3 at byte 4"),
        (["--fits"], "expected at least one argument"),
    ],
)
def test_wrong_usage(
    arguments: list[str],
    said: str,
    capsys: pytest.CaptureFixture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.tflite").write_bytes(bytes(100))
    assert main(["boards", *arguments]) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert said in error


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--kernels", "cmsis"], "`kernels` must be one of"),
        (["--reserve-rom", "1 KB"], "`--reserve-rom` must have a unit with one meaning"),
        (["--tasks", "speech"], "must be tasks of bundle"),
        (["--tasks", ","], "must name a task"),
    ],
)
def test_wrong_settings_of_a_ranking(
    options: list[str], said: str, shared: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(["boards", "--fits", *public(shared, "speech"), *options]) == 2
    assert said in capsys.readouterr().err


def test_all_boards_are_ranked_fast(shared: Path) -> None:
    bundle = load_models(public(shared, "kws", "speech", "ad", "resnet"))
    boards = [load_board(name) for name in board_names()]
    began = time.process_time()
    rank_boards(bundle, boards)
    assert time.process_time() - began < 2
