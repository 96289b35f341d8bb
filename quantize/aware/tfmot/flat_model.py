"""The paths of all tasks as one flat tf_keras model, since tfmot refuses nested ones.

Belongs here: building it, and moving weights in and out of its layers. Does not belong here: what
is done to the layers in a stage.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from quantize.aware.tfmot.importing import load
from quantize.aware.tfmot.parts import NodePlan, Part, Step
from quantize.aware.tfmot.placement import INPUT, OUTPUT, Placement, is_random_part

tf_keras, tfmot = load()

Values = dict[str, list[np.ndarray]]
"""Weights of every tf_keras layer that has any, by its name, in the order of `Part.weights`."""

Wrap = Callable[[Any], Any]
"""Takes a tf_keras layer, and returns what stands for it in a stage's model: a wrapper, or it."""


@dataclass(frozen=True)
class FlatModel:
    """One flat model, and where each task stands in it.

    Args:
        model: Inputs by starting node; two outputs per task, what the device gives and what the
            loss takes: the same, but before the rounding of a last softmax or sigmoid, whose zeros
            have no logarithm.
        starts: Per task the number of its input, in the order of the outputs.
    """

    model: Any
    starts: Mapping[str, int]

    def predicting(self, task: str) -> Any:
        """Return the part that gives what the device gives."""
        return self._part(task, 0)

    def training(self, task: str) -> Any:
        """Return the part that gives what the loss takes."""
        return self._part(task, 1)

    def layers(self) -> dict[str, Any]:
        """Return the layers, or the wrappers around them, by the names of the layers."""
        return {getattr(layer, "layer", layer).name: layer for layer in self.model.layers}

    def cloned(self, wrap: Wrap) -> FlatModel:
        """Return the model with every layer replaced by what `wrap` makes of it."""
        return replace(self, model=tf_keras.models.clone_model(self.model, clone_function=wrap))

    def _part(self, task: str, which: int) -> Any:
        place = list(self.starts).index(task)
        return tf_keras.Model(
            self.model.inputs[self.starts[task]], self.model.outputs[2 * place + which]
        )


def flat_model(
    plans: Mapping[str, NodePlan],
    paths: Mapping[str, tuple[str, ...]],
    placement: Placement | None,
    active: Callable[[str], bool],
    seed: int = 0,
) -> FlatModel:
    """Build the paths as one model with new, untrained layers.

    Args:
        plans: The nodes.
        paths: Per task its nodes.
        placement: Where ranges are; at each of them stands a layer that does nothing, named like
            the point, for a stage to replace. None for a model without.
        active: Whether a node, by name, is trained: dropout in the others is left out.
        seed: Of dropout.
    """
    return _Builder(plans, placement, active, seed).build(paths)


def set_values(flat: FlatModel, plans: Mapping[str, NodePlan], values: Values) -> None:
    """Give a plain model's layers their weights."""
    for name, part in parts_by_name(plans).items():
        if part.weights:
            flat.model.get_layer(name).set_weights(values[name])


def values_of(model: Any, plans: Mapping[str, NodePlan]) -> Values:
    """Return the weights of a plain model's layers."""
    return {
        name: [np.asarray(getattr(model.get_layer(name), weight)) for weight in part.weights]
        for name, part in parts_by_name(plans).items()
        if part.weights
    }


def parts_by_name(plans: Mapping[str, NodePlan]) -> dict[str, Part]:
    """Return what every tf_keras layer is, by its name."""
    return {
        name: part
        for plan in plans.values()
        for layer in plan.layers.values()
        for name, part in zip(layer.names, layer.parts, strict=True)
    }


class _Builder:
    def __init__(
        self,
        plans: Mapping[str, NodePlan],
        placement: Placement | None,
        active: Callable[[str], bool],
        seed: int,
    ) -> None:
        self._plans, self._placement, self._active = plans, placement, active
        self._seed = seed
        self._layers: dict[str, Any] = {}

    def build(self, paths: Mapping[str, tuple[str, ...]]) -> FlatModel:
        starts: dict[str, Any] = {}
        made: dict[tuple[str, ...], tuple[Any, Any]] = {}  # path so far to (rounded, unrounded)
        for path in paths.values():
            if path[0] not in starts:
                starts[path[0]] = tf_keras.Input(self._plans[path[0]].input_shape)
            tensor = self._point(path[0], INPUT, starts[path[0]])
            for length in range(1, len(path) + 1):
                so_far = path[:length]
                if so_far not in made:
                    made[so_far] = self._run(path[length - 1], tensor)
                tensor = made[so_far][0]
        outputs = [tensor for path in paths.values() for tensor in made[path]]
        model = tf_keras.Model(list(starts.values()), outputs)
        return FlatModel(model, {task: list(starts).index(path[0]) for task, path in paths.items()})

    def _run(self, node: str, tensor: Any) -> tuple[Any, Any]:
        """Return a node's output on a tensor: as the device gives it, and as a loss takes it."""
        plan = self._plans[node]
        made = {0: tensor}
        for step in plan.steps:
            inputs = [made[index] for index in step.inputs]
            layer = self._layer(node, step)
            made[step.output] = layer(inputs if len(inputs) > 1 else inputs[0])
            if step.output != plan.output:
                made[step.output] = self._point(node, step.output, made[step.output])
        raw = made[plan.output]
        rounded = self._point(node, OUTPUT, raw)
        bounded = self._placement is not None and self._placement.ends_bounded(node)
        return rounded, raw if bounded else rounded

    def _layer(self, node: str, step: Step) -> Any:
        if step.name not in self._layers:
            part, is_random = step.part, is_random_part(step.part)
            if is_random and not self._active(node):
                part = Part("Activation", {"activation": "linear"})
            seed = (
                {"seed": self._seed + len(self._layers)} if part is step.part and is_random else {}
            )
            kind = getattr(tf_keras.layers, part.kind)
            self._layers[step.name] = kind(**part.config, **seed, name=step.name)
        return self._layers[step.name]

    def _point(self, node: str, key: int, tensor: Any) -> Any:
        """Return a tensor behind the place of its range, or the tensor where it has none."""
        point = self._placement.point(node, key) if self._placement else None
        if point is None:
            return tensor
        if point.name not in self._layers:
            self._layers[point.name] = tf_keras.layers.Activation("linear", name=point.name)
        return self._layers[point.name](tensor)
