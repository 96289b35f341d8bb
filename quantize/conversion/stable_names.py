"""Names of a node's operations that depend on the node alone.

Keras numbers unnamed layers through the whole process (conv2d, conv2d_1, ...), and TensorFlow
numbers the scopes again. With the names from here equal nodes give equal bytes, in one process and
in two, and every operation still tells which layer made it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras


def stable_names(
    graph: Any, model: keras.Model, ends: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Name every operation of a graph by the layer that made it, and by nothing else.

    Args:
        graph: The `GraphDef` of a model's call.
        model: The model.
        ends: New names of the graph's input and output, by old name.

    Returns:
        Old name to new name, and new name to the path of the layer, where there is one.
    """
    new_names = dict(ends)
    layer_of: dict[str, str] = {}
    taken = set(ends.values())
    levels: dict[int, dict[str, tuple[str, Any]]] = {}
    for node in graph.node:
        if node.name in ends:
            continue
        segments, layers = _resolve(node.name, model, levels)
        new_names[node.name] = _unique("/".join(segments), taken)
        if layers:
            layer_of[new_names[node.name]] = "/".join(layers)
    return new_names, layer_of


def rename(graph: Any, names: Mapping[str, str]) -> None:
    """Give every operation of a `GraphDef` its new name, by old name, wherever it stands."""
    for node in graph.node:
        node.name = names[node.name]
        for index, source in enumerate(node.input):
            control, old, output = re.fullmatch(r"(\^?)([^:]+)(:\d+)?", source).groups()  # type: ignore[union-attr]
            node.input[index] = f"{control}{names[old]}{output or ''}"


def sublayers(layer: keras.Layer) -> list[keras.Layer]:
    """Return the layers directly inside a layer: a model's, a wrapper's, or those it holds."""
    import keras

    if isinstance(layer, keras.Model):
        return list(layer.layers)
    found: dict[int, keras.Layer] = {}
    for value in vars(layer).values():
        for item in _items(value):
            if isinstance(item, keras.Layer) and item is not layer:
                found[id(item)] = item
    return list(found.values())


def _resolve(
    name: str, model: keras.Model, levels: dict[int, dict[str, tuple[str, Any]]]
) -> tuple[list[str], list[str]]:
    """Return an operation's name in stable segments, and the layers that it lies in."""
    layer: Any = model
    stable: list[str] = []
    layers: list[str] = []
    segments = name.split("/")
    for position, segment in enumerate(segments):
        if id(layer) not in levels:
            levels[id(layer)] = _level(sublayers(layer))
        # A layer opens its scope twice, first to build and then to call, so that what it calls
        # stands in "name_1" or a higher number. Taking off one number therefore is unambiguous.
        level = levels[id(layer)]
        child = level.get(re.sub(r"_\d+$", "", segment)) or level.get(segment)
        if child is None:
            # TensorFlow's numbers also count what has nothing to do with this operation.
            rest = [re.sub(r"_\d+$", "", part) for part in segments[position:]]
            return stable + rest, layers
        stable.append(child[0])
        layer = child[1]
        layers.append(layer.name)
    return stable, layers


def _level(layers: Iterable[keras.Layer]) -> dict[str, tuple[str, Any]]:
    """Return layer name to (stable name, layer); unnamed layers are counted by class from 0."""
    counts: dict[str, int] = {}
    level: dict[str, tuple[str, Any]] = {}
    for layer in layers:
        automatic = _snake_case(type(layer).__name__)
        stable = layer.name
        if re.fullmatch(rf"{re.escape(automatic)}(_\d+)?", layer.name):
            number = counts.get(automatic, 0)
            counts[automatic] = number + 1
            stable = f"{automatic}_{number}" if number else automatic
        level[layer.name] = (stable, layer)
    return level


def _snake_case(class_name: str) -> str:
    # As Keras names a layer that was given no name.
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", class_name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _unique(name: str, taken: set[str]) -> str:
    candidate, number = name, 0
    while candidate in taken:
        number += 1
        candidate = f"{name}_{number}"
    taken.add(candidate)
    return candidate


def _items(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, (list, tuple)) else (value,)
