"""The baseline file: stable text, its round trip, a whole report instead, and hostile files."""

import json
import os
import random
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.comparison.baseline import BaselineCheck
from deploy.comparison.baseline_file import BaselineError, baseline_text, read_baseline
from deploy.footprint.latency import Latency
from deploy.report import as_json
from deploy.usage import Timing
from deploy.verdict import BudgetReport

DOCUMENT = {
    "schema_version": 1,
    "checks": [
        {
            "name": "nano33ble",
            "rom": {"used_bytes": 65_506},
            "ram": {"used_bytes": 11_772},
            "time": {"used_us": 1250.5},
            "nodes": [{"name": "trunk", "rom_bytes": 9_120}],
            "kernel_bytes_by_operator": {"CONV_2D": 14_400},
        }
    ],
}


@pytest.fixture
def report(report_of, verdict_of) -> BudgetReport:
    """Two checks, one of them with a time that decimal digits cannot write short."""
    timed = Timing("digit", Latency(85_200 / 7, (-10, 10), "a table", {"trunk": 1.0}, {}))
    return report_of(verdict_of("pico"), replace(verdict_of("nano33ble"), time=timed))


@pytest.fixture
def write(tmp_path):
    """Write a file of text, bytes or JSON values, and return its path."""

    def make(content: object) -> Path:
        path = tmp_path / "baseline.json"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            text = content if isinstance(content, str) else json.dumps(content)
            path.write_text(text, encoding="utf-8")
        return path

    return make


def test_the_text(report, assert_golden):
    assert_golden(baseline_text(report).rstrip("\n"), "baseline.json")
    assert baseline_text(report).endswith("}\n")
    assert not baseline_text(report).endswith("\n\n")


def test_the_round_trip_is_exact(report, write):
    read = read_baseline(write(baseline_text(report)))
    assert set(read.checks) == {"pico", "nano33ble"}
    for verdict in report.verdicts:
        found = verdict.footprint
        assert read.checks[verdict.check.name] == BaselineCheck(
            verdict.check.name,
            verdict.rom.used_bytes,
            verdict.ram.used_bytes,
            None if verdict.time is None else verdict.time.used_us,
            {node.name: node.rom_bytes for node in found.nodes.values()},
            found.runtime.by_operator,
        )
    assert read.origin.endswith("baseline.json")


def test_the_order_of_the_verdicts_does_not_change_the_text(report):
    turned = BudgetReport(tuple(reversed(report.verdicts)))
    assert turned.verdicts != report.verdicts
    assert baseline_text(turned) == baseline_text(report)
    names = [check["name"] for check in json.loads(baseline_text(report))["checks"]]
    assert names == sorted(names)


def test_a_change_of_one_node_is_a_change_of_one_line(report_of, verdict_of):
    before = verdict_of("pico")
    nodes = dict(before.footprint.nodes)
    nodes["digit"] = replace(nodes["digit"], rom_bytes=nodes["digit"].rom_bytes + 8)
    after = replace(before, footprint=replace(before.footprint, nodes=nodes))
    old = baseline_text(report_of(before)).splitlines()
    new = baseline_text(report_of(after)).splitlines()
    changed = [pair for pair in zip(old, new, strict=True) if pair[0] != pair[1]]
    assert len(changed) == 1
    assert '"digit"' in changed[0][0]


def test_a_whole_report_is_read_as_a_baseline(report, write):
    whole = read_baseline(write(as_json.render(report))).checks
    subset = read_baseline(write(baseline_text(report))).checks
    assert whole == subset
    assert {name: one.latency_us is None for name, one in whole.items()} == {
        "pico": True, "nano33ble": False,
    }  # fmt: skip


def test_two_checks_of_one_name_cannot_be_kept_apart(report_of, verdict_of):
    twice = report_of(verdict_of("pico", called="same"), verdict_of("nano33ble", called="same"))
    with pytest.raises(BaselineError, match="received 'same' 2 times"):
        baseline_text(twice)


def test_what_is_written_can_be_read(report_of, verdict_of):
    with pytest.raises(BaselineError, match=r"received 'a\\nb'"):
        baseline_text(report_of(verdict_of("pico", called="a\nb")))


def test_only_name_rom_and_ram_are_needed(write):
    check = {"name": "by hand", "rom": {"used_bytes": 0}, "ram": {"used_bytes": 7}}
    read = read_baseline(write({"schema_version": 1, "checks": [check]}))
    assert read.checks == {"by hand": BaselineCheck("by hand", 0, 7)}


def test_keys_that_are_not_known_do_not_matter(write):
    assert read_baseline(write({**DOCUMENT, "new_key": [1]})).checks["nano33ble"].ram_bytes


def test_a_byte_order_mark_does_not_matter(write):
    text = json.dumps(DOCUMENT).encode("utf-8")
    assert read_baseline(write(b"\xef\xbb\xbf" + text)) == read_baseline(write(text))


def test_a_pipe_is_read(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(json.dumps(DOCUMENT),))
    writer.start()
    read = read_baseline(pipe)
    writer.join()
    assert read.checks["nano33ble"].rom_bytes == 65_506


def changed(value: object, *keys: object) -> dict:
    """The document with another value at a place."""
    document = json.loads(json.dumps(DOCUMENT))
    place = document
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    return document


