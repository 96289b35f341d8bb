"""Everything that can be said against a packed image on the host, in one call.

Belongs here: the checks of the device, and those that a device leaves out because they need a hash
or a key. Does not belong here: what is printed of it (`deploy/commands/verify.py`).
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from deploy.packed_image.decoding import read_image
from deploy.packed_image.delta import check_base
from deploy.packed_image.error import ImageError
from deploy.packed_image.parts import PackedImage


def verify_image(
    data: bytes,
    public_key: Path | None = None,
    base: PackedImage | None = None,
    lowest_version: int = 0,
    same_trunk: bool = False,
) -> PackedImage:
    """Read an image and refuse it for whatever is wrong with it.

    Args:
        data: The image.
        public_key: A file with the Ed25519 public key by which it must be signed; None for any
            image, signed or not.
        base: The full image on the device, for a branch image; None to leave that out.
        lowest_version: The lowest version that is not refused as rolled back.
        same_trunk: Whether the nodes that a branch image builds on must be equal to the last byte.

    Raises:
        ImageError: The first thing that is wrong.
        KeyFileError: The key cannot be used.
    """
    image = read_image(data)
    if public_key is not None:
        from deploy.packed_image import signing

        signing.check_signature(data, signing.public_key(public_key))
    if image.version < lowest_version:
        raise ImageError(
            "ROLLBACK",
            f"Version {lowest_version} or higher is expected, received {image.version}. "
            "Pack it with a higher `--version`.",
        )
    _check_digests(image)
    if base is not None:
        if not image.is_branch:
            raise ImageError(
                "KIND",
                "A base was given, and this is a full image, which needs none. Leave it out.",
            )
        check_base(image, base, same_trunk)
    return image


def _check_digests(image: PackedImage) -> None:
    """Digests that the device compares, and does not compute unless it verifies signatures."""
    for node in image.nodes:
        if not node.is_intact:
            raise ImageError(
                "CHECKSUM",
                f"The SHA-256 of node '{node.name}' is not that of the tables. The image is "
                "forged: pack it again.",
            )
    for tensor in image.tensors:
        if hashlib.sha256(tensor.contract.encode("ascii")).digest() != tensor.contract_sha256:
            raise ImageError(
                "SEAM",
                f"The digest of the contract {tensor.contract} is another. The image is forged: "
                "pack it again.",
            )
