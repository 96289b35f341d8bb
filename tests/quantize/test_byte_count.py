"""Sizes as text, as `quantize` reads them; the whole table of cases is in `deploy`'s tests."""

import pytest

from deploy import units
from quantize.byte_count import UnitError, format_bytes, parse_bytes


def test_there_is_one_parser_of_sizes() -> None:
    assert units.parse_bytes is parse_bytes
    assert units.format_bytes is format_bytes
    assert units.UnitError is UnitError


def test_a_size_is_read_and_written() -> None:
    assert parse_bytes("1.5 KiB") == 1536
    assert format_bytes(1536) == "1.5 KiB"


def test_a_wrong_size_names_what_it_was_given_for() -> None:
    with pytest.raises(UnitError, match="`rom` must have a unit with one meaning"):
        parse_bytes("64 KB", "rom")
