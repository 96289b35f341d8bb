"""Freezing: one graph per node, its names and its digest a matter of the node alone."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from quantize.conversion.freezing import freeze


def functional(make, shape=(6, 6, 2), **settings):
    inputs = keras.Input(shape, **settings)
    return keras.Model(inputs, make(inputs))


class Halve(layers.Layer):
    """A layer of the user's own, with a layer inside it."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.inner = layers.Conv2D(2, 1)

    def call(self, x):
        return self.inner(x) * 0.5


def net(activation="relu", seed=0, padding="same", rate=0.5):
    keras.utils.set_random_seed(seed)
    block = functional(lambda x: Halve()(layers.Conv2D(2, 1)(x)))

    def make(x):
        x = layers.Conv2D(2, 3, padding=padding, activation=activation)(x)
        x = layers.BatchNormalization()(x)
        x = layers.Dropout(rate)(x)
        x = block(block(x)) if padding == "same" else x
        return layers.Add(name="output")([x, layers.Conv2D(2, 1)(x)]) + x

    return functional(make)


def run(frozen, values):
    """Run a frozen graph by itself, in another process' stead."""
    graph = tf.compat.v1.GraphDef.FromString(frozen.graph)
    wrapped = tf.compat.v1.wrap_function(lambda: tf.compat.v1.import_graph_def(graph, name=""), [])
    function = wrapped.prune("input:0", "output:0")
    return np.concatenate([function(tf.constant(value[None])).numpy() for value in values])


def operations(frozen):
    return {node.op for node in tf.compat.v1.GraphDef.FromString(frozen.graph).node}


@pytest.fixture(scope="module")
def values():
    return np.random.default_rng(0).normal(size=(3, 6, 6, 2)).astype(np.float32)


def test_graph_computes_what_the_model_does(values):
    model = net()
    expected = np.asarray(model(values, training=False))
    np.testing.assert_allclose(run(freeze("node", model), values), expected, atol=1e-5)


def test_weights_are_constants_and_the_batch_is_one():
    frozen = freeze("node", net())
    assert frozen.input_shape == (1, 6, 6, 2)
    assert not operations(frozen) & {"VarHandleOp", "ReadVariableOp", "StatefulPartitionedCall"}


def test_a_flattened_batch_of_one_needs_no_shape_arithmetic():
    frozen = freeze("node", functional(lambda x: layers.Dense(2)(layers.Flatten()(x))))
    assert not operations(frozen) & {"Shape", "StridedSlice", "Pack"}


def test_equal_nodes_have_equal_graphs_whatever_their_automatic_names():
    first, second = net(), net()
    assert [layer.name for layer in first.layers] != [layer.name for layer in second.layers]
    assert freeze("a", first).graph == freeze("a", second).graph


def test_given_names_stay():
    frozen = freeze("node", functional(lambda x: layers.Conv2D(2, 1, name="eye")(x)))
    assert "eye/convolution" in frozen.layer_of


def test_every_operation_tells_its_layer():
    model = net()
    block = next(layer.name for layer in model.layers if isinstance(layer, keras.Model))
    halve = next(layer.name for layer in model.get_layer(block).layers if isinstance(layer, Halve))
    frozen = freeze("node", model)
    assert f"{block}/{halve}" in frozen.layers
    assert any(layer.startswith(f"{block}/{halve}/conv2d") for layer in frozen.layers)
    assert frozen.layers_of_types(["Relu"]) == (model.layers[1].name,)
    assert frozen.layers_of_tensor("add_1;conv2d/Relu;conv2d/convolution") == (
        model.layers[1].name,
    )
    assert frozen.layers_of_tensor("arith.constant") == ()


def test_digest_is_of_what_the_node_computes():
    digest = freeze("a", net()).sha256
    assert freeze("b", net()).sha256 == digest
    assert freeze("a", net(rate=0.1)).sha256 == digest, "dropout is nothing in inference"
    assert freeze("a", net(seed=1)).sha256 != digest
    assert freeze("a", net(activation="tanh")).sha256 != digest
    assert freeze("a", net(padding="valid")).sha256 != digest


def test_digest_and_graph_stay_when_layers_are_frozen_for_training():
    model = net()
    before = freeze("a", model)
    model.layers[1].trainable = False
    assert freeze("a", model) == before
    model.trainable = False
    assert freeze("a", model) == before


def test_digest_sees_a_moved_statistic():
    model = net()
    before = freeze("a", model).sha256
    model.layers[2].moving_mean.assign([0.1, 0.2])
    assert freeze("a", model).sha256 != before


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_digest_stays_through_saving(tmp_path):
    model = functional(lambda x: layers.BatchNormalization()(layers.Conv2D(2, 3)(x)))
    model.save(tmp_path / "node.keras")
    loaded = keras.models.load_model(tmp_path / "node.keras")
    assert freeze("a", loaded).sha256 == freeze("a", model).sha256


def test_numbers_that_a_layer_holds_as_tensors_are_constants(values):
    model = functional(lambda x: layers.Normalization(mean=[0.5, -1.0], variance=[4.0, 9.0])(x))
    expected = np.asarray(model(values))
    np.testing.assert_allclose(run(freeze("node", model), values), expected, atol=1e-6)


class Table(layers.Layer):
    def __init__(self):
        super().__init__()
        self.state = tf.Variable([2.0, 3.0])

    def call(self, x):
        return x * self.state


class Broken(layers.Layer):
    def call(self, x):
        return tf.reshape(x, (7, 11))

    def compute_output_shape(self, shape):
        return shape


def two_inputs():
    first, second = keras.Input((2,)), keras.Input((2,))
    return keras.Model([first, second], layers.Add()([first, second]))


def two_outputs():
    inputs = keras.Input((2,))
    return keras.Model(inputs, [layers.Dense(1)(inputs), layers.Dense(2)(inputs)])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (two_inputs, "Node 'n' must have one input tensor, received 2"),
        (two_outputs, "Node 'n' must have one output tensor, received 2"),
        (lambda: functional(layers.Conv2D(1, 1), (None, 6, 2)), "input of a known shape, received"),
        (
            lambda: functional(layers.Rescaling(0.5), dtype="uint8"),
            "must take float32, received an",
        ),
        (lambda: functional(Table()), "Node 'n' must keep its state in Keras weights"),
        (lambda: functional(Broken()), "Node 'n' must run in inference mode on one sample"),
    ],
)
def test_what_cannot_be_a_node(make, message):
    with pytest.raises(ValueError, match=message):
        freeze("n", make())
