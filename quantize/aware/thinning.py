"""A node built anew without some of its channels.

Belongs here: the new layers' configurations and their weights, cut out of the old ones. Does not
belong here: how channels run (`channel_tracing.py`), or which go (`filters.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from quantize.aware.channel_rules import FILTER_AXIS
from quantize.aware.channel_tracing import LayerChannels, Tracing
from quantize.aware.copying import copy_layer

if TYPE_CHECKING:
    import keras

Arrays = list[np.ndarray]


def thinner_node(
    model: keras.Model, input_channels: int, tracing: Tracing, kept: np.ndarray
) -> keras.Model:
    """Return a node without the channels that are not kept; it shares no weight with the old one.

    Args:
        model: The node.
        input_channels: Channels of its input that stay.
        tracing: How channels run through it.
        kept: Whether each channel stays, bool (all channels,).
    """
    from keras_tree.saving import set_trainable_flags, trainable_flags

    source = model.inputs[0]
    new = _Thinning(tracing, kept).model(model, (*source.shape[:-1], input_channels))
    set_trainable_flags(new, trainable_flags(model))
    return new


class _Thinning:
    """The new layers of a node, each made once."""

    def __init__(self, tracing: Tracing, kept: np.ndarray) -> None:
        self._layers = tracing.layers
        self._models = tracing.models
        self._kept = kept
        self._made: dict[int, Any] = {}

    def model(self, model: keras.Model, batch_shape: tuple[int | None, ...]) -> keras.Model:
        """Return a functional model without the channels that go."""
        import keras

        from keras_tree.graph import call_of, calls_up_to, name_of

        old = model.inputs[0]
        start = call_of(old)
        inputs = keras.Input(batch_shape=batch_shape, dtype=old.dtype, name=name_of(old))
        made = {id(old): inputs}
        for call in calls_up_to(model.outputs[0]):
            if call is start:
                continue
            args, kwargs = call.arguments.fill_in(made)
            shapes = [made[id(tensor)].shape for tensor in call.input_tensors]
            outputs = keras.tree.flatten(self._operation(call, shapes)(*args, **kwargs))
            self._set_weights(call.operation)
            made.update(zip(map(id, call.output_tensors), outputs, strict=True))
        return keras.Model(inputs, made[id(model.outputs[0])], name=model.name)

    def _operation(self, call: Any, shapes: list[Any]) -> Any:
        """Return what takes the place of a call's layer or operation."""
        import keras

        old = call.operation
        if not isinstance(old, keras.layers.Layer):
            return old  # It has no state, so both models may run it.
        if id(old) not in self._made:
            if id(old) in self._models:
                self._made[id(old)] = self.model(old, shapes[0])
            elif id(old) in self._layers:
                self._made[id(old)] = self._layer(self._layers[id(old)], call)
            else:
                self._made[id(old)] = copy_layer(old)
        return self._made[id(old)]

    def _layer(self, part: LayerChannels, call: Any) -> Any:
        """Return a layer with as many filters as stay."""
        config = part.layer.get_config()
        count = int(self._kept[part.output].sum())
        for name in ("filters", "units"):
            if part.has_filters and name in config:
                config[name] = count
        if type(part.layer).__name__ == "Reshape" and config["target_shape"][-1] != -1:
            config["target_shape"] = (*config["target_shape"][:-1], count)
        return type(part.layer).from_config(config)

    def _set_weights(self, old: Any) -> None:
        """Give a new layer the weights of the old one that stay; once it is built."""
        import keras

        if not isinstance(old, keras.layers.Layer) or not old.weights or id(old) in self._models:
            return
        weights = old.get_weights()
        if id(old) in self._layers:
            part = self._layers[id(old)]
            cut = _CUTS.get(type(old).__name__, _cut_last_axis)
            weights = cut(part, weights, self._kept[part.input], self._kept[part.output])
        self._made[id(old)].set_weights(weights)


def _cut_filters(
    part: LayerChannels, weights: Arrays, source: np.ndarray, target: np.ndarray
) -> Arrays:
    """Cut a kernel (..., inputs, filters), or (..., filters, inputs), and a bias (filters,)."""
    filters = FILTER_AXIS[type(part.layer).__name__]
    kernel = weights[0].compress(source, axis=-3 - filters).compress(target, axis=filters)
    return [kernel, *(bias.compress(target) for bias in weights[1:])]


def _cut_separable(
    part: LayerChannels, weights: Arrays, source: np.ndarray, target: np.ndarray
) -> Arrays:
    """Cut kernels (..., inputs, multiplier) and (..., inputs * multiplier, filters), and a bias."""
    depthwise, pointwise, *bias = weights
    inner = np.repeat(source, part.layer.depth_multiplier)
    return [
        depthwise.compress(source, axis=-2),
        pointwise.compress(inner, axis=-2).compress(target, axis=-1),
        *(part.compress(target) for part in bias),
    ]


def _cut_depthwise(
    part: LayerChannels, weights: Arrays, source: np.ndarray, target: np.ndarray
) -> Arrays:
    """Cut a kernel (..., inputs, multiplier) and a bias (inputs * multiplier,)."""
    return [weights[0].compress(source, axis=-2), *(b.compress(target) for b in weights[1:])]


def _cut_last_axis(
    part: LayerChannels, weights: Arrays, source: np.ndarray, target: np.ndarray
) -> Arrays:
    """Cut what has one number per channel, or one for all of them."""
    return [w if w.shape[-1] == 1 != len(target) else w.compress(target, axis=-1) for w in weights]


_CUTS: dict[str, Callable[[LayerChannels, Arrays, np.ndarray, np.ndarray], Arrays]] = {
    **dict.fromkeys(FILTER_AXIS, _cut_filters),
    "SeparableConv1D": _cut_separable,
    "SeparableConv2D": _cut_separable,
    "DepthwiseConv1D": _cut_depthwise,
    "DepthwiseConv2D": _cut_depthwise,
}
