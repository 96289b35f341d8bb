"""Which Keras 3 layers have an equal form in tf_keras, as a table, and what to use for others.

Every row's clone was compared with its original (tests/quantize/aware/tfmot/test_layer_table.py).
An option of Keras 3 that is neither taken over nor known to change nothing is refused, so an option
that a later Keras adds cannot be lost. Initializers, regularizers and seeds change no output: they
are left out, so weight decay by a regularizer does not go on in aware training. Constraints would
be broken by training, and are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from quantize.aware.tfmot.parts import Part

Parts = tuple[Part, ...]
Rule = Callable[[Any, dict[str, Any]], Parts]


class UnequalError(Exception):
    """A layer without an equal form; `why`, and what to use `instead`."""

    def __init__(self, why: str, instead: str) -> None:
        super().__init__(why)
        self.why, self.instead = why, instead


@dataclass(frozen=True)
class Row:
    """A layer class with an equal form.

    Args:
        options: Options that are taken over under their names.
        required: Options that tf_keras lacks or that are not for it, by the values they may have.
        weights: Attributes of the weights; "bias" only where the layer has one.
        rule: Makes the parts from the layer and the options; by default one part of the same class.
    """

    options: tuple[str, ...] = ()
    required: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    weights: tuple[str, ...] = ()
    rule: Rule | None = None


def parts_of(layer: Any) -> Parts:
    """Return what a Keras 3 layer becomes.

    Raises:
        UnequalError: It has no equal form.
    """
    import keras

    kind = type(layer).__name__
    if kind not in LAYERS or type(layer) is not getattr(keras.layers, kind, None):
        why, instead = REFUSED.get(kind, _UNKNOWN)
        raise UnequalError(why, instead)
    if layer.quantization_mode is not None or getattr(layer, "lora_enabled", False):
        raise UnequalError("it was quantized or given LoRA weights by Keras", "the plain layer")
    if (layer.compute_dtype, layer.variable_dtype) != ("float32", "float32"):
        raise UnequalError(f"it computes in {layer.compute_dtype}", "the dtype policy 'float32'")
    row, config = LAYERS[kind], layer.get_config()
    options = _options(row, config)
    parts = row.rule(layer, options) if row.rule else _single(row, kind, layer, options)
    if kind != "Activation" and callable(getattr(layer, "activation", None)):
        parts += _activation(layer.activation, len(parts))
    return parts


def _options(row: Row, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that are taken over, once all the others are known to change nothing."""
    taken = {}
    for option, value in config.items():
        if option in row.options:
            taken[option] = value
        elif option in row.required or option.endswith("_constraint"):
            allowed = row.required.get(option, (None,))
            if value not in allowed:
                raise UnequalError(f"its `{option}` is {value!r}", f"`{option}={allowed[0]!r}`")
        elif option not in _WITHOUT_EFFECT and not option.endswith(_WITHOUT_EFFECT_ENDINGS):
            raise UnequalError(f"its option `{option}` is not known here", "a layer without it")
    return taken


def _single(row: Row, kind: str, layer: Any, options: dict[str, Any]) -> Parts:
    has_bias = getattr(layer, "use_bias", True)
    weights = tuple(name for name in row.weights if name != "bias" or has_bias)
    return (Part(kind, options, weights),)


def _activation(function: Any, before: int) -> Parts:
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


def _of_activation(layer: Any, options: dict[str, Any]) -> Parts:
    return _activation(layer.activation, 0) or (_NOTHING,)


def _nothing(layer: Any, options: dict[str, Any]) -> Parts:
    return (_NOTHING,)


def _separable(dimensions: int) -> Rule:
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


def _batch_normalization(layer: Any, options: dict[str, Any]) -> Parts:
    kept = {"gamma": options["scale"], "beta": options["center"]}
    names = tuple(name for name, has in kept.items() if has)
    return (Part("BatchNormalization", options, (*names, "moving_mean", "moving_variance")),)


def _leaky_relu(layer: Any, options: dict[str, Any]) -> Parts:
    return (Part("LeakyReLU", {"alpha": options["negative_slope"]}),)


def _relu(layer: Any, options: dict[str, Any]) -> Parts:
    changed = {"max_value": None, "negative_slope": 0.0, "threshold": 0.0}
    return (Part("ReLU", {n: v for n, v in options.items() if v != changed[n]}),)


