"""Dead channels against running kernels and against plain loops over every weight."""

import math

import numpy as np
import pytest

from deploy.lint.channel_range import channel_ranges
from quantize.flatbuffer import pack, read_graph, unpack
from quantize.interpreter import open_interpreter

SOURCE = (0.05, -10)  # scale and zero point
OUTPUT = (0.1, -128)
RELU = 1
# By kind: weights' code, scale of the weights, bias.
CHANNELS = {
    "live": (90, 0.01, 0),
    "all zero": (0, 0.01, 400),
    "below one quantum": (1, 1e-5, 20_000),
    "never above zero": (90, 0.01, -2_000_000),
    "always saturated": (90, 0.01, 2_000_000),
    "all zero and tiny": (0, 1e-12, 0),
}
OPERATORS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")


def one_layer(made, operator, activation=RELU, channels=CHANNELS, bias_bytes=4):
    """A node of one layer of weights, with one output channel per row of `channels`."""
    writer, count = made.FlatbufferWriter(), len(channels)
    codes, scales, biases = zip(*channels.values(), strict=True)
    depth = count if operator == "DEPTHWISE_CONV_2D" else 3
    shapes = {  # input, weights, output
        "CONV_2D": ((1, 4, 4, depth), (count, 3, 3, depth), (1, 4, 4, count)),
        "DEPTHWISE_CONV_2D": ((1, 4, 4, depth), (1, 3, 3, count), (1, 4, 4, count)),
        "FULLY_CONNECTED": ((1, depth), (count, depth), (1, count)),
        "TRANSPOSE_CONV": ((1, 4, 4, depth), (count, 3, 3, depth), (1, 4, 4, count)),
    }
    before, weights_shape, after = shapes[operator]
    weights = np.ones(weights_shape, np.int8)
    axis = 3 if operator == "DEPTHWISE_CONV_2D" else 0
    weights = np.moveaxis(np.moveaxis(weights, axis, -1) * np.array(codes, np.int8), -1, axis)
    source = writer.tensor(before, "INT8", *SOURCE)
    stored = writer.tensor(weights_shape, "INT8", scales, 0, weights, axis)
    products = np.float32(SOURCE[0]) * np.array(scales, np.float32)
    bias = writer.tensor((count,), "INT32", products, 0, np.array(biases, np.int32))
    output = writer.tensor(after, "INT8", *OUTPUT)
    inputs, options = [source, stored, bias], layer_options(writer.schema, operator, activation)
    if operator == "TRANSPOSE_CONV":
        shape = writer.tensor((4,), "INT32", data=np.array(after, np.int32))
        inputs = [shape, stored, source, bias]
    writer.operator(operator, inputs, [output], options, 3)
    return writer.bytes([source], [output])


def layer_options(schema, operator, activation):
    kinds = {
        "CONV_2D": schema.Conv2DOptionsT,
        "DEPTHWISE_CONV_2D": schema.DepthwiseConv2DOptionsT,
        "FULLY_CONNECTED": schema.FullyConnectedOptionsT,
        "TRANSPOSE_CONV": schema.TransposeConvOptionsT,
    }
    options = kinds[operator]()
    options.fusedActivationFunction = activation
    if operator != "FULLY_CONNECTED":
        options.strideW = options.strideH = 1
    if operator == "DEPTHWISE_CONV_2D":
        options.depthMultiplier = 1
    return options


def outputs_of(data, inputs):
    """int8 (samples, elements, channels)."""
    interpreter = open_interpreter(data)
    samples = np.concatenate(
        [np.asarray(one, np.int8).reshape(1, *interpreter.input.shape[1:]) for one in inputs]
    )
    outputs = interpreter.run(samples)
    return outputs.reshape(len(outputs), -1, outputs.shape[-1])


def some_inputs(data, count=40):
    graph, random = read_graph(data), np.random.default_rng(1)
    shape = graph.tensors[graph.inputs[0]].shape
    ends = [np.full(shape, code) for code in (-128, -10, 127)]
    return [*ends, *random.integers(-128, 128, (count, *shape))]


@pytest.mark.parametrize("operator", OPERATORS)
def test_every_kind_of_dead_channel_is_known_and_no_live_one(made, operator):
    data = one_layer(made, operator)
    (layer,) = channel_ranges(read_graph(data))
    assert dict(zip(CHANNELS, layer.is_dead, strict=True)) == {
        kind: kind != "live" for kind in CHANNELS
    }
    assert dict(zip(CHANNELS, layer.is_zero, strict=True)) == {
        kind: "all zero" in kind for kind in CHANNELS
    }


