import struct
import time

import pytest

from quantize.flatbuffer import CATEGORIES, FlatbufferError, anatomy
from quantize.strip import strip
from quantize.wire.encoding import Table, Vector
from quantize.wire.reader import decode
from quantize.wire.writer import encode

# Of the files as published: data of int8 constants, of int32 constants (biases and shapes), tensor
# names, quantization (min/max, scales, tables, zero points), padding. Lengths and terminators of
# names are in, lengths of buffers are not. Measured elsewhere with a reader of its own.
PUBLISHED = {
    "mlperftiny__ad01_int8": (264_192, 6_688, 1_483, 336 + 248 + 540 + 372, 394),
    "mlperftiny__kws_ref_model": (22_016, 2_360, 5_634, 4_904 + 4_808 + 612 + 9_480, 445),
    "mlperftiny__pretrainedResnet_quant": (
        77_360, 1_392, 3_287, 3_032 + 2_912 + 656 + 5_676, 130,
    ),
}  # fmt: skip
# Of the same files: tensor tables, shapes, shape signatures; operators, operator codes. There
# without the vectors of offsets to tables, which are structure here: 4 bytes, and 4 a table.
PUBLISHED_TABLES = {
    "mlperftiny__ad01_int8": (916 + 332 + 132, 562 + 20),
    "mlperftiny__kws_ref_model": (1_042 + 536 + 256, 834 + 102),
    "mlperftiny__pretrainedResnet_quant": (1_136 + 596 + 316, 950 + 146),
}


def assert_every_byte_counts_once(data: bytes) -> dict[str, int]:
    sizes = anatomy(data)
    assert tuple(sizes) == CATEGORIES
    assert sum(sizes.values()) == len(data)
    assert min(sizes.values()) >= 0
    return sizes


@pytest.mark.parametrize("name", PUBLISHED)
def test_public_models(shared, name):
    data = (shared / "models" / f"{name}.tflite").read_bytes()
    weights, integers, names, quantization, padding = PUBLISHED[name]
    sizes = assert_every_byte_counts_once(data)
    assert sizes["weights"] == weights
    assert sizes["biases"] + sizes["other constants"] == integers
    assert sizes["quantization"] == quantization
    assert sizes["padding"] == padding
    # Besides tensors' names: a description, the subgraph's name, an entry and a buffer of metadata.
    assert sizes["names and metadata"] == names + 20 + 9 + 44 + 16


@pytest.mark.parametrize("name", PUBLISHED_TABLES)
def test_tables_of_public_models(shared, name):
    data = (shared / "models" / f"{name}.tflite").read_bytes()
    tensors, operators = PUBLISHED_TABLES[name]
    model, _ = decode(data)
    (subgraph,) = model.tables("subgraphs")
    sizes = anatomy(data)
    assert sizes["tensors"] == tensors - 4 - 4 * len(subgraph.tables("tensors"))
    vectors = (subgraph.tables("operators"), model.tables("operatorCodes"))
    assert sizes["operators"] == operators - sum(4 + 4 * len(vector) for vector in vectors)


def test_stripping_takes_names_and_leaves_weights(shared):
    for path in sorted((shared / "models").glob("*.tflite")):
        before = assert_every_byte_counts_once(path.read_bytes())
        after = assert_every_byte_counts_once(strip(path.read_bytes()))
        assert after["names and metadata"] == 0
        for kept in ("weights", "biases", "other constants"):
            assert after[kept] == before[kept]
        assert after["quantization"] < before["quantization"]


def test_made_nodes(trunk_bytes, branch_bytes):
    for data in (trunk_bytes, branch_bytes):
        sizes = assert_every_byte_counts_once(data)
        assert min(sizes["weights"], sizes["biases"], sizes["quantization"]) > 0


