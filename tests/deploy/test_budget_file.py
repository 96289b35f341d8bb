"""The budget file: what each key means; a mistake names the file, the place and the key."""

from pathlib import Path
from textwrap import dedent

import pytest

from deploy import budget_file
from deploy.budget import BudgetError
from deploy.budget_file import find_budget_file, read_budget_file

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
    assert file.bundle == tmp_path / "build/bundle"
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
