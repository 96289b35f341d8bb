"""The benchmark of training runs, and every schedule keeps up with the loop written by hand."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from keras_tree.schedules import SCHEDULES


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "training.py"
    spec = importlib.util.spec_from_file_location("training_benchmark", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_ratios_compare_rates_of_one_round(benchmark: ModuleType) -> None:
    base = benchmark.Rate("by hand", 1.0, [100.0, 50.0, 200.0])
    rate = benchmark.Rate("joint", 1.0, [300.0, 100.0, 800.0])
    assert benchmark.median_ratio(rate, base) == 3
    lines = benchmark.table([base, rate]).splitlines()
    assert lines[-1].split() == ["joint", "800", "300", "4.00", "3.00", "1.0", "s"]


@pytest.mark.slow
def test_no_schedule_is_slower_than_the_loop_by_hand(
    benchmark: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a margin for a busy machine: on an idle one joint is 2.5 times as fast, others 1.6."""
    path = tmp_path / "training.json"
    benchmark.main(["--rounds", "5", "--steps", "40", "--json", str(path)])
    ratios = {found["name"]: found["median_ratio"] for found in json.loads(path.read_text())}
    assert {name.removesuffix(", XLA") for name in ratios} == {benchmark.BY_HAND, *SCHEDULES}
    printed = capsys.readouterr().out
    assert all(name in printed for name in ratios)
    assert ratios["joint"] > 1.3, ratios
    assert min(ratios.values()) > 0.8, ratios
