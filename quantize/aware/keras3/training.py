"""Aware training in plain Keras 3: the backend's one door, `build`.

Belongs here: the stages, and the compiled step of each task. Does not belong here: the loop over
epochs, which calls `train_batch` (`quantize/aware/loop.py`).

XLA is not used: on a CPU it is slow in depthwise convolutions. A step of a depthwise-separable net
of 30,000 multiplications a sample took about twice as long with it, one of 700,000 eight times.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_tree import Task
from keras_tree.loop.contract import Contract
from keras_tree.loop.losses import TaskLoss
from quantize.aware.backend import AwareNode, NodeWeights
from quantize.aware.keras3.adam import Adam
from quantize.aware.keras3.building import program_of
from quantize.aware.keras3.calibration import Calibration, Ends
from quantize.aware.keras3.clustering import cluster
from quantize.aware.keras3.fake_quantization import Ranges
from quantize.aware.keras3.kernels import Weight, Weights
from quantize.aware.keras3.program import Call
from quantize.aware.keras3.pruning import Pruner
from quantize.aware.recipe import Recipe, Stage

_BATCH = 256


def build(
    nodes: Mapping[str, AwareNode],
    paths: Mapping[str, tuple[str, ...]],
    tasks: Mapping[str, Task],
    recipe: Recipe,
) -> KerasAwareModel:
    """Return nodes ready for aware training (`quantize.aware.backend.Build`).

    Args:
        nodes: The nodes by name; their models are only read.
        paths: Per task the names of the nodes that it runs.
        tasks: The tasks by name.
        recipe: The recipe.

    Raises:
        AwareTrainingError: A trained node has a layer with weights that is not supported.
    """
    return KerasAwareModel(nodes, paths, tasks, recipe)


class KerasAwareModel:
    """Paths of nodes in training (`quantize.aware.backend.AwareModel`).

    Args:
        nodes: The nodes by name; their models are only read.
        paths: Per task the names of the nodes that it runs.
        tasks: The tasks by name.
        recipe: The recipe.

    Raises:
        AwareTrainingError: A trained node has a layer with weights that is not supported.
    """

    def __init__(
        self,
        nodes: Mapping[str, AwareNode],
        paths: Mapping[str, tuple[str, ...]],
        tasks: Mapping[str, Task],
        recipe: Recipe,
    ) -> None:
        self.recipe = recipe
        self._nodes, self._paths = nodes, paths
        self._weights, self._ranges = Weights(), Ranges()
        programs = {
            name: program_of(node, recipe, self._weights, self._ranges)
            for name, node in nodes.items()
        }
        self._ends = Ends(nodes, programs, paths, self._ranges)
        self._programs = programs
        self._losses = {task: TaskLoss(tasks[task]) for task in paths}
        self._contracts = {task: self._contract(task, tasks[task]) for task in paths}
        self._shared = frozenset(
            name for name in nodes if sum(name in path for path in paths.values()) > 1
        )
        self._quantized = False
        self._step = 0
        self._pruner: Pruner | None = None
        self._calibration: Calibration | None = None
        self._steps: dict[str, Callable[..., tf.Tensor]] = {}
        self._predictions: dict[str, Callable[..., tf.Tensor]] = {}

    def begin_stage(self, stage: Stage, step_count: int) -> None:
        """Set up a stage of the recipe; `step_count` calls of `train_batch` follow."""
        self._clear()
        self._quantized = stage == "quantize"
        self._step = 0
        kernels = self._weights.kernels()
        if stage == "prune" and self.recipe.pruning is not None:
            self._pruner = Pruner(self.recipe.pruning, kernels, step_count)
        if stage == "cluster" and self.recipe.clustering is not None:
            cluster(kernels, self.recipe.clustering.bits)
        variables = {name: [v for _, v in self._trained(name)] for name in self._nodes}
        self._optimizer = Adam(self.recipe.learning_rate, variables)

    def calibrate(self, samples: Mapping[str, np.ndarray]) -> None:
        """Set every free range to the least and greatest value over samples.

        Args:
            samples: Per task float32 (n, *input shape of its path).

        Raises:
            CalibrationError: A node computes infinity or NaN: the training has diverged.
        """
        if self._calibration is None:
            self._calibration = Calibration(
                self._programs, self._paths, self._ends, self._weights, self._ranges
            )
        self._calibration.run(samples)

    def train_batch(self, task: str, x: np.ndarray, y: np.ndarray) -> float:
        """Take one optimizer step on a task and return its loss.

        Args:
            task: The task.
            x: float32 (batch, *input shape of its path).
            y: Labels as the task's loss takes them; a missing one counts for nothing.
        """
        if self._pruner is not None:
            self._pruner.update(self._step)
        self._step += 1
        batch = self._contracts[task].check(x, y)
        rows = (np.asarray(batch.x, np.float32), batch.y, batch.weight, batch.valid)
        if task not in self._steps:
            signature = [tf.TensorSpec((None, *part.shape[1:]), tf.float32) for part in rows]
            self._steps[task] = tf.function(
                functools.partial(self._train, task),
                input_signature=signature,
                autograph=False,
            )
        return float(self._steps[task](*rows))

    def predict(self, task: str, x: np.ndarray) -> np.ndarray:
        """Return a task's outputs as the present stage computes them, in inference mode.

        Args:
            task: The task.
            x: float32 (n, *input shape of its path).

        Returns:
            float32 (n, *output shape).
        """
        x = np.asarray(x, np.float32)
        if task not in self._predictions:
            self._predictions[task] = tf.function(
                functools.partial(self._infer, task),
                input_signature=[tf.TensorSpec((None, *x.shape[1:]), tf.float32)],
                autograph=False,
            )
        function = self._predictions[task]
        starts = range(0, max(1, len(x)), _BATCH)
        return np.concatenate([function(x[start : start + _BATCH]).numpy() for start in starts])

    def end_stage(self) -> None:
        """Finish the stage: pruned weights are exact zeros, clustered ones share exact values."""
        if self._pruner is not None:
            self._pruner.finish()
        for kernel in self._weights.kernels():
            kernel.settle()

    def weights(self) -> dict[str, NodeWeights]:
        """Return the weights of the trained nodes, by node."""
        return {
            name: dict(self._layer_weights(node.model))
            for name, node in self._nodes.items()
            if node.trained
        }

    def _train(
        self, task: str, x: tf.Tensor, y: tf.Tensor, weight: tf.Tensor, valid: tf.Tensor
    ) -> tf.Tensor:
        """Change the weights of a task's path; return its loss, without its weight in the sum."""
        loss_of = self._losses[task]
        trained = {name: self._trained(name) for name in self._paths[task]}
        variables = [variable for pairs in trained.values() for _, variable in pairs]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            outputs = self._run(task, x, self._call(training=True))
            loss, _ = loss_of.mean(y, tf.cast(outputs, tf.float32), weight, valid)
            penalties = [copy.penalty() for pairs in trained.values() for copy, _ in pairs]
            total = loss * loss_of.task.weight + sum(penalties)
        gradients = tape.gradient(total, variables)
        gradient_of = dict(zip(map(id, variables), gradients, strict=True))
        for name, pairs in trained.items():
            found = [(gradient_of[id(variable)], variable) for _, variable in pairs]
            self._optimizer.apply(name, [pair for pair in found if pair[0] is not None])
            for copy, _ in pairs:
                copy.constrain()
        return loss

    def _infer(self, task: str, x: tf.Tensor) -> tf.Tensor:
        return self._run(task, x, self._call())

    def _run(self, task: str, x: tf.Tensor, call: Call) -> tf.Tensor:
        """Return the outputs of a path, float32 (batch, *output shape)."""
        path = self._paths[task]
        x = self._ends.enter(call, path[0], x)
        for name in path:
            x = self._ends.run(call, name, x)
        return x

    def _call(self, training: bool = False) -> Call:
        ranges = self._ranges if self._quantized else None
        return Call(self._weights, ranges, training, self._shared)

    def _clear(self) -> None:
        """Forget what was compiled for the stage before."""
        self._steps, self._predictions, self._calibration = {}, {}, None
        self._pruner = None

    def _trained(self, name: str) -> list[tuple[Weight, tf.Variable]]:
        """Return the weights of a node that are trained, with the variables trained for them."""
        sources: Sequence[Any] = self._nodes[name].model.weights
        copies = [self._weights[source] for source in sources if source in self._weights]
        return [(copy, copy.trained) for copy in copies if copy.trained is not None]

    def _contract(self, name: str, task: Task) -> Contract:
        path = self._paths[name]
        first, last = self._nodes[path[0]].model, self._nodes[path[-1]].model
        return Contract(task, tuple(first.inputs[0].shape), tuple(last.outputs[0].shape))

    def _layer_weights(
        self, model: keras.Model, prefix: str = ""
    ) -> Iterator[tuple[str, list[np.ndarray]]]:
        """Give the arrays of every layer with weights, by its path."""
        for layer in model.layers:
            path = f"{prefix}{layer.name}"
            if isinstance(layer, keras.Model):
                yield from self._layer_weights(layer, f"{path}/")
            elif layer.weights:
                yield path, [self._array(source) for source in layer.weights]

    def _array(self, source: keras.Variable) -> np.ndarray:
        return self._weights[source].numpy() if source in self._weights else source.numpy()
