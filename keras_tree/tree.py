"""The tree: nodes stored once, a path of nodes per task, and what runs on which.

The Keras verbs over it (compile, fit, evaluate, predict) stand in `trainer.py`, the rules that
nodes and paths keep in `paths.py`, the file in `saving.py`.
"""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import keras

from keras_tree import drawing, saving
from keras_tree import nodes as node_rules
from keras_tree import paths as path_rules
from keras_tree.tasks import Task, near_names
from keras_tree.trainer import TreeTrainer


@keras.saving.register_keras_serializable(package="keras_tree")
class Tree(TreeTrainer):
    """A Keras model of several tasks: nodes stored once, and a path of nodes per task.

    The nodes are built around the very layers of the models given, so their weights are shared with
    those models. A frozen node, none of whose layers is trainable, always runs in inference
    mode.

    Args:
        nodes: Functional or built sequential models by name, each with one input tensor and one
            output tensor. A node on several paths is stored, trained and shipped once.
        paths: Per task the names of the nodes it runs, in order. Every path begins with the same
            node, the trunk.
        tasks: The tasks, in the order in which they are reported.
        name: Name of the whole model.

    Attributes:
        schedule: The schedule given to `compile`: a name or an instance.
        balancer: The balancer given to `compile`, or None.
        steps_per_execution_setting: As given to `compile`: "auto" or a number of steps.
        jit_compile_setting: As given to `compile`: "auto" or a bool.

    Raises:
        ValueError: If names, paths, seams or tasks do not fit together.

    Example:
        >>> image = keras.Input((8, 8, 1))
        >>> trunk = keras.Model(image, keras.layers.Conv2D(4, 3, activation="relu")(image))
        >>> features = keras.Input((6, 6, 4))
        >>> pooled = keras.layers.GlobalAveragePooling2D()(features)
        >>> digit = keras.Model(features, keras.layers.Dense(10, "softmax")(pooled))
        >>> tree = Tree.from_branches(
        ...     trunk, {"digit": digit}, [Task("digit", "sparse_categorical_crossentropy")])
        >>> tree.paths["digit"]
        ('trunk', 'digit')
    """

    def __init__(
        self,
        nodes: Mapping[str, keras.Model],
        paths: Mapping[str, Sequence[str]],
        tasks: Sequence[Task],
        name: str = "tree",
    ) -> None:
        super().__init__(name=name)
        by_name = path_rules.check_tasks(tasks)
        checked = path_rules.check_paths(nodes, paths, by_name)
        order = sorted(nodes, key=lambda node: node != next(iter(checked.values()))[0])
        models = {node: node_rules.as_node(node, nodes[node]) for node in order}
        path_rules.check_seams(models, checked)
        node_rules.check_nothing_shared(models)
        self._node_models = models
        self._plan = Plan(checked, by_name)
        self.built = True

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
            branches: The branch of each task, by the task's name; its node has that name too.
            tasks: The tasks.
            name: Name of the whole model.

        Raises:
            ValueError: If the parts do not fit together.
        """
        return cls.from_nested(trunk, branches, tasks, name=name)

    @classmethod
    def from_nested(
        cls,
        trunk: keras.Model,
        branches: Mapping[str, Any],
        tasks: Sequence[Task],
        name: str = "tree",
    ) -> "Tree":
        """Return a tree of any depth.

        Args:
            trunk: The trunk; its node is named "trunk".
            branches: By name either a model, the last node of the task of that name, or a pair
                (model, {name: ...}) of a node on the way and what comes after it. If such a node is
                named like a task, that task ends there.
            tasks: The tasks.
            name: Name of the whole model.

        Raises:
            ValueError: If the parts do not fit together.

        Example:
            `Tree.from_nested(trunk, {"digit": digit, "shape": (mid, {"angle": angle, "size":
            size})}, tasks)` has the paths trunk -> digit, trunk -> shape -> angle and trunk ->
            shape -> size.
        """
        nodes, paths = path_rules.unroll(trunk, branches, path_rules.check_tasks(tasks))
        return cls(nodes, paths, tasks, name=name)

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
            raise ValueError(f"No task {task!r} in this tree. {near_names(task, self._plan.paths)}")
        return self._plan.paths[task]

    def node_variables(self, task: str) -> list[keras.Variable]:
        """Return the trainable variables of the nodes on the task's path, trunk first.

        The list is empty for a task of which every node is frozen: it cannot be trained.
        """
        return [v for node in self.path(task) for v in self._node_models[node].trainable_variables]

    def __getitem__(self, task: str) -> keras.Model:
        """Return the functional model of one task's path; it shares the nodes and their weights."""
        models = self._plan.path_models
        if task not in models:
            models[task] = node_rules.chain([self._node_models[n] for n in self.path(task)], task)
        return models[task]

    def run_node(self, node: str, inputs: Any, training: bool | None = None) -> Any:
        """Run one node.

        A frozen node runs in inference mode even while others train, so that nothing in it moves:
        no batch-normalization statistics, no normalized kernels; nor does it drop out.

        Args:
            node: The node's name.
            inputs: A tensor (batch, *input shape).
            training: Whether the node is being trained.

        Returns:
            The tensor (batch, *output shape).
        """
        model = self._node_models[node]
        return model(
            inputs, training=False if training and node_rules.is_frozen(model) else training
        )

    def call(self, inputs: Any, training: bool | None = None) -> dict[str, Any]:
        """Run several tasks; nodes that they share run once where they get the same tensor.

        Args:
            inputs: One tensor (batch, *trunk input shape) on which every task runs, or
                {task: tensor} for the tasks to run.
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

    def add_branch(
        self,
        task: Task,
        branch: keras.Model,
        after: str | Sequence[str] | None = None,
        freeze: bool = True,
    ) -> None:
        """Add a task with a branch of its own to a tree, trained or not.

        A compiled tree stays compiled: its optimizer gets slots for the new variables and keeps all
        others and its iterations. Call `compile` again for a fresh optimizer.

        Args:
            task: The new task; its branch becomes a node of that name.
            branch: The branch; it takes what the node before it gives.
            after: The node that the branch follows, by default the trunk; or, where several paths
                lead there, the whole path up to it.
            freeze: Whether to freeze every older node, so that the older tasks stay bit-identical.

        Raises:
            ValueError: If the name is taken, or the branch does not fit; the tree is then
                unchanged.
        """
        start = path_rules.path_up_to(self._plan.paths, self.trunk_name if after is None else after)
        tasks = path_rules.check_tasks([*self._plan.tasks.values(), task])
        nodes = node_rules.with_node(self.nodes, task.name, branch)
        grown = {**self._plan.paths, task.name: (*start, task.name)}
        paths = path_rules.check_paths(nodes, grown, tasks)
        path_rules.check_seams(nodes, paths)
        node_rules.check_nothing_shared(nodes)
        if freeze:
            for node in self._node_models.values():
                node.trainable = False
        self._node_models[task.name] = nodes[task.name]
        self._plan = dataclasses.replace(self._plan, paths=paths, tasks=tasks)
        self.predict_function = None
        if self.compiled:
            self.extend_optimizer()

    def summary(self, print_fn: Callable[[str], None] | None = None) -> None:
        """Print a picture of the tree: parameters, bytes and share of each node, and its tasks.

        Args:
            print_fn: What to call with the picture instead of `print`.
        """
        (print_fn or print)(drawing.draw(self))

    def save(
        self,
        filepath: str | os.PathLike[str],
        overwrite: bool = True,
        zipped: bool | None = None,
        **settings: Any,
    ) -> None:
        """Save the tree, its settings and its optimizer's state as one `.keras` file.

        The file is whole or not there: an interrupted save leaves an older file as it was.

        Args:
            filepath: The file's path, ending in `.keras`.
            overwrite: Whether an older file may be replaced.
            zipped: None or True; a tree is saved as one file.
            settings: Further arguments of `keras.Model.save`.

        Raises:
            ValueError: If the name does not end in `.keras`.
            FileExistsError: If there is an older file that may not be replaced.
            FileNotFoundError: If the folder does not exist.
        """
        if zipped is False:
            raise ValueError(
                "`zipped` must be None or True, as a tree is saved as one file. Received: False."
            )
        write = super().save
        saving.write_whole(filepath, lambda part: write(part, **settings), overwrite)

    def get_config(self) -> dict[str, Any]:
        """Return nodes, frozen flags, paths and tasks as plain data."""
        return saving.tree_config(self)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Tree":
        """Return the tree that `get_config` described."""
        read = keras.saving.deserialize_keras_object
        nodes = {name: read(node) for name, node in config["nodes"].items()}
        tasks = [Task.from_config(task) for task in config["tasks"]]
        tree = cls(nodes, config["paths"], tasks, name=config["name"])
        for name, flags in config["trainable"].items():
            saving.set_trainable_flags(tree.nodes[name], flags)
        return tree

    def save_own_variables(self, store: Any) -> None:
        """Store the states of the nodes' random generators, which are no weights of any layer."""
        saving.store_random_states(self.nodes.values(), store)

    def load_own_variables(self, store: Any) -> None:
        """Read the states that `save_own_variables` stored."""
        saving.read_random_states(self.nodes.values(), store)


@dataclasses.dataclass(frozen=True)
class Plan:
    """Paths and tasks, and the models made of them, apart from Keras's tracking of attributes."""

    paths: dict[str, tuple[str, ...]]
    tasks: dict[str, Task]
    path_models: dict[str, keras.Model] = dataclasses.field(default_factory=dict)
