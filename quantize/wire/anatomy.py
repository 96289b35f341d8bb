"""Where the bytes of a .tflite file go: weights, names, quantization, structure, padding.

Belongs here: giving every byte to one category. Does not belong here: reading the bytes
(`reader.py`), or what can be taken off them (`strip.py`).
"""

import re

from quantize.wire.encoding import Table
from quantize.wire.reader import decode
from quantize.wire.schema import BUILTIN_OPERATORS, TENSOR_TYPES

CATEGORIES = (
    "weights",
    "biases",
    "other constants",
    "quantization",
    "tensors",
    "operators",
    "names and metadata",
    "structure",
    "padding",
)
"""Every category, in the order of `anatomy`."""

_WEIGHTS, _BIASES, _OTHER, _QUANTIZATION, _TENSORS, _OPERATORS, _NAMES, _STRUCTURE, _PADDING = (
    CATEGORIES
)
_TABLES = "lookup tables"
_DATA = "Model.buffers[].data"
# The first that a place begins with; a place is the fields on the way to it, without indices.
_BY_PLACE = (
    ("Model.subgraphs[].tensors[].name", _NAMES),
    ("Model.subgraphs[].tensors[].quantization", _QUANTIZATION),
    ("Model.subgraphs[].tensors[]", _TENSORS),
    ("Model.subgraphs[].operators[]", _OPERATORS),
    ("Model.operatorCodes[]", _OPERATORS),
    ("Model.subgraphs[].name", _NAMES),
    ("Model.description", _NAMES),
    ("Model.metadata", _NAMES),
    ("Model.signatureDefs", _NAMES),
)
BIAS_INPUTS = {
    "CONV_2D": 2,
    "DEPTHWISE_CONV_2D": 2,
    "FULLY_CONNECTED": 2,
    "CONV_3D": 3,
    "TRANSPOSE_CONV": 3,
}
"""Which input of an operator is its bias."""
# The custom code of the operator that decodes weights: `lookup_table.DECODE`, whose module reads
# graphs, as this one does not.
_DECODE = b"TFLM_DECODE"
INDEX_TYPES = ("INT32", "INT64", "BOOL", "STRING")
"""Constants of these types are shapes, axes and indices, where they are no biases."""
_INDEX = re.compile(r"\[\d+\]")
# The root offset and the file's identifier.
_HEADER_BYTES = 8
_LENGTH_BYTES = 4


def anatomy(data: bytes) -> dict[str, int]:
    """Say where the bytes of a .tflite file go.

    What several places share is counted once, at the place that is read first.

    Args:
        data: The bytes of the file.

    Returns:
        Bytes by category, every one of `CATEGORIES` in their order; they sum to the file's length:
        "weights" (constants that are multiplied by), "biases", "other constants" (shapes, axes and
        what no tensor uses), "quantization" (scales, zero points, least and largest values, and
        their tables), "tensors" (their tables and shapes), "operators" (their tables, inputs,
        outputs, options and codes), "names and metadata", "structure" (vtables, vectors of offsets,
        lengths of buffers, the tables of the model, its subgraphs and buffers) and "padding" (what
        nothing leads to). Behind them "lookup tables", of a file that has any: the values that
        packed weights stand for, with their headers.

    Raises:
        FlatbufferError: `data` is no .tflite file, or a damaged one.
    """
    # (start, end, category; of the data of a buffer its place, until all tensors are read)
    spans: list[tuple[int, int, str]] = []

    def tell(kind: str, start: int, size_bytes: int, where: str) -> None:
        place = _INDEX.sub("[]", where)
        if kind == "vector" and place == _DATA:
            spans.append((start, start + _LENGTH_BYTES, _STRUCTURE))
            spans.append((start + _LENGTH_BYTES, start + size_bytes, where))
        else:
            spans.append((start, start + size_bytes, _category(kind, place)))

    model, _ = decode(data, tell)
    constants = _constants(model)
    sizes = dict.fromkeys((*CATEGORIES, _TABLES), 0)
    sizes[_STRUCTURE] = end = _HEADER_BYTES
    for start, stop, category in sorted(spans):
        # Bytes that are read as two objects count for the first of them.
        begin = max(start, end)
        if stop > begin:
            sizes[_PADDING] += begin - end
            sizes[category if category in sizes else constants.get(category, _OTHER)] += (
                stop - begin
            )
            end = stop
    sizes[_PADDING] += len(data) - end
    return sizes if sizes[_TABLES] else {name: sizes[name] for name in CATEGORIES}


def _category(kind: str, place: str) -> str:
    if kind == "vtable":
        return _STRUCTURE
    return next((name for prefix, name in _BY_PLACE if place.startswith(prefix)), _STRUCTURE)


def _constants(model: Table) -> dict[str, str]:
    """By the place of a buffer's data, what the first tensor that uses it makes of it."""
    found: dict[str, str] = {}
    for subgraph in model.tables("subgraphs"):
        biases = _bias_tensors(subgraph, model.tables("operatorCodes"))
        tables = _table_tensors(subgraph, model.tables("operatorCodes"))
        for number, tensor in enumerate(subgraph.tables("tensors")):
            if number in tables:
                category = _TABLES
            elif number in biases:
                category = _BIASES
            elif _type_name(tensor) in INDEX_TYPES:
                category = _OTHER
            else:
                category = _WEIGHTS
            found.setdefault(_data_place(tensor.get("buffer", 0)), category)
    for entry in model.tables("metadata"):
        found.setdefault(_data_place(entry.get("buffer", 0)), _NAMES)
    return found


def _bias_tensors(subgraph: Table, codes: tuple[Table, ...]) -> set[int]:
    """The tensors that some operator adds to its sums."""
    # An operator is known by its number here: a file with an unknown one still has an anatomy.
    positions = [BIAS_INPUTS.get(_operator_name(code)) for code in codes]
    found = set()
    for operator in subgraph.tables("operators"):
        code = operator.get("opcodeIndex", 0)
        position = positions[code] if code < len(codes) else None
        inputs = operator.numbers("inputs")
        if position is not None and position < len(inputs):
            found.add(inputs[position])
    return found


def _table_tensors(subgraph: Table, codes: tuple[Table, ...]) -> set[int]:
    """The tensors that hold the values of packed weights."""
    decoders = {number for number, code in enumerate(codes) if code.get("customCode") == _DECODE}
    operators = subgraph.tables("operators")
    return {
        tensor
        for operator in operators
        if operator.get("opcodeIndex", 0) in decoders
        for tensor in operator.numbers("inputs")[1::2]
    }


def _operator_name(code: Table) -> str:
    number = max(code.get("builtinCode", 0), code.get("deprecatedBuiltinCode", 0))
    return BUILTIN_OPERATORS[number] if 0 <= number < len(BUILTIN_OPERATORS) else ""


def _type_name(tensor: Table) -> str:
    number = tensor.get("type", 0)
    return TENSOR_TYPES[number] if 0 <= number < len(TENSOR_TYPES) else ""


def _data_place(buffer: int) -> str:
    return f"Model.buffers[{buffer}].data"
