"""The 256-byte tables, over all codes, and the clamp, against TensorFlow Lite Micro."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.codegen.tables import (
    clamp_range,
    hard_swish_table,
    leaky_relu_table,
    logistic_table,
    quantize_table,
    relu_table,
    tanh_table,
)

moderate = settings(max_examples=80, deadline=None, derandomize=True, database=None)
scales = st.one_of(
    st.floats(2.0**-12, 4.0, width=32), st.sampled_from([2.0**-n for n in range(-1, 12)])
)
zero_points = st.sampled_from([-128, 127, 0, 4, -60, 90])
CODES = np.arange(-128, 128).astype(np.int8).reshape(1, 256)


def on_tflm(network, kind, options, source, target) -> np.ndarray:
    """The operator's output for every code, at one pair of quantizations."""
    source = network.tensor((1, 256), "INT8", *source)
    target = network.tensor((1, 256), "INT8", *target)
    return network.run(kind, [source], target, options, CODES, 2)


def assert_table(kernels, table, expected):
    """`kt_lookup` with the table gives what TFLM gives."""
    arguments = [
        ("in", table.tobytes(), 0),
        ("int", "uint32_t", 256),
        ("in", CODES.tobytes(), 0),
        ("out", bytes(256), 0),
    ]
    np.testing.assert_array_equal(kernels.call("kt_lookup", arguments), expected.ravel())


@moderate
@given(scale=scales, zero_point=zero_points)
def test_logistic(kernels, new_network, scale, zero_point):
    expected = on_tflm(new_network(), "LOGISTIC", None, (scale, zero_point), (1 / 256, -128))
    assert_table(kernels, logistic_table(scale, zero_point), expected)


@moderate
@given(scale=scales, zero_point=zero_points)
def test_tanh(kernels, new_network, scale, zero_point):
    expected = on_tflm(new_network(), "TANH", None, (scale, zero_point), (1 / 128, 0))
    assert_table(kernels, tanh_table(scale, zero_point), expected)


@moderate
@given(
    scale=scales, zero_point=zero_points, ratio=st.floats(0.0625, 8), output_zero_point=zero_points
)
def test_hard_swish(kernels, new_network, scale, zero_point, ratio, output_zero_point):
    quantizations = (scale, zero_point), (np.float32(scale * ratio), output_zero_point)
    expected = on_tflm(
        new_network(), "HARD_SWISH", new_network().options("HardSwish"), *quantizations
    )
    assert_table(kernels, hard_swish_table(*quantizations[0], *quantizations[1]), expected)


@moderate
@given(
    source=st.tuples(scales, zero_points),
    target=st.tuples(scales, zero_points),
    alpha=st.sampled_from([0.1, 0.3, 0.01, 1.5, 0.0, -0.2]),
)
def test_leaky_relu(kernels, new_network, source, target, alpha):
    network = new_network()
    options = network.options("LeakyRelu", alpha=alpha)
    expected = on_tflm(network, "LEAKY_RELU", options, source, target)
    assert_table(kernels, leaky_relu_table(*source, *target, alpha), expected)


@moderate
@given(source=st.tuples(scales, zero_points), target=st.tuples(scales, zero_points))
def test_relu_and_quantize(kernels, new_network, source, target):
    for kind, table in (("RELU", relu_table), ("QUANTIZE", quantize_table)):
        expected = on_tflm(new_network(), kind, None, source, target)
        assert_table(kernels, table(*source, *target), expected)


@moderate
@given(kind=st.sampled_from(["RELU", "RELU6"]), scale=scales, zero_point=zero_points)
def test_clamp(kernels, new_network, kind, scale, zero_point):
    expected = on_tflm(new_network(), kind, None, *[(scale, zero_point)] * 2)
    lowest, highest = clamp_range(kind, scale, zero_point)
    arguments = [
        ("int", "int8_t", lowest),
        ("int", "int8_t", highest),
        ("int", "uint32_t", 256),
        ("in", CODES.tobytes(), 0),
        ("out", bytes(256), 0),
    ]
    np.testing.assert_array_equal(kernels.call("kt_clamp", arguments), expected.ravel())


def test_hard_swish_that_tflm_refuses_is_refused():
    with pytest.raises(ValueError, match="refuses such a HARD_SWISH"):
        hard_swish_table(1.0, 0, 1 / 200, 0)
