"""The kernels for the DSP extension and for Helium: every output is that of the portable kernels.

Each build draws the same numbers on the core itself, runs both kernels and compares: on emulated
Cortex-M4, M33 and M55, and on this machine under its sanitizers, where the instructions of
`kt_dsp.h` are plain C.
"""

import random
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from benchmarks.kernel_runs import (
    CORES,
    KINDS,
    PARTS,
    STUBS,
    WARNINGS,
    Case,
    Outcome,
    build_runner,
    link_flags,
    outcomes,
    run_image,
    run_on_core,
    write_cases,
)

CASES_OF_A_KIND = 100


def outputs(size: int, kernel: int, stride: int, dilation: int, pad: int, rest: int) -> int:
    return (size + pad + rest - (kernel - 1) * dilation - 1) // stride + 1


def draw_axis(draw: random.Random, axis: str, kernels: list[int]) -> dict[str, int] | None:
    kernel, stride = draw.choice(kernels), draw.choice([1, 1, 1, 2, 3])
    dilation = draw.choice([1, 1, 1, 1, 2, 3])
    size, pad, rest = draw.randint(1, 12), draw.randint(0, kernel - 1), draw.randint(0, kernel - 1)
    count = outputs(size, kernel, stride, dilation, pad, rest)
    side = "top" if axis == "h" else "left"
    return (
        {
            f"in_{axis}": size,
            f"out_{axis}": count,
            f"kernel_{axis}": kernel,
            f"stride_{axis}": stride,
            f"dilation_{axis}": dilation,
            f"pad_{side}": pad,
        }
        if count > 0
        else None
    )


def draw_sizes(draw: random.Random, kind: str) -> dict[str, int]:
    kernels = [1, 2, 3, 3, 3, 4, 5, 7] if kind in ("kt_conv2d", "kt_depthwise_conv2d") else [1]
    sizes: dict[str, int] = {"groups": 1}
    for axis in "hw":
        found = None
        while found is None:
            found = draw_axis(draw, axis, kernels)
        sizes |= found
    sizes["in_c"], sizes["out_c"] = draw.randint(1, 20), draw.randint(1, 20)
    if draw.random() < 0.5:
        sizes["in_c"], sizes["out_c"] = draw.choice([4, 8, 16, 32]), draw.choice([4, 8, 16])
    if kind in ("kt_conv2d_1x1", "kt_fully_connected"):
        sizes |= dict.fromkeys(("stride_h", "stride_w", "dilation_h", "dilation_w"), 1)
        sizes |= dict.fromkeys(("pad_top", "pad_left"), 0)
        sizes["in_w"] = sizes["in_w"] if kind == "kt_conv2d_1x1" else 1
        sizes |= {"out_h": sizes["in_h"], "out_w": sizes["in_w"]}
    if kind == "kt_conv2d" and draw.random() < 0.2:
        sizes["groups"] = draw.choice([2, 3])
        sizes |= {name: sizes[name] * sizes["groups"] for name in ("in_c", "out_c")}
    if kind == "kt_depthwise_conv2d":
        sizes["groups"] = draw.choice([1, 1, 1, 2, 4, 8])
        sizes["out_c"] = sizes["in_c"] * sizes["groups"]
    return sizes


def draw_cases() -> Iterator[Case]:
    draw = random.Random(20)
    for kind in KINDS:
        for _ in range(CASES_OF_A_KIND):
            sizes = draw_sizes(draw, kind)
            sizes["per_channel"] = int(draw.random() < 0.7)
            sizes["input_zero_point"] = draw.choice([-128, 0, 127, draw.randint(-128, 127)])
            sizes["output_zero_point"] = draw.choice([-128, 0, 127, draw.randint(-128, 127)])
            limits = sorted(draw.randint(-128, 127) for _ in range(2))
            sizes["lowest"], sizes["highest"] = draw.choice([(-128, 127), (-128, 127), limits])
            yield Case(kind, sizes)


def assert_all_equal(found: Sequence[Outcome], cases: Sequence[Case]) -> None:
    assert len(found) == len(cases)
    wrong = [
        (case, outcome)
        for case, outcome in zip(cases, found, strict=True)
        if not (outcome.is_equal and outcome.is_kept)
    ]
    assert not wrong, wrong[:5]


@pytest.mark.parametrize("name", CORES)
@pytest.mark.parametrize("optimization", ["-O2", "-Os"])
def test_fast_kernels_equal_portable_ones_on_an_emulated_core(
    name: str, optimization: str, tmp_path: Path
) -> None:
    cases = list(draw_cases())
    assert_all_equal(run_on_core(CORES[name], cases, tmp_path, optimization), cases)


def test_dsp_kernels_equal_portable_ones_under_sanitizers(tmp_path: Path) -> None:
    cases = list(draw_cases())
    write_cases(cases, "dsp", tmp_path)
    flags = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g", "-O1"]
    program = build_runner(tmp_path, "gcc", "dsp", flags)
    finished = subprocess.run([program], capture_output=True, text=True, timeout=120, check=False)
    assert finished.returncode == 0, finished.stderr
    assert_all_equal(outcomes(finished), cases)


@pytest.mark.parametrize("part", PARTS)
def test_dsp_kernels_compile_as_cplusplus(part: str, tmp_path: Path) -> None:
    source = STUBS / "src" / f"kt_{part}_dsp.c"
    command = ["arm-none-eabi-g++", "-x", "c++", "-std=c++17", "-mcpu=cortex-m4", "-mthumb"]
    command += ["-Wall", "-Wextra", "-Werror", f"-I{STUBS / 'include'}", "-c", source]
    subprocess.run([*command, "-o", tmp_path / "kernel.o"], check=True)


def test_dsp_scaling_is_exact_on_an_emulated_core(tmp_path: Path) -> None:
    core, program = CORES["cortex-m4"], tmp_path / "check"
    command = ["arm-none-eabi-gcc", *WARNINGS, *core.flags, "-mthumb", "-O2"]
    command += [f"-I{STUBS / 'src'}", str(STUBS / "tests" / "scaling_check.c"), *link_flags(core)]
    subprocess.run([*command, "-o", str(program)], check=True)
    finished = run_image(core, program)
    assert (finished.stdout + finished.stderr, finished.returncode) == ("equal\n", 0)


def test_dsp_scaling_is_exact_on_this_machine(tmp_path: Path) -> None:
    flags = [*WARNINGS, "-O2", "-fsanitize=undefined", "-DKT_DRAWS=10000000"]
    includes = [f"-I{STUBS / folder}" for folder in ("src", "tests")]
    source, program = STUBS / "tests" / "scaling_check.c", tmp_path / "check"
    subprocess.run(["gcc", *flags, *includes, source, "-o", program], check=True)
    finished = subprocess.run([program], capture_output=True, text=True, check=False)
    assert (finished.stdout, finished.returncode, finished.stderr) == ("equal\n", 0, "")
