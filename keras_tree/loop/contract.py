"""What a task's path takes and gives, and the check that a batch of data fits it.

Arrays are checked whole before any work, streams batch by batch. Where the data comes from is in
`datasets.py`.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_tree.loop.losses import LabelKind, Shape, ignored_class, label_kind
from keras_tree.tasks import Task

LABEL_ADVICE = {
    "class": "Pass class numbers, or a loss for one-hot labels (categorical_crossentropy).",
    "one-hot": "Pass one-hot rows, or a loss for class numbers (sparse_categorical_crossentropy).",
    "binary": "Pass as many labels per sample as the output has units.",
    "value": "Pass as many labels per sample as the output has units.",
}


class DataError(ValueError):
    """Data that does not fit its task."""


@dataclasses.dataclass(frozen=True)
class Batch:
    """Samples of one task, checked.

    Attributes:
        x: Inputs (rows, *input shape), of the data's own dtype.
        y: Labels, float32 (rows, ...); 0 where there is no label.
        weight: Weight of every label, float32 (rows, ...): sample weight times class weight, and 0
            where there is no label.
        valid: 1 where there is a label and 0 where there is none, float32 (rows, ...).
    """

    x: np.ndarray
    y: np.ndarray
    weight: np.ndarray
    valid: np.ndarray

    def __len__(self) -> int:
        return len(self.x)

    def rows(self, index: Any) -> "Batch":
        """Return the samples at `index`: a slice or an int array (n,)."""
        if isinstance(index, slice):
            return Batch(self.x[index], self.y[index], self.weight[index], self.valid[index])
        return Batch(*(np.take(part, index, axis=0) for part in self.parts()))

    def parts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return x, y, weight and valid."""
        return self.x, self.y, self.weight, self.valid


def join(batches: list[Batch]) -> Batch:
    """Return the samples of several batches as one."""
    if len(batches) == 1:
        return batches[0]
    parts = zip(*(batch.parts() for batch in batches), strict=True)
    return Batch(*(np.concatenate(part) for part in parts))


@dataclasses.dataclass(frozen=True)
class Contract:
    """What one task's data must be.

    Attributes:
        task: The task.
        input_shape: Shape of a batch of inputs, the batch first (None).
        output_shape: Shape of a batch of outputs, the batch first (None).
        class_weight: Weight by class number, or None.
    """

    task: Task
    input_shape: Shape
    output_shape: Shape
    class_weight: Mapping[int, float] | None = None

    @property
    def kind(self) -> LabelKind:
        """What the labels are."""
        return label_kind(self.task.loss)

    @property
    def any_label_shape(self) -> bool:
        """Whether the loss is the user's own, so that only it knows what labels it takes."""
        module = str(getattr(self.task.loss, "__module__", ""))
        return not isinstance(self.task.loss, str) and not module.startswith("keras.")

    def check(self, x: Any, y: Any, weight: Any = None, where: str = "") -> Batch:
        """Return data as a checked batch.

        Args:
            x: Inputs (n, *input shape).
            y: Labels (n, ...).
            weight: Sample weights (n,), or None.
            where: What is checked, for messages, e.g. "batch 3 of ".

        Raises:
            DataError: If the data does not fit the task.
        """
        where = f"{where}task {self.task.name!r}"
        x = self.check_inputs(x, where)
        y = self.check_label_shape(numeric(y, "y", where), where)
        if len(x) != len(y):
            raise DataError(
                f"`x` and `y` of {where} must have the same length. Received: {len(x)} inputs and "
                f"{len(y)} labels. Pass one label per input; NaN for one that is missing."
            )
        y = y.astype("float32")
        valid = self.labelled(y)
        self.check_label_values(y, valid, where)
        weights = self.weights(y, weight, valid, where)
        return Batch(x, np.where(broadcast(valid, y) > 0, y, np.float32(0)), weights, valid)

    def check_inputs(self, x: Any, where: str) -> np.ndarray:
        """Return the inputs (n, *input shape); refuse another shape and what is not finite."""
        x = numeric(x, "x", where)
        wanted = self.input_shape
        if x.ndim == len(wanted) - 1 and wanted[-1] == 1:
            x = x[..., None]  # Grey images without their channel axis, as Keras takes them too.
        if not fits(x.shape, wanted):
            raise DataError(
                f"`x` of {where} must have the shape (n, {extents(wanted[1:])}) that the trunk "
                f"takes. Received: shape {x.shape}. Reshape or resize the data; streams must give "
                "batches."
            )
        if x.dtype.kind == "f" and not np.isfinite(x).all():
            bad = ~np.isfinite(x).reshape(len(x), -1).all(axis=1)
            raise DataError(
                f"`x` of {where} must be finite. Received NaN or infinity in {int(bad.sum())} of "
                f"{len(x)} inputs, first at index {int(bad.argmax())}. Remove or replace them."
            )
        return x

    def check_label_shape(self, y: np.ndarray, where: str) -> np.ndarray:
        """Return labels of the one shape that the loss takes; refuse any other."""
        if self.any_label_shape:
            return y[:, None] if y.ndim == 1 and self.output_shape[1:] == (1,) else y
        wanted = self.output_shape[:-1] if self.kind == "class" else self.output_shape
        if self.kind == "class" and y.ndim == len(wanted) + 1 and y.shape[-1] == 1:
            y = y[..., 0]
        elif self.kind != "class" and y.ndim == len(wanted) - 1 and wanted[-1] == 1:
            y = y[..., None]
        if not fits(y.shape, wanted):
            raise DataError(
                f"`y` of {where} must have the shape ({', '.join(['n', *map(str, wanted[1:])])}) "
                f"for its loss and its output {self.output_shape}. Received: shape {y.shape}. "
                f"{LABEL_ADVICE[self.kind]}"
            )
        return y

    def labelled(self, y: np.ndarray) -> np.ndarray:
        """Return 1 where there is a label and 0 where there is none, float32 (n, ...)."""
        missing = np.isnan(y)
        if self.task.missing_label is not None:
            missing |= y == np.float32(self.task.missing_label)
        ignored = ignored_class(self.task.loss)
        if ignored is not None:
            missing |= y == ignored
        rank = y.ndim if self.kind == "class" else max(1, len(self.output_shape) - 1)
        rank = 1 if self.any_label_shape else rank
        if y.ndim > rank:  # One value per position: it counts if every unit of it is labelled.
            missing = missing.any(axis=tuple(range(rank, y.ndim)))
        return (~missing).astype("float32")

    def check_label_values(self, y: np.ndarray, valid: np.ndarray, where: str) -> None:
        """Refuse labels outside the classes."""
        known = y[valid > 0]
        if self.kind == "class":
            units = self.output_shape[-1] or 0  # Keras needs them fixed to build a classifier.
            wrong = (known < 0) | (known >= units) | (known != np.floor(known))
            meaning = f"class numbers from 0 to {units - 1}, as the output has {units} units"
        elif self.kind == "value":
            wrong, meaning = ~np.isfinite(known), "finite numbers, or NaN where there is no label"
        else:
            wrong, meaning = ~((known >= 0) & (known <= 1)), "between 0 and 1"
        if wrong.any():
            values = ", ".join(f"{value:g}" for value in np.unique(known[wrong])[:5])
            raise DataError(
                f"`y` of {where} must be {meaning}. Received: {values} ({int(wrong.sum())} "
                "labels). Mend the labels, give the branch more units, or set the task's "
                "`missing_label`."
            )

    def weights(self, y: np.ndarray, weight: Any, valid: np.ndarray, where: str) -> np.ndarray:
        """Return sample weight times class weight times `valid`, float32 shaped as `valid`."""
        weights = valid
        if weight is not None:
            weight = numeric(weight, "sample_weight", where).astype("float32")
            if weight.shape == (len(y), 1):
                weight = weight[:, 0]
            if weight.shape not in ((len(y),), valid.shape) or not np.isfinite(weight).all():
                raise DataError(
                    f"`sample_weight` of {where} must hold one finite number per sample, shape "
                    f"({len(y)},). Received: shape {weight.shape}. Pass one weight per sample."
                )
            weights = weights * broadcast(weight, valid)
        if self.class_weight is not None:
            weights = weights * self.class_weights(y, valid)
        return weights

    def class_weights(self, y: np.ndarray, valid: np.ndarray) -> np.ndarray:
        """Return the weight of each label's class, float32 of the shape of `valid`."""
        classes = y if self.kind == "class" else y.argmax(-1) if y.shape[-1] > 1 else y[..., 0]
        table = np.ones(max(2, self.output_shape[-1] or 0), "float32")
        for number, factor in (self.class_weight or {}).items():
            table[number] = factor
        return table[np.where(valid > 0, classes, 0).astype("int64")]


