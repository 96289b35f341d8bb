"""`keras-tree firmware`: what it writes and says, what it refuses, and its guide."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.cli import main
from deploy.commands import firmware as command
from deploy.firmware import RUNTIMES
from deploy.firmware_folder.folder import MARKER
from deploy.firmware_sources import firmware_folder

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "firmware.md"
STUBS = firmware_folder()


@pytest.fixture
def call(capsys):
    """Run the command; gives the exit code, standard output and standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        code = main(["firmware", *map(str, arguments)])
        return code, *capsys.readouterr()

    return run


def test_it_writes_a_folder_that_passes_its_self_test(call, bundle_folder, tmp_path):
    out = tmp_path / "firmware"
    code, told, wrong = call(bundle_folder, "--board", "nano33ble", "--out", out)
    assert (code, wrong) == (0, "")
    verdict, wrote, after = told.splitlines()
    assert re.fullmatch(r"fits  nano33ble: ROM fits with .* free; RAM fits with .* free", verdict)
    files = [path for path in out.rglob("*") if path.is_file() and path.name != MARKER]
    assert wrote == f"Wrote {len(files)} files to {out}: plain C, dsp kernels"
    assert after == f"Next: make -C {out} test"
    done = subprocess.run(after.split()[1:], capture_output=True, text=True, check=True)
    assert "\nPASS\n" in done.stdout


def test_the_verdict_is_that_of_check(call, bundle_folder, tmp_path, capsys):
    code, told, _ = call(
        bundle_folder, "--board", "nano33ble", "--out", tmp_path / "fw", "--runtime", "tflm"
    )
    assert code == 0
    assert "KT_TFLM_DIR=... KT_TFLM_LIBRARY=..." in told.splitlines()[-1]
    main(["check", str(bundle_folder), "--board", "nano33ble"])
    line = told.splitlines()[0].removeprefix("fits  nano33ble: ")
    assert f"\n{line}\n" in capsys.readouterr().out


def test_what_does_not_fit_is_not_written(call, shared, tmp_path):
    model = shared / "models" / "mlperftiny__ad01_int8.tflite"
    out = tmp_path / "fw"
    code, told, _ = call(model, "--board", "bluepill", "--out", out)
    assert code == 1
    assert told.startswith("OVER  bluepill: ROM is ")
    assert "Nothing was written." in told
    assert not out.exists()
    code, told, _ = call(model, "--board", "bluepill", "--out", out, "--over-budget")
    assert (code, told.splitlines()[0][:4]) == (0, "OVER")
    assert "**It does not fit:** ROM is " in (out / "README.md").read_text()


def test_changed_files_are_told(call, bundle_folder, tmp_path):
    given = (bundle_folder, "--board", "nano33ble", "--out", tmp_path / "fw")
    _, told, _ = call(*given)
    count = int(re.search(r"Wrote (\d+) files", told)[1])
    (tmp_path / "fw" / "Makefile").write_text("mine:\n")
    code, told, _ = call(*given)
    assert f"Wrote {count - 1} files" in told
    assert (code, "Kept, because you changed them: Makefile. --force" in told) == (0, True)
    assert (tmp_path / "fw" / "Makefile").read_text() == "mine:\n"
    code, told, _ = call(*given, "--force")
    assert (code, "Replaced, although you had changed them: Makefile" in told) == (0, True)
    assert (tmp_path / "fw" / "Makefile").read_text() != "mine:\n"


