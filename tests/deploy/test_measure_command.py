"""`keras-tree measure`: what it prints and writes, its exit codes, and its errors."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from deploy.cli import main
from deploy.emulation.measurement import read_measurement
from deploy.emulator import GoldenMismatchError, check_measurement

DOCS = Path(__file__).resolve().parents[2] / "docs" / "measure.md"


def test_it_prints_figures_and_boots(bundle_folder, capsys):
    arguments = ["measure", str(bundle_folder), "--core", "cortex-m4", "--boot", "--details"]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "device on cortex-m4, dsp kernels" in out
    assert "digit: vector 3 of 3 equal" in out
    for title in ("ROM by what it holds", "ROM by node", "ROM by name", "task digit: ", "stack"):
        assert title in out
    assert "kt_softmax  kernel" in out
    assert "from its reset vector on QEMU" in out
    assert out.splitlines()[-1] == "  PASS"


def test_the_file_is_what_check_reads(bundle_folder, device_bundle, capsys, tmp_path):
    path = tmp_path / "measured.json"
    arguments = ["measure", str(bundle_folder), "--core", "cortex-m0plus", "--optimize=-Os"]
    assert main([*arguments, "--json", "--output", str(path)]) == 0
    out = capsys.readouterr().out
    assert json.loads(out) == json.loads(path.read_text())  # no progress among the JSON
    found = read_measurement(path)
    check_measurement(found, device_bundle)
    assert (found.core, found.isa, found.optimize) == ("cortex-m0plus", "portable", "-Os")


def test_one_task_alone(bundle_folder, device_bundle, capsys):
    arguments = ["measure", str(bundle_folder), "--core", "cortex-m4", "--tasks", "angle"]
    assert main([*arguments, "--isa", "portable", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert set(data["tasks"]) == {"angle"}
    assert set(data["nodes"]) == {"trunk", "angle"}
    assert data["isa"] == "portable"


def test_a_mismatch_ends_with_1(bundle_folder, capsys, monkeypatch):
    def wrong(*arguments, **settings):
        raise GoldenMismatchError("task 'digit', golden vector 0, element 2: expected 1")

    monkeypatch.setattr("deploy.emulator.measure", wrong)
    assert main(["measure", str(bundle_folder), "--core", "cortex-m4"]) == 1
    assert "MISMATCH task 'digit', golden vector 0, element 2" in capsys.readouterr().out


def test_packed_weights_are_measured_unless_they_are_switched_off(
    bundle_folder, capsys, monkeypatch
):
    asked = []

    def measure(*arguments, **settings):
        asked.append(settings["pack_weights"])
        raise GoldenMismatchError("not run")

    monkeypatch.setattr("deploy.emulator.measure", measure)
    command = ["measure", str(bundle_folder), "--core", "cortex-m4"]
    assert main(command) == main([*command, "--pack-weights", "never"]) == 1
    assert asked == ["auto", "never"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--core", "cortex-m44"], "Did you mean 'cortex-m4'?"),
        (["--core", "cortex-m4", "--optimize=-O9"], "`--optimize` must be one of -O0, -O1"),
        (["--core", "cortex-m4", "--tasks", "digits"], "Did you mean 'digit'?"),
        (["--core", "rv32imc", "--emulator", "qemu"], "QEMU must have a machine for rv32imc"),
        (["--core", "rv32imc", "--boot"], "has none. Leave `--emulator` or `--boot` out"),
        (["--core", "cortex-m55", "--emulator", "unicorn"], "Unicorn must have a model of cortex"),
        (["--core", "cortex-m0plus", "--isa", "dsp"], "cortex-m0plus has no dsp instructions"),
        (["--core", "cortex-m4", "--output", "/dev/null/x"], "`--output` must be a folder"),
    ],
)
def test_wrong_usage_ends_with_2(arguments, said, bundle_folder, capsys):
    assert main(["measure", str(bundle_folder), *arguments]) == 2
    told = capsys.readouterr()
    assert said in told.err
    assert "vector" not in told.out


def test_no_compiler_is_wrong_usage(bundle_folder, capsys, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert main(["measure", str(bundle_folder), "--core", "cortex-m4", "--compiler", "gcc"]) == 2
    assert "arm-none-eabi-gcc must be installed" in capsys.readouterr().err


def test_a_bundle_without_golden_vectors_cannot_be_measured(
    device_bundle, capsys, tmp_path, monkeypatch
):
    task = device_bundle.tasks["digit"]
    bare = dataclasses.replace(
        task, golden_inputs=task.golden_inputs[:0], golden_outputs=task.golden_outputs[:0]
    )
    bundle = dataclasses.replace(device_bundle, tasks={**device_bundle.tasks, "digit": bare})
    monkeypatch.setattr("quantize.bundle.Bundle.load", lambda path: bundle)
    assert main(["measure", str(tmp_path), "--core", "cortex-m4"]) == 2
    assert "Task 'digit' must have golden vectors" in capsys.readouterr().err


def test_the_guide_names_every_option(capsys):
    text = DOCS.read_text(encoding="utf-8")
    for option in (
        "--core",
        "--output",
        "--optimize",
        "--isa",
        "--compiler",
        "--emulator",
        "--boot",
    ):
        assert option in text


def test_a_folder_gets_the_file_that_check_looks_for(bundle_folder, tmp_path, capsys):
    command = ["measure", str(bundle_folder), "--core", "cortex-m4", "--output", str(tmp_path)]
    assert main(command) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["cortex-m4.json"]
    capsys.readouterr()
    boards = ["--board", "nano33ble", "--board", "pico"]
    assert main(["check", str(bundle_folder), *boards, "--measured", str(tmp_path), "--why"]) == 0
    out = capsys.readouterr().out
    assert "measured of the plain-C runtime on an emulated cortex-m4" in " ".join(out.split())
    assert "buffer of all tasks" in out
