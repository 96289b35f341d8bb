"""Pooling, MEAN, SUM, REDUCE_MAX and SOFTMAX against TensorFlow Lite Micro."""

from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.codegen.parameters import (
    ACTIVATIONS,
    activation_range,
    mean_parameters,
    padding_before,
    softmax_parameters,
)

moderate = settings(max_examples=60, deadline=None, derandomize=True, database=None)
zero_points = st.sampled_from([-128, 127, 0, 4, -60])
scales = st.floats(2.0**-9, 2.0, width=32)
seeds = st.integers(0, 2**32 - 1)
side = st.integers(1, 8)
window = st.integers(1, 4)


@pytest.mark.parametrize("kind", ["AVERAGE_POOL_2D", "MAX_POOL_2D"])
@moderate
@given(
    size=st.tuples(side, side, st.integers(1, 5)),
    kernel=st.tuples(window, window),
    stride=st.tuples(window, window),
    is_same=st.booleans(),
    activation=st.sampled_from(sorted(ACTIVATIONS)),
    scale=scales,
    zero_point=zero_points,
    seed=seeds,
)
def test_pooling(
    kernels, new_network, kind, size, kernel, stride, is_same, activation, scale, zero_point, seed
):
    kernel = kernel if is_same else tuple(map(min, kernel, size))
    out = [
        -(-(length if is_same else length - taps + 1) // step)
        for length, taps, step in zip(size, kernel, stride, strict=False)
    ]
    network = new_network()
    source = network.tensor((1, *size), "INT8", scale, zero_point)
    output = network.tensor((1, *out, size[2]), "INT8", scale, zero_point)
    options = network.options(
        "Pool2D",
        padding=0 if is_same else 1,
        strideH=stride[0],
        strideW=stride[1],
        filterHeight=kernel[0],
        filterWidth=kernel[1],
        fusedActivationFunction=network.activation(activation),
    )
    codes = np.random.default_rng(seed).integers(-128, 128, (1, *size)).astype(np.int8)
    expected = network.run(kind, [source], output, options, codes, 2)
    pads = [padding_before(is_same, size[i], out[i], kernel[i], stride[i]) for i in (0, 1)]
    lowest, highest = activation_range(activation, scale, zero_point)
    names = "in_h in_w channels out_h out_w kernel_h kernel_w stride_h stride_w pad_top pad_left"
    values = (*size, *out, *kernel, *stride, *pads)
    fields = dict(zip(names.split(), values, strict=True)) | {"lowest": lowest, "highest": highest}
    function = {"AVERAGE_POOL_2D": "kt_average_pool2d", "MAX_POOL_2D": "kt_max_pool2d"}[kind]
    received = kernels.run(function, "kt_pool2d_t", fields, codes, shape=expected.shape)
    np.testing.assert_array_equal(received, expected)


def sizes_around(shape, axes) -> dict[str, int]:
    """Neighbouring axes as (outer, reduced, inner)."""
    outer, reduced, inner = shape[: axes[0]], shape[axes[0] : axes[-1] + 1], shape[axes[-1] + 1 :]
    return {
        name: int(np.prod(part))
        for name, part in (("outer", outer), ("reduced", reduced), ("inner", inner))
    }


def reduction(network, kind, shape, axes, quantization, codes):
    scale, zero_point, output_scale, output_zero_point = quantization
    kept = tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    source = network.tensor(shape, "INT8", scale, zero_point)
    axis = network.tensor((len(axes),), "INT32", data=np.array(axes, np.int32))
    output = network.tensor(kept, "INT8", output_scale, output_zero_point)
    options = network.options("Reducer", keepDims=True)
    return network.run(kind, [source, axis], output, options, codes, 2)


shapes = st.tuples(st.just(1), st.integers(1, 9), st.integers(1, 9), st.integers(1, 6))
neighbours = st.sampled_from([(1, 2), (1, 2), (1,), (2,), (3,), (2, 3), (1, 2, 3)])


@pytest.mark.parametrize("kind", ["MEAN", "SUM"])
@moderate
@given(
    shape=shapes,
    axes=neighbours,
    quantization=st.tuples(scales, zero_points, scales, zero_points),
    is_kept=st.booleans(),
    seed=seeds,
)
def test_mean_and_sum(kernels, new_network, kind, shape, axes, quantization, is_kept, seed):
    if is_kept:
        quantization = quantization[:2] * 2
    codes = np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)
    expected = reduction(new_network(), kind, shape, axes, quantization, codes)
    scale, zero_point, output_scale, output_zero_point = quantization
    sizes = sizes_around(shape, axes)
    arithmetic = mean_parameters(scale, output_scale, zero_point, sizes["reduced"], kind == "SUM")
    fields = {**sizes, **asdict(arithmetic), "output_zero_point": output_zero_point}
    received = kernels.run("kt_mean", "kt_reduce_t", fields, codes, shape=expected.shape)
    np.testing.assert_array_equal(received, expected)


