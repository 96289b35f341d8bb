"""Rule: bytes that the lossless strip took off the nodes, or would take."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from deploy.footprint import Footprint
from deploy.lint.finding import Finding, listed
from deploy.units import format_bytes
from quantize.bundle import Bundle
from quantize.strip import strip


def strip_savings(bundle: Bundle, found: Footprint) -> Iterator[Finding]:
    """Say what strip saved, and what it would save of flatbuffers that were never stripped."""
    saved = {
        name: node.stripped_bytes for name, node in found.nodes.items() if node.stripped_bytes > 0
    }
    if saved:
        taken = sum(saved.values())
        percent = 100 * taken / sum(found.nodes[name].rom_bytes + saved[name] for name in saved)
        yield Finding(
            "strip-savings",
            tuple(saved),
            f"strip took {format_bytes(taken)} ({percent:.0f} %) off {listed(tuple(saved))}, and "
            "every output stayed the same",
            "",
            "ROM",
        )
    whole = {
        name: strippable_bytes(bundle.nodes[name].data)
        for name, node in found.nodes.items()
        if node.stripped_bytes <= 0
    }
    possible = {name: size for name, size in whole.items() if size}
    if possible:
        total = sum(possible.values())
        percent = 100 * total / sum(found.nodes[name].rom_bytes for name in possible)
        yield Finding(
            "strip-savings",
            tuple(possible),
            f"{format_bytes(total)} ({percent:.0f} %) of {listed(tuple(possible))} are never read "
            "by TensorFlow Lite Micro",
            "ship `quantize.strip.strip(data)` instead: the same outputs, for that runtime alone",
            "ROM",
            total,
        )


@lru_cache(maxsize=256)
def strippable_bytes(data: bytes) -> int:
    """Return the bytes that `quantize.strip` would take off a flatbuffer."""
    return len(data) - len(strip(data))
