"""The rules that nodes and paths keep: names, one tensor in and out, seams that fit, nothing left over.

Only checking stands here; what a tree does with its nodes is in `tree.py`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_tree.tasks import Task, check_name, near_names


def as_node(name: str, model: Any) -> keras.Model:
    """Return `model` as the functional model called `name`, over the very same layers.

    A model of that name is returned as it is; any other gets a second functional model around its graph, so
    that the caller's model keeps its own name.

    Args:
        name: The node's name.
        model: A functional or built sequential model with one input tensor and one output tensor.

    Raises:
        ValueError: If it is another kind of model, or has several inputs or outputs.
    """
    check_name("node", name)
    if not isinstance(model, keras.Model) or not getattr(model, "inputs", None):
        raise ValueError(
            f"Node {name!r} must be a functional or built sequential Keras model. Received: "
            f"{type(model).__name__}. Build it with keras.Input(...) and "
            "keras.Model(inputs, outputs)."
        )
    for side, tensors in (("input", model.inputs), ("output", model.outputs)):
        if len(tensors) != 1:
            listed = ", ".join(f"{t.name} {tuple(t.shape)}" for t in tensors)
            raise ValueError(
                f"Node {name!r} must have one {side} tensor, as one tensor crosses each seam. "
                f"Received {len(tensors)}: {listed}. Split the node, or join them inside a node."
            )
    if model.name == name and not isinstance(model, keras.Sequential):
        return model
    return keras.Model(model.inputs[0], model.outputs[0], name=name)


def check_tasks(tasks: Sequence[Task]) -> dict[str, Task]:
    """Return the tasks by name.

    Raises:
        ValueError: If there is none, two have one name, or one is no `Task`.
    """
    if isinstance(tasks, Task):
        tasks = (tasks,)
    by_name: dict[str, Task] = {}
    for task in tasks:
        if not isinstance(task, Task):
            raise ValueError(
                f"`tasks` must be a sequence of keras_tree.Task. Received: {task!r}. Write "
                "Task(name, loss)."
            )
        if task.name in by_name:
            raise ValueError(
                f"`tasks` must have different names. Received two tasks named {task.name!r}. "
                "Rename one."
            )
        by_name[task.name] = task
    if not by_name:
        raise ValueError("`tasks` must hold at least one Task. Received none.")
    return by_name


def check_paths(
    nodes: Mapping[str, Any], paths: Mapping[str, Sequence[str]], tasks: Mapping[str, Task]
) -> dict[str, tuple[str, ...]]:
    """Return each task's path as a tuple, in the order of `tasks`.

    A node may stand before another in one path and behind it in a second one: only the seams must fit.

    Raises:
        ValueError: If a task has no path or a path no task, a path is empty, names an unknown node or one
            node twice, paths begin with different nodes, or a node is on no path.
    """
    for name in tasks:
        if name not in paths:
            raise ValueError(
                f"`paths` must hold a path for every task. Received none for task {name!r}, only "
                f"for {', '.join(map(repr, paths))}. Add paths[{name!r}] = (<trunk>, ...)."
            )
    for name, path in paths.items():
        if name not in tasks:
            raise ValueError(
                f"`paths` must name tasks. Received a path for {name!r}. {near_names(name, tasks)}"
            )
        check_path(name, path, nodes)
    checked = {name: tuple(paths[name]) for name in tasks}
    trunks = list(dict.fromkeys(path[0] for path in checked.values()))
    if len(trunks) > 1:
        raise ValueError(
            "Every path must begin with the same node, the trunk. Received paths that begin with "
            f"{', '.join(map(repr, trunks))}. Put what they have in common first; a trunk may be "
            "a single Identity layer."
        )
    unused = [name for name in nodes if not any(name in path for path in checked.values())]
    if unused:
        raise ValueError(
            f"Every node must be on a path. Received nodes that no task uses: "
            f"{', '.join(map(repr, unused))}. Leave them out, or add them to a path."
        )
    return checked


def check_path(task: str, path: Any, nodes: Mapping[str, Any]) -> None:
    """Refuse a path that is empty, no sequence of names, names an unknown node, or one node twice."""
    if isinstance(path, str) or not isinstance(path, Sequence) or not path:
        raise ValueError(
            f"The path of task {task!r} must be a sequence of node names, the trunk first. "
            f"Received: {path!r}."
        )
    for name in path:
        if name not in nodes:
            raise ValueError(
                f"The path of task {task!r} must consist of nodes. Received: {name!r}. "
                f"{near_names(name, nodes)}"
            )
    twice = sorted({name for name in path if list(path).count(name) > 1})
    if twice:
        raise ValueError(
            f"A path runs each node once. Received node {twice[0]!r} twice in the path of task "
            f"{task!r}: {' -> '.join(path)}. Give the second use a node of its own."
        )


def check_seams(nodes: Mapping[str, keras.Model], paths: Mapping[str, tuple[str, ...]]) -> None:
    """Refuse neighbours in a path of which the second does not take what the first gives."""
    for task, path in paths.items():
        for before, after in zip(path, path[1:], strict=False):
            given = tuple(nodes[before].outputs[0].shape)
            taken = tuple(nodes[after].inputs[0].shape)
            if not shapes_fit(given, taken):
                raise ValueError(
                    f"Node {after!r} must take what node {before!r} gives in the path of task "
                    f"{task!r}. Received: {before!r} gives shape {given}, {after!r} takes shape "
                    f"{taken}. Build {after!r} on keras.Input({given[1:]})."
                )


def shapes_fit(given: tuple[int | None, ...], taken: tuple[int | None, ...]) -> bool:
    """Whether a tensor of shape `given` may enter an input of shape `taken`; None fits any extent."""
    return len(given) == len(taken) and all(
        g is None or t is None or g == t for g, t in zip(given, taken, strict=True)
    )


def check_nothing_shared(nodes: Mapping[str, keras.Model]) -> None:
    """Refuse two nodes that hold one layer or one variable, as a node is the unit of storage."""
    owner: dict[int, str] = {}
    for name, node in nodes.items():
        for part in (*inner_layers(node), *node.variables):
            first = owner.setdefault(id(part), name)
            if first != name:
                raise ValueError(
                    f"Nodes {first!r} and {name!r} must not share layers, as each is stored as a "
                    f"file of its own. Received: both hold {part.name!r}. Make the shared part a "
                    "node that both paths run, or build the layer twice."
                )


def inner_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """Return the layers of `model` and of the models inside it, in order, without input layers."""
    found: list[keras.layers.Layer] = []
    for layer in model.layers:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        found.append(layer)
        if isinstance(layer, keras.Model):
            found.extend(inner_layers(layer))
    return found
