"""What one task is: its loss, its metrics, its weight and its labels.

The description alone stands here. How the loss is computed, masked and summed is training's
business, and which nodes a task runs is the tree's.
"""

import dataclasses
import difflib
import inspect
import math
import numbers
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras

# Metric names that Keras resolves from the loss and the shapes, not from its table of metrics.
RESOLVED_METRICS = frozenset({"accuracy", "acc", "crossentropy", "ce"})
SAFE_NAME = re.compile(r"[A-Za-z0-9_.-]+")


def check_name(kind: str, name: object) -> str:
    """Return `name` if it can be a file name, as node and task names become files.

    Args:
        kind: What is named, for the message ("node", "task").
        name: The name.

    Raises:
        ValueError: If it is not a string of letters, digits, `_`, `.` and `-`, or only dots.
    """
    if not isinstance(name, str) or not SAFE_NAME.fullmatch(name) or not name.strip("."):
        raise ValueError(
            f"A {kind} name must consist of letters, digits, `_`, `.` and `-`, because it becomes "
            f"a file name. Received: {name!r}. Rename the {kind}."
        )
    return name


def check_distinct(kind: str, names: Iterable[str]) -> None:
    """Refuse names that differ in case alone: not every file system tells them apart.

    Args:
        kind: What is named, for the message ("node", "task").
        names: The names.

    Raises:
        ValueError: If two are alike.
    """
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(str(name).lower(), name)
        if other != name:
            raise ValueError(
                f"{kind.capitalize()} names must differ in more than case, because they become "
                f"file names. Received: {other!r} and {name!r}. Rename one."
            )


def near_names(name: object, known: Iterable[str]) -> str:
    """Return a sentence that offers the known names nearest to `name`, or lists them all."""
    known = list(known)
    near = difflib.get_close_matches(str(name), known, n=3, cutoff=0.5)
    if near:
        return "Did you mean " + " or ".join(repr(n) for n in near) + "?"
    return "Known: " + ", ".join(repr(n) for n in known) + "."


@dataclasses.dataclass(frozen=True)
class Task:
    """One task of a tree.

    Args:
        name: The task's name, also a file name: letters, digits, `_`, `.` and `-`.
        loss: Any Keras loss: a name, a `keras.losses.Loss` or a function `(y_true, y_pred)`.
        metrics: Keras metrics: names, `keras.metrics.Metric` instances or their configs.
        weight: Factor of the task's loss in the sum, finite and at least 0.
        auxiliary: Whether the task is only trained, and never shipped.
        labels: Names of the classes in the order of the output's units; empty if there are none.
        missing_label: A label value that means "not labelled". NaN always means that.

    Raises:
        ValueError: If an argument is not as described.

    Example:
        >>> Task("digit", loss="sparse_categorical_crossentropy", metrics=("accuracy",)).weight
        1.0
    """

    name: str
    loss: "str | keras.losses.Loss | Callable[..., Any]"
    metrics: tuple[Any, ...] = ()
    weight: float = 1.0
    auxiliary: bool = False
    labels: tuple[str, ...] = ()
    missing_label: float | None = None

    def __post_init__(self) -> None:
        check_name("task", self.name)
        set_field = object.__setattr__
        metrics = as_tuple(self.name, "metrics", self.metrics)
        set_field(self, "metrics", checked_metrics(self.name, metrics))
        set_field(self, "labels", as_tuple(self.name, "labels", self.labels))
        set_field(self, "weight", checked_weight(self.name, self.weight))
        set_field(self, "missing_label", checked_missing_label(self.name, self.missing_label))
        set_field(self, "auxiliary", bool(self.auxiliary))
        check_loss(self.name, self.loss)
        check_labels(self.name, self.labels)

    def to_config(self) -> dict[str, Any]:
        """Return the task as plain data that `from_config` reads back."""
        config = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        config["loss"] = serialize(self.loss)
        config["metrics"] = [serialize(metric) for metric in self.metrics]
        config["labels"] = list(self.labels)
        return config

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Task":
        """Return the task that `to_config` described."""
        fields = dict(config)
        fields["loss"] = deserialize(fields["loss"])
        fields["metrics"] = tuple(deserialize(metric) for metric in fields.get("metrics", ()))
        fields["labels"] = tuple(fields.get("labels", ()))
        return cls(**fields)


def serialize(value: Any) -> Any:
    """Return a loss or a metric as plain data; a name stays a name."""
    if isinstance(value, str):
        return value
    config = keras.saving.serialize_keras_object(value)
    if isinstance(value, keras.losses.Loss):
        config["config"] = {**forgotten_arguments(value), **config["config"]}
    return config


