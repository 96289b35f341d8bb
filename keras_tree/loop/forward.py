"""One pass through the nodes for several tasks at once, each with a batch of its own.

A node runs once on the batches of all tasks that use it, put together, so that its batch
normalization sees the mixture. What is done with the outputs is in `steps.py`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import tensorflow as tf

Runs = tuple[tuple[str, tuple[str, ...]], ...]


def run_order(paths: Mapping[str, Sequence[str]]) -> Runs:
    """Return in what order to run which node for which tasks, so that few runs are needed.

    A node runs once for all its tasks as soon as each of them has come to it. Only where paths pass
    two nodes in opposite orders must one of them run more than once.

    Args:
        paths: Node names by task.

    Returns:
        The runs: (node, tasks), in order.
    """
    ahead = {task: list(path) for task, path in paths.items()}
    runs = []
    while waiting := {task: path[0] for task, path in ahead.items() if path}:
        at = {node: [t for t, n in waiting.items() if n == node] for node in waiting.values()}
        ready = [n for n in at if len(at[n]) == sum(n in path for path in ahead.values())]
        node = ready[0] if ready else max(at, key=lambda name: len(at[name]))
        runs.append((node, tuple(at[node])))
        for task in at[node]:
            ahead[task].pop(0)
    return tuple(runs)


def run_nodes(
    tree: Any,
    runs: Runs,
    inputs: Mapping[str, tf.Tensor],
    rows: Mapping[str, Any],
    training: bool | Iterable[str],
) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
    """Run nodes on the batches of their tasks put together.

    Args:
        tree: The tree.
        runs: What to run, of `run_order`.
        inputs: Per task float32 (rows, *trunk input shape).
        rows: Per task the extent of its batch: an int, or an int32 scalar.
        training: Whether nodes run in training mode, or the names of those that do.

    Returns:
        Per task the output of the last node run for it, (rows, ...); and per node that has any the
        sum of the losses that its layers added in this pass, a float32 scalar.
    """
    features = dict(inputs)
    added: dict[str, tf.Tensor] = {}
    for node, tasks in runs:
        in_training = training if isinstance(training, bool) else node in training
        if len(tasks) == 1:
            features[tasks[0]] = tree.run_node(node, features[tasks[0]], training=in_training)
        else:
            joined = tf.concat([features[task] for task in tasks], 0)  # (sum of rows, ...)
            output = tree.run_node(node, joined, training=in_training)
            parts = tf.split(output, [rows[task] for task in tasks], num=len(tasks))
            features.update(zip(tasks, parts, strict=True))
        for loss in layer_losses(tree.nodes[node]):
            added[node] = added.get(node, 0.0) + tf.cast(tf.reduce_sum(loss), tf.float32)
    return features, added


def layer_losses(node: Any) -> list[tf.Tensor]:
    """Return the losses that layers added while the node ran, without those of its weights."""
    losses = node.losses
    return losses[: len(losses) - len(regularized(node))]


def with_weight_losses(
    tree: Any, nodes: Iterable[str], added: Mapping[str, tf.Tensor]
) -> dict[str, tf.Tensor]:
    """Return the losses that nodes added, and those of their weights' regularizers, by node."""
    losses = dict(added)
    for name in nodes:
        for variable in regularized(tree.nodes[name]):
            loss = tf.cast(variable.regularizer(variable), tf.float32)
            losses[name] = losses.get(name, 0.0) + loss
    return losses


def regularized(node: Any) -> list[Any]:
    """Return the node's trainable weights that have a regularizer."""
    return [v for v in node.trainable_weights if v.regularizer is not None]
