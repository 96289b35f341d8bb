"""PAD, CONCATENATION, SPLIT, TRANSPOSE, STRIDED_SLICE and RESIZE against TensorFlow Lite Micro."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.codegen.resize import resize_bilinear_axis, resize_nearest_indices

moderate = settings(max_examples=50, deadline=None, derandomize=True, database=None)
seeds = st.integers(0, 2**32 - 1)
side = st.integers(1, 6)
shapes = st.tuples(st.just(1), side, side, st.integers(1, 7))
SCALE, ZERO_POINT = 0.1, -17


def codes_of(shape, seed) -> np.ndarray:
    return np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)


def steps(shape) -> list[int]:
    """Elements from index to index of each axis."""
    return [int(step) for step in np.cumprod((1, *shape[:0:-1]))[::-1]]


def copied(kernels, size, source, source_steps, start, target, target_steps, offset=0):
    """What `kt_copy` makes of `target`."""
    fields = {"size": list(size), "input_stride": source_steps, "output_stride": target_steps}
    arguments = [
        ("struct", "kt_copy_t", fields),
        ("in", source.tobytes(), start),
        ("out", target.tobytes(), offset),
    ]
    return kernels.call("kt_copy", arguments).reshape(target.shape)


@moderate
@given(
    shape=shapes,
    pads=st.tuples(*[st.tuples(st.integers(0, 3), st.integers(0, 3))] * 3),
    constant=st.sampled_from([None, 55]),
    seed=seeds,
)
def test_pad(kernels, new_network, shape, pads, constant, seed):
    codes, pads = codes_of(shape, seed), ((0, 0), *pads)
    network = new_network()
    source = network.tensor(shape, "INT8", SCALE, ZERO_POINT)
    inputs = [source, network.tensor((4, 2), "INT32", data=np.array(pads, np.int32))]
    name = "PAD"
    if constant is not None:
        name = "PADV2"
        inputs.append(
            network.tensor((1,), "INT8", SCALE, ZERO_POINT, np.array([constant], np.int8))
        )
    padded = tuple(size + sum(pad) for size, pad in zip(shape, pads, strict=True))
    output = network.tensor(padded, "INT8", SCALE, ZERO_POINT)
    expected = network.run(name, inputs, output, None, codes, 2)
    code = ZERO_POINT if constant is None else constant
    count = int(np.prod(padded))
    filled = kernels.call(
        "kt_fill", [("int", "int8_t", code), ("int", "uint32_t", count), ("out", bytes(count), 0)]
    )
    start = sum(pad[0] * step for pad, step in zip(pads, steps(padded), strict=True))
    received = copied(
        kernels, shape, codes, steps(shape), 0, filled.reshape(padded), steps(padded), start
    )
    np.testing.assert_array_equal(received, expected)


@moderate
@given(shape=shapes, other=side, axis=st.sampled_from([1, 2, 3]), seed=seeds)
def test_concatenation(kernels, new_network, shape, other, axis, seed):
    second_shape = tuple(other if i == axis else size for i, size in enumerate(shape))
    whole = tuple(size + other if i == axis else size for i, size in enumerate(shape))
    first, second = codes_of(shape, seed), codes_of(second_shape, seed + 1)
    network = new_network()
    inputs = [
        network.tensor(shape, "INT8", SCALE, ZERO_POINT),
        network.tensor(second_shape, "INT8", SCALE, ZERO_POINT, second),
    ]
    output = network.tensor(whole, "INT8", SCALE, ZERO_POINT)
    options = network.options("Concatenation", axis=axis)
    expected = network.run("CONCATENATION", inputs, output, options, first)
    target, offset = np.zeros(whole, np.int8), 0
    for part in (first, second):
        target = copied(
            kernels, part.shape, part, steps(part.shape), 0, target, steps(whole), offset
        )
        offset += part.shape[axis] * steps(whole)[axis]
    np.testing.assert_array_equal(target, expected[0][np.newaxis])


@moderate
@given(shape=shapes, parts=st.integers(1, 3), axis=st.sampled_from([1, 2, 3]), seed=seeds)
def test_split(kernels, new_network, shape, parts, axis, seed):
    whole = tuple(size * parts if i == axis else size for i, size in enumerate(shape))
    codes = codes_of(whole, seed)
    for number in range(parts):
        network = new_network()
        place = network.tensor((), "INT32", data=np.array(axis, np.int32))
        source = network.tensor(whole, "INT8", SCALE, ZERO_POINT)
        outputs = [network.tensor(shape, "INT8", SCALE, ZERO_POINT) for _ in range(parts)]
        options = network.options("Split", numSplits=parts)
        expected = network.run(
            "SPLIT", [place, source], outputs[number], options, codes, outputs=outputs
        )
        start = number * shape[axis] * steps(whole)[axis]
        received = copied(
            kernels, shape, codes, steps(whole), start, np.zeros(shape, np.int8), steps(shape)
        )
        np.testing.assert_array_equal(received, expected)


@moderate
@given(shape=shapes, order=st.permutations([1, 2, 3]), seed=seeds)
def test_transpose(kernels, new_network, shape, order, seed):
    order = [0, *order]
    turned = tuple(shape[axis] for axis in order)
    codes = codes_of(shape, seed)
    network = new_network()
    source = network.tensor(shape, "INT8", SCALE, ZERO_POINT)
    axes = network.tensor((4,), "INT32", data=np.array(order, np.int32))
    output = network.tensor(turned, "INT8", SCALE, ZERO_POINT)
    expected = network.run("TRANSPOSE", [source, axes], output, None, codes, 2)
    source_steps = [steps(shape)[axis] for axis in order]
    received = copied(
        kernels, turned, codes, source_steps, 0, np.zeros(turned, np.int8), steps(turned)
    )
    np.testing.assert_array_equal(received, expected)


@st.composite
def slices(draw):
    """A shape, and begin, end and stride of each axis, backwards too."""
    shape = draw(shapes)
    begin, end, stride = [0], [1], [1]
    for size in shape[1:]:
        step = draw(st.sampled_from([1, 1, 2, 3, -1, -2]))
        first, last = draw(st.integers(0, size - 1)), draw(st.integers(0, size - 1))
        first, last = (min(first, last), max(first, last) + 1) if step > 0 else (
            max(first, last), min(first, last) - 1,
        )  # fmt: skip
        begin.append(first)
        end.append(last if last >= 0 else -size - 1)
        stride.append(step)
    return shape, begin, end, stride


@moderate
@given(case=slices(), seed=seeds)
def test_strided_slice(kernels, new_network, case, seed):
    shape, *bounds = case
    begin, end, stride = bounds
    codes = codes_of(shape, seed)
    wanted = codes[tuple(map(slice, begin, [e if e >= 0 else None for e in end], stride))]
    network = new_network()
    source = network.tensor(shape, "INT8", SCALE, ZERO_POINT)
    lists = [network.tensor((4,), "INT32", data=np.array(of, np.int32)) for of in bounds]
    output = network.tensor(wanted.shape, "INT8", SCALE, ZERO_POINT)
    options = network.options("StridedSlice")
    expected = network.run("STRIDED_SLICE", [source, *lists], output, options, codes)
    of_input = steps(shape)
    start = sum(first * step for first, step in zip(begin, of_input, strict=True))
    source_steps = [step * jump for step, jump in zip(of_input, stride, strict=True)]
    received = copied(
        kernels, wanted.shape, codes, source_steps, start,
        np.zeros(wanted.shape, np.int8), steps(wanted.shape),
    )  # fmt: skip
    np.testing.assert_array_equal(received, expected)


def resized(network, kind, codes, size, align_corners, half_pixel_centers):
    source = network.tensor(codes.shape, "INT8", SCALE, ZERO_POINT)
    wanted = network.tensor((2,), "INT32", data=np.array(size, np.int32))
    output = network.tensor((1, *size, codes.shape[3]), "INT8", SCALE, ZERO_POINT)
    option = "ResizeBilinear" if kind == "RESIZE_BILINEAR" else "ResizeNearestNeighbor"
    options = network.options(
        option, alignCorners=align_corners, halfPixelCenters=half_pixel_centers
    )
    return network.run(kind, [source, wanted], output, options, codes, 3)


length = st.integers(1, 24)
grids = st.sampled_from([(False, False), (True, False), (False, True)])


@moderate
@given(shape=shapes, size=st.tuples(length, length), grid=grids, seed=seeds)
def test_resize_bilinear(kernels, new_network, shape, size, grid, seed):
    codes = codes_of(shape, seed)
    expected = resized(new_network(), "RESIZE_BILINEAR", codes, size, *grid)
    vertical, horizontal = (resize_bilinear_axis(shape[1 + i], size[i], *grid) for i in (0, 1))
    fields = {
        "scale_h": vertical.scale,
        "scale_w": horizontal.scale,
        "offset_h": vertical.offset,
        "offset_w": horizontal.offset,
        "in_h": shape[1],
        "in_w": shape[2],
        "channels": shape[3],
        "out_h": size[0],
        "out_w": size[1],
    }
    received = kernels.run(
        "kt_resize_bilinear", "kt_resize_bilinear_t", fields, codes, shape=expected.shape
    )
    np.testing.assert_array_equal(received, expected)


def test_resize_bilinear_beyond_the_input_is_refused():
    """1024 / 70 is rounded up to 15, and 69 x 15 lies behind an input of one element."""
    with pytest.raises(ValueError, match="run past the input"):
        resize_bilinear_axis(1, 70, False, False)


@moderate
@given(shape=shapes, size=st.tuples(length, length), grid=grids, seed=seeds)
def test_resize_nearest(kernels, new_network, shape, size, grid, seed):
    codes = codes_of(shape, seed)
    expected = resized(new_network(), "RESIZE_NEAREST_NEIGHBOR", codes, size, *grid)
    rows, columns = (resize_nearest_indices(shape[1 + i], size[i], *grid).tolist() for i in (0, 1))
    fields = {
        "row": ("array", "uint16_t", rows),
        "column": ("array", "uint16_t", columns),
        "in_w": shape[2],
        "channels": shape[3],
        "out_h": size[0],
        "out_w": size[1],
    }
    received = kernels.run(
        "kt_resize_nearest", "kt_resize_nearest_t", fields, codes, shape=expected.shape
    )
    np.testing.assert_array_equal(received, expected)


@pytest.mark.parametrize("grid", [(False, False), (True, False), (False, True)])
def test_nearest_indices_of_many_sizes(new_network, grid):
    """The column that each output takes, read off a row of distinct codes."""
    for in_size, out_size in ((7, 200), (100, 33), (3, 128), (96, 144), (250, 249), (1, 9)):
        codes = (np.arange(in_size) - 125).astype(np.int8).reshape(1, 1, in_size, 1)
        taken = resized(new_network(), "RESIZE_NEAREST_NEIGHBOR", codes, (1, out_size), *grid)
        indices = resize_nearest_indices(in_size, out_size, *grid)
        np.testing.assert_array_equal(taken.ravel().astype(int) + 125, indices)
