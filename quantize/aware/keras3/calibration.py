"""The ranges of activations over samples, in the order and by the rules of the converter.

Belongs here: which range a node's tensors and the seams between nodes get. Does not belong here:
where a tensor is (`program.py`).

As the converter does it (`quantize/conversion/node_conversion.py`), a node's ranges are the least
and greatest values of its float tensors, fed with what the int8 nodes before it give. A seam's
codes are pinned inside the nodes at its ends, unless operators tie the end to a tensor that
reaches further; such a node has its own codes inside, and an operator changes one into the other.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import tensorflow as tf

from quantize.aware.backend import AwareNode
from quantize.aware.keras3.fake_quantization import Range, Ranges, spec_over
from quantize.aware.keras3.kernels import Weights
from quantize.aware.keras3.program import Call, Program
from quantize.calibration import CalibrationError
from quantize.seam import seam_classes

_BATCH = 128
_INPUT_STEPS, _OUTPUT_STEPS = 0.5, 2.5
"""How many steps beyond a seam's range a tied tensor may reach, as in `quantize/seam.py`."""


class Ends:
    """The codes at the nodes' inputs and outputs: those of seams, and of what begins or ends paths.

    Args:
        nodes: The nodes by name.
        programs: Their programs.
        paths: Per task the names of its nodes.
        ranges: Where ranges are made.
    """

    def __init__(
        self,
        nodes: Mapping[str, AwareNode],
        programs: Mapping[str, Program],
        paths: Mapping[str, Sequence[str]],
        ranges: Ranges,
    ) -> None:
        self.input: dict[str, Range] = {}
        self.output: dict[str, Range] = {}
        self.producers: dict[str, tuple[str, ...]] = {}
        for seam in seam_classes(paths):
            specs = [nodes[name].output for name in seam.producers]
            specs += [nodes[name].input for name in seam.consumers]
            shared = ranges.new(next((spec for spec in specs if spec is not None), None))
            self.input.update(dict.fromkeys(seam.consumers, shared))
            self.output.update(dict.fromkeys(seam.producers, shared))
            self.producers.update(dict.fromkeys(seam.producers, seam.producers))
        for name, node in nodes.items():
            self.input.setdefault(name, ranges.new(node.input))
            self.output.setdefault(name, ranges.new(node.output))
            self.producers.setdefault(name, (name,))
        self._programs = programs

    def enter(self, call: Call, name: str, x: tf.Tensor) -> tf.Tensor:
        """Round what comes from outside to the codes of a node's input."""
        return call.fake_quantize(x, self.input[name], exactly=True)

    def run(self, call: Call, name: str, x: tf.Tensor) -> tf.Tensor:
        """Run a node and round its output to the codes of its seam.

        Args:
            call: The run.
            name: The node's name.
            x: float32 (batch, *input shape).
        """
        outputs = self._programs[name].run(call, x)
        if self._is_own(name) and self._programs[name].fake_quantized:
            return outputs  # The seam has the codes that the node itself gives.
        return call.fake_quantize(outputs, self.output[name], exactly=True)

    def settle(self, name: str, seen: Mapping[str, Mapping[Range, tuple[float, float]]]) -> None:
        """Set the ranges of a node and of its ends.

        Args:
            name: The node's name.
            seen: Per calibrated node the least and the greatest value of its ranges.
        """
        program, own = self._programs[name], seen[name]
        for one, (lowest, highest) in own.items():
            one.set(spec_over(lowest, highest))
        source, target = self.input[name], self.output[name]
        inside, last = program.input_range, program.output_range
        if source.spec is None or name not in self._consumers():
            source.set(_spec(inside))
        pinned = source.holds(*own[inside], _INPUT_STEPS)
        if pinned:
            inside.set(_spec(source))
        if self._is_own(name):
            target.set(_spec(last))
            return
        others = [n for n in self.producers[name] if n in seen]
        spans = [seen[n][self._programs[n].output_range] for n in others]
        target.set(spec_over(min(low for low, _ in spans), max(high for _, high in spans)))
        for other in others:
            end = self._programs[other].output_range
            tied = end is self._programs[other].input_range and pinned
            if not tied and target.holds(*seen[other][end], _OUTPUT_STEPS):
                end.set(_spec(target))

    def _is_own(self, name: str) -> bool:
        """Whether a node's output codes are those that its own range gives."""
        return len(self.producers[name]) == 1 and not self.output[name].is_fixed

    def _consumers(self) -> set[str]:
        """Return the nodes whose input is another node's output."""
        made = {id(one) for one in self.output.values()}
        return {name for name, one in self.input.items() if id(one) in made}


