"""Samples per second of every schedule, against the loop that a user would write by hand.

That loop calls `train_on_batch` of three models in turn, which share a trunk. All are measured in
rounds, one after the other within each round, so that whatever else the machine does falls on all
alike; a ratio compares the two rates of one round. The first fit of each, which compiles, is not
counted, and shown apart.

    python benchmarks/training.py
    python benchmarks/training.py --rounds 20 --batch-normalization --json training.json
"""

import argparse
import dataclasses
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np

from keras_tree.schedules import SCHEDULES
from keras_tree.tasks import Task
from keras_tree.tree import Tree

CLASSES = {"digit": 10, "rotation": 4, "parity": 2}
LOSS = "sparse_categorical_crossentropy"
BY_HAND = "train_on_batch in turn"
SAMPLES = 1280  # per task

Data = dict[str, tuple[np.ndarray, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Rate:
    """How fast one way of training is.

    Attributes:
        name: The way.
        compile_s: Seconds of its first steps.
        samples_per_s: Rate in each round.
    """

    name: str
    compile_s: float
    samples_per_s: list[float]


def convolution(x: Any, filters: int, normalized: bool) -> Any:
    x = keras.layers.Conv2D(filters, 3, 2, padding="same", use_bias=not normalized)(x)
    x = keras.layers.BatchNormalization()(x) if normalized else x
    return keras.layers.ReLU()(x)


def make_nodes(normalized: bool) -> tuple[keras.Model, dict[str, keras.Model]]:
    """The trunk (16 x 16 x 1 -> 4 x 4 x 16) and a branch per task."""
    image = keras.Input((16, 16, 1))
    x = convolution(convolution(image, 8, normalized), 16, normalized)
    trunk = keras.Model(image, x, name="trunk")
    branches = {}
    for task, classes in CLASSES.items():
        features = keras.Input(trunk.output.shape[1:])
        x = keras.layers.GlobalAveragePooling2D()(convolution(features, 16, normalized))
        x = keras.layers.Dense(classes, activation="softmax")(x)
        branches[task] = keras.Model(features, x, name=task)
    return trunk, branches


def make_data(seed: int = 0) -> Data:
    rng = np.random.default_rng(seed)
    return {
        task: (rng.random((SAMPLES, 16, 16, 1), "float32"), rng.integers(0, classes, SAMPLES))
        for task, classes in CLASSES.items()
    }


def by_hand(data: Data, batch_size: int, normalized: bool) -> Callable[[int], None]:
    """Return what trains for so many steps, a batch of every task each, by hand."""
    trunk, branches = make_nodes(normalized)
    models = {}
    for task, branch in branches.items():
        image = keras.Input((16, 16, 1))
        models[task] = keras.Model(image, branch(trunk(image)))
        models[task].compile("adam", LOSS, metrics=["accuracy"])

    def train(steps: int) -> None:
        batches = SAMPLES // batch_size
        for step in range(steps):
            start = step % batches * batch_size
            if start == 0:
                orders = {task: np.random.permutation(SAMPLES) for task in data}
            for task, (x, y) in data.items():
                chosen = orders[task][start : start + batch_size]
                models[task].train_on_batch(x[chosen], y[chosen])

    return train


def by_tree(
    data: Data, batch_size: int, normalized: bool, schedule: str, jit: bool
) -> Callable[[int], None]:
    """Return what trains a tree for so many steps under a schedule."""
    trunk, branches = make_nodes(normalized)
    tasks = [Task(task, LOSS, metrics=("accuracy",)) for task in branches]
    tree = Tree.from_branches(trunk, branches, tasks)
    tree.compile("adam", schedule=schedule, jit_compile=jit)
    return lambda steps: tree.fit(data, batch_size=batch_size, steps_per_epoch=steps, verbose=0)


def measure(rounds: int, steps: int, batch_size: int, normalized: bool) -> list[Rate]:
    """Return the rates of all ways of training, by hand first.

    Args:
        rounds: How often each is measured.
        steps: Steps per measurement; a step takes a batch of every task.
        batch_size: Samples per batch.
        normalized: Whether the nets have batch normalization.
    """
    data = make_data()
    ways = {BY_HAND: by_hand(data, batch_size, normalized)}
    for schedule in sorted(SCHEDULES):
        for jit in (False, True) if schedule != "masked" else (False,):
            name = f"{schedule}, XLA" if jit else schedule
            ways[name] = by_tree(data, batch_size, normalized, schedule, jit)
    compile_s = {name: seconds(train, 2) for name, train in ways.items()}
    samples = steps * batch_size * len(CLASSES)
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, train in ways.items():
            rates[name].append(samples / seconds(train, steps))
    return [Rate(name, compile_s[name], rates[name]) for name in ways]


def seconds(train: Callable[[int], None], steps: int) -> float:
    start = time.perf_counter()
    train(steps)
    return time.perf_counter() - start


def median_ratio(rate: Rate, base: Rate) -> float:
    """Return the median over the rounds of a way's rate over that by hand."""
    pairs = zip(rate.samples_per_s, base.samples_per_s, strict=True)
    return statistics.median(one / other for one, other in pairs)


def table(rates: list[Rate]) -> str:
    """Return the rates as a table."""
    base = rates[0]
    head = f"{'':26}{'samples/s':^20}{'ratio':^20}{'first':>9}"
    lines = [head, f"{'':26}{'best':>10}{'median':>10}{'best':>10}{'median':>10}{'steps':>9}"]
    for rate in rates:
        best = max(rate.samples_per_s)
        lines.append(
            f"{rate.name:26}{best:10.0f}{statistics.median(rate.samples_per_s):10.0f}"
            f"{best / max(base.samples_per_s):10.2f}{median_ratio(rate, base):10.2f}"
            f"{rate.compile_s:7.1f} s"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=8, help="how often each is measured")
    parser.add_argument("--steps", type=int, default=100, help="steps per measurement")
    parser.add_argument("--batch-size", type=int, default=64, help="samples per task and step")
    parser.add_argument(
        "--batch-normalization", action="store_true", help="after every convolution"
    )
    parser.add_argument("--json", type=Path, help="file to write the rates to")
    settings = parser.parse_args(arguments)
    rates = measure(
        settings.rounds, settings.steps, settings.batch_size, settings.batch_normalization
    )
    print(table(rates))
    if settings.json:
        ratios = {rate.name: median_ratio(rate, rates[0]) for rate in rates}
        found = [{**dataclasses.asdict(rate), "median_ratio": ratios[rate.name]} for rate in rates]
        settings.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
