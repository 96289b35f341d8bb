"""Time of a node: against published timings and counted instructions, its sums and its silences."""

import importlib.util
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.board import CORES, Board, board_names, load_board
from deploy.footprint import latency_work
from deploy.footprint.cores import KERNEL_SETS, CoreError, default_kernels
from deploy.footprint.latency import Latency, latency
from deploy.footprint.latency_instructions import (
    counted_build,
    instructions,
    latency_table,
    operator_cost,
)
from deploy.footprint.latency_work import operator_work
from quantize.bundle import Node
from quantize.flatbuffer import Graph, Operator, Quantization, Tensor, read_graph
from quantize.tensor_spec import TensorSpec

FILES = {
    "kws": "mlperftiny__kws_ref_model",
    "ic": "mlperftiny__pretrainedResnet_quant",
    "ad": "mlperftiny__ad01_int8",
}
COUNTS = json.loads(
    (Path(__file__).parents[2] / "benchmarks" / "measured_instructions.json").read_text()
)
BUILDS = {
    "m0plus-ref": ("cortex-m0plus", "reference"),
    "m4-ref": ("cortex-m4", "reference"),
    "m4-cmsis": ("cortex-m4", "cmsis-nn"),
    "m55-cmsis": ("cortex-m55", "cmsis-nn"),
}
EVIDENCE = [row for row in latency_table()["rows"] if row["use"] in ("fit", "spread")]
TIMED_CORES = {"cortex-m4", "cortex-m33", "cortex-m85"}


def node(data: bytes, name: str = "model") -> Node:
    spec = TensorSpec((1, 1), "int8", 1.0, 0)
    return Node(name, data, len(data), 0, 0, spec, spec, ())


def public_node(shared: Path, model: str) -> dict[str, Node]:
    return {model: node((shared / "models" / f"{FILES[model]}.tflite").read_bytes(), model)}


def board_like(row: dict) -> Board:
    clock = round(row["mhz"] * 1e6)
    return replace(load_board("nano33ble"), core=row["core"], mcu=row["mcu"], clock_hz=clock)


def board_with(core: str) -> Board:
    return replace(load_board("nano33ble"), core=core, fpu=CORES[core], mcu="unknown")


def known(found: Latency | None) -> Latency:
    assert found is not None
    return found


@pytest.fixture
def new_writer() -> Callable:
    """Makes small flatbuffers to fill, as the tests of `quantize` do."""
    source = Path(__file__).parents[1] / "quantize" / "conftest.py"
    spec = importlib.util.spec_from_file_location("flatbuffers_for_latency", source)
    assert spec is not None
    assert spec.loader is not None
    made: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made.FlatbufferWriter


def operator(
    name: str, *shapes: tuple[int, ...], constant: bool = False, **options
) -> tuple[Operator, Graph]:
    """An operator over tensors of these shapes, the last one its output."""
    tensors = tuple(
        Tensor(i, "", shape, "INT8", None, b"" if constant and i else None, False)
        for i, shape in enumerate(shapes)
    )
    inputs = tuple(range(len(shapes) - 1))
    one = Operator(0, name, inputs, (len(shapes) - 1,), SimpleNamespace(**options), 1)
    return one, Graph(tensors, (one,), inputs[:1], one.outputs, 1)


@pytest.mark.parametrize("model", FILES)
@pytest.mark.parametrize("row", EVIDENCE, ids=lambda row: f"{row['board']} {row['source']}")
def test_published_times_lie_within_the_band(shared: Path, row: dict, model: str) -> None:
    found = known(latency(public_node(shared, model), board_like(row), row["kernels"]))
    published = 1e3 * row["milliseconds"][model]
    low, high = found.error_percent
    assert low < 0 < high
    assert found.microseconds * (1 + low / 100) <= published
    assert published <= found.microseconds * (1 + high / 100)


@pytest.mark.parametrize("model", FILES)
@pytest.mark.parametrize("build", BUILDS)
def test_instructions_are_within_five_percent_of_the_counts(
    shared: Path, build: str, model: str
) -> None:
    found = instructions(public_node(shared, model), *BUILDS[build])
    counted = COUNTS["whole"][build][model]
    assert found is not None
    assert abs(found / counted - 1) < (0.01 if build.endswith("ref") else 0.05)


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("kernels", KERNEL_SETS)
def test_without_published_times_there_is_no_estimate(
    device_bundle, core: str, kernels: str
) -> None:
    if kernels != "reference" and not core.startswith("cortex-m"):
        with pytest.raises(CoreError, match="must be 'reference'"):
            latency(device_bundle.nodes, board_with(core), kernels)
        return
    found = latency(device_bundle.nodes, board_with(core), kernels)
    assert (found is not None) == (core in TIMED_CORES and kernels != "reference")


