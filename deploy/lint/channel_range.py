"""What the output channels of a layer can say at all: arithmetic on weights, no running.

The accumulator of a channel lies between the sums of each weight's smallest and largest product
with an input code; that is exact for a single output, and nothing is assumed of the data. Belongs
here: layers and their channels. Does not belong here: what to make of a dead one
(`dead_channels.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from quantize.flatbuffer import Graph, Operator, Quantization, Tensor

WEIGHT_PLACES = {
    "CONV_2D": (0, 1, 2),
    "DEPTHWISE_CONV_2D": (0, 1, 2),
    "FULLY_CONNECTED": (0, 1, 2),
    "TRANSPOSE_CONV": (2, 1, 3),
}
"""By operator: which inputs are the activation, the weights and the bias."""

_CODES = (-128, 127)
# Fused activations by their number (`ActivationFunctionType` of tensorflow/lite/schema/schema.fbs),
# as real bounds. A layer with another one is not judged.
_ACTIVATIONS: dict[int, tuple[float | None, float | None]] = {
    0: (None, None),
    1: (0.0, None),
    2: (-1.0, 1.0),
    3: (0.0, 6.0),
}
# The kernels' fixed-point multiplication rounds twice, by at most one step of the accumulator.
_ROUNDING_STEPS = 2


@dataclass(frozen=True)
class ChannelRange:
    """The output channels of one layer.

    Args:
        operator: The layer.
        is_dead: bool (channels,): whether the channel's output moves by less than one code over all
            possible inputs, or always rounds or saturates to one code.
        is_zero: bool (channels,): whether all its weights are 0; a subset of `is_dead`.
        channel_bytes: Bytes of the flatbuffer that one channel holds: its weights, its bias and its
            own scales and zero points.
    """

    operator: Operator
    is_dead: np.ndarray
    is_zero: np.ndarray
    channel_bytes: int


def channel_ranges(graph: Graph) -> Iterator[ChannelRange]:
    """Return the int8 layers with constant weights; others are left out.

    Args:
        graph: A node's graph.
    """
    uses = [index for operator in graph.operators for index in operator.inputs]
    for operator in graph.operators:
        places = WEIGHT_PLACES.get(operator.name)
        if places is None or len(operator.inputs) <= max(places[:2]):
            continue
        source, weights, bias = (_tensor(graph, operator, place) for place in places)
        output = graph.tensors[operator.outputs[0]] if operator.outputs else None
        if source is None or weights is None or output is None or uses.count(weights.index) > 1:
            continue
        found = _range(operator, source, weights, bias, output)
        if found is not None:
            yield found


def _tensor(graph: Graph, operator: Operator, place: int) -> Tensor | None:
    if place >= len(operator.inputs) or operator.inputs[place] < 0:
        return None
    return graph.tensors[operator.inputs[place]]


def _range(
    operator: Operator, source: Tensor, weights: Tensor, bias: Tensor | None, output: Tensor
) -> ChannelRange | None:
    """The channels of a layer, or None where it is not the usual int8 layer."""
    codes = _weight_codes(operator, weights)
    before, after = _scale(source), _scale(output)
    limits = _output_codes(operator, after)
    if codes is None or before is None or after is None or limits is None or after[0] == 0:
        return None
    channels = codes.shape[0]
    biases = _biases(bias, channels)
    own = weights.quantization
    if biases is None or own is None or len(own.scales) not in (1, channels) or _is_shifted(own):
        return None
    largest = np.where(codes > 0, codes, 0).sum(axis=1, dtype=np.int64)
    smallest = np.where(codes < 0, codes, 0).sum(axis=1, dtype=np.int64)
    low, high = (code - before[1] for code in _CODES)
    least = biases + largest * low + smallest * high
    most = biases + largest * high + smallest * low
    factor = before[0] * np.asarray(own.scales) / after[0]  # output codes per accumulator step
    first = _rounded(least - _ROUNDING_STEPS, factor, after[1], limits)
    last = _rounded(most + _ROUNDING_STEPS, factor, after[1], limits)
    is_zero = np.asarray(~codes.any(axis=1))
    is_dead = is_zero | np.equal(first, last) | ((most - least) * factor < 1)
    tables = [one.quantization for one in (weights, bias) if one is not None]
    channel_bytes = codes.shape[1] + (4 if bias is not None else 0)
    channel_bytes += sum(_bytes_per_channel(one, channels) for one in tables)
    return ChannelRange(operator, is_dead, is_zero, channel_bytes)


def _weight_codes(operator: Operator, weights: Tensor) -> np.ndarray | None:
    """Constant int8 weights as (channels, weights of one channel)."""
    rank = 2 if operator.name == "FULLY_CONNECTED" else 4
    if weights.dtype != "INT8" or weights.data is None or len(weights.shape) != rank:
        return None
    codes = np.frombuffer(weights.data, np.int8).reshape(weights.shape)
    if operator.name == "DEPTHWISE_CONV_2D":  # (1, height, width, channels)
        codes = np.moveaxis(codes, 3, 0)
    return codes.reshape(codes.shape[0], -1) if codes.size else None


def _scale(tensor: Tensor) -> tuple[float, int] | None:
    """Scale and zero point of an int8 activation."""
    quantization = tensor.quantization
    if tensor.dtype != "INT8" or quantization is None or len(quantization.scales) != 1:
        return None
    zero_point = quantization.zero_points[0] if quantization.zero_points else 0
    in_range = _CODES[0] <= zero_point <= _CODES[1]
    return (quantization.scales[0], zero_point) if in_range else None


def _output_codes(
    operator: Operator, scale: tuple[float, int] | None
) -> tuple[float, float] | None:
    """The codes between which the fused activation lets the output be."""
    activation = getattr(operator.options, "fusedActivationFunction", 0)
    if scale is None or scale[0] == 0 or activation not in _ACTIVATIONS:
        return None
    low, high = (
        code if bound is None else scale[1] + round(bound / scale[0])
        for bound, code in zip(_ACTIVATIONS[activation], _CODES, strict=True)
    )
    return max(low, _CODES[0]), min(high, _CODES[1])


def _biases(bias: Tensor | None, channels: int) -> np.ndarray | None:
    """int64 (channels,): the biases, 0 where the layer has none."""
    if bias is None:
        return np.zeros(channels, np.int64)
    if bias.dtype != "INT32" or bias.data is None or len(bias.data) != 4 * channels:
        return None
    return np.frombuffer(bias.data, "<i4").astype(np.int64)


def _is_shifted(quantization: Quantization) -> bool:
    return any(quantization.zero_points)


def _rounded(
    accumulators: np.ndarray, factor: np.ndarray, zero_point: int, limits: tuple[float, float]
) -> np.ndarray:
    """Output codes of accumulators (channels,)."""
    return np.clip(np.floor(accumulators * factor + 0.5) + zero_point, limits[0], limits[1])


def _bytes_per_channel(quantization: Quantization | None, channels: int) -> int:
    """Of the scales (float32) and zero points (int64) that every channel has of its own."""
    if quantization is None or channels == 1:
        return 0
    scales, zero_points = len(quantization.scales), len(quantization.zero_points)
    return 4 * (scales == channels) + 8 * (zero_points == channels)
