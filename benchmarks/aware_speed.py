"""Steps per second of aware training: this project's backend and tensorflow-model-optimization.

The demo's tree in the stages "quantize" and "prune", a batch of 32 of every task in turn, against a
plain Keras loop over the same nodes in float. All are measured in rounds, one after the other
within each round, in processor time; a ratio compares the times of one round.

    python -m benchmarks.aware_speed
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import tensorflow as tf

from deploy.demo import demo_datasets, demo_tree
from keras_tree import Tree
from quantize.aware.backend import AwareNode, Build
from quantize.aware.recipe import Recipe, Stage, recipe_of

BATCH = 32
FLOAT = "float, plain Keras"
Step = Callable[[], None]


def float_steps(tree: Tree, batches: dict[str, tuple]) -> Step:
    """Return what takes a step of every task by a compiled float function."""
    loss = keras.losses.SparseCategoricalCrossentropy()
    steps = {}
    for task in tree.tasks:
        model = tree[task]
        optimizer = keras.optimizers.Adam(1e-4)
        optimizer.build(model.trainable_variables)

        @tf.function(autograph=False)
        def step(x, y, model=model, optimizer=optimizer):
            with tf.GradientTape() as tape:
                value = loss(y, model(x, training=True))
            variables = model.trainable_variables
            optimizer.apply(tape.gradient(value, [v.value for v in variables]), variables)
            return value

        steps[task] = step

    def take() -> None:
        for task, (x, y) in batches.items():
            float(steps[task](x, y))

    return take


def aware_steps(
    tree: Tree, build: Build, batches: dict[str, tuple], stage: Stage, recipe: Recipe, count: int
) -> Step:
    """Return what takes a step of every task by a backend, in a stage of `count` steps a task."""
    nodes = {name: AwareNode(name, tree.nodes[name]) for name in tree.nodes}
    model = build(nodes, tree.paths, tree.tasks, recipe)
    model.begin_stage(stage, count * len(batches))
    if stage == "quantize":
        model.calibrate({task: x for task, (x, _) in batches.items()})

    def take() -> None:
        for task, (x, y) in batches.items():
            model.train_batch(task, x, y)

    return take


def measure(rounds: int, steps: int) -> dict[str, list[float]]:
    """Return the seconds of processor time of every way, by round."""
    from quantize.aware.keras3 import build as keras_build
    from quantize.aware.tfmot import build as tfmot_build

    tree = demo_tree()
    batches = {
        task: (split.x_train[:BATCH], split.y_train[:BATCH].astype("float32"))
        for task, split in demo_datasets().items()
    }
    ways = {FLOAT: float_steps(tree, batches)}
    count = (rounds + 1) * steps
    for name, recipe, stage in (("QAT", "qat", "quantize"), ("pruning", "prune", "prune")):
        for backend, build in (("keras", keras_build), ("tfmot", tfmot_build)):
            ways[f"{name}, {backend}"] = aware_steps(
                tree, build, batches, stage, recipe_of(recipe), count
            )
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, step in ways.items():
            begun = time.process_time()
            for _ in range(steps):
                step()
            if number:  # the first round compiles
                seconds[name].append(time.process_time() - begun)
    return seconds


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=20, help="of every task, in each round")
    options = parser.parse_args(arguments)
    seconds = measure(options.rounds, options.steps)
    print("| way | ms of a step of all tasks, median | times float, median |")
    print("|---|---|---|")
    for name, found in seconds.items():
        ratios = [one / base for one, base in zip(found, seconds[FLOAT], strict=True)]
        milliseconds = 1e3 * statistics.median(found) / options.steps
        print(f"| {name} | {milliseconds:.1f} | {statistics.median(ratios):.2f} |")


if __name__ == "__main__":
    main()
