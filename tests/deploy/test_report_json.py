"""The machine's report: a superset of the screen, and JSON that its published schema describes."""

import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.resources import files

import pytest
from jsonschema import Draft202012Validator, ValidationError

from deploy.board import load_board
from deploy.budget import check
from deploy.report import as_json, terminal
from deploy.units import format_microseconds
from deploy.verdict import Check

REPORTS = [
    "one_fit", "one_over", "twelve", "grown", "timed", "with_margin", "linted", "two_bundles",
    "with_image", "full", "mixed",
]  # fmt: skip
SCHEMA = json.loads(as_json.schema_text())
VALIDATOR = Draft202012Validator(SCHEMA)
# Keys that are there only where they say something: see their descriptions.
_OPTIONAL = {"precision"}


@pytest.mark.parametrize("report", ["one_fit", "one_over", "full"])
def test_golden(request, assert_golden, report: str) -> None:
    assert_golden(as_json.render(request.getfixturevalue(report)), f"json_{report}.json")


def leaves(value: object) -> Iterator[object]:
    """Every value and key of a JSON value."""
    if isinstance(value, dict):
        yield from value
        for one in value.values():
            yield from leaves(one)
    elif isinstance(value, list):
        for one in value:
            yield from leaves(one)
    else:
        yield value


def told_of(report) -> list[object]:
    return list(leaves(json.loads(as_json.render(report))))


@pytest.mark.parametrize("report", REPORTS)
def test_every_size_on_the_screen_is_in_it(request, report: str) -> None:
    given = request.getfixturevalue(report)
    told = {str(abs(leaf)) for leaf in told_of(given) if isinstance(leaf, int)}
    screen = terminal.render(given, width=120, why=True)
    trees = re.findall(r"-- .+?  +([\d,]+)(?:  |$)", screen, re.MULTILINE)
    shown = {*re.findall(r"\b\d{1,3}(?:,\d{3})+\b", screen), *trees}
    assert len(shown) > 20
    # Words of the lint are in the JSON as they are, with their figures.
    texts = " ".join(leaf for leaf in told_of(given) if isinstance(leaf, str))
    assert {
        size for size in shown if size.replace(",", "") not in told and size not in texts
    } == set()


@pytest.mark.parametrize("report", ["grown", "timed", "with_image", "full"])
def test_every_time_on_the_screen_is_in_it(request, report: str) -> None:
    given = request.getfixturevalue(report)
    screen = terminal.render(given, width=120, why=True)
    figures = [leaf for leaf in told_of(given) if isinstance(leaf, float)]
    told = {format_microseconds(figure) for figure in figures}
    texts = " ".join(leaf for leaf in told_of(given) if isinstance(leaf, str))
    shown = set(re.findall(r"(?<![\d/.])\d[\d.]* (?:us|ms|s)\b", screen))
    assert len(shown) > 4
    assert {time for time in shown if time not in told and time not in texts} == set()


@pytest.mark.parametrize("report", REPORTS)
def test_every_sentence_on_the_screen_is_in_it(request, report: str) -> None:
    given = request.getfixturevalue(report)
    told = set(told_of(given))
    for verdict in given.verdicts:
        said = [*verdict.messages, *verdict.notes, *(step.text for step in verdict.next_steps)]
        assert set(said) <= told
    for findings in given.findings.values():
        assert {text for one in findings for text in (one.text, one.advice)} <= told


@pytest.mark.parametrize("report", REPORTS)
def test_the_schema_holds(request, report: str) -> None:
    VALIDATOR.validate(json.loads(as_json.render(request.getfixturevalue(report))))


def test_the_schema_holds_for_a_bundle_of_real_nodes(device_bundle) -> None:
    checks = [Check(name, load_board(name)) for name in ("nano33ble", "pico", "esp32-s3")]
    document = json.loads(as_json.render(check(device_bundle, checks)))
    VALIDATOR.validate(document)
    (bundle,) = document["bundles"]
    for node in bundle["nodes"]:
        assert sum(node["flatbuffer_bytes"].values()) == node["bytes"]
        assert node["flatbuffer_bytes"]["weights"] > 0


def test_the_schema_is_valid_and_in_the_package() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert SCHEMA["$id"] == "keras-tree-report-1.schema.json"
    assert SCHEMA["properties"]["schema_version"]["const"] == as_json.SCHEMA_VERSION
    assert json.loads(files("deploy.report").joinpath("schema.json").read_text("utf-8")) == SCHEMA


def resolved(schema: dict) -> dict:
    """A schema with its reference followed, and null left out of its alternatives."""
    for one in schema.get("anyOf", ()):
        if one != {"type": "null"}:
            return resolved(one)
    name = schema.get("$ref")
    return SCHEMA["$defs"][name.rpartition("/")[2]] if name else schema


def assert_described(value: object, schema: dict, where: str) -> None:
    """Every key stands in the schema, with a description, and every number with a unit."""
    described = resolved(schema)
    assert schema.get("description") or described.get("description"), where
    if isinstance(value, dict) and isinstance(described.get("additionalProperties"), dict):
        for one in value.values():
            assert_described(one, described["additionalProperties"], f"{where}.*")
    elif isinstance(value, dict):
        assert set(value) - _OPTIONAL == set(described["properties"]) - _OPTIONAL, where
        assert set(value) - _OPTIONAL == set(described["required"]), where
        for key, one in value.items():
            assert_described(one, described["properties"][key], f"{where}.{key}")
    elif isinstance(value, list) and "unit" not in described:
        for one in value:
            assert_described(one, described["items"], f"{where}[]")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        assert described["unit"], where


