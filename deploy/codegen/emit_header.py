"""`kt_model.h`: what the firmware includes; and the tables of tasks behind it."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

import numpy as np

from deploy.codegen.compiled import TaskProgram
from deploy.codegen.names import CNames
from deploy.codegen.plan import BUFFER_ALIGNMENT, Plan
from quantize.bundle import Bundle
from quantize.tensor_spec import TensorSpec

__all__ = ["model_header", "task_tables"]

_LINE = 98

_ALIGN = """\
/* Alignment of an array, in bytes. */
#ifndef KT_ALIGN
#if defined(__GNUC__) || defined(__clang__)
#define KT_ALIGN(bytes) __attribute__((aligned(bytes)))
#elif defined(_MSC_VER)
#define KT_ALIGN(bytes) __declspec(align(bytes))
#elif defined(__cplusplus)
#define KT_ALIGN(bytes) alignas(bytes)
#elif defined(__STDC_VERSION__) && (__STDC_VERSION__ >= 201112L)
#define KT_ALIGN(bytes) _Alignas(bytes)
#else
#error "Define KT_ALIGN(bytes) for this compiler."
#endif
#endif
"""

_TASK = """\
/* A task as data, for a loop over all of them. */
typedef struct {
    const char *name;
    void (*run)(int8_t *buffer);
    uint32_t input_offset, input_bytes; /* codes in the buffer */
    uint32_t output_offset, output_bytes;
    float input_scale, output_scale; /* value = scale * (code - zero point) */
    int8_t input_zero_point, output_zero_point;
    uint16_t label_count;
    const char *const *labels; /* NULL where there are none */
} kt_model_task_t;

extern const kt_model_task_t kt_model_tasks[KT_MODEL_TASK_COUNT];
"""

_USE = """\
/*
 * {title}
 *
 * Memory is the caller's: one buffer, aligned to {alignment} bytes, for all tasks.
 *
 *     static KT_ALIGN({alignment}) int8_t buffer[KT_MODEL_BUFFER_BYTES];
 *     memcpy(kt_{task}_input(buffer), codes, KT_{upper}_INPUT_BYTES);
 *     kt_run_{task}(buffer);
 *     use(kt_{task}_output(buffer));
 *
 * A run may write over its input, and over the output of an earlier run: read an output first.
 * Nothing is allocated, and nothing can fail. Generated: do not edit.
 */
