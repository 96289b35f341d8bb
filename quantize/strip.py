"""Take away the bytes of a flatbuffer that no interpreter reads.

Its outputs stay the same bit for bit. Level "compatible" removes what describes the graph without
being part of it, and stores equal parts once; LiteRT and TensorFlow Lite Micro run the result.
Level "deep" also removes quantization that TensorFlow Lite Micro never reads but LiteRT insists on;
`widen` puts it back for a run on LiteRT. What strip does not know, it keeps.

Belongs here: what may go at which level. Does not belong here: how bytes are laid out
(`wire/writer.py`), or anything that changes a weight.
"""

from collections import Counter
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, Literal

import numpy as np

from quantize.wire.encoding import Table, Vector
from quantize.wire.graph_reading import operator_name
from quantize.wire.index_checks import check_indices
from quantize.wire.reader import decode
from quantize.wire.schema import TENSOR_TYPES
from quantize.wire.writer import encode

Level = Literal["none", "compatible", "deep"]
LEVELS: tuple[Level, ...] = ("none", "compatible", "deep")

# Written by converters for tools. OfflineMemoryAllocation and COMPRESSION_METADATA are read by
# TFLM, and others may be read by whoever put them there: they stay.
_UNREAD_METADATA = (b"min_runtime_version", b"CONVERSION_METADATA", b"TFLITE_METADATA")
# Operators whose int8 kernels take the bias at the scale input * weights without reading the bias
# tensor's own: which inputs are the activation, the weights and the bias. FULLY_CONNECTED does read
# it (TFLM tensorflow/lite/kernels/kernel_util.cc, PopulateConvolutionQuantizationParams and
# GetQuantizedConvolutionMultipler).
_BIAS_INPUTS = {
    "CONV_2D": (0, 1, 2),
    "DEPTHWISE_CONV_2D": (0, 1, 2),
    "TRANSPOSE_CONV": (2, 1, 3),
}


def strip(data: bytes, level: Level = "deep") -> bytes:
    """Remove the bytes that no interpreter reads.

    Args:
        data: The bytes of a .tflite file.
        level: "none" returns `data`; "compatible" removes names, description, signatures, unread
            metadata, min and max, shape signatures, unused and empty buffers, and stores equal
            parts once; "deep", for TensorFlow Lite Micro alone, also cuts equal zero points to one
            and removes the quantization of convolutions' biases.

    Returns:
        The bytes of a .tflite file with the same outputs, buffers aligned to 16 bytes; `data`
        itself where that would be larger, or where `data` was written with a newer schema.

    Raises:
        ValueError: There is no such level.
        FlatbufferError: `data` is no .tflite file, or a damaged one.
    """
    if level not in LEVELS:
        near = get_close_matches(str(level), LEVELS, 1)
        raise ValueError(
            f"`level` must be one of {', '.join(LEVELS)}, received {level!r}. "
            + (f"Did you mean {near[0]!r}?" if near else "Take 'deep' for TensorFlow Lite Micro.")
        )
    model, unread = decode(data)
    check_indices(model)
    if level == "none" or unread:
        return bytes(data)
    model = _without_descriptions(model)
    if level == "deep":
        model = _without_repeated_zero_points(_without_bias_quantization(model))
    stripped = encode(_with_used_codes(_with_used_buffers(model)))
    return stripped if len(stripped) <= len(data) else bytes(data)


def widen(data: bytes) -> bytes:
    """Put back what level "deep" removed, so that LiteRT takes the flatbuffer.

    LiteRT wants a zero point for every scale, and every bias at the scale input * weights.

    Args:
        data: The bytes of a .tflite file.

    Returns:
        The bytes of one with the same outputs; `data` itself where nothing was missing.

    Raises:
        FlatbufferError: `data` is no .tflite file, or a damaged one.
    """
    model, unread = decode(data)
    check_indices(model)
    if unread:
        return bytes(data)
    wide = _with_bias_quantization(_each_tensor(model, _with_every_zero_point))
    return bytes(data) if wide == model else encode(wide)


def _each_subgraph(model: Table, change: Callable[[Table], Table]) -> Table:
    return model.replace(subgraphs=tuple(map(change, model.tables("subgraphs"))))


def _each_tensor(model: Table, change: Callable[[Table], Table]) -> Table:
    return _each_subgraph(
        model,
        lambda subgraph: subgraph.replace(tensors=tuple(map(change, subgraph.tables("tensors")))),
    )


def _without_descriptions(model: Table) -> Table:
    kept = tuple(
        entry for entry in model.tables("metadata") if entry.get("name") not in _UNREAD_METADATA
    )
    model = model.replace(
        description=None, signatureDefs=None, metadataBuffer=None, metadata=kept or None
    )
    return _each_tensor(
        _each_subgraph(model, _without_subgraph_descriptions), _without_tensor_descriptions
    )


def _without_subgraph_descriptions(subgraph: Table) -> Table:
    operators = tuple(
        operator.replace(debugMetadataIndex=None) for operator in subgraph.tables("operators")
    )
    return subgraph.replace(name=None, debugMetadataIndex=None, operators=operators or None)


def _without_tensor_descriptions(tensor: Table) -> Table:
    quantization = tensor.get("quantization")
    if quantization is not None:
        quantization = quantization.replace(min=None, max=None)
        quantization = quantization if _content(quantization) else None
    return tensor.replace(name=None, shapeSignature=None, quantization=quantization)


