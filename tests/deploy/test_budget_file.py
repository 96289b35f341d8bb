"""The budget file: what each key means; a mistake names the file, the place and the key."""

from pathlib import Path
from textwrap import dedent

import pytest

from deploy import budget_file
from deploy.budget import BudgetError
from deploy.budget_file import find_budget_file, read_budget_file, reading

WHOLE = """
[project]
bundle = "build/bundle"
reserve_rom = "180 KiB"
reserve_ram = 1024
kernels = "reference"

[[board]]
use = "nano33ble"
rom = "400 KiB"
ram = "96 KiB"

[[board]]
use = "nano33ble"
name = "release"
rom = "300 KiB"
kernels = "cmsis-nn"

[[board]]
name = "gate-sensor"
core = "cortex-m4"
clock = "80 MHz"
rom = "512 KiB"
ram = "96 KiB"

[[check]]
name = "kws-only"
board = "release"
tasks = ["kws", "wake"]
ram = "64 KiB"

[[check]]
board = "gate-sensor"
tasks = "*"

[[check]]
board = "esp32-s3"
"""


def written(folder: Path, text: str, name: str = "keras-tree.toml") -> Path:
    path = folder / name
    path.write_text(dedent(text), encoding="utf-8")
    return path


def test_a_whole_file(tmp_path):
    file = read_budget_file(written(tmp_path, WHOLE))
    assert file.bundles == {"": (tmp_path / "build/bundle",)}
    kws, gate, esp = file.checks
    assert (kws.name, kws.board.name, kws.tasks) == ("kws-only", "nano33ble", ("kws", "wake"))
    assert (kws.rom_limit_bytes, kws.ram_limit_bytes) == (300 * 1024, 64 * 1024)
    assert kws.kernels == "cmsis-nn"
    assert (gate.name, gate.tasks, gate.kernels) == ("gate-sensor", None, "reference")
    assert gate.board.rom_slot_bytes == 512 * 1024
    assert (gate.rom_limit_bytes, gate.ram_limit_bytes) == (None, None)
    assert esp.board.name == "esp32-s3"
    for one in file.checks:
        assert (one.reserve_rom_bytes, one.reserve_ram_bytes) == (180 * 1024, 1024)


def test_boards_without_checks_are_checked_with_all_tasks(tmp_path):
    file = read_budget_file(written(tmp_path, WHOLE[: WHOLE.index("[[check]]")]))
    assert [one.name for one in file.checks] == ["nano33ble", "release", "gate-sensor"]
    assert {one.tasks for one in file.checks} == {None}


def test_a_board_of_the_file_is_found_before_a_built_in_one(tmp_path):
    file = read_budget_file(written(tmp_path, WHOLE))
    assert file.check_for("nano33ble").rom_limit_bytes == 400 * 1024
    assert file.check_for("pico").rom_limit_bytes is None
    assert file.check_for("pico").reserve_rom_bytes == 180 * 1024


def test_a_board_file_is_relative_to_the_budget_file(tmp_path):
    text = 'name = "mine"\ncore = "cortex-m3"\nclock = "72 MHz"\nrom = "64 KiB"\nram = "20 KiB"\n'
    written(tmp_path, text, "mine.toml")
    for text in ('[[board]]\nuse = "mine.toml"\n', '[[check]]\nboard = "mine.toml"\n'):
        (one,) = read_budget_file(written(tmp_path, text)).checks
        assert (one.name, one.board.core) == ("mine", "cortex-m3")


def test_the_example_of_the_module_is_a_budget_file(tmp_path):
    example = dedent(budget_file.__doc__.split("\n\n", 1)[1].rsplit("\n\n", 1)[0])
    file = read_budget_file(written(tmp_path, example))
    assert [one.name for one in file.checks] == ["kws-only"]
    assert file.checks[0].rom_limit_bytes == 400 * 1024


