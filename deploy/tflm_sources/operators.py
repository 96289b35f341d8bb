"""How an operator is registered with TensorFlow Lite Micro's `MicroMutableOpResolver`.

Names are those of the flatbuffer schema and of tensorflow/lite/micro/micro_mutable_op_resolver.h
(revision 90b983c2): every operator whose code `deploy/footprint/rom.py` knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from quantize.flatbuffer import Graph

# Methods whose name is not the operator's with its words capitalized.
_SPECIAL_METHODS = {
    "AVERAGE_POOL_2D": "AddAveragePool2D",
    "BATCH_MATMUL": "AddBatchMatMul",
    "CONV_2D": "AddConv2D",
    "CUMSUM": "AddCumSum",
    "DEPTHWISE_CONV_2D": "AddDepthwiseConv2D",
    "L2_POOL_2D": "AddL2Pool2D",
    "MAX_POOL_2D": "AddMaxPool2D",
    "PADV2": "AddPadV2",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "AddUnidirectionalSequenceLSTM",
}
# Under CMSIS-NN these have a registration that links the int8 kernel only. The kernels of the ROM
# table: others exist (MAXIMUM, PAD, TRANSPOSE ...), but what they cost was not measured.
INT8_REGISTRATIONS = (
    "ADD",
    "AVERAGE_POOL_2D",
    "CONV_2D",
    "DEPTHWISE_CONV_2D",
    "FULLY_CONNECTED",
    "MAX_POOL_2D",
    "MUL",
    "SOFTMAX",
    "TRANSPOSE_CONV",
)


def add_method(operator: str) -> str:
    """Return the resolver's method for an operator, e.g. "AddConv2D" for "CONV_2D"."""
    words = "".join(word.capitalize() for word in operator.split("_"))
    return _SPECIAL_METHODS.get(operator, f"Add{words}")


def int8_only(graphs: Iterable[Graph]) -> tuple[str, ...]:
    """Return the operators whose int8-only registration runs every one of their uses.

    Args:
        graphs: The graphs of all nodes of a firmware.
    """
    used: dict[str, bool] = {}
    for graph in graphs:
        for operator in graph.operators:
            dtypes = _dtypes(graph, (*operator.inputs, *operator.outputs))
            used[operator.name] = used.get(operator.name, True) and dtypes <= {"INT8", "INT32"}
            computed = _dtypes(graph, operator.outputs)
            used[operator.name] &= computed == {"INT8"}
    return tuple(name for name in INT8_REGISTRATIONS if used.get(name, False))


def _dtypes(graph: Graph, tensors: Sequence[int]) -> set[str]:
    return {graph.tensors[index].dtype for index in tensors if index >= 0}
