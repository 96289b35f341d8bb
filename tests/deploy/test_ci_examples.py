"""The guide and the examples for a CI: every file can be read, every command in them runs."""

import json
import re
import shlex
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree

import pytest
import yaml
from action_runner import ACTION, ROOT, Job, Runner, filled

FOLDER = ROOT / "examples" / "ci"
GUIDE = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
FILES = {path.name: path.read_text(encoding="utf-8") for path in sorted(FOLDER.iterdir())}
FENCED_YAML = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)
FENCED_SHELL = re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)
HOOKS = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))


@pytest.fixture
def project(with_bundle) -> Runner:
    """A workspace with a bundle and the example's budget file."""
    shutil.copy(FOLDER / "keras-tree.toml", with_bundle.workspace)
    return with_bundle


def run(runner: Runner, script: str, **env: str) -> subprocess.CompletedProcess:
    path = runner.temp / "example.sh"
    path.write_text(script, encoding="utf-8")
    return runner.shell(path, env)


def uses_of_the_action(workflow: dict) -> list[dict]:
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    return [step for step in steps if step.get("uses", "").startswith("OWNER/keras-tree@")]


def step_named(workflow: dict, name: str) -> dict:
    (found,) = [
        step
        for job in workflow["jobs"].values()
        for step in job["steps"]
        if step.get("name") == name
    ]
    return found


def workflow(name: str) -> dict:
    return yaml.safe_load(FILES[name])


@pytest.mark.parametrize("name", ["github.yml", "github-comment.yml"])
def test_a_workflow_gives_the_action_what_it_takes(name: str) -> None:
    content = workflow(name)
    (step,) = uses_of_the_action(content)
    assert set(step["with"]) <= set(ACTION["inputs"])
    read = set(re.findall(r"steps\.budget\.outputs\.([\w-]+)", FILES[name]))
    assert read <= set(ACTION["outputs"])
    assert content["permissions"]["pull-requests"] == "write"
    for job in content["jobs"].values():
        for one in job["steps"]:
            assert "${{" not in one.get("run", "")


def test_the_guide_tells_every_input_and_output() -> None:
    assert len(FENCED_YAML) == 2
    (step,) = uses_of_the_action(yaml.safe_load(FENCED_YAML[0]))
    assert set(step["with"]) <= set(ACTION["inputs"])
    (table,) = re.findall(r"\| input \|.*?\n\n", GUIDE, re.DOTALL)
    first_cells = [line.split("|")[1] for line in table.splitlines()[2:] if line]
    told = set(re.findall(r"`([\w-]+)`", " ".join(first_cells)))
    assert told == set(ACTION["inputs"])
    (outputs,) = re.findall(r"The outputs are (.*?)\. The action", GUIDE, re.DOTALL)
    assert set(ACTION["outputs"]) <= set(re.findall(r"`([\w-]+)`", outputs))


def test_the_files_that_the_guide_links_are_there() -> None:
    linked = re.findall(r"\]\(([^)#:]+)\)", GUIDE)
    assert len(linked) > 4
    for path in linked:
        assert (ROOT / "docs" / path).exists(), path


def test_the_github_example_runs(project) -> None:
    (step,) = uses_of_the_action(workflow("github.yml"))
    inputs = {key.replace("-", "_"): value for key, value in step["with"].items()}
    push = {**inputs, "baseline": filled(inputs["baseline"], {"github.event_name": "push"})}
    assert push["baseline"] == ""
    first = project.run(**push)
    assert first.code == 0, first.log
    kept = project.workspace / "report"
    names = {"keras-tree.json", "keras-tree.md", "keras-tree.html", "keras-tree.xml"}
    assert {path.name for path in kept.iterdir()} == {*names, "keras-tree.sarif"}

    kept.rename(project.workspace / "baseline")  # as the artifact of main is fetched
    pull = {"github.event_name": "pull_request"}
    job = project.run(**{**inputs, "baseline": filled(inputs["baseline"], pull)})
    assert job.code == 0, job.log
    assert "::warning" not in job.log
    checks = json.loads((kept / "keras-tree.json").read_text())["checks"]
    assert [check["rom"]["growth_bytes"] for check in checks] == [0, 0]
    assert project.calls()[-1]["body"].startswith("<!-- keras-tree -->")


def test_the_baseline_of_main_is_fetched(project) -> None:
    script = step_named(workflow("github.yml"), "Fetch the baseline of main")["run"]
    none = run(project, script, GH_TOKEN="a token")
    assert (none.returncode, none.stdout) == (0, "main has no report yet.\n")
    project.listed("4711\n")
    found = run(project, script, GH_TOKEN="a token")
    assert (found.returncode, found.stdout) == (0, "")
    arguments = project.calls()[-1]["arguments"]
    assert arguments[:3] == ["run", "download", "4711"]
    kept = step_named(workflow("github.yml"), "Keep the reports")["with"]["name"]
    assert arguments[arguments.index("--name") + 1] == kept
    project.refuse()  # as where the artifact has expired
    expired = run(project, script, GH_TOKEN="a token")
    assert expired.returncode == 0
    assert expired.stdout.endswith("main has no report yet.\n")


