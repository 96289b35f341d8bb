"""Write the files that a command was asked for: whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from deploy.commands.usage import UsageError


def write_atomically(path: Path, content: str | bytes, option: str = "--output") -> None:
    """Write a file whole or not at all, through a link too; write directly to a pipe or device.

    Args:
        path: The file.
        content: What stands in it; text is written as UTF-8.
        option: The option that named it, for the error.

    Raises:
        UsageError: The file cannot be written.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    target = Path(os.path.realpath(path))
    beside = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(data)
            return
        try:
            beside.write_bytes(data)
            os.replace(beside, target)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(
            f"`{option}` must be a file that can be written, '{path}' cannot: {error.strerror}. "
            "Choose another path."
        ) from error


def append(path: Path, text: str, name: str) -> None:
    """Append to a file that others append to as well, such as a CI's summary.

    Raises:
        UsageError: The file cannot be written.
    """
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise UsageError(
            f"`{name}` must be a file that can be written, '{path}' cannot: {error.strerror}. "
            "Choose another path, or leave it out."
        ) from error
