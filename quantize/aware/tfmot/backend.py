"""Aware training through tensorflow-model-optimization, on a tf_keras clone of the nodes.

tensorflow-model-optimization rejects Keras 3 models, and nested ones of Keras 2. So the paths are
cloned into one flat tf_keras model, trained there, and the weights go back by layer.

Could not be verified: other releases than tensorflow-model-optimization 0.8.1 with tf_keras 2.21
and TensorFlow 2.21; GPUs; distribution strategies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from keras_tree import Task
from keras_tree.loop.compiled import Compiled
from quantize.aware.backend import AwareNode, AwareTrainingError, NodeWeights
from quantize.aware.recipe import Recipe, Stage
from quantize.aware.tfmot.clone import read_nodes
from quantize.aware.tfmot.clustering import ClusteringStage
from quantize.aware.tfmot.flat_model import Values
from quantize.aware.tfmot.parts import LayerPlan
from quantize.aware.tfmot.placement import Range
from quantize.aware.tfmot.pruning import PruningStage
from quantize.aware.tfmot.quantization import QuantizationStage
from quantize.aware.tfmot.stages import PlainStage, Setting, StageModel
from quantize.aware.tfmot.training import Trainer

_BATCH = 256


def build(
    nodes: Mapping[str, AwareNode],
    paths: Mapping[str, tuple[str, ...]],
    tasks: Mapping[str, Task],
    recipe: Recipe,
) -> TfmotModel:
    """Clone nodes into tf_keras, ready for the first stage of a recipe.

    Args:
        nodes: The nodes by name; their models are only read.
        paths: Per task the names of the nodes that it runs.
        tasks: The tasks.
        recipe: What is to be trained.

    Raises:
        AwareTrainingError: A layer has no equal form in tf_keras; or tfmot is not installed.
    """
    used = {name: nodes[name] for path in paths.values() for name in path}
    setting = Setting(used, read_nodes(used), {t: tuple(p) for t, p in paths.items()}, recipe)
    return TfmotModel(setting, tasks)


class TfmotModel:
    """Paths of nodes in training; see `quantize.aware.backend.AwareModel`.

    Args:
        setting: The nodes, the paths and the recipe.
        tasks: The tasks.
    """

    def __init__(self, setting: Setting, tasks: Mapping[str, Task]) -> None:
        self._setting, self._tasks = setting, tasks
        values = {
            name: list(arrays)
            for plan in setting.plans.values()
            for layer in plan.layers.values()
            for name, arrays in _by_part(layer).items()
        }
        self._trainer: Trainer | None = None
        self._step = 0
        self._enter(PlainStage(setting, values))

    def begin_stage(self, stage: Stage, step_count: int) -> None:
        """Set up a stage of the recipe; `step_count` calls of `train_batch` follow."""
        values = self._stage.values()
        entered: StageModel
        if stage == "prune":
            entered = PruningStage(self._setting, values, step_count)
        elif stage == "cluster":
            entered = ClusteringStage(self._setting, values)
        else:
            entered = QuantizationStage(self._setting, values)
        self._enter(entered)
        self._step = 0
        self._trainer = Trainer(
            entered.flat,
            entered.variables(),
            self._setting.paths,
            self._tasks,
            self._setting.recipe.learning_rate,
        )

    def calibrate(self, samples: Mapping[str, np.ndarray]) -> None:
        """Set every free range to the least and greatest value over samples, in inference mode.

        The float model is recorded, as the converter records it; where a node stands behind
        another, on float features and not on the int8 ones that the converter will see.
        """
        if not isinstance(self._stage, QuantizationStage):
            raise AwareTrainingError(
                "`calibrate` must be called in the stage 'quantize', received a call outside of "
                "it. Call `begin_stage('quantize', ...)` first."
            )
        if set(samples) != set(self._setting.paths):
            raise AwareTrainingError(
                f"`samples` must be of the tasks {_listed(self._setting.paths)}, received "
                f"{_listed(samples)}. A range that no sample reaches cannot be set."
            )

        def record() -> None:
            for task, x in samples.items():
                for batch in _batches(x):
                    self._record[task](batch)

        self._stage.calibrate(record)

    def train_batch(self, task: str, x: np.ndarray, y: np.ndarray) -> float:
        """Take one optimizer step on a task and return its loss."""
        self._check_calibrated("train_batch")
        if self._trainer is None:
            raise AwareTrainingError(
                "`train_batch` must be called within a stage, received a call outside of one. "
                "Call `begin_stage` first."
            )
        self._step += 1
        self._stage.before_step(self._step)
        loss = self._trainer.step(task, x, y)
        self._stage.after_step(self._step)
        return loss

    def predict(self, task: str, x: np.ndarray) -> np.ndarray:
        """Return a task's outputs as the present stage computes them, in inference mode."""
        self._check_calibrated("predict")
        return np.concatenate([np.asarray(self._predict[task](batch)) for batch in _batches(x)])

    def end_stage(self) -> None:
        """Finish the stage: pruned weights are exact zeros, clustered ones share exact values."""
        if isinstance(self._stage, PruningStage):
            self._stage.finish()
        self._trainer = None
        if not isinstance(self._stage, QuantizationStage):
            self._enter(PlainStage(self._setting, self._stage.values()))

    def weights(self) -> dict[str, NodeWeights]:
        """Return the weights of the trained nodes, by node and layer."""
        values = self._stage.values()
        return {
            name: {
                path: _joined(layer, values)
                for path, layer in self._setting.plans[name].layers.items()
                if layer.values
            }
            for name, node in self._setting.nodes.items()
            if node.trained
        }

    @property
    def ranges(self) -> dict[str, Range]:
        """The ranges in use by node and tensor ("trunk/input"), in the stage "quantize"."""
        return self._stage.ranges if isinstance(self._stage, QuantizationStage) else {}

    def _enter(self, stage: StageModel) -> None:
        self._stage = stage
        self._predict = self._functions(stage)
        self._record = self._functions(stage)  # traced apart, while the quantizers record

    def _functions(self, stage: StageModel) -> dict[str, Callable[[np.ndarray], Any]]:
        models = {task: stage.flat.predicting(task) for task in self._setting.paths}
        return {task: Compiled(partial(_infer, model)) for task, model in models.items()}

    def _check_calibrated(self, call: str) -> None:
        if isinstance(self._stage, QuantizationStage) and not self._stage.is_calibrated:
            raise AwareTrainingError(
                f"`{call}` must come after `calibrate` in the stage 'quantize', received it "
                "before. Call `calibrate(samples)` first: there are no ranges yet."
            )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names) or "none"


def _infer(model: Any, x: Any) -> Any:
    return model(x, training=False)


def _batches(x: np.ndarray) -> Iterator[np.ndarray]:
    array = np.asarray(x, np.float32)
    for start in range(0, max(len(array), 1), _BATCH):
        yield array[start : start + _BATCH]


def _by_part(layer: LayerPlan) -> Values:
    """Return a layer's weights by the tf_keras layer that holds them."""
    arrays, found = list(layer.values), {}
    for name, part in zip(layer.names, layer.parts, strict=True):
        found[name], arrays = arrays[: len(part.weights)], arrays[len(part.weights) :]
    return {name: held for name, held in found.items() if held}


def _joined(layer: LayerPlan, values: Values) -> list[np.ndarray]:
    """Return a layer's weights as its original has them; what no part holds is as it was."""
    held = [
        array
        for name, part in zip(layer.names, layer.parts, strict=True)
        if part.weights
        for array in values[name]
    ]
    return held or [np.array(array) for array in layer.values]
