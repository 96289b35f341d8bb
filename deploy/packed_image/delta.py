"""A branch image: what changes when one task's branch is exchanged in the field.

Belongs here: which nodes of a path are its branch, and whether a branch fits a full image. Does
not belong here: what the device does with it (`firmware_stubs/src/kt_update.c`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from deploy.packed_image.error import ImageError
from deploy.packed_image.packing import packed
from deploy.packed_image.parts import PackedImage, PackedTensor

if TYPE_CHECKING:
    from quantize.bundle import Bundle


def pack_branch(bundle: Bundle, task: str, version: int = 0) -> PackedImage:
    """The branch image of one task: its nodes behind those that other tasks run too.

    The nodes before them are named with their tensors, and not stored. Where a bundle has one task
    only, its branch begins behind the trunk.

    Args:
        bundle: The bundle with the new branch.
        task: The task.
        version: A counter against roll-back, 0 to 2^32 - 1.

    Raises:
        ImageError: The task has no node of its own, or nothing to build on.
        BundleError: The task is unknown.
    """
    alone = bundle.select([task])
    path = alone.tasks[task].path
    shared = _shared_prefix(bundle, task)
    if shared in (0, len(path)):
        raise ImageError(
            "ARGUMENT",
            f"`task` must have a trunk and nodes of its own behind it, '{task}' runs "
            f"{' > '.join(path)}"
            + (", all of which other tasks run too" if shared > 1 else "")
            + ". Exchange the full image.",
        )
    names = list(dict.fromkeys(path))
    external = [name for name in names if name in path[:shared]]
    return packed(alone, names, external, version)


def _shared_prefix(bundle: Bundle, task: str) -> int:
    """How many nodes at a path's beginning another task runs too."""
    path = bundle.tasks[task].path
    others = {name for one in bundle.tasks.values() if one.name != task for name in one.path}
    if not others:
        return min(1, len(path) - 1)
    own = [position for position, name in enumerate(path) if name not in others]
    return own[0] if own else len(path)


def check_base(branch: PackedImage, base: PackedImage, same_trunk: bool = False) -> None:
    """Refuse a branch image that does not fit the full image that it shall build on.

    Args:
        branch: The branch image.
        base: The full image on the device.
        same_trunk: Whether the shared nodes must be equal to the last byte, too.

    Raises:
        ImageError: A shared node is missing (BASE), or its input or output is another (SEAM).
    """
    if base.is_branch:
        raise ImageError("BASE", "The base must be a full image, received a branch image.")
    there = {node.name: node for node in reversed(base.nodes)}
    for node in branch.nodes:
        if node.data is not None:
            continue
        if node.name not in there:
            raise ImageError(
                "BASE",
                f"The branch builds on node '{node.name}', and the full image '{base.name}' has "
                f"{', '.join(there)}. Pack the branch from the bundle that is on the device.",
            )
        other = there[node.name]
        for side in ("input", "output"):
            mine = branch.tensors[getattr(node, side)]
            theirs = base.tensors[getattr(other, side)]
            if replace(mine, name="") != replace(theirs, name=""):
                raise ImageError("SEAM", _differ(node.name, side, mine, theirs))
        if same_trunk and node.data_sha256 != other.data_sha256:
            raise ImageError(
                "BASE",
                f"Node '{node.name}' must be the same to the last byte, and the full image has "
                f"another: {other.data_sha256.hex()[:16]}..., the branch was made for "
                f"{node.data_sha256.hex()[:16]}... Pack the branch from the bundle on the device.",
            )


def _differ(node: str, side: str, mine: PackedTensor, theirs: PackedTensor) -> str:
    return (
        f"The {side} of node '{node}' must have the contract that the branch needs, "
        f"{mine.contract} ({mine.contract_sha256.hex()[:16]}...); the full image has "
        f"{theirs.contract} ({theirs.contract_sha256.hex()[:16]}...). Quantize the new branch on "
        "top of the bundle that is on the device, so that its seam is kept."
    )
