"""A bundle becomes the parts of a packed image.

Belongs here: which tensors there are, and how nodes, tasks and seams refer to each other. Does not
belong here: one branch only (`delta.py`), or bytes (`encoding.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from deploy.packed_image.error import ImageError
from deploy.packed_image.layout import MOST_AXES
from deploy.packed_image.parts import PackedImage, PackedNode, PackedTask, PackedTensor
from quantize.tensor_spec import TensorSpec
from quantize.wire.schema import BUILTIN_OPERATORS

if TYPE_CHECKING:
    from quantize.bundle import Bundle
    from quantize.storage.parts import Node, Seam

_CUSTOM = BUILTIN_OPERATORS.index("CUSTOM")
_HIGHEST_VERSION = 2**32 - 1


def pack_bundle(
    bundle: Bundle, tasks: str | Iterable[str] | None = None, version: int = 0
) -> PackedImage:
    """The full image of a bundle: every node once, trunk first.

    Args:
        bundle: A bundle whose parts fit together.
        tasks: Only these tasks, and the nodes that they run; None for all.
        version: A counter against roll-back, 0 to 2^32 - 1; a later image has no lower one.

    Raises:
        ImageError: The version is out of range, or the bundle holds what an image cannot.
        BundleError: A task is unknown.
    """
    if tasks is not None:
        bundle = bundle.select(tasks)
    return packed(bundle, list(bundle.nodes), external=(), version=version)


def packed(
    bundle: Bundle, names: Sequence[str], external: Sequence[str], version: int
) -> PackedImage:
    """The image of some nodes of a bundle, and of its tasks.

    Args:
        bundle: The bundle; its tasks run no other nodes than `names`.
        names: The nodes in their order in the image.
        external: Those of them that lie in the full image.
        version: See `pack_bundle`.
    """
    if not 0 <= version <= _HIGHEST_VERSION:
        raise ImageError(
            "ARGUMENT",
            f"`version` must lie in 0..{_HIGHEST_VERSION}, received {version}. Count up from the "
            "image before.",
        )
    tensors: list[PackedTensor] = []
    nodes = [_node(bundle, bundle.nodes[name], name in external, tensors) for name in names]
    tasks = tuple(
        PackedTask(task.name, tuple(map(list(names).index, task.path)), task.labels)
        for task in bundle.tasks.values()
    )
    normalization = bundle.input_normalization
    return PackedImage(
        bundle.name,
        version,
        bool(external),
        tuple(nodes),
        tuple(tensors),
        tasks,
        (float(normalization.scale), float(normalization.offset)),
    )


def _node(bundle: Bundle, node: Node, is_external: bool, tensors: list[PackedTensor]) -> PackedNode:
    enters = next((seam for seam in bundle.seams if node.name in seam.consumers), None)
    leaves = next((seam for seam in bundle.seams if node.name in seam.producers), None)
    return PackedNode(
        node.name,
        None if is_external else bytes(node.data),
        hashlib.sha256(node.data).digest(),
        _index(_tensor(node.name, node.input, enters), tensors),
        _index(_tensor(node.name, node.output, leaves), tensors),
        operator_bits(node.operators),
    )


def _tensor(node: str, spec: TensorSpec, seam: Seam | None) -> PackedTensor:
    """The tensor of a seam, or of an end of paths."""
    if spec.dtype != "int8" or len(spec.shape) > MOST_AXES:
        raise ImageError(
            "TENSOR",
            f"node '{node}': its input and output must be int8 with at most {MOST_AXES} axes, "
            f"received {spec.dtype} {spec.shape}. Leave the task out with `tasks`.",
        )
    name = "" if seam is None else seam.name
    plain = PackedTensor(name, spec.shape, spec.scale, spec.zero_point, b"")
    digest = hashlib.sha256(plain.contract.encode("ascii")).digest()
    return PackedTensor(name, spec.shape, spec.scale, spec.zero_point, digest)


def _index(tensor: PackedTensor, tensors: list[PackedTensor]) -> int:
    """Where a tensor stands; it is added where it is new."""
    if tensor not in tensors:
        tensors.append(tensor)
    return tensors.index(tensor)


def operator_bits(names: Iterable[str]) -> bytes:
    """256 bits, one for each BuiltinOperator; a name that is none of them is a custom operator's.

    Example:
        >>> operator_bits(["CONV_2D", "TANH"]).hex()[:8]
        '08000010'
    """
    bits = bytearray(32)
    for name in names:
        code = BUILTIN_OPERATORS.index(name) if name in BUILTIN_OPERATORS else _CUSTOM
        bits[code // 8] |= 1 << code % 8
    return bytes(bits)


def operator_names(bits: bytes) -> tuple[str, ...]:
    """The names behind `operator_bits`; of a code that the schema does not have, its number."""
    codes = [code for code in range(256) if bits[code // 8] >> code % 8 & 1]
    return tuple(
        BUILTIN_OPERATORS[code] if code < len(BUILTIN_OPERATORS) else str(code) for code in codes
    )