@pytest.mark.parametrize(
    ("core", "kernels", "build"),
    [
        ("cortex-m0plus", "reference", "m0plus-ref"),
        ("cortex-m0", "reference", "m0plus-ref"),
        ("cortex-m3", "reference", "m4-ref"),
        ("cortex-m7", "reference", "m4-ref"),
        ("cortex-m7", "cmsis-nn", "m4-cmsis"),
        ("cortex-m33", "cmsis-nn-int8", "m4-cmsis"),
        ("cortex-m85", "cmsis-nn", "m55-cmsis"),
        ("cortex-m0plus", "cmsis-nn", None),
        ("cortex-m3", "cmsis-nn", None),
        ("cortex-m23", "reference", None),
        ("cortex-m55", "reference", None),
        ("xtensa-lx6", "reference", None),
        ("rv32imac", "reference", None),
    ],
)
def test_where_instructions_were_counted(
    device_bundle, core: str, kernels: str, build: str | None
) -> None:
    assert counted_build(core, kernels) == build
    found = instructions(device_bundle.nodes, core, kernels)
    assert (found is None) == (build is None)


def test_an_unknown_kernel_set_is_refused(device_bundle) -> None:
    with pytest.raises(CoreError, match="must be one of"):
        latency(device_bundle.nodes, load_board("nano33ble"), "esp-nn")


@pytest.mark.parametrize("name", ["nano33ble", "nucleo-l4r5zi", "ek-ra8d1"])
def test_the_parts_sum_to_the_whole(device_bundle, name: str) -> None:
    found = known(latency(device_bundle.nodes, load_board(name), "cmsis-nn-int8"))
    assert set(found.by_node) == set(device_bundle.nodes)
    assert set(found.by_operator) == {
        op for n in device_bundle.nodes.values() for op in n.operators
    }
    assert sum(found.by_node.values()) == pytest.approx(found.microseconds)
    assert sum(found.by_operator.values()) == pytest.approx(found.microseconds)
    assert min(*found.by_node.values(), *found.by_operator.values()) > 0
    alone = [latency({key: one}, load_board(name), "cmsis-nn") for key, one in
             device_bundle.nodes.items()]  # fmt: skip
    assert sum(known(one).microseconds for one in alone) == pytest.approx(found.microseconds)


def test_time_goes_with_the_clock_and_int8_registrations_do_not_matter(device_bundle) -> None:
    board = board_with("cortex-m33")
    slow = known(latency(device_bundle.nodes, board, "cmsis-nn"))
    double = replace(board, clock_hz=2 * board.clock_hz)
    fast = known(latency(device_bundle.nodes, double, "cmsis-nn-int8"))
    assert slow.microseconds == pytest.approx(2 * fast.microseconds)
    assert slow.second_microseconds == pytest.approx(2 * known(fast).second_microseconds)
    assert slow.instructions == fast.instructions


def test_a_chip_that_was_timed_has_its_own_figures_at_its_own_clock(device_bundle) -> None:
    """Published for the nRF52840 at 64 MHz; another clock may mean other wait states."""
    own = load_board("nano33ble")
    other_clock = replace(own, clock_hz=32_000_000)
    on_chip = known(latency(device_bundle.nodes, own, "cmsis-nn"))
    on_core = known(latency(device_bundle.nodes, other_clock, "cmsis-nn"))
    assert "NUCLEO" not in on_chip.basis
    assert "NUCLEO" in on_core.basis
    assert on_chip.error_percent[1] < on_core.error_percent[1]


def test_both_opinions_agree_on_large_models_and_not_on_small_layers(
    shared: Path, device_bundle
) -> None:
    board = load_board("nano33ble")
    for model in FILES:
        found = known(latency(public_node(shared, model), board, "cmsis-nn"))
        assert found.second_microseconds == pytest.approx(found.microseconds, rel=0.15)
    small = known(latency(device_bundle.nodes, board, "cmsis-nn"))
    assert small.second_microseconds is not None
    assert small.second_microseconds < 0.8 * small.microseconds


@pytest.mark.parametrize("dtype", ["FLOAT32", "INT16"])
def test_a_node_that_is_not_int8_has_no_estimate(new_writer, dtype: str) -> None:
    writer = new_writer()
    source = writer.tensor((1, 8), dtype, 0.1)
    weights = writer.tensor((4, 8), "INT8", 0.1, 0, np.ones((4, 8), np.int8))
    target = writer.tensor((1, 4), dtype, 0.1)
    options = writer.schema.FullyConnectedOptionsT()
    writer.operator("FULLY_CONNECTED", [source, weights], [target], options)
    nodes = {"wide": node(writer.bytes([source], [target]))}
    assert latency(nodes, load_board("nano33ble"), "cmsis-nn") is None
    assert instructions(nodes, "cortex-m4", "reference") is None


