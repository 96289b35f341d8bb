"""How channels run through the layers of a node.

Belongs here: the walk through a node's graph. A layer that the tables of `channel_rules.py` do not
know, in its settings too, holds all channels that enter it: nothing that is not understood is ever
changed. Does not belong here: which channels are removed (`filters.py`), or how a node is built
without them (`thinning.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from quantize.aware.channel_rules import (
    FILTER_AXIS,
    LAYER_RULES,
    MERGING,
    MERGING_OPERATIONS,
    PASSING,
    PASSING_OPERATIONS,
    passes,
)
from quantize.aware.channels import Channels

if TYPE_CHECKING:
    import keras

Array = np.ndarray


@dataclass
class LayerChannels:
    """The channels that one layer takes and gives.

    Args:
        name: "<node>/<layer>", with the names of the models between for a nested one.
        layer: The layer.
        input: Channels of its one input, (inputs,).
        output: Channels of its output, (outputs,).
        batch_norm: The batch normalization that follows directly, or None.
    """

    name: str
    layer: keras.Layer
    input: Array
    output: Array
    batch_norm: keras.Layer | None = None

    @property
    def has_filters(self) -> bool:
        """Whether the layer's filters make its output's channels."""
        return type(self.layer).__name__ in FILTER_AXIS


class Tracing:
    """The channels of one node's layers.

    Args:
        node: The node's name.
        channels: The channels of the whole tree.

    Attributes:
        layers: Layers with filters, or with weights or settings per channel, by id.
        models: Ids of the models in the node that are followed.
    """

    def __init__(self, node: str, channels: Channels) -> None:
        self.node = node
        self.channels = channels
        self.layers: dict[int, LayerChannels] = {}
        self.models: set[int] = set()

    def run(self, model: keras.Model, given: Array, prefix: str | None = None) -> Array:
        """Return the channels of a model's output, for those of its input.

        Args:
            model: A functional model of one input and one output.
            given: Channels of the input, (inputs,).
            prefix: Name of the model within the tree; None for the node's.
        """
        from keras_tree.graph import call_of, calls_up_to

        prefix = prefix or self.node
        made = {id(model.inputs[0]): given}
        start = call_of(model.inputs[0])
        for call in calls_up_to(model.outputs[0]):
            if call is start:
                continue
            inputs = [made[id(tensor)] for tensor in call.input_tensors]
            name = f"{prefix}/{call.operation.name}"
            output = self._followed(call, inputs, name)
            if output is None:
                self._hold(inputs, f"{name} ({type(call.operation).__name__}) is not followed")
            if output is None or len(call.output_tensors) != 1:
                for tensor in call.output_tensors:
                    made[id(tensor)] = self._held(tensor, name)
            else:
                made[id(call.output_tensors[0])] = output
        return made[id(model.outputs[0])]

    def record(self, name: str, layer: Any, source: Array, target: Array | None = None) -> Array:
        """Note a layer's channels, and return those of its output.

        A layer that is called once more makes the same channels again, and its inputs are tied.

        Args:
            name: The layer's name within the tree.
            layer: The layer.
            source: Channels of its input.
            target: Channels of its output; None for new ones, one per filter.
        """
        if id(layer) in self.layers:
            first = self.layers[id(layer)]
            self.channels.tie(first.input, source)
            return first.output if target is None else target
        if target is None:
            target = self.channels.new(layer.units if hasattr(layer, "units") else layer.filters)
        self.layers[id(layer)] = LayerChannels(name, layer, source, target)
        return target

    def _followed(self, call: Any, inputs: list[Array], name: str) -> Array | None:
        """Return the channels of a call's output, or None where they are not followed."""
        import keras

        operation, kind = call.operation, type(call.operation).__name__
        if isinstance(operation, keras.Model):
            return self._nested(operation, inputs, name)
        if not type(operation).__module__.startswith("keras.") or not inputs:
            return None
        if not isinstance(operation, keras.layers.Layer):
            return self._operation(call, inputs)
        if getattr(operation, "data_format", "channels_last") != "channels_last":
            return None
        if kind in PASSING:
            return inputs[0] if passes(operation) else None
        if kind in MERGING:
            return self._merged(call, inputs)
        if kind == "Concatenate":
            return self._joined(call, inputs, operation.axis)
        if kind in LAYER_RULES:
            return LAYER_RULES[kind](self, (name, call), inputs)
        return None

    def _nested(self, model: keras.Model, inputs: list[Array], name: str) -> Array | None:
        from keras_tree.nodes import check_functional

        try:
            check_functional(name, model)
        except ValueError:
            return None
        if len(model.inputs) != 1 or len(model.outputs) != 1 or len(inputs) != 1:
            return None
        self.models.add(id(model))
        return self.run(model, inputs[0], name)

    def _operation(self, call: Any, inputs: list[Array]) -> Array | None:
        """Follow an operation that is no layer."""
        kind = type(call.operation).__name__
        if kind == "Concatenate":
            return self._joined(call, inputs, call.operation.axis)
        if not _constants_are_single(call):
            return None
        if kind in PASSING_OPERATIONS:
            return inputs[0]
        return self._merged(call, inputs) if kind in MERGING_OPERATIONS else None

    def _merged(self, call: Any, inputs: list[Array]) -> Array | None:
        """Tie what is added or multiplied; one channel may be spread over all."""
        if len({len(tensor.shape) for tensor in call.input_tensors}) != 1:
            return None
        width = max(map(len, inputs))
        whole = [channels for channels in inputs if len(channels) == width]
        for channels in whole[1:]:
            self.channels.tie(whole[0], channels)
        for channels in inputs:
            if len(channels) != width:
                self.channels.hold(channels, f"{self.node}/{call.operation.name} spreads it")
        return whole[0]

    def _joined(self, call: Any, inputs: list[Array], axis: int) -> Array | None:
        rank = len(call.output_tensors[0].shape)
        if axis in (-1, rank - 1):
            return np.concatenate(inputs)
        for channels in inputs[1:]:
            self.channels.tie(inputs[0], channels)
        return inputs[0]

    def _hold(self, inputs: Iterable[Array], reason: str) -> None:
        for channels in inputs:
            self.channels.hold(channels, reason)

    def _held(self, tensor: Any, name: str) -> Array:
        """Return new channels that must stay, as many as a tensor has."""
        channels = self.channels.new(int(tensor.shape[-1] or 1) if len(tensor.shape) else 1)
        self.channels.hold(channels, f"it comes from {name}, which is not followed")
        return channels


def _constants_are_single(call: Any) -> bool:
    """Return whether an operation's arguments beside its tensors are single numbers."""
    import keras

    given = keras.tree.flatten((call.arguments.args, call.arguments.kwargs))
    return all(isinstance(value, keras.KerasTensor) or np.ndim(value) == 0 for value in given)
