"""What is checked and opened before training or evaluation, so that bad input costs nothing."""

import math
import os
from collections.abc import Collection, Mapping
from typing import Any, Literal

import numpy as np

from keras_tree.datasets import Arrays, Part, Stream, load_folder, open_dataset
from keras_tree.loop.contract import Contract, contract
from keras_tree.loop.sources import Source
from keras_tree.schedules import Schedule
from keras_tree.tasks import near_names

Data = Mapping[str, Any] | str | os.PathLike[str]
StepsPerEpoch = int | Literal["longest", "shortest"]


def open_data(
    tree: Any,
    data: Data,
    part: Part,
    sample_weight: Mapping[str, Any] | None = None,
    class_weight: Mapping[str, Mapping[int, float]] | None = None,
) -> tuple[dict[str, Arrays | Stream], dict[str, Contract]]:
    """Return per task its dataset, and what its data must be, in the order of the tree's tasks.

    Args:
        tree: The tree.
        data: Per task its data, or a folder of one `.npz` file per task.
        part: Which part of datasets that have a training and a test part.
        sample_weight: Per task the weight of each sample, (n,), for arrays.
        class_weight: Per task the weight of each class.

    Raises:
        ValueError: If a task is unknown, or data is no kind of dataset.
    """
    if isinstance(data, str | os.PathLike):
        data = load_folder(data)
    if not isinstance(data, Mapping) or not data:
        raise ValueError(
            f"`data` must map tasks to their datasets. Received: {type(data).__name__}"
            f"{'' if data else ' without an entry'}. Pass "
            f"{{{next(iter(tree.tasks))!r}: (x, y), ...}}."
        )
    weights = {} if sample_weight is None else sample_weight
    classes = {} if class_weight is None else class_weight
    check_names(tree, "data", data)
    for argument, given in (("sample_weight", weights), ("class_weight", classes)):
        check_names(tree, argument, given)
        for task in given:
            if task not in data:
                raise ValueError(
                    f"`{argument}` must be for tasks that have data. Received it for {task!r}, "
                    f"but data for {', '.join(map(repr, data))} only. Leave it out."
                )
    tasks = [task for task in tree.tasks if task in data]
    contracts = {task: contract(tree, task, classes.get(task)) for task in tasks}
    opened = {task: open_dataset(data[task], part, f"task {task!r}") for task in tasks}
    return {t: weighted(t, opened[t], weights.get(t)) for t in tasks}, contracts


def check_names(tree: Any, argument: str, given: Any) -> None:
    """Refuse an argument that does not map tasks of the tree to something."""
    if not isinstance(given, Mapping):
        raise ValueError(
            f"`{argument}` must map tasks to their values. Received: {type(given).__name__}. Pass "
            f"{{{next(iter(tree.tasks))!r}: ...}}."
        )
    for task in given:
        if task not in tree.tasks:
            raise ValueError(
                f"`{argument}` must name tasks of the tree. Received: {task!r}. "
                f"{near_names(task, tree.tasks)}"
            )


def weighted(task: str, dataset: Arrays | Stream, weight: Any) -> Arrays | Stream:
    """Return a dataset with the sample weights given apart from it."""
    if weight is None:
        return dataset
    if isinstance(dataset, Stream) or dataset.weight is not None:
        where = "a stream" if isinstance(dataset, Stream) else "arrays with weights of their own"
        raise ValueError(
            f"`sample_weight` must be for arrays (x, y). Received it for task {task!r}, whose data "
            f"is {where}. Give the weights as the third element: (x, y, sample_weight)."
        )
    return Arrays(dataset.x, dataset.y, weight)


def check_complete(tree: Any, given: Collection[str]) -> None:
    """Refuse data that leaves out a task with something to train."""
    trainable = [task for task in tree.tasks if tree.node_variables(task)]
    if not trainable:
        raise ValueError(
            "`fit` needs something to train. Received a tree all of whose nodes are frozen. Set "
            "tree.nodes[name].trainable = True for those to train."
        )
    missing = [task for task in trainable if task not in given]
    if missing:
        raise ValueError(
            f"`data` must hold every task that has something to train. Received none for "
            f"{', '.join(map(repr, missing))}, only for {', '.join(map(repr, given))}. Add it, or "
            "freeze the nodes that are not to be trained."
        )


def check_passes(datasets: Mapping[str, Arrays | Stream], once: bool) -> None:
    """Refuse datasets that never end, and for more than one pass those that can be read once."""
    for task, dataset in datasets.items():
        if not isinstance(dataset, Stream):
            continue
        if dataset.batches == np.inf:
            raise ValueError(
                f"Evaluation takes one pass over the data of task {task!r}. Received a dataset "
                "that never ends. Leave out its repeat(), or take(n) batches of it."
            )
        if not once and not dataset.restarts:
            raise ValueError(
                f"Validation takes a pass per epoch over the data of task {task!r}. Received a "
                "generator, which can be read only once. Pass a generator function, or arrays."
            )


