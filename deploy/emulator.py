"""Measure a bundle on an emulated core: build its plain-C firmware, run it, count.

Nothing is estimated: ROM is read from the linked image, instructions and stack from the core that
runs every golden vector. The parts stand in `deploy/emulation/`.

Example:
    >>> from deploy.emulator import measure
    >>> from quantize.bundle import Bundle
    >>> measured = measure(Bundle.load("bundle"), "cortex-m4")
    >>> measured.rom_bytes, measured.static_ram_bytes, measured.tasks["digit"].instructions
    (21364, 3072, 436350)
"""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.emulation.build import Build, build_image
from deploy.emulation.core import EmulatedCore, EmulationError, SelftestResult
from deploy.emulation.elf_sections import LinkedImage, read_linked_image
from deploy.emulation.measurement import (
    Measurement,
    MeasurementError,
    check_measurement,
    measurement_text,
    read_measurement,
)
from deploy.emulation.qemu import QemuCore, boot, find_qemu
from deploy.emulation.rom_account import HARNESS_SECTIONS, rom_parts, rom_sections
from deploy.emulation.running import GoldenMismatchError, StepName, run_task
from deploy.emulation.target import TARGETS
from deploy.emulation.toolchain import ToolchainError
from deploy.emulation.unicorn_core import UnicornCore

if TYPE_CHECKING:
    from deploy.codegen.compiled import CProgram
    from quantize.bundle import Bundle

__all__ = [
    "EMULATORS",
    "EmulationError",
    "GoldenMismatchError",
    "Measurement",
    "MeasurementError",
    "SelftestResult",
    "TARGETS",
    "ToolchainError",
    "boot",
    "boot_bundle",
    "build_bundle",
    "check_measurement",
    "measure",
    "measure_build",
    "measurement_text",
    "opened_core",
    "read_measurement",
]

EMULATORS = ("unicorn", "qemu")


def measure(
    bundle: Bundle,
    core: str,
    compiler: str | None = None,
    optimize: str = "-O2",
    isa: str | None = None,
    keep_seams: bool = True,
    emulator: str | None = None,
    progress: Callable[[str], None] = lambda line: None,
    pack_weights: str = "auto",
) -> Measurement:
    """Build a bundle's firmware, run every golden vector on the core, and count.

    Args:
        bundle: With golden vectors for every task.
        core: A key of `TARGETS`.
        compiler: "gcc" or "zig"; None for the first that is installed.
        optimize: The compiler's level.
        isa: The kernels; None for the best that the core has.
        keep_seams: As for `deploy.codegen.compile_bundle`.
        emulator: One of `EMULATORS`; None for Unicorn where it has the core, else QEMU.
        progress: Told what is being done, a line at a time.
        pack_weights: As for `deploy.codegen.compile_bundle`.

    Returns:
        The figures.

    Raises:
        CodegenError: The bundle holds what cannot be compiled.
        ToolchainError: There is no compiler.
        EmulationError: There is no emulator, or the core faults.
        GoldenMismatchError: An output is not the golden one.
    """
    check_core(core, isa)
    check_emulator(core, emulator)
    for name, task in bundle.tasks.items():
        if not len(task.golden_inputs):
            raise EmulationError(
                f"Task '{name}' must have golden vectors to run, it has none. Quantize the tree "
                "again; every bundle of `quantize` holds some."
            )
    with tempfile.TemporaryDirectory(prefix="keras-tree-") as folder:
        progress(f"building for {core}")
        build = build_bundle(
            bundle, core, Path(folder), compiler, optimize, isa, keep_seams, pack_weights
        )
        progress(f"built with {build.toolchain.version}, {optimize}")
        return measure_build(bundle, build, emulator, progress)


