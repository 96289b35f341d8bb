"""The machine's report: a superset of the screen, valid JSON, with a version."""

import json
import math
import re
from dataclasses import replace

import pytest

from deploy.report import as_json, terminal


@pytest.mark.parametrize("report", ["one_fit", "one_over"])
def test_golden(request, assert_golden, report: str) -> None:
    assert_golden(as_json.render(request.getfixturevalue(report)), f"json_{report}.json")


def numbers_and_words(value: object) -> set[str]:
    """Every leaf of a JSON value as the screen could print it."""
    if isinstance(value, dict):
        return set().union(*(numbers_and_words(v) for v in value.values()), map(str, value))
    if isinstance(value, list):
        return set().union(*map(numbers_and_words, value), set())
    return {str(value)}


def test_every_size_on_the_screen_is_in_it(one_over) -> None:
    leaves = numbers_and_words(json.loads(as_json.render(one_over)))
    screen = terminal.render(one_over, width=120, why=True)
    shown = {size.replace(",", "") for size in re.findall(r"\b\d{1,3}(?:,\d{3})+\b", screen)}
    assert len(shown) > 20
    totals = {"7597"}  # what the strip took off all nodes, a sum of `stripped_bytes`
    assert shown - totals <= leaves


def test_parts_sum_to_what_is_used(twelve) -> None:
    for check in json.loads(as_json.render(twelve))["checks"]:
        for memory in ("rom", "ram"):
            usage = check[memory]
            assert sum(part["bytes"] for part in usage["parts"]) == usage["used_bytes"]
            assert usage["fits"] == (usage["over_bytes"] == 0)


def test_saving_is_all_paths_less_the_stored_nodes(one_fit) -> None:
    check = json.loads(as_json.render(one_fit))["checks"][0]
    paths = sum(task["single_model_bytes"] for task in check["tasks"])
    nodes = sum(node["rom_bytes"] for node in check["nodes"])
    assert check["saved_bytes"] == paths - nodes > 0


def test_schema_version_and_verdict(one_fit, one_over) -> None:
    fits, over = (json.loads(as_json.render(report)) for report in (one_fit, one_over))
    assert fits["schema_version"] == over["schema_version"] == 1
    assert (fits["fits"], fits["checks_over_budget"]) == (True, 0)
    assert (over["fits"], over["checks_over_budget"]) == (False, 1)


def test_infinite_and_missing_figures_become_null(one_fit) -> None:
    (bundle,) = one_fit.bundles
    tasks = dict(bundle.tasks)
    score = replace(tasks["digit"].score, sqnr_db=math.inf, float_value=math.nan)
    tasks["digit"] = replace(tasks["digit"], score=score)
    tasks["texture"] = replace(tasks["texture"], score=None)
    verdict = replace(one_fit.verdicts[0], bundle=replace(bundle, tasks=tasks))
    report = replace(one_fit, verdicts=(verdict,))
    told = {
        task["name"]: task["score"]
        for task in json.loads(as_json.render(report))["bundles"][0]["tasks"]
    }
    assert told["digit"]["sqnr_db"] is None
    assert told["digit"]["float"] is None
    assert told["texture"] is None
