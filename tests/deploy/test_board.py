"""Boards: the built-in files, a user's own, and what is refused."""

import re
import sys
from pathlib import Path

import pytest

from deploy.board import CORES, BoardError, board_from_table, board_names, load_board, override

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SIX_LINES = {
    "name": "gate-sensor",
    "core": "cortex-m4",
    "clock": "80 MHz",
    "rom_chip": "1 MiB",
    "rom_slot": "960 KiB",
    "ram": "96 KiB",
}


@pytest.mark.parametrize("name", board_names())
def test_every_built_in_board_is_whole_and_sourced(name: str) -> None:
    board = load_board(name)
    assert board.name == name
    assert board.title != name
    assert board.mcu != "unknown"
    assert board.clock_hz >= 20_000_000
    assert 0 < board.ram_bytes <= board.ram_total_bytes
    assert board.rom_slot_bytes > 0
    for field in ("core", "fpu", "clock", "rom_chip", "rom_slot", "ram", "ram_total"):
        assert board.sources[field].strip(), field


def test_the_built_in_boards_cover_the_cores() -> None:
    cores = {load_board(name).core for name in board_names()}
    assert {
        "cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55",
        "xtensa-lx7", "rv32imc",
    } <= cores  # fmt: skip
    assert cores <= set(CORES)
    assert len(board_names()) >= 50


def test_the_size_comments_state_the_size() -> None:
    """The second figure that a reader sees beside a size is the same size."""
    for path in (Path(__file__).parents[2] / "deploy" / "boards").glob("*.toml"):
        board = load_board(path.stem)
        for key, comment in re.findall(r"^(r[oa]m\w*) = .*# ([\d,]+) B$", path.read_text(), re.M):
            assert getattr(board, f"{key}_bytes") == int(comment.replace(",", "")), (path, key)


def test_known_figures() -> None:
    nano = load_board("nano33ble")
    assert (nano.core, nano.fpu, nano.clock_hz) == ("cortex-m4", "single", 64_000_000)
    assert (nano.rom_chip_bytes, nano.rom_slot_bytes) == (1_048_576, 983_040)
    stm = load_board("nucleo-l476rg")
    assert (stm.ram_bytes, stm.ram_total_bytes) == (98_304, 131_072)


def test_a_chip_without_flash_runs_from_ram() -> None:
    board = load_board("stm32n6570-dk")
    assert board.runs_from_ram
    assert board.rom_slot_bytes == 128 * 2**20
    assert "copied" in board.notes
    assert not load_board("corstone-300-fvp").runs_from_ram


def test_the_boards_of_the_guide_load() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "footprint.md").read_text()
    blocks = re.findall(r"```toml\n(.*?)```", guide, re.S)
    boards = [board_from_table(tomllib.loads(block)) for block in blocks]
    assert [board.name for board in boards] == ["gate-sensor", "nano33ble"]
    assert len(blocks[0].splitlines()) == 6
    assert boards[1].rom_slot_bytes == 600 * 1024


def test_a_users_board_in_six_lines(tmp_path: Path) -> None:
    path = tmp_path / "board.toml"
    path.write_text("\n".join(f'{key} = "{value}"' for key, value in SIX_LINES.items()))
    for board in (load_board(path), load_board(str(path)), board_from_table(SIX_LINES)):
        assert board.name == board.title == "gate-sensor"
        assert board.clock_hz == 80_000_000
        assert board.rom_slot_bytes == 960 * 1024
        assert board.ram_total_bytes == board.ram_bytes == 96 * 1024
        assert board.fpu == "single"


def test_rom_stands_for_both() -> None:
    table = {key: value for key, value in SIX_LINES.items() if not key.startswith("rom")}
    board = board_from_table({**table, "rom": "512 KiB"})
    assert board.rom_chip_bytes == board.rom_slot_bytes == 524_288


def test_a_file_without_a_name_has_its_own(tmp_path: Path) -> None:
    path = tmp_path / "with-radio.toml"
    path.write_text('base = "nano33ble"\nrom_slot = "600 KiB"\n')
    board = load_board(path)
    assert board.name == "with-radio"
    assert board.rom_slot_bytes == 600 * 1024


def test_base_keeps_what_is_not_overridden() -> None:
    base = load_board("nano33ble")
    board = board_from_table({"base": "nano33ble", "ram": "200 KiB"})
    assert board.ram_bytes == 200 * 1024
    assert (board.name, board.core, board.rom_slot_bytes, board.ram_total_bytes) == (
        base.name, base.core, base.rom_slot_bytes, base.ram_total_bytes,
    )  # fmt: skip
    assert board.sources["ram"] == "overrides nano33ble"
    assert board.sources["clock"] == base.sources["clock"]


