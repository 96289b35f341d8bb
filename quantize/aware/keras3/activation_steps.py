"""The steps of activation functions, as the converter splits them into operators.

Belongs here: the table by function. Does not belong here: layers (`layer_steps.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from quantize.tensor_spec import TensorSpec

if TYPE_CHECKING:
    from quantize.aware.keras3.building import Builder

# The scales that the operators of these functions always have (TensorFlow Lite 8-bit quantization
# specification, https://ai.google.dev/edge/litert/models/quantization_spec).
UNIT = TensorSpec((1,), "int8", 1 / 256, -128)
SYMMETRIC_UNIT = TensorSpec((1,), "int8", 1 / 128, 0)
LOG_UNIT = TensorSpec((1,), "int8", 16 / 256, 127)

FIXED: dict[str, TensorSpec] = {
    "sigmoid": UNIT,
    "softmax": UNIT,
    "tanh": SYMMETRIC_UNIT,
    "log_softmax": LOG_UNIT,
}
"""Activations whose output codes are always the same, by their names in `keras.activations`."""


def activate(builder: Builder, function: Any, source: int) -> int:
    """Add the steps of an activation function.

    Args:
        builder: The node's builder.
        function: A function of `keras.activations`, a callable of the user's, or None.
        source: The step that it reads.

    Returns:
        Number of the last of its steps.
    """
    name = getattr(function, "__name__", "")
    if function is None or function is keras.activations.linear:
        return source
    if function is not getattr(keras.activations, name, None):
        return builder.add((source,), _calling(function), "own")
    if name in FIXED:
        return builder.add((source,), _calling(function), "own", FIXED[name])
    return _SPLIT.get(name, _own)(builder, function, source)


def is_plain_relu(layer: Any) -> bool:
    """Whether a ReLU layer is the operator RELU or RELU6."""
    return (
        layer.max_value in (None, 6) and not float(layer.negative_slope)
        and not float(layer.threshold)
    )  # fmt: skip


def _calling(function: Any) -> Callable[..., tf.Tensor]:
    return lambda call, x: function(x)


def _own(builder: Builder, function: Any, source: int) -> int:
    return builder.add((source,), _calling(function), "own")


def _relu(builder: Builder, function: Any, source: int) -> int:
    return builder.add((source,), _calling(function), "relu")


def _silu(builder: Builder, function: Any, source: int) -> int:
    gate = builder.add((source,), lambda call, x: tf.sigmoid(x), "own", UNIT)
    return builder.add((source, gate), lambda call, x, g: x * g, "arithmetic")


def _hard_sigmoid(builder: Builder, function: Any, source: int) -> int:
    # The addition of 3 goes into a bias before it.
    clipped = builder.add((source,), lambda call, x: tf.nn.relu6(x + 3.0), "relu")
    return builder.add((clipped,), lambda call, x: x * (1 / 6), "arithmetic")


def _tanh_shrink(builder: Builder, function: Any, source: int) -> int:
    tanh = builder.add((source,), lambda call, x: tf.tanh(x), "own", SYMMETRIC_UNIT)
    return builder.add((source, tanh), lambda call, x, t: x - t, "arithmetic")


_SPLIT: dict[str, Callable[[Builder, Any, int], int]] = {
    "relu": _relu,
    "relu6": _relu,
    "silu": _silu,
    "hard_sigmoid": _hard_sigmoid,
    "tanh_shrink": _tanh_shrink,
}
