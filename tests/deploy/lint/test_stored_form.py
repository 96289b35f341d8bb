"""Nodes in another form: lookup tables that decode to the same, and int8 of the same size."""

import numpy as np
import pytest
from made_forms import few_valued, with_int4, with_int16, with_tables

from deploy.lint.stored_form import as_int8, with_lookup_tables
from quantize.flatbuffer import read_graph
from quantize.precision.decoding import decoded
from quantize.strip import strip


@pytest.fixture(scope="module")
def network(made) -> bytes:
    """A convolution, a depthwise one, and a dense layer behind them."""
    writer = made.FlatbufferWriter()
    image = writer.tensor((1, 8, 8, 4), "INT8", 0.05, -128)
    wide = made.convolution(writer, image, (1, 8, 8, 4), 32, 0.04, 1)
    deep = made.convolution(writer, wide, (1, 8, 8, 32), 32, 0.05, 2, "DEPTHWISE_CONV_2D", 2)
    shape = writer.tensor((2,), "INT32", data=np.array([1, 512], np.int32))
    flat = writer.tensor((1, 512), "INT8", 0.05, -128)
    writer.operator("RESHAPE", [deep, shape], [flat], writer.schema.ReshapeOptionsT())
    return writer.bytes([image], [made.dense(writer, flat, 512, 24, 0.1, 3, 5)])


def constants(data: bytes) -> list[bytes]:
    return [tensor.data for tensor in read_graph(data).tensors if tensor.data is not None]


@pytest.mark.parametrize(("values", "bits"), [(16, 4), (8, 3), (4, 2), (2, 1)])
def test_tables_decode_to_the_weights(network, values, bits):
    plain = few_valued(network, values)
    form = with_lookup_tables(plain)
    assert form is not None
    assert form.values == values
    graph = read_graph(form.data)
    assert graph.operator_names == read_graph(plain).operator_names | {"TFLM_DECODE"}
    # The dense layer gains by 4 bits, the convolution of 36 weights a channel by 3, 9 by 1.
    decoders = [one for one in graph.operators if one.name == "TFLM_DECODE"]
    assert len(decoders) == {4: 1, 3: 2, 2: 2, 1: 3}[bits]
    for decoder in decoders:
        encoded, tables = (graph.tensors[index].data for index in decoder.inputs)
        count = np.prod(graph.tensors[decoder.outputs[0]].shape)
        assert len(encoded) == -(-count * bits // 8)
        assert tables[5] & 7 == bits
    assert sorted(constants(decoded(form.data))) == sorted(constants(plain))
    assert len(strip(form.data)) < len(strip(plain))


def test_weights_of_many_values_stay(network):
    assert with_lookup_tables(network) is None
    # Of 16 values in every layer, the convolutions' are too few for their tables.
    assert with_lookup_tables(few_valued(network)).most_beside == 16
    assert with_lookup_tables(few_valued(network, 2)).most_beside == 0


def test_weights_that_two_layers_share_are_decoded_for_each(made):
    writer = made.FlatbufferWriter()
    first = writer.tensor((1, 64), "INT8", 0.1, 0)
    last = made.dense(writer, made.dense(writer, first, 64, 64, 0.1, 0, 1), 64, 64, 0.1, 0, 1)
    shared, other = (operator.inputs[1] for operator in writer.graph.operators)
    writer.graph.operators[1].inputs[1] = shared
    assert other != shared
    graph = read_graph(with_tables(writer.bytes([first], [last])))
    assert [one.name for one in graph.operators] == ["TFLM_DECODE", "FULLY_CONNECTED"] * 2
    assert graph.operators[0].inputs == graph.operators[2].inputs
    assert graph.operators[0].outputs != graph.operators[2].outputs


def test_int4_and_int16_become_as_large_as_int8(network):
    assert as_int8(network) is network
    for form in (with_int4(network), with_int16(network)):
        other = as_int8(form)
        types = [tensor.dtype for tensor in read_graph(other).tensors]
        assert types == [tensor.dtype for tensor in read_graph(network).tensors]
        assert len(strip(other)) == len(strip(network)) != len(strip(form))


def test_the_conversions_at_the_ends_of_16x8_go(made):
    writer = made.FlatbufferWriter()
    first = writer.tensor((1, 16), "INT8", 0.1, 0)
    inner = writer.tensor((1, 16), "INT16", 0.001, 0)
    writer.operator("QUANTIZE", [first], [inner], writer.schema.QuantizeOptionsT())
    wide = made.dense(writer, inner, 16, 8, 0.1, 0, 1)
    writer.graph.tensors[wide].type = writer.schema.TensorType.INT16
    last = writer.tensor((1, 8), "INT8", 0.1, 0)
    writer.operator("QUANTIZE", [wide], [last], writer.schema.QuantizeOptionsT())
    graph = read_graph(as_int8(writer.bytes([first], [last])))
    assert [operator.name for operator in graph.operators] == ["FULLY_CONNECTED"]
    assert graph.operators[0].inputs[0] == graph.inputs[0]
    assert graph.operators[0].outputs == graph.outputs
    assert len(graph.tensors) == 4
