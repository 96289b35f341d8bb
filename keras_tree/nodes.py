"""What a node must be: a functional model of its own name, one tensor in, one tensor out.

How nodes follow one another is in `paths.py`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_tree.graph import describe, free_name
from keras_tree.tasks import check_name


def as_node(name: str, model: Any) -> keras.Model:
    """Return a functional model called `name` over the very layers of `model`.

    The caller's model keeps its own name and whatever it was compiled with; the weights are shared.

    Args:
        name: The node's name.
        model: A functional or built sequential model with one input tensor and one output tensor.

    Raises:
        ValueError: If it is another kind of model, or has several inputs or outputs.
    """
    check_name("node", name)
    check_functional(f"Node {name!r}", model)
    check_one_tensor(f"Node {name!r}", "input", model.inputs)
    check_one_tensor(f"Node {name!r}", "output", model.outputs)
    node = keras.Model(model.inputs[0], model.outputs[0], name=name)
    if not model.trainable:
        node.trainable = False
    return node


def check_functional(subject: str, model: Any) -> None:
    """Refuse what is no model that runs as its graph of layers says.

    Args:
        subject: What is checked, for the message: "Node 'digit'".
        model: Whatever was given.
    """
    if not isinstance(model, keras.Model) or not getattr(model, "inputs", None):
        kind = "not functional" if isinstance(model, keras.Model) else "no Keras model"
        raise ValueError(
            f"{subject} must be a functional or built sequential Keras model. Received: "
            f"{type(model).__name__}, which is {kind}. Build it with keras.Input(...) and "
            "keras.Model(inputs, outputs)."
        )
    functional = type(keras.Model(model.inputs, model.outputs))
    if type(model).call not in (functional.call, keras.Sequential.call):
        raise ValueError(
            f"{subject} must be a functional model that runs as its graph says. Received: "
            f"{type(model).__name__}, which overrides `call`. Make what it does there a layer."
        )


def check_one_tensor(subject: str, side: str, tensors: Sequence[Any]) -> None:
    """Refuse several inputs or outputs.

    Args:
        subject: What is checked, for the message.
        side: "input" or "output".
        tensors: Its tensors on that side.
    """
    if len(tensors) != 1:
        raise ValueError(
            f"{subject} must have one {side} tensor, as one tensor crosses a seam. Received "
            f"{len(tensors)}: {describe(tensors)}. Join them in one layer, or make nodes of the "
            "parts."
        )


def with_node(
    nodes: Mapping[str, keras.Model], name: str, model: keras.Model
) -> dict[str, keras.Model]:
    """Return the nodes with one more.

    Raises:
        ValueError: If there is a node of that name.
    """
    if name in nodes:
        raise ValueError(
            f"Nodes must have different names. Received a second node named {name!r} beside "
            f"{', '.join(map(repr, nodes))}. Rename it."
        )
    return {**nodes, name: as_node(name, model)}


def chain(nodes: Sequence[keras.Model], name: str) -> keras.Model:
    """Return the functional model that runs nodes one after the other, as layers."""
    first = nodes[0].inputs[0]
    free = free_name("input", [node.name for node in nodes])
    inputs = keras.Input(batch_shape=first.shape, dtype=first.dtype, name=free)
    x = inputs
    for node in nodes:
        x = node(x)
    return keras.Model(inputs, x, name=name)


def is_frozen(node: keras.Model) -> bool:
    """Whether no layer of a node is left to train."""
    return not node.trainable or not any(layer.trainable for layer in inner_layers(node))


def check_nothing_shared(nodes: Mapping[str, keras.Model]) -> None:
    """Refuse two nodes that hold one variable, as a node is the unit of storage.

    A layer without variables may be in several nodes: nothing of it is stored.
    """
    owner: dict[int, str] = {}
    for name, node in nodes.items():
        for variable in node.variables:
            first = owner.setdefault(id(variable), name)
            if first != name:
                layers = [layer.name for layer in inner_layers(node) if holds(layer, variable)]
                held = layers[-1] if layers else variable.path
                raise ValueError(
                    f"Nodes {first!r} and {name!r} must not share a layer, as each is a file of "
                    f"its own. Received: both hold {held!r}. "
                    "Make the shared part a node that both paths run, or build the layer twice."
                )


def holds(layer: keras.layers.Layer, variable: keras.Variable) -> bool:
    """Whether a variable is one of the layer's."""
    return any(each is variable for each in layer.variables)


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
