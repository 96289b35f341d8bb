"""Functions of one code: RELU and its family, LOGISTIC, TANH, HARD_SWISH, int8 QUANTIZE.

What a table says is looked at: one that maps every code to itself costs nothing, one that only cuts
off costs no table.

Belongs here: which function, and the cheapest way to write it. Does not belong here: the tables'
arithmetic (`tables.py`).
"""

from __future__ import annotations

import math

import numpy as np

from deploy.codegen import tables
from deploy.codegen.lowering.builder import NodeBuilder, Op
from deploy.codegen.program import Argument

__all__ = ["lookup"]

_CODES = np.concatenate([np.arange(128), np.arange(-128, 0)])
_OUTPUTS = {"LOGISTIC": (1 / 256, -128), "TANH": (1 / 128, 0)}


def lookup(op: Op, build: NodeBuilder) -> None:
    """Any operator that is a function of one code."""
    source, target = op.input(), op.output()
    table = _table(op)
    before = build.read(op, source)
    if np.array_equal(table, _CODES):
        build.alias(target, before)
        return
    after = build.define(target)
    count = math.prod(target.shape)
    lowest, highest = int(table.min()), int(table.max())
    arguments: list[Argument] = [count, before, after]
    if np.array_equal(table, np.clip(_CODES, lowest, highest)):
        call = ("kt_clamp", [lowest, highest, *arguments])
    else:
        call = ("kt_lookup", [build.array(op, "table", table), *arguments])
    build.step(op, [call], [after], in_place=(before,))


def _table(op: Op) -> np.ndarray:
    """int8 (256,) in the order of unsigned bytes."""
    source, target, name = op.input(), op.output(), op.operator.name
    if name in ("RELU6", "RELU_N1_TO_1"):
        clamp = tables.clamp_range(name, op.scale(source), op.zero_point(source))
        return np.clip(_CODES, *clamp).astype(np.int8)
    ends = (op.scale(source), op.zero_point(source))
    if name in _OUTPUTS:
        if (op.scale(target), op.zero_point(target)) != _OUTPUTS[name]:
            op.fail(f"an output of scale and zero point {_OUTPUTS[name]} is expected")
        make = tables.logistic_table if name == "LOGISTIC" else tables.tanh_table
        return make(*ends)
    both = (*ends, op.scale(target), op.zero_point(target))
    if name == "LEAKY_RELU":
        return tables.leaky_relu_table(*both, op.option("alpha", 0.0))
    simple = {
        "RELU": tables.relu_table,
        "HARD_SWISH": tables.hard_swish_table,
        "QUANTIZE": tables.quantize_table,
    }
    return simple[name](*both)
