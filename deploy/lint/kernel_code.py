"""Code that a bundle would not link without some operators: what dropping them saves.

Kernels share code, so what an operator costs is the difference between two unions (see
`footprint/rom.py`). The rules of the lint and the next steps of a failed check use the same.
"""

from __future__ import annotations

from collections.abc import Iterable

from deploy.footprint import Footprint
from deploy.footprint.registrations import split_form
from deploy.footprint.rom import runtime_rom
from deploy.lint.node_graph import graph_of
from quantize.bundle import Bundle
from quantize.wire.lookup_table import DECODE

NEEDED_OPERATORS = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "RESHAPE", DECODE})
"""Operators to keep: the layers that hold a network's weights, what decodes those, and the way
between them."""

SUBSTITUTES = {
    "SOFTMAX": "the largest logit names the same class",
    "LOGISTIC": "the logit is above 0 where it is above one half",
}
"""Operators after which only probabilities are new, and what says the class without them."""


def operators_of(bundle: Bundle, found: Footprint) -> frozenset[str]:
    """Return the operators of the nodes that the footprint's tasks use."""
    return frozenset(name for node in found.nodes for name in bundle.nodes[node].operators)


def droppable_operators(bundle: Bundle, found: Footprint) -> tuple[str, ...]:
    """Return the operators that a network may do without, sorted.

    Neither the needed ones, nor the QUANTIZE that lead into nodes of int16 activations.
    """
    needed = set(NEEDED_OPERATORS)
    graphs = (graph_of(bundle.nodes[name].data) for name in found.nodes)
    if any(tensor.dtype == "INT16" for graph in graphs for tensor in graph.tensors):
        needed.add("QUANTIZE")
    return tuple(sorted(operators_of(bundle, found) - needed))


def freed_bytes(bundle: Bundle, found: Footprint, dropped: Iterable[str]) -> int:
    """Return the bytes of flash that doing without some operators frees.

    Args:
        bundle: The bundle.
        found: What it costs on a board, with the kernels that it links now.
        dropped: Names of operators that no node would use any more.
    """
    gone = frozenset(dropped)
    linked = {*found.runtime.by_operator} or operators_of(bundle, found)
    left = {name for name in linked if split_form(name)[0] not in gone}
    board = found.board
    runtime = runtime_rom(left, board.core, found.kernels, board.fpu)
    return found.runtime.kernel_bytes - runtime.kernel_bytes
