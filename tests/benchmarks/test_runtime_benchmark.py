"""The runtimes side by side: figures are those that were measured, the guide holds the tables."""

import dataclasses
import json
import re
from functools import cache
from pathlib import Path

import pytest

from benchmarks import runtime
from benchmarks.runtime_figures import (
    CORES,
    DEMO,
    FIGURES,
    FILES,
    Result,
    Runtime,
    compare,
    demo_bundle,
    public_model,
)
from deploy.emulation.measurement import MeasuredTask, Measurement

ROOT = Path(__file__).parents[2]
GUIDE = runtime.GUIDE.read_text(encoding="utf-8")
COUNTS = json.loads((ROOT / "benchmarks" / "measured_instructions.json").read_text())
TITLES = ("Targets", "ROM, bytes", "RAM, bytes", "Instructions of one inference")
MEASURED_AGAIN = [
    *((model, "cortex-m4") for model in (*FILES, DEMO)),
    ("micro_speech", "cortex-m0plus"),
    ("kws", "cortex-m7"),
    ("ad", "cortex-m33"),
    ("kws", "cortex-m55"),
    (DEMO, "cortex-m55"),
    ("ad", "rv32imc"),
]


def stated(title: str) -> list[list[str]]:
    """The rows of a table of the guide, the heading first."""
    lines = re.search(rf"^## {re.escape(title)}\n\n((?:\|.*\n)+)", GUIDE, re.M)[1].splitlines()
    rows = [line.removeprefix("| ").removesuffix(" |").split(" | ") for line in lines]
    return [rows[0], *rows[2:]]


@pytest.fixture(scope="module")
def bundles(shared):
    return cache(
        lambda model: demo_bundle() if model == DEMO else public_model(model, shared / "models")
    )


def assert_compiler_is_stated(measured: Measurement) -> None:
    if measured.compiler not in GUIDE:
        pytest.skip(f"the guide's figures are of another compiler than {measured.compiler}")


@pytest.mark.slow
@pytest.mark.parametrize(("model", "core"), MEASURED_AGAIN)
def test_the_guide_holds_what_is_measured(model, core, bundles):
    found = compare(model, bundles(model), core)
    assert_compiler_is_stated(found.ours)
    for title, table in runtime.tables([found]):
        if title != "Targets":
            head, row = table
            assert head == stated(title)[0]
            assert row == next(one for one in stated(title) if one[:2] == [model, core])


def test_the_guide_holds_every_model_on_every_core():
    for title in TITLES[1:]:
        found = [(row[0], row[1]) for row in stated(title)[1:]]
        assert found == [(model, core) for model in (*FILES, DEMO) for core in CORES]


def test_the_stated_targets_are_the_largest_ratios_of_the_stated_tables():
    targets = {row[0]: row for row in stated("Targets")[1:]}
    assert list(targets) == [name for name, _, _ in runtime.ratios([])]
    for name, title, column, models, cores in (
        ("ROM besides", "ROM, bytes", "to CMSIS-NN", None, None),
        ("static RAM", "RAM, bytes", "to head", None, None),
        ("instructions of kws", TITLES[3], "to reference", ("kws", "resnet"), ("cortex-m4",)),
        ("instructions on any", TITLES[3], "to reference", None, None),
    ):
        head, *rows = stated(title)
        found = [
            float(row[head.index(column)].removesuffix("x"))
            for row in rows
            if row[head.index(column)]
            and (models is None or row[0] in models)
            and (cores is None or row[1] in cores)
        ]
        target = next(row for key, row in targets.items() if key.startswith(name))
        assert max(found) == pytest.approx(float(target[2].removesuffix("x")), abs=0.0051)
        assert (target[4] == "reached") == (max(found) <= float(target[1].removesuffix("x")))


def test_where_more_instructions_are_stated_than_cmsis_nn_needs():
    found = {(row[0], row[1]): row[-1].removesuffix("x") for row in stated(TITLES[3])[1:]}
    more = {at: float(ratio) for at, ratio in found.items() if ratio and float(ratio) > 1}
    assert set(more) == {("kws", "cortex-m55"), ("resnet", "cortex-m55")}
    assert f"up to {100 * (max(more.values()) - 1):.0f} % more" in GUIDE


def test_every_target_is_reached():
    assert [row[4] for row in stated("Targets")[1:]] == ["reached"] * 5


def test_counted_instructions_are_those_of_the_latency_models():
    names = {"cortex-m0plus": "m0plus", "cortex-m33": "m33"} | {
        f"cortex-{core}": core for core in ("m4", "m7", "m55")
    }
    builds = {
        "reference -Os": "ref", "reference -O2": "ref-O2",
        "cmsis-nn -Os": "cmsis", "cmsis-nn -O2": "cmsis-O2",
    }  # fmt: skip
    compared = 0
    for core, found in FIGURES["instructions"].items():
        for build, models in found.items():
            counted = COUNTS["whole"].get(f"{names[core]}-{builds[build]}", {})
            for model, count in models.items():
                if counted:
                    assert counted[{"resnet": "ic"}.get(model, model)] == count
                    compared += 1
    assert compared == 33


