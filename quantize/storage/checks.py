"""Whether the parts of a bundle fit together; before it is written and after it is read.

Here stands the comparison of one part with another: a node with its flatbuffer, a path with the
nodes and seams, a task's labels and golden vectors with its path. Files and JSON are not known
here.
"""

from __future__ import annotations

import difflib
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from quantize.flatbuffer import FlatbufferError, Graph, read_graph
from quantize.interpreter import BACKENDS
from quantize.precision.choice import PRECISIONS
from quantize.storage.folder import check_name
from quantize.storage.parts import BundleError, BundleTask, InputNormalization, Node, Seam
from quantize.tensor_spec import TensorSpec

if TYPE_CHECKING:
    from quantize.bundle import Bundle


def check_bundle(bundle: Bundle) -> None:
    """Compare every part of a bundle with the parts it must fit.

    Raises:
        BundleError: The first that does not fit, with what was expected and what was found.
    """
    _check_names(bundle)
    _check_normalization(bundle.input_normalization)
    for node in bundle.nodes.values():
        _check_node(node)
    for task in bundle.tasks.values():
        _check_path(task, bundle.nodes)
    _check_all_used(bundle)
    for seam in bundle.seams:
        _check_seam(seam, bundle.nodes)
    _check_seams_cover(bundle)
    for task in bundle.tasks.values():
        _check_golden(task, bundle.nodes)
        _check_labels(task, bundle.nodes[task.path[-1]].output)


def _check_names(bundle: Bundle) -> None:
    if not bundle.name:
        raise BundleError("A bundle's `name` must not be empty. Give the tree's name.")
    for kind, named in (("node", bundle.nodes), ("task", bundle.tasks)):
        if not named:
            raise BundleError(f"A bundle must hold at least one {kind}; got none.")
        for key, part in named.items():
            check_name(key, kind)
            if part.name != key:
                raise BundleError(
                    f"The {kind} under '{key}' must have that name; its name is '{part.name}'."
                )
        folded = _repeated(name.lower() for name in named)
        if folded:
            raise BundleError(
                f"The names of {kind}s must differ in more than upper and lower case, because they "
                f"become names of files; '{folded}' occurs twice. Rename one."
            )
    seam = _repeated(seam.name for seam in bundle.seams)
    if seam:
        raise BundleError(f"The names of seams must differ; '{seam}' occurs twice.")


def _check_normalization(normalization: InputNormalization) -> None:
    scale, offset = normalization.scale, normalization.offset
    if not (math.isfinite(scale) and math.isfinite(offset)) or scale == 0:
        raise BundleError(
            "`input_normalization` must have a finite scale other than 0 and a finite offset; got "
            f"scale {scale} and offset {offset}."
        )


def _check_node(node: Node) -> None:
    """Compare a node's figures with what its flatbuffer says."""
    if node.precision not in PRECISIONS:
        raise BundleError(
            f"node '{node.name}': its precision must be one of {', '.join(PRECISIONS)}; got "
            f"'{node.precision}'. Upgrade keras-tree, or write the bundle anew."
        )
    try:
        graph = read_graph(node.data)
        found = _graph_specs(graph)
    except (FlatbufferError, ValueError) as error:
        raise BundleError(
            f"node '{node.name}': its flatbuffer cannot be used: {error} Write the bundle anew."
        ) from error
    for side, listed, real in zip(
        ("input", "output"), (node.input, node.output), found, strict=True
    ):
        if listed != real:
            raise BundleError(
                f"node '{node.name}': its {side} must be {describe(listed)} as the bundle lists "
                f"it; the flatbuffer has {describe(real)}. Write the bundle anew."
            )
    operators = tuple(sorted(graph.operator_names))
    if node.operators != operators:
        raise BundleError(
            f"node '{node.name}': its operators must be {', '.join(node.operators)} as the bundle "
            f"lists them; the flatbuffer has {', '.join(operators)}. Write the bundle anew."
        )


def _graph_specs(graph: Graph) -> tuple[TensorSpec, TensorSpec]:
    """Return the specs of the one input and the one output of a node."""
    if (graph.subgraph_count, len(graph.inputs), len(graph.outputs)) != (1, 1, 1):
        raise BundleError(
            "a node must have one subgraph, one input and one output; got "
            f"{graph.subgraph_count}, {len(graph.inputs)} and {len(graph.outputs)}."
        )
    source, target = graph.tensors[graph.inputs[0]], graph.tensors[graph.outputs[0]]
    for side, tensor in (("input", source), ("output", target)):
        if tensor.dtype != "INT8":
            raise BundleError(f"its {side} must be INT8; got {tensor.dtype}.")
    return TensorSpec.from_tensor(source), TensorSpec.from_tensor(target)


