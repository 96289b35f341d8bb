"""What a training backend is: the same for tensorflow-model-optimization and for our own layers.

Types only. `keras3/` and `tfmot/` each have a function `build` of the type `Build`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from quantize.aware.recipe import Recipe, Stage
from quantize.tensor_spec import TensorSpec

if TYPE_CHECKING:
    import keras

    from keras_tree import Task

NodeWeights = dict[str, list[np.ndarray]]
"""Arrays of every layer with weights, by the layer's name ("block/conv" for a nested one), each
list in the order and with the shapes of the Keras layer's `get_weights()`."""


class AwareTrainingError(ValueError):
    """A node that cannot be trained so; names the layer and what to use instead."""


@dataclass(frozen=True)
class AwareNode:
    """A float node as a backend gets it.

    Args:
        name: The node's name in the tree.
        model: The Keras 3 model; it is only read.
        trained: Whether its weights are trained; those of the others stay as they are.
        input: What the node's input codes are, where a seam fixes them; None where they are free.
        output: Likewise for its output.
        fake_quantized: Whether it is fake-quantized: False for a node that is stored with 16-bit
            activations.
    """

    name: str
    model: keras.Model
    trained: bool = True
    input: TensorSpec | None = None
    output: TensorSpec | None = None
    fake_quantized: bool = True


class AwareModel(Protocol):
    """Paths of nodes in training. Paths may share nodes; every path may begin at another one."""

    def begin_stage(self, stage: Stage, step_count: int) -> None:
        """Set up a stage of the recipe; `step_count` calls of `train_batch` follow."""

    def calibrate(self, samples: Mapping[str, np.ndarray]) -> None:
        """Set every free range to the least and greatest value over samples, in inference mode.

        Called in the stage "quantize" only: before its first step and after each of its epochs.
        Between calls ranges stay as they are. Fixed ranges (`AwareNode.input` and `output`) never
        move.

        Args:
            samples: Per task float32 (n, *input shape of its path).
        """

    def train_batch(self, task: str, x: np.ndarray, y: np.ndarray) -> float:
        """Take one optimizer step on a task and return its loss.

        Args:
            task: The task.
            x: float32 (batch, *input shape of its path).
            y: Labels as the task's loss takes them.
        """

    def predict(self, task: str, x: np.ndarray) -> np.ndarray:
        """Return a task's outputs as the present stage computes them, in inference mode: float32.

        In the stage "quantize" that is with fake quantization; after it, it stays so.
        """

    def end_stage(self) -> None:
        """Finish the stage: pruned weights are exact zeros, clustered ones share exact values."""

    def weights(self) -> dict[str, NodeWeights]:
        """Return the weights of the trained nodes, by node, to be set on copies of their models."""


Build = Callable[
    [Mapping[str, AwareNode], Mapping[str, tuple[str, ...]], "Mapping[str, Task]", Recipe],
    AwareModel,
]
"""Nodes by name, per task the names of the nodes that it runs, the tasks, and the recipe.

It is called twice: before any work, when no seam has codes yet, and to train. Raises
`AwareTrainingError` for a layer that the backend does not support.
"""
