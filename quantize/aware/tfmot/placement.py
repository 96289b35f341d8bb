"""Which tensors the int8 graph has, and which of them share one range.

Belongs here: the rules, read off the flatbuffers that the TFLite converter makes (TensorFlow 2.21).
Does not belong here: fake quantization itself (`fake_quantization.py`), the ranges' numbers
(`ranges.py`).

A tensor of the float graph exists in the int8 graph unless the converter fuses its operator with
the one behind it: batch normalization into a convolution, a ReLU into whatever computes before it.
So Conv -> BN -> ReLU has one range, after the ReLU. Operators that only move or select codes have
one range with their inputs (`conversion.pinning.SAME_SCALE_OPERATORS`).

Not emulated, because no tensor of the float graph stands for it: the rounding between the MUL and
the ADD of a batch normalization that is not folded, between the ADD and the MUL of `Average`,
between the ADDs of more than two tensors, in front of the MINIMUM of a ReLU with another greatest
value than 6; of biases to int32, and of constants that are no kernels (a PReLU's slopes). Halves
are rounded up, where an average pooling on the device rounds them away from code 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from quantize.aware.tfmot.parts import NodePlan, Part, Step

INPUT, OUTPUT = -1, -2
"""Keys of a node's seams, beside the numbers of its inner tensors."""

Range = tuple[float, float]

KERNELS = {
    "Conv1D": "kernel",
    "Conv2D": "kernel",
    "Conv2DTranspose": "kernel",
    "DepthwiseConv1D": "depthwise_kernel",
    "DepthwiseConv2D": "depthwise_kernel",
    "Dense": "kernel",
}
"""Layers with a kernel that is fake-quantized, and its attribute."""

# What factors and summands per channel are folded into, and what a ReLU behind is fused with: a
# transposed convolution has no activation of its own, only the ADD of a folded one behind it.
_FOLDING = frozenset(KERNELS)
_AFFINE = frozenset({"BatchNormalization", "Rescaling", "Normalization"})
_ACTIVATED = (_FOLDING - {"Conv2DTranspose"}) | _AFFINE | {
    "Add", "Subtract", "Multiply", "Average", "MaxPooling1D", "MaxPooling2D", "AveragePooling1D",
    "AveragePooling2D",
}  # fmt: skip
_TIED = frozenset({
    "MaxPooling1D", "MaxPooling2D", "AveragePooling1D", "AveragePooling2D", "GlobalMaxPooling1D",
    "GlobalMaxPooling2D", "ZeroPadding1D", "ZeroPadding2D", "Cropping1D", "Cropping2D",
    "UpSampling2D", "Resizing", "Flatten", "Reshape", "Permute", "Concatenate", "Maximum",
    "Minimum",
})  # fmt: skip
# Of the tied ones, those whose results need not be codes of their inputs' range.
_ROUNDING = frozenset(
    {"AveragePooling1D", "AveragePooling2D", "UpSampling2D", "Resizing", "Concatenate", "Maximum",
     "Minimum"}
)  # fmt: skip
_BOUNDED: dict[str, Range] = {
    "sigmoid": (0.0, 255 / 256),
    "softmax": (0.0, 255 / 256),
    "tanh": (-1.0, 127 / 128),
}
"""Outputs that TFLite gives a fixed scale: 1/256 from code -128 on, for tanh 1/128 about 0."""


@dataclass(frozen=True)
class Point:
    """A place where values are rounded to codes.

    Args:
        name: Name of the layer that stands there; unique.
        node: The node.
        group: Number of the set of the node's tensors that share the range.
        bounds: The range, where the operator in front fixes it and others of the set have another.
    """

    name: str
    node: str
    group: int
    bounds: Range | None = None


@dataclass(frozen=True)
class NodeTensors:
    """A node's tensors in the int8 graph.

    Args:
        points: By tensor, or by `INPUT` or `OUTPUT`.
        group_of: Number of the set that a tensor belongs to.
        bounded: Sets with a range that their operators fix.
        ends_bounded: Whether the output is such a tensor.
    """

    points: Mapping[int, Point]
    group_of: Mapping[int, int]
    bounded: Mapping[int, Range]
    ends_bounded: bool


@dataclass(frozen=True)
class Placement:
    """Where ranges are, in all nodes.

    Args:
        nodes: By node.
    """

    nodes: Mapping[str, NodeTensors]

    def point(self, node: str, key: int) -> Point | None:
        """Return the point at a tensor of a node, if there is one."""
        return self.nodes[node].points.get(key)

    def ends_bounded(self, node: str) -> bool:
        """Whether a node ends in a softmax, sigmoid or tanh."""
        return self.nodes[node].ends_bounded


def place(
    plans: Mapping[str, NodePlan], inside: Iterable[str], at_input: Iterable[str],
    at_output: Iterable[str],
) -> Placement:  # fmt: skip
    """Return where ranges are.

    Args:
        plans: The nodes.
        inside: Nodes that are fake-quantized.
        at_input: Nodes whose input is int8.
        at_output: Nodes whose output is.
    """
    inner, starts, ends = set(inside), set(at_input), set(at_output)
    return Placement({
        name: _NodePlacement(plan, number).place(name in inner, name in starts, name in ends)
        for number, (name, plan) in enumerate(plans.items())
    })  # fmt: skip


