"""MEAN, SUM and REDUCE_MAX over any axes."""

from __future__ import annotations

import math

from deploy.codegen.lowering.builder import NodeBuilder
from deploy.codegen.lowering.op import Op
from deploy.codegen.lowering.shapes import merge_axes, row_major
from deploy.codegen.parameters import mean_parameters
from deploy.codegen.program import Argument, Operand, Struct

__all__ = ["reduction"]

_KERNELS = {"MEAN": "kt_mean", "SUM": "kt_mean", "REDUCE_MAX": "kt_reduce_max"}


def reduction(op: Op, build: NodeBuilder) -> None:
    """The input as (outer, reduced, inner), its axes brought together first where need be."""
    source, target, name = op.input(), op.output(), op.operator.name
    rank = len(source.shape)
    axes = {op.axis(number, rank) for number in op.integers(1, "axes")}
    if name == "REDUCE_MAX" and not op.same_quantization(source, target):
        op.fail("one quantization on both sides is expected")
    wide = [axis for axis in range(rank) if source.shape[axis] != 1]
    reduced = [axis for axis in wide if axis in axes]
    kept = [axis for axis in wide if axis not in axes]
    before = build.read(op, source)
    if reduced and wide.index(reduced[-1]) - wide.index(reduced[0]) >= len(reduced):
        before = _gathered(op, build, before, kept + reduced)
        outer, inner = math.prod(source.shape[axis] for axis in kept), 1
    else:
        ends = (reduced[0], reduced[-1]) if reduced else (rank, rank)
        outer = math.prod(source.shape[axis] for axis in kept if axis < ends[0])
        inner = math.prod(source.shape[axis] for axis in kept if axis > ends[1])
    count = math.prod(source.shape[axis] for axis in reduced)
    fields = {"bias": 0, "multiplier": 0, "shift": 0, "output_zero_point": 0}
    if name != "REDUCE_MAX":
        parameters = mean_parameters(
            op.scale(source), op.scale(target), op.zero_point(source), count, name == "SUM"
        )
        fields = vars(parameters) | {"output_zero_point": op.zero_point(target)}
    struct = Struct("kt_reduce_t", {"outer": outer, "reduced": count, "inner": inner} | fields)
    after = build.define(target)
    build.step(op, [(_KERNELS[name], [struct, before, after])], [after])


def _gathered(op: Op, build: NodeBuilder, before: Operand, order: list[int]) -> Operand:
    """The input with its axes in another order, in memory of its own."""
    shape = op.input().shape
    steps = row_major(shape)
    sizes = [shape[axis] for axis in order]
    merged = merge_axes(sizes, [steps[axis] for axis in order], row_major(sizes))
    if merged is None:
        op.fail("at most four axes are expected, received more")
    struct = Struct(
        "kt_copy_t", {"size": merged[0], "input_stride": merged[1], "output_stride": merged[2]}
    )
    value = build.value(f"axes of tensor {op.input().index}", math.prod(shape))
    arguments: list[Argument] = [struct, before, value]
    build.step(op, [("kt_copy", arguments)], [value], comment=f"{op.operator.name}: axes together")
    return value
