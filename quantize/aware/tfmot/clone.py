"""A Keras 3 node read as calls of tf_keras layers; nested models are flattened in.

Belongs here: the graph. Does not belong here: what a layer becomes (`layer_table.py`), and the
tf_keras model of whole paths (`flat_model.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import keras

from keras_tree.graph import calls_up_to, is_input
from quantize.aware.backend import AwareNode, AwareTrainingError
from quantize.aware.tfmot.layer_table import UnequalError, parts_of
from quantize.aware.tfmot.parts import LayerPlan, NodePlan, Step

# Operation of `keras.ops` to the layer that computes the same.
_LAYER_OF_OPERATION = {
    "Add": "keras.layers.Add",
    "Subtract": "keras.layers.Subtract",
    "Multiply": "keras.layers.Multiply",
    "Maximum": "keras.layers.Maximum",
    "Minimum": "keras.layers.Minimum",
    "Concatenate": "keras.layers.Concatenate",
    "Reshape": "keras.layers.Reshape",
    "Transpose": "keras.layers.Permute",
    "Relu": "keras.layers.ReLU",
    "Relu6": "keras.layers.ReLU(max_value=6)",
    "Sigmoid": "keras.layers.Activation('sigmoid')",
    "Softmax": "keras.layers.Softmax",
    "Resize": "keras.layers.Resizing",
}


def read_nodes(nodes: Mapping[str, AwareNode]) -> dict[str, NodePlan]:
    """Return the plans of nodes; no two of their tf_keras layers have one name.

    Raises:
        AwareTrainingError: A layer has no equal form in tf_keras.
    """
    return {name: _Reader(node, number).read() for number, (name, node) in enumerate(nodes.items())}


class _Reader:
    """Reads one node.

    Args:
        node: The node.
        number: Its number among the nodes, for unique names.
    """

    def __init__(self, node: AwareNode, number: int) -> None:
        self._node = node
        self._number = number
        self._layers: dict[int, LayerPlan] = {}
        self._steps: list[Step] = []
        self._count = 1  # tensor 0 is the node's input

    def read(self) -> NodePlan:
        model = self._node.model
        outputs = self._read_model(model, [0], "", bool(model.trainable))
        return NodePlan(
            self._node.name,
            tuple(model.inputs[0].shape[1:]),
            {plan.path: plan for plan in self._layers.values()},
            tuple(self._steps),
            outputs[0],
        )

    def _read_model(
        self, model: keras.Model, inputs: list[int], prefix: str, trainable: bool
    ) -> list[int]:
        """Add the calls inside a model and return the numbers of its outputs."""
        made = dict(zip(map(id, model.inputs), inputs, strict=True))
        for call in _calls(model):
            taken = [made[id(tensor)] for tensor in call.input_tensors]
            given = self._read_call(call, taken, prefix, trainable)
            made.update(zip(map(id, call.output_tensors), given, strict=True))
        return [made[id(tensor)] for tensor in model.outputs]

    def _read_call(self, call: Any, inputs: list[int], prefix: str, trainable: bool) -> list[int]:
        operation = call.operation
        path = f"{prefix}{operation.name}"
        self._check_call(call, path)
        if isinstance(operation, keras.Model):
            inner = trainable and bool(operation.trainable)
            return self._read_model(operation, inputs, f"{path}/", inner)
        plan = self._plan(operation, path, trainable)
        made = [inputs[0]]  # the layer's own input, then what its parts gave
        for position, (name, part) in enumerate(zip(plan.names, plan.parts, strict=True)):
            default = tuple(inputs) if position == 0 else (made[-1],)
            taken = tuple(made[index] for index in part.takes) if part.takes else default
            self._steps.append(Step(name, part, taken, self._count))
            made.append(self._count)
            self._count += 1
        return [made[-1]]

    def _plan(self, layer: keras.Layer, path: str, trainable: bool) -> LayerPlan:
        """Return a layer's plan, the same one for each of its calls."""
        if id(layer) not in self._layers:
            try:
                parts = parts_of(layer)
            except UnequalError as error:
                raise self._refusal(path, layer, error.why, error.instead) from None
            legal = re.sub(r"[^A-Za-z0-9]", "_", path)
            stem = f"n{self._number}_{len(self._layers)}_{legal}"
            self._layers[id(layer)] = LayerPlan(
                path,
                parts,
                tuple(f"{stem}_p{index}" for index in range(len(parts))),
                trainable and bool(layer.trainable),
                tuple(layer.get_weights()),
            )
        return self._layers[id(layer)]

    def _check_call(self, call: Any, path: str) -> None:
        """Refuse what is no layer, and a layer that is called with more than tensors."""
        operation = call.operation
        if not isinstance(operation, keras.Layer):
            name = _LAYER_OF_OPERATION.get(type(operation).__name__, "a layer of `keras.layers`")
            why = "an operation of `keras.ops`, or of Python on Keras tensors, is no layer"
            raise self._refusal(path, operation, why, f"`{name}`")
        # What Keras notes as `training` it replaces at every call of the model.
        named = {
            k: v for k, v in call.arguments.kwargs.items() if k != "training" and v is not None
        }
        extra = [
            value
            for value in keras.tree.flatten((call.arguments.args, named))
            if value is not None and not isinstance(value, keras.KerasTensor)
        ]
        if extra or set(named) - {"inputs"}:
            why = f"it is called with arguments ({named or extra}) beside its input"
            raise self._refusal(path, operation, why, "the call on tensors alone")

    def _refusal(self, path: str, operation: Any, why: str, instead: str) -> AwareTrainingError:
        return AwareTrainingError(
            f"Node '{self._node.name}', layer '{path}' ({type(operation).__name__}) must have an "
            f"equal form in tf_keras; {why}. Use {instead} instead."
        )


def _calls(model: keras.Model) -> Iterator[Any]:
    """Give the calls inside a model, each once, after those it depends on."""
    seen: set[int] = set()
    for output in model.outputs:
        for call in calls_up_to(output):
            if id(call) not in seen and not is_input(call):
                seen.add(id(call))
                yield call
