"""The kernels for the DSP extension and for Helium: every output is that of the portable kernels.

Each build draws the same numbers on the core itself, runs both kernels and compares: on emulated
Cortex-M4, M33 and M55, and on this machine under its sanitizers, where the instructions of
`kt_dsp.h` are plain C.
"""

import random
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from deploy.codegen.scratch import scratch_bytes

STUBS = Path(__file__).parents[2] / "firmware_stubs"
KINDS = ("kt_conv2d", "kt_conv2d_1x1", "kt_depthwise_conv2d", "kt_fully_connected")
PARTS = ("conv", "depthwise", "fully_connected")
WARNINGS = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-Wconversion"]
CASES_OF_A_KIND = 60


class Core(NamedTuple):
    isa: str
    flags: tuple[str, ...]
    machine: str
    linker_script: str


CORES = {
    "cortex-m4": Core("dsp", ("-mcpu=cortex-m4",), "mps2-an386", "mps2.ld"),
    "cortex-m33": Core("dsp", ("-mcpu=cortex-m33",), "mps2-an505", "mps2_an505.ld"),
    "cortex-m55": Core(
        "mve", ("-mcpu=cortex-m55", "-mfloat-abi=hard"), "mps3-an547", "mps3_an547.ld"
    ),
}


class Case(NamedTuple):
    kind: int
    sizes: dict[str, int]


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
    for kind, name in enumerate(KINDS):
        for _ in range(CASES_OF_A_KIND):
            sizes = draw_sizes(draw, name)
            sizes["per_channel"] = int(draw.random() < 0.7)
            sizes["input_zero_point"] = draw.choice([-128, 0, 127, draw.randint(-128, 127)])
            sizes["output_zero_point"] = draw.choice([-128, 0, 127, draw.randint(-128, 127)])
            limits = sorted(draw.randint(-128, 127) for _ in range(2))
            sizes["lowest"], sizes["highest"] = draw.choice([(-128, 127), (-128, 127), limits])
            yield Case(kind, sizes)


def write_cases(cases: list[Case], isa: str, folder: Path) -> None:
    """The header that `kernel_runner.c` asks for."""
    most = dict.fromkeys(("WEIGHTS", "INPUT", "OUTPUT", "SCRATCH", "CHANNELS"), 4)
    rows = []
    for kind, sizes in cases:
        scratch = scratch_bytes(KINDS[kind], sizes, isa)
        depth = 1 if KINDS[kind] == "kt_depthwise_conv2d" else sizes["in_c"] // sizes["groups"]
        found = {
            "WEIGHTS": sizes["kernel_h"] * sizes["kernel_w"] * depth * sizes["out_c"],
            "INPUT": sizes["in_h"] * sizes["in_w"] * sizes["in_c"],
            "OUTPUT": sizes["out_h"] * sizes["out_w"] * sizes["out_c"],
            "SCRATCH": scratch,
            "CHANNELS": sizes["out_c"],
        }
        most = {name: max(most[name], value) for name, value in found.items()}
        fields = ", ".join(f".{name} = {value}" for name, value in sizes.items())
        rows.append(f"    {{(kt_kind_t){kind}, {scratch}U, 0U, {{{fields}}}}},")
    limits = ", ".join(f"KT_MAX_{name} = {value}" for name, value in most.items())
    text = [f"enum {{ {limits} }};", "static const kt_case_t kt_cases[] = {", *rows, "};", ""]
    (folder / "kernel_cases.h").write_text("\n".join(text))


def build(folder: Path, compiler: str, flags: list[str], isa: str, rest: list[str]) -> Path:
    """Both builds of the kernels and the runner, linked."""
    command = [compiler, *WARNINGS, *flags, f"-I{STUBS / 'include'}", f"-I{STUBS / 'src'}"]
    command += [f"-I{STUBS / 'tests'}", f"-I{folder}"]
    renamed = [f"-D{name}=kt_portable_{name.removeprefix('kt_')}" for name in KINDS]
    objects = []
    for part in PARTS:
        for suffix, chosen in (
            ("", ["-DKT_FORCE_PORTABLE", *renamed]),
            (f"_{isa}", [f"-DKT_ISA=KT_ISA_{isa.upper()}"]),
        ):
            objects.append(folder / f"{part}{suffix}.o")
            source = STUBS / "src" / f"kt_{part}{suffix}.c"
            subprocess.run([*command, *chosen, "-c", source, "-o", objects[-1]], check=True)
    program = folder / "runner"
    runner = STUBS / "tests" / "kernel_runner.c"
    subprocess.run([*command, runner, *objects, *rest, "-o", program], check=True)
    return program


def assert_all_equal(finished: subprocess.CompletedProcess[str], cases: list[Case]) -> None:
    lines = re.findall(r"^(\d+) (\w+) (\w+) \d+$", finished.stdout + finished.stderr, re.M)
    assert len(lines) == len(cases), finished.stderr[-2000:]
    wrong = [(cases[int(i)], *rest) for i, *rest in lines if rest != ["equal", "kept"]]
    assert not wrong, wrong[:5]
    assert finished.returncode == 0


def link_flags(core: Core) -> list[str]:
    ports = STUBS / "ports"
    start = [ports / "cortex_m" / "startup.c", ports / "bare_metal.c"]
    flags = ["-nostartfiles", "--specs=nano.specs", f"-L{ports / 'cortex_m'}"]
    return [*map(str, start), *flags, "-T", str(ports / "cortex_m" / core.linker_script)]


def run_on(core: Core, program: Path) -> subprocess.CompletedProcess[str]:
    command = ["qemu-system-arm", "-M", core.machine, "-nographic", "-monitor", "none"]
    command += ["-serial", "none", "-semihosting-config", "enable=on,target=native"]
    command += ["-kernel", str(program)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("name", CORES)
@pytest.mark.parametrize("optimization", ["-O2", "-Os"])
def test_fast_kernels_equal_portable_ones_on_an_emulated_core(
    name: str, optimization: str, tmp_path: Path
) -> None:
    core, cases = CORES[name], list(draw_cases())
    write_cases(cases, core.isa, tmp_path)
    flags = [*core.flags, "-mthumb", optimization]
    program = build(tmp_path, "arm-none-eabi-gcc", flags, core.isa, link_flags(core))
    assert_all_equal(run_on(core, program), cases)


def test_dsp_kernels_equal_portable_ones_under_sanitizers(tmp_path: Path) -> None:
    cases = list(draw_cases())
    write_cases(cases, "dsp", tmp_path)
    flags = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g", "-O1"]
    program = build(tmp_path, "gcc", flags, "dsp", [])
    finished = subprocess.run([program], capture_output=True, text=True, timeout=120, check=False)
    assert_all_equal(finished, cases)


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
    finished = run_on(core, program)
    assert (finished.stdout + finished.stderr, finished.returncode) == ("equal\n", 0)


def test_dsp_scaling_is_exact_on_this_machine(tmp_path: Path) -> None:
    flags = [*WARNINGS, "-O2", "-fsanitize=undefined", "-DKT_DRAWS=10000000"]
    includes = [f"-I{STUBS / folder}" for folder in ("src", "tests")]
    source, program = STUBS / "tests" / "scaling_check.c", tmp_path / "check"
    subprocess.run(["gcc", *flags, *includes, source, "-o", program], check=True)
    finished = subprocess.run([program], capture_output=True, text=True, check=False)
    assert (finished.stdout, finished.returncode, finished.stderr) == ("equal\n", 0, "")
