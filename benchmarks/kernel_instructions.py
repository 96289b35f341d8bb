"""Instructions of each convolution and fully connected layer, beside TensorFlow Lite Micro's.

    python -m benchmarks.kernel_instructions [--core cortex-m4|cortex-m55] [MODEL ...]

The shapes and the figures of TensorFlow Lite Micro, with its reference kernels and with CMSIS-NN,
both at -O2, are those of `benchmarks/measured_instructions.json`. Outputs are compared with those
of the portable kernels on the way. Needs arm-none-eabi-gcc and qemu-system-arm.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.kernel_runs import CORES, PARTS, Case, Core, run_on_core

COUNTS = json.loads(
    Path(__file__).with_name("measured_instructions.json").read_text(encoding="utf-8")
)
YARDSTICKS = {
    "cortex-m4": ("m4-ref-O2", "m4-cmsis-O2"),
    "cortex-m55": ("m55-cmsis-O2",),
}
"""Builds that a core's kernels are compared with, by name in COUNTS["builds"]."""
_PLAIN = {"groups": 1, "dilation_h": 1, "dilation_w": 1, "per_channel": 1, "input_zero_point": 3}
_PLAIN |= {"output_zero_point": -128, "lowest": -128, "highest": 127}


def _padding(size: int, outputs: int, kernel: int, stride: int, padding: str) -> int:
    return max((outputs - 1) * stride + kernel - size, 0) // 2 if padding == "same" else 0


def _case(row: Sequence[Any]) -> Case | None:
    """The call that stands for an operator of the counts; None for one without weights."""
    operator, inputs, results, weights, strides, padding, _ = row
    if operator == "FULLY_CONNECTED":
        ones = dict.fromkeys(("in_h", "in_w", "out_h", "out_w", "kernel_h", "kernel_w"), 1)
        ones |= {"stride_h": 1, "stride_w": 1, "pad_top": 0, "pad_left": 0}
        ends = {"in_c": inputs[-1], "out_c": results[-1], "per_channel": 0}
        return Case("kt_fully_connected", _PLAIN | ones | ends, is_tame=True)
    if operator not in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        return None
    sizes = {f"in_{axis}": size for axis, size in zip("hwc", inputs[1:], strict=True)}
    sizes |= {f"out_{axis}": size for axis, size in zip("hwc", results[1:], strict=True)}
    for i, (axis, side) in enumerate((("h", "top"), ("w", "left"))):
        sizes |= {f"kernel_{axis}": weights[1 + i], f"stride_{axis}": strides[i]}
        sizes[f"pad_{side}"] = _padding(
            inputs[1 + i], results[1 + i], weights[1 + i], strides[i], padding
        )
    kind = "kt_conv2d" if operator == "CONV_2D" else "kt_depthwise_conv2d"
    if kind == "kt_conv2d" and weights[1:3] == [1, 1] and strides == [1, 1]:
        kind = "kt_conv2d_1x1"
    if kind == "kt_depthwise_conv2d":
        sizes["groups"] = sizes["out_c"] // sizes["in_c"]
    return Case(kind, _PLAIN | sizes, is_tame=True)


def _rows(model: str) -> tuple[list[Sequence[Any]], list[Case]]:
    pairs = [(row, _case(row)) for row in COUNTS["operators"][model]]
    return [row for row, case in pairs if case], [case for _, case in pairs if case]


def _code_bytes(folder: Path, isa: str) -> int:
    """Code and constants of the kernels of an instruction set."""
    objects = [str(folder / f"{part}_{isa}.o") for part in PARTS]
    listing = subprocess.run(
        ["arm-none-eabi-size", *objects], capture_output=True, text=True, check=True
    ).stdout
    return sum(int(line.split()[0]) for line in listing.splitlines()[1:])


def _line(name: str, ours: float, theirs: Sequence[int]) -> str:
    others = "".join(f"{count:>14,} {ours / count:>6.2f}x" for count in theirs)
    return f"{name:<52}{ours:>14,.0f}{others}"


def report(name: str, model: str, folder: Path) -> list[str]:
    """The lines of one model on one core."""
    core: Core = CORES[name]
    rows, cases = _rows(model)
    columns = [COUNTS["builds"].index(build) for build in YARDSTICKS[name]]
    lines, totals = [], [0.0] * (1 + len(columns))
    for row, outcome in zip(rows, run_on_core(core, cases, folder), strict=True):
        if not (outcome.is_equal and outcome.is_kept):
            raise SystemExit(f"{row[0]} {row[1]}: the output differs from the portable kernel's")
        theirs = [row[-1][column] for column in columns]
        shapes = f"{model} {row[0]} {row[1][1:]} {row[3]}"
        lines.append(_line(shapes, outcome.instructions, theirs))
        totals = [a + b for a, b in zip(totals, [outcome.instructions, *theirs], strict=True)]
    lines.append(_line(f"{model}, these operators", totals[0], [int(x) for x in totals[1:]]))
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--core", choices=YARDSTICKS, default="cortex-m4")
    parser.add_argument("models", nargs="*", default=list(COUNTS["operators"]), metavar="MODEL")
    options = parser.parse_args()
    builds = "".join(f"{build:>14}        " for build in YARDSTICKS[options.core])
    print(f"{'operator, input, weights':<52}{'plain C':>14}{builds}")
    for model in options.models:
        with tempfile.TemporaryDirectory() as name:
            print("\n".join(report(options.core, model, Path(name))))
            code_bytes = _code_bytes(Path(name), CORES[options.core].isa)
    print(f"code of all these kernels: {code_bytes:,} bytes")


if __name__ == "__main__":
    main()
