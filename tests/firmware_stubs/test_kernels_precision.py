"""Where float32 and double give different codes: scales that were searched for, one by one.

A factor that is off by one float32 rounding moves an output in one of about a million cases, which
random tests do not meet. In each case here the two precisions differ in at least one code.
"""

from dataclasses import asdict

import numpy as np
import pytest

from deploy.codegen.fixed_point import multiply_by_quantized_multiplier, quantize_multiplier
from deploy.codegen.parameters import (
    activation_range,
    add_parameters,
    convolution_factors,
    mul_factor,
    prelu_parameters,
    requantize_factor,
    sub_parameters,
)
from deploy.codegen.resize import resize_nearest_indices
from deploy.codegen.tables import hard_swish_table, leaky_relu_table, quantize_table, relu_table

CODES = np.arange(-128, 128).astype(np.int8)
BYTES = CODES.astype(np.uint8)  # where a table has a code's output

# kind, scales of input and output, and the table of TFLM's function between zero points 0.
TABLES = [
    ("QUANTIZE", 0.01026160828769207, 0.010641667991876602, quantize_table),
    ("QUANTIZE", 0.041005585342645645, 0.1578328162431717, quantize_table),
    ("RELU", 0.45988136529922485, 0.529929518699646, relu_table),
    ("RELU", 0.23564200103282928, 0.3603936433792114, relu_table),
    ("LEAKY_RELU", 0.005638837814331055, 0.013880216516554356, leaky_relu_table),
    ("LEAKY_RELU", 1.858139991760254, 0.6822424530982971, leaky_relu_table),
    ("LEAKY_RELU", 0.05221622809767723, 0.022234007716178894, leaky_relu_table),
    ("HARD_SWISH", 0.029324855655431747, 0.07930156588554382, hard_swish_table),
    ("HARD_SWISH", 0.5778217315673828, 2.288450002670288, hard_swish_table),
]


@pytest.mark.parametrize(("kind", "before", "after", "table"), TABLES)
def test_tables(new_network, kind, before, after, table):
    network = new_network()
    options = {
        "LEAKY_RELU": network.options("LeakyRelu", alpha=0.3),
        "HARD_SWISH": network.options("HardSwish"),
    }
    source = network.tensor((1, 256), "INT8", before, 0)
    target = network.tensor((1, 256), "INT8", after, 0)
    codes = CODES.reshape(1, 256)
    expected = network.run(kind, [source], target, options.get(kind), codes, 2)
    extra = (0.3,) if kind == "LEAKY_RELU" else ()
    made = table(before, 0, after, 0, *extra)
    np.testing.assert_array_equal(made[BYTES], expected.ravel())


@pytest.mark.parametrize(
    ("kind", "parameters", "scales"),
    [
        ("Add", add_parameters, (0.20905838906764984, 0.13728155195713043, 0.3986699879169464)),
        ("Add", add_parameters, (0.07125227153301239, 0.123180091381073, 0.23670026659965515)),
        ("Add", add_parameters, (0.5258658528327942, 0.12158601731061935, 0.31395813822746277)),
        ("Sub", sub_parameters, (0.3451671004295349, 0.25833219289779663, 0.17770515382289886)),
        ("Sub", sub_parameters, (0.964850902557373, 0.3254152834415436, 0.6182736158370972)),
        ("Sub", sub_parameters, (0.6206585764884949, 0.13952259719371796, 0.35519084334373474)),
    ],
)
def test_add_and_sub(kernels, new_network, kind, parameters, scales):
    network = new_network()
    a = network.tensor((1, 256, 1), "INT8", scales[0], 0)
    b = network.tensor((1, 1, 256), "INT8", scales[1], 0, CODES)
    output = network.tensor((1, 256, 256), "INT8", scales[2], 0)
    codes = CODES.reshape(1, 256, 1)
    expected = network.run(kind.upper(), [a, b], output, network.options(kind), codes, 2)
    fields = {
        "broadcast": {
            "size": [1, 1, 256, 256],
            "stride_a": [0, 0, 1, 0],
            "stride_b": [0, 0, 0, 1],
        },
        "count": 256 * 256,
        **dict.fromkeys(("zero_point_a", "zero_point_b", "output_zero_point"), 0),
        "lowest": -128,
        "highest": 127,
        **asdict(parameters(*scales)),
    }
    received = kernels.run(
        f"kt_{kind.lower()}", "kt_add_t", fields, CODES, CODES, shape=(1, 256, 256)
    )
    np.testing.assert_array_equal(received, expected)


