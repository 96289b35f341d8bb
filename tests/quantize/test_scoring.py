"""How outputs are judged: the choice by loss, the labels in all their forms, the points."""

from types import SimpleNamespace

import numpy as np
import pytest

from quantize.scoring import BinaryScoring, ClassScoring, ValueScoring, scoring_of

NAN = float("nan")


def task(loss, metrics=(), labels=(), missing_label=None):
    return SimpleNamespace(loss=loss, metrics=metrics, labels=labels, missing_label=missing_label)


class SparseCategoricalCrossentropy:
    """Stands for the Keras loss of that name; the choice looks at names only."""


class BinaryCrossentropy:
    from_logits = True


def my_loss(y_true, y_pred):
    return y_pred - y_true


CLASSES = np.array([0, 1, 2])
VALUES = np.array([0.5, 1.5, 2.5])


@pytest.mark.parametrize(
    ("description", "y", "output_shape", "expected"),
    [
        (task("sparse_categorical_crossentropy"), CLASSES, (3,), ClassScoring(None)),
        (task(SparseCategoricalCrossentropy()), CLASSES, (3,), ClassScoring(None)),
        (task("CategoricalCrossentropy"), np.eye(3), (3,), ClassScoring(None)),
        (task("binary_crossentropy"), CLASSES, (1,), BinaryScoring(None, 0.5, 0.5)),
        (task(BinaryCrossentropy()), CLASSES, (1,), BinaryScoring(None, 0.0, 0.5)),
        (task("binary_crossentropy"), np.ones((3, 4)), (4,), BinaryScoring(None, 0.5, 0.5)),
        (task("binary_crossentropy"), np.eye(4), (4,), ClassScoring(None)),
        (task("hinge"), CLASSES, (1,), BinaryScoring(None, 0.0, 0.0)),
        (task("mse"), CLASSES, (1,), ValueScoring(None)),
        (task("huber", missing_label=-9.0), VALUES, (1,), ValueScoring(-9.0)),
        (task(my_loss, metrics=("accuracy",)), VALUES, (3,), ClassScoring(None)),
        (task(my_loss, metrics=("mean_absolute_error",)), CLASSES, (3,), ValueScoring(None)),
        (task(my_loss, metrics=({"config": {"name": "acc"}},)), VALUES, (3,), ClassScoring(None)),
        (task(my_loss, labels=("a", "b", "c")), VALUES, (3,), ClassScoring(None)),
        (task(my_loss), CLASSES, (3,), ClassScoring(None)),
        (task(my_loss), CLASSES, (1,), BinaryScoring(None, 0.5, 0.5)),
        (task(my_loss), VALUES, (1,), ValueScoring(None)),
    ],
)
def test_the_loss_decides_how_a_task_is_judged(description, y, output_shape, expected):
    assert scoring_of(description, y, output_shape) == expected


def test_a_keras_loss_object_is_known_by_its_class():
    keras = pytest.importorskip("keras")
    logits = keras.losses.BinaryCrossentropy(from_logits=True)
    assert scoring_of(task(logits), CLASSES, (1,)) == BinaryScoring(None, 0.0, 0.5)
    assert scoring_of(task(keras.losses.Huber()), CLASSES, (1,)) == ValueScoring(None)
    assert scoring_of(task(keras.losses.mean_squared_error), CLASSES, (1,)) == ValueScoring(None)


@pytest.mark.parametrize(
    ("scoring", "y", "output_shape", "labels"),
    [
        (ClassScoring(None), [2, 0], (3,), [2, 0]),
        (ClassScoring(None), [[2], [0]], (3,), [2, 0]),
        (ClassScoring(None), [[0, 0, 1], [1, 0, 0]], (3,), [2, 0]),
        (ClassScoring(None), [[0, NAN, 1], [1, 0, 0]], (3,), [NAN, 0]),
        (ClassScoring(-1), [[-1, -1, -1], [1, 0, 0]], (3,), [NAN, 0]),
        (ClassScoring(0), [[0, 0, 1], [1, 0, 0]], (3,), [2, 0]),
        (ClassScoring(-1), [-1, 1], (3,), [NAN, 1]),
        (ClassScoring(None), [NAN, 1], (3,), [NAN, 1]),
        (ClassScoring(None), [[[0, 1]], [[2, 2]]], (1, 2, 3), [[[0, 1]], [[2, 2]]]),
        (BinaryScoring(None, 0.5, 0.5), [0, 1], (1,), [[0], [1]]),
        (BinaryScoring(-1, 0.5, 0.5), [[-1], [1]], (1,), [[NAN], [1]]),
        (BinaryScoring(None, 0.0, 0.0), [-1, 1], (1,), [[0], [1]]),
        (ValueScoring(None), [1.5, NAN], (1,), [[1.5], [NAN]]),
        (ValueScoring(-99), [[1, -99], [2, 3]], (2,), [[1, NAN], [2, 3]]),
    ],
)
def test_labels_in_all_their_forms(scoring, y, output_shape, labels):
    read = scoring.labels(np.array(y, np.float64), output_shape)
    np.testing.assert_array_equal(read, labels)


@pytest.mark.parametrize(
    ("scoring", "y", "output_shape", "message"),
    [
        (ClassScoring(None), [0, 3], (3,), r"class indices of 0 to 2; got 3\."),
        (ClassScoring(None), [-1, 0], (3,), "got -1.*`missing_label`"),
        (ClassScoring(None), [0.5, 0], (3,), "got 0.5"),
        (ClassScoring(None), [[0, 1], [1, 0]], (3,), r"got shape \(2, 2\)"),
        (BinaryScoring(None, 0.5, 0.5), [[0, 1], [1, 0]], (1,), "must have the shape"),
        (ValueScoring(None), [1.0, 2.0], (2,), "must have the shape"),
        (ValueScoring(None), np.zeros((2, 3, 2)), (2, 3), "must have the shape"),
    ],
)
def test_labels_that_do_not_fit_are_refused(scoring, y, output_shape, message):
    with pytest.raises(ValueError, match=message):
        scoring.labels(np.array(y, np.float64), output_shape)


def test_points_of_classes_are_right_or_wrong():
    outputs = np.array([[0.1, 0.9], [0.8, 0.2], [0.5, 0.5]])
    points = ClassScoring(None).points(outputs, np.array([1, 1, 0]))
    np.testing.assert_array_equal(points, [1, 0, 1])


def test_points_of_values_are_absolute_errors():
    points = ValueScoring(None).points(np.array([[1.0], [4.0]]), np.array([[3.0], [3.5]]))
    np.testing.assert_array_equal(points, [[2.0], [0.5]])


@pytest.mark.parametrize(("threshold", "right"), [(0.5, [1, 0, 1]), (0.0, [1, 1, 0])])
def test_points_of_yes_or_no_follow_the_threshold(threshold, right):
    outputs, labels = np.array([[0.9], [0.2], [0.3]]), np.array([[1.0], [1.0], [0.0]])
    points = BinaryScoring(None, threshold, 0.5).points(outputs, labels)
    np.testing.assert_array_equal(points[:, 0], right)


def test_values_agree_within_one_step_of_int8():
    expected, actual = np.array([1.0, 1.0, 1.0]), np.array([1.5, 1.4, 1.6])
    np.testing.assert_array_equal(
        ValueScoring(None).agree(expected, actual, 0.5), [True, True, False]
    )