def test_tasks_without_vectors_are_told(call, shared, tmp_path, monkeypatch):
    monkeypatch.setattr("quantize.interpreter.tflm_version", lambda: None)
    model = shared / "models" / "tflm__micro_speech_quantized.tflite"
    code, told, _ = call(model, "--board", "nano33ble", "--out", tmp_path / "fw")
    assert code == 0
    assert "No golden vectors: tflm__micro_speech_quantized. The self-test fails" in told


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--board", "nano33bel"), "No board 'nano33bel'. Did you mean 'nano33ble'?"),
        (("--board", "nano33ble", "--tasks", "angel"), "angel"),
        (("--board", "nano33ble", "--tasks", ","), "task"),
        (("--board", "nano33ble", "--runtime", "tfml"), "Did you mean 'tflm'?"),
        (("--board", "nano33ble", "--isa", "mve"), "`isa` must be one that"),
        (("--board", "nano33ble", "--kernels", "reference"), "`kernels` is for the runtime tflm"),
        (
            ("--board", "nano33ble", "--runtime", "tflm", "--kernels", "cmsis"),
            "`kernels` must be one of reference, cmsis-nn",
        ),
        ((), "--board"),
    ],
)
def test_wrong_usage_ends_with_2(call, bundle_folder, tmp_path, options, message):
    code, told, wrong = call(bundle_folder, "--out", tmp_path / "fw", *options)
    assert (code, told) == (2, "")
    assert message in wrong
    assert not (tmp_path / "fw").exists()


