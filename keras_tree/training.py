"""Fit, evaluate and predict: a tree's training loop, and what goes before and after it.

Which task a step takes is in `schedules.py`, where its data comes from in `datasets.py`; what it
computes, how it is compiled and what is checked before stands in `loop/`.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_tree import schedules
from keras_tree.loop import compilation, preparation
from keras_tree.loop.evaluation import Evaluator, Predictor, input_batches, one_pass
from keras_tree.loop.execution import Execution, cached
from keras_tree.loop.preparation import Data, StepsPerEpoch
from keras_tree.loop.reporting import as_numbers, tell_directions
from keras_tree.loop.sources import source


def fit(
    tree: Any,
    data: Data,
    *,
    epochs: int = 1,
    batch_size: int = 32,
    steps_per_epoch: StepsPerEpoch = "longest",
    schedule: Any = None,
    validation_data: Data | None = None,
    validation_freq: int | Collection[int] = 1,
    class_weight: Mapping[str, Mapping[int, float]] | None = None,
    sample_weight: Mapping[str, Any] | None = None,
    callbacks: Sequence[keras.callbacks.Callback] | None = None,
    verbose: str | int = "auto",
    shuffle: bool = True,
    initial_epoch: int = 0,
    seed: int | None = None,
) -> keras.callbacks.History:
    """Train a tree on one dataset per task.

    Args:
        tree: The tree, compiled.
        data: Per task its dataset, or the path of a folder of one `.npz` file per task.
        epochs: The epoch at which to stop.
        batch_size: Samples per task and step, for data that is not yet batched.
        steps_per_epoch: "longest": the dataset that takes longest is gone through once, shorter
            ones begin again; "shortest": an epoch ends with the first dataset; or a number of
            steps. Generators do not tell their length and do not count; an epoch goes on where the
            last one stopped, so no sample is left out.
        schedule: A schedule for this call, instead of the one given to `compile`.
        validation_data: Per task, for all or some, the data to evaluate on.
        validation_freq: Epochs from one evaluation to the next, or the epochs, counted from 1.
        class_weight: Per task the weight of each class, {class number: factor}.
        sample_weight: Per task the weight of each sample of its arrays, (n,).
        callbacks: Keras callbacks.
        verbose: "auto", 0 for silence, 1 for a progress bar, 2 for a line per epoch.
        shuffle: Whether arrays are shuffled anew in every pass.
        initial_epoch: The epoch to start at, to go on with a training.
        seed: Seed of the order of samples and tasks; by default drawn from NumPy's global
            generator, which keras.utils.set_random_seed seeds.

    Returns:
        The history: per epoch "loss", "<task>_loss" and "<task>_<metric>", and the same of the
        validation data with "val_" before it. It is also `tree.history`, if training stops early.

    Raises:
        ValueError: If data or settings do not fit the tree, or a generator ends early.
    """
    verbose = preparation.check_settings(
        tree, epochs, initial_epoch, batch_size, steps_per_epoch, validation_freq, verbose
    )
    schedule = schedules.get(tree.schedule if schedule is None else schedule)
    preparation.check_schedule(tree, schedule)
    datasets, contracts = preparation.open_data(tree, data, "train", sample_weight, class_weight)
    preparation.check_complete(tree, datasets)
    once = epochs - initial_epoch == 1
    validate = validation(tree, validation_data, batch_size, validation_freq, once)
    rng = np.random.default_rng(np.random.randint(2**31) if seed is None else seed)
    sources = {
        task: source(dataset, contracts[task], batch_size, rng.spawn(1)[0] if shuffle else None)
        for task, dataset in datasets.items()
    }
    shares = schedule.shares({task: each.samples for task, each in sources.items()})
    steps = preparation.steps_in_epoch(steps_per_epoch, sources, shares)
    callbacks = list(keras.tree.flatten(callbacks)) if callbacks else []
    total_steps = steps * (epochs - initial_epoch)
    chosen = compilation.choose(tree, schedule.kind, sources, total_steps, callbacks)
    execution = Execution(tree, sources, shares, schedule.kind, chosen.jit, rng)
    tell_directions(callbacks, execution.report)
    size = chosen.steps_per_execution
    spans = [range(start, min(start + size, steps)) for start in range(0, steps, size)]
    told = callback_list(tree, callbacks, verbose, epochs, steps, add_history=True)
    return train(tree, execution, spans, range(initial_epoch, epochs), validate, told)


def callback_list(
    tree: Any,
    callbacks: Sequence[keras.callbacks.Callback],
    verbose: int,
    epochs: int,
    steps: int | None,
    add_history: bool = False,
) -> keras.callbacks.CallbackList:
    """Return the user's callbacks together with Keras's progress bar, and history if wanted."""
    return keras.callbacks.CallbackList(
        list(callbacks),
        add_history=add_history,
        add_progbar=verbose != 0,
        model=tree,
        verbose=verbose,
        epochs=epochs,
        steps=steps,
    )


def train(
    tree: Any,
    execution: Execution,
    spans: Sequence[range],
    epochs: range,
    validate: Callable[[int, keras.callbacks.CallbackList], Mapping[str, Any]],
    callbacks: keras.callbacks.CallbackList,
) -> keras.callbacks.History:
    """Run the training loop.

    An interrupt or an error leaves the loop between two calls of the compiled function, so that
    weights, optimizer and statistics are those after a whole step.

    Args:
        tree: The tree.
        execution: Draws the data of several steps, and runs them.
        spans: The steps of an epoch, cut into those of one call each.
        epochs: The epochs to train.
        validate: Returns the results on the validation data, if it is due after an epoch.
        callbacks: Told of everything, as Keras does.
    """
    tree.stop_training = False
    callbacks.on_train_begin()
    logs: dict[str, Any] = {}
    first_epoch = getattr(tree, "_initial_epoch", None) or epochs.start  # set by BackupAndRestore
    for epoch in range(first_epoch, epochs.stop):
        execution.report.reset()
        callbacks.on_epoch_begin(epoch)
        for span in spans:
            callbacks.on_train_batch_begin(span.start)
            plan, blocks = execution.draw(span, epoch)  # x per task: (steps, batch, *input shape)
            logs = as_numbers(execution.run(plan, blocks))  # an update or more per step
            callbacks.on_train_batch_end(span.stop - 1, logs)
            if tree.stop_training:
                break
        logs = {**logs, **validate(epoch, callbacks)}
        callbacks.on_epoch_end(epoch, logs)
        if tree.stop_training:
            break
    if len(epochs):
        tree.optimizer.finalize_variable_values(tree.trainable_variables)
    callbacks.on_train_end(logs)
    return tree.history


def evaluate(
    tree: Any,
    data: Data,
    *,
    batch_size: int = 32,
    verbose: str | int = "auto",
    sample_weight: Mapping[str, Any] | None = None,
    callbacks: Sequence[keras.callbacks.Callback] | None = None,
    return_dict: bool = True,
) -> Any:
    """Return the losses and metrics of every task in `data`.

    Args:
        tree: The tree.
        data: Per task, for all or some, its dataset, as for `fit`; of datasets with a training and
            a test part the test part.
        batch_size: Samples per step, for data that is not yet batched.
        verbose: "auto", 0 for silence, 1 for a progress bar, 2 for a line.
        sample_weight: Per task the weight of each sample of its arrays, (n,).
        callbacks: Keras callbacks.
        return_dict: Whether to return names with the values.

    Returns:
        {"loss": ..., "<task>_loss": ..., "<task>_<metric>": ...}, "loss" over the tasks in `data`;
        or the values in that order.

    Raises:
        ValueError: If the data does not fit the tree.
    """
    preparation.check_counts(batch_size=(batch_size, 1))
    verbose = preparation.check_verbose(verbose)
    run, batches = evaluation(tree, data, batch_size, sample_weight)
    results = run(callback_list(tree, callbacks or [], verbose, 1, batches))
    return results if return_dict else list(results.values())


def evaluation(
    tree: Any,
    data: Data,
    batch_size: int,
    sample_weight: Mapping[str, Any] | None = None,
    once: bool = True,
) -> tuple[Callable[[keras.callbacks.CallbackList], dict[str, Any]], int | None]:
    """Return what evaluates the tasks on their data, all checked, and in how many batches."""
    datasets, contracts = preparation.open_data(tree, data, "test", sample_weight)
    preparation.check_passes(datasets, once)
    passes = {task: one_pass(d, contracts[task], batch_size) for task, d in datasets.items()}
    shapes = {task: each.label_shape for task, each in passes.items()}
    evaluator = cached(tree, (Evaluator, *shapes.items()), lambda: Evaluator(tree, shapes))
    counts = [each.batches for each in passes.values()]
    batches = None if None in counts else sum(count for count in counts if count is not None)
    return lambda callbacks: evaluator.run(passes, callbacks), batches


def validation(
    tree: Any, data: Data | None, batch_size: int, frequency: int | Collection[int], once: bool
) -> Callable[[int, keras.callbacks.CallbackList], dict[str, Any]]:
    """Return what evaluates on the validation data after the epochs where it is due."""
    if data is None:
        return lambda epoch, callbacks: {}
    if isinstance(data, Mapping):
        preparation.check_names(tree, "validation_data", data)
    run, _ = evaluation(tree, data, batch_size, once=once)

    def validate(epoch: int, callbacks: keras.callbacks.CallbackList) -> dict[str, Any]:
        if not preparation.is_due(epoch, frequency):
            return {}
        return {f"val_{name}": value for name, value in run(callbacks).items()}

    return validate


def predict(
    tree: Any, task: str, x: Any, *, batch_size: int = 32, verbose: str | int = 0
) -> np.ndarray:
    """Return the outputs of one task; no node outside its path is touched.

    Args:
        tree: The tree.
        task: The task.
        x: Inputs (n, *trunk input shape), or a stream of batches of inputs, alone or first in a
            tuple.
        batch_size: Samples per step, for arrays.
        verbose: "auto", 0 for silence, 1 for a progress bar.

    Returns:
        float32 (n, *output shape).

    Raises:
        ValueError: If there is no such task, or the inputs do not fit.
    """
    preparation.check_counts(batch_size=(batch_size, 1))
    verbose = preparation.check_verbose(verbose)
    preparation.check_names(tree, "task", {task: None})
    batches, count = input_batches(tree, task, x, batch_size)
    callbacks = callback_list(tree, [], verbose, 1, count)
    return cached(tree, (Predictor, task), lambda: Predictor(tree, task)).run(batches, callbacks)
