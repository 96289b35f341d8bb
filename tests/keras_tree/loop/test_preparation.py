"""Bad input is refused before any work."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_tree.tree import Tree

Data = dict[str, tuple[np.ndarray, np.ndarray]]


Build = Callable[..., Tree]


def state(tree: Tree) -> list[np.ndarray]:
    return [v.numpy() for v in [*tree.variables, *tree.optimizer.variables]]


def assert_unchanged(tree: Tree, before: list[np.ndarray]) -> None:
    for old, new in zip(before, state(tree), strict=True):
        np.testing.assert_array_equal(old, new)


def changed(data: Data, **replaced: Any) -> dict[str, Any]:
    return {**data, **replaced}


def poisoned(values: np.ndarray, at: int, value: float) -> np.ndarray:
    values = values.astype("float32").copy()
    values[at] = value
    return values


X = np.zeros((10, 4), "float32")


Y = np.zeros(10)


class EmptyDataset(keras.utils.PyDataset):
    """Says that it has no batch, and would give one for any index."""

    def __len__(self) -> int:
        return 0

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return X, Y


BAD: dict[str, tuple[Callable[[Data], dict[str, Any]], str]] = {
    "an unknown task": (
        lambda d: {"data": changed(d, digits=(X, Y))},
        "`data` must name tasks of the tree. Received: 'digits'. Did you mean 'digit'",
    ),
    "a missing task": (
        lambda d: {"data": {"digit": d["digit"], "size": d["size"]}},
        "every task that has something to train. Received none for 'angle'",
    ),
    "no task": (lambda d: {"data": {}}, "must map tasks to their datasets"),
    "arrays alone": (lambda d: {"data": d["digit"]}, "Received: tuple"),
    "an absent folder": (lambda d: {"data": "/absent"}, "is no folder"),
    "an empty dataset": (
        lambda d: {"data": changed(d, size=(X[:0], Y[:0]))},
        "'size' must not be empty",
    ),
    "a label beyond the classes": (
        lambda d: {"data": changed(d, digit=(X, poisoned(Y, 7, 5)))},
        "class numbers from 0 to 4, as the output has 5 units. Received: 5",
    ),
    "a negative label": (
        lambda d: {"data": changed(d, digit=(X, poisoned(Y, 7, -1)))},
        "Received: -1",
    ),
    "NaN in the inputs": (
        lambda d: {"data": changed(d, size=(poisoned(X, 3, np.nan), Y))},
        "NaN or infinity in 1 of 10 inputs, first at index 3",
    ),
    "infinity in the inputs": (
        lambda d: {"data": changed(d, size=(poisoned(X, 3, np.inf), Y))},
        "NaN or infinity",
    ),
    "more inputs than labels": (
        lambda d: {"data": changed(d, size=(X, Y[:9]))},
        "Received: 10 inputs and 9 labels",
    ),
    "inputs of another shape": (
        lambda d: {"data": changed(d, size=(X[:, :3], Y))},
        "must have the shape .n, 4. that the trunk takes. Received: shape .10, 3.",
    ),
    "a generator of inputs alone": (
        lambda d: {"data": changed(d, size=lambda: iter([X]))},
        "'size' must yield .x, y. or .x, y, sample_weight.",
    ),
    "a generator of wrong labels": (
        lambda d: {"data": changed(d, digit=lambda: iter([(X, Y + 5)]))},
        "`y` of batch 1 of task 'digit' must be class numbers",
    ),
    "an empty tf.data": (
        lambda d: {"data": changed(d, size=tf.data.Dataset.from_tensor_slices((X, Y)).take(0))},
        "'size' must not be empty",
    ),
    "an empty PyDataset": (
        lambda d: {"data": changed(d, size=EmptyDataset())},
        "'size' must not be empty",
    ),
    "an unbatched tf.data": (
        lambda d: {"data": changed(d, size=tf.data.Dataset.from_tensor_slices((X, Y)))},
        "streams must give batches",
    ),
    "too few sample weights": (
        lambda d: {"data": d, "sample_weight": {"size": np.ones(3)}},
        "one finite number per sample, shape .20,.. Received: shape .3,.",
    ),
    "sample weights of an unknown task": (
        lambda d: {"data": d, "sample_weight": {"sise": np.ones(20)}},
        "`sample_weight` must name tasks of the tree. Received: 'sise'. Did you mean 'size'",
    ),
    "sample weights without a task": (
        lambda d: {"data": d, "sample_weight": np.ones(20)},
        "`sample_weight` must map tasks to their values. Received: ndarray",
    ),
    "sample weights twice": (
        lambda d: {"data": changed(d, size=(X, Y, Y)), "sample_weight": {"size": Y}},
        "arrays with weights of their own",
    ),
    "sample weights of a stream": (
        lambda d: {"data": changed(d, size=lambda: iter([(X, Y)])), "sample_weight": {"size": Y}},
        "whose data is a stream",
    ),
    "class weights of a number": (
        lambda d: {"data": d, "class_weight": {"size": {0: 2.0}}},
        "needs labels that are classes",
    ),
    "class weights of a class that is not there": (
        lambda d: {"data": d, "class_weight": {"digit": {7: 2.0}}},
        "class numbers from 0 to 4",
    ),
    "a batch size of 0": (
        lambda d: {"data": d, "batch_size": 0},
        "`batch_size` must be a whole number of at least 1. Received: 0",
    ),
    "half an epoch": (lambda d: {"data": d, "epochs": 0.5}, "`epochs` must be a whole number"),
    "no steps": (lambda d: {"data": d, "steps_per_epoch": 0}, "`steps_per_epoch` must be"),
    "a misspelt policy": (
        lambda d: {"data": d, "steps_per_epoch": "longer"},
        "`steps_per_epoch` must be 'longest', 'shortest' or a number of steps",
    ),
    "a misspelt schedule": (
        lambda d: {"data": d, "schedule": "joined"},
        "Did you mean 'joint'",
    ),
    "no verbosity": (lambda d: {"data": d, "verbose": 5}, "`verbose` must be"),
    "validation never": (
        lambda d: {"data": d, "validation_freq": 0, "validation_data": d},
        "`validation_freq` must be",
    ),
    "generators without a number of steps": (
        lambda d: {
            "data": {task: (lambda: iter([(X, Y)])) for task in ("digit", "size")}
            | {"angle": lambda: iter([(X, np.eye(3)[[0] * 10])])}
        },
        "must be a number if no dataset tells its length",
    ),
    "a generator of unknown size to be drawn": (
        lambda d: {"data": changed(d, size=lambda: iter([(X, Y)])), "schedule": "proportional"},
        "no size for 'size'",
    ),
    "validation data of an unknown task": (
        lambda d: {"data": d, "validation_data": {"sizes": (X, Y)}},
        "`validation_data` must name tasks of the tree. Received: 'sizes'. Did you mean 'size'",
    ),
    "validation data with wrong labels": (
        lambda d: {"data": d, "validation_data": {"digit": (X, Y + 9)}},
        "Received: 9",
    ),
    "validation data without end": (
        lambda d: {
            "data": d,
            "validation_data": {
                "size": tf.data.Dataset.from_tensor_slices((X, Y)).batch(5).repeat()
            },
        },
        "never ends",
    ),
    "validation data that can be read once": (
        lambda d: {"data": d, "epochs": 2, "validation_data": {"size": iter([(X, Y)])}},
        "can be read only once",
    ),
}


@pytest.fixture(scope="module")
def tree(build_tree: Build) -> Tree:
    """One compiled tree for all refusals, as none of them may change it."""
    made = build_tree()
    made.compile("adam", run_eagerly=True)
    return made


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_before_any_work(case: str, tree: Tree, data: Data) -> None:
    make, message = BAD[case]
    before = state(tree)
    begun: list[int] = []
    callback = keras.callbacks.LambdaCallback(on_train_begin=lambda logs: begun.append(1))
    with pytest.raises(ValueError, match=message):
        tree.fit(**{"verbose": 0, "callbacks": [callback]} | make(data))
    assert not begun
    assert_unchanged(tree, before)


def test_a_tree_that_is_not_compiled_is_refused(build_tree: Build, data: Data) -> None:
    with pytest.raises(ValueError, match=r"Call tree\.compile\(\) first"):
        build_tree().fit(data)


def test_a_balancer_that_is_no_function_is_refused(build_tree: Build, data: Data) -> None:
    tree = build_tree()
    tree.compile("adam", balancer="uncertainty")
    with pytest.raises(ValueError, match=r"must be a function of \{task: weighted loss\}"):
        tree.fit(data)


def test_a_tree_without_anything_to_train_is_refused(build_tree: Build, data: Data) -> None:
    frozen = build_tree()
    frozen.trainable = False
    frozen.compile("adam")
    with pytest.raises(ValueError, match="all of whose nodes are frozen"):
        frozen.fit(data)


@pytest.mark.parametrize(
    ("optimizer", "balancer", "message"),
    [
        (keras.optimizers.Adam(use_ema=True), None, "`use_ema`"),
        (keras.optimizers.Adam(gradient_accumulation_steps=2), None, "gradient_accumulation"),
        ("adam", lambda losses: losses["digit"], "`balancer`"),
    ],
    ids=["averages", "accumulation", "balancer"],
)
@pytest.mark.parametrize("schedule", ["alternating", "proportional"])
def test_what_works_on_all_tasks_at_once_needs_a_schedule_that_does(
    schedule: str, optimizer: Any, balancer: Any, message: str, build_tree: Build, data: Data
) -> None:
    tree = build_tree()
    optimizer = keras.optimizers.get(optimizer)
    fresh = type(optimizer).from_config(optimizer.get_config())
    tree.compile(fresh, balancer=balancer, run_eagerly=True)
    with pytest.raises(ValueError, match=message):
        tree.fit(data, schedule=schedule, verbose=0)
    tree.fit(data, steps_per_epoch=1, verbose=0)  # joint
