"""Instructions that a node executes, by cost models of counted operators.

The models are sums of a cost per quantity (`latency_work.py`), fitted to instructions that were
counted on emulated cores; the table `latency_table.json` holds them and docs/latency.md says how
well they meet the counts. Instructions are not cycles: those are in `latency.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from deploy.footprint.cores import check_kernels
from deploy.footprint.latency_work import MAC_KINDS, operator_work
from quantize.bundle import Node
from quantize.flatbuffer import Graph, Operator, read_graph

_TABLE = Path(__file__).with_name("latency_table.json")

# Cores on which the same instructions run as on the counted one. Counts of whole models are the
# same within 1 % on Cortex-M3, M7 and M33 as on the M4 (benchmarks/latency_model.py); the others
# have the instruction set of a core before them.
_BUILDS = {
    "reference": {
        "m0plus-ref": ("cortex-m0plus", "cortex-m0", "cortex-m1"),
        "m4-ref": ("cortex-m4", "cortex-m3", "cortex-m7", "cortex-m33", "cortex-m35p"),
    },
    "cmsis-nn": {
        "m4-cmsis": ("cortex-m4", "cortex-m7", "cortex-m33", "cortex-m35p"),
        "m55-cmsis": ("cortex-m55", "cortex-m52", "cortex-m85"),
    },
}
# Operators that run another subgraph: how often, only the run shows.
_CONTROL_FLOW = ("CALL", "CALL_ONCE", "IF", "WHILE")
# Outputs that other kernels compute than those that were counted.
_UNCOUNTED_TYPES = ("FLOAT16", "FLOAT32", "FLOAT64", "INT16")


@dataclass(frozen=True)
class OperatorCost:
    """What one operator takes.

    Args:
        name: The operator.
        kind: The counted operator that stands for it; itself for most.
        macs: Its multiply-accumulates.
        instructions: Instructions of one call.
        is_counted: Whether instructions of this very operator were counted.
    """

    name: str
    kind: str
    macs: int
    instructions: float
    is_counted: bool


def instructions(nodes: Mapping[str, Node], core: str, kernels: str) -> int | None:
    """Return the instructions of one run through `nodes`, kernels compiled with -Os.

    Args:
        nodes: The nodes by name.
        core: A core that a board may name.
        kernels: "reference", "cmsis-nn" or "cmsis-nn-int8".

    Returns:
        The estimate; None where nothing was counted for the core and the kernels, or a node is not
        int8.

    Raises:
        CoreError: The kernel set is unknown, or not made for the core.
        FlatbufferError: A node is no sound `.tflite` file.
    """
    build = counted_build(core, kernels)
    costs = None if build is None else node_costs(nodes, build)
    if costs is None:
        return None
    return round(sum(cost.instructions for node in costs.values() for cost in node))


def counted_build(core: str, kernels: str) -> str | None:
    """Return the build whose counted instructions stand for a core and a kernel set, or None."""
    check_kernels(kernels, core)
    builds = _BUILDS[kernels.removesuffix("-int8")]
    return next((build for build, cores in builds.items() if core in cores), None)


def node_costs(nodes: Mapping[str, Node], build: str) -> dict[str, tuple[OperatorCost, ...]] | None:
    """Return by node what each operator takes; None where a node is not int8."""
    costs = {}
    for name, node in nodes.items():
        found = _costs(node.data, build)
        if found is None:
            return None
        costs[name] = found
    return costs


def operator_cost(operator: Operator, graph: Graph, build: str) -> OperatorCost:
    """Return what one operator takes in a counted build."""
    work = operator_work(operator, graph)
    model = latency_table()["instructions"][build][work.kind]
    amount = sum(cost * work.quantities.get(quantity, 0) for quantity, cost in model.items())
    is_counted = work.is_counted and not _sums_decoded_weights(operator, graph, build)
    return OperatorCost(work.name, work.kind, work.macs, max(0.0, amount), is_counted)


@lru_cache(maxsize=1)
def latency_table() -> dict[str, Any]:
    """Return the table of cost models and of what the published rows give."""
    table: dict[str, Any] = json.loads(_TABLE.read_text(encoding="utf-8"))
    return table


@lru_cache(maxsize=1024)
def _costs(data: bytes, build: str) -> tuple[OperatorCost, ...] | None:
    graph = _graph(data)
    if not _is_int8(graph):
        return None
    return tuple(operator_cost(operator, graph, build) for operator in graph.operators)


@lru_cache(maxsize=64)
def _graph(data: bytes) -> Graph:
    return read_graph(data)


def _sums_decoded_weights(operator: Operator, graph: Graph, build: str) -> bool:
    """Whether a dense layer sums its weights in every run: the vector unit's, of no constants."""
    if operator.name != "FULLY_CONNECTED" or build != "m55-cmsis" or len(operator.inputs) < 2:
        return False
    return operator.inputs[1] >= 0 and graph.tensors[operator.inputs[1]].data is None


def _is_int8(graph: Graph) -> bool:
    """Whether the kernels that were counted run it: int8 activations, int8 weights and no loops."""
    for operator in graph.operators:
        types = [
            graph.tensors[i].dtype for i in (*operator.inputs[:2], *operator.outputs) if i >= 0
        ]
        is_wide = any(graph.tensors[i].dtype in _UNCOUNTED_TYPES for i in operator.outputs)
        if operator.name in _CONTROL_FLOW or (is_wide and operator.name != "DEQUANTIZE"):
            return False
        if operator.name in MAC_KINDS and any(dtype != "INT8" for dtype in types):
            return False
    return True
