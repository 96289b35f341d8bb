"""What cannot be compiled is refused: the node, the operator, and what to do."""

import math

import numpy as np
import pytest

from deploy.codegen import CodegenError, compile_bundle
from deploy.codegen.constants import ConstantStore
from deploy.codegen.lowering.node import lower_node
from deploy.codegen.lowering.shapes import broadcast_strides, merge_axes, row_major


def lower(data):
    return lower_node("net", data, ConstantStore(), "portable")


def unary(writer, name, options=None, shape=(1, 4), after=None, dtype="INT8", ends=(0.1, 0)):
    source = writer.tensor(shape, dtype, 0.1, 0)
    target = writer.tensor(after or shape, dtype, *ends)
    writer.operator(name, [source], [target], options)
    return writer.bytes([source], [target])


def test_an_operator_without_a_kernel(flatbuffer_writer):
    with pytest.raises(CodegenError, match=r"node 'net', operator 0, ELU: .* --runtime tflm"):
        lower(unary(flatbuffer_writer(), "ELU"))


def test_a_near_operator_is_named(flatbuffer_writer):
    with pytest.raises(CodegenError, match="or REDUCE_MAX"):
        lower(unary(flatbuffer_writer(), "REDUCE_MIN"))


@pytest.mark.parametrize("dtype", ["FLOAT32", "INT16"])
def test_an_end_of_another_type(flatbuffer_writer, dtype):
    with pytest.raises(CodegenError, match=f"an int8 input is expected, received {dtype}"):
        lower(unary(flatbuffer_writer(), "RELU", dtype=dtype))


def test_floats_within(flatbuffer_writer):
    writer = flatbuffer_writer()
    ends = [writer.tensor((1, 4), "INT8", 0.1, 0) for _ in range(2)]
    middle = writer.tensor((1, 4), "FLOAT32")
    writer.operator("DEQUANTIZE", ends[:1], [middle])
    writer.operator("QUANTIZE", [middle], ends[1:])
    with pytest.raises(CodegenError, match="operator 0, DEQUANTIZE"):
        lower(writer.bytes(ends[:1], ends[1:]))


def test_several_inputs(flatbuffer_writer):
    writer = flatbuffer_writer()
    a, b, c = (writer.tensor((1, 4), "INT8", 0.1, 0) for _ in range(3))
    writer.operator("ADD", [a, b], [c], writer.schema.AddOptionsT())
    with pytest.raises(CodegenError, match="node 'net': one input is expected, received 2"):
        lower(writer.bytes([a, b], [c]))


def test_several_subgraphs(flatbuffer_writer):
    writer = flatbuffer_writer()
    writer.model.subgraphs.append(writer.graph)
    with pytest.raises(CodegenError, match="one subgraph is expected, received 2"):
        lower(unary(writer, "RELU"))


def test_a_size_of_zero(flatbuffer_writer):
    with pytest.raises(CodegenError, match="fixed sizes of at least 1"):
        lower(unary(flatbuffer_writer(), "RELU", shape=(0, 4)))


def test_a_softmax_of_another_scale(flatbuffer_writer):
    writer = flatbuffer_writer()
    options = writer.schema.SoftmaxOptionsT()
    options.beta = 1.0
    with pytest.raises(CodegenError, match="SOFTMAX: an output of scale 1/256"):
        lower(unary(writer, "SOFTMAX", options))


def test_a_softmax_whose_sum_of_ones_is_0_in_32_bits(flatbuffer_writer):
    def softmax(columns):
        writer = flatbuffer_writer()
        options = writer.schema.SoftmaxOptionsT()
        options.beta = 1.0
        return unary(writer, "SOFTMAX", options, shape=(1, columns), ends=(1 / 256, -128))

    lower(softmax(8191))
    with pytest.raises(CodegenError, match=r"at most 8,191 codes in a row .*, received 8,192"):
        lower(softmax(8192))


def test_weights_with_a_zero_point(flatbuffer_writer):
    writer = flatbuffer_writer()
    source, target = (writer.tensor((1, 4), "INT8", 0.1, 0) for _ in range(2))
    weights = writer.tensor((4, 4), "INT8", 0.1, 3, np.ones((4, 4), np.int8))
    options = writer.schema.FullyConnectedOptionsT()
    writer.operator("FULLY_CONNECTED", [source, weights, -1], [target], options)
    with pytest.raises(CodegenError, match="FULLY_CONNECTED: int8 weights with zero points of 0"):
        lower(writer.bytes([source], [target]))


