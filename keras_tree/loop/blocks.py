"""The data of many steps at a time, drawn from the tasks' sources as the schedule says.

What is done with it is in `loops.py`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_tree.loop.contract import Batch, join
from keras_tree.loop.sources import Source
from keras_tree.schedules import Kind

Parts = tuple[np.ndarray, ...]


class Blocks:
    """Draws the data of many steps at a time.

    Args:
        sources: Each task's source of samples.
        shares: Each task's share in the samples; they sum to 1.
        kind: How the tasks of a step are taken.
        dtype: Type of the trunk's input.
        rng: Source of what is drawn.
    """

    def __init__(
        self,
        sources: Mapping[str, Source],
        shares: Mapping[str, float],
        kind: Kind,
        dtype: Any,
        rng: np.random.Generator,
    ) -> None:
        self._sources = sources
        self._shares = np.array([shares[task] for task in sources])
        self._dtype = dtype
        self._rng = rng
        self._latest: dict[str, Batch] = {}
        self._draw = {"drawn": self._drawn, "mixed": self._mixed}.get(kind, self._each)

    def draw(self, steps: int) -> tuple[np.ndarray, dict[str, Parts]]:
        """Return the plan of the next steps, and their data.

        Args:
            steps: How many.

        Returns:
            The plan, int32 (steps, tasks), and per task x, y, weight and valid, as `loops.py` takes
            them.

        Raises:
            StreamEndedError: If a stream ended before; the data of other tasks stays drawn.
        """
        return self._draw(steps)

    def _each(self, steps: int) -> tuple[np.ndarray, dict[str, Parts]]:
        """A batch of every task per step: x (steps, batch rows, *input shape)."""
        plan = np.zeros((steps, len(self._sources)), "int32")
        return plan, {
            task: self._batches(source.take(steps * source.batch_rows), source.batch_rows)
            for task, source in self._sources.items()
        }

    def _drawn(self, steps: int) -> tuple[np.ndarray, dict[str, Parts]]:
        """One task's batch per update: x (1 + how often it is drawn, batch rows, *input shape).

        The first batch is the one that came last before; it is no more trained on, but the
        statistics of shared nodes are refreshed on the latest batch of every task.
        """
        tasks = len(self._sources)
        plan = self._rng.choice(tasks, (steps, tasks), p=self._shares).astype("int32")
        blocks = {}
        for i, (task, source) in enumerate(self._sources.items()):
            rows = source.batch_rows
            # At first there is none before: its place is taken by the first one to come.
            count = int((plan == i).sum())
            drawn = [source.take(count * rows)] if count else []
            latest = self._latest.get(task) or (drawn or [source.take(rows)])[0].rows(slice(rows))
            block = join([latest, *drawn])
            self._latest[task] = block.rows(slice(len(block) - rows, None))
            blocks[task] = self._batches(block, rows)
        return plan, blocks

    def _mixed(self, steps: int) -> tuple[np.ndarray, dict[str, Parts]]:
        """Samples of all tasks in one batch, at least one of each: x (samples, *input shape)."""
        tasks = len(self._sources)
        rows = sum(source.batch_rows for source in self._sources.values())
        plan = 1 + self._rng.multinomial(max(0, rows - tasks), self._shares, size=steps)
        blocks = {
            task: self._parts(source.take(int(count)))
            for (task, source), count in zip(self._sources.items(), plan.sum(0), strict=True)
        }
        return plan.astype("int32"), blocks

    def _batches(self, samples: Batch, rows: int) -> Parts:
        """Return samples cut into batches of as many rows: each part (batches, rows, ...)."""
        return tuple(part.reshape(-1, rows, *part.shape[1:]) for part in self._parts(samples))

    def _parts(self, samples: Batch) -> Parts:
        """Return x of the type that the trunk takes, y, weight and valid."""
        return np.asarray(samples.x, self._dtype), samples.y, samples.weight, samples.valid
