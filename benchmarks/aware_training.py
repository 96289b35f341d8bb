"""Accuracy and real bytes of trained forms: quantized, pruned, clustered, int4, and combined.

Trains a float tree, brings it into every form, and reports each task's accuracy on the device's own
arithmetic and what the form takes there: the stored nodes, the whole flash and arena with
TensorFlow Lite Micro on one board, and the flash of the plain-C firmware, built for Cortex-M4.

    python -m benchmarks.aware_training                          # the demo's tree
    python -m benchmarks.aware_training --data FOLDER --seeds 3  # and four families of images
    python -m benchmarks.aware_training --json figures.json

FOLDER holds the four .npz files of `examples/image_family.py`. A tenth of each training set decides
which bundle a recipe keeps; the accuracies are of the test set, of what was trained, kept or not.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from benchmarks.trained_forms import BOARD, CORE, Outcome, print_tables
from benchmarks.trained_trees import Data, Problem, demo_problem, image_problem
from deploy.board import load_board
from deploy.emulator import measure
from deploy.footprint import footprint
from quantize import Bundle, Clustering, Recipe, quantize, remove_filters, tune
from quantize.aware.recipe import recipe_of

SHARE_REMOVED = 0.25
SEARCHED_SHARE = 0.75  # of the bytes of int8


@dataclass(frozen=True)
class Form:
    """A way to bring a tree into a bundle.

    Args:
        name: For the table.
        recipe: What is trained; None for nothing.
        precision: What an untrained one is stored in.
        backend: Which trains.
        remove: Whether a share of the filters is removed first.
        rom_share: Share of int8's bytes that a search has to meet, or None.
    """

    name: str
    recipe: Recipe | str | None = None
    precision: str = "int8"
    backend: str = "keras"
    remove: bool = False
    rom_share: float | None = None


FORMS = (
    Form("int8"),
    Form("int8, QAT", "qat"),
    Form("int8, QAT (tfmot)", "qat", backend="tfmot"),
    Form("int8, half of the weights pruned", "prune"),
    Form("int8, half pruned, QAT", "pqat"),
    Form("int8, a quarter of the filters removed, QAT", "qat", remove=True),
    Form("lut4", precision="lut4"),
    Form("lut4, clustered", "cluster"),
    Form("lut4, clustered, QAT", "cqat"),
    Form("lut4, pruned, clustered, QAT", "pcqat"),
    Form("lut4, pruned, clustered, QAT (tfmot)", "pcqat", backend="tfmot"),
    Form("lut2", precision="lut2"),
    Form("lut2, clustered, QAT", Recipe(clustering=Clustering(bits=2))),
    Form("int4", precision="int4"),
    Form("int4, QAT", "int4"),
    Form("16x8", precision="16x8"),
    Form(f"searched, {SEARCHED_SHARE:.0%} of the bytes", rom_share=SEARCHED_SHARE),
)


def outcome(problem: Problem, form: Form, seed: int, steps: int, int8_bytes: int) -> Outcome:
    """Bring a trained tree into a form and measure it."""
    started = time.perf_counter()
    bundle, kept = bundle_of(problem, form, seed, steps, int8_bytes)
    seconds = time.perf_counter() - started
    floats = {task: problem.tree[task].predict for task in problem.test}
    cost = footprint(bundle, load_board(BOARD))
    return Outcome(
        problem=problem.name,
        form=form.name,
        seed=seed,
        accuracy=accuracies(problem.test, lambda task, x: bundle.predict(task, x)),
        float_accuracy=accuracies(problem.test, lambda task, x: floats[task](x, verbose=0)),
        node_bytes=stored_bytes(bundle),
        rom_bytes=cost.rom_bytes,
        arena_bytes=cost.all_paths_arena_bytes,
        c_rom_bytes=c_rom_bytes(bundle),
        kept=kept,
        seconds=seconds,
    )


def bundle_of(
    problem: Problem, form: Form, seed: int, steps: int, int8_bytes: int
) -> tuple[Bundle, bool | None]:
    """Return a form's bundle, and whether `tune` kept what it trained.

    `int8_bytes` are those of the untrained int8 nodes; 0 where that form was not asked for.
    """
    tree, samples = problem.tree, problem.samples
    if form.rom_share is not None:
        rom = int(form.rom_share * (int8_bytes or stored_bytes(quantize(tree, samples))))
        return quantize(tree, samples, rom=rom, evaluation=problem.validation), None
    if form.recipe is None:
        return quantize(tree, samples, precision=form.precision), None
    if form.remove:
        tree = remove_filters(tree, SHARE_REMOVED).tree
    recipe = recipe_of(form.recipe, seed=seed)
    longest = max(len(x) for x, _ in problem.train.values())
    recipe = replace(recipe, epochs=max(1, round(steps * recipe.batch_size / longest)))
    tuned = tune(tree, problem.train, problem.validation, recipe, backend=form.backend)
    if tuned.trained is None:
        raise RuntimeError(f"{form.name} of {problem.name} was not trained: {tuned.failure}")
    return tuned.trained, tuned.kept


def accuracies(data: Data, predict: Callable[[str, np.ndarray], np.ndarray]) -> dict[str, float]:
    """Share of each task's samples whose largest output is their class."""
    return {
        task: float((np.argmax(predict(task, x), -1) == y).mean()) for task, (x, y) in data.items()
    }


