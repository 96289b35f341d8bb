"""Every operator's constants from its tensors' scales, exactly as TFLM's Prepare computes them.

Pure functions from real numbers and shapes to the fields of the structures in `kt_kernels.h`.
Scales are float32 in the flatbuffer; every product and quotient of them is taken in double, as the
wheel tflite_micro 0.dev20261023 does (the sources of August 2026 take some in float32), but an
activation's limits in float32: bit identity depends on it.

Belongs here: what a kernel needs beside codes, weights and sizes. Does not belong here: how it is
written to C, or 256-byte tables (`tables.py`).
"""

import math
from dataclasses import dataclass

import numpy as np

from deploy.codegen.fixed_point import Factor, quantize_multiplier, wrap_int32

__all__ = [
    "ACTIVATIONS",
    "AddParameters",
    "MeanParameters",
    "PreluParameters",
    "SoftmaxParameters",
    "activation_range",
    "add_parameters",
    "convolution_factors",
    "fold_bias",
    "mean_parameters",
    "mul_factor",
    "padding_before",
    "prelu_parameters",
    "requantize_factor",
    "softmax_parameters",
    "sub_parameters",
]

# What an activation that is folded into an operator keeps, as real numbers.
ACTIVATIONS: dict[str, tuple[float | None, float | None]] = {
    "NONE": (None, None),
    "RELU": (0.0, None),
    "RELU_N1_TO_1": (-1.0, 1.0),
    "RELU6": (0.0, 6.0),
}

_LEFT_SHIFT = 20  # of ADD's and SUB's inputs
_SOFTMAX_INTEGER_BITS = 5


def _half_away(value: float) -> int:
    """Round to the nearest integer, ties away from zero, as C's round()."""
    return int(math.copysign(math.floor(abs(value) + 0.5), value))


def activation_range(activation: str, scale: float, zero_point: int) -> tuple[int, int]:
    """The codes that an activation keeps.

    Args:
        activation: A key of `ACTIVATIONS`.
        scale: Of the output.
        zero_point: Of the output.

    Returns:
        Lowest and highest code, within -128 ... 127.

    Raises:
        ValueError: TFLM folds no such activation.
    """
    if activation not in ACTIVATIONS:
        raise ValueError(
            f"`activation` must be one of {', '.join(ACTIVATIONS)}, received {activation!r}. "
            "Write it as an operator of its own."
        )
    codes = [
        None
        if real is None
        else zero_point + _half_away(float(np.float32(real) / np.float32(scale)))
        for real in ACTIVATIONS[activation]
    ]
    lowest = -128 if codes[0] is None else max(-128, codes[0])
    return lowest, 127 if codes[1] is None else min(127, codes[1])


def padding_before(
    is_same: bool, in_size: int, out_size: int, kernel: int, stride: int, dilation: int = 1
) -> int:
    """Rows above, or columns left of, the input; the odd one goes to the other side.

    For TRANSPOSE_CONV, `in_size` is the output's and `out_size` the input's.
    """
    if not is_same:
        return 0
    return max(0, (out_size - 1) * stride + (kernel - 1) * dilation + 1 - in_size) // 2


def fold_bias(
    bias: np.ndarray | None, weights: np.ndarray, input_zero_point: int, axis: int = 0
) -> np.ndarray:
    """`bias[o] - input_zero_point * sum(weights[o])`, so that kernels multiply raw codes.

    Args:
        bias: int32 (out_c,), or None for zeros.
        weights: int8, its output channels along `axis`.
        input_zero_point: Of the layer's input.
        axis: 0 for CONV_2D and FULLY_CONNECTED, 3 for DEPTHWISE_CONV_2D.

    Returns:
        int32 (out_c,); wraps as the device's accumulator does.
    """
    rows = np.moveaxis(np.asarray(weights, np.int64), axis, 0)
    sums = rows.reshape(len(rows), -1).sum(1)
    start = np.zeros(len(rows), np.int64) if bias is None else np.asarray(bias, np.int64)
    return wrap_int32(start - input_zero_point * sums).astype(np.int32)


def convolution_factors(
    input_scale: float, weight_scales: np.ndarray, output_scale: float
) -> list[Factor]:
    """The factors from accumulators to codes, one per weight scale.

    For CONV_2D, DEPTHWISE_CONV_2D, TRANSPOSE_CONV and FULLY_CONNECTED alike.
    """
    scales = np.atleast_1d(np.asarray(weight_scales, np.float32))
    before, after = _double(input_scale), _double(output_scale)
    return [quantize_multiplier(before * float(scale) / after) for scale in scales]


