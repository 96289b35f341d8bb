"""Read a graph from the tables of a .tflite file, and check what an interpreter relies on.

An interpreter follows every index and trusts every size: what it would read beyond a buffer is
refused here, before any C++ sees it.

Belongs here: from tables to a graph. Does not belong here: from bytes to tables (`wire_reader.py`).
"""

import math
from types import SimpleNamespace
from typing import Any

from quantize.graph import Graph, Operator, Quantization, Tensor
from quantize.schema import BUILTIN_OPERATORS, TABLES, TENSOR_TYPES
from quantize.wire import FlatbufferError, Table, Vector

# TensorFlow Lite Micro counts a tensor's bytes in 32 bits.
_LARGEST_TENSOR_BYTES = 2**31 - 1
# Bits of one element. Strings, resources and variants have no fixed size.
_ELEMENT_BITS = {
    "INT2": 2,
    "INT4": 4,
    "UINT4": 4,
    "BOOL": 8,
    "INT8": 8,
    "UINT8": 8,
    "FLOAT8_E4M3FN": 8,
    "FLOAT8_E5M2": 8,
    "INT16": 16,
    "UINT16": 16,
    "FLOAT16": 16,
    "BFLOAT16": 16,
    "INT32": 32,
    "UINT32": 32,
    "FLOAT32": 32,
    "INT64": 64,
    "UINT64": 64,
    "FLOAT64": 64,
    "COMPLEX64": 64,
    "COMPLEX128": 128,
}
_DAMAGED = "The file is damaged: copy or convert it again."


def read_subgraph(
    subgraph: Table, codes: tuple[Table, ...], buffers: tuple[bytes, ...], subgraph_count: int
) -> Graph:
    """Read one subgraph, every index within its range.

    Args:
        subgraph: A `SubGraph` table.
        codes: The model's `OperatorCode` tables.
        buffers: The data of the model's buffers.
        subgraph_count: How many subgraphs the model holds.

    Returns:
        Its frozen view.

    Raises:
        FlatbufferError: An index, a size or a code is out of its range.
    """
    tensors = tuple(
        _read_tensor(i, tensor, buffers) for i, tensor in enumerate(subgraph.tables("tensors"))
    )
    operators = tuple(
        _read_operator(i, operator, codes, len(tensors))
        for i, operator in enumerate(subgraph.tables("operators"))
    )
    inputs, outputs = (
        _tensor_indices(subgraph, end, f"the graph's {end}", 0, len(tensors))
        for end in ("inputs", "outputs")
    )
    return Graph(tensors, operators, inputs, outputs, subgraph_count)


def buffer_data(index: int, buffer: Table) -> bytes:
    """The data of buffer `index`, empty where it has none.

    Raises:
        FlatbufferError: The data lies outside the flatbuffer.
    """
    # Offsets 0 and 1 mean that the data is inside (tensorflow/lite/schema/schema.fbs, `Buffer`).
    if buffer.get("offset", 0) > 1 or buffer.get("size", 0) > 1:
        raise FlatbufferError(
            f"`data` must hold its buffers within the flatbuffer, received buffer {index} at byte "
            f"{buffer.get('offset', 0)} of the file. Convert a node of less than 2 GB."
        )
    vector = buffer.get("data")
    return b"" if vector is None else vector.data


def _read_tensor(index: int, tensor: Table, buffers: tuple[bytes, ...]) -> Tensor:
    where = f"tensor {index}"
    dtype = _named(TENSOR_TYPES, tensor.get("type", 0), f"the element type of {where}")
    if tensor.get("sparsity") is not None:
        raise FlatbufferError(
            f"`data` must hold dense tensors, received sparsity in {where}. "
            "Convert without Optimize.EXPERIMENTAL_SPARSITY."
        )
    buffer = tensor.get("buffer", 0)
    # An index of 0 is the buffer that is always empty; a file without buffers is sound then.
    if buffer >= max(1, len(buffers)) or tensor.get("externalBuffer", 0):
        raise FlatbufferError(
            f"`data` must hold the buffer of {where}, received index {buffer} of {len(buffers)} "
            f"buffers, external {tensor.get('externalBuffer', 0)}. {_DAMAGED}"
        )
    shape = tensor.numbers("shape")
    data = (buffers[buffer] if buffers else b"") or None
    _check_size(where, shape, dtype, data)
    return Tensor(
        index,
        tensor.get("name", b"").decode("utf-8", "replace"),
        shape,
        dtype,
        _read_quantization(where, tensor.get("quantization"), shape),
        data,
        tensor.get("isVariable", False),
    )


