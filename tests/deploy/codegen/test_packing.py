"""Weights as indices: the fewest bytes, the same codes again, and sizes of what is unpacked."""

import ctypes
import hashlib

import numpy as np
import pytest

from deploy.codegen import compile_bundle
from deploy.codegen.blocks import BLOCK_BYTES, STRIP_BYTES, choose_blocks
from deploy.codegen.lowering.op import int4_codes
from deploy.codegen.packing import (
    Saving,
    pack_weights,
    packed_code_bytes,
    unpacked,
    worthwhile,
)
from deploy.models import load_models

LAYER = {
    "in_h": 12, "in_w": 10, "in_c": 64, "out_h": 12, "out_w": 10, "out_c": 66,
    "kernel_h": 3, "kernel_w": 3, "stride_h": 1, "stride_w": 1, "dilation_h": 1, "dilation_w": 1,
    "pad_top": 1, "pad_left": 1, "groups": 1,
}  # fmt: skip
# sha256 over the generated files of models whose weights have too many codes to be packed, as the
# compiler wrote them before it could pack any.
AS_BEFORE = {
    ("mlperftiny__ad01_int8", "portable"): "2dc66630ad66911b",
    ("mlperftiny__ad01_int8", "dsp"): "2afc51f20179e0e4",
    ("mlperftiny__ad01_int8", "mve"): "7b6d8ef7955a4dc7",
    ("mlperftiny__kws_ref_model", "portable"): "0337ccf9d21c307d",
    ("mlperftiny__kws_ref_model", "dsp"): "1eafea9106acc84a",
    ("mlperftiny__kws_ref_model", "mve"): "93cccacf1c752cee",
    ("mlperftiny__pretrainedResnet_quant", "portable"): "7d1da137fa0b1ba5",
    ("mlperftiny__pretrainedResnet_quant", "dsp"): "4ff93cfe7470ba11",
    ("mlperftiny__pretrainedResnet_quant", "mve"): "9bec59fcc443b9df",
    ("tflm__micro_speech_quantized", "portable"): "7021ae482c741830",
    ("tflm__micro_speech_quantized", "dsp"): "366073c38622f230",
    ("tflm__micro_speech_quantized", "mve"): "ffa1e5ee2e392609",
}


def drawn(rows: int, columns: int, axis: int, count: int, seed: int = 0) -> np.ndarray:
    """Weights of at most `count` codes a channel."""
    random = np.random.default_rng(seed)
    channels, length = (rows, columns) if axis == 0 else (columns, rows)
    tables = random.integers(-128, 128, (channels, count)).astype(np.int8)
    indices = random.integers(0, count, (channels, length))
    codes = np.take_along_axis(tables, indices, 1)
    return np.ascontiguousarray(codes if axis == 0 else codes.T)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8, 9, 16])
