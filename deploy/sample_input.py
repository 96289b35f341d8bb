"""A file on disk as the int8 input of a bundle's trunk: a NumPy array or an image.

Here stand reading, fitting the shape, and normalising. Running the codes is the bundle's work.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from quantize.bundle import Bundle, InputNormalization
    from quantize.tensor_spec import TensorSpec

_IMAGE_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


class SampleError(ValueError):
    """A file that cannot become the input of a trunk."""


def read_codes(path: Path, bundle: Bundle) -> tuple[np.ndarray, str]:
    """Read one or several samples as codes of the trunk's input.

    An array of int8 holds codes; of floats, the network's input; of any other integers, raw
    values, which the bundle's input normalization turns into the network's input. An image holds
    raw values, 0 to 255; it is resized and converted to the trunk's channels.

    Args:
        path: a `.npy` file of shape `(*input)` or `(n, *input)`, a last axis of 1 may be missing;
            or an image that Pillow reads.
        bundle: whose trunk is to be fed.

    Returns:
        The codes, int8 of shape `(n, *input)`, and one line that says what was done to the file.

    Raises:
        SampleError: the file cannot be read, or does not fit the trunk's input.
    """
    spec = next(iter(bundle.nodes.values())).input
    if not path.is_file():
        raise SampleError(
            f"`--input` must be a .npy file or an image, '{path}' is not a file. Check the path."
        )
    if path.suffix.lower() == ".npy":
        array = _read_array(path)
        done = f"{path.name}, {_shape_text(array.shape)} {array.dtype}"
    else:
        array, done = _read_image(path, spec)
    samples = _with_batch(array, spec, path)
    if samples.dtype == np.int8:
        return samples, f"{done} codes"
    if np.issubdtype(samples.dtype, np.floating):
        done += " as the network's input"
    else:
        samples = bundle.input_normalization.apply(samples)
        done += f", {_formula(bundle.input_normalization)}"
    _refuse_infinite(samples, path)
    return spec.quantize(samples), done + _saturation(samples, spec)


def _refuse_infinite(samples: np.ndarray, path: Path) -> None:
    wrong = ~np.isfinite(samples)
    if wrong.any():
        raise SampleError(
            f"`--input` must hold finite numbers, '{path}' has {wrong.sum()} NaN or infinite ones. "
            "Clean the sample."
        )


def _read_array(path: Path) -> np.ndarray:
    """Load a `.npy` file of real numbers."""
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise SampleError(
            f"`--input` must be a NumPy array, '{path}' cannot be read: {error}. "
            "Write it with numpy.save(path, array)."
        ) from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "iuf":
        kind = array.dtype if isinstance(array, np.ndarray) else "an archive"
        raise SampleError(
            f"`--input` must hold floats, int8 codes or raw integers, '{path}' holds {kind}. "
            "Write it with numpy.save(path, array.astype('float32'))."
        )
    return array


def _read_image(path: Path, spec: TensorSpec) -> tuple[np.ndarray, str]:
    """Load an image as uint8 of the trunk's height, width and channels."""
    shape = spec.shape[1:]
    if len(shape) != 3 or shape[2] not in _IMAGE_MODES:
        raise SampleError(
            f"`--input` must be a .npy file for this trunk, whose input of {_shape_text(shape)} no "
            f"image can fill, received '{path}'. Save the features with numpy.save."
        )
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise SampleError(
            f"`--input` '{path}' needs Pillow, which is not installed. Run `pip install Pillow`, "
            "or give a .npy file."
        ) from error
    try:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened)
            size, mode = image.size, image.mode
            image = image.convert(_IMAGE_MODES[shape[2]])
            image = image.resize((shape[1], shape[0]), Image.Resampling.BILINEAR)
            pixels = np.asarray(image, np.uint8)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise SampleError(
            f"`--input` must be a .npy file or an image, '{path}' cannot be read: {error}. "
            "Open it in an image viewer to see whether it is whole."
        ) from error
    done = f"{path.name}, image of {size[1]}x{size[0]} {mode} as {_shape_text(shape)}"
    return pixels.reshape(shape), done


def _with_batch(array: np.ndarray, spec: TensorSpec, path: Path) -> np.ndarray:
    """Bring the array to shape `(n, *input)`; axes of length 1 at the end may be missing."""
    shape = spec.shape[1:]
    accepted = [shape, shape[:-1]] if shape[-1:] == (1,) else [shape]
    for form in accepted:
        if array.shape == form or (array.ndim == len(form) + 1 and array.shape[1:] == form):
            if not array.size:
                break
            return array.reshape(-1, *shape)
    raise SampleError(
        f"`--input` must have shape {_shape_text(shape)} or nx{_shape_text(shape)}, '{path}' has "
        f"{_shape_text(array.shape)}. Resample it as it was done for the training data."
    )


def _saturation(samples: np.ndarray, spec: TensorSpec) -> str:
    """Say so when much of the input lies beyond what the trunk was calibrated for."""
    slack = spec.scale
    beyond = (samples > spec.highest_value + slack) | (samples < spec.lowest_value - slack)
    if beyond.mean() < 0.01:
        return ""
    return (
        f"; {100 * beyond.mean():.0f}% of the values lie outside {spec.lowest_value:.4g} to "
        f"{spec.highest_value:.4g}, for which the trunk was calibrated: is the normalization right?"
    )


def _formula(normalization: InputNormalization) -> str:
    """Such as "raw * 1/255 - 0.5"; what changes nothing is left out."""
    scale, offset = normalization.scale, normalization.offset
    divisor = round(1 / scale, 4)
    factor = f"1/{divisor:g}" if 0 < scale < 1 and divisor == int(divisor) else f"{scale:.6g}"
    text = "raw values" if scale == 1 else f"raw * {factor}"
    return f"{text} {'-' if offset < 0 else '+'} {abs(offset):.6g}" if offset else text


def _shape_text(shape: tuple[int, ...]) -> str:
    """Such as 28x28x1; "one number" for a scalar."""
    return "x".join(map(str, shape)) or "one number"