def test_own_file_before_pyproject_and_pyproject_only_with_our_table(tmp_path):
    assert find_budget_file(tmp_path) is None
    pyproject = written(tmp_path, "[project]\nname = 'x'\n", "pyproject.toml")
    assert find_budget_file(tmp_path) is None
    written(tmp_path, '[[tool.keras-tree.board]]\nuse = "pico"\n', "pyproject.toml")
    assert find_budget_file(tmp_path) == pyproject
    assert [one.name for one in read_budget_file(pyproject).checks] == ["pico"]
    own = written(tmp_path, '[[board]]\nuse = "pico2"\n')
    assert find_budget_file(tmp_path) == own


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[board]\n", "TOML is expected"),
        ("[[board]]\nuse = 'nano33ble'\nuse = 'pico'\n", "TOML is expected"),
        ("[[boards]]\nuse = 'pico'\n", "no table `boards`. Did you mean `board`?"),
        ("[board]\nuse = 'pico'\n", "`board` must be a list of tables"),
        ("board = 'pico'\n", "Write [[board]]"),
        ("project = 3\n", "`project` must be a table"),
        (
            "[project]\nkernels = 'cmsis-nn-int'\n",
            "[project]: there is no kernel set `cmsis-nn-int`. Did you mean `cmsis-nn-int8`?",
        ),
        ("[project]\nreserverom = '1 KiB'\n", "[project]: there is no key `reserverom`. Did you"),
        ("[project]\nreserve_rom = '1 KB'\n", "[project]: `reserve_rom` must have a unit"),
        ("[project]\nbundle = 3\n", "[project]: `bundle` must be a text"),
        ("[[board]]\nuse = 'nano33bel'\n", "[[board]] nano33bel: No board 'nano33bel'. Did you"),
        ("[[board]]\nuse = 'pico'\nrmo = '1 KiB'\n", "[[board]] pico: there is no key `rmo`"),
        ("[[board]]\nuse = 'pico'\nrom = 'big'\n", "[[board]] pico: `rom` must be a size"),
        ("[[board]]\nuse = 'pico'\n[[board]]\nuse = 'pico'\n", "'pico' is there twice"),
        ("[[board]]\nname = 'x'\ncore = 'cortex-m4'\n", "[[board]] x: A board needs"),
        ("[[board]]\nuse = 'gone.toml'\n", "must be a readable TOML file"),
        ("[[check]]\nname = 'a'\n", "[[check]] a: `board` is expected and missing"),
        ("[[check]]\nboard = 'nano33bel'\n", "[[check]] 1: No board 'nano33bel'. Did you mean"),
        (
            "[[check]]\nboard = 'pico'\ntask = ['a']\n",
            "no key `task`. Did you mean `tasks`",
        ),
        ("[[check]]\nboard = 'pico'\ntasks = 'a'\n", "`tasks` must be a list of names"),
        ("[[check]]\nboard = 'pico'\ntasks = []\n", "`tasks` must be a list of names"),
        ("[[check]]\nboard = 'pico'\ntasks = [3]\n", "`tasks` must be a list of names"),
        ("[[check]]\nboard = 'pico'\n[[check]]\nboard = 'pico'\n", "a name of its own"),
        ('[[check]]\nboard = "pico"\nname = "a\\nb"\n', "`name` must be a text in one line"),
        ("[[check]]\nboard = 'pico'\nrom = -1\n", "`rom` must be at least 0"),
    ],
)
def test_a_mistake_names_the_file_the_place_and_the_key(tmp_path, text, said):
    path = written(tmp_path, text)
    with pytest.raises(BudgetError) as caught:
        read_budget_file(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_board_named_nearly_as_in_the_file(tmp_path):
    file = read_budget_file(written(tmp_path, WHOLE))
    with pytest.raises(BudgetError, match=r"keras-tree.toml has 'gate-sensor'"):
        file.check_for("gate-sensors")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "No such file"),
        (lambda path: path.mkdir(), "Is a directory"),
        (lambda path: path.write_bytes(b"\xff\xfe\x00"), "TOML is expected"),
        (lambda path: path.write_bytes(b"[[board]]\n" * 120_000), "at most 1 MiB is expected"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path, make, said):
    path = tmp_path / "budget.toml"
    make(path)
    with pytest.raises(BudgetError, match=said):
        read_budget_file(path)


def test_a_pyproject_without_our_table_is_refused_when_named(tmp_path):
    path = written(tmp_path, "[project]\nname = 'x'\n", "pyproject.toml")
    with pytest.raises(BudgetError, match=r"table \[tool.keras-tree\] is expected"):
        read_budget_file(path)


SEVERAL = """
[project]
reserve_rom = "1 KiB"
margin = "5 %"
allow_growth = "1 %"
baseline = "ci/baseline.json"
allocate = "one"

[[bundle]]
name = "kws"
path = "build/kws"

[[bundle]]
name = "both"
path = ["kws.tflite", "vww.tflite"]

[[board]]
use = "nano33ble"
latency = "120 ms"

[[board]]
use = "pico"
"""


