"""Flatbuffers in other forms than int8, made of int8 ones: to count, not to compute with.

Weights of few values per channel, the same as lookup tables, int4 weights, int16 activations; all
of them stripped.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from deploy.lint.stored_form import with_lookup_tables
from quantize.bundle import Bundle
from quantize.flatbuffer import read_graph
from quantize.interpreter import ArenaRecording
from quantize.precision.editing import GraphEdit
from quantize.strip import strip
from quantize.wire.encoding import Table, Vector
from quantize.wire.lookup_table import DECODE
from quantize.wire.schema import BUILTIN_OPERATORS, TENSOR_TYPES

_WEIGHTS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


def stored(bundle: Bundle, **forms: Callable[[bytes], bytes]) -> Bundle:
    """A bundle with some of its nodes in other forms."""
    nodes = dict(bundle.nodes)
    for name, form in forms.items():
        data = form(nodes[name].data)
        operators = tuple(sorted(read_graph(data).operator_names))
        nodes[name] = replace(nodes[name], data=data, operators=operators, arena=None)
    return replace(bundle, nodes=nodes)


def recorded(bundle: Bundle, name: str) -> Bundle:
    """A bundle with an ELU behind a node: its memory is known from a recording alone."""
    node = bundle.nodes[name]
    graph, number = GraphEdit.open(node.data), BUILTIN_OPERATORS.index("ELU")
    codes = {"deprecatedBuiltinCode": number, "builtinCode": number, "version": 1}
    graph.codes.append(Table("OperatorCode", codes))
    before = graph.outputs[0]
    graph.tensors.append(graph.tensors[before].replace(buffer=0))
    graph.outputs = [len(graph.tensors) - 1]
    fields = {"inputs": Vector.of("i32", [before]), "outputs": Vector.of("i32", graph.outputs)}
    graph.operators.append(Table("Operator", {"opcodeIndex": len(graph.codes) - 1, **fields}))
    data = graph.encode()
    arena = ArenaRecording(9_999, 4_096, 9_999, 112, len(graph.tensors), 2, "0.dev20261023")
    operators = tuple(sorted({*node.operators, "ELU"}))
    longer = replace(node, data=data, operators=operators, arena=arena)
    return replace(bundle, nodes={**bundle.nodes, name: longer})


def _weights(graph: GraphEdit, names: tuple[str, ...] = _WEIGHTS) -> list[int]:
    operators = (operator for operator in graph.operators if graph.name(operator) in names)
    return list(dict.fromkeys(operator.numbers("inputs")[1] for operator in operators))


def few_valued(data: bytes, values: int = 16) -> bytes:
    """A node whose int8 weights have at most `values` values, each a multiple of one step."""
    graph, step = GraphEdit.open(data), 256 // values
    for index in _weights(graph):
        codes = graph.constant(index, np.int8).astype(int)
        few = np.clip(codes // step * step + step // 2, -127, 127).astype(np.int8)
        graph.set_constant(index, "INT8", few.tobytes())
    return strip(graph.encode())


def with_tables(data: bytes, values: int = 16) -> bytes:
    """The same with lookup tables and TFLM_DECODE, where they are smaller."""
    form = with_lookup_tables(few_valued(data, values))
    assert form is not None
    return strip(form.data)


def with_wide_tables(data: bytes) -> bytes:
    """A node whose tables are followed by 2,000 bytes that nothing reads."""
    graph = GraphEdit.open(data)
    (decoder,) = (one for one in graph.operators if graph.name(one) == DECODE)
    tables = decoder.numbers("inputs")[1]
    content = graph.constant(tables, np.uint8).tobytes() + bytes(range(250)) * 8
    graph.set_constant(tables, "UINT8", content)
    shape = Vector.of("i32", [len(content)])
    graph.tensors[tables] = graph.tensors[tables].replace(shape=shape)
    return strip(graph.encode())


def with_int4(data: bytes) -> bytes:
    """A node whose convolutions have int4 weights."""
    graph = GraphEdit.open(data)
    for index in _weights(graph, _WEIGHTS[:2]):
        codes = graph.constant(index, np.int8).ravel().astype(int)
        nibbles = (np.clip(codes // 18, -7, 7) & 15).astype(np.uint8)
        padded = np.append(nibbles, np.zeros(len(nibbles) % 2, np.uint8))
        graph.set_constant(index, "INT4", (padded[::2] | padded[1::2] << 4).tobytes())
    return strip(graph.encode())


def with_int16(data: bytes) -> bytes:
    """A node of int16 activations, its biases in int64."""
    graph = GraphEdit.open(data)
    wide = TENSOR_TYPES.index("INT16")
    for operator in graph.operators:
        for bias in operator.numbers("inputs")[2:3]:
            if bias >= 0 and graph.dtype(bias) == "INT32":
                codes = graph.constant(bias, "<i4").astype("<i8")
                graph.set_constant(bias, "INT64", codes.tobytes())
    for index, tensor in enumerate(graph.tensors):
        if graph.dtype(index) == "INT8" and not graph.is_constant(index):
            graph.tensors[index] = tensor.replace(type=wide)
    return strip(graph.encode())
