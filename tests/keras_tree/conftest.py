"""Small trees to train, and their data: three tasks with labels of three kinds."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from keras_tree.tasks import Task
from keras_tree.tree import Tree

Data = dict[str, tuple[np.ndarray, np.ndarray]]


def dense_node(
    name: str,
    inputs: int,
    units: int,
    activation: str | None = None,
    normalized: bool = False,
    dropout: float = 0.0,
    regularizer: Any = None,
    activity: Any = None,
) -> keras.Model:
    """One dense layer, with what else is asked for around it."""
    entry = x = keras.Input((inputs,), name=f"{name}_input")
    if normalized:
        x = keras.layers.BatchNormalization(name=f"{name}_bn")(x)
    x = keras.layers.Dense(
        units,
        activation,
        name=f"{name}_dense",
        kernel_regularizer=regularizer,
        activity_regularizer=activity,
    )(x)
    if dropout:
        x = keras.layers.Dropout(dropout, name=f"{name}_dropout")(x)
    return keras.Model(entry, x, name=name)


def tasks(**changes: Any) -> list[Task]:
    """Class numbers, one-hot labels and a number; `changes` are arguments of the first."""
    return [
        Task(
            "digit",
            **{"loss": "sparse_categorical_crossentropy", "metrics": ("accuracy",)} | changes,
        ),
        Task("angle", "categorical_crossentropy", metrics=("accuracy",), weight=0.5),
        Task("size", "mse", metrics=("mae",), weight=2.0),
    ]


def small_tree(normalized: bool = True, first: dict[str, Any] | None = None, **trunk: Any) -> Tree:
    """A trunk 4 -> 8 and branches of 5 classes, 3 one-hot classes and one number."""
    return Tree.from_branches(
        dense_node("trunk", 4, 8, "tanh", normalized, **trunk),
        {
            "digit": dense_node("digit", 8, 5, "softmax", normalized),
            "angle": dense_node("angle", 8, 3, "softmax", normalized),
            "size": dense_node("size", 8, 1, None, normalized),
        },
        tasks(**(first or {})),
    )


@pytest.fixture(scope="session")
def build_tree() -> Callable[..., Tree]:
    return small_tree


@pytest.fixture(scope="session")
def build_node() -> Callable[..., keras.Model]:
    return dense_node


@pytest.fixture
def data() -> Data:
    """Datasets of 50, 33 and 20 samples that a linear layer can learn."""
    rng = np.random.default_rng(0)
    x = {task: rng.normal(size=(n, 4)).astype("float32") for task, n in SIZES.items()}
    return {
        "digit": (x["digit"], (x["digit"] @ rng.normal(size=(4, 5))).argmax(1)),
        "angle": (x["angle"], np.eye(3)[(x["angle"] @ rng.normal(size=(4, 3))).argmax(1)]),
        "size": (x["size"], x["size"].sum(1) / 2),
    }


SIZES = {"digit": 50, "angle": 33, "size": 20}