def names(file: budget_file.BudgetFile) -> list[tuple[str, str]]:
    return [(one.name, one.bundle) for one in file.checks]


def test_every_bundle_is_checked_on_every_board(tmp_path):
    file = read_budget_file(written(tmp_path, SEVERAL))
    assert file.bundles == {
        "kws": (tmp_path / "build/kws",),
        "both": (tmp_path / "kws.tflite", tmp_path / "vww.tflite"),
    }
    assert names(file) == [
        ("kws on nano33ble", "kws"), ("both on nano33ble", "both"),
        ("kws on pico", "kws"), ("both on pico", "both"),
    ]  # fmt: skip


def test_settings_of_the_project_hold_for_every_check(tmp_path):
    file = read_budget_file(written(tmp_path, SEVERAL))
    assert file.baseline == tmp_path / "ci/baseline.json"
    for one in file.checks:
        assert one.margin.percent == 5
        assert {key: part.percent for key, part in one.allow_growth.items()} == {"rom": 1, "ram": 1}
        assert (one.allocate, one.reserve_rom_bytes) == ("one", 1024)
    assert [one.latency_limit_us for one in file.checks] == [120e3, 120e3, None, None]


def test_a_check_without_a_bundle_runs_for_every_bundle(tmp_path):
    checks = """
[[check]]
name = "release"
board = "pico"
[[check]]
board = "nano33ble"
[[check]]
name = "one of them"
board = "pico"
bundle = "kws"
[[check]]
board = "pico"
bundle = "both"
"""
    file = read_budget_file(written(tmp_path, SEVERAL + checks))
    assert names(file) == [
        ("release (kws)", "kws"), ("release (both)", "both"),
        ("kws on nano33ble", "kws"), ("both on nano33ble", "both"),
        ("one of them", "kws"), ("both on pico", "both"),
    ]  # fmt: skip
    assert [one.name for one in file.asked] == [
        "release", "nano33ble", "one of them", "both on pico",
    ]  # fmt: skip
    assert len(file.for_bundles([file.check_for("pico2")])) == 2


def test_the_only_bundle_needs_no_name_in_checks(tmp_path):
    text = '[[bundle]]\nname = "kws"\npath = "k"\n[[check]]\nboard = "pico"\nbundle = "kws"\n'
    file = read_budget_file(written(tmp_path, text))
    assert file.bundles == {"kws": (tmp_path / "k",)}
    assert names(file) == [("pico", "")]
    file = read_budget_file(written(tmp_path, '[project]\nbundle = ["a", "b.tflite"]\n'))
    assert file.bundles == {"": (tmp_path / "a", tmp_path / "b.tflite")}


def test_a_check_wins_over_its_board_and_the_project(tmp_path):
    check = """
[[check]]
name = "c"
board = "nano33ble"
bundle = "kws"
latency = "900 us"
margin = "2 KiB"
allow_growth = { rom = "2 KiB", latency = "5 %" }
allocate = "all"
image = "out/firmware.elf"
tasks = ["a", "a", "b"]
"""
    (one,) = read_budget_file(written(tmp_path, SEVERAL + check)).checks
    assert (one.latency_limit_us, one.margin.amount, one.allocate) == (900, 2048, "all")
    assert set(one.allow_growth) == {"rom", "latency"}
    assert one.allow_growth["rom"].amount == 2048
    assert one.image == tmp_path / "out/firmware.elf"
    assert one.tasks == ("a", "b")


def test_any_field_of_a_board_that_is_used_may_be_overridden(tmp_path):
    text = """
[[board]]
use = "nano33ble"
title = "ours"
clock = "32 MHz"
rom_slot = "600 KiB"
rom_chip = "2 MiB"
ram_total = "512 KiB"
core = "cortex-m33"
fpu = "none"
notes = ""
sources = { clock = "measured" }
ram = "96 KiB"
"""
    (one,) = read_budget_file(written(tmp_path, text)).checks
    board = one.board
    assert (board.name, board.title, board.clock_hz) == ("nano33ble", "ours", 32_000_000)
    assert (board.rom_slot_bytes, board.rom_chip_bytes) == (600 * 1024, 2**21)
    assert (board.core, board.fpu, board.ram_total_bytes) == ("cortex-m33", "none", 512 * 1024)
    assert (board.ram_bytes, one.ram_limit_bytes) == (256 * 1024, 96 * 1024)
    assert board.sources["clock"] == "measured"
    assert board.sources["rom_slot"] == "overrides nano33ble"