def test_a_bias_is_known_by_its_operator_not_by_its_type(new_writer):
    import numpy as np

    writer = new_writer()
    source, target = writer.tensor((1, 4), "INT8", 0.1), writer.tensor((1, 2), "INT8", 0.1)
    weights = writer.tensor((2, 4), "INT8", 0.1, 0, np.zeros(8, np.int8))
    bias = writer.tensor((2,), "INT32", 0.01, 0, np.zeros(2, np.int32))
    flat = writer.tensor((1, 2), "INT8", 0.1)
    shape = writer.tensor((2,), "INT32", None, 0, np.array([1, 2], np.int32))
    options = writer.schema.FullyConnectedOptionsT()
    writer.operator("FULLY_CONNECTED", [source, weights, bias], [target], options)
    writer.operator("RESHAPE", [target, shape], [flat], writer.schema.ReshapeOptionsT())
    sizes = assert_every_byte_counts_once(writer.bytes([source], [flat]))
    assert (sizes["weights"], sizes["biases"], sizes["other constants"]) == (8, 8, 8)


def test_what_is_shared_counts_once():
    scale = Vector.of("f32", [0.5] * 25)
    tensors = [
        Table("Tensor", {"shape": Vector.of("i32", [1, n]), "quantization": quantization})
        for n in (1, 2)
        for quantization in (Table("QuantizationParameters", {"scale": scale}),)
    ]
    data = encode(Table("Model", {"subgraphs": (Table("SubGraph", {"tensors": tuple(tensors)}),)}))
    # A vector of 25 scales and one table of a vtable's offset and the vector's.
    assert assert_every_byte_counts_once(data)["quantization"] == 4 + 100 + 8


def test_what_nothing_leads_to_is_padding(trunk_bytes):
    before = anatomy(trunk_bytes)
    after = assert_every_byte_counts_once(trunk_bytes + bytes(100))
    assert after["padding"] == before["padding"] + 100
    assert {**after, "padding": 0} == {**before, "padding": 0}


def test_bytes_that_are_read_twice_count_once(trunk_bytes):
    """Two names on one place, and one of them beginning within the other."""
    model, _ = decode(trunk_bytes)
    (subgraph,) = model.tables("subgraphs")
    first, *others = subgraph.tables("tensors")
    named = first.replace(name=b"A" * 40)
    data = bytearray(encode(model.replace(subgraphs=(subgraph.replace(tensors=(named, *others)),))))
    place = data.index(b"A" * 40)
    before = anatomy(bytes(data))
    # The name of the second tensor: the last 36 letters of the first one's.
    struct.pack_into("<I", data, place, 36)
    from ai_edge_litert import schema_py_generated as schema

    table = schema.Model.GetRootAs(data).Subgraphs(0).Tensors(1)._tab
    slot = table.Pos + table.Offset(10)
    struct.pack_into("<I", data, slot, place - slot)
    after = assert_every_byte_counts_once(bytes(data))
    own = len(others[0].get("name")) + 5
    assert after["names and metadata"] == before["names and metadata"] - own
    assert after["padding"] == before["padding"] + own


def test_indices_that_lead_nowhere_are_no_matter(trunk_bytes):
    model, _ = decode(trunk_bytes)
    codes = tuple(code.replace(builtinCode=999) for code in model.tables("operatorCodes"))
    (subgraph,) = model.tables("subgraphs")
    tensors = tuple(
        tensor.replace(buffer=4_000, type=99, name=None) for tensor in subgraph.tables("tensors")
    )
    operators = tuple(op.replace(opcodeIndex=77) for op in subgraph.tables("operators"))
    for changed in (
        model.replace(operatorCodes=codes),
        model.replace(subgraphs=(subgraph.replace(tensors=tensors),)),
        model.replace(subgraphs=(subgraph.replace(operators=operators),)),
    ):
        assert_every_byte_counts_once(encode(changed))


@pytest.mark.parametrize("data", [b"", b"TFL3", None, b"\x89PNG" * 100])
def test_foreign_data_is_refused(data):
    with pytest.raises(FlatbufferError, match="`data` must be"):
        anatomy(data)


def test_a_truncated_file_is_refused(trunk_bytes):
    with pytest.raises(FlatbufferError):
        anatomy(trunk_bytes[:200])


def test_ten_nodes_take_well_under_50_ms(shared):
    data = strip((shared / "models" / "mlperftiny__kws_ref_model.tflite").read_bytes())
    times = []
    for _ in range(5):
        began = time.process_time()
        for _ in range(10):
            anatomy(data)
        times.append(time.process_time() - began)
    assert min(times) < 0.05, times