def check_settings(
    tree: Any,
    epochs: Any,
    initial_epoch: Any,
    batch_size: Any,
    steps_per_epoch: Any,
    validation_freq: Any,
    verbose: Any,
) -> int:
    """Refuse settings of `fit` that are none, and return `verbose` as a number."""
    if not tree.compiled:
        raise ValueError(
            "`fit` needs a compiled tree. Received one without an optimizer. Call tree.compile() "
            "first."
        )
    check_counts(epochs=(epochs, 0), initial_epoch=(initial_epoch, 0), batch_size=(batch_size, 1))
    check_steps(steps_per_epoch)
    check_frequency(validation_freq)
    return check_verbose(verbose)


def check_counts(**counts: tuple[Any, int]) -> None:
    """Refuse settings, given as (value, least), that are not whole numbers of at least that."""
    for name, (value, least) in counts.items():
        whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if not whole or value < least:
            raise ValueError(
                f"`{name}` must be a whole number of at least {least}. Received: {value!r}."
            )


def check_steps(steps_per_epoch: Any) -> None:
    """Refuse a setting of `steps_per_epoch` that is neither a policy nor a number."""
    if isinstance(steps_per_epoch, str):
        if steps_per_epoch not in ("longest", "shortest"):
            raise ValueError(
                "`steps_per_epoch` must be 'longest', 'shortest' or a number of steps. Received: "
                f"{steps_per_epoch!r}."
            )
    else:
        check_counts(steps_per_epoch=(steps_per_epoch, 1))


def check_verbose(verbose: Any) -> int:
    """Return 0, 1 or 2 for a setting of `verbose`."""
    if verbose not in ("auto", 0, 1, 2):
        raise ValueError(
            "`verbose` must be 'auto', 0 for silence, 1 for a progress bar or 2 for a line per "
            f"epoch. Received: {verbose!r}."
        )
    return 1 if verbose == "auto" else int(verbose)


def check_schedule(tree: Any, schedule: Schedule) -> None:
    """Refuse what cannot go with updates on one task alone.

    Keras averages weights and accumulates gradients over all variables at once, so a step on one
    task would change the slots of others.
    """
    if tree.balancer is not None and not callable(tree.balancer):
        raise ValueError(
            "`balancer` must be a function of {task: weighted loss}, or None. Received: "
            f"{tree.balancer!r}. Pass it to tree.compile()."
        )
    if schedule.kind in ("together", "mixed"):
        return
    optimizer = getattr(tree.optimizer, "inner_optimizer", tree.optimizer)
    for name, value in (
        ("use_ema", optimizer.use_ema),
        ("gradient_accumulation_steps", optimizer.gradient_accumulation_steps),
        ("balancer", tree.balancer),
    ):
        if value:
            raise ValueError(
                f"The schedule {schedule.name!r} updates one task at a time and cannot go with "
                f"`{name}`, which works on all tasks together. Received: {name}={value!r}. Leave "
                "it out, or use the schedule 'joint' or 'masked'."
            )


def steps_in_epoch(
    wanted: StepsPerEpoch, sources: Mapping[str, Source], shares: Mapping[str, float]
) -> int:
    """Return how many steps an epoch has.

    Args:
        wanted: "longest": until the dataset that takes longest has been gone through once, while
            the others begin again; "shortest": while every dataset lasts; or a number of steps.
            Datasets that do not tell their length do not count for "longest" and "shortest".
        sources: Per task where its samples come from.
        shares: Per task its share in the samples.

    Raises:
        ValueError: If a dataset's length is needed and none tells it.
    """
    if not isinstance(wanted, str):
        return int(wanted)
    # A step takes as many batches as there are tasks, of each task its share.
    lasting = [
        source.batches / (shares[task] * len(sources))
        for task, source in sources.items()
        if source.batches is not None
    ]
    if not lasting:
        raise ValueError(
            f"`steps_per_epoch` must be a number if no dataset tells its length. Received: "
            f"{wanted!r} with generators for {', '.join(map(repr, sources))}. Pass "
            "steps_per_epoch=<steps>."
        )
    if wanted == "longest":
        return math.ceil(max(lasting) - 1e-9)
    return max(1, math.floor(min(lasting) + 1e-9))


def check_frequency(frequency: Any) -> None:
    """Refuse a setting of `validation_freq` that is neither a number nor a collection of epochs."""
    if not isinstance(frequency, Collection) or isinstance(frequency, str):
        check_counts(validation_freq=(frequency, 1))


def is_due(epoch: int, frequency: int | Collection[int]) -> bool:
    """Whether validation is due after an epoch, counted from 0."""
    if isinstance(frequency, int):
        return (epoch + 1) % frequency == 0
    return epoch + 1 in frequency
