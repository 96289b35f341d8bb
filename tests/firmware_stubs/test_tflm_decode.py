"""The kernel of TFLM_DECODE for lookup tables: what it decodes, and what it refuses to read.

Every buffer is as long as its case says, in memory that the sanitizers watch: a byte read beyond
one ends the program.
"""

import importlib.util
import struct
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
spec = importlib.util.spec_from_file_location("tflm_cases", HERE / "tflm_cases.py")
cases = importlib.util.module_from_spec(spec)
spec.loader.exec_module(cases)

UINT8, INT16, INT8 = 3, 7, 9
ONE_TABLE = 15
HEADER_BYTES = 16


@dataclass(frozen=True)
class Case:
    """One TFLM_DECODE; None for an input that is no constant."""

    encoded: bytes | None
    ancillary: bytes | None
    shape: tuple[int, ...]
    encoded_type: int = UINT8
    type: int = INT8
    inputs: int = 2
    has_place: bool = False

    def with_header(self, place: int, value: int) -> "Case":
        header = bytearray(self.ancillary or b"")
        header[place] = value
        return replace(self, ancillary=bytes(header))

    def packed(self) -> bytes:
        def length(data: bytes | None) -> int:
            return -1 if data is None else len(data)

        numbers = (
            self.inputs, self.encoded_type, length(self.encoded), length(self.ancillary),
            self.has_place, self.type, len(self.shape), *self.shape,
        )  # fmt: skip
        data = (self.encoded or b"") + (self.ancillary or b"")
        return struct.pack(f"<{len(numbers)}i", *numbers) + data


