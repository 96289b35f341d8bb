"""Which Keras 3 layers have an equal form in tf_keras, as a table, and what to use for others.

Every row's clone was compared with its original (tests/quantize/aware/tfmot/test_layer_table.py).
An option of Keras 3 that is neither taken over nor known to change nothing is refused, so an option
that a later Keras adds cannot be lost. Initializers, regularizers and seeds change no output: they
are left out, so weight decay by a regularizer does not go on in aware training. Constraints would
be broken by training, and are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from quantize.aware.tfmot import layer_rules as rules
from quantize.aware.tfmot.layer_rules import Parts, Rule, UnequalError


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
    parts = (
        row.rule(layer, options)
        if row.rule
        else rules.single_part(kind, row.weights, layer, options)
    )
    if kind != "Activation" and callable(getattr(layer, "activation", None)):
        parts += rules.activation_parts(layer.activation, len(parts))
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
    "SeparableConv1D": Row(_SEPARABLE, _LAST, rule=rules.separable(1)),
    "SeparableConv2D": Row(_SEPARABLE, _LAST, rule=rules.separable(2)),
    "Dense": Row(("units", "use_bias"), _DENSE, ("kernel", "bias")),
    "BatchNormalization": Row(
        ("axis", "momentum", "epsilon", "center", "scale"),
        {
            "synchronized": (False,),
            "renorm": (False,),
            "renorm_clipping": (None,),
            "renorm_momentum": (0.99,),
        },
        rule=rules.batch_normalization,
    ),
    "Normalization": Row(("axis", "invert", "mean", "variance"), rule=rules.normalization),
    "Rescaling": Row(("scale", "offset"), rule=rules.rescaling),
    "Activation": Row(rule=rules.activation_layer),
    "ReLU": Row(("max_value", "negative_slope", "threshold"), rule=rules.relu),
    "LeakyReLU": Row(("negative_slope",), rule=rules.leaky_relu),
    "PReLU": Row(("shared_axes",), rule=rules.prelu),
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
    "UpSampling2D": Row(("size", "interpolation"), _LAST, rule=rules.resizing("UpSampling2D")),
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
        rule=rules.resizing("Resizing"),
    ),
    "Flatten": Row((), _LAST),
    "Reshape": Row(("target_shape",)),
    "Permute": Row(("dims",)),
    "Identity": Row(rule=rules.nothing),
    "ActivityRegularization": Row((), {"l1": (0.0,), "l2": (0.0,)}, rule=rules.nothing),
    "Dropout": Row(("rate",), {"noise_shape": (None,)}, rule=rules.random("Dropout", "rate")),
    "SpatialDropout1D": Row(("rate",), rule=rules.random("SpatialDropout1D", "rate")),
    "SpatialDropout2D": Row(("rate",), _LAST, rule=rules.random("SpatialDropout2D", "rate")),
    "GaussianDropout": Row(("rate",), rule=rules.random("GaussianDropout", "rate")),
    "GaussianNoise": Row(("stddev",), rule=rules.random("GaussianNoise", "stddev")),
    "AlphaDropout": Row(
        ("rate",), {"noise_shape": (None,)}, rule=rules.random("AlphaDropout", "rate")
    ),
}
"""Keras 3 class to its equal form."""

_UNKNOWN = (
    "it is a layer that the backend 'tfmot' does not know",
    "layers of the table in quantize/aware/tfmot/layer_table.py (or, where it has no weights, the "
    "backend 'keras')",
)
_RECURRENT = (
    "tf_keras has another recurrent cell",
    "`keras.layers.Conv1D`",
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
