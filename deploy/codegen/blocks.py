"""How much of a packed layer is unpacked and computed at a time, and its scratch memory.

A layer is computed a block of output channels after the other, and where a block's outputs are no
neighbours, a strip of output rows after the other. All channels in one block take the most memory
and the least time: a block grows as far as the plan has bytes to spare.

Belongs here: sizes of blocks and strips, and where the parts of their scratch memory begin. Does
not belong here: what is packed (`packing.py`), or where the scratch memory lies (`plan.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from deploy.codegen.scratch import scratch_bytes

__all__ = ["BLOCK_BYTES", "STRIP_BYTES", "Blocking", "choose_blocks"]

BLOCK_BYTES = 1024
"""Of unpacked weights that a layer takes though the plan has none to spare: at least four filters
where they are longer."""

STRIP_BYTES = 512
"""Of a strip of a block's output; at least one row."""

_ALIGNMENT = 4
# Kernels read four filters at once; indices of eight neighbouring channels begin at a byte.
_FILTERS, _CHANNELS = 4, 8
_LARGEST = 0xFFFF


@dataclass(frozen=True)
class Blocking:
    """How a layer is divided.

    Args:
        block: Output channels at a time.
        rows: Output rows at a time.
        weights_at: Where the block's weights begin in the scratch memory, behind the kernel's own.
        output_at: Where the block's output begins.
        input_at: Where its part of the input begins.
        scratch_bytes: The whole.
    """

    block: int
    rows: int
    weights_at: int
    output_at: int
    input_at: int
    scratch_bytes: int

    @property
    def weights_bytes(self) -> int:
        """Of the block's weights."""
        return self.output_at - self.weights_at


def choose_blocks(
    function: str, sizes: Mapping[str, int], isa: str, room_bytes: int | None
) -> Blocking:
    """Divide a layer.

    Args:
        function: The kernel for plain weights, e.g. "kt_conv2d".
        sizes: The numbers among the fields of its parameter structure.
        isa: The instruction set.
        room_bytes: What the scratch memory may take; None for as little as is sensible.

    Returns:
        The largest blocks that fit in the room, or in what there must be in any case.
    """
    layer = _Layer(function, sizes, isa)
    divided = [layer.divided(count) for count in layer.block_counts()]
    least = next((one for one in divided if one.weights_bytes <= BLOCK_BYTES), divided[-1])
    # All channels at once may take less than a few, which need strips of output and input.
    room_bytes = max(least.scratch_bytes, room_bytes or 0)
    return next(one for one in divided if one.scratch_bytes <= room_bytes)


class _Layer:
    """Sizes of one layer, whichever kernel it has."""

    def __init__(self, function: str, sizes: Mapping[str, int], isa: str) -> None:
        self.function, self.sizes, self.isa = function, sizes, isa
        self.out_c = sizes["out_c"]
        self.is_dense = function == "kt_fully_connected"
        self.is_depthwise = function == "kt_depthwise_conv2d"
        groups = 1 if self.is_dense else sizes["groups"]
        self.per_group = groups if self.is_depthwise else self.out_c // groups
        self.depth = 1 if self.is_depthwise else sizes["in_c"] // groups
        self.is_grouped = self.is_depthwise or groups > 1
        taps = 1 if self.is_dense else sizes["kernel_h"] * sizes["kernel_w"]
        self.filter = taps * self.depth

    def block_counts(self) -> list[int]:
        """Channels that a block may have, the most first."""
        if self.is_depthwise:
            step = math.lcm(_CHANNELS, self.per_group)
        elif self.is_grouped:
            step = self.per_group
        else:
            step = _FILTERS
        last = (self.out_c - 1) // step * step
        return [self.out_c, *range(last, 0, -step)]

    def divided(self, block: int) -> Blocking:
        """The parts of the scratch memory for blocks of some channels."""
        weights_at = 0 if self.is_dense else _aligned(self._kernel_bytes(block))
        output_at = weights_at + _aligned(block * self.filter)
        if block == self.out_c:
            return Blocking(block, 1, weights_at, output_at, output_at, output_at)
        row = block if self.is_dense else block * self.sizes["out_w"]
        out_h = self.sizes["rows"] if self.is_dense else self.sizes["out_h"]
        rows = min(out_h, _LARGEST, max(1, STRIP_BYTES // row))
        if row == block and rows > _FILTERS:
            rows -= rows % _FILTERS  # positions, of which kernels take four at a time
        is_apart = not (self.is_dense and out_h == 1)
        input_at = output_at + (_aligned(rows * row) if is_apart else 0)
        end = input_at + (_aligned(self._input_bytes(block, rows)) if self.is_grouped else 0)
        return Blocking(block, rows, weights_at, output_at, input_at, end)

    def _kernel_bytes(self, block: int) -> int:
        sizes = dict(self.sizes) | {"out_c": block}
        if self.is_grouped:
            groups = block // self.per_group
            sizes["in_c"] = groups * self.depth
            sizes["groups"] = self.per_group if self.is_depthwise else groups
        return scratch_bytes(self.function, sizes, self.isa)

    def _input_bytes(self, block: int, rows: int) -> int:
        """What a strip sees of the block's channels."""
        one = self.sizes
        seen = (rows - 1) * one["stride_h"] + (one["kernel_h"] - 1) * one["dilation_h"] + 1
        return min(seen, one["in_h"]) * one["in_w"] * (block // self.per_group) * self.depth


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
