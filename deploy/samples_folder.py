"""A folder of `.npz` files as samples for quantization: one file per task, raw values normalised.

Here stand finding a task's file, fitting its arrays to the trunk's input, and normalising. Reading
one file is `keras_tree.load_npz`; choosing samples and calibrating is `quantize`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from keras_tree.datasets import Split
    from quantize.bundle import InputNormalization

Pair = tuple[np.ndarray, np.ndarray]
"""Samples (n, ...) and their labels (n, ...)."""


class SamplesError(ValueError):
    """A folder of samples that lacks a task, or whose arrays do not fit the tree."""


@dataclass(frozen=True)
class TaskSamples:
    """What one task's file gives.

    Args:
        calibration: float32 `(n, *input)`, the network's input.
        evaluation: `(x, y)`, x as above, or None where the test part is empty.
    """

    calibration: np.ndarray
    evaluation: tuple[np.ndarray, Any] | None


def read_samples(
    folder: Path,
    tasks: Iterable[str],
    input_shape: tuple[int, ...],
    normalization: InputNormalization | None,
    limit: int,
    test_limit: int,
    say: Callable[[str], None],
) -> dict[str, TaskSamples]:
    """Read `folder/<task>.npz` of every task.

    Args:
        folder: Files in the layout of `keras.datasets`; x_train calibrates, x_test and y_test
            measure what int8 keeps, unless they are empty.
        tasks: The tasks that need samples.
        input_shape: Shape of the trunk's input without the batch; a last axis of length 1 may be
            missing in the arrays.
        normalization: Multiplied and added to every value. None leaves floats as they are, and
            refuses integers, whose range the network was hardly trained on.
        limit: At most this many samples of x_train, evenly spaced.
        test_limit: At most this many samples of x_test, evenly spaced.
        say: Takes one line per task.

    Raises:
        SamplesError: A task has no file, or an array does not fit.
    """
    paths = {task: folder / f"{task}.npz" for task in tasks}
    _refuse_missing(folder, paths)
    read = {}
    for task, path in paths.items():
        read[task], of = _read_task(path, input_shape, normalization, limit, test_limit)
        x, evaluation = read[task].calibration, read[task].evaluation
        tested = f"{len(evaluation[0])} for testing" if evaluation else "no test data"
        say(
            f"  {task}: {len(x)} of {of} samples for calibration "
            f"({x.min():.4g} to {x.max():.4g}), {tested}"
        )
    return read


def read_training(
    folder: Path,
    tasks: Iterable[str],
    input_shape: tuple[int, ...],
    normalization: InputNormalization | None,
    limit: int | None = None,
) -> dict[str, Pair]:
    """Read x_train and y_train of every task.

    Args:
        folder: As for `read_samples`.
        tasks: As for `read_samples`.
        input_shape: As for `read_samples`.
        normalization: As for `read_samples`.
        limit: At most this many samples, evenly spaced; None for all.

    Returns:
        (x, y) by task, x as the network receives it.

    Raises:
        SamplesError: A task has no file, or an array does not fit.
    """
    paths = {task: folder / f"{task}.npz" for task in tasks}
    _refuse_missing(folder, paths)
    read = {}
    for task, path in paths.items():
        split = _load(path)
        count = len(split.x_train)
        _refuse_unequal(path, "train", count, len(split.y_train))
        x = _prepared(split.x_train, f"{path}: x_train", input_shape, normalization, limit or count)
        read[task] = x, _evenly(np.asarray(split.y_train), limit or count)
    return read


def held_out(x: np.ndarray, y: np.ndarray, share: float, seed: int) -> tuple[Pair, Pair]:
    """Split a share of labelled samples off, drawn at random.

    Args:
        x: Samples (n, ...), n at least 2.
        y: Labels (n, ...).
        share: What is split off, between 0 and 1; at least one sample stays on either side.
        seed: Of the draw.

    Returns:
        (x, y) of the samples that stay, and of those that are split off; both in the old order.
    """
    count = min(max(round(share * len(x)), 1), len(x) - 1)
    drawn = np.random.default_rng(seed).permutation(len(x))
    out, stay = np.sort(drawn[:count]), np.sort(drawn[count:])
    return (x[stay], y[stay]), (x[out], y[out])


def _read_task(
    path: Path,
    input_shape: tuple[int, ...],
    normalization: InputNormalization | None,
    limit: int,
    test_limit: int,
) -> tuple[TaskSamples, int]:
    """One task's samples, and how many its x_train holds."""
    split = _load(path)
    x = _prepared(split.x_train, f"{path}: x_train", input_shape, normalization, limit)
    _refuse_unequal(path, "test", len(split.x_test), len(split.y_test))
    evaluation = None
    if len(split.x_test):
        x_test = _prepared(split.x_test, f"{path}: x_test", input_shape, normalization, test_limit)
        evaluation = (x_test, _evenly(np.asarray(split.y_test), test_limit))
    return TaskSamples(x, evaluation), len(split.x_train)


