"""Train one tree for a family of tasks, and the separate nets it replaces, on equal steps.

Used by `image_family.py` and `audio_family.py`. A separate net is the same trunk and branch as one
Keras model, trained on its task alone with as many steps and the same batch size, and quantized
whole into one `.tflite` file.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np
from keras import layers

from keras_tree import Split, Task, Tree
from quantize import Bundle, InputNormalization, quantize

MakeNet = Callable[..., keras.Model]


@dataclass(frozen=True)
class Family:
    """The tasks and the architecture that the tree and the separate nets share.

    Args:
        data: Per task its arrays; inputs float32 of one shape.
        labels: Per task the names of its classes.
        make_trunk: `make_trunk()` gives the shared trunk.
        make_branch: `make_branch(features_shape, classes, name)` gives a branch.
        augment: `augment(x, generator)` gives a batch changed at random, or None for no change.
        normalization: How a raw sample becomes the input of the net, for the firmware.
    """

    data: dict[str, Split]
    labels: dict[str, tuple[str, ...]]
    make_trunk: MakeNet
    make_branch: MakeNet
    augment: Callable[[np.ndarray, np.random.Generator], np.ndarray] | None = None
    normalization: InputNormalization | None = None


@dataclass(frozen=True)
class Budget:
    """How long every net is trained: `epochs * steps` batches of `batch_size` of every task."""

    epochs: int
    steps: int
    batch_size: int = 64
    learning_rate: float = 2e-3


@dataclass(frozen=True)
class Outcome:
    """One task's test accuracies, 0..1, and bytes; `seed` is the seed of weights and batches."""

    task: str
    seed: int
    tree_float: float
    tree_int8: float
    single_float: float
    single_int8: float
    single_bytes: int


def task_of(family: Family, name: str) -> Task:
    """A classification task with the family's labels."""
    return Task(
        name,
        "sparse_categorical_crossentropy",
        metrics=("accuracy",),
        labels=family.labels[name],
    )


def make_tree(family: Family) -> Tree:
    """One trunk and a branch per task."""
    trunk = family.make_trunk()
    features = trunk.output_shape[1:]
    branches = {
        name: family.make_branch(features, len(family.labels[name]), name) for name in family.data
    }
    return Tree.from_branches(trunk, branches, [task_of(family, name) for name in family.data])


def make_single(family: Family, name: str) -> Tree:
    """The same trunk and branch as one node, for one task."""
    trunk = family.make_trunk()
    branch = family.make_branch(trunk.output_shape[1:], len(family.labels[name]), name)
    net = keras.Model(trunk.input, branch(trunk.output), name=f"{name}_net")
    return Tree({"net": net}, {name: ("net",)}, [task_of(family, name)])


def train_and_quantize(
    tree: Tree, family: Family, budget: Budget, seed: int, verbose: int | str = "auto"
) -> Bundle:
    """Train on every task of the tree, then quantize with the scores on the test data."""
    steps = budget.epochs * budget.steps
    schedule = keras.optimizers.schedules.CosineDecay(budget.learning_rate, steps)
    tree.compile(keras.optimizers.Adam(schedule))
    data = {name: family.data[name] for name in tree.tasks}
    tree.fit(
        {name: batches(split, family, budget.batch_size, seed) for name, split in data.items()},
        epochs=budget.epochs,
        steps_per_epoch=budget.steps,
        batch_size=budget.batch_size,
        verbose=verbose,
        seed=seed,
    )
    return quantize(
        tree,
        {name: split.x_train for name, split in data.items()},
        evaluation={name: (split.x_test, split.y_test) for name, split in data.items()},
        input_normalization=family.normalization,
        name=tree.name,
    )


def batches(split: Split, family: Family, batch_size: int, seed: int):
    """The task's arrays, or a generator function of augmented batches without end."""
    if family.augment is None:
        return split.x_train, split.y_train
    augment = family.augment

    def generate():
        generator = np.random.default_rng(seed)
        while True:
            order = generator.permutation(len(split.x_train))
            for start in range(0, len(order) - batch_size + 1, batch_size):
                rows = order[start : start + batch_size]
                yield augment(split.x_train[rows], generator), split.y_train[rows]

    return generate