@pytest.mark.parametrize(
    ("model", "core", "arena", "linked"),
    [
        ("kws", "cortex-m4", 22_820, 46_824), ("kws", "cortex-m55", 27_348, 41_916),
        ("resnet", "cortex-m4", 54_996, 43_988), ("resnet", "cortex-m7", 54_996, 41_608),
        ("ad", "cortex-m33", 2_580, 23_160), ("ad", "cortex-m0plus", 2_580, 31_180),
    ],
)  # fmt: skip
def test_the_other_runtimes_memory_is_as_measured(
    model, core, arena, linked, bundles, monkeypatch, result
):
    """Arenas on emulated cores, and linked images with int8-only registrations."""
    monkeypatch.setattr("benchmarks.runtime_figures.measure", lambda *_: result.ours)
    found = compare(model, bundles(model), core).theirs
    assert found.arena == arena
    code = found.code + FIGURES["empty_program"][core]
    assert code == pytest.approx(linked, rel=0.004)


@pytest.fixture
def result() -> Result:
    """A made result that meets every limit exactly or by far."""
    task = task_of(100)
    ours = Measurement(
        "made", {}, "cortex-m4", "dsp", "gcc", "-O2", "unicorn", {"task": task},
        {".text": 160}, (), 0, 50, 0,
    )  # fmt: skip
    theirs = Runtime(180, 150, 20, 50, 80, 30)
    return Result("kws", ours, 100, theirs, {"reference -O2": 300, "reference -Os": 900}, {})


def task_of(instructions: int) -> MeasuredTask:
    return MeasuredTask(("node",), 1, instructions, instructions, instructions, 8, ())


def changed(result: Result, **fields) -> Result:
    return dataclasses.replace(result, ours=dataclasses.replace(result.ours, **fields))


def test_what_is_within_every_limit_is_reached(result):
    assert result.overhead == 60  # of 200, which is the limit
    assert runtime.is_reached([result])
    verdicts = [row[2:] for row in dict(runtime.tables([result]))["Targets"][1:]]
    assert verdicts == [
        ["0.300x", "kws, cortex-m4", "reached"],
        ["1.000x", "kws, cortex-m4", "reached"],
        ["0.333x", "kws, cortex-m4", "reached"],
        ["0.333x", "kws, cortex-m4", "reached"],
        ["", "", "not measured"],
    ]


@pytest.mark.parametrize(
    ("fields", "missed"),
    [
        ({"rom_sections": {".text": 161}}, [0]),
        ({"buffer_bytes": 51}, [1]),
        ({"other_ram_bytes": 1}, [1]),
        ({"tasks": {"task": task_of(106)}}, [2]),
        ({"tasks": {"a": task_of(1), "b": task_of(301)}}, [2, 3]),
        ({"core": "cortex-m7", "tasks": {"task": task_of(301)}}, [3]),
    ],
)
def test_what_is_above_a_limit_is_missed(result, fields, missed):
    found = changed(result, **fields)
    assert not runtime.is_reached([found])
    rows = dict(runtime.tables([found]))["Targets"][1:]
    assert [i for i, row in enumerate(rows) if row[4] == "MISSED"] == missed


def test_an_estimate_is_marked_and_held_against_its_own_target_only(result):
    estimated = {"reference -O2": 90}
    found = dataclasses.replace(result, counted={"reference -Os": 900}, estimated=estimated)
    found = changed(found, core="cortex-m0plus")
    rows = dict(runtime.tables([found]))
    assert rows["Instructions of one inference"][1][4] == "~90"
    assert [row[4] for row in rows["Targets"][1:]][2:] == ["not measured", "reached", "MISSED"]


def test_the_exit_code_is_the_verdict(result, monkeypatch, capsys, shared):
    monkeypatch.setattr(runtime, "compare", lambda *_: result)
    arguments = ["--core", "cortex-m4", "--model", "ad", "--models", str(shared / "models")]
    assert runtime.main(arguments) == 0
    monkeypatch.setattr(runtime, "compare", lambda *_: changed(result, buffer_bytes=51))
    assert runtime.main(arguments) == 1
    assert "| 1.020x | kws, cortex-m4 | MISSED |" in capsys.readouterr().out


def test_tables_are_written_under_their_headings(result):
    tables = list(runtime.tables([result]))
    empty = "".join(f"## {title}\n\n|\n\nWhat it says.\n\n" for title in TITLES)
    written = runtime.guide_with(empty, tables)
    assert all(f"\n\n{runtime.markdown(table)}\n\nWhat it says." in written for _, table in tables)
    assert runtime.guide_with(written, tables) == written
    with pytest.raises(ValueError, match="'## RAM, bytes' before a table"):
        runtime.guide_with(written.replace("## RAM, bytes", "## RAM"), tables)


def test_only_all_tables_are_written(capsys):
    with pytest.raises(SystemExit):
        runtime.main(["--write", "--core", "cortex-m4"])
    assert "leave the other options out" in capsys.readouterr().err
