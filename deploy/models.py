"""Any .tflite file and any bundle as one bundle that can be checked; several of them as one device.

Belongs here: what is read for a check, and the names that nodes and tasks get when several models
stand on one device. Does not belong here: bundles that are written (`quantize/bundle.py`), or what
a model costs (`footprint/`).

A lone .tflite file becomes a node and a task of the same name, the file's stem. Several models are
put side by side: every node is stored once for each file that brings it, even where two files bring
equal bytes, because a firmware does not share what it was not told of; a file that is named twice
counts once.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from deploy.model_checks import QUANTIZE_IT, ModelError, check_countable, check_types
from quantize.bundle import Bundle, BundleError, BundleTask, InputNormalization, Node
from quantize.flatbuffer import FlatbufferError, Graph, Tensor, read_graph
from quantize.macs import macs
from quantize.precision.choice import LUT_BITS
from quantize.tensor_spec import TensorSpec
from quantize.wire.anatomy import BIAS_INPUTS, INDEX_TYPES
from quantize.wire.encoding import IDENTIFIER
from quantize.wire.lookup_table import DECODE, read_lookup_table

# More than any microcontroller board stores; a larger file is no node of one.
_LARGEST_FILE_BYTES = 512 * 2**20


def load_models(paths: Sequence[str | Path]) -> Bundle:
    """Read models that stand on one device together.

    Args:
        paths: Bundle folders and .tflite files (known by their content), at least one.

    Returns:
        One bundle of them. A bundle alone is returned as it is. The node of a .tflite file has for
        `input` and `output` the quantized tensor nearest to its first input and output, for
        `parameters` the elements of its constants except shapes and axes, and its file's whole
        length for `unstripped_bytes`. Among several models the nodes and tasks of a bundle are
        named "bundle/node", and equal names get "-2", "-3" and so on.

    Raises:
        ModelError: No path is given, or one is no bundle and no .tflite file that TensorFlow Lite
            Micro could run with integer kernels.
    """
    if not paths:
        raise ModelError(
            "`paths` must name at least one model, received none. Give a .tflite file."
        )
    distinct: dict[str, Path] = {}
    for path in map(Path, paths):
        distinct.setdefault(os.path.realpath(path), path)
    are_folders = [path.is_dir() for path in distinct.values()]
    bundles = [
        _load_bundle(path) if is_folder else _lone_file(path)
        for path, is_folder in zip(distinct.values(), are_folders, strict=True)
    ]
    return bundles[0] if len(bundles) == 1 else _together(bundles, are_folders)


def _load_bundle(path: Path) -> Bundle:
    """A bundle's folder, its nodes such that they can be counted."""
    try:
        bundle = Bundle.load(path)
        for node in bundle.nodes.values():
            check_countable(read_graph(node.data))
    except BundleError as error:
        raise ModelError(str(error)) from error
    except (FlatbufferError, ModelError) as error:
        raise ModelError(f"'{path}' cannot be checked. {error}") from error
    return bundle


def _lone_file(path: Path) -> Bundle:
    """A bundle of one .tflite file."""
    name = _name(path.stem)
    try:
        node = _node(name, _content(path))
    except (FlatbufferError, ModelError) as error:
        raise ModelError(f"'{path}' cannot be checked. {error}") from error
    no_codes = np.zeros((0, 1), np.int8)
    task = BundleTask(name, (name,), (), no_codes, no_codes)
    return Bundle(name, {name: node}, (), {name: task}, InputNormalization(), {})


def _content(path: Path) -> bytes:
    """The bytes of a .tflite file; no more than its first eight of any other."""
    if not path.exists():
        raise ModelError(
            "A bundle's folder or a .tflite file is expected, there is none. Check it."
        )
    try:
        if not path.is_file():
            raise ModelError("A file is expected, this is a device or a pipe. Copy it to a file.")
        size_bytes = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(8)
            if head[4:] != IDENTIFIER:
                raise ModelError(
                    f"A .tflite file is expected, with TFL3 at byte 4, received {head[4:]!r} in "
                    f"{size_bytes:,} bytes. Convert the model to TFLite, or give a bundle's folder."
                )
            if size_bytes > _LARGEST_FILE_BYTES:
                raise ModelError(
                    f"A model for a microcontroller is expected, of at most {_LARGEST_FILE_BYTES:,}"
                    f" bytes, received {size_bytes:,}. No board stores it: choose a smaller one."
                )
            # A buffer of the size that is asked for is made at once.
            return head + file.read(size_bytes)
    except OSError as error:
        raise ModelError(f"It cannot be read: {error.strerror}. Check its permissions.") from error


def _node(name: str, data: bytes) -> Node:
    """The node that a .tflite file is."""
    graph = read_graph(data)
    check_countable(graph)
    check_types(graph)
    return Node(
        name=name,
        data=data,
        unstripped_bytes=len(data),
        parameters=_parameters(graph),
        macs=macs(data),
        input=_end(graph, graph.inputs, "inputs"),
        output=_end(graph, graph.outputs, "outputs"),
        operators=tuple(sorted(graph.operator_names)),
        precision=_precision(graph),
    )


