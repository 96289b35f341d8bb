"""Inputs to calibrate with: the union of the tasks' samples for the trunk, real features behind it.

Belongs here: the samples' check and choice, and what every node is fed with. Does not belong here:
ranges (`convert.py` measures them, `seam.py` joins them).

The trunk sees the samples of every task that it serves, because with those of one task the others
would saturate. A later node sees the dequantized int8 outputs of the flatbuffers before it, over
all the paths that use it: what it will be fed with on the device.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from quantize.interpreter import NodeInterpreter, open_interpreter

if TYPE_CHECKING:
    import keras

DEFAULT_SAMPLE_LIMIT = 500
"""Samples used per task; between 20 and 500 no difference in accuracy was seen."""

_BATCH = 64


class CalibrationError(ValueError):
    """Samples, or what a node makes of them, from which no range can be taken."""


def choose_samples(
    samples: Mapping[str, Any],
    tasks: Sequence[str],
    input_shape: Sequence[int],
    limit: int = DEFAULT_SAMPLE_LIMIT,
) -> dict[str, np.ndarray]:
    """Check the samples of every task and choose up to `limit` of each, evenly spaced.

    Args:
        samples: Per task floats of shape (n, *input_shape), as the network receives them.
        tasks: The tasks that are shipped, each of which needs samples.
        input_shape: Shape of the trunk's input without the batch.
        limit: Samples used per task, at least 2.

    Returns:
        float32 arrays by task, in the order of `tasks`.

    Raises:
        CalibrationError: Samples are missing, of an unknown task, empty, of another shape or type,
            not finite, or all alike.
    """
    if limit < 2:
        raise CalibrationError(
            f"`sample_limit` must be at least 2, received {limit}. Leave it out for "
            f"{DEFAULT_SAMPLE_LIMIT}."
        )
    missing = [task for task in tasks if task not in samples]
    if missing:
        raise CalibrationError(
            "`samples` must hold samples of every shipped task; received "
            f"{f'none of {_quoted(missing)}, only of {_quoted(samples)}' if samples else 'none'}. "
            "Add some of its training inputs."
        )
    return {
        task: _chosen(task, _checked(task, samples[task], tuple(input_shape)), limit)
        for task in tasks
    }


def check_task_names(samples: Iterable[str], tasks: Iterable[str], argument: str) -> None:
    """Raise where a mapping by task names one that the tree does not have; offer near names."""
    known = list(tasks)
    for name in samples:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            advice = f"Did you mean '{near[0]}'?" if near else f"The tree has {_quoted(known)}."
            raise CalibrationError(
                f"`{argument}` must be by task of the tree, received '{name}'. {advice}"
            )


def _checked(task: str, given: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Return the samples of one task as an array of floats of the right shape."""
    array = np.asarray(given)
    expected = f"`samples['{task}']` must be floats of shape (n, {', '.join(map(str, shape))})"
    if not np.issubdtype(array.dtype, np.floating):
        raise CalibrationError(
            f"{expected}, as the network receives them; received {array.dtype}. Scale them as in "
            "training and convert them with `.astype('float32')`."
        )
    if array.ndim == 0 or array.shape[1:] != shape:
        raise CalibrationError(
            f"{expected}, received shape {array.shape}. Give inputs of the trunk, one per row."
        )
    if not len(array):
        raise CalibrationError(
            f"{expected} with n at least 2, received none. Give some of its training inputs."
        )
    bad = np.flatnonzero(~np.isfinite(array).reshape(len(array), -1).all(axis=1))
    if len(bad):
        raise CalibrationError(
            f"{expected} without NaN or infinity; received {len(bad)} sample(s) with some, the "
            f"first at {bad[0]}. Remove them."
        )
    return array


