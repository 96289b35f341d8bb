"""Fit cost models of operators to the instructions that were counted on emulated cores.

The counts are in `benchmarks/measured_instructions.json`; docs/latency.md says how they were made.
What the published timings make of them is in `benchmarks/latency_fit.py`.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from deploy.footprint.latency_work import MAC_KINDS, Work, operator_work
from quantize.flatbuffer import Graph, Operator, Quantization, Tensor

COUNTS = json.loads(
    Path(__file__).with_name("measured_instructions.json").read_text(encoding="utf-8")
)

# What the instructions of each operator grow with.
_ALL = {
    "FULLY_CONNECTED": ("macs", "outputs", "calls"),
    "AVERAGE_POOL_2D": ("window_outputs", "outputs"),
    "MEAN": ("inputs",),
    "RESHAPE": ("outputs", "calls"),
    "SOFTMAX": ("outputs", "calls"),
}
_QUANTITIES: dict[str, dict[str, tuple[str, ...]]] = {
    "ref": {
        **_ALL,
        "CONV_2D": ("applied_macs", "outputs", "window_outputs"),
        "DEPTHWISE_CONV_2D": ("applied_macs", "outputs"),
        "ADD": ("outputs",),
    },
    "m4-cmsis": {
        **_ALL,
        "CONV_2D": ("macs", "outputs", "gathered", "window_copies", "leftover_macs"),
        "DEPTHWISE_CONV_2D": ("applied_macs_3x3", "macs_not_3x3", "outputs"),
        "ADD": ("outputs", "calls"),
    },
    "m55-cmsis": {
        **_ALL,
        "CONV_2D": ("vector_steps", "outputs", "window_copies", "calls"),
        "DEPTHWISE_CONV_2D": ("macs", "outputs", "window_positions", "calls"),
        "ADD": ("outputs", "calls"),
    },
}
_COMMON = {"calls", "inputs", "outputs", "macs"}
TABLED = ("m0plus-ref", "m4-ref", "m4-cmsis", "m55-cmsis")
"""Builds whose cost models the table holds, all -Os."""
DECODED_CORES = {"m0plus": "cortex-m0plus", "m4": "cortex-m4", "m55": "cortex-m55"}
"""By the beginning of a build's name, the core on which TFLM_DECODE was counted."""
STANDS_FOR = {"m4-ref": ("m3-ref", "m7-ref", "m33-ref"), "m4-cmsis": ("m7-cmsis", "m33-cmsis")}


@cache
def works(model: str) -> tuple[tuple[Work, tuple[int, ...]], ...]:
    """The operators of a model, each with its counted instructions by build."""
    rows = COUNTS["operators"]["vww" if model == "person_detect" else model]
    if model == "person_detect":
        # vww with one colour, which makes its first layer depthwise, and a 1x1 convolution at the
        # end. No instructions were counted for those two.
        first, last = rows[0], rows[29]
        first = ["DEPTHWISE_CONV_2D", [1, 96, 96, 1], first[2], [1, 3, 3, 8], *first[4:]]
        last = ["CONV_2D", [1, 1, 1, 256], [1, 1, 1, 2], [2, 1, 1, 256], [1, 1], "same", last[6]]
        rows = [first, *rows[1:29], last, rows[30]]
    return tuple((_work(*row[:6]), tuple(row[6])) for row in rows)


def _work(
    name: str,
    source: list[int],
    target: list[int],
    filters: list[int] | None,
    strides: list[int] | None,
    padding: str | None,
) -> Work:
    shapes = [source, filters, target] if filters and name in MAC_KINDS else [source, target]
    tensors = tuple(
        Tensor(i, "", tuple(shape), "INT8", None, None, False) for i, shape in enumerate(shapes)
    )
    height, width = strides or (1, 1)
    options = SimpleNamespace(strideH=height, strideW=width, padding=int(padding == "valid"))
    if name == "AVERAGE_POOL_2D" and filters:
        options.filterHeight, options.filterWidth = filters
    inputs = tuple(range(len(shapes) - 1))
    operator = Operator(0, name, inputs, (len(shapes) - 1,), options, 1)
    return operator_work(operator, Graph(tensors, (operator,), inputs[:1], operator.outputs, 1))


