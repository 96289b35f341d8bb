"""`keras-tree verify`: whether a packed image is whole, genuine, and fits the device."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from deploy.commands.usage import FITS, OVER_BUDGET, UsageError, as_usage_error

SUMMARY = "say whether a packed image is whole, genuine, and fits what is on the device"
USAGE = "IMAGE [--public-key KEY] [--base IMAGE] [options]"
DESCRIPTION = """\
Check a packed image as the device does before it runs: layout, checksums, indices, seams. And what
it leaves to the host: the digest of every node and contract.

With --public-key the image must be signed by that key. With --base a branch image must fit that
full image, as on the device: every node that it builds on must be there, with the same contracts.
"""
EPILOG = """\
examples:
  keras-tree verify image.bin
  openssl pkey -in key.pem -pubout -out public.pem
  keras-tree verify image.bin --public-key public.pem --lowest-version 4
  keras-tree verify digit.bin --public-key public.pem --base image.bin

Here exit code 1 means that the image is not valid: damaged, not by this key, too old, or no fit.
"""
_HIGHEST_VERSION = 2**32 - 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command to `parser`."""
    parser.add_argument("image", metavar="IMAGE", type=Path, help="the packed image")
    parser.add_argument(
        "--public-key",
        type=Path,
        metavar="KEY",
        help="require a signature by this Ed25519 public key: PEM, or its 32 bytes",
    )
    parser.add_argument(
        "--base", type=Path, metavar="IMAGE", help="the full image that a branch image builds on"
    )
    parser.add_argument(
        "--same-trunk",
        action="store_true",
        help="with --base: the nodes built on must be equal to the last byte",
    )
    parser.add_argument(
        "--lowest-version",
        type=int,
        default=0,
        metavar="N",
        help="refuse a lower version as rolled back (default: 0)",
    )


def run(arguments: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Verify one image."""
    from deploy.packed_image import ImageError, read_image
    from deploy.packed_image.describing import image_lines
    from deploy.packed_image.signing import KeyFileError
    from deploy.packed_image.verifying import verify_image

    if not 0 <= arguments.lowest_version <= _HIGHEST_VERSION:
        raise UsageError(
            f"`--lowest-version` must lie in 0..{_HIGHEST_VERSION}, received "
            f"{arguments.lowest_version}."
        )
    if arguments.same_trunk and arguments.base is None:
        raise UsageError("`--same-trunk` needs the full image. Add `--base IMAGE`.")
    with as_usage_error(KeyFileError, OSError):
        data = arguments.image.read_bytes()
        base = None
        if arguments.base is not None:
            try:
                base = read_image(arguments.base.read_bytes())
            except ImageError as error:
                raise UsageError(
                    f"`--base` must be a full image, '{arguments.base}' is none: {error}"
                ) from error
        try:
            image = verify_image(
                data, arguments.public_key, base, arguments.lowest_version, arguments.same_trunk
            )
        except ImageError as error:
            say(f"{arguments.image}: not valid ({error.status}). {error}")
            return OVER_BUDGET
    say(f"{arguments.image}: valid")
    for line in image_lines(image, data):
        say(f"  {line}")
    if image.signature is not None and arguments.public_key is None:
        say("  its signature was not verified: give the key with --public-key")
    if image.is_branch and base is None:
        say("  whether it fits a device was not checked: give its full image with --base")
    return FITS