def compare(
    family: Family,
    budget: Budget,
    seeds: Sequence[int],
    out: Path | None = None,
    verbose: int | str = "auto",
    say: Callable[[str], None] = print,
) -> tuple[list[Outcome], Bundle]:
    """Train the tree and the separate nets for every seed.

    Returns:
        The outcomes, and the last seed's bundle, saved to `out / "bundle"` where `out` is given.
    """
    outcomes = []
    for seed in seeds:
        keras.utils.set_random_seed(seed)
        say(f"seed {seed}: the tree")
        bundle = train_and_quantize(make_tree(family), family, budget, seed, verbose)
        for name in family.data:
            keras.utils.set_random_seed(seed)
            say(f"seed {seed}: the separate net of {name}")
            single = train_and_quantize(make_single(family, name), family, budget, seed, verbose)
            tree_score, score = bundle.tasks[name].score, single.tasks[name].score
            outcomes.append(
                Outcome(
                    task=name,
                    seed=seed,
                    tree_float=tree_score.float_value,
                    tree_int8=tree_score.int8_value,
                    single_float=score.float_value,
                    single_int8=score.int8_value,
                    single_bytes=single.nodes["net"].rom_bytes,
                )
            )
    if out is not None:
        bundle.save(out / "bundle", overwrite=True)
        text = json.dumps([asdict(outcome) for outcome in outcomes], indent=1)
        (out / "outcomes.json").write_text(text + "\n")
    return outcomes, bundle


def render(outcomes: Sequence[Outcome], bundle: Bundle) -> str:
    """A Markdown table of the means over the seeds, and the bytes."""
    tasks = list(dict.fromkeys(outcome.task for outcome in outcomes))
    seeds = len({outcome.seed for outcome in outcomes})
    lines = [
        "| task | tree float | tree int8 | single float | single int8 | tree - single, int8 "
        f"(mean of {seeds}) | branch bytes | single bytes |",
        "|---|---|---|---|---|---|---|---|",
    ]
    separate_bytes = 0
    for task in tasks:
        rows = [outcome for outcome in outcomes if outcome.task == task]
        fields = ("tree_float", "tree_int8", "single_float", "single_int8")
        means = [float(np.mean([getattr(row, field) for row in rows])) for field in fields]
        separate_bytes += rows[-1].single_bytes
        lines.append(
            f"| {task} | "
            + " | ".join(f"{100 * mean:.2f} %" for mean in means)
            + f" | {100 * (means[1] - means[3]):+.2f} | {bundle.nodes[task].rom_bytes:,}"
            f" | {rows[-1].single_bytes:,} |"
        )
    tree_bytes = sum(node.rom_bytes for node in bundle.nodes.values())
    lines.append("")
    lines.append(
        f"Model bytes: {tree_bytes:,} for the tree (trunk {bundle.nodes['trunk'].rom_bytes:,}), "
        f"{separate_bytes:,} for {len(tasks)} separate nets: {tree_bytes / separate_bytes:.2f}x."
    )
    return "\n".join(lines)


def convolution(x, filters: int, strides: int | tuple[int, int] = 1, separable: bool = False):
    """Convolution 3x3, batch normalization, ReLU: the block of both families."""
    kind = layers.SeparableConv2D if separable else layers.Conv2D
    x = kind(filters, 3, strides, padding="same", use_bias=False)(x)
    # Momentum .95: the statistics settle within the few hundred steps of a small dataset.
    return layers.ReLU()(layers.BatchNormalization(momentum=0.95)(x))


def run(
    description: str, load: Callable[[Path], Family], out: str, epochs: int, steps: int
) -> None:
    """The command line of both examples: train, compare, print the table, save the bundle."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the .npz files")
    parser.add_argument("--out", type=Path, default=Path(out), help="folder for the bundle")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds to average over")
    parser.add_argument("--epochs", type=int, default=epochs)
    parser.add_argument("--steps", type=int, default=steps, help="batches of 64 per epoch")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    budget = Budget(options.epochs, options.steps)
    outcomes, bundle = compare(load(options.data), budget, range(options.seeds), options.out)
    print("\n" + render(outcomes, bundle))
    print(f"\nThe bundle is in {options.out / 'bundle'}")