def _prelu(layer: Any, options: dict[str, Any]) -> Parts:
    return (Part("PReLU", options, ("alpha",)),)


def _normalization(layer: Any, options: dict[str, Any]) -> Parts:
    # The statistics are never trained: they are constants of the clone, and its `weights` none.
    values = {name: np.asarray(getattr(layer, name)) for name in ("mean", "variance")}
    return (Part("Normalization", {**options, **values}),)


def _random(kind: str, *names: str) -> Rule:
    """Return the rule of a layer that computes nothing in inference mode."""

    def rule(layer: Any, options: dict[str, Any]) -> Parts:
        return (Part(kind, {name: options[name] for name in names}),)

    return rule


def _resizing(kind: str) -> Rule:
    """Return the rule of a layer whose interpolation must be one that a device has."""

    def rule(layer: Any, options: dict[str, Any]) -> Parts:
        if options["interpolation"] not in ("nearest", "bilinear"):
            raise UnequalError(
                f"its `interpolation` is {options['interpolation']!r}", "'nearest' or 'bilinear'"
            )
        return (Part(kind, options),)

    return rule


_NOTHING = Part("Activation", {"activation": "linear"})
_WITHOUT_EFFECT = {"name", "trainable", "dtype", "seed", "activation"}
_WITHOUT_EFFECT_ENDINGS = ("_initializer", "_regularizer")
_LAST = {"data_format": ("channels_last", None)}
_DENSE = {"lora_rank": (None,), "lora_alpha": (None,), "quantization_config": (None,)}
_CONV = ("filters", "kernel_size", "strides", "padding", "dilation_rate", "groups", "use_bias")
_DEPTHWISE = (
    "kernel_size", "strides", "padding", "depth_multiplier", "dilation_rate", "use_bias",
)  # fmt: skip
_SEPARABLE = ("filters", *_DEPTHWISE)
_POOL = ("pool_size", "strides", "padding")

LAYERS: dict[str, Row] = {
    "Conv1D": Row(_CONV, _LAST, ("kernel", "bias")),
    "Conv2D": Row(_CONV, _LAST, ("kernel", "bias")),
    "Conv2DTranspose": Row(
        ("filters", "kernel_size", "strides", "padding", "output_padding", "use_bias"),
        {**_LAST, "dilation_rate": ((1, 1),), "groups": (1,)},
        ("kernel", "bias"),
    ),
    "DepthwiseConv1D": Row(_DEPTHWISE, _LAST, ("depthwise_kernel", "bias")),
    "DepthwiseConv2D": Row(_DEPTHWISE, _LAST, ("depthwise_kernel", "bias")),
    "SeparableConv1D": Row(_SEPARABLE, _LAST, rule=_separable(1)),
    "SeparableConv2D": Row(_SEPARABLE, _LAST, rule=_separable(2)),
    "Dense": Row(("units", "use_bias"), _DENSE, ("kernel", "bias")),
    "BatchNormalization": Row(
        ("axis", "momentum", "epsilon", "center", "scale"),
        {
            "synchronized": (False,),
            "renorm": (False,),
            "renorm_clipping": (None,),
            "renorm_momentum": (0.99,),
        },
        rule=_batch_normalization,
    ),
    "Normalization": Row(("axis", "invert", "mean", "variance"), rule=_normalization),
    "Rescaling": Row(("scale", "offset")),
    "Activation": Row(rule=_of_activation),
    "ReLU": Row(("max_value", "negative_slope", "threshold"), rule=_relu),
    "LeakyReLU": Row(("negative_slope",), rule=_leaky_relu),
    "PReLU": Row(("shared_axes",), rule=_prelu),
    "Softmax": Row(("axis",)),
    "Add": Row(),
    "Subtract": Row(),
    "Multiply": Row(),
    "Average": Row(),
    "Maximum": Row(),
    "Minimum": Row(),
    "Concatenate": Row(("axis",)),
    "MaxPooling1D": Row(_POOL, _LAST),
    "MaxPooling2D": Row(_POOL, _LAST),
    "AveragePooling1D": Row(_POOL, _LAST),
    "AveragePooling2D": Row(_POOL, _LAST),
    "GlobalMaxPooling1D": Row(("keepdims",), _LAST),
    "GlobalMaxPooling2D": Row(("keepdims",), _LAST),
    "GlobalAveragePooling1D": Row(("keepdims",), _LAST),
    "GlobalAveragePooling2D": Row(("keepdims",), _LAST),
    "ZeroPadding1D": Row(("padding",), _LAST),
    "ZeroPadding2D": Row(("padding",), _LAST),
    "Cropping1D": Row(("cropping",)),
    "Cropping2D": Row(("cropping",), _LAST),
    "UpSampling2D": Row(("size", "interpolation"), _LAST, rule=_resizing("UpSampling2D")),
    "Resizing": Row(
        ("height", "width", "interpolation"),
        {
            **_LAST,
            "crop_to_aspect_ratio": (False,),
            "pad_to_aspect_ratio": (False,),
            "fill_mode": ("constant",),
            "fill_value": (0.0,),
            "antialias": (False,),
        },
        rule=_resizing("Resizing"),
    ),
    "Flatten": Row((), _LAST),
    "Reshape": Row(("target_shape",)),
    "Permute": Row(("dims",)),
    "Identity": Row(rule=_nothing),
    "ActivityRegularization": Row((), {"l1": (0.0,), "l2": (0.0,)}, rule=_nothing),
    "Dropout": Row(("rate",), {"noise_shape": (None,)}, rule=_random("Dropout", "rate")),
    "SpatialDropout1D": Row(("rate",), rule=_random("SpatialDropout1D", "rate")),
    "SpatialDropout2D": Row(("rate",), _LAST, rule=_random("SpatialDropout2D", "rate")),
    "GaussianDropout": Row(("rate",), rule=_random("GaussianDropout", "rate")),
    "GaussianNoise": Row(("stddev",), rule=_random("GaussianNoise", "stddev")),
    "AlphaDropout": Row(("rate",), {"noise_shape": (None,)}, rule=_random("AlphaDropout", "rate")),
}
"""Keras 3 class to its equal form."""

