"""A budget report as JSON, for programs: everything the terminal shows, and every part by name.

`schema_version` rises when a key changes its meaning or goes; new keys may come without it. What
each key is, with its type and unit, says `schema.json`, a JSON Schema (draft 2020-12).
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from deploy.lint import Finding
from deploy.report import breakdown, precisions
from deploy.report.check_as_json import check_as_dict
from deploy.verdict import BudgetReport
from quantize.bundle import Bundle, BundleTask, Score

SCHEMA_VERSION = 1
_SCHEMA = Path(__file__).with_name("schema.json")


def render(report: BudgetReport) -> str:
    """Render a report as indented JSON without a trailing newline."""
    text = json.dumps(as_dict(report), indent=2, ensure_ascii=False, allow_nan=False)
    # Half a character, which a manifest may hold, cannot be written except as "\\ud800".
    return text.encode("utf-8", "backslashreplace").decode()


def schema_text() -> str:
    """The JSON Schema of what `render` returns, without a trailing newline."""
    return _SCHEMA.read_text(encoding="utf-8").rstrip("\n")


def as_dict(report: BudgetReport) -> dict[str, Any]:
    """The report as JSON values. Sizes are bytes, times microseconds, shares and errors percent."""
    found: dict[str, Any] = _finite(
        {
            "schema_version": SCHEMA_VERSION,
            "fits": report.fits,
            "checks_over_budget": len(report.over_budget),
            "has_baseline": report.has_baseline,
            "bundles": [_bundle(bundle) for bundle in report.bundles],
            "checks": [check_as_dict(verdict) for verdict in report.verdicts],
            "findings": {
                bundle.name: [_finding(one) for one in report.findings.get(bundle.name, ())]
                for bundle in report.bundles
            },
        }
    )
    return found


def _bundle(bundle: Bundle) -> dict[str, Any]:
    normalization = bundle.input_normalization
    parts = breakdown.flatbuffer_parts(bundle)
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
                "flatbuffer_bytes": parts[node.name],
                **dict.fromkeys(precisions.head(bundle), node.precision),
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
        "float": score.float_value,
        "int8": score.int8_value,
        "samples": score.samples,
        "agreement": score.agreement,
        "sqnr_db": score.sqnr_db,
        "largest_error": score.largest_error,
        "weakest_node": score.weakest_node,
    }


def _finding(one: Finding) -> dict[str, Any]:
    return {
        "rule": one.rule,
        "where": list(one.where),
        "text": one.text,
        "advice": one.advice,
        "memory": one.memory,
        "saved_bytes": one.saved_bytes,
        "board": one.board,
    }


def _finite(value: Any) -> Any:
    """JSON knows neither NaN nor infinity; null stands for "no such figure"."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, list) else value
