"""Which nodes of an earlier bundle stay as they are.

Belongs here: the comparison of a tree with a bundle made of it before. Does not belong here: the
conversion of the nodes that do not stay (`node_conversion.py`).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

from quantize.bundle import Bundle, Node
from quantize.conversion.freezing import FrozenNode


def kept_nodes(
    base: Bundle | None,
    frozen: Mapping[str, FrozenNode],
    paths: Mapping[str, Sequence[str]],
    precisions: Mapping[str, str],
) -> dict[str, Node]:
    """Return the nodes of `base` that stay as they are.

    A node stays when it computes what it did in the precision that is wanted, and every node of
    `base` before it stays too: it was calibrated on their outputs.

    Args:
        base: The earlier bundle, or None.
        frozen: The nodes of the tree, by name.
        paths: The shipped tasks' paths.
        precisions: The wanted precision of every node.
    """
    if base is None:
        return {}
    known = {name for name in frozen if name in base.nodes}
    kept = {
        name
        for name in known
        if base.nodes[name].source_sha256 == frozen[name].sha256
        and base.nodes[name].precision == precisions[name]
    }
    before = {
        name: {
            other for path in paths.values() if name in path for other in path[: path.index(name)]
        }
        for name in known
    }
    changed = True
    while changed:
        staying = {name for name in kept if before[name] & known <= kept}
        changed, kept = staying != kept, staying
    if kept != known:
        listed = ", ".join(f"'{name}'" for name in frozen if name in known - kept)
        warnings.warn(
            f"Nodes {listed} of `base` have changed since, are wanted in another precision, or "
            "stand behind such a node: they are converted anew, and their bytes will differ from "
            "what is deployed.",
            stacklevel=3,
        )
    return {name: base.nodes[name] for name in frozen if name in kept}
