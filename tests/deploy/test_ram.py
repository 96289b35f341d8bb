"""The arena of a node: simulated against measured cores, piece by piece, and from a recording."""

import dataclasses
import random
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.footprint_models import (
    ARENAS,
    arena_errors,
    measured_graph,
    measured_memory,
    shared_arena_errors,
)
from deploy.footprint import node_arena
from deploy.footprint.arena import node_memory, round_up, shared_objects_bytes, unknown_operators
from deploy.footprint.cmsis_nn import (
    Window,
    convolution_int16_scratch_bytes,
    convolution_scratch_bytes,
    depthwise_int4_scratch_bytes,
    depthwise_scratch_bytes,
)
from deploy.footprint.cores import CoreError
from deploy.footprint.kernel_buffers import KernelSet
from deploy.footprint.memory_planner import PlannedBuffer, plan_bytes
from deploy.footprint.operator_memory import _ROWS, operator_memory
from deploy.footprint.ram import node_ram, recorded_arena_bytes, simulated_reference_bytes
from deploy.footprint.recording import corrected_arena_bytes, recorded_memory
from deploy.footprint.rom import _STAND_INS, RomError, runtime_rom
from deploy.footprint.shared_arena import share_arena
from deploy.footprint.structs import struct_sizes
from quantize.flatbuffer import FlatbufferError
from quantize.interpreter import ArenaRecording, record_arena

STRUCTS = struct_sizes(short_enums=True)
SHARED_BYTES = shared_objects_bytes(STRUCTS)
REFERENCE = KernelSet(cmsis_nn=False, has_dsp=False, has_mve=False)
VECTOR = KernelSet(cmsis_nn=True, has_dsp=False, has_mve=True)
MODELS = {
    "kws": "mlperftiny__kws_ref_model",
    "ad": "mlperftiny__ad01_int8",
    "resnet": "mlperftiny__pretrainedResnet_quant",
    "micro_speech": "tflm__micro_speech_quantized",
}
# Used bytes and the smallest arena that works, as measured elsewhere on the same revision.
PUBLISHED = {
    ("kws", "cortex-m4", "reference"): (22_772, 22_772),
    ("kws", "cortex-m4", "cmsis-nn"): (22_820, 22_820),
    ("kws", "cortex-m3", "cmsis-nn"): (22_820, 22_820),
    ("kws", "cortex-m33", "cmsis-nn"): (22_820, 22_820),
    ("kws", "cortex-m55", "cmsis-nn-int8"): (27_348, 27_348),
    ("ad", "cortex-m4", "reference"): (2_260, 2_700),
    ("ad", "cortex-m4", "cmsis-nn"): (2_580, 3_012),
    ("ad", "cortex-m3", "cmsis-nn"): (2_580, 3_012),
    ("ad", "cortex-m33", "cmsis-nn-int8"): (2_580, 3_012),
    ("ad", "cortex-m55", "cmsis-nn"): (9_268, 9_700),
    ("resnet", "cortex-m4", "reference"): (54_340, 54_340),
    ("resnet", "cortex-m4", "cmsis-nn"): (54_996, 54_996),
    ("resnet", "cortex-m3", "cmsis-nn"): (54_980, 54_980),
    ("resnet", "cortex-m33", "cmsis-nn"): (54_996, 54_996),
    ("resnet", "cortex-m55", "cmsis-nn"): (55_028, 55_028),
}


@pytest.mark.parametrize("build", ARENAS["builds"])
def test_every_measured_node_is_exact_and_never_too_small(build: str) -> None:
    errors = [case for case in arena_errors() if case[0] == build]
    assert len(errors) >= 3
    for _, name, used, minimum in errors:
        assert used == 0, name
        assert minimum is None or 0 <= minimum <= 16, name


def test_several_nodes_in_one_allocator_are_exact() -> None:
    errors = list(shared_arena_errors())
    assert len(errors) == 24
    for build, names, used, minimum in errors:
        assert used == 0, (build, names)
        assert minimum is not None
        assert 0 <= minimum <= 16, (build, names)


