"""Refuse what would not be int8 on TensorFlow Lite Micro, by the Keras layer's name.

Belongs here: the check of a node's layers before it is converted, which gives the best message, and
the check of its flatbuffer after, which lets nothing through. Does not belong here: the tables
(`refusal_table.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from quantize.conversion.freezing import FrozenNode
from quantize.conversion.refusal_table import (
    ACTIVATIONS,
    LAYERS,
    OPERATORS,
    TFLM_OPERATORS,
    WIDE_OPERATORS,
    LayerRow,
)
from quantize.conversion.stable_names import sublayers
from quantize.convert import ConversionError
from quantize.flatbuffer import Graph, Operator, read_graph
from quantize.interpreter import open_interpreter
from quantize.wire.lookup_table import DECODE

if TYPE_CHECKING:
    import keras

_NO_LAYER = "an operation outside any layer"
_FLOAT_TYPES = ("FLOAT16", "FLOAT32", "FLOAT64", "BFLOAT16", "COMPLEX64", "COMPLEX128")


class RefusalError(ConversionError):
    """A node that TensorFlow Lite Micro cannot run in int8; says which layer and what to use."""


def check_layers(name: str, model: keras.Model) -> None:
    """Refuse a node by its Keras layers, nested ones too.

    Args:
        name: The node's name in the tree.
        model: The float node.

    Raises:
        RefusalError: The first layer that has no int8 form, and what to use instead.
    """
    for path, layer in _inner_layers(model):
        for why, instead in _objections(layer):
            raise RefusalError(
                f"Node '{name}', layer '{path}' ({type(layer).__name__}) must become int8 "
                f"operators of TensorFlow Lite Micro; {why}. Use {instead}."
            )


def check_flatbuffer(node: FrozenNode, data: bytes) -> None:
    """Refuse a quantized node that is not int8 throughout, or that the interpreter does not run.

    Args:
        node: The frozen node, which knows its layers.
        data: The int8 flatbuffer with the converter's tensor names in it.

    Raises:
        RefusalError: Names the layer, the operator, and what to use instead.
    """
    graph = read_graph(data)
    for operator in graph.operators:
        if operator.name not in {"DEQUANTIZE", DECODE, *TFLM_OPERATORS}:
            fault = f"it becomes {operator.name}, which has no int8 form there"
            raise RefusalError(_flatbuffer_message(node, graph, operator, fault))
    # What leads into and out of float comes last: the operator between is the culprit.
    for operator in sorted(graph.operators, key=lambda op: op.name in ("DEQUANTIZE", "QUANTIZE")):
        kinds = {graph.tensors[index].dtype for index in _ends(operator)} & {*_FLOAT_TYPES}
        if kinds:
            fault = f"{operator.name} stays in {', '.join(sorted(kinds)).lower()}"
            raise RefusalError(_flatbuffer_message(node, graph, operator, fault))
    output = graph.tensors[graph.outputs[0]]
    if output.dtype != "INT8":
        raise RefusalError(
            f"Node '{node.name}' must give int8, received an output of {output.dtype.lower()}. "
            "End it with scores instead of indices: take the greatest outside the tree."
        )
    _check_run(node, graph, data)


def check_wide(node: FrozenNode, calibrated: bytes) -> None:
    """Refuse a node with operators that have no int16 kernel.

    Args:
        node: The frozen node, which knows its layers.
        calibrated: Its float flatbuffer.

    Raises:
        RefusalError: Names the layer and the operator.
    """
    graph = read_graph(calibrated)
    for operator in graph.operators:
        if operator.name not in WIDE_OPERATORS:
            layers = _named_layers(_layers_of(node, graph, operator))
            raise RefusalError(
                f"Node '{node.name}', {layers} must become int16 operators of TensorFlow Lite "
                f"Micro for `precision` '16x8'; it becomes {operator.name}, which has no int16 "
                "form there. Use another layer, or another precision for this node."
            )


def _inner_layers(model: keras.Model) -> Iterator[tuple[str, keras.Layer]]:
    """Give every layer inside a model once, with its names from the outermost on."""
    seen = {id(model)}
    waiting = [(layer.name, layer) for layer in sublayers(model)]
    while waiting:
        path, layer = waiting.pop(0)
        if id(layer) not in seen:
            seen.add(id(layer))
            yield path, layer
            waiting = [(f"{path}/{inner.name}", inner) for inner in sublayers(layer)] + waiting


def _objections(layer: keras.Layer) -> Iterator[tuple[str, str]]:
    """Give why a layer is refused, and what to use instead."""
    import keras

    for row in LAYERS:
        if isinstance(layer, getattr(keras.layers, row.layer)) and row.when(layer):
            yield row.why, _replacement(row, layer)
    for name in ("activation", "recurrent_activation"):
        used = getattr(layer, name, None)
        for refused, (why, instead) in ACTIVATIONS.items():
            if used is not None and used is keras.activations.get(refused):
                yield f"its {name} '{refused}' {why.removeprefix('it ')}", f"{instead} instead"
    if layer.quantization_mode is not None:
        yield "it was quantized by Keras", "the float layer: quantize the tree before `quantize()`"
    elif layer.compute_dtype in ("float16", "bfloat16", "float64"):
        yield (
            f"it computes in {layer.compute_dtype}",
            "the dtype policy 'float32': build the node anew with it and copy the weights over",
        )


def _replacement(row: LayerRow, layer: Any) -> str:
    return f"{row.instead if isinstance(row.instead, str) else row.instead(layer)} instead"


def _flatbuffer_message(node: FrozenNode, graph: Graph, operator: Operator, fault: str) -> str:
    layers = _layers_of(node, graph, operator)
    instead = OPERATORS.get(operator.name, "another layer")
    return (
        f"Node '{node.name}', {_named_layers(layers)} must become "
        f"int8 operators of TensorFlow Lite Micro; {fault}. Use {instead} instead."
    )


def _named_layers(layers: Sequence[str]) -> str:
    listed = ", ".join(f"'{name}'" for name in layers)
    return f"layer{'s' if len(layers) > 1 else ''} {listed}" if layers else _NO_LAYER


def _layers_of(node: FrozenNode, graph: Graph, operator: Operator) -> tuple[str, ...]:
    """Return the layers that an operator came from: by its results' names, or its neighbours'."""
    for indices in (operator.outputs, operator.inputs):
        for index in indices:
            found = node.layers_of_tensor(graph.tensors[index].name) if index >= 0 else ()
            if found:
                return found
    behind = (other for other in graph.operators if {*other.inputs} & {*operator.outputs})
    for other in behind:
        found = _layers_of(node, graph, other)
        if found:
            return found
    return ()


def _ends(operator: Operator) -> tuple[int, ...]:
    return tuple(index for index in (*operator.inputs, *operator.outputs) if index >= 0)


def _check_run(node: FrozenNode, graph: Graph, data: bytes) -> None:
    """Load the node and run it once: some kernels refuse at their first run only."""
    try:
        interpreter = open_interpreter(data)
        interpreter.run(np.zeros(interpreter.input.shape, np.int8))
    except RuntimeError as error:
        named = re.search(r"Node \w+ \(number (\d+)\)", str(error))
        number = int(named.group(1)) if named else len(graph.operators) - 1
        operator = graph.operators[number]
        raise RefusalError(
            _flatbuffer_message(node, graph, operator, str(error).rstrip("."))
        ) from error
