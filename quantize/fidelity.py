"""What int8 keeps of the float tree: scores, agreement and noise of every task, and of every node.

The composed nodes run on TensorFlow Lite Micro, which is what the device computes, bit for bit.
Where its wheel does not install, LiteRT's reference kernels take its place; they differ from it by
at most one LSB (their fully connected kernel rounds once, TFLM's twice), and the score names them.

Here stand the walk along the paths and the summing up. How outputs are judged is in `scoring.py`;
nothing is rendered here.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from quantize.bundle import Bundle, Score
from quantize.interpreter import NodeInterpreter, open_interpreter
from quantize.noise import Noise
from quantize.scoring import Scoring, scoring_of


def fidelity(
    tree: Any,
    bundle: Bundle,
    data: Mapping[str, tuple[Any, Any]],
    backend: str | None = None,
    batch_size: int = 256,
) -> dict[str, Score]:
    """Compare every task of a bundle with the float tree that it was made from.

    Args:
        tree: The trained tree: `tree[task]` is the Keras model of a path, `tree.nodes`,
            `tree.paths` and `tree.tasks` are its parts by name.
        bundle: What `quantize` made of it.
        data: Samples and labels by task: x float (n, *trunk input shape) in the network's own range
            (the input normalization is not applied), y as the task's loss takes them. A label that
            is NaN or the task's `missing_label` is left out. Tasks that the bundle does not ship
            are passed over.
        backend: "tflm" or "litert"; None for "tflm" where its wheel is installed.
        batch_size: Samples in memory at a time.

    Returns:
        The scores by task, in the order of `data`.

    Raises:
        ValueError: A task is unknown, the tree is not the bundle's, or samples and labels do not
            fit the task.
    """
    if batch_size < 1:
        raise ValueError(
            f"`batch_size` must be at least 1; got {batch_size}. Leave it out for 256."
        )
    shipped = _shipped(tree, bundle, data)
    walks = [_Walk(tree, bundle, task, *data[task]) for task in shipped]
    used = {name for walk in walks for name in walk.path}
    interpreters = {name: open_interpreter(bundle.nodes[name].data, backend) for name in used}
    return {walk.task: walk.score(interpreters, batch_size) for walk in walks}


def check_data(tree: Any, data: Mapping[str, Any]) -> None:
    """Check samples and labels as `fidelity` takes them, before a bundle is made.

    Args:
        tree: The tree.
        data: (x, y) by task of the tree. Auxiliary tasks are passed over.

    Raises:
        ValueError: Samples or labels do not fit their task.
    """
    for name, given in data.items():
        task = tree.tasks[name]
        if task.auxiliary:
            continue
        if not isinstance(given, tuple | list) or len(given) != 2:
            raise ValueError(
                f"`data['{name}']`: must be a pair of arrays (x, y); got {type(given).__name__}. "
                "Read a dataset into two arrays."
            )
        trunk, last = (tree.nodes[tree.paths[name][place]] for place in (0, -1))
        x = checked_samples(name, given[0], tuple(trunk.inputs[0].shape[1:]))
        read_labels(name, task, checked_labels(name, given[1], len(x)), last.outputs[0].shape[1:])


def _shipped(tree: Any, bundle: Bundle, data: Mapping[str, Any]) -> list[str]:
    """Return the tasks of `data` that the bundle ships."""
    for name in data:
        if name not in tree.tasks:
            near = difflib.get_close_matches(name, tree.tasks, n=1)
            advice = f"Did you mean '{near[0]}'?" if near else f"It has: {', '.join(tree.tasks)}."
            raise ValueError(
                f"`data` must be by task of the tree; it has no task '{name}'. {advice}"
            )
    shipped = [name for name in data if name in bundle.tasks]
    if not shipped:
        raise ValueError(
            f"`data` must hold samples of at least one shipped task ({', '.join(bundle.tasks)}); "
            f"got {', '.join(data) or 'none'}."
        )
    for name in shipped:
        if tuple(tree.paths[name]) != bundle.tasks[name].path:
            raise ValueError(
                f"`tree` must be the one that the bundle was made from; the path of task '{name}' "
                f"is {tuple(tree.paths[name])} in the tree and {bundle.tasks[name].path} in the "
                "bundle. Quantize the tree again."
            )
    return shipped


class _Walk:
    """One task's path over one set of samples, float and int8 side by side."""

    def __init__(self, tree: Any, bundle: Bundle, task: str, x: Any, y: Any) -> None:
        self.task = task
        self.path = bundle.tasks[task].path
        self._model = tree[task]
        self._float_nodes = {name: tree.nodes[name] for name in self.path}
        nodes = bundle.path_nodes(task)
        self._x = checked_samples(task, x, nodes[0].input.shape[1:])
        self._output = nodes[-1].output
        labels = checked_labels(task, y, len(self._x))
        self._scoring, self._labels = read_labels(
            task, tree.tasks[task], labels, self._output.shape[1:]
        )

    def score(self, interpreters: Mapping[str, NodeInterpreter], batch_size: int) -> Score:
        """Run all samples in batches and return what was counted."""
        total = Noise()
        own = {name: Noise() for name in self.path}
        float_points, int8_points, agreed, judged, labelled = 0.0, 0.0, 0, 0, 0
        for x, labels in self._batches(batch_size):
            expected = _predict(self._model, x)
            actual = self._run_int8(x, interpreters, own)
            total.add(expected, actual)
            agreement = self._scoring.agree(expected, actual, self._output.scale)
            agreed, judged = agreed + int(agreement.sum()), judged + agreement.size
            known = ~np.isnan(labels)
            labelled += int(known.sum())
            float_points += float(self._scoring.points(expected, labels)[known].sum())
            int8_points += float(self._scoring.points(actual, labels)[known].sum())
        node_sqnr_db = {name: round(noise.sqnr_db, 2) for name, noise in own.items()}
        return Score(
            metric=self._scoring.metric,
            float_value=_rounded(float_points / labelled) if labelled else math.nan,
            int8_value=_rounded(int8_points / labelled) if labelled else math.nan,
            samples=int((~np.isnan(self._labels)).reshape(len(self._x), -1).any(-1).sum()),
            agreement=_rounded(agreed / judged),
            sqnr_db=round(total.sqnr_db, 2),
            largest_error=_rounded(total.largest_error),
            weakest_node=_weakest(node_sqnr_db),
            node_sqnr_db=node_sqnr_db,
            backend=interpreters[self.path[0]].backend,
        )

    def _batches(self, batch_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for start in range(0, len(self._x), batch_size):
            part = slice(start, start + batch_size)
            yield np.asarray(self._x[part], np.float32), self._labels[part]

    def _run_int8(
        self, x: np.ndarray, interpreters: Mapping[str, NodeInterpreter], own: Mapping[str, Noise]
    ) -> np.ndarray:
        """Return the dequantized outputs of the composed nodes; add each node's own noise to `own`.

        A node's own noise is what int8 makes of the very input it gets: its float model runs on the
        dequantized codes that its flatbuffer runs on, so what nodes before it lost does not count.
        """
        codes = interpreters[self.path[0]].input.quantize(x)
        for name in self.path:
            node = interpreters[name]
            expected = _predict(self._float_nodes[name], node.input.dequantize(codes))
            codes = node.run(codes)
            own[name].add(expected, node.output.dequantize(codes))
        return self._output.dequantize(codes)


def _predict(model: Any, x: np.ndarray) -> np.ndarray:
    """Return a Keras model's output in inference mode, float64, for float32 inputs."""
    # Called, not `predict`: one batch needs neither a progress bar nor a traced function per model.
    return np.asarray(model(x, training=False), np.float64)


def checked_samples(task: str, x: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Return a task's samples as an array; raise a ValueError where they do not fit the trunk."""
    x = np.asarray(x)
    if x.shape[1:] != shape or not len(x):
        raise ValueError(
            f"`data['{task}']`: samples must have the shape (n, *{shape}) of the "
            f"trunk's input, with n at least 1; got {x.shape}. Reshape them."
        )
    if not np.isfinite(x).all():
        raise ValueError(
            f"`data['{task}']`: samples must be finite numbers; got NaN or infinity in "
            f"{int((~np.isfinite(x)).sum())} places. Remove those samples."
        )
    return x


def checked_labels(task: str, y: Any, samples: int) -> np.ndarray:
    """Return a task's labels as an array; raise a ValueError where they do not fit the samples."""
    y = np.asarray(y)
    if y.dtype.kind not in "biuf":
        raise ValueError(
            f"`data['{task}']`: labels must be numbers; got dtype {y.dtype}. Give class indices."
        )
    if not y.ndim or len(y) != samples:
        raise ValueError(
            f"`data['{task}']`: there must be a label for each of the {samples} samples; got "
            f"{len(y) if y.ndim else 'a single number'}. Cut both to one length."
        )
    return y


def read_labels(
    name: str, task: Any, y: np.ndarray, output_shape: tuple[int, ...]
) -> tuple[Scoring, np.ndarray]:
    """Return how a task is judged, and its labels as float64, NaN where one is missing.

    Raises:
        ValueError: The labels do not fit the task's output.
    """
    scoring = scoring_of(task, y, output_shape)
    try:
        return scoring, scoring.labels(y.astype(np.float64), output_shape)
    except ValueError as error:
        raise ValueError(f"`data['{name}']`: {error}") from error


def _rounded(value: float) -> float:
    """Round a measure to six digits.

    More say nothing, and the last bits of a float model's outputs depend on the machine's threads:
    with them, two runs would write two different bundles.
    """
    return float(f"{value:.6g}")


def _weakest(node_sqnr_db: Mapping[str, float]) -> str | None:
    """Return the node that loses most; one whose float output is NaN before all others."""
    name = min(
        node_sqnr_db, key=lambda n: -math.inf if math.isnan(node_sqnr_db[n]) else node_sqnr_db[n]
    )
    return None if node_sqnr_db[name] == math.inf else name
