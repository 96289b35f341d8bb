"""The files of a bundle that is compiled to plain C, but for those of every runtime."""

from __future__ import annotations

from collections.abc import Mapping

from deploy.codegen import CProgram
from deploy.emulation.selftest_data import selftest_data
from deploy.firmware_folder.kernel_sources import included, kernel_files
from deploy.firmware_sources import firmware_file
from quantize.bundle import Bundle

__all__ = ["c_example", "c_files", "c_places"]

_EXAMPLE = """\
#include <string.h>

#include "kt_model.h"

static KT_ALIGN(16) int8_t buffer[KT_MODEL_BUFFER_BYTES];

/* `codes`: KT_{upper}_INPUT_BYTES int8 codes. */
{declaration}(const int8_t *codes)
{{
    memcpy(kt_{task}_input(buffer), codes, KT_{upper}_INPUT_BYTES);
    kt_run_{task}(buffer);
    const int8_t *output = kt_{task}_output(buffer);
{body}
}}"""
_CLASS = """\
    int best = 0;
    for (int i = 1; i < KT_{upper}_OUTPUT_BYTES; i++) {{
        best = output[i] > output[best] ? i : best;
    }}
    return best;"""
_VALUE = "    return KT_{upper}_OUTPUT_SCALE * (float)(output[0] - KT_{upper}_OUTPUT_ZERO_POINT);"

_STAND_IN = "The portable kernels stand in for the board's: they take and give the same bytes."
_DEFINES = {"portable": "KT_FORCE_PORTABLE", "dsp": "KT_ISA=KT_ISA_DSP", "mve": "KT_ISA=KT_ISA_MVE"}


def c_files(bundle: Bundle, program: CProgram) -> dict[str, bytes]:
    """Kernels, generated sources, self-test and example, by path."""
    vectors = {
        name: (task.golden_inputs, task.golden_outputs) for name, task in bundle.tasks.items()
    }
    kernels = [f"src/{name}" for name in kernel_files(program.kernels, program.isa)]
    copied = {path: path for path in ("include/kt_kernels.h", *kernels, *included(kernels))}
    copied |= {
        "selftest/kt_selftest.h": "ports/kt_selftest.h",
        "selftest/selftest.c": "ports/selftest.c",
        "selftest/host.c": "ports/host/host.c",
        "examples/run_task.c": "examples/run_task.c",
    }
    return {
        **{path: firmware_file(name).read_bytes() for path, name in copied.items()},
        **{f"model/{name}": text.encode() for name, text in program.files.items()},
        "selftest/kt_selftest_data.c": selftest_data(program, vectors).encode(),
    }


def c_places(program: CProgram) -> Mapping[str, str]:
    """What the templates of the build files say about instruction sets."""
    define = _DEFINES[program.isa]
    if program.isa == "portable":
        return {
            "DEFINES_MAKE": f" -D{define}",
            "DEFINES_CMAKE": f"target_compile_definitions(kt_model PUBLIC {define})\n",
            "DEFINES_TOLD": f" with `-D{define}`",
            "HOST_MODEL": "",
            "HOST_KERNELS": "",
        }
    # On a host, the model is planned for the board's kernels, and the portable ones run.
    cmake = (
        "if(NOT CMAKE_CROSSCOMPILING)",
        f"  # {_STAND_IN}",
        "  set_source_files_properties(model/kt_model.c PROPERTIES COMPILE_DEFINITIONS",
        f"                              {define})",
        "endif()",
    )
    return {
        "DEFINES_MAKE": "",
        "DEFINES_CMAKE": "\n".join(cmake) + "\n",
        "DEFINES_TOLD": "",
        "HOST_MODEL": f"\n# {_STAND_IN}\n$(BUILD)/host/kt_model.o: FLAGS += -D{define}\n",
        "HOST_KERNELS": f" There the portable kernels stand in for the {program.isa} kernels: "
        "they take the same arguments and give the same bytes.",
    }


def c_example(bundle: Bundle, program: CProgram) -> str:
    """The lines that a firmware writes to run the first task."""
    task = next(iter(program.tasks.values()))
    is_class = len(bundle.tasks[task.name].labels) > 1 or task.output_bytes > 1
    upper = task.identifier.upper()
    return _EXAMPLE.format(
        task=task.identifier,
        upper=upper,
        declaration=f"int classify_{task.identifier}"
        if is_class
        else f"float read_{task.identifier}",
        body=(_CLASS if is_class else _VALUE).format(upper=upper),
    )