@pytest.mark.parametrize("size", [(1, 97), (7, 113), (8, 128), (33, 61), (64, 255)])
def test_the_same_codes_again(axis, count, size):
    weights = drawn(*size, axis, count)
    packed = pack_weights(weights, axis)
    if packed is None:
        return
    np.testing.assert_array_equal(unpacked(packed, weights.shape[1], axis), weights)
    assert packed.size_bytes < weights.size
    assert packed.bits <= max(1, (count - 1).bit_length())
    assert packed.row_bytes == -(-weights.shape[1] * packed.bits // 8)
    assert packed.indices.size == packed.row_bytes * len(weights)


@pytest.mark.parametrize("count", [2, 4, 8, 16])
def test_long_filters_take_the_bits_of_an_index_and_a_table(count):
    bits = (count - 1).bit_length()
    packed = pack_weights(drawn(64, 576, 0, count), 0)
    assert (packed.unpack, packed.table.shape) == (f"kt_unpack_{bits}", (64, count))
    assert packed.size_bytes == 64 * 576 * bits // 8 + 64 * count + 40


def test_one_table_where_channels_share_their_codes():
    random = np.random.default_rng(1)
    weights = random.choice(np.array([-90, -3, 4, 77], np.int8), (40, 32))
    packed = pack_weights(weights, 0)
    assert (packed.table.tolist(), packed.stride) == ([-90, -3, 4, 77], 0)


def test_int4_codes_need_no_table():
    weights = np.random.default_rng(2).integers(-8, 8, (9, 65)).astype(np.int8)
    packed = pack_weights(weights, 0)
    assert (packed.unpack, packed.table, packed.row_bytes) == ("kt_unpack_int4", None, 33)
    np.testing.assert_array_equal(unpacked(packed, 65, 0), weights)


def test_many_codes_and_small_tensors_stay_as_they_are():
    codes = np.tile(np.arange(17, dtype=np.int8) * 5, (17, 8))
    assert pack_weights(codes, 0) is None
    assert pack_weights(np.zeros((4, 10), np.int8), 0) is None
    assert pack_weights(drawn(4, 9, 0, 4), 0) is None


def test_int4_tensors_are_read_low_half_first():
    data = bytes([0x21, 0x8F, 0x07])
    assert int4_codes(data, (5,)).tolist() == [1, 2, -1, -8, 7]
    assert int4_codes(data, (2, 3)).tolist() == [[1, 2, -1], [-8, 7, 0]]


@pytest.mark.parametrize("bits", ["1", "2", "3", "4", "int4"])
def test_the_functions_in_c_unpack_the_same(bits, kernels, stubs, run_compiler, tmp_path):
    library = tmp_path / "unpack.so"
    run_compiler("gcc", "-O2", "-shared", "-fPIC", "-I", stubs / "include",
                 stubs / "src" / f"kt_unpack_{bits}.c", "-o", library)  # fmt: skip
    unpack = getattr(ctypes.CDLL(str(library)), f"kt_unpack_{bits}")
    random = np.random.default_rng(3)
    width = 4 if bits == "int4" else int(bits)
    for count in (1, 2, 3, 7, 8, 9, 15, 16, 17, 64, 101):
        stream = random.integers(0, 256, -(-count * width // 8)).astype(np.uint8)
        for step in (0,) if bits == "int4" else (0, 2**width, 13):
            entries = 2**width + step * count
            table = random.integers(-128, 128, entries).astype(np.int8)
            codes = np.full(count + 1, 99, np.int8)
            pointers = [ctypes.c_void_p(one.ctypes.data) for one in (stream, table, codes)]
            unpack(pointers[0], pointers[1], step, count, pointers[2])
            spread = np.unpackbits(stream, bitorder="little")[: count * width]
            indices = spread.reshape(count, width) @ (1 << np.arange(width))
            expected = table[indices + step * np.arange(count)]
            if bits == "int4":
                whole = count // 8 * 8  # of eight, even places hold the first four
                eights = indices[:whole].reshape(-1, 4, 2).transpose(0, 2, 1)
                expected = np.append(eights.ravel(), indices[whole:]) - 8
            np.testing.assert_array_equal(codes[:-1], expected)
            assert codes[-1] == 99


def test_blocks_take_what_there_is_to_spare():
    filter_bytes = 9 * 64
    least = choose_blocks("kt_conv2d", LAYER, "portable", None)
    assert least.block == 4
    assert least.rows == STRIP_BYTES // (10 * 4)
    assert least.scratch_bytes == 4 * filter_bytes + least.rows * 40
    more = choose_blocks("kt_conv2d", LAYER, "portable", 20 * filter_bytes)
    assert 4 < more.block < 20
    assert more.scratch_bytes <= 20 * filter_bytes
    whole = choose_blocks("kt_conv2d", LAYER, "portable", 66 * filter_bytes)
    assert (whole.block, whole.scratch_bytes) == (66, 66 * filter_bytes)
    assert choose_blocks("kt_conv2d", LAYER, "portable", 0) == least
    # A depthwise layer in blocks needs its input in blocks too, which is more than its weights.
    depthwise = choose_blocks("kt_depthwise_conv2d", LAYER | {"in_c": 66}, "portable", None)
    assert (depthwise.block, depthwise.scratch_bytes) == (66, 596)
    wide = LAYER | {"in_c": 640, "out_c": 640}
    divided = choose_blocks("kt_depthwise_conv2d", wide, "portable", None)
    assert divided.block == 112
    assert divided.scratch_bytes < 640 * 9


@pytest.mark.parametrize("isa", ["portable", "dsp", "mve"])
@pytest.mark.parametrize("room", [None, 0, 700, 3_000, 100_000])
@pytest.mark.parametrize(
    ("function", "changes"),
    [
        ("kt_conv2d", {}),
        ("kt_conv2d", {"groups": 2}),
        ("kt_conv2d", {"out_c": 3}),
        ("kt_conv2d_1x1", {"kernel_h": 1, "kernel_w": 1, "out_h": 120, "out_w": 1}),
        ("kt_depthwise_conv2d", {"in_c": 66}),
        ("kt_depthwise_conv2d", {"in_c": 22, "groups": 3}),
        ("kt_fully_connected", {"rows": 1}),
        ("kt_fully_connected", {"rows": 9}),
    ],
)
def test_blocks_are_what_the_kernels_ask_for(function, changes, room, isa):
    sizes = LAYER | changes
    found = choose_blocks(function, sizes, isa, room)
    assert 0 <= found.weights_at < found.output_at <= found.input_at <= found.scratch_bytes
    assert not any(one % 4 for one in (found.weights_at, found.output_at, found.input_at))
    assert 1 <= found.block <= sizes["out_c"]
    if found.block == sizes["out_c"]:
        return
    if function == "kt_depthwise_conv2d":
        assert found.block % 8 == found.block % sizes["groups"] == 0
    elif sizes["groups"] > 1 and function == "kt_conv2d":
        assert found.block % (sizes["out_c"] // sizes["groups"]) == 0
    else:
        assert found.block >= 4
    if room is None:
        assert found.weights_bytes <= max(BLOCK_BYTES, 33 * 9 * 32)


def test_the_code_that_unpacks_is_counted_once():
    dense = {"kt_packed_fully_connected", "kt_unpack_2"}
    assert packed_code_bytes({"kt_conv2d", "kt_softmax"}) == 0
    both = packed_code_bytes(dense | {"kt_packed_conv2d", "kt_unpack_4"})
    assert packed_code_bytes(dense) < both < packed_code_bytes(dense) + 1_500


def test_the_functions_that_save_the_most_are_chosen():
    def layer(saved_bytes: int, *functions: str) -> Saving:
        return Saving(frozenset(functions), saved_bytes)

    dense, conv = "kt_packed_fully_connected", "kt_packed_conv2d"
    large = layer(20_000, conv, "kt_unpack_2")
    assert worthwhile([]) == frozenset()
    assert worthwhile([layer(400, dense, "kt_unpack_2")]) == frozenset()
    assert worthwhile([large, layer(100, dense, "kt_unpack_4")]) == {conv, "kt_unpack_2"}
    # Each alone does not pay for its kernel, and both do.
    small = [layer(400, dense, "kt_unpack_2"), layer(500, dense, "kt_unpack_2")]
    assert worthwhile(small[:1]) == worthwhile(small[1:]) == frozenset()
    assert worthwhile(small) == {dense, "kt_unpack_2"}
    assert worthwhile([large, layer(-40, conv, "kt_unpack_4")]) == {conv, "kt_unpack_2"}


@pytest.mark.parametrize(("model", "isa"), AS_BEFORE)
def test_models_without_few_valued_weights_compile_to_the_same_bytes(shared, model, isa):
    program = compile_bundle(load_models([shared / "models" / f"{model}.tflite"]), isa)
    text = "".join(f"{name}\n{content}" for name, content in sorted(program.files.items()))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == AS_BEFORE[model, isa]
    assert not program.packs_weights
