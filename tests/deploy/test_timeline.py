"""What lies in the arena at each step: the plan of the head, told buffer by buffer."""

import itertools
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_forms import with_tables

from deploy.footprint import node_arena
from deploy.footprint.cores import CoreError
from deploy.footprint.memory_planner import PlannedBuffer, plan_bytes, plan_offsets
from deploy.footprint.timeline import NodeTimeline, PlacedBuffer, node_timeline

MODELS = (
    "mlperftiny__kws_ref_model",
    "mlperftiny__ad01_int8",
    "mlperftiny__pretrainedResnet_quant",
    "tflm__micro_speech_quantized",
)
TARGETS = (
    ("cortex-m4", "reference"),
    ("cortex-m4", "cmsis-nn"),
    ("cortex-m0plus", "cmsis-nn-int8"),
    ("cortex-m55", "cmsis-nn-int8"),
    ("xtensa-lx7", "reference"),
)
PLANS = st.lists(
    st.tuples(st.integers(1, 40), st.integers(-1, 12), st.integers(0, 6)).map(
        lambda row: PlannedBuffer(16 * row[0], row[1], row[1] + row[2])
    ),
    max_size=24,
)


def assert_nothing_overlaps(timeline: NodeTimeline) -> None:
    for one, other in itertools.combinations(timeline.buffers, 2):
        at_once = one.first_step <= other.last_step and other.first_step <= one.last_step
        apart = one.end_bytes <= other.offset_bytes or other.end_bytes <= one.offset_bytes
        assert apart or not at_once, f"{one} overlaps {other}"


@given(PLANS)
def test_planned_buffers_alive_at_once_lie_apart(planned: list[PlannedBuffer]) -> None:
    offsets = plan_offsets(planned)
    assert len(offsets) == len(planned)
    assert all(offset >= 0 and offset % 16 == 0 for offset in offsets)
    ends = [offset + one.size_bytes for offset, one in zip(offsets, planned, strict=True)]
    assert max(ends, default=0) == plan_bytes(planned)
    placed = [
        PlacedBuffer("between", None, "", (), offset, one.size_bytes, one.first_step, one.last_step)
        for offset, one in zip(offsets, planned, strict=True)
    ]
    assert_nothing_overlaps(NodeTimeline(("ADD",) * 20, tuple(placed)))


@pytest.mark.parametrize(
    ("planned", "offsets"),
    [
        ((), ()),
        (((16, 0, 1),), (0,)),
        # The largest lies lowest, whatever the order.
        (((16, 0, 1), (64, 1, 2)), (64, 0)),
        # What is never alive together shares a place.
        (((64, 0, 1), (64, 2, 3), (32, 1, 2)), (0, 0, 64)),
        # A place that has become free is used again, below what is still alive.
        (((96, 0, 1), (80, 0, 2), (64, 2, 2)), (0, 96, 0)),
    ],
)
def test_known_places(planned, offsets) -> None:
    assert plan_offsets([PlannedBuffer(*row) for row in planned]) == offsets


@pytest.mark.parametrize(("core", "kernels"), TARGETS)
@pytest.mark.parametrize("model", MODELS)
def test_the_peak_is_the_head_of_public_models(shared, model, core, kernels) -> None:
    data = (shared / "models" / f"{model}.tflite").read_bytes()
    timeline = node_timeline(data, core, kernels)
    assert timeline is not None
    assert timeline.head_bytes == node_arena(data, core, kernels).head_bytes
    assert timeline.top_bytes(timeline.peak_step) == timeline.head_bytes
    assert_nothing_overlaps(timeline)


@pytest.mark.parametrize(("core", "kernels"), TARGETS)
def test_the_peak_is_the_head_of_every_node_of_a_bundle(device_bundle, core, kernels) -> None:
    for node in device_bundle.nodes.values():
        timeline = node_timeline(node.data, core, kernels)
        assert timeline is not None
        assert timeline.head_bytes == node_arena(node.data, core, kernels).head_bytes
        assert timeline.operators
        assert_nothing_overlaps(timeline)


