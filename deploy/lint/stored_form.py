"""A node in another form than it is stored in: what its flatbuffer would be, to hold costs against.

Weights that have few values per channel as lookup tables, as `quantize(precision="lut4")` stores
them; a node of int4 weights or int16 activations as plain int8. The first computes the same; of the
second only sizes are right, since nothing is quantized anew.

Belongs here: the edits. Does not belong here: what the forms cost (`form_costs.py`), or the ones
that are shipped (`quantize/precision`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from quantize.precision.editing import GraphEdit, with_input
from quantize.wire.encoding import FlatbufferError, Table, Vector
from quantize.wire.lookup_table import DECODE, HEADER_BYTES
from quantize.wire.schema import BUILTIN_OPERATORS, TENSOR_TYPES

MOST_VALUES = 16
"""Values per channel up to which weights are stored as lookup tables."""

_WEIGHTS = 1
_OPERATORS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
# Less than tables, indices and what leads to them take in any file.
_LEAST_WEIGHTS = 200
_ALIGNMENT = 16
_ONE_TABLE = 15  # the axis of weights with one scale
# Tables of an operator, two tensors and a buffer, beside what is counted.
_DECODE_BYTES = 112


@dataclass(frozen=True)
class FewValues:
    """A node of which some weights have few values per channel.

    Args:
        data: The flatbuffer with those weights as lookup tables.
        values: Most values that a channel of them has.
        most_beside: Most values that a channel of the other weights has; 0 where there are none.
    """

    data: bytes
    values: int
    most_beside: int


def with_lookup_tables(data: bytes) -> FewValues | None:
    """Return a node with lookup tables where they are smaller; None where no weights gain by it.

    Args:
        data: The bytes of a .tflite file; one that can be read but not edited has no other form.
    """
    try:
        graph = GraphEdit.open(data)
    except FlatbufferError:
        return None
    chosen, most, most_beside = {}, 0, 0
    for index, channels, codes in _weights(graph):
        in_order = np.sort(channels, axis=1)
        values = 1 + int((in_order[:, 1:] != in_order[:, :-1]).sum(axis=1).max())
        bits = max(1, (values - 1).bit_length())
        if values <= MOST_VALUES and _saved_bytes(channels, values, bits) > 0:
            chosen[index] = _encoded(channels, codes, values, bits, graph.quantized_axis(index))
            most = max(most, values)
        elif codes.size >= _LEAST_WEIGHTS:
            most_beside = max(most_beside, values)
    if not chosen:
        return None
    return FewValues(_with_decoders(graph, chosen), most, most_beside)


def _weights(graph: GraphEdit) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Give tensor, int8 codes as (channels, elements), and int8 codes as they lie, of weights."""
    seen = set()
    for operator in graph.operators:
        source, index = (*operator.numbers("inputs")[: _WEIGHTS + 1], -1, -1)[: _WEIGHTS + 1]
        if graph.name(operator) not in _OPERATORS or min(source, index) < 0 or index in seen:
            continue
        seen.add(index)
        codes = graph.constant(index, np.int8) if graph.dtype(index) == "INT8" else None
        if codes is None or graph.dtype(source) != "INT8":
            continue
        scales, axis = len(graph.scales(index)), graph.quantized_axis(index)
        if scales <= 1:
            yield index, codes.reshape(1, -1), codes
        elif axis in (0, codes.ndim - 1) and scales == codes.shape[axis]:
            yield index, np.moveaxis(codes, axis, 0).reshape(scales, -1), codes


