"""Find a cross compiler, and call it.

`arm-none-eabi-gcc` where it is on the PATH, since that is what firmware is built with; else the
compiler that `pip install ziglang` brings. Both get the same sources and flags.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from deploy.emulation.target import Target

__all__ = ["COMPILERS", "Toolchain", "ToolchainError", "find_toolchain"]

COMPILERS = ("gcc", "zig")
_GCC = {"cortex_m": "arm-none-eabi-gcc", "rv32": "riscv64-unknown-elf-gcc"}
_COMPILE_SECONDS = 600

_WRONG = (
    "error:",
    "undefined",
    "multiple definition",
    "overflow",
    "will not fit",
)  # what a line that tells why holds

_FLAGS = (
    "-std=c99",
    "-ffunction-sections",
    "-fdata-sections",
    "-fno-unwind-tables",
    "-fno-asynchronous-unwind-tables",
    "-fno-common",
    "-fomit-frame-pointer",
    "-g0",
)


class ToolchainError(RuntimeError):
    """There is no cross compiler, or it refuses the sources."""


@dataclass(frozen=True)
class Toolchain:
    """A cross compiler for one core.

    Args:
        name: One of `COMPILERS`.
        version: Its own first line, such as "arm-none-eabi-gcc (15:12.2.rel1-1) 12.2.1 20221205".
        command: Program, target and flags for every call.
        libraries: Flags at the end of the linker's call.
    """

    name: str
    version: str
    command: tuple[str, ...]
    libraries: tuple[str, ...]

    def compile(
        self, sources: Sequence[Path], includes: Sequence[Path], folder: Path, *flags: str
    ) -> list[Path]:
        """Compile C files to object files in `folder`, which take the sources' names.

        Raises:
            ToolchainError: The compiler refuses; its first lines are in the message.
        """
        places = [f"-I{place}" for place in includes]
        objects = [folder / f"{source.stem}.o" for source in sources]

        def one(source: Path, product: Path) -> None:
            command = [*self.command, *_FLAGS, *flags, *places, "-c", str(source)]
            self._call([*command, "-o", str(product)], folder)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(one, sources, objects))
        return objects

    def link(self, objects: Sequence[Path], script: Path, image: Path) -> None:
        """Link an image as `script` says; what is not used is left out.

        Raises:
            ToolchainError: The linker refuses, such as where a memory is full.
        """
        flags = ["-nostartfiles", "-static", "-Wl,--gc-sections"]
        files = [str(path.absolute()) for path in objects]
        output = ["-o", str(image.absolute())]
        # Scripts include others from the folder in which the linker runs; zig drops `-L`.
        self._call(
            [*self.command, *flags, "-T", str(script), *files, *self.libraries, *output],
            script.parent,
        )

    def _call(self, command: list[str], folder: Path) -> None:
        done = _run(command, folder)
        if done.returncode:
            told = [line for line in done.stderr.splitlines() if line.strip()]
            wrong = [line for line in told if any(word in line for word in _WRONG)]
            raise ToolchainError(
                f"{self.version} must build the firmware, it ended with {done.returncode}: "
                + " | ".join((wrong or told or ["no message"])[:4])
            )


def find_toolchain(target: Target, wanted: str | None = None) -> Toolchain:
    """Find a compiler for a core.

    Args:
        target: The core.
        wanted: One of `COMPILERS`; None for the first that is there, GCC for Arm and zig for
            RISC-V, where distributions' GCC seldom has libraries for 32 bits.

    Raises:
        ToolchainError: None is installed; says how to install one.
    """
    preferred = COMPILERS if target.is_arm else COMPILERS[::-1]
    for name in [wanted] if wanted else preferred:
        found = _gcc(target) if name == "gcc" else _zig(target)
        if found:
            return found
    gcc = _GCC[target.port]
    looked = {None: f"{gcc} or the package ziglang", "gcc": gcc, "zig": "the package ziglang"}
    package = "gcc-arm-none-eabi" if target.is_arm else "gcc-riscv64-unknown-elf"
    raise ToolchainError(
        f"To build for {target.core}, {looked[wanted]} must be installed, and is not found. "
        + {
            None: "Run `pip install 'keras-tree[measure]'`.",
            "zig": "Run `pip install 'keras-tree[measure]'`.",
            "gcc": f"Install it, on Debian and Ubuntu `apt install {package}`.",
        }[wanted]
    )


def _gcc(target: Target) -> Toolchain | None:
    path = shutil.which(_GCC[target.port])
    if path is None:
        return None
    return Toolchain("gcc", _version([path]), (path, *target.gcc), ("-nostdlib", "-lgcc"))


def _zig(target: Target) -> Toolchain | None:
    if importlib.util.find_spec("ziglang") is None:
        return None
    zig = [sys.executable, "-m", "ziglang"]
    triple, processor = target.zig
    # zig adds checks for undefined behaviour where they are not switched off.
    flags = ("-target", triple, f"-mcpu={processor}", "-fno-sanitize=undefined")
    version = f"zig {_run([*zig, 'version']).stdout.strip()}"
    return Toolchain("zig", version, (*zig, "cc", *flags), ())


def _version(command: list[str]) -> str:
    return _run([*command, "--version"]).stdout.splitlines()[0].strip()


def _run(command: list[str], folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_COMPILE_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolchainError(f"'{command[0]}' must run, it does not: {error}.") from error