def _load(path: Path) -> Split:
    from keras_tree.datasets import load_npz

    try:
        return load_npz(path)
    except ValueError as error:
        raise SamplesError(str(error)) from error


def _refuse_unequal(path: Path, part: str, samples: int, labels: int) -> None:
    if samples != labels:
        raise SamplesError(
            f"{path}: a label for every sample is expected, received {samples} in x_{part} and "
            f"{labels} in y_{part}. Cut both to one length."
        )


def _refuse_missing(folder: Path, paths: dict[str, Path]) -> None:
    missing = [task for task, path in paths.items() if not path.is_file()]
    if not missing:
        return
    there = sorted(path.stem for path in folder.glob("*.npz"))
    near = difflib.get_close_matches(missing[0], there, n=1)
    advice = f" Is '{near[0]}.npz' meant? Rename it to the task's name." if near else ""
    raise SamplesError(
        f"`--samples` must hold a file <task>.npz for every task of the tree; '{folder}' lacks "
        f"{', '.join(f'{task}.npz' for task in missing)}, and has: {', '.join(there) or 'none'}."
        f"{advice}"
    )


def _prepared(
    array: Any,
    where: str,
    input_shape: tuple[int, ...],
    normalization: InputNormalization | None,
    limit: int,
) -> np.ndarray:
    """Up to `limit` samples as float32 of shape `(n, *input_shape)`, normalised."""
    samples = np.asarray(array)
    if samples.dtype.kind not in "iuf":
        raise SamplesError(
            f"{where}: numbers are expected, received dtype {samples.dtype}. Store the samples as "
            "uint8 or float32."
        )
    if samples.shape[1:] == input_shape[:-1] and input_shape[-1:] == (1,):
        samples = samples[..., None]
    if samples.shape[1:] != input_shape or not len(samples):
        raise SamplesError(
            f"{where}: shape (n, {', '.join(map(str, input_shape))}) is expected, as the trunk's "
            f"input, received {samples.shape}. Prepare the samples as for training."
        )
    if normalization is None and samples.dtype.kind in "iu":
        raise SamplesError(
            f"{where}: the network's input is expected, received raw {samples.dtype} values "
            f"{samples.min()} to {samples.max()}. Say how they become it, as in training: "
            "`--scale 1/255` for a network trained on 0 to 1, `--scale 1` for one trained on raw "
            "values."
        )
    chosen = _evenly(samples, limit)
    return chosen.astype(np.float32) if normalization is None else normalization.apply(chosen)


def _evenly(array: np.ndarray, limit: int) -> np.ndarray:
    """Up to `limit` rows, evenly spaced, because files are often sorted by class."""
    if len(array) <= limit:
        return array
    return array[np.linspace(0, len(array) - 1, limit).astype(int)]
