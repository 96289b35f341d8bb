"""Compare two sides - bundles, .tflite files, reports, baselines - in all that both of them have.

Here stands what is compared with what. The sides are gathered in `comparand.py`, the values are in
`change.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from deploy.comparison.alike import Side, sides
from deploy.comparison.baseline import BaselineCheck
from deploy.comparison.change import (
    Change,
    CheckChange,
    ContractChange,
    Difference,
    Growth,
    OperatorChange,
    TaskChange,
)
from deploy.comparison.comparand import Comparand, Contract, NodeFacts, TaskFacts
from deploy.footprint.registrations import split_form
from deploy.units import Allowance

__all__ = ["Difference", "DifferenceError", "compare"]

_UNLIKE_NOTE = (
    "ROM, RAM and time are not compared: those of a report include what its checks reserve. "
    "Compare two reports, or hold the bundle against the report: keras-tree check BUNDLE "
    "--baseline FILE"
)


class DifferenceError(ValueError):
    """Two sides that have nothing in common to compare."""


def compare(old: Comparand, new: Comparand, allowance: Allowance | None = None) -> Difference:
    """Compare two sides.

    Two bundles are compared node by node and board by board, two reports check by check. Of a
    bundle and a report only the nodes are alike.

    Args:
        old: The side before.
        new: The side now.
        allowance: How much ROM and RAM may grow on every board or check that both sides have, or
            the model where there is none; None for any.

    Raises:
        DifferenceError: The sides have nothing in common.
    """
    before, now = sides(old, new)
    _refuse_unlike(old, new, before, now)
    nodes = _nodes(before.nodes, now.nodes)
    is_ambiguous = before.has_unlike_nodes or now.has_unlike_nodes
    model = None if is_ambiguous else _total("model", before.nodes, now.nodes, "rom_bytes", "bytes")
    macs = None if is_ambiguous else _total("MACs", before.nodes, now.nodes, "macs", "macs")
    checks = _checks(before.checks, now.checks)
    return Difference(
        old.origin,
        new.origin,
        nodes,
        model,
        macs,
        _operators(before, now),
        checks,
        _tasks(before.tasks, now.tasks),
        _contracts(before.contracts, now.contracts),
        _growths(checks, model, allowance),
        (_UNLIKE_NOTE,) if old.is_report != new.is_report else (),
        _errors(old, new) if checks else {},
    )


def _errors(old: Comparand, new: Comparand) -> dict[str, tuple[float, float]]:
    """By quantity the band that holds those of all boards on both sides."""
    bands: dict[str, list[tuple[float, float]]] = {}
    for side in (old, new):
        for name, those in side.error_percent.items():
            bands.setdefault(name, []).extend(those)
    return {
        name: (min(low for low, _ in those), max(high for _, high in those))
        for name, those in bands.items()
    }


def _refuse_unlike(old: Comparand, new: Comparand, before: Side, now: Side) -> None:
    if not (old.is_report or new.is_report):
        return
    if before.checks.keys() & now.checks.keys() or before.nodes.keys() & now.nodes.keys():
        return
    if old.is_report and new.is_report:
        raise DifferenceError(
            "two reports are compared by the names of their checks and nodes, received reports "
            f"with none in common: {_listed(before)} against {_listed(now)}. Compare reports of "
            "the same budget file, or two bundles."
        )
    raise DifferenceError(
        "a bundle and a report are compared by the names of their nodes, received none in common: "
        f"{_names(before.nodes)} against {_names(now.nodes)}. Compare two bundles or two "
        "reports, or a bundle with a report of the same tree."
    )


def _listed(side: Side) -> str:
    return f"checks {_names(side.checks)}, nodes {_names(side.nodes)}"


def _names(names: Iterable[str], most: int = 8) -> str:
    listed = list(names)
    rest = f" and {len(listed) - most} more" if len(listed) > most else ""
    return (", ".join(listed[:most]) or "none") + rest


def _union(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The names of either side, the new side's order first."""
    return list(dict.fromkeys([*new, *old]))


