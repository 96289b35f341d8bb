"""What a form of a tree keeps and takes, and the tables of several.

Belongs here: values and Markdown. Does not belong here: how a form is made (`aware_training.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

BOARD = "nano33ble"
CORE = "cortex-m4"


@dataclass(frozen=True)
class Outcome:
    """One form of one tree from one seed.

    Args:
        problem: The tree's name.
        form: The form's name.
        seed: Of the float training and of the recipe.
        accuracy: Test accuracy by task, 0..1, of the int8 nodes on TensorFlow Lite Micro.
        float_accuracy: Likewise of the float tree it began with.
        node_bytes: The stored nodes.
        rom_bytes: Nodes and runtime on the board, with TensorFlow Lite Micro.
        arena_bytes: Its arena there.
        c_rom_bytes: Flash of the plain-C firmware; None where it does not compile.
        kept: Whether `tune` kept what was trained; None where nothing was.
        seconds: Of bringing the tree into the form.
    """

    problem: str
    form: str
    seed: int
    accuracy: dict[str, float]
    float_accuracy: dict[str, float]
    node_bytes: int
    rom_bytes: int
    arena_bytes: int
    c_rom_bytes: int | None
    kept: bool | None
    seconds: float = field(compare=False)

    @property
    def lost(self) -> float:
        """Points of accuracy below float, the mean over the tasks; negative where it gained."""
        drops = [self.float_accuracy[task] - self.accuracy[task] for task in self.accuracy]
        return 100 * float(np.mean(drops))


def table(outcomes: Sequence[Outcome], problem: str) -> str:
    """A Markdown table of one tree: means over the seeds, a row per form."""
    mine = [one for one in outcomes if one.problem == problem]
    tasks = list(mine[0].accuracy)
    head = ["form", "seeds", *tasks, "lost, mean (worst seed)", "nodes", f"TFLM, {BOARD}", "arena",
            f"plain C, {CORE}", "kept"]  # fmt: skip
    firsts = [one for one in mine if one.form == mine[0].form]
    floats = {task: np.mean([one.float_accuracy[task] for one in firsts]) for task in tasks}
    rows = [
        ["float", str(len(firsts)), *(f"{100 * floats[task]:.2f}" for task in tasks), *[""] * 6]
    ]
    for form in dict.fromkeys(one.form for one in mine):
        seeds = [one for one in mine if one.form == form]
        means = {task: np.mean([one.accuracy[task] for one in seeds]) for task in tasks}
        lost = [one.lost for one in seeds]
        kept = [one.kept for one in seeds if one.kept is not None]
        in_c = [one.c_rom_bytes for one in seeds if one.c_rom_bytes is not None]
        rows.append(
            [
                form,
                str(len(seeds)),
                *(f"{100 * means[task]:.2f}" for task in tasks),
                f"{np.mean(lost):+.2f} ({max(lost):+.2f})",
                *(
                    f"{round(np.mean([getattr(one, figure) for one in seeds])):,}"
                    for figure in ("node_bytes", "rom_bytes", "arena_bytes")
                ),
                f"{round(np.mean(in_c)):,}" if in_c else "-",
                f"{sum(kept)} of {len(kept)}" if kept else "",
            ]
        )
    lines = ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines)


def print_tables(outcomes: Sequence[Outcome]) -> None:
    for problem in dict.fromkeys(one.problem for one in outcomes):
        print(f"\n{problem}\n\n{table(outcomes, problem)}")