@dataclass(frozen=True)
class AddParameters:
    """The factors in `kt_add_t`, under its names."""

    multiplier_a: int
    multiplier_b: int
    multiplier_output: int
    shift_a: int
    shift_b: int
    shift_output: int


def add_parameters(scale_a: float, scale_b: float, output_scale: float) -> AddParameters:
    """ADD's factors: each input to half the larger scale, 20 bits up, then to the output's."""
    twice = 2 * max(_double(scale_a), _double(scale_b))
    output = twice / (2**_LEFT_SHIFT * _double(output_scale))
    if output >= 1:
        raise ValueError(
            "`output_scale` must be above 2^-19 of the larger input scale, received "
            f"{_double(output_scale):.3g} beside {twice / 2:.3g}. "
            "TensorFlow Lite Micro refuses such an operator."
        )
    reals = (_double(scale_a) / twice, _double(scale_b) / twice, output)
    factors = [quantize_multiplier(real) for real in reals]
    return AddParameters(*(f.multiplier for f in factors), *(f.shift for f in factors))


def sub_parameters(scale_a: float, scale_b: float, output_scale: float) -> AddParameters:
    """SUB's factors, which are ADD's."""
    return add_parameters(scale_a, scale_b, output_scale)


def mul_factor(scale_a: float, scale_b: float, output_scale: float) -> Factor:
    """MUL's factor from a product of two codes to the output's code."""
    return quantize_multiplier(_double(scale_a) * _double(scale_b) / _double(output_scale))


def requantize_factor(input_scale: float, output_scale: float) -> Factor:
    """QUANTIZE's factor between two int8 scales."""
    return quantize_multiplier(_double(input_scale) / _double(output_scale))


@dataclass(frozen=True)
class MeanParameters:
    """The arithmetic in `kt_reduce_t`, under its names."""

    bias: int
    multiplier: int
    shift: int


def mean_parameters(
    input_scale: float,
    output_scale: float,
    input_zero_point: int,
    reduced: int,
    is_sum: bool = False,
) -> MeanParameters:
    """MEAN's or SUM's factor of a sum of `reduced` codes; MEAN's carries the division."""
    multiplier, shift = requantize_factor(input_scale, output_scale)
    if not is_sum:
        fold = min(reduced.bit_length() - 1, 32, 31 + shift)
        multiplier, shift = (multiplier << fold) // reduced, shift - fold
    return MeanParameters(-input_zero_point * reduced, multiplier, shift)


@dataclass(frozen=True)
class PreluParameters:
    """The factors in `kt_prelu_t`, under its names."""

    multiplier_positive: int
    multiplier_negative: int
    shift_positive: int
    shift_negative: int


def prelu_parameters(
    input_scale: float, slope_scale: float, output_scale: float
) -> PreluParameters:
    """PRELU's factors: of values at least 0, and of negative values times their slope."""
    positive = requantize_factor(input_scale, output_scale)
    negative = mul_factor(input_scale, slope_scale, output_scale)
    return PreluParameters(positive.multiplier, negative.multiplier, positive.shift, negative.shift)


@dataclass(frozen=True)
class SoftmaxParameters:
    """The arithmetic in `kt_softmax_t`, under its names."""

    multiplier: int
    shift: int
    smallest_difference: int


def softmax_parameters(input_scale: float, beta: float = 1.0) -> SoftmaxParameters:
    """SOFTMAX's factor to 26 fractional bits, and the difference below which exp() is 0."""
    fraction_bits = 31 - _SOFTMAX_INTEGER_BITS
    real = min(_double(beta) * _double(input_scale) * 2**fraction_bits, 2.0**31 - 1)
    multiplier, shift = quantize_multiplier(real)
    if shift < 1:
        raise ValueError(
            "`input_scale` times `beta` must be above 2^-26, received "
            f"{real / 2**fraction_bits:.3g}. TensorFlow Lite Micro refuses such a SOFTMAX."
        )
    radius = math.floor(31 * 2.0**fraction_bits / 2.0**shift)
    return SoftmaxParameters(multiplier, shift, max(-radius, -256))


def _double(scale: float) -> float:
    """A scale as the flatbuffer stores it, in float32, widened to double."""
    return float(np.float32(scale))
