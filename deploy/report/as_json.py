"""A budget report as JSON, for programs: everything the terminal shows, and every part by name.

`schema_version` rises when a key changes its meaning or goes; new keys may come without it.
"""

from __future__ import annotations

import json
import math
from typing import Any

from deploy.footprint import Footprint
from deploy.verdict import BudgetReport, Usage, Verdict
from quantize.bundle import Bundle, BundleTask, Score

SCHEMA_VERSION = 1


def render(report: BudgetReport) -> str:
    """Render a report as indented JSON without a trailing newline."""
    return json.dumps(as_dict(report), indent=2, ensure_ascii=False, allow_nan=False)


def as_dict(report: BudgetReport) -> dict[str, Any]:
    """The report as JSON values. Sizes are bytes, shares and errors percent, accuracies 0 to 1."""
    return {
        "schema_version": SCHEMA_VERSION,
        "fits": report.fits,
        "checks_over_budget": len(report.over_budget),
        "bundles": [_bundle(bundle) for bundle in report.bundles],
        "checks": [_check(verdict) for verdict in report.verdicts],
    }


def _bundle(bundle: Bundle) -> dict[str, Any]:
    normalization = bundle.input_normalization
    return {
        "name": bundle.name,
        "model_bytes": sum(node.rom_bytes for node in bundle.nodes.values()),
        "versions": dict(bundle.versions),
        "input_normalization": {"scale": normalization.scale, "offset": normalization.offset},
        "nodes": [
            {
                "name": node.name,
                "bytes": node.rom_bytes,
                "sha256": node.sha256,
                "stripped_bytes": node.unstripped_bytes - node.rom_bytes,
                "parameters": node.parameters,
                "macs": node.macs,
                "operators": list(node.operators),
            }
            for node in bundle.nodes.values()
        ],
        "tasks": [_task(task) for task in bundle.tasks.values()],
    }


def _task(task: BundleTask) -> dict[str, Any]:
    return {
        "name": task.name,
        "path": list(task.path),
        "labels": list(task.labels),
        "score": None if task.score is None else _score(task.score),
    }


def _score(score: Score) -> dict[str, Any]:
    return {
        "metric": score.metric,
        "float": _finite(score.float_value),
        "int8": _finite(score.int8_value),
        "samples": score.samples,
        "agreement": _finite(score.agreement),
        "sqnr_db": _finite(score.sqnr_db),
        "largest_error": _finite(score.largest_error),
        "weakest_node": score.weakest_node,
    }


def _finite(value: float) -> float | None:
    """JSON knows neither NaN nor infinity; null stands for "no such figure"."""
    return value if math.isfinite(value) else None


def _check(verdict: Verdict) -> dict[str, Any]:
    one, found = verdict.check, verdict.footprint
    board = one.board
    return {
        "name": one.name,
        "bundle": verdict.bundle.name,
        "fits": verdict.fits,
        "is_close": verdict.is_close,
        "board": {
            "name": board.name,
            "title": board.title,
            "mcu": board.mcu,
            "core": board.core,
            "clock_hz": board.clock_hz,
            "rom_slot_bytes": board.rom_slot_bytes,
            "ram_bytes": board.ram_bytes,
        },
        "kernels": found.kernels,
        "runtime_basis": found.runtime.basis,
        "rom": _usage(verdict.rom),
        "ram": _usage(verdict.ram),
        "kernel_bytes_by_operator": dict(found.runtime.by_operator),
        "nodes": _nodes(found),
        "tasks": _tasks(found),
        "separate_model_bytes": found.separate_model_bytes,
        "saved_bytes": found.saved_bytes,
        "messages": list(verdict.messages),
        "next_steps": [
            {
                "memory": step.memory,
                "text": step.text,
                "saved_bytes": step.saved_bytes,
                "is_enough": step.is_enough,
            }
            for step in verdict.next_steps
        ],
        "notes": list(verdict.notes),
    }


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "fits": usage.fits,
        "used_bytes": usage.used_bytes,
        "limit_bytes": usage.limit_bytes,
        "is_own_limit": usage.is_own_limit,
        "over_bytes": usage.over_bytes,
        "free_bytes": usage.free_bytes,
        "percent": round(usage.percent, 2),
        "error_percent": list(usage.error_percent),
        "highest_bytes": usage.highest_bytes,
        "parts": [
            {"name": part.name, "group": part.group, "bytes": part.size_bytes}
            for part in usage.parts
        ],
    }


def _nodes(found: Footprint) -> list[dict[str, Any]]:
    return [
        {
            "name": node.name,
            "rom_bytes": node.rom_bytes,
            "share_percent": round(100 * node.rom_bytes / found.model_rom_bytes, 2),
            "share_bytes_by_task": dict(node.share_bytes),
            "arena": {
                "head_bytes": node.arena.head_bytes,
                "tail_bytes": node.arena.tail_bytes,
                "planning_bytes": node.arena.planning_bytes,
                "minimum_bytes": node.arena.minimum_bytes,
                "error_percent": list(node.arena.error_percent),
                "basis": node.arena.basis,
            },
        }
        for node in found.nodes.values()
    ]


def _tasks(found: Footprint) -> list[dict[str, Any]]:
    return [
        {
            "name": task.name,
            "path": list(task.path),
            "model_rom_bytes": task.model_rom_bytes,
            "share_bytes": task.share_bytes,
            "single_model_bytes": task.single_model_bytes,
            "arena_bytes": task.arena_bytes,
        }
        for task in found.tasks.values()
    ]