def nonnegative_least_squares(matrix: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The exact solution for a few unknowns: the best over which of them are zero."""
    best, least = np.zeros(matrix.shape[1]), float(target @ target)
    for count in range(1, matrix.shape[1] + 1):
        for columns in itertools.combinations(range(matrix.shape[1]), count):
            part = matrix[:, columns]
            found = np.linalg.lstsq(part, target, rcond=None)[0]
            rest = float(((part @ found - target) ** 2).sum())
            if found.min() >= 0 and rest < least - 1e-12:
                best, least = np.zeros(matrix.shape[1]), rest
                best[list(columns)] = found
    return best


@cache
def costs(build: str, without: str | None = None) -> dict[str, dict[str, float]]:
    """Cost by quantity of each operator; `without` leaves the operators of one model out."""
    index = COUNTS["builds"].index(build)
    family = "ref" if "ref" in build else build.removesuffix("-O2")
    found = {}
    for kind, names in _QUANTITIES[family].items():
        rows = [
            ([work.quantities.get(name, 0) for name in names], counts[index])
            for model in COUNTS["operators"]
            if model != without
            for work, counts in works(model)
            if work.kind == kind
        ]
        target = np.array([count for _, count in rows], float)
        matrix = np.array([row for row, _ in rows], float).reshape(-1, len(names))
        solved = nonnegative_least_squares(matrix / target[:, None], np.ones(len(rows)))
        found[kind] = {name: float(f"{c:.5g}") for name, c in zip(names, solved, strict=True)}
    return found


@cache
def decoded_works(build: str) -> tuple[tuple[Work, int], ...]:
    """Decoded tensors, each with the counted instructions of TFLM_DECODE; none at -O2."""
    core = DECODED_CORES[build.split("-")[0]]
    index = COUNTS["decoded_cores"].index(core)
    rows = COUNTS["decoded"] if not build.endswith("-O2") else []
    return tuple((_decode_work(*row[:4]), row[4][index]) for row in rows)


def _decode_work(bits: int, axis: int, channels: int, length: int) -> Work:
    shape = (channels, length) if axis == 0 else (1, 1, length, channels)
    quantization = Quantization((1.0,) * channels, (), axis)
    header = bytes(5) + bytes([bits])
    tensors = (
        Tensor(0, "", (1,), "UINT8", None, b"", False),
        Tensor(1, "", (len(header),), "UINT8", None, header, False),
        Tensor(2, "", shape, "INT8", quantization, None, False),
    )
    operator = Operator(0, "TFLM_DECODE", (0, 1), (2,), None, 1)
    return operator_work(operator, Graph(tensors, (operator,), (), (2,), 1))


@cache
def decode_costs(build: str) -> dict[str, float]:
    """Cost by quantity of TFLM_DECODE."""
    rows = decoded_works(build)
    names = sorted({name for work, _ in rows for name in work.quantities} - _COMMON)
    target = np.array([count for _, count in rows], float)
    matrix = np.array([[work.quantities.get(name, 0) for name in names] for work, _ in rows], float)
    solved = nonnegative_least_squares(matrix / target[:, None], np.ones(len(rows)))
    return {name: float(f"{c:.5g}") for name, c in zip(names, solved, strict=True)}


def operator_instructions(work: Work, build: str, without: str | None = None) -> float:
    model = costs(build, without)[work.kind]
    return sum(cost * work.quantities.get(name, 0) for name, cost in model.items())


@cache
def predicted(model: str, build: str, without: str | None = None) -> float:
    """Instructions of a whole model by the cost models."""
    return sum(operator_instructions(work, build, without) for work, _ in works(model))


@cache
def model_macs(model: str) -> dict[str, int]:
    found = dict.fromkeys(MAC_KINDS, 0)
    for work, _ in works(model):
        if work.kind in found:
            found[work.kind] += work.macs
    return found


@cache
def other_instructions(model: str, build: str) -> float:
    return sum(
        operator_instructions(work, build) for work, _ in works(model) if work.kind not in MAC_KINDS
    )


@cache
def instructions_per_mac(kind: str, build: str) -> float:
    """Over the four published models together."""
    chosen = [w for m in ("kws", "vww", "ic", "ad") for w, _ in works(m) if w.kind == kind]
    total = sum(operator_instructions(work, build) for work in chosen)
    return total / sum(work.macs for work in chosen)


def count_errors(build: str) -> dict[str, float]:
    """Counted over predicted instructions of whole models, in percent off.

    A model is predicted without its own operators, where the others have all that it has.
    """
    found = {}
    for model, counted in COUNTS["whole"][build].items():
        without = model if _is_seen_elsewhere(model, build) else None
        found[model] = 100 * (counted / predicted(model, build, without) - 1)
    return found


def _is_seen_elsewhere(model: str, build: str) -> bool:
    def used(names: Sequence[str]) -> set[tuple[str, str]]:
        return {
            (work.kind, quantity)
            for name in names
            for work, _ in works(name)
            for quantity, cost in costs(build)[work.kind].items()
            if cost and work.quantities.get(quantity, 0)
        }

    return used([model]) <= used([name for name in COUNTS["operators"] if name != model])


def rounded_costs() -> dict[str, dict[str, dict[str, float]]]:
    """The cost models of the table's builds, without the quantities that cost nothing."""
    return {
        build: {
            kind: {quantity: cost for quantity, cost in model.items() if cost}
            for kind, model in {**costs(build), "TFLM_DECODE": decode_costs(build)}.items()
        }
        for build in TABLED
    }
