import struct
import subprocess
import sys

import numpy as np
import pytest

from quantize.flatbuffer import FlatbufferError, Quantization, pack, read_graph, unpack
from quantize.wire.encoding import Table, Vector
from quantize.wire.reader import decode
from quantize.wire.writer import encode


def edited(data, change):
    """The flatbuffer after `change(model)` on the schema's objects."""
    model = unpack(data)
    change(model)
    return pack(model)


def assert_buffers_are_aligned(data):
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(data)
    lengths = []
    for i in range(model.BuffersLength()):
        table = model.Buffers(i)._tab
        field = table.Offset(4)
        if field and table.VectorLen(field):
            lengths.append(table.VectorLen(field))
            assert table.Vector(field) % 16 == 0
    assert lengths


def test_the_view_of_a_small_graph(trunk_bytes):
    graph = read_graph(trunk_bytes)
    assert graph.operator_names == {"CONV_2D", "DEPTHWISE_CONV_2D"}
    assert (graph.inputs, graph.outputs, graph.subgraph_count) == ((0,), (6,), 1)
    assert [op.name for op in graph.operators] == ["CONV_2D", "DEPTHWISE_CONV_2D"]
    convolution = graph.operators[0]
    assert (convolution.inputs, convolution.outputs, convolution.version) == ((0, 1, 2), (3,), 3)
    assert convolution.options.strideH == 1
    assert graph.operators[1].options.strideW == 2
    assert graph.operators[1].options.depthMultiplier == 1
    source, weights, bias = (graph.tensors[i] for i in convolution.inputs)
    scale = float(np.float32(0.02))
    assert (source.shape, source.dtype, source.data) == ((1, 8, 8, 1), "INT8", None)
    assert source.quantization == Quantization((scale,), (-5,), 0)
    assert source.name == "model/layer_0/value"
    assert (weights.shape, weights.dtype, len(weights.data)) == ((8, 3, 3, 1), "INT8", 72)
    assert len(weights.quantization.scales) == len(weights.quantization.zero_points) == 8
    assert (bias.dtype, len(bias.data)) == ("INT32", 32)
    expected = np.float32(weights.quantization.scales) * np.float32(0.02)
    np.testing.assert_array_equal(np.float32(bias.quantization.scales), expected)
    assert graph.tensors[graph.operators[1].inputs[1]].quantization.axis == 3


def test_options_hold_vectors_and_defaults(new_writer):
    writer = new_writer()
    source, target = (writer.tensor((1, 4), "INT8", 0.1) for _ in range(2))
    options = writer.schema.ReshapeOptionsT()
    options.newShape = [1, -1]
    writer.operator("RESHAPE", [source, -1], [target], options)
    writer.operator("CONV_2D", [source, -1], [target], writer.schema.Conv2DOptionsT())
    writer.operator("RELU", [source], [target])
    reshape, convolution, relu = read_graph(writer.bytes([source], [target])).operators
    assert reshape.options.newShape == (1, -1)
    assert reshape.inputs == (0, -1)
    assert convolution.options.dilationHFactor == 1
    assert convolution.options.strideH == 0
    assert relu.options is None


def test_custom_operators_go_by_their_own_name(trunk_bytes):
    def change(model):
        model.operatorCodes[0].builtinCode = model.operatorCodes[0].deprecatedBuiltinCode = 32
        model.operatorCodes[0].customCode = b"DECODE"

    assert "DECODE" in read_graph(edited(trunk_bytes, change)).operator_names


def test_codes_above_127_stand_in_the_newer_field(trunk_bytes):
    def change(model):
        model.operatorCodes[0].builtinCode, model.operatorCodes[0].deprecatedBuiltinCode = 150, 127

    assert "GELU" in read_graph(edited(trunk_bytes, change)).operator_names


def test_public_models_are_read_and_packed(shared):
    counts = {
        "mlperftiny__ad01_int8": (31, 10),
        "mlperftiny__kws_ref_model": (35, 13),
        "mlperftiny__pretrainedResnet_quant": (38, 16),
        "tflm__micro_speech_quantized": (10, 4),
    }
    for name, (tensors, operators) in counts.items():
        data = (shared / "models" / f"{name}.tflite").read_bytes()
        graph = read_graph(data)
        assert (len(graph.tensors), len(graph.operators)) == (tensors, operators)
        packed = pack(unpack(data))
        assert_buffers_are_aligned(packed)
        assert read_graph(packed) == graph
        assert pack(unpack(packed)) == packed


def test_packing_keeps_the_graph_aligns_it_and_repeats(trunk_bytes, branch_bytes):
    for data in (trunk_bytes, branch_bytes):
        packed = pack(unpack(data))
        assert_buffers_are_aligned(packed)
        assert read_graph(packed) == read_graph(data)
        assert pack(unpack(packed)) == packed == pack(unpack(data))
        assert unpack(packed).description == b"MLIR Converted."


