"""The stage "cluster": tfmot's weight clustering.

Conv2D kernels are clustered per output channel, as lookup tables are stored; tfmot clusters those
of other layers as a whole, which keeps every channel within as many values too. Where a channel
has no more weights than clusters, nothing is to be done. Depthwise kernels are left alone: a
channel of theirs has as many weights as the window, and what is stored clusters it anyway.

Zeros of a pruned kernel are kept by tfmot's `preserve_sparsity`, and by a mask where the kernel is
not clustered. That fails per channel where a
channel has fewer positive or negative weights than centroids (k-means++ samples among them) or
none at all, so the centroids then begin evenly spaced, or the kernel is clustered as a whole.

Not public is `ClusterWeights`, the wrapper that `cluster_weights` puts around a layer. It is used
because of a fault of `cluster_weights`: it takes a convolution without a bias for one of as many
channels as it has weights, and then does nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from quantize.aware.recipe import Clustering
from quantize.aware.tfmot.flat_model import Values, values_of
from quantize.aware.tfmot.importing import load
from quantize.aware.tfmot.pruning import PRUNED
from quantize.aware.tfmot.stages import Setting, variables_by_node

tf_keras, tfmot = load()

from tensorflow_model_optimization.python.core.clustering.keras.cluster_wrapper import (  # noqa: E402
    ClusterWeights,
)

CLUSTERED = {
    "Conv1D": "kernel", "Conv2D": "kernel", "Conv2DTranspose": "kernel", "Dense": "kernel",
}  # fmt: skip
"""Layers that are clustered, and their kernels."""


class ClusteringStage:
    """A model whose kernels share few values.

    Args:
        setting: The training.
        values: The weights to begin with.
    """

    def __init__(self, setting: Setting, values: Values) -> None:
        self._setting = setting
        count = 2 ** (setting.recipe.clustering or Clustering()).bits
        keeps_zeros = setting.recipe.pruning is not None
        arguments = {
            name: found
            for name in setting.trained_kernels(CLUSTERED)
            if (found := _arguments(setting, name, values[name][0], count, keeps_zeros))
        }

        def wrap(layer: Any) -> Any:
            if layer.name not in arguments:
                return layer
            given = arguments[layer.name]
            if given["cluster_per_channel"] and not layer.use_bias:
                return ClusterWeights(layer, count, **given)
            return tfmot.clustering.keras.cluster_weights(layer, count, **given)

        self.flat = setting.plain(values).cloned(wrap)
        layers = self.flat.layers()
        self._wrappers = {name: layers[name] for name in arguments}
        self._masks = {
            name: (layers[name].kernel, (values[name][0] != 0).astype(np.float32))
            for name in setting.trained_kernels(PRUNED)
            if keeps_zeros and name not in arguments
        }

    def variables(self) -> dict[str, list[Any]]:
        """Return the variables that training moves, by node: of kernels also the centroids."""
        instead = {
            (name, weight): [wrapper.original_clusterable_weights[weight], centroids]
            for name, wrapper in self._wrappers.items()
            for weight, centroids in wrapper.cluster_centroids.items()
        }
        return variables_by_node(self._setting, self.flat, instead)

    def before_step(self, step: int) -> None:
        """Do nothing."""

    def after_step(self, step: int) -> None:
        """Put back the zeros of kernels without a wrapper; a wrapper keeps those of its own."""
        for kernel, mask in self._masks.values():
            kernel.assign(kernel * mask)

    def values(self) -> Values:
        """Return the weights, every one of them the centroid of its cluster."""
        stripped = tfmot.clustering.keras.strip_clustering(self.flat.model)
        return values_of(stripped, self._setting.plans)


def _arguments(
    setting: Setting, name: str, kernel: np.ndarray, count: int, keeps_zeros: bool
) -> dict[str, Any] | None:
    """Return the arguments of `cluster_weights`, or None where there is nothing to cluster."""
    kinds = tfmot.clustering.keras.CentroidInitialization
    is_convolution = setting.parts()[name][1].kind == "Conv2D"
    channels = np.moveaxis(kernel, -1, 0).reshape(kernel.shape[-1], -1)
    if not is_convolution:
        channels = kernel.reshape(1, -1)
    if channels.shape[1] <= count:
        return None
    if not keeps_zeros:
        return {
            "cluster_centroids_init": kinds.KMEANS_PLUS_PLUS,
            "cluster_per_channel": is_convolution,
        }
    per_channel = is_convolution and bool((channels != 0).any(axis=1).all())
    groups = channels if per_channel else kernel.reshape(1, -1)
    enough = all(_has_enough(group, count) for group in groups)
    return {
        "cluster_centroids_init": kinds.KMEANS_PLUS_PLUS if enough else kinds.LINEAR,
        "cluster_per_channel": per_channel,
        "preserve_sparsity": True,
    }


def _has_enough(weights: np.ndarray, count: int) -> bool:
    """Whether k-means++ finds a weight for every centroid that tfmot gives to either sign."""
    negative, positive = int((weights < 0).sum()), int((weights > 0).sum())
    if not negative + positive:
        return False
    below = round((count - 1) * negative / (negative + positive))
    return negative >= below and positive >= count - 1 - below
