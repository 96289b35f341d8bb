"""The Keras verbs of a tree: compile, fit, evaluate, predict, and what of them is saved.

The settings and the optimizer stand here. The step, the loop and the reading of data stand in
`training.py`, to which the verbs hand on.
"""

from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_tree import optimizer_state, schedules, training
from keras_tree.settings import as_optimizer, check_settings


class TreeTrainer(keras.Model):
    """What of a tree is training: its settings, its optimizer and the verbs.

    Attributes:
        schedule: The schedule given to `compile`: a name or an instance.
        balancer: The balancer given to `compile`, or None.
        steps_per_execution_setting: As given to `compile`: "auto" or a number of steps.
        jit_compile_setting: As given to `compile`: "auto" or a bool.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self.schedule: Any = "joint"
        self.balancer: Any = None
        self.steps_per_execution_setting: int | str = "auto"
        self.jit_compile_setting: bool | str = "auto"
        self.optimizer: Any = None
        self._optimizer_state = optimizer_state.OptimizerState()

    @property
    @abstractmethod
    def nodes(self) -> Mapping[str, keras.Model]:
        """The nodes by name, the trunk first."""

    def compile(
        self,
        optimizer: Any = "adam",
        schedule: Any = "joint",
        balancer: Any = None,
        steps_per_execution: int | str = "auto",
        jit_compile: bool | str = "auto",
        run_eagerly: bool = False,
    ) -> None:
        """Set how the tree is trained; losses, metrics and weights are the tasks' own.

        The optimizer gets its slots for every trainable variable at once, so that a step on one
        task leaves the slots of the others as they are. Given the tree's own optimizer again, it
        goes on from where it is.

        Args:
            optimizer: A Keras optimizer or its name.
            schedule: Which task's data the next step takes: a name or an instance of `schedules`.
            balancer: How a joint or masked step combines the losses: a function of {task: weight
                times loss, a scalar tensor} that returns a scalar tensor; or None for their sum.
                "loss" is reported as that sum either way.
            steps_per_execution: Steps per call of the compiled function, at least 1, or "auto".
            jit_compile: Whether XLA compiles the step, or "auto".
            run_eagerly: Whether to run step by step in Python, for debugging.

        Raises:
            ValueError: If a setting is none of these, or the optimizer belongs to another model.
        """
        check_settings(steps_per_execution, jit_compile)
        schedules.get(schedule)
        optimizer = as_optimizer(optimizer)
        if optimizer is not self.optimizer:
            if optimizer.built:
                raise ValueError(
                    "`optimizer` must be new, or this tree's own. Received: the "
                    f"{type(optimizer).__name__} {optimizer.name!r}, which was built for another "
                    "model. Make a new one with the same settings."
                )
            self._optimizer_state.built_over = []
        super().compile(optimizer=optimizer, run_eagerly=run_eagerly, jit_compile=False)
        self.schedule = schedule
        self.balancer = balancer
        self.steps_per_execution_setting = steps_per_execution
        self.jit_compile_setting = jit_compile
        self.extend_optimizer()

    def extend_optimizer(self) -> None:
        """Give the optimizer slots for whatever is trainable now, and keep all others.

        If something had no slots yet, `optimizer` is another object afterwards.
        """
        state = self._optimizer_state
        optimizer, state.built_over = optimizer_state.extend(
            self.optimizer, state.built_over, self.trainable_variables
        )
        if optimizer is not self.optimizer:
            self.optimizer = optimizer

    def get_compile_config(self) -> dict[str, Any]:
        """Return the settings and the optimizer's configuration and variables as plain data."""
        if not self.compiled:
            return {}
        built_over = self._optimizer_state.built_over
        excluded = optimizer_state.without_weight_decay(self.optimizer, built_over)
        return {
            "optimizer": keras.saving.serialize_keras_object(self.optimizer),
            "optimizer_variables": optimizer_state.addresses(self.nodes, built_over),
            "without_weight_decay": optimizer_state.addresses(self.nodes, excluded),
            "schedule": keras.saving.serialize_keras_object(self.schedule),
            "balancer": keras.saving.serialize_keras_object(self.balancer),
            "steps_per_execution": self.steps_per_execution_setting,
            "jit_compile": self.jit_compile_setting,
            "run_eagerly": self.run_eagerly,
        }

    def compile_from_config(self, config: Mapping[str, Any]) -> None:
        """Compile as `get_compile_config` described, the optimizer's slots in the same order."""
        if not config:
            return
        read = keras.saving.deserialize_keras_object
        optimizer = read(config["optimizer"])
        built_over = optimizer_state.variables_at(self.nodes, config["optimizer_variables"])
        excluded = optimizer_state.variables_at(self.nodes, config["without_weight_decay"])
        if excluded:
            getattr(optimizer, "inner_optimizer", optimizer).exclude_from_weight_decay(excluded)
        optimizer.build(built_over)
        self.optimizer = optimizer
        self._optimizer_state.built_over = built_over
        self.compile(
            optimizer,
            schedule=read(config["schedule"]),
            balancer=read(config["balancer"]),
            steps_per_execution=config["steps_per_execution"],
            jit_compile=config["jit_compile"],
            run_eagerly=config["run_eagerly"],
        )

    def fit(
        self,
        data: training.Data,
        *,
        epochs: int = 1,
        batch_size: int = 32,
        steps_per_epoch: training.StepsPerEpoch = "longest",
        schedule: Any = None,
        validation_data: training.Data | None = None,
        validation_freq: int | Collection[int] = 1,
        class_weight: Mapping[str, Mapping[int, float]] | None = None,
        sample_weight: Mapping[str, Any] | None = None,
        callbacks: Sequence[keras.callbacks.Callback] | None = None,
        verbose: str | int = "auto",
        shuffle: bool = True,
        initial_epoch: int = 0,
        seed: int | None = None,
    ) -> keras.callbacks.History:
        """Train the tree on one dataset per task.

        Args:
            data: Per task its dataset: arrays (x, y) or (x, y, sample_weight), a batched
                tf.data.Dataset, a generator of batches, a keras.utils.PyDataset, the path of an
                `.npz` file or a module of keras.datasets; or the path of a folder of one `.npz`
                file per task.
            epochs: The epoch at which to stop.
            batch_size: Samples per task and step, for data that is not yet batched.
            steps_per_epoch: "longest": the dataset that takes longest is gone through once, shorter
                ones begin again; "shortest": an epoch ends with the first dataset; or a number of
                steps.
            schedule: A schedule for this call, instead of the one given to `compile`.
            validation_data: Per task, for all or some, the data to evaluate on.
            validation_freq: Epochs from one evaluation to the next, or the epochs, counted from 1.
            class_weight: Per task the weight of each class, {class number: factor}.
            sample_weight: Per task the weight of each sample of its arrays, shape (n,).
            callbacks: Keras callbacks.
            verbose: "auto", 0 for silence, 1 for a progress bar, 2 for a line per epoch.
            shuffle: Whether arrays are shuffled anew in every pass.
            initial_epoch: The epoch to start at, to go on with a training.
            seed: Seed of the order of samples and tasks; by default drawn from NumPy's global
                generator, which keras.utils.set_random_seed seeds.

        Returns:
            The history: per epoch "loss", "<task>_loss" and "<task>_<metric>", and the same of the
            validation data with "val_" before it.

        Raises:
            ValueError: If data or settings do not fit the tree.
        """
        if self.compiled:
            self.extend_optimizer()
        return training.fit(
            self,
            data,
            epochs=epochs,
            batch_size=batch_size,
            steps_per_epoch=steps_per_epoch,
            schedule=schedule,
            validation_data=validation_data,
            validation_freq=validation_freq,
            class_weight=class_weight,
            sample_weight=sample_weight,
            callbacks=callbacks,
            verbose=verbose,
            shuffle=shuffle,
            initial_epoch=initial_epoch,
            seed=seed,
        )

    def evaluate(
        self,
        data: training.Data,
        *,
        batch_size: int = 32,
        verbose: str | int = "auto",
        sample_weight: Mapping[str, Any] | None = None,
        callbacks: Sequence[keras.callbacks.Callback] | None = None,
        return_dict: bool = True,
    ) -> Any:
        """Return the losses and metrics of every task in `data`.

        Args:
            data: Per task, for all or some, its dataset, as for `fit`; of datasets with a training
                and a test part the test part.
            batch_size: Samples per step, for data that is not yet batched.
            verbose: "auto", 0 for silence, 1 for a progress bar, 2 for a line.
            sample_weight: Per task the weight of each sample of its arrays, shape (n,).
            callbacks: Keras callbacks.
            return_dict: Whether to return names with the values.

        Returns:
            {"loss": ..., "<task>_loss": ..., "<task>_<metric>": ...}, or the values in that order.

        Raises:
            ValueError: If the data does not fit the tree.
        """
        return training.evaluate(
            self,
            data,
            batch_size=batch_size,
            verbose=verbose,
            sample_weight=sample_weight,
            callbacks=callbacks,
            return_dict=return_dict,
        )

    def predict(
        self, x: Any, task: str | None = None, *, batch_size: int = 32, verbose: str | int = 0
    ) -> Any:
        """Return the outputs of one task, of several, or of all.

        The prediction of a task runs the nodes of its path and no other.

        Args:
            x: Inputs of shape (n, *trunk input shape), or a stream of batches of them; or, without
                `task`, {task: inputs}.
            task: The task to predict; without it, inputs are given to every task.
            batch_size: Samples per step.
            verbose: "auto", 0 for silence, 1 for a progress bar.

        Returns:
            float32 (n, *output shape), or {task: such an array} without `task`.

        Raises:
            ValueError: If there is no such task, or the inputs do not fit.
        """
        if task is not None:
            return training.predict(self, task, x, batch_size=batch_size, verbose=verbose)
        if isinstance(x, Mapping):
            return {
                name: self.predict(x[name], name, batch_size=batch_size, verbose=verbose)
                for name in x
            }
        # For all tasks at once, Keras's own verbs run a node once per batch and not once per task.
        if isinstance(x, Iterator):
            inputs = (batch[0] if isinstance(batch, tuple) else batch for batch in x)
            return joined([self.predict_on_batch(batch) for batch in inputs])
        return super().predict(x, batch_size=batch_size, verbose=verbose)


def joined(batches: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the outputs of all batches put together, {task: float32 (n, *output shape)}."""
    if not batches:
        raise ValueError(
            "`x` must give at least one batch of inputs. Received a generator that gave none. Make "
            "a new generator; one can be read only once."
        )
    return {task: np.concatenate([batch[task] for batch in batches]) for task in batches[0]}
