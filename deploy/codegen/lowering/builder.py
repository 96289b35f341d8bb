"""The node that is being built: from tensors to values, constants and steps.

Does not belong here: any one operator, or how it is read (`op.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from deploy.codegen.constants import ConstantStore
from deploy.codegen.kernel_structs import check_struct
from deploy.codegen.lowering.op import Op, shape_text
from deploy.codegen.program import (
    Argument,
    Call,
    CodegenError,
    Constant,
    NodeProgram,
    Operand,
    Scratch,
    Step,
    Struct,
    Value,
)
from deploy.codegen.scratch import scratch_bytes
from quantize.flatbuffer import Graph, Tensor

__all__ = ["CODES", "CodeFunction", "NodeBuilder"]

CODES = np.concatenate([np.arange(128), np.arange(-128, 0)]).astype(np.int8)
"""The codes in the order of a table: int8 (256,), by unsigned byte."""

# Weights of kernels that read several at once are aligned to what they read.
_WEIGHT_ALIGNMENT = {"portable": 4, "dsp": 4, "mve": 16}


@dataclass(frozen=True)
class CodeFunction:
    """A tensor each of whose codes depends on one code of another, and is not computed yet.

    Args:
        base: The other, of as many codes.
        table: int8 (256,), in the order of `CODES`.
        names: The operators that the table stands for; none where it is the base itself.
    """

    base: Operand
    table: np.ndarray
    names: tuple[str, ...] = ()

    def then(self, table: np.ndarray, name: str) -> CodeFunction:
        """This function, then another table."""
        return CodeFunction(self.base, table[self.table.view(np.uint8)], (*self.names, name))


class NodeBuilder:
    """Collects a node's values and steps.

    Args:
        name: The node's name.
        graph: Its graph.
        constants: The program's arrays.
        isa: The instruction set of the kernels.
        packing: The functions of `kt_packed.h` that may be used.
        rooms: Bytes that the scratch memory of packed layers may take, by step; as little as is
            sensible for those that are left out.
    """

    def __init__(
        self,
        name: str,
        graph: Graph,
        constants: ConstantStore,
        isa: str,
        packing: frozenset[str] = frozenset(),
        rooms: Mapping[int, int] = MappingProxyType({}),
    ) -> None:
        self.name = name
        self.graph = graph
        self.isa = isa
        self.packing = packing
        self._rooms = rooms
        self._constants = constants
        self._values: list[Value] = []
        self._operands: dict[int, Operand] = {}
        self._functions: dict[int, tuple[Op, CodeFunction]] = {}
        self._computed: dict[tuple[Operand, bytes], Operand] = {}
        self._steps: list[Step] = []

    def value(self, label: str, size_bytes: int) -> Operand:
        """A new value that no tensor of the flatbuffer stands for."""
        self._values.append(Value(len(self._values), size_bytes, label))
        return Operand(len(self._values) - 1)

    def define(self, tensor: Tensor) -> Operand:
        """A new value for a tensor that is about to be written, or the node's input."""
        operand = self.value(f"tensor {tensor.index}", math.prod(tensor.shape))
        self._operands[tensor.index] = operand
        return operand

    def alias(self, tensor: Tensor, operand: Operand) -> None:
        """Let a tensor be bytes that are there already."""
        self._operands[tensor.index] = operand

    def read(self, op: Op, tensor: Tensor) -> Operand:
        """The value or the constant that a tensor is."""
        self._compute(tensor)
        if tensor.index in self._operands:
            return self._operands[tensor.index]
        if tensor.data is None or tensor.dtype != "INT8":
            op.fail(
                f"int8 codes are expected, received tensor {tensor.index} of {tensor.dtype}, "
                + ("which nothing computes" if tensor.data is None else "a constant"),
                "Convert the node again.",
            )
        codes = np.frombuffer(tensor.data, np.int8)
        operand = Operand(self._constants.add(codes, f"{op.user}, tensor {tensor.index}"))
        self._operands[tensor.index] = operand
        return operand

    def function(self, op: Op, tensor: Tensor) -> CodeFunction:
        """A tensor as a function of codes that are there."""
        if tensor.index in self._functions:
            return self._functions[tensor.index][1]
        return CodeFunction(self.read(op, tensor), CODES)

    def define_function(self, op: Op, tensor: Tensor, function: CodeFunction) -> None:
        """Let a tensor be a function of one code; it is computed when it is read."""
        self._functions[tensor.index] = (op, function)

    def _compute(self, tensor: Tensor) -> None:
        """Compute a tensor that is a function: not at all, by a clamp, or by a table."""
        if tensor.index not in self._functions:
            return
        op, function = self._functions.pop(tensor.index)
        base, table = function.base, function.table
        key = (base, table.tobytes())
        if np.array_equal(table, CODES):
            self._computed[key] = base
        if key not in self._computed:
            count = math.prod(tensor.shape)
            after = self.value(f"tensor {tensor.index}", count)
            lowest, highest = int(table.min()), int(table.max())
            call: tuple[str, list[Argument]]
            if np.array_equal(table, np.clip(CODES, lowest, highest)):
                call = ("kt_clamp", [lowest, highest, count, base, after])
            else:
                call = ("kt_lookup", [self.array(op, "table", table), count, base, after])
            comment = f"{', '.join(function.names)} -> {shape_text(tensor)}"
            self.step(op, [call], [after], in_place=(base,), comment=comment)
            self._computed[key] = after
        self._operands[tensor.index] = self._computed[key]

    def array(self, op: Op, field: str, array: np.ndarray) -> Constant:
        """An array of a parameter structure."""
        alignment = _WEIGHT_ALIGNMENT[self.isa] if field == "weights" else 1
        return self._constants.add(array, f"{op.user}, {field}", alignment)

    @property
    def room_bytes(self) -> int | None:
        """Bytes that the scratch memory of the next step may take; None where it is not said."""
        return self._rooms.get(len(self._steps))

    def scratch(self, function: str, struct: Struct) -> Scratch:
        """The scratch argument of a kernel."""
        sizes = {name: one for name, one in struct.fields.items() if isinstance(one, int)}
        return Scratch(scratch_bytes(function, sizes, self.isa))

    def step(
        self,
        op: Op,
        calls: list[tuple[str, list[Argument]]],
        writes: list[Operand],
        in_place: tuple[Operand, ...] = (),
        comment: str | None = None,
    ) -> None:
        """Add a step; what it reads are the values among its arguments that it does not write."""
        made = tuple(Call(function, tuple(arguments)) for function, arguments in calls)
        arguments = [argument for call in made for argument in call.arguments]
        for argument in arguments:
            if isinstance(argument, Struct):
                check_struct(argument, op.where)
        written = tuple(dict.fromkeys(_value_of(one) for one in writes))
        read = [_value_of(one) for one in arguments if isinstance(one, Operand)]
        reads = tuple(dict.fromkeys(one for one in read if one >= 0 and one not in written))
        places = tuple(dict.fromkeys(_value_of(one) for one in in_place if not one.offset))
        self._steps.append(
            Step(
                comment or op.comment,
                op.operator.name,
                made,
                reads,
                written,
                tuple(one for one in places if one >= 0 and reads.count(one) == read.count(one)),
            )
        )

    def finish(self, input: Tensor, output: Tensor) -> NodeProgram:
        """The node as values and steps.

        Raises:
            CodegenError: Its output does not depend on any operator or input.
        """
        self._compute(output)
        result = self._operands.get(output.index)
        if result is None or isinstance(result.base, Constant) or result.offset:
            raise CodegenError(
                f"node '{self.name}': a computed output is expected, received a constant or none. "
                "Check the model: its output does not depend on its input."
            )
        first = self._operands[input.index].base
        if isinstance(first, Constant):
            raise CodegenError(f"node '{self.name}': a computed input is expected.")
        return NodeProgram(self.name, tuple(self._values), tuple(self._steps), first, result.base)


def _value_of(operand: Operand) -> int:
    return -1 if isinstance(operand.base, Constant) else operand.base
