"""What each operator keeps in the arena: parameters, its own data, buffers and scratch memory.

One row per operator that is known, from the kernels of tensorflow/lite/micro/kernels (revision
90b983c2, integers) and from firmware_stubs/tflm/kt_decode.cc. An operator without a row is unknown:
its node's memory is then taken from a recording (`ram.py`). Sizes that depend on shapes are in
`kernel_buffers.py`, order and alignment of the allocations in `arena.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from deploy.footprint import kernel_buffers as buffers
from deploy.footprint.kernel_buffers import Buffers, Call, KernelSet
from quantize.flatbuffer import Graph, Operator


@dataclass(frozen=True)
class OperatorMemory:
    """What one operator keeps in the arena.

    Args:
        params: Name of the structure that its options are parsed into, None for none.
        data: Name of the structure that its `Init` allocates, None for none.
        buffers: What its `Prepare` asks for.
        temporaries: Tensors of which `Prepare` holds a temporary copy at once, as indices into the
            graph; a tensor that it holds twice is there twice.
    """

    params: str | None
    data: str | None
    buffers: Buffers
    temporaries: tuple[int, ...]


@dataclass(frozen=True)
class _Row:
    params: str | None = None
    data: str | None = None
    prepare: Callable[[Call], Buffers] = lambda call: Buffers()
    cmsis_nn_data: str | None = None
    held_twice: tuple[int, ...] = ()
    describes: bool = True


def operator_memory(operator: Operator, graph: Graph, kernels: KernelSet) -> OperatorMemory | None:
    """Return what `operator` keeps in the arena, or None where it is not known."""
    row = _ROWS.get(operator.name)
    if row is None:
        return None
    call = Call(
        tuple(graph.tensors[i] if i >= 0 else None for i in operator.inputs),
        tuple(graph.tensors[i] for i in operator.outputs),
        operator.options,
        kernels,
    )
    held = (*(i for i in operator.inputs if i >= 0), *operator.outputs) if row.describes else ()
    again = tuple(operator.inputs[i] for i in row.held_twice)
    return OperatorMemory(
        row.params,
        (row.cmsis_nn_data if kernels.cmsis_nn else None) or row.data,
        row.prepare(call),
        held + again + (operator.outputs if again else ()),
    )


# Inputs that a convolution's `Prepare` describes twice, as it does its output: itself and in the
# function that computes its parameters.
_CONVOLUTION = (0, 1)
_TRANSPOSED = (1, 2)

_ROWS: dict[str, _Row] = {
    "ABS": _Row(data="OpDataAbsRsqrt"),
    "ADD": _Row("TfLiteAddParams", "OpDataAdd", cmsis_nn_data="cmsis_nn.add"),
    "ARG_MAX": _Row("TfLiteArgMaxParams"),
    "ARG_MIN": _Row("TfLiteArgMinParams"),
    "AVERAGE_POOL_2D": _Row(
        "TfLitePoolParams", "OpDataPooling", buffers.average_pool, "cmsis_nn.pooling"
    ),
    "BATCH_MATMUL": _Row(
        "TfLiteBatchMatMulParams",
        "OpDataBatchMatmul",
        buffers.batch_matmul,
        "cmsis_nn.batch_matmul",
    ),
    "BROADCAST_TO": _Row(),
    "CAST": _Row("TfLiteCastParams"),
    "CONCATENATION": _Row("TfLiteConcatenationParams", "concatenation.OpData"),
    "CONV_2D": _Row(
        "TfLiteConvParams", "OpDataConv", buffers.convolution, "cmsis_nn.conv", _CONVOLUTION
    ),
    "DEPTHWISE_CONV_2D": _Row(
        "TfLiteDepthwiseConvParams",
        "OpDataConv",
        buffers.depthwise,
        "cmsis_nn.depthwise_conv",
        _CONVOLUTION,
    ),
    "DEPTH_TO_SPACE": _Row("TfLiteDepthToSpaceParams", prepare=buffers.own_output_shape),
    "DEQUANTIZE": _Row(data="DequantizeOpData"),
    "DIV": _Row("TfLiteDivParams", "OpDataDiv"),
    "EXPAND_DIMS": _Row(),
    "FILL": _Row(),
    "FULLY_CONNECTED": _Row(
        "TfLiteFullyConnectedParams",
        "OpDataFullyConnected",
        buffers.fully_connected,
        "cmsis_nn.fully_connected",
    ),
    "GATHER": _Row("TfLiteGatherParams", prepare=buffers.own_output_shape),
    "HARD_SWISH": _Row(data="HardSwishParams"),
    "L2_NORMALIZATION": _Row("TfLiteL2NormParams", "L2NormalizationParams"),
    "LEAKY_RELU": _Row("TfLiteLeakyReluParams", "LeakyReluOpData"),
    "LOGISTIC": _Row(data="OpDataLogistic"),
    "MAXIMUM": _Row(),
    "MAX_POOL_2D": _Row("TfLitePoolParams", "OpDataPooling", cmsis_nn_data="cmsis_nn.pooling"),
    "MEAN": _Row("TfLiteReducerParams", "OpDataReduce", buffers.mean_or_sum),
    "MINIMUM": _Row(),
    "MIRROR_PAD": _Row("TfLiteMirrorPaddingParams", "OpDataMirrorPad", buffers.mirror_pad),
    "MUL": _Row("TfLiteMulParams", "OpDataMul"),
    "NEG": _Row(),
    "PACK": _Row("TfLitePackParams"),
    "PAD": _Row(data="pad.OpData"),
    "PADV2": _Row(data="pad.OpData"),
    "PRELU": _Row(data="PreluParams"),
    "QUANTIZE": _Row(data="OpDataQuantizeReference"),
    "REDUCE_MAX": _Row("TfLiteReducerParams", "OpDataReduce", buffers.reduce_extreme),
    "REDUCE_MIN": _Row("TfLiteReducerParams", "OpDataReduce", buffers.reduce_extreme),
    "RELU": _Row(data="ReluOpData"),
    "RELU6": _Row(data="Relu6OpData"),
    "RESHAPE": _Row("TfLiteReshapeParams"),
    "RESIZE_BILINEAR": _Row("TfLiteResizeBilinearParams"),
    "RESIZE_NEAREST_NEIGHBOR": _Row("TfLiteResizeNearestNeighborParams"),
    "RSQRT": _Row(data="OpDataAbsRsqrt"),
    "SHAPE": _Row("TfLiteShapeParams"),
    "SLICE": _Row(),
    "SOFTMAX": _Row("TfLiteSoftmaxParams", "SoftmaxParams", buffers.softmax, "cmsis_nn.softmax"),
    "SPACE_TO_DEPTH": _Row("TfLiteSpaceToDepthParams", prepare=buffers.own_output_shape),
    "SPLIT": _Row("TfLiteSplitParams"),
    "SPLIT_V": _Row("TfLiteSplitVParams"),
    "SQUARED_DIFFERENCE": _Row(data="squared_difference.OpData"),
    "SQUEEZE": _Row("TfLiteSqueezeParams"),
    "STRIDED_SLICE": _Row("TfLiteStridedSliceParams", "StridedSliceParams"),
    "SUB": _Row("TfLiteSubParams", "OpDataSub"),
    "SUM": _Row("TfLiteReducerParams", "OpDataReduce", buffers.mean_or_sum),
    "TANH": _Row(data="tanh.OpData"),
    # Ours, which keeps nothing; the runtime's own has a state for each tensor.
    "TFLM_DECODE": _Row(describes=False),
    "TRANSPOSE": _Row(),
    "TRANSPOSE_CONV": _Row(
        "TfLiteTransposeConvParams",
        "transpose_conv.OpData",
        buffers.transpose_convolution,
        "cmsis_nn.transpose_conv",
        _TRANSPOSED,
    ),
    "UNPACK": _Row("TfLiteUnpackParams"),
}
