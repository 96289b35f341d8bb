"""Training by stages in plain Keras 3: steps, calibration, weights."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_tree import Task
from quantize.aware.backend import AwareNode
from quantize.aware.keras3 import build
from quantize.aware.recipe import recipe_of

TASKS = {
    "digit": Task("digit", "sparse_categorical_crossentropy"),
    "odd": Task("odd", "binary_crossentropy"),
}
PATHS = {"digit": ("trunk", "digit"), "odd": ("trunk", "odd")}


def trunk() -> keras.Model:
    x = inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(4, 3, padding="same", use_bias=False, name="first")(x)
    x = layers.ReLU(name="first_relu")(layers.BatchNormalization(name="first_norm")(x))
    y = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    y = layers.Conv2D(4, 1, activation="relu", name="point")(y)
    x = layers.MaxPooling2D(name="pool")(layers.Add(name="sum")([x, y]))
    return keras.Model(inputs, x, name="trunk")


def branch(name: str, units: int, activation: str) -> keras.Model:
    x = inputs = keras.Input((4, 4, 4))
    x = layers.SeparableConv2D(8, 3, activation="relu", name="separable")(x)
    x = layers.GlobalAveragePooling2D(name="mean")(layers.Dropout(0.2, name="drop")(x))
    outputs = layers.Dense(units, activation=activation, name="dense")(x)
    return keras.Model(inputs, outputs, name=name)


def small_net() -> dict[str, keras.Model]:
    keras.utils.set_random_seed(1)
    return {
        "trunk": trunk(),
        "digit": branch("digit", 5, "softmax"),
        "odd": branch("odd", 1, "sigmoid"),
    }


def data(count: int = 64) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    random = np.random.default_rng(2)
    x = random.normal(size=(count, 8, 8, 1)).astype(np.float32)
    return {
        "digit": (x, random.integers(0, 5, count)),
        "odd": (-x, random.integers(0, 2, count).astype(np.float32)),
    }


def built(models, recipe="qat", trained=("trunk", "digit", "odd"), **changes):
    nodes = {name: AwareNode(name, model, name in trained) for name, model in models.items()}
    return build(nodes, PATHS, TASKS, recipe_of(recipe, **changes))


def assert_weights_equal(models, weights) -> None:
    for name, layer_weights in weights.items():
        for path, arrays in layer_weights.items():
            for ours, theirs in zip(
                arrays, models[name].get_layer(path).get_weights(), strict=True
            ):
                np.testing.assert_array_equal(ours, theirs)


def test_weights_round_trip_exactly() -> None:
    models = small_net()
    weights = built(models).weights()
    assert list(weights) == ["trunk", "digit", "odd"]
    assert list(weights["digit"]) == ["separable", "dense"]
    assert_weights_equal(models, weights)


def test_training_lowers_the_loss_and_reads_the_models_only() -> None:
    models, batches = small_net(), data()
    before = built(models).weights()
    aware = built(models, learning_rate=1e-2)
    aware.begin_stage("quantize", 20)
    aware.calibrate({task: x for task, (x, _) in batches.items()})
    losses = [aware.train_batch("digit", *batches["digit"]) for _ in range(20)]
    assert losses[-1] < losses[0]
    assert_weights_equal(models, before)


def test_other_tasks_weights_and_untrained_nodes_do_not_move() -> None:
    models, batches = small_net(), data()
    aware = built(models, learning_rate=1e-2, trained=("digit", "odd"))
    aware.begin_stage("quantize", 2)
    aware.calibrate({task: x for task, (x, _) in batches.items()})
    before = aware.weights()
    for _ in range(2):
        aware.train_batch("digit", *batches["digit"])
    after = aware.weights()
    assert list(after) == ["digit", "odd"]
    assert_weights_equal(models, {"odd": after["odd"]})
    changed = before["digit"]["dense"][0] != after["digit"]["dense"][0]
    assert changed.all()


def test_frozen_batch_norm_stays() -> None:
    models, batches = small_net(), data()
    aware = built(models, learning_rate=1e-2)
    aware.begin_stage("quantize", 1)
    aware.calibrate({task: x for task, (x, _) in batches.items()})
    aware.train_batch("digit", *batches["digit"])
    after = aware.weights()["trunk"]
    assert_weights_equal(models, {"trunk": {"first_norm": after["first_norm"]}})


def test_a_second_batch_does_not_retrace() -> None:
    aware, batches = built(small_net()), data()
    aware.begin_stage("quantize", 4)
    aware.calibrate({task: x for task, (x, _) in batches.items()})
    x, y = batches["digit"]
    for count in (32, 32, 17):
        aware.train_batch("digit", x[:count], y[:count])
    assert aware._steps["digit"].experimental_get_tracing_count() == 1


@pytest.mark.parametrize("stage", [None, "quantize"])
def test_predict_stands_by_the_float_net(stage: str | None) -> None:
    models, batches = small_net(), data()
    aware = built(models)
    if stage:
        aware.begin_stage("quantize", 1)
        aware.calibrate({task: x for task, (x, _) in batches.items()})
    for task, (x, _) in batches.items():
        wanted = models[task](models["trunk"](x)).numpy()
        tolerance = 0.02 if stage else 1e-6
        np.testing.assert_allclose(aware.predict(task, x), wanted, atol=tolerance)