class Calibration:
    """Sets the free ranges of nodes over samples.

    Args:
        programs: The nodes' programs.
        paths: Per task the names of its nodes.
        ends: The codes at the nodes' ends.
        weights: The weights.
        ranges: The ranges.
    """

    def __init__(
        self,
        programs: Mapping[str, Program],
        paths: Mapping[str, Sequence[str]],
        ends: Ends,
        weights: Weights,
        ranges: Ranges,
    ) -> None:
        self._programs = programs
        self._paths = paths
        self._ends = ends
        self._weights = weights
        self._ranges = ranges
        self._compiled: dict[tuple[str, str], Callable[[tf.Tensor], tf.Tensor]] = {}

    def run(self, samples: Mapping[str, np.ndarray]) -> None:
        """Set every free range.

        Args:
            samples: Per task float32 (n, *input shape of its path).

        Raises:
            CalibrationError: A node computes infinity or NaN.
        """
        seen: dict[str, Mapping[Range, tuple[float, float]]] = {}
        for name in self._order():
            features = [
                self._features(task, path.index(name), samples[task], seen)
                for task, path in self._paths.items()
                if name in path
            ]
            seen[name] = self._seen(name, features)
            self._ends.settle(name, seen)
            self._ranges.publish()
        for name in seen:  # Once more: a circle of seams was settled on what was known by then.
            self._ends.settle(name, seen)
        self._ranges.publish()

    def _order(self) -> Iterator[str]:
        """Give the nodes so that as many as possible come after all those before them."""
        before: dict[str, set[str]] = {
            name: set() for name in self._programs if any(name in p for p in self._paths.values())
        }
        for path in self._paths.values():
            for first, second in pairwise(path):
                before[second].add(first)
        waiting = list(before)
        while waiting:
            ready = [name for name in waiting if not before[name] & {*waiting}]
            yield (ready or waiting)[0]
            waiting.remove((ready or waiting)[0])

    def _features(
        self, task: str, position: int, samples: np.ndarray, seen: Mapping[str, Any]
    ) -> np.ndarray:
        """Return what a node of a path is fed with: the int8 outputs before it, where known."""
        path = self._paths[task]
        if position == 0:
            return samples
        features = samples
        for place, name in enumerate(path[:position]):
            known = name in seen
            if known and place == 0:
                features = self._batched(name, "enter", features)
            features = self._batched(name, "quantized" if known else "float", features)
        return features

    def _seen(self, name: str, features: Sequence[np.ndarray]) -> dict[Range, tuple[float, float]]:
        """Return the least and greatest values of a node's ranges over its features."""
        groups = self._programs[name].groups
        spans = np.concatenate([self._batched(name, "spans", x) for x in features])
        if not np.isfinite(spans).all():
            raise CalibrationError(
                f"Node '{name}' must give finite numbers, received infinity or NaN inside. Lower "
                "the recipe's `learning_rate`: its weights or its activations overflow."
            )
        lowest, highest = spans[..., 0].min(0), spans[..., 1].max(0)  # (groups,)
        found = zip(groups, lowest.tolist(), highest.tolist(), strict=True)
        return {group: (low, high) for group, low, high in found}

    def _batched(self, name: str, kind: str, values: np.ndarray) -> np.ndarray:
        """Return what a compiled function gives for values, batch by batch."""
        key = name, kind
        if key not in self._compiled:
            signature = [tf.TensorSpec((None, *values.shape[1:]), tf.float32)]
            function = functools.partial(getattr(self, f"_{kind}"), name)
            self._compiled[key] = tf.function(function, input_signature=signature, autograph=False)
        starts = range(0, len(values), _BATCH)
        return np.concatenate(
            [self._compiled[key](values[start : start + _BATCH]).numpy() for start in starts]
        )

    def _enter(self, name: str, x: tf.Tensor) -> tf.Tensor:
        return self._ends.enter(Call(self._weights, self._ranges), name, x)

    def _quantized(self, name: str, x: tf.Tensor) -> tf.Tensor:
        return self._ends.run(Call(self._weights, self._ranges), name, x)

    def _float(self, name: str, x: tf.Tensor) -> tf.Tensor:
        return self._programs[name].run(Call(self._weights, None), x)

    def _spans(self, name: str, x: tf.Tensor) -> tf.Tensor:
        """Return the least and greatest values of a node's ranges, (1, ranges, 2)."""
        record: list[tuple[Range, tf.Tensor]] = []
        program = self._programs[name]
        program.run(Call(self._weights, None), x, record)
        rows = []
        for group in program.groups:
            members = [tensor for one, tensor in record if one is group]
            lowest = tf.reduce_min(tf.stack([tf.reduce_min(t) for t in members]))
            highest = tf.reduce_max(tf.stack([tf.reduce_max(t) for t in members]))
            # NaN where one is not finite: TensorFlow's least value may pass over a NaN.
            fault = tf.add_n([tf.reduce_sum(t) for t in members]) * 0.0
            rows.append(tf.stack([lowest, highest]) + fault)
        return tf.stack(rows)[None]


def _spec(one: Range) -> Any:
    if one.spec is None:
        raise RuntimeError("a range is used before it is set")
    return one.spec