@pytest.mark.parametrize("operator", OPERATORS)
def test_running_kernels_give_a_dead_channel_one_code_or_two_neighbours(made, operator):
    data = one_layer(made, operator)
    (layer,) = channel_ranges(read_graph(data))
    outputs = outputs_of(data, some_inputs(data)).reshape(-1, len(CHANNELS)).astype(int)
    spread = outputs.max(axis=0) - outputs.min(axis=0)
    assert (spread[layer.is_dead] <= 1).all()
    assert (spread[~layer.is_dead] > 1).all()
    assert (spread[layer.is_zero] == 0).all()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("activation", [0, 1, 2, 3])
def test_no_input_moves_a_dead_channel_of_random_weights(made, seed, activation):
    """The inputs that drive each channel highest and lowest are known for a dense layer."""
    random = np.random.default_rng(seed)
    writer, length, count = made.FlatbufferWriter(), 12, 60
    codes = random.integers(-127, 128, (count, length)) * (random.random((count, length)) < 0.4)
    scales = np.float32(10.0 ** random.uniform(-7, -1, count))
    biases = random.integers(-60_000, 60_000, count).astype(np.int32)
    source = writer.tensor((1, length), "INT8", *SOURCE)
    weights = writer.tensor((count, length), "INT8", scales, 0, codes.astype(np.int8))
    bias = writer.tensor((count,), "INT32", np.float32(SOURCE[0]) * scales, 0, biases)
    output = writer.tensor((1, count), "INT8", 0.1, -20)
    options = layer_options(writer.schema, "FULLY_CONNECTED", activation)
    writer.operator("FULLY_CONNECTED", [source, weights, bias], [output], options, 5)
    data = writer.bytes([source], [output])
    (layer,) = channel_ranges(read_graph(data))
    highest = outputs_of(data, np.where(codes > 0, 127, -128))[:, 0].diagonal().astype(int)
    lowest = outputs_of(data, np.where(codes > 0, -128, 127))[:, 0].diagonal().astype(int)
    assert 0 < layer.is_dead.sum() < count
    assert ((highest - lowest)[layer.is_dead] <= 1).all()
    assert layer.is_dead[highest == lowest].mean() > 0.9


@pytest.mark.parametrize(
    ("span", "bias", "activation", "is_dead"),
    [
        (0.99, 0, 0, True),  # codes -0.458 to 0.532: two of them, less than one apart
        (1.01, 0, 0, False),
        (2.55, -137, RELU, True),  # the largest sum is 0: the ReLU never opens
        (2.55, -137 + 40, RELU, True),  # 0.40 rounds down
        (2.55, -137 + 60, RELU, False),  # 0.60 rounds up
        (2.55, -137, 0, False),
    ],
)
def test_the_edges_of_a_dead_channel(made, span, bias, activation, is_dead):
    """One weight of 1, whose product with an input code spans -118 to 137 steps."""
    writer = made.FlatbufferWriter()
    scale = np.float32(span / 255 * 0.1 / SOURCE[0])
    source = writer.tensor((1, 1), "INT8", *SOURCE)
    weights = writer.tensor((1, 1), "INT8", scale, 0, np.ones((1, 1), np.int8))
    stored = np.array([bias], np.int32)
    biases = writer.tensor((1,), "INT32", np.float32(SOURCE[0]) * scale, 0, stored)
    output = writer.tensor((1, 1), "INT8", 0.1, 0)
    options = layer_options(writer.schema, "FULLY_CONNECTED", activation)
    writer.operator("FULLY_CONNECTED", [source, weights, biases], [output], options, 4)
    data = writer.bytes([source], [output])
    (layer,) = channel_ranges(read_graph(data))
    assert layer.is_dead.tolist() == [is_dead]
    codes = outputs_of(data, [[-128], [127]]).reshape(-1).astype(int)
    assert codes[1] - codes[0] <= 1 if is_dead else codes[1] > codes[0]


def dead_by_loops(data):
    """(layers, channels, dead) by Python integers over the schema's objects, weight by weight."""
    model = unpack(data)
    graph, counted = model.subgraphs[0], []
    kinds = {3: 0, 4: 3, 9: 0}  # CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED: channels' axis
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        number = max(code.builtinCode, code.deprecatedBuiltinCode)
        if number not in kinds:
            continue
        source, weights, bias = (graph.tensors[i] for i in operator.inputs)
        after = graph.tensors[operator.outputs[0]].quantization
        stored = np.frombuffer(bytes(model.buffers[weights.buffer].data), np.int8)
        stored = np.moveaxis(stored.reshape(weights.shape), kinds[number], 0)
        biases = np.frombuffer(bytes(model.buffers[bias.buffer].data), np.int32).tolist()
        zero, scales = int(source.quantization.zeroPoint[0]), list(weights.quantization.scale)
        shift = int(after.zeroPoint[0])
        floor = shift if operator.builtinOptions.fusedActivationFunction == RELU else -128
        dead = 0
        for index, channel in enumerate(stored):
            step = float(source.quantization.scale[0]) * float(scales[index % len(scales)])
            step /= float(after.scale[0])
            low, high = (
                sum(pick(code * (-128 - zero), code * (127 - zero)) for code in codes_of(channel))
                for pick in (min, max)
            )
            first, last = (
                min(127, max(floor, math.floor((end + biases[index]) * step + 0.5) + shift))
                for end in (low, high)
            )
            dead += first == last or (high - low) * step < 1
        counted.append((len(stored), dead))
    return counted


