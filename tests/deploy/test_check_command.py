"""`keras-tree check` on a bundle on disk: settings, files, formats, exit codes, and its speed."""

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.board import board_names
from deploy.cli import main

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    """Run where no budget file lies about."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")


def report_of(capsys, *arguments: object) -> dict:
    """The JSON report of a run, whatever its exit code."""
    main(["check", *map(str, arguments), "--format", "json"])
    return json.loads(capsys.readouterr().out)


def test_exit_codes_follow_the_verdict(bundle_folder, capsys):
    fits = ["check", str(bundle_folder), "--board", "nano33ble"]
    assert main(fits) == 0
    assert "fits   nano33ble" in capsys.readouterr().out
    assert main([*fits, "--rom", "20 KiB"]) == 1
    assert "OVER   nano33ble" in capsys.readouterr().out
    assert main([*fits, "--board", "bluepill", "--ram", "1 KiB"]) == 1


def test_settings_of_the_command_line(bundle_folder, capsys):
    told = report_of(
        capsys, bundle_folder, "--board", "nano33ble", "--rom", "200 KiB", "--ram", "64 KiB",
        "--reserve-rom", "10 KiB", "--reserve-ram", "4096", "--tasks", "angle",
        "--kernels", "reference",
    )  # fmt: skip
    (one,) = told["checks"]
    assert one["rom"]["limit_bytes"] == 204_800
    assert one["ram"]["limit_bytes"] == 65_536
    assert one["rom"]["parts"][-1] == {"name": "the reserve", "group": "reserve", "bytes": 10_240}
    assert one["ram"]["parts"][-1]["bytes"] == 4096
    assert [task["name"] for task in one["tasks"]] == ["angle"]
    assert one["kernels"] == "reference"


def test_parts_and_saving_are_the_bundles(bundle_folder, device_bundle, capsys):
    (one,) = report_of(capsys, bundle_folder, "--board", "nano33ble")["checks"]
    sizes = {node.name: node.rom_bytes for node in device_bundle.nodes.values()}
    parts = {part["name"]: part["bytes"] for part in one["rom"]["parts"]}
    assert {name: parts[name] for name in sizes} == sizes
    # Two tasks on one trunk: exactly one trunk is saved.
    assert one["saved_bytes"] == sizes["trunk"]
    assert sum(one["kernel_bytes_by_operator"].values()) == parts["kernels"]


def test_all_boards(bundle_folder, capsys):
    told = report_of(capsys, bundle_folder, "--board", "all")
    percents = [max(c["rom"]["percent"], c["ram"]["percent"]) for c in told["checks"]]
    assert len(percents) > 50
    assert percents == sorted(percents, reverse=True)


def test_a_board_given_twice_is_checked_once(bundle_folder, capsys):
    told = report_of(capsys, bundle_folder, "--board", "pico", "--board", "pico")
    assert len(told["checks"]) == 1


BUDGET = """
[project]
bundle = "{bundle}"
reserve_rom = "1 KiB"
[[board]]
use = "nano33ble"
rom = "400 KiB"
[[check]]
name = "angle only"
board = "nano33ble"
tasks = ["angle"]
[[check]]
board = "bluepill"
"""


@pytest.fixture
def budget_file(bundle_folder, tmp_path) -> Path:
    shutil.copytree(bundle_folder, tmp_path / "copied")
    path = tmp_path / "keras-tree.toml"
    path.write_text(BUDGET.format(bundle="copied"))
    return path


def test_a_budget_file_in_the_current_folder(budget_file, capsys):
    told = report_of(capsys)
    assert {check["name"] for check in told["checks"]} == {"angle only", "bluepill"}
    one = next(check for check in told["checks"] if check["name"] == "angle only")
    assert one["rom"]["limit_bytes"] == 400 * 1024
    assert [task["name"] for task in one["tasks"]] == ["angle"]


def test_a_budget_file_that_is_named(budget_file, tmp_path, monkeypatch, capsys):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    told = report_of(capsys, "--config", budget_file)
    assert len(told["checks"]) == 2


def test_the_table_of_a_pyproject(budget_file, tmp_path, capsys):
    text = budget_file.read_text().replace("[project]", "[tool.keras-tree.project]")
    text = text.replace("[[board]]", "[[tool.keras-tree.board]]")
    text = text.replace("[[check]]", "[[tool.keras-tree.check]]")
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'firmware'\n" + text)
    budget_file.unlink()
    assert len(report_of(capsys)["checks"]) == 2


def test_the_command_line_wins_over_the_file(budget_file, capsys):
    (one,) = report_of(capsys, "--board", "nano33ble", "--ram", "9 KiB")["checks"]
    assert one["rom"]["limit_bytes"] == 400 * 1024
    assert one["ram"]["limit_bytes"] == 9 * 1024
    assert one["rom"]["parts"][-1]["group"] == "reserve"
    assert [task["name"] for task in one["tasks"]] == ["digit", "angle"]


@pytest.mark.parametrize("form", ["json", "markdown", "terminal"])
def test_an_output_file_and_the_screen(bundle_folder, tmp_path, capsys, form):
    (tmp_path / "report").write_text("old")
    command = ["check", str(bundle_folder), "--board", "pico", "--format", form]
    assert main([*command, "--output", "report"]) == 0
    assert "fits   pico" in capsys.readouterr().out
    text = (tmp_path / "report").read_text()
    start = {"json": "{\n", "markdown": "<!-- keras-tree -->", "terminal": "device: 2 tasks"}
    assert text.startswith(start[form])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report"]


def test_several_renderings_in_one_run(bundle_folder, tmp_path, capsys):
    wanted = ("json", "markdown", "junit", "sarif", "html", "terminal")
    reports = [part for form in wanted for part in ("--report", f"{form}={form}.out")]
    assert main(["check", str(bundle_folder), "--board", "pico", *reports]) == 0
    assert "fits   pico" in capsys.readouterr().out
    starts = {"json": "{", "markdown": "<!--", "junit": "<?xml", "sarif": "{", "html": "<!doctype"}
    for form, start in starts.items():
        assert (tmp_path / f"{form}.out").read_text().lower().startswith(start), form
    assert sorted(path.stem for path in tmp_path.iterdir()) == sorted(wanted)


def test_the_summary_of_a_ci_is_appended_to(bundle_folder, tmp_path, monkeypatch, capsys):
    (tmp_path / "summary.md").write_text("earlier step\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    command = ["check", str(bundle_folder), "--board", "pico"]
    assert main([*command, "--no-summary"]) == 0
    assert (tmp_path / "summary.md").read_text() == "earlier step\n"
    assert main(command) == 0
    assert (tmp_path / "summary.md").read_text().startswith("earlier step\n<!-- keras-tree -->\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "gone" / "summary.md"))
    assert main(command) == 2
    assert "`GITHUB_STEP_SUMMARY` must be a file" in capsys.readouterr().err


def test_a_baseline_is_written_and_held_against(bundle_folder, tmp_path, capsys):
    command = ["check", str(bundle_folder), "--board", "nano33ble"]
    assert main([*command, "--write-baseline", "base.json"]) == 0
    capsys.readouterr()
    told = report_of(capsys, *command[1:], "--baseline", "base.json", "--allow-growth", "0 B")
    assert told["fits"]
    assert told["checks"][0]["rom"]["growth_bytes"] == 0
    capsys.readouterr()
    grown = [*command, "--baseline", "base.json", "--allow-growth", "1 KiB"]
    assert main([*grown, "--reserve-rom", "1024"]) == 0
    assert main([*grown, "--reserve-rom", "1025"]) == 1
    out = capsys.readouterr().out
    assert "GREW   nano33ble" in out
    assert "ROM grew by 1.0 KiB against the baseline" in out


def test_a_whole_report_serves_as_baseline(bundle_folder, capsys):
    command = ["check", str(bundle_folder), "--board", "nano33ble"]
    assert main([*command, "--report", "json=report.json"]) == 0
    capsys.readouterr()
    told = report_of(capsys, *command[1:], "--baseline", "report.json")
    assert told["checks"][0]["ram"]["growth_bytes"] == 0


def test_the_files_baseline_may_be_missing_only_when_it_is_being_written(
    bundle_folder, tmp_path, capsys
):
    (tmp_path / "keras-tree.toml").write_text(
        f'[project]\nbundle = "{bundle_folder}"\nbaseline = "base.json"\n[[board]]\nuse = "pico"\n'
    )
    assert main(["check"]) == 2
    assert "base.json" in capsys.readouterr().err
    assert main(["check", "--write-baseline", "base.json"]) == 0
    assert main(["check"]) == 0
    assert "vs base" in capsys.readouterr().out


def test_a_baseline_of_other_checks_is_told(bundle_folder, capsys):
    command = ["check", str(bundle_folder), "--board"]
    assert main([*command, "pico", "--write-baseline", "base.json"]) == 0
    capsys.readouterr()
    assert main([*command, "nano33ble", "--baseline", "base.json", "--allow-growth", "0 B"]) == 0
    (row,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("fits ")]
    assert row.split().count("new") == 3  # ROM, RAM and time


def test_the_reserve_of_a_board_without_flash_counts_in_ram_too(bundle_folder, capsys):
    command = [str(bundle_folder), "--board", "stm32n6570-dk"]
    plain = report_of(capsys, *command)["checks"][0]
    told = report_of(capsys, *command, "--reserve-rom", "1000", "--reserve-ram", "70")["checks"][0]
    assert told["rom"]["used_bytes"] - plain["rom"]["used_bytes"] == 1000
    assert told["ram"]["used_bytes"] - plain["ram"]["used_bytes"] == 1070


def test_any_tflite_file_alone_and_several_on_one_device(shared, capsys):
    models = shared / "models"
    kws, ad = models / "mlperftiny__kws_ref_model.tflite", models / "mlperftiny__ad01_int8.tflite"
    alone = report_of(capsys, kws, "--board", "nano33ble")["checks"][0]
    both = report_of(capsys, kws, ad, "--board", "nano33ble")["checks"][0]
    assert [node["rom_bytes"] for node in both["nodes"]] == [53_936, 276_976]
    assert [node["rom_bytes"] for node in alone["nodes"]] == [53_936]
    assert both["rom"]["used_bytes"] > alone["rom"]["used_bytes"] + 276_976 - 16_384
    assert alone["time"]["used_us"] < 500_000


def test_limits_of_time(shared, capsys):
    kws = shared / "models" / "mlperftiny__kws_ref_model.tflite"
    command = ["check", str(kws), "--board", "nano33ble"]
    assert main([*command, "--latency", "5 s"]) == 0
    capsys.readouterr()
    assert main([*command, "--latency", "10 ms"]) == 1
    out = capsys.readouterr().out
    assert "latency of mlperftiny__kws_ref_model is" in out
    assert main(["check", str(kws), "--board", "pico", "--latency", "5 s"]) == 2
    assert "needs published measurements" in capsys.readouterr().err


def test_one_path_at_a_time(bundle_folder, capsys):
    both = report_of(capsys, bundle_folder, "--board", "pico")["checks"][0]
    one = report_of(capsys, bundle_folder, "--board", "pico", "--allocate", "one")["checks"][0]
    assert one["arena"]["one_path_bytes"] == both["arena"]["one_path_bytes"]
    assert one["ram"]["used_bytes"] < both["ram"]["used_bytes"]


def test_a_margin_on_the_command_line(bundle_folder, capsys):
    used = report_of(capsys, bundle_folder, "--board", "pico")["checks"][0]["rom"]["used_bytes"]
    command = ["check", str(bundle_folder), "--board", "pico", "--rom", str(used + 100)]
    assert main([*command, "--margin", "100 B"]) == 0
    assert main([*command, "--margin", "101 B"]) == 1


def test_the_schema_is_printed(capsys):
    assert main(["check", "--schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema["$schema"].endswith("2020-12/schema")


def test_an_output_file_on_a_device_is_written_directly(bundle_folder):
    assert main(["check", str(bundle_folder), "--board", "pico", "--output", "/dev/null"]) == 0
    assert not Path("/dev/null").is_file()


@pytest.mark.parametrize("target", ["gone/report.json", "file/report.json", "folder", "/dev/full"])
def test_an_output_file_that_cannot_be_written_ends_with_2(bundle_folder, tmp_path, capsys, target):
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    assert main(["check", str(bundle_folder), "--board", "pico", "--output", target]) == 2
    error = capsys.readouterr().err
    assert target in error
    assert "`--output` must be a file that can be written" in error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def cut_a_node(folder: Path) -> None:
    node = folder / "nodes" / "digit.tflite"
    node.write_bytes(node.read_bytes()[:-100])


def make_it_newer(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["format_version"] = 99
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (shutil.rmtree, "copied"),
        (cut_a_node, "digit.tflite"),
        (make_it_newer, "99"),
        (lambda folder: (folder / "manifest.json").unlink(), "manifest.json"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "manifest.json"),
        (lambda folder: (folder / "nodes" / "trunk.tflite").unlink(), "trunk.tflite"),
    ],
)
def test_a_spoilt_bundle_ends_with_2_and_names_the_file(
    bundle_folder, tmp_path, capsys, spoil, said
):
    copied = shutil.copytree(bundle_folder, tmp_path / "copied")
    spoil(copied)
    assert main(["check", str(copied), "--board", "pico"]) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert said in error
    assert len(error.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "a board is expected, none was given and there is no keras-tree.toml"),
        (["--board", "pico"], "a bundle's folder or a .tflite file is expected"),
        (["B", "--board", "nano33bel"], "Did you mean 'nano33ble'?"),
        (["B", "--board", "gone.toml"], "must be a readable TOML file"),
        (["B", "--board", "pico", "--tasks", "digits"], "Did you mean 'digit'?"),
        (["B", "--board", "pico", "--tasks", ","], "must name a task, received none"),
        (["B", "--board", "pico", "--rom", "64 KB"], "`--rom` must have a unit with one meaning"),
        (["B", "--board", "pico", "--rom", "0"], "`rom` of check 'pico' must be above 0"),
        (["B", "--board", "pico", "--ram", "1 MiB"], "of RAM on pico, received 1,024.0 KiB"),
        (["B", "--board", "pico", "--kernels", "fast"], "`kernels` must be one of reference"),
        (["B", "--board", "esp32-c3", "--kernels", "cmsis-nn"], "made for Arm Cortex-M"),
        (["B", "--config", "gone.toml"], "gone.toml: a readable TOML file is expected"),
        (["gone.tflite", "--board", "pico"], "gone.tflite"),
        (["B", "--board", "pico", "--latency", "5"], "`--latency` must be a time above zero"),
        (["B", "--board", "pico", "--margin", "all"], "`--margin` must be a size"),
        (["B", "--board", "pico", "--report", "sarif"], "`--report` must be FORMAT=FILE"),
        (["B", "--board", "pico", "--report", "sarf=x"], "Did you mean 'sarif'?"),
        (["B", "--board", "pico", "--baseline", "gone.json"], "gone.json"),
        (["B", "--board", "pico", "--image", "gone.elf"], "gone.elf"),
        (["B", "--board", "pico", "--allow-growth", "1 %"], "needs earlier figures"),
        (["B", "--board", "pico", "--margin", "-5 %"], "must be a share of at least 0 %"),
        (
            ["B", "--board", "pico", "--report", "json=a", "--report", "html=./a"],
            "every file must be written once, received 'a' twice",
        ),
        (
            ["B", "--board", "pico", "--report", "json=a", "--write-baseline", "a"],
            "every file must be written once, received 'a' twice",
        ),
    ],
)
def test_wrong_usage_ends_with_2_and_one_message(bundle_folder, capsys, arguments, said):
    given = [str(bundle_folder) if word == "B" else word for word in arguments]
    assert main(["check", *given]) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert said in error
    assert "Traceback" not in error


def test_a_broken_budget_file_ends_with_2(budget_file, capsys):
    budget_file.write_text("[[board]]\nuse = 'nano33bel'\n")
    assert main(["check", "copied"]) == 2
    assert "keras-tree.toml: [[board]] nano33bel: No board" in capsys.readouterr().err


def in_a_process(*arguments: object, **environment: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", _COMMAND, "check", *map(str, arguments)]
    settings = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(command, capture_output=True, text=True, env=settings)


_COMMAND = """
import sys
from deploy.cli import main
code = main()
heavy = {"tensorflow", "keras", "tf_keras", "tflite_micro", "sklearn", "PIL"}
print(sorted(heavy & set(sys.modules)), file=sys.stderr)
sys.exit(code)
"""


def test_it_loads_neither_tensorflow_nor_keras_and_is_fast(bundle_folder):
    seconds = []
    for arguments in (["--board", "nano33ble"], ["--board", "bluepill", "--rom", "1 KiB"]) * 2:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = in_a_process(bundle_folder, *arguments)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert done.stderr.strip() == "[]"
        assert done.returncode == (1 if "--rom" in arguments else 0)
    # Time of the processor, which a busy machine does not stretch: 0.33 s measured on 2 cores.
    assert min(seconds) < 1.0, seconds


_SMALL_MODELS = ("tflm__micro_speech_quantized.tflite", "mlperftiny__kws_ref_model.tflite")


def test_ten_nodes_on_all_boards_take_less_than_a_second(shared, tmp_path):
    models = [shared / "models" / name for name in _SMALL_MODELS]
    for number in range(10):  # bytes behind a flatbuffer make it another file, of which all is read
        data = models[number % len(models)].read_bytes() + bytes([number]) * 16
        tmp_path.joinpath(f"node{number}.tflite").write_bytes(data)
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = in_a_process(*sorted(tmp_path.glob("*.tflite")), "--board", "all")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert f"of {len(board_names())} checks" in done.stdout
    assert len(board_names()) >= 50
    # Time of the processor: 0.48 s measured on 2 cores.
    assert min(seconds) < 1.0, seconds


def test_a_log_is_plain_and_its_width_is_fixed(bundle_folder):
    done = in_a_process(bundle_folder, "--board", "nano33ble", COLUMNS="", TERM="xterm-256color")
    assert "\x1b" not in done.stdout
    assert done.stdout.isascii()
    assert 90 < max(map(len, done.stdout.splitlines())) <= 100


@pytest.mark.parametrize(
    ("environment", "is_coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_colour_only_on_a_terminal(bundle_folder, environment, is_coloured):
    pty = pytest.importorskip("pty")
    master, slave = pty.openpty()
    settings = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "100"}
    settings.pop("NO_COLOR", None)
    command = [sys.executable, "-m", "deploy.cli", "check", str(bundle_folder), "--board", "pico"]
    process = subprocess.Popen(command, stdout=slave, env={**settings, **environment})
    os.close(slave)
    shown = b""
    while True:
        try:
            block = os.read(master, 65536)
        except OSError:  # the other side is closed
            break
        if not block:
            break
        shown += block
    os.close(master)
    assert process.wait(30) == 0
    assert b"pico" in shown
    assert (b"\x1b[" in shown) == is_coloured


def test_a_reader_that_leaves_does_not_change_the_verdict(bundle_folder):
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "deploy.cli", "check", str(bundle_folder), "--board", "pico"]
    settings = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, "--rom", "9 KiB"], stdout=write, stderr=subprocess.PIPE, text=True, env=settings
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")


def test_an_output_file_is_written_through_a_link(bundle_folder, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "report").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "real" / "report")
    assert main(["check", str(bundle_folder), "--board", "pico", "--output", "link"]) == 0
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "report").read_text().startswith("device: ")


def test_every_bundle_of_the_file_on_every_board(bundle_folder, tmp_path, capsys):
    tables = "".join(
        f'[[bundle]]\nname = "{name}"\npath = "{bundle_folder}"\n' for name in ("old", "new")
    ) + "".join(f'[[board]]\nuse = "{board}"\n' for board in ("pico", "nano33ble"))
    (tmp_path / "keras-tree.toml").write_text(tables)
    told = report_of(capsys)
    assert {one["name"] for one in told["checks"]} == {
        f"{bundle} on {board}" for bundle in ("old", "new") for board in ("pico", "nano33ble")
    }
    assert {bundle["name"] for bundle in told["bundles"]} == {"old", "new"}
    one_board = report_of(capsys, "--board", "pico")
    assert {one["name"] for one in one_board["checks"]} == {"old on pico", "new on pico"}
    assert main(["check", str(bundle_folder)]) == 2
    assert "has several bundles of its own (old, new)" in capsys.readouterr().err
    assert main(["check", str(bundle_folder), "--board", "pico"]) == 0
