"""Float trees to bring into other forms: the demo's, and that of four families of images.

Belongs here: trees and their data. Does not belong here: forms and figures (`aware_training.py`).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from deploy.demo import demo_datasets, demo_tree
from keras_tree import Split, Tree

Data = dict[str, tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Problem:
    """A trained float tree with its data.

    Args:
        name: Of the tree.
        tree: Trained.
        train: Per task what recipes train on.
        validation: Per task what decides which bundle is kept.
        test: Per task what is reported.
    """

    name: str
    tree: Tree
    train: Data
    validation: Data
    test: Data

    @property
    def samples(self) -> dict[str, np.ndarray]:
        """What calibrates."""
        return {task: x for task, (x, _) in self.train.items()}


def demo_problem(seed: int, epochs: int, limit: int) -> Problem:
    """The tree of `keras-tree demo`."""
    keras.utils.set_random_seed(seed)
    tree = demo_tree()
    return trained("demo", tree, demo_datasets(seed), seed, epochs, limit)


def image_problem(folder: Path, seed: int, epochs: int, limit: int) -> Problem:
    """The tree of `examples/image_family.py`."""
    examples = str(Path(__file__).resolve().parents[1] / "examples")
    if examples not in sys.path:
        sys.path.insert(0, examples)
    import family
    import image_family

    keras.utils.set_random_seed(seed)
    found = image_family.load_family(folder)
    return trained("images", family.make_tree(found), found.data, seed, epochs, limit)


def trained(
    name: str, tree: Tree, splits: dict[str, Split], seed: int, epochs: int, limit: int
) -> Problem:
    """Train a tree on nine tenths of its training data, with at most `limit` test samples a task.

    The other tenth validates, with at most half of `limit`.
    """
    train, validation = {}, {}
    for task, split in splits.items():
        order = np.random.default_rng(seed).permutation(len(split.x_train))
        cut = len(order) // 10
        for target, rows in ((validation, order[: min(cut, limit // 2)]), (train, order[cut:])):
            target[task] = split.x_train[rows], split.y_train[rows]
    steps = max(len(x) for x, _ in train.values()) // 64
    rate = keras.optimizers.schedules.CosineDecay(2e-3, epochs * steps)
    tree.compile(keras.optimizers.Adam(rate), schedule="joint")
    tree.fit(train, epochs=epochs, steps_per_epoch=steps, batch_size=64, verbose=0, seed=seed)
    test = {task: (split.x_test[:limit], split.y_test[:limit]) for task, split in splits.items()}
    return Problem(name, tree, train, validation, test)
