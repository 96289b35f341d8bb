"""CONV_2D, DEPTHWISE_CONV_2D, TRANSPOSE_CONV and FULLY_CONNECTED against TensorFlow Lite Micro."""

from dataclasses import dataclass

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.codegen.parameters import (
    ACTIVATIONS,
    activation_range,
    convolution_factors,
    fold_bias,
    padding_before,
)

moderate = settings(max_examples=60, deadline=None, derandomize=True, database=None)
small = st.integers(1, 4)


@dataclass
class Layer:
    """What all four operators have, drawn once."""

    random: np.random.Generator
    in_zero_point: int
    out_zero_point: int
    activation: str
    per_channel: bool
    has_bias: bool
    exponent: int
    in_scale: float
    out_scale: float

    def weights(self, shape) -> np.ndarray:
        return self.random.integers(-128, 128, shape).astype(np.int8)

    def codes(self, shape) -> np.ndarray:
        return self.random.integers(-128, 128, (2, *shape)).astype(np.int8)

    def scales(self, out_c: int) -> np.ndarray:
        """Weight scales that make a factor of about 2^exponent, far apart where per channel."""
        real = 2.0**self.exponent * self.random.uniform(0.5, 2, out_c if self.per_channel else 1)
        if self.per_channel and out_c > 1:
            real[0] *= 2.0**-12
        return np.float32(real * self.out_scale / self.in_scale)

    def bias(self, out_c: int) -> np.ndarray | None:
        limit = int(min(2**31 - 1, 200 / 2.0**self.exponent))
        bias = self.random.integers(-limit, limit + 1, out_c).astype(np.int32)
        return bias if self.has_bias else None

    def output(self, factors) -> dict:
        """The fields that say how a sum becomes a code."""
        lowest, highest = activation_range(self.activation, self.out_scale, self.out_zero_point)
        return {
            "multiplier": ("array", "int32_t", [factor.multiplier for factor in factors]),
            "shift": ("array", "int8_t", [factor.shift for factor in factors]),
            "per_channel": int(len(factors) > 1),
            "output_zero_point": self.out_zero_point,
            "lowest": lowest,
            "highest": highest,
        }


layers = st.builds(
    Layer,
    random=st.integers(0, 2**32 - 1).map(np.random.default_rng),
    in_zero_point=st.sampled_from([-128, 127, 0, 3, -77]),
    out_zero_point=st.sampled_from([-128, 127, 0, 5, -90]),
    activation=st.sampled_from(sorted(ACTIVATIONS)),
    per_channel=st.booleans(),
    has_bias=st.booleans(),
    exponent=st.sampled_from([-9, -7, -8, -6, -12, -16, -25, 0, 2]),
    in_scale=st.sampled_from([0.02, 0.0039, 1.5]),
    out_scale=st.sampled_from([0.05, 0.11, 0.004]),
)