def test_operators_that_were_not_counted_widen_the_band_and_are_named(new_writer) -> None:
    writer = new_writer()
    left, right = (writer.tensor((1, 8, 8, 4), "INT8", 0.1) for _ in range(2))
    target = writer.tensor((1, 8, 8, 8), "INT8", 0.1)
    options = writer.schema.ConcatenationOptionsT()
    options.axis = 3
    writer.operator("CONCATENATION", [left, right], [target], options)
    found = known(
        latency({"join": node(writer.bytes([left, right], [target]))}, load_board("nano33ble"),
                "cmsis-nn")
    )  # fmt: skip
    assert found.uncounted_percent == 100
    assert found.error_percent == (-90, 200)
    assert found.basis.endswith("100 % of it are operators that were not counted")


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize(
    "name",
    [
        "ASSIGN_VARIABLE", "BATCH_MATMUL", "CONCATENATION", "LOGISTIC", "MAX_POOL_2D", "MY_OWN",
        "PAD", "SUM", "SVDF", "TRANSPOSE_CONV", "UNIDIRECTIONAL_SEQUENCE_LSTM",
    ],
)  # fmt: skip
def test_no_work_is_free(build: str, name: str) -> None:
    one, graph = operator(name, (1, 6, 8), (4, 8), (1, 6, 4), constant=True)
    for case in (
        one,
        replace(one, outputs=()),
        replace(one, inputs=()),
        replace(one, options=None),
    ):
        cost = operator_cost(case, graph, build)
        assert cost.instructions > 0
        assert not cost.is_counted


@pytest.mark.parametrize(
    ("name", "source", "filters", "target", "options", "macs", "is_counted"),
    [
        ("CONV_2D", (1, 32, 32, 3), (16, 3, 3, 3), (1, 32, 32, 16), {}, 442_368, True),
        ("CONV_2D", (1, 8, 8, 4), (16, 1, 1, 2), (1, 8, 8, 16), {}, 2_048, False),
        ("CONV_2D", (1, 8, 8, 4), (2, 3, 3, 4), (1, 8, 8, 2), {"dilationHFactor": 2}, 4_608, False),
        ("DEPTHWISE_CONV_2D", (1, 25, 5, 64), (1, 3, 3, 64), (1, 25, 5, 64), {}, 72_000, True),
        ("DEPTHWISE_CONV_2D", (1, 9, 9, 1), (1, 3, 3, 8), (1, 9, 9, 8), {}, 5_832, False),
        ("FULLY_CONNECTED", (1, 640), (128, 640), (1, 128), {}, 81_920, True),
        ("BATCH_MATMUL", (1, 4, 6), (1, 6, 5), (1, 4, 5), {}, 120, False),
        ("BATCH_MATMUL", (1, 6, 4), (1, 6, 5), (1, 4, 5), {"adjX": True}, 120, False),
        ("CONV_2D", (8, 8), (3, 3), (8, 8), {}, 0, False),
    ],
)
def test_work_known_answers(name, source, filters, target, options, macs, is_counted) -> None:
    work = operator_work(*operator(name, source, filters, target, **options))
    assert (work.macs, work.is_counted) == (macs, is_counted)


