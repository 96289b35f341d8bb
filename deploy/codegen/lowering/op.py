"""One operator with its tensors, constants and options at hand, and how it is refused.

Belongs here: reading an operator. Does not belong here: what becomes of it (`builder.py`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from deploy.codegen.program import CodegenError
from quantize.flatbuffer import Graph, Operator, Tensor

__all__ = ["Op", "int4_codes", "shape_text"]

_DTYPES = {"INT8": np.int8, "INT16": np.int16, "INT32": np.int32, "INT64": np.int64}
_ACTIVATIONS = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6")


@dataclass(frozen=True)
class Op:
    """One operator, its tensors at hand.

    Args:
        node: The node's name.
        operator: The operator in the flatbuffer.
        graph: The node's graph.
    """

    node: str
    operator: Operator
    graph: Graph

    @property
    def where(self) -> str:
        """The node and the operator, for errors."""
        return f"node '{self.node}', operator {self.operator.index}, {self.operator.name}"

    @property
    def user(self) -> str:
        """The node and the operator, for the users of a constant."""
        return f"{self.node}: {self.operator.index}"

    @property
    def comment(self) -> str:
        """The operator with its shapes; constants beside the weights are not named."""
        ins = [self.graph.tensors[i] for i in self.operator.inputs if i >= 0]
        shown = [t for t in ins if t.data is None]
        shown += [t for t in ins if t.data is not None and t.dtype in ("INT8", "INT4")]
        before = ", ".join(shape_text(tensor) for tensor in shown)
        after = ", ".join(shape_text(self.graph.tensors[i]) for i in self.operator.outputs)
        return f"{self.operator.name} {before} -> {after}"

    def fail(self, problem: str, advice: str = "Use --runtime tflm.") -> NoReturn:
        """Refuse the operator: what was expected and received, and what to do."""
        raise CodegenError(f"{self.where}: {problem}. {advice}")

    def find(self, position: int) -> Tensor | None:
        """An input, or None where it is absent."""
        inputs = self.operator.inputs
        if position >= len(inputs) or inputs[position] < 0:
            return None
        return self.graph.tensors[inputs[position]]

    def input(self, position: int = 0) -> Tensor:
        """An input that must be there."""
        tensor = self.find(position)
        if tensor is None:
            self.fail(f"input {position} is expected, there is none", "Convert the node again.")
        return tensor

    def output(self, position: int = 0) -> Tensor:
        """An output."""
        return self.graph.tensors[self.operator.outputs[position]]

    def option(self, name: str, default: Any = 0) -> Any:
        """An option under the schema's name."""
        value = getattr(self.operator.options, name, None)
        return default if value is None else value

    def constant(self, position: int, role: str) -> np.ndarray:
        """The codes or numbers of an input that must be constant."""
        tensor = self.input(position)
        if tensor.data is None or tensor.dtype not in (*_DTYPES, "INT4"):
            self.fail(f"constant {role} are expected, received a computed {tensor.dtype} tensor")
        if tensor.dtype == "INT4":
            return int4_codes(tensor.data, tensor.shape)
        dtype = np.dtype(_DTYPES[tensor.dtype]).newbyteorder("<")
        return np.frombuffer(tensor.data, dtype).reshape(tensor.shape).astype(_DTYPES[tensor.dtype])

    def integers(self, position: int, role: str) -> list[int]:
        """The numbers of a constant input of sizes, axes or paddings."""
        return [int(number) for number in self.constant(position, role).ravel()]

    def scale(self, tensor: Tensor) -> float:
        """The one scale of a tensor."""
        return self._one(tensor)[0]

    def zero_point(self, tensor: Tensor) -> int:
        """The one zero point of a tensor."""
        return self._one(tensor)[1]

    def same_quantization(self, one: Tensor, other: Tensor) -> bool:
        """Whether equal codes of two tensors mean equal numbers."""
        return self._one(one) == self._one(other)

    def activation(self) -> str:
        """The activation that is folded into the operator."""
        number = self.option("fusedActivationFunction")
        if not 0 <= number < len(_ACTIVATIONS):
            self.fail(
                f"an activation of {', '.join(_ACTIVATIONS)} is expected, received number {number}"
            )
        # The schema's order is NONE, RELU, RELU_N1_TO_1, RELU6.
        return _ACTIVATIONS[number]

    def axis(self, number: int, rank: int) -> int:
        """An axis counted from the front."""
        axis = number + rank if number < 0 else number
        if not 0 <= axis < rank:
            self.fail(f"an axis of {rank} is expected, received {number}", "Convert it again.")
        return axis

    def _one(self, tensor: Tensor) -> tuple[float, int]:
        quantization = tensor.quantization
        if quantization is None or len(quantization.scales) != 1 or not quantization.scales[0]:
            self.fail(
                f"one scale above 0 is expected for tensor {tensor.index}, received "
                f"{() if quantization is None else quantization.scales[:4]}",
                "Quantize the node to int8.",
            )
        zero_point = quantization.zero_points[0] if quantization.zero_points else 0
        if not -128 <= zero_point <= 127:
            self.fail(f"a zero point of int8 is expected, received {zero_point}")
        return quantization.scales[0], zero_point


def int4_codes(data: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """The codes of an INT4 tensor, two in a byte, the low half first: int8 of its shape."""
    halves = np.frombuffer(data, np.uint8)[:, None] >> np.array([0, 4], np.uint8) & 15
    codes = halves.ravel()[: math.prod(shape)].astype(np.int8)
    return np.where(codes > 7, codes - 16, codes).astype(np.int8).reshape(shape)


def shape_text(tensor: Tensor) -> str:
    """A tensor's shape within a comment: "1x8x8x4"."""
    return "x".join(str(size) for size in tensor.shape) or "scalar"
