"""The GitHub Action's comment: one per pull request, its own alone, and what a fork may not."""

import pytest
from action_runner import ACTION, Runner

from deploy.report.as_markdown import MARKER

FITS = {"bundle": "build/bundle", "board": "nano33ble"}
OVER = {**FITS, "rom": "8 KiB"}


def listed(runner: Runner, *comments: tuple[int, str, str]) -> None:
    """The comments that the pull request has, as `gh` prints them with the action's filter."""
    lines = ["\t".join(map(str, comment)) + "\n" for comment in comments]
    runner.listed("".join(lines))


@pytest.mark.parametrize("inputs", [FITS, OVER])
def test_the_first_comment_is_made(with_bundle, inputs) -> None:
    listed(with_bundle, (1, "a-person", "hello"), (2, "github-actions[bot]", "another report"))
    job = with_bundle.run(**inputs, comment="true")
    assert job.code == (0 if inputs is FITS else 1), job.log
    look, write = with_bundle.calls()
    assert look["arguments"][2] == "repos/owner/firmware/issues/7/comments?per_page=100"
    assert write["arguments"][:5] == [
        "api", "--silent", "--method", "POST", "repos/owner/firmware/issues/7/comments",
    ]  # fmt: skip
    assert write["token"] == "a token"
    assert write["body"].startswith(MARKER)
    assert write["body"].count(MARKER) == 1
    assert "nano33ble" in write["body"]


def test_its_own_comment_is_updated(with_bundle) -> None:
    listed(
        with_bundle,
        (1, "a-person", f"{MARKER} not ours"),
        (2, "-", ""),
        (3, "github-actions[bot]", f"{MARKER}\\r"),
        (4, "github-actions[bot]", MARKER),
    )
    job = with_bundle.run(**FITS, comment="true", markdown="report.md")
    assert job.code == 0, job.log
    _, write = with_bundle.calls()
    assert write["arguments"][2:5] == [
        "--method", "PATCH", "repos/owner/firmware/issues/comments/3",
    ]  # fmt: skip
    report = (with_bundle.workspace / "report.md").read_text()
    assert write["body"].removeprefix(MARKER).strip() == report.removeprefix(MARKER).strip()


def test_the_token_of_a_fork_may_not_write(with_bundle) -> None:
    with_bundle.refuse()
    job = with_bundle.run(**FITS, comment="true")
    assert job.code == 0, job.log
    assert "HTTP 403" in job.log
    assert "::notice title=keras-tree::The comment could not be written." in job.log
    assert "workflow_run" in job.log
    over = with_bundle.run(**OVER, comment="true")
    assert over.code == 1  # the gate still holds


@pytest.mark.parametrize("number", ["", "7; touch pwned", "../7"])
def test_without_a_pull_request_nothing_is_written(with_bundle, number: str) -> None:
    job = with_bundle.run(**FITS, comment="true", pull_request=number)
    assert job.code == 0, job.log
    assert "no pull request" in job.log
    assert with_bundle.calls() == []


def test_a_long_comment_is_cut_below_what_github_takes(runner) -> None:
    (runner.workspace / "long.md").write_text("ü" * 90_000, encoding="utf-8")
    job = runner.run(comment_file="long.md")
    assert job.code == 0, job.log
    body = runner.calls()[-1]["body"]
    assert 30_000 < len(body) < 65_536
    assert body.rstrip().endswith("The report goes on in the summary of the job.")


def test_a_comment_alone_from_a_file(runner) -> None:
    (runner.workspace / "report.md").write_text("# $(touch pwned) `id`\n")
    job = runner.run(comment_file="report.md", pull_request="12", comment_author="our-bot[bot]")
    assert job.code == 0, job.log
    assert job.ran == ["Comment on the pull request"]
    _, write = runner.calls()
    assert write["arguments"][4] == "repos/owner/firmware/issues/12/comments"
    assert write["body"] == f"{MARKER}\n# $(touch pwned) `id`\n"
    assert job.outputs() == dict.fromkeys(ACTION["outputs"], "")
