"""What combinations of forms take and lose, predicted from every form measured by itself.

Belongs here: sums over nodes, and the code that a precision brings in once. Does not belong here:
measuring (`search.py`), or the order of combinations (`knapsack.py`).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from itertools import combinations as choose

from quantize.bundle import Bundle, Node
from quantize.precision.choice import LUT_BITS
from quantize.rom.budget import RomBudget
from quantize.rom.knapsack import Combination, Option, combinations, smallest
from quantize.rom.losses import Loss

MOST_PASSED_OVER = 1000
"""Combinations in a row that fit by the sum and not once put together, before none is expected."""

START = "int8"
"""The form that every free node begins in."""


@dataclass(frozen=True)
class Form:
    """One precision of one node, all others being as in the bundle that the search began with.

    Args:
        node: The node in that precision.
        loss: What the bundle loses then.
    """

    node: Node
    loss: Loss


@dataclass(frozen=True)
class Predictions:
    """Combinations of forms, by what adding up says of them.

    Bytes are taken as a sum over nodes, and for every kind of precision what its code takes once,
    however many nodes have it: TensorFlow Lite Micro's DECODE for the first lookup table, its int4
    paths for the first int4 node. That code is found from the budget's own way of counting: by how
    much two nodes together save more than the sum of both.

    Args:
        start: The bundle in which every free node is int8.
        forms: By free node, by precision, the forms that are smaller than int8.
        budget: The budget.
    """

    start: Bundle
    forms: Mapping[str, Mapping[str, Form]]
    budget: RomBudget

    @property
    def nodes(self) -> tuple[str, ...]:
        """The free nodes, in the order of the names in a combination."""
        return tuple(self.forms)

    def put_together(self, names: Sequence[str]) -> Bundle:
        """Return the start with every free node in the form named; others are not adapted."""
        nodes = dict(self.start.nodes)
        for node, name in zip(self.nodes, names, strict=True):
            if name != START:
                nodes[node] = self.forms[node][name].node
        return replace(self.start, nodes=nodes)

    def fits(self, names: Sequence[str]) -> bool:
        """Return whether a combination meets the budget once put together."""
        return self.budget.rom_model(self.put_together(names)) <= self.budget.limit_bytes

    def loss(self, names: Sequence[str]) -> float:
        """Return the predicted loss of a combination."""
        pairs = zip(self.nodes, names, strict=True)
        return sum(self.forms[node][name].loss.value for node, name in pairs if name != START)

    def in_order(self) -> Iterator[Combination]:
        """Yield the combinations that fit, the one of least predicted loss first, each once."""
        streams = [self._within(kinds) for kinds in self._sets_of_kinds()]
        seen: set[tuple[str, ...]] = set()
        passed_over = 0
        for found in heapq.merge(*streams, key=lambda combination: combination.loss):
            if found.names in seen:
                continue
            seen.add(found.names)
            if self.fits(found.names):
                passed_over = 0
                yield found
            elif (passed_over := passed_over + 1) == MOST_PASSED_OVER:
                return

    def smallest(self) -> tuple[str, ...]:
        """Return the combination that takes the fewest bytes once put together."""
        found = [
            smallest([list(node.values()) for node in self._options(kinds)]).names
            for kinds in self._sets_of_kinds()
        ]
        return min(found, key=lambda names: self.budget.rom_model(self.put_together(names)))

    def _sets_of_kinds(self) -> list[frozenset[str]]:
        """Return every set of kinds whose code may be there; kinds without code are in all."""
        costly = [kind for kind, code_bytes in self._code_bytes.items() if code_bytes]
        free = [kind for kind in self._code_bytes if kind not in costly]
        sizes = (choose(costly, count) for count in range(len(costly) + 1))
        return [frozenset([*free, *some]) for some in chain.from_iterable(sizes)]

    def _within(self, kinds: frozenset[str]) -> Iterator[Combination]:
        """Yield the combinations of these kinds that fit beside the kinds' code."""
        code_bytes = sum(self._code_bytes[kind] for kind in kinds)
        before_bytes = sum(node[START].rom_bytes for node in self._options(kinds))
        room = self.budget.limit_bytes - code_bytes - self._start_bytes
        return combinations(
            [list(node.values()) for node in self._options(kinds)], before_bytes + room
        )

    def _options(self, kinds: frozenset[str]) -> list[dict[str, Option]]:
        """Return the options of every node: int8, and the forms of these kinds."""
        return [
            {
                name: option
                for name, option in options.items()
                if name == START or kind_of(name) in kinds
            }
            for options in self._all_options
        ]

    @cached_property
    def _start_bytes(self) -> int:
        return self.budget.rom_model(self.start)

    @cached_property
    def _all_options(self) -> list[dict[str, Option]]:
        """Every node's options; bytes are counted from the node's smallest, so never below 0."""
        found = []
        for node, forms in self.forms.items():
            changes = {START: 0}
            for name in forms:
                code_bytes = self._code_bytes[kind_of(name)]
                changes[name] = self._change({node: name}) - code_bytes
            least = min(changes.values())
            losses = {START: 0.0} | {name: form.loss.value for name, form in forms.items()}
            found.append(
                {name: Option(name, changes[name] - least, losses[name]) for name in changes}
            )
        return found

    @cached_property
    def _code_bytes(self) -> dict[str, int]:
        """What each kind's code takes once; 0 where only one node has the kind."""
        found = {}
        users: dict[str, dict[str, str]] = {}
        for node, forms in self.forms.items():
            for name in forms:
                users.setdefault(kind_of(name), {}).setdefault(node, name)
        for kind, pairs in users.items():
            pair = dict(list(pairs.items())[:2])
            alone = sum(self._change({node: name}) for node, name in pair.items())
            found[kind] = max(0, alone - self._change(pair)) if len(pair) == 2 else 0
        return found

    def _change(self, changed: Mapping[str, str]) -> int:
        """Return by how many bytes some nodes' forms change the start."""
        names = [changed.get(node, START) for node in self.nodes]
        return self.budget.rom_model(self.put_together(names)) - self._start_bytes


def kind_of(precision: str) -> str:
    """Return what precisions of the same code have in common."""
    return "lut" if precision in LUT_BITS else precision