def _saved_bytes(channels: np.ndarray, values: int, bits: int) -> int:
    tables = HEADER_BYTES + len(channels) * values
    indices = -(-channels.size * bits // 8)
    return _aligned(channels.size) - _aligned(indices) - _aligned(tables) - _DECODE_BYTES


def _aligned(length: int) -> int:
    return length + -length % _ALIGNMENT


def _encoded(
    channels: np.ndarray, codes: np.ndarray, values: int, bits: int, axis: int
) -> tuple[bytes, bytes]:
    """Packed indices, highest bit first, and the header with the tables."""
    tables = np.zeros((len(channels), values), np.int8)
    indices = np.zeros(channels.shape, np.uint8)
    for number, channel in enumerate(channels):
        found, indices[number] = np.unique(channel, return_inverse=True)
        tables[number, : len(found)] = found
    if len(channels) == 1:
        axis = _ONE_TABLE
    elif axis:
        indices = np.moveaxis(indices.reshape(len(channels), *codes.shape[:-1]), 0, -1)
    digits = (indices.reshape(-1, 1) >> np.arange(bits - 1, -1, -1)) & 1
    header = bytes([0, 1, 0, 0, 1, axis << 4 | bits, values]).ljust(HEADER_BYTES, b"\0")
    return np.packbits(digits.astype(np.uint8)).tobytes(), header + tables.tobytes()


def _with_decoders(graph: GraphEdit, chosen: dict[int, tuple[bytes, bytes]]) -> bytes:
    """Put a TFLM_DECODE in front of every operator that reads one of the chosen weights."""
    number = BUILTIN_OPERATORS.index("CUSTOM")
    code = {"deprecatedBuiltinCode": number, "builtinCode": number, "customCode": DECODE.encode()}
    graph.codes.append(Table("OperatorCode", {**code, "version": 1}))
    decoded = {index: graph.tensors[index].replace(buffer=0) for index in chosen}
    tables = {}
    for index, (indices, table) in chosen.items():
        tables[index] = _add_constant(graph, table)
        graph.set_constant(index, "UINT8", indices)
        shape = Vector.of("i32", [len(indices)])
        graph.tensors[index] = graph.tensors[index].replace(shape=shape, quantization=None)
    operators = []
    for operator in graph.operators:
        weights = operator.numbers("inputs")[_WEIGHTS : _WEIGHTS + 1]
        if graph.name(operator) in _OPERATORS and weights and weights[0] in chosen:
            target = len(graph.tensors)
            graph.tensors.append(decoded[weights[0]])
            fields = {
                "opcodeIndex": len(graph.codes) - 1,
                "inputs": Vector.of("i32", [weights[0], tables[weights[0]]]),
                "outputs": Vector.of("i32", [target]),
            }
            operators.append(Table("Operator", fields))
            operator = with_input(operator, _WEIGHTS, target)
        operators.append(operator)
    graph.operators = operators
    return graph.encode()


def _add_constant(graph: GraphEdit, data: bytes) -> int:
    graph.buffers.append(Table("Buffer", {"data": Vector("u8", data)}))
    fields = {
        "shape": Vector.of("i32", [len(data)]),
        "type": TENSOR_TYPES.index("UINT8"),
        "buffer": len(graph.buffers) - 1,
    }
    graph.tensors.append(Table("Tensor", fields))
    return len(graph.tensors) - 1


def as_int8(data: bytes) -> bytes:
    """Return a node of int4 weights or int16 activations as large as it were in int8.

    Args:
        data: The bytes of a .tflite file.

    Returns:
        A flatbuffer whose sizes are right and whose numbers are not; `data` itself where it has
        neither, or can be read but not edited.
    """
    try:
        graph = GraphEdit.open(data)
    except FlatbufferError:
        return data
    types = {graph.dtype(index) for index in range(len(graph.tensors))}
    if not types & {"INT4", "INT16"}:
        return data
    replaced = _ends_without_conversion(graph)
    for index in range(len(graph.tensors)):
        _narrow(graph, index)
    _drop(graph, replaced)
    return graph.encode()


def _narrow(graph: GraphEdit, index: int) -> None:
    """Give one tensor the type that it has in int8."""
    dtype = graph.dtype(index)
    if dtype == "INT4" and graph.is_constant(index):
        packed = np.frombuffer(_data(graph, index), np.uint8)
        nibbles = np.stack([packed & 15, packed >> 4], axis=1).ravel()
        codes = nibbles[: int(np.prod(graph.shape(index)))]
        graph.set_constant(index, "INT8", codes.tobytes())
    elif dtype == "INT64" and graph.is_constant(index):
        wide = np.frombuffer(_data(graph, index), "<i8")
        graph.set_constant(index, "INT32", wide.astype("<i4").tobytes())
    elif dtype == "INT16" and graph.is_constant(index):
        wide = np.frombuffer(_data(graph, index), "<i2")
        graph.set_constant(index, "INT8", (wide >> 8).astype(np.int8).tobytes())
    elif dtype == "INT16":
        narrow = TENSOR_TYPES.index("INT8")
        graph.tensors[index] = graph.tensors[index].replace(type=narrow)


def _data(graph: GraphEdit, index: int) -> bytes:
    return bytes(graph.buffers[graph.tensors[index].get("buffer", 0)].get("data").data)


def _ends_without_conversion(graph: GraphEdit) -> dict[int, int]:
    """Take the QUANTIZE between int8 and int16 out; by the inner tensor the one in its place."""
    replaced: dict[int, int] = {}
    kept = []
    for operator in graph.operators:
        pair = (*operator.numbers("inputs")[:1], *operator.numbers("outputs")[:1])
        if graph.name(operator) != "QUANTIZE" or {graph.dtype(i) for i in pair} != {
            "INT8",
            "INT16",
        }:
            kept.append(operator)
        elif graph.dtype(pair[0]) == "INT8":
            replaced[pair[1]] = pair[0]
        else:
            replaced[pair[0]] = pair[1]
    graph.operators = kept
    return replaced


def _drop(graph: GraphEdit, replaced: dict[int, int]) -> None:
    """Take tensors out, others in their places."""
    kept = [index for index in range(len(graph.tensors)) if index not in replaced]
    places = {index: place for place, index in enumerate(kept)}
    places |= {index: places[other] for index, other in replaced.items()} | {-1: -1}
    graph.tensors = [graph.tensors[index] for index in kept]
    graph.inputs = [places[index] for index in graph.inputs]
    graph.outputs = [places[index] for index in graph.outputs]
    graph.operators = [
        operator.replace(
            **{
                end: Vector.of("i32", [places[index] for index in operator.numbers(end)])
                for end in ("inputs", "outputs")
            }
        )
        for operator in graph.operators
    ]