@pytest.mark.parametrize(
    ("build", "used", "minimum"),
    [("m4-ref", 6_580, 6_592), ("m4-cmsis", 6_644, 6_656), ("m55-cmsis", 9_588, 9_600)],
)
def test_a_trunk_and_a_branch_share_an_arena(build: str, used: int, minimum: int) -> None:
    trunk, branch = measured_memory("T", build), measured_memory("B", build)
    both = share_arena((trunk, branch), SHARED_BYTES)
    assert (both.used_bytes, both.minimum_bytes) == (used, minimum)
    # The branch adds its own tail, without the allocator's objects.
    alone = branch.tail_bytes(SHARED_BYTES)
    assert both.tail_bytes == trunk.tail_bytes(SHARED_BYTES) + alone - SHARED_BYTES
    assert both.head_bytes == max(trunk.head_bytes, branch.head_bytes)


@pytest.mark.parametrize("case", PUBLISHED, ids=lambda case: "-".join(case))
def test_public_models(shared: Path, case: tuple[str, str, str]) -> None:
    model, core, kernels = case
    used, minimum = PUBLISHED[case]
    data = (shared / "models" / f"{MODELS[model]}.tflite").read_bytes()
    arena = node_arena(data, core, kernels)
    assert arena.used_bytes == used
    assert minimum <= arena.minimum_bytes <= minimum + 16
    assert arena.minimum_bytes % 16 == 0
    low, high = arena.error_percent
    assert (
        arena.minimum_bytes * (1 + low / 100) <= minimum <= arena.minimum_bytes * (1 + high / 100)
    )


def test_a_node_with_a_small_head_needs_more_to_plan_than_to_run() -> None:
    arena = share_arena((measured_memory("ad", "m4-ref"),), SHARED_BYTES)
    assert arena.used_bytes == 2_260
    assert arena.planning_bytes == 436
    assert arena.minimum_bytes == 2_704


def test_preparing_a_wide_layer_needs_more_than_planning() -> None:
    """A described tensor holds a zero point per channel while its operator is prepared."""
    memory = measured_memory("fc_big", "m4-ref")
    planning = [peak.temporary_bytes for peak in memory.peaks]
    assert max(planning[:-1]) > planning[-1] + 1_000


def test_no_order_of_allocation_needs_less_than_all_tails_and_the_largest_head() -> None:
    memories = [measured_memory(name, "m4-ref") for name in ("fc_big", "T", "B", "resid", "mean")]
    shuffled = random.Random(7).sample(memories, len(memories))
    for order in (memories, shuffled):
        arena = share_arena(tuple(order), SHARED_BYTES)
        tails = sum(memory.tail_bytes(SHARED_BYTES) - SHARED_BYTES for memory in order)
        assert abs(arena.tail_bytes - tails - SHARED_BYTES) <= 12 * len(order)
        assert arena.head_bytes == max(memory.head_bytes for memory in order)
        assert order[arena.largest].head_bytes == arena.head_bytes


# The planner.


def buffers(*rows: tuple[int, int, int]) -> list[PlannedBuffer]:
    return [PlannedBuffer(*row) for row in rows]


@pytest.mark.parametrize(
    ("planned", "expected"),
    [
        ([], 0),
        ([(64, 0, 1)], 64),
        ([(64, 0, 1), (32, 2, 3)], 64),
        ([(64, 0, 1), (32, 1, 3)], 96),
        ([(0, 0, 5), (16, 1, 1)], 16),
        # A chain: neighbours side by side, the third back at the start.
        ([(96, 0, 1), (64, 1, 2), (32, 2, 3)], 160),
        # The greedy choice is not the best one: 96 would do.
        ([(32, 0, 1), (48, 1, 2), (32, 2, 3), (48, 3, 4), (64, 0, 0)], 96),
    ],
)
def test_the_planner_places_the_largest_first(planned: list, expected: int) -> None:
    assert plan_bytes(buffers(*planned)) == expected


