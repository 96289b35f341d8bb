"""Multiply-accumulates against published figures and by hand."""

import pytest

from quantize.flatbuffer import FlatbufferError
from quantize.macs import macs


@pytest.mark.parametrize(
    ("model", "expected"),
    [  # counted by instrumented runs of TensorFlow Lite Micro on the MLPerf Tiny reference models
        ("mlperftiny__kws_ref_model", 2_656_768),
        ("mlperftiny__pretrainedResnet_quant", 12_501_632),
        ("mlperftiny__ad01_int8", 264_192),
    ],
)
def test_reference_models(shared, model, expected):
    assert macs((shared / "models" / f"{model}.tflite").read_bytes()) == expected


def test_by_hand(trunk_bytes, branch_bytes):
    # 8 filters of 3x3x1 at 8x8 places; 8 channels of 3x3 at 4x4 places; 128 inputs to 5 units.
    assert macs(trunk_bytes) == 8 * 8 * 8 * 9 + 4 * 4 * 8 * 9
    assert macs(branch_bytes) == 128 * 5


def test_grouped_convolution_counts_its_own_channels(writer):
    source = writer.tensor((1, 6, 6, 8), scale=0.1)
    weights = writer.tensor((4, 3, 3, 2), scale=0.1)  # 4 filters in 4 groups of 2 channels
    target = writer.tensor((1, 6, 6, 4), scale=0.1)
    writer.operator("CONV_2D", [source, weights], [target])
    assert macs(writer.bytes([source], [target])) == 6 * 6 * 4 * 3 * 3 * 2


def test_transposed_convolution_counts_every_tap_of_every_input(writer):
    shape = writer.tensor((4,), "INT32")
    weights = writer.tensor((5, 3, 3, 2), scale=0.1)
    source = writer.tensor((1, 4, 4, 2), scale=0.1)
    target = writer.tensor((1, 8, 8, 5), scale=0.1)
    writer.operator("TRANSPOSE_CONV", [shape, weights, source], [target])
    assert macs(writer.bytes([source], [target])) == 4 * 4 * 2 * 3 * 3 * 5


@pytest.mark.parametrize(("transposed", "shape"), [(False, (1, 6, 7)), (True, (1, 7, 6))])
def test_matrix_product_counts_the_inner_length(writer, transposed, shape):
    first = writer.tensor(shape, scale=0.1)
    second = writer.tensor((1, 7, 5), scale=0.1)
    target = writer.tensor((1, 6, 5), scale=0.1)
    options = writer.schema.BatchMatMulOptionsT()
    options.adjX = transposed
    writer.operator("BATCH_MATMUL", [first, second], [target], options)
    assert macs(writer.bytes([first], [target])) == 6 * 7 * 5


def test_pooling_is_not_counted(writer):
    source, target = (writer.tensor((1, side, side, 3), scale=0.1) for side in (4, 2))
    writer.operator("MAX_POOL_2D", [source], [target])
    assert macs(writer.bytes([source], [target])) == 0


def test_damaged_bytes_are_told(trunk_bytes):
    with pytest.raises(FlatbufferError):
        macs(trunk_bytes[:200])
