"""Operators of two inputs that are, together with what stands before them, functions of one code.

A constant of one value leaves ADD, SUB, MUL, MAXIMUM and MINIMUM one input; and x * LOGISTIC(x) has
two that are functions of the same code. Each becomes one table, in the kernels' own arithmetic.

Belongs here: whether an operator is such a function, and its codes. Does not belong here: kernels
of two inputs (`elementwise.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from deploy.codegen.fixed_point import multiply_by_quantized_multiplier as scaled
from deploy.codegen.lowering.builder import CODES, CodeFunction, NodeBuilder
from deploy.codegen.lowering.op import Op
from deploy.codegen.parameters import PreluParameters
from deploy.codegen.program import Operand

__all__ = ["composed", "element_codes", "prelu_codes"]

_LEFT_SHIFT = 20  # of ADD's and SUB's inputs
# A table takes 256 bytes; for fewer codes a kernel of two inputs is as good.
_FEWEST_CODES = 128

_Codes = np.ndarray
_Combine = Callable[[_Codes, _Codes], _Codes]


def composed(op: Op, build: NodeBuilder, combine: _Combine) -> CodeFunction | None:
    """The operator as a function of one code.

    Args:
        op: An operator of two inputs.
        build: The node.
        combine: Its codes, int8 (256,), from those of both inputs.

    Returns:
        The function, or None where the inputs depend on several codes, or are too few.
    """
    count = math.prod(op.output().shape)
    if count < _FEWEST_CODES:
        return None
    base: Operand | None = None
    names: tuple[str, ...] = ()
    sides: list[_Codes] = []
    for position in (0, 1):
        tensor = op.input(position)
        if tensor.data is not None:
            codes = np.unique(op.constant(position, "codes"))
            if codes.size != 1 or codes.dtype != np.int8:
                return None
            sides.append(np.repeat(codes, CODES.size))
            continue
        if math.prod(tensor.shape) != count:
            return None
        function = build.function(op, tensor)
        if base is not None and base != function.base:
            return None
        base = function.base
        names += tuple(name for name in function.names if name not in names)
        sides.append(function.table)
    if base is None:
        return None
    return CodeFunction(base, combine(*sides), (*names, op.operator.name))


def element_codes(name: str, fields: Mapping[str, int], a: _Codes, b: _Codes) -> _Codes:
    """ADD, SUB, MUL, MAXIMUM or MINIMUM of codes, as the kernels compute them.

    Args:
        name: The operator.
        fields: Of its parameter structure.
        a: int8 codes.
        b: The same.
    """
    if name in ("MAXIMUM", "MINIMUM"):
        return np.maximum(a, b) if name == "MAXIMUM" else np.minimum(a, b)
    x, y = (
        codes.astype(np.int64) - fields[f"zero_point_{side}"]
        for codes, side in ((a, "a"), (b, "b"))
    )
    if name == "MUL":
        values = scaled(x * y, fields["multiplier"], fields["shift"])
    else:
        x, y = (
            scaled(one << _LEFT_SHIFT, fields[f"multiplier_{side}"], fields[f"shift_{side}"])
            for one, side in ((x, "a"), (y, "b"))
        )
        total = x + y if name == "ADD" else x - y
        values = scaled(total, fields["multiplier_output"], fields["shift_output"])
    codes = np.clip(values + fields["output_zero_point"], fields["lowest"], fields["highest"])
    return codes.astype(np.int8)


def prelu_codes(
    parameters: PreluParameters, slope: int, input_zero_point: int, output_zero_point: int
) -> _Codes:
    """PRELU with one slope for all, less its zero point: int8 (256,)."""
    values = CODES.astype(np.int64) - input_zero_point
    above = scaled(values, parameters.multiplier_positive, parameters.shift_positive)
    below = scaled(values * slope, parameters.multiplier_negative, parameters.shift_negative)
    codes = np.where(values >= 0, above, below) + output_zero_point
    return np.clip(codes, -128, 127).astype(np.int8)