@pytest.fixture(scope="module")
def decoded(tmp_path_factory) -> Callable[[Iterable[Case]], list[str]]:
    """Run the kernel on cases; the line that is written for each."""
    folder = tmp_path_factory.mktemp("decode")
    gxx = ["g++", *cases.CPP, *cases.WARNINGS, *cases.SANITIZERS]
    sources = (cases.ADAPTER / "kt_decode.cc", cases.STUBS / "tests" / "tflm_decode.cc")
    includes = [cases.ADAPTER, cases.DECLARATIONS]
    objects = [cases.compiled(gxx, one, folder / f"{one.stem}.o", includes) for one in sources]
    program = folder / "decode"
    subprocess.run([*gxx, *map(str, objects), "-o", str(program)], check=True)

    def run(wanted: Iterable[Case]) -> list[str]:
        packed = [case.packed() for case in wanted]
        data = struct.pack("<i", len(packed)) + b"".join(packed)
        done = subprocess.run([program], input=data, capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr.decode()[-3000:]
        lines = done.stdout.decode().splitlines()
        assert len(lines) == len(packed)
        return lines

    return run


def made(
    bits: int, shape: tuple[int, ...], axis: int | None, stride: int | None = None, seed: int = 0
) -> tuple[Case, bytes]:
    """A case of random values and indices, and what it decodes to."""
    random = np.random.default_rng([bits, *shape, seed])
    channels = 1 if axis is None else shape[axis]
    stride = stride or 2**bits
    tables = random.integers(-128, 128, (channels, stride)).astype(np.int8)
    indices = random.integers(0, stride, shape).astype(np.uint8)
    digits = np.unpackbits(indices.reshape(-1, 1), axis=1)[:, -bits:]
    encoded = np.packbits(digits.reshape(-1)).tobytes()
    by_channel = np.arange(channels)
    if axis is not None:
        by_channel = by_channel.reshape([-1 if i == axis else 1 for i in range(len(shape))])
    header = bytes([0, 1, 0, 0, 1, (ONE_TABLE if axis is None else axis) << 4 | bits, stride])
    ancillary = header.ljust(HEADER_BYTES, b"\0") + tables.tobytes()
    return Case(encoded, ancillary, shape), tables[by_channel, indices].tobytes()


SHAPES = [
    ((8, 3, 3, 8), 0),  # channels of whole bytes
    ((5, 3, 3, 3), 0),  # 27 indices a channel: every channel begins within a byte
    ((7, 1), 0),
    ((9,), 0),
    ((1, 3, 3, 8), 3),  # channels take turns
    ((1, 3, 3, 5), 3),
    ((4, 6), 1),
    ((6, 11), None),
    ((1, 1), None),
    ((), None),
    ((2, 1, 3), 1),  # an axis of one channel, wherever it is
]


@pytest.mark.parametrize("bits", range(1, 8))
def test_every_form_is_decoded(bits: int, decoded) -> None:
    made_cases = [made(bits, shape, axis) for shape, axis in SHAPES]
    received = decoded(case for case, _ in made_cases)
    assert received == [values.hex() for _, values in made_cases]


@pytest.mark.parametrize("stride", [1, 3, 5])
def test_tables_are_as_long_as_their_values(stride: int, decoded) -> None:
    """The compressor writes tables of as many values as there are, not of a power of two."""
    made_cases = [made(3, shape, axis, stride) for shape, axis in SHAPES]
    received = decoded(case for case, _ in made_cases)
    assert received == [values.hex() for _, values in made_cases]


SOUND = made(3, (8, 3, 3, 8), 0)[0]
LAST = made(3, (1, 3, 3, 8), 3)[0]
REFUSED = {
    "another type": SOUND.with_header(0, 1),
    "pruned": SOUND.with_header(0, 2),
    "another version": SOUND.with_header(1, 2),
    "another version of tables": SOUND.with_header(4, 0),
    "no bits": SOUND.with_header(5, 0),
    "more bits than there are indices for": SOUND.with_header(5, 4),
    "an axis in between": SOUND.with_header(5, 1 << 4 | 3),
    "an axis that is none": SOUND.with_header(5, 4 << 4 | 3),
    "no values in a table": SOUND.with_header(6, 0),
    "an index beyond its table": SOUND.with_header(6, 7),
    "tables beyond the end": SOUND.with_header(6, 9),
    "tables that are cut": replace(SOUND, ancillary=SOUND.ancillary[:-1]),
    "tables that are cut, channels in turns": replace(LAST, ancillary=LAST.ancillary[:-1]),
    "no tables": replace(SOUND, ancillary=SOUND.ancillary[:HEADER_BYTES]),
    "half a header": replace(SOUND, ancillary=SOUND.ancillary[:8]),
    "no header": replace(SOUND, ancillary=b""),
    "indices that are cut": replace(SOUND, encoded=SOUND.encoded[:-1]),
    "no indices": replace(SOUND, encoded=b""),
    "indices that are no constant": replace(SOUND, encoded=None),
    "tables that are no constant": replace(SOUND, ancillary=None),
    "indices of another type": replace(SOUND, encoded_type=INT8),
    "values of another type": replace(SOUND, type=INT16),
    "an output that is a constant": replace(SOUND, has_place=True),
    "an input too few": replace(SOUND, inputs=1),
    "an input too many": replace(SOUND, inputs=3),
    "a longer output": replace(SOUND, shape=(8, 3, 3, 9)),
    "an empty output": replace(SOUND, shape=(8, 0, 3, 8)),
    "a negative length": replace(SOUND, shape=(8, -3, -3, 8)),
    "lengths beyond 32 bits": replace(SOUND, shape=(65536, 65536, 3, 3)),
    "lengths that multiply to a sound one": replace(SOUND, shape=(8, 3, 3, 2**29 + 1)),
    "more channels than tables": replace(SOUND, shape=(16, 3, 3, 4)),
}


def test_what_is_not_whole_is_refused(decoded) -> None:
    received = dict(zip(REFUSED, decoded(REFUSED.values()), strict=True))
    assert received == dict.fromkeys(REFUSED, "refused")


def test_hostile_bytes_read_nothing_beyond(decoded) -> None:
    """Headers of every kind, tensors of any length: refused or decoded, never read beyond."""
    random = np.random.default_rng(0)
    hostile = []
    for _ in range(3000):
        case = [SOUND, LAST][random.integers(2)]
        ancillary = bytearray(case.ancillary[: random.integers(0, len(case.ancillary) + 1)])
        for place in random.integers(0, 8, random.integers(0, 3)):
            if place < len(ancillary):
                ancillary[place] = random.integers(256)
        encoded = case.encoded[: random.integers(0, len(case.encoded) + 1)]
        shape = list(case.shape)
        shape[random.integers(4)] = int(random.integers(-2, 20))
        keeps = random.random(3) < 0.5
        hostile.append(
            Case(
                case.encoded if keeps[0] else encoded,
                bytes(ancillary) if keeps[1] else case.ancillary,
                tuple(shape) if keeps[2] else case.shape,
            )
        )
    received = decoded(hostile)
    refused = received.count("refused")
    assert "failed" not in received
    assert 100 < refused < len(received) - 100
