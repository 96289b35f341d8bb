"""What of a `.tflite` file's graph can be checked, and what is refused with a reason.

Reading files, and putting several on one device, is in `models.py`.
"""

from __future__ import annotations

from quantize.flatbuffer import Graph, Operator, Tensor
from quantize.wire.anatomy import BIAS_INPUTS
from quantize.wire.operator_checks import check_operators

# The time of planning memory grows with the square of the buffers, and TensorFlow Lite Micro's
# planner is of the same kind. The public models have at most 87 tensors and 31 operators.
_MOST_PARTS = 2_000
_CONVERTERS_OF_TYPE = ("QUANTIZE", "DEQUANTIZE", "CAST")
# Operators whose kernels take int16, reference and CMSIS-NN alike (revision 90b983c2): each was run
# on an emulated Cortex-M4 and compared with the host, SQUEEZE apart, which only copies.
_INT16_OPERATORS = frozenset(
    {
        "ABS", "ADD", "AVERAGE_POOL_2D", "BATCH_MATMUL", "BROADCAST_TO", "CONCATENATION", "CONV_2D",
        "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "LEAKY_RELU", "LOGISTIC", "MAXIMUM", "MAX_POOL_2D",
        "MEAN", "MINIMUM", "MUL", "PACK", "PAD", "RELU", "RELU6", "RESHAPE", "RSQRT", "SLICE",
        "SOFTMAX", "SPLIT", "SPLIT_V", "SQUARED_DIFFERENCE", "SQUEEZE", "STRIDED_SLICE", "SUB",
        "SUM", "TANH", "TRANSPOSE", "TRANSPOSE_CONV", "UNPACK",
    }
)  # fmt: skip
# With int16 activations these read a bias as int64, whatever its type.
_INT64_BIASES = ("DEPTHWISE_CONV_2D", "TRANSPOSE_CONV")
_INT4_OPERATORS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
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


def check_types(graph: Graph) -> None:
    """Refuse graphs whose types no kernel runs, or none that was measured.

    Runs: int8 throughout; int4 weights in convolutions; int16 activations with int8 weights.

    Raises:
        ModelError: An operator computes with floats, or with types that its kernel does not take.
    """
    for operator in graph.operators:
        if operator.name in _CONVERTERS_OF_TYPE:
            continue
        tensors = [graph.tensors[i] for i in (*operator.inputs, *operator.outputs) if i >= 0]
        activations = [tensor for tensor in tensors if tensor.data is None]
        constants = [tensor for tensor in tensors if tensor.data is not None]
        where = f"operator {operator.index}, {operator.name}"
        _check_floats(activations, constants, where)
        others = [tensor for tensor in activations if tensor.dtype in ("UINT8", "INT4")]
        if others:
            raise ModelError(
                f"An int8 model is expected, received one with {others[0].dtype} activations: "
                f"{where}. Their kernels were not measured. " + QUANTIZE_IT
            )
        if any(tensor.dtype == "INT16" for tensor in activations):
            _check_int16(operator, graph, where)
        if any(tensor.dtype == "INT4" for tensor in constants):
            _check_int4(operator, graph, where)


def _check_floats(activations: list[Tensor], constants: list[Tensor], where: str) -> None:
    floats = [tensor for tensor in activations if "FLOAT" in tensor.dtype]
    if floats and any(tensor.dtype in ("INT8", "INT4") for tensor in constants):
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


def _check_int16(operator: Operator, graph: Graph, where: str) -> None:
    if operator.name not in _INT16_OPERATORS:
        raise ModelError(
            f"Operators whose kernels take INT16 activations are expected, received {where}, which "
            "has them and does not, or was not measured with them. " + QUANTIZE_IT
        )
    position = BIAS_INPUTS.get(operator.name, len(operator.inputs))
    bias = operator.inputs[position] if position < len(operator.inputs) else -1
    narrow = bias >= 0 and graph.tensors[bias].dtype == "INT32"
    if narrow and operator.name in _INT64_BIASES:
        raise ModelError(
            f"A bias of INT64 is expected with INT16 activations, received one of INT32: {where}, "
            "whose kernel would read 8 bytes per channel. Quantize the node anew with "
            '`precision="16x8"`, or convert it with a bias type of int64.'
        )


def _check_int4(operator: Operator, graph: Graph, where: str) -> None:
    weights = graph.tensors[operator.inputs[1]] if len(operator.inputs) > 1 else None
    scales = weights.quantization.scales if weights is not None and weights.quantization else ()
    is_int8 = graph.tensors[operator.outputs[0]].dtype == "INT8"
    is_dense = operator.name == "FULLY_CONNECTED"
    if operator.name in _INT4_OPERATORS and is_int8 and not (is_dense and len(scales) > 1):
        return
    raise ModelError(
        f"INT4 weights are expected in convolutions of int8 activations, received {where}, which "
        "TensorFlow Lite Micro does not run so"
        + (" with a scale per channel" if is_dense else "")
        + '. Keep its weights in int8, as `quantize(precision="int4")` does.'
    )