@pytest.mark.parametrize(("listed", "number"), [("12\n", "12"), ("", ""), ("12\n13\n", "12")])
def test_the_comment_of_a_fork_finds_its_pull_request(project, listed: str, number: str) -> None:
    step = step_named(workflow("github-comment.yml"), "Find the pull request")
    project.listed(listed)
    head = "github.event.workflow_run.head"
    job = Job(
        known={
            f"{head}_repository.owner.login": "a-fork",
            f"{head}_branch": "$(touch pwned)",
            "github.token": "a token",
        }
    )
    project.step(step, job)
    assert job.code == 0, job.log
    assert job.known["steps.pull-request.outputs.number"] == number
    (call,) = project.calls()
    assert "head=a-fork:$(touch pwned)" in call["arguments"]
    assert "state=open" in call["arguments"]
    assert not (project.workspace / "pwned").exists()


def test_the_comment_of_a_fork_runs_nothing_of_it() -> None:
    content = workflow("github-comment.yml")
    (steps,) = [job["steps"] for job in content["jobs"].values()]
    assert not [step for step in steps if "checkout" in step.get("uses", "")]
    (step,) = uses_of_the_action(content)
    assert set(step["with"]) == {"comment-file", "pull-request"}
    assert content["permissions"] == {"actions": "read", "pull-requests": "write"}


def test_the_gitlab_example_runs(project) -> None:
    job = yaml.safe_load(FILES["gitlab-ci.yml"])["keras-tree"]
    (baseline,) = re.findall(r"^#   (keras-tree check .*)$", FILES["gitlab-ci.yml"], re.MULTILINE)
    for command in [baseline, *job["script"]]:
        assert command.startswith("keras-tree check ")
        done = run(project, command)
        assert done.returncode == 0, done.stdout
    made = {path.name for path in project.workspace.iterdir()}
    artifacts = job["artifacts"]
    assert {*artifacts["paths"], artifacts["reports"]["junit"], "keras-tree-baseline.json"} <= made
    suites = ElementTree.parse(project.workspace / artifacts["reports"]["junit"]).getroot()
    assert {suite.get("name") for suite in suites} == {"nano33ble", "nucleo-f446re"}


def test_every_command_of_the_guide_runs(project) -> None:
    assert len(FENCED_SHELL) == 2
    for script in FENCED_SHELL:
        for command in script.splitlines():
            assert command.startswith("keras-tree check ")
            done = run(project, command)
            assert done.returncode == 0, done.stdout
    made = {path.name for path in project.workspace.iterdir()}
    assert {"keras-tree.xml", "keras-tree.sarif", "keras-tree.html"} <= made


def test_the_hooks_are_those_that_pre_commit_takes() -> None:
    required = {"id", "name", "entry", "language"}
    known = {*required, "description", "files", "pass_filenames", "require_serial"}
    for hook in HOOKS:
        assert required <= set(hook) <= known
        assert hook["pass_filenames"] is False
    assert [hook["language"] for hook in HOOKS] == ["python", "system"]
    configurations = [
        yaml.safe_load(FILES["pre-commit-config.yaml"]),
        yaml.safe_load(FENCED_YAML[1]),
    ]
    for configuration in configurations:
        (repository,) = configuration["repos"]
        ids = {hook["id"] for hook in repository["hooks"]}
        assert ids <= {hook["id"] for hook in HOOKS}


@pytest.mark.parametrize(
    ("path", "is_of_concern"),
    [
        ("keras-tree.toml", True),
        ("firmware/keras-tree.toml", True),
        ("pyproject.toml", True),
        ("build/bundle/manifest.json", True),
        ("build/bundle/nodes/trunk.tflite", True),
        ("not-keras-tree.toml", False),
        ("keras-tree.toml.orig", False),
        ("src/main.c", False),
    ],
)
def test_the_hooks_run_for_models_and_budgets(path: str, is_of_concern: bool) -> None:
    for hook in HOOKS:
        assert bool(re.search(hook["files"], path)) == is_of_concern


@pytest.mark.parametrize("hook", HOOKS, ids=[hook["id"] for hook in HOOKS])
def test_a_hook_stops_what_does_not_fit(project, hook: dict) -> None:
    entry = shlex.join(shlex.split(hook["entry"]))
    assert run(project, entry).returncode == 0
    budget = project.workspace / "keras-tree.toml"
    budget.write_text(budget.read_text().replace("400 KiB", "200 KiB"))
    stopped = run(project, entry)
    assert stopped.returncode == 1
    assert "over" in stopped.stdout