def clipped(values, multiplier, shift) -> np.ndarray:
    return np.clip(multiply_by_quantized_multiplier(values, multiplier, shift), -128, 127)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (0.39446085691452026, 0.14597414433956146),
        (0.11583535373210907, 0.03912044316530228),
        (0.2293395847082138, 0.11587685346603394),
    ],
)
def test_mul(new_network, before, after):
    network = new_network()
    source = network.tensor((1, 256), "INT8", before, 0)
    one = network.tensor((1, 1), "INT8", 0.3, 0, np.array([1], np.int8))
    target = network.tensor((1, 256), "INT8", after, 0)
    options = network.options("Mul")
    expected = network.run("MUL", [source, one], target, options, CODES.reshape(1, 256), 2)
    made = clipped(CODES, *mul_factor(before, 0.3, after))
    np.testing.assert_array_equal(made, expected.ravel())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (0.02061796374619007, 0.03717993572354317),
        (0.13100683689117432, 0.8983325958251953),
        (0.07132664322853088, 0.04279598593711853),
        (0.14123685657978058, 0.11512136459350586),
    ],
)
def test_prelu(new_network, before, after):
    network = new_network()
    source = network.tensor((1, 256), "INT8", before, 0)
    slope = network.tensor((1,), "INT8", 0.3, 0, np.array([1], np.int8))
    target = network.tensor((1, 256), "INT8", after, 0)
    expected = network.run("PRELU", [source, slope], target, None, CODES.reshape(1, 256), 2)
    made = prelu_parameters(before, 0.3, after)
    positive = clipped(CODES, made.multiplier_positive, made.shift_positive)
    negative = clipped(CODES, made.multiplier_negative, made.shift_negative)
    np.testing.assert_array_equal(np.where(CODES < 0, negative, positive), expected.ravel())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (0.12262995541095734, 0.654026448726654),
        (0.37082526087760925, 0.5783513188362122),
    ],
)
def test_sum(new_network, before, after):
    network = new_network()
    source = network.tensor((1, 256, 1, 1), "INT8", before, 0)
    axis = network.tensor((1,), "INT32", data=np.array([2], np.int32))
    target = network.tensor((1, 256, 1, 1), "INT8", after, 0)
    options = network.options("Reducer", keepDims=True)
    codes = CODES.reshape(1, 256, 1, 1)
    expected = network.run("SUM", [source, axis], target, options, codes, 2)
    made = clipped(CODES, *requantize_factor(before, after))
    np.testing.assert_array_equal(made, expected.ravel())


DENSE = "FULLY_CONNECTED"


@pytest.mark.parametrize(
    ("kind", "scales", "bias"),
    [
        (DENSE, (0.09515310823917389, 3.5615271372080315e-06, 4.884866714477539), 1448636898),
        (DENSE, (1.451802372932434, 1.4694044239149662e-06, 7.193295478820801), 338879355),
        (DENSE, (0.6826998591423035, 1.6817541563796112e-06, 8.56935977935791), 750105060),
        ("CONV_2D", (1.574522852897644, 2.6047564460895956e-06, 8.470539093017578), 207568296),
    ],
)
def test_layers(new_network, kind, scales, bias):
    """One weight on an input of 0: the bias alone, next to the edge between two codes."""
    before, weight, after = scales
    network = new_network()
    shape = (1, 1) if kind == DENSE else (1, 1, 1, 1)
    inputs = [
        network.tensor(shape, "INT8", before, 0),
        network.tensor(shape, "INT8", weight, 0, np.ones(shape, np.int8)),
        network.tensor((1,), "INT32", np.float32(before) * np.float32(weight), 0, np.int32(bias)),
    ]
    output = network.tensor(shape, "INT8", after, 0)
    options = network.options("FullyConnected")
    if kind == "CONV_2D":
        steps = ("strideH", "strideW", "dilationHFactor", "dilationWFactor")
        options = network.options("Conv2D", **dict.fromkeys(steps, 1))
    expected = network.run(kind, inputs, output, options, np.zeros(shape, np.int8), 3)
    (factor,) = convolution_factors(before, np.array([weight]), after)
    assert clipped(bias, *factor) == expected.item()
    product = np.float32(before) * np.float32(weight)
    in_float32 = quantize_multiplier(float(product) / float(np.float32(after)))
    assert clipped(bias, *in_float32) != expected.item()


@pytest.mark.parametrize("scale", [2.4000000953674316, 1.3333333730697632, 0.9230769276618958])
def test_activation_range_is_in_float32(new_network, scale):
    """6 / scale lies below a half by less than float32 can say."""
    network = new_network()
    source = network.tensor((1, 1, 1, 1), "INT8", scale, -128)
    output = network.tensor((1, 1, 1, 1), "INT8", scale, -128)
    options = network.options(
        "Pool2D", strideH=1, strideW=1, filterHeight=1, filterWidth=1,
        fusedActivationFunction=network.activation("RELU6"),
    )  # fmt: skip
    largest = network.run(
        "MAX_POOL_2D", [source], output, options, np.full((1, 1, 1, 1), 127, np.int8), 2
    )
    assert activation_range("RELU6", scale, -128) == (-128, largest.item())


@pytest.mark.parametrize(
    ("in_size", "out_size", "grid"),
    [
        (62, 14, (False, False)),
        (230, 14, (False, False)),
        (32, 15, (True, False)),
        (118, 15, (True, False)),
        (62, 7, (False, True)),
        (230, 7, (False, True)),
    ],
)
def test_nearest_indices_are_in_float32(new_network, in_size, out_size, grid):
    network = new_network()
    source = network.tensor((1, 1, in_size, 1), "INT8", 0.1, 0)
    size = network.tensor((2,), "INT32", data=np.array([1, out_size], np.int32))
    output = network.tensor((1, 1, out_size, 1), "INT8", 0.1, 0)
    options = network.options(
        "ResizeNearestNeighbor", alignCorners=grid[0], halfPixelCenters=grid[1]
    )
    codes = (np.arange(in_size) - 125).astype(np.int8).reshape(1, 1, in_size, 1)
    taken = network.run("RESIZE_NEAREST_NEIGHBOR", [source, size], output, options, codes, 3)
    indices = resize_nearest_indices(in_size, out_size, *grid)
    np.testing.assert_array_equal(taken.ravel().astype(int) + 125, indices)
