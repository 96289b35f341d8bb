import random
import struct
import time
import tracemalloc

import pytest

from quantize.wire.encoding import FlatbufferError, Table, Vector
from quantize.wire.reader import decode
from quantize.wire.writer import encode


def test_the_places_of_a_newer_schema_are_told(trunk_bytes):
    model, _ = decode(trunk_bytes)
    # An operator's options of a type that this schema has no table for.
    (subgraph,) = model.tables("subgraphs")
    first = subgraph.tables("operators")[0].replace(builtinOptionsType=200)
    newer = model.replace(
        subgraphs=(subgraph.replace(operators=(first, *subgraph.tables("operators")[1:])),)
    )
    read, unread = decode(encode(newer))
    assert unread == ("Model.subgraphs[0].operators[0].builtinOptions of type 200",)
    assert read.tables("subgraphs")[0].tables("operators")[0].get("builtinOptions") is None


def hand_written(slots: list[int], body: bytes) -> bytes:
    """A Model table with the given vtable slots and inline bytes after its vtable's offset."""
    vtable = struct.pack(f"<{len(slots) + 2}H", 4 + 2 * len(slots), 4 + len(body), *slots)
    vtable += bytes(-len(vtable) % 4)
    return (
        struct.pack("<I4s", 8 + len(vtable), b"TFL3")
        + vtable
        + struct.pack("<i", len(vtable))
        + body
    )


def test_a_slot_beyond_the_schema_is_told():
    model, unread = decode(hand_written([4] + [0] * 10 + [8], struct.pack("<II", 3, 77)))
    assert model.get("version") == 3
    assert unread == ("Model slot 11",)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, "received NoneType"),
        ("model.tflite", "received str"),
        (b"", "b'' in 0 bytes"),
        (b"TFL3", "TFL3 at byte 4"),
        (b"PK\x03\x04" * 100, "TFL3 at byte 4"),
        (b"\x00\x00\x00\x00TFL3", "an offset of at least 4 to Model, received 0"),
        (b"\xff\xff\xff\xffTFL3", "a file of 8 bytes"),
        (b"\x08\x00\x00\x00TFL3", "all of Model"),
        (b"\x08\x00\x00\x00TFL3\x00\x00\x00\x80", "all of Model"),
        (hand_written([2], b"\0" * 8), "Model.version within its table"),
        (hand_written([12], b"\0" * 8), "Model.version within its table"),
        # A vector of operator codes of four thousand million elements.
        (
            hand_written([0, 4], struct.pack("<II", 4, 2**32 - 1)),
            "the 4294967295 elements of Model.operatorCodes",
        ),
        (hand_written([0, 0, 0, 4], struct.pack("<II", 4, 2**31)), "Model.description"),
        (hand_written([0, 0, 0, 4], struct.pack("<II4s", 4, 3, b"abcd")), "with a 0"),
    ],
)
def test_damage_is_named(data, words):
    with pytest.raises(FlatbufferError, match=words):
        decode(data)


def test_every_truncation_is_refused(trunk_bytes):
    for length in range(0, len(trunk_bytes), 7):
        with pytest.raises(FlatbufferError):
            decode(trunk_bytes[:length])


def overlapping(tensor_count: int, size: int) -> bytes:
    """Tensors whose shapes each claim all that follows in one vector of `size` numbers."""
    from ai_edge_litert import schema_py_generated as schema

    # Read at element i, the vector's own numbers are the count of a vector.
    shape = Vector.of("i32", range(size - 1, -1, -1))
    tensors = tuple(Table("Tensor", {"shape": shape, "buffer": i}) for i in range(1, tensor_count))
    data = bytearray(
        encode(Table("Model", {"subgraphs": (Table("SubGraph", {"tensors": tensors}),)}))
    )
    subgraph = schema.Model.GetRootAs(data).Subgraphs(0)
    for i in range(subgraph.TensorsLength()):
        table = subgraph.Tensors(i)._tab
        place = table.Pos + table.Offset(4)
        struct.pack_into("<I", data, place, struct.unpack_from("<I", data, place)[0] + 4 * i)
    return bytes(data)


def test_objects_that_overlap_cannot_ask_for_endless_work():
    assert decode(overlapping(3, 4000))
    began = time.perf_counter()
    with pytest.raises(FlatbufferError, match="ones that overlap"):
        decode(overlapping(2000, 4000))
    assert time.perf_counter() - began < 2


def test_one_object_in_many_places_cannot_ask_for_endless_work():
    tensor = Table("Tensor", {"shape": Vector("i32", bytes(40))})
    subgraph = Table("SubGraph", {"tensors": (tensor,) * 1000})
    assert decode(encode(Table("Model", {"subgraphs": (subgraph,)})))
    bomb = encode(Table("Model", {"subgraphs": (subgraph,) * 1000}))
    assert len(bomb) < 10_000
    with pytest.raises(FlatbufferError, match="ones that overlap"):
        decode(bomb)


def mutations(data: bytes, count: int, seed: int):
    """Bytes with bits flipped, words overwritten, parts cut, moved or repeated."""
    chance = random.Random(seed)
    for _ in range(count):
        changed = bytearray(data)
        for _ in range(chance.choice((1, 1, 2, 5, 20))):
            place = chance.randrange(len(changed) - 4)
            match chance.randrange(5):
                case 0:
                    changed[place] ^= 1 << chance.randrange(8)
                case 1:
                    value = chance.choice((0, 1, 2**31 - 1, 2**31, 2**32 - 1, len(data)))
                    struct.pack_into("<I", changed, place & ~3, value)
                case 2:
                    changed[place] = chance.randrange(256)
                case 3:
                    other = chance.randrange(len(changed) - 4)
                    changed[place : place + 4] = changed[other : other + 4]
                case 4:
                    struct.pack_into("<I", changed, place & ~3, chance.randrange(len(data)))
        if chance.random() < 0.2:
            del changed[chance.randrange(8, len(changed)) :]
        yield bytes(changed)


def assert_only_flatbuffer_errors(read, data, count, seed):
    refused = 0
    began = time.perf_counter()
    for mutated in mutations(data, count, seed):
        try:
            read(mutated)
        except FlatbufferError:
            refused += 1
    assert time.perf_counter() - began < 20
    assert 0 < refused < count


def test_damaged_files_end_in_one_error(trunk_bytes, branch_bytes):
    assert_only_flatbuffer_errors(decode, trunk_bytes, 500, seed=1)
    assert_only_flatbuffer_errors(decode, branch_bytes, 500, seed=2)


def test_damaged_files_take_little_memory(trunk_bytes):
    tracemalloc.start()
    assert_only_flatbuffer_errors(decode, trunk_bytes, 200, seed=3)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 1 << 20
