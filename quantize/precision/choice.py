"""The forms that a node can be stored in, by name, and which node gets which.

Belongs here: names and their check. Does not belong here: what a form does to a flatbuffer.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

PRECISIONS: dict[str, str] = {
    "int8": "int8 weights and activations",
    "int4": "int4 weights in convolutions, per channel; dense layers stay int8",
    "lut4": "int8 weights, at most 16 values per channel, stored as 4-bit indices",
    "lut3": "int8 weights, at most 8 values per channel, stored as 3-bit indices",
    "lut2": "int8 weights, at most 4 values per channel, stored as 2-bit indices",
    "16x8": "int8 weights, int16 activations inside the node; its ends stay int8",
}
"""What each precision means, by its name."""

LUT_BITS: dict[str, int] = {"lut4": 4, "lut3": 3, "lut2": 2}
"""Bits per index of the precisions that store lookup tables."""


class PrecisionError(ValueError):
    """A node that cannot be stored in the wanted precision; says why and what to do."""


def node_precisions(precision: str | Mapping[str, str], nodes: Iterable[str]) -> dict[str, str]:
    """Return the precision of every node.

    Args:
        precision: One name of `PRECISIONS` for all the nodes, or names by node; nodes that are left
            out are "int8".
        nodes: The nodes that are shipped, in order.

    Raises:
        ValueError: A node or a precision is unknown.
    """
    known = list(nodes)
    if not isinstance(precision, str | Mapping):
        raise ValueError(
            f"`precision` must be a name or names by node, received {type(precision).__name__}. "
            f"The names are {', '.join(PRECISIONS)}."
        )
    given = dict.fromkeys(known, precision) if isinstance(precision, str) else dict(precision)
    for node, name in given.items():
        if node not in known:
            raise ValueError(
                f"`precision` must be by node of the tree, received '{node}'. "
                f"{_near(node, known, 'The tree ships')}"
            )
        if name not in list(PRECISIONS):
            raise ValueError(
                f"`precision` of '{node}' must be one of {', '.join(PRECISIONS)}, received "
                f"{name!r}. {_near(str(name), list(PRECISIONS), 'They are')}"
            )
    return {node: given.get(node, "int8") for node in known}


def _near(name: str, known: list[str], otherwise: str) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean '{near[0]}'?" if near else f"{otherwise} {', '.join(known)}."
