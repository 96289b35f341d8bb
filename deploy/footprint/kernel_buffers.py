"""Buffers that the kernels of each operator ask for when they are prepared.

From the `Prepare` functions of tensorflow/lite/micro/kernels (revision 90b983c2), for int8 and
int16 activations and int4 weights. Belongs here: what depends on shapes and options. Fixed
structures of an operator are in `operator_memory.py`, CMSIS-NN's scratch formulas in `cmsis_nn.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from deploy.footprint import cmsis_nn
from quantize.flatbuffer import Tensor

# 513 values: `LUTSize<int16_t>()`.
_INT16_TABLE_BYTES = 2 * 513


@dataclass(frozen=True)
class KernelSet:
    """What of a core and a kernel set decides about memory.

    Args:
        cmsis_nn: Whether operators that CMSIS-NN has are its own.
        has_dsp: Whether it uses the DSP extension.
        has_mve: Whether it uses the vector extension.
    """

    cmsis_nn: bool
    has_dsp: bool
    has_mve: bool


@dataclass(frozen=True)
class Buffers:
    """Buffers of one operator, in the order in which `Prepare` asks for them.

    Args:
        persistent: Sizes of the buffers that stay allocated, in bytes.
        scratch: Sizes of the scratch buffers, in bytes.
    """

    persistent: tuple[int, ...] = ()
    scratch: tuple[int, ...] = ()


@dataclass(frozen=True)
class Call:
    """An operator with its tensors at hand.

    Args:
        inputs: Its input tensors, None for an optional one that is absent.
        outputs: Its output tensors.
        options: Its options under the schema's names.
        kernels: The kernels that run it.
    """

    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]
    options: Any
    kernels: KernelSet

    def shape(self, index: int) -> tuple[int, ...]:
        """Shape of an input, empty where it is absent."""
        tensor = self.inputs[index] if index < len(self.inputs) else None
        return () if tensor is None else tensor.shape

    def dtype(self, index: int) -> str:
        """Type of an input, empty where it is absent."""
        tensor = self.inputs[index] if index < len(self.inputs) else None
        return "" if tensor is None else tensor.dtype


def _channel_arrays(channels: int) -> tuple[int, int]:
    """A multiplier and a shift of 4 bytes per output channel."""
    return 4 * channels, 4 * channels


def convolution(call: Call) -> Buffers:
    """CONV_2D: multipliers and shifts, and rows of input gathered for CMSIS-NN."""
    filters = call.shape(1)
    arrays = _channel_arrays(filters[0])
    if not call.kernels.cmsis_nn:
        return Buffers(arrays, _unpacked_int4(call))
    window = _window(call, call.outputs[0].shape[3], filters[3])
    # The size for int8 weights is asked for also where they are int4: never less than those need.
    formula = (
        cmsis_nn.convolution_int16_scratch_bytes
        if call.dtype(0) == "INT16"
        else cmsis_nn.convolution_scratch_bytes
    )
    return Buffers(arrays, _asked(formula(window, call.kernels.has_mve)))


def depthwise(call: Call) -> Buffers:
    """DEPTHWISE_CONV_2D."""
    filters = call.shape(1)
    arrays = _channel_arrays(filters[3])
    if not call.kernels.cmsis_nn:
        return Buffers(arrays, _unpacked_int4(call))
    if call.dtype(0) == "INT16":
        return Buffers(arrays)
    # As an ordinary convolution, which a single input channel makes of it, its filters have one.
    window = _window(call, filters[3], 1)
    if call.dtype(1) == "INT4":
        size = cmsis_nn.depthwise_int4_scratch_bytes(window, call.kernels.has_mve)
        return Buffers(arrays, _asked(size))
    size = cmsis_nn.depthwise_scratch_bytes(window, call.kernels.has_dsp, call.kernels.has_mve)
    return Buffers(arrays, _asked(size))


def fully_connected(call: Call) -> Buffers:
    """FULLY_CONNECTED: per-channel arrays, and sums of the kernel that stay."""
    weights = call.inputs[1]
    quantization = weights.quantization if weights is not None else None
    scales = len(quantization.scales) if quantization is not None else 0
    arrays = _channel_arrays(scales) if scales > 1 else ()
    if not call.kernels.cmsis_nn:
        return Buffers(arrays, _unpacked_int4(call))
    if call.dtype(0) == "INT16" or call.dtype(1) == "INT4":
        return Buffers(arrays)
    output = call.outputs[0].shape
    if len(output) > 2 and call.shape(1)[-1] % 4 == 0:
        # Runs as a 1x1 convolution, for which one scale has to be spread over the channels.
        return Buffers(arrays, () if scales > 1 else (8 * output[-1],))
    sums = cmsis_nn.fully_connected_sum_bytes(output[-1], call.kernels.has_mve)
    bias = call.inputs[2] if len(call.inputs) > 2 else None
    constant = weights is not None and weights.data is not None
    if constant and (bias is None or bias.data is not None):
        return Buffers((*arrays, *_asked(sums)))
    return Buffers(arrays, _asked(sums))


def transpose_convolution(call: Call) -> Buffers:
    """TRANSPOSE_CONV: an accumulator per output, or what CMSIS-NN asks for."""
    arrays = _channel_arrays(call.shape(1)[0])
    sums = math.prod(call.outputs[0].shape)
    if call.dtype(2) == "INT16":
        converted = (8 * math.prod(call.shape(3)),) if call.dtype(3) == "INT16" else ()
        return Buffers(arrays, (8 * sums, *converted))
    if not call.kernels.cmsis_nn:
        return Buffers(arrays, (4 * sums,))
    _, height, width, channels = call.shape(2)
    output_channels, kernel_height, kernel_width, _ = call.shape(1)
    _, output_height, output_width, _ = call.outputs[0].shape
    window = cmsis_nn.Window(
        (height, width), channels, (kernel_height, kernel_width), channels,
        (output_height, output_width), output_channels,
        (call.options.strideH, call.options.strideW), (1, 1), (0, 0),
    )  # fmt: skip
    return Buffers(arrays, cmsis_nn.transposed_scratch_bytes(window, call.kernels.has_mve))


def average_pool(call: Call) -> Buffers:
    """AVERAGE_POOL_2D."""
    uses_dsp = call.kernels.cmsis_nn and call.kernels.has_dsp
    return Buffers((), _asked(cmsis_nn.average_pool_scratch_bytes(call.shape(0)[3], uses_dsp)))


def mean_or_sum(call: Call) -> Buffers:
    """MEAN and SUM: sums, a position in the input, and the axes."""
    sums = 4 * math.prod(call.outputs[0].shape)
    return Buffers((), (sums, 4 * len(call.shape(0)), 4 * math.prod(call.shape(1))))


def reduce_extreme(call: Call) -> Buffers:
    """REDUCE_MAX and REDUCE_MIN."""
    return Buffers((), (4 * len(call.shape(0)), 4 * math.prod(call.shape(1))))


def mirror_pad(call: Call) -> Buffers:
    """MIRROR_PAD."""
    return Buffers((), (4 * len(call.shape(0)), 4 * len(call.shape(0))))


def own_output_shape(call: Call) -> Buffers:
    """Operators that write their output shape into a copy of it."""
    return Buffers((_int_array_bytes(len(call.outputs[0].shape)),))


def batch_matmul(call: Call) -> Buffers:
    """BATCH_MATMUL: copies of what has to be transposed."""
    transposed = (call.inputs[0] if call.options.adjX else None,
                  None if call.options.adjY else call.inputs[1])  # fmt: skip
    element_bytes = 2 if call.dtype(0) == "INT16" else 1
    copies = tuple(
        size
        for tensor in transposed
        if tensor is not None
        for size in (
            12, _int_array_bytes(len(tensor.shape)), element_bytes * math.prod(tensor.shape)
        )
    )  # fmt: skip
    shape = call.outputs[0].shape
    quantization, dims = 28, _int_array_bytes(len(shape))
    if not call.kernels.cmsis_nn:
        return Buffers((quantization, *copies, dims))
    sums = cmsis_nn.fully_connected_sum_bytes(shape[-1], call.kernels.has_mve)
    return Buffers((*copies, dims, quantization), () if element_bytes > 1 else _asked(sums))


def softmax(call: Call) -> Buffers:
    """SOFTMAX: for int16 the tables of the exponential and of the reciprocal."""
    return Buffers((_INT16_TABLE_BYTES,) * 2) if call.dtype(0) == "INT16" else Buffers()


def _unpacked_int4(call: Call) -> tuple[int, ...]:
    weights = call.inputs[1]
    is_int4 = weights is not None and weights.dtype == "INT4"
    return (math.prod(call.shape(1)),) if is_int4 else ()


def _asked(size: int) -> tuple[int, ...]:
    """A buffer that is only asked for when it is not empty."""
    return (size,) if size > 0 else ()


def _int_array_bytes(length: int) -> int:
    """`TfLiteIntArrayGetSizeInBytes`."""
    return 4 + 4 * length


def _window(call: Call, output_channels: int, kernel_channels: int) -> cmsis_nn.Window:
    """Geometry of a convolution, its padding as `ComputePaddingHeightWidth` finds it."""
    _, height, width, channels = call.shape(0)
    kernel = call.shape(1)[1:3]
    stride = (call.options.strideH, call.options.strideW)
    dilation = (call.options.dilationHFactor, call.options.dilationWFactor)
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    is_same = call.options.padding == 0
    sizes = [
        -(-n // s) if is_same else (n + s - span) // s
        for n, s, span in zip((height, width), stride, spans, strict=True)
    ]
    padding = [
        max((o - 1) * s + span - n, 0) // 2
        for o, s, span, n in zip(sizes, stride, spans, (height, width), strict=True)
    ]
    return cmsis_nn.Window(
        (height, width), channels, (kernel[0], kernel[1]), kernel_channels,
        (call.outputs[0].shape[1], call.outputs[0].shape[2]), output_channels,
        stride, dilation, (padding[0], padding[1]),
    )  # fmt: skip
