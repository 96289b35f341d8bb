"""Give a node's input or output a range that was settled elsewhere.

Belongs here: edits of one flatbuffer. A calibrated float flatbuffer gets the range written over its
own; a quantized one gets the exact bits, or an operator that changes codes into those of the range.
Does not belong here: which range (`seam.py`).

Patching only the input tensor of a quantized flatbuffer would be wrong: its biases and its
same-scale operators keep the scale they were quantized for.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

from quantize.flatbuffer import pack, read_graph, unpack
from quantize.tensor_spec import TensorSpec

Side = Literal["input", "output"]

# Operators that hand codes on unchanged or pick among them: the quantizer gives their inputs and
# outputs one scale (TensorFlow's tfl_ops.td, the operators with SameScalesOpInterface). RELU6 is
# here for TensorFlow Lite Micro alone, which clamps codes and does not read the output's scale
# (kernels/activations_common.cc, Relu6Prepare): with another one it gives noise.
_SAME_SCALE = """
    AVERAGE_POOL_2D BATCH_TO_SPACE_ND BROADCAST_TO CONCATENATION DEPTH_TO_SPACE
    DYNAMIC_UPDATE_SLICE EXPAND_DIMS GATHER GATHER_ND MAXIMUM MAX_POOL_2D MINIMUM MIRROR_PAD
    PACK PAD PADV2 REDUCE_MAX REDUCE_MIN RELU6 RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR
    REVERSE_V2 SELECT SELECT_V2 SLICE SPACE_TO_BATCH_ND SPACE_TO_DEPTH SPLIT SPLIT_V SQUEEZE
    STRIDED_SLICE TILE TRANSPOSE UNPACK
"""
SAME_SCALE_OPERATORS = frozenset(_SAME_SCALE.split())

_ROUNDING = 1e-6
"""Relative difference of scales that comes of rounding to float32 and back."""


def node_specs(data: bytes) -> tuple[TensorSpec, TensorSpec]:
    """Return the specs of a quantized node's one input and one output."""
    graph = read_graph(data)
    return (
        TensorSpec.from_tensor(graph.tensors[graph.inputs[0]]),
        TensorSpec.from_tensor(graph.tensors[graph.outputs[0]]),
    )


def calibrated_range(calibrated: bytes, side: Side) -> tuple[float, float]:
    """Return the least and the greatest value that calibration saw at a node's input or output."""
    graph = unpack(calibrated).subgraphs[0]
    return _range(graph.tensors[_end(graph, side)])


def spec_of_range(lowest: float, highest: float, shape: tuple[int, ...]) -> TensorSpec:
    """Return the int8 tensor whose codes span a range of real values, with 0.0 among them.

    Args:
        lowest: Least value to represent.
        highest: Greatest value; it must differ from `lowest` or from 0.
        shape: Shape of the tensor, batch 1 first.
    """
    low, high = min(lowest, 0.0), max(highest, 0.0)
    scale = float(np.float32((high - low) / 255))
    zero_point = int(np.clip(round(-128 - low / scale), -128, 127))
    return TensorSpec(shape, "int8", scale, zero_point)


def pin(
    calibrated: bytes, side: Side, spec: TensorSpec, tolerance_steps: float = 0.5
) -> bytes | None:
    """Write a range over the calibrated one of an end, and of all that is tied to it.

    Args:
        calibrated: A float flatbuffer with calibrated ranges.
        side: Which end of the node.
        spec: The scale and zero point that it must get.
        tolerance_steps: How far, in steps of `spec`, a tied tensor's own range may reach beyond;
            it is clipped there. An end that nothing is tied to may reach as far as it will: what
            is beyond is clipped at the end in any case.

    Returns:
        The changed flatbuffer, or None where a tied tensor's own range reaches further.
    """
    model = unpack(calibrated)
    graph = model.subgraphs[0]
    tied = tied_tensors(model, _end(graph, side))
    tolerance = spec.scale * (tolerance_steps if len(tied) > 1 else math.inf)
    for index in tied:
        tensor = graph.tensors[index]
        lowest, highest = _range(tensor)
        if lowest < spec.lowest_value - tolerance or highest > spec.highest_value + tolerance:
            return None
        tensor.quantization.min = [float(np.float32(spec.lowest_value))]
        tensor.quantization.max = [float(np.float32(spec.highest_value))]
    return pack(model)


def ends_are_tied(calibrated: bytes) -> bool:
    """Whether same-scale operators alone lead from a node's input to its output."""
    model = unpack(calibrated)
    graph = model.subgraphs[0]
    return _end(graph, "output") in tied_tensors(model, _end(graph, "input"))


def tied_tensors(model: Any, start: int) -> set[int]:
    """Return the tensors that same-scale operators tie to one, itself among them.

    Args:
        model: A calibrated or a quantized flatbuffer's `ModelT`.
        start: Index of a tensor of its first subgraph.
    """
    return next((tied for tied in _tied_sets(model) if start in tied), {start})


def share_ranges(model: Any) -> None:
    """Give every set of tensors that same-scale operators tie together the union of their ranges.

    The quantizer would take the range of one of them for all and clip the others: in TensorFlow
    2.21 a net that concatenates two convolutions and a pooling kept 5 dB of signal to noise ratio
    without this, and 34 dB with it.

    Args:
        model: A calibrated float flatbuffer's `ModelT`; it is changed.
    """
    tensors = model.subgraphs[0].tensors
    for tied in _tied_sets(model):
        ranges = [_range(tensors[index]) for index in tied]
        for index in tied:
            tensors[index].quantization.min = [min(low for low, _ in ranges)]
            tensors[index].quantization.max = [max(high for _, high in ranges)]


