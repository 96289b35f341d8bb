"""Bundle: the int8 nodes of a tree, their seams and the tasks they serve; read, written, run.

Here stands what one does with a whole bundle. Its parts are in `storage/parts.py`.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np

from quantize.interpreter import InterpreterError, open_interpreter
from quantize.storage.checks import check_bundle
from quantize.storage.folder import (
    MANIFEST,
    StoredFile,
    read_manifest_file,
    read_stored,
    write_folder,
)
from quantize.storage.golden import compare_golden, pack_golden
from quantize.storage.manifest import manifest_text, read_manifest
from quantize.storage.parts import (
    FORMAT_VERSION,
    BundleError,
    BundleTask,
    InputNormalization,
    Node,
    Score,
    Seam,
)
from quantize.storage.versions import current_versions

__all__ = [
    "FORMAT_VERSION",
    "Bundle",
    "BundleError",
    "BundleTask",
    "InputNormalization",
    "Node",
    "Score",
    "Seam",
    "current_versions",
]


@dataclass(frozen=True)
class Bundle:
    """The int8 nodes of a tree with everything a device or a report needs to know of them.

    Args:
        name: The tree's name.
        nodes: Every node once, by name, trunk first.
        seams: The tensors between neighbouring nodes.
        tasks: The shipped tasks by name.
        input_normalization: How raw samples become the trunk's input.
        versions: Library and converter versions by distribution, e.g. {"tensorflow": "2.21.0"}.
    """

    name: str
    nodes: dict[str, Node]
    seams: tuple[Seam, ...]
    tasks: dict[str, BundleTask]
    input_normalization: InputNormalization
    versions: dict[str, str]

    def save(self, folder: str | os.PathLike[str], overwrite: bool = False) -> Path:
        """Write the bundle as a folder: `manifest.json`, `nodes/*.tflite`, `golden/*.npz`.

        It is checked first, then written beside `folder` and renamed into place, so that nothing
        half-written is ever at `folder`, whatever fails. The same bundle gives the same bytes.

        Args:
            folder: Where it shall stand: a new or empty folder, or with `overwrite` a bundle.
            overwrite: Whether to replace an earlier bundle. Any other folder is never replaced.

        Returns:
            The folder, as an absolute path.

        Raises:
            BundleError: The bundle's parts do not fit together, the folder may not be replaced, or
                the system refuses to write; `folder` is then as it was before.
        """
        check_bundle(self)
        golden = {
            name: pack_golden(task.golden_inputs, task.golden_outputs)
            for name, task in self.tasks.items()
        }
        files = {MANIFEST: manifest_text(self, golden).encode("utf-8")}
        for name, node in self.nodes.items():
            files[StoredFile.of_node(name, node.data).path] = node.data
        for name, data in golden.items():
            files[StoredFile.of_golden(name, data).path] = data
        return write_folder(folder, files, overwrite)

    @classmethod
    def load(cls, folder: str | os.PathLike[str], verify_golden: bool = False) -> Bundle:
        """Read a bundle and verify all of it: format, files, digests, flatbuffers, seams, paths.

        Args:
            folder: What `save` wrote.
            verify_golden: Whether to run the golden vectors too, which loads an interpreter.

        Raises:
            BundleError: Names the first thing that is wrong.
        """
        place = Path(folder)
        data = read_manifest_file(place)
        try:
            bundle = cls(**read_manifest(data, partial(read_stored, place)))
            check_bundle(bundle)
            if verify_golden:
                bundle.verify_golden()
        except BundleError as error:
            raise BundleError(f"Bundle '{place}' cannot be used. {error}") from error
        return bundle

    def path_nodes(self, task: str) -> tuple[Node, ...]:
        """Return the nodes that `task` runs, trunk first.

        Raises:
            BundleError: The bundle has no such task.
        """
        return tuple(self.nodes[name] for name in self._task(task).path)

    def run(self, task: str, codes: np.ndarray, backend: str | None = None) -> np.ndarray:
        """Run a task's path on the host.

        Args:
            task: A task of the bundle.
            codes: int8 (n, *trunk input shape without batch); see `codes_from_raw`.
            backend: "tflm" or "litert"; None for "tflm" where its wheel is installed.

        Returns:
            int8 (n, *output shape without batch).

        Raises:
            BundleError: The bundle has no such task.
            ValueError: `codes` has another type or shape.
        """
        return self._replay(task, codes, backend)[0]

    def predict(self, task: str, x: np.ndarray, backend: str | None = None) -> np.ndarray:
        """Run a task on float inputs of the network, as Keras' `predict` takes them.

        The input normalization is not applied: `x` is what the Keras tree was given. For raw
        samples (pixels, sensor values) use `bundle.input_normalization.apply(raw)` as `x`.

        Args:
            task: A task of the bundle.
            x: float (n, *trunk input shape without batch), in the network's own range.
            backend: As for `run`.

        Returns:
            float32 (n, *output shape without batch): the dequantized outputs.

        Raises:
            BundleError: The bundle has no such task.
            ValueError: `x` has another shape or holds NaN.
        """
        path = self.path_nodes(task)
        expected, received = path[0].input.shape[1:], np.shape(x)
        if received[1:] != expected:
            raise ValueError(
                f"`x` must have the shape (n, *{expected}) of the trunk's input; got {received}. "
                "Reshape it; a single sample needs a first axis of length 1."
            )
        return path[-1].output.dequantize(self.run(task, path[0].input.quantize(x), backend))

    def codes_from_raw(self, raw: np.ndarray) -> np.ndarray:
        """Return the codes that a device feeds to the trunk for raw samples.

        Args:
            raw: Raw samples of any number type, (n, *trunk input shape without batch); the input
                normalization is applied to them.

        Returns:
            int8, of the shape of `raw`.
        """
        trunk = self.path_nodes(next(iter(self.tasks)))[0]
        return trunk.input.quantize(self.input_normalization.apply(raw))

    def verify_golden(self, backend: str | None = None) -> None:
        """Run every task's golden inputs and compare the outputs with the golden outputs.

        Bit for bit where the vectors come from the interpreter that runs them here; within one LSB
        between TensorFlow Lite Micro and LiteRT's reference kernels, which round once where TFLM
        rounds twice in fully connected layers.

        Args:
            backend: As for `run`.

        Raises:
            BundleError: Names the task, the vector and the first element that differs.
        """
        for name, task in self.tasks.items():
            try:
                outputs, used = self._replay(name, task.golden_inputs, backend)
            except InterpreterError as error:
                raise BundleError(f"task '{name}': its nodes do not run. {error}") from error
            compare_golden(task, outputs, used)

    def select(self, tasks: str | Iterable[str]) -> Bundle:
        """Return a bundle of these tasks only, with the nodes and seams that their paths use.

        Args:
            tasks: Names of tasks of this bundle; their order does not matter.

        Raises:
            BundleError: A task is unknown, or none is given.
        """
        wanted = {tasks} if isinstance(tasks, str) else set(tasks)
        if not wanted:
            raise BundleError(
                "`tasks` must name at least one task of the bundle; got none. "
                f"It has: {', '.join(self.tasks)}."
            )
        for name in sorted(wanted):
            self._task(name)
        kept = {name: task for name, task in self.tasks.items() if name in wanted}
        pairs = {pair for task in kept.values() for pair in pairwise(task.path)}
        used = {name for task in kept.values() for name in task.path}
        return replace(
            self,
            nodes={name: node for name, node in self.nodes.items() if name in used},
            seams=_seams_between(self.seams, pairs),
            tasks=kept,
        )

    def _replay(self, task: str, codes: np.ndarray, backend: str | None) -> tuple[np.ndarray, str]:
        """Return the outputs of a task's path, and the interpreter that ran it."""
        used = ""
        for node in self.path_nodes(task):
            interpreter = open_interpreter(node.data, backend)
            codes, used = interpreter.run(codes), interpreter.backend
        return codes, used

    def _task(self, name: str) -> BundleTask:
        if name in self.tasks:
            return self.tasks[name]
        near = difflib.get_close_matches(name, self.tasks, n=1)
        advice = f"Did you mean '{near[0]}'?" if near else f"It has: {', '.join(self.tasks)}."
        raise BundleError(f"Bundle '{self.name}' has no task '{name}'. {advice}")


def _seams_between(seams: Iterable[Seam], pairs: set[tuple[str, str]]) -> tuple[Seam, ...]:
    """Return the seams that `pairs` of neighbours cross, each with only their nodes."""
    before, after = {pair[0] for pair in pairs}, {pair[1] for pair in pairs}
    narrowed = (
        replace(
            seam,
            producers=tuple(name for name in seam.producers if name in before),
            consumers=tuple(name for name in seam.consumers if name in after),
        )
        for seam in seams
    )
    return tuple(seam for seam in narrowed if seam.producers and seam.consumers)