@given(
    st.lists(
        st.tuples(st.integers(0, 6), st.integers(0, 8), st.integers(0, 4)).map(
            lambda row: PlannedBuffer(16 * row[0], row[1], row[1] + row[2])
        ),
        max_size=12,
    )
)
def test_a_plan_holds_what_is_alive_at_once(planned: list[PlannedBuffer]) -> None:
    alive = [
        sum(one.size_bytes for one in planned if one.first_step <= step <= one.last_step)
        for step in range(14)
    ]
    assert max(alive) <= plan_bytes(planned) <= sum(one.size_bytes for one in planned)


# Scratch memory of CMSIS-NN: sizes that images on the three kinds of core asked for.


def window(size: int, channels: int, kernel: tuple[int, int], outputs: int, pad: int) -> Window:
    return Window(
        (size, size), channels, kernel, channels, (size, size), outputs, (1, 1), (1, 1), (pad, pad)
    )


@pytest.mark.parametrize(
    ("kernel", "channels", "plain", "vector"),
    [((3, 3), 1, 48, 64), ((10, 4), 1, 160, 192), ((3, 3), 3, 112, 128), ((3, 3), 64, 2304, 2304)],
)
def test_scratch_of_a_convolution(
    kernel: tuple[int, int], channels: int, plain: int, vector: int
) -> None:
    shape = window(9, channels, kernel, 8, 1)
    assert convolution_scratch_bytes(shape, has_mve=False) == plain
    assert convolution_scratch_bytes(shape, has_mve=True) == vector
    assert convolution_scratch_bytes(window(9, channels, (1, 1), 8, 0), has_mve=False) == 0


def test_scratch_of_a_depthwise_convolution() -> None:
    small, large = window(9, 8, (3, 3), 8, 1), window(9, 40, (3, 1), 40, 0)
    assert depthwise_scratch_bytes(small, has_dsp=True, has_mve=False) == 0
    assert depthwise_scratch_bytes(small, has_dsp=False, has_mve=True) == 4_464
    assert depthwise_scratch_bytes(large, has_dsp=True, has_mve=False) == 240
    assert depthwise_scratch_bytes(large, has_dsp=False, has_mve=False) == 0
    assert depthwise_scratch_bytes(large, has_dsp=False, has_mve=True) == 1_488


def test_scratch_of_other_types_than_int8() -> None:
    small, dilated = window(9, 8, (3, 3), 8, 1), window(9, 8, (3, 3), 8, 1)
    dilated = dataclasses.replace(dilated, dilation=(2, 1))
    assert depthwise_int4_scratch_bytes(small, has_mve=False) == 144
    assert depthwise_int4_scratch_bytes(small, has_mve=True) == 4_464
    assert depthwise_int4_scratch_bytes(dilated, has_mve=True) == 0
    assert convolution_int16_scratch_bytes(small, has_mve=False) == 288
    assert convolution_int16_scratch_bytes(window(9, 3, (3, 3), 8, 1), has_mve=True) == 256
    # Unlike for int8, 1x1 is no case of its own.
    assert convolution_int16_scratch_bytes(window(9, 5, (1, 1), 8, 0), has_mve=False) == 20


# Weights that are decoded, int4 weights, int16 activations.


@pytest.mark.parametrize("build", ["m4-ref", "m4-cmsis", "m55-cmsis"])
def test_decoded_weights_take_the_arena_while_they_are_used(build: str) -> None:
    plain, stored = (measured_memory(name, build) for name in ("fc_big", "fc_big_lut4"))
    # The 500 x 64 weights of the first layer beside its input and its output.
    assert stored.head_bytes - plain.head_bytes >= 500 * 64 - 16
    # Two operators more, which keep nothing, and three tensors for each encoded one.
    structs = 2 * (32 + 2 * 12)
    kernel_sums = round_up(4 * 500, 16) + round_up(4 * 9, 16) if build == "m55-cmsis" else 0
    grown = stored.tail_bytes(SHARED_BYTES) - plain.tail_bytes(SHARED_BYTES)
    assert abs(grown - structs + kernel_sums) <= 16


