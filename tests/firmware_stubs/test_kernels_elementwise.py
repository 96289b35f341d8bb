"""ADD, SUB, MUL, MAXIMUM, MINIMUM and PRELU against TensorFlow Lite Micro."""

from dataclasses import asdict, dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.codegen.parameters import (
    ACTIVATIONS,
    activation_range,
    add_parameters,
    mul_factor,
    prelu_parameters,
    sub_parameters,
)

moderate = settings(max_examples=60, deadline=None, derandomize=True, database=None)
zero_points = st.sampled_from([-128, 127, 0, 4, -60])
scales = st.floats(2.0**-9, 4.0, width=32)
seeds = st.integers(0, 2**32 - 1)


@dataclass
class Pair:
    """Shapes and quantization of two inputs; a 1 in `repeated` repeats that axis of an input."""

    shape: tuple[int, int, int, int]
    repeated_a: tuple[bool, ...]
    repeated_b: tuple[bool, ...]
    scale_a: float
    scale_b: float
    scale_output: float
    zero_point_a: int
    zero_point_b: int
    zero_point_output: int
    activation: str
    seed: int

    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        a, b = (
            (
                1,
                *(
                    1 if is_repeated else size
                    for size, is_repeated in zip(self.shape[1:], of, strict=True)
                ),
            )
            for of in (self.repeated_a, self.repeated_b)
        )
        return a, b, tuple(max(sizes) for sizes in zip(a, b, strict=True))

    def broadcast(self) -> dict | None:
        a, b, output = self.shapes()
        if a == b:
            return None
        return {"size": list(output), "stride_a": strides(a), "stride_b": strides(b)}

    def codes(self) -> tuple[np.ndarray, np.ndarray]:
        random = np.random.default_rng(self.seed)
        a, b, _ = self.shapes()
        return tuple(random.integers(-128, 128, shape).astype(np.int8) for shape in (a, b))


def strides(shape: tuple[int, ...]) -> list[int]:
    """Elements from index to index of each axis, 0 where an axis is repeated."""
    steps = np.cumprod((1, *shape[:0:-1]))[::-1]
    return [0 if size == 1 else int(step) for size, step in zip(shape, steps, strict=True)]


repeats = st.sampled_from(
    [(False,) * 3] * 4
    + [
        (True,) * 3,
        (False, False, True),
        (True, True, False),
        (True, False, True),
        (False, True, False),
    ]
)
pairs = st.builds(
    Pair,
    shape=st.tuples(st.just(1), st.integers(1, 5), st.integers(1, 5), st.integers(1, 9)),
    repeated_a=repeats,
    repeated_b=repeats,
    scale_a=scales,
    scale_b=scales,
    scale_output=scales,
    zero_point_a=zero_points,
    zero_point_b=zero_points,
    zero_point_output=zero_points,
    activation=st.sampled_from(sorted(ACTIVATIONS)),
    seed=seeds,
)


def on_tflm(network, pair, kind, options) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    a, b = pair.codes()
    *_, output_shape = pair.shapes()
    inputs = [
        network.tensor(a.shape, "INT8", pair.scale_a, pair.zero_point_a),
        network.tensor(b.shape, "INT8", pair.scale_b, pair.zero_point_b, b),
    ]
    output = network.tensor(output_shape, "INT8", pair.scale_output, pair.zero_point_output)
    return a, b, network.run(kind, inputs, output, options, a, 2)


def shared_fields(pair) -> dict:
    lowest, highest = activation_range(pair.activation, pair.scale_output, pair.zero_point_output)
    return {
        "broadcast": pair.broadcast(),
        "count": int(np.prod(pair.shapes()[2])),
        "zero_point_a": pair.zero_point_a,
        "zero_point_b": pair.zero_point_b,
        "output_zero_point": pair.zero_point_output,
        "lowest": lowest,
        "highest": highest,
    }


@pytest.mark.parametrize(
    ("kind", "function", "parameters"),
    [("Add", "kt_add", add_parameters), ("Sub", "kt_sub", sub_parameters)],
)
@moderate
@given(pair=pairs)
def test_add_and_sub(kernels, new_network, kind, function, parameters, pair):
    network = new_network()
    options = network.options(kind, fusedActivationFunction=network.activation(pair.activation))
    a, b, expected = on_tflm(network, pair, kind.upper(), options)
    factors = parameters(pair.scale_a, pair.scale_b, pair.scale_output)
    fields = {**shared_fields(pair), **asdict(factors)}
    received = kernels.run(function, "kt_add_t", fields, a, b, shape=expected.shape)
    np.testing.assert_array_equal(received, expected)