CHECK = DOCUMENT["checks"][0]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "must be JSON, received: Expecting value in line 1"),
        ("{", "must be JSON"),
        ("[1, 2]", "must be a JSON object, received a list"),
        ("null", "must be a JSON object, received null"),
        (b"\xff\xfe{\x00}\x00", "must be UTF-8 text, received other bytes at 0"),
        ("[" * 100_000, "lists too deep"),
        ('{"schema_version": 1, "a": ' + "9" * 10_000 + "}", "numbers too long|`checks` must be"),
        ('{"schema_version": 1, "checks": [NaN]}', "finite number, received NaN"),
        ('{"schema_version": 1, "checks": [-Infinity]}', "finite number, received -Infinity"),
        ("{\n<<<<<<< HEAD\n1\n=======\n2\n>>>>>>> b\n}", "an open merge conflict"),
        ({}, "`schema_version` must be 1, received nothing"),
        (changed(2, "schema_version"), "`schema_version` must be 1, received 2"),
        (changed(True, "schema_version"), "`schema_version` must be 1, received True"),
        (changed("1", "schema_version"), "`schema_version` must be 1, received '1'"),
        (changed({}, "checks"), "`checks` must be a list, received an object"),
        (changed([], "checks"), "`checks` must hold at least one check, received none"),
        (changed([7], "checks"), r"checks\[0\]: a JSON object is expected, received 7"),
        (changed([CHECK, CHECK], "checks"), "received 'nano33ble' twice"),
        (changed(None, "checks", 0, "name"), r"checks\[0\]: `name` must be a printable text"),
        (changed("", "checks", 0, "name"), "`name` must be a printable text"),
        (changed("\x1b[2J", "checks", 0, "name"), "`name` must be a printable text"),
        (changed("\ud800", "checks", 0, "name"), "`name` must be a printable text"),
        (changed("x" * 300, "checks", 0, "name"), "`name` must be a .* received a text"),
        (changed(5, "checks", 0, "rom"), "`rom` must be an object, received 5"),
        (changed({}, "checks", 0, "ram"), "`used_bytes` must be a whole number, .* nothing"),
        (changed(-1, "checks", 0, "rom", "used_bytes"), "at least 0, received -1"),
        (changed(1.5, "checks", 0, "rom", "used_bytes"), "a whole number, .* received 1.5"),
        (changed(True, "checks", 0, "rom", "used_bytes"), "a whole number, .* received True"),
        (changed("9", "checks", 0, "rom", "used_bytes"), "a whole number, .* received '9'"),
        (changed(10**30, "checks", 0, "rom", "used_bytes"), "a whole number"),
        (changed(3, "checks", 0, "time"), "time: a JSON object is expected, received 3"),
        (changed({}, "checks", 0, "time"), "`used_us` must be a time in microseconds"),
        (changed(-0.5, "checks", 0, "time", "used_us"), "at least 0, received -0.5"),
        (
            json.dumps(DOCUMENT).replace("1250.5", "1e999"),
            "`used_us` must be a time in microseconds, at least 0, received inf",
        ),
        (changed({}, "checks", 0, "nodes"), "`nodes` must be a list, received an object"),
        (changed([None], "checks", 0, "nodes"), r"nodes\[0\]: a JSON object is expected"),
        (changed([{"name": "a"}], "checks", 0, "nodes"), "`rom_bytes` must be a whole number"),
        (changed([], "checks", 0, "kernel_bytes_by_operator"), "must be an object"),
        (changed({"A": None}, "checks", 0, "kernel_bytes_by_operator"), "`A` must be a whole"),
        (changed({"A\n": 1}, "checks", 0, "kernel_bytes_by_operator"), "printable texts"),
    ],
)
def test_a_hostile_file_gives_one_error(write, content, said):
    path = write(content)
    with pytest.raises(BaselineError, match=said) as caught:
        read_baseline(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert message.endswith(".")
    assert "\n" not in message
    assert len(message) < len(str(path)) + 300


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(BaselineError, match="received: No such file or directory"):
        read_baseline(tmp_path / "gone.json")
    with pytest.raises(BaselineError, match="received: Is a directory"):
        read_baseline(tmp_path)


def test_a_huge_file_is_not_read_whole(tmp_path):
    path = tmp_path / "huge.json"
    with path.open("wb") as file:
        file.truncate(2**40)  # a hole, no terabyte on disk
    with pytest.raises(BaselineError, match="at most 16 MiB, received more"):
        read_baseline(path)


def test_2000_spoilt_files_give_a_baseline_or_an_error(write, report):
    """Bytes cut, turned, doubled and exchanged: never another exception."""
    source, generator = baseline_text(report).encode("utf-8"), random.Random(33)
    values = [b"NaN", b"-1", b"1e999", b"null", b"[]", b"{}", b'"', b"\x00", b"\xff", b"true"]
    outcomes = []
    for _ in range(2_000):
        data = bytearray(source)
        for _ in range(generator.randint(1, 3)):
            start = generator.randrange(len(data))
            end = start + generator.choice([0, 1, 8, 200])
            data[start:end] = generator.choice([*values, data[start : start + 100] * 2])
        try:
            read_baseline(write(bytes(data)))
            outcomes.append("read")
        except BaselineError:
            outcomes.append("refused")
    assert outcomes.count("refused") > 1_000
    assert outcomes.count("read") > 10
