import struct

import numpy as np

from quantize.wire.encoding import Table, Vector
from quantize.wire.reader import decode
from quantize.wire.writer import encode


def buffer(data):
    return Table("Buffer", {"data": Vector("u8", data)})


def model(**fields):
    return Table("Model", {"version": 3, **fields})


def test_what_is_written_is_read_again():
    tensor = Table(
        "Tensor",
        {
            "shape": Vector.of("i32", [1, 2]),
            "type": 9,
            "name": b"caf\xc3\xa9",
            "quantization": Table(
                "QuantizationParameters",
                {"scale": Vector.of("f32", [0.5]), "zeroPoint": Vector.of("i64", [-128])},
            ),
            "isVariable": True,
        },
    )
    operator = Table(
        "Operator",
        {
            "inputs": Vector.of("i32", [0]),
            "outputs": Vector.of("i32", []),
            "builtinOptionsType": 9,
            "builtinOptions": Table("SoftmaxOptions", {"beta": -0.5}),
            "mutatingVariableInputs": Vector.of("bool", [True, False]),
            "largeCustomOptionsOffset": 2**40,
            "debugMetadataIndex": 7,
        },
    )
    subgraph = Table("SubGraph", {"tensors": (tensor, tensor), "operators": (operator,)})
    whole = model(subgraphs=(subgraph,), description=b"", buffers=(buffer(b""), buffer(b"abc")))
    read, unread = decode(encode(whole))
    assert read == whole
    assert unread == ()


def test_values_equal_to_the_default_take_no_bytes_and_negative_zero_is_not_one():
    def option(alpha):
        operator = Table(
            "Operator",
            {
                "builtinOptionsType": 75,
                "builtinOptions": Table("LeakyReluOptions", {"alpha": alpha}),
            },
        )
        return encode(model(subgraphs=(Table("SubGraph", {"operators": (operator,)}),)))

    assert len(option(0.0)) <= len(option(1.0))
    read, _ = decode(option(-0.0))
    alpha = read.tables("subgraphs")[0].tables("operators")[0].get("builtinOptions").get("alpha")
    assert np.signbit(alpha)


def test_equal_parts_are_stored_once():
    data = bytes(range(256)) * 4
    one, ten = (encode(model(buffers=(buffer(data),) * count)) for count in (1, 10))
    assert len(ten) - len(one) <= 48


def test_a_shared_number_of_bytes_is_not_shared_between_kinds():
    # Two int32 and eight int8 hold the same bytes; their lengths differ.
    data = struct.pack("<2i", 5, 6)
    tensor = Table("Tensor", {"shape": Vector("i32", data)})
    subgraph = Table("SubGraph", {"tensors": (tensor,)})
    whole = model(subgraphs=(subgraph,), buffers=(buffer(data),))
    assert decode(encode(whole))[0] == whole


def test_buffers_are_aligned_to_16_and_numbers_to_their_width():
    for lengths in ([1, 2, 3], [16, 5, 0, 40], list(range(1, 40))):
        contents = [bytes([length]) * length for length in lengths]
        data = encode(model(description=b"x" * lengths[0], buffers=tuple(map(buffer, contents))))
        assert len(data) % 16 == 0
        for content in filter(None, contents):
            assert data.find(struct.pack("<I", len(content)) + content) % 16 == 12


def test_64_bit_numbers_are_aligned_to_8():
    for count in range(1, 6):
        zero_points = [0x1122334455667788 + i for i in range(count)]
        quantization = Table("QuantizationParameters", {"zeroPoint": Vector.of("i64", zero_points)})
        tensor = Table("Tensor", {"quantization": quantization, "name": b"n" * count})
        options = Table("RandomOptions", {"seed": 0x2233445566778899})
        operator = Table("Operator", {"builtinOptionsType": 117, "builtinOptions": options})
        subgraph = Table("SubGraph", {"tensors": (tensor,), "operators": (operator,)})
        data = encode(model(subgraphs=(subgraph,)))
        assert data.find(struct.pack("<q", zero_points[0])) % 8 == 0
        assert data.find(struct.pack("<q", 0x2233445566778899)) % 8 == 0


def test_the_generated_reader_reads_it_too():
    from ai_edge_litert import schema_py_generated as schema

    data = encode(model(description=b"hello", buffers=(buffer(b""), buffer(b"\x01\x02"))))
    read = schema.ModelT.InitFromPackedBuf(data)
    assert (read.version, read.description, len(read.buffers)) == (3, b"hello", 2)
    assert bytes(read.buffers[1].data) == b"\x01\x02"
