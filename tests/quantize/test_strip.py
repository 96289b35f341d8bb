import hashlib
import subprocess
import sys

import numpy as np
import pytest

from quantize.flatbuffer import FlatbufferError, pack, read_graph, unpack
from quantize.interpreter import record_arena, run_path
from quantize.strip import LEVELS, strip, widen
from quantize.wire.reader import decode
from quantize.wire.writer import encode

# Bytes at the levels none, compatible and deep. The reference stripping (the same rules, another
# packer) reaches the figures in the third and fifth column.
PUBLIC = {
    "mlperftiny__kws_ref_model": (53936, 32624, 32816, 29616, 29824),
    "mlperftiny__pretrainedResnet_quant": (98496, 85856, 86064, 83488, 83696),
    "mlperftiny__ad01_int8": (276976, 273504, 273584, 273504, 273584),
    "tflm__micro_speech_quantized": (18800, 18016, 18016, 17904, 17904),
}


@pytest.fixture(params=PUBLIC)
def public(request, shared):
    """One public model's bytes and its known sizes."""
    return (shared / "models" / f"{request.param}.tflite").read_bytes(), PUBLIC[request.param]


def random_codes(data, count):
    graph = read_graph(data)
    shape = graph.tensors[graph.inputs[0]].shape[1:]
    return np.random.default_rng(0).integers(-128, 128, (count, *shape)).astype(np.int8)


def assert_strip_loses_nothing(data, count=20):
    pytest.importorskip("tflite_micro")
    codes = random_codes(data, count)
    outputs = run_path([data], codes, "tflm")
    arena = record_arena(data)
    for level in LEVELS:
        stripped = strip(data, level)
        np.testing.assert_array_equal(run_path([stripped], codes, "tflm"), outputs)
        assert record_arena(stripped) == arena


def assert_strip_is_stable(data):
    for level in LEVELS:
        stripped = strip(data, level)
        assert len(stripped) <= len(data)
        assert strip(data, level) == stripped
        assert strip(stripped, level) == stripped
        assert strip(stripped, "deep") == strip(data, "deep")


def assert_buffers_are_aligned(data):
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(data)
    for i in range(model.BuffersLength()):
        table = model.Buffers(i)._tab
        field = table.Offset(4)
        if field and table.VectorLen(field):
            assert table.Vector(field) % 16 == 0


def test_public_models_reach_their_known_sizes(public):
    data, (none, compatible, compatible_limit, deep, deep_limit) = public
    assert [len(strip(data, level)) for level in LEVELS] == [none, compatible, deep]
    assert compatible <= compatible_limit
    assert deep <= deep_limit


def test_public_models_lose_nothing(public):
    data, _ = public
    assert_strip_loses_nothing(data)
    assert_strip_is_stable(data)
    assert_buffers_are_aligned(strip(data))
    assert_buffers_are_aligned(strip(data, "compatible"))
    assert_buffers_are_aligned(pack(unpack(data)))


def test_public_models_run_on_litert_as_before(public):
    data, _ = public
    codes = random_codes(data, 10)
    outputs = run_path([data], codes, "litert")
    for stripped in (strip(data, "compatible"), widen(strip(data))):
        np.testing.assert_array_equal(run_path([stripped], codes, "litert"), outputs)


def test_small_nodes_lose_nothing(trunk_bytes, branch_bytes):
    for data in (trunk_bytes, branch_bytes):
        assert_strip_loses_nothing(data)
        assert_strip_is_stable(data)
        assert_buffers_are_aligned(strip(data))
        assert len(strip(data, "compatible")) < len(data)
    assert len(strip(trunk_bytes)) < len(strip(trunk_bytes, "compatible"))


def test_litert_refuses_deep_and_takes_it_widened(trunk_bytes):
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    codes = random_codes(trunk_bytes, 10)
    deep = strip(trunk_bytes)
    with pytest.raises(ValueError, match="zero_point values"):
        litert.Interpreter(
            model_content=deep, experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF
        ).allocate_tensors()
    expected = run_path([trunk_bytes], codes, "litert")
    np.testing.assert_array_equal(run_path([widen(deep)], codes, "litert"), expected)
    assert widen(trunk_bytes) == trunk_bytes
    assert strip(widen(deep)) == deep


