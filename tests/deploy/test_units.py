"""Sizes as text: what is read, what is refused, and that nothing gets lost on the way back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.units import UnitError, format_bytes, parse_bytes


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("200 KiB", 204_800),
        ("200KiB", 204_800),
        ("200 kib", 204_800),
        (" 1.5 MiB ", 1_572_864),
        ("4096", 4096),
        ("4096 B", 4096),
        ("1,048,576 bytes", 1_048_576),
        ("1_024 B", 1024),
        ("64 kB", 64_000),
        ("1 MB", 1_000_000),
        ("0.5 KiB", 512),
        (0, 0),
        (983040, 983_040),
    ],
)
def test_sizes_are_read(text: str | int, size_bytes: int) -> None:
    assert parse_bytes(text) == size_bytes


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("64 KB", "1,024 bytes, as data sheets mean it"),
        ("64K", "'KiB'"),
        ("1M", "'MiB'"),
        ("1 mb", "'MB'"),
        ("12 GiB", "B, KiB, MiB"),
        ("lots", "must be a size"),
        ("", "must be a size"),
        ("1.2.3 KiB", "must be a size"),
        ("nan KiB", "must be a size"),
        ("-1 KiB", "at least 0"),
        (-1, "at least 0"),
        (True, "must be a size"),
        (None, "must be a size"),
        (3.5, "must be a size"),
        (["1 KiB"], "must be a size"),
    ],
)
def test_bad_sizes_say_what_to_write(value: object, said: str) -> None:
    with pytest.raises(UnitError, match=said) as caught:
        parse_bytes(value, "rom")  # type: ignore[arg-type]
    message = str(caught.value)
    assert "`rom`" in message
    assert repr(value) in message
    assert "Write " in message


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (62_771, "61.3 KiB"),
        (3_342_336, "3,264.0 KiB"),
        (16 * 1024**2, "16.0 MiB"),
        (-2048, "-2.0 KiB"),
    ],
)
def test_sizes_are_written(size_bytes: int, text: str) -> None:
    assert format_bytes(size_bytes) == text


@given(st.integers(0, 2**40))
def test_a_written_size_reads_back_within_its_last_digit(size_bytes: int) -> None:
    slack = 0.05 * (1024 if size_bytes < 10 * 1024**2 else 1024**2) + 1
    assert abs(parse_bytes(format_bytes(size_bytes)) - size_bytes) <= slack


@given(st.integers(0, 2**33))
def test_whole_bytes_are_exact(size_bytes: int) -> None:
    assert parse_bytes(f"{size_bytes} B") == parse_bytes(size_bytes) == size_bytes
