"""Seams: which outputs and inputs are one tensor, and a node made to fit the two at its ends.

Belongs here: the classes of tied ends over all paths, and the quantization of one node with its
ends' scales and zero points given. Does not belong here: the order of work (`node_conversion.py`),
or how a flatbuffer is edited (`pinning.py`).

In a plain tree a seam has one producer, whose own calibrated output range defines it, and every
node behind it takes exactly those codes. Where a node follows different nodes in different paths,
all the outputs and inputs so tied are one class: one range, the union of the producers' ranges, on
every side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from quantize.conversion.pinning import (
    Side,
    calibrated_range,
    copying_node,
    ends_are_tied,
    impose,
    node_specs,
    pin,
    requantize,
    spec_of_range,
)
from quantize.flatbuffer import read_graph
from quantize.storage.checks import describe
from quantize.tensor_spec import TensorSpec

_SIDES: tuple[Side, Side] = ("input", "output")

# An input's codes were made for its range: only rounding is let through. The range of several
# producers' seam may stem from a calibration on other features than a node's last one, whose
# outputs then reach a little further: a hundredth is clipped rather than requantized.
_TOLERANCE_STEPS: dict[Side, float] = {"input": 0.5, "output": 2.5}


class SeamError(ValueError):
    """A seam cannot have one scale and zero point on every side."""


@dataclass(frozen=True)
class SeamClass:
    """Outputs and inputs that are one tensor.

    Args:
        name: Unique name of the seam.
        producers: Nodes whose output it is, in order of first use.
        consumers: Nodes whose input it is, in order of first use.
    """

    name: str
    producers: tuple[str, ...]
    consumers: tuple[str, ...]


def seam_classes(paths: Mapping[str, Sequence[str]]) -> tuple[SeamClass, ...]:
    """Return the seams of a set of paths, in order of first use.

    Args:
        paths: Per task the names of the nodes it runs, trunk first.

    Returns:
        One class per set of outputs and inputs that neighbours tie together. The trunk's input and
        an output that only ends paths are no seams.
    """
    pairs = list(dict.fromkeys(pair for path in paths.values() for pair in pairwise(path)))
    roots: dict[tuple[Side, str], tuple[Side, str]] = {}

    def root(end: tuple[Side, str]) -> tuple[Side, str]:
        while roots.setdefault(end, end) != end:
            end = roots[end]
        return end

    for before, after in pairs:
        roots[root(("input", after))] = root(("output", before))
    grouped: dict[tuple[Side, str], tuple[dict[str, None], dict[str, None]]] = {}
    for before, after in pairs:
        producers, consumers = grouped.setdefault(root(("output", before)), ({}, {}))
        producers[before] = None
        consumers[after] = None
    return tuple(
        SeamClass(f"{next(iter(producers))}_output", tuple(producers), tuple(consumers))
        for producers, consumers in grouped.values()
    )


def quantize_to_seams(
    quantize: Callable[[bytes], bytes],
    calibrated: bytes,
    pins: Mapping[Side, TensorSpec],
) -> bytes:
    """Quantize a calibrated node so that its ends have given scales and zero points.

    A given range is pinned before the quantizer runs. Where that does not lead to the exact scale
    and zero point (an output of fixed scale, as a softmax's), or would clip a tensor that
    same-scale operators tie to the end, the node keeps its own range inside, and a QUANTIZE
    operator stands at that end.

    Args:
        quantize: The converter's second step, calibrated float flatbuffer to int8.
        calibrated: The node's calibrated float flatbuffer.
        pins: What the input and the output must be; a side that is left out is free.

    Returns:
        An int8 flatbuffer whose ends have exactly the given specs.
    """
    if not read_graph(calibrated).operators:
        return _quantize_empty(calibrated, pins)
    wanted = _compatible(calibrated, pins)
    while True:
        pinned = calibrated
        for side in wanted:
            changed = pin(pinned, side, pins[side], _TOLERANCE_STEPS[side])
            pinned = changed or pinned
        data = quantize(pinned)
        kept = [side for side in wanted if impose(data, side, pins[side]) is not None]
        if kept == wanted:
            break
        wanted = kept  # a pin that did not take is dropped, and its side requantized below
    for side in _SIDES:
        if side in pins:
            data = impose(data, side, pins[side]) or requantize(data, side, pins[side])
    return data


def _compatible(calibrated: bytes, pins: Mapping[Side, TensorSpec]) -> list[Side]:
    """Return the sides that can be pinned at all, and together."""
    wanted = [
        side
        for side in _SIDES
        if side in pins and pin(calibrated, side, pins[side], _TOLERANCE_STEPS[side])
    ]
    if len(wanted) == 2 and ends_are_tied(calibrated):
        return wanted[:1]
    return wanted


def _quantize_empty(calibrated: bytes, pins: Mapping[Side, TensorSpec]) -> bytes:
    """Return a node that copies, for one without operators: an Identity, a Dropout."""
    graph = read_graph(calibrated)
    shape = graph.tensors[graph.inputs[0]].shape
    own = spec_of_range(*calibrated_range(calibrated, "input"), shape)
    source = pins.get("input", pins.get("output", own))
    return copying_node(source, pins.get("output", source))


def check_seams(classes: Sequence[SeamClass], nodes: Mapping[str, bytes]) -> None:
    """Raise unless every seam has one shape, scale and zero point on all its sides.

    Args:
        classes: The seams.
        nodes: The quantized flatbuffers by node name.

    Raises:
        SeamError: Names the seam and the two ends that differ.
    """
    for seam in classes:
        ends = [(name, "output", node_specs(nodes[name])[1]) for name in seam.producers]
        ends += [(name, "input", node_specs(nodes[name])[0]) for name in seam.consumers]
        first = ends[0]
        for name, side, spec in ends[1:]:
            if spec != first[2]:
                raise SeamError(
                    f"Seam '{seam.name}' must have one scale and zero point on every side; the "
                    f"output of '{first[0]}' has {describe(first[2])}, the {side} of '{name}' "
                    f"{describe(spec)}. Quantize the tree anew, without `base`."
                )
