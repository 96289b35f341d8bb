"""What a node must be, and which are frozen."""

import keras
import numpy as np
import pytest

from keras_tree.nodes import as_node, check_nothing_shared, inner_layers, is_frozen, with_node

L = keras.layers


def dense(*layers: keras.layers.Layer, name: str = "given") -> keras.Model:
    x = keras.Input((4,))
    y = L.Dense(3, name="dense")(x)
    for layer in layers:
        y = layer(y)
    return keras.Model(x, y, name=name)


def test_a_node_is_a_model_of_its_own_around_the_same_layers() -> None:
    model = dense(L.BatchNormalization())
    model.compile("adam", "mse")
    node = as_node("digit", model)
    assert (node.name, model.name) == ("digit", "given")
    assert [id(v) for v in node.variables] == [id(v) for v in model.variables]
    assert not node.compiled
    x = np.ones((2, 4), "float32")
    np.testing.assert_array_equal(node(x), model(x))


def test_dictionaries_of_one_tensor_are_unpacked() -> None:
    x = keras.Input((4,), name="x")
    node = as_node("digit", keras.Model({"x": x}, {"y": L.Dense(3)(x)}))
    assert node(np.ones((2, 4), "float32")).shape == (2, 3)


def test_frozen() -> None:
    node = as_node("digit", dense(L.ReLU()))
    assert not is_frozen(node)
    for layer in node.layers:
        layer.trainable = False
    assert is_frozen(node)
    node.layers[1].trainable = True
    assert not is_frozen(node)
    node.trainable = False
    assert is_frozen(node)


def test_layers_of_nested_models_count() -> None:
    x = keras.Input((3,))
    inner = keras.Model(x, L.Dense(3, name="deep")(x), name="inner")
    node = as_node("digit", dense(inner))
    assert [layer.name for layer in inner_layers(node)] == ["dense", "inner", "deep"]


def test_names_are_unique_and_safe() -> None:
    nodes = with_node({}, "digit", dense())
    with pytest.raises(ValueError, match=r"second node named 'digit' beside 'digit'"):
        with_node(nodes, "digit", dense())
    with pytest.raises(ValueError, match=r"A node name must consist of.*Received: 'a/b'"):
        with_node(nodes, "a/b", dense())
    assert list(nodes) == ["digit"]


def test_nothing_with_variables_is_shared() -> None:
    relu, drop = L.ReLU(), L.Dropout(0.5, name="drop")
    check_nothing_shared({"a": dense(relu), "b": dense(relu)})
    with pytest.raises(ValueError, match=r"Nodes 'a' and 'b' must not share.*both hold 'drop'"):
        check_nothing_shared({"a": dense(drop), "b": dense(drop)})


def test_a_layer_hidden_in_a_wrapper_is_found() -> None:
    shared = L.Dense(3)
    x, steps = keras.Input((4,)), keras.Input((5, 4))
    one = keras.Model(x, shared(x))
    other = keras.Model(steps, L.TimeDistributed(shared, name="wrapper")(steps))
    with pytest.raises(ValueError, match=r"both hold 'wrapper'"):
        check_nothing_shared({"a": one, "b": other})
