"""Bundle: the int8 nodes of a tree, their seams and the tasks they serve; read, written, run.

Here stands what one does with a whole bundle. Its parts are in `bundle_parts.py`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise

from quantize.bundle_parts import (
    FORMAT_VERSION,
    BundleError,
    BundleTask,
    InputNormalization,
    Node,
    Score,
    Seam,
)

__all__ = [
    "FORMAT_VERSION",
    "Bundle",
    "BundleError",
    "BundleTask",
    "InputNormalization",
    "Node",
    "Score",
    "Seam",
]


@dataclass(frozen=True)
class Bundle:
    """The int8 nodes of a tree with everything a device or a report needs to know of them.

    Args:
        name: The tree's name.
        nodes: Every node once, by name, trunk first.
        seams: The tensors between neighbouring nodes.
        tasks: The shipped tasks by name.
        input_normalization: How raw samples become the trunk's input.
        versions: Library and converter versions by distribution, e.g. {"tensorflow": "2.21.0"}.
    """

    name: str
    nodes: dict[str, Node]
    seams: tuple[Seam, ...]
    tasks: dict[str, BundleTask]
    input_normalization: InputNormalization
    versions: dict[str, str]

    def path_nodes(self, task: str) -> tuple[Node, ...]:
        """Return the nodes that `task` runs, trunk first.

        Raises:
            BundleError: The bundle has no such task.
        """
        return tuple(self.nodes[name] for name in self._task(task).path)

    def select(self, tasks: str | Iterable[str]) -> Bundle:
        """Return a bundle of these tasks only, with the nodes and seams that their paths use.

        Args:
            tasks: Names of tasks of this bundle; their order does not matter.

        Raises:
            BundleError: A task is unknown, or none is given.
        """
        wanted = {tasks} if isinstance(tasks, str) else set(tasks)
        if not wanted:
            raise BundleError(
                "`tasks` must name at least one task of the bundle; got none. "
                f"It has: {', '.join(self.tasks)}."
            )
        for name in sorted(wanted):
            self._task(name)
        kept = {name: task for name, task in self.tasks.items() if name in wanted}
        pairs = {pair for task in kept.values() for pair in pairwise(task.path)}
        used = {name for task in kept.values() for name in task.path}
        return replace(
            self,
            nodes={name: node for name, node in self.nodes.items() if name in used},
            seams=_seams_between(self.seams, pairs),
            tasks=kept,
        )

    def _task(self, name: str) -> BundleTask:
        if name in self.tasks:
            return self.tasks[name]
        near = difflib.get_close_matches(name, self.tasks, n=1)
        advice = f"Did you mean '{near[0]}'?" if near else f"It has: {', '.join(self.tasks)}."
        raise BundleError(f"Bundle '{self.name}' has no task '{name}'. {advice}")


def _seams_between(seams: Iterable[Seam], pairs: set[tuple[str, str]]) -> tuple[Seam, ...]:
    """Return the seams that `pairs` of neighbours cross, each with only their nodes."""
    before, after = {pair[0] for pair in pairs}, {pair[1] for pair in pairs}
    narrowed = (
        replace(
            seam,
            producers=tuple(name for name in seam.producers if name in before),
            consumers=tuple(name for name in seam.consumers if name in after),
        )
        for seam in seams
    )
    return tuple(seam for seam in narrowed if seam.producers and seam.consumers)
