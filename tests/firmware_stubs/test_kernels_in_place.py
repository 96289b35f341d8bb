"""The kernels that may write over an input give the codes that they give elsewhere."""

from dataclasses import asdict

import numpy as np
import pytest

from deploy.codegen.parameters import add_parameters, prelu_parameters, softmax_parameters

CODES = np.arange(-128, 128).astype(np.int8)
SLOPES = ("array", "int8_t", [3, -7, 100, -128] * 4)
ZERO_POINTS = {"zero_point_a": 3, "zero_point_b": -4, "output_zero_point": 5}
RANGE = {"lowest": -100, "highest": 101}
IN_PLACE = [
    ("kt_add", "kt_add_t", {
        "broadcast": None, "count": 256, **asdict(add_parameters(0.1, 0.2, 0.3)),
        **ZERO_POINTS, **RANGE,
    }),
    ("kt_mul", "kt_mul_t", {
        "broadcast": None, "count": 256, "multiplier": 2**30, "shift": -3, **ZERO_POINTS, **RANGE,
    }),
    ("kt_maximum", "kt_maximum_t", {"broadcast": None, "count": 256}),
    ("kt_prelu", "kt_prelu_t", {
        "slope": SLOPES, "outer": 16, "inner": 16, **asdict(prelu_parameters(0.1, 0.01, 0.2)),
        "input_zero_point": 3, "slope_zero_point": 0, "output_zero_point": -5,
    }),
    ("kt_softmax", "kt_softmax_t", {"rows": 4, "columns": 64, **asdict(softmax_parameters(0.1))}),
]  # fmt: skip


@pytest.mark.parametrize(("function", "structure", "fields"), IN_PLACE)
def test_in_place(kernels, function, structure, fields):
    """The same codes where the output lies on the first, or on the second, input."""
    codes, other = CODES.tobytes(), CODES[::-1].tobytes()
    inputs = [("in", codes, 0)]
    if structure in ("kt_add_t", "kt_mul_t", "kt_maximum_t"):
        inputs.append(("in", other, 0))
    start = ("struct", structure, fields)
    apart = kernels.call(function, [start, *inputs, ("out", bytes(256), 0)])
    for place, (_, content, _) in enumerate(inputs):
        arguments = [start, *inputs, ("out", content, 0)]
        arguments[1 + place] = ("same",)
        np.testing.assert_array_equal(kernels.call(function, arguments), apart)


@pytest.mark.parametrize("function", ["kt_lookup", "kt_clamp"])
def test_in_place_of_one_code(kernels, function):
    codes = CODES.tobytes()
    parameters = [("in", CODES[::-1].tobytes(), 0)]
    if function == "kt_clamp":
        parameters = [("int", "int8_t", -5), ("int", "int8_t", 60)]
    parameters.append(("int", "uint32_t", 256))
    apart = kernels.call(function, [*parameters, ("in", codes, 0), ("out", bytes(256), 0)])
    same = kernels.call(function, [*parameters, ("same",), ("out", codes, 0)])
    np.testing.assert_array_equal(same, apart)
