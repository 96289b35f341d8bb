"""A node read as tf_keras calls: nested and shared layers, names, weights there and back."""

import keras
import numpy as np
import pytest

from keras_tree import Task
from quantize.aware.backend import AwareNode
from quantize.aware.recipe import Recipe
from quantize.aware.tfmot import build
from quantize.aware.tfmot.clone import read_nodes

K = keras.layers


def nested_node() -> keras.Model:
    """A block in a block, called twice; a layer called twice; a sequential model."""
    keras.utils.set_random_seed(0)
    inner_input = keras.Input((6, 6, 4))
    inner = keras.Model(
        inner_input,
        K.Add(name="sum")([inner_input, K.Conv2D(4, 3, padding="same", name="conv")(inner_input)]),
        name="inner",
    )
    outer_input = keras.Input((6, 6, 4))
    outer = keras.Model(outer_input, K.ReLU()(inner(outer_input)), name="block-1.a")
    head = keras.Sequential(
        [K.Flatten(), K.Dense(3, name="conv"), K.BatchNormalization(name="norm")], name="head"
    )
    source = keras.Input((6, 6, 2))
    shared = K.Conv2D(4, 1, name="conv")
    x = outer(shared(source))
    x = K.Concatenate()([outer(x), shared(K.Cropping2D(0)(source))])
    return keras.Model(source, head(x), name="node")


def model_of(node: keras.Model, **options):
    aware = AwareNode("node", node, **options)
    return build({"node": aware}, {"task": ("node",)}, {"task": Task("task", "mse")}, Recipe())


@pytest.fixture(scope="module")
def node() -> keras.Model:
    return nested_node()


def test_a_nested_node_computes_the_same(node: keras.Model) -> None:
    x = np.random.default_rng(0).normal(size=(300, 6, 6, 2)).astype("float32")
    assert np.abs(model_of(node).predict("task", x) - node(x, training=False)).max() < 2e-6


def test_weights_go_back_exactly_by_path(node: keras.Model) -> None:
    weights = model_of(node).weights()["node"]
    assert set(weights) == {"conv", "block-1.a/inner/conv", "head/conv", "head/norm"}
    inner = node.get_layer("block-1.a").get_layer("inner").get_layer("conv")
    for found, expected in (
        (weights["block-1.a/inner/conv"], inner),
        (weights["conv"], node.get_layer("conv")),
        (weights["head/norm"], node.get_layer("head").get_layer("norm")),
    ):
        assert len(found) == len(expected.get_weights())
        for one, other in zip(found, expected.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)


def test_names_are_unique_over_nodes_and_legal(node: keras.Model) -> None:
    plans = read_nodes({"a": AwareNode("a", node), "a.b": AwareNode("a.b", node)})
    names = [
        name for plan in plans.values() for layer in plan.layers.values() for name in layer.names
    ]
    assert len(names) == len(set(names))
    assert all(name.replace("_", "").isalnum() and name.isascii() for name in names)


def test_separable_weights_go_back_as_one_layers() -> None:
    source = keras.Input((6, 6, 2))
    layer = K.SeparableConv2D(3, 3, depth_multiplier=2, bias_initializer="normal", name="sep")
    node = keras.Model(source, layer(source))
    found = model_of(node).weights()["node"]["sep"]
    for one, other in zip(found, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_is_never_trained_goes_back_as_it_was() -> None:
    source = keras.Input((4,))
    layer = K.Normalization(name="norm")
    layer.adapt(np.random.default_rng(0).normal(2, 3, (50, 4)).astype("float32"))
    node = keras.Model(source, K.Dense(2)(layer(source)))
    found = model_of(node).weights()["node"]["norm"]
    assert len(found) == 3
    for one, other in zip(found, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_untrained_nodes_weights_are_left_out(node: keras.Model) -> None:
    assert model_of(node, trained=False).weights() == {}


def test_frozen_layers_stay_frozen() -> None:
    source = keras.Input((4,))
    frozen = K.Dense(4, name="frozen")
    frozen.trainable = False
    node = keras.Model(source, K.Dense(2, name="free")(frozen(source)))
    model = model_of(node)
    before = model.weights()["node"]
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 4)).astype("float32"), rng.normal(size=(8, 2)).astype("float32")
    model.begin_stage("quantize", 1)
    model.calibrate({"task": x})
    model.train_batch("task", x, y)
    after = model.weights()["node"]
    np.testing.assert_array_equal(before["frozen"][0], after["frozen"][0])
    assert (before["free"][0] != after["free"][0]).any()
