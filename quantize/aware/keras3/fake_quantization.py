"""Rounding to int8 in float arithmetic, as the converter and the interpreter round.

Belongs here: the arithmetic, and the table of the ranges. Does not belong here: where a range
stands (`program.py`), or what values it spans (`calibration.py`).

Kernels are symmetric, per output channel, in the narrow range: codes -127 to 127 at 8 bits. Their
gradient is passed straight through ("Estimating or Propagating Gradients Through Stochastic
Neurons", arXiv:1308.3432), that of activations only where they are not clipped ("Quantization and
Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", arXiv:1712.05877,
section 3).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from quantize.conversion.pinning import spec_of_range
from quantize.tensor_spec import TensorSpec


def fake_quantize_kernel(kernel: tf.Tensor, channel_axes: tuple[int, ...], bits: int) -> tf.Tensor:
    """Round a kernel to the grid that the converter gives it.

    Args:
        kernel: float32 of any shape.
        channel_axes: Axes that together number the output channels, each with a scale of its own.
        bits: 8 for codes -127 to 127, 4 for -7 to 7.

    Returns:
        float32 of the same shape; the gradient is passed straight through.
    """

    @tf.custom_gradient
    def rounded(values: tf.Tensor) -> Any:
        others = [axis for axis in range(values.shape.rank) if axis not in channel_axes]
        scale = tf.reduce_max(tf.abs(values), others, keepdims=True) / (2.0 ** (bits - 1) - 1.0)
        scale = tf.where(scale > 0, scale, tf.ones_like(scale))
        return tf.round(values / scale) * scale, lambda gradient: gradient

    return rounded(kernel)


def fake_quantize_exactly(values: tf.Tensor, scale: tf.Tensor, zero_point: tf.Tensor) -> tf.Tensor:
    """Round values as `TensorSpec.quantize` and `dequantize` do: half away from zero.

    Args:
        values: float32 of any shape.
        scale: float32 scalar, greater than 0.
        zero_point: float32 scalar, an integer from -128 to 127.

    Returns:
        float32 of the same shape; the gradient passes where nothing is clipped.
    """

    @tf.custom_gradient
    def rounded(values: tf.Tensor) -> Any:
        steps = values / scale
        lowest, highest = -128.0 - zero_point, 127.0 - zero_point
        whole = tf.sign(steps) * tf.floor(tf.abs(steps) + 0.5)

        def gradient(above: tf.Tensor) -> tf.Tensor:
            inside = tf.logical_and(steps > lowest - 0.5, steps < highest + 0.5)
            return tf.where(inside, above, tf.zeros_like(above))

        return tf.clip_by_value(whole, lowest, highest) * scale, gradient

    return rounded(values)


class Range:
    """What real values the 256 codes of an activation stand for.

    Args:
        row: Its row in the table of ranges.
        spec: Scale and zero point that it always has; None where calibration sets it.
    """

    def __init__(self, row: int, spec: TensorSpec | None = None) -> None:
        self.row = row
        self.is_fixed = spec is not None
        self.spec = spec

    def set(self, spec: TensorSpec) -> None:
        """Take other codes, unless they are fixed."""
        if not self.is_fixed:
            self.spec = spec

    def holds(self, lowest: float, highest: float, steps: float) -> bool:
        """Whether values lie in the range, but for so many steps beyond it."""
        if self.spec is None:
            return False
        slack = self.spec.scale * steps
        return (
            lowest >= self.spec.lowest_value - slack and highest <= self.spec.highest_value + slack
        )


class Ranges:
    """The ranges of all the nodes, in one variable, so that a step reads one and not a hundred."""

    def __init__(self) -> None:
        self.all: list[Range] = []
        self._table: tf.Variable | None = None

    def new(self, spec: TensorSpec | None = None) -> Range:
        """Return one more range.

        Args:
            spec: Scale and zero point that it always has, or None.
        """
        self.all.append(Range(len(self.all), spec))
        return self.all[-1]

    def publish(self) -> None:
        """Let compiled functions see the ranges as they are now set."""
        table = np.ones((len(self.all), 4), np.float32)
        for row, one in enumerate(self.all):
            if one.spec is not None:
                spec = one.spec
                table[row] = (
                    spec.lowest_value, spec.highest_value, spec.scale, spec.zero_point,
                )  # fmt: skip
        if self._table is None:
            self._table = tf.Variable(table, trainable=False, name="ranges")
        else:
            self._table.assign(table)

    def read(self) -> list[list[tf.Tensor]]:
        """Return float32 scalars (low, high, scale, zero point) of every range.

        Raises:
            ValueError: None was ever set.
        """
        if self._table is None:
            raise ValueError(
                "Ranges must be set before the stage 'quantize' computes, received none. Call "
                "`calibrate` after `begin_stage`."
            )
        flat = tf.unstack(tf.reshape(self._table, [-1]))
        return [flat[start : start + 4] for start in range(0, len(flat), 4)]


def spec_over(lowest: float, highest: float) -> TensorSpec:
    """Return the int8 codes over values as the converter chooses them; of zeros alone, any.

    Args:
        lowest: Least value.
        highest: Greatest value.
    """
    if lowest == highest == 0:
        highest = 1.0  # A dead layer: the quantizer gives it some scale, and all codes are zero.
    return spec_of_range(lowest, highest, (1,))
