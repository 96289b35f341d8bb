"""What the compiler to C gives back: the sources, and what they take.

Values only. Does not belong here: what the compiler works on (`program.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from deploy.codegen.program import NodeProgram

__all__ = ["CProgram", "PlannedTensor", "StoredConstant", "TaskProgram"]


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
