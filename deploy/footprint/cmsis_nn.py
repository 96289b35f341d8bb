"""Scratch memory that CMSIS-NN's integer functions ask for.

Each function is one of CMSIS-NN's `*_get_buffer_size` functions (revision 4ab83cc3, folders
`Source/ConvolutionFunctions`, `FullyConnectedFunctions` and `PoolingFunctions`), compiled by GCC:
with armclang a 1x1 convolution needs 4 bytes per input channel more. What else an operator keeps in
the arena is in `operator_memory.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

# Channels that the vector (MVE) depthwise convolution handles at a time: CH_IN_BLOCK_MVE.
_DEPTHWISE_BLOCK_CHANNELS = 124
# Below this many input channels a transposed convolution is not turned round:
# REVERSE_TCOL_EFFICIENT_THRESHOLD.
_REVERSE_THRESHOLD = 16
# CONVERT_DW_CONV_WITH_ONE_INPUT_CH_AND_OUTPUT_CH_ABOVE_THRESHOLD, as GCC compiles it.
_ONE_INPUT_CHANNEL_THRESHOLD = 1


@dataclass(frozen=True)
class Window:
    """Geometry of a convolution: heights and widths as pairs (height, width).

    Args:
        input: Input height and width.
        channels: Input channels.
        kernel: Kernel height and width.
        kernel_channels: Channels of one filter; smaller than `channels` in a grouped convolution.
        output: Output height and width.
        output_channels: Output channels.
        stride: Strides.
        dilation: Dilations, 1 for none.
        padding: Zeros before the first row and column.
    """

    input: tuple[int, int]
    channels: int
    kernel: tuple[int, int]
    kernel_channels: int
    output: tuple[int, int]
    output_channels: int
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[int, int]

    @property
    def kernel_area(self) -> int:
        """Kernel height times width."""
        return self.kernel[0] * self.kernel[1]


def convolution_scratch_bytes(window: Window, has_mve: bool) -> int:
    """`arm_convolve_wrapper_s8_get_buffer_size`."""
    if _is_1x1(window):
        return 0
    if has_mve and _is_1xn(window):
        return _convolution_1xn_bytes(window)
    return _im2col_bytes(window, has_mve)


def depthwise_scratch_bytes(window: Window, has_dsp: bool, has_mve: bool) -> int:
    """`arm_depthwise_conv_wrapper_s8_get_buffer_size`."""
    if has_mve and window.channels == 1 and window.output_channels > _ONE_INPUT_CHANNEL_THRESHOLD:
        return convolution_scratch_bytes(window, True) + window.output_channels * window.kernel_area
    if window.channels != window.output_channels or window.dilation != (1, 1):
        return 0
    if has_mve:
        return 4 * _DEPTHWISE_BLOCK_CHANNELS * window.kernel_area
    if window.kernel == (3, 3) and max(window.padding) <= 1:
        return 0
    return 2 * window.channels * window.kernel_area if has_dsp else 0


def depthwise_int4_scratch_bytes(window: Window, has_mve: bool) -> int:
    """`arm_depthwise_conv_wrapper_s4_get_buffer_size`: the same with and without DSP."""
    if window.channels != window.output_channels or window.dilation != (1, 1):
        return 0
    if has_mve:
        return 4 * _DEPTHWISE_BLOCK_CHANNELS * window.kernel_area
    return 2 * window.channels * window.kernel_area


def convolution_int16_scratch_bytes(window: Window, has_mve: bool) -> int:
    """`arm_convolve_wrapper_s16_get_buffer_size`, whatever the kernel's size."""
    columns = window.channels * window.kernel_area
    return 2 * 4 * _round_up(columns, 8) if has_mve else 2 * 2 * columns


def transposed_scratch_bytes(window: Window, has_mve: bool) -> tuple[int, int]:
    """`arm_transpose_conv_s8_get_buffer_size` and `..._get_reverse_conv_buffer_size`."""
    if max(window.stride) <= 2 and window.channels > _REVERSE_THRESHOLD:
        weights = window.channels * window.kernel_area * window.output_channels
        return _im2col_bytes(window, has_mve), weights
    columns = (window.input[1] - 1) * window.stride[1] + max(window.kernel[1], window.stride[0])
    rows = max(window.kernel[0], window.stride[0])
    return 4 * columns * window.output_channels * rows, 0


def fully_connected_sum_bytes(outputs: int, has_mve: bool) -> int:
    """`arm_fully_connected_s8_get_buffer_size`: sums of the kernel, for the vector unit only."""
    return 4 * outputs if has_mve else 0


def average_pool_scratch_bytes(channels: int, has_dsp: bool) -> int:
    """`arm_avgpool_s8_get_buffer_size`."""
    return 4 * channels if has_dsp else 0


def _is_1x1(window: Window) -> bool:
    plain = window.padding == (0, 0) and window.dilation == (1, 1)
    return plain and window.kernel == (1, 1) and window.channels == window.kernel_channels


def _is_1xn(window: Window) -> bool:
    return (
        window.input[0] == 1
        and window.dilation[1] == 1
        and window.kernel[0] == 1
        and window.stride[1] * window.channels % 4 == 0
        and window.channels == window.kernel_channels
    )


def _im2col_bytes(window: Window, has_mve: bool) -> int:
    """`arm_convolve_s8_get_buffer_size`: rows of input gathered for one matrix product."""
    columns = window.channels * window.kernel_area
    if has_mve:
        return 4 * _round_up(columns, 16)
    return 2 * 2 * _round_up(columns, 4)


def _convolution_1xn_bytes(window: Window) -> int:
    """`arm_convolve_1_x_n_s8_get_buffer_size_mve`."""
    stride, kernel, pad = window.stride[1], window.kernel[1], window.padding[1]
    total_pad = (window.output[1] - 1) * stride + kernel - window.input[1]
    # C's remainder: it has the sign of the dividend.
    uneven = total_pad % 2 if total_pad >= 0 else -(-total_pad % 2)
    # As in the source, `pad_x + asym_pad != 0`.
    right = max(1, (pad + uneven + stride - 1) // stride) if pad + uneven != 0 else 0
    left = max(1, (pad + stride - 1) // stride) if pad != 0 else 0
    if right + max(window.output[1] - (right + left), 0) + left != window.output[1]:
        return _im2col_bytes(window, True)
    left_bytes = pad * window.channels
    right_bytes = right * window.channels if uneven else left_bytes
    row = kernel * window.channels
    return max(row + left_bytes, row - window.channels + right_bytes)


def _round_up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple
