"""`keras-tree unpack`: the nodes of a packed image as files, and all else as JSON."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from deploy.commands.usage import FITS, UsageError, as_usage_error

SUMMARY = "write the nodes of a packed image as .tflite files, and the rest as JSON"
USAGE = "IMAGE -o DIR"
DESCRIPTION = """\
Check a packed image as the device does, and write nodes/<name>.tflite, byte for byte as they were
packed, and image.json: version, tasks with paths and labels, tensors with their contracts. What
follows the image in a dump of a partition is passed over.

It becomes no bundle again: an image holds no golden vectors and no scores.
"""
EPILOG = """\
examples:
  keras-tree unpack image.bin -o unpacked
  keras-tree unpack dump-of-partition.bin -o unpacked
  keras-tree check unpacked/nodes/trunk.tflite --board nano33ble
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command to `parser`."""
    parser.add_argument("image", metavar="IMAGE", type=Path, help="the packed image")
    parser.add_argument(
        "-o", "--output", required=True, type=Path, metavar="DIR", help="a new or empty folder"
    )


def run(arguments: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Unpack one image."""
    from deploy.packed_image import ImageError, read_image
    from deploy.packed_image.describing import image_lines
    from deploy.packed_image.unpacking import unpack_image

    with as_usage_error(ImageError, OSError):
        if arguments.output.is_dir() and any(arguments.output.iterdir()):
            raise UsageError(
                f"`--output` must be a new or empty folder, '{arguments.output}' holds files. "
                "Choose another folder."
            )
        data = arguments.image.read_bytes()
        image = read_image(data)
        unpack_image(image, arguments.output)
    say(f"wrote {arguments.output}")
    for line in image_lines(image, data):
        say(f"  {line}")
    return FITS
