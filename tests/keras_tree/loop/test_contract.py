"""What data fits a task, and how what does not fit is refused."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from keras_tree.loop.contract import Contract, DataError, check_class_weight
from keras_tree.tasks import Task

SPARSE = "sparse_categorical_crossentropy"


def contract(
    loss: Any = SPARSE,
    output: tuple[int | None, ...] = (None, 3),
    input_shape: tuple[int | None, ...] = (None, 2),
    missing_label: float | None = None,
    class_weight: dict[int, float] | None = None,
) -> Contract:
    task = Task("digit", loss, missing_label=missing_label)
    return Contract(task, input_shape, output, class_weight)


X = np.arange(8, dtype="float32").reshape(4, 2)


def own_loss(y: Any, p: Any) -> Any:
    return keras.ops.mean(keras.ops.square(y - p), axis=-1)


LABELS: dict[str, tuple[Contract, Any, list[Any], list[float]]] = {
    "class numbers": (contract(), [0, 1, 2, 0], [0, 1, 2, 0], [1, 1, 1, 1]),
    "class numbers in a column": (contract(), [[0], [1], [2], [0]], [0, 1, 2, 0], [1, 1, 1, 1]),
    "a missing class": (contract(), [0, np.nan, 2, 1], [0, 0, 2, 1], [1, 0, 1, 1]),
    "a value for missing": (
        contract(missing_label=-1),
        [0, -1, 2, 1],
        [0, 0, 2, 1],
        [1, 0, 1, 1],
    ),
    "a class that the loss ignores": (
        contract(keras.losses.SparseCategoricalCrossentropy(ignore_class=255)),
        [0, 255, 2, 1],
        [0, 0, 2, 1],
        [1, 0, 1, 1],
    ),
    "one-hot": (
        contract("categorical_crossentropy", (None, 2)),
        [[1, 0], [0, 1], [np.nan, np.nan], [0.5, 0.5]],
        [[1, 0], [0, 1], [0, 0], [0.5, 0.5]],
        [1, 1, 0, 1],
    ),
    "binary": (
        contract("binary_crossentropy", (None, 1)),
        [0, 1, 1, np.nan],
        [[0], [1], [1], [0]],
        [1, 1, 1, 0],
    ),
    "regression": (
        contract("mse", (None, 2)),
        [[0, -9.5], [np.nan, 3], [1e6, 0], [0, 0]],
        [[0, -9.5], [0, 0], [1e6, 0], [0, 0]],
        [1, 0, 1, 1],
    ),
    "a label per position": (
        contract(output=(None, 2, 3)),
        [[0, 1], [2, np.nan], [np.nan, np.nan], [1, 1]],
        [[0, 1], [2, 0], [0, 0], [1, 1]],
        [[1, 1], [1, 0], [0, 0], [1, 1]],
    ),
    "a loss of the user's own": (
        contract(own_loss, (None, 3)),
        [[0, 7], [2, np.nan], [1, 1], [1, 1]],
        [[0, 7], [0, 0], [1, 1], [1, 1]],
        [1, 0, 1, 1],
    ),
}


@pytest.mark.parametrize("case", LABELS)
def test_labels(case: str) -> None:
    checked, y, expected, valid = LABELS[case]
    batch = checked.check(X, y)
    np.testing.assert_array_equal(batch.y, np.array(expected, "float32"))
    np.testing.assert_array_equal(batch.valid, np.array(valid, "float32"))
    np.testing.assert_array_equal(batch.weight, batch.valid)
    assert {part.dtype for part in batch.parts()} == {np.dtype("float32")}
    assert len(batch) == 4


def test_weights_are_multiplied_and_zero_where_there_is_no_label() -> None:
    batch = contract(class_weight={1: 10.0}).check(X, [0, 1, np.nan, 1], [1, 2, 3, 0.5])
    np.testing.assert_array_equal(batch.weight, np.array([1, 20, 0, 5], "float32"))
    np.testing.assert_array_equal(batch.valid, np.array([1, 1, 0, 1], "float32"))


@pytest.mark.parametrize(
    ("checked", "y", "expected"),
    [
        (
            contract("categorical_crossentropy", class_weight={0: 5.0}),
            np.eye(3)[[0, 1, 2, 0]],
            [5, 1, 1, 5],
        ),
        (
            contract("binary_crossentropy", (None, 1), class_weight={1: 3.0}),
            [0, 1, 1, 0],
            [1, 3, 3, 1],
        ),
        (contract(output=(None, 2, 3), class_weight={2: 4.0}), [[0, 2]] * 4, [[1, 4]] * 4),
    ],
    ids=["one-hot", "binary", "per position"],
)
def test_class_weights(checked: Contract, y: Any, expected: Any) -> None:
    check_class_weight(checked)
    np.testing.assert_array_equal(checked.check(X, y).weight, np.array(expected, "float32"))


def test_grey_images_may_lack_their_channel_axis() -> None:
    images = np.zeros((4, 5, 5), "uint8")
    batch = contract(input_shape=(None, 5, 5, 1)).check(images, [0, 1, 2, 0])
    assert batch.x.shape == (4, 5, 5, 1)
    assert batch.x.dtype == np.uint8  # converted batch by batch, not all at once


def test_rows_are_selected_and_keep_together() -> None:
    batch = contract().check(X, [0, 1, 2, 0], [1, 2, 3, 4])
    chosen = batch.rows(np.array([2, 0]))
    np.testing.assert_array_equal(chosen.x, X[[2, 0]])
    np.testing.assert_array_equal(chosen.y, [2, 0])
    np.testing.assert_array_equal(chosen.weight, [3, 1])


Y = [0, 1, 2, 0]
REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "a class too high": (
        lambda: contract().check(X, [0, 1, 3, 9]),
        r"class numbers from 0 to 2, as the output has 3 units. Received: 3, 9 \(2 labels\)",
    ),
    "a negative class": (lambda: contract().check(X, [0, -1, 2, 0]), "Received: -1"),
    "half a class": (lambda: contract().check(X, [0, 0.5, 2, 0]), r"Received: 0\.5"),
    "an infinite class": (lambda: contract().check(X, [0, np.inf, 2, 0]), "Received: inf"),
    "one-hot for class numbers": (
        lambda: contract().check(X, np.eye(3)[Y]),
        r"Received: shape \(4, 3\). Pass class numbers",
    ),
    "class numbers for one-hot": (
        lambda: contract("categorical_crossentropy").check(X, Y),
        r"Received: shape \(4,\). Pass one-hot rows",
    ),
    "too few one-hot columns": (
        lambda: contract("categorical_crossentropy").check(X, np.eye(2)[[0, 1, 1, 0]]),
        r"must have the shape \(n, 3\)",
    ),
    "a probability above 1": (
        lambda: contract("binary_crossentropy", (None, 1)).check(X, [0, 1, 2, 0]),
        "between 0 and 1. Received: 2",
    ),
    "an infinite value": (
        lambda: contract("mse", (None, 1)).check(X, [0, np.inf, 2, 0]),
        "finite numbers",
    ),
    "NaN in an input": (
        lambda: contract().check([[0, 0], [0, np.nan], [0, 0], [np.inf, 0]], Y),
        "NaN or infinity in 2 of 4 inputs, first at index 1",
    ),
    "more inputs than labels": (
        lambda: contract().check(X, [0, 1]),
        "same length. Received: 4 inputs and 2 labels",
    ),
    "inputs of another shape": (
        lambda: contract().check(np.zeros((4, 3)), Y),
        r"must have the shape \(n, 2\) that the trunk takes. Received: shape \(4, 3\)",
    ),
    "one input, not a batch": (lambda: contract().check(np.zeros(2), 1), r"shape \(2,\)"),
    "inputs of unequal length": (lambda: contract().check([[1], [1, 2]], Y), "array of numbers"),
    "words for labels": (lambda: contract().check(X, ["a", "b", "c", "d"]), "array of numbers"),
    "a lone label": (lambda: contract().check(X, 3), "array of numbers"),
    "too few weights": (
        lambda: contract().check(X, Y, [1, 2]),
        r"one finite number per sample, shape \(4,\). Received: shape \(2,\)",
    ),
    "a weight that is no number": (
        lambda: contract().check(X, Y, [1, 2, np.nan, 1]),
        "one finite number per sample",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused(case: str) -> None:
    act, message = REFUSED[case]
    with pytest.raises(DataError, match=message) as raised:
        act()
    assert "'digit'" in str(raised.value)


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        (contract("mse", class_weight={0: 2.0}), "needs labels that are classes"),
        (contract("binary_crossentropy", class_weight={0: 2.0}), "needs labels that are classes"),
        (contract(class_weight={3: 2.0}), "from 0 to 2"),
        (contract(class_weight={0: np.nan}), "finite"),
    ],
    ids=["regression", "several binary outputs", "unknown class", "no number"],
)
def test_class_weights_that_do_not_fit_are_refused(refused: Contract, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_class_weight(refused)
