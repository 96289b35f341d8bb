"""A node's flatbuffer as a node's program: every operator handed to its lowering.

Belongs here: which operators can be compiled, and what of a graph cannot. Does not belong here: any
one operator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from types import MappingProxyType

from deploy.codegen.constants import ConstantStore
from deploy.codegen.lowering import (
    aliases,
    convolution,
    elementwise,
    fully_connected,
    lookup,
    movement,
    normalization,
    pooling,
    reduction,
    resize,
)
from deploy.codegen.lowering.builder import NodeBuilder
from deploy.codegen.lowering.op import Op
from deploy.codegen.program import CodegenError, NodeProgram
from quantize.flatbuffer import Graph, read_graph
from quantize.precision.decoding import decoded

__all__ = ["LOWERINGS", "lower_node"]

LOWERINGS: dict[str, Callable[[Op, NodeBuilder], None]] = {
    "ADD": elementwise.add,
    "AVERAGE_POOL_2D": pooling.pooling,
    "CONCATENATION": movement.concatenate,
    "CONV_2D": convolution.convolution,
    "DEPTHWISE_CONV_2D": convolution.depthwise_convolution,
    "DEPTH_TO_SPACE": movement.depth_and_space,
    "EXPAND_DIMS": aliases.alias,
    "FULLY_CONNECTED": fully_connected.fully_connected,
    "HARD_SWISH": lookup.lookup,
    "LEAKY_RELU": lookup.lookup,
    "LOGISTIC": lookup.lookup,
    "MAXIMUM": elementwise.extreme,
    "MAX_POOL_2D": pooling.pooling,
    "MEAN": reduction.reduction,
    "MINIMUM": elementwise.extreme,
    "MUL": elementwise.multiply,
    "PACK": movement.pack,
    "PAD": movement.pad,
    "PADV2": movement.pad,
    "PRELU": normalization.prelu,
    "QUANTIZE": lookup.lookup,
    "REDUCE_MAX": reduction.reduction,
    "RELU": lookup.lookup,
    "RELU6": lookup.lookup,
    "RESHAPE": aliases.alias,
    "RESIZE_BILINEAR": resize.resize_bilinear,
    "RESIZE_NEAREST_NEIGHBOR": resize.resize_nearest,
    "SLICE": movement.slice_block,
    "SOFTMAX": normalization.softmax,
    "SPACE_TO_DEPTH": movement.depth_and_space,
    "SPLIT": movement.split,
    "SPLIT_V": movement.split,
    "SQUEEZE": aliases.alias,
    "STRIDED_SLICE": movement.strided_slice,
    "SUB": elementwise.add,
    "SUM": reduction.reduction,
    "TANH": lookup.lookup,
    "TRANSPOSE": movement.transpose,
    "TRANSPOSE_CONV": convolution.transpose_convolution,
    "UNPACK": movement.unpack,
}
"""The lowering of each operator that can be compiled."""


def lower_node(
    name: str,
    data: bytes,
    constants: ConstantStore,
    isa: str,
    packing: frozenset[str] = frozenset(),
    rooms: Mapping[int, int] = MappingProxyType({}),
) -> NodeProgram:
    """Compile a node as far as values and calls.

    Args:
        name: The node's name.
        data: Its flatbuffer; weights behind a `TFLM_DECODE` are read as what it decodes to.
        constants: Where its arrays are stored.
        isa: The instruction set of the kernels.
        packing: The functions of `kt_packed.h` that may be used; none: all weights stay int8.
        rooms: Bytes that a step's scratch memory may take where its weights are packed, by step.

    Returns:
        The node's values and steps.

    Raises:
        CodegenError: The node holds what cannot be compiled; names the operator.
    """
    graph = read_graph(decoded(data))
    _check_graph(name, graph)
    build = NodeBuilder(name, graph, constants, isa, packing, rooms)
    build.define(graph.tensors[graph.inputs[0]])
    for operator in graph.operators:
        op = Op(name, operator, graph)
        lower = _lowering(op)
        _check_types(op)
        try:
            lower(op, build)
        except CodegenError:
            raise
        except (ValueError, IndexError) as error:
            # What the arithmetic of an operator refuses, TFLM refuses too or computes at random.
            raise CodegenError(f"{op.where}: {error}") from error
    return build.finish(graph.tensors[graph.inputs[0]], graph.tensors[graph.outputs[0]])


def _check_graph(name: str, graph: Graph) -> None:
    if graph.subgraph_count != 1:
        raise CodegenError(
            f"node '{name}': one subgraph is expected, received {graph.subgraph_count}: control "
            "flow cannot be compiled. Unroll the loop, or use --runtime tflm."
        )
    for side, ends in (("input", graph.inputs), ("output", graph.outputs)):
        if len(ends) != 1:
            raise CodegenError(
                f"node '{name}': one {side} is expected, received {len(ends)}. "
                "Cut the model where one tensor passes, or use --runtime tflm."
            )
        tensor = graph.tensors[ends[0]]
        if tensor.dtype != "INT8":
            raise CodegenError(
                f"node '{name}': an int8 {side} is expected, received {tensor.dtype}. "
                "Convert it with int8 inputs and outputs, or use --runtime tflm."
            )


def _lowering(op: Op) -> Callable[[Op, NodeBuilder], None]:
    lower = LOWERINGS.get(op.operator.name)
    if lower is None:
        near = get_close_matches(op.operator.name, LOWERINGS, 1)
        op.fail(
            "an operator with a kernel in plain C is expected",
            f"Use --runtime tflm{f', or {near[0]}' if near else ''}.",
        )
    return lower


def _check_types(op: Op) -> None:
    """Refuse activations that are no int8, variables, and shapes that are not fixed."""
    indices = (*op.operator.inputs, *op.operator.outputs)
    for index in indices:
        tensor = op.graph.tensors[index] if index >= 0 else None
        if tensor is None or tensor.data is not None:
            continue
        if tensor.dtype == "INT16":
            op.fail(
                f"int8 activations are expected, received INT16 in tensor {index}: there are no "
                "kernels in plain C for int16 activations",
                "Use TensorFlow Lite Micro for it (--runtime tflm), or precision int8.",
            )
        if tensor.dtype != "INT8":
            op.fail(
                f"int8 activations are expected, received {tensor.dtype} in tensor {index}",
                "Quantize the node to int8 throughout, or use --runtime tflm.",
            )
        if tensor.is_variable:
            op.fail(f"a node without state is expected, received variable tensor {index}")
        if any(size < 1 for size in tensor.shape):
            op.fail(
                f"fixed sizes of at least 1 are expected, received {tensor.shape}",
                "Convert with every axis fixed.",
            )
