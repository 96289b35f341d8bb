"""Equal arrays are stored once, across operators, nodes and tasks."""

from dataclasses import replace

import numpy as np
import pytest

from deploy.codegen import compile_bundle
from deploy.codegen.constants import ConstantStore
from quantize.flatbuffer import pack, unpack


@pytest.fixture(scope="module")
def siblings(tree_writer):
    """Two branches of equal weights; biases and the scales of the output differ."""
    layers = [("conv", 12), ("dense", 20)]
    nodes = {"trunk": [("conv", 16)], "a": layers, "b": layers}
    bundle = tree_writer(nodes, {"a": ("trunk", "a"), "b": ("trunk", "b")})
    first = unpack(bundle.nodes["a"].data)
    for tensor in first.subgraphs[0].tensors:
        data = first.buffers[tensor.buffer].data
        if tensor.type == 2 and data is not None:  # INT32: a bias
            first.buffers[tensor.buffer].data = np.frombuffer(
                (np.frombuffer(bytes(data), np.int32) + 77).tobytes(), np.uint8
            )
    output = first.subgraphs[0].tensors[first.subgraphs[0].outputs[0]]
    output.quantization.scale = output.quantization.scale * np.float32(0.7)
    changed = replace(
        bundle.nodes["a"],
        name="b",
        data=pack(first),
        output=replace(bundle.nodes["a"].output, scale=float(output.quantization.scale[0])),
    )
    return replace(bundle, nodes=bundle.nodes | {"b": changed})


def test_tasks_share_weights_and_not_biases(siblings, assert_equal_to_tflm):
    program = compile_bundle(siblings)
    shared = [one for one in program.constants if one.nodes == ("a", "b")]
    kinds = {one.users[0].rsplit(", ", 1)[1] for one in shared}
    assert {"weights"} <= kinds
    assert "bias" not in kinds
    weights = 12 * 9 * 16 + 20 * 6 * 6 * 12
    assert sum(one.size_bytes for one in shared if one.size_bytes > 1000) == weights
    assert program.shared_bytes >= weights
    alone = [compile_bundle(siblings, tasks=task).stored_bytes for task in "ab"]
    assert program.stored_bytes < sum(alone) - weights
    assert_equal_to_tflm(siblings, count=20)


def test_what_is_stored_is_counted_once(siblings):
    program = compile_bundle(siblings)
    assert program.stored_bytes == sum(len(one.data) for one in program.constants)
    used = sum(len(one.data) * len(one.users) for one in program.constants)
    assert program.stored_bytes + program.shared_bytes == used
    assert len({(one.dtype, one.data) for one in program.constants}) == len(program.constants)


def test_content_and_type_make_an_array(siblings):
    store = ConstantStore()
    zeros = store.add(np.zeros(4, np.int8), "x: 0, a")
    assert store.add(np.zeros((2, 2), np.int8), "x: 1, a") == zeros
    assert store.add(np.zeros(1, np.int32), "x: 2, a") != zeros
    assert store.add(np.zeros(5, np.int8), "x: 3, a") != zeros
    first = store.stored()[0]
    assert first.users == ("x: 0, a", "x: 1, a")
    assert first.nodes == ("x",)


def test_the_largest_alignment_of_all_uses_holds():
    store = ConstantStore()
    for alignment in (1, 16, 4):
        store.add(np.arange(8, dtype=np.int8), "x: 0, weights", alignment)
    assert [one.alignment for one in store.stored()] == [16]


def test_numbers_are_stored_in_little_endian():
    store = ConstantStore()
    store.add(np.array([1], np.int32), "x: 0, bias")
    assert store.stored()[0].data == b"\1\0\0\0"


@pytest.mark.parametrize(
    "name",
    ["mlperftiny__ad01_int8", "mlperftiny__kws_ref_model", "mlperftiny__pretrainedResnet_quant",
     "tflm__micro_speech_quantized"],
)  # fmt: skip
def test_constants_are_smaller_than_the_stripped_flatbuffer(shared, name):
    from deploy.models import load_models
    from quantize.strip import strip

    bundle = load_models([shared / "models" / f"{name}.tflite"])
    program = compile_bundle(bundle)
    (data,) = (node.data for node in bundle.nodes.values())
    assert program.stored_bytes + program.parameter_bytes < len(strip(data))
