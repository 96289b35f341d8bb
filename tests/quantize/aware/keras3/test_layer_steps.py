"""Every supported layer: equal to Keras in float, and to the int8 flatbuffer in its ranges."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_tree import Task
from quantize.aware.backend import AwareNode, AwareTrainingError
from quantize.aware.keras3 import build
from quantize.aware.keras3.layer_steps import LAYERS
from quantize.aware.recipe import recipe_of
from quantize.conversion.freezing import freeze
from quantize.flatbuffer import read_graph
from quantize.interpreter import open_interpreter


def conv(filters: int = 6, size: int = 3, **settings) -> keras.Layer:
    return layers.Conv2D(filters, size, padding="same", **settings)


def convolutions(x):
    x = conv(activation="relu")(x)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False)(x)
    x = layers.ReLU(6)(layers.BatchNormalization()(x))
    x = layers.SeparableConv2D(8, 3, depth_multiplier=2, activation="relu")(x)
    x = layers.BatchNormalization()(layers.Conv2DTranspose(5, 3, strides=2)(x))
    x = layers.Conv2DTranspose(4, 3, padding="same", activation="relu")(x)
    return conv(4, dilation_rate=2)(layers.Conv2D(4, 3, strides=2, groups=2)(x))


def normalizations(x):
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.BatchNormalization()(conv(activation="relu")(x))
    x = layers.BatchNormalization(scale=False)(conv()(x))
    x = layers.ReLU()(layers.Dropout(0.3)(layers.BatchNormalization(center=False)(conv()(x))))
    x = layers.Rescaling(0.5, offset=0.1)(conv()(x))
    return layers.ReLU()(layers.BatchNormalization()(layers.Dense(5)(layers.Flatten()(x))))


def activations(x):
    for name in ("silu", "hard_silu", "linear"):
        x = conv(activation=name)(x)
    x = layers.PReLU(shared_axes=[1, 2])(conv()(layers.LeakyReLU()(x)))
    x = layers.Activation("sigmoid")(conv(activation="tanh")(x))
    # Not before a convolution: the converter would fold the sixth into that one's kernel.
    return conv(activation="hard_sigmoid")(conv(activation="tanh_shrink")(x))


def pools(x):
    x = layers.ReLU()(layers.MaxPooling2D()(conv()(x)))
    x = layers.ReLU()(layers.AveragePooling2D(2)(conv()(x)))
    x = layers.ZeroPadding2D(2)(layers.SpatialDropout2D(0.1)(conv()(x)))
    x = layers.Resizing(8, 8)(layers.Cropping2D(1)(x))
    x = layers.UpSampling2D(interpolation="bilinear")(conv()(x))
    return layers.ReLU()(layers.GlobalAveragePooling2D()(conv()(x)))


def merges(x):
    a, b = conv()(x), conv(activation="relu")(x)
    x = layers.ReLU()(layers.Add()([a, b, x := conv()(x)]))
    x = layers.Subtract()([conv()(x), x])
    x = layers.Multiply()([conv()(x), x])
    x = layers.Average()([conv()(x), x])
    x = layers.Maximum()([conv()(x), x])
    x = layers.Minimum()([conv()(x), conv(activation="sigmoid")(x)])
    return layers.ReLU()(layers.Concatenate()([layers.GaussianNoise(0.1)(x), conv()(x)]))


def tied_input(x):
    x = layers.Concatenate()([layers.MaxPooling2D()(x), conv(strides=2)(x)])
    return layers.GlobalMaxPooling2D()(layers.Identity()(x))


def squeeze_and_excite(x):
    x = conv(activation="relu")(x)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(6, 1, activation="sigmoid")(layers.Conv2D(2, 1, activation="relu")(gate))
    return layers.Multiply()([x, gate])


def operations(x):
    x = ops.relu(conv()(x) + conv()(x)) - conv()(x)
    return ops.sigmoid(conv()(ops.multiply(conv()(x) * 2.0 + 0.5, x := conv()(x))))


def nested(x):
    inner = inputs = keras.Input(x.shape[1:])
    for name in ("first", "second"):
        inner = layers.Activation("relu")(conv(4, name=name)(inner))
    block = keras.Model(inputs, inner, name="block")
    head = keras.Sequential([keras.Input(x.shape[1:]), layers.Permute((2, 1, 3)), conv()])
    x = head(block(block(x)))  # called twice, with the same weights
    x = layers.Dense(5, activation="log_softmax")(layers.Flatten()(layers.Reshape((8, 48))(x)))
    return layers.Softmax()(x)


def sequences(x):
    x = layers.Reshape((32, 8))(x)
    x = layers.Conv1D(6, 3, padding="causal", dilation_rate=2)(x)
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv1D(6, 3, strides=2)(x)))
    x = layers.MaxPooling1D()(layers.DepthwiseConv1D(3, padding="same")(x))
    x = layers.SeparableConv1D(6, 3, padding="same")(layers.SpatialDropout1D(0.1)(x))
    return layers.GlobalAveragePooling1D()(layers.AveragePooling1D(2)(x))


NETS = [
    convolutions, normalizations, activations, pools, merges, tied_input, squeeze_and_excite,
    operations, nested, sequences,
]  # fmt: skip


def model_of(net) -> keras.Model:
    keras.utils.set_random_seed(3)
    inputs = keras.Input((8, 8, 4))
    model = keras.Model(inputs, net(inputs))
    random = np.random.default_rng(5)
    for layer in model._flatten_layers():
        if isinstance(layer, layers.BatchNormalization):
            for weight in (layer.gamma, layer.beta, layer.moving_mean):
                if weight is not None:
                    weight.assign(random.normal(size=weight.shape))
            layer.moving_variance.assign(random.uniform(0.3, 2, layer.moving_variance.shape))
        elif getattr(layer, "bias", None) is not None:
            layer.bias.assign(random.normal(size=layer.bias.shape) * 0.2)
    return model


SAMPLES = np.random.default_rng(0).normal(size=(24, 8, 8, 4)).astype(np.float32)


def built(model, recipe: str = "qat", **node):
    nodes = {"node": AwareNode("node", model, **node)}
    return build(nodes, {"task": ("node",)}, {"task": Task("task", "mse")}, recipe_of(recipe))


@pytest.mark.slow
@pytest.mark.parametrize("net", NETS, ids=lambda net: net.__name__)
def test_node_is_equal_in_float_and_has_the_flatbuffers_ranges(net, converter) -> None:
    model = model_of(net)
    aware = built(model)
    floats = model(SAMPLES).numpy()
    np.testing.assert_allclose(aware.predict("task", SAMPLES), floats, atol=2e-5, rtol=1e-5)
    aware.begin_stage("quantize", 1)
    aware.calibrate({"task": SAMPLES})
    node = freeze("node", model)
    data = converter.quantize(node, converter.calibrate(node, SAMPLES))
    assert_same_ranges(aware, read_graph(data))
    interpreter = open_interpreter(data)
    codes = interpreter.run(interpreter.input.quantize(SAMPLES))
    difference = interpreter.output.dequantize(codes) - aware.predict("task", SAMPLES)
    assert np.abs(difference).mean() <= interpreter.output.scale


def assert_same_ranges(aware, graph) -> None:
    ours = {(one.spec.scale, one.spec.zero_point) for one in aware._ranges.all if one.spec}
    indices = {graph.inputs[0], *(index for op in graph.operators for index in op.outputs)}
    theirs = {
        (graph.tensors[i].quantization.scales[0], graph.tensors[i].quantization.zero_points[0])
        for i in indices
    }
    for some, others in ((ours, theirs), (theirs, ours)):
        for scale, zero_point in some:
            assert any(
                scale == pytest.approx(other, rel=1e-4) and abs(zero_point - code) <= 0
                for other, code in others
            ), (scale, zero_point, others)


def test_the_nets_use_every_layer_of_the_table() -> None:
    used = {type(layer) for net in NETS for layer in model_of(net)._flatten_layers()}
    # No operator of TensorFlow Lite Micro takes these, or nothing of them is left at inference.
    unused = {"UpSampling1D", "RepeatVector", "ELU", "Normalization", "Dot", "Cropping1D"}
    unused |= {"ZeroPadding1D", "GlobalMaxPooling1D", "AlphaDropout", "GaussianDropout"}
    unused |= {"ActivityRegularization"}
    assert {kind.__name__ for kind in LAYERS} - {kind.__name__ for kind in used} == unused


@pytest.mark.parametrize(
    ("layer", "bits"),
    [
        (conv(), [4]),
        (conv(groups=2), [8]),
        (layers.Conv2DTranspose(4, 3), [8]),
        (layers.Dense(4), [8]),
        (layers.DepthwiseConv2D(3, depth_multiplier=3, dilation_rate=2), [4]),
        (layers.SeparableConv2D(4, 3), [4, 4]),
    ],
)
def test_int4_kernels_are_those_that_are_stored_so(layer, bits: list[int]) -> None:
    inputs = keras.Input((8, 8, 4))
    aware = built(keras.Model(inputs, layer(inputs)), "int4")
    assert [kernel.bits for kernel in aware._weights.kernels()] == bits


@pytest.mark.parametrize(("settings", "bits"), [({}, 4), ({"depth_multiplier": 2}, 8)])
def test_depthwise_kernels_of_odd_channels_in_int4(settings, bits: int) -> None:
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, layers.DepthwiseConv2D(3, **settings)(inputs))
    (kernel,) = built(model, "int4")._weights.kernels()
    assert kernel.bits == bits


class Scale(layers.Layer):
    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1],), initializer="ones")

    def call(self, inputs):
        return inputs * self.kernel


class OwnConv(layers.Conv2D):
    pass


def test_unknown_layers_with_weights_are_refused_by_name() -> None:
    inputs = keras.Input((8, 8, 4))
    inner = keras.Sequential([inputs, Scale(name="gain")], name="block")
    with pytest.raises(AwareTrainingError, match=r"'node', layer 'block/gain' \(Scale\).*Conv2D"):
        built(keras.Model(inputs, inner(inputs)))
    with pytest.raises(AwareTrainingError, match=r"\(OwnConv\).*Use `keras.layers.Conv2D` itself"):
        built(keras.Model(inputs, OwnConv(2, 3)(inputs)))


def test_unknown_layers_run_in_nodes_that_are_not_trained() -> None:
    inputs = keras.Input((8, 8, 4))
    model = keras.Model(inputs, conv()(Scale(name="gain")(inputs)))
    aware = built(model, trained=False)
    np.testing.assert_allclose(aware.predict("task", SAMPLES), model(SAMPLES).numpy(), atol=1e-5)
    assert aware.weights() == {}


def test_layers_of_ones_own_without_weights_are_run() -> None:
    inputs = keras.Input((8, 8, 4))
    model = keras.Model(inputs, layers.Lambda(lambda x: x * x, name="square")(conv()(inputs)))
    aware = built(model)
    np.testing.assert_allclose(aware.predict("task", SAMPLES), model(SAMPLES).numpy(), atol=1e-5)


def test_lora_is_refused() -> None:
    inputs = keras.Input((8,))
    layer = layers.Dense(4, name="low_rank")
    model = keras.Model(inputs, layer(inputs))
    layer.enable_lora(2)
    with pytest.raises(AwareTrainingError, match=r"layer 'low_rank'.*LoRA"):
        built(model)
