"""What is in a packed image, in words and as JSON."""

from __future__ import annotations

from typing import Any

from deploy.packed_image.error import printable
from deploy.packed_image.layout import FORMAT_VERSION, HEADER, SEAL
from deploy.packed_image.packing import operator_names
from deploy.packed_image.parts import PackedImage, PackedTensor


def image_lines(image: PackedImage, data: bytes) -> list[str]:
    """What is in an image, a few lines to read.

    Args:
        image: Its parts.
        data: Its bytes; what follows the image is not counted.
    """
    header = HEADER.unpack(data)
    own = [node for node in image.nodes if node.data is not None]
    node_bytes = sum(len(node.data or b"") for node in own)
    lines = [
        f"{kind(image)} of '{image.name}', version {image.version}, {signature(image)}",
        f"{header['image_bytes']:,} bytes: {count(len(own), 'node')} {node_bytes:,}, tables "
        f"{header['tables_bytes']:,}, seal {SEAL.length_bytes}, padding "
        f"{header['image_bytes'] - header['tables_bytes'] - SEAL.length_bytes - node_bytes}",
    ]
    for task in image.tasks:
        path = " > ".join(
            node.name if node.data is not None else f"({node.name})"
            for node in image.path_nodes(task)
        )
        labels = f", {count(len(task.labels), 'label')}" if task.labels else ""
        lines.append(f"task {task.name}: {path}{labels}")
    seam = image.needed_seam
    if seam is not None:
        lines.append(
            f"nodes in parentheses lie in the full image; it must have the seam "
            f"{seam.name or '(unnamed)'} {seam.contract}, {seam.contract_sha256.hex()}"
        )
    return [printable(line) for line in lines]


def kind(image: PackedImage) -> str:
    """What an image is."""
    return "branch image" if image.is_branch else "full image"


def signature(image: PackedImage) -> str:
    """Whether an image is signed."""
    return "not signed" if image.signature is None else "signed (Ed25519)"


def count(number: int, noun: str) -> str:
    """A number and its noun: "1 node", "3 nodes"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def image_json(image: PackedImage) -> dict[str, Any]:
    """Every field of an image but the flatbuffers' bytes."""
    return {
        "format": "keras-tree image",
        "format_version": FORMAT_VERSION,
        "kind": "branch" if image.is_branch else "full",
        "name": image.name,
        "version": image.version,
        "signature": None if image.signature is None else image.signature.hex(),
        "input_normalization": dict(zip(("scale", "offset"), image.normalization, strict=True)),
        "tasks": {
            task.name: {
                "path": [node.name for node in image.path_nodes(task)],
                "labels": list(task.labels),
            }
            for task in image.tasks
        },
        "nodes": {
            node.name: {
                "file": None if node.data is None else f"nodes/{node.name}.tflite",
                "bytes": None if node.data is None else len(node.data),
                "sha256": node.data_sha256.hex(),
                "operators": list(operator_names(node.operators)),
                "input": _tensor(image.tensors[node.input]),
                "output": _tensor(image.tensors[node.output]),
            }
            for node in image.nodes
        },
    }


def _tensor(tensor: PackedTensor) -> dict[str, Any]:
    return {
        "seam": tensor.name or None,
        "shape": list(tensor.shape),
        "dtype": "int8",
        "scale": tensor.scale,
        "zero_point": tensor.zero_point,
        "contract": tensor.contract,
        "contract_sha256": tensor.contract_sha256.hex(),
    }
