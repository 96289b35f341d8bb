"""Many steps in one call: compiled or not, with XLA or without, they are the same steps."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_tree.loop import compilation
from keras_tree.schedules import Proportional
from keras_tree.tasks import Task
from keras_tree.tree import Tree

Data = dict[str, tuple[np.ndarray, np.ndarray]]


Build = Callable[..., Tree]


SCHEDULES = ["alternating", "joint", "masked", "temperature"]  # one of every kind


SILENT: dict[str, Any] = {"verbose": 0}


def weights_of(model: keras.Model) -> list[np.ndarray]:
    return [np.array(weight) for weight in model.get_weights()]


def assert_same(first: list[np.ndarray], second: list[np.ndarray], tolerance: float = 0) -> None:
    assert len(first) == len(second)
    for one, two in zip(first, second, strict=True):
        np.testing.assert_allclose(one, two, rtol=0, atol=tolerance)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_how_steps_are_compiled_does_not_change_what_they_do(
    schedule: str, build_tree: Build, data: Data
) -> None:
    start = build_tree().get_weights()
    settings = [
        {"run_eagerly": True, "steps_per_execution": 7},
        {"steps_per_execution": 7, "jit_compile": False},
        {"steps_per_execution": 7, "jit_compile": True},
    ]
    results = []
    for setting in settings:
        tree = build_tree()
        tree.set_weights(start)
        tree.compile(keras.optimizers.SGD(0.05), schedule=schedule, **setting)
        seeds = {"steps_per_epoch": 7, "seed": 5, "shuffle": False}
        history = tree.fit(data, batch_size=6, **seeds, **SILENT)
        results.append((weights_of(tree), history.history["loss"][0]))
    for weights, loss in results[1:]:
        assert_same(weights, results[0][0], 2e-6)
        assert loss == pytest.approx(results[0][1], rel=1e-5)


SELDOM = Proportional(sizes={"digit": 30, "size": 1})  # first drawn when much is already trained


@pytest.mark.parametrize("schedule", ["joint", "proportional", SELDOM], ids=str)
def test_training_goes_on_without_xla_where_it_cannot_compile(
    schedule: str, build_node: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RandomRotation says that it supports XLA, and does not; "auto" finds out."""
    monkeypatch.setattr(compilation, "STEPS_WORTH_COMPILING", 0)
    rng = np.random.default_rng(0)
    given = {
        "digit": (rng.normal(size=(8, 4, 4, 1)), rng.integers(0, 3, 8)),
        "size": (rng.normal(size=(8, 4, 4, 1)), rng.normal(size=8)),
    }
    entry, features = keras.Input((4, 4, 1)), keras.Input((4, 4, 1))
    rotated = keras.layers.Flatten()(keras.layers.RandomRotation(0.1, seed=1)(features))
    flat = keras.layers.Flatten()(features)
    tree = Tree.from_branches(
        keras.Model(entry, keras.layers.Conv2D(1, 3, padding="same")(entry)),
        {
            "digit": keras.Model(features, keras.layers.Dense(3, "softmax")(flat)),
            "size": keras.Model(features, keras.layers.Dense(1)(rotated)),
        },
        [Task("digit", "sparse_categorical_crossentropy"), Task("size", "mse")],
    )
    start, weights = tree.get_weights(), []
    for jit in ("auto", False):
        tree.set_weights(start)
        tree.compile(keras.optimizers.SGD(0.1), schedule=schedule, jit_compile=jit)
        for layer in tree.nodes["size"].layers:
            if isinstance(layer, keras.layers.RandomRotation):
                layer.generator.state.assign([1, 0])
        history = tree.fit(given, batch_size=4, steps_per_epoch=50, seed=2, **SILENT)
        tree.fit(given, batch_size=4, steps_per_epoch=1, seed=3, **SILENT)
        weights.append([*weights_of(tree), np.array(history.history["loss"])])
    assert_same(*weights, tolerance=1e-5)
    tree.compile("sgd", jit_compile=True)
    with pytest.raises(tf.errors.InvalidArgumentError):
        tree.fit(given, **SILENT)
