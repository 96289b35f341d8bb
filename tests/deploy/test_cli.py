"""The command line as a whole: exit codes, one-line errors, help, pipes, and its speed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deploy import cli
from deploy.cli import COMMANDS, main
from deploy.commands.usage import EXIT_CODES

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "deploy.cli"]


def run(*arguments: object, **settings) -> subprocess.CompletedProcess:
    """The command in a process of its own, with the project importable from any folder."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **settings.pop("env", {})}
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment,
        **settings,
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches(command, capsys):
    assert main([command, "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"usage: keras-tree {command} ")
    assert COMMANDS[command].DESCRIPTION.splitlines()[0] in out
    assert out.count(f"  keras-tree {command}") >= 2  # examples
    assert EXIT_CODES in out
    assert max(map(len, out.splitlines())) <= 100


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_of_the_help_are_accepted_by_the_parser(command):
    for line in COMMANDS[command].EPILOG.splitlines():
        if line.startswith(f"  keras-tree {command}"):
            words = subprocess.run(
                ["bash", "-c", f"printf '%s\\n' {line.split(' ', 3)[-1].split('>>')[0]}"],
                capture_output=True, text=True, check=True,
            ).stdout.splitlines()  # fmt: skip
            words = words if words[:1] == [command] else [command, *words]
            assert cli.parse_arguments(words).command == command


def test_the_main_help_lists_every_command(capsys):
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    for name, module in COMMANDS.items():
        assert f"    {name:9} {module.SUMMARY}" in out


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.split()[0] == "keras-tree"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "a command is expected, none was given"),
        (["chek"], "Did you mean 'check'?"),
        (["check", "--bord", "x"], "unrecognized arguments: --bord. Did you mean '--board'?"),
        (["check", "--form", "json"], "unrecognized arguments: --form. Did you mean '--format'?"),
        (["check", "--format", "jsn"], "Did you mean 'json'?"),
        (["check", "--board"], "expected one argument"),
        (["run", "bundle"], "required: --task, --input"),
        (["boards", "nano33bel"], "No board 'nano33bel'. Did you mean 'nano33ble'?"),
        (["boards", "gone.toml"], "must be a readable TOML file"),
        (["boards", "--core", "cortex-m44"], "Did you mean 'cortex-m4'?"),
        (["boards", "--min-rom", "64 KB"], "`--min-rom` must have a unit with one meaning"),
        (["boards", "pico", "--core", "cortex-m4"], "`--core` is for the list of boards"),
        (["demo", "--epochs", "0"], "`--epochs` must be at least 1"),
        (["demo", "--seed", "x"], "invalid int value: 'x'"),
    ],
)
def test_wrong_usage_ends_with_2_and_one_message(arguments, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert said in error
    assert "Traceback" not in error


@pytest.mark.parametrize("out", ["file", "file/demo", "held"])
def test_the_demo_refuses_a_folder_that_it_cannot_write_before_it_trains(
    out, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "held").mkdir()
    (tmp_path / "held/bundle").touch()
    assert main(["demo", "--out", out]) == 2
    said, error = capsys.readouterr()
    assert (said, error.count("is a file. Choose another path.")) == ("", 1)


def test_a_folder_that_may_not_be_written_to_is_refused(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda place, mode: place != tmp_path)
    assert main(["demo", "--out", str(tmp_path / "demo")]) == 2
    assert "must be a folder that can be written" in capsys.readouterr().err


def test_debug_shows_where_a_wrong_usage_was_found(capsys):
    assert main(["boards", "nano33bel", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


class Crash:
    """A command whose work ends in `error`."""

    SUMMARY, USAGE, DESCRIPTION, EPILOG = "x", "x", "x", "x"

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def add_arguments(self, parser) -> None:
        pass

    def run(self, arguments, say) -> int:
        raise self.error


def test_an_internal_failure_ends_with_3_in_one_line(capsys, monkeypatch):
    monkeypatch.setitem(COMMANDS, "check", Crash(RuntimeError("two\nlines")))
    assert main(["check"]) == 3
    out, error = capsys.readouterr()
    assert out == ""
    assert error == (
        "keras-tree check: internal failure: RuntimeError: two lines. Run it again with --debug to "
        "see where.\n"
    )
    monkeypatch.setitem(COMMANDS, "check", Crash(RuntimeError("a sentence.")))
    assert main(["check"]) == 3
    assert "RuntimeError: a sentence. Run it again" in capsys.readouterr().err
    for arguments in (["check", "--debug"], ["--debug", "check"]):
        assert main(arguments) == 3
        assert "Traceback" in capsys.readouterr().err


def test_an_interrupt_ends_with_130_in_one_line(capsys, monkeypatch):
    monkeypatch.setitem(COMMANDS, "check", Crash(KeyboardInterrupt()))
    assert main(["check"]) == 130
    assert capsys.readouterr().err == "keras-tree check: interrupted\n"


def test_ctrl_c_on_the_real_process(tmp_path):
    os.mkfifo(tmp_path / "wait.toml")  # opening it waits for a writer
    process = subprocess.Popen(
        [*COMMAND, "check", "x", "--board", "pico", "--config", "wait.toml"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=10)[1] == "keras-tree check: interrupted\n"
    assert process.returncode == 130


def test_a_reader_that_leaves_is_no_error():
    read, write = os.pipe()
    os.close(read)
    process = subprocess.run(
        [*COMMAND, "boards"], stdout=write, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    os.close(write)
    assert (process.returncode, process.stderr) == (0, "")


def test_an_error_that_nobody_reads_keeps_its_exit_code():
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([*COMMAND, "boards", "gone"], stdout=write, stderr=write, cwd=ROOT)
    os.close(write)
    assert done.returncode == 2


def test_an_output_that_is_closed_is_no_error(bundle_folder):
    for arguments in (["boards"], ["check", bundle_folder, "--board", "pico"]):
        done = subprocess.run(
            ["sh", "-c", '"$@" >&-', "sh", *COMMAND, *arguments],
            stderr=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_an_output_that_is_full_ends_with_2():
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*COMMAND, "boards"], stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT
        )
    assert done.returncode == 2
    assert done.stderr == (
        "keras-tree boards: standard output cannot be written to: No space left on device. Send it "
        "elsewhere.\n"
    )


def test_an_output_that_cannot_show_a_letter_is_no_error(tmp_path):
    board = tmp_path / "b.toml"
    board.write_text('base = "pico"\nname = "b"\ntitle = "Board \u2603"\n', encoding="utf-8")
    done = run("boards", board, env={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0
    assert "Board " in done.stdout


@pytest.mark.parametrize(
    ("arguments", "loaded"),
    [(["--help"], "[]"), (["check", "--help"], "[]"), (["boards"], "['numpy']")],
)
def test_help_loads_no_numpy_and_boards_nothing_heavier(arguments, loaded):
    code = (
        "import sys; from deploy.cli import main\n"
        f"main({arguments!r})\n"
        "print(sorted({'numpy', 'tensorflow', 'keras'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stderr.strip() == loaded
