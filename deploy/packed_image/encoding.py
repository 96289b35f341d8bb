"""A packed image becomes bytes. `decoding.py` reads them again."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

from deploy.packed_image.error import ImageError
from deploy.packed_image.layout import (
    FORMAT_VERSION,
    HEADER,
    IMAGE_BRANCH,
    IMAGE_SIGNED,
    MAGIC,
    MOST_ENTRIES,
    MOST_IMAGE_BYTES,
    NODE,
    NODE_EXTERNAL,
    SEAL,
    TASK,
    TENSOR,
    TYPE_INT8,
    evenly,
)
from deploy.packed_image.parts import PackedImage, PackedNode, PackedTensor


class _Strings:
    """Texts one after another, each once and ended by a zero byte; the empty one first."""

    def __init__(self) -> None:
        self.data = b""
        self._offsets: dict[str, int] = {}
        self.offset("")

    def offset(self, text: str) -> int:
        """Where a text begins."""
        if text not in self._offsets:
            encoded = text.encode("utf-8", "surrogateescape")
            if b"\0" in encoded:
                raise ImageError(
                    "STRING",
                    f"Names and labels must hold no zero character, received {text!r}. Rename it.",
                )
            self._offsets[text] = len(self.data)
            self.data += encoded + b"\0"
        return self._offsets[text]


def encode(image: PackedImage, sign: Callable[[bytes], bytes] | None = None) -> bytes:
    """Write an image. The same image gives the same bytes.

    Args:
        image: Its parts; a signature that it has is dropped, because it may not fit any more.
        sign: Returns the 64 bytes of an Ed25519 signature of the tables; None for no signature.

    Raises:
        ImageError: It has more of something than an image can hold.
    """
    strings = _Strings()
    name = strings.offset(image.name)
    tensors = b"".join(_tensor(tensor, strings) for tensor in image.tensors)
    tasks, labels, paths = _tasks(image, strings)
    node_names = [strings.offset(node.name) for node in image.nodes]
    counts = {
        "node_count": len(image.nodes),
        "tensor_count": len(image.tensors),
        "task_count": len(image.tasks),
        "label_count": len(labels),
        "path_count": len(paths),
    }
    _check_counts(counts)
    end = sum(
        (
            HEADER.length_bytes,
            NODE.length_bytes * len(image.nodes),
            len(tensors),
            len(tasks),
            4 * len(labels),
            2 * len(paths),
            len(strings.data),
        )
    )
    tables_bytes = evenly(end)
    nodes, data = _nodes(image.nodes, node_names, tables_bytes + SEAL.length_bytes)
    image_bytes = tables_bytes + SEAL.length_bytes + len(data)
    if image_bytes > MOST_IMAGE_BYTES:
        raise ImageError(
            "LAYOUT",
            f"An image must be at most {MOST_IMAGE_BYTES:,} bytes, received {image_bytes:,}. "
            "Pack fewer tasks.",
        )
    header = HEADER.pack(
        magic=MAGIC,
        format_version=FORMAT_VERSION,
        header_bytes=HEADER.length_bytes,
        flags=IMAGE_BRANCH * image.is_branch | IMAGE_SIGNED * (sign is not None),
        image_bytes=image_bytes,
        tables_bytes=tables_bytes,
        version=image.version,
        **counts,
        strings_bytes=len(strings.data),
        name=name,
        normalization_scale=image.normalization[0],
        normalization_offset=image.normalization[1],
    )
    tables = b"".join(
        (
            header,
            nodes,
            tensors,
            tasks,
            struct.pack(f"<{len(labels)}I", *labels),
            struct.pack(f"<{len(paths)}H", *paths),
            strings.data,
        )
    ).ljust(tables_bytes, b"\0")
    return tables + _seal(tables, sign) + data


def _check_counts(counts: dict[str, int]) -> None:
    for name, count in counts.items():
        if count > MOST_ENTRIES:
            raise ImageError(
                "LAYOUT",
                f"`{name}` must be at most {MOST_ENTRIES:,} in an image, received {count:,}. "
                "Pack fewer tasks, or leave their labels out.",
            )


def _tensor(tensor: PackedTensor, strings: _Strings) -> bytes:
    return TENSOR.pack(
        contract_sha256=tensor.contract_sha256,
        name=strings.offset(tensor.name),
        scale=tensor.scale_bits,
        zero_point=tensor.zero_point,
        type=TYPE_INT8,
        axis_count=len(tensor.shape),
        reserved=0,
        shape=(*tensor.shape, 0, 0, 0, 0, 0, 0)[:6],
    )


def _tasks(image: PackedImage, strings: _Strings) -> tuple[bytes, list[int], list[int]]:
    """The records of the tasks, and all their labels and paths one after another."""
    records = b""
    labels: list[int] = []
    paths: list[int] = []
    for task in image.tasks:
        totals = (len(labels) + len(task.labels), len(paths) + len(task.path))
        _check_counts(dict(zip(("label_count", "path_count"), totals, strict=True)))
        records += TASK.pack(
            name=strings.offset(task.name),
            path_first=len(paths),
            path_count=len(task.path),
            label_first=len(labels),
            label_count=len(task.labels),
        )
        labels += [strings.offset(label) for label in task.labels]
        paths += task.path
    return records, labels, paths


def _nodes(nodes: tuple[PackedNode, ...], names: list[int], start: int) -> tuple[bytes, bytes]:
    """The records of the nodes, and their flatbuffers, which begin at `start`."""
    records, data = b"", b""
    for node, name in zip(nodes, names, strict=True):
        content = node.data or b""
        records += NODE.pack(
            name=name,
            data_offset=0 if node.data is None else start + len(data),
            data_bytes=len(content),
            data_crc32=node.data_crc32,
            input=node.input,
            output=node.output,
            flags=NODE_EXTERNAL * (node.data is None),
            operators=node.operators,
            data_sha256=node.data_sha256,
        )
        data += content.ljust(evenly(len(content)), b"\0")
    return records, data


def _seal(tables: bytes, sign: Callable[[bytes], bytes] | None) -> bytes:
    signature = bytes(64) if sign is None else sign(tables)
    if len(signature) != 64:
        raise ImageError(
            "SIGNATURE",
            f"`sign` must return the 64 bytes of an Ed25519 signature, received {len(signature)}.",
        )
    return SEAL.pack(signature=signature, tables_crc32=zlib.crc32(tables + signature))
