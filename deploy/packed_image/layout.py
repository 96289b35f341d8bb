"""Where every field of a packed image stands: the tables of `firmware_stubs/SPEC.md` as data.

Belongs here: offsets, lengths and fixed values. Does not belong here: what an image is made of
(`parts.py`), or reading and writing one (`encoding.py`, `decoding.py`).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

FORMAT_VERSION = 1
MAGIC = b"\x89KTI\r\n\x1a\n"
ALIGNMENT = 16
MOST_IMAGE_BYTES = 0x7FFFFFF0
MOST_AXES = 6
MOST_ELEMENTS = 0x7FFFFFFF
MOST_ENTRIES = 0xFFFF

IMAGE_BRANCH, IMAGE_SIGNED = 1, 2
NODE_EXTERNAL = 1
TYPE_INT8 = 1
HIGHEST_FLOAT32 = 0x7F7FFFFF

_CODES = {"u8": "B", "u16": "H", "u32": "I", "i32": "i", "f64": "d", "u32[6]": "6I"}


@dataclass(frozen=True)
class Field:
    """One field of a record.

    Args:
        offset: Bytes from the record's start.
        kind: "u8", "u16", "u32", "i32", "f64", "u32[6]", or "bytes[n]".
        name: Its name, the same in SPEC.md, in C and here.
    """

    offset: int
    kind: str
    name: str

    @property
    def code(self) -> str:
        """The letter of Python's `struct`."""
        if self.kind.startswith("bytes["):
            return f"{self.kind[6:-1]}s"
        return _CODES[self.kind]

    @property
    def length_bytes(self) -> int:
        """Bytes that it takes."""
        return struct.calcsize("<" + self.code)


@dataclass(frozen=True)
class Record:
    """A record of a fixed length.

    Args:
        name: Its name in C, without `kt_` and `_t`.
        length_bytes: Its whole length.
        fields: All of its fields, without gaps.
    """

    name: str
    length_bytes: int
    fields: tuple[Field, ...]

    @property
    def format(self) -> str:
        """The format of Python's `struct`."""
        return "<" + "".join(field.code for field in self.fields)

    def pack(self, **values: Any) -> bytes:
        """The record's bytes; fields that are not given are 0."""
        empty: dict[str, Any] = {
            field.name: b"" if field.kind.startswith("bytes[") else 0 for field in self.fields
        }
        packed: list[Any] = []
        for value in (empty | values).values():
            packed += value if isinstance(value, list | tuple) else [value]
        return struct.pack(self.format, *packed)

    def unpack(self, data: bytes, offset: int = 0) -> dict[str, Any]:
        """The fields' values by name; `u32[6]` as a tuple."""
        return {
            field.name: values if field.kind == "u32[6]" else values[0]
            for field in self.fields
            for values in [struct.unpack_from("<" + field.code, data, offset + field.offset)]
        }


def _record(name: str, length_bytes: int, lines: str) -> Record:
    fields = [line.split() for line in lines.strip().splitlines()]
    return Record(name, length_bytes, tuple(Field(int(at), kind, of) for at, kind, of in fields))


HEADER = _record(
    "image_header",
    64,
    """
    0   bytes[8]  magic
    8   u16       format_version
    10  u16       header_bytes
    12  u32       flags
    16  u32       image_bytes
    20  u32       tables_bytes
    24  u32       version
    28  u16       node_count
    30  u16       tensor_count
    32  u16       task_count
    34  u16       label_count
    36  u16       path_count
    38  u16       reserved
    40  u32       strings_bytes
    44  u32       name
    48  f64       normalization_scale
    56  f64       normalization_offset
    """,
)
NODE = _record(
    "image_node",
    88,
    """
    0   u32        name
    4   u32        data_offset
    8   u32        data_bytes
    12  u32        data_crc32
    16  u16        input
    18  u16        output
    20  u32        flags
    24  bytes[32]  operators
    56  bytes[32]  data_sha256
    """,
)
TENSOR = _record(
    "image_tensor",
    72,
    """
    0   bytes[32]  contract_sha256
    32  u32        name
    36  u32        scale
    40  i32        zero_point
    44  u8         type
    45  u8         axis_count
    46  u16        reserved
    48  u32[6]     shape
    """,
)
TASK = _record(
    "image_task",
    12,
    """
    0   u32  name
    4   u16  path_first
    6   u16  path_count
    8   u16  label_first
    10  u16  label_count
    """,
)
SEAL = _record(
    "image_seal",
    80,
    """
    0   bytes[64]  signature
    64  u32        tables_crc32
    68  bytes[12]  reserved
    """,
)
SLOT_RECORD = _record(
    "record",
    32,
    """
    0   bytes[8]  magic
    8   u32       sequence
    12  u32       image_bytes
    16  u32       lowest_version
    20  u32       tables_crc32
    24  u32       reserved
    28  u32       crc32
    """,
)
RECORDS = (HEADER, NODE, TENSOR, TASK, SEAL, SLOT_RECORD)
SMALLEST_IMAGE_BYTES = HEADER.length_bytes + SEAL.length_bytes


def evenly(length_bytes: int) -> int:
    """The next multiple of the alignment."""
    return -(-length_bytes // ALIGNMENT) * ALIGNMENT
