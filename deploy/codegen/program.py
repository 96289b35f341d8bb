"""What the compiler to C works on: values, operands, calls and steps; and what it gives back.

Values only. Here stands no reading of flatbuffers (`lowering/`), no placing in memory (`plan.py`)
and no C (`emit.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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


@dataclass(frozen=True)
class PlannedTensor:
    """Where an activation lies in the buffer.

    Args:
        node: The node whose value it is.
        label: "input", "output", "tensor 3", "scratch", or "scratch, unpacked weights" where the
            weights of a block of channels are in it.
        offset: Bytes from the buffer's start.
        size_bytes: Its length.
        first_step: Step of the node that writes it first; -1 for the node's input.
        last_step: Step of the node that needs it last; the count of steps for its output.
    """

    node: str
    label: str
    offset: int
    size_bytes: int
    first_step: int
    last_step: int


@dataclass(frozen=True)
class StoredConstant:
    """A constant array of the program.

    Args:
        name: Its identifier in C.
        dtype: "int8", "uint8", "int32" or "uint16".
        data: Its bytes, little endian.
        alignment: Bytes.
        users: "node: operator number, field" of every use, in order.
    """

    name: str
    dtype: str
    data: bytes = field(repr=False)
    alignment: int
    users: tuple[str, ...]

    @property
    def size_bytes(self) -> int:
        """Its length in flash."""
        return len(self.data)

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes that use it, each once."""
        return tuple(dict.fromkeys(user.rsplit(": ", 1)[0] for user in self.users))


@dataclass(frozen=True)
class TaskProgram:
    """What the generated header offers for one task.

    Args:
        name: The task's name in the bundle.
        identifier: Its name within C's identifiers: `kt_run_<identifier>`.
        enumerator: Its number in the enum of tasks and in `kt_model_tasks`.
        path: Its nodes.
        input_offset: Where its input lies in the buffer, in bytes.
        input_bytes: Codes of its input.
        output_offset: Where its output lies.
        output_bytes: Codes of its output.
        continues: Functions that run the rest of the path alone, by the last node that has to have
            run before: {"trunk": "kt_continue_digit"}.
    """

    name: str
    identifier: str
    enumerator: str
    path: tuple[str, ...]
    input_offset: int
    input_bytes: int
    output_offset: int
    output_bytes: int
    continues: Mapping[str, str]

    @property
    def run(self) -> str:
        """The function that runs its path."""
        return f"kt_run_{self.identifier}"


@dataclass(frozen=True)
class CProgram:
    """A bundle compiled to C99.

    Args:
        files: Text by file name.
        isa: "portable", "dsp" or "mve": the kernels that it needs.
        buffer_bytes: The one buffer that the caller owns, aligned to 16 bytes.
        plan: Where every activation lies in it.
        constants: The arrays in flash, each stored once.
        parameter_bytes: The kernels' parameter structures in flash, on a 32-bit core.
        kernels: The kernels that are called, and the functions that unpack weights for them.
        tasks: What the header offers for each task, by name.
        node_functions: The function that runs a node, by the node's name.
        nodes: The nodes as steps, by name, in the order in which they are called.
    """

    files: dict[str, str] = field(repr=False)
    isa: str
    buffer_bytes: int
    plan: tuple[PlannedTensor, ...] = field(repr=False)
    constants: tuple[StoredConstant, ...] = field(repr=False)
    parameter_bytes: int
    kernels: frozenset[str]
    tasks: dict[str, TaskProgram] = field(repr=False)
    node_functions: dict[str, str] = field(repr=False)
    nodes: dict[str, NodeProgram] = field(default_factory=dict, repr=False)

    @property
    def stored_bytes(self) -> int:
        """The constants' length in flash, each counted once."""
        return sum(one.size_bytes for one in self.constants)

    @property
    def packs_weights(self) -> bool:
        """Whether weights are stored as indices, and unpacked block by block as layers run."""
        return any(name.startswith("kt_unpack_") for name in self.kernels)

    @property
    def shared_bytes(self) -> int:
        """What storing equal constants once has saved."""
        return sum(one.size_bytes * (len(one.users) - 1) for one in self.constants)
