"""A Keras model cut into the nodes of a tree: where its outputs diverge, or at a named layer.

The nodes share the model's layers, so nothing is trained anew and every output stays as it was. How
the graph is read stands in `graph.py`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras

from keras_tree import graph
from keras_tree.nodes import check_functional, check_one_tensor, inner_layers
from keras_tree.paths import check_tasks
from keras_tree.tasks import Task, near_names
from keras_tree.tree import Tree

# The tasks that run a part of the model: the same for all of a part, and different for each part.
Users = frozenset[str]


def cut_at_outputs(model: keras.Model, tasks: Sequence[Task]) -> Tree:
    """Return the tree of a functional model with several outputs, cut where its paths diverge.

    All that the same tasks run becomes one node. The node that all tasks run is named "trunk", that
    of one task like the task, and any between like its tasks joined by "-". A task whose output
    lies on the way of others has a path that ends there.

    Args:
        model: A functional model with one input and several outputs.
        tasks: One task per output: named like the outputs (the keys of a dict of outputs, else the
            names of the layers that give them) or, if no name agrees, in the order of the outputs.

    Raises:
        ValueError: If outputs and tasks do not match, nothing is shared, a layer is used in two
            nodes, or not exactly one tensor crosses each cut.

    Example:
        `tree = cut_at_outputs(model, [Task("digit", "mse"), Task("angle", "mse")])`
    """
    check_functional("`model`", model)
    check_one_tensor("`model`", "input", model.inputs)
    ends = match_outputs(model, check_tasks(tasks))
    parts = split(ends)
    names = name_parts(parts, frozenset(ends))
    starts = {users: start_of(users, model, calls, ends) for users, calls in parts.items()}
    nodes = {}
    for users, calls in parts.items():
        inner = [start for other, start in starts.items() if other != users]
        end = end_of(users, calls, [*inner, *ends.values()])
        nodes[names[users]] = graph.part(names[users], starts[users], calls, end)
    paths = {task: path_to(end, parts, starts, names) for task, end in ends.items()}
    return Tree(nodes, paths, tasks, name=model.name)


def cut_at_layer(model: keras.Model, layer_name: str, task: Task) -> Tree:
    """Return the tree of a model with one output: up to a layer the trunk, the rest a branch.

    Args:
        model: A functional or built sequential model with one input and one output.
        layer_name: The layer that ends the trunk. Everything behind it must depend on its output
            alone.
        task: The task of the model's output; the branch is named like it.

    Raises:
        ValueError: If there is no such layer, or other tensors too cross a cut behind it.

    Example:
        `tree = cut_at_layer(model, "conv3", Task("digit", "sparse_categorical_crossentropy"))`
    """
    check_functional("`model`", model)
    check_one_tensor("`model`", "input", model.inputs)
    check_one_tensor("`model`", "output", model.outputs)
    end = model.outputs[0]
    calls = graph.calls_up_to(end)
    cut = tensor_of(model, calls, layer_name)
    before = {id(call) for call in graph.calls_up_to(cut)}
    behind = [call for call in calls if id(call) not in before]
    crossing = graph.entering(behind)
    if len(crossing) != 1:
        raise ValueError(
            f"Exactly one tensor must cross the cut behind layer {layer_name!r}. Received "
            f"{len(crossing)}: {graph.describe(crossing)}. {nearest_cuts(calls, cut)}"
        )
    branch = graph.part(task.name, cut, behind, end)
    trunk = keras.Model(model.inputs[0], cut, name="trunk")
    return Tree.from_branches(trunk, {task.name: branch}, [task], name=model.name)


def match_outputs(model: keras.Model, tasks: Mapping[str, Task]) -> dict[str, Any]:
    """Return each task's output tensor, in the order of the tasks."""
    by_key = isinstance(model.output, Mapping)
    outputs = list(model.output.values()) if by_key else model.outputs
    names = list(model.output) if by_key else [graph.name_of(tensor) for tensor in outputs]
    if len(outputs) < 2:
        raise ValueError(
            f"`model` must have several outputs. Received: {model.name!r} with {len(outputs)}. Cut "
            "it with cut_at_layer."
        )
    if sorted(names) == sorted(tasks):
        return {task: outputs[names.index(task)] for task in tasks}
    if not by_key and len(outputs) == len(tasks) and not set(names) & set(tasks):
        return dict(zip(tasks, outputs, strict=True))
    unknown = [task for task in tasks if task not in names]
    hint = near_names(unknown[0], names) if unknown else "Give every output a task."
    raise ValueError(
        "`tasks` must be one per output of `model`. Received outputs "
        f"{', '.join(map(repr, names))} and tasks {', '.join(map(repr, tasks))}. {hint}"
    )


def split(ends: Mapping[str, Any]) -> dict[Users, list[Any]]:
    """Return the calls that the same tasks run, each list in order; those of most tasks first."""
    users: dict[int, set[str]] = {}
    calls: dict[int, Any] = {}
    for task, end in ends.items():
        for call in graph.calls_up_to(end):
            users.setdefault(id(call), set()).add(task)
            calls.setdefault(id(call), call)
    parts: dict[Users, list[Any]] = {}
    for key, call in calls.items():
        parts.setdefault(frozenset(users[key]), []).append(call)
    return dict(sorted(parts.items(), key=lambda part: -len(part[0])))