def test_what_each_level_takes_away(trunk_bytes):
    original, compatible, deep = (read_graph(strip(trunk_bytes, level)) for level in LEVELS)
    assert original.tensors[1].name
    for graph in (compatible, deep):
        assert not any(tensor.name for tensor in graph.tensors)
        assert [t.data for t in graph.tensors] == [t.data for t in original.tensors]
        assert [op.options for op in graph.operators] == [op.options for op in original.operators]
    assert [t.quantization for t in compatible.tensors] == [
        t.quantization for t in original.tensors
    ]
    _, weights, bias = deep.operators[0].inputs
    assert len(original.tensors[weights].quantization.zero_points) == 8
    assert deep.tensors[weights].quantization.zero_points == (0,)
    assert (
        deep.tensors[weights].quantization.scales == original.tensors[weights].quantization.scales
    )
    assert deep.tensors[bias].quantization is None
    model, _ = decode(strip(trunk_bytes, "compatible"))
    assert set(model.fields) == {"version", "operatorCodes", "subgraphs", "buffers"}


def test_a_dense_bias_keeps_its_scale(branch_bytes):
    graph = read_graph(strip(branch_bytes))
    dense = next(op for op in graph.operators if op.name == "FULLY_CONNECTED")
    assert graph.tensors[dense.inputs[2]].quantization is not None


def test_a_transposed_convolution_needs_no_bias_scale(writer):
    random = np.random.default_rng(4)
    shape = writer.tensor((4,), "INT32", data=np.array([1, 8, 8, 4], np.int32))
    scales = random.uniform(0.01, 0.02, 4)
    kernel = random.integers(-127, 128, (4, 2, 2, 3)).astype(np.int8)
    weights = writer.tensor((4, 2, 2, 3), "INT8", scales, 0, kernel)
    source = writer.tensor((1, 4, 4, 3), "INT8", 0.1, 3)
    offsets = random.integers(-2000, 2000, 4).astype(np.int32)
    bias = writer.tensor((4,), "INT32", scales * 0.1, 0, offsets)
    target = writer.tensor((1, 8, 8, 4), "INT8", 0.05, -4)
    options = writer.schema.TransposeConvOptionsT()
    options.strideH = options.strideW = 2
    writer.operator("TRANSPOSE_CONV", [shape, weights, source, bias], [target], options, 3)
    data = writer.bytes([source], [target])
    assert read_graph(strip(data)).tensors[bias].quantization is None
    assert_strip_loses_nothing(data)
    codes = random_codes(data, 5)
    expected = run_path([data], codes, "litert")
    np.testing.assert_array_equal(run_path([strip(data)], codes, "litert"), expected)


def test_a_bias_that_something_else_reads_keeps_its_quantization(trunk_bytes):
    model = unpack(trunk_bytes)
    bias = int(model.subgraphs[0].operators[0].inputs[2])
    model.subgraphs[0].outputs = np.array([*model.subgraphs[0].outputs, bias], np.int32)
    graph = read_graph(strip(pack(model)))
    assert graph.tensors[bias].quantization is not None
    other = graph.operators[1].inputs[2]
    assert graph.tensors[other].quantization is None


def test_zero_points_that_differ_stay(trunk_bytes):
    model = unpack(trunk_bytes)
    weights = int(model.subgraphs[0].operators[0].inputs[1])
    zero_points = np.arange(8, dtype=np.int64)
    model.subgraphs[0].tensors[weights].quantization.zeroPoint = zero_points
    graph = read_graph(strip(pack(model)))
    assert graph.tensors[weights].quantization.zero_points == tuple(range(8))


def test_metadata_that_is_read_survives(new_writer):
    writer = new_writer()
    source, target = (writer.tensor((1, 4), "INT8", 0.1, 0) for _ in range(2))
    writer.operator("RELU", [source], [target])
    plan = np.array([1, 0, 2, -1, -1], np.int32).tobytes()
    for name, content in (
        (b"min_runtime_version", b"1.5.0"),
        (b"OfflineMemoryAllocation", plan),
        (b"CONVERSION_METADATA", b"long" * 20),
        (b"somebody's own", b"keep me"),
    ):
        writer.metadata(name, content)
    data = writer.bytes([source], [target])
    model, _ = decode(strip(data))
    found = {
        entry.get("name"): model.tables("buffers")[entry.get("buffer")].get("data").data
        for entry in model.tables("metadata")
    }
    assert found == {b"OfflineMemoryAllocation": plan, b"somebody's own": b"keep me"}
    assert_strip_loses_nothing(data)