def check_class_weight(contract: Contract) -> None:
    """Refuse class weights for labels that are no classes, and for classes that there are not."""
    weights = contract.class_weight
    if weights is None:
        return
    units = contract.output_shape[-1] or 0
    several_units = contract.kind == "binary" and units > 1
    if contract.kind == "value" or several_units:
        raise ValueError(
            f"`class_weight` of task {contract.task.name!r} needs labels that are classes. "
            f"Received the loss {contract.task.loss!r}. Pass `sample_weight` instead."
        )
    classes = range(max(2, units))
    for number, factor in weights.items():
        if number not in classes or not np.isfinite(factor):
            raise ValueError(
                f"`class_weight` of task {contract.task.name!r} must map class numbers from 0 to "
                f"{len(classes) - 1} to finite factors. Received: {number!r}: {factor!r}."
            )


def contract(tree: Any, task: str, class_weight: Mapping[int, float] | None = None) -> Contract:
    """Return what data a task of the tree takes."""
    path = tree.paths[task]
    first, last = tree.nodes[path[0]], tree.nodes[path[-1]]
    made = Contract(
        tree.tasks[task],
        tuple(first.inputs[0].shape),
        tuple(last.outputs[0].shape),
        class_weight,
    )
    check_class_weight(made)
    return made


def numeric(values: Any, name: str, where: str) -> np.ndarray:
    """Return values as an array of numbers with at least one axis."""
    try:
        array = np.asarray(
            keras.ops.convert_to_numpy(values) if keras.ops.is_tensor(values) else values
        )
    except ValueError:
        array = np.empty(0, object)
    if array.dtype.kind not in "biuf" or array.ndim == 0:
        raise DataError(
            f"`{name}` of {where} must be an array of numbers. Received: {type(values).__name__} "
            f"of {array.dtype}, shape {array.shape}. Convert it with numpy.asarray(..., 'float32')."
        )
    return array


def broadcast(values: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Return `values` with axes of extent 1 appended up to the rank of `like`."""
    return values.reshape(values.shape + (1,) * (like.ndim - values.ndim))


def fits(shape: tuple[int, ...], wanted: Shape) -> bool:
    """Whether an array's shape is the wanted one; the first extent, and None, may be anything."""
    return len(shape) == len(wanted) and all(
        w is None or s == w for s, w in zip(shape[1:], wanted[1:], strict=True)
    )


def extents(shape: Shape) -> str:
    """Return extents for a message: "28, 28, 1"."""
    return ", ".join(map(str, shape))
