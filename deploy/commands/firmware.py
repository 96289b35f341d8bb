"""`keras-tree firmware`: a bundle becomes a folder that builds as it is, for one board."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.commands.usage import FITS, OVER_BUDGET, as_usage_error, check_folder

if TYPE_CHECKING:
    from deploy.firmware import Firmware
    from deploy.firmware_folder.folder import WrittenFolder

SUMMARY = "write a folder of C that builds as it is, with a self-test"
USAGE = "BUNDLE... --board NAME --out DIR [--runtime c|tflm] [options]"
DESCRIPTION = """\
Write a firmware folder for a bundle, or any .tflite file, and a board: sources, a Makefile and a
CMake project, the nodes as one packed image, a README with the board's figures, and a self-test
that replays the golden vectors. `make test` in it builds and runs the self-test on this machine.

With `--runtime c` (the default) the bundle is compiled to plain C, and nothing else is needed to
build it. With `--runtime tflm` it runs on TensorFlow Lite Micro, whose source is yours: name it
when you build.

A bundle that does not fit the board is not written, and the command ends with 1, unless
`--over-budget` is given. The limits are the board's own; `keras-tree check` holds it against yours.

The folder may be written again: files that you changed in it are kept and named, files of your own
stay, and everything else is replaced. A folder that holds only other files is never touched.
"""
EPILOG = """\
examples:
  keras-tree firmware build/bundle --board nano33ble --out firmware
  make -C firmware test
  keras-tree firmware build/bundle --board pico --out firmware --tasks digit,texture
  keras-tree firmware kws.tflite --board nucleo-f446re --out firmware --runtime tflm
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command to `parser`."""
    parser.add_argument(
        "bundle",
        nargs="+",
        type=Path,
        metavar="BUNDLE",
        help="a bundle's folder or a .tflite file; several are on one device together",
    )
    parser.add_argument("--board", required=True, metavar="NAME", help="a board, or a .toml file")
    parser.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="the folder to write"
    )
    parser.add_argument(
        "--runtime",
        choices=("c", "tflm"),
        default="c",
        help="plain C, or TensorFlow Lite Micro (default: c)",
    )
    parser.add_argument("--tasks", metavar="A,B", help="only these tasks (default: all)")
    parser.add_argument(
        "--isa",
        choices=("portable", "dsp", "mve"),
        help="c: kernels for this instruction set (default: the best of the board's core)",
    )
    parser.add_argument(
        "--pack-weights",
        choices=("auto", "never"),
        help="c: store weights of few distinct codes as indices where that takes less ROM; layers "
        "then take longer, and RAM to unpack into (default: auto)",
    )
    parser.add_argument(
        "--kernels",
        metavar="SET",
        help="tflm: reference, cmsis-nn or cmsis-nn-int8 (default: the best measured for the core)",
    )
    parser.add_argument(
        "--allocate",
        choices=("all", "one"),
        help="tflm: every path in the arena at once, or only the one that runs (default: all)",
    )
    parser.add_argument(
        "--over-budget", action="store_true", help="write it although it does not fit the board"
    )
    parser.add_argument("--force", action="store_true", help="replace files that you changed, too")


def run(arguments: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Make the firmware, and write it where it fits."""
    from deploy.firmware import FolderError, check_target, write_firmware
    from deploy.firmware_folder.figures import verdict_line

    check_folder(arguments.out, "--out")
    with as_usage_error(FolderError):
        check_target(arguments.out)
    made = _made(arguments)
    if not made.verdict.fits and not arguments.over_budget:
        say(verdict_line(made.verdict))
        for message in made.verdict.messages:
            say(f"      {message}")
        say(
            "Nothing was written. `keras-tree check` says what would make it fit; --over-budget "
            "writes it all the same."
        )
        return OVER_BUDGET
    with as_usage_error(FolderError):
        written = write_firmware(made, arguments.out, arguments.force)
    say(verdict_line(made.verdict))
    for line in _told(made, written, arguments.out):
        say(line)
    return FITS


def _made(arguments: argparse.Namespace) -> Firmware:
    """Read the models and make the files; what the input causes becomes a `UsageError`."""
    from deploy.board import BoardError, load_board
    from deploy.budget import BudgetError
    from deploy.codegen import CodegenError
    from deploy.firmware import FirmwareError, firmware
    from deploy.models import ModelError, load_models
    from deploy.packed_image import ImageError
    from deploy.tflm_sources import TflmSourcesError
    from quantize.bundle import BundleError

    with as_usage_error(
        BoardError, BudgetError, BundleError, CodegenError, FirmwareError, ImageError, ModelError,
        TflmSourcesError, OSError,
    ):  # fmt: skip
        board = load_board(arguments.board)
        bundle = load_models(arguments.bundle)
        names = [name.strip() for name in (arguments.tasks or "").split(",") if name.strip()]
        return firmware(
            bundle,
            board,
            arguments.runtime,
            None if arguments.tasks is None else names,
            arguments.isa,
            arguments.kernels,
            arguments.allocate,
            arguments.pack_weights,
        )


def _told(made: Firmware, written: WrittenFolder, out: Path) -> Iterator[str]:
    """What was written, what was kept, and what to do next."""
    what = f"plain C, {made.isa} kernels" if made.runtime == "c" else "TensorFlow Lite Micro"
    count = len(set(made.files).difference(written.kept))
    yield f"Wrote {count} files to {written.folder}: {what}"
    if written.kept:
        yield f"Kept, because you changed them: {', '.join(written.kept)}. --force replaces them."
    if written.replaced:
        yield f"Replaced, although you had changed them: {', '.join(written.replaced)}"
    if made.untested:
        yield (
            f"No golden vectors: {', '.join(made.untested)}. The self-test fails and says so. "
            "Install tflite_micro, which computes some, or give a bundle."
        )
    where = " KT_TFLM_DIR=... KT_TFLM_LIBRARY=..." if made.runtime == "tflm" else ""
    yield f"Next: make -C {out} test{where}"
