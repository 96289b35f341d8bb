"""The guides of models and boards: their commands run, and their tables name what is there."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from deploy.cli import main
from deploy.commands import boards
from quantize.wire import reader

DOCS = Path(__file__).resolve().parents[2] / "docs"
MODELS, BOARDS = (
    (DOCS / f"{name}.md").read_text(encoding="utf-8") for name in ("models", "boards")
)
COMMANDS = re.findall(r"^    keras-tree (.*)$", MODELS + BOARDS, re.MULTILINE)


@pytest.fixture
def project(
    shared: Path, bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder with the files that the guides name."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(bundle_folder, tmp_path / "build" / "bundle")
    for name in ("model", "kws", "vww"):
        model = shared / "models" / "tflm__micro_speech_quantized.tflite"
        shutil.copyfile(model, tmp_path / f"{name}.tflite")
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.usefixtures("project")
def test_a_command_of_the_guides(command: str, capsys: pytest.CaptureFixture) -> None:
    assert main(shlex.split(command)) == 0
    assert capsys.readouterr().out.strip()


def test_the_guides_have_commands() -> None:
    assert len(COMMANDS) == 8


def test_every_option_of_the_boards_is_in_the_guide() -> None:
    import argparse

    parser = argparse.ArgumentParser()
    boards.add_arguments(parser)
    options = {name for action in parser._actions for name in action.option_strings}
    assert {option for option in options if option.startswith("--")} - {"--help"} == set(
        re.findall(r"--[a-z][a-z-]+", BOARDS)
    ) - {"--board"}


def test_the_bounds_of_the_reader_are_in_the_guide() -> None:
    assert f"{reader._OVERLAP} times the file" in MODELS
    assert f"one in {reader._BYTES_PER_OBJECT} bytes" in MODELS
    assert f"counted as {reader._BYTES_PER_PLACE} bytes more | {reader._SHARING} times" in MODELS
    assert f"{reader._FREE_OBJECTS:,} objects and {reader._FREE_SHARED_BYTES >> 10} KiB" in MODELS
