"""What a bundle loses against the float tree and against another bundle, in one number.

Belongs here: the measure that a search compares combinations by. Does not belong here: the scores
that a bundle reports (`fidelity.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from quantize.bundle import Bundle
from quantize.calibration import run_float
from quantize.fidelity import checked_labels, checked_samples, read_labels
from quantize.interpreter import open_interpreter

if TYPE_CHECKING:
    from keras_tree import Tree

NOISE_WEIGHT = 1e-6
"""Part of the noise in `Loss.value`: less than one sample more or less of any evaluation data."""


@dataclass(frozen=True)
class Loss:
    """What a bundle loses.

    Args:
        drop: Mean over the tasks of the drop in their metric against the reference bundle: of an
            accuracy in shares of 1, of a mean absolute error relative to the reference's. A task
            that gains counts as 0, not less: gains of some samples by luck do not pay for losses
            of another task. None without evaluation data.
        noise: Mean over the tasks of the squared error of the outputs against the float tree,
            relative to the outputs' power, over the calibration samples; above the reference's.
    """

    drop: float | None
    noise: float

    @property
    def value(self) -> float:
        """One number to compare by: the drop, and among equal drops the noise."""
        return (self.drop or 0.0) + NOISE_WEIGHT * self.noise

    def __str__(self) -> str:
        drop = "" if self.drop is None else f"drop {100 * self.drop:.2f} %, "
        return f"{drop}noise {100 * self.noise:+.3g} %"


@dataclass(frozen=True)
class _Figures:
    """What was measured of one task: its metric, None without evaluation data, and its noise."""

    metric: float | None
    noise: float


class LossMeter:
    """Measures bundles of one tree against a reference bundle.

    A task is run again only where the bytes of its nodes are new. Of the reference, the codes
    between nodes are kept, so that a branch in another form does not run the trunk again.

    Args:
        tree: The float tree.
        reference: The bundle that loses nothing by definition.
        samples: float32 calibration samples by shipped task.
        evaluation: (x, y) by task, or None.
    """

    def __init__(
        self,
        tree: Tree,
        reference: Bundle,
        samples: Mapping[str, np.ndarray],
        evaluation: Mapping[str, tuple[Any, Any]] | None,
    ) -> None:
        shipped = {name: given for name, given in (evaluation or {}).items() if name in samples}
        self._tasks = {
            name: _TaskMeter(tree, name, reference, samples[name], shipped.get(name))
            for name in samples
        }
        self._known: dict[tuple[str, ...], _Figures] = {}
        self._reference = {name: self._figures(name, reference) for name in samples}

    def loss(self, bundle: Bundle) -> Loss:
        """Return what a bundle of the same tree loses."""
        drops, noises = [], []
        for name, before in self._reference.items():
            now = self._figures(name, bundle)
            noises.append(now.noise - before.noise)
            if now.metric is not None and before.metric is not None:
                drops.append(self._tasks[name].drop(before.metric, now.metric))
        return Loss(float(np.mean(drops)) if drops else None, float(np.mean(noises)))

    def _figures(self, task: str, bundle: Bundle) -> _Figures:
        key = (task, *(node.sha256 for node in bundle.path_nodes(task)))
        if key not in self._known:
            self._known[key] = self._tasks[task].measure(bundle)
        return self._known[key]


class _TaskMeter:
    """One task's samples with what the float tree makes of them, and its labelled data."""

    def __init__(
        self,
        tree: Tree,
        task: str,
        reference: Bundle,
        samples: np.ndarray,
        labelled: tuple[Any, Any] | None,
    ) -> None:
        self._task = task
        path = reference.path_nodes(task)
        self._samples = _Chain(np.asarray(samples, np.float32), reference, task)
        self._expected = run_float(tree[task], samples).astype(np.float64)
        self._power = max(float(np.square(self._expected).mean()), np.finfo(np.float64).tiny)
        self._labelled: _Chain | None = None
        if labelled is not None:
            x = checked_samples(task, labelled[0], path[0].input.shape[1:])
            y = checked_labels(task, labelled[1], len(x))
            self._scoring, self._labels = read_labels(
                task, tree.tasks[task], y, path[-1].output.shape[1:]
            )
            if not np.isnan(self._labels).all():
                self._labelled = _Chain(np.asarray(x, np.float32), reference, task)

    def measure(self, bundle: Bundle) -> _Figures:
        """Run a bundle's path on all samples."""
        error = self._samples.outputs(bundle) - self._expected
        noise = float(np.square(error).mean()) / self._power
        if self._labelled is None:
            return _Figures(None, noise)
        points = self._scoring.points(self._labelled.outputs(bundle), self._labels)
        return _Figures(float(points[~np.isnan(self._labels)].mean()), noise)

    def drop(self, before: float, now: float) -> float:
        """Return by how much a metric became worse, 0 where it did not."""
        if self._scoring.metric != "mae":
            return max(0.0, before - now)
        return max(0.0, (now - before) / before if before > 0 else now)


class _Chain:
    """Samples at the front of one task's path, and the reference's codes behind its nodes."""

    def __init__(self, samples: np.ndarray, reference: Bundle, task: str) -> None:
        self._samples = samples
        self._reference = tuple(node.sha256 for node in reference.path_nodes(task))
        self._task = task
        self._codes: dict[int, np.ndarray] = {}

    def outputs(self, bundle: Bundle) -> np.ndarray:
        """Return a bundle's dequantized outputs: float64 (n, *output shape)."""
        nodes = bundle.path_nodes(self._task)
        same = 0  # nodes from the trunk on that are the reference's
        while same < len(nodes) and nodes[same].sha256 == self._reference[same]:
            same += 1
        start = max((place for place in self._codes if place <= same), default=0)
        codes = self._codes[start] if start else nodes[0].input.quantize(self._samples)
        for place in range(start, len(nodes)):
            codes = open_interpreter(nodes[place].data).run(codes)
            if place + 1 <= same and place + 1 < len(nodes):
                self._codes[place + 1] = codes
        return np.asarray(nodes[-1].output.dequantize(codes), np.float64)
