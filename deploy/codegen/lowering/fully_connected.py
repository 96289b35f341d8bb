"""FULLY_CONNECTED."""

from __future__ import annotations

import math

import numpy as np

from deploy.codegen.lowering.builder import NodeBuilder
from deploy.codegen.lowering.convolution import factor_fields
from deploy.codegen.lowering.op import Op
from deploy.codegen.lowering.packed import layer_call, stored_weights
from deploy.codegen.parameters import activation_range, fold_bias
from deploy.codegen.program import Field, Struct

__all__ = ["fully_connected"]


def fully_connected(op: Op, build: NodeBuilder) -> None:
    """FULLY_CONNECTED: rows of the input, one after another, times constant weights."""
    source, target = op.input(), op.output()
    weights = op.constant(1, "weights")
    quantization = op.input(1).quantization
    if weights.dtype != np.int8 or quantization is None or any(quantization.zero_points):
        op.fail(f"int8 weights with zero points of 0 are expected, received {op.input(1).dtype}")
    if op.option("weightsFormat"):
        op.fail("weights in the default order are expected, received shuffled ones")
    out_c, in_c = weights.shape
    rows = math.prod(target.shape) // out_c
    if rows * in_c != math.prod(source.shape) or rows * out_c != math.prod(target.shape):
        op.fail(f"rows of {in_c} codes are expected, received the shape {source.shape}")
    bias = op.constant(2, "biases") if op.find(2) is not None else None
    if bias is not None and (bias.dtype != np.int32 or bias.size != out_c):
        op.fail(f"{out_c} int32 biases are expected, received {bias.size} of {bias.dtype}")
    folded = fold_bias(None if bias is None else bias.ravel(), weights, op.zero_point(source))
    lowest, highest = activation_range(op.activation(), op.scale(target), op.zero_point(target))
    stored = stored_weights(op, build, "kt_fully_connected", weights)
    fields: dict[str, Field] = {
        "bias": build.array(op, "bias", folded),
        "in_c": in_c, "rows": rows, "out_c": out_c,
        "output_zero_point": op.zero_point(target),
        "lowest": lowest, "highest": highest,
    }  # fmt: skip
    struct = Struct(
        "kt_fully_connected_t", fields | factor_fields(op, build, source, op.input(1), out_c)
    )
    before, after = build.read(op, source), build.define(target)
    called, parameters, scratch = layer_call(op, build, "kt_fully_connected", struct, stored)
    build.step(op, [(called, [parameters, before, after, scratch])], [after])
