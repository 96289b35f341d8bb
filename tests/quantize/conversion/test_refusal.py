"""What is refused, by the layer's name; and that every replacement is converted and runs."""

import re

import keras
import numpy as np
import pytest
from keras import layers, ops

from quantize.conversion.freezing import freeze
from quantize.conversion.refusal import RefusalError, check_flatbuffer, check_layers
from quantize.conversion.refusal_table import ACTIVATIONS, LAYERS
from quantize.interpreter import open_interpreter

PICTURE, SEQUENCE, VECTOR, VOLUME = (8, 8, 4), (8, 4), (16,), (4, 4, 4, 2)


def functional(make, shape=PICTURE, **settings):
    keras.utils.set_random_seed(0)
    inputs = keras.Input(shape, **settings)
    return keras.Model(inputs, make(inputs))


def refused(make, shape=PICTURE, **settings):
    """The message with which a node is refused by its layers."""
    with pytest.raises(RefusalError) as caught:
        check_layers("node", functional(make, shape, **settings))
    return str(caught.value)


def refused_flatbuffer(converter, make, shape=PICTURE):
    """The message with which a node is refused after its conversion."""
    data, node = convert(converter, functional(make, shape))
    with pytest.raises(RefusalError) as caught:
        check_flatbuffer(node, data)
    return str(caught.value)


def convert(converter, model):
    node = freeze("node", model)
    samples = np.random.default_rng(0).normal(size=(20, *model.input_shape[1:]))
    return converter.quantize(node, converter.calibrate(node, samples)), node


def assert_runs(converter, make, shape=PICTURE):
    """The node passes both checks, and int8 keeps its outputs."""
    model = functional(make, shape)
    check_layers("node", model)
    data, node = convert(converter, model)
    check_flatbuffer(node, data)
    samples = np.random.default_rng(0).normal(size=(20, *shape)).astype(np.float32)
    interpreter = open_interpreter(data)
    outputs = interpreter.output.dequantize(interpreter.run(interpreter.input.quantize(samples)))
    expected = np.asarray(model(samples, training=False))
    assert np.square(expected).sum() > 100 * np.square(expected - outputs).sum()


def named(layer):
    """A node of a dense layer and the one in question, which is called "culprit"."""
    layer.name = "culprit"
    return lambda x: layer(layers.Dense(x.shape[-1])(x))


def bare(layer):
    layer.name = "culprit"
    return layer


def attention(layer):
    layer.name = "culprit"
    return lambda x: layer(x, x)


def reshaped(*steps):
    return keras.Sequential([*steps])


# One line per row of the table `LAYERS`, in its order: the refused node, its input, and what the
# message says to use, built; None where that is a computation outside the tree.
ROWS = [
    (lambda: named(layers.GRU(4)), SEQUENCE, lambda: layers.GRU(4, unroll=True)),
    (
        lambda: named(layers.UpSampling2D(2)),
        PICTURE,
        lambda: layers.Resizing(16, 16, interpolation="nearest"),
    ),
    (
        lambda: named(layers.UpSampling2D(2, interpolation="bicubic")),
        PICTURE,
        lambda: layers.Resizing(16, 16, interpolation="bilinear"),
    ),
    (
        lambda: named(layers.UpSampling1D(2)),
        SEQUENCE,
        lambda: reshaped(
            layers.Reshape((8, 1, 4)),
            layers.Resizing(16, 1, interpolation="nearest"),
            layers.Reshape((16, 4)),
        ),
    ),
    (
        lambda: named(layers.Resizing(4, 4, interpolation="bicubic")),
        PICTURE,
        lambda: layers.Resizing(4, 4, interpolation="bilinear"),
    ),
    (lambda: named(layers.LayerNormalization()), PICTURE, layers.BatchNormalization),
    (lambda: named(layers.GroupNormalization(2)), PICTURE, layers.BatchNormalization),
    (lambda: named(layers.RMSNormalization()), PICTURE, layers.BatchNormalization),
    (lambda: named(layers.UnitNormalization()), PICTURE, layers.BatchNormalization),
    (lambda: named(layers.ELU()), PICTURE, layers.LeakyReLU),
    (
        lambda: named(layers.ReLU(max_value=4.0, negative_slope=0.1)),
        PICTURE,
        lambda: layers.ReLU(4.0),
    ),
    (lambda: bare(layers.Conv3D(2, 3)), VOLUME, lambda: planes(layers.Conv2D(2, 3))),
    (
        lambda: bare(layers.Conv3DTranspose(2, 3)),
        VOLUME,
        lambda: planes(layers.Conv2DTranspose(2, 3)),
    ),
    (lambda: bare(layers.MaxPooling3D()), VOLUME, lambda: planes(layers.MaxPooling2D())),
    (lambda: bare(layers.AveragePooling3D(2)), VOLUME, lambda: planes(layers.AveragePooling2D(2))),
    (lambda: bare(layers.UpSampling3D()), VOLUME, lambda: planes(layers.Resizing(8, 8))),
    (lambda: bare(layers.Cropping3D()), VOLUME, lambda: planes(layers.Cropping2D())),
    (
        lambda: named(layers.Conv2DTranspose(2, 3, dilation_rate=2)),
        PICTURE,
        lambda: layers.Conv2DTranspose(2, 3),
    ),
    (
        lambda: bare(layers.TimeDistributed(layers.Conv2D(2, 3))),
        (3, 6, 6, 2),
        lambda: reshaped(layers.Reshape((18, 6, 2)), layers.Conv2D(2, 3)),
    ),
    (
        lambda: bare(layers.RepeatVector(3)),
        VECTOR,
        lambda: lambda x: layers.Concatenate(axis=1)([layers.Reshape((1, 16))(x)] * 3),
    ),
    (
        lambda: attention(layers.GroupQueryAttention(4, 2, 1)),
        SEQUENCE,
        lambda: lambda x: layers.MultiHeadAttention(2, 4)(x, x),
    ),
    (lambda: bare(layers.Masking()), SEQUENCE, lambda: layers.Dense(4)),
    (lambda: bare(layers.Embedding(10, 4)), (6,), None),
    (lambda: bare(layers.Discretization(bin_boundaries=[0.0])), VECTOR, None),
    (lambda: bare(layers.CategoryEncoding(4, output_mode="multi_hot")), VECTOR, None),
    (lambda: bare(layers.Hashing(3)), VECTOR, None),
    (lambda: bare(layers.IntegerLookup(vocabulary=[1, 2])), VECTOR, None),
    (lambda: bare(layers.StringLookup(vocabulary=["a"])), VECTOR, None),
    (lambda: bare(layers.TextVectorization(vocabulary=["a"])), VECTOR, None),
    (lambda: bare(spectrogram(layers.STFTSpectrogram)), (64, 1), None),
    (lambda: bare(spectrogram(layers.MelSpectrogram)), (64,), None),
]


