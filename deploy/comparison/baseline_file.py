"""The baseline file: written from a report, and read back with everything in it doubted.

A baseline is a part of the JSON report with the same keys, so that a whole report is read as a
baseline too. Here stand the file's text and its checks; the values are in `baseline.py`, comparing
is in `difference.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploy.comparison.baseline import Baseline, BaselineCheck
from deploy.comparison.document import (
    SCHEMA_VERSION,
    WRITE_IT_ANEW,
    BaselineError,
    count_of,
    is_name,
    name_of,
    read_document,
    refuse,
    table,
    time_of,
    value_of,
)
from deploy.verdict import BudgetReport, Verdict

__all__ = ["BaselineError", "baseline_of", "baseline_text", "read_baseline"]


def baseline_text(report: BudgetReport) -> str:
    """The baseline of a report, as the text of a file.

    Checks, nodes and operators stand in the order of their names, one figure a line, so that a
    change of one node is a change of one line in git. The same report gives the same text.

    Args:
        report: What `deploy.budget.check` found.

    Returns:
        JSON with one newline at its end.

    Raises:
        BaselineError: Two checks have one name, or one has a name that cannot be shown.
    """
    names = [verdict.check.name for verdict in report.verdicts]
    for name in names:
        if not is_name(name):
            raise BaselineError(
                f"a baseline needs checks with printable names of at most 200 letters, received "
                f"{name!r}. Give that [[check]] another `name`."
            )
        if names.count(name) > 1:
            raise BaselineError(
                f"a baseline needs checks of different names, received '{name}' "
                f"{names.count(name)} times. Give each [[check]] a `name` of its own."
            )
    ordered = sorted(report.verdicts, key=lambda verdict: verdict.check.name)
    checks = ",\n".join(_check_text(verdict) for verdict in ordered)
    return f'{{\n  "schema_version": {SCHEMA_VERSION},\n  "checks": [\n{checks}\n  ]\n}}\n'


def _check_text(verdict: Verdict) -> str:
    time = None if verdict.time is None else {"used_us": verdict.time.used_us}
    nodes = sorted(verdict.footprint.nodes.values(), key=lambda node: node.name)
    node_lines = [_text({"name": node.name, "rom_bytes": node.rom_bytes}) for node in nodes]
    operators = sorted(verdict.footprint.runtime.by_operator.items())
    operator_lines = [f"{_text(name)}: {size}" for name, size in operators]
    fields = [
        f'"name": {_text(verdict.check.name)}',
        f'"rom": {_text({"used_bytes": verdict.rom.used_bytes})}',
        f'"ram": {_text({"used_bytes": verdict.ram.used_bytes})}',
        f'"time": {_text(time)}',
        f'"nodes": [{_lines(node_lines)}]',
        f'"kernel_bytes_by_operator": {{{_lines(operator_lines)}}}',
    ]
    inner = ",\n".join(f"      {field}" for field in fields)
    return f"    {{\n{inner}\n    }}"


def _lines(items: list[str]) -> str:
    if not items:
        return ""
    return "\n" + ",\n".join(f"        {item}" for item in items) + "\n      "


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def read_baseline(path: str | Path) -> Baseline:
    """Read a baseline file, or a JSON report of `keras-tree check`.

    Args:
        path: What `baseline_text` or `keras-tree check --format json` wrote.

    Returns:
        The checks by name; `origin` is `path`.

    Raises:
        BaselineError: It cannot be read, or is something else.
    """
    return baseline_of(read_document(path), str(path))


def baseline_of(document: Mapping[str, Any], origin: str) -> Baseline:
    """The checks of a document that `read_document` read.

    Raises:
        BaselineError: A key is missing or has another type.
    """
    checks: dict[str, BaselineCheck] = {}
    for index, entry in enumerate(value_of(document, "checks", list, origin)):
        place = f"{origin}: checks[{index}]"
        one = _check(table(entry, place), place)
        if one.name in checks:
            raise BaselineError(
                f"{origin}: every check must have a name of its own, received '{one.name}' twice. "
                "Give each [[check]] a `name`, then write the baseline anew."
            )
        checks[one.name] = one
    if not checks:
        raise BaselineError(
            f"{origin}: `checks` must hold at least one check, received none. {WRITE_IT_ANEW}"
        )
    return Baseline(checks, origin)


def _check(entry: Mapping[str, Any], place: str) -> BaselineCheck:
    time, at_time = entry.get("time"), f"{place}.time"
    nodes: dict[str, int] = {}
    for index, node in enumerate(value_of(entry, "nodes", list, place, [])):
        at = f"{place}.nodes[{index}]"
        node = table(node, at)
        nodes[name_of(node, "name", at)] = count_of(node, "rom_bytes", at)
    operators = value_of(entry, "kernel_bytes_by_operator", dict, place, {})
    return BaselineCheck(
        name=name_of(entry, "name", place),
        rom_bytes=_used_bytes(entry, "rom", place),
        ram_bytes=_used_bytes(entry, "ram", place),
        latency_us=None if time is None else time_of(table(time, at_time), "used_us", at_time),
        node_bytes=nodes,
        operator_bytes=_operator_bytes(operators, f"{place}.kernel_bytes_by_operator"),
    )


def _operator_bytes(operators: Mapping[str, Any], place: str) -> dict[str, int]:
    for name in operators:
        if not is_name(name):
            refuse(place, "names", "printable texts", name)
    return {name: count_of(operators, name, place) for name in operators}


def _used_bytes(entry: Mapping[str, Any], key: str, place: str) -> int:
    return count_of(value_of(entry, key, dict, place), "used_bytes", f"{place}.{key}")