@moderate
@given(pair=pairs)
def test_mul(kernels, new_network, pair):
    network = new_network()
    options = network.options("Mul", fusedActivationFunction=network.activation(pair.activation))
    a, b, expected = on_tflm(network, pair, "MUL", options)
    multiplier, shift = mul_factor(pair.scale_a, pair.scale_b, pair.scale_output)
    fields = {**shared_fields(pair), "multiplier": multiplier, "shift": shift}
    received = kernels.run("kt_mul", "kt_mul_t", fields, a, b, shape=expected.shape)
    np.testing.assert_array_equal(received, expected)


@pytest.mark.parametrize("kind", ["MAXIMUM", "MINIMUM"])
@moderate
@given(pair=pairs)
def test_maximum_and_minimum(kernels, new_network, kind, pair):
    pair.scale_b = pair.scale_output = pair.scale_a
    pair.zero_point_b = pair.zero_point_output = pair.zero_point_a
    network = new_network()
    options = network.options("MaximumMinimum")
    a, b, expected = on_tflm(network, pair, kind, options)
    fields = {name: shared_fields(pair)[name] for name in ("broadcast", "count")}
    received = kernels.run(f"kt_{kind.lower()}", "kt_maximum_t", fields, a, b, shape=expected.shape)
    np.testing.assert_array_equal(received, expected)


def test_every_pair_of_codes(kernels, new_network):
    """ADD, SUB and MUL of 256 x 256 codes, with ties on each of the roundings."""
    codes = np.arange(-128, 128)
    pair = Pair(
        (1, 1, 256, 256),
        (False, False, True),
        (False, True, False),
        0.5,
        0.25,
        1.0,
        3,
        -7,
        1,
        "NONE",
        0,
    )
    a = codes.reshape(1, 1, 256, 1).astype(np.int8)
    b = codes.reshape(1, 1, 1, 256).astype(np.int8)
    pair.codes = lambda: (a, b)
    for kind, structure in (("Add", "kt_add_t"), ("Sub", "kt_add_t"), ("Mul", "kt_mul_t")):
        network = new_network()
        *_, expected = on_tflm(network, pair, kind.upper(), network.options(kind))
        scales = (pair.scale_a, pair.scale_b, pair.scale_output)
        if kind == "Mul":
            factor = mul_factor(*scales)._asdict()
        else:
            factor = asdict({"Add": add_parameters, "Sub": sub_parameters}[kind](*scales))
        received = kernels.run(
            f"kt_{kind.lower()}",
            structure,
            {**shared_fields(pair), **factor},
            a,
            b,
            shape=expected.shape,
        )
        np.testing.assert_array_equal(received, expected)


@moderate
@given(
    shape=st.tuples(st.just(1), st.integers(1, 5), st.integers(1, 5), st.integers(1, 7)),
    shared_axes=st.sampled_from([0, 2, 3]),
    quantization=st.tuples(scales, scales, scales, zero_points, zero_points, zero_points),
    seed=seeds,
)
def test_prelu(kernels, new_network, shape, shared_axes, quantization, seed):
    scale, slope_scale, output_scale, zero_point, slope_zero_point, output_zero_point = quantization
    random = np.random.default_rng(seed)
    codes = random.integers(-128, 128, shape).astype(np.int8)
    slope_shape = (1,) * shared_axes + shape[1 + shared_axes :] if shared_axes else shape[1:]
    slopes = random.integers(-128, 128, slope_shape).astype(np.int8)
    network = new_network()
    inputs = [
        network.tensor(shape, "INT8", scale, zero_point),
        network.tensor(slope_shape, "INT8", slope_scale, slope_zero_point, slopes),
    ]
    output = network.tensor(shape, "INT8", output_scale, output_zero_point)
    expected = network.run("PRELU", inputs, output, None, codes)
    fields = {
        "slope": ("array", "int8_t", slopes.ravel().tolist()),
        "outer": codes.size // slopes.size,
        "inner": slopes.size,
        "input_zero_point": zero_point,
        "slope_zero_point": slope_zero_point,
        "output_zero_point": output_zero_point,
        **asdict(prelu_parameters(scale, slope_scale, output_scale)),
    }
    received = kernels.run("kt_prelu", "kt_prelu_t", fields, codes, shape=shape)
    np.testing.assert_array_equal(received, expected)