def forgotten_arguments(loss: keras.losses.Loss) -> dict[str, Any]:
    """Return the arguments of a loss that its own configuration may leave out.

    Keras 3.15 forgets `delta` of Huber, `axis` of CosineSimilarity and of
    SparseCategoricalCrossentropy, and the `dtype` of every loss.
    """
    known = inspect.signature(type(loss)).parameters
    arguments = {**getattr(loss, "_fn_kwargs", {}), "dtype": loss.dtype}
    return {name: value for name, value in arguments.items() if name in known}


def deserialize(value: Any) -> Any:
    """Return the loss or metric that `serialize` described; a name stays a name."""
    return value if isinstance(value, str) else keras.saving.deserialize_keras_object(value)


def as_tuple(task: str, argument: str, values: Any) -> tuple[Any, ...]:
    """Return `values` as a tuple; a lone name is one value and not a sequence of letters."""
    if values is None:
        return ()
    if isinstance(values, str | Mapping | keras.metrics.Metric) or callable(values):
        return (values,)
    try:
        return tuple(values)
    except TypeError:
        raise ValueError(
            f"`{argument}` of task {task!r} must be a sequence. Received: {values!r}. Pass a tuple."
        ) from None


def checked_weight(task: str, weight: Any) -> float:
    """Return the weight as a float; refuse what is negative or not finite."""
    if not is_number(weight) or not 0 <= weight < math.inf:
        raise ValueError(
            f"`weight` of task {task!r} must be a finite number of at least 0, the factor of its "
            f"loss in the sum. Received: {weight!r}. Leave it out for 1.0."
        )
    return float(weight)


def is_number(value: Any) -> bool:
    """Whether a value is a number of Python or NumPy, and no bool."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def checked_missing_label(task: str, value: Any) -> float | None:
    """Return the missing label as a float, or None; NaN needs no naming, for it always counts."""
    if value is None:
        return None
    if not is_number(value):
        raise ValueError(
            f"`missing_label` of task {task!r} must be a number or None. Received: {value!r}. "
            "NaN labels are always treated as missing."
        )
    return None if math.isnan(value) else float(value)


def check_loss(task: str, loss: Any) -> None:
    """Refuse what is no Keras loss."""
    if isinstance(loss, str):
        try:
            keras.losses.get(loss)
        except ValueError:
            known = [name for name in dir(keras.losses) if name.islower() and name[0] != "_"]
            raise ValueError(
                f"`loss` of task {task!r} must be a Keras loss. Received: {loss!r}. "
                f"{near_names(loss, known)}"
            ) from None
    elif not callable(loss):
        raise ValueError(
            f"`loss` of task {task!r} must be the name of a Keras loss, a `keras.losses.Loss` or a "
            f"function of (y_true, y_pred). Received: {loss!r}. Pass for example 'mse'."
        )


def metric_name(metric: Any) -> str:
    """Return the name under which a metric is reported."""
    if isinstance(metric, str):
        return metric
    return str(getattr(metric, "name", None) or getattr(metric, "__name__", metric))


def checked_metrics(task: str, metrics: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the metrics, configs read; refuse what is none, and two reported under one name."""
    metrics = tuple(as_metric(task, metric) for metric in metrics)
    names = [metric_name(metric) for metric in metrics]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(
            f"`metrics` of task {task!r} must have different names, as each is reported under its "
            f"own. Received twice: {', '.join(twice)}. Give one of them another `name`."
        )
    return metrics


def as_metric(task: str, metric: Any) -> Any:
    """Return a metric's name, the metric itself or the one of a config; refuse anything else."""
    try:
        if isinstance(metric, Mapping) or (
            isinstance(metric, str) and metric not in RESOLVED_METRICS
        ):
            found = keras.metrics.get(metric)
            return metric if isinstance(metric, str) else found
    except (ValueError, TypeError):
        known = {name for name in dir(keras.metrics) if name[0] != "_"} | RESOLVED_METRICS
        hint = near_names(metric, sorted(known)) if isinstance(metric, str) else "Pass its name."
        raise ValueError(
            f"`metrics` of task {task!r} must be Keras metrics. Received: {metric!r}. {hint}"
        ) from None
    if not isinstance(metric, str) and not callable(metric):
        raise ValueError(
            f"`metrics` of task {task!r} must be names, `keras.metrics.Metric` instances or "
            f"their configs. Received: {metric!r}. Pass for example ('accuracy',)."
        )
    return metric


def check_labels(task: str, labels: tuple[Any, ...]) -> None:
    """Refuse labels that are not distinct strings."""
    if not all(isinstance(label, str) for label in labels):
        raise ValueError(
            f"`labels` of task {task!r} must be strings, one per class. Received: {labels!r}. "
            "Convert them with str()."
        )
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        raise ValueError(
            f"`labels` of task {task!r} must be distinct, one per class. Received twice: "
            f"{', '.join(map(repr, twice))}. Rename or drop the second."
        )
