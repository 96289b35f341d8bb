"""Read and edit a .tflite file through its schema.

Belongs here: the doors: a checked, frozen view of a graph, where a file's bytes go, and the way
into and out of the schema's editable objects. Does not belong here: the encoding (`wire/reader.py`,
`wire/writer.py`), what to change in a graph (`strip.py`, `merging.py`, `seam.py`), or running it
(`interpreter.py`).
"""

from typing import Any

from quantize.wire.anatomy import CATEGORIES, anatomy
from quantize.wire.encoding import FlatbufferError
from quantize.wire.graph import Graph, Operator, Quantization, Tensor
from quantize.wire.graph_reading import buffer_data, check_offline_plan, read_subgraph
from quantize.wire.index_checks import check_indices
from quantize.wire.reader import decode
from quantize.wire.writer import encode

__all__ = [
    "CATEGORIES",
    "FlatbufferError",
    "Graph",
    "Operator",
    "Quantization",
    "Tensor",
    "anatomy",
    "pack",
    "read_graph",
    "unpack",
]

_SCHEMA_VERSION = 3


def read_graph(data: bytes) -> Graph:
    """Read a flatbuffer's first subgraph, everything an interpreter relies on checked.

    Args:
        data: The bytes of a .tflite file.

    Returns:
        A frozen view of it.

    Raises:
        FlatbufferError: `data` is no .tflite file, is damaged, or holds what TensorFlow Lite Micro
            cannot run from flash: sparse tensors, or data outside the flatbuffer.
    """
    model, _ = decode(data)
    if model.get("version", 0) != _SCHEMA_VERSION:
        raise FlatbufferError(
            f"`data` must have schema version {_SCHEMA_VERSION}, received "
            f"{model.get('version', 0)}. Convert the node with a current converter."
        )
    subgraphs = model.tables("subgraphs")
    if not subgraphs:
        raise FlatbufferError(
            "`data` must hold a subgraph, received none. "
            "The file is damaged: copy or convert it again."
        )
    check_indices(model)
    buffers = tuple(buffer_data(i, buffer) for i, buffer in enumerate(model.tables("buffers")))
    codes = model.tables("operatorCodes")
    graphs = [read_subgraph(graph, codes, buffers, len(subgraphs)) for graph in subgraphs]
    check_offline_plan(model, buffers, len(graphs[0].tensors))
    return graphs[0]


def unpack(data: bytes) -> Any:
    """Read a flatbuffer into the schema's editable objects.

    Args:
        data: The bytes of a .tflite file.

    Returns:
        A `ModelT` of `ai_edge_litert.schema_py_generated`, which `pack` writes again.

    Raises:
        FlatbufferError: `data` is no .tflite file, is damaged, or was written with a newer schema,
            parts of which an edit would lose.
    """
    _, unread = decode(data)
    if unread:
        raise FlatbufferError(
            f"`data` must keep to the schema that is installed, received {unread[0]} beyond it. "
            "Editing would lose it: convert the node with the converter this release is made for."
        )
    from ai_edge_litert import schema_py_generated

    return schema_py_generated.ModelT.InitFromPackedBuf(bytes(data))


def pack(model: Any) -> bytes:
    """Write the schema's editable objects as a flatbuffer.

    Args:
        model: A `ModelT`.

    Returns:
        The bytes of a .tflite file: the same for equal models, equal parts stored once, the data of
        every buffer aligned to 16 bytes.

    Raises:
        FlatbufferError: A field holds what the schema has no room for.
    """
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    try:
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    except Exception as error:
        # The generated packer raises whatever Python raises for a wrong value; nothing is lost.
        raise FlatbufferError(
            f"`model` must hold values that the schema has room for, received one that fails with "
            f"{type(error).__name__}: {error}. Compare the edited fields with the schema."
        ) from error
    packed, _ = decode(bytes(builder.Output()))
    return encode(packed)
