"""The call of a layer with weights, which are plain or packed.

Belongs here: the parameter structures of `kt_packed.h`. Does not belong here: how weights are
packed (`packing.py`), and how much is unpacked at a time (`blocks.py`).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from deploy.codegen.blocks import choose_blocks
from deploy.codegen.lowering.builder import NodeBuilder
from deploy.codegen.lowering.op import Op
from deploy.codegen.packing import PACKED_KERNELS, PackedWeights, pack_weights
from deploy.codegen.program import Constant, Field, Function, Scratch, Struct

__all__ = ["Weights", "layer_call", "stored_weights"]

_MOST_ROWS = 0xFFFF
_LABEL = "scratch, unpacked weights"

Weights = Constant | PackedWeights
"""Weights in flash: an int8 array, or packed ones."""


def stored_weights(op: Op, build: NodeBuilder, function: str, weights: np.ndarray) -> Weights:
    """Store weights as they take the fewest bytes.

    Args:
        op: The operator.
        build: The node.
        function: Its kernel.
        weights: int8 in the kernel's order, output channels first, or last of a depthwise layer.
    """
    packed = None
    if PACKED_KERNELS.get(function) in build.packing:
        is_depthwise = function == "kt_depthwise_conv2d"
        rows = weights.reshape(-1, weights.shape[-1] if is_depthwise else weights[0].size)
        packed = pack_weights(rows, int(is_depthwise), build.packing)
    return build.array(op, "weights", weights) if packed is None else packed


def layer_call(
    op: Op, build: NodeBuilder, function: str, struct: Struct, weights: Weights
) -> tuple[str, Struct, Scratch]:
    """The function, its parameters and its scratch memory.

    Args:
        op: The operator.
        build: The node, its inputs computed.
        function: The kernel for plain weights.
        struct: Its parameters, all but `weights`.
        weights: Of `stored_weights`.
    """
    if isinstance(weights, Constant):
        struct = Struct(struct.type, {**struct.fields, "weights": weights})
        return function, struct, build.scratch(function, struct)
    layer = Struct(struct.type, {**_as_column(function, struct.fields), "weights": None})
    sizes = {name: one for name, one in layer.fields.items() if isinstance(one, int)}
    blocks = choose_blocks(function, sizes, build.isa, build.room_bytes)
    table = weights.table
    fields: dict[str, Field] = {
        "op": layer,
        "unpack": Function(weights.unpack),
        "indices": build.array(op, "indices", weights.indices),
        "table": None if table is None else build.array(op, "table", table),
        "row_bytes": weights.row_bytes,
        "output_at": blocks.output_at,
        "block": blocks.block,
        "rows": blocks.rows,
        "stride": weights.stride,
    }
    if function == "kt_fully_connected":
        packed = Struct("kt_packed_fully_connected_t", fields)
    else:
        fields |= {"weights_at": blocks.weights_at, "input_at": blocks.input_at}
        packed = Struct("kt_packed_conv2d_t", {**fields, "bits": weights.bits})
    return PACKED_KERNELS[function], packed, Scratch(blocks.scratch_bytes, _LABEL)


def _as_column(function: str, fields: Mapping[str, Field]) -> dict[str, Field]:
    """A 1 x 1 convolution with all positions below each other: its strips need no whole rows."""
    height, width = fields.get("out_h"), fields.get("out_w")
    if function != "kt_conv2d_1x1" or not isinstance(height, int) or not isinstance(width, int):
        return dict(fields)
    if height * width > _MOST_ROWS:
        return dict(fields)
    count = height * width
    return {**fields, "in_h": count, "in_w": 1, "out_h": count, "out_w": 1}
