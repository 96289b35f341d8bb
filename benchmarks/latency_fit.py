"""Fit cycles to what was published, and find what the fit misses by.

Published: the rows of `deploy/footprint/latency_table.json`. The instructions that cycles are
fitted to are in `benchmarks/latency_counts.py`; the errors are printed by
`benchmarks/latency_model.py`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from latency_counts import (
    count_errors,
    instructions_per_mac,
    model_macs,
    nonnegative_least_squares,
    other_instructions,
    predicted,
    rounded_costs,
)

from deploy.footprint.latency_work import MAC_KINDS

ROOT = Path(__file__).resolve().parents[1]
TABLE_PATH = ROOT / "deploy" / "footprint" / "latency_table.json"
TABLE = json.loads(TABLE_PATH.read_text(encoding="utf-8"))
GROUPS = (
    ("cortex-m4", "m4-cmsis", None),
    ("cortex-m4", "m4-cmsis", "nRF52840"),
    ("cortex-m33", "m4-cmsis", None),
    ("cortex-m33", "m4-cmsis", "R7FA6M4"),
    ("cortex-m85", "m55-cmsis", None),
    ("cortex-m85", "m55-cmsis", "R7FA8D1"),
)
"""Core, counted build, and chip: None for any with that core, else one that our runtime ran on."""
# How strongly the costs per multiply-accumulate are drawn to the proportions of the counts.
_PRIOR_WEIGHT = 0.1

Row = dict[str, Any]
Estimator = Callable[[Sequence[Row], str, str | None], Callable[[str], float]]


@dataclass(frozen=True)
class Errors:
    """Published over estimated, in percent off, by what the estimate had not seen."""

    leave_model_out: list[float]
    leave_board_out: list[float]
    older: list[float]

    @property
    def rms(self) -> float:
        """Root mean square over the rows of today, in percent."""
        logs = [math.log1p(e / 100) for e in (*self.leave_model_out, *self.leave_board_out)]
        return 100 * math.sqrt(sum(value**2 for value in logs) / len(logs))


def rows_of(core: str, chip: str | None, use: str) -> list[Row]:
    return [
        row
        for row in TABLE["rows"]
        if row["core"] == core and row["use"] == use and chip in (None, row["mcu"])
    ]


def cycles(row: Row, model: str) -> float:
    return row["milliseconds"][model] * row["mhz"] * 1e3


def by_instructions(
    rows: Sequence[Row], build: str, without: str | None = None
) -> Callable[[str], float]:
    """One number of cycles per instruction: the geometric mean of rows, then of their models."""
    level = cycles_per_instruction(rows, build, without)
    return lambda model: level * predicted(model, build)


def by_instructions_o2(
    rows: Sequence[Row], build: str, without: str | None = None
) -> Callable[[str], float]:
    return by_instructions(rows, f"{build}-O2", without)


def by_macs(rows: Sequence[Row], build: str, without: str | None = None) -> Callable[[str], float]:
    """Cycles per multiply-accumulate by class; other operators by their instructions."""
    per_mac = cycles_per_mac(rows, build, without)
    level = cycles_per_instruction(rows, build, without)
    return lambda model: (
        level * other_instructions(model, build)
        + sum(per_mac[kind] * count for kind, count in model_macs(model).items())
    )


def cycles_per_instruction(rows: Sequence[Row], build: str, without: str | None = None) -> float:
    means = []
    for row in rows:
        models = [model for model in row["milliseconds"] if model != without]
        logs = [math.log(cycles(row, model) / predicted(model, build)) for model in models]
        means.append(sum(logs) / len(logs))
    return math.exp(sum(means) / len(means))


def cycles_per_mac(rows: Sequence[Row], build: str, without: str | None = None) -> dict[str, float]:
    """Least squares of relative errors, drawn a little to the proportions of the counts.

    Without that, a class that only one model has could not be found once the model is left out.
    """
    level = cycles_per_instruction(rows, build, without)
    prior = level * np.array([instructions_per_mac(kind, build) for kind in MAC_KINDS])
    pairs = [(row, model) for row in rows for model in row["milliseconds"] if model != without]
    target = np.array([cycles(row, model) for row, model in pairs])
    others = level * np.array([other_instructions(model, build) for _, model in pairs])
    macs = np.array([[model_macs(model)[kind] for kind in MAC_KINDS] for _, model in pairs], float)
    weight = math.sqrt(_PRIOR_WEIGHT)
    matrix = np.vstack([macs / target[:, None], weight * np.diag(1 / prior)])
    goal = np.concatenate([1 - others / target, np.full(len(MAC_KINDS), weight)])
    found = nonnegative_least_squares(matrix, goal)
    return {kind: float(value) for kind, value in zip(MAC_KINDS, found, strict=True)}


def errors(core: str, build: str, chip: str | None, estimator: Estimator) -> Errors:
    """What an estimator misses by, on rows that it was not fitted to."""
    fitted, older = rows_of(core, chip, "fit"), rows_of(core, chip, "spread")

    def misses(rows: Sequence[Row], trained: Sequence[Row], leave: bool) -> Iterator[float]:
        for row in rows:
            for model in row["milliseconds"]:
                estimate = estimator(trained, build, model if leave else None)(model)
                yield 100 * (cycles(row, model) / estimate - 1)

    boards = [
        error
        for row in fitted
        if len(fitted) > 1
        for error in misses([row], [other for other in fitted if other is not row], False)
    ]
    return Errors(list(misses(fitted, fitted, True)), boards, list(misses(older, fitted, False)))


def board_factor() -> float:
    """The largest ratio between two boards' cycles per instruction on one core."""
    ratios = [1.0]
    for core, build, chip in GROUPS:
        rows = rows_of(core, None, "fit") if chip is None else []
        levels = [cycles_per_instruction([row], build) for row in rows]
        ratios += [max(levels) / min(levels)] if len(levels) > 1 else []
    return max(ratios)