def test_buffers_and_codes_are_stored_once(new_writer):
    writer = new_writer()
    source = writer.tensor((1, 64), "INT8", 0.1, 0)
    values = np.arange(64, dtype=np.int8)
    for _ in range(3):
        constant = writer.tensor((1, 64), "INT8", 0.1, 0, values)
        target = writer.tensor((1, 64), "INT8", 0.1, 0)
        writer.operator("ADD", [source, constant], [target], writer.schema.AddOptionsT())
        source = target
    data = writer.bytes([0], [source])
    model, _ = decode(strip(data))
    assert [len(b.get("data") or ()) for b in model.tables("buffers")] == [0, 64]
    assert len(model.tables("operatorCodes")) == 1
    assert_strip_loses_nothing(data)


def test_every_subgraph_is_stripped(trunk_bytes):
    model = unpack(trunk_bytes)
    model.subgraphs.append(unpack(trunk_bytes).subgraphs[0])
    two, one = strip(pack(model)), strip(trunk_bytes)
    assert read_graph(two).subgraph_count == 2
    # The second one is the first, so it is stored once.
    assert len(two) <= len(one) + 16


def test_what_a_newer_schema_wrote_is_kept(trunk_bytes):
    model, _ = decode(trunk_bytes)
    (subgraph,) = model.tables("subgraphs")
    operators = subgraph.tables("operators")
    newer = operators[0].replace(builtinOptionsType=200)
    subgraph = subgraph.replace(operators=(newer, *operators[1:]))
    data = encode(model.replace(subgraphs=(subgraph,)))
    assert strip(data) == data
    assert widen(data) == data


def test_sparse_tensors_are_kept(trunk_bytes):
    from ai_edge_litert import schema_py_generated as schema

    model = unpack(trunk_bytes)
    sparsity = schema.SparsityParametersT()
    sparsity.traversalOrder = np.array([0, 1, 2, 3], np.int32)
    dimension = schema.DimensionMetadataT()
    dimension.arraySegmentsType = schema.SparseIndexVector.Uint8Vector
    dimension.arraySegments = schema.Uint8VectorT()
    dimension.arraySegments.values = np.array([0, 3], np.uint8)
    sparsity.dimMetadata = [dimension]
    weights = int(model.subgraphs[0].operators[0].inputs[1])
    model.subgraphs[0].tensors[weights].sparsity = sparsity
    kept = unpack(strip(pack(model))).subgraphs[0].tensors[weights].sparsity
    assert list(kept.traversalOrder) == [0, 1, 2, 3]
    assert list(kept.dimMetadata[0].arraySegments.values) == [0, 3]


def test_nothing_grows(new_writer):
    # Packed with 4-byte alignment, a file can be smaller than one that keeps to 16.
    writer = new_writer()
    source, target = (writer.tensor((1, 4), "INT8", 0.1, 0) for _ in range(2))
    writer.operator("RELU", [source], [target])
    data = strip(writer.bytes([source], [target]))
    unpadded = data[: len(data.rstrip(b"\0")) + 3]
    assert len(strip(unpadded)) <= len(unpadded)


def test_bytes_are_the_same_in_another_process(trunk_bytes, tmp_path):
    path = tmp_path / "trunk.tflite"
    path.write_bytes(trunk_bytes)
    code = (
        "import hashlib, pathlib, sys; from quantize.strip import strip;"
        "print(hashlib.sha256(strip(pathlib.Path(sys.argv[1]).read_bytes())).hexdigest())"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    ).stdout
    assert printed.strip() == hashlib.sha256(strip(trunk_bytes)).hexdigest()


def test_wrong_arguments_are_refused(trunk_bytes):
    with pytest.raises(ValueError, match="Did you mean 'deep'"):
        strip(trunk_bytes, "deeep")
    with pytest.raises(FlatbufferError, match="truncated or damaged"):
        strip(trunk_bytes[:-100])
    with pytest.raises(FlatbufferError, match="TFL3"):
        strip(b"PK", "none")
