"""Schedules: which task's data the next training step takes, and how many updates it makes of it.

Only the choice stands here; what an update does is in `loop/steps.py`, and how the data is drawn in
`loop/blocks.py`.

One *step* takes as many samples under every schedule: a batch per task. So `steps_per_epoch` means
the same amount of data whichever schedule is chosen, and schedules can be compared at equal steps:

| schedule | one step of a tree with n tasks |
|---|---|
| `Joint` | one update on a batch of every task together |
| `Alternating` | n updates in turn, each on a batch of one task, in the order of the tasks |
| `Proportional` | n updates, each on a batch of a task drawn with p ~ the size of its data set |
| `Temperature` | n updates, each on a batch of a task drawn with p ~ size ** (1 / temperature) |
| `Masked` | one update on a mixed batch as large; each sample's task is drawn with p ~ size |
"""

import math
from collections.abc import Mapping
from typing import Any, Literal

import keras
import numpy as np

from keras_tree.tasks import near_names

Kind = Literal["together", "in turn", "drawn", "mixed"]


class Schedule:
    """What all schedules have in common.

    Attributes:
        kind: How the tasks of one step are taken: all "together" in one update, one after the other
            "in turn", one "drawn" at a time, or as samples "mixed" in one batch.
    """

    name = ""
    kind: Kind = "together"

    def shares(self, samples: Mapping[str, int | None]) -> dict[str, float]:
        """Return the share of every task in the data that the steps take; the shares sum to 1.

        Args:
            samples: The size of each task's data set, in samples; None where it is not known.
        """
        return {task: 1 / len(samples) for task in samples}

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Schedule":
        """Return the schedule that `get_config` described."""
        return cls(**config)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Schedule)
            and type(self) is type(other)
            and self.get_config() == other.get_config()
        )

    def __hash__(self) -> int:
        return hash((type(self), repr(sorted(self.get_config().items(), key=str))))

    def __repr__(self) -> str:
        settings = ", ".join(f"{k}={v!r}" for k, v in self.get_config().items() if v is not None)
        return f"{type(self).__name__}({settings})"


@keras.saving.register_keras_serializable(package="keras_tree")
class Joint(Schedule):
    """One batch of every task per step, in one update.

    The trunk and every other shared node run once, on the batches of their tasks put together, and
    each task's loss is divided by its own number of labelled samples. The default: the fastest,
    and its batch normalization sees in training what it sees in inference.
    """

    name = "joint"
    kind = "together"


@keras.saving.register_keras_serializable(package="keras_tree")
class Alternating(Schedule):
    """Alternating dataset generators: round robin, one update per task and step.

    The tasks take turns in the tree's order, exactly.

    Batch normalization in nodes that several tasks share is handled so that training sees what
    inference sees; `loop/normalization.py` says how.
    """

    name = "alternating"
    kind = "in turn"


class Sampling(Schedule):
    """Schedules whose shares follow from the sizes of the data sets.

    Args:
        sizes: Samples per task, to be used in place of the data sets' own sizes: needed for
            generators, which do not tell theirs.
    """

    def __init__(self, sizes: Mapping[str, float] | None = None) -> None:
        for task, size in (sizes or {}).items():
            if not isinstance(size, int | float) or not 0 < size < math.inf:
                raise ValueError(
                    f"`sizes` must hold a positive number per task. Received: {size!r} for task "
                    f"{task!r}. Give its number of samples."
                )
        self.sizes = dict(sizes) if sizes else None

    def exponent(self) -> float:
        """Return the power of the size to which a share is proportional."""
        return 1.0

    def shares(self, samples: Mapping[str, int | None]) -> dict[str, float]:
        """Return each task's share, proportional to a power of its size."""
        given = self.sizes or {}
        for task in given:
            if task not in samples:
                raise ValueError(
                    f"`sizes` of {self!r} must name tasks that are trained. Received: {task!r}. "
                    f"{near_names(task, samples)}"
                )
        sizes = {task: given.get(task, count) for task, count in samples.items()}
        unknown = [task for task, size in sizes.items() if size is None]
        if unknown:
            raise ValueError(
                f"The schedule {self.name!r} needs the size of every data set. Received no size "
                f"for {', '.join(map(repr, unknown))}, whose data does not tell it. Pass "
                f"schedule={type(self).__name__}(sizes={{{unknown[0]!r}: <samples>}})."
            )
        powers = np.array([sizes[task] for task in samples], "float64") ** self.exponent()
        return dict(zip(samples, (powers / powers.sum()).tolist(), strict=True))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"sizes": self.sizes}


@keras.saving.register_keras_serializable(package="keras_tree")
class Proportional(Sampling):
    """One update per drawn task, drawn with a probability proportional to its data set's size."""

    name = "proportional"
    kind = "drawn"


@keras.saving.register_keras_serializable(package="keras_tree")
class Temperature(Sampling):
    """One update per drawn task, drawn with p ~ size ** (1 / temperature).

    Args:
        temperature: 1 is proportional sampling; the higher, the nearer to equal shares. At least 1.
        sizes: Samples per task, in place of the data sets' own sizes.
    """

    name = "temperature"
    kind = "drawn"

    def __init__(self, temperature: float = 2.0, sizes: Mapping[str, float] | None = None) -> None:
        super().__init__(sizes)
        if not isinstance(temperature, int | float) or not 1 <= temperature < math.inf:
            raise ValueError(
                f"`temperature` must be a finite number of at least 1. Received: {temperature!r}. "
                "1 samples in proportion to the sizes, 100 almost equally."
            )
        self.temperature = float(temperature)

    def exponent(self) -> float:
        """Return the power of the size to which a share is proportional."""
        return 1 / self.temperature

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"temperature": self.temperature, "sizes": self.sizes}


@keras.saving.register_keras_serializable(package="keras_tree")
class Masked(Sampling):
    """One update per step on a mixed batch: each sample's task is drawn with p ~ size.

    Each task's loss is divided by the number of its samples in the batch, and a branch runs on its
    own samples only. Every task has at least one sample in every batch, so that no branch runs on
    nothing.
    """

    name = "masked"
    kind = "mixed"


SCHEDULES: dict[str, type[Schedule]] = {
    schedule.name: schedule for schedule in (Alternating, Joint, Masked, Proportional, Temperature)
}


def get(schedule: Any) -> Schedule:
    """Return the schedule that a name, an instance, a class or a serialized config means.

    Raises:
        ValueError: If it is none of these.
    """
    if isinstance(schedule, type) and issubclass(schedule, Schedule):
        schedule = schedule()
    if isinstance(schedule, Mapping):
        schedule = keras.saving.deserialize_keras_object(dict(schedule))
    if isinstance(schedule, Schedule):
        return schedule
    if isinstance(schedule, str) and schedule in SCHEDULES:
        return SCHEDULES[schedule]()
    raise ValueError(
        f"`schedule` must be a name or an instance of keras_tree.schedules.Schedule. Received: "
        f"{schedule!r}. {near_names(schedule, SCHEDULES)}"
    )


def serialize(schedule: Any) -> Any:
    """Return a schedule as plain data; a name stays a name."""
    return schedule if isinstance(schedule, str) else keras.saving.serialize_keras_object(schedule)
