"""The GitHub Action: its steps are run as the plain shell they are, with a stand-in for `gh`."""

import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import pytest
from action_runner import ACTION, GITHUB, ROOT, value_of

STEPS = ACTION["runs"]["steps"]
FITS = {"bundle": "build/bundle", "board": "nano33ble"}
OVER = {**FITS, "rom": "8 KiB"}


def test_values_reach_the_scripts_through_the_environment_alone() -> None:
    scripts = [step for step in STEPS if "run" in step]
    assert len(scripts) == 4
    used = set()
    for step in STEPS:
        assert "${{" not in step.get("run", "")
        assert step.get("shell", "bash") == "bash"
        used |= set(re.findall(r"inputs\.([\w-]+)", json.dumps(step)))
    assert used == set(ACTION["inputs"])
    assert {"shell" in step for step in scripts} == {True}


def test_the_metadata_is_complete() -> None:
    assert ACTION["runs"]["using"] == "composite"
    for name, declared in ACTION["inputs"].items():
        assert declared["description"], name
        assert isinstance(declared["default"], str), name
    ids = {step.get("id") for step in STEPS}
    for name, declared in ACTION["outputs"].items():
        assert declared["description"]
        step, output = re.fullmatch(
            r"\$\{\{ steps\.(\w+)\.outputs\.([\w-]+) \}\}", declared["value"]
        ).groups()
        assert step in ids
        assert output == name


def test_every_report_is_written_and_named(with_bundle) -> None:
    files = {
        "json": "out/report.json",
        "markdown": "out/re port.md",
        "junit": "out/report.xml",
        "sarif": "out/report.sarif",
        "html": "out/report.html",
    }
    job = with_bundle.run(**FITS, **files)
    assert job.code == 0, job.log
    assert job.outputs() == {"fits": "true", "exit-code": "0", **files}
    folder = with_bundle.workspace
    assert json.loads((folder / files["json"]).read_text())["fits"] is True
    assert "keras-tree" in (folder / files["markdown"]).read_text()
    assert ElementTree.parse(folder / files["junit"]).getroot().tag == "testsuites"
    assert json.loads((folder / files["sarif"]).read_text())["version"] == "2.1.0"
    assert "<html" in (folder / files["html"]).read_text().lower()
    assert "nano33ble" in with_bundle.summary.read_text()
    assert "nano33ble" in job.log
    assert with_bundle.calls() == []


def test_over_budget_fails_the_job_after_the_reports(with_bundle) -> None:
    job = with_bundle.run(**OVER, json="report.json")
    assert job.code == 1, job.log
    assert job.ran[-1] == "Fail when over budget"
    assert "::error title=keras-tree::Over budget" in job.log
    assert (job.outputs()["fits"], job.outputs()["exit-code"]) == ("false", "1")
    assert json.loads((with_bundle.workspace / "report.json").read_text())["fits"] is False
    assert "OVER" in with_bundle.summary.read_text()


def test_over_budget_may_only_be_told(with_bundle) -> None:
    job = with_bundle.run(**OVER, fail_on_over="false")
    assert job.code == 0, job.log
    assert (job.outputs()["fits"], job.outputs()["exit-code"]) == ("false", "1")


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        ({"bundle": "build/bundle", "board": "nano33bla"}, "nano33ble"),
        ({"bundle": "build/bundle"}, "board"),
        ({"bundle": "missing", "board": "pico"}, "missing"),
        ({**FITS, "rom": "8 K"}, "KiB"),
        ({**FITS, "config": "missing.toml"}, "missing.toml"),
        ({**FITS, "arguments": "--no-such-option"}, "--no-such-option"),
    ],
)
def test_a_mistake_fails_the_job_whatever_is_asked(with_bundle, inputs, told) -> None:
    job = with_bundle.run(**inputs, fail_on_over="false", comment="true", json="report.json")
    assert job.code == 2, job.log
    assert told in job.log
    assert "::error title=keras-tree::The check could not be made" in job.log
    assert job.ran[-1] == "Check the budget"
    assert job.outputs() == {
        **dict.fromkeys(ACTION["outputs"], ""), "fits": "false", "exit-code": "2",
    }  # fmt: skip
    assert not (with_bundle.workspace / "report.json").exists()
    assert with_bundle.calls() == []


@pytest.mark.parametrize("code", [0, 1])
def test_a_program_that_does_not_start_is_not_over_budget(with_bundle, code: int) -> None:
    with_bundle.program("keras-tree", f"#!/bin/sh\nexit {code}\n")
    job = with_bundle.run(**FITS, fail_on_over="false")
    assert job.code == 3
    assert (job.outputs()["fits"], job.outputs()["exit-code"]) == ("false", "3")


def test_boards_and_options_are_given_one_per_line(with_bundle) -> None:
    job = with_bundle.run(
        bundle="\n  build/bundle\n\n",
        board="nano33ble\n  pico \n\nbluepill\n",
        arguments="--tasks=digit\n--reserve-rom=2 KiB\n",
        json="report.json",
    )
    assert job.code == 0, job.log
    report = json.loads((with_bundle.workspace / "report.json").read_text())
    boards = {check["board"] if isinstance(check["board"], str) else check["board"]["name"]
              for check in report["checks"]}  # fmt: skip
    assert boards == {"nano33ble", "pico", "bluepill"}
    assert {tuple(task["name"] for task in check["tasks"]) for check in report["checks"]} == {
        ("digit",)
    }