def test_every_buffer_is_told_by_its_role_and_writer(device_bundle) -> None:
    trunk = node_timeline(device_bundle.nodes["trunk"].data, "cortex-m4", "cmsis-nn")
    assert trunk is not None
    assert trunk.operators == ("CONV_2D", "DEPTHWISE_CONV_2D")
    tensors = [one for one in trunk.buffers if one.role != "scratch"]
    told = [(one.role, one.operator, one.shape, one.first_step, one.last_step) for one in tensors]
    assert told == [
        ("input", None, (1, 8, 8, 1), 0, 1),
        ("between", 0, (1, 8, 8, 8), 1, 2),
        ("output", 1, tensors[2].shape, 2, 2),
    ]
    sizes = [one.size_bytes for one in tensors]
    assert sizes == [-(-int(np.prod(one.shape)) // 16) * 16 for one in tensors]
    scratch = [one for one in trunk.buffers if one.role == "scratch"]
    assert scratch
    for one in scratch:
        assert one.first_step == one.last_step == (one.operator or 0) + 1
    assert list(trunk.steps) == [0, 1, 2]


def test_decoded_weights_live_until_their_operator_ran(device_bundle) -> None:
    node = device_bundle.nodes["digit"]
    timeline = node_timeline(with_tables(node.data), "cortex-m4", "reference")
    assert timeline is not None
    assert timeline.operators == ("RESHAPE", "TFLM_DECODE", "FULLY_CONNECTED", "SOFTMAX")
    (decoded,) = [one for one in timeline.buffers if one.role == "decoded"]
    assert (decoded.operator, decoded.shape) == (1, (5, 128))
    assert (decoded.first_step, decoded.last_step, decoded.size_bytes) == (2, 3, 5 * 128)
    plain = node_timeline(node.data, "cortex-m4", "reference")
    assert plain is not None
    assert timeline.head_bytes - plain.head_bytes == 5 * 128 - 112


def test_reference_kernels_have_no_scratch_memory_for_convolutions(device_bundle) -> None:
    timeline = node_timeline(device_bundle.nodes["trunk"].data, "cortex-m4", "reference")
    assert timeline is not None
    assert {one.role for one in timeline.buffers} == {"input", "between", "output"}


def test_the_sums_of_a_step_count_what_is_alive() -> None:
    buffers = (
        PlacedBuffer("input", None, "", (), 0, 64, 0, 1),
        PlacedBuffer("between", 0, "", (), 96, 32, 1, 2),
        PlacedBuffer("unused", None, "", (), 0, 16, -1, -1),
    )
    timeline = NodeTimeline(("ADD", "ADD"), buffers)
    assert list(timeline.steps) == [-1, 0, 1, 2]
    assert [timeline.live_bytes(step) for step in timeline.steps] == [16, 64, 96, 32]
    assert [timeline.top_bytes(step) for step in timeline.steps] == [16, 64, 128, 128]
    assert timeline.peak_step == 1
    assert timeline.head_bytes == 128


def test_a_node_without_buffers_has_no_head() -> None:
    timeline = NodeTimeline((), ())
    assert (timeline.head_bytes, timeline.peak_step, list(timeline.steps)) == (0, 0, [0])


@pytest.mark.parametrize("data", [b"", bytes(400), random.Random(3).randbytes(400)])
def test_what_cannot_be_read_has_no_timeline(data: bytes) -> None:
    assert node_timeline(data, "cortex-m4", "reference") is None


def test_an_unknown_operator_has_no_timeline(device_bundle, monkeypatch) -> None:
    data = device_bundle.nodes["trunk"].data
    monkeypatch.setattr("deploy.footprint.timeline.unknown_operators", lambda graph: ("LSTM",))
    from deploy.footprint import timeline

    timeline._timeline.cache_clear()
    assert node_timeline(data, "cortex-m4", "reference") is None
    timeline._timeline.cache_clear()


@pytest.mark.parametrize(
    ("core", "kernels"), [("z80", "reference"), ("rv32imc", "cmsis-nn"), ("cortex-m4", "fast")]
)
def test_cores_and_kernels_are_checked(core: str, kernels: str) -> None:
    with pytest.raises(CoreError):
        node_timeline(b"", core, kernels)
