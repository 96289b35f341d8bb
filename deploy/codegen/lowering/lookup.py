"""Functions of one code: RELU and its family, LOGISTIC, TANH, HARD_SWISH, int8 QUANTIZE.

They are not computed where they stand but where their output is read, so that several in a row, or
a gate such as x * LOGISTIC(x), become one table (`composition.py`).

Belongs here: which table. Does not belong here: the tables' arithmetic (`tables.py`).
"""

from __future__ import annotations

import numpy as np

from deploy.codegen import tables
from deploy.codegen.lowering.builder import CODES, NodeBuilder
from deploy.codegen.lowering.op import Op

__all__ = ["lookup"]

_OUTPUTS = {"LOGISTIC": (1 / 256, -128), "TANH": (1 / 128, 0)}


def lookup(op: Op, build: NodeBuilder) -> None:
    """Any operator that is a function of one code."""
    function = build.function(op, op.input())
    build.define_function(op, op.output(), function.then(_table(op), op.operator.name))


def _table(op: Op) -> np.ndarray:
    """int8 (256,) in the order of unsigned bytes."""
    source, target, name = op.input(), op.output(), op.operator.name
    if name in ("RELU6", "RELU_N1_TO_1"):
        clamp = tables.clamp_range(name, op.scale(source), op.zero_point(source))
        return np.clip(CODES, *clamp).astype(np.int8)
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