@given(
    length=st.integers(1, 20),
    places=st.integers(1, 7),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    is_same=st.booleans(),
)
def test_places_within_the_input_are_counted_as_a_loop_counts_them(
    length: int, places: int, stride: int, dilation: int, is_same: bool
) -> None:
    span = (places - 1) * dilation + 1
    positions = -(-length // stride) if is_same else max(0, (length - span) // stride + 1)
    before = max((positions - 1) * stride + span - length, 0) // 2 if is_same else 0
    expected = sum(
        0 <= position * stride - before + place * dilation < length
        for position in range(positions)
        for place in range(places)
    )
    found = latency_work._within(length, positions, places, stride, dilation, is_same)
    assert found == expected


@given(
    side=st.integers(1, 40),
    depth=st.integers(1, 80),
    channels=st.integers(1, 80),
    kernel=st.sampled_from((1, 3, 5)),
    build=st.sampled_from(tuple(BUILDS)),
)
def test_more_channels_never_take_less(
    side: int, depth: int, channels: int, kernel: int, build: str
) -> None:
    def taken(outputs: int) -> float:
        shapes = (1, side, side, depth), (outputs, kernel, kernel, depth), (1, side, side, outputs)
        return operator_cost(*operator("CONV_2D", *shapes), build).instructions

    assert 0 < taken(channels) < taken(channels + 1)


def test_shapes_of_a_damaged_file_end_in_a_number() -> None:
    huge = (2**31 - 1,) * 40
    for name in ("ADD", "MEAN", "FULLY_CONNECTED"):
        assert operator_cost(*operator(name, huge, huge, huge), "m4-cmsis").instructions > 0
    wide = (2**31 - 1,) * 4
    assert operator_cost(*operator("CONV_2D", wide, wide, wide), "m55-cmsis").instructions > 0


def test_ten_nodes_on_all_boards_take_a_fraction_of_a_second(shared: Path) -> None:
    datas = [path.read_bytes() for path in sorted((shared / "models").glob("*.tflite"))]
    nodes = {f"node{i}": node(datas[i % len(datas)], f"node{i}") for i in range(10)}
    start = time.perf_counter()
    for name in board_names():
        board = load_board(name)
        for _ in range(5):
            latency(nodes, board, default_kernels(board.core))
    assert time.perf_counter() - start < 1.5


@pytest.fixture(scope="module")
def precisions() -> dict[str, dict[str, Node]]:
    """Hand-made nodes by precision: lookup tables, int4 weights, int16 activations."""
    folder = Path(__file__).parents[1]
    loaded = {}
    for name, path in {
        "hand_made_nodes": folder / "quantize" / "conftest.py",
        "tflm_precisions": folder / "firmware_stubs" / "tflm_precisions.py",
    }.items():
        found = importlib.util.spec_from_file_location(name, path)
        loaded[name] = importlib.util.module_from_spec(found)
        found.loader.exec_module(loaded[name])
    made = loaded["tflm_precisions"]
    bundles = {name: made.bundle(name, loaded["hand_made_nodes"]) for name in made.PATHS}
    return {name: dict(bundle.nodes) for name, bundle in bundles.items()}


@pytest.mark.parametrize("build", BUILDS)
def test_decoding_takes_what_was_counted(build: str) -> None:
    index = COUNTS["decoded_cores"].index(
        {"m0plus": "cortex-m0plus", "m4": "cortex-m4", "m55": "cortex-m55"}[build.split("-")[0]]
    )
    for bits, axis, channels, length, counts in COUNTS["decoded"]:
        graph = decoding(bits, axis, channels, length)
        cost = operator_cost(graph.operators[0], graph, build)
        assert cost.is_counted
        assert 0.97 < cost.instructions / counts[index] < 1.03


def decoding(bits: int, axis: int, channels: int, length: int, form: int = 0) -> Graph:
    shape = (channels, length) if axis == 0 else (1, 1, length, channels)
    header = bytes([form, 1, 0, 0, 1, axis << 4 | bits, 2**bits])
    tensors = (
        Tensor(0, "", (4,), "UINT8", None, b"\0" * 4, False),
        Tensor(1, "", (len(header),), "UINT8", None, header, False),
        Tensor(2, "", shape, "INT8", Quantization((1.0,) * channels, (0,), axis), None, False),
    )
    return Graph(tensors, (Operator(0, "TFLM_DECODE", (0, 1), (2,), None, 1),), (), (2,), 1)


@pytest.mark.parametrize(("bits", "form"), [(1, 0), (5, 0), (4, 1), (4, 2)])
def test_another_form_of_storage_is_not_counted(bits: int, form: int) -> None:
    graph = decoding(bits, 0, 8, 100, form)
    cost = operator_cost(graph.operators[0], graph, "m4-cmsis")
    assert (cost.is_counted, cost.kind) == (False, "ADD")
    assert cost.instructions > 800


def test_a_node_behind_tables_has_a_time_and_the_decoding_is_in_it(precisions) -> None:
    nodes = precisions["compressed"]
    found = known(latency(nodes, board_with("cortex-m4"), "cmsis-nn-int8"))
    assert found.uncounted_percent == 0
    assert 0.01 < found.by_operator["TFLM_DECODE"] / found.microseconds < 0.3


@pytest.mark.parametrize("kernels", KERNEL_SETS)
@pytest.mark.parametrize("name", ["narrow", "wide", "precisions"])
def test_int4_and_int16_have_no_time(name: str, kernels: str, precisions) -> None:
    assert latency(precisions[name], board_with("cortex-m4"), kernels) is None
    assert instructions(precisions[name], "cortex-m4", kernels) is None


def test_a_dense_layer_that_sums_decoded_weights_was_not_counted(precisions) -> None:
    data = precisions["precisions"]["eight_bits"].data
    graph = read_graph(data)
    dense = next(one for one in graph.operators if one.name == "FULLY_CONNECTED")
    assert operator_cost(dense, graph, "m4-cmsis").is_counted
    assert not operator_cost(dense, graph, "m55-cmsis").is_counted