"""


def model_header(
    bundle: Bundle, plan: Plan, names: CNames, tasks: Mapping[str, TaskProgram]
) -> str:
    """Write the header."""
    first = next(iter(tasks))
    use = _USE.format(
        title=f"The bundle '{_printable(bundle.name)}' compiled to C.",
        alignment=BUFFER_ALIGNMENT,
        task=names.tasks[first],
        upper=names.tasks[first].upper(),
    )
    lines = [
        "#ifndef KT_MODEL_H",
        "#define KT_MODEL_H",
        "",
        "#include <stdint.h>",
        "",
        _ALIGN.rstrip(),
        "",
        "#ifdef __cplusplus",
        'extern "C" {',
        "#endif",
        "",
        f"#define KT_MODEL_BUFFER_BYTES {plan.buffer_bytes}",
        *_bundle_macro(names),
        "",
        "typedef enum {",
        *(f"    {tasks[name].enumerator} = {number}," for number, name in enumerate(tasks)),
        f"    KT_MODEL_TASK_COUNT = {len(tasks)}",
        "} kt_model_task_id_t;",
        "",
        *(line for name in tasks for line in _task(bundle, names, tasks[name])),
        "/* Nodes alone, on what the nodes before them have left in the buffer. */",
        *(f"void {names.run_node(node)}(int8_t *buffer);" for node in plan.nodes),
        "",
        _TASK,
        "#ifdef __cplusplus",
        "}",
        "#endif",
        "",
        "#endif",
    ]
    return use + "\n".join(lines) + "\n"


def _bundle_macro(names: CNames) -> list[str]:
    macro = f"KT_{names.bundle}_BUFFER_BYTES"
    return [] if names.bundle == "MODEL" else [f"#define {macro} KT_MODEL_BUFFER_BYTES"]


def _task(bundle: Bundle, names: CNames, task: TaskProgram) -> list[str]:
    """Everything that is declared for one task."""
    identifier = task.identifier
    path = " -> ".join(_printable(node) for node in task.path)
    lines = textwrap.wrap(
        f"/* Task '{_printable(task.name)}': {path} */", _LINE, subsequent_indent=" * "
    )
    nodes = bundle.nodes
    ends = (
        ("INPUT", nodes[task.path[0]].input, task.input_offset, task.input_bytes),
        ("OUTPUT", nodes[task.path[-1]].output, task.output_offset, task.output_bytes),
    )
    for side, spec, offset, size in ends:
        shape = " x ".join(str(one) for one in spec.shape)
        lines += [
            f"#define {names.macro(task.name, side + '_BYTES')} {size} /* {shape} */",
            f"#define {names.macro(task.name, side + '_OFFSET')} {offset}",
            f"#define {names.macro(task.name, side + '_SCALE')} {_float(spec)}",
            f"#define {names.macro(task.name, side + '_ZERO_POINT')} ({spec.zero_point})",
        ]
    lines += [
        f"static inline int8_t *kt_{identifier}_input(int8_t *buffer) {{",
        f"    return buffer + {task.input_offset};",
        "}",
        f"static inline const int8_t *kt_{identifier}_output(const int8_t *buffer) {{",
        f"    return buffer + {task.output_offset};",
        "}",
        f"void {task.run}(int8_t *buffer);",
    ]
    for after, function in task.continues.items():
        lines += textwrap.wrap(
            f"/* The rest of the path alone, where '{_printable(after)}' has run, and since then "
            "only tasks that go through it. */",
            _LINE,
            subsequent_indent=" * ",
        )
        lines.append(f"void {function}(int8_t *buffer);")
    labels = bundle.tasks[task.name].labels
    if labels:
        lines += [
            f"#define {names.macro(task.name, 'LABEL_COUNT')} {len(labels)}",
            f"extern const char *const kt_{identifier}_labels[{len(labels)}];",
        ]
    return [*lines, ""]


def task_tables(bundle: Bundle, names: CNames, tasks: Mapping[str, TaskProgram]) -> list[str]:
    """The definitions of the labels and of the table of tasks."""
    lines: list[str] = []
    for name, task in tasks.items():
        labels = bundle.tasks[name].labels
        if labels:
            lines += [
                f"const char *const kt_{task.identifier}_labels[{len(labels)}] = {{",
                *(f"    {_string(label)}," for label in labels),
                "};",
                "",
            ]
    lines.append("const kt_model_task_t kt_model_tasks[KT_MODEL_TASK_COUNT] = {")
    for name, task in tasks.items():
        before, after = bundle.nodes[task.path[0]].input, bundle.nodes[task.path[-1]].output
        labels = bundle.tasks[name].labels
        lines += [
            f"    {{{_string(name)}, {task.run},",
            f"     {task.input_offset}u, {task.input_bytes}u, "
            f"{task.output_offset}u, {task.output_bytes}u,",
            f"     {_float(before)}, {_float(after)}, {before.zero_point}, {after.zero_point},",
            f"     {len(labels)}, {f'kt_{task.identifier}_labels' if labels else 'NULL'}}},",
        ]
    return [*lines, "};"]


def _float(spec: TensorSpec) -> str:
    """A scale as a float literal that loses nothing: the shortest decimal of the float32."""
    text = repr(float(str(np.float32(spec.scale))))
    return f"{text}f" if any(mark in text for mark in ".en") else f"{text}.0f"


def _printable(text: str) -> str:
    """A name within a comment."""
    shown = "".join(c if c.isascii() and c.isprintable() else "?" for c in text)
    return shown.replace("*/", "* /").replace("/*", "/ *").replace("\\", "/")


def _string(text: str) -> str:
    """A string literal of UTF-8 bytes; what is not plain is written in octal."""
    plain = set(range(0x20, 0x7F)) - set(b'"\\?')
    return '"' + "".join(chr(b) if b in plain else f"\\{b:03o}" for b in text.encode()) + '"'
