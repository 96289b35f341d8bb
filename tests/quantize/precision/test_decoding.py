"""Lookup tables read from a flatbuffer: by hand, from the compressor, and from hostile bytes."""

from pathlib import Path

import numpy as np
import pytest

from quantize.flatbuffer import FlatbufferError, anatomy, read_graph
from quantize.interpreter import open_interpreter
from quantize.macs import macs
from quantize.merging import merge
from quantize.precision.decoding import DECODE, decoded, lookup_table
from quantize.strip import strip, widen

SHAPE = (2, 1, 1, 4)  # weights of a 1x1 convolution from 4 channels to 2
TABLES = np.array([[-5, 0, 7], [10, 20, 30]], np.int8)
INDICES = np.array([[0, 1, 2, 2], [2, 1, 0, 1]])
# Two bits each, the highest first: 00011010 and 10010001.
PACKED = bytes([0b00011010, 0b10010001])
HEADER = bytes([0, 1, 0, 0, 1, 0 << 4 | 2, 3]).ljust(16, b"\0")
ANCILLARY = HEADER + TABLES.tobytes()
WEIGHTS = np.array([[-5, 0, 7, 7], [30, 20, 10, 20]], np.int8).reshape(SHAPE)


def node(new_writer, packed=PACKED, ancillary=ANCILLARY, scales=(0.1, 0.2), axis=0, **changed):
    """A 1x1 convolution whose weights a TFLM_DECODE decodes, in the same order of tensors."""
    writer = new_writer()
    schema = writer.schema
    shape = changed.get("shape", SHAPE)
    source = writer.tensor((1, 2, 2, shape[3]), "INT8", 0.5, 3)
    # The compressor leaves the scales of the values on the indices.
    encoded = writer.tensor((len(packed),), "UINT8", scales, 0, np.frombuffer(packed, np.uint8))
    bias_scales = np.float32(0.5) * np.asarray(scales, np.float32)
    codes = np.arange(shape[0], dtype=np.int32) * 100
    bias = writer.tensor((shape[0],), "INT32", bias_scales, 0, codes)
    target = writer.tensor((1, 2, 2, shape[0]), "INT8", 0.4, -1)
    tables = writer.tensor((len(ancillary),), "UINT8", data=np.frombuffer(ancillary, np.uint8))
    weights = writer.tensor(shape, changed.get("dtype", "INT8"), scales, 0, axis=axis)
    writer.operator("CUSTOM", changed.get("inputs", [encoded, tables]), [weights])
    writer.model.operatorCodes[0].customCode = DECODE.encode()
    options = schema.Conv2DOptionsT()
    options.strideW = options.strideH = options.dilationWFactor = options.dilationHFactor = 1
    writer.operator("CONV_2D", [source, weights, bias], [target], options, 3)
    return writer.bytes([source], [target])


def plain_node(new_writer, weights=WEIGHTS):
    writer = new_writer()
    source = writer.tensor((1, 2, 2, 4), "INT8", 0.5, 3)
    filters = writer.tensor(SHAPE, "INT8", (0.1, 0.2), 0, weights)
    bias = writer.tensor((2,), "INT32", np.array([0.05, 0.1]), 0, np.array([0, 100], np.int32))
    target = writer.tensor((1, 2, 2, 2), "INT8", 0.4, -1)
    options = writer.schema.Conv2DOptionsT()
    options.strideW = options.strideH = options.dilationWFactor = options.dilationHFactor = 1
    writer.operator("CONV_2D", [source, filters, bias], [target], options, 3)
    return writer.bytes([source], [target])


def test_a_table_by_hand(new_writer):
    graph = read_graph(node(new_writer))
    table = lookup_table(graph, graph.operators[0])
    assert (table.bits, table.axis) == (2, 0)
    assert (table.encoded_bytes, table.ancillary_bytes) == (2, 22)
    assert np.array_equal(table.tables, TABLES)
    assert np.array_equal(table.indices, INDICES.reshape(SHAPE))
    assert np.array_equal(table.values(), WEIGHTS)


@pytest.mark.parametrize("level", ["none", "compatible", "deep"])
def test_decoded_is_the_node_as_it_was(new_writer, level):
    data = strip(node(new_writer), level)
    assert decoded(strip(data)) == strip(plain_node(new_writer))
    codes = np.random.default_rng(0).integers(-128, 128, (20, 2, 2, 4)).astype(np.int8)
    expected = open_interpreter(plain_node(new_writer)).run(codes)
    for backend in ("tflm", "litert"):
        assert np.array_equal(open_interpreter(data, backend).run(codes), expected)
    assert np.array_equal(open_interpreter(widen(data), "tflm").run(codes), expected)
    assert sum(anatomy(data).values()) == len(data)
    assert macs(data) == macs(plain_node(new_writer)) == 2 * 4 * 4


