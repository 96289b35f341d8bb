"""Weights as lookup tables: few values, equal outputs, and fewer bytes."""

import numpy as np
import pytest

from quantize.flatbuffer import anatomy, read_graph
from quantize.interpreter import open_interpreter, record_arena
from quantize.macs import macs
from quantize.precision import lookup_tables
from quantize.precision.choice import PrecisionError
from quantize.precision.decoding import DECODE, decoded, lookup_table
from quantize.precision.editing import GraphEdit
from quantize.precision.lookup_tables import with_lookup_tables
from quantize.precision.stored_form import check_installed, with_tables
from quantize.strip import strip
from quantize.wire.writer import encode

WEIGHTED = lookup_tables.OPERATORS


def decoders(data):
    graph = read_graph(data)
    return [
        lookup_table(graph, operator) for operator in graph.operators if operator.name == DECODE
    ]


def weights_of(data):
    graph = read_graph(data)
    tensors = [graph.tensors[op.inputs[1]] for op in graph.operators if op.name in WEIGHTED]
    return [np.frombuffer(tensor.data, np.int8).reshape(tensor.shape) for tensor in tensors]


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_compressed_nodes_compute_what_their_decoded_ones_do(random_nodes, bits):
    compressed = 0
    for node in random_nodes:
        data = strip(with_lookup_tables(node.quantized, bits, node.codes))
        plain = decoded(data)
        outputs = open_interpreter(data).run(node.codes)
        assert np.array_equal(open_interpreter(plain).run(node.codes), outputs)
        assert len(data) <= len(strip(node.quantized))
        assert macs(data) == macs(node.quantized)
        assert sum(anatomy(data).values()) == len(data)
        assert record_arena(data).total_bytes > 0
        for table in decoders(data):
            assert table.bits <= bits
            assert table.tables.shape[1] <= 2**bits
            compressed += 1
    assert compressed >= 9


@pytest.mark.parametrize("bits", [2, 4])
def test_what_is_not_compressed_keeps_its_codes(random_nodes, bits):
    for node in random_nodes:
        data = strip(with_lookup_tables(node.quantized, bits, node.codes))
        pairs = zip(weights_of(node.quantized), weights_of(decoded(data)), strict=True)
        changed = [not np.array_equal(before, after) for before, after in pairs]
        assert sum(changed) <= len(decoders(data))


@pytest.mark.filterwarnings("ignore:Compression of tensor .* in expansion")
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_no_other_choice_of_tensors_is_smaller(random_nodes, bits):
    for node in random_nodes[:4]:
        found = len(strip(with_lookup_tables(node.quantized, bits, node.codes)))
        graph = GraphEdit.open(node.quantized)
        every = {}
        for weights in lookup_tables._candidates(graph):
            codes = weights.clustered(bits)
            every[weights.index] = lookup_tables._needed_bits(codes, weights.axis), weights.axis
            graph.set_constant(weights.index, "INT8", codes.tobytes())
        for left_out in [None, *every]:
            chosen = {index: form for index, form in every.items() if index != left_out}
            other = strip(lookup_tables._compressed(graph.encode(), chosen)) if chosen else b""
            assert not chosen or len(other) >= found - 32


