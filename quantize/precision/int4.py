"""int4 weights in the convolutions of a node: codes of -7 to 7, two per byte.

TensorFlow Lite Micro runs int4 weights in CONV_2D and DEPTHWISE_CONV_2D, 1x1 convolutions and those
of Conv1D (a CONV_2D of height 1) among them: bit for bit what the same codes give as int8. It
refuses them in FULLY_CONNECTED with a scale per channel, and in TRANSPOSE_CONV: both stay int8. So
do the two forms that its reference kernels run and CMSIS-NN's compute wrongly (revision 4ab83cc3):
grouped convolutions, and depthwise ones of an odd number of input channels that are dilated or
multiply the channels.

The codes are made anew from the float weights, at the scale max|w|/7 per channel: int8 codes would
be rounded twice. A bias has the scale input * weights, and so is made anew too.

Belongs here: the edit of a quantized flatbuffer, its float one at hand. Does not belong here: which
node is stored so (`choice.py`).
"""

from __future__ import annotations

import numpy as np

from quantize.precision.editing import GraphEdit, with_input
from quantize.wire.encoding import FlatbufferError, Table

OPERATORS = ("CONV_2D", "DEPTHWISE_CONV_2D")
"""The operators whose weights become int4."""

LARGEST_CODE = 7
"""Codes are symmetric: -8 is not used, as -128 is not in int8."""

_INPUT, _WEIGHTS, _BIAS = 0, 1, 2
_INT8_LARGEST_CODE = 127
_LARGEST_BIAS = 2**31 - 1
# An int8 code lies within half a step of its float weight; a whole one allows for float32.
_CODE_TOLERANCE = 1.0


def with_int4_weights(quantized: bytes, calibrated: bytes) -> bytes:
    """Store the weights of a node's convolutions in int4.

    Args:
        quantized: The int8 flatbuffer, as the quantizer made it.
        calibrated: The float flatbuffer that it was made of.

    Returns:
        The flatbuffer with int4 weights, and biases at the new scales.

    Raises:
        FlatbufferError: The two do not belong together.
    """
    graph, floats = GraphEdit.open(quantized), GraphEdit.open(calibrated)
    places = _convolutions(graph)
    originals = [floats.operators[place] for place in _convolutions(floats)]
    if len(places) != len(originals):
        raise _mismatch(f"{len(places)} and {len(originals)} convolutions")
    done: set[int] = set()
    for place, original in zip(places, originals, strict=True):
        weights = graph.operators[place].numbers("inputs")[_WEIGHTS]
        values = _constant(floats, original.numbers("inputs")[_WEIGHTS])
        if weights not in done:
            _set_weights(graph, weights, values)
            done.add(weights)
        _set_bias(graph, place, floats, original)
    return graph.encode()


def packed_nibbles(codes: np.ndarray) -> bytes:
    """Pack int4 codes two per byte, the first in the low half, the last half 0 where one is left.

    Args:
        codes: Integers of -8 to 7, any shape.
    """
    halves = codes.astype(np.int8).reshape(-1).view(np.uint8) & 15
    halves = np.append(halves, np.zeros(len(halves) % 2, np.uint8))
    return (halves[::2] | halves[1::2] << 4).astype(np.uint8).tobytes()


def unpacked_nibbles(data: bytes, count: int) -> np.ndarray:
    """Return `count` int4 codes as int8, (count,): the inverse of `packed_nibbles`.

    Raises:
        ValueError: `data` holds fewer.
    """
    packed = np.frombuffer(data, np.uint8)
    if 2 * len(packed) < count:
        raise ValueError(
            f"`data` must hold {count} codes, received {len(packed)} bytes of two each. Give the "
            "data of the whole tensor."
        )
    halves = np.stack([packed << 4, packed & 0xF0], axis=1).astype(np.uint8)
    return halves.reshape(-1)[:count].view(np.int8) >> 4


