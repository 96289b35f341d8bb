"""A flatbuffer's graph to edit: its tensors, buffers and operators as lists.

Belongs here: taking a flatbuffer apart and putting it together. Does not belong here: what is
changed in between (`int4.py`, `decoding.py`, `wide_activations.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from quantize.tensor_spec import TensorSpec
from quantize.wire.encoding import FlatbufferError, Table, Vector
from quantize.wire.graph_reading import operator_name
from quantize.wire.index_checks import check_indices
from quantize.wire.reader import decode
from quantize.wire.schema import BUILTIN_OPERATORS, TENSOR_TYPES
from quantize.wire.writer import encode

# Codes beyond it stand in the newer field alone (tensorflow/lite/schema/schema_utils.cc).
_LARGEST_OLD_CODE = 127


@dataclass
class GraphEdit:
    """The parts of a flatbuffer with one subgraph.

    Args:
        model: The `Model` table that the parts are of.
        tensors: `Tensor` tables.
        operators: `Operator` tables, in running order.
        buffers: `Buffer` tables.
        codes: `OperatorCode` tables.
        inputs: Tensor indices of the graph's inputs.
        outputs: Tensor indices of the graph's outputs.
    """

    model: Table
    tensors: list[Table]
    operators: list[Table]
    buffers: list[Table]
    codes: list[Table]
    inputs: list[int]
    outputs: list[int]

    @classmethod
    def open(cls, data: bytes) -> GraphEdit:
        """Take a flatbuffer apart.

        Raises:
            FlatbufferError: `data` is damaged, has several subgraphs, or a newer schema.
        """
        model, unread = decode(data)
        check_indices(model)
        subgraphs = model.tables("subgraphs")
        if len(subgraphs) != 1 or unread:
            raise FlatbufferError(
                f"`data` must hold one subgraph of the schema that is installed, received "
                f"{len(subgraphs)} and {len(unread)} parts beyond it. Convert the node with the "
                "converter that this release is made for."
            )
        graph = subgraphs[0]
        return cls(
            model,
            list(graph.tables("tensors")),
            list(graph.tables("operators")),
            list(model.tables("buffers")) or [Table("Buffer", {})],
            [_with_newer_code(code) for code in model.tables("operatorCodes")],
            list(graph.numbers("inputs")),
            list(graph.numbers("outputs")),
        )

    def encode(self) -> bytes:
        """Put the flatbuffer together: only buffers and codes that are used, by first use."""
        metadata = self.model.tables("metadata")
        buffer_users = (*self.tensors, *metadata)
        buffers = list(dict.fromkeys([0, *(table.get("buffer", 0) for table in buffer_users)]))
        codes = list(dict.fromkeys(table.get("opcodeIndex", 0) for table in self.operators))
        graph = self.model.tables("subgraphs")[0].replace(
            tensors=_renumbered(self.tensors, "buffer", buffers),
            operators=_renumbered(self.operators, "opcodeIndex", codes),
            inputs=Vector.of("i32", self.inputs),
            outputs=Vector.of("i32", self.outputs),
        )
        model = self.model.replace(
            subgraphs=(graph,),
            metadata=_renumbered(metadata, "buffer", buffers) or None,
            buffers=tuple(self.buffers[place] for place in buffers),
            operatorCodes=tuple(self.codes[place] for place in codes),
        )
        return encode(model)

    def name(self, operator: Table) -> str:
        """Return the name of an operator; the code of a custom one."""
        return operator_name(self.codes[operator.get("opcodeIndex", 0)])

    def dtype(self, index: int) -> str:
        """Return the name of a tensor's element type."""
        return TENSOR_TYPES[self.tensors[index].get("type", 0)]

    def shape(self, index: int) -> tuple[int, ...]:
        """Return a tensor's shape."""
        return self.tensors[index].numbers("shape")

    def is_constant(self, index: int) -> bool:
        """Whether a tensor has data."""
        vector = self.buffers[self.tensors[index].get("buffer", 0)].get("data")
        return vector is not None and len(vector) > 0

    def constant(self, index: int, dtype: Any) -> np.ndarray | None:
        """Return a constant tensor as an array of `dtype`; None for one that is computed."""
        if not self.is_constant(index):
            return None
        vector = self.buffers[self.tensors[index].get("buffer", 0)].get("data")
        return np.frombuffer(vector.data, dtype).reshape(self.shape(index))

    def scales(self, index: int) -> np.ndarray:
        """Return a tensor's scales, float32; empty where it has none."""
        quantization = self.tensors[index].get("quantization", Table("", {}))
        return np.array(quantization.numbers("scale"), np.float32)

    def quantized_axis(self, index: int) -> int:
        """Return the axis of a tensor's scales."""
        quantization = self.tensors[index].get("quantization", Table("", {}))
        return int(quantization.get("quantizedDimension", 0))

    def uses(self) -> Counter[int]:
        """Return how often each tensor is an input or an output, of an operator or the graph."""
        found = Counter(self.inputs + self.outputs)
        for operator in self.operators:
            found.update(operator.numbers("inputs") + operator.numbers("outputs"))
        return found

    def set_constant(self, index: int, dtype: str, data: bytes) -> None:
        """Give a tensor other data, its element type with it.

        Its buffer is changed where no other tensor has it, and is left as it is otherwise.
        """
        tensor = self.tensors[index]
        buffer = Table("Buffer", {"data": Vector("u8", data)})
        place = tensor.get("buffer", 0)
        if place and sum(other.get("buffer", 0) == place for other in self.tensors) == 1:
            self.buffers[place] = buffer
        else:
            place = len(self.buffers)
            self.buffers.append(buffer)
        self.tensors[index] = tensor.replace(buffer=place, type=TENSOR_TYPES.index(dtype))

    def set_scales(self, index: int, scales: np.ndarray) -> None:
        """Give a tensor other scales, the zero points 0; least and largest values go."""
        quantization = self.tensors[index].get("quantization", Table("QuantizationParameters", {}))
        quantization = quantization.replace(
            scale=Vector.of("f32", scales.tolist()),
            zeroPoint=Vector.of("i64", [0] * len(scales)),
            min=None,
            max=None,
        )
        self.tensors[index] = self.tensors[index].replace(quantization=quantization)

    def copy_tensor(self, index: int) -> int:
        """Append a tensor equal to another, and return its index."""
        self.tensors.append(self.tensors[index])
        return len(self.tensors) - 1

    def add_tensor(self, name: str, spec: TensorSpec) -> int:
        """Append a tensor that is computed, and return its index."""
        quantization = {
            "scale": Vector.of("f32", [spec.scale]),
            "zeroPoint": Vector.of("i64", [spec.zero_point]),
        }
        fields = {
            "shape": Vector.of("i32", spec.shape),
            "type": TENSOR_TYPES.index(spec.dtype.upper()),
            "buffer": 0,  # the empty buffer that every flatbuffer begins with
            "name": name.encode(),
            "quantization": Table("QuantizationParameters", quantization),
        }
        self.tensors.append(Table("Tensor", fields))
        return len(self.tensors) - 1

    def operator(self, name: str, source: int, target: int) -> Table:
        """Return a builtin operator without options, its code added where it is missing."""
        number = BUILTIN_OPERATORS.index(name)
        code = Table(
            "OperatorCode",
            {
                "deprecatedBuiltinCode": min(number, _LARGEST_OLD_CODE),
                "version": 1,
                "builtinCode": number,
            },
        )
        if code not in self.codes:
            self.codes.append(code)
        fields = {
            "opcodeIndex": self.codes.index(code),
            "inputs": Vector.of("i32", [source]),
            "outputs": Vector.of("i32", [target]),
        }
        return Table("Operator", fields)


def _with_newer_code(code: Table) -> Table:
    """Fill in the newer field of an operator code, which old files lack.

    The compressor of tflite_micro reads no other, and took all their operators for one.
    """
    number = max(code.get("builtinCode", 0), code.get("deprecatedBuiltinCode", 0))
    return code.replace(builtinCode=number)


def _renumbered(tables: Sequence[Table], field: str, kept: list[int]) -> tuple[Table, ...]:
    """Return tables with an index of theirs counted among those that are kept."""
    places = {index: place for place, index in enumerate(kept)}
    return tuple(table.replace(**{field: places[table.get(field, 0)]}) for table in tables)


def with_input(operator: Table, position: int, tensor: int) -> Table:
    """Return an operator with another tensor at one of its inputs."""
    inputs = list(operator.numbers("inputs"))
    inputs[position] = tensor
    return operator.replace(inputs=Vector.of("i32", inputs))
