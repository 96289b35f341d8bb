"""One optimizer step on one task.

Every node has an Adam of its own, so that a step on one task moves no weight of another task's
nodes: a common one would go on moving them by their momentum, and counts steps they took no part
in when it corrects its averages.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from keras_tree import Task
from keras_tree.loop.compiled import Compiled
from keras_tree.loop.contract import Contract
from keras_tree.loop.losses import TaskLoss
from quantize.aware.tfmot.flat_model import FlatModel
from quantize.aware.tfmot.importing import load

tf_keras, tfmot = load()


class Trainer:
    """Trains the variables of one stage.

    Args:
        flat: The stage's model.
        variables: What is trained, by node.
        paths: Per task its nodes.
        tasks: The tasks.
        learning_rate: Of Adam.
    """

    def __init__(
        self,
        flat: FlatModel,
        variables: Mapping[str, list[Any]],
        paths: Mapping[str, tuple[str, ...]],
        tasks: Mapping[str, Task],
        learning_rate: float,
    ) -> None:
        self._variables, self._paths = variables, paths
        self._optimizers = {node: _adam(learning_rate, own) for node, own in variables.items()}
        models = {task: flat.training(task) for task in paths}
        self._contracts = {
            task: Contract(tasks[task], model.input_shape, model.output_shape)
            for task, model in models.items()
        }
        self._steps = {
            task: Compiled(partial(self._step, task, model, TaskLoss(tasks[task])))
            for task, model in models.items()
        }

    def step(self, task: str, x: np.ndarray, y: np.ndarray) -> float:
        """Take one step on a batch and return its mean loss over the labelled samples.

        Args:
            task: The task.
            x: float32 (batch, *input shape).
            y: Labels (batch, ...); NaN, or the task's missing label, where there is none.
        """
        batch = self._contracts[task].check(x, y)
        return float(self._steps[task](batch.x.astype(np.float32), *batch.parts()[1:]))

    def _step(self, task: str, model: Any, loss: TaskLoss, x: Any, *labels: Any) -> Any:
        nodes = [node for node in dict.fromkeys(self._paths[task]) if node in self._variables]
        variables = [variable for node in nodes for variable in self._variables[node]]
        y, weight, valid = labels  # each (batch, ...)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            for variable in variables:
                tape.watch(variable)
            prediction = tf.cast(model(x, training=True), tf.float32)  # (batch, ...)
            value, _ = loss.mean(y, prediction, weight, valid)
            total = loss.task.weight * value
        gradients = tape.gradient(
            total, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        for node in nodes:
            own, gradients = (
                gradients[: len(self._variables[node])],
                gradients[len(self._variables[node]) :],
            )
            pairs = zip(own, self._variables[node], strict=True)
            self._optimizers[node].apply_gradients(pairs)
        return value


def _adam(learning_rate: float, variables: list[Any]) -> Any:
    optimizer = tf_keras.optimizers.Adam(learning_rate, jit_compile=False)
    optimizer.build(variables)
    return optimizer
