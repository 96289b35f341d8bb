"""Check that every index in a .tflite file's tables names something that is there.

Belongs here: indices of tensors, buffers and operator codes. Does not belong here: offsets in bytes
(`reader.py`), or sizes and codes (`graph_reading.py`).
"""

from quantize.wire.encoding import FlatbufferError, Table

_DAMAGED = "The file is damaged: copy or convert it again."


def check_indices(model: Table) -> None:
    """Check every index of a model, all subgraphs included.

    Args:
        model: A `Model` table.

    Raises:
        FlatbufferError: An index is out of its range; the message names its place.
    """
    buffer_count = len(model.tables("buffers"))
    for subgraph in model.tables("subgraphs"):
        _check_subgraph(subgraph, buffer_count, len(model.tables("operatorCodes")))
    for number, entry in enumerate(model.tables("metadata")):
        _check(entry.get("buffer", 0), 0, buffer_count, "buffer", f"metadata {number}")


def _check_subgraph(subgraph: Table, buffer_count: int, code_count: int) -> None:
    tensors = subgraph.tables("tensors")
    for number, tensor in enumerate(tensors):
        # Buffer 0 is the one that is always empty; a file without buffers is sound then.
        _check(tensor.get("buffer", 0), 0, max(1, buffer_count), "buffer", f"tensor {number}")
    for number, operator in enumerate(subgraph.tables("operators")):
        where = f"operator {number}"
        _check(operator.get("opcodeIndex", 0), 0, code_count, "operator code", where)
        # An optional input that is absent is -1.
        _check_tensors(operator, "inputs", -1, len(tensors), where)
        _check_tensors(operator, "outputs", 0, len(tensors), where)
        if operator.get("intermediates") is not None:
            _check_tensors(operator, "intermediates", 0, len(tensors), where)
    for end in ("inputs", "outputs"):
        _check_tensors(subgraph, end, 0, len(tensors), "the graph")


def _check_tensors(table: Table, field: str, lowest: int, count: int, where: str) -> None:
    where = f"the {field} of {where}"
    # An interpreter follows these vectors without asking whether they are there.
    if table.get(field) is None:
        raise FlatbufferError(f"`data` must hold {where}, received none. {_DAMAGED}")
    for index in table.numbers(field):
        _check(index, lowest, count, "tensor", where)


def _check(index: int, lowest: int, count: int, what: str, where: str) -> None:
    if not lowest <= index < count:
        raise FlatbufferError(
            f"`data` must hold the {what} of {where}, received index {index} of {count}. {_DAMAGED}"
        )
