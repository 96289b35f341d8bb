"""Sizes, times and allowances as text: what is read, what is refused, what comes back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.units import (
    UnitError,
    format_bytes,
    format_microseconds,
    parse_allowance,
    parse_bytes,
    parse_microseconds,
)


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


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [("120 ms", 120_000.0), ("120ms", 120_000.0), ("900 us", 900.0), ("1.5 s", 1_500_000.0)],
)
def test_times(text, microseconds):
    assert parse_microseconds(text) == microseconds


@pytest.mark.parametrize("text", ["", "120", "0 ms", "-1 ms", "1 min", "ms", 5, None, "1e3 ms"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(UnitError, match="`latency` must be a time above zero"):
        parse_microseconds(text)


@pytest.mark.parametrize(
    ("time_us", "text"),
    [
        (0.5, "0.50 us"), (85.24, "85.2 us"), (999.9, "1,000 us"), (1_000, "1.00 ms"),
        (12_345, "12.3 ms"), (123_456, "123 ms"), (1_200_000, "1.20 s"), (-2_500, "-2.50 ms"),
    ],
)  # fmt: skip
def test_times_for_people(time_us, text):
    assert format_microseconds(time_us) == text


@pytest.mark.parametrize(
    ("text", "of_time", "of_a_thousand"),
    [
        ("5 %", False, 50.0), ("2.5%", True, 25.0), ("2 KiB", False, 2048.0), (100, False, 100.0),
        ("3 ms", True, 3000.0), ("0 B", False, 0.0),
    ],
)  # fmt: skip
def test_allowances(text, of_time, of_a_thousand):
    assert parse_allowance(text, "margin", of_time).of(1000) == of_a_thousand


@pytest.mark.parametrize(
    ("text", "of_time"), [("5", True), ("-5 %", False), ("2 KB", False), ("9" * 400 + " %", False)]
)
def test_what_is_no_allowance_is_refused(text, of_time):
    with pytest.raises(UnitError, match="`margin` must"):
        parse_allowance(text, "margin", of_time)


@pytest.mark.parametrize("value", [10**400, 2**53, "9" * 400, "1" + "0" * 310 + " KiB"])
def test_a_size_beyond_all_memories_is_refused(value):
    with pytest.raises(UnitError, match="`rom` must be below 9,007,199,254,740,992 bytes"):
        parse_bytes(value, "rom")
    with pytest.raises(UnitError, match="must be at least 0"):
        parse_bytes(-(10**400), "rom")
