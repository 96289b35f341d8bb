"""Multiply-accumulates of one inference of a flatbuffer, counted from its tensors' shapes.

Counted are the operators whose work is multiplying by weights: convolutions, fully connected
layers and matrix products. Padding counts as work, as it is usual (MLPerf Tiny's figures: 2,656,768
for its keyword spotter). Element-wise operators and pooling are left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from quantize.flatbuffer import Operator, Tensor, read_graph
from quantize.wire.operator_checks import check_operator_tensors


def macs(data: bytes) -> int:
    """Return the multiply-accumulates of one inference.

    Args:
        data: The bytes of a .tflite file.

    Raises:
        FlatbufferError: The bytes are not a sound flatbuffer, or an operator lacks a tensor.
    """
    graph = read_graph(data)
    check_operator_tensors(graph)
    return sum(
        _RULES[operator.name](operator, graph.tensors)
        for operator in graph.operators
        if operator.name in _RULES
    )


def _convolution(operator: Operator, tensors: Sequence[Tensor]) -> int:
    # Weights (out, height, width, in per group): every output sums over one filter.
    _, *filter_shape = tensors[operator.inputs[1]].shape
    return _elements(tensors[operator.outputs[0]]) * math.prod(filter_shape)


def _depthwise(operator: Operator, tensors: Sequence[Tensor]) -> int:
    # Weights (1, height, width, out).
    _, height, width, _ = tensors[operator.inputs[1]].shape
    return _elements(tensors[operator.outputs[0]]) * height * width


def _fully_connected(operator: Operator, tensors: Sequence[Tensor]) -> int:
    # Weights (out, in).
    _, inputs = tensors[operator.inputs[1]].shape
    return _elements(tensors[operator.outputs[0]]) * inputs


def _transposed_convolution(operator: Operator, tensors: Sequence[Tensor]) -> int:
    # Inputs: output shape, weights (out, height, width, in), source: every source element is
    # spread over one filter of every output channel.
    outputs, height, width, _ = tensors[operator.inputs[1]].shape
    return _elements(tensors[operator.inputs[2]]) * outputs * height * width


def _matrix_product(operator: Operator, tensors: Sequence[Tensor]) -> int:
    inner = tensors[operator.inputs[0]].shape[
        -2 if getattr(operator.options, "adjX", False) else -1
    ]
    return _elements(tensors[operator.outputs[0]]) * inner


def _elements(tensor: Tensor) -> int:
    return math.prod(tensor.shape)


_RULES: dict[str, Callable[[Operator, Sequence[Tensor]], int]] = {
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _fully_connected,
    "TRANSPOSE_CONV": _transposed_convolution,
    "BATCH_MATMUL": _matrix_product,
}
