"""Importing tensorflow-model-optimization leaves no trace in the user's process."""

import os
import subprocess
import sys

import pytest

from quantize.aware.backend import AwareTrainingError
from quantize.aware.tfmot import importing

TRAIN = """
import numpy as np, keras
from keras_tree import Task
from quantize.aware.backend import AwareNode
from quantize.aware.recipe import Recipe
from quantize.aware.tfmot import build
source = keras.Input((4,))
node = keras.Model(source, keras.layers.Dense(2)(source))
model = build({"n": AwareNode("n", node)}, {"t": ("n",)}, {"t": Task("t", "mse")}, Recipe())
x = np.ones((8, 4), "float32")
model.begin_stage("quantize", 1)
model.calibrate({"t": x})
model.train_batch("t", x, np.ones((8, 2), "float32"))
model.end_stage()
"""
CHECK = """
import os, subprocess, sys, tensorflow
assert dict(os.environ) == before, set(os.environ.items()) ^ set(before.items())
child = "import os; print('TF_USE_LEGACY_KERAS' in os.environ)"
print(subprocess.run([sys.executable, "-c", child], capture_output=True, text=True).stdout.strip())
print(getattr(tensorflow, "keras").__version__[0], keras.__version__[0])
"""
FIRST = {
    "TensorFlow": "import tensorflow",
    "this room": "import quantize.aware.tfmot",
}


@pytest.mark.slow
@pytest.mark.parametrize("first", FIRST)
def test_a_training_leaves_environment_and_keras_as_they_were(first: str) -> None:
    # TensorFlow sets variables of its own when it is imported, so the count begins behind that.
    code = f"{FIRST[first]}\nimport os\nbefore = dict(os.environ)\n{TRAIN}{CHECK}"
    environment = {k: v for k, v in os.environ.items() if k != "TF_USE_LEGACY_KERAS"}
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout.split() == ["False", "3", "3"]


@pytest.mark.parametrize("value", [None, "0", "1"])
def test_the_users_own_setting_stays(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_USE_LEGACY_KERAS", raising=False)
    if value is not None:
        monkeypatch.setenv("TF_USE_LEGACY_KERAS", value)
    with importing._environment_kept():
        os.environ["TF_USE_LEGACY_KERAS"] = "1"
    assert os.environ.get("TF_USE_LEGACY_KERAS") == value


@pytest.mark.parametrize("missing", ["tensorflow_model_optimization", "tf_keras"])
def test_what_is_missing_is_named(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(AwareTrainingError, match=r"pip install keras-tree\[tfmot\]") as raised:
        importing.load.__wrapped__()
    assert isinstance(raised.value, ImportError)
    assert missing in str(raised.value)