def impose(data: bytes, side: Side, spec: TensorSpec) -> bytes | None:
    """Give an end of a quantized node the exact bits of a scale that it has but for rounding.

    Returns:
        The flatbuffer, changed only where the scales differ in their last bits, or None where they
        differ by more or the zero points differ.
    """
    found = node_specs(data)[side == "output"]
    if found == spec:
        return data
    close = abs(found.scale - spec.scale) <= _ROUNDING * spec.scale
    if not close or found.zero_point != spec.zero_point or found.shape != spec.shape:
        return None
    model = unpack(data)
    graph = model.subgraphs[0]
    for index in tied_tensors(model, _end(graph, side)):
        graph.tensors[index].quantization.scale = [spec.scale]
    return pack(model)


def requantize(data: bytes, side: Side, spec: TensorSpec) -> bytes:
    """Put an int8 to int8 QUANTIZE at an end of a quantized node, so that the end has this spec."""
    model = unpack(data)
    graph = model.subgraphs[0]
    inner = _end(graph, side)
    outer = _add_tensor(graph, f"seam_{side}", spec)
    ends = (outer, inner) if side == "input" else (inner, outer)
    operator = _operator(model, "QUANTIZE", *ends)
    if side == "input":
        graph.operators = [operator, *graph.operators]
        graph.inputs = [outer]
    else:
        graph.operators = [*graph.operators, operator]
        graph.outputs = [outer]
    return pack(model)


def copying_node(source: TensorSpec, target: TensorSpec) -> bytes:
    """Return the flatbuffer of a node that computes nothing, which the converter leaves empty.

    Args:
        source: The input.
        target: The output, of the same shape; a RESHAPE copies equal codes, a QUANTIZE others.
    """
    from ai_edge_litert import schema_py_generated as schema

    graph = schema.SubGraphT()
    graph.tensors, graph.operators = [], []
    model = schema.ModelT()
    model.version = 3
    model.subgraphs = [graph]
    model.buffers = [schema.BufferT()]
    model.operatorCodes = []
    ends = _add_tensor(graph, "input", source), _add_tensor(graph, "output", target)
    same = (source.scale, source.zero_point) == (target.scale, target.zero_point)
    operator = _operator(model, "RESHAPE" if same else "QUANTIZE", *ends)
    if same:
        operator.builtinOptionsType = schema.BuiltinOptions.ReshapeOptions
        operator.builtinOptions = schema.ReshapeOptionsT()
        operator.builtinOptions.newShape = list(target.shape)  # LiteRT reads it, TFLM does not
    graph.operators = [operator]
    graph.inputs, graph.outputs = [ends[0]], [ends[1]]
    return pack(model)


def _end(graph: Any, side: Side) -> int:
    return int((graph.inputs if side == "input" else graph.outputs)[0])


def _range(tensor: Any) -> tuple[float, float]:
    return float(tensor.quantization.min[0]), float(tensor.quantization.max[0])


def _tied_sets(model: Any) -> list[set[int]]:
    """Return the sets of tensors that same-scale operators tie, apart from single ones."""
    graph = model.subgraphs[0]
    names = _operator_names(model)
    set_of: dict[int, set[int]] = {}
    for operator in graph.operators or ():
        if names[operator.opcodeIndex] in SAME_SCALE_OPERATORS:
            ends = {int(end) for end in (*operator.inputs, *operator.outputs) if end >= 0}
            tied = {end for end in ends if _is_quantized(graph.tensors[end])}
            tied = tied.union(*(set_of[end] for end in tied if end in set_of))
            set_of.update(dict.fromkeys(tied, tied))
    return list({id(tied): tied for tied in set_of.values()}.values())


def _operator_names(model: Any) -> list[str]:
    from ai_edge_litert import schema_py_generated as schema

    by_number = {number: name for name, number in vars(schema.BuiltinOperator).items()}
    codes = (
        max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes or ()
    )
    return [by_number[code] for code in codes]


def _is_quantized(tensor: Any) -> bool:
    """Whether a tensor has a range or a scale; indices, paddings and shapes have none."""
    quantization = tensor.quantization
    if quantization is None:
        return False
    return any(
        values is not None and len(values) for values in (quantization.min, quantization.scale)
    )


def _add_tensor(graph: Any, name: str, spec: TensorSpec) -> int:
    from ai_edge_litert import schema_py_generated as schema

    tensor = schema.TensorT()
    tensor.name = name.encode()
    tensor.shape = list(spec.shape)
    tensor.type = schema.TensorType.INT8
    tensor.buffer = 0  # the empty buffer that every flatbuffer begins with
    tensor.quantization = schema.QuantizationParametersT()
    tensor.quantization.scale = [spec.scale]
    tensor.quantization.zeroPoint = [spec.zero_point]
    graph.tensors = [*graph.tensors, tensor]
    return len(graph.tensors) - 1


def _operator(model: Any, name: str, source: int, target: int) -> Any:
    from ai_edge_litert import schema_py_generated as schema

    number = getattr(schema.BuiltinOperator, name)
    operator = schema.OperatorT()
    operator.inputs, operator.outputs = [source], [target]
    names = _operator_names(model)
    if name in names:
        operator.opcodeIndex = names.index(name)
        return operator
    code = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode = number, min(number, 127)
    code.version = 1
    model.operatorCodes = [*(model.operatorCodes or ()), code]
    operator.opcodeIndex = len(names)
    return operator
