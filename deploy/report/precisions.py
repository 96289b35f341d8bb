"""The column that tells how nodes are stored, which stands only where one is not int8."""

from __future__ import annotations

from quantize.bundle import Bundle

HEAD = "precision"
"""Name of the column, and of the key in JSON."""


def has_precisions(bundle: Bundle) -> bool:
    """Whether any node of a bundle is stored in another form than int8."""
    return any(node.precision != "int8" for node in bundle.nodes.values())


def head(bundle: Bundle) -> tuple[str, ...]:
    """Return the column's name, or nothing."""
    return (HEAD,) if has_precisions(bundle) else ()


def cell(bundle: Bundle, node: str) -> tuple[str, ...]:
    """Return how a node is stored, such as "lut4", or nothing where all are int8."""
    return (bundle.nodes[node].precision,) if has_precisions(bundle) else ()
