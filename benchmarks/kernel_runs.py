"""Runs kernels of the plain-C runtime beside the portable ones, on drawn numbers, and counts.

`firmware_stubs/tests/kernel_runner.c` is compiled with the cases for a core that QEMU emulates, or
for this machine. Every instruction takes the same virtual time there, and SysTick tells it.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.codegen.scratch import scratch_bytes

STUBS = Path(__file__).parents[1] / "firmware_stubs"
KINDS = ("kt_conv2d", "kt_conv2d_1x1", "kt_depthwise_conv2d", "kt_fully_connected")
"""The kernels, in the order of `kt_kind_t`."""
PARTS = ("conv", "depthwise", "fully_connected")
"""Their files: `kt_<part>.c`, `kt_<part>_dsp.c`, `kt_<part>_mve.c`."""
WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-Wconversion")

_SHIFT = 6  # an instruction takes 2^6 ns, more than one tick of SysTick


@dataclass(frozen=True)
class Core:
    """A core, the machine of QEMU that has it, and the clock of its SysTick."""

    isa: str
    flags: tuple[str, ...]
    machine: str
    linker_script: str
    systick_mhz: int


CORES = {
    "cortex-m4": Core("dsp", ("-mcpu=cortex-m4",), "mps2-an386", "mps2.ld", 25),
    "cortex-m7": Core("dsp", ("-mcpu=cortex-m7",), "mps2-an500", "mps2.ld", 25),
    "cortex-m33": Core("dsp", ("-mcpu=cortex-m33",), "mps2-an505", "mps2_an505.ld", 20),
    "cortex-m55": Core(
        "mve", ("-mcpu=cortex-m55", "-mfloat-abi=hard"), "mps3-an547", "mps3_an547.ld", 32
    ),
}


@dataclass(frozen=True)
class Case:
    """One call: a kernel, and the numbers among the fields of `kt_conv2d_t`.

    FULLY_CONNECTED has its rows in `in_h`. `is_tame`: without factors that networks hardly have.
    """

    kind: str
    sizes: Mapping[str, int]
    is_tame: bool = False


@dataclass(frozen=True)
class Outcome:
    """Whether outputs equal the portable kernel's, scratch was kept to, and instructions."""

    is_equal: bool
    is_kept: bool
    instructions: float


def _array_sizes(case: Case, scratch: int) -> dict[str, int]:
    sizes = case.sizes
    depth = 1 if case.kind == "kt_depthwise_conv2d" else sizes["in_c"] // sizes["groups"]
    return {
        "WEIGHTS": sizes["kernel_h"] * sizes["kernel_w"] * depth * sizes["out_c"],
        "INPUT": sizes["in_h"] * sizes["in_w"] * sizes["in_c"],
        "OUTPUT": sizes["out_h"] * sizes["out_w"] * sizes["out_c"],
        "SCRATCH": scratch,
        "CHANNELS": sizes["out_c"],
    }


def write_cases(cases: Sequence[Case], isa: str, folder: Path) -> None:
    """Write the header that `kernel_runner.c` asks for."""
    most = dict.fromkeys(("WEIGHTS", "INPUT", "OUTPUT", "SCRATCH", "CHANNELS"), 4)
    rows = []
    for case in cases:
        scratch = scratch_bytes(case.kind, case.sizes, isa)
        found = _array_sizes(case, scratch)
        most = {name: max(value, found[name]) for name, value in most.items()}
        fields = ", ".join(f".{name} = {value}" for name, value in case.sizes.items())
        kind = f"(kt_kind_t){KINDS.index(case.kind)}"
        rows.append(f"    {{{kind}, {scratch}U, {int(case.is_tame)}U, {{{fields}}}}},")
    limits = ", ".join(f"KT_MAX_{name} = {value}" for name, value in most.items())
    text = [f"enum {{ {limits} }};", "static const kt_case_t kt_cases[] = {", *rows, "};", ""]
    (folder / "kernel_cases.h").write_text("\n".join(text))


def build_runner(
    folder: Path, compiler: str, isa: str, flags: Sequence[str], link: Sequence[str] = ()
) -> Path:
    """Compile both kinds of kernels and the runner; the object files stay in `folder`."""
    command = [compiler, *WARNINGS, *flags, f"-I{STUBS / 'include'}", f"-I{STUBS / 'src'}"]
    command += [f"-I{STUBS / 'tests'}", f"-I{folder}"]
    portable = ["-DKT_FORCE_PORTABLE"]
    portable += [f"-D{name}=kt_portable_{name.removeprefix('kt_')}" for name in KINDS]
    objects = []
    for part in PARTS:
        for end, chosen in (("", portable), (f"_{isa}", [f"-DKT_ISA=KT_ISA_{isa.upper()}"])):
            objects.append(str(folder / f"{part}{end}.o"))
            source = str(STUBS / "src" / f"kt_{part}{end}.c")
            subprocess.run([*command, *chosen, "-c", source, "-o", objects[-1]], check=True)
    runner, program = STUBS / "tests" / "kernel_runner.c", folder / "runner"
    subprocess.run([*command, str(runner), *objects, *link, "-o", str(program)], check=True)
    return program


def link_flags(core: Core) -> list[str]:
    """What makes an image for a machine of QEMU of a program."""
    ports = STUBS / "ports"
    start = [ports / "cortex_m" / "startup.c", ports / "bare_metal.c"]
    flags = ["-nostartfiles", "--specs=nano.specs", f"-L{ports / 'cortex_m'}"]
    return [*map(str, start), *flags, "-T", str(ports / "cortex_m" / core.linker_script)]


def run_image(core: Core, image: Path) -> subprocess.CompletedProcess[str]:
    """Start an image from its reset vector."""
    command = ["qemu-system-arm", "-M", core.machine, "-nographic", "-monitor", "none"]
    command += ["-serial", "none", "-semihosting-config", "enable=on,target=native"]
    command += ["-icount", f"shift={_SHIFT}", "-kernel", str(image)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def outcomes(finished: subprocess.CompletedProcess[str], systick_mhz: int = 1) -> list[Outcome]:
    """What the runner printed, case by case."""
    lines = re.findall(r"^\d+ (\w+) (\w+) (\d+)$", finished.stdout + finished.stderr, re.M)
    ticks_each = systick_mhz * 2**_SHIFT / 1000
    return [
        Outcome(equal == "equal", kept == "kept", int(ticks) / ticks_each)
        for equal, kept, ticks in lines
    ]


def run_on_core(
    core: Core, cases: Sequence[Case], folder: Path, optimization: str = "-O2"
) -> list[Outcome]:
    """All cases on an emulated core."""
    write_cases(cases, core.isa, folder)
    flags = [*core.flags, "-mthumb", optimization]
    image = build_runner(folder, "arm-none-eabi-gcc", core.isa, flags, link_flags(core))
    return outcomes(run_image(core, image), core.systick_mhz)
