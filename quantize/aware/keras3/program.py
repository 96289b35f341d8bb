"""A node as a list of steps, and which of their results the int8 flatbuffer keeps as tensors.

Belongs here: the steps, the fusing of convolution, batch normalization and activation into one
operator, and the results that share one range because operators hand codes on. Does not belong
here: what step a layer becomes (`layer_steps.py`, `activation_steps.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import keras
import tensorflow as tf

from quantize.aware.keras3.fake_quantization import (
    Range,
    Ranges,
    fake_quantize_exactly,
)
from quantize.aware.keras3.kernels import Kernel, Weights
from quantize.tensor_spec import TensorSpec

Rule = Literal[
    "own", "linear", "batch_norm", "arithmetic", "relu", "pool", "mean_pool", "tied", "rounded",
    "silent", "none",
]  # fmt: skip
"""What tensor a step's result is in the flatbuffer.

* "own": a tensor with a range of its own; "linear" (a convolution, a dense layer) and "arithmetic"
  (an addition) too, unless what follows is fused into them.
* "batch_norm": fused into a linear step of which it is the only reader; else "arithmetic".
* "relu": fused into a linear or arithmetic step or a pool of which it is the only reader.
* "tied": the input's codes handed on, in a "pool" the greatest; "rounded" and a "mean_pool" are
  rounded to codes of the same range.
