"""What TensorFlow Lite Micro lacks, as tables, and what to use instead.

Every row was tried with TensorFlow 2.21 and tflite_micro 0.dev20261023182759: the layer is refused
or leaves float32 inside, its replacement is converted and runs. Does not belong here: the checking
(`refusal.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

# Operators with an int8 kernel (tflite-micro 90b983c2, python/tflite_micro/python_ops_resolver.cc).
# Registered but float only, so left out: CEIL, COS, ELU, EXP, FLOOR, FLOOR_DIV, FLOOR_MOD,
# L2_POOL_2D, LOG, NEG, ROUND, SIN, SQRT, SQUARE; and DEQUANTIZE, whose output is float.
_WITH_INT8_KERNELS = """
    ABS ADD ADD_N ARG_MAX ARG_MIN AVERAGE_POOL_2D BATCH_MATMUL BATCH_TO_SPACE_ND BROADCAST_ARGS
    BROADCAST_TO CAST CONCATENATION CONV_2D CUMSUM DEPTH_TO_SPACE DEPTHWISE_CONV_2D DIV
    DYNAMIC_UPDATE_SLICE EMBEDDING_LOOKUP EQUAL EXPAND_DIMS FILL FULLY_CONNECTED GATHER GATHER_ND
    GREATER GREATER_EQUAL HARD_SWISH L2_NORMALIZATION LEAKY_RELU LESS LESS_EQUAL LOGICAL_AND
    LOGICAL_NOT LOGICAL_OR LOGISTIC LOG_SOFTMAX MAXIMUM MAX_POOL_2D MEAN MINIMUM MIRROR_PAD MUL
    NOT_EQUAL PACK PAD PADV2 PRELU QUANTIZE REDUCE_ALL REDUCE_MAX REDUCE_MIN RELU RELU6 RESHAPE
    RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR REVERSE_V2 RSQRT SELECT_V2 SHAPE SLICE SOFTMAX
    SPACE_TO_BATCH_ND SPACE_TO_DEPTH SPLIT SPLIT_V SQUARED_DIFFERENCE SQUEEZE STRIDED_SLICE SUB SUM
    SVDF TANH TRANSPOSE TRANSPOSE_CONV UNIDIRECTIONAL_SEQUENCE_LSTM UNPACK ZEROS_LIKE
"""
TFLM_OPERATORS = frozenset(_WITH_INT8_KERNELS.split())

# Operators that run in int16 between a QUANTIZE on either side, and give what LiteRT's reference
# kernels give, within one step; each was tried. SUM has an int16 kernel there that gives something
# else; REDUCE_MAX, RESIZE_BILINEAR have none, and PRELU, HARD_SWISH, LOG_SOFTMAX and DIV have no
# int16 form in the quantizer.
_WITH_INT16_KERNELS = """
    ABS ADD AVERAGE_POOL_2D BATCH_MATMUL CONCATENATION CONV_2D DEPTHWISE_CONV_2D FULLY_CONNECTED
    LEAKY_RELU LOGISTIC MAXIMUM MAX_POOL_2D MEAN MINIMUM MUL PACK PAD RELU RESHAPE
    RESIZE_NEAREST_NEIGHBOR REVERSE_V2 RSQRT SLICE SOFTMAX SPLIT SPLIT_V SQUARED_DIFFERENCE
    STRIDED_SLICE SUB TANH TRANSPOSE TRANSPOSE_CONV UNPACK
"""
WIDE_OPERATORS = frozenset(_WITH_INT16_KERNELS.split())


@dataclass(frozen=True)
class LayerRow:
    """A layer class that is refused.

    Args:
        layer: Name of the class in `keras.layers`; its subclasses are meant too.
        why: What becomes of it.
        instead: What to use, as text or made from the layer at hand.
        when: Whether a layer of the class is refused; all are by default.
    """

    layer: str
    why: str
    instead: str | Callable[[Any], str]
    when: Callable[[Any], bool] = lambda layer: True


def output_lengths(layer: keras.Layer) -> tuple[Any, ...]:
    """Return a layer's output shape without the batch, or an empty tuple where it has several."""
    try:
        return tuple(layer.output.shape[1:])
    except (AttributeError, ValueError):
        return ()


def _resizing(interpolation: str) -> Callable[[Any], str]:
    def text(layer: Any) -> str:
        lengths = output_lengths(layer)
        first = layer.data_format == "channels_first"
        height, width = lengths[first : first + 2] if len(lengths) == 3 else ("height", "width")
        return f"`keras.layers.Resizing({height}, {width}, interpolation='{interpolation}')`"

    return text


def _resizing_of_sequence(layer: Any) -> str:
    length, channels = output_lengths(layer) or ("length", "channels")
    short = length // layer.size if isinstance(length, int) else "length // size"
    return (
        f"`Reshape(({short}, 1, {channels}))`, `Resizing({length}, 1, interpolation='nearest')`, "
        f"`Reshape(({length}, {channels}))`"
    )


_FLOAT = "part of it stays in float32"
_NORMALIZATION = "`keras.layers.BatchNormalization()` (it costs nothing behind a convolution)"
_PLANES = "2D layers, an axis folded into the channels with `keras.layers.Reshape`"
_OUTSIDE = "it outside the tree: compute it before and feed its numbers to the trunk"
_SIMPLE_RESIZING = ("nearest", "bilinear")