def found_band(core: str, build: str, chip: str | None) -> tuple[float, float]:
    """Percent: what the estimate misses by on unseen rows, times what the counts miss by."""
    found = errors(core, build, chip, by_instructions)
    unseen = [*found.leave_model_out, *found.leave_board_out, *found.older]
    counts = count_errors(build).values()
    spread = board_factor() if chip is None and not found.leave_board_out else 1.0
    low = (1 + min(unseen) / 100) * (1 + min(0.0, *counts) / 100) / spread
    high = (1 + max(unseen) / 100) * (1 + max(0.0, *counts) / 100) * spread
    return 100 * (low - 1), 100 * (high - 1)


def derived() -> list[dict[str, Any]]:
    """What the table says of cycles: coefficients, and the band rounded outwards to 5 %."""
    entries = []
    for core, build, chip in GROUPS:
        rows = rows_of(core, chip, "fit")
        low, high = found_band(core, build, chip)
        per_mac = cycles_per_mac(rows, build)
        entries.append({
            "core": core,
            "kernels": "cmsis-nn",
            "chip": chip,
            "mhz": rows[0]["mhz"] if chip else None,
            "cycles_per_instruction": round(cycles_per_instruction(rows, build), 4),
            "cycles_per_mac": {kind: float(f"{c:.4g}") for kind, c in per_mac.items()},
            "error_percent": [5 * math.floor(low / 5), 5 * math.ceil(high / 5)],
            "basis": "; ".join(_named(row) for row in rows),
        })  # fmt: skip
    return entries


def _named(row: Row) -> str:
    return f"{row['source']}: {row['board']} at {row['mhz']} MHz, {row['runtime']}"


def write_table() -> None:
    parts = {
        "provenance": json.dumps(TABLE["provenance"], indent=2).replace("\n", "\n "),
        "rows": _lines(TABLE["rows"]),
        "instructions": "{\n"
        + ",\n".join(
            f"  {json.dumps(build)}: {{\n"
            + ",\n".join(f"   {json.dumps(k)}: {json.dumps(v)}" for k, v in model.items())
            + "\n  }"
            for build, model in rounded_costs().items()
        )
        + "\n }",
        "cycles": _lines(derived()),
    }
    body = ",\n".join(f" {json.dumps(name)}: {text}" for name, text in parts.items())
    TABLE_PATH.write_text(f"{{\n{body}\n}}\n", encoding="utf-8")


def _lines(items: Sequence[Any]) -> str:
    return "[\n" + ",\n".join(f"  {json.dumps(item)}" for item in items) + "\n ]"
