"""Batch normalization of shared nodes: what alternating training does to it, and what it leaves."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_tree import normalization
from keras_tree.tasks import Task
from keras_tree.tree import Tree

Data = dict[str, tuple[np.ndarray, np.ndarray]]
Build = Callable[..., Tree]


def unlike_tasks(count: int, seed: int) -> Data:
    """Which of 4 patterns, which of 3 and which of 2, in images of quite different statistics.

    The second task's images have half the contrast and noise, the third's are inverted and
    brighter.
    """
    patterns = np.random.default_rng(0).random((9, 8, 8, 1)) > 0.6  # the same for every seed
    rng = np.random.default_rng(seed)
    data = {}
    for task, first, classes in (("first", 0, 4), ("second", 4, 3), ("third", 7, 2)):
        y = rng.integers(0, classes, count)
        shifted = np.stack([np.roll(patterns[first + k], rng.integers(0, 2, 2), (0, 1)) for k in y])
        x = shifted + rng.normal(0, 0.4, shifted.shape)
        data[task] = (x.astype("float32"), y)
    data["second"] = (data["second"][0] * 0.5 + 0.2, data["second"][1])
    data["third"] = ((1 - data["third"][0]) * 1.5, data["third"][1])
    return data


def convolution(x: Any, filters: int, name: str) -> Any:
    x = keras.layers.Conv2D(filters, 3, 2, padding="same", name=f"{name}_conv")(x)
    x = keras.layers.BatchNormalization(name=f"{name}_bn")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x)


def image_tree() -> Tree:
    image = keras.Input((8, 8, 1))
    trunk = keras.Model(image, convolution(convolution(image, 8, "t1"), 12, "t2"))
    branches = {}
    for task, classes in (("first", 4), ("second", 3), ("third", 2)):
        features = keras.Input(trunk.output.shape[1:])
        x = keras.layers.Flatten()(convolution(features, 8, task))
        x = keras.layers.Dense(classes, "softmax", name=f"{task}_dense")(x)
        branches[task] = keras.Model(features, x)
    loss = "sparse_categorical_crossentropy"
    return Tree.from_branches(trunk, branches, [Task(t, loss, ("accuracy",)) for t in branches])


def accuracies(schedule: str, epochs: int) -> np.ndarray:
    """Inference accuracies of the three tasks after training, (3,)."""
    keras.utils.set_random_seed(2)
    tree = image_tree()
    tree.compile(keras.optimizers.Adam(3e-3), schedule=schedule)
    tree.fit(unlike_tasks(256, 1), epochs=epochs, batch_size=32, verbose=0)
    results = tree.evaluate(unlike_tasks(300, 2), verbose=0)
    return np.array([results[f"{task}_accuracy"] for task in tree.tasks])


def test_alternating_is_as_accurate_in_inference_as_joint(monkeypatch: pytest.MonkeyPatch) -> None:
    """And it would not be, were its batches normalised one task at a time."""
    joint = accuracies("joint", 24)  # one update per step, where alternating makes three
    alternating = accuracies("alternating", 8)
    drawn = accuracies("proportional", 8)
    monkeypatch.setattr(normalization, "shared_normalizations", lambda tree, tasks: {})
    collapsed = accuracies("alternating", 8)
    assert (alternating > joint - 0.05).all(), (alternating, joint)
    assert (drawn > joint - 0.15).all(), (drawn, joint)
    assert (collapsed < joint - 0.1).sum() >= 2, (collapsed, joint)


def statistics(tree: Tree, node: str) -> list[np.ndarray]:
    return [v.numpy() for v in tree.nodes[node].non_trainable_variables]


def test_statistics_become_those_of_all_tasks_mixed(build_tree: Build, data: Data) -> None:
    """A learning rate of 0: only the statistics move, in the trunk to those of the mixture."""
    tree = build_tree()
    tree.compile(keras.optimizers.SGD(0.0), schedule="alternating")
    # The task of 20 samples has another mean, and counts as much as the others.
    given = dict(data, size=(data["size"][0] + 5, data["size"][1]))
    tree.fit(given, batch_size=20, epochs=3, steps_per_epoch=100, verbose=0)
    mean, variance = statistics(tree, "trunk")
    means = np.array([x.mean(0) for x, _ in given.values()])  # (3, 4)
    squares = np.array([(x**2).mean(0) for x, _ in given.values()])
    np.testing.assert_allclose(mean, means.mean(0), atol=0.02)
    np.testing.assert_allclose(variance, squares.mean(0) - means.mean(0) ** 2, atol=0.1)
    features = tree.nodes["trunk"](given["size"][0])
    own = statistics(tree, "size")[0]  # a branch's are those of its own data
    np.testing.assert_allclose(own, np.mean(features, 0), atol=0.1)


def test_the_first_steps_average_all_they_have_seen(build_tree: Build, data: Data) -> None:
    tree = build_tree()
    tree.compile(keras.optimizers.SGD(0.0), schedule="alternating", run_eagerly=True)
    x = np.concatenate([x[:10] for x, _ in data.values()])  # (30, 4)
    tree.fit(data, batch_size=10, steps_per_epoch=1, shuffle=False, verbose=0)
    np.testing.assert_allclose(statistics(tree, "trunk")[0], x.mean(0), atol=1e-6)
    np.testing.assert_allclose(statistics(tree, "trunk")[1], x.var(0), atol=1e-6)
    later = np.concatenate([np.concatenate([x, x])[10:20] for x, _ in data.values()])
    tree.compile(keras.optimizers.SGD(0.0), schedule="alternating", run_eagerly=True)
    tree.fit(data, batch_size=10, steps_per_epoch=2, shuffle=False, verbose=0)
    expected = (x.mean(0) + later.mean(0)) / 2
    np.testing.assert_allclose(statistics(tree, "trunk")[0], expected, atol=1e-6)


def test_within_the_context_statistics_are_used_and_kept(build_node: Any) -> None:
    node = build_node("trunk", 4, 8, normalized=True)
    layer = node.get_layer("trunk_bn")
    layer.gamma.trainable = False
    x = np.random.default_rng(0).normal(3, 2, (50, 4)).astype("float32")
    before = [v.numpy() for v in layer.variables]
    with normalization.moving_statistics([layer]):
        within = node(x, training=True).numpy()
    np.testing.assert_array_equal(within, node(x, training=False).numpy())
    for value, variable in zip(before, layer.variables, strict=True):
        np.testing.assert_array_equal(value, variable.numpy())
    assert [v.trainable for v in layer.variables] == [False, True, False, False]
    assert layer.trainable
    assert not np.allclose(node(x, training=True).numpy(), within)


def test_an_error_within_leaves_the_layers_as_they_were(build_node: Any) -> None:
    layer = build_node("trunk", 4, 8, normalized=True).get_layer("trunk_bn")
    with pytest.raises(KeyError), normalization.moving_statistics([layer]):
        raise KeyError
    assert layer.trainable
    with pytest.raises(KeyError):
        normalization.refresh([layer], lambda: {}["absent"], tf.constant(0.0))
    assert layer.momentum == 0.99


def path_tree(build_node: Any) -> Tree:
    """Paths with a common second node, reached from different nodes, and a private one between."""
    return Tree(
        {
            "trunk": build_node("trunk", 4, 6, "tanh", normalized=True),
            "own": build_node("own", 6, 6, "tanh", normalized=True),
            "shared": build_node("shared", 6, 6, "tanh", normalized=True),
            "digit": build_node("digit", 6, 5, "softmax"),
            "size": build_node("size", 6, 1),
        },
        {"digit": ("trunk", "own", "shared", "digit"), "size": ("trunk", "shared", "size")},
        [Task("digit", "sparse_categorical_crossentropy", ("accuracy",)), Task("size", "mse")],
    )


@pytest.mark.parametrize("schedule", ["alternating", "joint", "masked", "temperature"])
def test_nodes_shared_beyond_the_trunk(schedule: str, build_node: Any, data: Data) -> None:
    keras.utils.set_random_seed(3)
    tree = path_tree(build_node)
    assert list(normalization.shared_normalizations(tree, tree.tasks)) == ["trunk", "shared"]
    given = {task: data[task] for task in tree.tasks}
    tree.compile(keras.optimizers.Adam(0.03), schedule=schedule)
    tree.fit(given, batch_size=10, epochs=25, verbose=0)
    results = tree.evaluate(given, verbose=0)
    assert results["digit_accuracy"] > 0.75
    assert results["size_loss"] < 0.5


def test_normalizations_are_found_inside_models_and_wrappers() -> None:
    entry = x = keras.Input((4, 6))
    inner = keras.Sequential([keras.Input((4, 6)), keras.layers.BatchNormalization(name="deep")])
    x = keras.layers.TimeDistributed(keras.layers.BatchNormalization(name="wrapped"))(inner(x))
    found = normalization.normalizations(keras.Model(entry, x))
    assert {layer.name for layer in found} == {"deep", "wrapped"}
