"""Turn tables into the bytes of a .tflite file.

Equal vectors, strings and tables are stored once. The data of buffers is aligned to 16 bytes: the
schema asks for it (`force_align`), kernels with vector loads want it, and the generated Python
packer ignores it (tensorflow/tflite-micro#3177). The bytes depend on nothing but the tables'
values. The format: FlatBuffers internals, https://flatbuffers.dev/internals.

Belongs here: the FlatBuffers encoding, written. Does not belong here: what to change in a graph
(`strip.py`, `merging.py`).
"""

import struct
from dataclasses import dataclass, field
from typing import Any

from quantize.wire.encoding import IDENTIFIER, NUMBERS, Table, Vector
from quantize.wire.schema import TABLES, Field

# The schema's largest alignment: the file's length is a multiple of it, as places count from the
# end.
_FILE_ALIGNMENT = 16


@dataclass
class _Writer:
    """Writes back to front, as offsets lead forward: a place counts from the end of the file."""

    chunks: list[bytes] = field(default_factory=list)
    size_bytes: int = 0
    stored: dict[tuple[Any, ...], int] = field(default_factory=dict)

    def put(self, chunk: bytes, alignment: int, lead_bytes: int = 0) -> int:
        """Place `chunk` so that its byte `lead_bytes` is aligned; returns its place."""
        padding = -(self.size_bytes + len(chunk) - lead_bytes) % alignment
        self.chunks += [bytes(padding), chunk]
        self.size_bytes += padding + len(chunk)
        return self.size_bytes

    def value(self, spec: Field, value: Any) -> int:
        """Place an object unless an equal one is there; returns its place."""
        if isinstance(value, Table):
            return self.table(value)
        if isinstance(value, bytes):
            return self.once(struct.pack("<I", len(value)) + value + b"\0", 4, 0)
        if isinstance(value, Vector):
            alignment = max(4, NUMBERS[value.kind].size, spec.alignment if value.data else 1)
            return self.once(struct.pack("<I", len(value)) + value.data, alignment, 4)
        return self.offsets([self.value(spec, element) for element in value])

    def once(self, chunk: bytes, alignment: int, lead_bytes: int) -> int:
        key = (chunk, alignment, lead_bytes)
        if key not in self.stored:
            self.stored[key] = self.put(chunk, alignment, lead_bytes)
        return self.stored[key]

    def offsets(self, places: list[int]) -> int:
        key = ("offsets", *places)
        if key not in self.stored:
            start = self.size_bytes + -self.size_bytes % 4 + 4 * len(places)
            distances = [start - 4 * i - place for i, place in enumerate(places)]
            chunk = struct.pack(f"<{len(places) + 1}I", len(places), *distances)
            self.stored[key] = self.put(chunk, 4)
        return self.stored[key]

    def table(self, table: Table) -> int:
        cells: list[tuple[int, int, Any]] = []
        for slot, spec in enumerate(TABLES.get(table.kind, ())):
            value = table.fields.get(spec.name)
            if value is None:
                continue
            code = NUMBERS.get(spec.kind)
            if code is None:
                cells.append((4, slot, self.value(spec, value)))
            elif code.pack(value) != code.pack(spec.default):
                cells.append((code.size, slot, code.pack(value)))
        key = ("table", *cells)
        if key not in self.stored:
            self.stored[key] = self.put_table(cells)
        return self.stored[key]

    def put_table(self, cells: list[tuple[int, int, Any]]) -> int:
        """Place a table of cells (width, slot, bytes of a number or place of an object)."""
        table_bytes = 4 + sum(width for width, _, _ in cells)
        alignment = max([4, *(width for width, _, _ in cells)])
        # Byte 4 of the table, where the widest cells begin, is aligned.
        padding = -(self.size_bytes + table_bytes - 4) % alignment
        place = self.size_bytes + padding + table_bytes
        # The widest cells first: then none needs padding.
        slots = [0] * max([0, *(slot + 1 for _, slot, _ in cells)])
        body = b""
        for _, slot, content in sorted(cells, key=lambda cell: (-cell[0], cell[1])):
            slots[slot] = 4 + len(body)
            if isinstance(content, int):
                content = struct.pack("<I", place - slots[slot] - content)
            body += content
        vtable = struct.pack(f"<{len(slots) + 2}H", 4 + 2 * len(slots), table_bytes, *slots)
        # A new vtable stands right before its table.
        vtable_place = self.stored.setdefault(("vtable", vtable), place + len(vtable))
        self.put(struct.pack("<i", vtable_place - place) + body, alignment, 4)
        if vtable_place == place + len(vtable):
            self.put(vtable, 1)
        return place


def encode(model: Table) -> bytes:
    """Write a .tflite file.

    Args:
        model: The `Model` table.

    Returns:
        Its bytes: the same for equal tables, every non-empty buffer aligned to 16 bytes.
    """
    writer = _Writer()
    root = writer.table(model)
    padding = -(writer.size_bytes + 8) % _FILE_ALIGNMENT
    header = struct.pack("<I", writer.size_bytes + padding + 8 - root) + IDENTIFIER
    writer.put(header, _FILE_ALIGNMENT)
    return b"".join(reversed(writer.chunks))
