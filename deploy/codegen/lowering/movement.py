"""Operators that bring codes from place to place: PAD, CONCATENATION, SPLIT, TRANSPOSE, slices.

Belongs here: blocks and their strides. Does not belong here: operators that only rename bytes
(`aliases.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from deploy.codegen.lowering.builder import NodeBuilder
from deploy.codegen.lowering.op import Op
from deploy.codegen.lowering.shapes import merge_axes, row_major
from deploy.codegen.program import Argument, Operand, Struct
from quantize.flatbuffer import Tensor

__all__ = [
    "concatenate", "depth_and_space", "pack", "pad", "slice_block", "split", "strided_slice",
    "transpose", "unpack",
]  # fmt: skip

_Call = tuple[str, list[Argument]]


def pad(op: Op, build: NodeBuilder) -> None:
    """PAD and PADV2: the output filled with one code, the input copied into it."""
    source, target = op.input(), op.output()
    numbers = op.integers(1, "paddings")
    before = numbers[0::2]
    if len(numbers) != 2 * len(source.shape) or min(numbers, default=0) < 0:
        op.fail(f"two paddings of at least 0 per axis are expected, received {numbers}")
    code = op.zero_point(target)
    if op.find(2) is not None:
        code = op.integers(2, "codes to fill with")[0]
    operand, after = build.read(op, source), build.define(target)
    steps = row_major(target.shape)
    start = sum(size * step for size, step in zip(before, steps, strict=True))
    block = _copy(
        op, source.shape, row_major(source.shape), steps, operand,
        replace(after, offset=after.offset + start),
    )  # fmt: skip
    fill: _Call = ("kt_fill", [code, math.prod(target.shape), after])
    build.step(op, [fill, block] if any(numbers) else [block], [after])


def concatenate(op: Op, build: NodeBuilder) -> None:
    """CONCATENATION: one block per input."""
    target = op.output()
    axis = op.axis(op.option("axis"), len(target.shape))
    if op.option("fusedActivationFunction"):
        op.fail("no activation is expected, received one")
    tensors = [op.input(position) for position in range(len(op.operator.inputs))]
    if not all(op.same_quantization(tensor, target) for tensor in tensors):
        op.fail("one quantization of all inputs and the output is expected", "Quantize it again.")
    _join(op, build, tensors, axis)


def pack(op: Op, build: NodeBuilder) -> None:
    """PACK: inputs of one shape along a new axis."""
    axis = op.axis(op.option("axis"), len(op.output().shape))
    _join(op, build, [op.input(position) for position in range(len(op.operator.inputs))], axis)


def _join(op: Op, build: NodeBuilder, tensors: Sequence[Tensor], axis: int) -> None:
    target = op.output()
    inner, outer = math.prod(target.shape[axis + 1 :]), math.prod(target.shape[:axis])
    row = target.shape[axis] * inner
    if sum(math.prod(tensor.shape) for tensor in tensors) != outer * row:
        op.fail(f"inputs that fill {target.shape} are expected")
    sources = [build.read(op, tensor) for tensor in tensors]
    after = build.define(target)
    calls, start = [], 0
    for tensor, source in zip(tensors, sources, strict=True):
        length = math.prod(tensor.shape) // outer
        place = replace(after, offset=after.offset + start)
        calls.append(_copy(op, (outer, length), (length, 1), (row, 1), source, place))
        start += length
    build.step(op, calls, [after])


def split(op: Op, build: NodeBuilder) -> None:
    """SPLIT and SPLIT_V: one block per output."""
    is_equal = op.operator.name == "SPLIT"
    source = op.input(1 if is_equal else 0)
    axis = op.axis(op.integers(0 if is_equal else 2, "axes")[0], len(source.shape))
    _part(op, build, source, axis)


def unpack(op: Op, build: NodeBuilder) -> None:
    """UNPACK: an output for each index of an axis."""
    source = op.input()
    _part(op, build, source, op.axis(op.option("axis"), len(source.shape)))


def _part(op: Op, build: NodeBuilder, source: Tensor, axis: int) -> None:
    outer, row = math.prod(source.shape[:axis]), math.prod(source.shape[axis:])
    targets = [op.output(position) for position in range(len(op.operator.outputs))]
    if sum(math.prod(target.shape) for target in targets) != outer * row:
        op.fail(f"outputs that take all of {source.shape} are expected")
    before = build.read(op, source)
    calls, outputs, start = [], [], 0
    for target in targets:
        length = math.prod(target.shape) // outer
        after = build.define(target)
        place = replace(before, offset=before.offset + start)
        calls.append(_copy(op, (outer, length), (row, 1), (length, 1), place, after))
        outputs.append(after)
        start += length
    build.step(op, calls, outputs)


def transpose(op: Op, build: NodeBuilder) -> None:
    """TRANSPOSE; one that only moves axes of size 1 moves no code."""
    source = op.input()
    order = [op.axis(number, len(source.shape)) for number in op.integers(1, "axes")]
    if sorted(order) != list(range(len(source.shape))):
        op.fail(f"each axis once is expected, received {order}")
    _permute(op, build, source.shape, order)


def depth_and_space(op: Op, build: NodeBuilder) -> None:
    """SPACE_TO_DEPTH and DEPTH_TO_SPACE: rows of a block and columns of the image change places."""
    block, (batch, height, width, channels) = op.option("blockSize"), op.input().shape
    if batch != 1 or block < 1:
        op.fail("a batch of 1 and a block of at least 1 are expected")
    if op.operator.name == "DEPTH_TO_SPACE":
        row = channels // block
        _permute(op, build, (height, width, block, row), (0, 2, 1, 3))
    else:
        row = block * channels
        _permute(op, build, (height // block, block, width // block, row), (0, 2, 1, 3))


def _permute(op: Op, build: NodeBuilder, shape: Sequence[int], order: Sequence[int]) -> None:
    before = build.read(op, op.input())
    wide = [axis for axis in order if shape[axis] != 1]
    if wide == sorted(wide):
        build.alias(op.output(), before)
        return
    steps, sizes = row_major(shape), [shape[axis] for axis in order]
    after = build.define(op.output())
    call = _copy(op, sizes, [steps[axis] for axis in order], row_major(sizes), before, after)
    build.step(op, [call], [after])


def slice_block(op: Op, build: NodeBuilder) -> None:
    """SLICE: a block from `begin`, its sizes those of the output."""
    begin = op.integers(1, "starts")
    _take(op, build, begin, [1] * len(begin), op.output().shape)


def strided_slice(op: Op, build: NodeBuilder) -> None:
    """STRIDED_SLICE; masks say which ends are those of the input, and which axes vanish."""
    shape = op.input().shape
    begin, end, stride = (op.integers(position, "bounds") for position in (1, 2, 3))
    if not len(begin) == len(end) == len(stride) == len(shape) or 0 in stride:
        op.fail(f"bounds for each axis of {shape} are expected, received {begin}, {end}, {stride}")
    if op.option("ellipsisMask") or op.option("newAxisMask"):
        op.fail("no ellipsis and no new axis are expected, received one", "Write the axes out.")
    starts, sizes = [], []
    for axis, size in enumerate(shape):
        low, high = (0, size) if stride[axis] > 0 else (-1, size - 1)
        start = begin[axis] + (size if begin[axis] < 0 else 0)
        stop = end[axis] + (size if end[axis] < 0 else 0)
        if op.option("beginMask") >> axis & 1:
            start = low if stride[axis] > 0 else high
        if op.option("endMask") >> axis & 1:
            stop = high if stride[axis] > 0 else low
        start, stop = min(max(start, low), high), min(max(stop, low), high)
        if op.option("shrinkAxisMask") >> axis & 1:
            stop = start + (1 if stride[axis] > 0 else -1)
        starts.append(start)
        sizes.append(max(0, -((start - stop) // stride[axis])))
    _take(op, build, starts, stride, sizes)


def _take(
    op: Op, build: NodeBuilder, begin: Sequence[int], stride: Sequence[int], sizes: Sequence[int]
) -> None:
    """A block of the input; one without a gap is read where it lies only by a copy."""
    source, target = op.input(), op.output()
    last = [b + s * (n - 1) for b, s, n in zip(begin, stride, sizes, strict=True)]
    inside = all(
        0 <= one < size
        for ends in (begin, last)
        for one, size in zip(ends, source.shape, strict=True)
    )
    if math.prod(sizes) != math.prod(target.shape) or not inside:
        op.fail(f"a block of {target.shape} within {source.shape} is expected")
    before = build.read(op, source)
    if math.prod(sizes) == math.prod(source.shape) and all(step > 0 for step in stride):
        build.alias(target, before)
        return
    steps = row_major(source.shape)
    start = sum(one * step for one, step in zip(begin, steps, strict=True))
    walk = [step * one for step, one in zip(steps, stride, strict=True)]
    after = build.define(target)
    place = replace(before, offset=before.offset + start)
    build.step(op, [_copy(op, sizes, walk, row_major(sizes), place, after)], [after])


def _copy(
    op: Op,
    sizes: Sequence[int],
    walk: Sequence[int],
    steps: Sequence[int],
    before: Operand,
    after: Operand,
) -> _Call:
    """A block brought from `before` to `after`."""
    merged = merge_axes(sizes, walk, steps)
    if merged is None:
        op.fail(f"a block of at most four axes is expected, received {tuple(sizes)}")
    struct = Struct(
        "kt_copy_t", {"size": merged[0], "input_stride": merged[1], "output_stride": merged[2]}
    )
    return ("kt_copy", [struct, before, after])
