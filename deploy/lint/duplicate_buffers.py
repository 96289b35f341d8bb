"""Rule: equal weights in several nodes, each of which stores them.

Equal buffers inside one flatbuffer are the strip's to find (`strip_savings.py`).
"""

from __future__ import annotations

from collections.abc import Iterator

from deploy.footprint import Footprint
from deploy.lint.finding import Finding, listed
from deploy.lint.node_graph import graph_of
from deploy.units import format_bytes
from quantize.bundle import Bundle

_LEAST_BYTES = 64


def duplicate_buffers(bundle: Bundle, found: Footprint) -> Iterator[Finding]:
    """Constants of 64 bytes or more that are equal in two nodes or more, by those nodes."""
    holders: dict[bytes, list[str]] = {}
    for name in found.nodes:
        tensors = graph_of(bundle.nodes[name].data).tensors
        for data in {tensor.data for tensor in tensors if tensor.data is not None}:
            # Biases that are all zero are equal by chance, not because they are the same layer.
            if len(data) >= _LEAST_BYTES and data.count(data[:1]) < len(data):
                holders.setdefault(data, []).append(name)
    sizes: dict[tuple[str, ...], list[int]] = {}
    for data, names in holders.items():
        if len(names) > 1:
            sizes.setdefault(tuple(names), []).append(len(data))
    for nodes, equal in sizes.items():
        plural = "s" if len(equal) > 1 else ""
        saved = sum(equal) * (len(nodes) - 1)
        yield Finding(
            "duplicate-buffers",
            nodes,
            f"{len(equal)} equal buffer{plural}, {format_bytes(sum(equal))}, "
            f"{'stand' if plural else 'stands'} in each of {listed(nodes)}",
            "move those layers into a node that all of these paths run",
            "ROM",
            saved,
        )
