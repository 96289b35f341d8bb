"""The steps of one training: their data, and compiled functions that later trainings use again."""

import dataclasses
import itertools
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from keras_tree.loop.blocks import Blocks, Parts
from keras_tree.loop.loops import Loop
from keras_tree.loop.sources import Source, StreamEndedError
from keras_tree.loop.steps import Steps
from keras_tree.nodes import inner_layers
from keras_tree.schedules import Kind

Made = TypeVar("Made")


class Execution:
    """Draws the data of several steps, and runs them.

    Args:
        tree: The tree.
        sources: Each task's source of samples.
        shares: Each task's share in the samples.
        kind: How the schedule takes the tasks of a step.
        jit: Whether XLA compiles a step.
        rng: Source of what is drawn.
    """

    def __init__(
        self,
        tree: Any,
        sources: Mapping[str, Source],
        shares: Mapping[str, float],
        kind: Kind,
        jit: bool,
        rng: np.random.Generator,
    ) -> None:
        dtype = tree.nodes[tree.trunk_name].inputs[0].dtype
        self._blocks = Blocks(sources, shares, kind, dtype, rng)
        shapes = {task: source.label_shape for task, source in sources.items()}
        tentative = tree.jit_compile_setting == "auto"
        key = (Loop, kind, jit, tentative, tree.balancer, *shapes.items())
        self.run = cached(tree, key, lambda: Loop(Steps(tree, shapes, jit), kind, tentative))
        self.report = self.run.report

    def draw(self, span: range, epoch: int) -> tuple[np.ndarray, dict[str, Parts]]:
        """Return the plan and the data of a span of steps.

        Raises:
            StreamEndedError: If a generator ended; it says at which step.
        """
        try:
            return self._blocks.draw(len(span))
        except StreamEndedError:
            self._run_to_the_end(span.start, epoch)
            raise

    def _run_to_the_end(self, start: int, epoch: int) -> None:
        """Run the whole steps before a generator's end, so that nothing it gave is lost."""
        for step in itertools.count(start):
            try:
                self.run(*self._blocks.draw(1))
            except StreamEndedError as ended:
                raise StreamEndedError(
                    f"{ended} It ended at step {step + 1} of epoch {epoch + 1}: the weights are "
                    "those after the step before, and the epochs so far are in `tree.history`."
                ) from None


@dataclasses.dataclass
class Cache:
    """What was compiled for a tree, apart from Keras's tracking of a model's attributes."""

    optimizer: Any = None
    made: dict[Any, Any] = dataclasses.field(default_factory=dict)


def cached(tree: Any, key: tuple[Any, ...], make: Callable[[], Made]) -> Made:
    """Return what was made before for a tree in the same state, or make it.

    Args:
        tree: The tree.
        key: What is wanted.
        make: Makes it.
    """
    cache = vars(tree).get("_training_cache")
    if cache is None or cache.optimizer is not tree.optimizer:
        cache = vars(tree)["_training_cache"] = Cache(tree.optimizer)
    layers = [layer for node in tree.nodes.values() for layer in inner_layers(node)]
    state = (
        tree.run_eagerly,
        tuple(id(task) for task in tree.tasks.values()),
        tuple(tree.paths.items()),
        tuple((id(layer), layer.trainable) for layer in layers),
        tuple(id(variable) for variable in tree.trainable_variables),
    )
    if (state, key) not in cache.made:
        cache.made[state, key] = make()
    return cache.made[state, key]
