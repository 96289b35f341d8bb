"""The numbers of the ranges: what a recording pass saw, what seams fix, and what is tied to both.

The rules are those of the pipeline behind (`conversion.pinning`, `conversion.node_conversion`):
tensors that same-scale operators tie share the union of their ranges; a seam has what its
`TensorSpec` says, or the union over the nodes in front of it; what is tied to a seam takes the
seam's range, unless its own reaches further by more than half a step: then the converter puts a
QUANTIZE between.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from quantize.aware.backend import AwareNode
from quantize.aware.tfmot.placement import INPUT, OUTPUT, Placement, Range
from quantize.tensor_spec import TensorSpec

Side = tuple[str, Literal["input", "output"]]

_TOLERANCE_STEPS = 0.5
_KEYS = {"input": INPUT, "output": OUTPUT}


@dataclass(frozen=True)
class Seam:
    """The ends of nodes that are one tensor on the device.

    Args:
        sides: The ends.
        spec: What fixes its codes, or None.
    """

    sides: tuple[Side, ...]
    spec: TensorSpec | None


def find_seams(
    nodes: Mapping[str, AwareNode], paths: Iterable[tuple[str, ...]]
) -> tuple[Seam, ...]:
    """Return the classes of ends that paths tie together; an end alone is one too."""
    classes: dict[Side, set[Side]] = {}
    for name in nodes:
        classes[name, "input"], classes[name, "output"] = {(name, "input")}, {(name, "output")}
    for path in paths:
        for before, after in pairwise(path):
            joined = classes[before, "output"] | classes[after, "input"]
            classes.update(dict.fromkeys(joined, joined))
    distinct = {id(sides): tuple(sorted(sides)) for sides in classes.values()}
    return tuple(Seam(sides, _spec(nodes, sides)) for sides in distinct.values())


def int8_sides(nodes: Mapping[str, AwareNode], seams: Iterable[Seam]) -> set[Side]:
    """Return the ends whose values are rounded: of fake-quantized nodes, and of fixed seams."""
    return {
        side
        for seam in seams
        if seam.spec or any(nodes[name].fake_quantized for name, _ in seam.sides)
        for side in seam.sides
    }


def settle(
    seams: Iterable[Seam], placement: Placement, seen: Mapping[str, Range]
) -> dict[str, Range]:
    """Return the range of every point.

    Args:
        seams: The seams.
        placement: Where the points are.
        seen: By point, the least and the greatest value of the recording pass, 0 among them.
    """
    groups = _group_ranges(placement, seen)
    fixed: dict[Side, Range] = {}
    for seam in seams:
        found = _seam_range(seam, placement, groups)
        fixed.update(dict.fromkeys(seam.sides, found) if found else {})
    for (node, side), outer in fixed.items():
        tensors = placement.nodes[node]
        key = node, tensors.group_of[_KEYS[side]]
        if key[1] not in tensors.bounded and _reaches(outer, groups.get(key, (0.0, 0.0))):
            groups[key] = outer
    ends = {(node, _KEYS[side]): found for (node, side), found in fixed.items()}
    return {
        point.name: ends.get((node, key)) or point.bounds or groups[node, point.group]
        for node, tensors in placement.nodes.items()
        for key, point in tensors.points.items()
    }


def _spec(nodes: Mapping[str, AwareNode], sides: tuple[Side, ...]) -> TensorSpec | None:
    given = (getattr(nodes[name], side) for name, side in sides)
    return next((spec for spec in given if spec is not None), None)


def _group_ranges(placement: Placement, seen: Mapping[str, Range]) -> dict[tuple[str, int], Range]:
    """Return the union of what was seen per set of tied tensors, or what the operator fixes."""
    ranges: dict[tuple[str, int], Range] = {}
    for node, tensors in placement.nodes.items():
        for point in tensors.points.values():
            if point.name in seen:
                low, high = ranges.get((node, point.group), (0.0, 0.0))
                least, greatest = seen[point.name]
                ranges[node, point.group] = min(low, least), max(high, greatest)
        ranges.update({(node, group): bounds for group, bounds in tensors.bounded.items()})
    return ranges


def _seam_range(
    seam: Seam, placement: Placement, groups: Mapping[tuple[str, int], Range]
) -> Range | None:
    if seam.spec is not None:
        return seam.spec.lowest_value, seam.spec.highest_value
    producers = [side for side in seam.sides if side[1] == "output"] or seam.sides
    keys = [(node, placement.nodes[node].group_of[_KEYS[side]]) for node, side in producers]
    found = [groups[key] for key in keys if key in groups]
    return (min(low for low, _ in found), max(high for _, high in found)) if found else None


def _reaches(outer: Range, inner: Range) -> bool:
    """Whether a range holds another but for half a step."""
    tolerance = _TOLERANCE_STEPS * (outer[1] - outer[0]) / 255
    return inner[0] >= outer[0] - tolerance and inner[1] <= outer[1] + tolerance