def stored_bytes(bundle: Bundle) -> int:
    return sum(node.rom_bytes for node in bundle.nodes.values())


def c_rom_bytes(bundle: Bundle) -> int | None:
    """Flash of the plain-C firmware; its output is compared with the golden one as it is built."""
    from deploy.codegen import CodegenError

    try:
        return measure(bundle, CORE).rom_bytes
    except CodegenError:
        return None


def run(
    problems: Iterable[tuple[int, Callable[[], Problem]]],
    forms: Sequence[Form],
    steps: int,
    say: Callable[[str], None],
) -> Iterator[Outcome]:
    """Yield the outcome of every form of every problem."""
    for seed, make in problems:
        problem = make()
        say(f"{problem.name}, seed {seed}: trained")
        int8_bytes = 0  # as long as it is not known
        for form in forms:
            found = outcome(problem, form, seed, steps, int8_bytes)
            if form == FORMS[0]:
                int8_bytes = found.node_bytes
            say(
                f"{problem.name}, seed {seed}: {form.name}: lost {found.lost:+.2f} points, "
                f"{found.node_bytes:,} bytes, {found.seconds:.0f} s"
            )
            yield found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of the four .npz files of images")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument(
        "--steps", type=int, default=340, help="batches of 32 of every task, in each stage"
    )
    parser.add_argument("--float-epochs", type=int, default=10, help="of the float trees")
    parser.add_argument("--form", action="append", help="only forms whose names begin so")
    parser.add_argument("--skip", action="append", default=[], help="forms of exactly this name")
    parser.add_argument("--without-demo", action="store_true", help="the images alone")
    parser.add_argument("--limit", type=int, default=1000, help="test samples of a task, at most")
    parser.add_argument("--json", type=Path, help="write every outcome here")
    parser.add_argument(
        "--tables", type=Path, nargs="+", help="print the tables of what --json wrote, run nothing"
    )
    options = parser.parse_args(arguments)
    if options.tables:
        read = (one for path in options.tables for one in json.loads(path.read_text()))
        print_tables([Outcome(**one) for one in read])
        return
    forms = [
        form
        for form in FORMS
        if form.name not in options.skip
        and (not options.form or any(form.name.startswith(name) for name in options.form))
    ]
    problems: list[tuple[int, Callable[[], Problem]]] = []
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        if not options.without_demo:
            problems.append(
                (seed, lambda s=seed: demo_problem(s, 2 * options.float_epochs, options.limit))
            )
        if options.data:
            problems.append(
                (
                    seed,
                    lambda s=seed: image_problem(
                        options.data, s, options.float_epochs, options.limit
                    ),
                )
            )

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    outcomes = []
    for found in run(problems, forms, options.steps, say):
        outcomes.append(found)
        if options.json:  # at once: what was measured is not lost when a later form fails
            options.json.write_text(json.dumps([asdict(one) for one in outcomes], indent=1) + "\n")
    print_tables(outcomes)


if __name__ == "__main__":
    main()
