"""From a Keras model to the program of a node: nested models inlined, weights copied.

Belongs here: the walk through the graph, and the refusal of layers that the table lacks. Does not
belong here: the table (`layer_steps.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from keras_tree.graph import calls_up_to, is_input
from quantize.aware.backend import AwareNode, AwareTrainingError
from quantize.aware.keras3.fake_quantization import Ranges
from quantize.aware.keras3.kernels import Kernel, Weight, Weights
from quantize.aware.keras3.layer_steps import LAYERS, OPERATIONS, advice, outputs_of
from quantize.aware.keras3.program import Program, Rule, Step
from quantize.aware.recipe import Recipe
from quantize.tensor_spec import TensorSpec


class Builder:
    """Collects the steps of one node.

    Args:
        node: The node.
        recipe: The recipe.
        weights: Where its weights are copied to.
    """

    def __init__(self, node: AwareNode, recipe: Recipe, weights: Weights) -> None:
        self.node = node
        self.recipe = recipe
        self.steps: list[Step] = [Step("input", (), lambda call: None, "own")]
        self.path = ""  # of the layer whose steps are added
        self._weights = weights
        self._trained = {id(v) for v in node.model.trainable_variables} if node.trained else set()

    def add(
        self,
        inputs: tuple[int, ...],
        compute: Any,
        rule: Rule,
        fixed: TensorSpec | None = None,
    ) -> int:
        """Add a step of the present layer and return its number (see `program.Step`)."""
        self.steps.append(Step(self.path, inputs, compute, rule, fixed))
        return len(self.steps) - 1

    def kernel(
        self, source: keras.Variable, channel_axes: tuple[int, ...], *, int4: bool = True
    ) -> None:
        """Copy a kernel of the present layer.

        Args:
            source: The kernel.
            channel_axes: Axes that together number its output channels.
            int4: Whether its operator takes int4 kernels; else it has 8 bits.
        """
        bits = self.recipe.weight_bits if int4 and self.node.trained else 8
        depthwise = len(channel_axes) > 1
        trained = id(source) in self._trained
        self._weights.add(source, lambda: Kernel(source, trained, channel_axes, bits, depthwise))

    def weight(self, source: keras.Variable | None, trained: bool = True) -> None:
        """Copy another weight of the present layer, if it has it.

        Args:
            source: The weight, or None.
            trained: False for one that the recipe leaves as it is.
        """
        if source is not None:
            is_trained = trained and id(source) in self._trained
            self._weights.add(source, lambda: Weight(source, is_trained))

    def inline(self, model: keras.Model, inputs: Sequence[int], prefix: str = "") -> list[int]:
        """Add the steps of a functional model and return the numbers of its outputs.

        Args:
            model: The model.
            inputs: Per input of the model the step that gives it.
            prefix: Path of the models around it, "block/".
        """
        made = dict(zip(map(id, model.inputs), inputs, strict=True))
        calls = {id(call): call for output in model.outputs for call in calls_up_to(output)}
        for call in calls.values():
            if not is_input(call):
                given = tuple(made[id(tensor)] for tensor in call.input_tensors)
                results = self._steps_of(call, given, f"{prefix}{call.operation.name}")
                made.update(zip(map(id, call.output_tensors), results, strict=True))
        return [made[id(tensor)] for tensor in model.outputs]

    def _steps_of(self, call: Any, inputs: tuple[int, ...], path: str) -> list[int]:
        """Return the steps of one call of a layer or an operation, one per output."""
        operation = call.operation
        if is_functional(operation):
            return self.inline(operation, inputs, f"{path}/")
        self.path = path
        known = LAYERS.get(type(operation))
        if not isinstance(operation, keras.layers.Layer):
            known = OPERATIONS.get(type(operation).__name__)
        if known is not None:
            return [known(self, call, inputs)]
        if operation_weights(operation) and self.node.trained:
            raise AwareTrainingError(
                f"Node '{self.node.name}', layer '{path}' ({type(operation).__name__}) must be a "
                "layer whose weights this backend knows how to train for int8; received one that "
                f"is not in its table. {advice(operation)}"
            )
        return outputs_of(self, call, inputs)


def is_functional(operation: Any) -> bool:
    """Whether an operation is a model with a graph of its own."""
    return isinstance(operation, keras.Model) and bool(getattr(operation, "inputs", None))


def operation_weights(operation: Any) -> list[keras.Variable]:
    """Return a layer's weights; an operation has none."""
    return list(operation.weights) if isinstance(operation, keras.layers.Layer) else []


def program_of(node: AwareNode, recipe: Recipe, weights: Weights, ranges: Ranges) -> Program:
    """Return the program of a node.

    Args:
        node: The node.
        recipe: The recipe.
        weights: Where its weights are copied to.
        ranges: Where its ranges are made.

    Raises:
        AwareTrainingError: A layer of a trained node has weights and is not in the table, or the
            node is no functional model of one input and one output.
    """
    model = node.model
    if not is_functional(model) or len(model.inputs) != 1 or len(model.outputs) != 1:
        raise AwareTrainingError(
            f"Node '{node.name}' must be a functional model of one input and one output, received "
            f"{type(model).__name__}. Build it with `keras.Model(inputs, outputs)`."
        )
    builder = Builder(node, recipe, weights)
    (output,) = builder.inline(model, (0,))
    return Program(node.name, builder.steps, output, ranges, node.fake_quantized)
