"""The search: nodes' precisions that meet a ROM budget with the least loss, measured.

Belongs here: which forms are measured, which combinations are tried, and when it ends. Does not
belong here: the arithmetic of combinations (`predictions.py`, `knapsack.py`), what a loss is
(`losses.py`), how a form is made (`other_forms.py`), and what a board's runtime takes (`deploy`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol

from quantize.bundle import Bundle, Node
from quantize.byte_count import format_bytes
from quantize.convert import ConversionError
from quantize.precision.choice import LUT_BITS, PrecisionError
from quantize.rom.budget import RomBudget, RomModelError, missed
from quantize.rom.losses import Loss
from quantize.rom.predictions import START, Form, Predictions

SAVING_PRECISIONS = ("int4", *LUT_BITS)
"""The precisions that may save bytes against int8, in the order in which they are measured."""

MOST_MEASURED = 8
"""Combinations that are made and measured whole, in the order of their predicted loss."""

MOST_NEIGHBOURS = 4
"""Further ones, each in one node away from the best so far."""


@dataclass(frozen=True)
class Measured:
    """A whole bundle that was made and measured.

    Args:
        bundle: The bundle.
        rom_bytes: What it takes by the budget's way of counting.
        loss: What it loses against the bundle that the search began with.
    """

    bundle: Bundle
    rom_bytes: int
    loss: Loss


@dataclass(frozen=True)
class RomSearch:
    """What a search found.

    Args:
        limit_bytes: The budget.
        start_bytes: What the bundle takes in which every free node is int8.
        forms: By free node and precision, what was measured of that node alone; empty where the
            budget was met without a search.
        best: The bundle chosen.
        measured_count: Whole bundles that were made and measured.
    """

    limit_bytes: int
    start_bytes: int
    forms: Mapping[str, Mapping[str, Form]]
    best: Measured
    measured_count: int

    @property
    def precisions(self) -> dict[str, str]:
        """The precision of every node of the chosen bundle."""
        return {name: node.precision for name, node in self.best.bundle.nodes.items()}


class Workshop(Protocol):
    """What makes and measures what the search asks for."""

    @property
    def report(self) -> Callable[[str], None]:
        """Called with a line of text at every step."""

    def form(self, name: str, precision: str) -> Node:
        """Return a node in a precision, all others being as in the start."""

    def bundle(self, precisions: Mapping[str, str]) -> Bundle:
        """Return the real bundle of the given precisions by node."""

    def loss(self, bundle: Bundle) -> Loss:
        """Return what a bundle loses against the start."""


def search(start: Bundle, free: Collection[str], budget: RomBudget, shop: Workshop) -> RomSearch:
    """Find the precisions of the free nodes that meet a budget with the least loss.

    1. Every free node is measured in every saving precision by itself, its neighbours unchanged.
    2. Losses and bytes are taken to add up (`Predictions`). Of all combinations that then fit, the
       one of least predicted loss is found exactly, after it the next one, and so on.
    3. Combinations are made and measured as they will be shipped, until none that is left is
       predicted to be better than the best measured, at most `MOST_MEASURED`. That is needed: a
       trunk in another precision changes what the nodes behind it are calibrated on, and losses do
       not quite add up.
    4. From the best, single nodes are changed as long as that measures better, at most
       `MOST_NEIGHBOURS`.

    Args:
        start: The bundle in which the free nodes are int8.
        free: The nodes that may get another precision.
        budget: The budget.
        shop: What makes and measures.

    Raises:
        RomBudgetError: No combination meets the budget.
    """
    start_bytes, limit_bytes = budget.rom_model(start), budget.limit_bytes
    over = start_bytes - limit_bytes
    if over <= 0:
        shop.report(f"ROM: {format_bytes(start_bytes)} are within {format_bytes(limit_bytes)}")
        return RomSearch(limit_bytes, start_bytes, {}, Measured(start, start_bytes, Loss(0, 0)), 0)
    shop.report(f"ROM: {start_bytes:,} bytes, {over:,} above the budget; trying smaller forms")
    predictions = Predictions(start, _forms(start, free, budget, shop), budget)
    trials = _Trials(predictions, shop)
    best = _best_predicted(predictions, trials) or _smallest(predictions, trials)
    best = _best_neighbour(predictions, trials, best)
    found = trials.measured[best]
    shop.report(f"ROM: {found.rom_bytes:,} bytes of {limit_bytes:,}; {found.loss}")
    return RomSearch(limit_bytes, start_bytes, predictions.forms, found, len(trials.measured))


def _forms(
    start: Bundle, free: Collection[str], budget: RomBudget, shop: Workshop
) -> dict[str, dict[str, Form]]:
    """Return every free node's smaller forms, each measured by itself."""
    nodes = [name for name in start.nodes if name in free]
    return {name: dict(_forms_of(start, name, budget, shop)) for name in nodes}


