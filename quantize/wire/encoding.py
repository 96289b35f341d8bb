"""What a .tflite file is made of: tables, and vectors of numbers.

Every value is frozen: an edit makes a new table (`Table.replace`), so one that several places share
is never changed behind another's back.

Belongs here: the values, and how numbers are stored. Does not belong here: reading
(`reader.py`) or writing them (`writer.py`), or what a graph means (`flatbuffer.py`).
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# The four bytes that follow the root offset of a .tflite file.
IDENTIFIER = b"TFL3"
_CODES = {
    "bool": "?",
    "i8": "b",
    "u8": "B",
    "i16": "h",
    "u16": "H",
    "i32": "i",
    "u32": "I",
    "i64": "q",
    "u64": "Q",
    "f32": "f",
    "f64": "d",
}
NUMBERS = {kind: struct.Struct("<" + code) for kind, code in _CODES.items()}


class FlatbufferError(ValueError):
    """A flatbuffer cannot be read, or holds what this project does not take."""


@dataclass(frozen=True, slots=True)
class Vector:
    """A vector of numbers.

    Args:
        kind: The kind of its elements: "i32", "u8", ...
        data: The elements, little endian.
    """

    kind: str
    data: bytes
    # What several places share is unpacked once.
    _numbers: tuple[Any, ...] | None = field(default=None, init=False, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.data) // NUMBERS[self.kind].size

    def numbers(self) -> tuple[Any, ...]:
        """The elements as Python numbers; a float32 is exact as a Python float."""
        if self._numbers is None:
            numbers = struct.unpack(f"<{len(self)}{_CODES[self.kind]}", self.data)
            object.__setattr__(self, "_numbers", numbers)
        return self._numbers or ()

    @classmethod
    def of(cls, kind: str, numbers: Any) -> "Vector":
        """A vector of the given numbers."""
        numbers = tuple(numbers)
        return cls(kind, struct.pack(f"<{len(numbers)}{_CODES[kind]}", *numbers))


@dataclass(frozen=True, slots=True)
class Table:
    """One table: its kind and the fields that are present.

    Args:
        kind: Its name in the schema.
        fields: Numbers; bytes for strings; `Vector`, tuples of bytes or of tables; tables.
    """

    kind: str
    fields: Mapping[str, Any]

    def get(self, name: str, default: Any = None) -> Any:
        """A field's value, or `default` where it is absent."""
        return self.fields.get(name, default)

    def tables(self, name: str) -> tuple["Table", ...]:
        """A vector of tables, empty where it is absent."""
        return self.fields.get(name, ())

    def numbers(self, name: str) -> tuple[Any, ...]:
        """The elements of a vector of numbers, none where it is absent."""
        vector = self.fields.get(name)
        return () if vector is None else vector.numbers()

    def replace(self, **changes: Any) -> "Table":
        """The same table with other fields; None takes a field away."""
        fields = {**self.fields, **changes}
        return Table(self.kind, {k: v for k, v in fields.items() if v is not None})
