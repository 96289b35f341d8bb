"""The steps of the RESIZE operators along one axis, as TFLM computes them.

Only where an output element comes from belongs here; the interpolation itself is the kernel's.
"""

from dataclasses import dataclass

import numpy as np

__all__ = ["ResizeAxis", "resize_bilinear_axis", "resize_nearest_indices"]


@dataclass(frozen=True)
class ResizeAxis:
    """One axis of RESIZE_BILINEAR: output `y` lies at `y * scale + offset`, in 1/1024."""

    scale: int
    offset: int


def resize_bilinear_axis(
    in_size: int, out_size: int, align_corners: bool, half_pixel_centers: bool
) -> ResizeAxis:
    """The steps of one axis, in 1/1024 of an input element.

    Raises:
        ValueError: TFLM's rounded steps leave the input, where it reads what lies behind.
    """
    scale = (1024 * in_size + out_size // 2) // out_size
    if align_corners and out_size > 1:
        scale = (1024 * (in_size - 1) + (out_size - 1) // 2) // (out_size - 1)
    axis = ResizeAxis(scale, scale // 2 - 512 if half_pixel_centers else 0)
    if (axis.scale * (out_size - 1) + axis.offset) // 1024 >= in_size:
        raise ValueError(
            f"`out_size` must suit {in_size} input elements, received {out_size}: TensorFlow Lite "
            "Micro's steps of 1/1024 run past the input there. Resize in two steps."
        )
    return axis


def resize_nearest_indices(
    in_size: int, out_size: int, align_corners: bool, half_pixel_centers: bool
) -> np.ndarray:
    """Which input element each output element of one axis is: uint16 (out_size,)."""
    has_corners = align_corners and out_size > 1
    taken, given = (in_size - 1, out_size - 1) if has_corners else (in_size, out_size)
    scale = np.float32(taken) / np.float32(given)
    offset = np.float32(0.5 if half_pixel_centers else 0.0)
    places = (np.arange(out_size, dtype=np.float32) + offset) * scale
    # std::round, ties away from zero; in float32 the sum with 0.5 could itself round.
    rounded = np.floor(places.astype(np.float64) + (0.5 if align_corners else 0.0))
    return np.clip(rounded, 0, in_size - 1).astype(np.uint16)
