"""Sound .tflite files, changed in every way that a hostile one may be.

What is done with them is in `fuzz_reader.py`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import lru_cache

from hypothesis import strategies as st

from quantize.wire.reader import decode

_EXTREMES = (0, 1, 2, 3, 4, 5, 8, 0x7F, 0xFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 4, 2**32 - 1)
_RELATIVE = (-8, -5, -4, -1, 0, 1)

Change = tuple[str, int, int, int]
"""What is done, two numbers that choose places, and one that chooses a value."""


@lru_cache(maxsize=64)
def structure(data: bytes) -> tuple[int, ...]:
    """The places of a sound file at which damage matters: all but the contents of its buffers."""
    places: list[int] = [0, 4]

    def tell(kind: str, start: int, size_bytes: int, where: str) -> None:
        is_data = kind == "vector" and where.startswith("Model.buffers")
        places.extend(range(start, start + (4 if is_data else size_bytes), 2))

    decode(data, tell)
    return tuple(sorted(places))


def cases(originals: Sequence[bytes]) -> st.SearchStrategy[tuple[int, list[Change]]]:
    """A file's number, and the changes made to it."""
    number = st.integers(0, 2**16 - 1)
    kinds = st.sampled_from(tuple(CHANGES))
    changes = st.lists(st.tuples(kinds, number, number, number), min_size=1, max_size=8)
    return st.tuples(st.integers(0, len(originals) - 1), changes)


def damaged(original: bytes, changes: Sequence[Change]) -> bytes:
    """The file after the changes, one after the other."""
    data = bytearray(original)
    places = structure(original)
    for kind, one, other, value in changes:
        if len(data) < 16:
            break
        # Most damage where it is felt, some anywhere.
        place = places[one % len(places)] if one % 8 else (one * 65_537 + other) % len(data)
        CHANGES[kind](data, min(place, len(data) - 8), places[other % len(places)], value)
    return bytes(data)


def _flip(data: bytearray, place: int, other: int, value: int) -> None:
    data[place] ^= 1 << value % 8


def _byte(data: bytearray, place: int, other: int, value: int) -> None:
    data[place] = value % 256


def _half(data: bytearray, place: int, other: int, value: int) -> None:
    struct.pack_into("<H", data, place & ~1, value)


def _extreme(data: bytearray, place: int, other: int, value: int) -> None:
    struct.pack_into("<I", data, place & ~3, _EXTREMES[value % len(_EXTREMES)])


def _small(data: bytearray, place: int, other: int, value: int) -> None:
    """Another shape, stride, axis, index or code."""
    struct.pack_into("<I", data, place & ~3, value % 48)


def _nudge(data: bytearray, place: int, other: int, value: int) -> None:
    word = struct.unpack_from("<I", data, place & ~3)[0]
    struct.pack_into("<I", data, place & ~3, (word + value % 17 - 8) % 2**32)


def _end(data: bytearray, place: int, other: int, value: int) -> None:
    """An offset or a length that ends near the file's end."""
    left = len(data) - (place & ~3) + _RELATIVE[value % len(_RELATIVE)]
    count = left // (1, 2, 4, 8)[value // 8 % 4]
    struct.pack_into("<I", data, place & ~3, max(0, count))


def _lead(data: bytearray, place: int, other: int, value: int) -> None:
    """An offset that leads to another object, backwards too."""
    struct.pack_into("<I", data, place & ~3, (other - (place & ~3)) % 2**32)


def _spread(data: bytearray, place: int, other: int, value: int) -> None:
    """Equal words in a row: many offsets to few objects."""
    for i in range(min(value % 64, (len(data) - place) // 4 - 1)):
        word = struct.unpack_from("<I", data, place & ~3)[0]
        struct.pack_into("<I", data, (place & ~3) + 4 * i, max(0, word - 4 * i))


def _copy(data: bytearray, place: int, other: int, value: int) -> None:
    size = 1 + value % 256
    part = data[other : other + size]
    data[place : place + len(part)] = part


def _repeat(data: bytearray, place: int, other: int, value: int) -> None:
    size = 1 + value % 4096
    data[place:place] = data[other : other + size]


def _cut(data: bytearray, place: int, other: int, value: int) -> None:
    del data[place : place + 1 + value % 1024]


def _truncate(data: bytearray, place: int, other: int, value: int) -> None:
    if value % 4 == 0:
        del data[max(16, place) :]


CHANGES: dict[str, Callable[[bytearray, int, int, int], None]] = {
    "flip": _flip,
    "byte": _byte,
    "half": _half,
    "extreme": _extreme,
    "small": _small,
    "nudge": _nudge,
    "end": _end,
    "lead": _lead,
    "spread": _spread,
    "copy": _copy,
    "repeat": _repeat,
    "cut": _cut,
    "truncate": _truncate,
}
