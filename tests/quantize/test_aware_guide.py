"""The example of docs/aware_training.md runs, and the guide names every recipe and precision."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_tree import Task, Tree
from quantize.aware.recipe import RECIPES
from quantize.precision.choice import PRECISIONS

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "aware_training.md").read_text()
SHAPE = (8, 8, 4)


def example() -> str:
    found = re.search(r"<!-- example -->\n```python\n(.*?)```", GUIDE, re.DOTALL)
    assert found is not None
    return found.group(1)


def small_tree() -> Tree:
    image = keras.Input(SHAPE)
    x = keras.layers.Conv2D(16, 3, 2, padding="same", activation="relu", name="stem")(image)
    trunk = keras.Model(image, keras.layers.Conv2D(32, 3, activation="relu", name="end")(x))
    branches = {}
    for name, classes in (("digit", 10), ("parity", 2)):
        features = keras.Input(trunk.output.shape[1:])
        x = keras.layers.Conv2D(16, 1, activation="relu", name="mix")(features)
        x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
        branches[name] = keras.Model(
            features, keras.layers.Dense(classes, "softmax", name="classes")(x)
        )
    tasks = [Task(name, "sparse_categorical_crossentropy", ("accuracy",)) for name in branches]
    return Tree.from_branches(trunk, branches, tasks)


def made_data(seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(seed)
    return {
        task: (rng.random((96, *SHAPE), "float32"), rng.integers(0, classes, 96))
        for task, classes in (("digit", 10), ("parity", 2))
    }


@pytest.mark.slow
def test_the_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    keras.utils.set_random_seed(0)
    train, validation, test = made_data(0), made_data(1), made_data(2)
    names = {
        "tree": small_tree(),
        "samples": {task: x for task, (x, _) in train.items()},
        "train": train,
        "validation": validation,
        "test": test,
    }
    exec(example(), names)
    assert "kept:" in capsys.readouterr().out
    assert (tmp_path / "bundle" / "manifest.json").is_file()
    assert names["small"].nodes["digit"].precision == "int4"
    fitting = sum(node.rom_bytes for node in names["fitting"].nodes.values())
    assert fitting <= 9 * 1024 < sum(node.rom_bytes for node in names["bundle"].nodes.values())


@pytest.mark.parametrize("name", [*RECIPES, *PRECISIONS])
def test_the_guide_names(name: str) -> None:
    assert f"`{name}`" in GUIDE
