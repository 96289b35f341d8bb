"""Join nodes into one flatbuffer: the yardstick against which their composition is measured.

A merged file is never shipped: it holds the trunk once per branch. It shows that running nodes one
after another gives what one graph would give, bit for bit.

Belongs here: the joining of graphs. Does not belong here: running or comparing them
(`fidelity.py`).
"""

from collections.abc import Sequence

from quantize.flatbuffer import Graph, Tensor, read_graph
from quantize.precision.decoding import decoded
from quantize.tensor_spec import TensorSpec
from quantize.wire.encoding import FlatbufferError, Table, Vector
from quantize.wire.reader import decode
from quantize.wire.writer import encode

# Without it, TFLM would take the indices of a compressed tensor for its values.
_COMPRESSION = b"COMPRESSION_METADATA"
# What an operator names tensors in.
_ENDS = ("inputs", "outputs", "intermediates")
# Buffer 0 is the one that is always empty.
_NO_BUFFERS = (Table("Buffer", {}),)


class SeamError(ValueError):
    """Two neighbouring nodes do not agree on the tensor between them."""


def merge(nodes: Sequence[bytes]) -> bytes:
    """Join nodes into one graph, each node's output being the next one's input.

    Metadata is left out; a memory plan made offline holds for one node alone. Weights stored as
    lookup tables are decoded.

    Args:
        nodes: The bytes of one .tflite file per node, trunk first; each with one input and one
            output.

    Returns:
        The bytes of one .tflite file, from the first node's input to the last one's output.

    Raises:
        SeamError: Neighbours differ in shape, element type, scale (as float32, exactly) or zero
            point.
        FlatbufferError: A node is no sound .tflite file, or has several inputs, outputs or
            subgraphs.
        ValueError: `nodes` is empty.
    """
    if not nodes:
        raise ValueError(
            "`nodes` must hold at least one flatbuffer, received none. Give a path's nodes."
        )
    nodes = [decoded(data) for data in nodes]
    graphs = [read_graph(data) for data in nodes]
    for number, graph in enumerate(graphs):
        _check_single(number, graph)
    for number in range(1, len(graphs)):
        _check_seam(number, graphs[number - 1], graphs[number])
    models = [_decode_known(number, data) for number, data in enumerate(nodes)]
    merged = models[0].replace(metadata=None, metadataBuffer=None, signatureDefs=None)
    for model in models[1:]:
        merged = _append(merged, model)
    return encode(merged)


def _decode_known(number: int, data: bytes) -> Table:
    model, unread = decode(data)
    if unread:
        raise FlatbufferError(
            f"`nodes` must keep to the schema that is installed, received {unread[0]} beyond it in "
            f"node {number}. Convert it with the converter that this release is made for."
        )
    if any(entry.get("name") == _COMPRESSION for entry in model.tables("metadata")):
        raise FlatbufferError(
            f"`nodes` must hold plain tensors, received compressed ones in node {number}. "
            "Merge the nodes before they are compressed."
        )
    return model


def _check_single(number: int, graph: Graph) -> None:
    ends = (len(graph.inputs), len(graph.outputs), graph.subgraph_count)
    if ends != (1, 1, 1):
        raise FlatbufferError(
            f"`nodes` must each have one input, one output and one subgraph, received {ends[0]}, "
            f"{ends[1]} and {ends[2]} in node {number}. Cut the tree where one tensor passes."
        )


def _check_seam(number: int, before: Graph, after: Graph) -> None:
    output = _spec(number - 1, before.tensors[before.outputs[0]])
    input = _spec(number, after.tensors[after.inputs[0]])
    if output != input:
        raise SeamError(
            f"`nodes` must agree on the tensor between them, received from node {number - 1} "
            f"{_figures(output)} and in node {number} {_figures(input)}. "
            "Quantize the later node with its input pinned to the earlier one's output."
        )


def _spec(number: int, tensor: Tensor) -> TensorSpec:
    try:
        return TensorSpec.from_tensor(tensor)
    except ValueError as error:
        raise SeamError(
            f"`nodes` must pass quantized tensors on, at node {number}: {error}"
        ) from error


def _figures(spec: TensorSpec) -> str:
    return f"{spec.dtype} {spec.shape}, scale {spec.scale!r}, zero point {spec.zero_point}"


def _append(merged: Table, model: Table) -> Table:
    """Append a model's only graph to the merged one's, its input tied to that one's output."""
    (first,), (second,) = merged.tables("subgraphs"), model.tables("subgraphs")
    tensors, operators = second.tables("tensors"), second.tables("operators")
    (entry,) = second.numbers("inputs")
    first_free = len(first.tables("tensors"))
    places = [first_free + i - (i > entry) for i in range(len(tensors))]
    (places[entry],) = first.numbers("outputs")

    def moved(indices: Vector | None) -> Vector | None:
        if indices is None:
            return None
        return Vector.of("i32", (places[i] if i >= 0 else i for i in indices.numbers()))

    buffers = merged.tables("buffers") or _NO_BUFFERS
    codes = merged.tables("operatorCodes")
    subgraph = first.replace(
        tensors=first.tables("tensors")
        + tuple(
            tensor.replace(buffer=tensor.get("buffer", 0) + len(buffers))
            for tensor in tensors[:entry] + tensors[entry + 1 :]
        ),
        operators=first.tables("operators")
        + tuple(
            operator.replace(
                opcodeIndex=operator.get("opcodeIndex", 0) + len(codes),
                **{end: moved(operator.get(end)) for end in _ENDS},
            )
            for operator in operators
        ),
        outputs=moved(second.get("outputs")),
    )
    return merged.replace(
        subgraphs=(subgraph,),
        operatorCodes=codes + model.tables("operatorCodes"),
        buffers=buffers + (model.tables("buffers") or _NO_BUFFERS),
    )
