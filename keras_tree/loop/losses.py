"""A task's loss and metrics, per sample, so that samples without a label can be left out.

How the losses of several tasks become one step is in `steps.py`.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import keras
import tensorflow as tf

from keras_tree.tasks import Task, deserialize, metric_name

LabelKind = Literal["class", "one-hot", "binary", "value"]
Shape = tuple[int | None, ...]

# What the labels of a Keras loss are, by its name without case and underscores; of all others,
# plain values.
LABEL_KINDS: dict[str, LabelKind] = {
    "sparsecategoricalcrossentropy": "class",
    "categoricalgeneralizedcrossentropy": "class",
    "categoricalcrossentropy": "one-hot",
    "categoricalfocalcrossentropy": "one-hot",
    "categoricalhinge": "one-hot",
    "binarycrossentropy": "binary",
    "binaryfocalcrossentropy": "binary",
}

# Metrics whose form follows from the labels' kind, under the names that Keras gives them.
METRICS_BY_LABEL: dict[str, dict[str, Callable[..., keras.metrics.Metric]]] = {
    "accuracy": {
        "class": keras.metrics.SparseCategoricalAccuracy,
        "one-hot": keras.metrics.CategoricalAccuracy,
        "binary": keras.metrics.BinaryAccuracy,
    },
    "crossentropy": {
        "class": keras.metrics.SparseCategoricalCrossentropy,
        "one-hot": keras.metrics.CategoricalCrossentropy,
        "binary": keras.metrics.BinaryCrossentropy,
    },
}
LONG_NAMES = {"acc": "accuracy", "ce": "crossentropy"}


def label_kind(loss: Any) -> LabelKind:
    """Return what the labels of a loss are: class numbers, one-hot rows, binary or other values."""
    name = loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)
    return LABEL_KINDS.get(name.replace("_", "").lower(), "value")


def ignored_class(loss: Any) -> int | None:
    """Return the class that the loss itself ignores (its `ignore_class`), or None."""
    return getattr(loss, "ignore_class", None)


class TaskLoss:
    """The loss of one task, averaged over its labelled samples.

    Args:
        task: The task.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        loss = keras.losses.get(task.loss)
        # A Loss object reduces in `__call__` and not in `call`; a function does not reduce.
        self._per_sample = loss.call if isinstance(loss, keras.losses.Loss) else loss

    def values(self, y: tf.Tensor, prediction: tf.Tensor) -> tf.Tensor:
        """Return one loss per sample.

        Args:
            y: Labels, float32 (batch, ...).
            prediction: Outputs, float32 (batch, ...).

        Returns:
            float32 (batch,), or (batch, ...) for outputs with a value per position.

        Raises:
            ValueError: If the loss returns one number for the whole batch.
        """
        values = tf.convert_to_tensor(self._per_sample(y, prediction))
        if values.shape.rank == 0:
            raise ValueError(
                f"The loss of task {self.task.name!r} must return one value per sample, as samples "
                f"without a label are left out. Received one number for the batch from "
                f"{self.task.loss!r}. Average over the last axis only: ops.mean(..., axis=-1)."
            )
        return tf.cast(values, tf.float32)

    def mean(
        self, y: tf.Tensor, prediction: tf.Tensor, weight: tf.Tensor, valid: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the weighted loss over the number of labelled samples, and that number.

        Args:
            y: Labels, float32 (batch, ...); any number where there is no label.
            prediction: Outputs, float32 (batch, ...).
            weight: Weight of each label, float32 (batch, ...); 0 where there is no label.
            valid: 1 where there is a label and 0 where there is none, float32 (batch, ...).

        Returns:
            The loss, a float32 scalar: 0 if there is no label; and the number of labels, float32
            scalar.
        """
        values = self.values(y, prediction)
        extra = list(range(values.shape.rank, valid.shape.rank))
        if extra:  # The loss has one value per sample; a sample counts if all of it is labelled.
            valid = tf.reduce_min(valid, extra)
            weight = tf.reduce_mean(weight, extra) * valid
        count = tf.reduce_sum(valid)
        # `where` and not only a product: an infinite loss of a missing label times 0 would be NaN.
        kept = tf.where(valid > 0, values, tf.zeros_like(values)) * weight
        return tf.reduce_sum(kept) / tf.maximum(count, 1.0), count


def make_metrics(task: Task, label_rank: int, output_shape: Shape) -> list[keras.metrics.Metric]:
    """Return new metrics of a task, each named "<task>_<metric>".

    Args:
        task: The task.
        label_rank: Rank of a batch of labels.
        output_shape: Shape of a batch of outputs.
    """
    kind = label_kind(task.loss)
    if kind == "value":  # Another loss says nothing about its labels; their rank does, as in Keras.
        kind = "class" if label_rank < len(output_shape) else "one-hot"
        kind = "binary" if output_shape[-1] == 1 else kind
    return [make_metric(task, metric, kind) for metric in task.metrics]


def make_metric(task: Task, metric: Any, kind: LabelKind) -> keras.metrics.Metric:
    """Return one new metric, without the state of the task's own."""
    name = f"{task.name}_{metric_name(metric)}"
    by_label = (
        METRICS_BY_LABEL.get(LONG_NAMES.get(metric, metric)) if isinstance(metric, str) else None
    )
    if by_label:
        return by_label[kind](name=name)
    made = deserialize(dict(metric)) if isinstance(metric, Mapping) else keras.metrics.get(metric)
    if isinstance(made, keras.metrics.Metric):
        return type(made).from_config({**made.get_config(), "name": name})
    return keras.metrics.MeanMetricWrapper(made, name=name)
