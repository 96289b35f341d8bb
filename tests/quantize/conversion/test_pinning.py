"""Edits of one flatbuffer: ranges before the quantizer, exact bits and operators after it."""

import numpy as np
import pytest

from quantize.conversion.pinning import (
    calibrated_range,
    copying_node,
    ends_are_tied,
    impose,
    node_specs,
    pin,
    requantize,
    share_ranges,
    spec_of_range,
    tied_tensors,
)
from quantize.flatbuffer import pack, read_graph, unpack
from quantize.interpreter import open_interpreter, run_path
from quantize.strip import strip
from quantize.tensor_spec import TensorSpec

SHAPE = (1, 4, 4, 2)


def spec(scale=0.5, zero_point=-3, shape=SHAPE):
    return TensorSpec(shape, "int8", scale, zero_point)


def calibrated_with(writer, chain, ranges):
    """A float flatbuffer of one-input operators; `ranges` are those of its tensors in order."""
    tensors = []
    for low, high in ranges:
        index = writer.tensor(SHAPE, "FLOAT32")
        quantization = writer.graph.tensors[index].quantization
        quantization.min, quantization.max = [low], [high]
        tensors.append(index)
    for name, source, target in zip(chain, tensors[:-1], tensors[1:], strict=True):
        writer.operator(name, [source], [target])
    return writer.bytes(tensors[:1], tensors[-1:])


def all_ranges(calibrated):
    tensors = unpack(calibrated).subgraphs[0].tensors
    return [(float(t.quantization.min[0]), float(t.quantization.max[0])) for t in tensors]


@pytest.mark.parametrize(
    ("low", "high", "scale", "zero_point"),
    [
        (0.0, 2.55, 0.01, -128),
        (-2.55, 0.0, 0.01, 127),
        (0.5, 2.55, 0.01, -128),  # 0 must be among the codes
        (-2.55, -1.0, 0.01, 127),
        (-1.28, 1.27, 0.01, 0),
        (-1.0, 3.0, 4 / 255, -64),
    ],
)
def test_spec_spans_the_range_and_zero(low, high, scale, zero_point):
    found = spec_of_range(low, high, SHAPE)
    assert found == spec(scale, zero_point)
    assert found.lowest_value <= low + scale / 2
    assert found.highest_value >= high - scale / 2


def test_a_pin_reaches_as_far_as_same_scale_operators(writer):
    chain = ("MAX_POOL_2D", "RESHAPE", "CONV_2D", "RESHAPE")
    calibrated = calibrated_with(writer, chain, [(-1, 1), (-1, 1), (-1, 1), (-4, 9), (-4, 9)])
    wanted = spec(0.02, 10)
    pinned = all_ranges(pin(calibrated, "input", wanted))
    bounds = pytest.approx((-138 * 0.02, 117 * 0.02))
    assert pinned == [bounds, bounds, bounds, (-4, 9), (-4, 9)]
    outputs = all_ranges(pin(calibrated, "output", spec(0.1, -50)))
    assert outputs[:3] == [(-1, 1)] * 3
    assert outputs[3] == outputs[4] == pytest.approx((-7.8, 17.7))


def test_a_pin_that_would_clip_is_none(writer):
    calibrated = calibrated_with(writer, ("MAX_POOL_2D",), [(-1.0, 1.0), (-1.0, 3.0)])
    reaching = 2.5  # codes of scale 0.02 and zero point 2 reach from -2.6 to 2.5
    assert pin(calibrated, "input", spec(0.02, 2)) is None
    assert pin(calibrated, "input", spec(0.02, 2), (3.0 - reaching) / 0.02 - 0.1) is None
    assert pin(calibrated, "input", spec(0.02, 2), (3.0 - reaching) / 0.02 + 0.1) is not None
    assert pin(calibrated, "input", spec(0.025, 2)) is not None


def test_half_a_step_beyond_the_pin_is_rounding(writer):
    calibrated = calibrated_with(writer, ("MAX_POOL_2D",), [(-1.0, 1.0), (-1.0, 1.005)])
    assert pin(calibrated, "input", spec_of_range(-1.0, 1.0, SHAPE)) is not None
    assert pin(calibrated, "input", spec_of_range(-1.0, 0.99, SHAPE)) is None


