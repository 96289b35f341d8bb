"""Read and edit a .tflite flatbuffer through its schema.

Belongs here: the frozen view of a graph, and the way into and out of the schema's editable objects.
Does not belong here: what to change in a graph (`strip.py`, `merging.py`, `seam.py`), or running it.
"""

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np


class FlatbufferError(ValueError):
    """A flatbuffer cannot be read, or holds what this project does not take."""


@dataclass(frozen=True)
class Quantization:
    """Scales and zero points of a tensor.

    Args:
        scales: One exact float32 value, or one per channel.
        zero_points: One, or one per channel; may hold one for all channels, and may be empty (all 0).
        axis: The channels' axis.
    """

    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    axis: int


@dataclass(frozen=True)
class Tensor:
    """One tensor of a graph; `data` holds the bytes of a constant."""

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    quantization: Quantization | None
    data: bytes | None
    is_variable: bool


@dataclass(frozen=True)
class Operator:
    """One operator of a graph; an absent optional input is -1."""

    index: int
    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Any
    version: int


@dataclass(frozen=True)
class Graph:
    """The first subgraph of a flatbuffer, which is the one an interpreter runs."""

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    subgraph_count: int

    @property
    def operator_names(self) -> frozenset[str]:
        """The distinct operators that it needs."""
        return frozenset(operator.name for operator in self.operators)


def unpack(data: bytes) -> Any:
    """Read a flatbuffer into the schema's editable objects (`ModelT`)."""
    from ai_edge_litert import schema_py_generated as schema

    if data[4:8] != b"TFL3":
        raise FlatbufferError(
            f"`data` must be a .tflite flatbuffer with the identifier TFL3, received {data[4:8]!r}."
        )
    try:
        return schema.ModelT.InitFromPackedBuf(data)
    except (struct.error, IndexError, ValueError, TypeError, OverflowError, MemoryError) as error:
        raise FlatbufferError(f"`data` is a damaged flatbuffer: {error}.") from error


def pack(model: Any) -> bytes:
    """Write the schema's objects as a flatbuffer, buffers aligned to 16 bytes."""
    import flatbuffers

    class AlignedBuilder(flatbuffers.Builder):
        def StartVector(self, elemSize, numElems, alignment):  # type: ignore[no-untyped-def]  # noqa: N802, N803
            return super().StartVector(elemSize, numElems, 16 if elemSize == 1 else alignment)

    builder = AlignedBuilder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def read_graph(data: bytes) -> Graph:
    """Read a flatbuffer's first subgraph.

    Args:
        data: The bytes of a .tflite file.

    Returns:
        A frozen view of it.

    Raises:
        FlatbufferError: The bytes are not a sound flatbuffer.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = unpack(data)
    subgraph = model.subgraphs[0]
    dtypes = {v: k for k, v in vars(schema.TensorType).items() if not k.startswith("_")}
    names = {v: k for k, v in vars(schema.BuiltinOperator).items() if not k.startswith("_")}
    tensors = []
    for index, tensor in enumerate(subgraph.tensors):
        buffer = model.buffers[tensor.buffer].data
        constant = bytes(buffer) if buffer is not None and len(buffer) else None
        quantization = None
        q = tensor.quantization
        if q is not None and q.scale is not None and len(q.scale):
            zeros = () if q.zeroPoint is None else tuple(int(z) for z in q.zeroPoint)
            quantization = Quantization(
                tuple(float(np.float32(s)) for s in q.scale), zeros, q.quantizedDimension
            )
        shape = () if tensor.shape is None else tuple(int(size) for size in tensor.shape)
        name = (tensor.name or b"").decode(errors="replace")
        tensors.append(
            Tensor(
                index, name, shape, dtypes[tensor.type], quantization, constant, tensor.isVariable
            )
        )
    operators = []
    for index, operator in enumerate(subgraph.operators or ()):
        code = model.operatorCodes[operator.opcodeIndex]
        number = max(code.builtinCode, code.deprecatedBuiltinCode)
        name = names[number] if names[number] != "CUSTOM" else code.customCode.decode()
        ends = [
            () if v is None else tuple(map(int, v)) for v in (operator.inputs, operator.outputs)
        ]
        operators.append(
            Operator(index, name, ends[0], ends[1], operator.builtinOptions, code.version)
        )
    return Graph(
        tuple(tensors),
        tuple(operators),
        tuple(int(i) for i in subgraph.inputs),
        tuple(int(i) for i in subgraph.outputs),
        len(model.subgraphs),
    )