def measure_build(
    bundle: Bundle,
    build: Build,
    emulator: str | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> Measurement:
    """Run every golden vector on an image that `build_bundle` made of the bundle; see `measure`."""
    image = read_linked_image(build.image)
    steps = _steps(build.program)
    with opened_core(build, image, emulator) as running:
        tasks = {
            name: run_task(
                running,
                image,
                build.program,
                task,
                (bundle.tasks[name].golden_inputs, bundle.tasks[name].golden_outputs),
                [step for node in task.path for step in steps[node]],
                progress,
            )
            for name, task in build.program.tasks.items()
        }
        ran_on = running.emulator
    sizes = {one.name: one.size_bytes for one in image.sections}
    return Measurement(
        bundle=bundle.name,
        nodes={name: node.sha256 for name, node in bundle.nodes.items()},
        core=build.target.core,
        isa=build.program.isa,
        compiler=build.toolchain.version,
        optimize=build.optimize,
        emulator=ran_on,
        tasks=tasks,
        rom_sections=rom_sections(image),
        rom_parts=rom_parts(image, build),
        harness_bytes=sum(sizes.get(name, 0) for name in HARNESS_SECTIONS),
        buffer_bytes=build.program.buffer_bytes,
        other_ram_bytes=_other_ram_bytes(image),
    )


def build_bundle(
    bundle: Bundle,
    core: str,
    folder: Path,
    compiler: str | None = None,
    optimize: str = "-O2",
    isa: str | None = None,
    keep_seams: bool = True,
    pack_weights: str = "auto",
) -> Build:
    """Compile a bundle to C and build its self-test for a core; see `measure`."""
    from deploy.codegen import compile_bundle

    program = compile_bundle(
        bundle, isa or TARGETS[core].isa, keep_seams=keep_seams, pack_weights=pack_weights
    )
    golden = {
        name: (task.golden_inputs, task.golden_outputs) for name, task in bundle.tasks.items()
    }
    return build_image(program, golden, core, folder, compiler, optimize)


def boot_bundle(
    bundle: Bundle,
    core: str,
    compiler: str | None = None,
    optimize: str = "-O2",
    isa: str | None = None,
    pack_weights: str = "auto",
) -> SelftestResult:
    """Build a bundle's self-test and start it on QEMU from its reset vector; see `measure`.

    Returns:
        What it wrote through semihosting, and the code that it ended with.
    """
    check_core(core, isa)
    check_emulator(core, "qemu")
    with tempfile.TemporaryDirectory(prefix="keras-tree-") as folder:
        build = build_bundle(
            bundle, core, Path(folder), compiler, optimize, isa, pack_weights=pack_weights
        )
        return boot(build.image, build.target)


def check_core(core: str, isa: str | None) -> None:
    """Refuse kernels that a core cannot run.

    Raises:
        EmulationError: It has no such instructions.
    """
    if isa not in (None, "portable", TARGETS[core].isa):
        raise EmulationError(
            f"`isa` must be one that the core has; {core} has no {isa} instructions. "
            f"Leave it out: {TARGETS[core].isa} is its best."
        )


def check_emulator(core: str, emulator: str | None = None) -> None:
    """Refuse to start what could not be run: before anything is built.

    Raises:
        EmulationError: A package is not installed; says which.
    """
    chosen = chosen_emulator(core, emulator)
    if not (TARGETS[core].unicorn if chosen == "unicorn" else TARGETS[core].machine):
        what = (
            "Unicorn must have a model of"
            if chosen == "unicorn"
            else "QEMU must have a machine for"
        )
        raise EmulationError(f"{what} {core}, and has none. Leave `--emulator` or `--boot` out.")
    wanted = ("elftools", *(("unicorn",) if chosen == "unicorn" else ()))
    for package in wanted:
        if importlib.util.find_spec(package) is None:
            named = {"elftools": "pyelftools"}.get(package, package)
            raise EmulationError(
                f"To measure, the package {named} must be installed, and is not. "
                "Run `pip install 'keras-tree[measure]'`."
            )
    if chosen == "qemu":
        find_qemu()


def chosen_emulator(core: str, emulator: str | None = None) -> str:
    """Unicorn where it has the core, unless QEMU is asked for."""
    return emulator or ("unicorn" if TARGETS[core].unicorn else "qemu")


@contextmanager
def opened_core(
    build: Build, image: LinkedImage, emulator: str | None = None
) -> Iterator[EmulatedCore]:
    """Start an image up to `main`.

    Raises:
        EmulationError: There is no such emulator, or the image does not come to `main`.
    """
    if chosen_emulator(build.target.core, emulator) == "unicorn":
        yield UnicornCore(image, build.target)
        return
    with QemuCore(build.image, image, build.target) as core:
        yield core


def _steps(program: CProgram) -> dict[str, list[StepName]]:
    """The kernels that each node calls, in order; as planned, since a plan may add a step."""
    return {
        name: [
            (name, index, step.operator, call.function)
            for index, step in enumerate(node.steps)
            for call in step.calls
        ]
        for name, node in program.nodes.items()
    }


def _other_ram_bytes(image: LinkedImage) -> int:
    """Static memory besides the buffer: the runtime has none, so that this is 0 unless it has."""
    memory = {one.name for one in image.sections if one.is_written} - {".stack"}
    return sum(
        one.size_bytes
        for one in image.symbols
        if one.section in memory and one.name != "kt_selftest_buffer"
    )