@pytest.mark.parametrize("report", REPORTS)
def test_every_key_is_described_and_no_other(request, report: str) -> None:
    document = json.loads(as_json.render(request.getfixturevalue(report)))
    assert_described(document, SCHEMA, "report")


def test_precisions_are_told_where_a_node_is_not_int8(mixed, one_fit) -> None:
    told = as_json.as_dict(mixed)["bundles"][0]["nodes"]
    assert [node["precision"] for node in told] == ["int8", "lut4", "int4", "16x8"]
    assert all("precision" not in node for node in as_json.as_dict(one_fit)["bundles"][0]["nodes"])


def test_a_new_key_is_no_error(one_fit) -> None:
    document = as_json.as_dict(one_fit)
    document["checks"][0]["rom"]["a_key_to_come"] = 1
    VALIDATOR.validate(document)


def without(key: str) -> Callable[[dict], None]:
    return lambda document: document.pop(key)


def with_check(key: str, value: object) -> Callable[[dict], None]:
    return lambda document: document["checks"][0].__setitem__(key, value)


def with_rom(key: str, value: object) -> Callable[[dict], None]:
    return lambda document: document["checks"][0]["rom"].__setitem__(key, value)


@pytest.mark.parametrize(
    "spoil",
    [
        without("fits"),
        without("findings"),
        lambda document: document.update(schema_version=2),
        lambda document: document.update(checks=[]),
        lambda document: document.update(checks_over_budget="none"),
        lambda document: document["bundles"][0]["nodes"][0].update(sha256="abc"),
        lambda document: document["bundles"][0]["nodes"][0]["flatbuffer_bytes"].update(weights=-1),
        lambda document: document["checks"][0]["tasks"][0].pop("latency_us"),
        with_check("verdict", "PASS"),
        with_check("kernels", "fast"),
        with_check("time", {}),
        with_check("arena", {"allocate": "some", "all_paths_bytes": 1, "one_path_bytes": 1}),
        with_rom("used_bytes", -1),
        with_rom("used_bytes", "64.0 KiB"),
        with_rom("used_bytes", 1.5),
        with_rom("limit_bytes", 0),
        with_rom("error_percent", [1]),
        with_rom("growth_bytes", "new"),
        with_rom("parts", [{"name": "trunk", "group": "model", "bytes": 1}]),
    ],
)
def test_a_wrong_document_is_refused(one_fit, spoil: Callable[[dict], None]) -> None:
    document = json.loads(as_json.render(one_fit))
    VALIDATOR.validate(document)
    spoil(document)
    with pytest.raises(ValidationError):
        VALIDATOR.validate(document)


def test_parts_sum_to_what_is_used(twelve) -> None:
    for one in json.loads(as_json.render(twelve))["checks"]:
        for memory in ("rom", "ram"):
            usage = one[memory]
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


def test_growth_and_changes(grown) -> None:
    checks = {one["name"]: one for one in json.loads(as_json.render(grown))["checks"]}
    told = {
        name: (one["verdict"], one["rom"]["growth_bytes"], one["ram"]["growth_bytes"])
        for name, one in checks.items()
    }
    assert told == {
        "nano33ble": ("GREW", 3_200, 1_100),
        "bluepill": ("close", -1_234, -16),
        "nucleo-f411re": ("fits", 0, 0),
        "pico": ("fits", None, None),
    }
    assert checks["nano33ble"]["changes"] == [
        {"kind": "node", "name": "digit", "growth_bytes": 1_200}
    ]
    assert checks["nano33ble"]["rom"]["allowed_growth_bytes"] == 2_048
    assert checks["nano33ble"]["time"]["growth_us"] == pytest.approx(950)
    assert [one["has_baseline"] for one in checks.values()].count(False) == 1


def test_the_splits_of_a_time_sum_to_it(timed) -> None:
    for one in json.loads(as_json.render(timed))["checks"]:
        if one["time"] is not None:
            for split in ("by_node", "by_operator"):
                assert sum(one["time"][split].values()) == pytest.approx(one["time"]["used_us"])
            assert one["time"]["used_us"] == max(task["latency_us"] for task in one["tasks"])


def test_an_infinite_time_becomes_null(timed) -> None:
    first = timed.verdicts[0]
    latency = replace(first.time.latency, second_microseconds=math.inf)
    verdict = replace(first, time=replace(first.time, latency=latency))
    text = as_json.render(replace(timed, verdicts=(verdict,)))
    assert json.loads(text)["checks"][0]["time"]["second_us"] is None
    assert "Infinity" not in text


@pytest.mark.parametrize("name", ["\ud800", "two\nlines", "\x1b[2J", "\u2028"])
def test_any_name_can_be_written_and_read_again(report_of, verdict_of, name: str) -> None:
    text = as_json.render(report_of(verdict_of("nano33ble", called=name)))
    assert json.loads(text.encode())["checks"][0]["name"] == name
