"""How one task's outputs are compared with its labels: classes, yes or no, or values.

Here stands the choice that follows from the task's loss, the reading of the labels with those that
are missing left out, and the arithmetic on one batch. Running a model is in `fidelity.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

# Names of Keras losses in lower case without underscores, so that `"mse"`, `"mean_squared_error"`
# and `keras.losses.MeanSquaredError()` are all found.
_CLASS_LOSSES = {
    "categoricalcrossentropy",
    "sparsecategoricalcrossentropy",
    "categoricalfocalcrossentropy",
    "categoricalhinge",
    "kldivergence",
    "kld",
}
_BINARY_LOSSES = {"binarycrossentropy", "binaryfocalcrossentropy", "bce"}
_HINGE_LOSSES = {"hinge", "squaredhinge"}
_VALUE_LOSSES = {
    "meansquarederror",
    "mse",
    "meanabsoluteerror",
    "mae",
    "meanabsolutepercentageerror",
    "mape",
    "meansquaredlogarithmicerror",
    "msle",
    "cosinesimilarity",
    "huber",
    "logcosh",
    "poisson",
}


class Scoring(Protocol):
    """One way of judging outputs; every array has the batch first."""

    metric: ClassVar[str]

    def labels(self, y: np.ndarray, output_shape: tuple[int, ...]) -> np.ndarray:
        """Return the labels as float64, one for each of the task's judgements, NaN for missing."""

    def points(self, outputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return the score of every judgement: 1 or 0 for right or wrong, or the absolute error."""

    def agree(self, expected: np.ndarray, actual: np.ndarray, step: float) -> np.ndarray:
        """Return whether two outputs lead to the same judgement; `step` is one LSB of `actual`."""


def scoring_of(task: Any, y: np.ndarray, output_shape: tuple[int, ...]) -> Scoring:
    """Choose how a task is judged from its loss; for a loss of the user's own, from the rest.

    Args:
        task: A task with `loss`, `metrics`, `labels` and `missing_label`.
        y: The labels, as given.
        output_shape: Shape of one output, without the batch.

    Returns:
        Accuracy over the classes of the last axis; accuracy of yes or no, above 0.5 for
        probabilities and above 0 for logits and hinge; or the mean absolute error.
    """
    loss = _plain_name(task.loss)
    missing = task.missing_label
    if loss in _VALUE_LOSSES:
        return ValueScoring(missing)
    if loss in _HINGE_LOSSES:
        return BinaryScoring(missing, threshold=0.0, label_threshold=0.0)
    known = loss in _BINARY_LOSSES | _CLASS_LOSSES
    if not known and not _seems_classification(task, y):
        return ValueScoring(missing)
    if output_shape[-1:] in ((1,), ()) or (loss in _BINARY_LOSSES and not _is_one_hot(y)):
        threshold = 0.0 if getattr(task.loss, "from_logits", False) else 0.5
        return BinaryScoring(missing, threshold=threshold, label_threshold=0.5)
    return ClassScoring(missing)


@dataclass(frozen=True)
class ClassScoring:
    """Accuracy of the largest value along the last axis; sparse or one-hot labels."""

    missing_label: float | None
    metric: ClassVar[str] = "accuracy"

    def labels(self, y: np.ndarray, output_shape: tuple[int, ...]) -> np.ndarray:
        """Return class indices (n, *output_shape[:-1]).

        A one-hot row is missing where it holds NaN, or the missing label throughout.
        """
        places, classes = output_shape[:-1], output_shape[-1]
        if y.shape[1:] == output_shape and y.shape[1:] != (1,):
            absent = np.isnan(y).any(-1) | _is_missing(y, self.missing_label).all(-1)
            return np.where(absent, np.nan, np.argmax(np.nan_to_num(y), -1))
        if y.shape[1:] not in (places, (*places, 1)):
            raise ValueError(
                f"labels must be class indices of shape (n, *{places}) or one-hot of shape "
                f"(n, *{output_shape}); got shape {y.shape}. Reshape them."
            )
        indices = _without_missing(y.reshape(len(y), *places), self.missing_label)
        wrong = indices[(indices < 0) | (indices >= classes) | (indices % 1 != 0)]
        wrong = wrong[~np.isnan(wrong)]
        if len(wrong):
            raise ValueError(
                f"labels must be class indices of 0 to {classes - 1}; got {wrong[0]:g}. Correct "
                "them, or name the value that means 'not labelled' as the task's `missing_label`."
            )
        return indices

    def points(self, outputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return 1 where the largest output is the labelled class, else 0."""
        return (np.argmax(outputs, -1) == labels).astype(np.float64)

    def agree(self, expected: np.ndarray, actual: np.ndarray, step: float) -> np.ndarray:
        """Return where both have the same largest output."""
        return np.argmax(expected, -1) == np.argmax(actual, -1)


@dataclass(frozen=True)
class BinaryScoring:
    """Accuracy of every output by itself against a threshold: sigmoid, logits or hinge."""

    missing_label: float | None
    threshold: float
    label_threshold: float
    metric: ClassVar[str] = "accuracy"

    def labels(self, y: np.ndarray, output_shape: tuple[int, ...]) -> np.ndarray:
        """Return 0 and 1 (n, *output_shape)."""
        values = _without_missing(_shaped(y, output_shape), self.missing_label)
        return np.where(np.isnan(values), np.nan, values > self.label_threshold)

    def points(self, outputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return 1 where an output lies on its label's side of the threshold, else 0."""
        return ((outputs > self.threshold) == labels).astype(np.float64)

    def agree(self, expected: np.ndarray, actual: np.ndarray, step: float) -> np.ndarray:
        """Return where both lie on the same side of the threshold."""
        return (expected > self.threshold) == (actual > self.threshold)


@dataclass(frozen=True)
class ValueScoring:
    """Mean absolute error of every output."""

    missing_label: float | None
    metric: ClassVar[str] = "mae"

    def labels(self, y: np.ndarray, output_shape: tuple[int, ...]) -> np.ndarray:
        """Return the labelled values (n, *output_shape)."""
        return _without_missing(_shaped(y, output_shape), self.missing_label)

    def points(self, outputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return the absolute errors, in the unit of the output."""
        return np.abs(outputs - labels)

    def agree(self, expected: np.ndarray, actual: np.ndarray, step: float) -> np.ndarray:
        """Return where int8 lies within one step of float."""
        return np.abs(expected - actual) <= step


def _plain_name(loss: Any) -> str:
    """Return the name of a loss (name, object or function) in lower case without underscores."""
    name = loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)
    return str(name).lower().replace("_", "")


def _metric_name(metric: Any) -> str:
    """Return the name of a metric (name, object, function or Keras config), likewise."""
    if isinstance(metric, Mapping):
        metric = metric.get("config", {}).get("name", "")
    return _plain_name(getattr(metric, "name", metric))


def _seems_classification(task: Any, y: np.ndarray) -> bool:
    """Judge a task with an unknown loss by its metrics, its class names, and whole labels."""
    names = [_metric_name(metric) for metric in task.metrics]
    if any("acc" in name for name in names):
        return True
    if any("error" in name or name in _VALUE_LOSSES for name in names):
        return False
    return bool(task.labels) or np.issubdtype(y.dtype, np.integer) or y.dtype == np.bool_


def _is_one_hot(y: np.ndarray) -> bool:
    """Return whether every labelled row marks one class, so that the classes exclude each other."""
    if y.ndim < 2:
        return False
    rows = y[np.isin(y, (0, 1)).all(-1)]
    return len(rows) > 0 and bool((rows.sum(-1) == 1).all())


def _is_missing(y: np.ndarray, missing_label: float | None) -> np.ndarray:
    return np.zeros(y.shape, bool) if missing_label is None else y == missing_label


def _without_missing(y: np.ndarray, missing_label: float | None) -> np.ndarray:
    return np.where(_is_missing(y, missing_label), np.nan, y)


def _shaped(y: np.ndarray, output_shape: tuple[int, ...]) -> np.ndarray:
    """Return labels in the shape of the outputs; an axis of length 1 may be left out."""
    if [n for n in y.shape[1:] if n != 1] != [n for n in output_shape if n != 1]:
        raise ValueError(
            f"labels must have the shape (n, *{output_shape}) of the outputs; got {y.shape}. "
            "Reshape them."
        )
    return y.reshape(len(y), *output_shape)
