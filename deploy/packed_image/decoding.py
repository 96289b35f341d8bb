"""The bytes of a packed image become its parts, after the same checks as on the device.

The checks stand in the order of `firmware_stubs/src/kt_bundle.c`, and each raises with the status
that `kt_bundle_open` returns there; a test holds the two against each other.
"""

from __future__ import annotations

import math
import struct
import zlib
from typing import Any, NoReturn

from deploy.packed_image.error import ImageError
from deploy.packed_image.layout import (
    ALIGNMENT,
    FORMAT_VERSION,
    HEADER,
    HIGHEST_FLOAT32,
    IMAGE_BRANCH,
    IMAGE_SIGNED,
    MAGIC,
    MOST_AXES,
    MOST_ELEMENTS,
    MOST_IMAGE_BYTES,
    NODE,
    NODE_EXTERNAL,
    SEAL,
    SMALLEST_IMAGE_BYTES,
    TASK,
    TENSOR,
    TYPE_INT8,
    evenly,
)
from deploy.packed_image.parts import PackedImage, PackedNode, PackedTask, PackedTensor

_Fields = dict[str, Any]


def read_image(data: bytes) -> PackedImage:
    """Read an image, everything that the device checks without a key checked.

    Args:
        data: The image; what follows it, as in a partition, is passed over.

    Raises:
        ImageError: The first thing that is wrong.
    """
    header = _header(data)
    _check_seal(data, header)
    return _Reader(data, header).image()


def signed_message(data: bytes) -> tuple[bytes, bytes | None]:
    """The bytes that a signature covers, and the signature; None where the image has none.

    Raises:
        ImageError: The header or the seal is damaged.
    """
    header = _header(data)
    _check_seal(data, header)
    tables_bytes = header["tables_bytes"]
    signature = data[tables_bytes : tables_bytes + 64]
    return data[:tables_bytes], signature if header["flags"] & IMAGE_SIGNED else None


def _refuse(status: str, message: str) -> NoReturn:
    raise ImageError(status, f"{message} The image is damaged or foreign: copy or pack it again.")


def _header(data: bytes) -> _Fields:
    if len(data) < SMALLEST_IMAGE_BYTES:
        _refuse(
            "TRUNCATED", f"At least {SMALLEST_IMAGE_BYTES} bytes are expected, {len(data)} came."
        )
    header = HEADER.unpack(data)
    if header["magic"] != MAGIC:
        _refuse("MAGIC", f"A packed image begins with {MAGIC!r}, received {header['magic']!r}.")
    if header["format_version"] != FORMAT_VERSION:
        raise ImageError(
            "FORMAT_VERSION",
            f"Format version {FORMAT_VERSION} is expected, received {header['format_version']}. "
            "Install the keras-tree that wrote it, or pack the bundle again.",
        )
    image_bytes = header["image_bytes"]
    if (
        header["header_bytes"] != HEADER.length_bytes
        or header["reserved"]
        or header["flags"] & ~(IMAGE_BRANCH | IMAGE_SIGNED)
        or image_bytes % ALIGNMENT
        or not SMALLEST_IMAGE_BYTES <= image_bytes <= MOST_IMAGE_BYTES
    ):
        _refuse(
            "LAYOUT", "The header's lengths, flags and reserved bytes must be those of SPEC.md."
        )
    if image_bytes > len(data):
        _refuse("TRUNCATED", f"The image says that it has {image_bytes} bytes, {len(data)} came.")
    if (
        not 0 < header["strings_bytes"] <= image_bytes
        or header["tables_bytes"] > image_bytes - SEAL.length_bytes
        or header["tables_bytes"] != evenly(_end_of_tables(header))
    ):
        _refuse("LAYOUT", "The header's counts must give the length of the tables.")
    return header


def _end_of_tables(header: _Fields) -> int:
    return sum(
        (
            HEADER.length_bytes,
            NODE.length_bytes * header["node_count"],
            TENSOR.length_bytes * header["tensor_count"],
            TASK.length_bytes * header["task_count"],
            4 * header["label_count"],
            2 * header["path_count"],
            header["strings_bytes"],
        )
    )


