"""Losses per sample and metrics by what the labels are."""

import re
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_tree.loop.losses import TaskLoss, label_kind, make_metrics
from keras_tree.tasks import Task

P = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.2, 0.5, 0.3]], "float32")
CLASSES = np.array([0, 1, 1], "float32")
ONE_HOT = np.eye(3, dtype="float32")[[0, 1, 1]]


def own(y: Any, p: Any) -> Any:
    return keras.ops.max(keras.ops.abs(y - p), axis=-1)


def spelled(value: object) -> str:
    """The id of a parameter: no address of an object, which differs from process to process."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))


@pytest.mark.parametrize(
    ("loss", "y"),
    [
        ("sparse_categorical_crossentropy", CLASSES),
        (keras.losses.SparseCategoricalCrossentropy(from_logits=True), CLASSES),
        ("categorical_crossentropy", ONE_HOT),
        (keras.losses.CategoricalCrossentropy(label_smoothing=0.1), ONE_HOT),
        ("binary_crossentropy", ONE_HOT),
        ("mse", ONE_HOT),
        (keras.losses.Huber(0.1), ONE_HOT),
        (keras.losses.CosineSimilarity(), ONE_HOT),
        (keras.losses.mean_absolute_error, ONE_HOT),
    ],
    ids=lambda value: getattr(value, "name", str(value)[:12]),
)
def test_a_loss_is_that_of_keras(loss: Any, y: np.ndarray) -> None:
    task = TaskLoss(Task("digit", loss))
    ones = np.ones(3, "float32")
    expected = float(np.mean(keras.losses.get(loss)(y, P)))
    value, count = task.mean(tf.constant(y), tf.constant(P), tf.constant(ones), tf.constant(ones))
    assert float(value) == pytest.approx(expected, rel=1e-6)
    assert float(count) == 3
    weight, valid = np.array([2, 0, 0], "float32"), np.array([1, 0, 1], "float32")
    first = float(np.mean(keras.losses.get(loss)(y[:1], P[:1])))
    value, count = task.mean(*(tf.constant(part) for part in (y, P, weight, valid)))
    assert float(value) == pytest.approx(2 * first / 2, rel=1e-6)
    assert float(count) == 2


def test_an_infinite_loss_of_a_missing_label_is_left_out() -> None:
    task = TaskLoss(Task("digit", lambda y, p: keras.ops.mean(y / p, axis=-1)))
    p = tf.constant([[0.0], [2.0]])
    value, _ = task.mean(tf.ones((2, 1)), p, tf.constant([0.0, 1.0]), tf.constant([0.0, 1.0]))
    assert float(value) == 0.5


def test_a_loss_per_sample_over_labels_per_position() -> None:
    task = TaskLoss(Task("map", lambda y, p: keras.ops.mean(keras.ops.abs(y - p), axis=(1, 2))))
    valid = tf.constant([[1.0, 1.0], [1.0, 0.0]])
    value, count = task.mean(tf.zeros((2, 2, 1)), tf.ones((2, 2, 1)), valid, valid)
    assert (float(value), float(count)) == (1.0, 1.0)  # only the sample that is labelled throughout


def test_a_loss_of_one_number_per_batch_is_refused() -> None:
    task = TaskLoss(Task("digit", lambda y, p: keras.ops.mean(y - p)))
    with pytest.raises(ValueError, match="'digit' must return one value per sample"):
        task.values(tf.zeros((2, 1)), tf.zeros((2, 1)))


@pytest.mark.parametrize(
    ("loss", "kind"),
    [
        ("sparse_categorical_crossentropy", "class"),
        (keras.losses.SparseCategoricalCrossentropy(), "class"),
        (keras.losses.categorical_crossentropy, "one-hot"),
        (keras.losses.BinaryFocalCrossentropy(), "binary"),
        ("mse", "value"),
        (own, "value"),
    ],
    ids=spelled,
)
def test_what_labels_are_follows_from_the_loss(loss: Any, kind: str) -> None:
    assert label_kind(loss) == kind


@pytest.mark.parametrize(
    ("loss", "label_rank", "output", "metric"),
    [
        ("sparse_categorical_crossentropy", 1, (None, 3), keras.metrics.SparseCategoricalAccuracy),
        ("categorical_crossentropy", 2, (None, 3), keras.metrics.CategoricalAccuracy),
        ("binary_crossentropy", 2, (None, 1), keras.metrics.BinaryAccuracy),
        ("binary_crossentropy", 2, (None, 5), keras.metrics.BinaryAccuracy),
        (own, 1, (None, 3), keras.metrics.SparseCategoricalAccuracy),
        (own, 2, (None, 3), keras.metrics.CategoricalAccuracy),
        ("mse", 2, (None, 1), keras.metrics.BinaryAccuracy),
    ],
    ids=spelled,
)
def test_accuracy_follows_from_the_labels(
    loss: Any, label_rank: int, output: Any, metric: type
) -> None:
    for name in ("accuracy", "acc"):
        (made,) = make_metrics(Task("digit", loss, (name,)), label_rank, output)
        assert type(made) is metric
        assert made.name == f"digit_{name}"


def test_metrics_of_every_form() -> None:
    given = keras.metrics.SparseTopKCategoricalAccuracy(k=2, name="top2")
    config = keras.saving.serialize_keras_object(given)
    functions = (keras.metrics.sparse_top_k_categorical_accuracy, "ce", config, "mae")
    task = Task("digit", "sparse_categorical_crossentropy", functions)
    names = [metric.name for metric in make_metrics(task, 1, (None, 3))]
    expected = ["sparse_top_k_categorical_accuracy", "ce", "top2", "mae"]
    assert names == [f"digit_{name}" for name in expected]
    (made,) = make_metrics(Task("digit", "mse", (given,)), 1, (None, 3))
    assert made is not given  # the task's own metric keeps no state of a training
    assert made.k == 2
