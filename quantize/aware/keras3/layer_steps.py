"""The steps of layers, as the converter makes operators of them: the table of what is supported.

Belongs here: one row per class of `keras.layers`, and per operation of `keras.ops`. Does not belong
here: activation functions (`activation_steps.py`), the walk through a model (`building.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf
from keras import layers, ops

from quantize.aware.keras3.activation_steps import FIXED, activate, is_plain_relu
from quantize.aware.keras3.kernel_steps import conv, conv_transpose, dense, depthwise, separable
from quantize.aware.keras3.normalization_steps import batch_norm
from quantize.aware.keras3.program import Rule

if TYPE_CHECKING:
    from quantize.aware.keras3.building import Builder

Steps = Callable[["Builder", Any, tuple[int, ...]], int]
"""Adds the steps of a call to a builder, given the numbers of its inputs; returns the last."""


def plain(rule: Rule) -> Steps:
    """Return what makes one step of a call that is computed as it is."""

    def add(builder: Builder, call: Any, inputs: tuple[int, ...]) -> int:
        fixed = FIXED.get(type(call.operation).__name__.lower())
        return builder.add(inputs, calling(call, call.operation), rule, fixed)

    return add


def calling(call: Any, operation: Any) -> Callable[..., Any]:
    """Return a function that repeats a call with other tensors; it changes no variable."""

    def compute(run: Any, *values: tf.Tensor) -> Any:
        made = dict(zip(map(id, call.input_tensors), values, strict=True))
        args, kwargs = call.arguments.fill_in(made)
        with keras.StatelessScope():
            return operation(*args, **kwargs)

    return compute


def outputs_of(builder: Builder, call: Any, inputs: tuple[int, ...]) -> list[int]:
    """Add the steps of a call that the table lacks: each of its outputs has a range of its own."""
    if len(call.output_tensors) == 1:
        return [plain("own")(builder, call, inputs)]
    compute = calling(call, call.operation)
    every = builder.add(inputs, lambda run, *x: keras.tree.flatten(compute(run, *x)), "none")
    return [
        builder.add((every,), lambda run, x, index=index: x[index], "own")
        for index in range(len(call.output_tensors))
    ]


def _silent(builder: Builder, call: Any, inputs: tuple[int, ...]) -> int:
    """Dropout and noise: active in training, with a random state of their own."""
    layer = call.operation
    config = layer.get_config()
    if "seed" in config:
        config["seed"] = builder.recipe.seed + len(builder.steps)
    copy = type(layer).from_config(config)
    return builder.add(inputs, lambda run, x: copy(x, training=run.training), "silent")


def _activation(builder: Builder, call: Any, inputs: tuple[int, ...]) -> int:
    return activate(builder, call.operation.activation, inputs[0])


def _relu(builder: Builder, call: Any, inputs: tuple[int, ...]) -> int:
    rule: Rule = "relu" if is_plain_relu(call.operation) else "own"
    return plain(rule)(builder, call, inputs)


def _prelu(builder: Builder, call: Any, inputs: tuple[int, ...]) -> int:
    alpha = call.operation.alpha
    builder.weight(alpha)

    def compute(run: Any, x: tf.Tensor) -> tf.Tensor:
        return tf.nn.relu(x) - run.constant(run.value(alpha)) * tf.nn.relu(-x)

    return builder.add(inputs, compute, "own")


def _chain(
    operator: Callable[[tf.Tensor, tf.Tensor], tf.Tensor], rule: Rule = "arithmetic"
) -> Steps:
    """Return what merges tensors two by two, from the first on."""

    def add(builder: Builder, call: Any, inputs: tuple[int, ...]) -> int:
        last = inputs[0]
        for other in inputs[1:]:
            last = builder.add((last, other), lambda run, a, b: operator(a, b), rule)
        return last

    return add


def _average(builder: Builder, call: Any, inputs: tuple[int, ...]) -> int:
    total = _chain(ops.add)(builder, call, inputs)
    return builder.add((total,), lambda run, x: x / len(inputs), "arithmetic")


def _upsampling(builder: Builder, call: Any, inputs: tuple[int, ...]) -> int:
    nearest = getattr(call.operation, "interpolation", "nearest") == "nearest"
    return plain("tied" if nearest else "rounded")(builder, call, inputs)


def _merge_or_constant(steps: Steps) -> Steps:
    """Return the steps of `keras.ops.add` or its like; a constant is fused as a bias is."""

    def add(builder: Builder, call: Any, inputs: tuple[int, ...]) -> int:
        chosen = steps if len(inputs) > 1 else plain("batch_norm")
        return chosen(builder, call, inputs)

    return add


_HANDED_ON = (
    layers.Flatten, layers.Reshape, layers.Permute, layers.Cropping1D, layers.Cropping2D,
    layers.ZeroPadding1D, layers.ZeroPadding2D, layers.Concatenate, layers.Maximum,
    layers.Minimum, layers.RepeatVector,
)  # fmt: skip
_NOISE = (
    layers.Dropout, layers.SpatialDropout1D, layers.SpatialDropout2D, layers.AlphaDropout,
    layers.GaussianDropout, layers.GaussianNoise, layers.Identity, layers.ActivityRegularization,
)  # fmt: skip
_OWN = (
    layers.GlobalAveragePooling1D, layers.GlobalAveragePooling2D, layers.LeakyReLU, layers.ELU,
    layers.Softmax, layers.Normalization, layers.Dot,
)  # fmt: skip

LAYERS: dict[type, Steps] = {
    layers.Conv1D: conv,
    layers.Conv2D: conv,
    layers.DepthwiseConv1D: depthwise,
    layers.DepthwiseConv2D: depthwise,
    layers.SeparableConv1D: separable,
    layers.SeparableConv2D: separable,
    layers.Conv2DTranspose: conv_transpose,
    layers.Dense: dense,
    layers.BatchNormalization: batch_norm,
    layers.PReLU: _prelu,
    layers.Activation: _activation,
    layers.ReLU: _relu,
    layers.Rescaling: plain("batch_norm"),
    layers.Add: _chain(ops.add),
    layers.Subtract: _chain(ops.subtract),
    layers.Multiply: _chain(ops.multiply),
    layers.Average: _average,
    layers.MaxPooling1D: plain("pool"),
    layers.MaxPooling2D: plain("pool"),
    layers.GlobalMaxPooling1D: plain("tied"),
    layers.GlobalMaxPooling2D: plain("tied"),
    layers.AveragePooling1D: plain("mean_pool"),
    layers.AveragePooling2D: plain("mean_pool"),
    layers.Resizing: plain("rounded"),
    layers.UpSampling1D: _upsampling,
    layers.UpSampling2D: _upsampling,
    **dict.fromkeys(_HANDED_ON, plain("tied")),
    **dict.fromkeys(_NOISE, _silent),
    **dict.fromkeys(_OWN, plain("own")),
}
"""What becomes of a layer, by its exact class: a subclass may compute something else."""

_HANDING_ON = ("Reshape", "Transpose", "Concatenate", "GetItem", "ExpandDims", "Squeeze", "Pad")

OPERATIONS: dict[str, Steps] = {
    "Add": _merge_or_constant(_chain(ops.add)),
    "Subtract": _merge_or_constant(_chain(ops.subtract)),
    "Multiply": _merge_or_constant(_chain(ops.multiply)),
    "Relu": plain("relu"),
    "Relu6": plain("relu"),
    "Sigmoid": plain("own"),
    "Tanh": plain("own"),
    "Softmax": plain("own"),
    **dict.fromkeys(_HANDING_ON, plain("tied")),
}
"""Likewise the operations of `keras.ops`, by the name of their class; all others are "own"."""


def advice(operation: Any) -> str:
    """Return what to use instead of a layer with weights that the table lacks."""
    bases = [base.__name__ for base in LAYERS if isinstance(operation, base)]
    if bases:
        return f"Use `keras.layers.{bases[0]}` itself, or leave the node out of `nodes`."
    trainable = [
        kind.__name__
        for kind, steps in LAYERS.items()
        if steps in (conv, depthwise, separable, conv_transpose, dense, batch_norm)
    ]
    return f"Use one of {', '.join(trainable)}, or leave the node out of `nodes`."