def _check_seal(data: bytes, header: _Fields) -> None:
    tables_bytes = header["tables_bytes"]
    seal = SEAL.unpack(data, tables_bytes)
    found = zlib.crc32(data[: tables_bytes + 64])
    if found != seal["tables_crc32"]:
        _refuse("CHECKSUM", f"The tables' CRC-32 is {seal['tables_crc32']:08x}, found {found:08x}.")
    is_signed = header["flags"] & IMAGE_SIGNED
    if any(seal["reserved"]) or (not is_signed and any(seal["signature"])):
        _refuse("LAYOUT", "Unused bytes of the seal must be 0.")


class _Reader:
    """The tables and the data of an image whose header and seal are in order."""

    def __init__(self, data: bytes, header: _Fields) -> None:
        self.data, self.header = data, header
        self.is_branch = bool(header["flags"] & IMAGE_BRANCH)
        offset = HEADER.length_bytes
        self.nodes = [NODE.unpack(data, offset + 88 * i) for i in range(header["node_count"])]
        offset += NODE.length_bytes * header["node_count"]
        self.tensors = [TENSOR.unpack(data, offset + 72 * i) for i in range(header["tensor_count"])]
        offset += TENSOR.length_bytes * header["tensor_count"]
        self.tasks = [TASK.unpack(data, offset + 12 * i) for i in range(header["task_count"])]
        offset += TASK.length_bytes * header["task_count"]
        self.labels = struct.unpack_from(f"<{header['label_count']}I", data, offset)
        offset += 4 * header["label_count"]
        self.paths = struct.unpack_from(f"<{header['path_count']}H", data, offset)
        offset += 2 * header["path_count"]
        self.strings = data[offset : offset + header["strings_bytes"]]
        self.padding = data[offset + header["strings_bytes"] : header["tables_bytes"]]

    def image(self) -> PackedImage:
        header = self.header
        self.check_strings()
        normalization = (header["normalization_scale"], header["normalization_offset"])
        if not all(map(math.isfinite, normalization)):
            _refuse("LAYOUT", f"The input normalization must be finite, received {normalization}.")
        if not self.tasks or (len(self.tasks) != 1 and self.is_branch):
            _refuse(
                "LAYOUT", f"An image has a task, a branch image one; this has {len(self.tasks)}."
            )
        tensors = tuple(map(self.tensor, self.tensors))
        for node in self.nodes:
            self.check_node(node)
        tasks = self.read_tasks()
        contents = self.contents()
        nodes = tuple(map(self.node, self.nodes, contents))
        _, signature = signed_message(self.data)
        name = self.text(header["name"])
        return PackedImage(
            name, header["version"], self.is_branch, nodes, tensors, tasks, normalization, signature
        )

    def check_strings(self) -> None:
        if self.strings[-1]:
            _refuse("STRING", "The last string must end with a zero byte.")
        for offset in (self.header["name"], *self.labels):
            self.check_text(offset)
        if any(self.padding):
            _refuse("LAYOUT", "The padding after the tables must be 0.")

    def check_text(self, offset: int) -> None:
        if offset >= len(self.strings):
            _refuse(
                "STRING", f"A string begins at {offset} of {len(self.strings)} bytes of strings."
            )

    def text(self, offset: int) -> str:
        self.check_text(offset)
        end = self.strings.index(b"\0", offset)
        return self.strings[offset:end].decode("utf-8", "surrogateescape")

    def tensor(self, record: _Fields) -> PackedTensor:
        count, shape = record["axis_count"], record["shape"]
        if (
            record["type"] != TYPE_INT8
            or not 1 <= count <= MOST_AXES
            or not 1 <= record["scale"] <= HIGHEST_FLOAT32
            or not -128 <= record["zero_point"] <= 127
            or record["reserved"]
        ):
            _refuse("TENSOR", "A tensor's type, axes, scale or zero point is out of range.")
        elements = 1
        for axis, size in enumerate(shape):
            if axis >= count:
                valid = size == 0
            else:
                valid = 1 <= size <= MOST_ELEMENTS // elements
                elements *= max(size, 1)
            if not valid:
                _refuse("TENSOR", f"A tensor of {count} axes cannot have the shape {shape}.")
        (scale,) = struct.unpack("<f", struct.pack("<I", record["scale"]))
        name = self.text(record["name"])
        return PackedTensor(
            name, shape[:count], scale, record["zero_point"], record["contract_sha256"]
        )

    def check_node(self, record: _Fields) -> None:
        if max(record["input"], record["output"]) >= len(self.tensors):
            _refuse("INDEX", "A node's input or output is no tensor of the image.")
        if record["flags"] & ~NODE_EXTERNAL or (record["flags"] and not self.is_branch):
            _refuse("LAYOUT", f"A node cannot have the flags {record['flags']:#x} here.")
        self.check_text(record["name"])

    def read_tasks(self) -> tuple[PackedTask, ...]:
        first, label_first, tasks = 0, 0, []
        for record in self.tasks:
            self.check_text(record["name"])
            end, label_end = first + record["path_count"], label_first + record["label_count"]
            starts = (record["path_first"], record["label_first"])
            if starts != (first, label_first) or end > len(self.paths):
                _refuse("INDEX", "Paths and labels must follow one another without a gap.")
            self.check_path(self.paths[first:end])
            labels = tuple(map(self.text, self.labels[label_first:label_end]))
            tasks.append(PackedTask(self.text(record["name"]), self.paths[first:end], labels))
            first, label_first = end, label_end
        if (first, label_first) != (len(self.paths), len(self.labels)):
            _refuse("INDEX", "Every entry of paths and labels must belong to a task.")
        return tuple(tasks)

    def check_path(self, path: tuple[int, ...]) -> None:
        before: _Fields | None = None
        for index in path:
            if index >= len(self.nodes):
                _refuse("INDEX", f"A path names node {index} of {len(self.nodes)}.")
            node = self.nodes[index]
            if before is None:
                if self.is_branch and not node["flags"]:
                    _refuse("LAYOUT", "A branch image's path must begin in the full image.")
            elif before["output"] != node["input"]:
                _refuse("SEAM", "Neighbours on a path must share one tensor.")
            elif node["flags"] and not before["flags"]:
                _refuse("LAYOUT", "A path cannot return from a branch to the full image.")
            before = node
        if before is None or before["flags"]:
            _refuse("LAYOUT", "A path must end in a node of this image.")

    def contents(self) -> list[bytes | None]:
        """The flatbuffers; None where a node lies in the full image."""
        found: list[bytes | None] = []
        place = self.header["tables_bytes"] + SEAL.length_bytes
        end = self.header["image_bytes"]
        for record in self.nodes:
            offset, length = record["data_offset"], record["data_bytes"]
            if record["flags"]:
                if offset or length or record["data_crc32"]:
                    _refuse("LAYOUT", "A node of the full image must have no data here.")
                found.append(None)
                continue
            if offset != place or not 1 <= length <= end - place:
                _refuse("LAYOUT", f"A node's data must begin at {place} and end before {end}.")
            content = self.data[place : place + length]
            if zlib.crc32(content) != record["data_crc32"]:
                name = self.text(record["name"])
                _refuse("CHECKSUM", f"The CRC-32 of node '{name}' is not that of the tables.")
            place += evenly(length)
            if any(self.data[offset + length : place]):
                _refuse("LAYOUT", "The padding after a node must be 0.")
            found.append(content)
        if place != end:
            _refuse("LAYOUT", f"The nodes must end at {end}, the end of the image; found {place}.")
        return found

    def node(self, record: _Fields, content: bytes | None) -> PackedNode:
        return PackedNode(
            self.text(record["name"]),
            content,
            record["data_sha256"],
            record["input"],
            record["output"],
            record["operators"],
        )