def _chosen(task: str, array: np.ndarray, limit: int) -> np.ndarray:
    places = np.unique(np.linspace(0, len(array) - 1, min(limit, len(array))).round().astype(int))
    chosen = np.ascontiguousarray(array[places], np.float32)
    if (chosen == chosen[0]).all():
        what = "constant " if (chosen == chosen.flat[0]).all() else ""
        raise CalibrationError(
            f"`samples['{task}']` must be varied samples, at least 2 that differ; received "
            f"{len(array)} of one {what}value (from {chosen.min():g} to {chosen.max():g}). The "
            "ranges of int8 are taken from them: give some 100 to 500 real training inputs."
        )
    return chosen


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


class Activations:
    """What every node is fed with, as far as the nodes before it are converted.

    Args:
        models: The float nodes by name.
        paths: The shipped tasks' paths.
        samples: float32 samples by task, as `choose_samples` returns them.
        backend: Interpreter of the converted nodes; None for TFLM where its wheel is installed.
    """

    def __init__(
        self,
        models: Mapping[str, keras.Model],
        paths: Mapping[str, Sequence[str]],
        samples: Mapping[str, np.ndarray],
        backend: str | None = None,
    ) -> None:
        self._models = models
        self._backend = backend
        self._samples = samples
        self._interpreters: dict[str, NodeInterpreter] = {}
        self._codes: dict[tuple[str, tuple[str, ...]], np.ndarray] = {}
        self._prefixes: dict[str, dict[tuple[str, tuple[str, ...]], None]] = {}
        sources = _sources(samples)
        for task, path in paths.items():
            for position, node in enumerate(path):
                key = (sources[task], tuple(path[:position]))
                self._prefixes.setdefault(node, {})[key] = None

    def add(self, node: str, data: bytes) -> None:
        """Take the flatbuffer of a node; from now on it feeds the nodes behind it."""
        self._interpreters[node] = open_interpreter(data, self._backend)

    def inputs(self, node: str) -> np.ndarray:
        """Return what a node is fed with over all its paths: float32 (n, *input shape).

        Behind nodes that are all converted these are dequantized int8 codes. Behind one that is
        not, which happens only where paths run nodes in opposite orders, its float model continues
        from there.
        """
        return np.concatenate([self._values(*key) for key in self._prefixes[node]])

    def output_shape(self, node: str) -> tuple[int, ...]:
        """Return the shape of a node's output, batch 1 first."""
        return (1, *(int(length) for length in self._models[node].outputs[0].shape[1:]))

    def _values(self, source: str, prefix: tuple[str, ...]) -> np.ndarray:
        if not prefix:
            return self._samples[source]
        if all(node in self._interpreters for node in prefix):
            output = self._interpreters[prefix[-1]].output
            return output.dequantize(self._run(source, prefix))
        return run_float(self._models[prefix[-1]], self._values(source, prefix[:-1]))

    def _run(self, source: str, prefix: tuple[str, ...]) -> np.ndarray:
        """Return the int8 codes behind a path's first nodes."""
        key = (source, prefix)
        if key not in self._codes:
            interpreter = self._interpreters[prefix[-1]]
            if len(prefix) == 1:
                codes = interpreter.input.quantize(self._samples[source])
            else:
                codes = self._run(source, prefix[:-1])
            self._codes[key] = interpreter.run(codes)
        return self._codes[key]


def _sources(samples: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Return for every task the first task that has the very same samples, to run them once."""
    sources: dict[str, str] = {}
    for task, array in samples.items():
        same = (first for first in set(sources.values()) if np.array_equal(samples[first], array))
        sources[task] = next(same, task)
    return sources


def run_float(model: keras.Model, inputs: np.ndarray) -> np.ndarray:
    """Run a float node in inference mode: float32 (n, *input shape) to (n, *output shape)."""
    import keras

    batches = (inputs[start : start + _BATCH] for start in range(0, len(inputs), _BATCH))
    return np.concatenate(
        [keras.ops.convert_to_numpy(model(batch, training=False)) for batch in batches]
    )