def test_another_core_brings_its_own_floating_point_unit() -> None:
    assert board_from_table({"base": "nano33ble", "core": "cortex-m0plus"}).fpu == "none"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nucleo_f44re", "Did you mean 'nucleo-f446re'"),
        ("Nano33BLE", "Did you mean 'nano33ble'"),
        ("esp32s3", "'esp32-s3'"),
        ("zzzz", "`keras-tree boards` lists them"),
        ("../boards/pico", "No board"),
        ("", "No board ''"),
    ],
)
def test_an_unknown_board_offers_near_names(name: str, expected: str) -> None:
    with pytest.raises(BoardError, match=re.escape(expected)):
        load_board(name)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"rom_slott": "1 KiB"}, "no field `rom_slott`. Did you mean 'rom_slot'?"),
        ({"clok": "1 MHz"}, "Did you mean 'clock'?"),
        ({"core": "cortex-m44"}, "Did you mean 'cortex-m4'?"),
        ({"fpu": "half"}, "`fpu` must be one of none, single, double"),
        ({"clock": "80"}, "`clock` must be a frequency"),
        ({"clock": "0 MHz"}, "above zero"),
        ({"clock": "80 Mhertz"}, "Hz, kHz, MHz, GHz"),
        ({"clock": 80}, "`clock` must be a text, received 80"),
        ({"ram": "96 KB"}, "'KiB'"),
        ({"ram": "many"}, "`ram` must be a size"),
        ({"ram": "0 KiB"}, "`ram` must be larger than zero"),
        ({"rom_slot": 0}, "`rom_slot` must be larger than zero"),
        ({"ram": "-4 KiB"}, "`ram` must be at least 0"),
        ({"rom_slot": "2 MiB"}, "`rom_slot` must be at most `rom_chip`"),
        ({"ram_total": "64 KiB"}, "`ram` must be at most `ram_total`"),
        ({"rom": "1 MiB"}, "`rom` stands for `rom_chip` and `rom_slot`"),
        ({"sources": "the data sheet"}, "`sources` must be a table"),
        ({"title": ""}, "`title` must be a text"),
        ({"base": "nano33bl"}, "Did you mean 'nano33ble'?"),
    ],
)
def test_a_bad_field_is_refused(change: dict, expected: str) -> None:
    with pytest.raises(BoardError, match=re.escape(expected)):
        board_from_table({**SIX_LINES, **change})


@pytest.mark.parametrize("field", SIX_LINES)
def test_a_missing_field_is_named(field: str) -> None:
    table = {key: value for key, value in SIX_LINES.items() if key != field}
    with pytest.raises(BoardError, match=rf"A board needs `{field}`, which is not given\. Add it"):
        board_from_table(table)


def test_several_missing_fields_are_named_together() -> None:
    with pytest.raises(BoardError, match="`rom_slot`, `ram`, which are not given"):
        board_from_table({k: v for k, v in SIX_LINES.items() if k not in ("rom_slot", "ram")})


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(BoardError, match="No such file"):
        load_board(tmp_path / "absent.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("name = ")
    with pytest.raises(BoardError, match="must be TOML"):
        load_board(broken)
    broken.write_bytes(b"\xff\xfe")
    with pytest.raises(BoardError, match="must be TOML"):
        load_board(broken)
    broken.write_text('name = "x"\n')
    with pytest.raises(BoardError, match=r"A board needs .*broken\.toml"):
        load_board(broken)


def test_any_board_may_be_overridden(tmp_path: Path) -> None:
    board = override(load_board("pico"), {"rom": "1 MiB", "clock": "48 MHz", "notes": ""})
    assert (board.rom_chip_bytes, board.rom_slot_bytes, board.clock_hz) == (
        2**20,
        2**20,
        48 * 10**6,
    )
    assert board.sources["rom_slot"] == board.sources["clock"] == "overrides pico"
    assert board.sources["ram"] == load_board("pico").sources["ram"]
    with pytest.raises(BoardError, match="`ram` must be at most `ram_total`"):
        override(board, {"ram": "1 MiB"})


@pytest.mark.parametrize("base", ["gone.toml", "itself.toml", 3])
def test_a_base_is_a_built_in_board(tmp_path: Path, base: object) -> None:
    path = tmp_path / "itself.toml"
    path.write_text(f"base = {base!r}\nram = '9 KiB'\n")
    with pytest.raises(BoardError, match="`base` must be the name of a built-in board"):
        load_board(path)


@pytest.mark.parametrize(
    "text", ["name = 'a'\nx = " + "[" * 9999, "x = " + "9" * 9999, "name = 'a\0'"]
)
def test_a_file_that_is_no_toml_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.toml"
    path.write_text(text)
    with pytest.raises(BoardError, match="must be TOML"):
        load_board(path)


@pytest.mark.parametrize("field", ["name", "title", "mcu"])
def test_a_text_of_several_lines_is_refused(field: str) -> None:
    with pytest.raises(BoardError, match=f"`{field}` must be a text in one line"):
        board_from_table({**SIX_LINES, field: "a\nb"})


def test_a_clock_beyond_all_numbers_is_refused() -> None:
    with pytest.raises(BoardError, match="`clock` must be a frequency"):
        board_from_table({**SIX_LINES, "clock": "9" * 400 + " MHz"})