def _without_repeated_zero_points(model: Table) -> Table:
    def change(tensor: Table) -> Table:
        quantization = tensor.get("quantization")
        zero_points = () if quantization is None else quantization.numbers("zeroPoint")
        if len(zero_points) < 2 or len(set(zero_points)) > 1:
            return tensor
        one = Vector.of("i64", zero_points[:1])
        return tensor.replace(quantization=quantization.replace(zeroPoint=one))

    return _each_tensor(model, change)


def _with_every_zero_point(tensor: Table) -> Table:
    quantization = tensor.get("quantization")
    scales = () if quantization is None else quantization.numbers("scale")
    zero_points = () if quantization is None else quantization.numbers("zeroPoint")
    if len(zero_points) != 1 or len(scales) < 2:
        return tensor
    every = Vector.of("i64", zero_points * len(scales))
    return tensor.replace(quantization=quantization.replace(zeroPoint=every))


def _biases(model: Table, subgraph: Table) -> dict[int, tuple[int, int]]:
    """Biases that only convolutions of int8 or int16 read: each one's activation and weights."""
    tensors, codes = subgraph.tables("tensors"), model.tables("operatorCodes")
    biases: dict[int, tuple[int, int]] = {}
    uses: Counter[int] = Counter(subgraph.numbers("inputs") + subgraph.numbers("outputs"))
    bias_uses: Counter[int] = Counter()
    for operator in subgraph.tables("operators"):
        inputs = operator.numbers("inputs")
        uses.update(inputs + operator.numbers("outputs"))
        places = _BIAS_INPUTS.get(operator_name(codes[operator.get("opcodeIndex", 0)]))
        if places is None or len(inputs) <= max(places) or inputs[max(places)] < 0:
            continue
        activation, weights, bias = (inputs[place] for place in places)
        if TENSOR_TYPES[tensors[activation].get("type", 0)] in ("INT8", "INT16"):
            biases[bias] = activation, weights
            bias_uses[bias] += 1
    return {bias: found for bias, found in biases.items() if uses[bias] == bias_uses[bias]}


def _without_bias_quantization(model: Table) -> Table:
    def change(subgraph: Table) -> Table:
        biases = _biases(model, subgraph)
        tensors = tuple(
            tensor.replace(quantization=None) if index in biases else tensor
            for index, tensor in enumerate(subgraph.tables("tensors"))
        )
        return subgraph.replace(tensors=tensors)

    return _each_subgraph(model, change)


def _with_bias_quantization(model: Table) -> Table:
    def change(subgraph: Table) -> Table:
        tensors = list(subgraph.tables("tensors"))
        for bias, (activation, weights) in _biases(model, subgraph).items():
            if tensors[bias].get("quantization") is None:
                tensors[bias] = tensors[bias].replace(
                    quantization=_bias_quantization(tensors[activation], tensors[weights])
                )
        return subgraph.replace(tensors=tuple(tensors))

    return _each_subgraph(model, change)


def _bias_quantization(activation: Table, weights: Table) -> Table:
    scale, scales = (
        np.array(tensor.get("quantization", Table("", {})).numbers("scale"), np.float32)
        for tensor in (activation, weights)
    )
    products = (scale[:1] * scales).tolist()
    return Table(
        "QuantizationParameters",
        {
            "scale": Vector.of("f32", products),
            "zeroPoint": Vector.of("i64", [0] * len(products)),
        },
    )


def _with_used_buffers(model: Table) -> Table:
    """Only the buffers that are referred to, equal ones once, none but the first empty."""
    old = model.tables("buffers")
    if not old or _content(old[0]):
        return model
    # A buffer's content and its new number; the first buffer is the empty one by convention.
    numbers: dict[tuple[Any, ...], int] = {(): 0}

    def moved(table: Table) -> Table:
        content = _content(old[table.get("buffer", 0)])
        return table.replace(buffer=numbers.setdefault(content, len(numbers)))

    model = _each_tensor(model, moved)
    metadata = tuple(map(moved, model.tables("metadata")))
    buffers = tuple(Table("Buffer", dict(content)) for content in numbers)
    return model.replace(metadata=metadata or None, buffers=buffers)


def _content(table: Table) -> tuple[Any, ...]:
    """A table's fields, without those that mean the same as absent ones."""
    return tuple(
        (name, value)
        for name, value in sorted(table.fields.items())
        if value != 0 and not (isinstance(value, Vector) and not value.data)
    )


def _with_used_codes(model: Table) -> Table:
    """Only the operator codes that are referred to, equal ones once."""
    old = model.tables("operatorCodes")
    numbers: dict[tuple[Any, ...], int] = {}

    def moved(operator: Table) -> Table:
        code = tuple(sorted(old[operator.get("opcodeIndex", 0)].fields.items()))
        return operator.replace(opcodeIndex=numbers.setdefault(code, len(numbers)))

    def change(subgraph: Table) -> Table:
        operators = tuple(map(moved, subgraph.tables("operators")))
        return subgraph.replace(operators=operators or None)

    model = _each_subgraph(model, change)
    codes = tuple(Table("OperatorCode", dict(code)) for code in numbers)
    return model.replace(operatorCodes=codes)
