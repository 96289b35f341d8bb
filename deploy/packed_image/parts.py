"""What a packed image holds, as values; not a byte of how it is written.

Belongs here: `PackedImage` and its parts. Does not belong here: the layout (`layout.py`), making
one of a bundle (`packing.py`), or its bytes (`encoding.py`, `decoding.py`).
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from dataclasses import dataclass, field


@dataclass(frozen=True)
class PackedTensor:
    """A seam, or the tensor at an end of a path.

    Args:
        name: The seam's name; empty at the ends of paths.
        shape: Sizes of the axes, batch 1 first; at most six.
        scale: Exactly a float32.
        zero_point: -128 to 127.
        contract_sha256: The 32 bytes of `Seam.contract_sha256`.
    """

    name: str
    shape: tuple[int, ...]
    scale: float
    zero_point: int
    contract_sha256: bytes = field(repr=False)

    @property
    def scale_bits(self) -> int:
        """The bits of the float32 scale."""
        return int(struct.unpack("<I", struct.pack("<f", self.scale))[0])

    @property
    def contract(self) -> str:
        """What both sides of a seam agree on, as in `Seam.contract`."""
        shape = ",".join(map(str, self.shape))
        return f"int8;{shape};{self.scale_bits:08x};{self.zero_point}"


@dataclass(frozen=True)
class PackedNode:
    """A node: its flatbuffer, or only what is known of one that lies in the full image.

    Args:
        name: Its name in the bundle.
        data: The `.tflite` file; None for an external node of a branch image.
        data_sha256: Digest of the file, 32 bytes, also where it lies in the full image.
        input: Index of its input in `PackedImage.tensors`.
        output: Index of its output.
        operators: 256 bits: bit n % 8 of byte n // 8 where it has the BuiltinOperator n.
    """

    name: str
    data: bytes | None = field(repr=False)
    data_sha256: bytes = field(repr=False)
    input: int
    output: int
    operators: bytes = field(repr=False)

    @property
    def data_crc32(self) -> int:
        """The CRC-32 of the file; 0 where it is not here."""
        return 0 if self.data is None else zlib.crc32(self.data)

    @property
    def is_intact(self) -> bool:
        """Whether the file has its digest."""
        return self.data is None or hashlib.sha256(self.data).digest() == self.data_sha256


@dataclass(frozen=True)
class PackedTask:
    """One task.

    Args:
        name: Its name in the bundle.
        path: Indices in `PackedImage.nodes`, trunk first.
        labels: Class names in the order of the outputs; may be empty.
    """

    name: str
    path: tuple[int, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class PackedImage:
    """Everything in a packed image.

    Args:
        name: The tree's name.
        version: A counter that later images do not lower.
        is_branch: Whether it holds one task's branch only, and needs the full image.
        nodes: The nodes in the order in which they lie in the image.
        tensors: Their inputs and outputs.
        tasks: The tasks; one in a branch image.
        normalization: Scale and offset: network input = raw * scale + offset.
        signature: Ed25519 over the tables, 64 bytes; None if it is not signed.
    """

    name: str
    version: int
    is_branch: bool
    nodes: tuple[PackedNode, ...]
    tensors: tuple[PackedTensor, ...]
    tasks: tuple[PackedTask, ...]
    normalization: tuple[float, float] = (1.0, 0.0)
    signature: bytes | None = field(default=None, repr=False)

    def path_nodes(self, task: PackedTask) -> tuple[PackedNode, ...]:
        """The nodes that a task runs, trunk first."""
        return tuple(self.nodes[index] for index in task.path)

    @property
    def needed_seam(self) -> PackedTensor | None:
        """Of a branch image the tensor at which it takes over from the full image; else None."""
        if not self.is_branch:
            return None
        path = self.path_nodes(self.tasks[0])
        return self.tensors[next(node.input for node in path if node.data is not None)]
