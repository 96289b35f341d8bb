"""`keras-tree init`: the file it writes reads back, passes `check`, and shows every key."""

import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from deploy.board import load_board
from deploy.budget import judge
from deploy.budget_file import budget_file_from, read_budget_file, reading
from deploy.budget_file.template import budget_text, exact, latency_limit, raised
from deploy.cli import main
from deploy.units import parse_bytes, parse_microseconds
from deploy.usage import Timing
from deploy.verdict import Check, Verdict
from quantize.bundle import Bundle


@pytest.fixture(autouse=True)
def project(bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a bundle two folders below it."""
    shutil.copytree(bundle_folder, tmp_path / "build" / "device")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def assert_limits_are_25_percent_above(one: Check, verdict: Verdict) -> None:
    """A whole KiB at most above it, or all that the board has."""
    for limit, used, whole in (
        (one.rom_limit_bytes, verdict.rom.used_bytes, one.board.rom_slot_bytes),
        (one.ram_limit_bytes, verdict.ram.used_bytes, one.board.ram_bytes),
    ):
        assert limit is not None
        assert limit == whole or (0 <= limit - used * 1.25 < 1024 and limit % 1024 == 0)
        assert limit <= whole
    if verdict.time is None:
        assert one.latency_limit_us is None
    else:
        assert 1.25 * verdict.time.used_us <= (one.latency_limit_us or 0)
        assert (one.latency_limit_us or 0) <= 1.4 * verdict.time.used_us + 0.2


@pytest.mark.parametrize("board", ["nano33ble", "pico", "esp32-s3", "stm32n6570-dk", "bluepill"])
def test_the_file_reads_back_and_passes_the_check(project, device_bundle, capsys, board):
    assert main(["init", "build/device", "--board", board]) == 0
    out = capsys.readouterr().out
    assert (
        f"wrote keras-tree.toml: limits 25 % above today's figures of {Path('build/device')}" in out
    )
    assert out.endswith("next: keras-tree check\n")
    file = read_budget_file(project / "keras-tree.toml")
    (one,) = file.checks
    assert (file.bundles, one.name) == ({"": (project / "build" / "device",)}, board)
    assert_limits_are_25_percent_above(one, judge(device_bundle, Check(board, load_board(board))))
    assert main(["check"]) == 0
    assert board in capsys.readouterr().out


def test_several_boards_and_a_board_of_ones_own(project, capsys):
    (project / "boards").mkdir()
    (project / "boards" / "own.toml").write_text('base = "pico"\nrom_slot = "999999 B"\n')
    boards = ["--board", "nano33ble", "--board", "boards/own.toml", "--board", "nano33ble"]
    (project / "ci").mkdir()
    assert main(["init", "build/device", *boards, "--output", "ci/budget.toml"]) == 0
    out = capsys.readouterr().out
    assert "next: keras-tree check --config ci/budget.toml" in out
    assert "error of the estimates: ROM -" in out
    text = (project / "ci" / "budget.toml").read_text()
    assert 'bundle = "../build/device"' in text
    assert 'use = "../boards/own.toml"' in text
    file = read_budget_file(project / "ci" / "budget.toml")
    assert list(file.boards) == ["nano33ble", "own"]
    assert main(["check", "--config", "ci/budget.toml"]) == 0


def test_without_a_board_the_smallest_that_fits(capsys):
    assert main(["init", "build/device"]) == 0
    out = capsys.readouterr().out
    assert "no board was named: this is the smallest built-in one" in out
    (one,) = read_budget_file(Path("keras-tree.toml")).checks
    assert f"  {one.board.name}: ROM " in out
    assert one.board.rom_slot_bytes <= 128 * 1024
    assert "# The smallest built-in board that fits" in Path("keras-tree.toml").read_text()
    assert main(["check"]) == 0


def test_without_a_bundle_the_only_one_below(project, capsys):
    (project / "web").mkdir()
    (project / "web" / "manifest.json").write_text("{}")  # of something else
    assert main(["init", "--board", "pico"]) == 0
    assert 'bundle = "build/device"' in Path("keras-tree.toml").read_text()
    shutil.copytree("build/device", "other")
    assert main(["init", "--board", "pico", "--force"]) == 2
    assert "there are several: build/device, other" in capsys.readouterr().err
    shutil.rmtree("other")
    shutil.rmtree("build")
    assert main(["init", "--board", "pico", "--force"]) == 2
    error = capsys.readouterr().err
    assert "none was given and there is none in this folder" in error
    assert "Write `keras-tree init BUNDLE`" in error


def test_in_the_bundle_itself(project, monkeypatch):
    monkeypatch.chdir(project / "build" / "device")
    assert main(["init", "--board", "pico", "--output", str(project / "keras-tree.toml")]) == 0
    file = read_budget_file(project / "keras-tree.toml")
    assert file.bundles[""] == (project / "build" / "device",)


def test_models_that_stand_on_one_device(project):
    nodes = Path("build/device/nodes")
    files = [str(nodes / "trunk.tflite"), str((nodes / "digit.tflite").absolute())]
    assert main(["init", *files, "--board", "nano33ble"]) == 0
    file = read_budget_file(Path("keras-tree.toml"))
    paths = (nodes / "trunk.tflite", nodes / "digit.tflite")
    assert [path.resolve() for path in file.bundles[""]] == [path.resolve() for path in paths]


def test_a_file_that_is_there_is_replaced_with_force_alone(project, capsys):
    Path("keras-tree.toml").write_text("mine")
    assert main(["init", "build/device", "--board", "pico"]) == 2
    error = capsys.readouterr().err
    assert "'keras-tree.toml' is there already. Add --force to replace it" in error
    assert Path("keras-tree.toml").read_text() == "mine"
    assert main(["init", "build/device", "--board", "pico", "--force"]) == 0
    assert read_budget_file(Path("keras-tree.toml")).checks
    assert sorted(path.name for path in project.iterdir()) == ["build", "keras-tree.toml"]


def test_a_pyproject_is_never_replaced_and_is_mentioned(project, capsys):
    Path("pyproject.toml").write_text('[tool.keras-tree.project]\nbundle = "x"\n')
    command = ["init", "build/device", "--board", "pico"]
    assert main([*command, "--output", "pyproject.toml", "--force"]) == 2
    assert "which holds more than a budget" in capsys.readouterr().err
    assert main(command) == 0
    assert "pyproject.toml has a [tool.keras-tree] too" in capsys.readouterr().out
    Path("pyproject.toml").write_text("broken [")
    assert main([*command, "--force"]) == 0
    assert "pyproject.toml" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["build/device", "--board", "nano33bel"], "Did you mean 'nano33ble'?"),
        (["build/gone", "--board", "pico"], "'build/gone'"),
        (["build/device", "--board", "pico", "--output", "gone/x.toml"], "gone/x.toml"),
        (["build/device", "--board", "pico", "--output", "build"], "'build' is there already"),
        (["build/device", "--board", "pico", "--board", "pico.toml"], "'pico' is there twice"),
    ],
)
def test_wrong_usage_ends_with_2_and_writes_nothing(project, capsys, arguments, said):
    Path("pico.toml").write_text('name = "pico"\nbase = "pico2"\n')
    assert main(["init", *arguments]) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert said in error
    assert "Traceback" not in error
    assert sorted(path.name for path in project.iterdir()) == ["build", "pico.toml"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such a name")
def test_a_path_that_no_file_can_hold_is_refused(project, capsys):
    strange = os.fsdecode(b"de\xffvice")
    shutil.copytree("build/device", strange)
    assert main(["init", strange, "--board", "pico"]) == 2
    assert "`bundle` must be a text in one line" in capsys.readouterr().err
    assert not Path("keras-tree.toml").exists()


def test_quotes_and_other_letters_in_a_path(project):
    strange = 'de "vi" \\ # ce é'
    shutil.copytree("build/device", strange)
    assert main(["init", strange, "--board", "pico"]) == 0
    assert read_budget_file(Path("keras-tree.toml")).bundles[""] == (Path(strange),)
    assert main(["check"]) == 0


def test_a_board_that_is_too_small_gets_its_own_limits(project, capsys):
    Path("tiny.toml").write_text('base = "pico"\nrom_slot = "20000 B"\nram = "4 KiB"\n')
    assert main(["init", "build/device", "--board", "tiny.toml"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"ROM 20000 B \(today \d", out)
    assert re.search(r"ROM is .* over", out)
    (one,) = read_budget_file(Path("keras-tree.toml")).checks
    assert (one.rom_limit_bytes, one.ram_limit_bytes) == (20_000, 4096)
    assert "all that the board has; today" in Path("keras-tree.toml").read_text()
    assert ", which is more" in Path("keras-tree.toml").read_text()
    assert main(["check"]) == 1


def test_where_no_board_is_large_enough(project, capsys, monkeypatch):
    monkeypatch.setattr("deploy.board.board_names", lambda: ())
    assert main(["init", "build/device"]) == 2
    assert "it fits none of the 0 built-in ones. Name yours" in capsys.readouterr().err


@pytest.fixture
def text(device_bundle: Bundle) -> str:
    verdict = judge(device_bundle, Check("nano33ble", load_board("nano33ble")))
    return budget_text(["build/device"], [("nano33ble", verdict)])


def test_the_file_shows_every_key(text):
    tables = {"project": reading.PROJECT_KEYS, "bundle": reading.BUNDLE_KEYS}
    tables |= {"board": reading.USE_KEYS, "check": reading.CHECK_KEYS}
    for table, keys in tables.items():
        part = re.search(rf"^(?:# )?\[+{table}\]+\n(.*?)(?=^(?:# )?\[)", text + "[", re.M | re.S)
        assert part, table
        shown = set(re.findall(r"^(?:# )?(\w+) = ", part[1], re.M))
        # One bundle has no name, so that its checks need not name it.
        assert shown == set(keys) - ({"bundle"} if table == "check" else set()), table
    assert "a check names its `bundle`" in text
    assert max(map(len, text.splitlines())) <= 100


def test_every_example_in_the_file_is_right(text, tmp_path):
    """Without their comment signs the examples are a budget file too."""
    start = text.index("# Several bundles")
    examples = re.sub(r"^# (?=\[\[|\w+ = )", "", text[:start], flags=re.M)
    file = budget_file_from(examples, tmp_path / "keras-tree.toml")
    assert list(file.boards) == ["release", "gate-sensor"]
    assert file.defaults["reserve_rom_bytes"] == 180 * 1024
    overridden, built_in = file.boards["release"].board, load_board("nano33ble")
    assert overridden.clock_hz == built_in.clock_hz
    assert overridden.rom_slot_bytes == built_in.rom_slot_bytes
    (one,) = file.checks
    assert set(one.allow_growth) == {"rom", "ram", "latency"}
    bundles = re.sub(r"^# (?=\[\[|\w+ = )", "", text[start:], flags=re.M)
    assert list(budget_file_from(bundles, tmp_path / "keras-tree.toml").bundles) == ["doorbell"]


def test_the_text_of_the_file(text, assert_golden):
    without_figures = re.sub(r"[\d.]+ (KiB|ms|us)(?=\W+# today|, )", "~", text)
    assert_golden(re.sub(r" +# ", " # ", without_figures).rstrip(), "init.toml")


@pytest.mark.parametrize(
    ("used", "whole", "limit"),
    [
        (1, 10**6, 1024),
        (819, 10**6, 1024),
        (820, 10**6, 2048),
        (100 * 1024, 10**6, 125 * 1024),
        (100 * 1024, 110_000, 110_000),
        (120_000, 110_000, 110_000),
    ],
)
def test_limits_of_memory(used: int, whole: int, limit: int) -> None:
    assert raised(used, whole) == limit
    assert parse_bytes(exact(limit)) == limit


@pytest.mark.parametrize(
    ("used_us", "limit"),
    [
        (0.01, "0.1 us"),
        (4.0, "5 us"),
        (4.01, "5.1 us"),
        (100.0, "125 us"),
        (799.9, "1000 us"),
        (800.0, "1 ms"),
        (2450.0, "3.1 ms"),
        (470_500.0, "589 ms"),
        (900_000.0, "1.2 s"),
    ],
)
def test_limits_of_time(used_us: float, limit: str, device_bundle: Bundle) -> None:
    class Estimate:
        microseconds = used_us

    assert latency_limit(Timing("task", Estimate())) == limit  # type: ignore[arg-type]
    assert parse_microseconds(limit) >= 1.25 * used_us