def test_a_foreign_folder_is_refused_before_any_work(call, bundle_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("deploy.models.load_models", lambda paths: pytest.fail("too late"))
    (tmp_path / "thesis.tex").write_text("mine")
    code, _, wrong = call(bundle_folder, "--board", "nano33ble", "--out", tmp_path)
    assert (code, "holds other files, and is left as it is" in wrong) == (2, True)
    code, _, wrong = call(
        bundle_folder, "--board", "nano33ble", "--out", tmp_path / "thesis.tex" / "fw"
    )
    assert (code, "is a file" in wrong) == (2, True)


def test_an_operator_that_c_lacks_is_told_of_tflm(call, bundle_folder, tmp_path, monkeypatch):
    from deploy.codegen.lowering.node import LOWERINGS

    monkeypatch.delitem(LOWERINGS, "SOFTMAX")
    given = (bundle_folder, "--board", "nano33ble", "--out", tmp_path / "fw")
    code, _, wrong = call(*given)
    assert (code, "SOFTMAX" in wrong, "--runtime tflm" in wrong) == (2, True, True)
    assert not (tmp_path / "fw").exists()
    assert call(*given, "--runtime", "tflm")[0] == 0


def test_what_is_no_model_is_refused(call, tmp_path):
    model = tmp_path / "no.tflite"
    model.write_bytes(b"no model")
    code, _, wrong = call(model, "--board", "nano33ble", "--out", tmp_path / "fw")
    assert (code, "A .tflite file is expected" in wrong) == (2, True)


def test_two_processes_write_the_same_bytes(bundle_folder, tmp_path):
    for seed in ("1", "2"):
        words = ["firmware", str(bundle_folder), "--board", "pico", "--out", str(tmp_path / seed)]
        code = f"from deploy.cli import main\nmain({words!r})"
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    first, second = ((tmp_path / seed / MARKER).read_bytes() for seed in ("1", "2"))
    assert first == second


def test_the_choices_are_those_of_the_module():
    parser = command.argparse.ArgumentParser()
    command.add_arguments(parser)
    actions = {action.dest: action for action in parser._actions}
    assert tuple(actions["runtime"].choices) == RUNTIMES


def test_it_loads_no_tensorflow(bundle_folder, tmp_path):
    code = (
        "import sys\nfrom deploy.cli import main\n"
        f"main(['firmware', {str(bundle_folder)!r}, '--board', 'pico', '--out', "
        f"{str(tmp_path / 'fw')!r}])\n"
        "print(sorted({'tensorflow', 'keras', 'tflite_micro'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


# The guide, and what firmware_stubs says of itself.


def test_the_commands_of_the_guide_run(bundle_folder, tmp_path):
    shutil.copytree(bundle_folder, tmp_path / "build" / "bundle")
    program = tmp_path / "bin" / "keras-tree"
    program.parent.mkdir()
    root = GUIDE.parents[1]
    program.write_text(
        f'#!/bin/sh\nPYTHONPATH="{root}" exec "{sys.executable}" -m deploy.cli "$@"\n'
    )
    program.chmod(0o755)
    here = f'export PATH="{program.parent}:$PATH"; cd "{tmp_path}"'
    commands = re.findall(r"^```sh\n(.*?)^```", GUIDE.read_text(), re.DOTALL | re.MULTILINE)
    assert len(commands) >= 4
    for text in commands:
        done = subprocess.run(
            ["sh", "-ec", f"{here}\n{text}"], capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, text + done.stdout + done.stderr


def test_the_guide_names_every_option_and_no_other():
    parser = command.argparse.ArgumentParser()
    command.add_arguments(parser)
    options = {name for action in parser._actions for name in action.option_strings}
    table = re.findall(r"^\| `(--[\w-]+)", GUIDE.read_text(), re.MULTILINE)
    assert set(table) == {name for name in options if name not in ("-h", "--help")}


def test_every_link_of_the_guides_leads_somewhere():
    for guide in (GUIDE, STUBS / "README.md", STUBS / "examples" / "bare_metal.md"):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[\w-]*)?\)", guide.read_text()):
            assert (guide.parent / target).exists(), f"{guide.name}: {target}"


def test_every_place_that_the_stubs_explain_is_there():
    table = re.findall(r"^\| `([^`]+)`", (STUBS / "README.md").read_text(), re.MULTILINE)
    assert len(table) >= 8
    for name in table:
        assert (STUBS / name).exists(), name


def test_the_notes_for_bare_metal_are_about_files_that_are_there(bundle_folder, tmp_path):
    main(["firmware", str(bundle_folder), "--board", "nano33ble", "--out", str(tmp_path / "fw")])
    notes = (STUBS / "examples" / "bare_metal.md").read_text()
    paths = re.findall(r"`((?:include|model|src|selftest|examples)/[\w.]+)`", notes)
    assert len(paths) >= 2
    for name in [*paths, "bundle.bin"]:
        assert (tmp_path / "fw" / name).is_file(), name
    (assembly,) = re.findall(r"^```asm\n(.*?)^```", notes, re.DOTALL | re.MULTILINE)
    source = tmp_path / "fw" / "image.S"
    source.write_text(assembly)
    flags = ["-mthumb", "-mcpu=cortex-m4", "-c", source.name, "-o", "image.o"]
    subprocess.run(["arm-none-eabi-gcc", *flags], cwd=source.parent, check=True)
    parts = re.findall(r"^```c\n(.*?)^```", notes, re.DOTALL | re.MULTILINE)
    places = [f"-I{tmp_path / 'fw' / name}" for name in ("include", "model", "selftest")]
    for number, text in enumerate(parts):
        part = tmp_path / f"part{number}.c"
        part.write_text(text)
        flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", *places, "-fsyntax-only", str(part)]
        subprocess.run(["cc", *flags], check=True)


def test_the_self_test_runs_in_a_firmware_of_any_build_system(bundle_folder, tmp_path):
    """The port of the notes, every source as the README says, and a `main` of its own."""
    folder = tmp_path / "fw"
    main(["firmware", str(bundle_folder), "--board", "pico", "--out", str(folder)])
    notes = (STUBS / "examples" / "bare_metal.md").read_text()
    (port,) = re.findall(r"^```c\n([^`]*kt_port_write[^`]*)^```", notes, re.MULTILINE)
    (tmp_path / "port.c").write_text(port)
    (tmp_path / "main.c").write_text(
        "#include <stdio.h>\nvoid uart_write(const char *text);\nint check_model(void);\n"
        "void uart_write(const char *text) { fputs(text, stdout); }\n"
        "int main(void) { return check_model(); }\n"
    )
    sources = [*folder.glob("src/*.c"), *folder.glob("model/*.c"), *tmp_path.glob("*.c")]
    sources += [folder / "selftest" / name for name in ("selftest.c", "kt_selftest_data.c")]
    places = [f"-I{folder / name}" for name in ("include", "src", "model", "selftest")]
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-DKT_FORCE_PORTABLE"]
    command = ["cc", *flags, "-DKT_SELFTEST_NO_MAIN", *places, *map(str, sources)]
    subprocess.run([*command, "-o", str(tmp_path / "app")], check=True)
    done = subprocess.run([tmp_path / "app"], capture_output=True, text=True)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "PASS")
