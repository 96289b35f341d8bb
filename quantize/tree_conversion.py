"""The conversion of one tree: its nodes frozen once, made into bundles of any precisions.

Belongs here: how converted nodes become a `Bundle`. Does not belong here: the check of what a user
gives (`post_training.py`), and the order of work (`conversion/node_conversion.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from quantize.bundle import (
    Bundle,
    BundleTask,
    InputNormalization,
    Node,
    Score,
    Seam,
    current_versions,
)
from quantize.calibration import Activations
from quantize.conversion.freezing import FrozenNode
from quantize.conversion.node_conversion import NodeConversion, NodeConverter
from quantize.conversion.pinning import node_specs
from quantize.flatbuffer import read_graph
from quantize.interpreter import open_interpreter, record_arena
from quantize.macs import macs
from quantize.seam import SeamClass, check_seams
from quantize.strip import Level, strip

if TYPE_CHECKING:
    from keras_tree import Tree


@dataclass(frozen=True)
class BundleSettings:
    """What a bundle gets besides its nodes; `quantize` says what each means."""

    name: str
    strip_level: Level
    input_normalization: InputNormalization
    golden_count: int


@dataclass(frozen=True)
class TreeConversion:
    """A tree that is ready to be converted.

    Args:
        tree: The tree.
        paths: The shipped tasks' paths.
        frozen: Their nodes by name, in the order of the tree.
        samples: float32 samples by task, as `choose_samples` returns them.
        converter: The converter, started.
        settings: What the bundles get besides their nodes.
        base: An earlier bundle, for the scores of its tasks, or None.
        report: Called with a line of text at every step.
    """

    tree: Tree
    paths: Mapping[str, tuple[str, ...]]
    frozen: Mapping[str, FrozenNode]
    samples: Mapping[str, np.ndarray]
    converter: NodeConverter
    settings: BundleSettings
    base: Bundle | None
    report: Callable[[str], None]

    def bundle(self, precisions: Mapping[str, str], kept: Mapping[str, Node]) -> Bundle:
        """Return the bundle of all nodes, every one calibrated on what the ones before it give.

        Args:
            precisions: The precision of every node.
            kept: Nodes that stay as they are, by name.
        """
        conversion = NodeConversion(
            {name: part for name, part in self.frozen.items() if name not in kept},
            self.paths,
            Activations(self.models, self.paths, self.samples),
            self.converter,
            {name: part.data for name, part in kept.items()},
            self.report,
            precisions,
        )
        converted = conversion.run()
        nodes = {
            name: kept.get(name) or self.node(name, converted[name], precisions[name])
            for name in self.frozen
        }
        check_seams(conversion.classes, {name: part.data for name, part in nodes.items()})
        return Bundle(
            name=self.settings.name,
            nodes=nodes,
            seams=tuple(_seam(seam, nodes) for seam in conversion.classes),
            tasks={task: self._task(task, path, nodes) for task, path in self.paths.items()},
            input_normalization=self.settings.input_normalization,
            versions=current_versions(),
        )

    @property
    def models(self) -> dict[str, Any]:
        """The float nodes by name."""
        return {name: self.tree.nodes[name] for name in self.frozen}

    def node(self, name: str, data: bytes, precision: str) -> Node:
        """Return a converted node with its figures, stripped."""
        stripped = strip(data, self.settings.strip_level)
        source, target = node_specs(stripped)
        return Node(
            name=name,
            data=stripped,
            unstripped_bytes=len(data),
            parameters=self.tree.nodes[name].count_params(),
            macs=macs(stripped),
            input=source,
            output=target,
            operators=tuple(sorted(read_graph(stripped).operator_names)),
            arena=record_arena(stripped),
            source_sha256=self.frozen[name].sha256,
            precision=precision,
        )

    def _task(self, task: str, path: tuple[str, ...], nodes: Mapping[str, Node]) -> BundleTask:
        """Return a shipped task with golden vectors: real inputs through the chain of its nodes.

        A task whose nodes all stand in `base` byte for byte keeps the score that it has there.
        """
        samples = _spread(self.samples[task], self.settings.golden_count)
        inputs = outputs = nodes[path[0]].input.quantize(samples)
        backend = ""
        for name in path:
            interpreter = open_interpreter(nodes[name].data)
            backend, outputs = interpreter.backend, interpreter.run(outputs)
        labels = tuple(self.tree.tasks[task].labels)
        score = _kept_score(self.base, task, path, nodes)
        return BundleTask(task, path, labels, inputs, outputs, score, backend)


def _spread(samples: np.ndarray, count: int) -> np.ndarray:
    """Return `count` of the samples, evenly spaced over them; all where there are fewer."""
    places = np.linspace(0, len(samples) - 1, min(count, len(samples))).round().astype(int)
    return samples[places]


def _seam(seam: SeamClass, nodes: Mapping[str, Node]) -> Seam:
    spec = nodes[seam.producers[0]].output
    return Seam(seam.name, spec.shape, spec.scale, spec.zero_point, seam.producers, seam.consumers)


def _kept_score(
    base: Bundle | None, task: str, path: tuple[str, ...], nodes: Mapping[str, Node]
) -> Score | None:
    if base is None or task not in base.tasks or base.tasks[task].path != path:
        return None
    same = all(base.nodes[name].data == nodes[name].data for name in path)
    return base.tasks[task].score if same else None