def test_ends_are_tied_only_by_same_scale_operators_alone(new_writer):
    ranges = [(-1, 1)] * 3
    assert ends_are_tied(calibrated_with(new_writer(), ("RESHAPE", "PAD"), ranges))
    assert not ends_are_tied(calibrated_with(new_writer(), ("RESHAPE", "CONV_2D"), ranges))


def test_tied_tensors_share_the_union_of_their_ranges(writer):
    chain = ("MAX_POOL_2D", "RELU6", "CONV_2D")
    calibrated = calibrated_with(writer, chain, [(-1, 1), (-2, 0.5), (0, 6), (-4, 9)])
    model = unpack(calibrated)
    share_ranges(model)
    assert all_ranges(pack(model)) == [(-2, 6)] * 3 + [(-4, 9)]
    assert calibrated_range(pack(model), "input") == (-2, 6)


def test_indices_and_weights_are_not_tied(trunk_bytes, branch_bytes):
    assert tied_tensors(unpack(trunk_bytes), 0) == {0}
    model = unpack(branch_bytes)
    names = {model.subgraphs[0].tensors[i].name for i in tied_tensors(model, 0)}
    assert names == {b"model/layer_0/value", b"model/layer_2/value"}  # not layer_1, the shape


def test_impose_changes_only_the_last_bits(branch_bytes):
    found = node_specs(branch_bytes)[0]
    wanted = spec(float(np.nextafter(np.float32(found.scale), np.float32(1))), -128, found.shape)
    assert wanted != found
    changed = impose(branch_bytes, "input", wanted)
    assert node_specs(changed)[0] == wanted
    graph = read_graph(changed)
    assert {graph.tensors[index].quantization.scales for index in (0, 2)} == {(wanted.scale,)}
    open_interpreter(strip(changed))  # TFLM refuses a RESHAPE between different scales

    assert impose(branch_bytes, "input", found) is branch_bytes


@pytest.mark.parametrize(
    ("scale", "zero_point", "shape"),
    [(0.0501, -128, (1, 4, 4, 8)), (0.05, -127, (1, 4, 4, 8)), (0.05, -128, (1, 4, 8, 4))],
)
def test_impose_refuses_what_is_not_rounding(branch_bytes, scale, zero_point, shape):
    assert impose(branch_bytes, "input", spec(scale, zero_point, shape)) is None


@pytest.mark.parametrize("side", ["input", "output"])
def test_requantize_puts_one_operator_at_an_end(trunk_bytes, side):
    before = node_specs(trunk_bytes)
    shape = before[side == "output"].shape
    wanted = spec(0.031, 17, shape)
    changed = requantize(trunk_bytes, side, wanted)
    assert node_specs(changed)[side == "output"] == wanted
    assert node_specs(changed)[side == "input"] == before[side == "input"]
    graph = read_graph(changed)
    names = [operator.name for operator in graph.operators]
    assert names.count("QUANTIZE") == 1
    assert names[0 if side == "input" else -1] == "QUANTIZE"


@pytest.mark.parametrize("side", ["input", "output"])
def test_requantized_codes_are_those_of_a_node_of_its_own(trunk_bytes, side):
    source, target = node_specs(trunk_bytes)
    inner = source if side == "input" else target
    outer = spec(inner.scale * 1.7, 9, inner.shape)
    shape = (20, *source.shape[1:])
    codes = np.random.default_rng(0).integers(-128, 128, shape, np.int8)
    changed = run_path([requantize(trunk_bytes, side, outer)], codes)
    ends = (outer, inner) if side == "input" else (inner, outer)
    apart = [trunk_bytes]
    apart.insert(0 if side == "input" else 1, copying_node(*ends))
    np.testing.assert_array_equal(changed, run_path(apart, codes))


@pytest.mark.parametrize("backend", ["tflm", "litert"])
def test_a_copying_node_copies_or_requantizes(backend):
    if backend == "tflm":
        pytest.importorskip("tflite_micro")
    codes = np.arange(-128, 128, dtype=np.int8).reshape(8, 4, 4, 2)
    same = copying_node(spec(), spec())
    assert read_graph(same).operator_names == {"RESHAPE"}
    np.testing.assert_array_equal(run_path([same], codes, backend), codes)
    other = copying_node(spec(0.5, 0), spec(1.0, 0))
    assert read_graph(other).operator_names == {"QUANTIZE"}
    halves = run_path([other], codes, backend).astype(int)
    assert np.abs(halves - codes / 2).max() <= 0.5
