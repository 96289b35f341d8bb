"""Weights that TensorFlow Lite Micro stores as lookup tables and packed indices.

The operator `TFLM_DECODE` turns an encoded tensor (the indices, packed from the highest bit on) and
an ancillary one (a header of 16 bytes, then the tables) into a tensor that the next operator reads.
Its kernel trusts both: it takes as many indices as the output has elements and one table per scale
of the output, and looks every index up (tflite-micro, kernels/decode_state_lut.cc). So everything
is checked here, before any C++ sees it.

Belongs here: what such an operator holds, read and checked. Does not belong here: making one
(`precision/lookup_tables.py`), or a flatbuffer without one (`precision/decoding.py`).
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from quantize.wire.encoding import FlatbufferError
from quantize.wire.graph import Operator, Tensor

DECODE = "TFLM_DECODE"
"""The custom code of the operator."""

HEADER_BYTES = 16
"""Bytes of an ancillary tensor in front of its tables."""

_TYPE, _VERSION, _TABLE_VERSION, _PARAMETERS, _STRIDE = 0, 1, 4, 5, 6  # bytes of the header
_ONE_TABLE = 15  # the axis of a tensor with one table
_MOST_BITS = 7
# Little endian NumPy types of the tensors that the kernel decodes.
_DTYPES = {
    "BOOL": "?",
    "INT8": "i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FLOAT32": "<f4",
}
# Indices of one bit are eight to a byte, and two operators may read the same weights. Without a
# limit, many operators of one large tensor would take time without end.
_SHARING = 16
_FREE_ELEMENTS = 1 << 16
_ADVICE = "The file is damaged, or compressed in another way: compress the node again."


@dataclass(frozen=True, eq=False)
class LookupTable:
    """One encoded tensor.

    Args:
        bits: Bits per index, 1 to 7.
        axis: The channels' axis, the first or the last; None where one table serves all.
        tables: (channels, stride), of the decoded tensor's type: the values by index.
        indices: uint8 of the decoded tensor's shape.
        encoded_bytes: Length of the packed indices.
        ancillary_bytes: Length of the header and the tables.
    """

    bits: int
    axis: int | None
    tables: np.ndarray
    indices: np.ndarray
    encoded_bytes: int
    ancillary_bytes: int

    def values(self) -> np.ndarray:
        """Return the decoded tensor."""
        if self.axis is None:
            return np.asarray(self.tables[0][self.indices])
        by_channel = [1] * self.indices.ndim
        by_channel[self.axis] = -1
        channels = np.arange(len(self.tables)).reshape(by_channel)
        return np.asarray(self.tables[channels, self.indices])


def encoded_tensors(operators: Sequence[Operator], ends: set[int]) -> set[int]:
    """Return the tensors that a `TFLM_DECODE` alone reads, as its indices.

    Args:
        operators: The operators of a graph.
        ends: Its inputs and outputs.
    """
    if all(operator.name != DECODE for operator in operators):
        return set()
    all_uses: Counter[int] = Counter(ends)
    as_indices: Counter[int] = Counter()
    for operator in operators:
        all_uses.update(operator.inputs + operator.outputs)
        if operator.name == DECODE:
            as_indices.update(operator.inputs[::2])
    return {index for index, count in as_indices.items() if all_uses[index] == count}


def check_lookup_tables(tensors: Sequence[Tensor], operators: Sequence[Operator]) -> None:
    """Check every `TFLM_DECODE` of a graph.

    Raises:
        FlatbufferError: One is not sound, or all of them decode far more than the file can hold.
    """
    left = _FREE_ELEMENTS + _SHARING * sum(len(tensor.data or b"") for tensor in tensors)
    for operator in (operator for operator in operators if operator.name == DECODE):
        for number, output in enumerate(operator.outputs):
            left -= math.prod(tensors[output].shape)
            if left < 0:
                raise FlatbufferError(
                    f"`data` must hold the weights that it decodes, received operator "
                    f"{operator.index} that decodes the same ones over and over. {_ADVICE}"
                )
            read_lookup_table(tensors, operator, number)


def read_lookup_table(tensors: Sequence[Tensor], operator: Operator, number: int) -> LookupTable:
    """Read one of the tensors that a `TFLM_DECODE` decodes.

    Args:
        tensors: The graph's tensors.
        operator: The operator.
        number: Which of its outputs.

    Returns:
        Tables and indices, every index within its table.

    Raises:
        FlatbufferError: What the kernel trusts does not hold, or it is no lookup table.
    """
    where = f"output {number} of operator {operator.index}, {DECODE}"
    if len(operator.inputs) != 2 * len(operator.outputs) or min(operator.inputs) < 0:
        raise FlatbufferError(
            f"`data` must give two inputs for {where}, received {len(operator.inputs)} for "
            f"{len(operator.outputs)} outputs. {_ADVICE}"
        )
    encoded, ancillary = (
        tensors[index].data for index in operator.inputs[2 * number : 2 * number + 2]
    )
    if encoded is None or ancillary is None:
        raise FlatbufferError(f"`data` must hold constants for {where}, received none. {_ADVICE}")
    output = tensors[operator.outputs[number]]
    bits, axis, stride = _read_header(ancillary, output, where)
    channels = 1 if axis is None else output.shape[axis]
    dtype = np.dtype(_DTYPES[output.dtype])
    count = math.prod(output.shape)
    needed = -(-count * bits // 8), HEADER_BYTES + channels * stride * dtype.itemsize
    if len(encoded) < needed[0] or len(ancillary) < needed[1]:
        raise FlatbufferError(
            f"`data` must hold {needed[0]} bytes of indices and {needed[1]} of tables for {where}, "
            f"received {len(encoded)} and {len(ancillary)}. {_ADVICE}"
        )
    indices = _unpacked(encoded, bits, count)
    if count and int(indices.max()) >= stride:
        raise FlatbufferError(
            f"`data` must hold indices below {stride} for {where}, received {indices.max()}. "
            f"{_ADVICE}"
        )
    tables = np.frombuffer(ancillary, dtype, channels * stride, HEADER_BYTES)
    return LookupTable(
        bits,
        axis,
        tables.reshape(channels, stride),
        indices.reshape(output.shape),
        len(encoded),
        len(ancillary),
    )


def _read_header(ancillary: bytes, output: Tensor, where: str) -> tuple[int, int | None, int]:
    """Return bits, axis and stride, which agree with the output's own quantization."""
    if len(ancillary) < HEADER_BYTES:
        raise FlatbufferError(
            f"`data` must hold a header of {HEADER_BYTES} bytes for {where}, received "
            f"{len(ancillary)}. {_ADVICE}"
        )
    kind = tuple(ancillary[place] for place in (_TYPE, _VERSION, _TABLE_VERSION))
    bits = ancillary[_PARAMETERS] & 7
    if kind != (0, 1, 1) or not 1 <= bits <= _MOST_BITS or output.dtype not in _DTYPES:
        raise FlatbufferError(
            f"`data` must hold a lookup table (type 0, versions 1 and 1) of 1 to {_MOST_BITS} bits "
            f"for {where}, received type {kind[0]}, versions {kind[1]} and {kind[2]}, {bits} bits "
            f"of {output.dtype}. {_ADVICE}"
        )
    header_axis = ancillary[_PARAMETERS] >> 4
    axis = None if header_axis == _ONE_TABLE else header_axis
    if not _axis_fits(axis, output):
        raise FlatbufferError(
            f"`data` must hold a table for each scale of {where}, on the first or the last axis, "
            f"received axis {header_axis} for {_figures(output)}. {_ADVICE}"
        )
    return bits, axis, ancillary[_STRIDE]


def _axis_fits(axis: int | None, output: Tensor) -> bool:
    """Whether the kernel, which looks at the output's scales alone, changes tables as told."""
    quantization = output.quantization
    if quantization is None or len(quantization.scales) == 1:
        return axis is None or (axis < len(output.shape) and output.shape[axis] == 1)
    return axis == quantization.axis and axis in (0, len(output.shape) - 1)


def _figures(output: Tensor) -> str:
    scales = () if output.quantization is None else output.quantization.scales
    axis = "" if output.quantization is None else f" on axis {output.quantization.axis}"
    return f"{len(scales)} scales{axis} and shape {output.shape}"


def _unpacked(encoded: bytes, bits: int, count: int) -> np.ndarray:
    """Return `count` indices as uint8, each of `bits` bits, the highest bit first."""
    packed = np.frombuffer(encoded, np.uint8, -(-count * bits // 8))
    digits = np.unpackbits(packed, count=count * bits).reshape(count, bits)
    return np.asarray(digits @ (1 << np.arange(bits - 1, -1, -1, dtype=np.uint8)), np.uint8)