def _nodes(old: Mapping[str, NodeFacts], new: Mapping[str, NodeFacts]) -> tuple[Change, ...]:
    changes = []
    for name in _union(old, new):
        before, now = old.get(name), new.get(name)
        is_same, precisions = None, None
        if before is not None and now is not None and before.sha256 and now.sha256:
            is_same = before.sha256 == now.sha256
        if before is not None and now is not None and before.precision and now.precision:
            precisions = (before.precision, now.precision)
        change = _figure(name, "rom_bytes", before, now)
        changes.append(replace(change, has_same_content=is_same, precisions=precisions))
    return tuple(sorted(changes, key=lambda one: (-abs(one.delta), one.word == "same", one.name)))


def _total(
    name: str, old: Mapping[str, NodeFacts], new: Mapping[str, NodeFacts], key: str, unit: str
) -> Change | None:
    """Sum of a figure over all nodes; None where a node's is not known."""
    figures = [[getattr(node, key) for node in side.values()] for side in (old, new)]
    if any(figure is None for side in figures for figure in side):
        return None
    return Change(name, sum(figures[0]), sum(figures[1]), unit)


def _checks(
    old: Mapping[str, BaselineCheck], new: Mapping[str, BaselineCheck]
) -> tuple[CheckChange, ...]:
    changes = [_check(name, old.get(name), new.get(name)) for name in _union(old, new)]
    return tuple(
        sorted(changes, key=lambda one: (-abs(one.rom.delta) - abs(one.ram.delta), one.name))
    )


def _check(name: str, old: BaselineCheck | None, new: BaselineCheck | None) -> CheckChange:
    known = [side.latency_us is not None for side in (old, new) if side is not None]
    return CheckChange(
        name,
        _figure("ROM", "rom_bytes", old, new),
        _figure("RAM", "ram_bytes", old, new),
        _figure("time", "latency_us", old, new, "us") if all(known) else None,
    )


def _figure(name: str, key: str, old: Any, new: Any, unit: str = "bytes") -> Change:
    """A figure of two values, either of which may be missing."""
    before, now = (None if side is None else getattr(side, key) for side in (old, new))
    return Change(name, before, now, unit)


def _operators(old: Side, new: Side) -> tuple[OperatorChange, ...]:
    """Operators of one side only, the new ones first."""
    before, now = old.operators, new.operators
    if before is None or now is None:
        return ()
    return tuple(
        OperatorChange(name, is_new, _rom_of(name, side))
        for is_new, names, side in ((True, now - before, new), (False, before - now, old))
        for name in sorted(names)
    )


def _rom_of(operator: str, side: Side) -> dict[str, int]:
    """By board or check the code of an operator, in all the forms that it is linked in."""
    forms = {
        name: [
            size for form, size in check.operator_bytes.items() if split_form(form)[0] == operator
        ]
        for name, check in side.checks.items()
    }
    return {name: sum(sizes) for name, sizes in forms.items() if sizes}


def _tasks(old: Mapping[str, TaskFacts], new: Mapping[str, TaskFacts]) -> tuple[TaskChange, ...]:
    # `repr` takes NaN, a metric that was not measured, for equal to itself.
    return tuple(
        TaskChange(name, old.get(name), new.get(name))
        for name in _union(old, new)
        if repr(old.get(name)) != repr(new.get(name))
    )


def _contracts(
    old: Mapping[tuple[str, str], Contract], new: Mapping[tuple[str, str], Contract]
) -> tuple[ContractChange, ...]:
    """Contracts of a tensor on both sides, seams first."""
    changes = []
    for key in old.keys() & new.keys():
        before, now = old[key], new[key]
        if before.text != now.text:
            readers = tuple(dict.fromkeys([*before.consumers, *now.consumers]))
            changes.append(ContractChange(*key, before.text, now.text, readers))
    order = ("seam", "input", "output")
    return tuple(sorted(changes, key=lambda one: (order.index(one.kind), one.node)))


def _growths(
    checks: Iterable[CheckChange], model: Change | None, allowance: Allowance | None
) -> tuple[Growth, ...]:
    """Every memory that both sides have, held against the allowance."""
    if allowance is None:
        return ()
    held = [
        ("ROM" if change is one.rom else "RAM", one.name, change)
        for one in checks
        for change in (one.rom, one.ram)
        if change.old is not None and change.new is not None
    ]
    if not held and model is None:
        raise DifferenceError(
            "`--allow-growth` needs a board or check that both sides have, received none. Compare "
            "reports of the same budget file."
        )
    if not held and model is not None:
        held = [("the model", "", model)]
    return tuple(
        Growth(memory, where, change, int(allowance.of(change.old or 0)))
        for memory, where, change in held
    )
