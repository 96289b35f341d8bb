"""Sizes and times as people write them: "200 KiB" to 204800 and back, "120 ms", "5 %".

Only the text of a quantity belongs here: what it means (a limit, a reserve, a board's memory) is
said where it is read. No dependency, because every command of the gate loads this file.
"""

import math
import re
from dataclasses import dataclass

_FACTORS = {"B": 1, "KiB": 1024, "MiB": 1024**2, "kB": 1000, "MB": 1000**2}
_BY_LOWER_CASE = {"b": "B", "byte": "B", "bytes": "B", "kib": "KiB", "mib": "MiB"}
# Data sheets write "64 KB" and "64K" for 65,536 bytes, the SI standard means 64,000 by "kB": a gate
# that guessed would be wrong by 2 to 5 % for half of its users.
_AMBIGUOUS = {"k": "KiB", "K": "KiB", "Kb": "KiB", "KB": "KiB", "kb": "KiB"} | {
    "m": "MiB", "M": "MiB", "mb": "MiB", "Mb": "MiB",
}  # fmt: skip
_MICROSECONDS = {"us": 1.0, "µs": 1.0, "ms": 1e3, "s": 1e6}
_TOO_LARGE = 2**53  # no memory, and the last number that every JSON reader counts to
_MOST_PERCENT = 1_000_000
_HOW_TO_WRITE = 'Write a number and a unit: "200 KiB", "1.5 MiB" or "4096 B".'
_PATTERN = re.compile(r"\s*([+-]?[0-9][0-9_,]*(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*")


class UnitError(ValueError):
    """A quantity that cannot be read, or whose unit has two meanings."""


@dataclass(frozen=True)
class Allowance:
    """A quantity by itself, or a share of another one: "2 KiB", "10 ms" or "5 %".

    Args:
        amount: Bytes or microseconds; 0 where `percent` says it.
        percent: Share of another quantity, in percent, at least 0.
        text: As it was written.
    """

    amount: float = 0.0
    percent: float = 0.0
    text: str = "0 B"

    def of(self, whole: float) -> float:
        """The allowance for a quantity `whole`, in its unit."""
        return self.amount + whole * self.percent / 100


NOTHING = Allowance()
"""An allowance of nothing."""


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


def parse_microseconds(value: str, name: str = "latency") -> float:
    """Read a time.

    Args:
        value: text with a unit: "120 ms", "900 us", "1.5 s".
        name: the option or key that the value stands in, for the error message.

    Returns:
        The time in microseconds, above 0.

    Raises:
        UnitError: `value` is no time, is not above 0, or has an unknown unit.
    """
    match = re.fullmatch(r"\s*([0-9][0-9_,]*(?:\.[0-9]+)?)\s*([A-Za-zµ]*)\s*", str(value))
    factor = _MICROSECONDS.get(match[2].lower()) if match else None
    number = float(re.sub("[_,]", "", match[1])) if match else 0.0
    if factor is None or not 0 < number < math.inf or not isinstance(value, str):
        raise UnitError(
            f"`{name}` must be a time above zero in us, ms or s, received {value!r}. "
            'Write for example "120 ms".'
        )
    return number * factor


def parse_allowance(value: str | int, name: str, of_time: bool = False) -> Allowance:
    """Read a size or a time, or a share in percent.

    Args:
        value: such as "2 KiB" or "5 %"; with `of_time` such as "10 ms" or "5 %".
        name: the option or key that the value stands in, for the error message.
        of_time: whether a quantity without percent is a time.

    Raises:
        UnitError: `value` is none of them.
    """
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*%\s*", str(value))
    if match:
        percent = float(match[1])
        if percent > _MOST_PERCENT:
            raise UnitError(
                f"`{name}` must be a share of at most {_MOST_PERCENT:,} %, received {value!r}. "
                'Write for example "5 %".'
            )
        return Allowance(percent=percent, text=f"{percent:g} %")
    if "%" in str(value):
        raise UnitError(
            f"`{name}` must be a share of at least 0 %, received {value!r}. "
            'Write for example "5 %".'
        )
    if of_time:
        time_us = parse_microseconds(str(value), name)
        return Allowance(amount=time_us, text=format_microseconds(time_us))
    size_bytes = parse_bytes(value, name)
    return Allowance(amount=size_bytes, text=format_bytes(size_bytes))


def format_microseconds(time_us: float) -> str:
    """A time for people, three digits: "85.2 us", "12.3 ms", "1.20 s"; may be negative."""
    for unit, factor in (("s", 1e6), ("ms", 1e3)):
        if abs(time_us) >= factor:
            return f"{_three_digits(time_us / factor)} {unit}"
    return f"{_three_digits(time_us)} us"


def _three_digits(number: float) -> str:
    if abs(number) >= 100:
        return f"{number:,.0f}"
    return f"{number:.1f}" if abs(number) >= 10 else f"{number:.2f}"
