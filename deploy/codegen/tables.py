"""256-byte tables of the operators that map one code to one code, as TFLM computes them.

Each function returns int8 (256,) in the order that `kt_lookup` reads: the outputs of codes
0 ... 127, then of -128 ... -1, so that a code's byte is its index.

Belongs here: LOGISTIC, TANH, HARD_SWISH, LEAKY_RELU, RELU and int8 QUANTIZE. Does not belong here:
RELU6 and RELU with one quantization on both sides, which are a clamp (`clamp_range`).
"""

import math

import numpy as np

from deploy.codegen.fixed_point import (
    Factor,
    multiply_by_quantized_multiplier,
    rounding_divide_by_pot,
    saturating_rounding_doubling_high_mul,
)
from deploy.codegen.parameters import activation_range, mul_factor, requantize_factor

__all__ = [
    "clamp_range",
    "hard_swish_table",
    "leaky_relu_table",
    "logistic_table",
    "quantize_table",
    "relu_table",
    "tanh_table",
]

_CODES = np.concatenate([np.arange(128), np.arange(-128, 0)]).astype(np.int64)
_ONE = 2**31 - 1  # 1.0 with no integer bit
_ONE_IN_Q2 = 2**29  # 1.0 with two integer bits
_INTEGER_BITS = 4  # of the argument of LOGISTIC and TANH
# exp(-2^k) for k = -2 ... 4, 31 fractional bits (gemmlowp, fixedpoint.h, exp_on_negative_values).
_EXP_OF_POWERS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)


def quantize_table(
    input_scale: float, input_zero_point: int, output_scale: float, output_zero_point: int
) -> np.ndarray:
    """QUANTIZE from int8 to int8."""
    factor = requantize_factor(input_scale, output_scale)
    return _clipped(_scaled(_CODES - input_zero_point, factor) + output_zero_point)


def relu_table(
    input_scale: float, input_zero_point: int, output_scale: float, output_zero_point: int
) -> np.ndarray:
    """RELU between two quantizations."""
    factor = requantize_factor(input_scale, output_scale)
    values = _scaled(_CODES - input_zero_point, factor) + output_zero_point
    return _clipped(np.maximum(values, output_zero_point))


def clamp_range(activation: str, scale: float, zero_point: int) -> tuple[int, int]:
    """Lowest and highest code of RELU, RELU6 or RELU_N1_TO_1 within one quantization.

    TFLM's RELU6 compares input codes and copies them, whatever the output's quantization says.
    """
    return activation_range(activation, scale, zero_point)


def leaky_relu_table(
    input_scale: float,
    input_zero_point: int,
    output_scale: float,
    output_zero_point: int,
    alpha: float,
) -> np.ndarray:
    """LEAKY_RELU; `alpha` may be negative."""
    positive = requantize_factor(input_scale, output_scale)
    negative = mul_factor(input_scale, abs(alpha), output_scale)
    values = _CODES - input_zero_point
    below = _scaled(values, negative) * (-1 if alpha < 0 else 1)
    return _clipped(np.where(values >= 0, _scaled(values, positive), below) + output_zero_point)


def logistic_table(input_scale: float, input_zero_point: int) -> np.ndarray:
    """LOGISTIC; the output has scale 1/256 and zero point -128."""
    values, radius, argument = _transcendental(input_scale, input_zero_point)
    positive = _one_over_one_plus(_exp_on_negatives(-np.abs(argument), _INTEGER_BITS))
    curve = np.where(argument > 0, positive, _ONE - positive)
    curve = np.where(argument == 0, 2**30, curve)
    codes = rounding_divide_by_pot(curve, 31 - 8) - 128
    return _saturated(codes, values, radius)


def tanh_table(input_scale: float, input_zero_point: int) -> np.ndarray:
    """TANH; the output has scale 1/128 and zero point 0."""
    values, radius, argument = _transcendental(input_scale, input_zero_point)
    # exp(-2 x): the same bits with one more integer bit.
    curve = _one_minus_over_one_plus(_exp_on_negatives(-np.abs(argument), _INTEGER_BITS + 1))
    curve = np.where(argument < 0, -curve, np.where(argument == 0, 0, curve))
    return _saturated(rounding_divide_by_pot(curve, 31 - 7), values, radius)


