"""`kt_model.c`: parameter structures, one function per node, one per path."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deploy.codegen.compiled import TaskProgram
from deploy.codegen.kernel_structs import STRUCTS, struct_bytes
from deploy.codegen.names import CNames
from deploy.codegen.plan import Plan
from deploy.codegen.program import (
    Argument,
    Call,
    Constant,
    Field,
    Function,
    NodeProgram,
    Operand,
    Scratch,
    Struct,
)

__all__ = ["Source", "model_source"]

_LINE = 98
_MOST_COMMENT = 400


@dataclass(frozen=True)
class Source:
    """The text of `kt_model.c`, and what only its making tells.

    Args:
        text: C99 that compiles as C++ too.
        parameter_bytes: Its parameter structures, on a 32-bit core.
    """

    text: str
    parameter_bytes: int


def model_source(
    plan: Plan, names: CNames, tasks: Mapping[str, TaskProgram], isa: str, tail: Sequence[str]
) -> Source:
    """Write the functions of all nodes and paths.

    Args:
        plan: The nodes and where their values lie.
        names: Identifiers.
        tasks: What is offered for each task.
        isa: The instruction set of the kernels.
        tail: Lines behind the functions: tables of tasks and labels.

    Returns:
        The source.
    """
    structs = _Structs()
    bodies = [
        line
        for node in plan.nodes.values()
        for line in _node(node, plan, names.run_node(node.name), structs)
    ]
    paths = [line for task in tasks.values() for line in _paths(task, names)]
    lines = [
        "/* The model as calls of kernels. Generated: do not edit. */",
        '#include "kt_model.h"',
        "",
        "#include <stddef.h>",
        "",
        '#include "kt_kernels.h"',
        '#include "kt_model_data.h"',
        *_packed_header(plan),
        "",
        *_isa_check(isa),
        "",
        *bodies,
        *paths,
        *tail,
    ]
    return Source("\n".join(lines).rstrip() + "\n", structs.size_bytes)


def _packed_header(plan: Plan) -> list[str]:
    is_used = any(name.startswith("kt_packed_") for name in plan.functions)
    return ['#include "kt_packed.h"'] if is_used else []


def _isa_check(isa: str) -> list[str]:
    advice = {
        "portable": "Compile with -DKT_FORCE_PORTABLE, or compile the bundle for this core.",
        "dsp": "Compile for a core with the DSP extension, or compile the bundle for this core.",
        "mve": "Compile for a core with Helium, or compile the bundle for this core.",
    }
    return [
        f"#if KT_ISA != KT_ISA_{isa.upper()}",
        f'#error "This model needs the {isa} kernels. {advice[isa]}"',
        "#endif",
    ]


class _Structs:
    """Parameter structures, equal ones written once."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self.size_bytes = 0

    def define(self, struct: Struct, stem: str) -> tuple[str, list[str]]:
        """The structure's name, and the lines that define it where it is new.

        Args:
            struct: What to define.
            stem: The name that a new one gets.
        """
        lines: list[str] = []
        rows = []
        for kind, fields in STRUCTS[struct.type]:
            values = []
            for field in fields:
                value = struct.fields[field]
                if isinstance(value, Struct):
                    name, before = self.define(value, f"{stem}_{field}")
                    lines += before
                    values.append(f"&{name}")
                else:
                    values.append(_literal(value, kind.base))
            rows.append(f"    {', '.join(values)}, /* {', '.join(fields)} */")
        key = "\n".join([struct.type, *rows])
        if key not in self._names:
            self._names[key] = stem
            self.size_bytes += struct_bytes(struct.type)
            lines += [f"static const {struct.type} {stem} = {{", *rows, "};"]
        return self._names[key], lines


def _literal(value: Field, base: str) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, (Constant, Function)):
        return value.name
    if isinstance(value, tuple):
        return "{" + ", ".join(_literal(one, base) for one in value) + "}"
    if value == -(2**31):
        return "(-2147483647 - 1)"
    return f"{value}u" if base == "uint32" else str(value)


def _node(node: NodeProgram, plan: Plan, function: str, structs: _Structs) -> list[str]:
    """A node's parameters and its function."""
    definitions: list[str] = []
    body: list[str] = []
    for index, step in enumerate(node.steps):
        body += _comment(step.comment)
        for number, call in enumerate(step.calls):
            # No underscore before the call: "a", step 1, call 1 is not "a_1", step 1.
            suffix = f"c{number}" if len(step.calls) > 1 else ""
            stem = f"{function[len('kt_') :]}_{index}{suffix}"
            arguments = []
            for argument in call.arguments:
                if isinstance(argument, Struct):
                    name, lines = structs.define(argument, stem)
                    definitions += lines
                    arguments.append(f"&{name}")
                else:
                    arguments.append(_argument(argument, node.name, index, plan, call))
            body += _call(call.function, arguments)
    if not body:
        body = ["    (void)buffer; /* its output is its input */"]
    separator = [""] if definitions else []
    return [
        *definitions,
        *separator,
        f"void {function}(int8_t *buffer) {{",
        *body,
        "}",
        "",
    ]


def _argument(argument: Argument, node: str, step: int, plan: Plan, call: Call) -> str:
    if isinstance(argument, int):
        is_count = call.function in ("kt_clamp", "kt_lookup", "kt_fill") and argument > 127
        return f"{argument}u" if is_count else str(argument)
    if isinstance(argument, Constant):
        return argument.name
    if isinstance(argument, Scratch):
        if not argument.size_bytes:
            return "NULL"
        return f"buffer + {plan.offsets[node, -1 - step]}"
    if isinstance(argument, Operand) and isinstance(argument.base, Constant):
        return (
            f"{argument.base.name} + {argument.offset}" if argument.offset else argument.base.name
        )
    if isinstance(argument, Operand) and isinstance(argument.base, int):
        return f"buffer + {plan.offsets[node, argument.base] + argument.offset}"
    raise TypeError(f"`argument` must be one of a call, received {argument!r}.")


def _call(function: str, arguments: Sequence[str]) -> list[str]:
    text = f"{function}({', '.join(arguments)});"
    return textwrap.wrap(
        text, _LINE, initial_indent="    ", subsequent_indent=" " * (5 + len(function))
    )


def _comment(text: str) -> list[str]:
    shown = text if len(text) <= _MOST_COMMENT else text[: _MOST_COMMENT - 3] + "..."
    return textwrap.wrap(
        f"/* {shown} */", _LINE, initial_indent="    ", subsequent_indent="     * "
    )


def _paths(task: TaskProgram, names: CNames) -> list[str]:
    lines = _path_function(task.run, [names.run_node(node) for node in task.path])
    for after, function in task.continues.items():
        rest = task.path[task.path.index(after) + 1 :]
        lines += _path_function(function, [names.run_node(node) for node in rest])
    return lines


def _path_function(function: str, nodes: Sequence[str]) -> list[str]:
    return [
        f"void {function}(int8_t *buffer) {{",
        *(f"    {node}(buffer);" for node in nodes),
        "}",
        "",
    ]
