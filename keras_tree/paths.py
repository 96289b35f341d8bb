"""The rules that paths keep: names that exist, one trunk, seams that fit, nothing left over.

What a single node must be is in `nodes.py`; what a tree does with its paths in `tree.py`.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_tree.tasks import Task, check_distinct, near_names


def unroll(
    trunk: keras.Model, branches: Mapping[str, Any], tasks: Mapping[str, Task]
) -> tuple[dict[str, keras.Model], dict[str, tuple[str, ...]]]:
    """Return the nodes and paths of nested branches; see `Tree.from_nested`."""
    nodes: dict[str, keras.Model] = {"trunk": trunk}
    paths: dict[str, tuple[str, ...]] = {}

    def add(start: tuple[str, ...], name: str, value: Any) -> None:
        model, deeper = (
            value if isinstance(value, tuple | list) and len(value) == 2 else (value, {})
        )
        if name in nodes:
            raise ValueError(
                f"Nodes must have different names. Received two named {name!r}; the root is always "
                "'trunk'. Rename one, or give nodes and paths to Tree(...)."
            )
        if not isinstance(deeper, Mapping):
            raise ValueError(
                f"What comes after node {name!r} must be a mapping of branches. Received: "
                f"{type(deeper).__name__}. Write {name!r}: (model, {{'task': branch}})."
            )
        nodes[name] = model
        path = (*start, name)
        if name in tasks or not deeper:
            paths[name] = path
        for child, below in deeper.items():
            add(path, child, below)

    for name, value in branches.items():
        add(("trunk",), name, value)
    return nodes, paths


def path_up_to(paths: Mapping[str, tuple[str, ...]], after: str | Sequence[str]) -> tuple[str, ...]:
    """Return the one path that leads up to a node.

    Args:
        paths: The paths of the tree.
        after: The node's name, or where several paths lead there, the whole path up to it,
            which is returned as it is.

    Raises:
        ValueError: If there is no such node, or several paths lead up to it.
    """
    if isinstance(after, Sequence) and not isinstance(after, str):
        return tuple(after)
    starts = dict.fromkeys(path[: end + 1] for path in paths.values() for end in range(len(path)))
    ways = [start for start in starts if start[-1] == after]
    if not ways:
        names = dict.fromkeys(name for start in starts for name in start)
        raise ValueError(
            f"`after` must name a node of the tree. Received: {after!r}. {near_names(after, names)}"
        )
    if len(ways) > 1:
        listed = " or ".join(str(way) for way in ways)
        raise ValueError(
            f"`after` must say which path leads up to the branch. Received: {after!r}, to which "
            f"{len(ways)} lead. Pass one of them: after={listed}."
        )
    return ways[0]


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
    check_distinct("task", by_name)
    if not by_name:
        raise ValueError("`tasks` must hold at least one Task. Received none.")
    return by_name


def check_paths(
    nodes: Mapping[str, Any], paths: Mapping[str, Sequence[str]], tasks: Mapping[str, Task]
) -> dict[str, tuple[str, ...]]:
    """Return each task's path as a tuple, in the order of `tasks`.

    A node may stand before another in one path and behind it in a second one: only the seams must
    fit.

    Raises:
        ValueError: If a task has no path or a path no task, a path is empty, names an unknown node
            or one node twice, paths begin with different nodes, or a node is on no path.
    """
    check_distinct("node", nodes)
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
    """Refuse a path that is empty or no sequence, or that names an unknown node, or one twice."""
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
        for before, after in itertools.pairwise(path):
            given = tuple(nodes[before].outputs[0].shape)
            taken = tuple(nodes[after].inputs[0].shape)
            if not shapes_fit(given, taken):
                raise ValueError(
                    f"Node {after!r} must take what node {before!r} gives in the path of task "
                    f"{task!r}. Received: {before!r} gives shape {given}, {after!r} takes shape "
                    f"{taken}. Build {after!r} on keras.Input({given[1:]})."
                )


def shapes_fit(given: tuple[int | None, ...], taken: tuple[int | None, ...]) -> bool:
    """Whether a tensor of shape `given` may enter an input of shape `taken`; None fits all."""
    return len(given) == len(taken) and all(
        g is None or t is None or g == t for g, t in zip(given, taken, strict=True)
    )
