"""int4 weights: how they are packed, and that they compute what int8 with the same codes does."""

import numpy as np
import pytest

from quantize.flatbuffer import FlatbufferError, read_graph
from quantize.interpreter import open_interpreter
from quantize.macs import macs
from quantize.precision.editing import GraphEdit
from quantize.precision.int4 import packed_nibbles, unpacked_nibbles, with_int4_weights
from quantize.strip import strip


def int8_container(data):
    """The same codes, scales and biases with weights of one byte each."""
    graph = GraphEdit.open(data)
    for index, tensor in enumerate(graph.tensors):
        if graph.dtype(index) == "INT4":
            packed = graph.buffers[tensor.get("buffer")].get("data").data
            codes = unpacked_nibbles(packed, int(np.prod(graph.shape(index))))
            graph.set_constant(index, "INT8", codes.tobytes())
    return graph.encode()


def weights_of(data, names=("CONV_2D", "DEPTHWISE_CONV_2D")):
    graph = read_graph(data)
    return [graph.tensors[op.inputs[1]] for op in graph.operators if op.name in names]


def test_the_first_code_is_in_the_low_half():
    assert packed_nibbles(np.array([1, -1, 7, -7, 3])) == bytes([0xF1, 0x97, 0x03])
    assert packed_nibbles(np.array([[-8, 0]])) == bytes([0x08])
    assert packed_nibbles(np.zeros(0)) == b""


@pytest.mark.parametrize("count", [1, 2, 7, 16])
def test_codes_come_back(count):
    codes = np.random.default_rng(count).integers(-8, 8, count).astype(np.int8)
    assert np.array_equal(unpacked_nibbles(packed_nibbles(codes), count), codes)


def test_too_few_bytes_are_told():
    with pytest.raises(ValueError, match="must hold 3 codes, received 1 bytes of two each"):
        unpacked_nibbles(b"\x12", 3)


def test_int4_computes_what_int8_with_the_same_codes_does(random_nodes):
    for node in random_nodes:
        data = with_int4_weights(node.quantized, node.calibrated)
        for level in ("none", "compatible", "deep"):
            opened = open_interpreter(strip(data, level))
            expected = open_interpreter(int8_container(data)).run(node.codes)
            assert np.array_equal(opened.run(node.codes), expected), node.frozen.name
        assert macs(data) == macs(node.quantized)


def test_every_convolution_is_int4_and_every_dense_layer_is_not(random_nodes):
    for node in random_nodes:
        data = with_int4_weights(node.quantized, node.calibrated)
        graph = read_graph(data)
        for operator in graph.operators:
            if operator.name in ("CONV_2D", "DEPTHWISE_CONV_2D"):
                source, weights = (graph.tensors[index] for index in operator.inputs[:2])
                multiplies = source.shape[3] != weights.shape[3] and source.shape[3] % 2
                is_int8 = operator.name == "DEPTHWISE_CONV_2D" and multiplies
                assert weights.dtype == ("INT8" if is_int8 else "INT4")
        assert {tensor.dtype for tensor in weights_of(data, ("FULLY_CONNECTED",))} <= {"INT8"}
        packed = [tensor for tensor in weights_of(data) if tensor.dtype == "INT4"]
        saved = len(strip(node.quantized)) - len(strip(data))
        assert saved >= sum(len(tensor.data) for tensor in packed) - 16 * len(packed)