class _NodePlacement:
    def __init__(self, plan: NodePlan, number: int) -> None:
        self._plan, self._number = plan, number
        self._alias: dict[int, int] = {0: 0}  # tensor to the one that it is a copy of
        self._maker: dict[int, Step] = {}
        self._group = {0: 0}
        for step in plan.steps:
            first = self._alias[step.inputs[0]]
            self._alias[step.output] = first if _is_copy(step.part) else step.output
            if not _is_copy(step.part):
                self._maker[step.output] = step
        self._uses = self._count_uses()

    def place(self, inside: bool, at_input: bool, at_output: bool) -> NodeTensors:
        for tensor, step in self._maker.items():
            self._group[tensor] = tensor
            if self._is_tied(step):
                for source in step.inputs:
                    self._join(tensor, self._alias[source])
        end = self._alias[self._plan.output]
        keys = [t for t, s in self._maker.items() if inside and t != end and self._has_point(t, s)]
        keys += [INPUT] * at_input + [OUTPUT] * at_output
        places = {INPUT: 0, OUTPUT: end}
        bounded = self._bounded_groups()
        points = {
            key: Point(
                f"point_{self._number}_{_KEY_NAMES.get(key, key)}",
                self._plan.name,
                self._group[places.get(key, key)],
                _bounds(self._maker[key].part) if key in self._maker else None,
            )
            for key in keys
        }
        groups = {**self._group, INPUT: self._group[0], OUTPUT: self._group[end]}
        ends_bounded = end in self._maker and _bounds(self._maker[end].part) is not None
        return NodeTensors(points, groups, bounded, ends_bounded)

    def _bounded_groups(self) -> dict[int, Range]:
        """Return the sets of which every tensor that is no copy of others has one fixed range."""
        made: dict[int, set[Range | None]] = {self._group[0]: {None}}
        for tensor, step in self._maker.items():
            if not self._is_tied(step):
                made.setdefault(self._group[tensor], set()).add(_bounds(step.part))
        return {
            group: bounds
            for group, found in made.items()
            if len(found) == 1 and (bounds := next(iter(found))) is not None
        }

    def _count_uses(self) -> dict[int, list[Step]]:
        uses: dict[int, list[Step]] = {}
        for step in self._maker.values():
            for source in step.inputs:
                uses.setdefault(self._alias[source], []).append(step)
        return uses

    def _only_use(self, tensor: int) -> Step | None:
        """Return the one operator that takes a tensor, unless it also leaves the node."""
        uses = self._uses.get(tensor, [])
        return uses[0] if len(uses) == 1 and tensor != self._alias[self._plan.output] else None

    def _has_point(self, tensor: int, step: Step) -> bool:
        """Whether a tensor exists in the int8 graph and its values need rounding."""
        if self._vanishes(tensor, step):
            return False
        return step.part.kind not in _TIED or step.part.kind in _ROUNDING

    def _vanishes(self, tensor: int, step: Step) -> bool:
        """Whether the converter fuses an operator with the one behind it."""
        behind = self._only_use(tensor)
        if behind is None:
            return False
        kind = step.part.kind
        if behind.part.kind in _AFFINE and self._is_folded(step):
            return True
        if kind == "Rescaling" and behind.part.kind in {"Rescaling"} | _FOLDING:
            return self._folds_ahead(step)
        return _is_fusing_relu(behind.part) and kind in _ACTIVATED

    def _is_folded(self, step: Step) -> bool:
        """Whether an operator is a convolution, or what is folded into one in front of it."""
        if step.part.kind in _FOLDING:
            return True
        source = self._alias[step.inputs[0]]
        before = self._maker.get(source)
        if before is None or step.part.kind not in _AFFINE:
            return False
        return self._only_use(source) is step and self._is_folded(before)

    def _folds_ahead(self, step: Step) -> bool:
        """Whether a rescaling is folded into a convolution behind it.

        A summand is only where nothing is padded: the padding would need it too.
        """
        behind = self._only_use(step.output)
        if behind is None:
            return False
        if behind.part.kind == "Rescaling":
            return self._folds_ahead(behind) and not self._is_padded_ahead(step)
        is_plain = step.part.config["offset"] == 0 or not _is_padded(behind.part)
        return behind.part.kind in _FOLDING and is_plain

    def _is_padded_ahead(self, step: Step) -> bool:
        behind = self._only_use(step.output)
        if behind is None or behind.part.kind != "Rescaling":
            return behind is not None and _is_padded(behind.part)
        return self._is_padded_ahead(behind)

    def _is_tied(self, step: Step) -> bool:
        """Whether an operator's output has its inputs' range.

        So has a ReLU that is fused into a pooling, and a ReLU6 that is an operator of its own.
        """
        if step.part.kind in _TIED:
            return True
        if not _is_fusing_relu(step.part):
            return False
        source = self._alias[step.inputs[0]]
        before = self._maker.get(source)
        if before is None or not self._vanishes(source, before):
            return bool(step.part.config)
        return before.part.kind in _TIED

    def _join(self, one: int, other: int) -> None:
        keep, drop = sorted((self._group[one], self._group[other]))
        self._group = {t: keep if g == drop else g for t, g in self._group.items()}


_KEY_NAMES = {INPUT: "input", OUTPUT: "output"}


def _is_copy(part: Part) -> bool:
    """Whether a part computes nothing in inference mode."""
    if part.kind == "Activation":
        return part.config["activation"] == "linear"
    return is_random_part(part)


def is_random_part(part: Part) -> bool:
    """Whether a part is noise while training, and nothing after."""
    return "Dropout" in part.kind or part.kind == "GaussianNoise"


def _is_fusing_relu(part: Part) -> bool:
    return part.kind == "ReLU" and dict(part.config) in ({}, {"max_value": 6.0}, {"max_value": 6})


def _is_padded(part: Part) -> bool:
    return part.config.get("padding", "valid") != "valid"


def _bounds(part: Part) -> Range | None:
    if part.kind == "Softmax":
        return _BOUNDED["softmax"]
    return _BOUNDED.get(part.config.get("activation", "")) if part.kind == "Activation" else None
