"""TensorFlow Lite Micro's fixed-point numbers: a real factor as int32 multiplier and shift.

A factor is `multiplier / 2^31 * 2^shift`. Applying it rounds twice: once in the doubling high
multiply, once in the right shift (gemmlowp's arithmetic, in every kernel that TFLM runs in int8).

Belongs here: the numbers and their arithmetic, in numpy, exactly as the device computes them. Does
not belong here: which factor an operator needs (`parameters.py`), or the tables of functions of one
code (`tables.py`).
"""

import math
from typing import NamedTuple

import numpy as np

__all__ = [
    "Factor",
    "multiply_by_quantized_multiplier",
    "quantize_multiplier",
    "rounding_divide_by_pot",
    "saturating_rounding_doubling_high_mul",
    "wrap_int32",
]

_INT32_MIN, _INT32_MAX = -(2**31), 2**31 - 1


class Factor(NamedTuple):
    """A real factor `multiplier / 2^31 * 2^shift`.

    Args:
        multiplier: int32; 2^30 ... 2^31 - 1, or 0, or negative for a negative factor.
        shift: -31 ... 31; positive shifts left.
    """

    multiplier: int
    shift: int

    @property
    def real(self) -> float:
        """The factor as a real number."""
        return math.ldexp(self.multiplier, self.shift - 31)


def quantize_multiplier(real: float) -> Factor:
    """Round a real factor to 31 bits, as TFLM's `QuantizeMultiplier` does.

    Args:
        real: Any finite factor; below about 2^-32 it becomes 0.

    Returns:
        The factor.

    Raises:
        ValueError: `real` is not finite, or at least 2^31, which no kernel can shift by.

    Example:
        >>> quantize_multiplier(0.75)
        Factor(multiplier=1610612736, shift=0)
    """
    if not math.isfinite(real) or abs(real) >= 2.0**31:
        raise ValueError(
            f"`real` must be finite and below 2^31, received {real}. "
            "Check the scales of the operator's tensors: one of them is 0 or absurd."
        )
    fraction, shift = math.frexp(real)
    # 53 bits of fraction times 2^31 leave 22 bits behind the point, so that adding 0.5 is exact.
    multiplier = math.copysign(math.floor(abs(fraction) * 2**31 + 0.5), fraction)
    if multiplier == 2**31:
        multiplier, shift = 2**30, shift + 1
    if shift < -31 or real == 0:
        return Factor(0, 0)
    return Factor(int(multiplier), shift)


def wrap_int32(values: np.ndarray) -> np.ndarray:
    """Bring int64 values into the range of int32 by their low 32 bits, as the device's adds do."""
    return np.asarray(values, np.int64).astype(np.int32).astype(np.int64)


def saturating_rounding_doubling_high_mul(a: np.ndarray | int, b: np.ndarray | int) -> np.ndarray:
    """The high 32 bits of `2 * a * b`, rounded with ties towards positive infinity.

    Args:
        a: int32 values, in any integer dtype.
        b: The same, of a shape that fits.

    Returns:
        int64 array of int32 values; the one product that overflows gives 2^31 - 1.
    """
    product = np.asarray(a, np.int64) * np.asarray(b, np.int64)
    return np.minimum((product + 2**30) >> 31, _INT32_MAX)


def rounding_divide_by_pot(values: np.ndarray | int, exponent: int) -> np.ndarray:
    """Divide by 2^exponent, rounded with ties away from zero.

    Args:
        values: int32 values, in any integer dtype.
        exponent: 0 ... 31.

    Returns:
        int64 array of the quotients.
    """
    values = np.asarray(values, np.int64)
    if exponent == 0:
        return values
    return (values + (1 << (exponent - 1)) - (values < 0)) >> exponent


def multiply_by_quantized_multiplier(
    values: np.ndarray | int, multiplier: int, shift: int
) -> np.ndarray:
    """Apply a factor to accumulators, with TFLM's two roundings.

    Args:
        values: int32 accumulators, in any integer dtype.
        multiplier: 0 ... 2^31 - 1.
        shift: -31 ... 31; a left shift comes before the multiply and drops the bits that leave.

    Returns:
        int64 array of int32 values.
    """
    shifted = wrap_int32(np.asarray(values, np.int64) << max(shift, 0))
    high = saturating_rounding_doubling_high_mul(shifted, multiplier)
    return rounding_divide_by_pot(high, max(-shift, 0))
