"""Copies of a node's weights: kernels that may be masked, clustered and fake-quantized, and others.

Belongs here: what a weight is worth at present, and which variable is trained for it. Does not
belong here: which weights are masked (`pruning.py`) or share a value (`clustering.py`).
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from quantize.aware.keras3.fake_quantization import fake_quantize_kernel


class Weight:
    """A copy of one variable of a layer.

    Args:
        source: The layer's variable; it is only read.
        trained: Whether it is trained.
    """

    def __init__(self, source: keras.Variable, trained: bool) -> None:
        self.variable = tf.Variable(source.numpy(), trainable=trained)
        self._constraint = source.constraint
        self._regularizer = source.regularizer

    @property
    def trained(self) -> tf.Variable | None:
        """The variable that an optimizer changes, or None."""
        return self.variable if self.variable.trainable else None

    def value(self) -> tf.Tensor:
        """Return what the layer computes with, without fake quantization."""
        return tf.convert_to_tensor(self.variable)

    def constrain(self) -> None:
        """Bring it back within the layer's constraint, if it has one, after a step."""
        variable = self.trained
        if self._constraint is not None and variable is self.variable:
            variable.assign(self._constraint(self.value()))

    def penalty(self) -> tf.Tensor | float:
        """Return the loss that the layer's regularizer adds, a scalar."""
        return 0.0 if self._regularizer is None else self._regularizer(self.value())

    def numpy(self) -> np.ndarray:
        """Return that as an array."""
        return np.asarray(self.value())


class Kernel(Weight):
    """A copy of a kernel, with its output channels named.

    Args:
        source: The layer's variable; it is only read.
        trained: Whether it is trained.
        channel_axes: Axes that together number the output channels, neighbours of each other.
        bits: Of its fake quantization, 8 or 4.
        depthwise: Whether each output channel reads one input channel only.
    """

    def __init__(
        self,
        source: keras.Variable,
        trained: bool,
        channel_axes: tuple[int, ...],
        bits: int,
        depthwise: bool,
    ) -> None:
        super().__init__(source, trained)
        self.channel_axes = channel_axes
        self.bits = bits
        self.depthwise = depthwise
        self.shape: tuple[int, ...] = tuple(source.shape)
        self._others = tuple(axis for axis in range(len(self.shape)) if axis not in channel_axes)
        self._order = (*self._others, *channel_axes)
        self.mask: tf.Variable | None = None
        self._centroids: tf.Variable | None = None
        self._indices: tf.Tensor | None = None

    @property
    def trained(self) -> tf.Variable | None:
        """The variable that an optimizer changes: the kernel, or its centroids; or None."""
        if not self.variable.trainable:
            return None
        return self.variable if self._centroids is None else self._centroids

    def value(self) -> tf.Tensor:
        """Return what the layer computes with, without fake quantization."""
        if self._centroids is None:
            values = tf.convert_to_tensor(self.variable)
        else:
            flat = tf.reshape(self._centroids, [-1])
            values = tf.gather(flat, self._indices)
        return values if self.mask is None else tf.where(self.mask, values, tf.zeros_like(values))

    def quantized(self) -> tf.Tensor:
        """Return it fake-quantized."""
        return fake_quantize_kernel(self.value(), self.channel_axes, self.bits)

    @property
    def input_channels(self) -> int:
        """Input channels that each output channel reads."""
        return 1 if self.depthwise else self.shape[self._others[-1]]

    def matrix(self, values: np.ndarray) -> np.ndarray:
        """Return an array of the kernel's shape as (weights of a channel, channels).

        The rows run over the kernel's positions, then over its input channels.
        """
        channels = math.prod(self.shape[axis] for axis in self.channel_axes)
        return values.transpose(self._order).reshape(-1, channels)

    def from_matrix(self, matrix: np.ndarray) -> np.ndarray:
        """Return an array (weights of a channel, channels) in the kernel's shape."""
        ordered = matrix.reshape([self.shape[axis] for axis in self._order])
        return ordered.transpose(np.argsort(self._order))

    def set_mask(self, kept: np.ndarray) -> None:
        """Make weights zero from now on.

        Args:
            kept: bool, of the kernel's shape; False where the weight is zero.
        """
        if self.mask is None:
            self.mask = tf.Variable(kept, trainable=False)
        else:
            self.mask.assign(kept)

    def set_clusters(self, centroids: np.ndarray, assignment: np.ndarray) -> None:
        """Replace the weights by a few values per channel, which are trained from now on.

        Args:
            centroids: float32 (values, channels).
            assignment: int (weights of a channel, channels), which of a channel's values.
        """
        channels = centroids.shape[1]
        places = assignment * channels + np.arange(channels)
        self._indices = tf.constant(self.from_matrix(places), tf.int32)
        self._centroids = tf.Variable(centroids)

    def settle(self) -> None:
        """Write its present value into its variable: masked weights become zeros there."""
        self.variable.assign(self.value())


class Weights:
    """The copies of all the weights of the nodes, by the variable that they were copied from."""

    def __init__(self) -> None:
        self._of: dict[int, Weight] = {}
        self._sources: list[keras.Variable] = []  # keeps the ids valid

    def add(self, source: keras.Variable, make: Any) -> None:
        """Add a copy, unless the variable has one.

        Args:
            source: The layer's variable.
            make: Makes the copy, called without arguments.
        """
        if id(source) not in self._of:
            self._of[id(source)] = make()
            self._sources.append(source)

    def __getitem__(self, source: keras.Variable) -> Weight:
        return self._of[id(source)]

    def __contains__(self, source: keras.Variable) -> bool:
        return id(source) in self._of

    def kernels(self) -> list[Kernel]:
        """Return the kernels that are trained, in order."""
        return [w for w in self._of.values() if isinstance(w, Kernel) and w.trained is not None]