def planes(layer):
    return reshaped(layers.Reshape((4, 4, 8)), layer)


def spectrogram(kind):
    if kind is layers.STFTSpectrogram:
        return kind(frame_length=16, frame_step=8, fft_length=16)
    return kind(fft_length=16, sequence_stride=8, sampling_rate=100, num_mel_bins=4, min_freq=1)


INPUT_TYPES = {"IntegerLookup": "int64", "StringLookup": "string", "TextVectorization": "string"}


def test_every_row_of_the_table_is_tried():
    assert len(ROWS) == len(LAYERS)


@pytest.mark.parametrize(
    ("row", "case"),
    list(zip(LAYERS, ROWS, strict=True)),
    ids=[f"{row.layer} {row.why}" for row in LAYERS],
)
def test_a_refused_layer_is_named_with_its_replacement(row, case):
    make, shape, _ = case
    settings = {"dtype": INPUT_TYPES[row.layer]} if row.layer in INPUT_TYPES else {}
    shape = (1,) if row.layer == "TextVectorization" else shape
    message = refused(make(), shape, **settings)
    assert re.match(r"Node 'node', layer 'culprit' \(\w+\) must become int8 operators", message)
    assert row.why in message
    assert re.search(r"Use .* instead\.$", message)
    if isinstance(row.instead, str):
        assert row.instead in message


@pytest.mark.parametrize(
    "case",
    [case for case in ROWS if case[2] is not None],
    ids=[row.layer for row, case in zip(LAYERS, ROWS, strict=True) if case[2] is not None],
)
def test_the_replacement_is_converted_and_runs(converter, case):
    _, shape, instead = case
    assert_runs(converter, instead(), shape)


# The rows where the node is converted, and only its flatbuffer shows that it cannot be shipped: the
# table is not stricter than need be. (The others make the converter itself refuse or crash.)
CONVERTED = {
    "LayerNormalization",
    "GroupNormalization",
    "RMSNormalization",
    "UnitNormalization",
    "ELU",
    "ReLU",
    "Conv3D",
    "UpSampling1D",
    "UpSampling3D",
    "Cropping3D",
    "TimeDistributed",
    "RepeatVector",
    "GroupQueryAttention",
    "Masking",
    "Embedding",
}


@pytest.mark.parametrize(
    "case",
    [case for row, case in zip(LAYERS, ROWS, strict=True) if row.layer in CONVERTED],
    ids=[row.layer for row in LAYERS if row.layer in CONVERTED],
)
def test_without_the_table_the_flatbuffer_is_refused_with_the_layer(converter, case):
    make, shape, _ = case
    message = refused_flatbuffer(converter, make(), shape)
    assert re.search(r"Node 'node', layers? .*'culprit", message), message


def test_numbers_of_the_replacement_are_those_of_the_layer():
    message = refused(lambda x: layers.UpSampling2D((2, 3), name="up")(x))
    assert "`keras.layers.Resizing(16, 24, interpolation='nearest')`" in message
    message = refused(lambda x: layers.UpSampling1D(3, name="up")(x), SEQUENCE)
    assert "`Reshape((8, 1, 4))`, `Resizing(24, 1, interpolation='nearest')`" in message


