"""ADD, SUB, MUL, MAXIMUM and MINIMUM of two inputs, either of which may be constant.

Belongs here: how two inputs meet in an output. Does not belong here: functions of one input
(`lookup.py`).
"""

from __future__ import annotations

import math
from functools import partial

from deploy.codegen.lowering.builder import NodeBuilder
from deploy.codegen.lowering.composition import composed, element_codes
from deploy.codegen.lowering.op import Op
from deploy.codegen.lowering.shapes import broadcast_strides, merge_axes
from deploy.codegen.parameters import (
    activation_range,
    add_parameters,
    mul_factor,
    sub_parameters,
)
from deploy.codegen.program import Field, Struct
from quantize.flatbuffer import Tensor

__all__ = ["add", "extreme", "multiply"]

_EXTREMES = {"MAXIMUM": "kt_maximum", "MINIMUM": "kt_minimum"}


def add(op: Op, build: NodeBuilder) -> None:
    """ADD and SUB."""
    a, b, target = op.input(0), op.input(1), op.output()
    is_add = op.operator.name == "ADD"
    parameters = (add_parameters if is_add else sub_parameters)(
        op.scale(a), op.scale(b), op.scale(target)
    )
    fields = vars(parameters) | _ends(op, a, b, target)
    _emit(op, build, "kt_add" if is_add else "kt_sub", "kt_add_t", fields)


def multiply(op: Op, build: NodeBuilder) -> None:
    """MUL."""
    a, b, target = op.input(0), op.input(1), op.output()
    multiplier, shift = mul_factor(op.scale(a), op.scale(b), op.scale(target))
    fields = {"multiplier": multiplier, "shift": shift} | _ends(op, a, b, target)
    _emit(op, build, "kt_mul", "kt_mul_t", fields)


def extreme(op: Op, build: NodeBuilder) -> None:
    """MAXIMUM and MINIMUM of codes, whatever their quantization says, as TFLM takes them."""
    _emit(op, build, _EXTREMES[op.operator.name], "kt_maximum_t", {})


def _ends(op: Op, a: Tensor, b: Tensor, target: Tensor) -> dict[str, int]:
    lowest, highest = activation_range(op.activation(), op.scale(target), op.zero_point(target))
    return {
        "zero_point_a": op.zero_point(a),
        "zero_point_b": op.zero_point(b),
        "output_zero_point": op.zero_point(target),
        "lowest": lowest,
        "highest": highest,
    }


def _emit(
    op: Op, build: NodeBuilder, function: str, struct_type: str, fields: dict[str, int]
) -> None:
    target, tensors = op.output(), (op.input(0), op.input(1))
    as_table = composed(op, build, partial(element_codes, op.operator.name, fields))
    if as_table is not None:
        build.define_function(op, target, as_table)
        return
    common: dict[str, Field] = {
        "broadcast": _broadcast(op, tensors, target),
        "count": math.prod(target.shape),
    }
    struct = Struct(struct_type, common | fields)
    a, b = (build.read(op, tensor) for tensor in tensors)
    after = build.define(target)
    whole = tuple(
        operand
        for operand, tensor in zip((a, b), tensors, strict=True)
        if math.prod(tensor.shape) == math.prod(target.shape)
    )
    build.step(op, [(function, [struct, a, b, after])], [after], in_place=whole)


def _broadcast(op: Op, tensors: tuple[Tensor, Tensor], target: Tensor) -> Struct | None:
    """How the inputs are read, or None where both have the output's shape."""
    strides = [broadcast_strides(tensor.shape, target.shape) for tensor in tensors]
    if strides[0] is None or strides[1] is None:
        op.fail(
            f"inputs that broadcast to {target.shape} are expected, received "
            f"{tensors[0].shape} and {tensors[1].shape}"
        )
    if all(math.prod(tensor.shape) == math.prod(target.shape) for tensor in tensors):
        return None
    merged = merge_axes(target.shape, strides[0], strides[1])
    if merged is None:
        op.fail("at most four axes that repeat and do not are expected, received more")
    return Struct(
        "kt_broadcast_t", {"size": merged[0], "stride_a": merged[1], "stride_b": merged[2]}
    )
