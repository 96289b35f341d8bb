"""The tree: nodes stored once, a path of nodes per task, and the Keras verbs over them.

How a step trains, how data is read and how a file is written stand in `training.py`, `datasets.py` and
`saving.py`; the rules that nodes and paths keep in `paths.py`.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import keras

from keras_tree import paths as rules
from keras_tree.tasks import Task, near_names


@keras.saving.register_keras_serializable(package="keras_tree")
class Tree(keras.Model):
    """A Keras model of several tasks: nodes stored once, and a path of nodes per task.

    Args:
        nodes: Functional models by name, each with one input tensor and one output tensor. A node shared by
            several paths is stored, trained and shipped once.
        paths: Per task the names of the nodes it runs, in order. Every path begins with the same node, the
            trunk.
        tasks: The tasks, in the order in which they are reported.
        name: Name of the whole model.

    Attributes:
        schedule: The schedule given to `compile`: a name or an instance.
        balancer: The balancer given to `compile`, or None.
        steps_per_execution_setting: The setting given to `compile`: "auto" or a number of steps.
        jit_compile_setting: The setting given to `compile`: "auto" or a bool.

    Raises:
        ValueError: If names, paths, seams or tasks do not fit together.
    """

    def __init__(
        self,
        nodes: Mapping[str, keras.Model],
        paths: Mapping[str, Sequence[str]],
        tasks: Sequence[Task],
        name: str = "tree",
    ) -> None:
        super().__init__(name=name)
        by_name = rules.check_tasks(tasks)
        checked = rules.check_paths(nodes, paths, by_name)
        trunk = next(iter(checked.values()))[0]
        order = [trunk, *(node for node in nodes if node != trunk)]
        self._adopt({node: rules.as_node(node, nodes[node]) for node in order}, checked, by_name)
        self.schedule: Any = "joint"
        self.balancer: Any = None
        self.steps_per_execution_setting: int | str = "auto"
        self.jit_compile_setting: bool | str = "auto"
        self.built = True

    def _adopt(
        self,
        nodes: dict[str, keras.Model],
        paths: dict[str, tuple[str, ...]],
        tasks: dict[str, Task],
    ) -> None:
        """Take over nodes, paths and tasks once they are known to fit."""
        rules.check_seams(nodes, paths)
        rules.check_nothing_shared(nodes)
        self._node_models = nodes
        self._plan = Plan(paths, tasks)

    @classmethod
    def from_branches(
        cls,
        trunk: keras.Model,
        branches: Mapping[str, keras.Model],
        tasks: Sequence[Task],
        name: str = "tree",
    ) -> "Tree":
        """Return the tree of a trunk and one branch per task.

        Args:
            trunk: The trunk; its node is named "trunk".
            branches: The branch of each task, by the task's name; its node has that name.
            tasks: The tasks.
            name: Name of the whole model.
        """
        return cls(
            {"trunk": trunk, **branches},
            {task: ("trunk", task) for task in branches},
            tasks,
            name=name,
        )

    @property
    def nodes(self) -> Mapping[str, keras.Model]:
        """The nodes by name, the trunk first."""
        return MappingProxyType(dict(self._node_models))

    @property
    def paths(self) -> Mapping[str, tuple[str, ...]]:
        """Per task the names of the nodes it runs, the trunk first."""
        return MappingProxyType(self._plan.paths)

    @property
    def tasks(self) -> Mapping[str, Task]:
        """The tasks by name."""
        return MappingProxyType(self._plan.tasks)

    @property
    def trunk_name(self) -> str:
        """The name of the node with which every path begins."""
        return next(iter(self._plan.paths.values()))[0]

    def path(self, task: str) -> tuple[str, ...]:
        """Return the names of the nodes that `task` runs, the trunk first.

        Raises:
            ValueError: If there is no such task.
        """
        if task not in self._plan.paths:
            raise ValueError(f"No task {task!r}. {near_names(task, self._plan.paths)}")
        return self._plan.paths[task]

    def node_variables(self, task: str) -> list[keras.Variable]:
        """Return the trainable variables of the nodes on the task's path, trunk first.

        The list is empty for a task all of whose nodes are frozen: it needs no data in `fit`.
        """
        return [v for node in self.path(task) for v in self._node_models[node].trainable_variables]

    def __getitem__(self, task: str) -> keras.Model:
        """Return the functional model of one task's path; it shares the nodes and their weights."""
        models = self._plan.path_models
        if task not in models:
            path = self.path(task)
            first = self._node_models[path[0]].inputs[0]
            inputs = keras.Input(batch_shape=first.shape, dtype=first.dtype, name="input")
            x = inputs
            for node in path:
                x = self._node_models[node](x)
            models[task] = keras.Model(inputs, x, name=task)
        return models[task]

    def run_node(self, node: str, inputs: Any, training: bool | None = None) -> Any:
        """Run one node.

        A frozen node (one with no layer left to train) always runs in inference mode, so that nothing in
        it moves: no batch-normalization statistics, no normalized kernels, no dropout.

        Args:
            node: The node's name.
            inputs: A tensor (batch, *input shape).
            training: Whether the node is being trained.

        Returns:
            The tensor (batch, *output shape).
        """
        model = self._node_models[node]
        return model(inputs, training=False if training and is_frozen(model) else training)

    def call(self, inputs: Any, training: bool | None = None) -> dict[str, Any]:
        """Run several tasks; nodes that they share run once where they get the same tensor.

        Args:
            inputs: One tensor (batch, *trunk input shape) on which every task runs, or {task: tensor} for
                the tasks to run.
            training: Whether the nodes are being trained.

        Returns:
            {task: tensor (batch, *task output shape)}.
        """
        given = inputs if isinstance(inputs, Mapping) else dict.fromkeys(self._plan.paths, inputs)
        done: dict[tuple[int, tuple[str, ...]], Any] = {}
        outputs = {}
        for task, x in given.items():
            path, start = self.path(task), id(x)
            for end, node in enumerate(path, 1):
                key = (start, path[:end])
                if key not in done:
                    done[key] = self.run_node(node, x, training)
                x = done[key]
            outputs[task] = x
        return outputs

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

        The optimizer gets its slots for every trainable variable at once, so that a step on one task leaves
        the slots of the others as they are.

        Args:
            optimizer: A Keras optimizer or its name.
            schedule: Which task's data the next step takes: a name or an instance of `schedules`.
            balancer: How the tasks' losses are combined, or None for their weighted sum.
            steps_per_execution: Steps per call of the compiled function, or "auto".
            jit_compile: Whether XLA compiles the step, or "auto".
            run_eagerly: Whether to run step by step in Python, for debugging.
        """
        super().compile(optimizer=optimizer, run_eagerly=run_eagerly, jit_compile=False)
        self.schedule = schedule
        self.balancer = balancer
        self.steps_per_execution_setting = steps_per_execution
        self.jit_compile_setting = jit_compile
        self.optimizer.build(self.trainable_variables)

    def fit(self, data: Mapping[str, Any], **settings: Any) -> keras.callbacks.History:
        """Train on one dataset per task; see `keras_tree.training.fit`."""
        from keras_tree import training

        return training.fit(self, data, **settings)

    def evaluate(self, data: Mapping[str, Any], **settings: Any) -> dict[str, float]:
        """Return losses and metrics of every task in `data`; see `keras_tree.training.evaluate`."""
        from keras_tree import training

        return training.evaluate(self, data, **settings)

    def predict(self, x: Any, task: str | None = None, **settings: Any) -> Any:
        """Return the outputs of one task, or of each task of {task: x}."""
        from keras_tree import training

        if task is not None:
            return training.predict(self, task, x, **settings)
        given = x if isinstance(x, Mapping) else dict.fromkeys(self._plan.paths, x)
        return {
            name: training.predict(self, name, value, **settings) for name, value in given.items()
        }


@dataclasses.dataclass(frozen=True)
class Plan:
    """Paths and tasks, apart from Keras's tracking of a model's attributes."""

    paths: dict[str, tuple[str, ...]]
    tasks: dict[str, Task]
    path_models: dict[str, keras.Model] = dataclasses.field(default_factory=dict)


def is_frozen(model: keras.Model) -> bool:
    """Whether no layer of `model` is left to train."""
    return not model.trainable or not any(layer.trainable for layer in rules.inner_layers(model))