def _check_size(where: str, shape: tuple[int, ...], dtype: str, data: bytes | None) -> None:
    if any(size < 0 for size in shape):
        raise FlatbufferError(
            f"`data` must hold fixed shapes, received {shape} for {where}. "
            "Convert with every axis fixed, the batch to 1."
        )
    if dtype not in _ELEMENT_BITS:
        return
    size_bytes = -(-math.prod(shape) * _ELEMENT_BITS[dtype] // 8)
    if size_bytes > _LARGEST_TENSOR_BYTES:
        raise FlatbufferError(
            f"`data` must hold tensors of less than 2 GB, received {dtype} {shape} for {where}. "
            f"{_DAMAGED}"
        )
    if data is not None and len(data) != size_bytes:
        raise FlatbufferError(
            f"`data` must hold {size_bytes} bytes for {where} ({dtype} {shape}), received "
            f"{len(data)}. {_DAMAGED}"
        )


def _read_quantization(
    where: str, quantization: Table | None, shape: tuple[int, ...]
) -> Quantization | None:
    scales = () if quantization is None else quantization.numbers("scale")
    if quantization is None or not scales:
        return None
    zero_points = quantization.numbers("zeroPoint")
    axis = quantization.get("quantizedDimension", 0)
    channels = shape[axis] if 0 <= axis < len(shape) else 1
    if len(scales) not in (1, channels) or len(zero_points) not in (0, 1, len(scales)):
        raise FlatbufferError(
            f"`data` must hold one scale and zero point for {where}, or one per channel, received "
            f"{len(scales)} scales and {len(zero_points)} zero points for {channels} channels on "
            f"axis {axis}. {_DAMAGED}"
        )
    return Quantization(scales, zero_points, axis)


def _read_operator(
    index: int, operator: Table, codes: tuple[Table, ...], tensor_count: int
) -> Operator:
    where = f"operator {index}"
    number = operator.get("opcodeIndex", 0)
    if number >= len(codes):
        raise FlatbufferError(
            f"`data` must hold the operator code of {where}, received index {number} of "
            f"{len(codes)}. {_DAMAGED}"
        )
    name = operator_name(codes[number])
    where = f"{where} ({name})"
    _tensor_indices(operator, "intermediates", where, 0, tensor_count, required=False)
    return Operator(
        index,
        name,
        _tensor_indices(operator, "inputs", f"the inputs of {where}", -1, tensor_count),
        _tensor_indices(operator, "outputs", f"the outputs of {where}", 0, tensor_count),
        _read_options(operator.get("builtinOptions") or operator.get("builtinOptions2")),
        codes[number].get("version", 1),
    )


def operator_name(code: Table) -> str:
    """The operator that an `OperatorCode` table stands for: its own name, or a custom one's code.

    Raises:
        FlatbufferError: The schema does not know it.
    """
    # Codes up to 127 may stand in either field (tensorflow/lite/schema/schema_utils.cc).
    number = max(code.get("builtinCode", 0), code.get("deprecatedBuiltinCode", 0))
    name = _named(BUILTIN_OPERATORS, number, "an operator code")
    if name != "CUSTOM":
        return name
    return str(code.get("customCode", b"CUSTOM").decode("utf-8", "replace"))


def _read_options(options: Table | None) -> SimpleNamespace | None:
    if options is None:
        return None
    values: dict[str, Any] = {}
    for field in TABLES.get(options.kind, ()):
        value = options.get(field.name, field.default if field.kind[0] not in "[<s" else None)
        values[field.name] = value.numbers() if isinstance(value, Vector) else value
    return SimpleNamespace(**values)


def _named(names: tuple[str, ...], number: int, where: str) -> str:
    if not 0 <= number < len(names):
        raise FlatbufferError(
            f"`data` must give {where} as a number of 0..{len(names) - 1}, received {number}. "
            "Convert the node with the converter that this release is made for."
        )
    return names[number]


def _tensor_indices(
    table: Table, field: str, where: str, lowest: int, tensor_count: int, required: bool = True
) -> tuple[int, ...]:
    if required and table.get(field) is None:
        raise FlatbufferError(f"`data` must hold {where}, received none. {_DAMAGED}")
    indices = table.numbers(field)
    wrong = [index for index in indices if not lowest <= index < tensor_count]
    if wrong:
        raise FlatbufferError(
            f"`data` must name tensors below {tensor_count} in {where}, received {wrong[0]}. "
            f"{_DAMAGED}"
        )
    return indices


def check_metadata(model: Table, buffers: tuple[bytes, ...], tensor_count: int) -> None:
    """Check the metadata's buffers, and the size of the one that TFLM reads.

    Raises:
        FlatbufferError: A buffer is not there, or is shorter than what is read from it.
    """
    for entry in model.tables("metadata"):
        name, buffer = entry.get("name", b""), entry.get("buffer", 0)
        if buffer >= len(buffers):
            raise FlatbufferError(
                f"`data` must hold the buffer of the metadata {name!r}, received index {buffer} of "
                f"{len(buffers)}. {_DAMAGED}"
            )
        # TFLM reads three numbers and an offset per tensor without looking at the buffer's length.
        if name == b"OfflineMemoryAllocation" and len(buffers[buffer]) < 12 + 4 * tensor_count:
            raise FlatbufferError(
                f"`data` must plan all {tensor_count} tensors in its OfflineMemoryAllocation, "
                f"received {len(buffers[buffer])} bytes. {_DAMAGED}"
            )
