"""What a task may be, what is refused, and that its description is read back."""

import json
from typing import Any

import keras
import numpy as np
import pytest

from keras_tree.tasks import Task, check_name, near_names


@keras.saving.register_keras_serializable(package="keras_tree_tests")
def own_loss(y_true: Any, y_pred: Any) -> Any:
    return keras.ops.mean(keras.ops.abs(y_true - y_pred), axis=-1)


GOOD_TASKS = [
    Task("digit", "sparse_categorical_crossentropy"),
    Task("digit", keras.losses.Huber(0.5), metrics=["mae", "mse"], weight=0, auxiliary=True),
    Task("a.b-c_1", own_loss, metrics=(keras.metrics.TopKCategoricalAccuracy(2, name="top2"),)),
    Task("word", "mse", labels=["yes", "no"], missing_label=-1, weight=np.float32(2)),
    Task("angle", keras.losses.cosine_similarity, metrics="accuracy"),
    Task("one", "mse", metrics=({"class_name": "MeanAbsoluteError", "config": {"name": "m"}},)),
]


@pytest.mark.parametrize("task", GOOD_TASKS, ids=lambda task: task.name)
def test_description_is_read_back(task: Task) -> None:
    config = json.loads(json.dumps(task.to_config()))
    again = Task.from_config(config)
    assert again.to_config() == task.to_config()
    assert keras.losses.get(again.loss) is not None
    for field in ("name", "weight", "auxiliary", "labels", "missing_label"):
        assert getattr(again, field) == getattr(task, field)


@pytest.mark.parametrize(
    "loss",
    [
        keras.losses.Huber(0.5),
        keras.losses.CosineSimilarity(axis=0),
        keras.losses.CategoricalFocalCrossentropy(gamma=3.0, label_smoothing=0.1),
        keras.losses.Tversky(alpha=0.3),
        keras.losses.MeanSquaredError(reduction="sum", dtype="float64"),
    ],
    ids=lambda loss: type(loss).__name__,
)
def test_read_back_loss_computes_the_same(loss: keras.losses.Loss) -> None:
    y, p = np.array([[0, 1], [1, 0], [1, 0]], "float32"), np.full((3, 2), 0.3, "float32")
    again = Task.from_config(Task("digit", loss).to_config()).loss
    assert keras.ops.convert_to_numpy(again(y, p)) == keras.ops.convert_to_numpy(loss(y, p))
    assert again.dtype == loss.dtype
    default = type(loss)()
    assert keras.ops.convert_to_numpy(default(y, p)) != keras.ops.convert_to_numpy(loss(y, p))


def test_plain_values_are_stored() -> None:
    task = Task("word", "mse", metrics=["mae"], weight=2, labels=["yes"], missing_label=np.nan)
    assert task.metrics == ("mae",)
    assert task.weight == 2.0
    assert task.labels == ("yes",)
    assert task.missing_label is None
    assert Task("word", "mse", missing_label=np.int64(-1)).missing_label == -1.0


def test_a_task_is_frozen() -> None:
    with pytest.raises(AttributeError):
        Task("word", "mse").weight = 3.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "a b"}, r"letters, digits, `_`, `\.` and `-`.*Received: 'a b'"),
        ({"name": "a/b"}, r"Received: 'a/b'"),
        ({"name": ""}, r"Received: ''"),
        ({"name": ".."}, r"Received: '\.\.'"),
        ({"name": "ä"}, r"Received: 'ä'"),
        ({"name": 3}, r"Received: 3"),
        ({"loss": "mean_squared_eror"}, r"'mean_squared_eror'.*Did you mean 'mean_squared_error'"),
        ({"loss": 3}, r"function of \(y_true, y_pred\)\. Received: 3"),
        ({"metrics": ("acuracy",)}, r"'acuracy'.*Did you mean 'accuracy'"),
        ({"metrics": ({"class_name": "Nothing", "config": {}},)}, r"Received: .'class_name'"),
        ({"metrics": (3,)}, r"instances or their configs\. Received: 3"),
        ({"metrics": 3}, r"`metrics` of task 'digit' must be a sequence"),
        ({"metrics": ("mae", "mae")}, r"different names.*Received twice: mae"),
        ({"weight": -1}, r"at least 0.*Received: -1"),
        ({"weight": float("nan")}, r"Received: nan"),
        ({"weight": float("inf")}, r"Received: inf"),
        ({"weight": "1"}, r"Received: '1'"),
        ({"weight": True}, r"Received: True"),
        ({"labels": (1, 2)}, r"`labels` of task 'digit' must be strings"),
        ({"labels": ("a", "b", "a")}, r"Received twice: 'a'"),
        ({"missing_label": "none"}, r"`missing_label` of task 'digit' must be a number"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Task(**{"name": "digit", "loss": "mse", **arguments})


def test_good_names() -> None:
    for name in ("a", "A-1_b.c", "0"):
        assert check_name("node", name) == name


def test_near_names() -> None:
    assert near_names("digits", ["digit", "angle"]) == "Did you mean 'digit'?"
    assert near_names("xyz", ["digit", "angle"]) == "Known: 'digit', 'angle'."
