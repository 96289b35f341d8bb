"""SOFTMAX and PRELU.

Belongs here: what has a kernel of its own over rows of an input. Does not belong here: functions of
one code (`lookup.py`).
"""

from __future__ import annotations

import math

import numpy as np

from deploy.codegen.lowering.builder import NodeBuilder
from deploy.codegen.lowering.composition import prelu_codes
from deploy.codegen.lowering.op import Op
from deploy.codegen.parameters import prelu_parameters, softmax_parameters
from deploy.codegen.program import Field, Struct

__all__ = ["prelu", "softmax"]

_MOST_COLUMNS = 8191  # of SOFTMAX: a sum of 8,192 ones, of 2^19 each, is 0 in 32 bits


def softmax(op: Op, build: NodeBuilder) -> None:
    """SOFTMAX over the last axis."""
    source, target = op.input(), op.output()
    if (op.scale(target), op.zero_point(target)) != (1 / 256, -128):
        op.fail("an output of scale 1/256 and zero point -128 is expected")
    parameters = softmax_parameters(op.scale(source), op.option("beta", 0.0))
    columns = source.shape[-1]
    if columns > _MOST_COLUMNS:
        op.fail(f"at most {_MOST_COLUMNS:,} codes in a row are expected, received {columns:,}")
    rows = math.prod(source.shape) // columns
    struct = Struct("kt_softmax_t", {"rows": rows, "columns": columns} | vars(parameters))
    before, after = build.read(op, source), build.define(target)
    build.step(op, [("kt_softmax", [struct, before, after])], [after], in_place=(before,))


def prelu(op: Op, build: NodeBuilder) -> None:
    """PRELU with constant slopes, repeated over the outer axes."""
    source, target = op.input(), op.output()
    slopes = op.constant(1, "slopes")
    if slopes.dtype != np.int8:
        op.fail(f"int8 slopes are expected, received {slopes.dtype}")
    try:
        whole = np.broadcast_to(slopes, source.shape).ravel()
    except ValueError:
        op.fail(f"slopes for {source.shape} are expected, received the shape {slopes.shape}")
    inner = _period(whole, source.shape)
    parameters = prelu_parameters(op.scale(source), op.scale(op.input(1)), op.scale(target))
    if inner == 1:
        code = int(whole[0]) - op.zero_point(op.input(1))
        table = prelu_codes(parameters, code, op.zero_point(source), op.zero_point(target))
        build.define_function(op, target, build.function(op, source).then(table, "PRELU"))
        return
    fields: dict[str, Field] = {
        "slope": build.array(op, "slope", whole[:inner]),
        "outer": whole.size // inner,
        "inner": inner,
        "input_zero_point": op.zero_point(source),
        "slope_zero_point": op.zero_point(op.input(1)),
        "output_zero_point": op.zero_point(target),
    }
    struct = Struct("kt_prelu_t", fields | vars(parameters))
    before, after = build.read(op, source), build.define(target)
    build.step(op, [("kt_prelu", [struct, before, after])], [after], in_place=(before,))


def _period(whole: np.ndarray, shape: tuple[int, ...]) -> int:
    """The shortest row of slopes that repeats, of whole axes from the last."""
    for axis in range(len(shape), -1, -1):
        inner = math.prod(shape[axis:])
        rows = whole.reshape(-1, inner)
        if (rows == rows[0]).all():
            return inner
    return whole.size
