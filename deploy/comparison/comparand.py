"""One side of a comparison: what is known of a bundle, of a .tflite file or of an earlier report.

Values, and gathering them. Bundles and files of reports come in here, so that `difference.py` need
not know which of them it compares.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from deploy.comparison.baseline import BaselineCheck
from deploy.comparison.baseline_file import baseline_of
from deploy.comparison.document import count_of, name_of, share_of, table, value_of
from deploy.footprint import Footprint, footprint

if TYPE_CHECKING:
    from pathlib import Path

    from deploy.board import Board
    from quantize.bundle import Bundle, InputNormalization, Seam
    from quantize.tensor_spec import TensorSpec

_MOST_LABELS = 12
BUNDLE, MODEL, REPORT = "bundle", "model", "report"


@dataclass(frozen=True)
class NodeFacts:
    """What is known of a node.

    Args:
        rom_bytes: Its flatbuffer.
        sha256: Hex digest of the flatbuffer; None where only its size is known.
        macs: Multiply-accumulates of one inference, or None.
        operators: Distinct operator names, or None.
        precision: The form that it is stored in, or None.
    """

    rom_bytes: int
    sha256: str | None = None
    macs: int | None = None
    operators: tuple[str, ...] | None = None
    precision: str | None = None


@dataclass(frozen=True)
class TaskFacts:
    """What is known of a task.

    Args:
        path: Its nodes, trunk first.
        metric: Name of its metric; empty where it was not scored.
        float_value: The metric of the float model; NaN where there is none.
        int8_value: The metric of the int8 nodes; NaN where there is none.
    """

    path: tuple[str, ...]
    metric: str = ""
    float_value: float = math.nan
    int8_value: float = math.nan


@dataclass(frozen=True)
class Contract:
    """What a tensor at the edge of a node is agreed to be.

    Args:
        kind: "seam" (between nodes), "input" (of the trunk) or "output" (of a path).
        node: The node whose tensor it is; for a seam the one that computes it.
        text: Type, shape, scale, zero point, and for an input or output what they mean.
        consumers: For a seam, the nodes that read it.
    """

    kind: str
    node: str
    text: str
    consumers: tuple[str, ...] = ()


@dataclass(frozen=True)
class BundleFacts:
    """What is known of one bundle.

    Args:
        name: The bundle.
        nodes: By name.
        tasks: By name.
        contracts: By kind and node; empty where they are not known.
    """

    name: str
    nodes: dict[str, NodeFacts]
    tasks: dict[str, TaskFacts]
    contracts: dict[tuple[str, str], Contract] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparand:
    """One side of a comparison.

    Args:
        origin: Where it was read from.
        kind: "bundle", "model" (one .tflite file) or "report" (also a baseline).
        bundles: What is known of its bundles; a baseline knows none.
        checks: A bundle's figures by board, a report's by check.
        error_percent: Error bands of a bundle's figures by quantity ("rom", "ram", "time"), one
            for each board where it is known; of a report they are not.
    """

    origin: str
    kind: str
    bundles: tuple[BundleFacts, ...]
    checks: dict[str, BaselineCheck]
    error_percent: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    @property
    def is_report(self) -> bool:
        """Whether its figures are those of checks."""
        return self.kind == REPORT


def comparand_of_bundle(
    bundle: Bundle, origin: str, boards: Sequence[Board], kernels: str | None = None,
    kind: str = BUNDLE,
) -> Comparand:  # fmt: skip
    """What is known of a bundle, and what it costs on boards.

    Args:
        bundle: The bundle, already narrowed to the tasks that are compared.
        origin: Where it was read from.
        boards: The boards to give figures for.
        kernels: As for `footprint`.
        kind: "bundle" or "model".

    Raises:
        CoreError, RomError, RamError: As `footprint` does.
    """
    found = {board.name: footprint(bundle, board, kernels=kernels) for board in boards}
    checks = {name: _figures(name, one) for name, one in found.items()}
    return Comparand(origin, kind, (_facts(bundle),), checks, _errors(found.values()))


def _errors(found: Iterable[Footprint]) -> dict[str, list[tuple[float, float]]]:
    """By quantity the error bands of all boards."""
    bands: dict[str, list[tuple[float, float]]] = {}
    for one in found:
        bands.setdefault("rom", []).append(one.rom_error_percent)
        bands.setdefault("ram", []).append(one.ram_error_percent)
        slowest = one.slowest_task
        if slowest is not None and slowest.latency is not None:
            bands.setdefault("time", []).append(slowest.latency.error_percent)
    return bands


def _figures(name: str, found: Footprint) -> BaselineCheck:
    slowest = found.slowest_task
    time = None if slowest is None else slowest.latency
    return BaselineCheck(
        name,
        found.rom_bytes,
        found.ram_bytes,
        None if time is None else time.microseconds,
        {name: node.rom_bytes for name, node in found.nodes.items()},
        dict(found.runtime.by_operator),
    )


def _facts(bundle: Bundle) -> BundleFacts:
    nodes = {
        name: NodeFacts(node.rom_bytes, node.sha256, node.macs, node.operators, node.precision)
        for name, node in bundle.nodes.items()
    }
    tasks = {
        name: TaskFacts(task.path)
        if task.score is None
        else TaskFacts(
            task.path, task.score.metric, task.score.float_value, task.score.int8_value
        )
        for name, task in bundle.tasks.items()
    }  # fmt: skip
    contracts = [
        *(contract for seam in bundle.seams for contract in _seam_contracts(seam)),
        *_edge_contracts(bundle),
    ]
    return BundleFacts(bundle.name, nodes, tasks, {(one.kind, one.node): one for one in contracts})


def _seam_contracts(seam: Seam) -> list[Contract]:
    """A seam once for each node that computes it."""
    text = _described("int8", seam.shape, seam.scale, seam.zero_point)
    return [Contract("seam", producer, text, seam.consumers) for producer in seam.producers]


def _edge_contracts(bundle: Bundle) -> list[Contract]:
    """What the firmware feeds to the first nodes, and what it reads from the last ones."""
    contracts = []
    for task in bundle.tasks.values():
        first, last = bundle.nodes[task.path[0]], bundle.nodes[task.path[-1]]
        fed = ", ".join([_spec(first.input), *_normalized(bundle.input_normalization)])
        read = ", ".join([_spec(last.output), *_labelled(task.labels)])
        contracts += [Contract("input", first.name, fed), Contract("output", last.name, read)]
    return contracts


def _spec(spec: TensorSpec) -> str:
    return _described(spec.dtype, spec.shape, spec.scale, spec.zero_point)


def _described(dtype: str, shape: Sequence[int], scale: float, zero_point: int) -> str:
    # Nine digits tell any two float32 apart.
    sizes = "x".join(map(str, shape))
    return f"{dtype} {sizes}, scale {scale:.9g}, zero point {zero_point}"


def _normalized(normalization: InputNormalization) -> list[str]:
    """How a raw sample becomes the input; nothing where it is taken as it is."""
    if (normalization.scale, normalization.offset) == (1.0, 0.0):
        return []
    return [f"raw * {normalization.scale:.9g} + {normalization.offset:.9g}"]


def _labelled(labels: Sequence[str]) -> list[str]:
    """The classes in their order; many of them as a digest, which differs when they do."""
    if not labels:
        return []
    if len(labels) <= _MOST_LABELS:
        return [f"classes {', '.join(map(repr, labels))}"]
    digest = hashlib.sha256("\0".join(labels).encode("utf-8", "surrogatepass")).hexdigest()
    return [f"{len(labels)} classes of digest {digest[:12]}"]


def comparand_of_report(document: Mapping[str, Any], origin: str | Path) -> Comparand:
    """What is known from a baseline or a JSON report that `read_document` read.

    Raises:
        BaselineError: A key is missing or has another type.
    """
    checks = baseline_of(document, str(origin)).checks
    bundles = [
        _reported(entry, f"{origin}: bundles[{index}]")
        for index, entry in enumerate(value_of(document, "bundles", list, str(origin), []))
    ]
    return Comparand(str(origin), REPORT, tuple(bundles), checks)


def _reported(value: Any, place: str) -> BundleFacts:
    entry = table(value, place)
    nodes, tasks = {}, {}
    for index, node in enumerate(value_of(entry, "nodes", list, place)):
        at = f"{place}.nodes[{index}]"
        node = table(node, at)
        nodes[name_of(node, "name", at)] = _reported_node(node, at)
    for index, task in enumerate(value_of(entry, "tasks", list, place, [])):
        at = f"{place}.tasks[{index}]"
        task = table(task, at)
        tasks[name_of(task, "name", at)] = _reported_task(task, at)
    return BundleFacts(name_of(entry, "name", place), nodes, tasks)


def _reported_node(node: Mapping[str, Any], place: str) -> NodeFacts:
    listed = value_of(node, "operators", list, place, [])
    operators = [
        name_of({"operators": name}, "operators", f"{place}.operators[{index}]")
        for index, name in enumerate(listed)
    ]
    return NodeFacts(
        count_of(node, "bytes", place),
        name_of(node, "sha256", place),
        count_of(node, "macs", place),
        tuple(operators),
        # A report names no precision where all nodes are int8.
        name_of({"precision": "int8", **node}, "precision", place),
    )


def _reported_task(task: Mapping[str, Any], place: str) -> TaskFacts:
    names = value_of(task, "path", list, place, [])
    path = tuple(
        name_of({"path": name}, "path", f"{place}.path[{index}]")
        for index, name in enumerate(names)
    )
    if task.get("score") is None:
        return TaskFacts(path)
    at = f"{place}.score"
    score = table(task["score"], at)
    return TaskFacts(
        path,
        name_of(score, "metric", at),
        share_of(score, "float", at),
        share_of(score, "int8", at),
    )