ACTIVATIONS: dict[str, Parts] = {
    "linear": (),
    "relu": (Part("ReLU"),),
    "relu6": (Part("ReLU", {"max_value": 6.0}),),
    "sigmoid": (Part("Activation", {"activation": "sigmoid"}),),
    "tanh": (Part("Activation", {"activation": "tanh"}),),
    "softmax": (Part("Activation", {"activation": "softmax"}),),
    "silu": (),
}
"""Activation functions to what stands for them; of "silu" see `_activation`."""

REFUSED_ACTIVATIONS = {
    "hard_sigmoid": "the activation 'sigmoid': tf_keras has another formula under that name",
    "hard_silu": "the activation 'silu' (also called 'swish')",
    "leaky_relu": "the layer `keras.layers.LeakyReLU`",
    "mish": "the activation 'silu'",
    "gelu": "the activation 'silu'",
    "elu": "the activation 'relu' or the layer `keras.layers.LeakyReLU`",
}
"""Activation to what is used instead."""

_UNKNOWN = (
    "it is a layer that the backend 'tfmot' does not know",
    "layers of the table in quantize/aware/tfmot/layer_table.py, or the backend 'keras'",
)
_RECURRENT = (
    "tf_keras has another recurrent cell",
    "`keras.layers.Conv1D`, or the backend 'keras'",
)
_WRAPPER = ("a wrapper's inner layer cannot be quantized", "the inner layer itself")
_NORMALIZATION = (
    "part of it stays in float32 on TensorFlow Lite Micro",
    "`keras.layers.BatchNormalization`",
)
REFUSED: dict[str, tuple[str, str]] = {
    **dict.fromkeys(("LSTM", "GRU", "SimpleRNN", "RNN", "ConvLSTM2D"), _RECURRENT),
    **dict.fromkeys(("TimeDistributed", "Bidirectional", "SpectralNormalization"), _WRAPPER),
    **dict.fromkeys(
        ("LayerNormalization", "GroupNormalization", "UnitNormalization", "RMSNormalization"),
        _NORMALIZATION,
    ),
    "Lambda": ("its Python code cannot be quantized", "layers of Keras that compute the same"),
    "ELU": ("it stays in float32 on TensorFlow Lite Micro", "`keras.layers.LeakyReLU`"),
    "UpSampling1D": ("TensorFlow Lite Micro lacks TILE", "`keras.layers.Resizing`"),
    "RepeatVector": ("TensorFlow Lite Micro lacks TILE", "`keras.layers.Concatenate`"),
}
"""Class to why it has no equal form and what is used instead; of all others, `_UNKNOWN`."""
