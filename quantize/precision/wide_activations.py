"""int16 activations inside a node, int8 weights, and int8 at both ends: 16x8.

A QUANTIZE in front takes the seam's int8 codes to int16, one behind takes int16 to the int8 codes
of the next seam: both ends have the scale and zero point that they would have in plain int8, to the
bit. Inside, an activation has 65,535 codes instead of 256, symmetric about 0. Biases are int64:
TensorFlow Lite Micro's DEPTHWISE_CONV_2D and TRANSPOSE_CONV, and CMSIS-NN's FULLY_CONNECTED, read 8
bytes per channel whatever the tensor's type (kernels/depthwise_conv.cc,
`GetOptionalTensorData<int64_t>`).

Belongs here: the edits before and after the quantizer. Does not belong here: the quantizer
(`convert.py`), or which operators have int16 kernels (`conversion/refusal_table.py`).
"""

from __future__ import annotations

from quantize.precision.editing import GraphEdit, with_input
from quantize.tensor_spec import TensorSpec
from quantize.wire.anatomy import BIAS_INPUTS
from quantize.wire.encoding import Table, Vector


def prepared(calibrated: bytes) -> bytes:
    """Change in a calibrated float flatbuffer what its quantizer cannot take.

    Layers with equal biases share one buffer, and the quantizer would give it the scale of the
    first of them: the others would add a wrong bias (TensorFlow 2.21; of 34 dB of signal to noise
    ratio 3 were left in a net of three layers). And it divides by the range of an activation that
    was 0 for every sample.
    """
    graph = GraphEdit.open(calibrated)
    taken: set[int] = set()
    for place, operator in enumerate(graph.operators):
        position = BIAS_INPUTS.get(graph.name(operator))
        inputs = operator.numbers("inputs")
        if position is None or position >= len(inputs) or inputs[position] < 0:
            continue
        bias = inputs[position]
        if bias in taken:
            bias = graph.copy_tensor(bias)
            graph.operators[place] = with_input(operator, position, bias)
        taken.add(bias)
        values = graph.constant(bias, "<f4")
        if values is not None:
            graph.set_constant(bias, "FLOAT32", values.tobytes())
    graph.tensors = [_with_a_range(tensor) for tensor in graph.tensors]
    return graph.encode()


def _with_a_range(tensor: Table) -> Table:
    """Give a tensor that was always 0 the range -1 to 1."""
    quantization = tensor.get("quantization")
    if quantization is None or (*quantization.numbers("min"), *quantization.numbers("max")) != (
        0,
        0,
    ):
        return tensor
    ends = {"min": Vector.of("f32", [-1.0]), "max": Vector.of("f32", [1.0])}
    return tensor.replace(quantization=quantization.replace(**ends))


def with_int8_ends(wide: bytes, source: TensorSpec, target: TensorSpec) -> bytes:
    """Give a node of int16 activations int8 ends.

    Args:
        wide: A flatbuffer of int16 activations, one input and one output.
        source: What its input must be, int8.
        target: What its output must be, int8.

    Returns:
        The flatbuffer between two QUANTIZE.
    """
    graph = GraphEdit.open(wide)
    outer_input = graph.add_tensor("input_int8", source)
    outer_output = graph.add_tensor("output_int8", target)
    graph.operators = [
        graph.operator("QUANTIZE", outer_input, graph.inputs[0]),
        *graph.operators,
        graph.operator("QUANTIZE", graph.outputs[0], outer_output),
    ]
    graph.inputs, graph.outputs = [outer_input], [outer_output]
    return graph.encode()
