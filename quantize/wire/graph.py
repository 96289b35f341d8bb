"""The frozen view of a .tflite file's graph: tensors, operators, inputs and outputs.

Belongs here: the values. Does not belong here: reading them from a file (`graph_reading.py`).
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Quantization:
    """Scales and zero points of a tensor: real value = scale * (code - zero point).

    Args:
        scales: Exact float32 values: one, or one per channel.
        zero_points: One per scale, or one for all of them, or none (all 0).
        axis: The channels' axis.
    """

    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    axis: int


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a graph.

    Args:
        index: Its place in `Graph.tensors`.
        name: Its name; empty in a stripped file.
        shape: Sizes of the axes; empty for a scalar.
        dtype: "INT8", "INT32", "FLOAT32", ...
        quantization: Scales and zero points; None where there are none.
        data: The bytes of a constant, little endian; None for a tensor that is computed.
        is_variable: Whether it keeps its value from one run to the next.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    quantization: Quantization | None
    data: bytes | None
    is_variable: bool


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator of a graph.

    Args:
        index: Its place in `Graph.operators`, which is the order of execution.
        name: "CONV_2D", ...; the code of a custom operator.
        inputs: Tensor indices; -1 for an optional input that is absent.
        outputs: Tensor indices.
        options: The schema's fields under the schema's names (`options.strideH`), defaults filled
            in, vectors as tuples; None where the operator has none.
        version: The operator's version.
    """

    index: int
    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Any
    version: int


@dataclass(frozen=True)
class Graph:
    """The first subgraph of a flatbuffer, which is the one that an interpreter runs.

    Args:
        tensors: Its tensors.
        operators: Its operators in the order of execution.
        inputs: Tensor indices of its inputs.
        outputs: Tensor indices of its outputs.
        subgraph_count: How many subgraphs the flatbuffer holds, this one included.
    """

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    subgraph_count: int

    @property
    def operator_names(self) -> frozenset[str]:
        """The distinct operators that it needs."""
        return frozenset(operator.name for operator in self.operators)
