"""Every operator that is let through in 16x8 gives on TFLM what LiteRT's kernels give."""

import numpy as np
import pytest

from quantize.conversion.refusal_table import WIDE_OPERATORS
from quantize.flatbuffer import read_graph
from quantize.interpreter import open_interpreter
from quantize.precision.stored_form import quantize_step

SHAPE = (8, 8, 4)


def convolved(x):
    from keras import layers

    return layers.Conv2D(5, 3, padding="same")(x)


def arithmetic(x):
    from keras import layers, ops

    first, second = convolved(x), convolved(x)
    total = layers.Add()([first, layers.Multiply()([first, second])])
    rest = layers.Subtract()([ops.abs(total), second])
    return ops.minimum(ops.maximum(rest, first), total)


def activations(x):
    from keras import layers

    x = layers.LeakyReLU()(convolved(layers.ReLU()(x)))
    x = layers.Activation("tanh")(convolved(x))
    return layers.Activation("sigmoid")(convolved(x))


def roots(x):
    from keras import ops

    return convolved(ops.rsqrt(ops.abs(convolved(x)) + 1.0))


def differences(x):
    from keras import ops

    return convolved(ops.square(convolved(x) - convolved(x)))


def places(x):
    from keras import layers, ops

    x = layers.ZeroPadding2D()(layers.MaxPooling2D()(convolved(x)))
    x = layers.Resizing(8, 8, interpolation="nearest")(x)
    x = layers.Permute((2, 1, 3))(ops.flip(x, axis=1))
    x = layers.Concatenate()([x[:, 1:7], ops.split(x, [2], axis=1)[1]])
    return layers.AveragePooling2D(2)(layers.Conv2DTranspose(3, 3)(x))


def parts(x):
    from keras import layers, ops

    left, right = ops.split(layers.Conv2D(6, 3)(x), 2, axis=-1)
    return ops.stack([layers.Flatten()(left), layers.Flatten()(right)], axis=1)


def products(x):
    from keras import layers

    x = layers.DepthwiseConv2D(3, depth_multiplier=2)(x)
    x = layers.Reshape((36, 8))(x)
    x = layers.MultiHeadAttention(2, 4)(x, x)
    return layers.Dense(3)(layers.GlobalAveragePooling1D()(x))


def steps(x):
    from keras import layers

    return layers.Dense(3)(layers.LSTM(5, unroll=True)(layers.Reshape((4, 64))(x)))


def sliced(x):
    from keras import ops

    return convolved(ops.slice(convolved(x), [0, 1, 1, 0], [1, 4, 4, 5]))


FAMILIES = (
    arithmetic, activations, roots, differences, places, parts, products, steps, sliced,
)  # fmt: skip
# LiteRT's SQUARED_DIFFERENCE takes no int16: what is kept of the float node is all there is.
WITHOUT_LITERT = (differences,)


@pytest.fixture(scope="module")
def seen():
    return set()


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_every_operator_gives_what_litert_gives(family, quantized_node, converter, seen, kept_db):
    import keras

    keras.utils.set_random_seed(4)
    inputs = keras.Input(SHAPE, batch_size=1 if family is sliced else None)
    model = keras.Model(inputs, family(inputs))
    random = np.random.default_rng(0)
    for weight in model.weights:
        if len(weight.shape) == 1:
            weight.assign(random.normal(0.1, 0.2, weight.shape))
    node = quantized_node(family.__name__, model)
    data = quantize_step(converter, node.frozen, "16x8")(node.calibrated)
    seen |= read_graph(data).operator_names
    outputs = open_interpreter(data).run(node.codes)
    if family not in WITHOUT_LITERT:
        expected = open_interpreter(data, "litert").run(node.codes)
        assert np.abs(outputs.astype(int) - expected).max() <= 1
    if family is not sliced:
        assert kept_db(node, data) > kept_db(node, node.quantized) - 0.5


@pytest.mark.slow
def test_no_operator_is_let_through_untried(seen):
    assert seen - {"QUANTIZE"} == WIDE_OPERATORS
