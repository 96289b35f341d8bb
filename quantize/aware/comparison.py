"""Whether training paid: every task's score before and after it, and the verdict.

Arithmetic and its rendering as lines. Does not belong here: how a score is measured
(`quantize/fidelity.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from quantize.bundle import Bundle, Score

_HIGHER_IS_BETTER = {"accuracy": True, "mae": False}


@dataclass(frozen=True)
class Comparison:
    """One task's score, float, quantized after training, and trained for its form.

    Args:
        task: The task.
        metric: "accuracy" (a share of 1) or "mae" (mean absolute error in the unit of the output).
        samples: Samples with a label, over which the values are taken.
        float_value: The metric of the untouched float tree.
        post_training: The metric of the untouched tree, quantized.
        trained: The metric of the trained tree, quantized; NaN where training failed.
    """

    task: str
    metric: str
    samples: int
    float_value: float
    post_training: float
    trained: float

    @property
    def improvement(self) -> float:
        """How much better trained is than post-training, as a share of the latter; below 0: worse.

        Where post-training is 0 the difference itself; NaN where training failed.
        """
        gain = self.trained - self.post_training
        if not _HIGHER_IS_BETTER[self.metric]:
            gain = -gain
        return gain / abs(self.post_training) if self.post_training else gain

    def line(self) -> str:
        """Return the comparison in words."""
        change = "failed" if math.isnan(self.improvement) else f"{self.improvement:+.2%}"
        return (
            f"{self.task}: {self.metric} float {self.float_value:.4g}, post-training "
            f"{self.post_training:.4g}, trained {self.trained:.4g} ({change}, "
            f"{self.samples} samples)"
        )


def compare(
    tasks: Iterable[str], post_training: Bundle, trained: Bundle | None
) -> dict[str, Comparison]:
    """Return the comparison of every task, by task.

    Args:
        tasks: Tasks that both bundles have scores of.
        post_training: The bundle of the untouched tree.
        trained: The bundle of the trained tree, or None where there is none.
    """
    found = {}
    for task in tasks:
        before = _score(post_training, task)
        after = math.nan if trained is None else _score(trained, task).int8_value
        found[task] = Comparison(
            task, before.metric, before.samples, before.float_value, before.int8_value, after
        )
    return found


def mean_improvement(tasks: Mapping[str, Comparison]) -> float:
    """Return the mean over the tasks of their improvements; NaN where training failed."""
    return sum(part.improvement for part in tasks.values()) / len(tasks)


def rom_bytes(bundle: Bundle) -> int:
    """Return the flash that all nodes of a bundle take."""
    return sum(node.rom_bytes for node in bundle.nodes.values())


def _score(bundle: Bundle, task: str) -> Score:
    score = bundle.tasks[task].score
    if score is None:
        raise ValueError(
            f"Task '{task}' must have a score, received a bundle without. Quantize with "
            "`evaluation`."
        )
    return score
