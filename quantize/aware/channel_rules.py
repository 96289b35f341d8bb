"""What every kind of layer does to the channels of its input: the tables.

Belongs here: kinds of layers and operations by name, and the rule of each. Does not belong here:
the walk through a node (`channel_tracing.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from quantize.aware.channel_tracing import Tracing

Array = np.ndarray
Rule = Callable[["Tracing", Any, "list[Array]"], "Array | None"]

# Layers whose filters make new channels, and the axis of the kernel along which the filters lie.
FILTER_AXIS = {
    "Conv1D": -1, "Conv2D": -1, "Conv3D": -1, "Dense": -1,
    "Conv1DTranspose": -2, "Conv2DTranspose": -2, "Conv3DTranspose": -2,
    "SeparableConv1D": -1, "SeparableConv2D": -1,
}  # fmt: skip
_SIZES = ("1D", "2D", "3D")
# Layers that treat every channel by itself and alike.
PASSING = {
    "Activation", "ActivityRegularization", "AlphaDropout", "Dropout", "ELU", "GaussianDropout",
    "GaussianNoise", "Identity", "LeakyReLU", "ReLU", "Rescaling",
    *(f"{kind}{size}" for size in _SIZES for kind in (
        "AveragePooling", "Cropping", "GlobalAveragePooling", "GlobalMaxPooling", "MaxPooling",
        "SpatialDropout", "UpSampling", "ZeroPadding")),
}  # fmt: skip
_ACTIVATIONS = {
    "elu", "exponential", "gelu", "hard_sigmoid", "hard_silu", "hard_tanh", "leaky_relu", "linear",
    "mish", "relu", "relu6", "selu", "sigmoid", "silu", "softplus", "softsign", "tanh",
}  # fmt: skip
MERGING = {"Add", "Average", "Maximum", "Minimum", "Multiply", "Subtract"}
# Operations of `keras.ops` and of Python's operators, by the names of their classes.
PASSING_OPERATIONS = {
    "Absolute", "Elu", "Gelu", "HardSigmoid", "HardSilu", "HardTanh", "LeakyRelu", "Negative",
    "Relu", "Relu6", "Selu", "Sigmoid", "Silu", "Softplus", "Softsign", "Square", "Tanh",
}  # fmt: skip
MERGING_OPERATIONS = {"Add", "Maximum", "Minimum", "Multiply", "Subtract"}


def passes(layer: Any) -> bool:
    """Return whether a layer of the passing kinds treats every channel alike."""
    if hasattr(layer, "activation"):
        return _is_plain(layer.activation)
    if (getattr(layer, "noise_shape", None) or (None,))[-1] not in (None, 1):
        return False  # so many numbers are drawn per place
    return np.ndim(getattr(layer, "scale", 1)) == 0 and np.ndim(getattr(layer, "offset", 0)) == 0


def _is_plain(activation: Any) -> bool:
    """Return whether an activation works on every element by itself, as a softmax does not."""
    module = str(getattr(activation, "__module__", ""))
    return module.startswith("keras.") and getattr(activation, "__name__", "") in _ACTIVATIONS


def _filters(tracing: Tracing, named: Any, inputs: list[Array]) -> Array | None:
    """Follow a layer whose filters each see all input channels."""
    name, call = named
    layer = call.operation
    plain = (
        getattr(layer, "groups", 1) == 1
        and getattr(layer, "quantization_mode", None) is None
        and not getattr(layer, "lora_enabled", False)
    )
    if not plain:
        return None
    output = tracing.record(name, layer, inputs[0])
    if not _is_plain(layer.activation):
        tracing.channels.hold(output, f"the activation of {name} mixes it with others")
    return output


def _depthwise(tracing: Tracing, named: Any, inputs: list[Array]) -> Array | None:
    name, call = named
    if not _is_plain(call.operation.activation):
        return None
    target = np.repeat(inputs[0], call.operation.depth_multiplier)
    return tracing.record(name, call.operation, inputs[0], target)


def _batch_norm(tracing: Tracing, named: Any, inputs: list[Array]) -> Array | None:
    from keras_tree.graph import call_of

    name, call = named
    layer, (tensor,) = call.operation, call.input_tensors
    if layer.axis not in (-1, len(tensor.shape) - 1) or getattr(layer, "renorm", False):
        return None
    before = tracing.layers.get(id(call_of(tensor).operation))
    if before is not None and before.has_filters and before.batch_norm is None:
        before.batch_norm = layer
    return tracing.record(name, layer, inputs[0], inputs[0])


def _prelu(tracing: Tracing, named: Any, inputs: list[Array]) -> Array:
    name, call = named
    return tracing.record(name, call.operation, inputs[0], inputs[0])


def _flatten(tracing: Tracing, named: Any, inputs: list[Array]) -> Array | None:
    shape = named[1].input_tensors[0].shape[1:]
    return _tiled(inputs[0], shape)


def _reshape(tracing: Tracing, named: Any, inputs: list[Array]) -> Array | None:
    """Follow a reshape that leaves the last axis as it is, or flattens."""
    name, call = named
    source, target = call.input_tensors[0].shape[1:], call.output_tensors[0].shape[1:]
    if target and source and target[-1] == source[-1]:
        output: Array | None = inputs[0]
    else:
        output = _tiled(inputs[0], source) if len(target) == 1 else None
    return None if output is None else tracing.record(name, call.operation, inputs[0], output)


def _tiled(channels: Array, shape: Sequence[int | None]) -> Array | None:
    """Return the channels of a flattened tensor: those of every place in turn."""
    places = [length for length in shape[:-1] if length is not None]
    if len(places) != len(shape) - 1:
        return None
    return np.tile(channels, int(np.prod(places, dtype=np.int64)))


LAYER_RULES: dict[str, Rule] = {
    **dict.fromkeys(FILTER_AXIS, _filters),
    "DepthwiseConv1D": _depthwise,
    "DepthwiseConv2D": _depthwise,
    "BatchNormalization": _batch_norm,
    "PReLU": _prelu,
    "Flatten": _flatten,
    "Reshape": _reshape,
}