def test_an_edit_arrives(trunk_bytes):
    scale = np.nextafter(np.float32(0.02), np.float32(1))

    def change(model):
        model.subgraphs[0].tensors[0].quantization.scale = np.array([scale], np.float32)
        model.buffers[2].data = bytes(range(72))

    graph = read_graph(edited(trunk_bytes, change))
    assert graph.tensors[0].quantization.scales == (float(scale),)
    assert graph.tensors[1].data == bytes(range(72))


def set_on(path, value):
    """Sets a field deep in the schema's objects: "subgraphs.0.tensors.1.type"."""

    def change(model):
        *parents, name = path.split(".")
        place = model
        for part in parents:
            place = place[int(part)] if part.isdigit() else getattr(place, part)
        setattr(place, name, value)

    return change


def ints(*numbers):
    return np.array(numbers, np.int32)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("version", 2, "schema version 3, received 2"),
        ("subgraphs", [], "a subgraph, received none"),
        ("subgraphs.0.inputs", ints(7), "the tensor of the inputs of the graph, .* 7 of 7"),
        ("subgraphs.0.outputs", ints(-1), "the outputs of the graph, .* -1 of 7"),
        ("subgraphs.0.outputs", None, "the outputs of the graph, received none"),
        ("subgraphs.0.operators.1.inputs", ints(3, 4, 9), "the inputs of operator 1, .* 9 of 7"),
        ("subgraphs.0.operators.1.inputs", ints(-2), "the inputs of operator 1, .* -2 of 7"),
        ("subgraphs.0.operators.1.outputs", ints(-1), "the outputs of operator 1, .* -1 of 7"),
        ("subgraphs.0.operators.0.inputs", None, "the inputs of operator 0, received none"),
        ("subgraphs.0.operators.0.intermediates", ints(7), "the intermediates of operator 0"),
        ("subgraphs.0.operators.0.opcodeIndex", 2, "operator code of operator 0, .* 2 of 2"),
        ("subgraphs.0.tensors.1.buffer", 99, "the buffer of tensor 1, .* 99 of 9"),
        ("subgraphs.0.tensors.1.externalBuffer", 1, "an external buffer for tensor 1"),
        ("subgraphs.0.tensors.1.type", 99, "the element type of tensor 1 .* received 99"),
        ("subgraphs.0.tensors.1.type", 2, r"288 bytes for tensor 1 .*, received 72"),
        ("subgraphs.0.tensors.1.shape", ints(8, 3, 3, 2), "144 bytes for tensor 1"),
        ("subgraphs.0.tensors.0.shape", ints(-1, 8, 8, 1), "fixed shapes"),
        ("subgraphs.0.tensors.0.shape", ints(*[1] * 9), "at most 8 axes, received 9"),
        ("subgraphs.0.tensors.0.shape", ints(1, 2**30, 8), "less than 2 GB"),
        ("subgraphs.0.tensors.1.quantization.scale", np.ones(5, np.float32), "5 scales and 8"),
        ("subgraphs.0.tensors.1.quantization.zeroPoint", np.ones(3, np.int64), "and 3 zero points"),
        ("subgraphs.0.tensors.1.quantization.quantizedDimension", 1, "for 3 channels on axis 1"),
        ("subgraphs.0.tensors.1.quantization.quantizedDimension", 7, "for 1 channels on axis 7"),
        ("subgraphs.0.tensors.0.quantization.scale", np.float32([-0.5]), "received -0.5"),
        ("subgraphs.0.tensors.0.quantization.scale", np.float32([np.nan]), "received nan"),
        ("subgraphs.0.tensors.0.quantization.scale", np.float32([np.inf]), "received inf"),
        ("operatorCodes.0.builtinCode", 999, "an operator code .* received 999"),
        ("buffers.1.offset", 4096, "buffer 1 at byte 4096"),
        ("metadata.0.buffer", 77, "the buffer of metadata 0, .* 77 of 9"),
    ],
)
def test_what_an_interpreter_would_trust_is_checked(trunk_bytes, path, value, words):
    with pytest.raises(FlatbufferError, match=words):
        read_graph(edited(trunk_bytes, set_on(path, value)))


def test_a_bias_may_bear_the_axis_of_its_weights(trunk_bytes):
    """As person_detect.tflite of TensorFlow Lite Micro's examples has it."""
    change = set_on("subgraphs.0.tensors.2.quantization.quantizedDimension", 3)
    graph = read_graph(edited(trunk_bytes, change))
    assert graph == read_graph(trunk_bytes)
    assert len(graph.tensors[2].quantization.scales) == 8


def test_every_subgraph_is_checked(trunk_bytes):
    def change(model):
        model.subgraphs.append(unpack(trunk_bytes).subgraphs[0])

    two = edited(trunk_bytes, change)
    assert read_graph(two).subgraph_count == 2
    with pytest.raises(FlatbufferError, match="99 of 9"):
        read_graph(edited(two, set_on("subgraphs.1.tensors.1.buffer", 99)))


