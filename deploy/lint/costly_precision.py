"""Rule: int4 weights or int16 activations that take more flash on the board than int8."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from deploy.footprint import Footprint
from deploy.lint.finding import Finding, listed
from deploy.lint.form_costs import FormCosts, form_costs, stripped_like
from deploy.lint.node_graph import graph_of
from deploy.lint.stored_form import as_int8
from deploy.units import format_bytes
from quantize.bundle import Bundle

_WHAT = {
    "INT4": ("int4 weights", 'quantize {} in "int8", which is also the more accurate'),
    "INT16": (
        "int16 activations",
        "keep them where int8 is not accurate enough for {}, and there only",
    ),
}


def costly_precision(bundle: Bundle, found: Footprint) -> Iterator[Finding]:
    """Nodes of each form, all at once, against the same nodes in int8."""
    for dtype, (what, advice) in _WHAT.items():
        names = tuple(name for name in found.nodes if dtype in _types(bundle.nodes[name].data))
        if not names:
            continue
        costs = form_costs(
            bundle, found, {name: _in_int8(bundle.nodes[name].data) for name in names}
        )
        if costs.rom_bytes > 0:
            yield Finding(
                "costly-precision",
                names,
                f"the {what} of {listed(names)} take {_told(costs)} than int8 would",
                advice.format(listed(names)),
                "ROM",
                costs.rom_bytes,
                found.board.name,
            )


def _told(costs: FormCosts) -> str:
    """Flash with its two parts, and RAM."""
    stored, code = costs.stored_bytes, costs.code_bytes
    parts = [
        f"{format_bytes(abs(size))} {'more' if size > 0 else 'less'} of {name}"
        for size, name in ((stored, "flatbuffers"), (code, "code"), (costs.ram_bytes, "RAM"))
        if size
    ]
    return " and ".join(part for part in (", ".join(parts[:-1]), parts[-1]) if part)


def _types(data: bytes) -> set[str]:
    return {tensor.dtype for tensor in graph_of(data).tensors}


@lru_cache(maxsize=256)
def _in_int8(data: bytes) -> bytes:
    return stripped_like(as_int8(data), data)
