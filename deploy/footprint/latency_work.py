"""The work of one operator, in the quantities that its instructions grow with.

Belongs here: counting from shapes and options. What each quantity costs is in
`latency_instructions.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from quantize.flatbuffer import Graph, Operator, Tensor

MAC_KINDS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
"""The classes of operators whose work is multiplying by weights."""

# Operators whose instructions were not counted, and the counted one that does work of the same
# kind. Any other operator is taken for an element-wise one, by its outputs: ADD.
_STAND_INS = {
    "BATCH_MATMUL": "FULLY_CONNECTED",
    "ELU": "SOFTMAX",
    "EXP": "SOFTMAX",
    "EXPAND_DIMS": "RESHAPE",
    "GELU": "SOFTMAX",
    "LOGISTIC": "SOFTMAX",
    "LOG_SOFTMAX": "SOFTMAX",
    "L2_POOL_2D": "AVERAGE_POOL_2D",
    "MAX_POOL_2D": "AVERAGE_POOL_2D",
    "REDUCE_MAX": "MEAN",
    "REDUCE_MIN": "MEAN",
    "SQUEEZE": "RESHAPE",
    "SUM": "MEAN",
    "SVDF": "FULLY_CONNECTED",
    "TANH": "SOFTMAX",
    "TRANSPOSE_CONV": "CONV_2D",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "FULLY_CONNECTED",
}
_COUNTED = (*MAC_KINDS, "ADD", "AVERAGE_POOL_2D", "MEAN", "RESHAPE", "SOFTMAX", "TFLM_DECODE")
# Bits of an index for which TFLM_DECODE was counted.
_DECODED_BITS = (2, 3, 4)
# Its second input begins with the form of storage, and says later how many bits an index has.
_LOOKUP_TABLES = 0
_BITS_OFFSET, _BITS_MASK = 5, 0x07
# A filter larger than this is taken to lie wholly within its input: no model has one.
_LARGEST_FILTER = 4096
# Shapes of a damaged file may multiply to numbers beyond a float.
_MOST_ELEMENTS = 2**62


@dataclass(frozen=True)
class Work:
    """The work of one operator.

    Args:
        name: The operator.
        kind: The operator whose instructions were counted and that stands for it; itself for most.
        macs: Multiply-accumulates, padding included; 0 for other operators.
        quantities: Amount by name, as the tables of instructions use them.
        is_counted: Whether the instructions of such an operator were counted, rather than those of
            one that stands for it.
    """

    name: str
    kind: str
    macs: int
    quantities: dict[str, int]
    is_counted: bool


def operator_work(operator: Operator, graph: Graph) -> Work:
    """Return the work of one operator of `graph`."""
    inputs = [graph.tensors[i] for i in operator.inputs if i >= 0]
    outputs = [graph.tensors[i] for i in operator.outputs]
    kind = operator.name if operator.name in _COUNTED else _STAND_INS.get(operator.name, "ADD")
    rule = _RULES.get(operator.name)
    macs, quantities = rule(operator, inputs, outputs) if rule and inputs and outputs else (0, {})
    if kind in (*MAC_KINDS, "TFLM_DECODE") and not quantities:
        # Shapes that are none of such an operator, or another form of storage.
        kind = "ADD"
    # An operator without an output, such as one that assigns a variable, works on its input.
    read, written = max(map(_elements, inputs), default=0), sum(map(_elements, outputs))
    common = {"calls": 1, "inputs": read or written, "outputs": written or read}
    is_counted = operator.name == kind and not _is_unusual(operator, inputs)
    return Work(operator.name, kind, macs, {**common, "macs": macs, **quantities}, is_counted)


_Counts = tuple[int, dict[str, int]]
_Tensors = Sequence[Tensor]


def _convolution(operator: Operator, inputs: _Tensors, outputs: _Tensors) -> _Counts:
    # Weights (out, height, width, in).
    if not _are_4d(inputs[:2], outputs):
        return 0, {}
    height, width, depth = inputs[1].shape[1:]
    positions, channels = math.prod(outputs[0].shape[:3]), outputs[0].shape[3]
    area, columns = height * width, height * width * depth
    macs = positions * channels * columns
    is_gathered = area > 1
    return macs, {
        "applied_macs": _applied(operator, inputs, outputs) * channels * depth,
        "window_outputs": positions * channels * area,
        # CMSIS-NN copies each window beside the others, unless it is a single pixel.
        "gathered": positions * columns * is_gathered,
        "window_copies": positions * area * is_gathered,
        # It multiplies two windows at a time; the last of an odd number has a slower loop.
        "leftover_macs": positions % 2 * channels * columns,
        "vector_steps": positions * channels * -(-columns // 16),
    }


def _depthwise(operator: Operator, inputs: _Tensors, outputs: _Tensors) -> _Counts:
    # Weights (1, height, width, out).
    if not _are_4d(inputs[:2], outputs):
        return 0, {}
    height, width = inputs[1].shape[1:3]
    positions, channels = math.prod(outputs[0].shape[:3]), outputs[0].shape[3]
    macs = positions * channels * height * width
    applied = _applied(operator, inputs, outputs) * channels
    # CMSIS-NN has a function of its own for plain 3x3 filters.
    is_3x3 = (height, width) == (3, 3) and not _is_unusual(operator, inputs)
    return macs, {
        "applied_macs": applied,
        "applied_macs_3x3": applied * is_3x3,
        "macs_not_3x3": macs * (not is_3x3),
        "window_positions": positions * height * width,
    }


def _fully_connected(operator: Operator, inputs: _Tensors, outputs: _Tensors) -> _Counts:
    # Weights (out, in).
    if len(inputs) < 2 or not inputs[1].shape:
        return 0, {}
    return _elements(outputs[0]) * inputs[1].shape[-1], {"applied_macs": 0}


def _transposed_convolution(operator: Operator, inputs: _Tensors, outputs: _Tensors) -> _Counts:
    # Inputs: output shape, weights (out, height, width, in), source.
    if not _are_4d(inputs[1:3], outputs):
        return 0, {}
    macs = _elements(inputs[2]) * math.prod(inputs[1].shape[:3])
    return macs, {"applied_macs": macs, "vector_steps": -(-macs // 16)}


def _matrix_product(operator: Operator, inputs: _Tensors, outputs: _Tensors) -> _Counts:
    if len(inputs) < 2 or len(inputs[0].shape) < 2:
        return 0, {}
    inner = inputs[0].shape[-2 if getattr(operator.options, "adjX", False) else -1]
    return _elements(outputs[0]) * inner, {"applied_macs": 0}


def _recurrent(operator: Operator, inputs: _Tensors, outputs: _Tensors) -> _Counts:
    """Every weight once in each step of time."""
    shape = inputs[0].shape
    if not shape:
        return 0, {}
    weights = sum(_elements(t) for t in inputs if t.data is not None and len(t.shape) == 2)
    major = getattr(operator.options, "timeMajor", False)
    has_steps = operator.name != "SVDF" and len(shape) == 3
    steps = shape[0 if major else 1] if has_steps else 1
    batch = (shape[1 if major else 0] if len(shape) > 1 else 1) if has_steps else shape[0]
    return weights * steps * batch, {"applied_macs": 0}


def _pool(operator: Operator, inputs: _Tensors, outputs: _Tensors) -> _Counts:
    options = operator.options
    area = getattr(options, "filterHeight", 1) * getattr(options, "filterWidth", 1)
    return 0, {"window_outputs": _elements(outputs[0]) * area}


def _decode(operator: Operator, inputs: _Tensors, outputs: _Tensors) -> _Counts:
    # Inputs: packed indices, and a header with tables, for each output.
    counts: dict[str, int] = {}
    for table, output in zip(inputs[1::2], outputs, strict=False):
        data = table.data or b""
        bits = data[_BITS_OFFSET] & _BITS_MASK if len(data) > _BITS_OFFSET else 0
        if bits not in _DECODED_BITS or data[0] != _LOOKUP_TABLES:
            return 0, {}
        channels = max(1, len(output.quantization.scales)) if output.quantization else 1
        axis = output.quantization.axis if output.quantization else 0
        # Where channels take turns, a run is one turn, else a channel.
        takes_turns = channels > 1 and axis == len(output.shape) - 1 > 0
        runs = _elements(output) // channels if takes_turns else channels
        found = {"tensors": 1, "runs": runs, f"values_{bits}": _elements(output)}
        for name, amount in found.items():
            counts[name] = counts.get(name, 0) + amount
    return 0, counts


_RULES: dict[str, Callable[[Operator, _Tensors, _Tensors], _Counts]] = {
    "AVERAGE_POOL_2D": _pool,
    "BATCH_MATMUL": _matrix_product,
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _fully_connected,
    "L2_POOL_2D": _pool,
    "MAX_POOL_2D": _pool,
    "SVDF": _recurrent,
    "TFLM_DECODE": _decode,
    "TRANSPOSE_CONV": _transposed_convolution,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _recurrent,
}


def _is_unusual(operator: Operator, inputs: _Tensors) -> bool:
    """Whether it is a convolution with gaps, in groups, or with several outputs per channel.

    Such a one takes another way through the kernels than those that were counted.
    """
    if operator.name not in ("CONV_2D", "DEPTHWISE_CONV_2D") or not _are_4d(inputs[:2], ()):
        return False
    gaps = (getattr(operator.options, f"dilation{letter}Factor", 1) for letter in "HW")
    return max(gaps) > 1 or inputs[0].shape[3] != inputs[1].shape[3]


def _are_4d(inputs: _Tensors, outputs: _Tensors) -> bool:
    return len(inputs) == 2 and all(len(t.shape) == 4 for t in (*inputs, *outputs))


def _applied(operator: Operator, inputs: _Tensors, outputs: _Tensors) -> int:
    """Pairs of a position and a place in its window that lie within the input, not in padding."""
    options = operator.options
    is_same = getattr(options, "padding", 0) == 0
    product = outputs[0].shape[0]
    for axis, letter in ((1, "H"), (2, "W")):
        stride = max(1, getattr(options, f"stride{letter}", 1))
        dilation = max(1, getattr(options, f"dilation{letter}Factor", 1))
        length, positions, places = (t.shape[axis] for t in (inputs[0], outputs[0], inputs[1]))
        product *= _within(length, positions, places, stride, dilation, is_same)
    return product


def _within(
    length: int, positions: int, places: int, stride: int, dilation: int, is_same: bool
) -> int:
    """`_applied` along one axis."""
    if places > _LARGEST_FILTER:
        return positions * places
    span = (positions - 1) * stride + (places - 1) * dilation + 1
    before = max(span - length, 0) // 2 if is_same else 0
    count = 0
    for place in range(places):
        offset = place * dilation - before
        first = max(0, -(offset // stride))
        last = min(positions - 1, (length - 1 - offset) // stride)
        count += max(0, last - first + 1)
    return count


def _elements(tensor: Tensor) -> int:
    return min(math.prod(tensor.shape), _MOST_ELEMENTS)
