"""The bytes of every precision."""

import pytest

from benchmarks.precision_bytes import main, measure

FILE_BYTES = {
    "int8": 18_016, "int4": 10_080, "lut4": 12_432, "lut3": 9_536, "lut2": 7_040, "16x8": 18_720,
}  # fmt: skip


@pytest.mark.slow
def test_the_bytes_of_every_precision(monkeypatch, capsys):
    rows = {row.precision: row for row in measure()}
    assert {name: row.file_bytes for name, row in rows.items()} == FILE_BYTES
    weights = 3 * 3 * 16 * 32 + 3 * 3 * 32 * 32 + 32 * 64
    assert rows["int8"].weight_bytes == rows["16x8"].weight_bytes == weights
    assert rows["int4"].weight_bytes == weights // 2
    # Indices, a header and 16 values per channel; those of the 1x1 kernel would take more than it.
    tables = 2 * (16 + 32 * 16)
    assert rows["lut4"].weight_bytes == (weights - 32 * 64) // 2 + tables + 32 * 64
    assert rows["16x8"].sqnr_db > rows["int8"].sqnr_db > rows["lut4"].sqnr_db
    monkeypatch.setattr("benchmarks.precision_bytes.measure", lambda: list(rows.values()))
    main()
    assert "int4        10,080   -44%    7,936" in capsys.readouterr().out
