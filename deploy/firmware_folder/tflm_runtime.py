"""The files of a bundle on TensorFlow Lite Micro, but for those of every runtime."""

from __future__ import annotations

from collections.abc import Mapping

from deploy.firmware_folder.cross_compiler import CrossCompiler
from deploy.firmware_sources import firmware_file
from deploy.tflm_sources.identifiers import identifiers
from quantize.bundle import Bundle

__all__ = ["tflm_example", "tflm_files", "tflm_places"]

_EXAMPLE = """\
#include "kt_model_config.h"

KT_TFLM_ALIGNED static uint8_t arena[KT_MODEL_ARENA_BYTES];
static kt_tflm_t model;

int start_model(void)
{{
    return kt_tflm_open(&model, &kt_model, arena, sizeof arena) == KT_TFLM_OK ? 0 : -1;
}}

/* `codes`: KT_MODEL_{upper}_INPUT_BYTES int8 codes; `output`: KT_MODEL_{upper}_OUTPUT_BYTES. */
int run_{task}(const int8_t *codes, int8_t *output)
{{
    return kt_tflm_run(&model, KT_MODEL_TASK_{upper}, codes, output) == KT_TFLM_OK ? 0 : -1;
}}"""
_SELFTEST = ("kt_model_golden.cc", "kt_model_selftest.cc")
_COPIED = {
    "include/kt_decode.h": "tflm/kt_decode.h",
    "include/kt_tflm.h": "tflm/kt_tflm.h",
    "include/kt_tflm_quantization.h": "tflm/kt_tflm_quantization.h",
    "include/kt_tflm_selftest.h": "tflm/kt_tflm_selftest.h",
    "src/kt_decode.cc": "tflm/kt_decode.cc",
    "src/kt_tflm.cc": "tflm/kt_tflm.cc",
    "selftest/kt_tflm_selftest.cc": "tflm/kt_tflm_selftest.cc",
    "selftest/host.c": "ports/host/host.c",
    "cmake/tflm.cmake": "tflm/tflm.cmake",
}


def tflm_files(sources: Mapping[str, str | bytes]) -> dict[str, bytes]:
    """Adapter, generated sources and self-test, by path."""
    generated = {
        f"{'selftest' if name in _SELFTEST else 'model'}/{name}": (
            text if isinstance(text, bytes) else text.encode()
        )
        for name, text in sources.items()
    }
    copied = {path: firmware_file(name).read_bytes() for path, name in _COPIED.items()}
    return {**copied, **generated}


def tflm_places(kernels: str, compiler: CrossCompiler) -> Mapping[str, str]:
    """What the templates say about kernel sets."""
    is_cmsis = kernels != "reference"
    flags = " ".join(compiler.flags)
    return {
        "CXX": f"{compiler.prefix}-g++",
        "CXX_FLAGS": f"{flags} -DCMSIS_NN" if is_cmsis else flags,
        "CMAKE_KERNELS": (
            "; for the board's kernels, set `KT_TFLM_KERNELS` to `cmsis_nn`" if is_cmsis else ""
        ),
    }


def tflm_example(bundle: Bundle) -> str:
    """The lines that a firmware writes to run the first task."""
    task = next(iter(identifiers(bundle.tasks).values()))
    return _EXAMPLE.format(task=task, upper=task.upper())