def name_parts(parts: Iterable[Users], everyone: Users) -> dict[Users, str]:
    """Return a name for each part, no two alike: "trunk", a task's, or its tasks' joined."""
    names: dict[Users, str] = {}
    for users in sorted(parts, key=lambda users: (users != everyone, len(users))):
        name = "trunk" if users == everyone else "-".join(sorted(users))
        names[users] = graph.free_name(name, names.values())
    return names


def start_of(
    users: Users, model: keras.Model, calls: Sequence[Any], ends: Mapping[str, Any]
) -> Any:
    """Return the one tensor that enters a part.

    Raises:
        ValueError: If several enter, or the part is the trunk and has no layer.
    """
    if users == frozenset(ends):
        if all(graph.is_input(call) for call in calls):
            raise ValueError(
                "The outputs of `model` must share at least one layer. Received: "
                f"{model.name!r}, whose outputs have only the input in common. Share a layer, or "
                "train one model per task."
            )
        return model.inputs[0]
    crossing = graph.entering(calls)
    if len(crossing) != 1:
        raise ValueError(refusal(users, "enter", crossing))
    return crossing[0]


def end_of(users: Users, calls: Sequence[Any], taken: Iterable[Any]) -> Any:
    """Return the one tensor that leaves a part.

    Args:
        users: The tasks that run the part.
        calls: The calls of the part.
        taken: The tensors that enter the other parts, or are a task's output.

    Raises:
        ValueError: If several leave.
    """
    inside = {id(call) for call in calls}
    leaving = {id(t): t for t in taken if id(graph.call_of(t)) in inside}
    if len(leaving) != 1:
        raise ValueError(refusal(users, "leave", list(leaving.values())))
    return next(iter(leaving.values()))


def refusal(users: Users, verb: str, tensors: Sequence[Any]) -> str:
    """Return why a part is no node: several tensors enter or leave it."""
    who = ", ".join(repr(task) for task in sorted(users))
    what = f"task {who} alone runs" if len(users) == 1 else f"exactly the tasks {who} run"
    masked = any(tensor.dtype == "bool" for tensor in tensors)
    return (
        f"Exactly one tensor must cross each cut. Received {len(tensors)} that {verb} what {what}: "
        f"{graph.describe(tensors)}. Join them in one layer before the paths part"
        + (" (the boolean one is a mask: use it up before)" if masked else "")
        + ", or give nodes and paths of your own to Tree(nodes, paths, tasks)."
    )


def path_to(
    end: Any,
    parts: Mapping[Users, Sequence[Any]],
    starts: Mapping[Users, Any],
    names: Mapping[Users, str],
) -> tuple[str, ...]:
    """Return the names of the nodes up to a task's output, the trunk first."""
    users_of = {id(call): users for users, calls in parts.items() for call in calls}
    path: list[str] = []
    users = users_of[id(graph.call_of(end))]
    while names[users] != "trunk":
        path.insert(0, names[users])
        users = users_of[id(graph.call_of(starts[users]))]
    return ("trunk", *path)


def tensor_of(model: keras.Model, calls: Sequence[Any], layer_name: str) -> Any:
    """Return the one tensor that the layer of a name gives.

    Raises:
        ValueError: If there is no such layer between input and output, it is called several times,
            gives several tensors, or is the first or the last one.
    """
    found = [call for call in calls if call.operation.name == layer_name]
    if not found:
        raise ValueError(unknown_layer(model, calls, layer_name))
    tensors = [tensor for call in found for tensor in call.output_tensors]
    if len(tensors) != 1:
        raise ValueError(
            f"Layer {layer_name!r} must give one tensor to cut at. Received {len(tensors)}: "
            f"{graph.describe(tensors)}. {nearest_cuts(calls, tensors[0])}"
        )
    if graph.is_input(found[0]) or found[0] is calls[-1]:
        side = "the trunk has no layer" if graph.is_input(found[0]) else "no branch is left"
        raise ValueError(
            f"`layer_name` must be a layer between the input and the last one. Received: "
            f"{layer_name!r}, with which {side}. {nearest_cuts(calls, tensors[0])}"
        )
    return tensors[0]


def unknown_layer(model: keras.Model, calls: Sequence[Any], layer_name: str) -> str:
    """Return that there is no such layer, and where one like it is."""
    text = f"No layer {layer_name!r} in the model {model.name!r}."
    for layer in model.layers:
        if isinstance(layer, keras.Model) and layer_name in [x.name for x in inner_layers(layer)]:
            return (
                f"{text} It is inside the model {layer.name!r}, which is one layer here. Cut "
                f"{layer.name!r} itself, or at it."
            )
    return f"{text} {near_names(layer_name, [call.operation.name for call in calls])}"


def nearest_cuts(calls: Sequence[Any], cut: Any) -> str:
    """Return a sentence that offers the nearest layers at which one tensor crosses.

    Args:
        calls: All calls from input to output, in order.
        cut: The tensor at which a cut is not possible.
    """
    asked = next(i for i, call in enumerate(calls) if call is graph.call_of(cut))
    possible = [
        i
        for i, call in enumerate(calls[:-1])
        if not graph.is_input(call) and len(graph.entering(calls[i + 1 :])) == 1
    ]
    before = [i for i in possible if i < asked][-1:]
    behind = [i for i in possible if i > asked][:1]
    if not before + behind:
        return "This model has no layer at which it can be cut."
    near = " or ".join(repr(calls[i].operation.name) for i in before + behind)
    return f"The nearest layers at which it can be cut: {near}."
