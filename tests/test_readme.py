"""What the README shows is what runs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import tomllib

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
# Accuracies and seconds depend on the machine; every other figure must match.
VARYING = re.compile(r"\d+\.\d+%|\d+ s\b")


def section(name: str) -> str:
    return README.split(f"<!-- {name} -->")[1].split(f"<!-- /{name} -->")[0]


def code_block(text: str, language: str) -> str:
    match = re.search(rf"```{language}\n(.*?)```", text, re.DOTALL)
    assert match is not None, f"no {language} block"
    return match.group(1)


@pytest.fixture(scope="module")
def example_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the README's example was run."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "train.py").write_text(code_block(section("example"), "python"))
    run = subprocess.run(
        [sys.executable, "train.py"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return folder


def keras_tree(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "deploy.cli", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_example_makes_the_files_that_it_names(example_folder: Path) -> None:
    bundle = example_folder / "bundle"
    assert sorted(path.name for path in (bundle / "nodes").iterdir()) == [
        "digit.tflite",
        "parity.tflite",
        "trunk.tflite",
    ]
    assert (bundle / "manifest.json").is_file()
    assert (bundle / "golden").is_dir()
    assert (example_folder / "tree.keras").is_file()


@pytest.mark.slow
def test_the_check_command_answers(example_folder: Path) -> None:
    command = re.search(r"^ {4}(keras-tree check bundle .*)$", README, re.MULTILINE)
    assert command is not None
    options = [word.strip('"') for word in re.findall(r'"[^"]*"|\S+', command.group(1))][1:]
    run = keras_tree(*options, cwd=example_folder)
    assert run.returncode == 0, run.stderr
    assert "nano33ble" in run.stdout


@pytest.mark.slow
def test_the_budget_file_is_read(example_folder: Path) -> None:
    text = code_block(README, "toml")
    assert tomllib.loads(text)["project"]["bundle"] == "bundle"
    (example_folder / "keras-tree.toml").write_text(text)
    run = keras_tree("check", cwd=example_folder)
    assert run.returncode == 0, run.stderr
    assert "digits only" in run.stdout


@pytest.mark.slow
def test_the_demo_prints_what_the_readme_shows(tmp_path: Path) -> None:
    run = keras_tree("demo", "--out", "demo-output", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    printed = {VARYING.sub("~", line).rstrip() for line in run.stdout.splitlines()}
    shown = [VARYING.sub("~", line[4:]).rstrip() for line in section("demo").splitlines()]
    missing = [line for line in shown if line and line not in printed]
    assert not missing, f"not printed: {missing}"
    assert len([line for line in shown if line]) > 20


@pytest.mark.parametrize("page", ["README.md", "firmware_stubs/README.md", "docs"])
def test_every_link_leads_somewhere(page: str) -> None:
    place = ROOT / page
    for path in sorted(place.glob("*.md")) if place.is_dir() else [place]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


@pytest.mark.slow
def test_the_firmware_commands_run(example_folder: Path) -> None:
    """A trunk and branches of random weights are compiled, built, tested and packed."""
    shown = re.findall(r"^ {4}(keras-tree (?:firmware|pack) .*)$", README, re.MULTILINE)
    assert len(shown) == 3
    for command in shown:
        run = keras_tree(*command.split("#")[0].split()[1:], cwd=example_folder)
        assert run.returncode == 0, run.stderr
    tested = subprocess.run(
        ["make", "-C", "firmware", "test"], cwd=example_folder, capture_output=True, text=True
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_the_figures_of_plain_c_are_the_guides() -> None:
    guide = (ROOT / "docs" / "plain_c_figures.md").read_text()
    rows = re.findall(r"^\| (?:keyword|image|anomaly)[^|]*\|(.*)\|$", README, re.MULTILINE)
    assert len(rows) == 3
    for row in rows:
        rom, ram, _ = row.split("|")
        for figure in re.findall(r"\d[\d,]+|0\.\d\dx", rom + ram):
            assert f" {figure} |" in guide, figure
