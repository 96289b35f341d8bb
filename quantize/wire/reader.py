"""Turn the bytes of a .tflite file into tables, trusting nothing.

Every offset and length is checked against the file before it is followed or any memory is taken for
it, so that a damaged or hostile file ends in a `FlatbufferError` that names the place. The format:
FlatBuffers internals, https://flatbuffers.dev/internals.

Belongs here: the FlatBuffers encoding, read. Does not belong here: what a graph means
(`flatbuffer.py`).
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from quantize.wire.encoding import IDENTIFIER, NUMBERS, FlatbufferError, Table, Vector
from quantize.wire.schema import TABLES, UNIONS, Field

# Objects that lie apart are read once each, so their bytes sum to the file's at most. Ones that
# overlap could ask for memory without end; the factor allows objects that are read as two kinds.
_OVERLAP = 2
# An object takes some 300 bytes of memory, however small it is. The public MLPerf Tiny models,
# stripped, have one in 138 bytes at most; a graph of nothing but additions has one in 14.
_BYTES_PER_OBJECT = 12
# An object that several places share is read once, but whoever walks the tables meets it at every
# place, and makes something of it. Vectors of one object could ask for work without end. With so
# many bytes for the place itself, the public models come to 1.43 times their bytes at most, and a
# graph of nothing but additions of equal tensors to 11 times.
_BYTES_PER_PLACE = 48
_SHARING = 16
# Small files may be denser.
_FREE_BYTES = 4_096
_FREE_OBJECTS = 1_000
_FREE_SHARED_BYTES = 1 << 18

Tell = Callable[[str, int, int, str], None]
"""Takes up an object: its kind ("vtable", "table", "string", "vector" or "offsets"), its first
byte, its length in bytes, and where it was met first: "Model.subgraphs[0].tensors[3].name"."""


@dataclass
class _Reader:
    data: bytes
    left_bytes: int
    left_objects: int
    left_shared_bytes: int
    tell: Tell | None = None
    vtables: dict[int, tuple[tuple[int, ...], int]] = field(default_factory=dict)
    # By kind and place: the object, and what it took of `left_shared_bytes`.
    objects: dict[str, dict[int, tuple[Any, int]]] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)

    def number(self, kind: str, position: int, where: str) -> Any:
        code = NUMBERS[kind]
        self.check(position, code.size, where)
        return code.unpack_from(self.data, position)[0]

    def check(self, position: int, size_bytes: int, where: str) -> None:
        if position < 0 or position + size_bytes > len(self.data):
            raise FlatbufferError(
                f"`data` must hold all of {where}, received an offset to bytes {position}.."
                f"{position + size_bytes} of a file of {len(self.data)} bytes. "
                "The file is truncated or damaged: copy or convert it again."
            )

    def spend(self, kind: str, start: int, size_bytes: int, where: str) -> None:
        """Account for an object that is read."""
        self.left_bytes -= size_bytes
        self.left_objects -= 1
        if min(self.left_bytes, self.left_objects) < 0:
            raise _overlapping(where)
        self.spend_again(size_bytes, where)
        if self.tell is not None:
            self.tell(kind, start, size_bytes, where)

    def spend_again(self, size_bytes: int, where: str) -> None:
        """Account for an object that is met, be it read before or not."""
        self.left_shared_bytes -= size_bytes
        if self.left_shared_bytes < 0:
            raise _overlapping(where)

    def follow(self, position: int, where: str) -> int:
        """The place that the offset at `position` leads to."""
        offset = self.number("u32", position, where)
        if offset < 4:
            raise FlatbufferError(
                f"`data` must hold an offset of at least 4 to {where}, received {offset} at byte "
                f"{position}. The file is damaged: copy or convert it again."
            )
        return position + int(offset)

    def value(self, kind: str, position: int, where: str) -> Any:
        """The object of `kind` that the offset at `position` leads to."""
        target = self.follow(position, where)
        known = self.objects.setdefault(kind, {})
        if target in known:
            result, size_bytes = known[target]
            self.spend_again(size_bytes, where)
            return result
        before_bytes = self.left_shared_bytes
        self.spend_again(_BYTES_PER_PLACE, where)
        if kind.startswith("["):
            result = self.vector(kind[1:-1], target, where)
        elif kind == "string":
            result = self.string(target, where)
        else:
            result = self.table(kind, target, where)
        known[target] = result, before_bytes - self.left_shared_bytes
        return result

    def vector(self, kind: str, position: int, where: str) -> Any:
        count = self.number("u32", position, where)
        width = NUMBERS[kind].size if kind in NUMBERS else 4
        start = position + 4
        self.check(start, count * width, f"the {count} elements of {where}")
        what = "vector" if kind in NUMBERS else "offsets"
        self.spend(what, position, 4 + count * width, where)
        if kind in NUMBERS:
            return Vector(kind, self.data[start : start + count * width])
        return tuple(self.value(kind, start + 4 * i, f"{where}[{i}]") for i in range(count))

    def string(self, position: int, where: str) -> bytes:
        length = self.number("u32", position, where)
        end = position + 4 + length
        if self.number("u8", end, where) != 0:
            raise FlatbufferError(
                f"`data` must end the string {where} with a 0, received another byte at {end}. "
                "The file is damaged: copy or convert it again."
            )
        self.spend("string", position, 5 + length, where)
        return self.data[position + 4 : end]

    def vtable(self, position: int, where: str) -> tuple[tuple[int, ...], int]:
        """The offsets of a table's slots within it, 0 for absent ones, and its size in bytes."""
        if position not in self.vtables:
            size = self.number("u16", position, where)
            table_bytes = self.number("u16", position + 2, where)
            if size < 4 or size % 2 or table_bytes < 4:
                raise FlatbufferError(
                    f"`data` must hold a sound vtable for {where}, received sizes {size} and "
                    f"{table_bytes} at byte {position}. "
                    "The file is damaged: copy or convert it again."
                )
            self.check(position, size, f"the vtable of {where}")
            self.spend("vtable", position, size, where)
            slots = struct.unpack_from(f"<{size // 2 - 2}H", self.data, position + 4)
            self.vtables[position] = slots, table_bytes
        return self.vtables[position]

    def table(self, kind: str, position: int, where: str) -> Table:
        slots, table_bytes = self.vtable(position - self.number("i32", position, where), where)
        self.check(position, table_bytes, where)
        self.spend("table", position, table_bytes, where)
        known = TABLES.get(kind, ())
        fields: dict[str, Any] = {}
        for slot, offset in enumerate(slots):
            if offset == 0:
                continue
            if slot >= len(known):
                self.unread.append(f"{where} slot {slot}")
                continue
            spec = known[slot]
            place = f"{where}.{spec.name}"
            width = NUMBERS[spec.kind].size if spec.kind in NUMBERS else 4
            if offset < 4 or offset + width > table_bytes:
                raise FlatbufferError(
                    f"`data` must hold {place} within its table of {table_bytes} bytes, received "
                    f"offset {offset}. The file is damaged: copy or convert it again."
                )
            self.read_field(fields, known, slot, position + offset, place)
        return Table(kind, fields)

    def read_field(
        self, fields: dict[str, Any], known: tuple[Field, ...], slot: int, position: int, where: str
    ) -> None:
        spec = known[slot]
        kind = spec.kind
        if kind in NUMBERS:
            fields[spec.name] = self.number(kind, position, where)
            return
        if kind.startswith("<"):
            members = UNIONS[kind[1:-1]]
            number = fields.get(known[slot - 1].name, 0)
            if not 0 < number < len(members):
                self.unread.append(f"{where} of type {number}")
                return
            kind = members[number]
        fields[spec.name] = self.value(kind, position, where)