@moderate
@given(shape=shapes, axes=neighbours, scale=scales, zero_point=zero_points, seed=seeds)
def test_reduce_max(kernels, new_network, shape, axes, scale, zero_point, seed):
    codes = np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)
    quantization = (scale, zero_point) * 2
    expected = reduction(new_network(), "REDUCE_MAX", shape, axes, quantization, codes)
    fields = {
        **sizes_around(shape, axes),
        "bias": 0,
        "multiplier": 0,
        "shift": 0,
        "output_zero_point": 0,
    }
    received = kernels.run("kt_reduce_max", "kt_reduce_t", fields, codes, shape=expected.shape)
    np.testing.assert_array_equal(received, expected)


@moderate
@given(
    rows=st.integers(1, 3),
    columns=st.integers(1, 60),
    scale=st.floats(2.0**-20, 64.0, width=32),
    beta=st.sampled_from([1.0, 0.5, 3.0]),
    spread=st.sampled_from([1, 4, 20, 128]),
    seed=seeds,
)
def test_softmax(kernels, new_network, rows, columns, scale, beta, spread, seed):
    codes = (
        np.random.default_rng(seed).integers(-spread, spread, (1, rows, columns)).astype(np.int8)
    )
    assert_softmax(kernels, new_network(), codes, scale, beta)


def assert_softmax(kernels, network, codes, scale, beta):
    source = network.tensor(codes.shape, "INT8", scale, 5)
    output = network.tensor(codes.shape, "INT8", 1 / 256, -128)
    options = network.options("Softmax", beta=beta)
    expected = network.run("SOFTMAX", [source], output, options, codes, 2)
    fields = {"rows": codes.shape[1], "columns": codes.shape[2]}
    fields |= asdict(softmax_parameters(scale, beta))
    received = kernels.run("kt_softmax", "kt_softmax_t", fields, codes, shape=expected.shape)
    np.testing.assert_array_equal(received, expected)


@pytest.mark.parametrize("scale", [0.05, 0.1, 0.19, 0.33, 1.0])
def test_softmax_of_every_difference(kernels, new_network, scale):
    """Rows of two: 127 beside each code, so that each exponential and each reciprocal is seen."""
    codes = np.stack([np.full(256, 127), np.arange(-128, 128)], 1).astype(np.int8)
    assert_softmax(kernels, new_network(), codes[np.newaxis], scale, 1.0)


@pytest.mark.parametrize("columns", [512, 1024, 4000, 4096, 8191])
def test_softmax_of_many_equal_inputs(kernels, columns):
    """From 512 on TFLM ends the process (its exponent passes 31); the kernel goes on, to zeros."""
    fields = {"rows": 1, "columns": columns, **asdict(softmax_parameters(0.1))}
    codes = np.full(columns, 7, np.int8)
    received = kernels.run("kt_softmax", "kt_softmax_t", fields, codes, shape=(columns,))
    assert set(received.tolist()) == {-128}
