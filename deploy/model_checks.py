"""What of a `.tflite` file's graph can be checked, and what is refused with a reason.

Reading files, and putting several on one device, is in `models.py`.
"""

from __future__ import annotations

from quantize.flatbuffer import Graph
from quantize.wire.operator_checks import check_operators

# The time of planning memory grows with the square of the buffers, and TensorFlow Lite Micro's
# planner is of the same kind. The public models have at most 87 tensors and 31 operators.
_MOST_PARTS = 2_000
_CONVERTERS_OF_TYPE = ("QUANTIZE", "DEQUANTIZE", "CAST")
QUANTIZE_IT = (
    "Quantize it to int8: `keras-tree quantize`, or a TFLite converter with a representative "
    "dataset and TFLITE_BUILTINS_INT8."
)


class ModelError(ValueError):
    """A model that cannot be checked; says which, why, and what to do."""


def check_countable(graph: Graph) -> None:
    """Refuse what the models of ROM and RAM cannot take.

    Raises:
        ModelError: There is control flow, no operator, or more than anyone plans memory for.
        FlatbufferError: An operator lacks what its kernel reads.
    """
    if graph.subgraph_count != 1:
        raise ModelError(
            f"One subgraph is expected, received {graph.subgraph_count}: control flow is not "
            "supported. Unroll the loop, or take the branch out of the model."
        )
    computed = sum(tensor.data is None for tensor in graph.tensors)
    for count, what in ((computed, "computed tensors"), (len(graph.operators), "operators")):
        if not 0 < count <= _MOST_PARTS:
            raise ModelError(
                f"1 to {_MOST_PARTS:,} {what} are expected, received {count:,}. "
                "Cut the model into several, or check that the file is whole."
            )
    check_operators(graph)


def check_int8(graph: Graph) -> None:
    """Refuse float and hybrid graphs: their kernels' memory and code were not measured.

    Raises:
        ModelError: An operator computes with floats, or with quantized types other than int8.
    """
    for operator in graph.operators:
        if operator.name in _CONVERTERS_OF_TYPE:
            continue
        tensors = [graph.tensors[i] for i in (*operator.inputs, *operator.outputs) if i >= 0]
        activations = [tensor for tensor in tensors if tensor.data is None]
        floats = [tensor for tensor in activations if "FLOAT" in tensor.dtype]
        where = f"operator {operator.index}, {operator.name}"
        if floats and any(t.data is not None and t.dtype == "INT8" for t in tensors):
            raise ModelError(
                f"An int8 model is expected, received a hybrid one: {where}, has int8 weights and "
                "float activations, which TensorFlow Lite Micro does not run. " + QUANTIZE_IT
            )
        if floats:
            raise ModelError(
                f"An int8 model is expected, received one that computes with floats: {where}, "
                f"has a {floats[0].dtype} tensor, and the kernels for floats were not measured. "
                + QUANTIZE_IT
            )
        others = [tensor for tensor in activations if tensor.dtype in ("UINT8", "INT16", "INT4")]
        if others:
            raise ModelError(
                f"An int8 model is expected, received one with {others[0].dtype} activations: "
                f"{where}. Their kernels were not measured. " + QUANTIZE_IT
            )
