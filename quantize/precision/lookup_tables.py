"""Weights as lookup tables: at most 16, 8 or 4 values per channel, and packed indices.

The int8 codes of a channel are first reduced to few values, as near as possible to what they were;
a channel that has few enough, because it was trained so, is left as it is. Then the compressor of
TensorFlow Lite Micro stores tables and indices, and puts in front of the operator a `TFLM_DECODE`,
which fills memory with the weights at every run. A tensor is stored so only where the file becomes
smaller by it; the others keep their int8 codes.

Belongs here: which tensors, and the compressed flatbuffer, proven equal. Does not belong here: the
choice of values (`clustering.py`), or the way back (`decoding.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import redirect_stderr
from dataclasses import dataclass
from io import StringIO

import numpy as np

from quantize.interpreter import open_interpreter
from quantize.precision.choice import PrecisionError
from quantize.precision.clustering import clustered
from quantize.precision.editing import GraphEdit
from quantize.strip import strip
from quantize.wire.lookup_table import DECODE, HEADER_BYTES

OPERATORS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
"""The operators whose weights are compressed."""

_INPUT, _WEIGHTS = 0, 1
_ALIGNMENT = 16  # of a buffer's data; the kernel reads indices by 8 bytes
# What a TFLM_DECODE adds beside indices and tables: its operator, two tensors, a buffer; 80 to 112
# bytes were measured in four networks. The first one of a file adds some 80 more, so the two whole
# files are compared in the end.
_DECODE_BYTES = 112


@dataclass(frozen=True)
class _Weights:
    """Weights that may be compressed.

    Args:
        index: The tensor's.
        codes: int8.
        axis: Its axis of channels; None where it has one scale.
    """

    index: int
    codes: np.ndarray
    axis: int | None

    def clustered(self, bits: int) -> np.ndarray:
        """Return the codes with few enough values per channel."""
        if self.axis is None:
            return clustered(self.codes, 2**bits)
        channels = np.moveaxis(self.codes, self.axis, 0)
        stacked = np.stack([clustered(channel, 2**bits) for channel in channels])
        return np.ascontiguousarray(np.moveaxis(stacked, 0, self.axis))


def with_lookup_tables(data: bytes, bits: int, inputs: np.ndarray) -> bytes:
    """Store a node's weights as lookup tables, where that makes the file smaller.

    The compressor is in the wheel tflite_micro, which must be installed.

    Args:
        data: An int8 flatbuffer.
        bits: Most bits per index, 1 to 7.
        inputs: int8 (n, *input shape without batch), on which the compressed flatbuffer and the
            one that it was made of are compared.

    Returns:
        The compressed flatbuffer, its buffers aligned to 16 bytes; `data` itself where no tensor
        gains by it.

    Raises:
        PrecisionError: The compressed flatbuffer computes something else.
    """
    graph = GraphEdit.open(data)
    chosen: dict[int, tuple[int, int | None]] = {}
    for weights in _candidates(graph):
        codes = weights.clustered(bits)
        needed_bits = _needed_bits(codes, weights.axis)
        if _saved_bytes(codes, weights.axis, needed_bits) > 0:
            chosen[weights.index] = needed_bits, weights.axis
            graph.set_constant(weights.index, "INT8", codes.tobytes())
    if not chosen:
        return data
    plain = graph.encode()
    compressed = _compressed(plain, chosen)
    if len(strip(compressed)) >= len(strip(data)):
        return data
    _prove_equal(plain, compressed, inputs)
    return compressed


def _candidates(graph: GraphEdit) -> Iterator[_Weights]:
    """Give the int8 weights that are read as weights alone, and that the kernel can decode."""
    as_weights: dict[int, int] = {}
    for operator in graph.operators:
        inputs = operator.numbers("inputs")
        if graph.name(operator) in OPERATORS and graph.dtype(inputs[_INPUT]) == "INT8":
            as_weights[inputs[_WEIGHTS]] = as_weights.get(inputs[_WEIGHTS], 0) + 1
    uses = graph.uses()
    for index, count in as_weights.items():
        codes = graph.constant(index, np.int8) if graph.dtype(index) == "INT8" else None
        axis = graph.quantized_axis(index)
        has_one_scale = len(graph.scales(index)) == 1
        if codes is None or uses[index] != count or not _is_decoded(codes, axis, has_one_scale):
            continue
        yield _Weights(index, codes, None if has_one_scale else axis)


def _is_decoded(codes: np.ndarray, axis: int, has_one_scale: bool) -> bool:
    """Whether the kernel takes scales on this axis (kernels/decode_state_lut.cc, `Setup`)."""
    return axis == 0 or (axis == codes.ndim - 1 and not has_one_scale)


def _channels(codes: np.ndarray, axis: int | None) -> np.ndarray:
    """Return codes as (channels, elements)."""
    if axis is None:
        return codes.reshape(1, -1)
    return np.moveaxis(codes, axis, 0).reshape(codes.shape[axis], -1)


def _values_per_channel(codes: np.ndarray, axis: int | None) -> int:
    return max(len(np.unique(channel)) for channel in _channels(codes, axis))


def _needed_bits(codes: np.ndarray, axis: int | None) -> int:
    return max(1, (_values_per_channel(codes, axis) - 1).bit_length())


def _saved_bytes(codes: np.ndarray, axis: int | None, bits: int) -> int:
    """Return by how much a tensor's compression shortens the file."""
    tables = HEADER_BYTES + len(_channels(codes, axis)) * _values_per_channel(codes, axis)
    indices = -(-codes.size * bits // 8)
    return _aligned(codes.size) - _aligned(indices) - _aligned(tables) - _DECODE_BYTES


def _aligned(length: int) -> int:
    return length + -length % _ALIGNMENT


def _compressed(plain: bytes, chosen: dict[int, tuple[int, int | None]]) -> bytes:
    """Run the compressor; `chosen` holds bits and axis by tensor."""
    from tflite_micro.tensorflow.lite.micro.compression import compress, spec

    specs = [
        spec.Tensor(
            0,
            index,
            [
                spec.LookUpTableCompression(
                    bits, spec.PerTensor() if axis is None else spec.PerChannel(axis)
                )
            ],
        )
        for index, (bits, axis) in chosen.items()
    ]
    with redirect_stderr(StringIO()):
        raw = bytes(compress(plain, specs))
    graph = GraphEdit.open(raw)
    for operator in graph.operators:
        if graph.name(operator) == DECODE:
            for index in operator.numbers("inputs")[::2]:
                # The scales of the values, which nothing reads on the indices.
                graph.tensors[index] = graph.tensors[index].replace(quantization=None)
    return graph.encode()


def _prove_equal(plain: bytes, compressed: bytes, inputs: np.ndarray) -> None:
    """Raise unless TensorFlow Lite Micro computes the same of both, bit for bit."""
    expected, received = (
        open_interpreter(data, "tflm").run(inputs) for data in (plain, compressed)
    )
    wrong = np.flatnonzero((expected != received).reshape(len(inputs), -1).any(axis=1))
    if len(wrong):
        raise PrecisionError(
            f"A compressed node must compute what its plain one does; received other outputs for "
            f"{len(wrong)} of {len(inputs)} samples, from number {wrong[0]} on. Take 'int8' or "
            "'int4' for this node: the compressor of the installed tflite_micro does not suit it."
        )