def _check_path(task: BundleTask, nodes: Mapping[str, Node]) -> None:
    if not task.path:
        raise BundleError(f"task '{task.name}': its path must name at least one node; got none.")
    for name in task.path:
        if name not in nodes:
            near = difflib.get_close_matches(name, nodes, n=1)
            advice = f"Did you mean '{near[0]}'?" if near else f"It has: {', '.join(nodes)}."
            raise BundleError(
                f"task '{task.name}': its path must name nodes of the bundle; it names '{name}', "
                f"which the bundle does not have. {advice}"
            )
    repeated = _repeated(task.path)
    if repeated:
        raise BundleError(
            f"task '{task.name}': its path must name every node once; '{repeated}' occurs twice."
        )


def _check_all_used(bundle: Bundle) -> None:
    trunks = {task.path[0]: task.name for task in bundle.tasks.values()}
    if len(trunks) > 1:
        starts = ", ".join(f"'{task}' with '{node}'" for node, task in trunks.items())
        raise BundleError(f"Every path must begin with the trunk; they begin: {starts}.")
    used = {name for task in bundle.tasks.values() for name in task.path}
    unused = [name for name in bundle.nodes if name not in used]
    if unused:
        raise BundleError(
            f"node '{unused[0]}': every node must be on the path of a task; it is on none. "
            "Leave it out, or name it in a path."
        )


def _check_seam(seam: Seam, nodes: Mapping[str, Node]) -> None:
    """Compare a seam with the outputs and inputs that it ties together."""
    if not seam.producers or not seam.consumers:
        raise BundleError(f"seam '{seam.name}': it must have producers and consumers.")
    sides = (("producers", "output"), ("consumers", "input"))
    for name, side in ((name, side) for role, side in sides for name in getattr(seam, role)):
        if name not in nodes:
            raise BundleError(
                f"seam '{seam.name}': it must tie nodes of the bundle; it names '{name}', which "
                "the bundle does not have."
            )
        spec: TensorSpec = getattr(nodes[name], side)
        if (spec.shape, spec.scale, spec.zero_point) != (seam.shape, seam.scale, seam.zero_point):
            expected = TensorSpec(seam.shape, "int8", seam.scale, seam.zero_point)
            raise BundleError(
                f"seam '{seam.name}': the {side} of node '{name}' must be {describe(expected)}; it "
                f"is {describe(spec)}. Both sides of a seam must agree: quantize the tree again."
            )


def _check_seams_cover(bundle: Bundle) -> None:
    """Every pair of neighbours crosses one seam, and no output or input belongs to two."""
    for role in ("producers", "consumers"):
        twice = _repeated(name for seam in bundle.seams for name in getattr(seam, role))
        if twice:
            raise BundleError(f"node '{twice}': it must stand once among the {role} of the seams.")
    for task in bundle.tasks.values():
        for before, after in pairwise(task.path):
            if not any(
                before in seam.producers and after in seam.consumers for seam in bundle.seams
            ):
                raise BundleError(
                    f"task '{task.name}': a seam must tie '{before}' to '{after}', which follows "
                    "it in the path; there is none. Quantize the tree again."
                )


def _check_golden(task: BundleTask, nodes: Mapping[str, Node]) -> None:
    if task.golden_backend not in BACKENDS:
        raise BundleError(
            f"task '{task.name}': `golden_backend` must be one of {', '.join(BACKENDS)}; got "
            f"'{task.golden_backend}'."
        )
    count = len(task.golden_inputs) if task.golden_inputs.ndim else 0
    if count == 0:
        raise BundleError(f"task '{task.name}': it must have at least one golden vector; got none.")
    ends = (
        ("inputs", task.golden_inputs, nodes[task.path[0]].input),
        ("outputs", task.golden_outputs, nodes[task.path[-1]].output),
    )
    for side, array, spec in ends:
        shape = (count, *spec.shape[1:])
        if array.dtype != np.int8 or array.shape != shape:
            raise BundleError(
                f"task '{task.name}': its golden {side} must be int8 of shape {shape}; got "
                f"{array.dtype} of shape {array.shape}. Write the bundle anew."
            )


def _check_labels(task: BundleTask, output: TensorSpec) -> None:
    """Labels name the classes: one for every value of the last axis, two for a single value."""
    classes = output.shape[-1] if len(output.shape) > 1 else 1
    fitting = {0, 2} if classes == 1 else {0, classes}
    if len(task.labels) not in fitting | {classes}:
        raise BundleError(
            f"task '{task.name}': its labels must be {classes}, one for every output"
            f"{' (or 2, for below and above)' if classes == 1 else ''}, or none; got "
            f"{len(task.labels)}. Correct the labels of the task."
        )


def describe(spec: TensorSpec) -> str:
    """Return a spec in words, e.g. "int8 (1, 4) scale 0.5 zero point -3"."""
    return f"{spec.dtype} {spec.shape} scale {spec.scale!r} zero point {spec.zero_point}"


def _repeated(names: Iterable[str]) -> str | None:
    """Return the first name that occurs twice, or None."""
    return next((name for name, count in Counter(names).items() if count > 1), None)
