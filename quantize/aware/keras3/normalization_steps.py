"""The steps of batch normalization: a factor and an offset per channel.

A positive factor per channel changes no code of a kernel that has a scale per channel, and a
negative one their signs: so nothing is folded into the kernel in training.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

if TYPE_CHECKING:
    import keras

    from quantize.aware.keras3.building import Builder
    from quantize.aware.keras3.program import Call


def batch_norm(builder: Builder, call: Any, inputs: tuple[int, ...]) -> int:
    """Add the two steps of a BatchNormalization, the operators MUL and ADD where it stands alone.

    Of a "live" recipe the moving statistics go on moving; what normalizes is the batch's own
    statistics, or the moving ones in a node that several tasks share: a batch holds one task alone,
    and the statistics of inference are those of the mixture.
    """
    layer = call.operation
    live = builder.recipe.batch_norm == "live" and layer.trainable and builder.node.trained
    for source in (layer.gamma, layer.beta):
        builder.weight(source, trained=live)
    for source in (layer.moving_mean, layer.moving_variance):
        builder.weight(source, trained=False)
    name = builder.node.name if live else None

    def scaled(run: Call, x: tf.Tensor) -> tf.Tensor:
        factor, offset = _factor_and_offset(run, layer, x, name)
        run.kept[id(call)] = offset
        return x * run.constant(factor)

    def shifted(run: Call, x: tf.Tensor) -> tf.Tensor:
        return x + run.constant(run.kept[id(call)])

    first = builder.add(inputs, scaled, "batch_norm")
    return builder.add((first,), shifted, "batch_norm")


def _factor_and_offset(
    run: Call, layer: keras.layers.BatchNormalization, x: tf.Tensor, name: str | None
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return factor and offset, broadcast to the rank of x; move the statistics where live."""
    axis = layer.axis % x.shape.rank
    mean, variance = run.value(layer.moving_mean), run.value(layer.moving_variance)
    if run.training and name is not None:
        others = [i for i in range(x.shape.rank) if i != axis]
        seen = tf.nn.moments(x, others)
        for source, value in zip((layer.moving_mean, layer.moving_variance), seen, strict=True):
            moving = run.variable(source)
            moving.assign(moving * layer.momentum + value * (1.0 - layer.momentum))
        if name not in run.shared:
            mean, variance = seen
    factor = tf.math.rsqrt(variance + layer.epsilon)
    if layer.gamma is not None:
        factor *= run.value(layer.gamma)
    offset = -mean * factor
    if layer.beta is not None:
        offset += run.value(layer.beta)
    shape = [-1 if i == axis else 1 for i in range(x.shape.rank)]
    return tf.reshape(factor, shape), tf.reshape(offset, shape)