LAYERS = (
    LayerRow(
        "RNN",
        "it is a rolled loop, on which the converter crashes",
        "it with `unroll=True`",
        lambda layer: not layer.unroll,
    ),
    LayerRow(
        "UpSampling2D",
        "nearest up-sampling becomes TILE, which is missing there",
        _resizing("nearest"),
        lambda layer: layer.interpolation == "nearest",
    ),
    LayerRow(
        "UpSampling2D",
        "this interpolation has no operator",
        _resizing("bilinear"),
        lambda layer: layer.interpolation not in _SIMPLE_RESIZING,
    ),
    LayerRow("UpSampling1D", "it becomes TILE, which is missing there", _resizing_of_sequence),
    LayerRow(
        "Resizing",
        "this interpolation has no operator",
        _resizing("bilinear"),
        lambda layer: layer.interpolation not in _SIMPLE_RESIZING or layer.antialias,
    ),
    LayerRow("LayerNormalization", _FLOAT, _NORMALIZATION),
    LayerRow("GroupNormalization", _FLOAT, _NORMALIZATION),
    LayerRow("RMSNormalization", _FLOAT, _NORMALIZATION),
    LayerRow("UnitNormalization", _FLOAT, _NORMALIZATION),
    LayerRow("ELU", _FLOAT, "`keras.layers.LeakyReLU()`"),
    LayerRow(
        "ReLU",
        "a slope below zero together with a greatest value stays in float32",
        "`keras.layers.ReLU(max_value)` or `keras.layers.LeakyReLU()`",
        lambda layer: layer.max_value is not None and layer.negative_slope != 0,
    ),
    LayerRow("Conv3D", "CONV_3D is missing there", _PLANES),
    LayerRow("Conv3DTranspose", "CONV_3D_TRANSPOSE is missing there", _PLANES),
    LayerRow("MaxPooling3D", "it has no operator", _PLANES),
    LayerRow("AveragePooling3D", "it has no operator", _PLANES),
    LayerRow("UpSampling3D", "it becomes TILE, which is missing there", _PLANES),
    LayerRow("Cropping3D", "slices have four axes at most there", _PLANES),
    LayerRow(
        "Conv2DTranspose",
        "a dilated transposed convolution has no operator",
        "it with `dilation_rate=1`",
        lambda layer: set(layer.dilation_rate) != {1},
    ),
    LayerRow(
        "TimeDistributed",
        "slices have four axes at most there",
        "`keras.layers.Reshape` to put the time axis into another one",
        lambda layer: len(layer.input.shape) > 4,
    ),
    LayerRow(
        "RepeatVector",
        "it becomes TILE, which is missing there",
        "`Reshape((1, channels))` and `Concatenate(axis=1)` of that tensor n times",
    ),
    LayerRow(
        "GroupQueryAttention",
        "it becomes TILE, which is missing there",
        "`keras.layers.MultiHeadAttention`",
    ),
    LayerRow("Masking", _FLOAT, "sequences of one length, without a mask"),
    LayerRow("Embedding", "it takes indices, and a node takes int8 numbers", _OUTSIDE),
    LayerRow("Discretization", "it gives indices, and a node gives int8 numbers", _OUTSIDE),
    LayerRow("CategoryEncoding", "it has no operator", _OUTSIDE),
    LayerRow("Hashing", "it has no operator", _OUTSIDE),
    LayerRow("IntegerLookup", "it has no operator", _OUTSIDE),
    LayerRow("StringLookup", "it has no operator", _OUTSIDE),
    LayerRow("TextVectorization", "it has no operator", _OUTSIDE),
    LayerRow("STFTSpectrogram", _FLOAT, _OUTSIDE),
    LayerRow("MelSpectrogram", _FLOAT, _OUTSIDE),
)

# Activation to (what becomes of it, what to use).
ACTIVATIONS = {
    "elu": (_FLOAT, "'leaky_relu' or 'relu'"),
    "selu": ("it becomes EXP, which is float only there", "'leaky_relu' or 'relu'"),
    "celu": ("it becomes EXP, which is float only there", "'leaky_relu' or 'relu'"),
    "gelu": ("it becomes GELU, which is missing there", "'silu' or 'hard_silu'"),
    "mish": ("it becomes EXP, which is float only there", "'silu' or 'hard_silu'"),
    "softplus": ("it becomes EXP, which is float only there", "'relu'"),
    "squareplus": (_FLOAT, "'relu'"),
    "sparse_plus": ("it becomes SELECT, which is missing there", "'relu'"),
    "exponential": ("it becomes EXP, which is float only there", "'sigmoid' or 'relu'"),
    "log_sigmoid": (_FLOAT, "'sigmoid'"),
    "soft_shrink": ("it becomes SELECT, which is missing there", "'tanh_shrink'"),
    "sparsemax": ("it becomes TOPK_V2, which is missing there", "'softmax'"),
}

# Operator to what to use instead of what leads to it, where a layer gave no better advice.
OPERATORS = {
    "TILE": "`keras.layers.Concatenate` or `keras.layers.Resizing(..., interpolation='nearest')`",
    "GELU": "'silu' or 'hard_silu'",
    "ELU": "'leaky_relu' or 'relu'",
    "EXP": "'relu', 'sigmoid' or 'softmax'",
    "LOG": "'log_softmax', or the logarithm outside the tree",
    "SQRT": "`keras.ops.rsqrt`",
    "NEG": "`keras.ops.multiply(x, -1.0)`",
    "SQUARE": "`keras.ops.multiply(x, x)`",
    "SELECT": "`keras.ops.maximum` or `keras.ops.minimum`",
    "POW": "`keras.ops.multiply`",
}