def hard_swish_table(
    input_scale: float, input_zero_point: int, output_scale: float, output_zero_point: int
) -> np.ndarray:
    """HARD_SWISH, in TFLM's 16-bit arithmetic.

    Raises:
        ValueError: The output's scale is below 1/128 of the input's, which TFLM refuses.
    """
    hires_scale = float(np.float32(input_scale)) / 128
    output = requantize_factor(hires_scale, output_scale)
    relu = requantize_factor(hires_scale, 3 / 32768)
    if output.shift > 0:
        raise ValueError(
            f"`output_scale` must be above {hires_scale:.3g}, 1/128 of the input's, "
            f"received {output_scale:.3g}. TensorFlow Lite Micro refuses such a HARD_SWISH."
        )
    hires = _int16((_CODES - input_zero_point) << 7)
    scaled = _high_mul_16(hires, _to_16_bits(output.multiplier))
    gate = hires
    if relu.shift > 0:
        gate = _shift_left_16(gate, relu.shift - 1)
    gate = _high_mul_16(gate, _to_16_bits(relu.multiplier))
    if relu.shift > 0:
        gate = _shift_left_16(gate, 1)
    if relu.shift < 0:
        gate = rounding_divide_by_pot(gate, -relu.shift)
    gate = (gate + 2**15) >> 1
    product = gate * scaled
    # Truncated towards zero, unlike every other product here.
    values = np.sign(product) * (np.abs(product) >> 15)
    return _clipped(rounding_divide_by_pot(values, -output.shift) + output_zero_point)


def _scaled(values: np.ndarray, factor: Factor) -> np.ndarray:
    return multiply_by_quantized_multiplier(values, *factor)


def _clipped(values: np.ndarray) -> np.ndarray:
    return np.clip(values, -128, 127).astype(np.int8)


def _saturated(codes: np.ndarray, values: np.ndarray, radius: int) -> np.ndarray:
    """Where the argument's bits do not reach, the function has its limits."""
    codes = np.where(values <= -radius, -128, np.where(values >= radius, 127, codes))
    return _clipped(codes)


def _transcendental(input_scale: float, zero_point: int) -> tuple[np.ndarray, int, np.ndarray]:
    """Values on the input's scale, the radius that 4 integer bits hold, and the arguments."""
    fraction, shift = math.frexp(float(np.float32(input_scale)) * 2 ** (31 - _INTEGER_BITS))
    multiplier = math.floor(fraction * 2**31 + 0.5)
    radius = math.floor((2**_INTEGER_BITS - 1) * 2.0 ** (31 - _INTEGER_BITS) / 2.0**shift)
    values = _CODES - zero_point
    inside = np.where(np.abs(values) < radius, values, 0)
    return values, radius, multiply_by_quantized_multiplier(inside, multiplier, shift)


def _shift_left_32(values: np.ndarray, bits: int) -> np.ndarray:
    return np.clip(values << bits, -(2**31), _ONE)


def _exp_on_negatives(values: np.ndarray, integer_bits: int) -> np.ndarray:
    """exp(x) for x <= 0 of `integer_bits` integer bits, with 31 fractional bits."""
    high_mul = saturating_rounding_doubling_high_mul
    fraction_bits = 31 - integer_bits
    quarter = 1 << (fraction_bits - 2)
    rest = (values & (quarter - 1)) - quarter  # in [-1/4, 0)
    x = _shift_left_32(rest, integer_bits) + (1 << 28)  # Taylor's expansion around -1/8
    x2 = high_mul(x, x)
    x3, x4 = high_mul(x2, x), high_mul(x2, x2)
    third = high_mul(rounding_divide_by_pot(x4, 2) + x3, 715827883)
    series = rounding_divide_by_pot(third + x2, 1)
    result = 1895147668 + high_mul(1895147668, x + series)
    remainder = rest - values
    for power, constant in zip(range(-2, integer_bits), _EXP_OF_POWERS, strict=False):
        has_power = (remainder & (1 << (fraction_bits + power))) != 0
        result = np.where(has_power, high_mul(result, constant), result)
    return np.where(values == 0, _ONE, result)


def _newton_reciprocal(values: np.ndarray) -> np.ndarray:
    """2 / (1 + x) for x in 0 ... 1, with two integer bits, by three steps of Newton and Raphson."""
    high_mul = saturating_rounding_doubling_high_mul
    half_denominator = (values + _ONE + 1) >> 1
    x = 1515870810 + high_mul(half_denominator, -1010580540)  # 48/17 - 32/17 d
    for _ in range(3):
        error = _ONE_IN_Q2 - high_mul(half_denominator, x)
        x = x + _shift_left_32(high_mul(x, error), 2)
    return x


def _one_over_one_plus(values: np.ndarray) -> np.ndarray:
    return _shift_left_32(_newton_reciprocal(values), 1)


def _one_minus_over_one_plus(values: np.ndarray) -> np.ndarray:
    return _shift_left_32(_newton_reciprocal(values) - _ONE_IN_Q2, 2)


def _int16(values: np.ndarray) -> np.ndarray:
    return values.astype(np.int16).astype(np.int64)


def _to_16_bits(multiplier: int) -> int:
    return min((multiplier + 2**15) >> 16, 2**15 - 1)


def _shift_left_16(values: np.ndarray, bits: int) -> np.ndarray:
    return np.clip(values << bits, -(2**15), 2**15 - 1)


def _high_mul_16(values: np.ndarray, multiplier: int) -> np.ndarray:
    return (values * multiplier + 2**14) >> 15
