"""The graph of a functional model: the calls of its layers, in order, and the tensors between them.

The one place that reads Keras's record of how a symbolic tensor was made. What is cut where stands
in `cutting.py`.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import keras


def call_of(tensor: Any) -> Any:
    """Return the call of a layer or operation that made a symbolic tensor.

    The call is Keras's own record of it, with `operation`, `arguments`, `input_tensors` and
    `output_tensors`.
    """
    operation, index, _ = tensor._keras_history
    return operation._inbound_nodes[index]


def name_of(tensor: Any) -> str:
    """Return the name of the layer or operation that made a symbolic tensor."""
    return tensor._keras_history.operation.name


def describe(tensors: Iterable[Any]) -> str:
    """Return symbolic tensors by their layers' names and their shapes, for messages."""
    return ", ".join(f"{name_of(tensor)} {tuple(tensor.shape)}" for tensor in tensors)


def calls_up_to(tensor: Any) -> list[Any]:
    """Return every call on which a tensor depends, its own last; each after those it depends on."""
    ordered: list[Any] = []
    seen: set[int] = set()
    waiting = [(call_of(tensor), False)]
    while waiting:
        call, ready = waiting.pop()
        if ready:
            ordered.append(call)
        elif id(call) not in seen:
            seen.add(id(call))
            waiting.append((call, True))
            waiting.extend((call_of(given), False) for given in reversed(call.input_tensors))
    return ordered


def entering(calls: Sequence[Any]) -> list[Any]:
    """Return the tensors that a set of calls takes from outside it, each once, in order."""
    inside = {id(call) for call in calls}
    taken = {id(t): t for call in calls for t in call.input_tensors if id(call_of(t)) not in inside}
    return list(taken.values())


def is_input(call: Any) -> bool:
    """Whether a call is an input of a model."""
    return isinstance(call.operation, keras.layers.InputLayer)


def free_name(name: str, taken: Collection[str]) -> str:
    """Return `name`, with underscores behind it until it is not taken."""
    while name in taken:
        name += "_"
    return name


def part(name: str, start: Any, calls: Sequence[Any], end: Any) -> keras.Model:
    """Return the functional model of a part of a graph; it shares the layers, and so their weights.

    Args:
        name: The model's name.
        start: The one tensor that enters the part.
        calls: The calls of the part, each after those it depends on.
        end: The one tensor that leaves it.
    """
    if is_input(call_of(start)):
        return keras.Model(start, end, name=name)
    free = free_name(f"{name}_input", [call.operation.name for call in calls])
    inputs = keras.Input(batch_shape=start.shape, dtype=start.dtype, sparse=start.sparse, name=free)
    made = {id(start): inputs}
    for call in calls:
        args, kwargs = call.arguments.fill_in(made)
        outputs = keras.tree.flatten(call.operation(*args, **kwargs))
        made.update(zip(map(id, call.output_tensors), outputs, strict=True))
    return keras.Model(inputs, made[id(end)], name=name)
