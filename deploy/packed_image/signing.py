"""Ed25519 (RFC 8032) over the tables of a packed image, through the package `cryptography`.

Belongs here: keys, signing and verifying on the host. Does not belong here: where the signature
stands (`layout.py`), or the device's side (`kt_open_options_t.verify`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.packed_image.decoding import read_image, signed_message
from deploy.packed_image.error import ImageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

_KEY_BYTES = 32


class KeyFileError(ValueError):
    """A file that holds no Ed25519 key, or `cryptography` is not installed."""


def signer(path: Path) -> Callable[[bytes], bytes]:
    """A function that signs with a private key.

    Args:
        path: PEM (PKCS #8, not encrypted, as `openssl genpkey -algorithm ed25519` writes), or the
            32 bytes of the seed.

    Raises:
        KeyFileError: It is neither, or `cryptography` is not installed.
        OSError: It cannot be read.
    """
    return private_key(path).sign


def private_key(path: Path) -> Ed25519PrivateKey:
    """Read a private key; see `signer`."""
    data = path.read_bytes()
    _need_cryptography()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if len(data) == _KEY_BYTES:
        return Ed25519PrivateKey.from_private_bytes(data)
    try:
        key = load_pem_private_key(data, None)
    except TypeError as error:
        raise KeyFileError(
            f"'{path}' is encrypted with a password. Decrypt it: `openssl pkey -in {path.name} "
            "-out plain.pem`, or sign with a seed of 32 bytes."
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _no_key(path, "private") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _no_key(path, "private")
    return key


def public_key(path: Path) -> Ed25519PublicKey:
    """Read a public key: PEM (`openssl pkey -pubout`), or its 32 bytes.

    Raises:
        KeyFileError: It is neither, or `cryptography` is not installed.
        OSError: It cannot be read.
    """
    data = path.read_bytes()
    _need_cryptography()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    if len(data) == _KEY_BYTES:
        return Ed25519PublicKey.from_public_bytes(data)
    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _no_key(path, "public") from error
    if not isinstance(key, Ed25519PublicKey):
        raise _no_key(path, "public")
    return key


def check_signature(data: bytes, key: Ed25519PublicKey) -> None:
    """Refuse an image that was not signed with a key, or whose nodes are not the signed ones.

    Args:
        data: The image.
        key: The public key.

    Raises:
        ImageError: It has no signature (UNSIGNED), a foreign one, or a node of another digest
            (SIGNATURE), or is damaged.
    """
    from cryptography.exceptions import InvalidSignature

    message, signature = signed_message(data)
    if signature is None:
        raise ImageError(
            "UNSIGNED",
            "A signed image is expected, this has no signature. Pack it with `--sign KEY`.",
        )
    try:
        key.verify(signature, message)
    except InvalidSignature as error:
        raise ImageError(
            "SIGNATURE",
            "The signature is not by this key, or the tables were changed after they were signed. "
            "Check the key, or pack and sign the image again.",
        ) from error
    for node in read_image(data).nodes:
        if not node.is_intact:
            raise ImageError(
                "SIGNATURE",
                f"Node '{node.name}' is not the one that was signed: its SHA-256 differs. "
                "Pack and sign the image again.",
            )


def _need_cryptography() -> None:
    try:
        import cryptography  # noqa: F401
    except ImportError as error:
        raise KeyFileError(
            "Signatures need the package `cryptography`, which is not installed. Install it: "
            "pip install 'keras-tree[sign]'."
        ) from error


def _no_key(path: Path, kind: str) -> KeyFileError:
    made = "genpkey -algorithm ed25519" if kind == "private" else "pkey -pubout"
    return KeyFileError(
        f"'{path}' must hold an Ed25519 {kind} key: PEM as `openssl {made}` writes it, or its "
        f"{_KEY_BYTES} bytes. Check the file."
    )