def test_a_plain_node_is_returned_as_it_is(trunk_bytes):
    assert decoded(trunk_bytes) is trunk_bytes


def test_compressed_nodes_are_merged_decoded(new_writer):
    merged = merge([node(new_writer)])
    assert DECODE not in read_graph(merged).operator_names
    codes = np.random.default_rng(1).integers(-128, 128, (9, 2, 2, 4)).astype(np.int8)
    assert np.array_equal(
        open_interpreter(merged).run(codes), open_interpreter(node(new_writer)).run(codes)
    )


def test_three_bits_over_bytes_and_one_table(new_writer):
    # 8 indices 0..7 of 3 bits: 000001010011100101110111.
    packed = (0b000001010011100101110111).to_bytes(3, "big")
    tables = np.array([9, -9, 8, -8, 7, -7, 6, -6], np.int8)
    header = bytes([0, 1, 0, 0, 1, 15 << 4 | 3, 8]).ljust(16, b"\0")
    data = node(new_writer, packed, header + tables.tobytes(), scales=(0.1,))
    graph = read_graph(data)
    table = lookup_table(graph, graph.operators[0])
    assert (table.bits, table.axis) == (3, None)
    assert table.values().reshape(-1).tolist() == tables.tolist()
    codes = np.random.default_rng(0).integers(-128, 128, (5, 2, 2, 4)).astype(np.int8)
    assert np.array_equal(
        open_interpreter(data).run(codes), open_interpreter(decoded(data)).run(codes)
    )


def header(**bytes_at):
    places = {"kind": 0, "version": 1, "table_version": 4, "parameters": 5, "stride": 6}
    changed = bytearray(ANCILLARY)
    for name, value in bytes_at.items():
        changed[places[name]] = value
    return bytes(changed)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"ancillary": header(kind=1)}, "type 0, versions 1 and 1.* received type 1"),
        ({"ancillary": header(kind=127)}, "received type 127"),
        ({"ancillary": header(version=2)}, "versions 2 and 1"),
        ({"ancillary": header(table_version=0)}, "versions 1 and 0"),
        ({"ancillary": header(parameters=0)}, "of 1 to 7 bits .* 0 bits"),
        ({"ancillary": header(parameters=7)}, "must hold 7 bytes of indices .* received 2 and 22"),
        ({"ancillary": header(parameters=3 << 4 | 2)}, "a table for each scale .* axis 3"),
        ({"ancillary": header(parameters=15 << 4 | 2)}, "axis 15 for 2 scales on axis 0"),
        ({"ancillary": header(parameters=9 << 4 | 2)}, "axis 9"),
        ({"ancillary": header(stride=4)}, "2 bytes of indices and 24 of tables"),
        ({"ancillary": header(stride=255)}, "and 526 of tables"),
        ({"ancillary": header(stride=2)}, "indices below 2 .* received 2"),
        ({"ancillary": header(stride=0)}, "indices below 0"),
        ({"ancillary": ANCILLARY[:15]}, "a header of 16 bytes .* received 15"),
        ({"ancillary": ANCILLARY[:-1]}, "and 22 of tables .* received 2 and 21"),
        ({"packed": PACKED[:1]}, "must hold 2 bytes of indices .* received 1 and 22"),
        ({"packed": bytes([255, 255])}, "indices below 3 .* received 3"),
        ({"scales": (0.1,)}, "axis 0 for 1 scales"),
        ({"inputs": [1]}, "two inputs .* received 1 for 1 outputs"),
        ({"inputs": [1, -1]}, "two inputs"),
        ({"inputs": [1, 0]}, "must hold constants .* received none"),
        ({"inputs": [0, 4]}, "must hold constants .* received none"),
        ({"dtype": "INT4"}, "2 bits of INT4"),
        ({"dtype": "INT32"}, "and 40 of tables"),
        ({"shape": (2, 1, 1, 6000)}, "must hold 3000 bytes of indices"),
    ],
)
def test_what_the_kernel_trusts_is_checked(new_writer, changed, message):
    data = node(new_writer, **changed)
    for read in (read_graph, decoded, lambda bad: open_interpreter(bad, "tflm")):
        with pytest.raises(FlatbufferError, match=message):
            read(data)