def test_a_board_of_ones_own_has_limits_beside_its_fields(tmp_path):
    text = '[[board]]\nname = "x"\nbase = "pico"\nram = "64 KiB"\nlatency = "1 s"\n'
    (one,) = read_budget_file(written(tmp_path, text + 'kernels = "reference"\n')).checks
    assert (one.board.ram_bytes, one.ram_limit_bytes) == (64 * 1024, None)
    assert (one.latency_limit_us, one.kernels) == (1e6, "reference")


LINED = """# a comment
[project]
margin = "5 %"
allow_growth = "1 %"
[[board]]
use = "nano33ble"   # [[check]]
rom = "400 KiB"
latency = "120 ms"
notes = '''
[[check]]
ram = "1 KiB"
'''
[[board]]
name = "own"
core = "cortex-m4"
clock = "80 MHz"
rom_chip = "512 KiB"
rom_slot = "500 KiB"
ram = "96 KiB"
[[check]]
name = "a"
board = "nano33ble"
ram = "96 KiB"
[[check]]
board = "own"
[check.allow_growth]
ram = "1 KiB"
[[check]]
board = "pico"
"""
OF_PROJECT = {"margin": 3, "allow_growth": 4}


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_a_check_says_on_which_lines_it_stands(tmp_path, ends):
    path = tmp_path / "keras-tree.toml"
    path.write_bytes(LINED.replace("\n", ends).encode())
    file = read_budget_file(path)
    a, own, pico = file.checks
    assert a.lines == {**OF_PROJECT, "check": 20, "ram": 23, "rom": 7, "latency": 8}
    assert own.lines == {**OF_PROJECT, "check": 24, "rom": 18, "ram": 19, "allow_growth": 26}
    assert pico.lines == {**OF_PROJECT, "check": 28}
    assert {one.file for one in file.checks} == {path}
    assert file.boards["nano33ble"].lines["check"] == 5
    assert file.check_for("pico2").lines == {**OF_PROJECT, "check": 2}


def test_lines_of_a_pyproject_and_of_lists_of_inline_tables(tmp_path):
    text = """[project]
name = "firmware"
[tool.other]
board = 3
[[tool.keras-tree.board]]
use = "pico"
rom = "1 MiB"
[tool."keras-tree"]
check = [
  { board = "pico", ram = "9 KiB" },
  { name = "x", board = "pico" }, # last
]
"""
    first, second = read_budget_file(written(tmp_path, text, "pyproject.toml")).checks
    assert first.lines == {"check": 10, "ram": 10, "rom": 7}
    assert second.lines == {"check": 11, "rom": 7}


def test_without_a_project_its_line_is_the_first(tmp_path):
    file = read_budget_file(written(tmp_path, '\n\n[[board]]\nuse = "pico"\n'))
    assert file.check_for("pico2").lines == {"check": 1}
    assert file.check_for("pico").lines == {"check": 3}


def test_a_byte_order_mark_is_no_mistake(tmp_path):
    path = tmp_path / "keras-tree.toml"
    path.write_bytes(b'\xef\xbb\xbf[[board]]\nuse = "pico"\n')
    assert [one.name for one in read_budget_file(path).checks] == ["pico"]


