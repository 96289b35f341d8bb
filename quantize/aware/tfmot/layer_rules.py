"""How one Keras 3 layer becomes its parts: the rules that the rows of `layer_table.py` name.

Belongs here: what an option of Keras 3 is in tf_keras, and activations. Does not belong here: which
layers there are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from quantize.aware.tfmot.parts import Part

Parts = tuple[Part, ...]
Rule = Callable[[Any, dict[str, Any]], Parts]

_NOTHING = Part("Activation", {"activation": "linear"})

ACTIVATIONS: dict[str, Parts] = {
    "linear": (),
    "relu": (Part("ReLU"),),
    "relu6": (Part("ReLU", {"max_value": 6.0}),),
    "sigmoid": (Part("Activation", {"activation": "sigmoid"}),),
    "tanh": (Part("Activation", {"activation": "tanh"}),),
    "softmax": (Part("Activation", {"activation": "softmax"}),),
    "silu": (),
}
"""Activation functions to what stands for them; of "silu" see `activation_parts`."""

REFUSED_ACTIVATIONS = {
    "hard_sigmoid": "the activation 'sigmoid': tf_keras has another formula under that name",
    "hard_silu": "the activation 'silu' (also called 'swish')",
    "leaky_relu": "the layer `keras.layers.LeakyReLU`",
    "mish": "the activation 'silu'",
    "gelu": "the activation 'silu'",
    "elu": "the activation 'relu' or the layer `keras.layers.LeakyReLU`",
}
"""Activation to what is used instead."""


class UnequalError(Exception):
    """A layer without an equal form; `why`, and what to use `instead`."""

    def __init__(self, why: str, instead: str) -> None:
        super().__init__(why)
        self.why, self.instead = why, instead


def single_part(kind: str, weights: tuple[str, ...], layer: Any, options: dict[str, Any]) -> Parts:
    """Return one part of the same class, without a bias where the layer has none."""
    has_bias = getattr(layer, "use_bias", True)
    held = tuple(name for name in weights if name != "bias" or has_bias)
    return (Part(kind, options, held),)


def activation_parts(function: Any, before: int) -> Parts:
    """Return the parts of an activation that follows `before` parts of the same layer."""
    import keras

    name = next((n for n in ACTIVATIONS if function is keras.activations.get(n)), None)
    if name is None:
        shown = getattr(function, "__name__", type(function).__name__)
        instead = REFUSED_ACTIVATIONS.get(shown, "the activation 'relu'")
        raise UnequalError(f"its activation '{shown}' has no equal form in tf_keras", instead)
    if name == "silu":  # as the device computes it: a sigmoid, and a product
        sigmoid = Part("Activation", {"activation": "sigmoid"}, takes=(before,))
        return (sigmoid, Part("Multiply", takes=(before, before + 1)))
    return ACTIVATIONS[name]


def activation_layer(layer: Any, options: dict[str, Any]) -> Parts:
    """Return the parts of the layer `Activation`."""
    return activation_parts(layer.activation, 0) or (_NOTHING,)


def nothing(layer: Any, options: dict[str, Any]) -> Parts:
    """Return a part that computes nothing."""
    return (_NOTHING,)


def separable(dimensions: int) -> Rule:
    """Return the rule of a separable convolution: as on a device, a depthwise one and another."""

    def rule(layer: Any, options: dict[str, Any]) -> Parts:
        ones = (1,) * dimensions
        depthwise = {
            name: options[name]
            for name in ("kernel_size", "strides", "padding", "dilation_rate", "depth_multiplier")
        }
        pointwise = {"filters": options["filters"], "kernel_size": ones}
        bias = ("bias",) if options["use_bias"] else ()
        return (
            Part(
                f"DepthwiseConv{dimensions}D",
                {**depthwise, "use_bias": False},
                ("depthwise_kernel",),
            ),
            Part(
                f"Conv{dimensions}D",
                {**pointwise, "use_bias": options["use_bias"]},
                ("kernel", *bias),
            ),
        )

    return rule


def batch_normalization(layer: Any, options: dict[str, Any]) -> Parts:
    """Return a batch normalization with the weights that it has."""
    kept = {"gamma": options["scale"], "beta": options["center"]}
    names = tuple(name for name, has in kept.items() if has)
    return (Part("BatchNormalization", options, (*names, "moving_mean", "moving_variance")),)


def leaky_relu(layer: Any, options: dict[str, Any]) -> Parts:
    """Return a leaky ReLU; its slope has another name."""
    return (Part("LeakyReLU", {"alpha": options["negative_slope"]}),)


def relu(layer: Any, options: dict[str, Any]) -> Parts:
    """Return a ReLU with the options that change it."""
    changed = {"max_value": None, "negative_slope": 0.0, "threshold": 0.0}
    return (Part("ReLU", {n: v for n, v in options.items() if v != changed[n]}),)


def prelu(layer: Any, options: dict[str, Any]) -> Parts:
    """Return a PReLU."""
    return (Part("PReLU", options, ("alpha",)),)


def normalization(layer: Any, options: dict[str, Any]) -> Parts:
    """Return a normalization by constants."""
    # The statistics are never trained: they are constants of the clone, and its `weights` none.
    mean, variance = (np.asarray(getattr(layer, name)) for name in ("mean", "variance"))
    if options["invert"]:
        return (Part("Normalization", {**options, "mean": mean, "variance": variance}),)
    # As on a device: a difference, and a product.
    return (
        Part("Normalization", {**options, "mean": mean, "variance": np.ones_like(variance)}),
        Part("Normalization", {**options, "mean": np.zeros_like(mean), "variance": variance}),
    )


def rescaling(layer: Any, options: dict[str, Any]) -> Parts:
    """Return a factor, and a summand where there is one, as on a device."""
    scale, offset = options["scale"], options["offset"]
    if not np.any(offset) or np.all(np.equal(scale, 1)):
        return (Part("Rescaling", options),)
    return (
        Part("Rescaling", {"scale": scale, "offset": 0.0}),
        Part("Rescaling", {"scale": 1.0, "offset": offset}),
    )


def random(kind: str, *names: str) -> Rule:
    """Return the rule of a layer that computes nothing in inference mode."""

    def rule(layer: Any, options: dict[str, Any]) -> Parts:
        return (Part(kind, {name: options[name] for name in names}),)

    return rule


def resizing(kind: str) -> Rule:
    """Return the rule of a layer whose interpolation must be one that a device has."""

    def rule(layer: Any, options: dict[str, Any]) -> Parts:
        if options["interpolation"] not in ("nearest", "bilinear"):
            raise UnequalError(
                f"its `interpolation` is {options['interpolation']!r}", "'nearest' or 'bilinear'"
            )
        return (Part(kind, options),)

    return rule
