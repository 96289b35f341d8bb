"""CONV_2D, DEPTHWISE_CONV_2D and TRANSPOSE_CONV.

Belongs here: windows, weights and factors of what slides a kernel over an image. Does not belong
here: FULLY_CONNECTED (`fully_connected.py`) and pooling (`pooling.py`).
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from deploy.codegen.lowering.builder import NodeBuilder
from deploy.codegen.lowering.op import Op
from deploy.codegen.lowering.packed import layer_call, stored_weights
from deploy.codegen.parameters import (
    activation_range,
    convolution_factors,
    fold_bias,
    padding_before,
)
from deploy.codegen.program import Argument, Field, Operand, Struct
from quantize.flatbuffer import Tensor

__all__ = [
    "convolution",
    "depthwise_convolution",
    "factor_fields",
    "images",
    "transpose_convolution",
]


def convolution(op: Op, build: NodeBuilder) -> None:
    """CONV_2D, with channels in groups where the weights have fewer than the input."""
    weights = _weights(op, 1)
    out_c, kernel_h, kernel_w, group_c = weights.shape
    in_c = op.input().shape[3]
    if not group_c or in_c % group_c or out_c % (in_c // group_c):
        op.fail(f"groups of the {in_c} input channels are expected, received weights of {group_c}")
    groups = in_c // group_c
    bias = fold_bias(_bias(op, 2, out_c), weights, op.zero_point(op.input()))
    window = _window(op, kernel_h, kernel_w)
    is_1x1 = groups == 1 and (kernel_h, kernel_w) == (1, 1) and not any(window.pads)
    is_1x1 = is_1x1 and window.strides == (1, 1)
    function = "kt_conv2d_1x1" if is_1x1 else "kt_conv2d"
    _emit(op, build, function, weights, bias, window.fields | {"groups": groups}, op.input())


def depthwise_convolution(op: Op, build: NodeBuilder) -> None:
    """DEPTHWISE_CONV_2D; several output channels may read one input channel."""
    weights = _weights(op, 1)
    one, kernel_h, kernel_w, out_c = weights.shape
    in_c = op.input().shape[3]
    if one != 1 or out_c % in_c:
        op.fail(f"weights for {in_c} channels are expected, received the shape {weights.shape}")
    bias = fold_bias(_bias(op, 2, out_c), weights, op.zero_point(op.input()), axis=3)
    window = _window(op, kernel_h, kernel_w)
    if in_c == 1:
        # All outputs read the one input channel: a convolution, with much faster kernels.
        weights = np.ascontiguousarray(weights.transpose(3, 1, 2, 0))
        _emit(op, build, "kt_conv2d", weights, bias, window.fields | {"groups": 1}, op.input())
        return
    fields = window.fields | {"groups": out_c // in_c}
    _emit(op, build, "kt_depthwise_conv2d", weights, bias, fields, op.input())


def transpose_convolution(op: Op, build: NodeBuilder) -> None:
    """TRANSPOSE_CONV; its first input, the output's shape, is known."""
    weights, source, target = _weights(op, 1), op.input(2), op.output()
    out_c, kernel_h, kernel_w, in_c = weights.shape
    if in_c != source.shape[3] or out_c != target.shape[3]:
        op.fail(f"weights for {source.shape[3]} channels are expected, received {weights.shape}")
    bias = _bias(op, 3, out_c)
    whole = np.zeros(out_c, np.int32) if bias is None else bias
    is_same, (_, out_h, out_w, _) = op.option("padding") == 0, target.shape
    strides = (op.option("strideH"), op.option("strideW"))
    pads = [
        # TFLM's padding of the forward convolution, from the output to the size it would give.
        padding_before(is_same, size, -(-size // stride), kernel, stride)
        for size, stride, kernel in zip((out_h, out_w), strides, (kernel_h, kernel_w), strict=True)
    ]
    fields = _Window((kernel_h, kernel_w), strides, (1, 1), (pads[0], pads[1])).fields
    _emit(op, build, "kt_transpose_conv", weights, whole, fields | {"groups": 1}, source)


class _Window:
    """A kernel that slides: its size, strides, dilations and the padding before the input."""

    def __init__(
        self,
        kernel: tuple[int, int],
        strides: tuple[int, int],
        dilations: tuple[int, int],
        pads: tuple[int, int],
    ) -> None:
        self.strides, self.pads = strides, pads
        self.fields = {
            "kernel_h": kernel[0], "kernel_w": kernel[1],
            "stride_h": strides[0], "stride_w": strides[1],
            "dilation_h": dilations[0], "dilation_w": dilations[1],
            "pad_top": pads[0], "pad_left": pads[1],
        }  # fmt: skip


def _window(op: Op, kernel_h: int, kernel_w: int) -> _Window:
    """The window of a forward convolution, checked against the output's shape."""
    is_same = op.option("padding") == 0
    strides = (op.option("strideH"), op.option("strideW"))
    dilations = (op.option("dilationHFactor", 1), op.option("dilationWFactor", 1))
    pads = []
    for axis, kernel in ((0, kernel_h), (1, kernel_w)):
        in_size, out_size = op.input().shape[1 + axis], op.output().shape[1 + axis]
        reach = in_size if is_same else in_size - (kernel - 1) * dilations[axis]
        if out_size != -(-reach // strides[axis]):
            op.fail(f"an output of {-(-reach // strides[axis])} is expected, received {out_size}")
        pads.append(
            padding_before(is_same, in_size, out_size, kernel, strides[axis], dilations[axis])
        )
    return _Window((kernel_h, kernel_w), strides, dilations, (pads[0], pads[1]))


def _weights(op: Op, position: int) -> np.ndarray:
    """Constant int8 weights whose zero points are 0."""
    tensor = op.input(position)
    weights = op.constant(position, "weights")
    quantization = tensor.quantization
    if weights.dtype != np.int8 or quantization is None or any(quantization.zero_points):
        op.fail(
            f"int8 weights with zero points of 0 are expected, received {tensor.dtype}",
            "Quantize them symmetrically, or use --runtime tflm.",
        )
    return weights


def _bias(op: Op, position: int, channels: int) -> np.ndarray | None:
    if op.find(position) is None:
        return None
    bias = op.constant(position, "biases")
    if bias.dtype != np.int32 or bias.size != channels:
        op.fail(f"{channels} int32 biases are expected, received {bias.size} of {bias.dtype}")
    return bias.ravel()


def factor_fields(
    op: Op, build: NodeBuilder, source: Tensor, weights: Tensor, out_c: int
) -> dict[str, Field]:
    """`multiplier`, `shift` and `per_channel`: one factor per channel, or one for all."""
    quantization = weights.quantization
    if quantization is None or len(quantization.scales) not in (1, out_c):
        op.fail(f"1 or {out_c} scales of the weights are expected", "Quantize the node again.")
    scales = np.asarray(quantization.scales, np.float32)
    factors = convolution_factors(op.scale(source), scales, op.scale(op.output()))
    if len(set(factors)) == 1:
        factors = factors[:1]
    multiplier = np.array([factor.multiplier for factor in factors], np.int32)
    shift = np.array([factor.shift for factor in factors], np.int8)
    return {
        "multiplier": build.array(op, "multiplier", multiplier),
        "shift": build.array(op, "shift", shift),
        "per_channel": int(len(factors) > 1),
    }


def _emit(
    op: Op,
    build: NodeBuilder,
    function: str,
    weights: np.ndarray,
    bias: np.ndarray,
    window: dict[str, int],
    source: Tensor,
) -> None:
    target = op.output()
    lowest, highest = activation_range(op.activation(), op.scale(target), op.zero_point(target))
    tensor = op.input(1)
    stored = stored_weights(op, build, function, weights)
    fields: dict[str, Field] = {
        "bias": build.array(op, "bias", bias),
        "in_h": source.shape[1], "in_w": source.shape[2], "in_c": source.shape[3],
        "out_h": target.shape[1], "out_w": target.shape[2], "out_c": target.shape[3],
        "input_zero_point": op.zero_point(source),
        "output_zero_point": op.zero_point(target),
        "lowest": lowest, "highest": highest,
    }  # fmt: skip
    fields |= factor_fields(op, build, source, tensor, target.shape[3])
    struct = Struct("kt_conv2d_t", fields | window)
    before, after = build.read(op, source), build.define(target)
    called, parameters, scratch = layer_call(op, build, function, struct, stored)
    build.step(
        op,
        [
            (called, [parameters, one, other, scratch])
            for one, other in images(op, source, target, before, after)
        ],
        [after],
    )


def images(
    op: Op, source: Tensor, target: Tensor, before: Operand, after: Operand
) -> list[tuple[Argument, Argument]]:
    """Input and output of each image of a batch: a kernel takes one at a time."""
    count = source.shape[0]
    if target.shape[0] != count:
        op.fail(f"a batch of {count} is expected for the output, received {target.shape[0]}")
    sizes = (math.prod(source.shape) // count, math.prod(target.shape) // count)
    return [
        (
            replace(before, offset=before.offset + number * sizes[0]),
            replace(after, offset=after.offset + number * sizes[1]),
        )
        for number in range(count)
    ]
