"""A comparison as JSON, for programs: all that the terminal shows, and every node and board.

`schema_version` rises when a key changes its meaning or goes; new keys may come without it.
"""

from __future__ import annotations

import json
import math
from typing import Any

from deploy.comparison.change import Change, Difference, TaskChange
from deploy.comparison.comparand import TaskFacts

SCHEMA_VERSION = 1


def render(difference: Difference) -> str:
    """Render a comparison as indented JSON without a trailing newline."""
    return json.dumps(as_dict(difference), indent=2, ensure_ascii=False, allow_nan=False)


def as_dict(difference: Difference) -> dict[str, Any]:
    """The comparison as JSON values: sizes in bytes, times in microseconds, accuracies 0 to 1."""
    return {
        "schema_version": SCHEMA_VERSION,
        "old": difference.old,
        "new": difference.new,
        "is_same": difference.is_none,
        "fits": difference.fits,
        "model": _change(difference.model),
        "macs": _change(difference.macs),
        "nodes": [
            {"name": one.name, **_figures(one), **_precision(one)} for one in difference.nodes
        ],
        "operators": [
            {"name": one.name, "is_new": one.is_new, "rom_bytes": dict(one.rom_bytes)}
            for one in difference.operators
        ],
        "checks": [
            {
                "name": one.name,
                "change": one.word,
                "rom": _change(one.rom),
                "ram": _change(one.ram),
                "time": _change(one.time),
            }
            for one in difference.checks
        ],
        "tasks": [_task(one) for one in difference.tasks],
        "contracts": [
            {
                "kind": one.kind,
                "node": one.node,
                "old": one.old,
                "new": one.new,
                "consumers": list(one.consumers),
                "message": one.message,
            }
            for one in difference.contracts
        ],
        "growths": [
            {
                "memory": one.memory,
                "where": one.where,
                "growth_bytes": one.change.delta,
                "allowed_bytes": one.allowed_bytes,
                "is_too_much": one.is_too_much,
            }
            for one in difference.growths
        ],
        "error_percent": {name: list(band) for name, band in difference.error_percent.items()},
        "notes": list(difference.notes),
    }


def _change(change: Change | None) -> dict[str, Any] | None:
    return None if change is None else _figures(change)


def _precision(change: Change) -> dict[str, Any]:
    """The forms of a node; nothing where it is stored as before."""
    if change.precisions is None or not change.has_other_precision:
        return {}
    return {"precision": dict(zip(("old", "new"), change.precisions, strict=True))}


def _figures(change: Change) -> dict[str, Any]:
    percent = change.percent
    return {
        "change": change.word,
        "unit": change.unit,
        "old": change.old,
        "new": change.new,
        "delta": change.delta,
        "percent": None if percent is None else round(percent, 2),
    }


def _task(task: TaskChange) -> dict[str, Any]:
    return {
        "name": task.name,
        "change": task.word,
        "old": _facts(task.old),
        "new": _facts(task.new),
        "delta": _finite(task.delta),
    }


def _facts(facts: TaskFacts | None) -> dict[str, Any] | None:
    if facts is None:
        return None
    return {
        "path": list(facts.path),
        "metric": facts.metric or None,
        "float": _finite(facts.float_value),
        "int8": _finite(facts.int8_value),
    }


def _finite(value: float) -> float | None:
    """JSON knows neither NaN nor infinity; null stands for "no such figure"."""
    return value if math.isfinite(value) else None
