"""Copies of trees: equal in what they compute, apart in every variable."""

import numpy as np
import pytest

from quantize.aware.copying import copy_tree, finite
from quantize.conversion.freezing import freeze


@pytest.fixture(scope="module")
def tree():
    import keras
    from keras import layers

    from keras_tree import Task, Tree

    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 2))
    given = keras.Input((8, 8, 4))
    block = keras.Model(
        given, layers.BatchNormalization(name="norm")(layers.Conv2D(4, 3, name="conv")(given)),
        name="block",
    )  # fmt: skip
    x = block(layers.Conv2D(4, 3, padding="same", name="first")(image))
    x = keras.ops.relu(x * 2.0)
    x = keras.Sequential([layers.Input((6, 6, 4)), layers.Dense(3, name="inner")], name="row")(x)
    trunk = keras.Model(image, layers.Lambda(lambda t: t + 1)(layers.Dropout(0.5)(x)))
    given = keras.Input((6, 6, 3))
    head = keras.Model(given, layers.Dense(2, "softmax", name="out")(layers.Flatten()(given)))
    tree = Tree.from_branches(trunk, {"a": head}, [Task("a", "sparse_categorical_crossentropy")])
    tree.nodes["trunk"].get_layer("block").get_layer("norm").trainable = False
    return tree


def test_a_copy_is_equal_and_shares_nothing(tree):
    copy = copy_tree(tree)
    for name, node in tree.nodes.items():
        assert freeze(name, node).sha256 == freeze(name, copy.nodes[name]).sha256
    assert not set(map(id, tree.variables)) & set(map(id, copy.variables))
    assert (copy.name, copy.paths, copy.tasks) == (tree.name, tree.paths, tree.tasks)
    assert not copy.nodes["trunk"].get_layer("block").get_layer("norm").trainable
    x = np.ones((2, 8, 8, 2), np.float32)
    np.testing.assert_array_equal(copy["a"](x), tree["a"](x))


def test_new_weights_by_node_and_layer(tree):
    before = tree.get_weights()
    kernel, bias = np.full((3, 3, 4, 4), 0.5, np.float32), np.arange(4, dtype=np.float32)
    copy = copy_tree(
        tree,
        {"trunk": {"block/conv": [kernel, bias], "row/inner": [kernel[0, 0, :, :3], bias[:3]]}},
    )
    trunk = copy.nodes["trunk"]
    np.testing.assert_array_equal(
        trunk.get_layer("block").get_layer("conv").get_weights()[0], kernel
    )
    np.testing.assert_array_equal(
        trunk.get_layer("row").get_layer("inner").get_weights()[1], bias[:3]
    )
    assert all(map(np.array_equal, before, tree.get_weights()))


def test_weights_of_an_unknown_layer_are_refused(tree):
    with pytest.raises(ValueError, match="must be by its layers, received 'block/conw'"):
        copy_tree(tree, {"trunk": {"block/conw": []}})


def test_finite():
    assert finite({"a": {"b": [np.ones(2)]}})
    assert not finite({"a": {"b": [np.ones(2), np.array([1.0, np.nan])]}})
