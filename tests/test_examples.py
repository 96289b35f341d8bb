"""The examples run on the real data, shortened, and keep what the README says of the long run."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
pytestmark = pytest.mark.slow


@pytest.fixture
def load_example(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        return module

    return load


def assert_int8_keeps_the_accuracy(outcome, most: float) -> None:
    assert abs(outcome.tree_float - outcome.tree_int8) <= most, outcome
    assert abs(outcome.single_float - outcome.single_int8) <= most, outcome


def test_image_family(shared: Path, tmp_path: Path, load_example) -> None:
    family, image_family = load_example("family"), load_example("image_family")
    images = image_family.load_family(shared / "datasets")
    budget = family.Budget(epochs=2, steps=60)
    outcomes, bundle = family.compare(images, budget, [0], tmp_path, verbose=0, say=lambda _: None)
    tree_bytes = sum(node.rom_bytes for node in bundle.nodes.values())
    assert tree_bytes <= 0.5 * sum(outcome.single_bytes for outcome in outcomes)
    least = {
        "mnist_mini": 0.85,
        "fashion_mnist_mini": 0.7,
        "quickdraw3": 0.7,
        "sign_digits_28": 0.4,
    }
    for outcome in outcomes:
        assert_int8_keeps_the_accuracy(outcome, most=0.02)
        assert outcome.tree_float >= least[outcome.task], outcome
    assert "0.4" in family.render(outcomes, bundle).splitlines()[-1]


def test_audio_family(shared: Path, tmp_path: Path, load_example) -> None:
    family, audio_family = load_example("family"), load_example("audio_family")
    audio = audio_family.load_family(shared / "datasets")
    assert audio.data["spoken_digit"].x_train.shape == (2000, 49, 32, 1)
    outcomes, bundle = family.compare(
        audio, family.Budget(epochs=4, steps=40), [0], tmp_path, verbose=0, say=lambda _: None
    )
    for outcome in outcomes:
        assert_int8_keeps_the_accuracy(outcome, most=0.04)
        assert outcome.tree_float >= 0.2, outcome
    assert (tmp_path / "bundle" / "manifest.json").is_file()
    assert bundle.tasks["command"].labels[2] == "yes"
