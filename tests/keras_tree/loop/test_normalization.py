"""Batch normalization of shared nodes: what alternating training does to it, and what it leaves."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_tree.loop import normalization
from keras_tree.tasks import Task
from keras_tree.tree import Tree

Data = dict[str, tuple[np.ndarray, np.ndarray]]
Build = Callable[..., Tree]


CLASSES = {"digit": 10, "rotation": 4, "parity": 2}


def digits() -> Data:
    """Three tasks over scikit-learn's digits, in images of quite different statistics.

    Those to tell rotations from have half the contrast and noise, those to tell parity from are
    inverted and brighter.
    """
    loaded = pytest.importorskip("sklearn.datasets").load_digits()
    rng = np.random.default_rng(0)
    order = rng.permutation(len(loaded.images))
    images = (loaded.images[order] / 16).astype("float32")[..., None]  # (1797, 8, 8, 1)
    turns = rng.integers(0, 4, len(images))
    turned = np.stack([np.rot90(image, k) for image, k in zip(images, turns, strict=True)])
    noisy = (turned * 0.5 + rng.normal(0, 0.15, images.shape)).astype("float32")
    number = loaded.target[order]
    return {
        "digit": (images, number),
        "rotation": (noisy, turns),
        "parity": ((1 - images) * 1.5, number % 2),
    }


def convolution(x: Any, filters: int) -> Any:
    x = keras.layers.Conv2D(filters, 3, 2, padding="same")(x)
    # A short memory: after so few steps the default's would not have forgotten where it began.
    return keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.9)(x))


def image_tree() -> Tree:
    image = keras.Input((8, 8, 1))
    trunk = keras.Model(image, convolution(convolution(image, 8), 16))
    branches = {}
    for task, classes in CLASSES.items():
        features = keras.Input(trunk.output.shape[1:])
        x = keras.layers.Flatten()(convolution(features, 16))
        branches[task] = keras.Model(features, keras.layers.Dense(classes, "softmax")(x))
    loss = "sparse_categorical_crossentropy"
    return Tree.from_branches(trunk, branches, [Task(t, loss, ("accuracy",)) for t in branches])


def accuracies(schedule: str, epochs: int) -> np.ndarray:
    """Test accuracies of the three tasks in inference after training, (3,)."""
    data = digits()
    keras.utils.set_random_seed(1)
    tree = image_tree()
    tree.compile(keras.optimizers.Adam(3e-3), schedule=schedule)
    training = {task: (x[:1300], y[:1300]) for task, (x, y) in data.items()}
    tree.fit(training, epochs=epochs, batch_size=64, verbose=0)
    test = {task: (x[1300:], y[1300:]) for task, (x, y) in data.items()}
    results = tree.evaluate(test, verbose=0)
    return np.array([results[f"{task}_accuracy"] for task in data])


def test_alternating_is_as_accurate_in_inference_as_joint(monkeypatch: pytest.MonkeyPatch) -> None:
    """And it would not be, were its batches normalised one task at a time."""
    joint = accuracies("joint", 18)  # one update per step, where the others make three
    for schedule in ("alternating", "proportional"):
        given = accuracies(schedule, 6)
        assert (given > joint - 0.06).all(), (schedule, given, joint)
    monkeypatch.setattr(normalization, "shared_normalizations", lambda tree, tasks: {})
    collapsed = accuracies("alternating", 6)
    assert collapsed.mean() < joint.mean() - 0.06, (collapsed, joint)


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
