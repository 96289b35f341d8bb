"""`keras-tree measure`: a bundle's plain-C firmware, built and run on an emulated core."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from deploy.commands.usage import (
    FITS,
    OVER_BUDGET,
    UsageError,
    as_usage_error,
    check_folder,
    near_name,
)

SUMMARY = "build the C firmware, run it on an emulated core, and count"
USAGE = "BUNDLE --core CORE [--output FILE] [options]"
DESCRIPTION = """\
Compile a bundle to C, build it for a core, and run every golden vector on an emulated one.
Nothing is estimated: the ROM is that of the linked image, by section, node, constant and kernel;
RAM, the deepest stack, and instructions per inference and per operator are counted. Instructions
are no cycles: what a core needs for each depends on its memory.

Needs a cross compiler (arm-none-eabi-gcc, or the package ziglang) and an emulator:
`pip install 'keras-tree[measure]'` brings both. Ends with 1 where an output is not the golden one.
"""
EPILOG = """\
examples:
  keras-tree measure demo-output/bundle --core cortex-m4
  keras-tree measure demo-output/bundle --core cortex-m0plus --optimize=-Os --details
  keras-tree measure demo-output/bundle --core cortex-m33 --output measured.json
  keras-tree measure demo-output/bundle --core cortex-m55 --boot
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command to `parser`."""
    parser.add_argument("bundle", metavar="BUNDLE", type=Path, help="the bundle's folder")
    parser.add_argument("--core", required=True, metavar="CORE", help="such as cortex-m4, rv32imc")
    parser.add_argument("--tasks", metavar="A,B", help="only these tasks (default: all)")
    parser.add_argument(
        "--optimize", default="-O2", metavar="LEVEL", help="--optimize=-Os (default: -O2)"
    )
    parser.add_argument(
        "--isa", choices=["portable", "dsp", "mve"], help="the kernels (default: the core's best)"
    )
    parser.add_argument(
        "--pack-weights",
        choices=["auto", "never"],
        default="auto",
        help="as for `keras-tree firmware` (default: auto)",
    )
    parser.add_argument(
        "--compiler", choices=["gcc", "zig"], help="default: the first that is installed"
    )
    parser.add_argument(
        "--emulator", choices=["unicorn", "qemu"], help="default: unicorn where it has the core"
    )
    parser.add_argument(
        "--boot", action="store_true", help="also boot the image on QEMU from its reset vector"
    )
    parser.add_argument("--details", action="store_true", help="list every constant and function")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="write the JSON; a folder gets a file per core"
    )


def run(arguments: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Measure, and tell or write the figures."""
    from deploy.codegen import CodegenError
    from deploy.commands.writing import write_atomically
    from deploy.emulation.core import EmulationError
    from deploy.emulation.running import GoldenMismatchError
    from deploy.emulation.toolchain import ToolchainError
    from deploy.emulator import TARGETS, boot_bundle, check_emulator, measure, measurement_text
    from deploy.firmware_sources import FirmwareSourceError
    from deploy.report.measurement import measurement_report
    from quantize.bundle import Bundle, BundleError

    if arguments.core not in TARGETS:
        raise UsageError(
            f"`--core` must be a core that can be emulated, received '{arguments.core}'. "
            + near_name(arguments.core, TARGETS, "cores")
        )
    _check_level(arguments.optimize)
    if arguments.output is not None:
        _check_output(_target(arguments.output, arguments.core))
    problems = (
        BundleError, CodegenError, EmulationError, FirmwareSourceError, ToolchainError, OSError,
    )  # fmt: skip
    with as_usage_error(*problems):
        if arguments.boot:
            check_emulator(arguments.core, "qemu")
        bundle = Bundle.load(arguments.bundle)
        if arguments.tasks is not None:
            bundle = bundle.select([name.strip() for name in arguments.tasks.split(",")])
        settings = (arguments.compiler, arguments.optimize, arguments.isa)
        progress = _silent if arguments.json else say
        try:
            measured = measure(
                bundle,
                arguments.core,
                *settings,
                emulator=arguments.emulator,
                progress=progress,
                pack_weights=arguments.pack_weights,
            )
        except GoldenMismatchError as error:
            say(f"MISMATCH {error}")
            return OVER_BUDGET
        text = measurement_text(measured)
        if arguments.output is not None:
            write_atomically(_target(arguments.output, arguments.core), text)
        say(text.rstrip() if arguments.json else measurement_report(measured, arguments.details))
        if not arguments.boot:
            return FITS
        booted = boot_bundle(bundle, arguments.core, *settings, arguments.pack_weights)
    if not arguments.json:
        say(f"\nfrom its reset vector on {booted.emulator}:")
        say("\n".join(f"  {line}" for line in booted.text.splitlines()))
    return FITS if booted.passed else OVER_BUDGET


def _target(path: Path, core: str) -> Path:
    """The file; in a folder, the core's, where `keras-tree check --measured` looks for it."""
    return path / f"{core}.json" if path.is_dir() else path


def _check_output(path: Path) -> None:
    """Refuse a file that could not be written, before the work whose result goes there."""
    if path.is_dir():
        raise UsageError(
            f"`--output` must be a file or a folder, received '{path.parent}', in which "
            f"'{path.name}' is a folder. Name a file in it: measured.json."
        )
    check_folder(path.absolute().parent, "--output")


def _check_level(level: str) -> None:
    known = ("-O0", "-O1", "-O2", "-O3", "-Os", "-Oz", "-Og")
    if level not in known:
        raise UsageError(
            f"`--optimize` must be one of {', '.join(known)}, received '{level}'. "
            "Write it with `=`: `--optimize=-Os`."
        )


def _silent(line: str) -> None:
    """Tell nothing."""
