"""The golden file: the same bytes on every day and system, read without trust."""

import io
import time

import numpy as np
import pytest

from quantize.bundle import BundleError
from quantize.storage.golden import pack_golden, unpack_golden

INPUTS = np.arange(-6, 6, dtype=np.int8).reshape(3, 2, 2)
OUTPUTS = np.array([[1], [2], [3]], np.int8)


def test_arrays_come_back():
    inputs, outputs = unpack_golden(pack_golden(INPUTS, OUTPUTS))
    np.testing.assert_array_equal(inputs, INPUTS)
    np.testing.assert_array_equal(outputs, OUTPUTS)
    assert inputs.dtype == outputs.dtype == np.int8


def test_any_npz_reader_takes_it():
    with np.load(io.BytesIO(pack_golden(INPUTS, OUTPUTS))) as arrays:
        assert sorted(arrays) == ["inputs", "outputs"]


def test_bytes_do_not_depend_on_date_system_or_memory_layout(monkeypatch):
    first = pack_golden(INPUTS, OUTPUTS)
    monkeypatch.setattr(time, "time", lambda: 2e9)
    monkeypatch.setattr("sys.platform", "win32")
    assert pack_golden(np.asfortranarray(INPUTS), OUTPUTS) == first


def npz(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04 but no more",
        pack_golden(INPUTS, OUTPUTS)[:-30],
        npz(inputs=INPUTS),
        npz(inputs=INPUTS, outputs=np.array([None])),
        b"\x93NUMPY\x01\x00",
        pack_golden(INPUTS, OUTPUTS).replace(b"NUMPY", b"NUMPX"),
    ],
    ids=["empty", "no zip", "cut off", "one array", "pickled", "a bare npy", "no arrays"],
)
def test_what_is_no_golden_file_is_refused(data):
    with pytest.raises(BundleError, match=r"must be an \.npz file with the arrays"):
        unpack_golden(data)
