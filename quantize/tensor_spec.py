"""What a node's input or output tensor is: shape, element type, scale and zero point.

Belongs here: the value that describes one int8 tensor, and the arithmetic between its codes and
real numbers.
Does not belong here: reading a flatbuffer (`flatbuffer.py`), or running one (`interpreter.py`).
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from quantize.flatbuffer import Tensor

# The quantized activations that TensorFlow Lite Micro's kernels take.
_DTYPES = ("int8", "uint8", "int16")


@dataclass(frozen=True)
class TensorSpec:
    """One quantized tensor of a node: real value = `scale` * (code - `zero_point`).

    Args:
        shape: Sizes of the axes, the batch (1) first.
        dtype: Element type of the codes: "int8", "uint8" or "int16".
        scale: Real value of one step, greater than 0; kept as the nearest float32, which is what a
            flatbuffer stores.
        zero_point: The code that stands for 0.0, within the range of `dtype`.

    Raises:
        ValueError: A field is out of its range.
    """

    shape: tuple[int, ...]
    dtype: str
    scale: float
    zero_point: int

    def __post_init__(self) -> None:
        if self.dtype not in _DTYPES:
            raise ValueError(
                f"`dtype` must be one of {', '.join(_DTYPES)}, received {self.dtype!r}. "
                "Quantize the node to int8."
            )
        shape = tuple(int(size) for size in self.shape)
        if not shape or any(size < 1 for size in shape):
            raise ValueError(
                f"`shape` must hold sizes of at least 1, the batch first, received {self.shape}. "
                "Fix every axis before conversion."
            )
        scale = float(np.float32(self.scale))
        if not (math.isfinite(scale) and scale > 0):
            raise ValueError(
                f"`scale` must be a finite float32 above 0, received {self.scale!r}. "
                "Calibrate the tensor on data that is not constant."
            )
        if not self.lowest_code <= self.zero_point <= self.highest_code:
            raise ValueError(
                f"`zero_point` must lie in {self.lowest_code}..{self.highest_code} for "
                f"{self.dtype}, received {self.zero_point}. Read it from the tensor's quantization."
            )
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "scale", scale)
        object.__setattr__(self, "zero_point", int(self.zero_point))

    @classmethod
    def from_tensor(cls, tensor: "Tensor") -> "TensorSpec":
        """Describe a flatbuffer's tensor that has one scale for all its elements.

        Args:
            tensor: A tensor of `quantize.flatbuffer.read_graph`.

        Returns:
            Its shape, element type, scale and zero point.

        Raises:
            ValueError: The tensor is not quantized, or has a scale per channel.
        """
        quantization = tensor.quantization
        if quantization is None or len(quantization.scales) != 1:
            scales = 0 if quantization is None else len(quantization.scales)
            raise ValueError(
                f"`tensor` {tensor.index} must have exactly one scale, received {scales} on a "
                f"{tensor.dtype} tensor. Quantize the node's inputs and outputs to int8."
            )
        zero_point = quantization.zero_points[0] if quantization.zero_points else 0
        return cls(tensor.shape, tensor.dtype.lower(), quantization.scales[0], zero_point)

    @property
    def lowest_code(self) -> int:
        """The lowest value of `dtype`."""
        return int(np.iinfo(self.dtype).min)

    @property
    def highest_code(self) -> int:
        """The highest value of `dtype`."""
        return int(np.iinfo(self.dtype).max)

    @property
    def lowest_value(self) -> float:
        """The real value of the lowest code."""
        return self.scale * (self.lowest_code - self.zero_point)

    @property
    def highest_value(self) -> float:
        """The real value of the highest code."""
        return self.scale * (self.highest_code - self.zero_point)

    @property
    def element_count(self) -> int:
        """Number of elements of one sample."""
        return math.prod(self.shape)

    def quantize(self, values: Any) -> np.ndarray:
        """Round real values to codes as TensorFlow Lite Micro's reference `Quantize` does.

        The quotient `value / scale` is taken in float32 and rounded half away from zero; the zero
        point is added; what is out of range saturates (`AffineQuantize` in
        tensorflow/lite/kernels/internal/reference/quantize.h). Infinities saturate here too; there
        they are undefined.

        Args:
            values: Real numbers of any shape, taken as float32.

        Returns:
            Codes of dtype `dtype` and of the shape of `values`.

        Raises:
            ValueError: A value is NaN.
        """
        array = np.asarray(values, np.float32)
        if np.isnan(array).any():
            raise ValueError(
                f"`values` must be numbers, received {np.isnan(array).sum()} NaN of {array.size}. "
                "Clean the data before it is quantized."
            )
        with np.errstate(over="ignore"):
            steps = (array / np.float32(self.scale)).astype(np.float64)
        # float64 holds any float32 plus 0.5 exactly: this is C's roundf, without a second rounding.
        rounded = np.trunc(steps + np.copysign(0.5, steps))
        codes = np.clip(rounded + self.zero_point, self.lowest_code, self.highest_code)
        return codes.astype(self.dtype)

    def dequantize(self, codes: Any) -> np.ndarray:
        """Turn codes into the real numbers they stand for.

        Args:
            codes: Integer codes of any shape.

        Returns:
            float32 array of the same shape: `scale` * (code - `zero_point`), rounded once.

        Raises:
            ValueError: `codes` is not an integer array.
        """
        array = np.asarray(codes)
        if not np.issubdtype(array.dtype, np.integer):
            raise ValueError(
                f"`codes` must be integers, received dtype {array.dtype}. "
                "Give what `quantize` or an interpreter returned."
            )
        return (self.scale * (array.astype(np.float64) - self.zero_point)).astype(np.float32)