TWO = "[[bundle]]\nname='a'\npath='a'\n[[bundle]]\nname='b'\npath='b'\n"
GROWTH = "[project]\nallow_growth = "


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[project]\nbundle = 'x'\n[[bundle]]\nname='a'\npath='a'\n", "received both"),
        ("[project]\nbundle = []\n", "[project]: `bundle` must be a text in one line or a list"),
        ("[project]\nbundle = ['a', 'a']\n", "list of different ones"),
        ("[project]\nbaseline = 3\n", "[project]: `baseline` must be a text"),
        ("[project]\nmargin = 'some'\n", '`margin` must be a size, received \'some\'.'),
        ("[project]\nmargin = 0.05\n", 'A share is written "5 %".'),
        ("[project]\nmargin = '100 %'\n", "`margin` must be below 100 % of the limit"),
        ("[project]\nallocate = 'al'\n", "no allocation `al`. Did you mean `all`?"),
        (GROWTH + "'1 KB'\n", "`allow_growth` must have a unit with one meaning"),
        (GROWTH + "'" + "9" * 400 + " %'\n", "must be a share of at most"),
        (GROWTH + "{ flash = '1 B' }\n", "`allow_growth`: there is no key `flash`"),
        (GROWTH + "{ latency = '1 KiB' }\n", "`allow_growth.latency` must be a time"),
        ("[[bundle]]\nname='a'\n", "[[bundle]] a: `path` is expected and missing"),
        ("[[bundle]]\npath='a'\n", "[[bundle]] 1: `name` is expected and missing"),
        ("[[bundle]]\nname='a'\npaths='a'\n", "no key `paths`. Did you mean `path`?"),
        ("[[bundle]]\nname='a'\npath='a'\n" * 2, "each bundle needs a name of its own"),
        (TWO + "[[check]]\nboard='pico'\nbundle='c'\n", "there is no bundle `c`."),
        ("[[check]]\nboard='pico'\nbundle='c'\n", "must name a [[bundle]] of this file"),
        (
            "[[bundle]]\nname='doorbell'\npath='a'\n[[check]]\nboard='pico'\nbundle='dorbell'\n",
            "[[check]] 1: there is no bundle `dorbell`. Did you mean `doorbell`?",
        ),
        (
            TWO + "[[check]]\nboard='pico'\n[[check]]\nname='a on pico'\nboard='pico'\nbundle='a'",
            "'a on pico' is there twice once checks are repeated",
        ),
        ("[[board]]\nuse='pico'\nlatency='fast'\n", "[[board]] pico: `latency` must be a time"),
        ("[[board]]\nuse='pico'\nlatency=120\n", "`latency` must be a time"),
        ("[[board]]\nuse='pico'\nclock='fast'\n", "[[board]] pico: `clock` must be a frequency"),
        ("[[board]]\nuse='pico'\nclok='1 MHz'\n", "no key `clok`. Did you mean `clock`?"),
        ("[[board]]\nuse='pico'\nbase='pico2'\n", "[[board]] pico: there is no key `base`."),
        ("[[board]]\nname='x'\nbase='pic'\n", "`base` must be the name of a built-in board"),
        ("[[board]]\nname='x'\nbase='pico'\nrmo='1 KiB'\n", "[[board]] x: there is no key `rmo`"),
        ("[[board]]\nuse='pico'\nrom_slot='9 MiB'\n", "`rom_slot` must be at most `rom_chip`"),
        ("[[check]]\nboard='pico'\nimage=[]\n", "`image` must be a text"),
        ("x = " + "[" * 9999, "TOML is expected"),
        ("x = " + "1" * 9999, "TOML is expected"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_newer_keys(tmp_path, text, said):
    test_a_mistake_names_the_file_the_place_and_the_key(tmp_path, text, said)


ODD = [
    "true", "-1", "0", "3", "1.5", "nan", "inf", "1979-05-27", "[]", "[[]]", "{}", '[{ a = 1 }]',
    "''", "' '", "'\\t'", "'all'", "'5 %'", "'1 KiB'", "'9 ms'", "'-1 KiB'", "'pico'", "[1, 'a']",
    "{ rom = [] }", "{ ram = '1 %' }", "9" * 30, "'x.toml'", '"\\u0000"', "'\u202e'",
]  # fmt: skip
PLACES = {
    "[project]": reading.PROJECT_KEYS,
    "[[bundle]]\nname = 'a'\npath = 'a'": reading.BUNDLE_KEYS,
    "[[board]]\nuse = 'pico'": reading.USE_KEYS,
    "[[board]]\nname = 'x'\nbase = 'pico'": reading.OWN_KEYS,
    "[[check]]\nboard = 'pico'": reading.CHECK_KEYS,
    "": reading.TABLES,
}


@pytest.mark.parametrize("place", PLACES)
def test_any_value_of_any_key_is_read_or_named_in_an_error(tmp_path, place):
    path, refused = tmp_path / "keras-tree.toml", 0
    for key in PLACES[place]:
        start = "\n".join(row for row in place.split("\n") if not row.startswith(f"{key} ="))
        for value in ODD:
            try:
                file = budget_file.budget_file_from(f"{start}\n{key} = {value}\n", path)
            except BudgetError as error:
                told, refused = str(error), refused + 1
            else:
                told = str(file.path)
            assert str(path) in told, (key, value)
    assert refused > len(PLACES[place]) * len(ODD) / 3
