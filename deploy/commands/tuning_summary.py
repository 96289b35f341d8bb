"""What training changed, as a table: every task before and after, what was kept and by how much.

Text only; nothing is measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quantize.aware_training import Tuned
    from quantize.bundle import Score

_HEADING = ("task", "metric", "samples", "float", "post-training", "trained", "change")
_ALIGN = "llrrrrl"

_Row = tuple[str, str, int, float, float, float]
"""Task, metric, samples, and its value in float, after plain quantization, and trained."""


def tuning_summary(
    tuned: Tuned, before: Mapping[str, Score], after: Mapping[str, Score], width: int
) -> str:
    """The table and the verdict.

    Args:
        tuned: What `tune` returned.
        before: Scores of the post-training bundle on test data, by task.
        after: Those of the trained one; empty where training failed.
        width: Columns of the screen.
    """
    validation = [
        (name, part.metric, part.samples, part.float_value, part.post_training, part.trained)
        for name, part in tuned.tasks.items()
    ]
    tests = [
        (
            name,
            before[name].metric,
            before[name].samples,
            before[name].float_value,
            before[name].int8_value,
            after[name].int8_value if name in after else math.nan,
        )
        for name in tuned.tasks
        if name in before
    ]
    lines = ["On validation samples, which decide:", *_table(validation, width)]
    if tests:
        lines += ["", "On test samples, which took no part:", *_table(tests, width)]
    return "\n".join([*lines, "", *_verdict(tuned)])


def _table(rows: Iterable[_Row], width: int) -> list[str]:
    from deploy.report.table import columns

    cells: list[tuple[str, ...]] = [_HEADING]
    for task, metric, samples, *values in rows:
        shown = [_value(metric, value) for value in values]
        cells.append((task, metric, f"{samples:,}", *shown, _change(metric, values[1], values[2])))
    return list(columns(cells, _ALIGN, width))


def _value(metric: str, value: float) -> str:
    if not math.isfinite(value):
        return "-"
    return f"{100 * value:.2f}%" if metric == "accuracy" else f"{value:.4g}"


def _change(metric: str, before: float, after: float) -> str:
    """By how much a metric changed, and whether that is better."""
    if not math.isfinite(after - before):
        return "-"
    if after == before:
        return "equal"
    is_better = (after > before) == (metric == "accuracy")
    if metric == "accuracy":
        amount = f"{100 * (after - before):+.2f} points"
    else:
        amount = f"{100 * (after - before) / before:+.1f} %" if before else f"{after:+.4g}"
    return f"{amount}, {'better' if is_better else 'worse'}"


def _verdict(tuned: Tuned) -> list[str]:
    """What was kept, and why."""
    plain_bytes = sum(node.rom_bytes for node in tuned.post_training.nodes.values())
    if tuned.trained is None:
        return [f"Kept: the post-training bundle. Training failed: {tuned.failure}"]
    bytes_after = sum(node.rom_bytes for node in tuned.trained.nodes.values())
    sizes = f"{plain_bytes:,} bytes before, {bytes_after:,} trained"
    mean = f"mean improvement on validation samples {100 * tuned.improvement:+.2f} %"
    if tuned.kept:
        return [f"Kept: the trained nodes, {mean} ({sizes})"]
    return [
        f"Kept: the post-training bundle, {mean} ({sizes}).",
        "Training did not pay: try more `--epochs`, another `--learning-rate`, or fewer `--nodes`.",
    ]
