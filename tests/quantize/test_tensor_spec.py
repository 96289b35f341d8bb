import numpy as np
import pytest

from quantize.flatbuffer import read_graph
from quantize.tensor_spec import TensorSpec

SPEC = TensorSpec((1, 4), "int8", 0.5, 10)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (0.0, 10),
        (0.25, 11),  # half away from zero, not to even
        (-0.25, 9),
        (0.75, 12),
        (0.2499, 10),
        (58.4, 127),
        (1e30, 127),
        (-1e30, -128),
        (np.inf, 127),
        (-np.inf, -128),
        (0.5 * 0.49999997, 10),  # adding 0.5 in float32 would round this up
    ],
)
def test_quantize_rounds_half_away_from_zero_and_saturates(value, code):
    codes = SPEC.quantize([value])
    assert codes.dtype == np.int8
    assert codes.tolist() == [code]


def test_every_code_survives_the_round_trip():
    for scale in (0.5, 0.0622, 1 / 256, 3.9e-3):
        spec = TensorSpec((1, 256), "int8", scale, -7)
        codes = np.arange(-128, 128).astype(np.int8)[None]
        assert spec.dequantize(codes).dtype == np.float32
        np.testing.assert_array_equal(spec.quantize(spec.dequantize(codes)), codes)


def test_scale_is_kept_as_float32():
    assert TensorSpec((1,), "int8", 0.1, 0).scale == float(np.float32(0.1))
    assert TensorSpec((1,), "int8", 0.1, 0) == TensorSpec((1,), "int8", float(np.float32(0.1)), 0)


def test_range_and_size():
    spec = TensorSpec((1, 2, 3), "int8", 0.5, -128)
    assert (spec.lowest_value, spec.highest_value, spec.element_count) == (0.0, 127.5, 6)


def test_from_tensor_reads_a_flatbuffer(trunk_bytes):
    graph = read_graph(trunk_bytes)
    spec = TensorSpec.from_tensor(graph.tensors[graph.inputs[0]])
    assert spec == TensorSpec((1, 8, 8, 1), "int8", 0.02, -5)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (((1,), "float32", 1.0, 0), "`dtype`"),
        (((), "int8", 1.0, 0), "`shape`"),
        (((1, 0), "int8", 1.0, 0), "`shape`"),
        (((1,), "int8", 0.0, 0), "`scale`"),
        (((1,), "int8", 1e-60, 0), "`scale`"),
        (((1,), "int8", np.nan, 0), "`scale`"),
        (((1,), "int8", 1.0, 128), "`zero_point`"),
        (((1,), "int8", 1.0, -129), "`zero_point`"),
    ],
)
def test_wrong_fields_are_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        TensorSpec(*fields)


def test_nan_and_float_codes_are_refused():
    with pytest.raises(ValueError, match="2 NaN of 3"):
        SPEC.quantize([np.nan, 1.0, np.nan])
    with pytest.raises(ValueError, match="float64"):
        SPEC.dequantize(np.zeros(3))


def test_a_tensor_with_a_scale_per_channel_is_refused(trunk_bytes):
    graph = read_graph(trunk_bytes)
    weights = graph.tensors[graph.operators[0].inputs[1]]
    with pytest.raises(ValueError, match=r"exactly one scale, received 8 on a INT8 tensor"):
        TensorSpec.from_tensor(weights)


def test_quantize_equals_tflm_bit_for_bit(writer):
    """TFLM's QUANTIZE operator on float32 input, at random values and at every rounding edge."""
    runtime = pytest.importorskip("tflite_micro").runtime
    spec = TensorSpec((1, 4096), "int8", 0.0372, -11)
    source = writer.tensor(spec.shape, "FLOAT32")
    target = writer.tensor(spec.shape, "INT8", spec.scale, spec.zero_point)
    writer.operator("QUANTIZE", [source], [target], writer.schema.QuantizeOptionsT())
    interpreter = runtime.Interpreter.from_bytes(
        writer.bytes([source], [target]), arena_size=1 << 20
    )
    random = np.random.default_rng(0)
    edges = (np.arange(-150, 150) + 0.5) * np.float32(spec.scale)
    values = np.concatenate(
        [np.nextafter(edges, -9), edges, np.nextafter(edges, 9), random.normal(0, 3, 4096 - 900)]
    ).astype(np.float32)[None]
    interpreter.set_input(values, 0)
    interpreter.invoke()
    np.testing.assert_array_equal(spec.quantize(values), interpreter.get_output(0))
