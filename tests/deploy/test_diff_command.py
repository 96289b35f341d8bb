"""`keras-tree diff` on files: what may be compared, exit codes, formats, and its guide."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from deploy import cli
from deploy.board import load_board
from deploy.budget import check
from deploy.cli import main
from deploy.comparison.baseline_file import baseline_text, read_baseline
from deploy.footprint.accounting import _runtime
from deploy.footprint.rom import RomError
from deploy.report import as_json
from deploy.report.difference import as_json as difference_json
from deploy.verdict import Check

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "baseline.md").read_text(encoding="utf-8")


@pytest.fixture
def files(tmp_path, monkeypatch, device_bundle) -> Path:
    """Bundles, files, reports and baselines of two states: the new one has a larger trunk."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    trunk = device_bundle.nodes["trunk"]
    # Bytes behind the root table's last are read by nobody, and are stored all the same.
    larger = replace(trunk, data=trunk.data + bytes(320), unstripped_bytes=len(trunk.data) + 320)
    new = replace(device_bundle, nodes={**device_bundle.nodes, "trunk": larger})
    for state, bundle in (("old", device_bundle), ("new", new)):
        bundle.save(tmp_path / "build" / state)
        (tmp_path / f"{state}.tflite").write_bytes(bundle.nodes["trunk"].data)
        checks = [Check(name, load_board(name)) for name in ("nano33ble", "bluepill")]
        report = check(bundle, checks)
        (tmp_path / f"{state}_report.json").write_text(as_json.render(report))
        (tmp_path / f"{state}_baseline.json").write_text(baseline_text(report))
    return tmp_path


def difference(capsys, *arguments: str) -> dict:
    """The JSON of a run, whatever its exit code."""
    main(["diff", *arguments, "--format", "json"])
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("build/old", "build/new"),
        ("old_report.json", "new_report.json"),
        ("old_baseline.json", "new_baseline.json"),
        ("old_baseline.json", "new_report.json"),
        ("old_report.json", "new_baseline.json"),
        ("build/old", "new_report.json"),
        ("old_baseline.json", "build/new"),
    ],
)
def test_whatever_is_compared_the_trunk_grew_by_320_bytes(files, capsys, old, new):
    told = difference(capsys, old, new)
    sizes = {node["name"]: node["delta"] for node in told["nodes"]}
    assert sizes == {"trunk": 320, "digit": 0, "angle": 0}
    assert told["model"]["delta"] == 320
    assert told["operators"] == []
    assert not told["is_same"]
    assert all(one["rom"]["delta"] == 320 for one in told["checks"])
    boards = {one["name"] for one in told["checks"]}
    if old.startswith("build") != new.startswith("build"):
        assert boards == set()
        assert len(told["notes"]) == 1
    elif old.startswith("build"):
        assert boards == {"nano33ble"}
        assert told["notes"] == ["no board was named: ROM, RAM and time are those of nano33ble"]
    else:
        assert boards == {"nano33ble", "bluepill"}


@pytest.mark.parametrize("side", ["old", "new"])
@pytest.mark.parametrize("form", ["build/{}", "{}.tflite", "{}_report.json", "{}_baseline.json"])
def test_a_side_against_itself(files, capsys, side, form):
    name = form.format(side)
    assert main(["diff", name, name, "--allow-growth", "0 B"]) == 0
    said = "no difference in size" if "baseline" in form else "no difference"
    assert f"{said}; the model has" in capsys.readouterr().out


def test_two_lone_files(files, capsys):
    told = difference(capsys, "old.tflite", "new.tflite", "--board", "pico", "--board", "bluepill")
    (node,) = told["nodes"]
    assert (node["name"], node["delta"], node["change"]) == ("new", 320, "changed")
    assert {one["name"] for one in told["checks"]} == {"pico", "bluepill"}
    assert told["contracts"] == []
    assert told["notes"] == []


def test_a_file_is_known_by_its_content(files, capsys):
    shutil.copy("old.tflite", "model.bin")
    assert difference(capsys, "model.bin", "new.tflite")["model"]["delta"] == 320


@pytest.mark.parametrize(
    ("sides", "allowed", "code"),
    [
        (("build/old", "build/new"), "320 B", 0),
        (("build/old", "build/new"), "319 B", 1),
        (("build/old", "build/new"), "0.001 %", 1),
        (("build/old", "build/new"), "50 %", 0),
        (("build/new", "build/old"), "0 B", 0),
        (("old.tflite", "new.tflite"), "319 B", 1),
        (("old_report.json", "new_report.json"), "319 B", 1),
        (("old_baseline.json", "build/new"), "320 B", 0),
        (("old_baseline.json", "build/new"), "319 B", 1),
    ],
)
def test_exit_codes_follow_the_growth(files, capsys, sides, allowed, code):
    assert main(["diff", *sides, "--allow-growth", allowed]) == code
    told = capsys.readouterr().out
    assert ("nothing grew by more than is allowed" in told) == (code == 0)
    assert ("grew by 320 B, from " in told) == (code == 1)
    assert main(["diff", *sides]) == 0
    assert "GREW" not in capsys.readouterr().out


