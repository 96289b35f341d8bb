"""Freeze a Keras node to a TensorFlow graph of batch 1 with its weights as constants.

Belongs here: the graph, and the hash that tells whether a node has changed. A
graph is what travels to the converter's process, which knows none of the user's own layers.
Does not belong here: names (`stable_names.py`), or anything of TFLite.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from quantize.conversion.stable_names import rename, stable_names

if TYPE_CHECKING:
    import keras

INPUT_NAME = "input"
OUTPUT_NAME = "output"


@dataclass(frozen=True)
class FrozenNode:
    """One node as a graph: one float32 input of batch 1, one output.

    Args:
        name: The node's name in the tree.
        graph: A serialized `GraphDef`; its input is called "input", its output "output".
        input_shape: Shape of the input, batch 1 first.
        layer_of: Operation name to the Keras layer that made it, "block/conv" for nested layers;
            operations outside any layer are left out.
        type_of: Operation name to its TensorFlow type, e.g. "Conv2D".
        sha256: Hex digest over operations, attributes and weights, but over no name.
    """

    name: str
    graph: bytes = field(repr=False)
    input_shape: tuple[int, ...]
    layer_of: Mapping[str, str] = field(repr=False)
    type_of: Mapping[str, str] = field(repr=False)
    sha256: str

    @property
    def layers(self) -> tuple[str, ...]:
        """The Keras layers that compute something, in running order."""
        return tuple(dict.fromkeys(self.layer_of.values()))

    def layers_of_types(self, types: Iterable[str]) -> tuple[str, ...]:
        """Return the Keras layers that made operations of these TensorFlow types, in order."""
        wanted = frozenset(types)
        names = (name for name, kind in self.type_of.items() if kind in wanted)
        return tuple(dict.fromkeys(self.layer_of[name] for name in names if name in self.layer_of))

    def layers_of_tensor(self, tensor_name: str) -> tuple[str, ...]:
        """Return the Keras layers that a .tflite tensor's name ("a/b;c/d") tells of, in order."""
        found: list[str] = []
        for part in tensor_name.split(";"):
            layer = self.layer_of.get(part) or self._longest_prefix(part)
            if layer and layer not in found:
                found.append(layer)
        return tuple(found)

    def _longest_prefix(self, part: str) -> str | None:
        # The converter appends digits to a name that it uses twice.
        known = [name for name in self.layer_of if part.startswith(name)]
        return self.layer_of[max(known, key=len)] if known else None


def freeze(name: str, model: keras.Model) -> FrozenNode:
    """Freeze a node in inference mode.

    Args:
        name: The node's name in the tree.
        model: A built Keras model with one input tensor and one output tensor.

    Returns:
        The node's graph, with names that depend on the node alone.

    Raises:
        ValueError: The model's input is not one float32 tensor of a known shape, or the model
            keeps something that is not a Keras weight.
    """
    function, shape = _trace(name, model)
    graph = _with_constants(name, function)
    ends = {
        function.inputs[0].op.name: INPUT_NAME,
        function.outputs[0].op.name: OUTPUT_NAME,
    }
    names, layer_of = stable_names(graph, model, ends)
    last = function.outputs[0].op.inputs
    if last and names[last[0].op.name] in layer_of:
        layer_of[OUTPUT_NAME] = layer_of[names[last[0].op.name]]
    rename(graph, names)
    return FrozenNode(
        name,
        graph.SerializeToString(deterministic=True),
        shape,
        layer_of,
        {node.name: node.op for node in graph.node},
        _digest(graph),
    )


def _trace(name: str, model: keras.Model) -> tuple[Any, tuple[int, ...]]:
    """Trace the model with its weights as constants."""
    import tensorflow as tf

    shape = _input_shape(name, model)
    # In the order of `variables`, which freezing a layer (trainable = False) does not change.
    values = {id(v): v.numpy() for v in model.variables}

    def call(inputs: Any) -> Any:
        constants = {key: tf.constant(value) for key, value in values.items()}
        outputs, _ = model.stateless_call(
            [constants[id(v)] for v in model.trainable_variables],
            [constants[id(v)] for v in model.non_trainable_variables],
            inputs,
            training=False,
        )
        return outputs

    spec = tf.TensorSpec(shape, tf.float32, name=INPUT_NAME)
    try:
        function = tf.function(call, autograph=False).get_concrete_function(spec)
    except Exception as error:  # whatever a layer of the user's raises
        raise ValueError(
            f"Node '{name}' must run in inference mode on one sample of shape {shape[1:]}; it "
            f"raised {type(error).__name__}: {error} Correct the layer that this names."
        ) from error
    if len(function.outputs) != 1:
        raise ValueError(
            f"Node '{name}' must have one output tensor, received {len(function.outputs)}. "
            "Make a node of every output."
        )
    return function, shape


def _with_constants(name: str, function: Any) -> Any:
    """Return the function's graph, its captured tensors (a layer's fixed numbers) as constants."""
    import tensorflow as tf

    graph = function.graph.as_graph_def()
    values = zip(function.captured_inputs, function.graph.internal_captures, strict=True)
    captured = {inner.op.name: outer for outer, inner in values}
    for node in graph.node:
        if node.name not in captured:
            continue
        value = captured[node.name]
        if value.dtype in (tf.resource, tf.variant):
            raise ValueError(
                f"Node '{name}' must keep its state in Keras weights; received a model that "
                "captures a TensorFlow variable or table. Create it with `add_weight` in "
                "the layer that needs it."
            )
        node.op = "Const"
        node.ClearField("attr")
        node.attr["dtype"].type = value.dtype.as_datatype_enum
        node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value.numpy()))
    return graph


def _input_shape(name: str, model: keras.Model) -> tuple[int, ...]:
    inputs = list(model.inputs or ())
    if len(inputs) != 1:
        raise ValueError(
            f"Node '{name}' must have one input tensor, received {len(inputs)}. "
            "Build it with `keras.Model(inputs, outputs)` and one `keras.Input`."
        )
    shape: tuple[int | None, ...] = tuple(inputs[0].shape[1:])
    if any(length is None for length in shape):
        raise ValueError(
            f"Node '{name}' must have an input of a known shape, received {(None, *shape)}. "
            "Give every length but the batch in its `keras.Input`."
        )
    if inputs[0].dtype != "float32":
        raise ValueError(
            f"Node '{name}' must take float32, received an input of {inputs[0].dtype}. "
            "Leave `dtype` out of its `keras.Input`, and turn indices into numbers before the tree."
        )
    return (1, *(int(length) for length in shape if length is not None))


def _digest(graph: Any) -> str:
    """Hash what the graph computes: operations, their inputs by position, attributes, constants."""
    digest = hashlib.sha256()
    for line in _canonical_lines(graph):
        digest.update(len(line).to_bytes(8, "little"))
        digest.update(line)
    return digest.hexdigest()


def _canonical_lines(graph: Any) -> Iterator[bytes]:
    positions = {node.name: position for position, node in enumerate(graph.node)}
    for node in graph.node:
        yield node.op.encode()
        for source in node.input:
            name, _, output = source.lstrip("^").partition(":")
            yield f"{positions[name]}:{output or 0}".encode()
        for key in sorted(node.attr):
            yield key.encode()
            yield node.attr[key].SerializeToString(deterministic=True)
    for function in sorted(graph.library.function, key=lambda f: f.signature.name):
        yield function.SerializeToString(deterministic=True)
