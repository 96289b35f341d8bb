"""Build the image that is emulated: generated C, kernels, start-up code, golden vectors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.emulation.selftest_data import GoldenVectors, selftest_data
from deploy.emulation.target import TARGETS, Target
from deploy.emulation.toolchain import Toolchain, find_toolchain
from deploy.firmware_sources import firmware_folder

if TYPE_CHECKING:
    from deploy.codegen.compiled import CProgram

__all__ = ["Build", "build_image"]

_GOLDEN_BYTES = (2 << 20) - 8192  # the linker scripts' memory of 2 MB, less the table of cases


@dataclass(frozen=True)
class Build:
    """A linked image, and what it was made of.

    Args:
        image: The ELF file.
        target: The core.
        toolchain: The compiler.
        optimize: Its level, such as "-O2".
        program: The generated C.
        objects: Object files by what they are: "generated", "kernels", "library" and "harness".
            The harness is what only the test needs: start-up code, self-test and golden vectors.
    """

    image: Path
    target: Target
    toolchain: Toolchain
    optimize: str
    program: CProgram
    objects: dict[str, tuple[Path, ...]]


def build_image(
    program: CProgram,
    golden: GoldenVectors,
    core: str,
    folder: Path,
    compiler: str | None = None,
    optimize: str = "-O2",
) -> Build:
    """Build the self-test of a program for one core.

    Args:
        program: What the bundle was compiled to, for the core's instruction set.
        golden: The vectors of every task.
        core: A key of `TARGETS`.
        folder: An empty folder for sources, objects and the image.
        compiler: "gcc" or "zig"; None for the first that is installed.
        optimize: The compiler's level.

    Raises:
        ToolchainError: There is no compiler, or it refuses.
        FirmwareSourceError: The plain C files are not installed.
    """
    target = TARGETS[core]
    toolchain = find_toolchain(target, compiler)
    sources = firmware_folder()
    ports = sources / "ports"
    generated = _written(program.files, folder)
    data = _written({"kt_selftest_data.c": selftest_data(program, golden, _GOLDEN_BYTES)}, folder)
    includes = (sources / "include", ports, ports / "freestanding", folder)

    # Kernels choose by what the compiler can do; a program for lesser ones says so.
    forced = ("-DKT_FORCE_PORTABLE",) if program.isa == "portable" != target.isa else ()

    def compiled(files: list[Path], *flags: str) -> tuple[Path, ...]:
        return tuple(toolchain.compile(files, includes, folder, optimize, *forced, *flags))

    harness = [
        ports / "selftest.c", ports / "bare_metal.c", ports / target.port / "startup.c", *data,
    ]  # fmt: skip
    objects = {
        "generated": compiled(generated),
        "kernels": compiled(_kernel_sources(sources)),
        # The library that is linked is what the runtime asks for, not what its test does.
        "harness": compiled(harness, "-fno-builtin"),
        "library": compiled([ports / "memory.c"], "-fno-builtin"),
    }
    image = folder / "firmware.elf"
    script = ports / target.port / target.script
    toolchain.link([one for group in objects.values() for one in group], script, image)
    return Build(image, target, toolchain, optimize, program, objects)


def _written(files: dict[str, str], folder: Path) -> list[Path]:
    """Write generated files; those that a compiler takes are returned."""
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in files if name.endswith(".c")]


def _kernel_sources(sources: Path) -> list[Path]:
    """The kernels of all instruction sets: what a core does not have is compiled to nothing."""
    files = sorted((sources / "src").glob("*.c"))
    return [path for path in files if '"kt_kernels.h"' in path.read_text(encoding="utf-8")]
