"""Where the keys of a TOML document stand: the line of every table, key and list entry.

`tomllib` reads values and forgets their places; an annotation in a CI needs the place. This walks
over a document that `tomllib` has accepted, so it has to find the ends of strings, lists and
tables, not to judge them. What the keys mean is in `budget_file.py`.
"""

from __future__ import annotations

import re
import sys
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Place = tuple[str | int, ...]
"""What leads to a value: keys, and indices from 0 within lists, as ("check", 1, "rom")."""

_BLANK = re.compile(r"[ \t]*")
_BETWEEN = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_KEY = re.compile(r"""[A-Za-z0-9_-]+|'[^'\n]*'|"(?:[^"\\\n]|\\.)*\"""")
_SCALAR = re.compile(r"[^,\]}#\n]*")
# What ends a string, as a group, or hides its end. Two quotes may stand before the closing three.
_ENDS = {
    '"""': re.compile(r'\\.|("{3,5})', re.DOTALL),
    "'''": re.compile(r"('{3,5})"),
    '"': re.compile(r'\\.|(")'),
    "'": re.compile(r"(')"),
}


@dataclass(frozen=True)
class Lines:
    """The lines of a document's tables and keys.

    Args:
        by_place: Line, from 1, of every place.
    """

    by_place: Mapping[Place, int]

    def of(self, *place: str | int) -> int:
        """The line of a place; where it is not known, that of what holds it, at worst 1."""
        while place and place not in self.by_place:
            place = place[:-1]
        return self.by_place.get(place, 1)

    def has(self, *place: str | int) -> bool:
        """Whether the document says anything at a place."""
        return place in self.by_place


def lines_of(text: str) -> Lines:
    """Find the line of every table, key and list entry.

    Args:
        text: A TOML document that `tomllib` reads. Of any other text the answer is incomplete.
    """
    walk = _Walk(text)
    try:
        walk.document()
    except (IndexError, ValueError, RecursionError):
        return Lines(walk.found)  # no TOML after all: what was found before stays right
    return Lines(walk.found)


class _Walk:
    """One walk over a document, from its start to its end."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.found: dict[Place, int] = {}
        self._breaks = [match.start() for match in re.finditer("\n", text)]
        self._entries: dict[Place, int] = {}  # how many [[...]] there were of each

    def document(self) -> None:
        """Headers and pairs, one after the other."""
        here: Place = ()
        self._skip(_BETWEEN)
        while self.at < len(self.text):
            here = self._header() if self._sees("[") else self._pair(here)
            self._skip(_BETWEEN)

    def _header(self) -> Place:
        """`[a.b]` or `[[a.b]]`; gives the place that the pairs below it belong to."""
        start, is_entry = self.at, self._sees("[[")
        self.at += 2 if is_entry else 1
        keys = self._keys()
        self.at += 2 if is_entry else 1
        place: Place = ()
        for key in keys[:-1]:
            place = self._last_entry((*place, key))
        place = (*place, keys[-1])
        if is_entry:
            self._record(place, start)
            self._entries[place] = self._entries.get(place, 0) + 1
        place = self._last_entry(place)
        self._record(place, start)
        return place

    def _last_entry(self, place: Place) -> Place:
        """A header's name of a list means its last entry."""
        count = self._entries.get(place)
        return place if count is None else (*place, count - 1)

    def _pair(self, here: Place) -> Place:
        """`a.b = value`; gives `here` back."""
        start = self.at
        place = (*here, *self._keys())
        for length in range(len(here) + 1, len(place) + 1):
            self._record(place[:length], start)
        self.at += 1  # the equals sign
        self._skip(_BLANK)
        self._value(place)
        return here

    def _keys(self) -> list[str]:
        """Names with dots between them; ends behind the blanks that follow them."""
        keys = []
        while True:
            self._skip(_BLANK)
            match = _KEY.match(self.text, self.at)
            if match is None:
                raise ValueError("a key is expected")
            self.at = match.end()
            keys.append(_plain(match[0]))
            self._skip(_BLANK)
            if not self._sees("."):
                return keys
            self.at += 1

    def _value(self, place: Place) -> None:
        """Any value; ends behind it."""
        first = self.text[self.at]
        if first in "\"'":
            self.at = self._end_of_string()
        elif first == "[":
            self._list(place)
        elif first == "{":
            self._table(place)
        else:
            self._skip(_SCALAR)

    def _list(self, place: Place) -> None:
        self.at += 1
        self._skip(_BETWEEN)
        count = 0
        while not self._sees("]"):
            self._record((*place, count), self.at)
            self._value((*place, count))
            count += 1
            self._skip_comma("]")
        self.at += 1

    def _table(self, place: Place) -> None:
        self.at += 1
        self._skip(_BETWEEN)
        while not self._sees("}"):
            self._pair(place)
            self._skip_comma("}")
        self.at += 1

    def _end_of_string(self) -> int:
        three = self.text[self.at : self.at + 3]
        quotes = three if three in _ENDS else three[0]
        for match in _ENDS[quotes].finditer(self.text, self.at + len(quotes)):
            if match[1]:
                return match.end()
        raise ValueError("a closing quote is expected")

    def _skip_comma(self, end: str) -> None:
        self._skip(_BETWEEN)
        if self._sees(","):
            self.at += 1
        elif not self._sees(end):
            raise ValueError("a comma is expected")
        self._skip(_BETWEEN)

    def _skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self.text, self.at)
        self.at = match.end() if match else self.at

    def _sees(self, what: str) -> bool:
        return self.text.startswith(what, self.at)

    def _record(self, place: Place, start: int) -> None:
        """The first mention of a place counts."""
        self.found.setdefault(place, bisect_left(self._breaks, start) + 1)


def _plain(key: str) -> str:
    """A key without its quotes and escapes."""
    if key.startswith("'"):
        return key[1:-1]
    return str(tomllib.loads(f"key = {key}")["key"]) if key.startswith('"') else key