* "silent": nothing at inference, as a dropout.
* "none": no tensor of numbers.
"""

_TIED = ("tied", "pool", "mean_pool", "rounded")
# What a step may be fused into, and what an activation behind a pool is then.
_FUSED_INTO = {
    "batch_norm": ("linear",),
    "relu": ("linear", "arithmetic", "pool", "mean_pool"),
}
_BEHIND_POOL: dict[str, Rule] = {"pool": "tied", "mean_pool": "rounded"}


@dataclass(eq=False)
class Step:
    """One operation.

    Args:
        name: Path of the layer that it belongs to.
        inputs: Steps whose results it takes, by number.
        compute: Takes the `Call` and the inputs, gives the result.
        rule: What tensor the result is.
        fixed: Scale and zero point that the operator always has, as a softmax's.
    """

    name: str
    inputs: tuple[int, ...]
    compute: Callable[..., Any]
    rule: Rule
    fixed: TensorSpec | None = None
    range: Range | None = field(default=None, init=False)
    first: Range | None = field(default=None, init=False)  # fixed codes that `range` requantizes
    recorded: bool = field(default=False, init=False)
    rounds: bool = field(default=False, init=False)


class Call:
    """One run of nodes: what the steps read of their surroundings.

    Args:
        weights: The copies of the weights.
        ranges: The ranges, or None to run without fake quantization.
        training: Whether dropout is active, and live batch normalization uses the batch.
        shared: Names of the nodes that several tasks run.
    """

    def __init__(
        self,
        weights: Weights,
        ranges: Ranges | None,
        training: bool = False,
        shared: frozenset[str] = frozenset(),
    ) -> None:
        self._weights = weights
        self._values: dict[int, tf.Tensor] = {}
        self.scalars = None if ranges is None else ranges.read()
        self.training = training
        self.shared = shared
        self.kept: dict[int, tf.Tensor] = {}  # what a step leaves for a later one
        self.quantized = ranges is not None  # of the node that is running
        self.step: Step | None = None  # that is running

    def value(self, source: keras.Variable) -> tf.Tensor:
        """Return what a weight is worth in this run: a kernel fake-quantized."""
        weight = self._weights[source]
        if not (self.quantized and isinstance(weight, Kernel)):
            return weight.value()
        if id(source) not in self._values:
            self._values[id(source)] = weight.quantized()
        return self._values[id(source)]

    def constant(self, values: tf.Tensor) -> tf.Tensor:
        """Return numbers of the present step as its operator has them: int8, unless fused."""
        if not (self.quantized and self.step is not None and self.step.recorded):
            return values
        low, high = tf.minimum(tf.reduce_min(values), 0.0), tf.maximum(tf.reduce_max(values), 0.0)
        return tf.quantization.fake_quant_with_min_max_vars(values, low, high)

    def variable(self, source: keras.Variable) -> tf.Variable:
        """Return the copy of a weight, to be assigned to."""
        return self._weights[source].variable

    def fake_quantize(self, values: tf.Tensor, to: Range, exactly: bool = False) -> tf.Tensor:
        """Round values to the codes of a range.

        Args:
            values: float32 of any shape.
            to: The range.
            exactly: Half away from zero, as data outside the network is rounded; else by
                TensorFlow's fused kernel, which differs in ties alone.
        """
        if self.scalars is None:
            return values
        low, high, scale, zero_point = self.scalars[to.row]
        if exactly:
            return fake_quantize_exactly(values, scale, zero_point)
        return tf.quantization.fake_quant_with_min_max_vars(values, low, high)


class Program:
    """A node's steps; step 0 is its input, the last its output.

    Args:
        name: The node's name.
        steps: The steps, each after those that it reads.
        output: Number of the step whose result is the node's output.
        ranges: Where ranges are made.
        fake_quantized: Whether its tensors are fake-quantized inside.
    """

    def __init__(
        self, name: str, steps: Sequence[Step], output: int, ranges: Ranges, fake_quantized: bool
    ) -> None:
        self.name = name
        self.steps = list(steps)
        self.output = output
        self.fake_quantized = fake_quantized
        self._readers: list[list[int]] = [[] for _ in self.steps]
        for number, step in enumerate(self.steps):
            for given in step.inputs:
                self._readers[given].append(number)
        tensors = self._tensors()
        self._group(tensors, ranges)

    @property
    def input_range(self) -> Range:
        """The range of its input tensor."""
        return self._range_of(0)

    @property
    def output_range(self) -> Range:
        """The range of its output tensor."""
        return self._range_of(self.output)

    @property
    def groups(self) -> list[Range]:
        """The distinct ranges inside, in order of first use."""
        found = {id(s.range): s.range for s in self.steps if s.range is not None}
        return list(found.values())

    def run(
        self, call: Call, inputs: tf.Tensor, record: list[tuple[Range, tf.Tensor]] | None = None
    ) -> tf.Tensor:
        """Return the node's output.

        Args:
            call: The run.
            inputs: float32 (batch, *input shape).
            record: Filled with every tensor that has a range, and the range.
        """
        outer, call.quantized = call.quantized, call.quantized and self.fake_quantized
        values: list[Any] = []
        for step in self.steps:
            call.step = step
            value = step.compute(call, *(values[i] for i in step.inputs)) if values else inputs
            if step.range is not None:
                if record is not None and step.recorded:
                    record.append((step.range, value))
                if call.quantized and step.first is not None:
                    value = call.fake_quantize(value, step.first)
                if call.quantized and step.rounds:
                    value = call.fake_quantize(value, step.range)
            values.append(value)
        call.quantized = outer
        return values[self.output]

    def _producer(self, number: int) -> int | None:
        """Return the step that a step could be fused into: the one before it, if it alone reads."""
        step = self.steps[number]
        if len(step.inputs) != 1:
            return None
        before = step.inputs[0]
        while True:
            if self._readers[before] != [number] or before == self.output:
                return None
            if self.steps[before].rule != "silent":
                return before
            number, before = before, self.steps[before].inputs[0]

    def _tensors(self) -> list[bool]:
        """Return per step whether its result is a tensor, and not fused into the next."""
        kept = [step.rule not in ("silent", "none") for step in self.steps]
        ends: list[str] = [step.rule for step in self.steps]  # kind of the operator ending there
        for number, step in enumerate(self.steps):
            if step.rule not in _FUSED_INTO:
                continue
            before = self._producer(number)
            fused = before is not None and ends[before] in _FUSED_INTO[step.rule]
            if step.rule == "batch_norm":
                ends[number] = "linear" if fused else "arithmetic"
            else:
                ends[number] = "own"  # Behind an activation nothing more is fused.
            if before is not None and fused:
                kept[before] = False
                step.rule = _BEHIND_POOL.get(ends[before], step.rule)
        return kept

    def _group(self, kept: list[bool], ranges: Ranges) -> None:
        """Give every tensor a range; those that operators tie together share one."""
        group_of: list[set[int]] = [{number} for number in range(len(self.steps))]
        for number, step in enumerate(self.steps):
            if step.rule in (*_TIED, "silent"):
                joined = group_of[number].union(*(group_of[given] for given in step.inputs))
                for member in joined:
                    group_of[member] = joined
        for group in {id(group): group for group in group_of}.values():
            if not any(kept[number] for number in group):
                continue
            members = [self.steps[number] for number in sorted(group)]
            shared = ranges.new(_fixed(members))
            for number in group:
                step = self.steps[number]
                step.range = shared
                step.recorded = kept[number]
                # What hands codes on has nothing to round; the input comes with its seam's codes.
                step.rounds = kept[number] and step.rule not in ("tied", "pool")
                if number == 0:
                    step.rounds = any(s.rule not in (*_TIED, "silent") for s in members[1:])
                if step.fixed is not None and not shared.is_fixed:
                    step.first = ranges.new(step.fixed)

    def _range_of(self, number: int) -> Range:
        found = self.steps[number].range
        if found is None:
            raise RuntimeError(f"step {number} of node '{self.name}' has no range")
        return found


def _fixed(members: Sequence[Step]) -> TensorSpec | None:
    """Return the fixed codes of tied tensors: where one source alone gives them."""
    sources = [s for s in members if s.rule not in (*_TIED, "silent")]
    return sources[0].fixed if len(sources) == 1 else None
