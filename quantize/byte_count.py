"""Sizes as people write them: "200 KiB" to 204800 and back.

Only the text of a number of bytes belongs here; what it limits is said where it is read. No
dependency: the gate loads this file with every command.
"""

from __future__ import annotations

import re

_FACTORS = {"B": 1, "KiB": 1024, "MiB": 1024**2, "kB": 1000, "MB": 1000**2}
_BY_LOWER_CASE = {"b": "B", "byte": "B", "bytes": "B", "kib": "KiB", "mib": "MiB"}
# Data sheets write "64 KB" and "64K" for 65,536 bytes, the SI standard means 64,000 by "kB": a gate
# that guessed would be wrong by 2 to 5 % for half of its users.
_AMBIGUOUS = {"k": "KiB", "K": "KiB", "Kb": "KiB", "KB": "KiB", "kb": "KiB"} | {
    "m": "MiB", "M": "MiB", "mb": "MiB", "Mb": "MiB",
}  # fmt: skip
_TOO_LARGE = 2**53  # no memory, and the last number that every JSON reader counts to
_HOW_TO_WRITE = 'Write a number and a unit: "200 KiB", "1.5 MiB" or "4096 B".'
_PATTERN = re.compile(r"\s*([+-]?[0-9][0-9_,]*(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*")


class UnitError(ValueError):
    """A quantity that cannot be read, or whose unit has two meanings."""


def parse_bytes(value: str | int, name: str = "size") -> int:
    """Read a size.

    Args:
        value: a whole number of bytes, or text with a unit: "200 KiB", "1.5 MiB", "4096 B", "64 kB"
            (1 KiB is 1,024 bytes, 1 kB is 1,000). "KB" and "K" have two meanings and are refused.
        name: the option or key that the value stands in, for the error message.

    Returns:
        The size in bytes, at least 0, rounded down to a whole byte.

    Raises:
        UnitError: `value` is no size, is negative, or has an unknown or ambiguous unit.
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise UnitError(f"`{name}` must be a size, received {value!r}. {_HOW_TO_WRITE}")
    if isinstance(value, int):
        number, unit = float(max(-1, min(value, _TOO_LARGE))), "B"
    else:
        match = _PATTERN.fullmatch(value)
        if match is None:
            raise UnitError(f"`{name}` must be a size, received {value!r}. {_HOW_TO_WRITE}")
        number, unit = float(re.sub("[_,]", "", match[1])), match[2] or "B"
    if number < 0:
        raise UnitError(f"`{name}` must be at least 0 bytes, received {value!r}. {_HOW_TO_WRITE}")
    size = number * _factor(unit, value, name)
    if size >= _TOO_LARGE:
        raise UnitError(
            f"`{name}` must be below {_TOO_LARGE:,} bytes, received {str(value)[:40]!r}. "
            f"{_HOW_TO_WRITE}"
        )
    return int(size)


def _factor(unit: str, value: str | int, name: str) -> int:
    """Bytes per `unit`."""
    unit = unit if unit in _FACTORS else _BY_LOWER_CASE.get(unit.lower(), unit)
    if unit in _FACTORS:
        return _FACTORS[unit]
    if unit in _AMBIGUOUS:
        binary = _AMBIGUOUS[unit]
        decimal = {"KiB": "kB", "MiB": "MB"}[binary]
        raise UnitError(
            f"`{name}` must have a unit with one meaning, received {value!r}. Write {binary!r} "
            f"({_FACTORS[binary]:,} bytes, as data sheets mean it) or {decimal!r} "
            f"({_FACTORS[decimal]:,} bytes)."
        )
    raise UnitError(
        f"`{name}` must be in B, KiB, MiB, kB or MB, received {value!r}. {_HOW_TO_WRITE}"
    )


def format_bytes(size_bytes: int) -> str:
    """A size for people: bytes below 1 KiB, KiB below 10 MiB, then MiB; one decimal.

    Args:
        size_bytes: a number of bytes; may be negative (a difference).

    Returns:
        Such as "512 B", "61.3 KiB", "16.0 MiB".
    """
    if abs(size_bytes) < 1024:
        return f"{size_bytes} B"
    if abs(size_bytes) < 10 * 1024**2:
        return f"{size_bytes / 1024:,.1f} KiB"
    return f"{size_bytes / 1024**2:,.1f} MiB"
