"""Small trees as flatbuffers written by hand: a node is a list of layers.

A layer is ("conv", channels[, scale, zero point]), ("depthwise",), ("relu",), ("tanh",), ("add",),
("dense", units) or ("softmax",).
"""

import importlib.util
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from quantize.bundle import Bundle

_SOURCE = Path(__file__).parents[2] / "quantize" / "conftest.py"
_SPEC = importlib.util.spec_from_file_location("small_trees_writers", _SOURCE)
writers = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(writers)

INPUT = ((1, 6, 6, 3), 0.02, -5)


def tree_of(nodes: Mapping[str, Sequence[tuple]], paths: Mapping[str, Sequence[str]]) -> Bundle:
    """Write the nodes, each for the output of the node that is first before it on a path.

    Args:
        nodes: Layers by node, the trunk first, producers before their followers.
        paths: Nodes by task.
    """
    ends: dict[str, tuple] = {}
    flatbuffers = {}
    for seed, (name, layers) in enumerate(nodes.items()):
        before = next(
            (path[path.index(name) - 1] for path in paths.values() if name in path[1:]), None
        )
        flatbuffers[name], ends[name] = _node(layers, ends.get(before, INPUT), seed)
    return writers.bundle_of(flatbuffers, {task: tuple(path) for task, path in paths.items()})


def _node(layers: Sequence[tuple], source: tuple, seed: int) -> tuple[bytes, tuple]:
    writer = writers.FlatbufferWriter()
    shape, scale, zero_point = source
    first = last = writer.tensor(shape, "INT8", scale, zero_point)
    for number, (kind, *options) in enumerate(layers):
        last, shape = _layer(writer, kind, options, last, shape, 100 * seed + number)
    quantization = writer.graph.tensors[last].quantization
    end = (shape, float(quantization.scale[0]), int(quantization.zeroPoint[0]))
    return writer.bytes([first], [last]), end


def _layer(writer, kind, options, source, shape, seed) -> tuple[int, tuple]:
    schema = writer.schema
    quantization = writer.graph.tensors[source].quantization
    ends = (float(quantization.scale[0]), int(quantization.zeroPoint[0]))
    if kind == "conv":
        channels, scale = options[0], options[1] if len(options) > 1 else 0.04
        return writers.convolution(writer, source, shape, channels, scale, seed), (
            *shape[:3],
            channels,
        )
    if kind == "depthwise":
        target = writers.convolution(
            writer, source, shape, shape[3], 0.03, seed, "DEPTHWISE_CONV_2D"
        )
        return target, shape
    if kind == "dense":
        length = math.prod(shape)
        return writers.dense(writer, source, length, options[0], 0.3, 3, seed), (1, options[0])
    if kind == "softmax":
        target, parameters = writer.tensor(shape, "INT8", 1 / 256, -128), schema.SoftmaxOptionsT()
        parameters.beta = 1.0
        writer.operator("SOFTMAX", [source], [target], parameters)
        return target, shape
    if kind == "add":
        codes = np.random.default_rng(seed).integers(-128, 128, shape[-1:]).astype(np.int8)
        constant = writer.tensor(shape[-1:], "INT8", 0.02, 4, codes)
        target = writer.tensor(shape, "INT8", 1.3 * ends[0], -20)
        writer.operator("ADD", [source, constant], [target], schema.AddOptionsT())
        return target, shape
    result = {"relu": (0.9 * ends[0], -128), "tanh": (1 / 128, 0)}[kind]
    target = writer.tensor(shape, "INT8", *result)
    writer.operator(kind.upper(), [source], [target])
    return target, shape
