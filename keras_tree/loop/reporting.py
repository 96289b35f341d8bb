"""What training and evaluation report: running means of losses and metrics, under Keras's names.

"<task>_loss" is the mean over the task's labelled samples, without its weight. "loss" is the sum
over the tasks of weight times loss, plus the losses that layers and regularizers of weights add,
whichever schedule made the updates.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import keras
import tensorflow as tf

from keras_tree.loop.losses import make_metrics


class Report:
    """Running means of several tasks.

    Args:
        tree: The tree.
        label_shapes: Per task the shape of one sample's label.
    """

    def __init__(self, tree: Any, label_shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.weights = {task: tree.tasks[task].weight for task in label_shapes}
        self.losses = {task: keras.metrics.Mean(name=f"{task}_loss") for task in label_shapes}
        self.metrics: dict[str, list[keras.metrics.Metric]] = {}
        nodes = {node for task in label_shapes for node in tree.paths[task]}
        self.added = {node: keras.metrics.Mean(name=f"{node}_added_loss") for node in nodes}
        for task, shape in label_shapes.items():
            output = tree.nodes[tree.paths[task][-1]].outputs[0].shape
            metrics = make_metrics(tree.tasks[task], 1 + len(shape), tuple(output))
            build_metrics(metrics, shape, output[1:])
            self.metrics[task] = metrics

    def update(
        self, task: str, loss: tf.Tensor, count: tf.Tensor, y: Any, prediction: Any, valid: Any
    ) -> None:
        """Take in one batch of a task.

        Args:
            task: The task.
            loss: Its loss, a float32 scalar.
            count: Number of labels behind the loss, a float32 scalar.
            y: Labels, float32 (rows, ...).
            prediction: Outputs, float32 (rows, ...).
            valid: 1 where there is a label, float32 (rows, ...).
        """
        self.losses[task].update_state(loss, sample_weight=count)
        for metric in self.metrics[task]:
            metric.update_state(y, prediction, sample_weight=valid)

    def update_added(self, added: Mapping[str, tf.Tensor], rows: Any) -> None:
        """Take in the losses, float32 scalars, that nodes added in a pass over so many rows."""
        for node, value in added.items():
            self.added[node].update_state(value, sample_weight=tf.cast(rows, tf.float32))

    def results(self) -> dict[str, tf.Tensor]:
        """Return the means by the names under which Keras callbacks know them."""
        total = tf.add_n([mean.result() for mean in self.added.values()])
        results = {}
        for task, mean in self.losses.items():
            results[mean.name] = mean.result()
            total += self.weights[task] * results[mean.name]
            for metric in self.metrics[task]:
                value = metric.result()
                if isinstance(value, Mapping):
                    results |= {f"{task}_{name}": part for name, part in value.items()}
                else:
                    results[metric.name] = value
        return {"loss": total, **results}

    def reset(self) -> None:
        """Begin anew."""
        for metric in self.every_metric():
            metric.reset_state()

    def every_metric(self) -> Iterable[keras.metrics.Metric]:
        """Yield all that holds a running value."""
        yield from (*self.losses.values(), *self.added.values())
        for metrics in self.metrics.values():
            yield from metrics


def build_metrics(
    metrics: Iterable[keras.metrics.Metric], label_shape: tuple[int, ...], output_shape: Any
) -> None:
    """Let metrics make their variables, which they cannot do within a compiled function."""
    y = tf.zeros((1, *label_shape))
    prediction = tf.zeros((1, *(extent or 1 for extent in output_shape)))
    for metric in metrics:
        metric.update_state(y, prediction)
        metric.reset_state()


def as_numbers(results: Mapping[str, Any]) -> dict[str, Any]:
    """Return results as Python numbers; what has several values stays an array."""
    arrays = {name: keras.ops.convert_to_numpy(value) for name, value in results.items()}
    return {name: value.item() if value.ndim == 0 else value for name, value in arrays.items()}


def tell_directions(callbacks: Iterable[keras.callbacks.Callback], report: Report) -> None:
    """Tell callbacks that monitor a task's loss or metric whether less or more of it is better.

    Keras finds that out by itself for metrics of its own models only, and raises an error for
    others.
    """
    better = {mean.name: "min" for mean in report.losses.values()}
    modes = {"up": "max", "down": "min"}
    for metrics in report.metrics.values():
        for metric in metrics:
            better[metric.name] = modes.get(getattr(metric, "_direction", ""), "")
    for callback in callbacks:
        monitored = str(getattr(callback, "monitor", "")).removeprefix("val_")
        if getattr(callback, "mode", None) == "auto" and better.get(monitored):
            callback.mode = better[monitored]
