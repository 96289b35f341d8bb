"""The update: what one batch of one or several tasks changes in a tree.

An update computes the losses of one or several tasks on a batch of each, and applies their
gradient to the nodes of these tasks only. Which tasks' data a step takes is the schedule's choice;
the data comes from `blocks.py`, many steps at a time.

Many steps in one call of a compiled function are in `loops.py`.
"""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from keras_tree.loop import normalization
from keras_tree.loop.forward import run_nodes, run_order, with_weight_losses
from keras_tree.loop.losses import TaskLoss
from keras_tree.loop.reporting import Report

# A batch of one task: x (rows, ...), y (rows, ...), weight (rows, ...), valid (rows, ...), float32.
Rows = tuple[Any, ...]


class Steps:
    """The compiled steps of one tree.

    Args:
        tree: The tree, compiled.
        label_shapes: Per trained task the shape of one sample's label.
        jit: Whether XLA compiles a step.
    """

    def __init__(self, tree: Any, label_shapes: Mapping[str, tuple[int, ...]], jit: bool) -> None:
        self.tree = tree
        self.tasks = tuple(label_shapes)
        self.report = Report(tree, label_shapes)
        self.losses = {task: TaskLoss(tree.tasks[task]) for task in self.tasks}
        self.normalizations = normalization.shared_normalizations(tree, self.tasks)
        self.shared = [layer for layers in self.normalizations.values() for layer in layers]
        self.jit = jit

    def update(self, batches: Mapping[str, Rows], rows: Mapping[str, Any], alone: bool) -> None:
        """Update the nodes of the tasks in `batches`, and nothing else.

        Args:
            batches: A batch of each task: x, y, weight, valid, each (rows, ...).
            rows: Per task the extent of its batch: an int, or an int32 scalar.
            alone: Whether the batches are not all that the shared nodes are trained on in turn, so
                that these normalise with their moving statistics.
        """
        tree, tasks = self.tree, tuple(batches)
        runs = run_order({task: tree.paths[task] for task in tasks})
        nodes = [name for name in tree.nodes if any(name == run[0] for run in runs)]
        variables = [v for name in nodes for v in tree.nodes[name].trainable_variables]
        inputs = {task: batches[task][0] for task in tasks}
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([variable.value for variable in variables])
            with normalization.moving_statistics(self.shared if alone else ()):
                outputs, added = run_nodes(tree, runs, inputs, rows, training=True)
            added = with_weight_losses(tree, nodes, added)
            weighted = {}
            for task in tasks:
                _, y, weight, valid = batches[task]
                prediction = tf.cast(outputs[task], tf.float32)
                loss, count = self.losses[task].mean(y, prediction, weight, valid)
                self.report.update(task, loss, count, y, prediction, valid)
                weighted[task] = tree.tasks[task].weight * loss
            self.report.update_added(added, sum(rows[task] for task in tasks))
            combined = (tree.balancer or sum_of)(weighted)
            total = tree.optimizer.scale_loss(tf.add_n([combined, *added.values()]))
        self.apply(tape.gradient(total, [v.value for v in variables]), variables)

    def apply(self, gradients: list[Any], variables: list[Any]) -> None:
        """Apply the gradients that there are; the slots of all other variables stay as they are."""
        pairs = [(g, v) for g, v in zip(gradients, variables, strict=True) if g is not None]
        if pairs:
            self.tree.optimizer.apply(*zip(*pairs, strict=True))

    def refresh(self, inputs: Mapping[str, tf.Tensor], rows: Mapping[str, int]) -> None:
        """Bring the moving statistics of shared nodes up to date.

        Args:
            inputs: A batch of every task, float32 (rows, *trunk input shape).
            rows: Per task the extent of its batch.
        """
        if not self.shared:
            return
        # Each path as far as the last node whose statistics are wanted.
        ends = {
            task: max((i for i, n in enumerate(path, 1) if n in self.normalizations), default=0)
            for task, path in self.tree.paths.items()
            if task in self.tasks
        }
        runs = run_order({task: self.tree.paths[task][:end] for task, end in ends.items()})
        steps = tf.cast(self.tree.optimizer.iterations, tf.float32) / len(self.tasks)
        normalization.refresh(
            self.shared,
            lambda: run_nodes(self.tree, runs, inputs, rows, training=self.normalizations),
            steps,
        )


def sum_of(losses: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Return the sum of the tasks' weighted losses, as long as no balancer combines them."""
    return tf.add_n(list(losses.values()))
