"""One JSON object of a manifest, read field by field, with the field's full name in every error.

Here stands the reading of types and ranges. Which fields there are and what they mean is in
`manifest.py`.
"""

from __future__ import annotations

import math
import re
import struct
import sys
from collections.abc import Mapping
from typing import Any

from quantize.storage.parts import BundleError

_ADVICE = "The manifest is damaged or was edited by hand: write the bundle anew."
_NOT_FINITE = {"inf": math.inf, "-inf": -math.inf}


class Record:
    """A JSON object and where it stands in the manifest.

    Args:
        value: What `json.loads` gave for it.
        where: Its name from the top, e.g. "nodes.trunk"; empty for the manifest itself.

    Raises:
        BundleError: `value` is no JSON object.
    """

    def __init__(self, value: object, where: str = "") -> None:
        self._where = where
        if not isinstance(value, Mapping):
            raise self._error("", "an object", value)
        self._fields: Mapping[str, Any] = value

    def text(self, key: str) -> str:
        """Return a string that is not empty."""
        value = self._get(key, "a text")
        if not isinstance(value, str) or not value:
            raise self._error(key, "a text", value)
        return value

    def text_or_none(self, key: str) -> str | None:
        """Return a string, or None for null."""
        return None if self._get(key, "a text or null") is None else self.text(key)

    def text_or(self, key: str, default: str) -> str:
        """Return a string that is not empty, or `default` where the field is absent."""
        return self.text(key) if key in self._fields else default

    def sha256(self, key: str) -> str:
        """Return a SHA-256 digest: 64 lower-case hex digits."""
        value = self.text(key)
        if not re.fullmatch("[0-9a-f]{64}", value):
            raise self._error(key, "a SHA-256 of 64 lower-case hex digits", value)
        return value

    def sha256_or_none(self, key: str) -> str | None:
        """Return a SHA-256 digest, or None for null."""
        return None if self._get(key, "a SHA-256 or null") is None else self.sha256(key)

    def integer(self, key: str, low: int = 0, high: int | None = None) -> int:
        """Return an integer of `low` to `high` (no upper end for None)."""
        span = f"of at least {low}" if high is None else f"of {low} to {high}"
        value = self._get(key, f"an integer {span}")
        good = isinstance(value, int) and not isinstance(value, bool)
        if not good or value < low or (high is not None and value > high):
            raise self._error(key, f"an integer {span}", value)
        return int(value)

    def number(self, key: str) -> float:
        """Return a finite number."""
        value = self._get(key, "a finite number")
        # The largest float64 bounds integers too, which may be larger than any float.
        sound = isinstance(value, int | float) and not isinstance(value, bool)
        if not sound or not abs(value) <= sys.float_info.max:
            raise self._error(key, "a finite number", value)
        return float(value)

    def scale(self, key: str) -> float:
        """Return a number above 0 that a float32 holds exactly."""
        value = self.number(key)
        try:
            exact = struct.unpack("<f", struct.pack("<f", value))[0]
        except OverflowError:
            exact = math.inf
        if exact != value or value <= 0:
            raise self._error(key, "a number above 0 that is exactly a float32", value)
        return value

    def measure(self, key: str) -> float:
        """Return a number, "inf", "-inf", or NaN for null: a measure that is not defined."""
        value = self._get(key, 'a number, "inf", "-inf" or null')
        if value is None:
            return math.nan
        if isinstance(value, str):
            if value not in _NOT_FINITE:
                raise self._error(key, 'a number, "inf", "-inf" or null', value)
            return _NOT_FINITE[value]
        return self.number(key)

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of strings."""
        value = self._get(key, "a list of texts")
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self._error(key, "a list of texts", value)
        return tuple(value)

    def sizes(self, key: str) -> tuple[int, ...]:
        """Return a list of integers of at least 1."""
        value = self._get(key, "a list of integers of at least 1")
        sound = isinstance(value, list) and value
        if not sound or any(type(item) is not int or item < 1 for item in value):
            raise self._error(key, "a list of integers of at least 1", value)
        return tuple(value)

    def record(self, key: str) -> Record:
        """Return the object under `key`."""
        return Record(self._get(key, "an object"), self._name(key))

    def record_or_none(self, key: str) -> Record | None:
        """Return the object under `key`, or None for null."""
        return None if self._get(key, "an object or null") is None else self.record(key)

    def records(self, key: str) -> dict[str, Record]:
        """Return the objects under `key` by their names, in the manifest's order."""
        outer = self.record(key)
        return {name: outer.record(name) for name in outer.names()}

    def names(self) -> tuple[str, ...]:
        """Return the names of the fields, in the manifest's order."""
        return tuple(self._fields)

    def expect(self, key: str, expected: object) -> None:
        """Raise unless the field equals what follows from the other fields."""
        value = self._get(key, repr(expected))
        if value != expected or type(value) is not type(expected):
            raise self._error(key, repr(expected), value)

    def _get(self, key: str, expected: str) -> Any:
        if key not in self._fields:
            raise BundleError(
                f"manifest.json: `{self._name(key)}` must be {expected}; it is missing. {_ADVICE}"
            )
        return self._fields[key]

    def _name(self, key: str) -> str:
        return ".".join(part for part in (self._where, key) if part)

    def _error(self, key: str, expected: str, value: object) -> BundleError:
        name = self._name(key)
        subject = f"`{name}`" if name else "the file"
        received = repr(value)
        shown = received if len(received) <= 80 else received[:77] + "..."
        return BundleError(f"manifest.json: {subject} must be {expected}; got {shown}. {_ADVICE}")
