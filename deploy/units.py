"""Sizes and times as people write them: "200 KiB" to 204800 and back, "120 ms", "5 %".

Only the text of a quantity belongs here: what it means (a limit, a reserve, a board's memory) is
said where it is read. Sizes are read in `quantize.byte_count`, which needs them too; they are given
again here.
"""

import math
import re
from dataclasses import dataclass

from quantize.byte_count import UnitError, format_bytes, parse_bytes

__all__ = [
    "NOTHING",
    "Allowance",
    "UnitError",
    "format_bytes",
    "format_microseconds",
    "parse_allowance",
    "parse_bytes",
    "parse_microseconds",
]

_MICROSECONDS = {"us": 1.0, "µs": 1.0, "ms": 1e3, "s": 1e6}
_MOST_PERCENT = 1_000_000


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
