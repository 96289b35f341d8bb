"""Read a graph from the tables of a .tflite file, and check what an interpreter relies on.

An interpreter follows every index and trusts every size: what it would read beyond a buffer is
refused here, before any C++ sees it.

Belongs here: from tables to a graph. Does not belong here: from bytes to tables (`reader.py`).
"""

import math
from types import SimpleNamespace
from typing import Any

from quantize.wire.encoding import FlatbufferError, Table, Vector
from quantize.wire.graph import Graph, Operator, Quantization, Tensor
from quantize.wire.lookup_table import check_lookup_tables, encoded_tensors
from quantize.wire.schema import BUILTIN_OPERATORS, TABLES, TENSOR_TYPES

# TensorFlow Lite Micro counts a tensor's bytes in 32 bits.
_LARGEST_TENSOR_BYTES = 2**31 - 1
# No kernel takes more axes.
_LARGEST_RANK = 8
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
    """Read one subgraph whose indices are checked.

    Args:
        subgraph: A `SubGraph` table.
        codes: The model's `OperatorCode` tables.
        buffers: The data of the model's buffers.
        subgraph_count: How many subgraphs the model holds.

    Returns:
        Its frozen view.

    Raises:
        FlatbufferError: A size or a code is out of its range, or a tensor is sparse or external.
    """
    inputs, outputs = subgraph.numbers("inputs"), subgraph.numbers("outputs")
    tables = subgraph.tables("operators")
    operators = tuple(_read_operator(i, table, codes) for i, table in enumerate(tables))
    encoded = encoded_tensors(operators, {*inputs, *outputs})
    tensors = tuple(
        _read_tensor(i, table, buffers, i in encoded)
        for i, table in enumerate(subgraph.tables("tensors"))
    )
    check_lookup_tables(tensors, operators)
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


def _read_tensor(index: int, tensor: Table, buffers: tuple[bytes, ...], is_encoded: bool) -> Tensor:
    where = f"tensor {index}"
    dtype = _named(TENSOR_TYPES, tensor.get("type", 0), f"the element type of {where}")
    if tensor.get("sparsity") is not None:
        raise FlatbufferError(
            f"`data` must hold dense tensors, received sparsity in {where}. "
            "Convert without Optimize.EXPERIMENTAL_SPARSITY."
        )
    if tensor.get("externalBuffer", 0):
        raise FlatbufferError(
            f"`data` must hold its data within the flatbuffer, received an external buffer for "
            f"{where}. Convert the node into one file."
        )
    shape = tensor.numbers("shape")
    data = (buffers[tensor.get("buffer", 0)] if buffers else b"") or None
    _check_size(where, shape, dtype, data)
    return Tensor(
        index,
        tensor.get("name", b"").decode("utf-8", "replace"),
        shape,
        dtype,
        # Compressors leave the scales of the values on the indices, where nothing reads them.
        None if is_encoded else _read_quantization(where, tensor.get("quantization"), shape),
        data,
        tensor.get("isVariable", False),
    )


def _check_size(where: str, shape: tuple[int, ...], dtype: str, data: bytes | None) -> None:
    if len(shape) > _LARGEST_RANK:
        raise FlatbufferError(
            f"`data` must hold tensors of at most {_LARGEST_RANK} axes, received {len(shape)} for "
            f"{where}. Reshape the layer's output to fewer axes."
        )
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
    # Old converters give a bias the axis of its weights (person_detect.tflite of TensorFlow Lite
    # Micro's examples); a vector has only one.
    axis = 0 if len(shape) == 1 else quantization.get("quantizedDimension", 0)
    channels = shape[axis] if 0 <= axis < len(shape) else 1
    if len(scales) not in (1, channels) or len(zero_points) not in (0, 1, len(scales)):
        raise FlatbufferError(
            f"`data` must hold one scale and zero point for {where}, or one per channel, received "
            f"{len(scales)} scales and {len(zero_points)} zero points for {channels} channels on "
            f"axis {axis}. {_DAMAGED}"
        )
    wrong = [scale for scale in scales if not 0 <= scale < math.inf]
    if wrong:
        raise FlatbufferError(
            f"`data` must hold finite scales of at least 0 for {where}, received {wrong[0]}. "
            f"{_DAMAGED}"
        )
    return Quantization(scales, zero_points, axis)


def _read_operator(index: int, operator: Table, codes: tuple[Table, ...]) -> Operator:
    code = codes[operator.get("opcodeIndex", 0)]
    return Operator(
        index,
        operator_name(code),
        operator.numbers("inputs"),
        operator.numbers("outputs"),
        _read_options(operator.get("builtinOptions") or operator.get("builtinOptions2")),
        code.get("version", 1),
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


def check_offline_plan(model: Table, buffers: tuple[bytes, ...], tensor_count: int) -> None:
    """Check the size of the one metadata buffer that TFLM reads: a memory plan made offline.

    Raises:
        FlatbufferError: It is shorter than what is read from it.
    """
    for entry in model.tables("metadata"):
        plan_bytes = len(buffers[entry.get("buffer", 0)])
        # Three numbers and an offset per tensor are read without a look at the buffer's length.
        needed_bytes = 12 + 4 * tensor_count
        if entry.get("name") == b"OfflineMemoryAllocation" and plan_bytes < needed_bytes:
            raise FlatbufferError(
                f"`data` must plan all {tensor_count} tensors in its OfflineMemoryAllocation "
                f"({needed_bytes} bytes), received {plan_bytes}. {_DAMAGED}"
            )
