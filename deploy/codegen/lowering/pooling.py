"""AVERAGE_POOL_2D and MAX_POOL_2D."""

from __future__ import annotations

from deploy.codegen.lowering.builder import NodeBuilder
from deploy.codegen.lowering.convolution import images
from deploy.codegen.lowering.op import Op
from deploy.codegen.parameters import activation_range, padding_before
from deploy.codegen.program import Struct

__all__ = ["pooling"]

_KERNELS = {"AVERAGE_POOL_2D": "kt_average_pool2d", "MAX_POOL_2D": "kt_max_pool2d"}
# The difference of scales that TFLM takes for none.
_SCALE_TOLERANCE = 1e-6


def pooling(op: Op, build: NodeBuilder) -> None:
    """A window's average or maximum; input and output have one quantization."""
    source, target = op.input(), op.output()
    if (
        abs(op.scale(source) - op.scale(target)) > _SCALE_TOLERANCE
        or op.zero_point(source) != op.zero_point(target)
        or source.shape[3] != target.shape[3]
    ):
        op.fail("one quantization and as many channels on both sides are expected")
    is_same = op.option("padding") == 0
    kernels = (op.option("filterHeight"), op.option("filterWidth"))
    strides = (op.option("strideH"), op.option("strideW"))
    pads = []
    for axis in (0, 1):
        in_size, out_size = source.shape[1 + axis], target.shape[1 + axis]
        reach = in_size if is_same else in_size - kernels[axis] + 1
        if kernels[axis] < 1 or out_size != -(-reach // strides[axis]):
            op.fail(f"an output of {-(-reach // strides[axis])} is expected, received {out_size}")
        pads.append(padding_before(is_same, in_size, out_size, kernels[axis], strides[axis]))
    lowest, highest = activation_range(op.activation(), op.scale(target), op.zero_point(target))
    struct = Struct(
        "kt_pool2d_t",
        {
            "in_h": source.shape[1], "in_w": source.shape[2], "channels": source.shape[3],
            "out_h": target.shape[1], "out_w": target.shape[2],
            "kernel_h": kernels[0], "kernel_w": kernels[1],
            "stride_h": strides[0], "stride_w": strides[1],
            "pad_top": pads[0], "pad_left": pads[1],
            "lowest": lowest, "highest": highest,
        },
    )  # fmt: skip
    before, after = build.read(op, source), build.define(target)
    function = _KERNELS[op.operator.name]
    calls = images(op, source, target, before, after)
    build.step(op, [(function, [struct, one, other]) for one, other in calls], [after])