def test_many_decoders_of_one_large_tensor_are_refused(new_writer):
    writer = new_writer()
    packed = np.zeros(4096, np.uint8)
    source = writer.tensor((1, 4), "INT8", 0.5)
    encoded = writer.tensor((4096,), "UINT8", data=packed)
    one = bytes([0, 1, 0, 0, 1, 15 << 4 | 1, 2]).ljust(16, b"\0") + bytes(2)
    tables = writer.tensor((len(one),), "UINT8", data=np.frombuffer(one, np.uint8))
    for _ in range(20):
        writer.operator("CUSTOM", [encoded, tables], [writer.tensor((8, 4096), "INT8", 0.1)])
        writer.model.operatorCodes[-1].customCode = DECODE.encode()
    with pytest.raises(FlatbufferError, match="decodes the same ones over and over"):
        read_graph(writer.bytes([source], [source]))


def test_indices_that_another_operator_reads_keep_their_checks(new_writer):
    writer = new_writer()
    source = writer.tensor((1, 4), "INT8", 0.5)
    encoded = writer.tensor((2,), "UINT8", (0.1, 0.2, 0.3), 0, np.frombuffer(PACKED, np.uint8))
    tables = writer.tensor((22,), "UINT8", data=np.frombuffer(ANCILLARY, np.uint8))
    weights = writer.tensor((2, 4), "INT8", (0.1, 0.2))
    target = writer.tensor((1, 2), "INT8", 0.5)
    writer.operator("CUSTOM", [encoded, tables], [weights])
    writer.model.operatorCodes[0].customCode = DECODE.encode()
    writer.operator("FULLY_CONNECTED", [source, weights, encoded], [target])
    with pytest.raises(FlatbufferError, match="one scale and zero point for tensor 1"):
        read_graph(writer.bytes([source], [target]))


@pytest.mark.parametrize("seed", range(4))
def test_damaged_bytes_end_in_a_flatbuffer_error_or_run(new_writer, seed):
    sound = np.frombuffer(strip(node(new_writer)), np.uint8)
    random = np.random.default_rng(seed)
    for _ in range(300):
        damaged = sound.copy()
        places = random.integers(8, len(sound), random.integers(1, 4))
        damaged[places] = random.integers(0, 256, len(places))
        try:
            plain = decoded(damaged.tobytes())
        except FlatbufferError:
            continue
        read_graph(plain)


def test_several_decoders_of_one_encoded_tensor(new_writer):
    writer = new_writer()
    ends = [writer.tensor((1, 4), "INT8", 0.5), writer.tensor((1, 2), "INT8", 0.5)]
    encoded = writer.tensor((2,), "UINT8", data=np.frombuffer(PACKED, np.uint8))
    tables = writer.tensor((22,), "UINT8", data=np.frombuffer(ANCILLARY, np.uint8))
    sums = []
    for scales in ((0.1, 0.2), (0.1, 0.2), (0.3, 0.4)):
        weights = writer.tensor((2, 4), "INT8", scales)
        writer.operator("CUSTOM", [encoded, tables], [weights])
        writer.model.operatorCodes[-1].customCode = DECODE.encode()
        sums.append(writer.tensor((1, 2), "INT8", 0.5))
        options = writer.schema.FullyConnectedOptionsT()
        writer.operator("FULLY_CONNECTED", [ends[0], weights, -1], [sums[-1]], options, 4)
    options = writer.schema.AddOptionsT()
    part = writer.tensor((1, 2), "INT8", 0.5)
    writer.operator("ADD", sums[:2], [part], options)
    writer.operator("ADD", [part, sums[2]], [ends[1]], options)
    data = writer.bytes(ends[:1], ends[1:])
    plain = decoded(data)
    graph = read_graph(plain)
    weights = [op.inputs[1] for op in graph.operators if op.name == "FULLY_CONNECTED"]
    assert weights[0] == weights[1] != weights[2]
    assert [round(graph.tensors[index].quantization.scales[0], 6) for index in weights] == [
        0.1,
        0.1,
        0.3,
    ]
    codes = np.random.default_rng(0).integers(-128, 128, (20, 4)).astype(np.int8)
    assert np.array_equal(open_interpreter(data).run(codes), open_interpreter(plain).run(codes))


def test_decoding_loads_no_tensorflow():
    import subprocess
    import sys

    code = (
        "import sys, quantize.precision.decoding\n"
        "print(sorted({'tensorflow', 'keras', 'tflite_micro'} & set(sys.modules)))"
    )
    root = Path(__file__).resolve().parents[3]
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root
    )
    assert run.stdout.strip() == "[]"
