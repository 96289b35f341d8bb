"""`keras-tree pack`: a bundle as one image for flash, or one branch of it for an update."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.commands.usage import FITS, UsageError, as_usage_error, near_name
from deploy.commands.writing import write_atomically

if TYPE_CHECKING:
    from deploy.packed_image import PackedImage
    from quantize.bundle import Bundle

SUMMARY = "pack a bundle as one image for flash, or one branch of it for an update"
USAGE = "BUNDLE [-o FILE] [--c-array FILE] [options]"
DESCRIPTION = """\
Pack a bundle's nodes, paths, labels and seams into one file that a device reads where it lies in
flash: programmed to an address that is a multiple of 16, linked in with `.incbin`, or compiled from
a C array. The loader is in firmware_stubs/ (kt_bundle.h); every byte stands in its SPEC.md.

With --delta-for it holds one task's branch only, for a device that has the full image already. The
device takes it if its seam's contract is that of the trunk there: quantize the new branch on top of
the bundle on the device, so that the seam is kept.

With --sign the tables, and through their digests the nodes, are signed with Ed25519 (needs
`pip install 'keras-tree[sign]'`). A device that requires signatures also refuses an image of a
lower --version than the one it has.
"""
EPILOG = """\
examples:
  keras-tree pack demo-output/bundle -o image.bin
  keras-tree pack demo-output/bundle --tasks digit,texture --c-array src/image.c
  openssl genpkey -algorithm ed25519 -out key.pem
  keras-tree pack demo-output/bundle -o image.bin --version 4 --sign key.pem
  keras-tree pack demo-output/bundle -o digit.bin --delta-for digit --version 5 --sign key.pem
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command to `parser`."""
    parser.add_argument("bundle", metavar="BUNDLE", type=Path, help="the bundle's folder")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="the image to write")
    parser.add_argument(
        "--c-array",
        type=Path,
        metavar="FILE",
        help="write it as a C source too: an array named after the file, and its length",
    )
    parser.add_argument(
        "--tasks", metavar="A,B", help="only these tasks, and the nodes they run (default: all)"
    )
    parser.add_argument(
        "--delta-for", metavar="TASK", help="only this task's branch, for a partial update"
    )
    parser.add_argument(
        "--version",
        dest="image_version",
        type=int,
        default=0,
        metavar="N",
        help="the image's version, which is never lowered: 0 to 4294967295 (default: 0)",
    )
    parser.add_argument(
        "--sign",
        type=Path,
        metavar="KEY",
        help="sign with this Ed25519 private key: PEM without password, or its seed of 32 bytes",
    )


def run(arguments: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Pack the bundle, write what was asked for, and say what it is."""
    from deploy.packed_image import ImageError, encode
    from deploy.packed_image.c_array import array_name, c_array
    from deploy.packed_image.decoding import read_image
    from deploy.packed_image.describing import image_lines
    from deploy.packed_image.signing import KeyFileError, signer
    from quantize.bundle import Bundle, BundleError

    check_options(arguments)
    with as_usage_error(BundleError, ImageError, KeyFileError, OSError):
        bundle = Bundle.load(arguments.bundle)
        parts = wanted_parts(arguments, bundle)
        data = encode(parts, None if arguments.sign is None else signer(arguments.sign))
        parts = read_image(data)
    if arguments.output is not None:
        write_atomically(arguments.output, data)
        say(f"wrote {arguments.output}")
    if arguments.c_array is not None:
        name = array_name(arguments.c_array)
        write_atomically(arguments.c_array, c_array(data, name, parts.version), "--c-array")
        say(f"wrote {arguments.c_array}: array {name}, length {name}_bytes")
    for line in image_lines(parts, data):
        say(f"  {line}")
    return FITS


def check_options(arguments: argparse.Namespace) -> None:
    """Refuse options that contradict each other, before any work.

    Raises:
        UsageError: Nothing is to be written, the same file twice, or a branch of several tasks.
    """
    output, array = arguments.output, arguments.c_array
    if output is None and array is None:
        raise UsageError("A file to write is expected, none was given. Add `-o image.bin`.")
    if output is not None and array is not None and output.absolute() == array.absolute():
        raise UsageError(
            f"`-o` and `--c-array` must be two files, received '{output}' twice. Rename one."
        )
    if arguments.tasks is not None and arguments.delta_for is not None:
        raise UsageError(
            "`--tasks` and `--delta-for` cannot be combined, received both: a branch image holds "
            "one task. Leave `--tasks` out."
        )


def wanted_parts(arguments: argparse.Namespace, bundle: Bundle) -> PackedImage:
    """The full image, or the branch that was asked for.

    Raises:
        UsageError: A task is unknown.
        ImageError: The bundle holds what an image cannot, or the version is out of range.
    """
    from deploy.packed_image import pack_branch, pack_bundle

    version = arguments.image_version
    if arguments.delta_for is not None:
        _check_task("--delta-for", arguments.delta_for, bundle)
        return pack_branch(bundle, arguments.delta_for, version)
    if arguments.tasks is None:
        return pack_bundle(bundle, version=version)
    names = [name.strip() for name in arguments.tasks.split(",") if name.strip()]
    if not names:
        raise UsageError(
            f"`--tasks` must name a task, received none. The tasks are: {', '.join(bundle.tasks)}."
        )
    for name in names:
        _check_task("--tasks", name, bundle)
    return pack_bundle(bundle, names, version)


def _check_task(option: str, name: str, bundle: Bundle) -> None:
    if name not in bundle.tasks:
        raise UsageError(
            f"`{option}` must be a task of the bundle, received '{name}'. "
            + near_name(name, bundle.tasks, "tasks")
        )