def _overlapping(where: str) -> FlatbufferError:
    return FlatbufferError(
        f"`data` must hold objects that lie apart, received ones that overlap, at {where}. "
        "The file is damaged: copy or convert it again."
    )


def decode(data: bytes, tell: Tell | None = None) -> tuple[Table, tuple[str, ...]]:
    """Read a .tflite file, every offset checked.

    Args:
        data: The bytes of the file.
        tell: Told of each object that is read, in the order of reading.

    Returns:
        The `Model` table, and the places of what a newer schema put there and this one cannot read.

    Raises:
        FlatbufferError: `data` is no .tflite file, or a damaged one; the message names the place.
    """
    if not isinstance(data, bytes | bytearray | memoryview):
        raise FlatbufferError(
            f"`data` must be the bytes of a .tflite file, received {type(data).__name__}. "
            "Read the file first: pathlib.Path(path).read_bytes()."
        )
    data = bytes(data)
    if data[4:8] != IDENTIFIER:
        raise FlatbufferError(
            f"`data` must be a .tflite file, with TFL3 at byte 4, received {data[4:8]!r} in "
            f"{len(data)} bytes. Give the bytes of a converted node."
        )
    reader = _Reader(
        data,
        _FREE_BYTES + _OVERLAP * len(data),
        _FREE_OBJECTS + len(data) // _BYTES_PER_OBJECT,
        _FREE_SHARED_BYTES + _SHARING * len(data),
        tell,
    )
    model = reader.value("Model", 0, "Model")
    return model, tuple(reader.unread)