def _precision(graph: Graph) -> str:
    """The form that a graph is stored in; of several the one that costs the most accuracy."""
    types = {tensor.dtype for tensor in graph.tensors}
    if "INT4" in types:
        return "int4"
    bits = [
        read_lookup_table(graph.tensors, operator, number).bits
        for operator in graph.operators
        if operator.name == DECODE
        for number in range(len(operator.outputs))
    ]
    if bits:
        return next((name for name, most in LUT_BITS.items() if most <= max(bits)), "lut2")
    return "16x8" if "INT16" in types else "int8"


def _parameters(graph: Graph) -> int:
    """Elements of the constants, without shapes and axes; of decoded weights what is decoded."""
    biases = {
        operator.inputs[BIAS_INPUTS[operator.name]]
        for operator in graph.operators
        if BIAS_INPUTS.get(operator.name, len(operator.inputs)) < len(operator.inputs)
    }
    decoders = [operator for operator in graph.operators if operator.name == DECODE]
    stored = {index for operator in decoders for index in operator.inputs}
    decoded = {index for operator in decoders for index in operator.outputs}
    return sum(
        math.prod(tensor.shape)
        for tensor in graph.tensors
        if tensor.index in decoded
        or (
            (tensor.data is not None and tensor.index not in stored)
            and (tensor.dtype not in INDEX_TYPES or tensor.index in biases)
        )
    )


def _end(graph: Graph, indices: Sequence[int], side: str) -> TensorSpec:
    """The quantized tensor nearest to the first input or output.

    A float input is quantized within the model, and an output may be dequantized or an index. Only
    the size of the copy that several followers of a node need depends on it.
    """
    for tensor in _inwards(graph, indices, side):
        if tensor.dtype not in ("INT8", "UINT8", "INT16") or tensor.quantization is None:
            continue
        try:
            return TensorSpec.from_tensor(replace(tensor, shape=tensor.shape or (1,)))
        except ValueError as error:
            raise ModelError(f"The {side} of the model cannot be used. {error}") from error
    raise ModelError(
        f"A model with quantized {side} is expected, received one whose {side} lead to none. "
        + QUANTIZE_IT
    )


def _inwards(graph: Graph, indices: Sequence[int], side: str) -> Iterable[Tensor]:
    """The first tensor of `indices`, then the tensors behind it, operator by operator."""
    follow: dict[int, int] = {}
    for operator in graph.operators:
        sources = [i for i in operator.inputs if i >= 0 and graph.tensors[i].data is None]
        if not sources:
            continue
        if side == "inputs":
            follow.setdefault(sources[0], operator.outputs[0])
        else:
            follow |= dict.fromkeys(operator.outputs, sources[0])
    index = indices[0] if indices else None
    seen: set[int] = set()
    while index is not None and index not in seen:
        seen.add(index)
        yield graph.tensors[index]
        index = follow.get(index)


def _name(text: str) -> str:
    """A name that nodes may have: letters, digits, "_", "." and "-"."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-.")
    return name[:200] or "model"


def _together(bundles: Sequence[Bundle], are_folders: Sequence[bool]) -> Bundle:
    """One bundle of several, their names made distinct."""
    labels: list[str] = []
    for bundle in bundles:
        labels.append(_distinct(_name(bundle.name), labels))
    renamed = list(map(_renamed, bundles, labels, are_folders))
    return Bundle(
        name=" + ".join(labels),
        nodes={name: node for one in renamed for name, node in one.nodes.items()},
        seams=tuple(seam for one in renamed for seam in one.seams),
        tasks={name: task for one in renamed for name, task in one.tasks.items()},
        input_normalization=InputNormalization(),
        versions={},
    )


def _distinct(name: str, taken: Iterable[str]) -> str:
    """`name`, or with the lowest number from 2 on that makes it another one."""
    known = {one.lower() for one in taken}
    numbered = (f"{name}-{number}" for number in range(2, len(known) + 3))
    return next(one for one in (name, *numbered) if one.lower() not in known)


def _renamed(bundle: Bundle, label: str, is_folder: bool) -> Bundle:
    """The bundle with its label before every name; of a lone file the label is the name."""

    def new(name: str) -> str:
        return f"{label}/{name}" if is_folder else label

    nodes = {new(name): replace(node, name=new(name)) for name, node in bundle.nodes.items()}
    seams = tuple(
        replace(
            seam,
            name=new(seam.name),
            producers=tuple(map(new, seam.producers)),
            consumers=tuple(map(new, seam.consumers)),
        )
        for seam in bundle.seams
    )
    tasks = {
        new(name): replace(task, name=new(name), path=tuple(map(new, task.path)))
        for name, task in bundle.tasks.items()
    }
    return replace(bundle, name=label, nodes=nodes, seams=seams, tasks=tasks)