def test_tasks_and_kernels(files, capsys):
    told = difference(capsys, "build/old", "build/new", "--tasks", "angle")
    assert {node["name"] for node in told["nodes"]} == {"trunk", "angle"}
    sizes = [
        difference(capsys, "build/old", "build/new", "--kernels", kernels)["checks"][0]["rom"]
        for kernels in ("reference", "cmsis-nn")
    ]
    assert sizes[0]["delta"] == sizes[1]["delta"] == 320
    assert sizes[0]["new"] != sizes[1]["new"]


def test_a_task_that_only_one_bundle_has(files, capsys, device_bundle):
    device_bundle.select("angle").save("build/small")
    told = difference(capsys, "build/small", "build/old", "--tasks", "angle,digit")
    assert [task["name"] for task in told["tasks"]] == ["digit"]
    assert [one["name"] for one in told["operators"]] == ["SOFTMAX"]
    assert main(["diff", "build/small", "build/old", "--tasks", "digit"]) == 2
    assert "received none of 'device' (OLD). It has: angle." in capsys.readouterr().err


@pytest.mark.parametrize("form", ["terminal", "json", "markdown"])
def test_an_output_file_and_the_screen(files, capsys, form):
    command = ["diff", "build/old", "build/new", "--format", form, "--output", "told"]
    assert main(command) == 0
    assert capsys.readouterr().out.startswith("old  build/old\nnew  build/new\n")
    start = {"terminal": "old  build", "json": "{\n", "markdown": "<!-- keras-tree diff -->\n###"}
    text = (files / "told").read_text(encoding="utf-8")
    assert text.startswith(start[form])
    assert text.endswith("\n")


def test_an_output_file_that_cannot_be_written(files, capsys):
    assert main(["diff", "build/old", "build/new", "--output", "gone/told"]) == 2
    assert "`--output` must be a file that can be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["build/gone", "build/new"], "OLD must be a bundle's folder, a .tflite file, a baseline"),
        (["build/old", "gone.json"], "there is nothing at 'gone.json'"),
        (["build", "build/new"], "build"),
        (["README", "build/new"], "README: a baseline must be JSON"),
        (["bad.tflite", "build/new"], "bad.tflite"),
        (["build/old", "build/new", "--board", "nano33bel"], "Did you mean 'nano33ble'?"),
        (["build/old", "build/new", "--tasks", "digits"], "Did you mean 'digit'?"),
        (["build/old", "build/new", "--tasks", ","], "`--tasks` must name a task, received none"),
        (["build/old", "build/new", "--kernels", "fast"], "`kernels` must be one of reference"),
        (["build/old", "build/new", "--allow-growth", "2 KB"], "`--allow-growth` must have a unit"),
        (["build/old", "build/new", "--allow-growth", "-1 %"], "`--allow-growth` must be"),
        (["old_report.json", "new_report.json", "--board", "pico"], "`--board` needs two bundles"),
        (["build/old", "new_report.json", "--board", "pico"], "`--board` needs two bundles"),
        (["old_report.json", "build/new", "--kernels", "reference"], "`--kernels` needs two bun"),
        (["old_report.json", "new_report.json", "--tasks", "a"], "`--tasks` needs a bundle"),
        (["old.tflite", "old_report.json"], "received none in common: old against trunk, digit"),
    ],
)
def test_wrong_usage_ends_with_2_and_one_message(files, capsys, arguments, said):
    (files / "README").write_text("hello")
    (files / "bad.tflite").write_bytes(b"\x1c\0\0\0TFL3" + b"\xff" * 64)
    assert main(["diff", *arguments]) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert said in error
    assert "Traceback" not in error
    assert len(error.strip().splitlines()) == 1


def test_an_operator_that_is_not_known_names_the_file(files, capsys, monkeypatch):
    def refuse(*_):
        raise RomError("no row for operator X")

    monkeypatch.setattr("deploy.footprint.accounting.runtime_rom", refuse)
    _runtime.cache_clear()
    assert main(["diff", "build/old", "build/new"]) == 2
    assert "diff: build/old: no row for operator X" in capsys.readouterr().err


def test_all_boards(files, capsys):
    told = difference(capsys, "build/old", "build/new", "--board", "all")
    assert len(told["checks"]) > 50
    assert all(one["rom"]["delta"] == 320 for one in told["checks"])


