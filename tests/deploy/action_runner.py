"""A stand-in for GitHub's runner: the shell steps of an action or a workflow, one after another."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
GITHUB = {
    "github.token": "a token",
    "github.repository": "owner/firmware",
    "github.action_path": str(ROOT),
    "github.event.pull_request.number": "7",
}
# Records its arguments and the body; prints what stands in `listed`; refuses to write if told so.
_GH = """\
#!{python}
import json, os, pathlib, sys
folder = pathlib.Path(os.environ["FAKE_GH"])
arguments = sys.argv[1:]
call = {{"arguments": arguments, "token": os.environ["GH_TOKEN"]}}
for argument in arguments:
    if argument.startswith("body=@"):
        call["body"] = pathlib.Path(argument[6:]).read_text(encoding="utf-8")
with open(folder / "calls", "a", encoding="utf-8") as calls:
    calls.write(json.dumps(call) + "\\n")
if {{"POST", "PATCH", "download"}} & set(arguments):
    if (folder / "refuses").exists():
        sys.exit("gh: Resource not accessible by integration (HTTP 403)")
else:
    print((folder / "listed").read_text(encoding="utf-8"), end="")
"""


def value_of(expression: str, known: Mapping[str, str]) -> str | bool:
    """Evaluate the part of GitHub's expressions that the action and the examples use."""
    python = []
    for literal, sign, name in re.findall(
        r"('[^']*')|(==|!=|&&|\|\|)|([a-z][\w-]*(?:\.[\w-]+)+)", expression
    ):
        signs = {"&&": "and", "||": "or"}
        python.append(literal or signs.get(sign, sign) or f"known.get({name!r}, '')")
    return eval(" ".join(python), {"known": known})


def filled(text: str, known: Mapping[str, str]) -> str:
    """A text with the values of its expressions."""
    return re.sub(r"\$\{\{ (.+?) \}\}", lambda match: str(value_of(match[1], known)), text)


def outputs_in(text: str) -> dict[str, str]:
    """What a step wrote to $GITHUB_OUTPUT, in both of its forms."""
    found, lines = {}, iter(text.splitlines())
    for line in lines:
        if "<<" not in line:
            key, _, found[key] = line.partition("=")
            continue
        name, end = re.fullmatch(r"([\w-]+)<<(.+)", line).groups()
        value = []
        for inner in lines:
            if inner == end:
                break
            value.append(inner)
        found[name] = "\n".join(value)
    return found


@dataclass
class Job:
    """One run of the action, or of a workflow's steps."""

    code: int = 0
    log: str = ""
    ran: list[str] = field(default_factory=list)
    known: dict[str, str] = field(default_factory=dict)

    def outputs(self) -> dict[str, str]:
        """The action's outputs."""
        return {key: filled(one["value"], self.known) for key, one in ACTION["outputs"].items()}


class Runner:
    """A folder like a checkout, the programs on PATH, and what a runner sets."""

    def __init__(self, folder: Path) -> None:
        self.workspace, self.fake_gh = folder / "my workspace", folder / "gh"
        self.temp, self.programs = folder / "runner temp", folder / "bin"
        self.summary = folder / "summary.md"
        for one in (self.workspace, self.fake_gh, self.temp, self.programs):
            one.mkdir()
        self.listed("")
        self.program("gh", _GH.format(python=sys.executable))
        check = f'PYTHONPATH="{ROOT}" exec "{sys.executable}" -m deploy.cli "$@"'
        self.program("keras-tree", f"#!/bin/sh\n{check}\n")

    def program(self, name: str, text: str) -> None:
        """Put a program on PATH."""
        (self.programs / name).write_text(text, encoding="utf-8")
        (self.programs / name).chmod(0o755)

    def listed(self, text: str) -> None:
        """What `gh` prints."""
        (self.fake_gh / "listed").write_text(text, encoding="utf-8")

    def refuse(self) -> None:
        """Let `gh` fail to write."""
        (self.fake_gh / "refuses").touch()

    def calls(self) -> list[dict]:
        """What `gh` was called with."""
        path = self.fake_gh / "calls"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def run(self, github: Mapping[str, str] = GITHUB, **inputs: str) -> Job:
        """Run the action's steps until one fails, as a runner does."""
        given = {"install": "none", **{key.replace("_", "-"): one for key, one in inputs.items()}}
        assert set(given) <= set(ACTION["inputs"])
        job = Job(known=dict(github))
        for name, declared in ACTION["inputs"].items():
            default = filled(declared["default"], github)
            job.known[f"inputs.{name}"] = given.get(name, default)
        for step in ACTION["runs"]["steps"]:
            if job.code == 0 and value_of(step.get("if", "'yes'"), job.known):
                self.step(step, job)
        return job

    def step(self, step: Mapping, job: Job) -> None:
        """Run one step; an action that it uses is only noted."""
        job.ran.append(step.get("name", ""))
        if "uses" in step:
            return
        script, output = self.temp / "step.sh", self.temp / "output"
        script.write_text(step["run"], encoding="utf-8")
        output.write_text("")
        env = {key: filled(value, job.known) for key, value in step.get("env", {}).items()}
        done = self.shell(script, {"GITHUB_OUTPUT": str(output), **env})
        job.code = done.returncode
        job.log += done.stdout
        for key, value in outputs_in(output.read_text(encoding="utf-8")).items():
            job.known[f"steps.{step.get('id')}.outputs.{key}"] = value

    def shell(self, script: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess:
        """Run a script in the workspace as `shell: bash` does."""
        kept = ("HOME", "LANG", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CONFIG_FILE")
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],
            cwd=self.workspace,
            env={
                **{key: os.environ[key] for key in kept if key in os.environ},
                "PATH": f"{self.programs}:{os.environ['PATH']}",
                "RUNNER_TEMP": str(self.temp),
                "GITHUB_REPOSITORY": "owner/firmware",
                "GITHUB_STEP_SUMMARY": str(self.summary),
                "FAKE_GH": str(self.fake_gh),
                **env,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=500,
        )