def codes_of(channel):
    return channel.reshape(-1).tolist()


def test_the_public_models_have_no_dead_channel(public_models):
    channels = {}
    for name, data in public_models.items():
        layers = list(channel_ranges(read_graph(data)))
        channels[name] = sum(len(layer.is_dead) for layer in layers)
        assert [(len(layer.is_dead), layer.is_dead.sum()) for layer in layers] == [
            (count, 0) for count, _ in dead_by_loops(data)
        ], name
        assert not any(dead for _, dead in dead_by_loops(data)), name
    assert channels == {"ad01": 1_672, "kws": 588, "resnet": 346, "speech": 12}


@pytest.mark.parametrize(("quanta", "is_dead"), [(0.5, True), (1.5, True), (4.0, False)])
def test_a_public_model_with_shrunken_scales_agrees_with_loops(public_models, quanta, is_dead):
    """Every other channel gets a scale with which it spans about `quanta` codes."""
    model = unpack(public_models["resnet"])
    graph = model.subgraphs[0]
    for operator in graph.operators[:3]:
        source, weights, _ = (graph.tensors[i] for i in operator.inputs)
        after = graph.tensors[operator.outputs[0]].quantization.scale[0]
        stored = np.frombuffer(bytes(model.buffers[weights.buffer].data), np.int8)
        spans = 255 * np.abs(stored.reshape(weights.shape[0], -1).astype(int)).sum(axis=1)
        scales = np.array(weights.quantization.scale, np.float32)
        wanted = quanta * after / (source.quantization.scale[0] * spans)
        random = np.random.default_rng(3).uniform(0.6, 1.6, len(scales))
        scales[::2] = (wanted * random)[::2]
        weights.quantization.scale = scales
    data = pack(model)
    ours = [(len(layer.is_dead), layer.is_dead.sum()) for layer in channel_ranges(read_graph(data))]
    assert ours == dead_by_loops(data)
    assert any(dead for _, dead in ours) == is_dead


def test_bytes_of_a_channel_are_those_that_the_file_stores(made):
    sizes = {
        operator: next(channel_ranges(read_graph(one_layer(made, operator)))).channel_bytes
        for operator in OPERATORS
    }
    # Weights, a bias, and for weights and biases a scale and a zero point of every channel.
    own = 4 + 2 * (4 + 8)
    assert sizes == {
        "CONV_2D": 27 + own,
        "DEPTHWISE_CONV_2D": 9 + own,
        "FULLY_CONNECTED": 3 + own,
        "TRANSPOSE_CONV": 27 + own,
    }


def changed(data, change):
    model = unpack(data)
    change(model.subgraphs[0], model)
    return pack(model)


@pytest.mark.parametrize(
    "change",
    [
        lambda graph, _: setattr(graph.tensors[1].quantization, "zeroPoint", [3] * len(CHANNELS)),
        lambda graph, _: setattr(graph.tensors[0], "quantization", None),
        lambda graph, _: setattr(graph.tensors[3].quantization, "scale", [0.0]),
        lambda graph, _: setattr(graph.tensors[0].quantization, "zeroPoint", [2**40]),
        lambda graph, _: setattr(graph.operators[0], "inputs", [0, -1, 2]),
        lambda graph, _: setattr(graph.operators[0], "inputs", [0]),
        lambda graph, _: setattr(graph.operators[0], "outputs", []),
        lambda graph, _: setattr(graph.operators[0].builtinOptions, "fusedActivationFunction", 5),
        lambda graph, model: setattr(model.buffers[graph.tensors[1].buffer], "data", None),
        lambda graph, model: setattr(model.buffers[graph.tensors[2].buffer], "data", None),
        lambda graph, _: graph.operators.append(graph.operators[0]),
    ],
    ids=[
        "shifted weights", "no scale", "scale 0", "far zero point", "no weights", "one input",
        "no output", "unknown activation", "computed weights", "computed bias", "shared weights",
    ],
)  # fmt: skip
def test_a_layer_of_another_kind_is_not_judged(made, change):
    assert not list(channel_ranges(read_graph(changed(one_layer(made, "CONV_2D"), change))))


def test_a_layer_without_bias_is_judged(made):
    def drop_bias(graph, _):
        graph.operators[0].inputs = [0, 1, -1]

    (layer,) = channel_ranges(read_graph(changed(one_layer(made, "CONV_2D"), drop_bias)))
    assert layer.is_dead.tolist() == [False, True, True, False, False, True]
    assert layer.channel_bytes == 27 + 4 + 8
