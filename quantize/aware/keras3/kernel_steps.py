"""The steps of layers with a kernel: computed here, since their kernels are fake-quantized.

Belongs here: one function per kind of convolution, and the dense layer. Does not belong here: the
fake quantization (`kernels.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf
from keras import ops

from quantize.aware.backend import AwareTrainingError
from quantize.aware.keras3.activation_steps import activate

if TYPE_CHECKING:
    from quantize.aware.keras3.building import Builder


def conv(builder: Builder, call: Any, inputs: tuple[int, ...]) -> int:
    """Add the steps of a Conv1D or Conv2D: kernel (positions..., inputs, outputs)."""
    layer = call.operation
    kernel = _plain_kernel(builder, layer)
    builder.kernel(kernel, (layer.rank + 1,), int4=layer.groups == 1)
    causal = layer.padding == "causal"

    def compute(run: Any, x: tf.Tensor) -> tf.Tensor:
        if causal:
            reach = layer.dilation_rate[0] * (layer.kernel_size[0] - 1)
            x = tf.pad(x, [[0, 0], [reach, 0], [0, 0]])
        return ops.conv(x, run.value(kernel), **_settings(layer, causal))

    return _biased(builder, layer, inputs, compute)


def depthwise(builder: Builder, call: Any, inputs: tuple[int, ...]) -> int:
    """Add the steps of a DepthwiseConv1D or 2D: kernel (positions..., inputs, multiplier)."""
    layer = call.operation
    builder.kernel(layer.kernel, (layer.rank, layer.rank + 1), int4=_has_int4(layer, layer.kernel))

    def compute(run: Any, x: tf.Tensor) -> tf.Tensor:
        return ops.depthwise_conv(x, run.value(layer.kernel), **_settings(layer))

    return _biased(builder, layer, inputs, compute)


def separable(builder: Builder, call: Any, inputs: tuple[int, ...]) -> int:
    """Add the steps of a SeparableConv1D or 2D: two operators, with a tensor between them."""
    layer = call.operation
    first, second = layer.depthwise_kernel, layer.pointwise_kernel
    builder.kernel(first, (layer.rank, layer.rank + 1), int4=_has_int4(layer, first))
    builder.kernel(second, (layer.rank + 1,))

    def filtered(run: Any, x: tf.Tensor) -> tf.Tensor:
        return ops.depthwise_conv(x, run.value(first), **_settings(layer))

    def mixed(run: Any, x: tf.Tensor) -> tf.Tensor:
        return ops.conv(x, run.value(second), padding="valid", data_format=layer.data_format)

    between = builder.add(inputs, filtered, "linear")
    return _biased(builder, layer, (between,), mixed)


def conv_transpose(builder: Builder, call: Any, inputs: tuple[int, ...]) -> int:
    """Add the steps of a Conv2DTranspose: kernel (height, width, outputs, inputs)."""
    layer = call.operation
    builder.kernel(layer.kernel, (layer.rank,), int4=False)

    def compute(run: Any, x: tf.Tensor) -> tf.Tensor:
        padding = layer.output_padding
        return ops.conv_transpose(
            x, run.value(layer.kernel), output_padding=padding, **_settings(layer)
        )

    return _biased(builder, layer, inputs, compute)


def dense(builder: Builder, call: Any, inputs: tuple[int, ...]) -> int:
    """Add the steps of a Dense: kernel (inputs, outputs)."""
    layer = call.operation
    kernel = _plain_kernel(builder, layer)
    builder.kernel(kernel, (1,), int4=False)

    def compute(run: Any, x: tf.Tensor) -> tf.Tensor:
        return ops.matmul(x, run.value(kernel))

    return _biased(builder, layer, inputs, compute)


def _has_int4(layer: Any, kernel: Any) -> bool:
    """Whether a depthwise kernel is stored in int4 (the rule of `quantize/precision/int4.py`)."""
    channels, multiplier = kernel.shape[-2:]
    return channels % 2 == 0 or (multiplier == 1 and set(layer.dilation_rate) == {1})


def _plain_kernel(builder: Builder, layer: Any) -> Any:
    """Return a layer's kernel; refuse one that is a sum of LoRA's or that Keras quantized."""
    if getattr(layer, "lora_enabled", False) or layer.quantization_mode is not None:
        raise AwareTrainingError(
            f"Node '{builder.node.name}', layer '{builder.path}' ({type(layer).__name__}) must "
            "have a float kernel of its own; received one with LoRA or quantized by Keras. Merge "
            "it into a float layer of the same class, and copy the weights over."
        )
    return layer.kernel


def _settings(layer: Any, causal: bool = False) -> dict[str, Any]:
    return {
        "strides": tuple(layer.strides),
        "padding": "valid" if causal else layer.padding,
        "dilation_rate": tuple(layer.dilation_rate),
        "data_format": layer.data_format,
    }


def _biased(builder: Builder, layer: Any, inputs: tuple[int, ...], compute: Any) -> int:
    """Add a linear step with the layer's bias, and its activation."""
    builder.weight(layer.bias)
    axis = 1 if getattr(layer, "data_format", "") == "channels_first" else -1

    def with_bias(run: Any, x: tf.Tensor) -> tf.Tensor:
        outputs = compute(run, x)
        if layer.bias is None:
            return outputs
        shape = [1] * outputs.shape.rank
        shape[axis] = -1
        return outputs + tf.reshape(run.value(layer.bias), shape)

    return activate(builder, layer.activation, builder.add(inputs, with_bias, "linear"))
