"""A tree copied, with the weights that a training gave: the user's own tree is never changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from quantize.aware.backend import NodeWeights

if TYPE_CHECKING:
    import keras

    from keras_tree import Tree


def copy_tree(tree: Tree, weights: Mapping[str, NodeWeights] | None = None) -> Tree:
    """Return a tree of the same nodes, paths and tasks that shares no weight with the one given.

    Whatever the tree was compiled with is not copied.

    Args:
        tree: The tree; it is only read.
        weights: New weights by node and layer, as `AwareModel.weights` returns them.

    Raises:
        ValueError: The weights are not those of the nodes' layers.
    """
    from keras_tree import Tree

    nodes = {name: copy_node(model) for name, model in tree.nodes.items()}
    for name, layers in (weights or {}).items():
        for path, arrays in layers.items():
            _layer_at(name, nodes[name], path).set_weights(arrays)
    return Tree(nodes, tree.paths, list(tree.tasks.values()), name=tree.name)


def copy_node(model: keras.Model) -> keras.Model:
    """Return a model of the same layers and weights, sharing none of them.

    The states of random generators (of Dropout, for one) are copied too: a node's `source_sha256`
    is over all that its graph holds.
    """
    import keras

    from keras_tree.saving import random_states, set_trainable_flags, trainable_flags

    copy = keras.models.clone_model(model, clone_function=copy_layer)
    copy.set_weights(model.get_weights())
    for new, old in zip(random_states([copy]), random_states([model]), strict=True):
        new.assign(old)
    set_trainable_flags(copy, trainable_flags(model))
    return copy


def finite(weights: Mapping[str, NodeWeights]) -> bool:
    """Return whether all weights are finite numbers."""
    arrays = (array for layers in weights.values() for part in layers.values() for array in part)
    return all(bool(np.isfinite(array).all()) for array in arrays)


def copy_layer(layer: keras.Layer) -> keras.Layer:
    """Return a new layer of the same configuration."""
    import keras

    if isinstance(layer, keras.layers.Lambda):
        return layer  # It has no weights, and its Python code does not survive its configuration.
    if isinstance(layer, keras.Model):
        return keras.models.clone_model(layer, clone_function=copy_layer)
    return type(layer).from_config(layer.get_config())


def _layer_at(node: str, model: keras.Model, path: str) -> keras.Layer:
    """Return a layer by its path, "block/conv" for one in a nested model."""
    layer = model
    for name in path.split("/"):
        found = [inner for inner in getattr(layer, "layers", ()) if inner.name == name]
        if not found:
            raise ValueError(
                f"Weights of node '{node}' must be by its layers, received '{path}'. Its layers "
                f"are {', '.join(inner.name for inner in model.layers)}."
            )
        layer = found[0]
    return layer
