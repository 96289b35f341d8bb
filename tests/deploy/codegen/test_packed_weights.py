"""Packed weights: the codes of TensorFlow Lite Micro, whatever is unpacked at a time."""

import subprocess
import sys
from types import ModuleType

import numpy as np
import pytest

from deploy.codegen import CProgram, compile_bundle
from deploy.codegen.packing import PACKED_KERNELS
from deploy.codegen.program import CodegenError
from quantize.interpreter import open_interpreter

SEEDS = (*range(23), 47)
COUNT = 100
# By name: `deploy.codegen` has a function under the name of the module.
compiling = sys.modules["deploy.codegen.compile_bundle"]
blocks = sys.modules["deploy.codegen.blocks"]
packing = sys.modules["deploy.codegen.packing"]

SANITIZED = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "kt_model.h"
int main(void) {
    int8_t *buffer = (int8_t *)aligned_alloc(16, KT_MODEL_BUFFER_BYTES);
    int8_t codes[KT_NET_INPUT_BYTES];
    while (fread(codes, sizeof codes, 1, stdin) == 1) {
        memset(buffer, 0x5A, KT_MODEL_BUFFER_BYTES);
        memcpy(kt_net_input(buffer), codes, sizeof codes);
        kt_run_net(buffer);
        fwrite(kt_net_output(buffer), KT_NET_OUTPUT_BYTES, 1, stdout);
    }
    free(buffer);
    return 0;
}
"""


@pytest.fixture(scope="session")
def packed_networks(load) -> ModuleType:
    """The writer of random networks with weights of few codes."""
    return load("packed_networks.py")


@pytest.fixture
def network(packed_networks, flatbuffer_writer):
    return lambda seed, **options: packed_networks.packed_network(
        flatbuffer_writer(), seed, **options
    )


@pytest.fixture
def code_is_free(monkeypatch):
    """Pack whatever is smaller, also in networks of a few bytes."""
    monkeypatch.setattr(compiling, "packed_code_bytes", lambda functions: 0)
    monkeypatch.setattr(packing, "packed_code_bytes", lambda functions: 0)


@pytest.fixture
def blocks_are_small(monkeypatch, code_is_free):
    """Unpack as little at a time as can be."""
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 16)
    monkeypatch.setattr(blocks, "STRIP_BYTES", 24)
    monkeypatch.setattr(compiling, "rooms", lambda plan, paths: {})


def layers(program: CProgram) -> list[tuple[str, dict]]:
    """The packed layers: function, and fields of the parameters."""
    calls = [call for node in program.nodes.values() for step in node.steps for call in step.calls]
    return [
        (call.function, call.arguments[0].fields)
        for call in calls
        if call.function in PACKED_KERNELS.values()
    ]


def is_divided(fields: dict) -> bool:
    return fields["block"] < fields["op"].fields["out_c"]


@pytest.mark.parametrize("seed", SEEDS)
def test_equal_to_tflm(seed, network, packed_networks, lone_bundle, assert_equal_to_tflm,
                       code_is_free):  # fmt: skip
    bundle = lone_bundle(packed_networks.flatbuffer(network(seed)))
    assert_equal_to_tflm(bundle, count=COUNT, seed=seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_equal_to_tflm_in_small_blocks(
    seed, network, packed_networks, lone_bundle, assert_equal_to_tflm, blocks_are_small
):
    bundle = lone_bundle(packed_networks.flatbuffer(network(seed)))
    assert_equal_to_tflm(bundle, count=COUNT, seed=seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_equal_to_the_decode_of_tflm(
    seed, network, packed_networks, lone_bundle, build, code_is_free
):
    net = network(seed, allows_int4=False)
    compressed = packed_networks.compressed(net)
    program = compile_bundle(lone_bundle(compressed))
    plain = compile_bundle(lone_bundle(packed_networks.flatbuffer(net)))
    assert program.files["kt_model_data.h"] == plain.files["kt_model_data.h"]
    interpreter = open_interpreter(compressed, "tflm")
    shape = (COUNT, *interpreter.input.shape[1:])
    codes = np.random.default_rng(seed).integers(-128, 128, shape, np.int8)
    expected = interpreter.run(codes).reshape(COUNT, -1)
    np.testing.assert_array_equal(build(program).run("net", codes), expected)


def test_the_networks_hold_every_kernel_and_every_form(
    network, packed_networks, lone_bundle, blocks_are_small
):
    found, divided, tables = set(), set(), set()
    for seed in SEEDS:
        program = compile_bundle(lone_bundle(packed_networks.flatbuffer(network(seed))))
        for function, fields in layers(program):
            found |= {function, fields["unpack"].name}
            tables.add((fields["unpack"].name, fields["stride"] > 0))
            if is_divided(fields):
                divided.add((function, fields["op"].fields.get("groups", 1) > 1))
    assert found == {*PACKED_KERNELS.values(), "kt_unpack_int4"} | {
        f"kt_unpack_{bits}" for bits in range(1, 5)
    }
    assert tables == {(f"kt_unpack_{bits}", each) for bits in range(1, 5) for each in (0, 1)} | {
        ("kt_unpack_int4", False)
    }
    assert divided == {(name, False) for name in PACKED_KERNELS.values()} | {
        ("kt_packed_conv2d", True), ("kt_packed_depthwise_conv2d", True),
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("isa", ["portable", "dsp"])
def test_nothing_is_read_or_written_outside(
    isa, network, packed_networks, lone_bundle, write_program, stubs, run_compiler, tmp_path,
    blocks_are_small,
):  # fmt: skip
    sources = sorted(
        path for path in (stubs / "src").glob("kt_*.c")
        if '"kt_kernels.h"' in path.read_text() and not path.stem.endswith("_mve")
    )  # fmt: skip
    flags = ["-std=c11", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    flags += [f"-DKT_ISA=KT_ISA_{isa.upper()}", "-I", stubs / "include", "-I", stubs / "tests"]
    objects = []
    for path in sources:
        objects.append(tmp_path / f"{path.stem}.o")
        run_compiler("gcc", *flags, "-c", path, "-o", objects[-1])
    for seed in SEEDS[:8]:
        data = packed_networks.flatbuffer(network(seed))
        program = compile_bundle(lone_bundle(data), isa=isa)
        (tmp_path / "main.c").write_text(SANITIZED)
        generated = write_program(program, tmp_path)
        image = tmp_path / f"net{seed}"
        run_compiler("gcc", *flags, tmp_path / "main.c", *generated, *objects, "-o", image)
        interpreter = open_interpreter(data, "tflm")
        codes = np.random.default_rng(seed).integers(
            -128, 128, (5, *interpreter.input.shape[1:]), np.int8
        )
        done = subprocess.run([image], input=codes.tobytes(), capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        assert done.stdout == interpreter.run(codes).tobytes()


def test_what_does_not_pay_for_its_code_stays_plain(flatbuffer_writer, lone_bundle, network,
                                                    packed_networks):  # fmt: skip
    bundle = lone_bundle(packed_networks.flatbuffer(network(1)))
    assert compile_bundle(bundle).files == compile_bundle(bundle, pack_weights="never").files
    writer = flatbuffer_writer()
    random = np.random.default_rng(0)
    first = source = writer.tensor((1, 300), "INT8", 0.02, 3)
    for length, units, table in ((300, 200, [-90, -3, 4, 77]), (200, 2, np.arange(-60, 60, 8))):
        codes = random.choice(np.array(table, np.int8), (units, length))
        weights = writer.tensor(codes.shape, "INT8", 0.01, 0, codes)
        bias = writer.tensor((units,), "INT32", 2e-4, 0, np.zeros(units, np.int32))
        target = writer.tensor((1, units), "INT8", 0.5, 0)
        options = writer.schema.FullyConnectedOptionsT()
        writer.operator("FULLY_CONNECTED", [source, weights, bias], [target], options)
        source = target
    program = compile_bundle(lone_bundle(writer.bytes([first], [source])))
    # Indices of 4 bits would save the second layer 145 bytes, less than the code that reads them.
    assert [fields["unpack"].name for _, fields in layers(program)] == ["kt_unpack_2"]


def test_only_a_block_is_in_the_buffer_and_it_grows_into_what_is_to_spare(
    network, packed_networks, lone_bundle, code_is_free, monkeypatch
):
    bundle = lone_bundle(packed_networks.flatbuffer(network(20)))
    plain = compile_bundle(bundle, pack_weights="never")
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 64)
    grown = compile_bundle(bundle)
    monkeypatch.setattr(compiling, "rooms", lambda plan, paths: {})
    least = compile_bundle(bundle)
    assert least.buffer_bytes == grown.buffer_bytes > plain.buffer_bytes
    counts = [[fields["block"] for _, fields in layers(program)] for program in (least, grown)]
    assert all(before <= after for before, after in zip(*counts, strict=True))
    assert sum(counts[0]) < sum(counts[1])
    for program in (least, grown):
        scratch = [one for one in program.plan if one.label == "scratch, unpacked weights"]
        assert len(scratch) == len(layers(program))
        assert all(one.offset + one.size_bytes <= program.buffer_bytes for one in scratch)


def test_int16_activations_are_refused_by_name(flatbuffer_writer, lone_bundle):
    writer = flatbuffer_writer()
    source = writer.tensor((1, 8), "INT8", 0.02, 3)
    wide = writer.tensor((1, 8), "INT16", 0.001, 0)
    target = writer.tensor((1, 8), "INT8", 0.02, 3)
    options = writer.schema.QuantizeOptionsT
    writer.operator("QUANTIZE", [source], [wide], options())
    writer.operator("QUANTIZE", [wide], [target], options())
    with pytest.raises(CodegenError) as refused:
        compile_bundle(lone_bundle(writer.bytes([source], [target])))
    assert str(refused.value) == (
        "node 'net', operator 0, QUANTIZE: int8 activations are expected, received INT16 in tensor "
        "1: there are no kernels in plain C for int16 activations. Use TensorFlow Lite Micro for "
        "it (--runtime tflm), or precision int8."
    )


def test_generated_code_is_cplusplus_too(
    network,
    packed_networks,
    lone_bundle,
    write_program,
    stubs,
    run_compiler,
    tmp_path,
    code_is_free,
):
    for seed in SEEDS[:4]:
        program = compile_bundle(lone_bundle(packed_networks.flatbuffer(network(seed))))
        sources = write_program(program, tmp_path)
        run_compiler("g++", "-x", "c++", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wconversion",
                     "-fsyntax-only", "-I", stubs / "include", *sources)  # fmt: skip


def test_packing_can_be_switched_off(network, packed_networks, lone_bundle, code_is_free):
    bundle = lone_bundle(packed_networks.flatbuffer(network(8)))
    packed = compile_bundle(bundle)
    plain = compile_bundle(bundle, pack_weights="never")
    assert packed.packs_weights
    assert layers(packed)
    assert not plain.packs_weights
    assert not layers(plain)
    assert "kt_packed" not in "".join(plain.files.values())
    assert packed.stored_bytes + packed.parameter_bytes < plain.stored_bytes + plain.parameter_bytes
    with pytest.raises(CodegenError, match="`pack_weights` must be one of auto, never, received"):
        compile_bundle(bundle, pack_weights="always")