def test_int16_tables_of_softmax_stay_allocated() -> None:
    plain, wide = (measured_memory(name, "m4-ref") for name in ("B", "B_16x8"))
    grown = wide.tail_bytes(SHARED_BYTES) - plain.tail_bytes(SHARED_BYTES)
    # Two tables of 513 numbers; its dense layer has one scale instead of ten.
    assert grown == 2 * round_up(2 * 513, 16) - 2 * round_up(4 * 10, 16)


def test_reference_kernels_unpack_int4_weights_into_the_arena() -> None:
    graph = measured_graph("kws_int4")
    convolutions = (operator for operator in graph.operators if operator.name == "CONV_2D")
    known = [operator_memory(operator, graph, REFERENCE) for operator in convolutions]
    unpacked = [memory.buffers.scratch for memory in known if memory is not None]
    assert unpacked[0] == (64 * 10 * 4,)
    assert set(unpacked[1:]) == {(64 * 64,)}


@pytest.mark.parametrize("name", ["T_lut4", "B_lut4", "fc_big_lut4", "T_int4", "T_16x8"])
def test_a_recording_of_a_compressed_node_is_near(name: str) -> None:
    graph, (head, tail, _) = measured_graph(name), ARENAS["nodes"][name]["measured"]["m4-ref"]
    persistent = {
        # Buffers at the tail as the wheel of October 2026 records them, on 64 bits.
        "T_lut4": 820, "B_lut4": 740, "fc_big_lut4": 4_564, "T_int4": 524, "T_16x8": 540,
    }[name]  # fmt: skip
    recording = recording_of(head, persistent, len(graph.tensors), len(graph.operators))
    assert abs(corrected_arena_bytes(recording, graph) - head - tail) <= 32


# What is known, and what is not.


def test_nearly_every_known_operator_was_measured() -> None:
    seen = {
        name for node in ARENAS["nodes"].values() for name, *_ in node["operators"]
    }  # fmt: skip
    assert set(_ROWS) - seen == {"EXPAND_DIMS", "FILL", "SHAPE", "SQUEEZE"}


def test_every_structure_of_a_row_has_a_size() -> None:
    for row in _ROWS.values():
        for struct in (row.params, row.data, row.cmsis_nn_data):
            for short_enums in (True, False):
                assert struct is None or struct_sizes(short_enums)[struct].size_bytes > 0


def test_an_operator_whose_memory_is_known_has_a_code_size() -> None:
    for name in _ROWS:
        try:
            runtime_rom([name], "cortex-m4", "cmsis-nn-int8")
        except RomError:
            pytest.fail(name)
    assert set(_ROWS) - set(_STAND_INS) <= set(_ROWS)


def test_an_unknown_operator_is_named() -> None:
    graph = measured_graph("T")
    changed = dataclasses.replace(graph.operators[1], name="SVDF")
    strange = dataclasses.replace(graph, operators=(graph.operators[0], changed))
    assert unknown_operators(strange) == ("SVDF",)
    assert unknown_operators(graph) == ()
    assert operator_memory(changed, strange, REFERENCE) is None


def test_a_variable_stays_allocated() -> None:
    graph = measured_graph("T")
    index = graph.operators[0].outputs[0]
    tensors = list(graph.tensors)
    tensors[index] = dataclasses.replace(tensors[index], is_variable=True)
    changed = dataclasses.replace(graph, tensors=tuple(tensors))
    before = node_memory(graph, STRUCTS, REFERENCE)
    after = node_memory(changed, STRUCTS, REFERENCE)
    size = round_up(8 * 14 * 14, 16)
    assert 0 <= after.tail_bytes(0) - before.tail_bytes(0) - size <= 12
    assert before.head_bytes - after.head_bytes in (0, size)


