"""What is wrong with a packed image; the same names as the C loader's `kt_status_t`."""

from __future__ import annotations

STATUSES = (
    "OK",
    "ARGUMENT",
    "ALIGNMENT",
    "TRUNCATED",
    "MAGIC",
    "FORMAT_VERSION",
    "LAYOUT",
    "CHECKSUM",
    "INDEX",
    "STRING",
    "TENSOR",
    "SEAM",
    "BASE",
    "OPERATOR",
    "UNSIGNED",
    "SIGNATURE",
    "ROLLBACK",
    "NOT_FOUND",
    "NO_BRANCH",
    "SPACE",
    "FLASH",
    "KIND",
    "REFUSED",
)
"""Names in the order of the C enumeration: status -n is KT_ERROR_<STATUSES[n]>."""


class ImageError(ValueError):
    """An image that cannot be written, read or trusted; says what is wrong.

    Args:
        status: A name of `STATUSES`: what the C loader returns for it.
        message: What was expected, what was received, and what to do.
    """

    def __init__(self, status: str, message: str) -> None:
        super().__init__(printable(message))
        self.status = status


def printable(text: str) -> str:
    """A text that gives a terminal no orders: what an image calls its nodes may be anything."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