def test_a_bias_beside_weights_that_died_fits_its_32_bits(quantized_node):
    """As regularization leaves a filter: its output is its bias."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 6, 4))
    convolution = layers.Conv2D(6, 3)
    model = keras.Model(inputs, convolution(inputs))
    kernel, bias = convolution.get_weights()
    kernel[..., :4] *= [1e-12, 1e-9, 1e-7, 1e-5]
    bias[:4] = [1.0, -1.0, 1.0, 0.5]
    convolution.set_weights([kernel, bias])
    node = quantized_node("died", model)
    opened = open_interpreter(with_int4_weights(node.quantized, node.calibrated))
    outputs = opened.output.dequantize(opened.run(node.codes))
    assert np.abs(outputs - node.expected)[..., :4].max() <= opened.output.scale


def test_codes_are_nearest_to_the_float_weights(random_nodes):
    node = random_nodes[0]
    float_weights = weights_of(node.calibrated)[0]
    tensor = weights_of(with_int4_weights(node.quantized, node.calibrated))[0]
    axis = tensor.quantization.axis
    values = np.frombuffer(float_weights.data, np.float32).reshape(tensor.shape)
    codes = unpacked_nibbles(tensor.data, values.size).reshape(tensor.shape)
    scales = np.array(tensor.quantization.scales).reshape(
        [-1 if place == axis else 1 for place in range(4)]
    )
    others = tuple(place for place in range(4) if place != axis)
    assert np.array_equal(np.abs(codes).max(axis=others), np.full(tensor.shape[axis], 7))
    assert np.abs(codes * scales - values).max() <= 0.5001 * scales.max()
    assert (np.abs(codes * scales - values) <= 0.5001 * scales).all()


def test_a_layer_that_runs_twice(twice_node):
    data = with_int4_weights(twice_node.quantized, twice_node.calibrated)
    assert [tensor.dtype for tensor in weights_of(data)] == ["INT4", "INT4"]
    opened = open_interpreter(strip(data))
    outputs = opened.run(twice_node.codes)
    expected = open_interpreter(int8_container(data)).run(twice_node.codes)
    assert np.array_equal(outputs, expected)
    errors = opened.output.dequantize(outputs) - twice_node.expected
    assert np.square(errors).sum() < 0.1 * np.square(twice_node.expected).sum()


def test_what_cmsis_nn_would_compute_wrongly_stays_int8(quantized_node):
    import keras
    from keras import layers

    keras.utils.set_random_seed(1)
    inputs = keras.Input((8, 8, 3))
    x = layers.DepthwiseConv2D(3, depth_multiplier=2)(inputs)
    x = layers.DepthwiseConv2D(3, dilation_rate=2, padding="same")(x)
    x = layers.Conv2D(9, 3, groups=3)(x)
    x = layers.DepthwiseConv2D(3, dilation_rate=2, padding="same")(x)
    node = quantized_node("kernels", keras.Model(inputs, layers.DepthwiseConv2D(3)(x)))
    data = with_int4_weights(node.quantized, node.calibrated)
    kinds = [tensor.dtype for tensor in weights_of(data)]
    assert kinds == ["INT8", "INT4", "INT8", "INT8", "INT4"]
    expected = open_interpreter(int8_container(data)).run(node.codes)
    assert np.array_equal(open_interpreter(strip(data)).run(node.codes), expected)


def test_a_float_flatbuffer_of_another_node_is_told(random_nodes):
    message = "`calibrated` must be the float flatbuffer that `quantized` was made of"
    with pytest.raises(FlatbufferError, match=message):
        with_int4_weights(random_nodes[0].quantized, random_nodes[1].calibrated)


def test_other_weights_of_the_same_shapes_are_told(random_nodes):
    node = random_nodes[0]
    graph = GraphEdit.open(node.calibrated)
    for operator in graph.operators:
        if graph.name(operator) in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            index = operator.numbers("inputs")[1]
            values = graph.constant(index, np.float32)[..., ::-1] * 1.5
            graph.set_constant(index, "FLOAT32", np.ascontiguousarray(values).tobytes())
    with pytest.raises(FlatbufferError, match="received other weights"):
        with_int4_weights(node.quantized, graph.encode())


def test_a_channel_of_zeros_and_a_shared_bias(quantized_node):
    import keras

    keras.utils.set_random_seed(1)
    inputs = keras.Input((6, 6, 4))
    first, second = (keras.layers.Conv2D(4, 3, padding="same") for _ in range(2))
    model = keras.Model(inputs, second(first(inputs)))
    kernel = np.random.default_rng(0).normal(0, 0.2, (3, 3, 4, 4)).astype(np.float32)
    kernel[..., 2] = 0
    bias = np.array([0.5, -0.5, 0.25, 0.0], np.float32)
    first.set_weights([kernel, bias])
    second.set_weights([kernel * 2, bias])
    node = quantized_node("shared", model)
    data = with_int4_weights(node.quantized, node.calibrated)
    opened = open_interpreter(data)
    expected = open_interpreter(int8_container(data))
    assert np.array_equal(opened.run(node.codes), expected.run(node.codes))
    real = opened.output.dequantize(opened.run(node.codes))
    assert np.abs(real - node.expected).max() < 0.25 * np.abs(node.expected).max()
