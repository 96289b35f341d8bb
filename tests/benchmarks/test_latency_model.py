"""The benchmark of the latency model recomputes the table, and the guide states what it prints."""

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from deploy.footprint.latency_work import operator_work
from quantize.flatbuffer import read_graph

ROOT = Path(__file__).parents[2]
FILES = {
    "kws": "mlperftiny__kws_ref_model",
    "ic": "mlperftiny__pretrainedResnet_quant",
    "ad": "mlperftiny__ad01_int8",
}


@pytest.fixture(scope="module")
def benchmark() -> Iterator[SimpleNamespace]:
    """The three files of the benchmark, which import each other as one folder's scripts do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        names = ("latency_counts", "latency_fit", "latency_model")
        loaded: dict[str, ModuleType] = {n: importlib.import_module(n) for n in names}
        yield SimpleNamespace(**loaded)


@pytest.fixture(scope="module")
def printed(benchmark: SimpleNamespace) -> str:
    lines = []
    for title, rows in benchmark.latency_model.tables():
        lines += [title, *("| " + " | ".join(cells) + " |" for cells in rows)]
    return "\n".join(lines)


def test_every_error_is_within_what_the_table_states(
    benchmark: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert benchmark.latency_model.main() == 0
    assert capsys.readouterr().out.endswith("every error is within what is stated\n")


@pytest.mark.parametrize(
    "change", ["narrower", "other cycles", "other instructions", "a row less", "check"]
)
def test_it_fails_where_the_table_states_something_else(
    benchmark: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    table = json.loads(json.dumps(benchmark.latency_fit.TABLE))
    first = table["cycles"][0]
    if change == "narrower":
        first["error_percent"][1] -= 10
    elif change == "other cycles":
        first["cycles_per_instruction"] *= 1.01
    elif change == "other instructions":
        table["instructions"]["m4-ref"]["CONV_2D"]["outputs"] += 1
    elif change == "check":
        checked = next(row for row in table["rows"] if row["use"] == "check")
        checked["milliseconds"]["person_detect"] *= 2
        monkeypatch.setattr(benchmark.latency_fit, "TABLE", table)
    else:
        table["cycles"].pop()
    monkeypatch.setattr(benchmark.latency_model, "TABLE", table)
    assert benchmark.latency_model.main() == 1


def test_the_table_is_what_is_derived_from_its_rows(benchmark: SimpleNamespace) -> None:
    table = benchmark.latency_fit.TABLE
    for stated, found in zip(table["cycles"], benchmark.latency_fit.derived(), strict=True):
        assert stated["error_percent"] == found["error_percent"]
        assert stated["basis"] == found["basis"]
        assert stated["cycles_per_mac"] == pytest.approx(found["cycles_per_mac"], rel=1e-3)


def test_the_guide_holds_every_table_as_it_is_printed(printed: str) -> None:
    guide = (ROOT / "docs" / "latency.md").read_text(encoding="utf-8").splitlines()
    missing = [line for line in printed.splitlines() if line.startswith("|") and line not in guide]
    assert not missing
    stated = [line for line in guide if line.startswith("| ")]
    assert not [line for line in stated if line not in printed.splitlines()]


def test_the_guide_names_figures_as_they_are_found(benchmark: SimpleNamespace) -> None:
    text = (ROOT / "docs" / "latency.md").read_text(encoding="utf-8")
    factor = benchmark.latency_fit.board_factor()
    _, *small = benchmark.latency_model._small_models()
    more = {row[0]: 1 + int(row[3]) / 100 for row in small if row[1] == "T"}
    assert f"which is {factor:.2f} (M4)" in text
    times = f"{more['m4-cmsis']:.1f} times (M4) and {more['m55-cmsis']:.1f} times (M55)"
    assert times in " ".join(text.split())
    errors = benchmark.latency_fit.errors
    older = errors("cortex-m4", "m4-cmsis", None, benchmark.latency_fit.by_instructions).older
    assert f"those of 2020 took up to {max(older):.0f} % longer" in text


@pytest.mark.parametrize("model", FILES)
def test_the_counted_operators_are_those_of_the_public_files(
    benchmark: SimpleNamespace, shared: Path, model: str
) -> None:
    graph = read_graph((shared / "models" / f"{FILES[model]}.tflite").read_bytes())
    for operator, (work, _) in zip(
        graph.operators, benchmark.latency_counts.works(model), strict=True
    ):
        found = operator_work(operator, graph)
        assert (found.name, found.macs, found.is_counted) == (work.name, work.macs, True)
        used = benchmark.latency_counts.costs("m4-cmsis")[work.kind]
        assert {q: found.quantities.get(q) for q in used} == {
            q: work.quantities.get(q) for q in used
        }


@pytest.mark.parametrize(
    ("model", "macs"),
    [
        ("kws", 2_656_768), ("vww", 7_489_664), ("ic", 12_501_632), ("ad", 264_192),
        ("sww", 826_368), ("T", 53_312), ("B", 83_104), ("person_detect", 7_157_888),
    ],
)  # fmt: skip
def test_published_multiply_accumulates(benchmark: SimpleNamespace, model: str, macs: int) -> None:
    assert sum(benchmark.latency_counts.model_macs(model).values()) == macs


def test_only_code_like_ours_is_evidence(benchmark: SimpleNamespace) -> None:
    """Vendors' engines and what uses vww's dead channels are compared at most."""
    for row in benchmark.latency_fit.TABLE["rows"]:
        assert row["use"] in ("fit", "spread", "check", "context", "left out")
        assert (row["use"] in ("fit", "spread", "check")) == (row["kernels"] == "cmsis-nn")
        assert row["use"] == "fit" or row["why"]


def test_instructions_predict_unseen_times_better_than_multiply_accumulates(
    benchmark: SimpleNamespace,
) -> None:
    fit = benchmark.latency_fit
    for group in fit.GROUPS:
        by_count = fit.errors(*group, fit.by_instructions).rms
        assert by_count < fit.errors(*group, fit.by_instructions_o2).rms
        assert by_count < fit.errors(*group, fit.by_macs).rms


@pytest.mark.parametrize(
    ("matrix", "target", "solution"),
    [
        ([[1, 0], [0, 1]], [2, 3], [2, 3]),
        ([[1, 0], [0, 1]], [2, -3], [2, 0]),
        ([[1, 1], [1, 1]], [-1, -1], [0, 0]),
        ([[1, 2], [3, 4], [5, 6]], [5, 11, 17], [1, 2]),
    ],
)
def test_least_squares_without_negative_costs(
    benchmark: SimpleNamespace, matrix: list, target: list, solution: list
) -> None:
    found = benchmark.latency_counts.nonnegative_least_squares(
        np.array(matrix, float), np.array(target, float)
    )
    assert found == pytest.approx(solution)
