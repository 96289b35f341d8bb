"""What a task's training starts from: its inputs, or what deployed nodes in front make of them.

Nodes that are not trained, in front of the first trained one on a path, are run as the int8
flatbuffers that the device runs, once. So a branch is trained on exactly what it will be fed with,
and a deployed trunk costs no training time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quantize.interpreter import open_interpreter
from quantize.tensor_spec import TensorSpec

if TYPE_CHECKING:
    from quantize.bundle import Node


@dataclass(frozen=True)
class Features:
    """Inputs of the first trained node of a path.

    They are kept as codes, a quarter of the memory of real numbers.

    Args:
        values: Codes (n, *shape), or real numbers of any dtype where `spec` is None.
        spec: What the codes are; None where the path begins with a trained node.
    """

    values: np.ndarray
    spec: TensorSpec | None = None

    def at(self, rows: np.ndarray | slice) -> np.ndarray:
        """Return the inputs at some rows: float32 (rows, *shape)."""
        values = self.values[rows]
        return np.asarray(values, np.float32) if self.spec is None else self.spec.dequantize(values)


def untrained_prefix(path: Sequence[str], trained: Sequence[str]) -> tuple[str, ...]:
    """Return the nodes of a path in front of its first trained one."""
    return tuple(path[: next(i for i, node in enumerate(path) if node in trained)])


def run_prefixes(
    inputs: Mapping[str, np.ndarray],
    prefixes: Mapping[str, Sequence[str]],
    nodes: Mapping[str, Node],
) -> dict[str, Features]:
    """Run the nodes in front of every task's first trained one.

    Args:
        inputs: Per task real inputs (n, *trunk input shape). Tasks that were given one and the same
            array share the runs.
        prefixes: Per task the names of the nodes in front, the trunk first; may be empty.
        nodes: The quantized nodes by name.

    Returns:
        The features by task, in the order of `prefixes`.
    """
    done: dict[tuple[int, tuple[str, ...]], np.ndarray] = {}
    features = {}
    for task, given in prefixes.items():
        prefix, codes = tuple(given), None
        for end, name in enumerate(prefix, 1):
            key = (id(inputs[task]), prefix[:end])
            if key not in done:
                interpreter = open_interpreter(nodes[name].data)
                fed = interpreter.input.quantize(inputs[task]) if codes is None else codes
                done[key] = interpreter.run(fed)
            codes = done[key]
        features[task] = (
            Features(inputs[task]) if codes is None else Features(codes, nodes[prefix[-1]].output)
        )
    return features
