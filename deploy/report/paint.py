"""Colour on a terminal: text by what it says, never by a number of a colour.

Without colour the text stays as it is, so that both read the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# What would move the cursor, start a line or turn the direction of text: names are the users'.
_CONTROLS = re.compile(
    "[\x00-\x1a\x1c-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]|\x1b(?!\\[[0-9;]*m)"
)
_ESCAPE = "\x1b"
_COLOURS = {
    "OVER": "31;1",
    "GREW": "35;1",
    "close": "33",
    "fits": "32",
    "heading": "1",
    "note": "2",
}


@dataclass(frozen=True)
class Paint:
    """Paints text, or leaves it plain.

    Args:
        is_on: Whether to write ANSI sequences.
    """

    is_on: bool

    def __call__(self, text: str, style: str) -> str:
        """The text in a style: a word of a verdict, "heading" or "note"."""
        if not self.is_on or not text.strip():
            return text
        return f"\x1b[{_COLOURS[style]}m{text}\x1b[0m"

    def printable(self, line: str) -> str:
        """A line without characters that a terminal obeys, but those of its own colours."""
        line = _CONTROLS.sub("?", line)
        return line if self.is_on else line.replace(_ESCAPE, "?")
