"""What a Keras 3 layer becomes: one or several plain tf_keras layers, its parts.

Values only. Which layer has which parts stands in `layer_table.py`, how a node's graph is read in
`clone.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Part:
    """One tf_keras layer that stands for a Keras 3 layer, or for a part of it.

    Args:
        kind: Name of its class in `tf_keras.layers`.
        config: Arguments of its constructor, without the name.
        weights: Attributes that hold its weights, in the order of the Keras 3 layer's.
        takes: What it is called on: 0 is the Keras 3 layer's own input, i the part before number
            i. Empty for the part before, or for the layer's inputs where it is the first.
    """

    kind: str
    config: Mapping[str, Any] = field(default_factory=dict)
    weights: tuple[str, ...] = ()
    takes: tuple[int, ...] = ()


@dataclass(frozen=True)
class LayerPlan:
    """A Keras 3 layer of a node and its parts.

    Args:
        path: Its name, "block/conv" for one in a nested model.
        parts: What it becomes.
        names: Names of the tf_keras layers, one per part; unique over all nodes.
        trainable: Whether the user left it trainable.
        values: Its weights, as `get_weights()` returned them.
    """

    path: str
    parts: tuple[Part, ...]
    names: tuple[str, ...]
    trainable: bool
    values: tuple[Any, ...] = field(repr=False)


@dataclass(frozen=True)
class Step:
    """One call of one part.

    Args:
        name: Name of the tf_keras layer.
        part: What that layer is.
        inputs: Numbers of the tensors that it takes.
        output: Number of the tensor that it gives.
    """

    name: str
    part: Part
    inputs: tuple[int, ...]
    output: int


@dataclass(frozen=True)
class NodePlan:
    """A node as calls of tf_keras layers, in running order.

    Args:
        name: The node's name.
        input_shape: Shape of its input without the batch.
        layers: Its layers by path, those without weights too.
        steps: The calls; tensor 0 is the node's input.
        output: Number of the tensor that leaves it.
    """

    name: str
    input_shape: tuple[int, ...]
    layers: Mapping[str, LayerPlan]
    steps: tuple[Step, ...]
    output: int
