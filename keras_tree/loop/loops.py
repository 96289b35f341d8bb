"""Many steps in one call of a compiled function, for each kind of schedule.

The loop over steps is an ordinary graph, and only what one step computes is given to XLA. Measured
on the small net of `benchmarks/training.py`: with the loop inside of XLA too, steps are no faster
than one call each, and `switch_case` inside of XLA is several times slower than outside. With both
outside, a drawn task costs no more than one in turn.
"""

from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from keras_tree.loop.compiled import Compiled
from keras_tree.loop.steps import Rows, Steps
from keras_tree.schedules import Kind

Blocks = Mapping[str, Rows]


class Loop:
    """Runs steps of one kind of schedule.

    Args:
        steps: What a step is made of.
        kind: How the tasks of a step are taken.
        tentative: Whether to go on without XLA if it cannot compile the step. Keras's layers tell
            whether they support it, and some are wrong, such as RandomRotation.

    Attributes:
        report: The running means of what is trained.
    """

    def __init__(self, steps: Steps, kind: Kind, tentative: bool = False) -> None:
        self._steps = steps
        # What XLA has yet to compile: every drawn task's update, or the one step of other kinds.
        count = len(steps.tasks) if kind == "drawn" else 1
        self._untried = set(range(count)) if tentative and steps.jit else set()
        self.report = steps.report
        self._function = {
            "together": self._together,
            "in turn": self._in_turn,
            "drawn": self._drawn,
            "mixed": self._mixed,
        }[kind]
        self._run = Compiled(self._function, eager=steps.tree.run_eagerly)

    def __call__(self, plan: np.ndarray, blocks: Blocks) -> dict[str, tf.Tensor]:
        """Run as many steps as the plan has rows.

        Args:
            plan: int32 (steps, tasks): for "drawn" the numbers of the tasks drawn, for "mixed" the
                samples of each task; for the others of no meaning but its length.
            blocks: Per task x, y, weight and valid of all the steps, as `blocks.py` makes them.

        Returns:
            The means so far, by name.
        """
        if self._untried:
            return self._try(plan, blocks)
        return self._run(plan, dict(blocks))

    def _try(self, plan: np.ndarray, blocks: Blocks) -> dict[str, tf.Tensor]:
        """Run steps with XLA, or from now on without it if it cannot compile one."""
        tree = self._steps.tree
        means = [v for metric in self.report.every_metric() for v in metric.variables]
        variables = [*tree.variables, *tree.optimizer.variables, *means]
        before = [variable.numpy() for variable in variables]
        try:
            results = self._run(plan, dict(blocks))
            self._untried.difference_update(np.unique(plan).tolist())
            return results
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError):
            for variable, value in zip(variables, before, strict=True):
                variable.assign(value)  # Of drawn tasks, some may have made their updates.
            self._untried.clear()
            self._steps.jit = False
            self._run = Compiled(self._function, eager=False)
            return self._run(plan, dict(blocks))

    def _step(self, function: Callable[..., None]) -> Callable[..., None]:
        """Return what a step computes, given to XLA if that is wanted."""
        if not self._steps.jit or self._steps.tree.run_eagerly:
            return function
        return tf.function(function, jit_compile=True, autograph=False)

    def _together(self, plan: tf.Tensor, blocks: Blocks) -> dict[str, tf.Tensor]:
        rows = {task: parts[0].shape[1] for task, parts in blocks.items()}

        @self._step
        def step(batches: Mapping[str, Rows]) -> None:  # x per task (rows, *input shape)
            self._steps.update(batches, rows, alone=False)

        def body(k: tf.Tensor) -> tuple[tf.Tensor]:
            step({task: tuple(part[k] for part in parts) for task, parts in blocks.items()})
            return (k + 1,)

        tf.while_loop(lambda k: k < tf.shape(plan)[0], body, [tf.constant(0)])
        return self._steps.report.results()

    def _in_turn(self, plan: tf.Tensor, blocks: Blocks) -> dict[str, tf.Tensor]:
        rows = {task: parts[0].shape[1] for task, parts in blocks.items()}

        @self._step
        def step(batches: Mapping[str, Rows]) -> None:  # x per task (rows, *input shape)
            self._steps.refresh({task: batch[0] for task, batch in batches.items()}, rows)
            for task, batch in batches.items():
                self._steps.update({task: batch}, rows, alone=True)

        def body(k: tf.Tensor) -> tuple[tf.Tensor]:
            step({task: tuple(part[k] for part in parts) for task, parts in blocks.items()})
            return (k + 1,)

        tf.while_loop(lambda k: k < tf.shape(plan)[0], body, [tf.constant(0)])
        return self._steps.report.results()

    def _drawn(self, plan: tf.Tensor, blocks: Blocks) -> dict[str, tf.Tensor]:
        tasks = list(blocks)
        rows = {task: parts[0].shape[1] for task, parts in blocks.items()}
        update = {task: self._step(self._update_alone(task, rows)) for task in tasks}
        refresh = self._step(lambda inputs: self._steps.refresh(inputs, rows))

        def draw(j: tf.Tensor, k: tf.Tensor, used: tf.Tensor) -> tuple[tf.Tensor, ...]:
            # used (tasks,): batches of each task's block that are behind; the first is of the past.
            def branch(i: int, task: str) -> Callable[[], tf.Tensor]:
                def run() -> tf.Tensor:
                    update[task](tuple(part[used[i]] for part in blocks[task]))
                    return tf.constant(0)

                return run

            tf.switch_case(plan[k, j], [branch(i, task) for i, task in enumerate(tasks)])
            return j + 1, k, used + tf.one_hot(plan[k, j], len(tasks), dtype=tf.int32)

        def body(k: tf.Tensor, used: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            refresh({task: blocks[task][0][used[i] - 1] for i, task in enumerate(tasks)})
            _, _, used = tf.while_loop(
                lambda j, k, used: j < len(tasks), draw, [tf.constant(0), k, used]
            )
            return k + 1, used

        start = [tf.constant(0), tf.ones(len(tasks), tf.int32)]
        tf.while_loop(lambda k, used: k < tf.shape(plan)[0], body, start)
        return self._steps.report.results()

    def _update_alone(self, task: str, rows: Mapping[str, int]) -> Callable[[Rows], None]:
        """Return the update on a batch of one task."""
        return lambda batch: self._steps.update({task: batch}, rows, alone=True)

    def _mixed(self, plan: tf.Tensor, blocks: Blocks) -> dict[str, tf.Tensor]:
        tasks = list(blocks)

        def body(k: tf.Tensor, used: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            rows = {task: plan[k, i] for i, task in enumerate(tasks)}
            batches = {
                task: tuple(part[used[i] : used[i] + rows[task]] for part in blocks[task])
                for i, task in enumerate(tasks)
            }
            self._steps.update(batches, rows, alone=False)
            return k + 1, used + plan[k]

        start = [tf.constant(0), tf.zeros(len(tasks), tf.int32)]
        tf.while_loop(lambda k, used: k < tf.shape(plan)[0], body, start)
        return self._steps.report.results()
