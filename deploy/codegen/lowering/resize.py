"""RESIZE_NEAREST_NEIGHBOR and RESIZE_BILINEAR."""

from __future__ import annotations

from deploy.codegen.lowering.builder import NodeBuilder
from deploy.codegen.lowering.convolution import images
from deploy.codegen.lowering.op import Op
from deploy.codegen.program import Struct
from deploy.codegen.resize import resize_bilinear_axis, resize_nearest_indices
from quantize.flatbuffer import Tensor

__all__ = ["resize_bilinear", "resize_nearest"]


def resize_nearest(op: Op, build: NodeBuilder) -> None:
    """RESIZE_NEAREST_NEIGHBOR: where each row and column comes from is a table."""
    source, target, corners, centers = _options(op)
    row, column = (
        resize_nearest_indices(source.shape[axis], target.shape[axis], corners, centers)
        for axis in (1, 2)
    )
    struct = Struct(
        "kt_resize_nearest_t",
        {
            "row": build.array(op, "row", row),
            "column": build.array(op, "column", column),
            "in_w": source.shape[2], "channels": source.shape[3],
            "out_h": target.shape[1], "out_w": target.shape[2],
        },
    )  # fmt: skip
    _emit(op, build, "kt_resize_nearest", struct)


def resize_bilinear(op: Op, build: NodeBuilder) -> None:
    """RESIZE_BILINEAR, in steps of 1/1024 of an element."""
    source, target, corners, centers = _options(op)
    height, width = (
        resize_bilinear_axis(source.shape[axis], target.shape[axis], corners, centers)
        for axis in (1, 2)
    )
    struct = Struct(
        "kt_resize_bilinear_t",
        {
            "scale_h": height.scale, "scale_w": width.scale,
            "offset_h": height.offset, "offset_w": width.offset,
            "in_h": source.shape[1], "in_w": source.shape[2], "channels": source.shape[3],
            "out_h": target.shape[1], "out_w": target.shape[2],
        },
    )  # fmt: skip
    _emit(op, build, "kt_resize_bilinear", struct)


def _options(op: Op) -> tuple[Tensor, Tensor, bool, bool]:
    source, target = op.input(), op.output()
    if len(source.shape) != 4 or len(target.shape) != 4 or source.shape[3] != target.shape[3]:
        op.fail(f"images of as many channels are expected: {source.shape}, {target.shape}")
    return source, target, bool(op.option("alignCorners")), bool(op.option("halfPixelCenters"))


def _emit(op: Op, build: NodeBuilder, function: str, struct: Struct) -> None:
    source, target = op.input(), op.output()
    before, after = build.read(op, source), build.define(target)
    calls = images(op, source, target, before, after)
    build.step(op, [(function, [struct, one, other]) for one, other in calls], [after])