ALLOWED_ACTIVATIONS = sorted(
    {name for _, instead in ACTIVATIONS.values() for name in re.findall(r"'(\w+)'", instead)}
)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_refused_activation_is_named_with_its_replacement(converter, activation):
    def make(x):
        return layers.Conv2D(4, 3, activation=activation, name="culprit")(x)

    message = refused(make)
    assert message.startswith("Node 'node', layer 'culprit' (Conv2D) must become int8 operators")
    assert f"its activation '{activation}' " in message
    assert ACTIVATIONS[activation][1] in message
    refused_flatbuffer(converter, make)


@pytest.mark.parametrize("activation", ALLOWED_ACTIVATIONS)
def test_a_replacing_activation_is_converted_and_runs(converter, activation):
    assert_runs(converter, layers.Conv2D(4, 3, activation=activation))


@pytest.mark.parametrize(
    "make",
    [
        lambda x: layers.Bidirectional(layers.LSTM(4, name="culprit"))(x),
        lambda x: layers.RNN(layers.GRUCell(4), name="culprit")(x),
        lambda x: functional(lambda y: layers.LSTM(4, name="culprit")(y), SEQUENCE)(x),
    ],
)
def test_rolled_loops_are_found_inside_others(make):
    assert re.search(r"layer '(\w+/)*(forward_)?culprit'.*`unroll=True`", refused(make, SEQUENCE))


@pytest.mark.parametrize(
    "layer",
    [
        lambda: layers.LSTM(4, unroll=True),
        lambda: layers.SimpleRNN(4, unroll=True),
        lambda: layers.Bidirectional(layers.LSTM(4, unroll=True)),
        lambda: layers.RNN([layers.GRUCell(4), layers.LSTMCell(3)], unroll=True),
    ],
)
def test_unrolled_loops_run(converter, layer):
    assert_runs(converter, layer(), (5, 4))


def test_an_activation_of_a_gate_is_found():
    message = refused(
        lambda x: layers.GRU(4, unroll=True, recurrent_activation="softplus")(x), SEQUENCE
    )
    assert "its recurrent_activation 'softplus' " in message


@pytest.mark.parametrize("policy", ["mixed_float16", "bfloat16", "float64"])
def test_other_precisions_are_refused(policy):
    message = refused(lambda x: layers.Conv2D(2, 1, dtype=policy, name="culprit")(x))
    assert "layer 'culprit' (Conv2D)" in message
    assert "Use the dtype policy 'float32'" in message


def test_a_layer_that_keras_has_quantized_is_refused():
    model = functional(lambda x: layers.Dense(4, name="culprit")(x), VECTOR)
    model.layers[1].quantize("int8")
    with pytest.raises(RefusalError, match=r"'culprit' .*quantized by Keras"):
        check_layers("node", model)


@pytest.mark.parametrize(
    ("function", "operator", "instead"),
    [
        (keras.activations.gelu, "GELU", "'silu' or 'hard_silu'"),
        (keras.activations.elu, "ELU", "'leaky_relu' or 'relu'"),
        (lambda x: ops.tile(x, (1, 2, 1, 1)), "TILE", "`keras.layers.Concatenate`"),
        (ops.exp, "EXP", "'relu', 'sigmoid' or 'softmax'"),
        (lambda x: ops.log(ops.relu(x) + 1.0), "LOG", "logarithm outside the tree"),
        (lambda x: ops.sqrt(ops.relu(x) + 1.0), "SQRT", "`keras.ops.rsqrt`"),
        (ops.negative, "NEG", "`keras.ops.multiply(x, -1.0)`"),
        (ops.square, "SQUARE", "`keras.ops.multiply(x, x)`"),
        (lambda x: ops.where(x > 0.0, x, x * 2.0), "SELECT", "`keras.ops.maximum`"),
        (lambda x: ops.power(ops.relu(x) + 1.0, 1.5), "POW", "`keras.ops.multiply`"),
        (ops.sin, "SIN", "another layer"),
    ],
)
def test_an_operator_without_an_int8_kernel_is_refused(converter, function, operator, instead):
    message = refused_flatbuffer(
        converter, lambda x: layers.Lambda(function, name="culprit")(layers.Dense(4)(x))
    )
    assert re.match(r"Node 'node', layers? 'culprit'", message), message
    assert f"it becomes {operator}, which has no int8 form there" in message
    assert instead in message


def test_an_operation_outside_any_layer_is_refused(converter):
    message = refused_flatbuffer(converter, lambda x: ops.sin(x))
    assert message.startswith("Node 'node', an operation outside any layer must become int8")


@pytest.mark.parametrize(
    "function",
    [
        lambda x: ops.multiply(x, -1.0),
        lambda x: ops.multiply(x, x),
        lambda x: ops.rsqrt(ops.relu(x) + 1.0),
        lambda x: ops.maximum(x, x * 2.0),
    ],
)
def test_replacing_operations_run(converter, function):
    assert_runs(converter, lambda x: layers.Lambda(function)(layers.Dense(4)(x)))