def clustered_model(values, seed=0):
    """Two layers whose float weights have so many values per channel, and batch normalization."""
    import keras
    from keras import layers

    inputs = keras.Input((8, 8, 12))
    x = layers.Conv2D(20, 3, padding="same")(inputs)
    x = layers.BatchNormalization()(x)
    x = layers.ReLU()(x)
    x = layers.DepthwiseConv2D(5, padding="same", depth_multiplier=2)(x)
    outputs = layers.Dense(30)(layers.Flatten()(layers.MaxPooling2D(4)(x)))
    model = keras.Model(inputs, outputs)
    random = np.random.default_rng(seed)
    for layer in model.layers:
        if layer.weights and not isinstance(layer, layers.BatchNormalization):
            shape = layer.weights[0].shape
            per_channel = "Depthwise" in type(layer).__name__
            channels = shape[-2] * shape[-1] if per_channel else shape[-1]
            tables = random.normal(0, 0.1, (channels, values))
            picked = random.integers(0, values, (np.prod(shape) // channels, channels))
            kernel = tables[np.arange(channels), picked].reshape(shape)
            layer.set_weights([kernel, random.normal(0, 0.1, layer.weights[1].shape)])
        elif layer.weights:
            layer.set_weights([random.uniform(0.5, 1.5, weight.shape) for weight in layer.weights])
    return model


@pytest.mark.parametrize(("values", "bits"), [(16, 4), (8, 3), (4, 2)])
def test_trained_clusters_survive_to_the_code(quantized_node, values, bits):
    node = quantized_node(f"clustered{values}", clustered_model(values))
    data = strip(with_lookup_tables(node.quantized, bits, node.codes))
    assert len(decoders(data)) >= 2
    for before, after in zip(weights_of(node.quantized), weights_of(decoded(data)), strict=True):
        assert np.array_equal(before, after)
    assert np.array_equal(
        open_interpreter(data).run(node.codes), open_interpreter(node.quantized).run(node.codes)
    )


@pytest.mark.parametrize("bits", [2, 3])
def test_a_layer_that_runs_twice_is_decoded_twice(twice_node, bits):
    data = strip(with_lookup_tables(twice_node.quantized, bits, twice_node.codes))
    assert len(decoders(data)) == 2
    plain = decoded(data)
    assert len(plain) == len(strip(twice_node.quantized))
    outputs = open_interpreter(data).run(twice_node.codes)
    assert np.array_equal(open_interpreter(plain).run(twice_node.codes), outputs)


def test_fewer_values_than_asked_take_fewer_bits(quantized_node):
    node = quantized_node("eight", clustered_model(8))
    data = with_lookup_tables(node.quantized, 4, node.codes)
    assert {table.bits for table in decoders(data)} == {3}


def test_depthwise_tables_are_on_the_last_axis_and_others_on_the_first(quantized_node):
    node = quantized_node("four", clustered_model(4))
    graph = read_graph(with_lookup_tables(node.quantized, 2, node.codes))
    axes = {}
    for operator in graph.operators:
        if operator.name == DECODE:
            reader = next(op for op in graph.operators if operator.outputs[0] in op.inputs)
            axes[reader.name] = lookup_table(graph, operator).axis
    assert axes == {"CONV_2D": 0, "FULLY_CONNECTED": 0, "DEPTHWISE_CONV_2D": 3}


def dense_node(writer, axis_scales, units=24, length=60):
    """A fully connected layer, its scale per tensor or per channel."""
    random = np.random.default_rng(3)
    source = writer.tensor((1, length), "INT8", 0.05, 3)
    codes = random.integers(-127, 128, (units, length)).astype(np.int8)
    weights = writer.tensor((units, length), "INT8", axis_scales, 0, codes)
    target = writer.tensor((1, units), "INT8", 0.5, -3)
    options = writer.schema.FullyConnectedOptionsT()
    writer.operator("FULLY_CONNECTED", [source, weights, -1], [target], options, 4)
    return writer.bytes([source], [target]), random.integers(-128, 128, (8, length)).astype(np.int8)


def test_weights_of_one_scale_have_one_table(writer):
    data, codes = dense_node(writer, 0.01)
    (table,) = decoders(with_lookup_tables(data, 3, codes))
    assert (table.axis, table.tables.shape) == (None, (1, 8))


def test_one_scale_on_another_axis_is_left_as_it_is(writer):
    # One channel of a depthwise convolution: the kernel of TFLM_DECODE refuses its axis.
    source = writer.tensor((1, 40, 40, 1), "INT8", 0.05)
    codes = np.random.default_rng(0).integers(-127, 128, (1, 35, 35, 1)).astype(np.int8)
    weights = writer.tensor((1, 35, 35, 1), "INT8", (0.01,), 0, codes, axis=3)
    target = writer.tensor((1, 6, 6, 1), "INT8", 5.0)
    options = writer.schema.DepthwiseConv2DOptionsT()
    options.strideW = options.strideH = options.depthMultiplier = 1
    options.dilationWFactor = options.dilationHFactor = options.padding = 1
    writer.operator("DEPTHWISE_CONV_2D", [source, weights, -1], [target], options, 3)
    data = writer.bytes([source], [target])
    assert with_lookup_tables(data, 2, np.zeros((1, 40, 40, 1), np.int8)) is data


def test_nothing_to_gain_leaves_the_bytes_alone(writer):
    data, codes = dense_node(writer, np.full(24, 0.01), length=20)
    assert with_lookup_tables(data, 4, codes) is data


def test_files_with_operator_codes_in_the_older_field_alone(writer):
    data, codes = dense_node(writer, np.full(24, 0.01), length=200)
    graph = GraphEdit.open(data)
    older = [code.replace(builtinCode=None) for code in graph.codes]
    old = graph.model.replace(operatorCodes=tuple(older))
    assert older[0].get("deprecatedBuiltinCode") == 9
    compressed = with_lookup_tables(encode(old), 3, codes)
    assert [op.name for op in read_graph(compressed).operators] == [DECODE, "FULLY_CONNECTED"]


def test_indices_have_no_scales_and_buffers_are_aligned(writer):
    data, codes = dense_node(writer, np.full(24, 0.01), length=200)
    for level in ("none", "compatible", "deep"):
        compressed = strip(with_lookup_tables(data, 4, codes), level)
        graph = read_graph(compressed)
        operator = graph.operators[0]
        encoded, tables = (graph.tensors[index] for index in operator.inputs)
        assert encoded.dtype == tables.dtype == "UINT8"
        assert compressed.count(encoded.data) == compressed.count(tables.data) == 1
        for tensor in (encoded, tables):
            assert compressed.index(tensor.data) % 16 == 0
        raw = GraphEdit.open(compressed)
        assert raw.tensors[encoded.index].get("quantization") is None
        assert len(graph.tensors[operator.outputs[0]].quantization.scales) == 24


def test_the_same_node_gives_the_same_bytes(random_nodes):
    node = random_nodes[0]
    first, second = (with_lookup_tables(node.quantized, 3, node.codes) for _ in range(2))
    assert first == second


def test_a_compressor_that_errs_is_found_out(writer, monkeypatch):
    data, codes = dense_node(writer, np.full(24, 0.01), length=200)
    honest = lookup_tables._compressed

    def wrong(plain, chosen):
        graph = GraphEdit.open(honest(plain, chosen))
        tables = graph.operators[0].numbers("inputs")[1]
        content = graph.constant(tables, np.uint8).copy()
        content[16:] ^= 64
        graph.set_constant(tables, "UINT8", content.tobytes())
        return graph.encode()

    monkeypatch.setattr(lookup_tables, "_compressed", wrong)
    with pytest.raises(PrecisionError, match="received other outputs for 8 of 8 samples"):
        with_lookup_tables(data, 4, codes)


def test_where_the_compressor_is_not_installed_it_is_told_first(monkeypatch):
    monkeypatch.setattr("quantize.precision.stored_form.tflm_version", lambda: None)
    check_installed(["int8", "int4", "16x8"])
    with pytest.raises(PrecisionError, match=r"'lut3' must have .* Linux on x86-64.*'16x8'"):
        check_installed(["int8", "lut3"])


def test_features_prove_a_node(writer):
    data, codes = dense_node(writer, np.full(24, 0.01), length=200)
    features = (codes.astype(np.float32) - 3) * np.float32(0.05)
    assert with_tables(data, 4, features) == with_lookup_tables(data, 4, codes)
