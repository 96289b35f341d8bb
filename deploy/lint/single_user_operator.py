"""Rule: an operator that only one branch pulls in, and the code that goes with it."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.footprint import Footprint
from deploy.lint.finding import Finding
from deploy.lint.kernel_code import SUBSTITUTES, droppable_operators, freed_bytes
from deploy.lint.replaceable_activation import replaceable_nodes
from deploy.units import format_bytes
from quantize.bundle import Bundle

# Activations that a convolution or fully connected layer does not apply by itself.
_ACTIVATIONS = frozenset({"ELU", "GELU", "HARD_SWISH", "LEAKY_RELU", "PRELU", "RELU_0_TO_1"})
# Operators that often do the same work.
_ALTERNATIVES = {
    "AVERAGE_POOL_2D": ("MEAN", "MAX_POOL_2D"),
    "LOGISTIC": ("TANH",),
    "MAX_POOL_2D": ("AVERAGE_POOL_2D",),
    "MEAN": ("AVERAGE_POOL_2D",),
    "RESIZE_BILINEAR": ("RESIZE_NEAREST_NEIGHBOR",),
    "SQUEEZE": ("RESHAPE",),
    "SUB": ("ADD",),
    "SUM": ("MEAN",),
    "TANH": ("LOGISTIC",),
}


def single_user_operator(bundle: Bundle, found: Footprint) -> Iterator[Finding]:
    """Operators of one node that not every task runs: its kernels are there for it alone.

    What every task runs is no branch's own, and what a network needs is no choice. Softmax and
    sigmoid have rules of their own.
    """
    for operator in droppable_operators(bundle, found):
        users = [node for node in found.nodes if operator in bundle.nodes[node].operators]
        if len(users) > 1 or len(found.nodes[users[0]].tasks) == len(found.tasks):
            continue
        if operator in SUBSTITUTES and replaceable_nodes(bundle, found, operator):
            continue
        saved = freed_bytes(bundle, found, (operator,))
        if saved > 0:
            yield Finding(
                "single-user-operator",
                (users[0],),
                f"only {users[0]} uses {operator}, whose own code takes {format_bytes(saved)}",
                _advice(bundle, found, users[0], operator),
                "ROM",
                saved,
                found.board.name,
            )


def _advice(bundle: Bundle, found: Footprint, user: str, operator: str) -> str:
    if operator in _ACTIVATIONS:
        return "use ReLU, which the layer before applies by itself"
    others = {name for node in found.nodes if node != user for name in bundle.nodes[node].operators}
    for alternative in _ALTERNATIVES.get(operator, ()):
        if alternative in others:
            return f"use {alternative}, which other nodes link already, where it does as well"
    return f"build {user} from operators that other nodes link already"