def test_plain_enums_take_a_little_more() -> None:
    graph, plain = measured_graph("ad"), struct_sizes(short_enums=False)
    arm = node_memory(graph, STRUCTS, REFERENCE).tail_bytes(SHARED_BYTES)
    other = node_memory(graph, plain, REFERENCE).tail_bytes(SHARED_BYTES)
    # Ten fully connected layers of 5 and 16 bytes of options, two tensors of 32 and 40.
    assert 10 * 8 <= other - arm <= 10 * 11 + 2 * 8 + 16


def test_other_cores_are_named_with_a_wider_band(shared: Path) -> None:
    data = (shared / "models" / f"{MODELS['micro_speech']}.tflite").read_bytes()
    exact = node_arena(data, "cortex-m4", "reference")
    other = node_arena(data, "rv32imc", "reference")
    assert exact.basis == "simulated for cortex-m4"
    assert other.basis == "simulated for cortex-m3 for rv32imc"
    assert other.error_percent[1] > exact.error_percent[1]
    assert 0 < other.minimum_bytes - exact.minimum_bytes < 100
    with pytest.raises(CoreError, match="made for Arm Cortex-M"):
        node_arena(data, "rv32imc", "cmsis-nn")


def test_a_damaged_flatbuffer_is_refused() -> None:
    with pytest.raises(FlatbufferError):
        node_arena(b"not a flatbuffer", "cortex-m4", "reference")


# Recordings.


@pytest.mark.parametrize(
    ("model", "corrected", "on_device"),
    [("ad", 2_258, 2_260), ("kws", 22_773, 22_772), ("resnet", 54_335, 54_340)],
)
def test_a_recording_is_corrected_to_32_bits(
    shared: Path, model: str, corrected: int, on_device: int
) -> None:
    data = (shared / "models" / f"{MODELS[model]}.tflite").read_bytes()
    recording = record_arena(data)
    if recording is None:
        pytest.skip("tflite_micro is not installed here")
    assert recorded_arena_bytes(data, recording) == corrected
    assert simulated_reference_bytes(data) == on_device


def recording_of(head: int, persistent: int, tensors: int, operators: int) -> ArenaRecording:
    return ArenaRecording(0, head, 0, persistent, tensors, operators, "0.dev20261023")


@pytest.mark.parametrize(
    ("model", "head", "persistent", "corrected"),
    [
        # kws and ad as the wheel of October 2026 records them.
        ("kws", 16_000, 5_556, 22_773),
        ("ad", 768, 832, 2_258),
    ],
)
def test_a_recording_without_the_wheel(
    model: str, head: int, persistent: int, corrected: int
) -> None:
    graph = measured_graph(model)
    recording = recording_of(head, persistent, len(graph.tensors), len(graph.operators))
    assert corrected_arena_bytes(recording, graph) == corrected


def test_a_fallback_is_an_upper_bound_with_cmsis_nn() -> None:
    graph = measured_graph("kws")
    recording = recording_of(16_000, 5_556, len(graph.tensors), len(graph.operators))
    for build, kernels in (("m4-ref", REFERENCE), ("m55-cmsis", VECTOR)):
        fallback = recorded_memory(recording, graph, STRUCTS, kernels)
        exact = measured_memory("kws", build)
        assert fallback.head_bytes >= exact.head_bytes
        assert abs(fallback.tail_bytes(SHARED_BYTES) - exact.tail_bytes(SHARED_BYTES)) < 100
        assert fallback.planning_bytes(SHARED_BYTES) <= exact.planning_bytes(SHARED_BYTES) + 200


def test_a_node_in_parts_and_alone_agree(shared: Path) -> None:
    data = (shared / "models" / f"{MODELS['kws']}.tflite").read_bytes()
    ram = node_ram(data, "cortex-m4", "cmsis-nn")
    arena = ram.alone
    assert ram.is_simulated
    assert arena == node_arena(data, "cortex-m4", "cmsis-nn")
    assert arena.tenant_tail_bytes == arena.tail_bytes - SHARED_BYTES
    assert share_arena((ram.memory,), ram.shared_bytes).minimum_bytes == arena.minimum_bytes
    assert re.fullmatch(r"simulated for cortex-m4", arena.basis)