def test_it_loads_neither_tensorflow_nor_keras_and_is_plain(files):
    code = (
        "import sys; from deploy.cli import main\n"
        "main(['diff', 'build/old', 'build/new'])\n"
        "heavy = {'tensorflow', 'keras', 'tflite_micro', 'sklearn', 'PIL'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert done.stdout.isascii()
    assert "\x1b" not in done.stdout


# The guide


def commands_of_the_guide() -> list[str]:
    found = re.findall(r"^(?:    |.*- run: )(keras-tree .*)$", GUIDE, re.MULTILINE)
    return list(dict.fromkeys(found))


def test_the_guide_has_commands():
    named = [command.split()[1] for command in commands_of_the_guide()]
    assert named.count("diff") >= 5
    assert named.count("check") >= 4


@pytest.mark.parametrize("command", [c for c in commands_of_the_guide() if " diff " in c])
def test_every_diff_of_the_guide_works(files, capsys, command):
    shutil.copy("old_baseline.json", "baseline.json")
    shutil.copy("new_report.json", "report.json")
    assert main(shlex.split(command)[1:]) == 0
    assert "+320" in capsys.readouterr().out.replace('"delta": 320', "+320")


def test_every_check_of_the_guide_works(files, capsys):
    shutil.copytree("build/old", "build/bundle")
    Path("keras-tree.toml").write_text(
        '[project]\nbundle = "build/bundle"\nallow_growth = "319 B"\n[[board]]\nuse = "nano33ble"\n'
    )
    checks = [command for command in commands_of_the_guide() if " check " in command]
    assert any("--write-baseline" in command for command in checks)
    for command in checks:  # the first one writes the baseline that the others read
        assert main(shlex.split(command)[1:]) == 0, command
        assert set(read_baseline("baseline.json").checks) == {"nano33ble"}, command
    shutil.rmtree("build/bundle")
    shutil.copytree("build/new", "build/bundle")
    assert main(["check", "--baseline", "baseline.json"]) == 1
    assert "GREW" in capsys.readouterr().out


def test_the_file_of_the_guide_is_a_baseline(tmp_path):
    (example,) = re.findall(r"```json\n(.*?)```", GUIDE, re.DOTALL)
    (tmp_path / "baseline.json").write_text(example)
    read = read_baseline(tmp_path / "baseline.json").checks["nano33ble"]
    assert (read.rom_bytes, read.latency_us) == (65_506, 12_171.4)
    assert read.node_bytes == {"digit": 5_012, "trunk": 9_120}


def test_every_key_of_the_json_is_in_the_guide(files, capsys):
    told = difference(capsys, "build/old", "build/new", "--allow-growth", "1 B")
    table = "\n".join(line for line in GUIDE.splitlines() if line.startswith("|"))
    named = set(re.findall(r"`(\w+)`", table))
    assert set(told) <= named
    for part in (told["model"], told["nodes"][0], told["checks"][0], told["growths"][0]):
        assert set(part) <= named
    assert told["schema_version"] == difference_json.SCHEMA_VERSION == 1


def test_the_mark_of_the_comment_is_the_one_in_the_guide():
    from deploy.report.difference.as_markdown import MARKER

    assert f"mark='{MARKER}'" in GUIDE


GH = """#!/bin/sh
printf '%s\\n' "$*" >> calls
case "$*" in
    "pr list "*) echo 7 ;;
    "api repos/"*) cat existing ;;
esac
"""


@pytest.mark.parametrize(
    ("existing", "last_call"),
    [
        ("31\n32\n", "api --method PATCH repos/us/it/issues/comments/31 --field body=@comment.md"),
        ("", "pr comment 7 --body-file comment.md"),
    ],
)
def test_the_comment_of_the_guide_is_one_comment(tmp_path, existing, last_call):
    """The step's shell with a stand-in for GitHub's command line: made once, then written anew."""
    blocks = re.findall(r"- run: \|\n((?: {10}.*\n)+)", GUIDE)
    (step,) = [textwrap.dedent(block) for block in blocks if "gh pr comment" in block]
    (tmp_path / "gh").write_text(GH)
    (tmp_path / "gh").chmod(0o755)
    (tmp_path / "existing").write_text(existing)
    settings = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "GH_REPO": "us/it", "BRANCH": "a b"}
    subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", step], cwd=tmp_path, check=True, env=settings
    )
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls[0].startswith("pr list --head a b --json number,headRefOid")
    assert 'startswith("<!-- keras-tree diff -->")' in calls[1]
    assert calls[2] == last_call
    assert len(calls) == 3


def test_the_parser_takes_a_percent_sign_in_its_help(capsys):
    assert cli.main(["diff", "--help"]) == 0
    assert '"1 %"' in capsys.readouterr().out
