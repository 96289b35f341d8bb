"""Losses and metrics of tasks on data, and their predictions; no weight changes here.

Every task runs on data of its own, through the nodes of its path alone, in inference mode.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_tree.datasets import Arrays, Stream, as_stream
from keras_tree.loop.compiled import Compiled
from keras_tree.loop.contract import Batch, Contract, DataError, contract
from keras_tree.loop.forward import run_nodes, run_order, with_weight_losses
from keras_tree.loop.losses import TaskLoss
from keras_tree.loop.reporting import Report, as_numbers
from keras_tree.loop.sources import checked_arrays, checked_batches


class Evaluator:
    """The compiled evaluation of a tree's tasks.

    Args:
        tree: The tree.
        label_shapes: Per task the shape of one sample's label.
    """

    def __init__(self, tree: Any, label_shapes: Mapping[str, tuple[int, ...]]) -> None:
        self._tree = tree
        self._dtype = tree.nodes[tree.trunk_name].inputs[0].dtype
        self._report = Report(tree, label_shapes)
        self._losses = {task: TaskLoss(tree.tasks[task]) for task in label_shapes}
        self._take_in = {task: self._function(task) for task in label_shapes}

    def run(
        self, passes: "Mapping[str, Pass]", callbacks: keras.callbacks.CallbackList
    ) -> dict[str, Any]:
        """Return the results over one pass of each task's data.

        Args:
            passes: Per task its data.
            callbacks: Told of every batch.
        """
        self._report.reset()
        callbacks.on_test_begin()
        logs: dict[str, Any] = {}
        step = 0
        for task, data in passes.items():
            for batch in data.start():
                callbacks.on_test_batch_begin(step)
                x, *labels = batch.parts()
                logs = as_numbers(self._take_in[task](np.asarray(x, self._dtype), *labels))
                callbacks.on_test_batch_end(step, logs)
                step += 1
        callbacks.on_test_end(logs)
        return logs

    def _function(self, task: str) -> Callable[..., dict[str, tf.Tensor]]:
        """Return the function that takes in one batch of a task, of any number of rows."""
        tree = self._tree
        runs = run_order({task: tree.paths[task]})

        def take_in(x: Any, y: Any, weight: Any, valid: Any) -> dict[str, tf.Tensor]:
            outputs, added = run_nodes(tree, runs, {task: x}, {}, training=False)
            prediction = tf.cast(outputs[task], tf.float32)  # (rows, *output shape)
            loss, count = self._losses[task].mean(y, prediction, weight, valid)
            self._report.update(task, loss, count, y, prediction, valid)
            added = with_weight_losses(tree, tree.paths[task], added)
            self._report.update_added(added, tf.shape(x)[0])
            return self._report.results()

        return Compiled(take_in, eager=tree.run_eagerly)


@dataclasses.dataclass(frozen=True)
class Pass:
    """One task's data for evaluation.

    Attributes:
        label_shape: Shape of one sample's label.
        start: Starts a pass of checked batches, in order.
        batches: How many there are; None if it is not known.
    """

    label_shape: tuple[int, ...]
    start: Callable[[], Iterator[Batch]]
    batches: int | None


def one_pass(dataset: Arrays | Stream, contract: Contract, batch_size: int) -> Pass:
    """Return a dataset as passes in order; arrays, or the first batch of a stream, are checked.

    Args:
        dataset: The dataset.
        contract: What its data must be.
        batch_size: Samples per batch of arrays; a stream has its own.

    Raises:
        DataError: If the data is empty or does not fit its task.
    """
    if isinstance(dataset, Arrays):
        rows = checked_arrays(dataset, contract)
        starts = range(0, len(rows), batch_size)
        return Pass(
            rows.y.shape[1:],
            lambda: (rows.rows(slice(s, s + batch_size)) for s in starts),
            len(starts),
        )
    count, task = dataset.batches, contract.task.name
    items = dataset.open(range)
    first = next(checked_batches(items, contract), None)
    if first is None or not len(first):
        raise DataError(
            f"The data of task {task!r} must not be empty. Received no sample. Check the dataset."
        )

    def start() -> Iterator[Batch]:
        if dataset.restarts:
            return checked_batches(dataset.open(range), contract)
        return itertools.chain([first], checked_batches(items, contract, 1))

    return Pass(first.y.shape[1:], start, None if count is None else int(count))


class Predictor:
    """The compiled prediction of one task.

    Args:
        tree: The tree.
        task: The task.
    """

    def __init__(self, tree: Any, task: str) -> None:
        self._task = task
        runs = run_order({task: tree.paths[task]})

        def predict(x: Any) -> tf.Tensor:
            outputs, _ = run_nodes(tree, runs, {task: x}, {}, training=False)
            return outputs[task]

        self._predict = Compiled(predict, eager=tree.run_eagerly)

    def run(
        self, batches: Iterable[np.ndarray], callbacks: keras.callbacks.CallbackList
    ) -> np.ndarray:
        """Return the outputs (samples, *output shape) of batches (rows, *input shape)."""
        callbacks.on_predict_begin()
        outputs = []
        for step, x in enumerate(batches):
            callbacks.on_predict_batch_begin(step)
            outputs.append(self._predict(x).numpy())
            callbacks.on_predict_batch_end(step, {"outputs": outputs[-1]})
        callbacks.on_predict_end()
        if not outputs:
            raise DataError(
                f"A prediction of task {self._task!r} needs at least one input. Received none. "
                "Check how the inputs are selected."
            )
        return np.concatenate(outputs)


def input_batches(
    tree: Any, task: str, x: Any, batch_size: int
) -> tuple[Iterator[np.ndarray], int | None]:
    """Return batches of checked inputs of the type that the trunk takes, and how many there are.

    Args:
        tree: The tree.
        task: The task.
        x: Inputs (n, *trunk input shape), or a stream of batches of inputs, alone or first in a
            tuple.
        batch_size: Samples per batch, for arrays.
    """
    made = contract(tree, task)
    dtype = tree.nodes[tree.trunk_name].inputs[0].dtype
    stream = None if isinstance(x, list) else as_stream(x)
    if stream is None:
        checked = made.check_inputs(x, f"task {task!r}")
        starts = range(0, len(checked), batch_size)
        return (np.asarray(checked[s : s + batch_size], dtype) for s in starts), len(starts)
    inputs = (item[0] if isinstance(item, tuple) else item for item in stream.open(range))
    numbered = enumerate(inputs, 1)
    return (
        np.asarray(made.check_inputs(x, f"batch {number} of task {task!r}"), dtype)
        for number, x in numbered
    ), None if stream.batches is None else int(stream.batches)