def test_several_models_stand_together_on_the_device(with_bundle) -> None:
    nodes = with_bundle.workspace / "build" / "bundle" / "nodes"
    models = [f"build/bundle/nodes/{path.name}" for path in sorted(nodes.glob("*.tflite"))]
    assert len(models) == 3
    job = with_bundle.run(bundle="\n".join(models[:2]), board="pico", json="report.json")
    assert job.code == 0, job.log
    (check,) = json.loads((with_bundle.workspace / "report.json").read_text())["checks"]
    assert len(check["nodes"]) == 2


def test_the_budget_file_at_the_root_is_found(with_bundle) -> None:
    (with_bundle.workspace / "keras-tree.toml").write_text(
        '[project]\nbundle = "build/bundle"\n\n[[board]]\nuse = "pico"\nrom = "8 KiB"\n'
    )
    job = with_bundle.run(sarif="report.sarif")
    assert job.code == 1, job.log
    (run,) = json.loads((with_bundle.workspace / "report.sarif").read_text())["runs"]
    place = run["results"][0]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "keras-tree.toml"
    assert place["region"]["startLine"] == 6


HOSTILE = [
    "$(touch pwned)",
    "`touch pwned`",
    '"; touch pwned; "',
    "' && touch pwned && '",
    "a b\"c'd",
    "--output=pwned",
    "$RUNNER_TEMP",
    "*",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_folder_is_a_folder(runner, bundle_folder, name: str) -> None:
    shutil.copytree(bundle_folder, runner.workspace / name)
    job = runner.run(bundle=name, board="pico", json=f"{name}.json", markdown="re port.md")
    assert job.code == 0, job.log
    assert job.outputs()["json"] == f"{name}.json"
    assert {path.name for path in runner.workspace.iterdir()} == {
        name, f"{name}.json", "re port.md",
    }  # fmt: skip


@pytest.mark.parametrize("key", ["config", "board", "rom", "ram", "arguments", "install"])
@pytest.mark.parametrize("value", [HOSTILE[0], HOSTILE[2]])
def test_a_hostile_value_runs_nothing(with_bundle, key: str, value: str) -> None:
    before = sorted(with_bundle.workspace.rglob("*"))
    if key == "install":  # stop where pip would read the text
        with_bundle.program("python3", "#!/bin/sh\nexit 9\n")
    job = with_bundle.run(**{**FITS, key: value})
    assert job.code == (9 if key == "install" else 2), job.log
    assert sorted(with_bundle.workspace.rglob("*")) == before


def test_names_are_no_commands_of_the_workflow(with_bundle) -> None:
    with_bundle.program("keras-tree", "#!/bin/sh\necho '::error::from a name'\n")
    job = with_bundle.run(**FITS)
    first, told, last, *_ = job.log.splitlines()
    (end,) = re.fullmatch(r"::stop-commands::(end-\d+)", first).groups()
    assert told == "::error::from a name"
    assert last == f"::{end}::"


def test_an_earlier_report_is_the_baseline(with_bundle) -> None:
    first = with_bundle.run(**FITS, json="baseline.json")
    assert first.code == 0, first.log
    job = with_bundle.run(
        **FITS, baseline="baseline.json", arguments="--tasks=digit", json="report.json"
    )  # fmt: skip
    assert job.code == 0, job.log
    (check,) = json.loads((with_bundle.workspace / "report.json").read_text())["checks"]
    assert check["rom"]["growth_bytes"] < 0
    assert "::warning" not in job.log


def test_a_missing_baseline_is_told_and_no_failure(with_bundle) -> None:
    arguments = "--allow-growth=2 KiB\n--margin=1 %"
    job = with_bundle.run(**FITS, baseline="missing.json", arguments=arguments)
    assert job.code == 0, job.log
    assert "margin: every limit less 1 %" in job.log
    assert "::warning title=keras-tree::The baseline file is not there" in job.log


def test_the_summary_can_be_left_out(with_bundle) -> None:
    job = with_bundle.run(**FITS, summary="false")
    assert job.code == 0, job.log
    assert not with_bundle.summary.exists()


@pytest.fixture
def own_checkout(tmp_path) -> Path:
    """A copy without what git ignores: building leaves a folder behind."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (tmp_path / "action" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / "action" / name)
    return tmp_path / "action"


@pytest.mark.slow
def test_the_installation_holds_no_tensorflow_and_checks(with_bundle, own_checkout) -> None:
    github = {**GITHUB, "github.action_path": str(own_checkout)}
    job = with_bundle.run(github, **FITS, install="", json="report.json")
    assert job.code == 0, job.log
    assert job.ran[:2] == ["Set up Python", "Install keras-tree without TensorFlow"]
    folder = with_bundle.temp / "keras-tree"
    assert job.known["steps.install.outputs.program"] == str(folder / "bin" / "keras-tree")
    found = subprocess.run(
        [folder / "bin" / "python", "-m", "pip", "list", "--format", "json"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    names = {one["name"] for one in json.loads(found.stdout)}
    assert {"keras-tree", "numpy"} <= names <= {"keras-tree", "numpy", "tomli", "pip", "setuptools"}
    assert json.loads((with_bundle.workspace / "report.json").read_text())["fits"] is True


def test_the_expressions_are_read_as_github_reads_them() -> None:
    known = {"inputs.a": "x", "inputs.b": "", "steps.check.outputs.exit-code": "1"}
    table: dict[str, str | bool] = {
        "inputs.a": "x",
        "inputs.b || inputs.a": "x",
        "inputs.b || 'other'": "other",
        "steps.check.outputs.exit-code == '1' && inputs.b == ''": True,
        "inputs.a != 'x' || inputs.missing != ''": False,
    }
    check: Callable[[str], str | bool] = lambda text: value_of(text, known)  # noqa: E731
    assert {text: check(text) for text in table} == table
