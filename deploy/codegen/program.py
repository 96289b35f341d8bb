"""What the compiler to C works on: values, operands, calls and steps.

Values only. Here stands no reading of flatbuffers (`lowering/`), no placing in memory (`plan.py`)
and no C (`emit.py`); what the compiler gives back is in `compiled.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Union

__all__ = [
    "Call",
    "CodegenError",
    "Constant",
    "Function",
    "Operand",
    "Scratch",
    "Step",
    "Struct",
    "Value",
]


class CodegenError(ValueError):
    """A bundle that cannot be compiled to C; names the node, the operator, and what to do."""


@dataclass(frozen=True)
class Constant:
    """An array in flash, known by its content.

    Args:
        name: Its identifier in C.
        dtype: "int8", "uint8", "int32" or "uint16".
    """

    name: str
    dtype: str


@dataclass(frozen=True)
class Function:
    """A function of the kernels that a parameter structure points to.

    Args:
        name: Its name in C.
    """

    name: str


@dataclass(frozen=True)
class Value:
    """An activation of a node: tensors of the flatbuffer that are the same bytes are one value.

    Args:
        index: Its number within the node.
        size_bytes: Elements; one byte each.
        label: What it is, for comments: "tensor 3".
    """

    index: int
    size_bytes: int
    label: str


@dataclass(frozen=True)
class Operand:
    """Where a kernel reads or writes: in a value or a constant, some elements from its start.

    Args:
        base: The number of a value, or a constant.
        offset: Elements from its start.
    """

    base: int | Constant
    offset: int = 0


@dataclass(frozen=True)
class Struct:
    """A parameter structure of `kt_kernels.h` or `kt_packed.h`.

    Args:
        type: Its name in C.
        fields: Numbers, tuples of numbers, constants, functions, other structures or None (a null
            pointer).
    """

    type: str
    fields: Mapping[str, Field]


# Recursive, and Python 3.10: no bars.
Field = Union[int, tuple[int, ...], Constant, Function, Struct, None]  # noqa: UP007


@dataclass(frozen=True)
class Scratch:
    """A kernel's scratch argument.

    Args:
        size_bytes: 0 where it asks for none, and NULL is given.
        label: What it is for, in the plan.
    """

    size_bytes: int
    label: str = "scratch"


Argument = Union[int, Struct, Operand, Constant, Scratch]  # noqa: UP007


@dataclass(frozen=True)
class Call:
    """One call of a kernel.

    Args:
        function: Its name in C.
        arguments: In C's order; an int is a literal.
    """

    function: str
    arguments: tuple[Argument, ...]

    @property
    def functions(self) -> frozenset[str]:
        """The kernel, and what its parameters point to."""
        structs = [argument for argument in self.arguments if isinstance(argument, Struct)]
        values = [value for struct in structs for value in struct.fields.values()]
        return frozenset(
            (self.function, *(one.name for one in values if isinstance(one, Function)))
        )


@dataclass(frozen=True)
class Step:
    """What one operator does: calls that belong together in time.

    Args:
        comment: The operator and its shapes, e.g. "CONV_2D (1, 8, 8, 1) -> (1, 8, 8, 8)".
        operator: Its name in the flatbuffer.
        calls: At least one.
        reads: Values that are read.
        writes: Values that are written.
        in_place: Values of `reads` that the written one may start at the same byte with.
    """

    comment: str
    operator: str
    calls: tuple[Call, ...]
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    in_place: tuple[int, ...] = ()

    @property
    def scratch(self) -> Scratch:
        """The most scratch memory that one of the calls takes."""
        found = [a for c in self.calls for a in c.arguments if isinstance(a, Scratch)]
        return max(found, key=lambda one: one.size_bytes, default=Scratch(0))

    @property
    def scratch_bytes(self) -> int:
        """Its length."""
        return self.scratch.size_bytes

    @property
    def functions(self) -> frozenset[str]:
        """The kernels that it calls, and what their parameters point to."""
        return frozenset[str]().union(*(call.functions for call in self.calls))


@dataclass(frozen=True)
class NodeProgram:
    """A node as steps.

    Args:
        name: The node's name in the bundle.
        values: By number.
        steps: In running order; none where the node only renames its input.
        input: Number of the value that it takes.
        output: Number of the value that it gives.
    """

    name: str
    values: tuple[Value, ...]
    steps: tuple[Step, ...]
    input: int
    output: int
