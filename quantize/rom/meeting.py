"""A tree's conversion and its measuring, as the search asks for them.

Belongs here: which nodes are free, and what makes and measures bundles of a real tree. Does not
belong here: the search itself (`search.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from quantize.bundle import Bundle, Node
from quantize.rom.budget import RomBudget
from quantize.rom.losses import Loss, LossMeter
from quantize.rom.other_forms import OtherForms, RememberingConverter
from quantize.rom.predictions import START
from quantize.rom.search import RomSearch, search

if TYPE_CHECKING:
    from quantize.tree_conversion import TreeConversion


def free_nodes(precision: str | Mapping[str, str], nodes: Iterable[str]) -> frozenset[str]:
    """Return the nodes whose precision is free to choose beside a budget: those not named.

    Raises:
        ValueError: One precision is given for all nodes, which leaves nothing to choose.
    """
    if not isinstance(precision, str):
        return frozenset(nodes) - frozenset(precision)
    if precision != START:
        raise ValueError(
            f"`precision` beside `rom` must be by node, received {precision!r} for all of them, "
            "which leaves nothing to choose. Leave it out, or name the nodes that it is meant for."
        )
    return frozenset(nodes)


def meet_budget(
    conversion: TreeConversion,
    precisions: Mapping[str, str],
    kept: Mapping[str, Node],
    free: frozenset[str],
    budget: RomBudget,
    evaluation: Mapping[str, tuple[Any, Any]] | None,
    on_found: Callable[[RomSearch], None] | None,
) -> Bundle:
    """Return the bundle whose precisions meet a budget with the least loss.

    Args:
        conversion: The tree's conversion.
        precisions: The precision of every node; those of the free ones are int8 to begin with.
        kept: Nodes that stay as they are, by name, although they may be free.
        free: Nodes whose precision is not given.
        budget: The budget.
        evaluation: Data to measure losses on, or None.
        on_found: Called with what the search found.

    Raises:
        RomBudgetError: No combination meets the budget.
    """
    conversion = replace(conversion, converter=RememberingConverter(conversion.converter))
    open_nodes = free - kept.keys()
    start = conversion.bundle({**precisions, **dict.fromkeys(open_nodes, START)}, kept)
    workshop = _TreeWorkshop(conversion, start, kept, evaluation)
    found = search(start, open_nodes, budget, workshop)
    if on_found:
        on_found(found)
    return found.best.bundle


class _TreeWorkshop:
    """What makes and measures bundles of one tree; nothing is run before it is asked for."""

    def __init__(
        self,
        conversion: TreeConversion,
        start: Bundle,
        kept: Mapping[str, Node],
        evaluation: Mapping[str, tuple[Any, Any]] | None,
    ) -> None:
        self.report = conversion.report
        # The steps of every trial would hide what the search has to say.
        self._conversion = replace(conversion, report=lambda line: None)
        self._start = start
        self._kept = kept
        self._evaluation = evaluation

    @cached_property
    def _forms(self) -> OtherForms:
        return OtherForms(self._conversion, self._start)

    @cached_property
    def _meter(self) -> LossMeter:
        conversion = self._conversion
        return LossMeter(conversion.tree, self._start, conversion.samples, self._evaluation)

    def form(self, name: str, precision: str) -> Node:
        """Return a node of the start in another precision."""
        return self._forms.node(name, precision)

    def bundle(self, precisions: Mapping[str, str]) -> Bundle:
        """Return the real bundle of these precisions."""
        return self._conversion.bundle(precisions, self._kept)

    def loss(self, bundle: Bundle) -> Loss:
        """Return what a bundle loses against the start."""
        return self._meter.loss(bundle)
