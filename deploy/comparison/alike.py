"""Two sides of a comparison under names that are alike on both, less what only one could know.

Two lone .tflite files are one node whatever the files are called; nodes of several bundles carry
their bundle's name; nodes of a baseline are those of its checks. What differs between the sides is
not looked at here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from deploy.comparison.baseline import BaselineCheck
from deploy.comparison.comparand import (
    MODEL,
    BundleFacts,
    Comparand,
    Contract,
    NodeFacts,
    TaskFacts,
)
from deploy.footprint.registrations import split_form


@dataclass(frozen=True)
class Side:
    """What one side has of all that both sides may have.

    Args:
        nodes: By name.
        operators: Of all nodes; None where they are not known.
        checks: By board or check.
        tasks: By name.
        contracts: By kind and node.
        has_unlike_nodes: Whether checks disagree on a node's size, so that the nodes of one name
            are not one node.
    """

    nodes: dict[str, NodeFacts]
    operators: frozenset[str] | None
    checks: dict[str, BaselineCheck]
    tasks: dict[str, TaskFacts] = field(default_factory=dict)
    contracts: dict[tuple[str, str], Contract] = field(default_factory=dict)
    has_unlike_nodes: bool = False


def sides(old: Comparand, new: Comparand) -> tuple[Side, Side]:
    """Bring two sides under names that are alike.

    Args:
        old: The side before.
        new: The side now.

    Returns:
        Both; a bundle and a report keep no checks, because those of a report count more.
    """
    if _are_lone_models(old, new):
        old = _renamed(old, new)
    are_alike = old.is_report == new.is_report
    have_bundles = bool(old.bundles and new.bundles)
    unlike = _unlike_nodes(old) | _unlike_nodes(new)
    several = have_bundles and max(len(old.bundles), len(new.bundles)) > 1
    found = []
    for side in (old, new):
        checks = side.checks if are_alike else {}
        if side.bundles and (have_bundles or not are_alike):
            found.append(_of_bundles(side.bundles, checks, several, have_bundles))
        else:
            found.append(_of_checks(side.checks, checks, unlike))
    return found[0], found[1]


def _are_lone_models(old: Comparand, new: Comparand) -> bool:
    return all(side.kind == MODEL and len(side.bundles[0].nodes) == 1 for side in (old, new))


def _renamed(old: Comparand, new: Comparand) -> Comparand:
    """The old model's node and task under the names of the new one's."""
    (mine,), (theirs,) = old.bundles, new.bundles
    (name,), (facts,) = theirs.nodes, mine.nodes.values()
    (task,) = theirs.tasks
    contracts = {(kind, name): replace(one, node=name) for (kind, _), one in mine.contracts.items()}
    renamed = BundleFacts(mine.name, {name: facts}, {task: TaskFacts((name,))}, contracts)
    return replace(old, bundles=(renamed,))


def _of_bundles(
    bundles: tuple[BundleFacts, ...],
    checks: dict[str, BaselineCheck],
    several: bool,
    have_tasks: bool,
) -> Side:
    named = [(f"{one.name}/" if several else "", one) for one in bundles]
    nodes: dict[str, NodeFacts] = _prefixed({prefix: one.nodes for prefix, one in named})
    listed = [node.operators for node in nodes.values()]
    known = {name for operators in listed for name in operators or ()}
    return Side(
        nodes,
        None if any(operators is None for operators in listed) else frozenset(known),
        checks,
        _prefixed({prefix: one.tasks for prefix, one in named}) if have_tasks else {},
        {} if several else bundles[0].contracts,
    )


def _prefixed(parts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {
        f"{prefix}{name}": one for prefix, named in parts.items() for name, one in named.items()
    }


def _unlike_nodes(side: Comparand) -> frozenset[str]:
    """Nodes to which checks give different sizes: they are of different bundles."""
    sizes: dict[str, set[int]] = {}
    for check in side.checks.values():
        for name, size in check.node_bytes.items():
            sizes.setdefault(name, set()).add(size)
    return frozenset(name for name, found in sizes.items() if len(found) > 1)


def _of_checks(
    known: Mapping[str, BaselineCheck], checks: dict[str, BaselineCheck], unlike: frozenset[str]
) -> Side:
    """Nodes as the checks list them: by name, or by name and check where sizes contradict."""
    nodes = {
        f"{name} ({check.name})" if name in unlike else name: NodeFacts(size)
        for check in known.values()
        for name, size in check.node_bytes.items()
    }
    linked = (name for check in known.values() for name in check.operator_bytes)
    operators = frozenset(split_form(name)[0] for name in linked)
    return Side(nodes, operators or None, checks, has_unlike_nodes=bool(unlike))
