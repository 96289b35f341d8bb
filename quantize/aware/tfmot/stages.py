"""What a stage of a recipe is to the backend: a model, its trained variables, its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from quantize.aware.backend import AwareNode
from quantize.aware.recipe import Recipe
from quantize.aware.tfmot.flat_model import FlatModel, Values, flat_model, set_values
from quantize.aware.tfmot.parts import NodePlan, Part
from quantize.aware.tfmot.placement import Placement

_STATISTICS = ("moving_mean", "moving_variance")


@dataclass(frozen=True)
class Setting:
    """What all stages of one training have in common.

    Args:
        nodes: The nodes.
        plans: The same as calls of tf_keras layers.
        paths: Per task its nodes.
        recipe: The recipe.
    """

    nodes: Mapping[str, AwareNode]
    plans: Mapping[str, NodePlan]
    paths: Mapping[str, tuple[str, ...]]
    recipe: Recipe

    def plain(self, values: Values, placement: Placement | None = None) -> FlatModel:
        """Return a new model without wrappers, with these weights."""
        flat = flat_model(
            self.plans,
            self.paths,
            placement,
            lambda node: self.nodes[node].trained,
            self.recipe.seed,
        )
        set_values(flat, self.plans, values)
        for name, (_, part, is_trained) in self.parts().items():
            if part.weights:
                frozen_norm = part.kind == "BatchNormalization" and not self._norms_live
                flat.model.get_layer(name).trainable = is_trained and not frozen_norm
        return flat

    def parts(self) -> dict[str, tuple[str, Part, bool]]:
        """Return, by tf_keras layer, its node, what it is, and whether it is trained."""
        return {
            name: (node, part, layer.trainable and self.nodes[node].trained)
            for node, plan in self.plans.items()
            for layer in plan.layers.values()
            for name, part in zip(layer.names, layer.parts, strict=True)
        }

    def trained_kernels(self, kinds: Mapping[str, str]) -> dict[str, str]:
        """Return the attribute of the kernel by trained layer of some kinds."""
        return {
            name: kinds[part.kind]
            for name, (_, part, is_trained) in self.parts().items()
            if is_trained and part.kind in kinds
        }

    def trained_weights(self, name: str) -> tuple[str, ...]:
        """Return the attributes of a layer's weights that training moves."""
        _, part, is_trained = self.parts()[name]
        if not is_trained or (part.kind == "BatchNormalization" and not self._norms_live):
            return ()
        return tuple(weight for weight in part.weights if weight not in _STATISTICS)

    @property
    def _norms_live(self) -> bool:
        return self.recipe.batch_norm == "live"


class StageModel(Protocol):
    """A model while a stage lasts."""

    flat: FlatModel

    def variables(self) -> dict[str, list[Any]]:
        """Return the variables that training moves, by node."""

    def before_step(self, step: int) -> None:
        """Prepare step number `step`, from 1 on."""

    def after_step(self, step: int) -> None:
        """Finish it."""

    def values(self) -> Values:
        """Return the weights as they are stored: zeros and clusters exact."""


class PlainStage:
    """A float model between stages, or before the first.

    Args:
        setting: The training.
        values: The weights.
    """

    def __init__(self, setting: Setting, values: Values) -> None:
        self.flat = setting.plain(values)
        self._values = values

    def variables(self) -> dict[str, list[Any]]:
        """Return none: nothing is trained here."""
        return {}

    def before_step(self, step: int) -> None:
        """Do nothing."""

    def after_step(self, step: int) -> None:
        """Do nothing."""

    def values(self) -> Values:
        """Return the weights."""
        return self._values


def variables_by_node(
    setting: Setting, flat: FlatModel, instead: Mapping[tuple[str, str], list[Any]]
) -> dict[str, list[Any]]:
    """Return the variables that training moves, by node.

    Args:
        setting: The training.
        flat: The stage's model.
        instead: Variables of a wrapper that stand for a weight, by layer and attribute.
    """
    layers = flat.layers()
    found: dict[str, list[Any]] = {}
    for name, (node, _, _) in setting.parts().items():
        inner = getattr(layers.get(name), "layer", layers.get(name))
        for weight in setting.trained_weights(name):
            stands = instead.get((name, weight)) or [getattr(inner, weight)]
            found.setdefault(node, []).extend(stands)
    return found
