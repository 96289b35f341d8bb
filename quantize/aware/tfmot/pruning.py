"""The stage "prune": tfmot's magnitude pruning, with a schedule of this training's own steps.

tfmot counts a layer's calls as steps, but a branch is called for its own task only, and a shared
layer more than once. So every wrapper's step is set from outside, before and after each batch, and
the masks of all layers follow one schedule. For that these inner attributes are used: a wrapper's
`pruning_step` and `pruning_obj`, whose `conditional_mask_update` and `weight_mask_op` are what
tfmot's own callback and wrapper call; there is no public way to set a step. Its
`_maybe_update_block_mask` is replaced for patterns, because tfmot knows blocks in dense kernels
only, and 2:4 in those of two and four axes.

Depthwise kernels are not pruned: tfmot has no rule for them, and they are few. Of a separable
convolution the pointwise kernel is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from quantize.aware.recipe import Pruning
from quantize.aware.tfmot.flat_model import Values, values_of
from quantize.aware.tfmot.importing import load
from quantize.aware.tfmot.stages import Setting, variables_by_node

tf_keras, tfmot = load()

PRUNED = {"Conv1D": "kernel", "Conv2D": "kernel", "Conv2DTranspose": "kernel", "Dense": "kernel"}
"""Layers that are pruned, and their kernels."""


class PruningStage:
    """A model whose kernels lose their least weights by and by.

    Args:
        setting: The training.
        values: The weights to begin with.
        step_count: Steps of the stage.
    """

    def __init__(self, setting: Setting, values: Values, step_count: int) -> None:
        pruning = setting.recipe.pruning or Pruning()
        self._setting = setting
        self._last_step = max(1, round(pruning.ramp * step_count))
        pruned = setting.trained_kernels(PRUNED)
        arguments = self._arguments(pruning)

        def wrap(layer: Any) -> Any:
            if layer.name not in pruned:
                return layer
            return tfmot.sparsity.keras.prune_low_magnitude(layer, **arguments)

        self.flat = setting.plain(values).cloned(wrap)
        layers = self.flat.layers()
        self._wrappers = [layers[name] for name in pruned]
        for name, wrapper in zip(pruned, self._wrappers, strict=True):
            _set_pattern(wrapper.pruning_obj, pruning, setting.parts()[name][1].kind)
        self._update = tf.function(self._update_masks, autograph=False)

    def variables(self) -> dict[str, list[Any]]:
        """Return the variables that training moves, by node."""
        return variables_by_node(self._setting, self.flat, {})

    def before_step(self, step: int) -> None:
        """Set every wrapper's step; a wrapper counts on when it is called."""
        for wrapper in self._wrappers:
            wrapper.pruning_step.assign(step - 1)

    def after_step(self, step: int) -> None:
        """Renew the masks that are due, of layers that were not called too, and apply them."""
        if self._wrappers:
            self._update(tf.constant(step, tf.int64))

    def values(self) -> Values:
        """Return the weights with their zeros."""
        return values_of(tfmot.sparsity.keras.strip_pruning(self.flat.model), self._setting.plans)

    def finish(self) -> None:
        """Bring every kernel to the final sparsity, whichever steps it took part in."""
        is_pattern = bool(self._wrappers) and self._wrappers[0].sparsity_m_by_n
        self.after_step(1 if is_pattern else self._last_step)

    def _arguments(self, pruning: Pruning) -> dict[str, Any]:
        """Return the arguments of `prune_low_magnitude`."""
        if pruning.pattern == "2:4":
            schedule = tfmot.sparsity.keras.ConstantSparsity(0.5, begin_step=0, frequency=1)
            return {"pruning_schedule": schedule, "sparsity_m_by_n": (2, 4)}
        schedule = tfmot.sparsity.keras.PolynomialDecay(
            pruning.initial_sparsity,
            pruning.final_sparsity,
            begin_step=0,
            end_step=self._last_step,
            power=3,
            frequency=1,
        )
        return {"pruning_schedule": schedule}

    def _update_masks(self, step: Any) -> None:
        for wrapper in self._wrappers:
            wrapper.pruning_step.assign(step)
            wrapper.pruning_obj.conditional_mask_update()
            wrapper.pruning_obj.weight_mask_op()


def _set_pattern(pruner: Any, pruning: Pruning, kind: str) -> None:
    """Give a wrapper's pruner the mask of a pattern, for kernels of any number of axes."""
    if pruning.pattern == "2:4":
        known = pruner._maybe_update_block_mask
        pruner._maybe_update_block_mask = lambda kernel: _two_of_four(kernel, known, kind)
    elif isinstance(pruning.pattern, tuple):
        rows, columns = pruning.pattern
        known = pruner._update_mask
        pruner._maybe_update_block_mask = lambda kernel: _blocks(kernel, known, rows, columns)


Masks = Callable[[Any], tuple[Any, Any]]


def _two_of_four(kernel: Any, known: Masks, kind: str) -> tuple[Any, Any]:
    """Return tfmot's mask of a kernel that ends in (inputs, outputs), with two or four axes.

    Args:
        kernel: Any supported kernel; that of a transposed convolution ends in its inputs.
        known: tfmot's own rule.
        kind: Name of the layer's class.
    """
    if kind == "Conv2DTranspose":
        threshold, mask = known(tf.transpose(kernel, (0, 1, 3, 2)))
        return threshold, tf.transpose(mask, (0, 1, 3, 2))
    if kind == "Conv1D":
        threshold, mask = known(tf.expand_dims(kernel, 0))
        return threshold, tf.squeeze(mask, 0)
    return known(kernel)


def _blocks(kernel: Any, known: Masks, rows: int, columns: int) -> tuple[Any, Any]:
    """Return the mask that prunes whole blocks by the mean magnitude of their weights.

    Args:
        kernel: (..., outputs), seen as (inputs, outputs).
        known: tfmot's rule for single weights, here for blocks.
        rows: Inputs of a block.
        columns: Outputs of a block.
    """
    flat = tf.reshape(tf.abs(kernel), (-1, kernel.shape[-1]))
    height, width = flat.shape
    padding = ((0, -height % rows), (0, -width % columns))

    def sums(matrix: Any) -> Any:
        padded = tf.pad(matrix, padding)
        shape = (padded.shape[0] // rows, rows, padded.shape[1] // columns, columns)
        return tf.reduce_sum(tf.reshape(padded, shape), (1, 3))

    threshold, mask = known(sums(flat) / sums(tf.ones_like(flat)))
    spread = tf.repeat(tf.repeat(mask, rows, 0), columns, 1)[:height, :width]
    return threshold, tf.reshape(spread, kernel.shape)
