"""Templates of `firmware_stubs/project` and how their places are filled."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from deploy.firmware_sources import firmware_file

__all__ = ["cmake_list", "filled", "make_list", "markdown_table", "one_line"]

_PLACE = re.compile(r"@([A-Z_]+)@")


def filled(name: str, places: Mapping[str, str]) -> bytes:
    """A template with every `@PLACE@` replaced.

    Args:
        name: Path within `firmware_stubs/project`.
        places: Text by place; those that the template does not have are ignored.

    Raises:
        KeyError: The template has a place that nothing was given for.
    """
    template = firmware_file(f"project/{name}").read_text(encoding="utf-8")
    return _PLACE.sub(lambda match: places[match[1]], template).encode()


def make_list(paths: Iterable[str]) -> str:
    """Files as the continued lines of a variable in a Makefile."""
    return " \\\n".join(f"\t{path}" for path in paths)


def cmake_list(paths: Iterable[str]) -> str:
    """Files as arguments of a CMake command, one a line."""
    return "\n".join(f"  {path}" for path in paths)


def markdown_table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table; a bar within a cell is escaped."""
    cells = [list(head), *(list(row) for row in rows)]
    lines = [" | ".join(cell.replace("|", "\\|") for cell in row) for row in cells]
    rule = " | ".join("---" for _ in cells[0])
    return "\n".join(f"| {line} |" for line in (lines[0], rule, *lines[1:]))


def one_line(text: str) -> str:
    """A name such that it stays on its line, in a comment of make, CMake and Markdown alike."""
    return re.sub(r"[^\x20-\x7e]", "?", text).replace("\\", "/")