def _convolutions(graph: GraphEdit) -> list[int]:
    """Return the places of the operators that have constant weights to store in int4."""
    return [
        place
        for place, operator in enumerate(graph.operators)
        if graph.name(operator) in OPERATORS
        and graph.dtype(operator.numbers("inputs")[_INPUT]) in ("INT8", "FLOAT32")
        and graph.is_constant(operator.numbers("inputs")[_WEIGHTS])
        and _every_kernel_is_right(graph, operator)
    ]


def _every_kernel_is_right(graph: GraphEdit, operator: Table) -> bool:
    source, weights = (graph.shape(index)[3] for index in operator.numbers("inputs")[:2])
    if graph.name(operator) == "CONV_2D":
        return source == weights
    options = operator.get("builtinOptions", Table("", {}))
    dilation = {options.get(name, 1) for name in ("dilationHFactor", "dilationWFactor")}
    return source % 2 == 0 or (source == weights and dilation == {1})


def _set_weights(graph: GraphEdit, index: int, values: np.ndarray) -> None:
    """Make a weight tensor int4."""
    scales, axis = graph.scales(index), graph.quantized_axis(index)
    codes = graph.constant(index, np.int8)
    if codes is None or codes.shape != values.shape or len(scales) != values.shape[axis]:
        raise _mismatch(f"weights of shapes {graph.shape(index)} and {values.shape}")
    if np.abs(values / _along(scales, axis) - codes).max(initial=0) > _CODE_TOLERANCE:
        raise _mismatch("other weights")
    others = tuple(other for other in range(values.ndim) if other != axis)
    largest = np.abs(values).max(axis=others, initial=0).astype(np.float32)
    # A channel of zeros has any scale: the quantizer's own is kept, stretched as the others are.
    steps = np.where(largest > 0, largest, scales * np.float32(_INT8_LARGEST_CODE)) / LARGEST_CODE
    # Of a channel whose weights are all but 0, the quantizer has made the scale larger, so that its
    # bias fits 32 bits; elsewhere its scale is the smaller one.
    steps = np.maximum(steps, scales).astype(np.float32)
    rounded = np.rint(values.astype(np.float64) / _along(steps, axis))
    graph.set_constant(index, "INT4", packed_nibbles(np.clip(rounded, -LARGEST_CODE, LARGEST_CODE)))
    graph.set_scales(index, steps)


def _set_bias(graph: GraphEdit, place: int, floats: GraphEdit, original: Table) -> None:
    """Make a convolution's bias anew at the scale input * weights."""
    inputs, float_inputs = graph.operators[place].numbers("inputs"), original.numbers("inputs")
    if len(inputs) <= _BIAS or inputs[_BIAS] < 0:
        return
    bias = inputs[_BIAS]
    if graph.uses()[bias] > 1:
        bias = graph.copy_tensor(bias)
        graph.operators[place] = with_input(graph.operators[place], _BIAS, bias)
    scales = graph.scales(inputs[_INPUT]) * graph.scales(inputs[_WEIGHTS])  # float32, as kernels do
    values = _constant(floats, float_inputs[_BIAS]).astype(np.float64)
    codes = np.clip(np.rint(values / scales), -_LARGEST_BIAS, _LARGEST_BIAS).astype("<i4")
    graph.set_constant(bias, "INT32", codes.tobytes())
    graph.set_scales(bias, scales)


def _constant(floats: GraphEdit, index: int) -> np.ndarray:
    values = floats.constant(index, "<f4") if floats.dtype(index) == "FLOAT32" else None
    if values is None:
        raise _mismatch(f"tensor {index}, which is no float constant")
    return values


def _along(scales: np.ndarray, axis: int) -> np.ndarray:
    """Return scales in float64, shaped so that they multiply along the axis of 4-D weights."""
    shape = [1, 1, 1, 1]
    shape[axis] = -1
    return scales.astype(np.float64).reshape(shape)


def _mismatch(received: str) -> FlatbufferError:
    return FlatbufferError(
        "`calibrated` must be the float flatbuffer that `quantized` was made of, received "
        f"{received}. Quantize the node anew."
    )