def _forms_of(
    start: Bundle, name: str, budget: RomBudget, shop: Workshop
) -> Iterator[tuple[str, Form]]:
    """Yield one node's forms that are smaller than it is and differ from one another."""
    known = {start.nodes[name].data}
    for precision in SAVING_PRECISIONS:
        try:
            node = shop.form(name, precision)
            changed = replace(start, nodes={**start.nodes, name: node})
            budget.rom_model(changed)
        except (ConversionError, PrecisionError, RomModelError) as error:
            shop.report(f"'{name}' cannot be {precision}: {error}")
            continue
        saved = start.nodes[name].rom_bytes - node.rom_bytes
        if node.data in known or saved <= 0:
            shop.report(f"'{name}' as {precision}: no smaller")
            continue
        known.add(node.data)
        loss = shop.loss(changed)
        shop.report(f"'{name}' as {precision}: {-saved:+,} bytes; {loss}")
        yield precision, Form(node, loss)


class _Trials:
    """The combinations that were made and measured, by the names of their forms."""

    def __init__(self, predictions: Predictions, shop: Workshop) -> None:
        self.measured: dict[tuple[str, ...], Measured] = {}
        self._predictions = predictions
        self._shop = shop

    def measure(self, names: tuple[str, ...]) -> Measured:
        """Make the real bundle of a combination and measure it."""
        if names not in self.measured:
            start, budget = self._predictions.start, self._predictions.budget
            precisions = {name: node.precision for name, node in start.nodes.items()}
            precisions.update(zip(self._predictions.nodes, names, strict=True))
            bundle = self._shop.bundle(precisions)
            found = Measured(bundle, budget.rom_model(bundle), self._shop.loss(bundle))
            self.measured[names] = found
            listed = ", ".join(f"{name} {precision}" for name, precision in precisions.items())
            over = "" if found.rom_bytes <= budget.limit_bytes else ", above the budget"
            self._shop.report(f"{listed}: {found.rom_bytes:,} bytes{over}; {found.loss}")
        return self.measured[names]

    def is_better(self, names: tuple[str, ...], best: tuple[str, ...] | None) -> bool:
        """Measure a combination; return whether it fits, and loses less than the best so far."""
        found = self.measure(names)
        if found.rom_bytes > self._predictions.budget.limit_bytes:
            return False
        return best is None or found.loss.value < self.measured[best].loss.value


def _best_predicted(predictions: Predictions, trials: _Trials) -> tuple[str, ...] | None:
    """Measure combinations in the order of their predicted loss; return the best that fits."""
    best: tuple[str, ...] | None = None
    for combination in islice(predictions.in_order(), MOST_MEASURED):
        if best is not None and trials.measured[best].loss.value <= combination.loss:
            break
        if trials.is_better(combination.names, best):
            best = combination.names
    return best


def _smallest(predictions: Predictions, trials: _Trials) -> tuple[str, ...]:
    """Return the smallest combination.

    Raises:
        RomBudgetError: It does not meet the budget.
    """
    names = predictions.smallest()
    if not trials.is_better(names, None):
        bundle = trials.measured[names].bundle
        raise missed(predictions.budget, bundle, predictions.nodes)
    return names


def _best_neighbour(
    predictions: Predictions, trials: _Trials, best: tuple[str, ...]
) -> tuple[str, ...]:
    """Change single nodes as long as that measures better; return where it ends."""
    left = MOST_NEIGHBOURS
    while left:
        near = [
            (*best[:place], name, *best[place + 1 :])
            for place, node in enumerate(predictions.nodes)
            for name in (START, *predictions.forms[node])
        ]
        new = [names for names in near if names not in trials.measured and predictions.fits(names)]
        if not new:
            return best
        names = min(new, key=predictions.loss)
        left -= 1
        if trials.is_better(names, best):
            best = names
    return best
