"""The error of an int8 signal against its float signal, added up over batches."""

from __future__ import annotations

import math

import numpy as np


class Noise:
    """Power of a signal and of its error, and the largest error, over all batches so far."""

    def __init__(self) -> None:
        self._signal_power = 0.0
        self._error_power = 0.0
        self.largest_error = 0.0

    def add(self, expected: np.ndarray, actual: np.ndarray) -> None:
        """Add a batch.

        Args:
            expected: The float signal, any shape.
            actual: The dequantized int8 signal, of the same shape.
        """
        signal = expected.astype(np.float64)
        error = actual.astype(np.float64) - signal
        self._signal_power += float(np.square(signal).sum())
        self._error_power += float(np.square(error).sum())
        self.largest_error = float(np.maximum(self.largest_error, np.abs(error).max(initial=0.0)))

    @property
    def sqnr_db(self) -> float:
        """Signal to quantization noise ratio: 10 log10 of the sum of squares over that of errors.

        `inf` without any error, a constant zero signal included; `-inf` where the signal is zero
        throughout and the int8 signal is not; NaN where the float signal holds NaN.
        """
        if self._error_power == 0:
            return math.inf
        if self._signal_power == 0:
            return -math.inf
        return 10 * (math.log10(self._signal_power) - math.log10(self._error_power))
