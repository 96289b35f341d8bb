"""A flatbuffer without lookup tables: what `TFLM_DECODE` would decode stands there as constants.

TensorFlow Lite Micro runs the compressed flatbuffer; LiteRT, and whoever wants the weights, take
this one. Its outputs are the same bit for bit.

Belongs here: the edit. Does not belong here: reading one table (`wire/lookup_table.py`), or making
them (`lookup_tables.py`).
"""

from __future__ import annotations

from quantize.flatbuffer import Graph, Operator, read_graph
from quantize.precision.editing import GraphEdit
from quantize.wire.encoding import Table, Vector
from quantize.wire.lookup_table import DECODE, LookupTable, read_lookup_table

__all__ = ["DECODE", "LookupTable", "decoded", "lookup_table"]

# A memory plan made offline counts the tensors of the compressed graph.
_OFFLINE_PLAN = b"OfflineMemoryAllocation"


def lookup_table(graph: Graph, operator: Operator, output: int = 0) -> LookupTable:
    """Read what a `TFLM_DECODE` decodes: bits, axis, tables and indices.

    Args:
        graph: What `read_graph` returned.
        operator: One of its operators with the name `DECODE`.
        output: Which of the operator's outputs.

    Raises:
        FlatbufferError: The operator is another one, or does not fit its tensors.
    """
    return read_lookup_table(graph.tensors, operator, output)


def decoded(data: bytes) -> bytes:
    """Replace every `TFLM_DECODE` by constants.

    Args:
        data: The bytes of a .tflite file.

    Returns:
        An equal flatbuffer of plain tensors, in the order that they had before they were
        compressed; `data` itself where it has no `TFLM_DECODE`.

    Raises:
        FlatbufferError: `data` is damaged, or compressed in a way that is not known here.
    """
    graph = read_graph(data)
    if DECODE not in graph.operator_names:
        return data
    edit = GraphEdit.open(data)
    stands_for: dict[int, int] = {}
    for operator in (operator for operator in graph.operators if operator.name == DECODE):
        for number, output in enumerate(operator.outputs):
            values = lookup_table(graph, operator, number).values()
            edit.set_constant(output, graph.tensors[output].dtype, values.tobytes())
            stands_for[output] = operator.inputs[2 * number]
    edit.operators = [operator for operator in edit.operators if edit.name(operator) != DECODE]
    _take_places(edit, stands_for)
    metadata = edit.model.tables("metadata")
    kept = tuple(entry for entry in metadata if entry.get("name") != _OFFLINE_PLAN)
    edit.model = edit.model.replace(metadata=kept or None, signatureDefs=None)
    return edit.encode()


def _take_places(edit: GraphEdit, stands_for: dict[int, int]) -> None:
    """Give the decoded tensors the places of their encoded ones, and drop what nothing uses.

    Several decoded ones may have one encoded tensor: the first takes its place.
    """
    used = edit.uses()
    moved: dict[int, int] = {}
    for output, encoded in stands_for.items():
        if not used[encoded]:
            name = edit.tensors[encoded].get("name")
            if encoded in moved.values() and _differ(edit, encoded, output):
                continue
            edit.tensors[encoded] = edit.tensors[output].replace(name=name)
            moved[output] = encoded
    used = edit.uses()
    kept = [
        index
        for index in range(len(edit.tensors))
        if index not in moved and (used[index] or index in moved.values())
    ]
    places = {index: place for place, index in enumerate(kept)}
    places.update({output: places[encoded] for output, encoded in moved.items()})
    places[-1] = -1
    edit.tensors = [edit.tensors[index] for index in kept]
    edit.inputs = [places[index] for index in edit.inputs]
    edit.outputs = [places[index] for index in edit.outputs]
    edit.operators = [_renumbered(operator, places) for operator in edit.operators]


def _differ(edit: GraphEdit, place: int, output: int) -> bool:
    """Whether two decoded tensors differ in more than their names."""

    def content(index: int) -> tuple[Table, Table]:
        tensor = edit.tensors[index]
        return tensor.replace(name=None, buffer=None), edit.buffers[tensor.get("buffer", 0)]

    return content(place) != content(output)


def _renumbered(operator: Table, places: dict[int, int]) -> Table:
    changes = {
        end: Vector.of("i32", (places[index] for index in operator.numbers(end)))
        for end in ("inputs", "outputs", "intermediates")
        if operator.get(end) is not None
    }
    return operator.replace(**changes)