def test_weights_that_are_computed(flatbuffer_writer):
    writer = flatbuffer_writer()
    source, target = (writer.tensor((4, 4), "INT8", 0.1, 0) for _ in range(2))
    options = writer.schema.FullyConnectedOptionsT()
    writer.operator("FULLY_CONNECTED", [source, source, -1], [target], options)
    with pytest.raises(CodegenError, match="constant weights are expected"):
        lower(writer.bytes([source], [target]))


def test_what_the_arithmetic_refuses_names_the_operator(flatbuffer_writer):
    with pytest.raises(CodegenError, match="node 'net', operator 0, HARD_SWISH: `output_scale`"):
        lower(unary(flatbuffer_writer(), "HARD_SWISH", ends=(1e-6, 0)))


def test_a_state(flatbuffer_writer):
    writer = flatbuffer_writer()
    data = unary(writer, "RELU")
    writer.graph.tensors[0].isVariable = True
    data = writer.bytes([0], [1])
    with pytest.raises(CodegenError, match="a node without state"):
        lower(data)


def test_a_constant_output(flatbuffer_writer):
    writer = flatbuffer_writer()
    source = writer.tensor((1, 4), "INT8", 0.1, 0)
    constant = writer.tensor((1, 4), "INT8", 0.1, 0, np.ones((1, 4), np.int8))
    with pytest.raises(CodegenError, match="a computed output is expected"):
        lower(writer.bytes([source], [constant]))


def test_a_wrong_instruction_set(device_bundle):
    with pytest.raises(CodegenError, match="`isa` must be one of portable, dsp, mve"):
        compile_bundle(device_bundle, isa="neon")


def test_what_only_renames_takes_no_step(flatbuffer_writer):
    writer = flatbuffer_writer()
    source = writer.tensor((1, 2, 2, 3), "INT8", 0.1, 4)
    flat = writer.tensor((1, 12), "INT8", 0.1, 4)
    same = writer.tensor((1, 12), "INT8", 0.1, 4)
    shape = writer.tensor((2,), "INT32", data=np.array([1, 12], np.int32))
    writer.operator("RESHAPE", [source, shape], [flat], writer.schema.ReshapeOptionsT())
    writer.operator("QUANTIZE", [flat], [same], writer.schema.QuantizeOptionsT())
    node = lower(writer.bytes([source], [same]))
    assert (node.steps, node.input, node.output) == ((), 0, 0)


def test_a_function_that_only_cuts_off_takes_no_table(flatbuffer_writer):
    store = ConstantStore()
    data = unary(flatbuffer_writer(), "RELU")
    (step,) = lower_node("net", data, store, "portable").steps
    assert step.calls[0].function == "kt_clamp"
    assert store.stored() == ()


def test_shapes():
    assert row_major((2, 3, 4)) == [12, 4, 1]
    assert merge_axes((2, 3, 4), (12, 4, 1)) == ((1, 1, 1, 24), (0, 0, 0, 1))
    assert merge_axes((2, 1, 4), (8, 9, 1), (4, 9, 1)) == ((1, 1, 2, 4), (0, 0, 8, 1), (0, 0, 4, 1))
    assert merge_axes((2,) * 5, (1, 2, 4, 8, 16)) is None
    assert broadcast_strides((3, 1), (2, 3, 4)) == [0, 1, 0]
    assert broadcast_strides((5,), (2, 3)) is None
    assert broadcast_strides((1, 2, 3), (2, 3)) is None


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 1, 0, 2), (2, 3, 1, 0)])
def test_merged_axes_walk_the_same_elements(order):
    shape = (2, 3, 1, 4)
    steps = row_major(shape)
    sizes, walk = [shape[i] for i in order], [steps[i] for i in order]
    merged_sizes, merged_walk = merge_axes(sizes, walk)

    def places(sizes, steps):
        grids = np.meshgrid(*map(np.arange, sizes), indexing="ij")
        return sum(g * s for g, s in zip(grids, steps, strict=True)).ravel().tolist()

    assert places(sizes, walk) == places(merged_sizes, merged_walk)
    assert math.prod(merged_sizes) == math.prod(shape)