def test_sparse_tensors_are_refused(trunk_bytes):
    from ai_edge_litert import schema_py_generated as schema

    change = set_on("subgraphs.0.tensors.1.sparsity", schema.SparsityParametersT())
    with pytest.raises(FlatbufferError, match="sparsity in tensor 1"):
        read_graph(edited(trunk_bytes, change))


def test_a_memory_plan_that_is_too_short_is_refused(trunk_bytes):
    def change(model):
        model.metadata[0].name = b"OfflineMemoryAllocation"

    with pytest.raises(FlatbufferError, match=r"all 7 tensors .* \(40 bytes\), received 16"):
        read_graph(edited(trunk_bytes, change))


def test_names_that_are_no_utf8_are_read(trunk_bytes):
    change = set_on("subgraphs.0.tensors.0.name", b"\xff\xfe name")
    assert read_graph(edited(trunk_bytes, change)).tensors[0].name == "\ufffd\ufffd name"


def test_int4_constants_pack_two_in_a_byte(new_writer):
    writer = new_writer()
    values = np.zeros(5, np.uint8)
    constant = writer.tensor((3, 3), "INT4", 0.1, 0, values)
    assert read_graph(writer.bytes([constant], [constant])).tensors[0].data == bytes(5)


def test_a_newer_schema_is_read_but_not_edited(trunk_bytes):
    model, _ = decode(trunk_bytes)
    (subgraph,) = model.tables("subgraphs")
    operators = subgraph.tables("operators")
    newer = operators[0].replace(builtinOptionsType=200)
    subgraph = subgraph.replace(operators=(newer, *operators[1:]))
    data = encode(model.replace(subgraphs=(subgraph,)))
    assert read_graph(data).operators[0].options is None
    with pytest.raises(FlatbufferError, match="builtinOptions of type 200 beyond it"):
        unpack(data)


@pytest.mark.parametrize("read", [read_graph, unpack])
@pytest.mark.parametrize("data", [b"", b"TFL3", None, "trunk.tflite", b"\x89PNG" * 100, 7, [1, 2]])
def test_foreign_data_is_refused(read, data):
    with pytest.raises(FlatbufferError, match="`data` must be"):
        read(data)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("subgraphs.0.tensors.0.buffer", -1),
        ("subgraphs.0.tensors.0.buffer", 2**40),
        ("subgraphs.0.tensors.0.name", 5),
        ("subgraphs.0.tensors.0.shape", ["a"]),
        ("subgraphs.0.tensors.0.quantization", "scale"),
        ("version", None),
    ],
)
def test_what_the_schema_has_no_room_for_is_refused(trunk_bytes, path, value):
    with pytest.raises(FlatbufferError, match="`model` must hold values"):
        edited(trunk_bytes, set_on(path, value))


def test_a_graph_of_one_table_shared_is_read(trunk_bytes):
    tensor = Table("Tensor", {"shape": Vector.of("i32", [1, 4]), "type": 9})
    ends = {"inputs": Vector.of("i32", [0]), "outputs": Vector.of("i32", [1])}
    subgraph = Table("SubGraph", {"tensors": (tensor, tensor), **ends})
    graph = read_graph(encode(Table("Model", {"version": 3, "subgraphs": (subgraph,)})))
    assert [t.index for t in graph.tensors] == [0, 1]
    assert [t.shape for t in graph.tensors] == [(1, 4)] * 2


def test_every_single_bit_flip_ends_in_a_graph_or_one_error(branch_bytes):
    # The structure stands behind the weights' buffer; its every byte is tried, a bit at a time.
    refused = 0
    places = [p for p in range(len(branch_bytes)) if p < 64 or p % 5 == 0]
    for place in places:
        changed = bytearray(branch_bytes)
        changed[place] ^= 1 << (place % 8)
        try:
            read_graph(bytes(changed))
        except FlatbufferError:
            refused += 1
    assert 0 < refused < len(places)


def test_huge_lengths_are_refused_at_once(trunk_bytes):
    for place in range(8, len(trunk_bytes) - 4, 4):
        changed = bytearray(trunk_bytes)
        struct.pack_into("<I", changed, place, 2**31 - 1)
        try:
            graph = read_graph(bytes(changed))
        except FlatbufferError:
            continue
        assert len(graph.tensors) == 7


def test_reading_loads_no_schema_and_no_interpreter(trunk_bytes, tmp_path):
    path = tmp_path / "trunk.tflite"
    path.write_bytes(trunk_bytes)
    code = (
        "import pathlib, sys; from quantize.flatbuffer import read_graph;"
        "read_graph(pathlib.Path(sys.argv[1]).read_bytes());"
        "heavy = {'flatbuffers', 'ai_edge_litert', 'tensorflow', 'keras'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
