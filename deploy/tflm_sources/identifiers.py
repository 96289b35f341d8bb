"""Names of nodes and tasks as identifiers of C, and texts as its string literals."""

from __future__ import annotations

import re
from collections.abc import Iterable

# With these a task's constants would be those of all tasks: KT_MODEL_TASK_COUNT, for one.
_RESERVED = ("count", "largest")


def identifiers(names: Iterable[str]) -> dict[str, str]:
    """Return a distinct identifier for each name: letters, digits and "_", in lower case.

    Args:
        names: Distinct names. Those that differ only in other characters get "_2", "_3" and so on.
    """
    found: dict[str, str] = {}
    taken = set(_RESERVED)
    for name in names:
        plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "unnamed"
        numbered = (f"{plain}_{number}" for number in range(2, len(taken) + 3))
        found[name] = next(one for one in (plain, *numbered) if one not in taken)
        taken.add(found[name])
    return found


def literal(text: str) -> str:
    """Return `text` as a string literal in UTF-8; bytes outside of ASCII are octal escapes."""
    escaped = "".join(_escaped(byte) for byte in text.encode("utf-8"))
    return f'"{escaped}"'


def comment(text: str) -> str:
    """Return `text` such that it ends no comment and stays on its line."""
    plain = re.sub(r"[^\x20-\x7e]", "?", text)
    return plain.replace("*/", "* /").replace("/*", "/ *").rstrip("\\")


def _escaped(byte: int) -> str:
    # "?" too: two of them may begin a trigraph.
    if 0x20 <= byte < 0x7F and chr(byte) not in '"\\?':
        return chr(byte)
    return f"\\{byte:03o}"