@dataclass
class Window:
    """A kernel's place along both axes; the output's size follows."""

    in_h: int
    in_w: int
    kernel_h: int
    kernel_w: int
    stride_h: int
    stride_w: int
    dilation_h: int
    dilation_w: int
    is_same: bool

    def _out(self, size: int, kernel: int, stride: int, dilation: int) -> int:
        taken = size if self.is_same else max(0, size - (kernel - 1) * dilation)
        return -(-taken // stride)

    @property
    def out_h(self) -> int:
        return self._out(self.in_h, self.kernel_h, self.stride_h, self.dilation_h)

    @property
    def out_w(self) -> int:
        return self._out(self.in_w, self.kernel_w, self.stride_w, self.dilation_w)

    def fields(self) -> dict:
        names = ("in_h", "in_w", "out_h", "out_w", "kernel_h", "kernel_w")
        names += ("stride_h", "stride_w", "dilation_h", "dilation_w")
        values = {name: getattr(self, name) for name in names}
        for side, axis in (("pad_top", "h"), ("pad_left", "w")):
            of = [values[f"{name}_{axis}"] for name in ("in", "out", "kernel", "stride")]
            values[side] = padding_before(self.is_same, *of, values[f"dilation_{axis}"])
        return values


sides = st.integers(1, 7)
windows = st.builds(
    Window, sides, sides, small, small, small, small,
    st.sampled_from([1, 1, 2, 3]), st.sampled_from([1, 1, 2, 3]), st.booleans(),
).filter(lambda window: window.out_h > 0 and window.out_w > 0)  # fmt: skip


def network_of(network, layer, window, kind, in_c, out_c, weights, axis, codes):
    """The operator on TFLM, and the weights' scales and bias that it was given."""
    scales, bias = layer.scales(out_c), layer.bias(out_c)
    source = network.tensor(
        (1, window.in_h, window.in_w, in_c), "INT8", layer.in_scale, layer.in_zero_point
    )
    inputs = [source, network.tensor(weights.shape, "INT8", scales, 0, weights, axis)]
    if bias is not None:
        inputs.append(network.tensor((out_c,), "INT32", scales * layer.in_scale, 0, bias))
    output = network.tensor(
        (1, window.out_h, window.out_w, out_c), "INT8", layer.out_scale, layer.out_zero_point
    )
    options = network.options(
        "Conv2D" if kind == "CONV_2D" else "DepthwiseConv2D",
        padding=0 if window.is_same else 1,
        strideH=window.stride_h,
        strideW=window.stride_w,
        dilationHFactor=window.dilation_h,
        dilationWFactor=window.dilation_w,
        fusedActivationFunction=network.activation(layer.activation),
    )
    if kind != "CONV_2D":
        options.depthMultiplier = out_c // in_c
    return network.run(kind, inputs, output, options, codes, 3), scales, bias


def convolution_fields(layer, window, in_c, out_c, groups, weights, scales, bias, axis) -> dict:
    folded = fold_bias(bias, weights, layer.in_zero_point, axis)
    factors = convolution_factors(layer.in_scale, scales, layer.out_scale)
    return {
        "weights": ("array", "int8_t", weights.ravel().tolist()),
        "bias": ("array", "int32_t", folded.tolist()),
        "in_c": in_c,
        "out_c": out_c,
        "groups": groups,
        "input_zero_point": layer.in_zero_point,
        **window.fields(),
        **layer.output(factors),
    }


def assert_convolution(kernels, network, layer, window, kind, function, sizes):
    in_c, out_c, groups = sizes
    shape = (out_c, window.kernel_h, window.kernel_w, in_c // groups)
    axis = 0
    if kind != "CONV_2D":
        shape, axis = (1, window.kernel_h, window.kernel_w, out_c), 3
    weights = layer.weights(shape)
    codes = layer.codes((window.in_h, window.in_w, in_c))
    expected, scales, bias = network_of(
        network, layer, window, kind, in_c, out_c, weights, axis, codes
    )
    fields = convolution_fields(layer, window, in_c, out_c, groups, weights, scales, bias, axis)
    for sample, wanted in zip(codes, expected, strict=True):
        received = kernels.run(
            function, "kt_conv2d_t", fields, sample, shape=wanted.shape, scratch=0
        )
        np.testing.assert_array_equal(received, wanted)


@moderate
@given(
    layer=layers,
    window=windows,
    depth=st.integers(1, 9),
    per_group=small,
    groups=st.sampled_from([1, 1, 1, 2, 3]),
)
def test_convolution(kernels, new_network, layer, window, depth, per_group, groups):
    sizes = (depth * groups, per_group * groups, groups)
    assert_convolution(kernels, new_network(), layer, window, "CONV_2D", "kt_conv2d", sizes)


@moderate
@given(layer=layers, in_h=sides, in_w=sides, in_c=st.integers(1, 17), out_c=st.integers(1, 7))
def test_pointwise_convolution(kernels, new_network, layer, in_h, in_w, in_c, out_c):
    window = Window(in_h, in_w, 1, 1, 1, 1, 1, 1, True)
    for function in ("kt_conv2d_1x1", "kt_conv2d"):
        random, layer.random = layer.random, np.random.default_rng(in_c)
        assert_convolution(
            kernels, new_network(), layer, window, "CONV_2D", function, (in_c, out_c, 1)
        )
        layer.random = random


@moderate
@given(
    layer=layers,
    window=windows,
    in_c=st.integers(1, 9),
    multiplier=st.sampled_from([1, 1, 1, 2, 3, 4, 8]),
)
def test_depthwise_convolution(kernels, new_network, layer, window, in_c, multiplier):
    assert_convolution(
        kernels, new_network(), layer, window, "DEPTHWISE_CONV_2D",
        "kt_depthwise_conv2d", (in_c, in_c * multiplier, multiplier),
    )  # fmt: skip


@moderate
@given(layer=layers, window=windows, in_c=st.integers(1, 6), out_c=small)
def test_transposed_convolution(kernels, new_network, layer, window, in_c, out_c):
    """The window's "input" is the output here, as in TFLM's padding."""
    window.dilation_h = window.dilation_w = 1
    layer.activation = "NONE"
    network, scales, bias = new_network(), layer.scales(out_c), layer.bias(out_c)
    in_h, in_w, out_h, out_w = window.out_h, window.out_w, window.in_h, window.in_w
    weights = layer.weights((out_c, window.kernel_h, window.kernel_w, in_c))
    size = network.tensor((4,), "INT32", data=np.array([1, out_h, out_w, out_c], np.int32))
    inputs = [size, network.tensor(weights.shape, "INT8", scales, 0, weights)]
    inputs.append(
        network.tensor((1, in_h, in_w, in_c), "INT8", layer.in_scale, layer.in_zero_point)
    )
    if bias is not None:
        inputs.append(network.tensor((out_c,), "INT32", scales * layer.in_scale, 0, bias))
    output = network.tensor((1, out_h, out_w, out_c), "INT8", layer.out_scale, layer.out_zero_point)
    options = network.options(
        "TransposeConv",
        padding=0 if window.is_same else 1,
        strideH=window.stride_h,
        strideW=window.stride_w,
    )
    codes = layer.codes((in_h, in_w, in_c))
    expected = network.run("TRANSPOSE_CONV", inputs, output, options, codes, 3)
    factors = convolution_factors(layer.in_scale, scales, layer.out_scale)
    fields = {
        "weights": ("array", "int8_t", weights.ravel().tolist()),
        "bias": ("array", "int32_t", [0] * out_c if bias is None else bias.tolist()),
        "in_c": in_c,
        "out_c": out_c,
        "groups": 1,
        "input_zero_point": layer.in_zero_point,
        **window.fields(),
        **layer.output(factors),
        **{"in_h": in_h, "in_w": in_w, "out_h": out_h, "out_w": out_w},
    }
    for sample, wanted in zip(codes, expected, strict=True):
        received = kernels.run(
            "kt_transpose_conv", "kt_conv2d_t", fields, sample, shape=wanted.shape, scratch=0
        )
        np.testing.assert_array_equal(received, wanted)


@moderate
@given(layer=layers, rows=small, in_c=st.integers(1, 40), out_c=st.integers(1, 7))
def test_fully_connected(kernels, new_network, layer, rows, in_c, out_c):
    network, scales, bias = new_network(), layer.scales(out_c), layer.bias(out_c)
    weights = layer.weights((out_c, in_c))
    source = network.tensor((1, rows, in_c), "INT8", layer.in_scale, layer.in_zero_point)
    inputs = [source, network.tensor(weights.shape, "INT8", scales, 0, weights)]
    if bias is not None:
        # TFLM compares the scales where there is one for all.
        inputs.append(
            network.tensor((out_c,), "INT32", scales * np.float32(layer.in_scale), 0, bias)
        )
    output = network.tensor((1, rows, out_c), "INT8", layer.out_scale, layer.out_zero_point)
    options = network.options(
        "FullyConnected", fusedActivationFunction=network.activation(layer.activation)
    )
    codes = layer.codes((rows, in_c))[:1]
    expected = network.run("FULLY_CONNECTED", inputs, output, options, codes, 4)
    fields = {
        "weights": ("array", "int8_t", weights.ravel().tolist()),
        "bias": ("array", "int32_t", fold_bias(bias, weights, layer.in_zero_point).tolist()),
        "rows": rows,
        "in_c": in_c,
        "out_c": out_c,
        **layer.output(convolution_factors(layer.in_scale, scales, layer.out_scale)),
    }
    received = kernels.run(
        "kt_fully_connected", "kt_fully_connected_t", fields, codes, shape=expected.shape, scratch=0
    )
    np.testing.assert_array_equal(received, expected)
