"""The loop of aware training: stages, epochs, and the tasks in turn.

What a step is stands in a backend (`keras3/`, `tfmot/`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from quantize.aware.backend import AwareModel
from quantize.aware.features import Features
from quantize.aware.recipe import Recipe


class DivergedError(ValueError):
    """The training went to infinity; says in which epoch."""


@dataclass(frozen=True)
class TrainingSet:
    """What one task is trained on.

    Args:
        features: Inputs of the path's first trained node.
        rows: Indices (m,) into `features` of the samples with a label, m at least 1.
        targets: float32 (m, ...): their labels.
    """

    features: Features
    rows: np.ndarray
    targets: np.ndarray


def train(
    model: AwareModel,
    sets: Mapping[str, TrainingSet],
    samples: Mapping[str, np.ndarray],
    recipe: Recipe,
    progress: Callable[[str], None],
) -> None:
    """Train by a recipe. The tasks take turns, and shorter datasets start over.

    Args:
        model: What is trained.
        sets: Training data by task.
        samples: float32 (n, *input shape of the path) by task, to calibrate ranges with.
        recipe: Stages, epochs, batch size and seed.
        progress: Called with a line after every epoch.

    Raises:
        DivergedError: After an epoch its mean loss or the activations' ranges are not finite.
    """
    turns = max(math.ceil(len(part.rows) / recipe.batch_size) for part in sets.values())
    batches = {
        task: _batches(part, recipe.batch_size, np.random.default_rng((recipe.seed, number)))
        for number, (task, part) in enumerate(sets.items())
    }
    for stage in recipe.stages:
        model.begin_stage(stage, recipe.epochs * turns * len(sets))
        if stage == "quantize":
            model.calibrate(samples)
        for epoch in range(1, recipe.epochs + 1):
            losses = dict.fromkeys(sets, 0.0)
            for _ in range(turns):
                for task in sets:
                    x, y = next(batches[task])  # (batch, *input shape), (batch, ...)
                    losses[task] += float(model.train_batch(task, x, y)) / turns
            progress(_line(stage, epoch, recipe.epochs, losses))
            _check_finite(stage, epoch, losses)
            if stage == "quantize":
                _calibrate_again(model, samples, epoch)
        model.end_stage()


def _calibrate_again(model: AwareModel, samples: Mapping[str, np.ndarray], epoch: int) -> None:
    """Take the ranges anew. Before the first step that went well, so only the training is to blame.

    Raises:
        DivergedError: There are no ranges any more.
    """
    try:
        model.calibrate(samples)
    except ValueError as error:
        raise DivergedError(
            f"Activations must have finite ranges, received none after epoch {epoch} of the stage "
            f"'quantize' ({error}). Lower the recipe's `learning_rate`."
        ) from error


def _batches(
    part: TrainingSet, size: int, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield full batches without end; a pass that ends within one goes on with the next."""
    ahead = np.empty(0, np.int64)  # places in `rows` of the samples to come
    while True:
        while len(ahead) < size:
            ahead = np.concatenate([ahead, rng.permutation(len(part.rows))])
        now, ahead = ahead[:size], ahead[size:]
        yield part.features.at(part.rows[now]), part.targets[now]


def _line(stage: str, epoch: int, epochs: int, losses: Mapping[str, float]) -> str:
    shown = ", ".join(f"{task} {loss:.4g}" for task, loss in losses.items())
    return f"{stage}: epoch {epoch} of {epochs}, loss: {shown}"


def _check_finite(stage: str, epoch: int, losses: Mapping[str, float]) -> None:
    lost = [task for task, loss in losses.items() if not math.isfinite(loss)]
    if lost:
        raise DivergedError(
            f"The losses must stay finite, received {losses[lost[0]]} for '{lost[0]}' in epoch "
            f"{epoch} of the stage '{stage}'. Lower the recipe's `learning_rate`."
        )
