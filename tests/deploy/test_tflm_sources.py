"""What is generated for TensorFlow Lite Micro says what the bundle says, and what it costs."""

import importlib.util
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.board import load_board
from deploy.footprint import footprint
from deploy.footprint.shared_arena import seam_copies
from deploy.tflm_sources import TflmSourcesError, tflm_sources
from deploy.tflm_sources.config_header import float_literal
from deploy.tflm_sources.copies import copy_bytes, kept_copies
from deploy.tflm_sources.identifiers import comment, identifiers, literal
from deploy.tflm_sources.model import _check_decoded
from deploy.tflm_sources.operators import operator_forms
from quantize.bundle import BundleError
from quantize.flatbuffer import read_graph

CASES = Path(__file__).parents[1] / "firmware_stubs" / "tflm_cases.py"
spec = importlib.util.spec_from_file_location("tflm_cases", CASES)
cases = importlib.util.module_from_spec(spec)
spec.loader.exec_module(cases)

BOARD = load_board("nano33ble")


def array(text: str, name: str) -> np.ndarray:
    """The numbers of an array in C."""
    body = re.search(rf"\b{name}\[\d*\] = \{{(.*?)\}};", text, re.DOTALL)[1]
    return np.array([int(number) for number in re.findall(r"-?\d+", body)])


def constant(header: str, name: str) -> str:
    return re.search(rf"#define {name} \(?([^ )\n]+)", header)[1]


def test_the_files_of_a_bundle(device_bundle) -> None:
    files = tflm_sources(device_bundle, BOARD)
    assert sorted(files) == [
        "kt_model_config.cc",
        "kt_model_config.h",
        "kt_model_data.cc",
        "kt_model_golden.cc",
        "kt_model_selftest.cc",
    ]
    assert all(isinstance(content, str) for content in files.values())
    assert tflm_sources(device_bundle, BOARD) == files


def test_nodes_in_the_source_are_the_nodes(device_bundle) -> None:
    text = tflm_sources(device_bundle, BOARD)["kt_model_data.cc"]
    for name, node in device_bundle.nodes.items():
        assert bytes(array(text, f"kt_model_{name}_data").astype(np.uint8)) == node.data
        assert node.sha256 in text
    assert text.count("KT_TFLM_ALIGNED const uint8_t") == len(device_bundle.nodes)


def test_nodes_for_the_assembler(device_bundle) -> None:
    files = tflm_sources(device_bundle, BOARD, data="incbin")
    assert "kt_model_data.cc" not in files
    for name, node in device_bundle.nodes.items():
        assert files[f"nodes/{name}.tflite"] == node.data
        assert f'.incbin "nodes/{name}.tflite"' in files["kt_model_data.S"]
    assert files["kt_model_data.S"].count(".balign 16") == len(device_bundle.nodes)


def test_golden_vectors_in_the_source_are_what_the_runtime_computes(device_bundle) -> None:
    text = tflm_sources(device_bundle, BOARD)["kt_model_golden.cc"]
    for name, task in device_bundle.tasks.items():
        inputs = array(text, f"{name}_inputs").astype(np.int8).reshape(task.golden_inputs.shape)
        outputs = array(text, f"{name}_outputs").astype(np.int8)
        received = device_bundle.run(name, inputs, "tflm")
        np.testing.assert_array_equal(received.reshape(-1), outputs)


def test_vectors_of_another_interpreter_may_differ_by_one(device_bundle) -> None:
    tasks = dict(device_bundle.tasks)
    tasks["digit"] = replace(tasks["digit"], golden_backend="litert")
    tasks["angle"] = replace(
        tasks["angle"],
        golden_inputs=tasks["angle"].golden_inputs[:0],
        golden_outputs=tasks["angle"].golden_outputs[:0],
    )
    text = tflm_sources(replace(device_bundle, tasks=tasks), BOARD)["kt_model_golden.cc"]
    assert "{digit_inputs, digit_outputs, 3, 1}," in text
    assert "{nullptr, nullptr, 0, 0}," in text


def test_quantization_is_the_bundles(device_bundle) -> None:
    header = tflm_sources(device_bundle, BOARD)["kt_model_config.h"]
    for name in device_bundle.tasks:
        path = device_bundle.path_nodes(name)
        for side, tensor in (("INPUT", path[0].input), ("OUTPUT", path[-1].output)):
            prefix = f"KT_MODEL_{name.upper()}_{side}"
            scale = constant(header, f"{prefix}_SCALE")
            assert np.float32(scale.removesuffix("f")) == np.float32(tensor.scale)
            assert int(constant(header, f"{prefix}_ZERO_POINT")) == tensor.zero_point
            assert int(constant(header, f"{prefix}_BYTES")) == tensor.element_count
    assert float(constant(header, "KT_MODEL_RAW_SCALE")) == 1 / 255


@pytest.mark.parametrize("allocate", ["all", "one"])
@pytest.mark.parametrize("board", ["nano33ble", "nucleo-g071rb", "esp32-c3"])
def test_the_arena_is_the_footprints(board, allocate, device_bundle) -> None:
    board = load_board(board)
    files = tflm_sources(device_bundle, board, allocate=allocate)
    header = files["kt_model_config.h"].replace("#if UINTPTR_MAX", "").split("#else")[-1]
    whole = files["kt_model_config.h"]
    found = footprint(device_bundle, board, allocate=allocate)
    total = found.all_paths_arena_bytes if allocate == "all" else found.one_path_arena_bytes
    runtime = int(constant(header, "KT_MODEL_RUNTIME_BYTES"))
    copies = int(constant(whole, "KT_MODEL_COPY_BYTES"))
    margin = int(constant(whole, "KT_MODEL_MARGIN_BYTES"))
    assert runtime + copies == total
    assert copies == (128 if allocate == "all" else 0)
    assert margin == (
        0 if board.core.startswith("cortex-m") else -(-int(runtime * 0.02) // 16) * 16
    )
    assert f"simulated for {found.nodes['trunk'].arena.basis.split('for ')[1]}" in whole
    assert f"{found.kernels} kernels, TensorFlow Lite Micro 90b983c2" in whole


def methods(source: str) -> list[str]:
    return re.findall(r"each\((\w+\(.*\))\)", source)


@pytest.mark.parametrize("kernels", ["reference", "cmsis-nn", "cmsis-nn-int8"])
def test_the_resolver_has_exactly_the_operators(kernels, device_bundle) -> None:
    source = tflm_sources(device_bundle, BOARD, kernels=kernels)["kt_model_config.cc"]
    union = {name for node in device_bundle.nodes.values() for name in node.operators}
    assert f"constexpr unsigned int kOperators = {len(union)};" in source
    assert [method.split("(")[0] for method in methods(source)] == [
        "AddConv2D", "AddDepthwiseConv2D", "AddFullyConnected", "AddReshape", "AddSoftmax",
    ]  # fmt: skip
    for_int8 = [method for method in methods(source) if re.search(r"KT_FORM\(\w+, INT8\)", method)]
    assert len(for_int8) == (4 if kernels == "cmsis-nn-int8" else 0)
    assert "KT_FORMS" not in source


def test_only_what_the_tasks_need(device_bundle) -> None:
    files = tflm_sources(device_bundle, BOARD, tasks=["angle"])
    assert "AddSoftmax" not in files["kt_model_config.cc"]
    assert "kt_model_digit_data" not in files["kt_model_data.cc"]
    assert constant(files["kt_model_config.h"], "KT_MODEL_COPY_BYTES") == "0"
    assert "KT_MODEL_TASK_COUNT = 1" in files["kt_model_config.h"]


def test_a_resolver_for_every_precision_has_each_form_that_is_there() -> None:
    source = tflm_sources(cases.bundle("precisions"), BOARD)["kt_model_config.cc"]
    found = {method.split("(")[0]: method.split("(", 1)[1][:-1] for method in methods(source)}

    def several(operator: str, *forms: str) -> str:
        names = (f"tflite::Register_{operator}_{form}" if form else "nullptr" for form in forms)
        return f"KT_FORMS({operator}, {', '.join(names)})"

    assert found == {
        "AddAdd": "KT_FORM(ADD, INT16)",
        "AddAveragePool2D": "KT_FORM(AVERAGE_POOL_2D, INT16)",
        "AddConv2D": several("CONV_2D", "INT8", "INT4", "INT16"),
        "AddDepthwiseConv2D": several("DEPTHWISE_CONV_2D", "INT8", "INT4", "INT16"),
        "AddFullyConnected": several("FULLY_CONNECTED", "INT8", "", "INT16"),
        "AddMaxPool2D": "KT_FORM(MAX_POOL_2D, INT16)",
        "AddQuantize": "",
        "AddReshape": "",
        "AddSoftmax": several("SOFTMAX", "INT8", "", "INT16"),
        "AddCustom": '"TFLM_DECODE", &kt_decode_registration',
    }


def test_nodes_of_one_precision_link_its_forms_alone() -> None:
    source = tflm_sources(cases.bundle("narrow"), BOARD)["kt_model_config.cc"]
    assert "AddConv2D(KT_FORM(CONV_2D, INT4))" in methods(source)
    assert "AddFullyConnected(KT_FORM(FULLY_CONNECTED, INT8))" in methods(source)
    assert "KT_FORMS" not in source


def test_an_operator_of_another_form_takes_the_generic_registration(device_bundle) -> None:
    graph = read_graph(device_bundle.nodes["digit"].data)
    assert operator_forms([graph]) == {
        "FULLY_CONNECTED": ("INT8",), "RESHAPE": (), "SOFTMAX": ("INT8",),
    }  # fmt: skip
    tensors = list(graph.tensors)
    softmax = next(one for one in graph.operators if one.name == "SOFTMAX")
    output = softmax.outputs[0]
    tensors[output] = replace(tensors[output], dtype="INT16")
    mixed = replace(graph, tensors=tuple(tensors))  # SOFTMAX from int8 to int16
    assert operator_forms([mixed])["SOFTMAX"] == ()
    assert operator_forms([graph, mixed])["SOFTMAX"] == ()
    assert operator_forms([graph, mixed])["FULLY_CONNECTED"] == ("INT8",)


@pytest.mark.parametrize("name", cases.PATHS)
def test_copies_take_what_the_footprint_counts(name) -> None:
    bundle = cases.bundle(name)
    paths = [task.path for task in bundle.tasks.values()]
    sizes = {node: one.output.element_count for node, one in bundle.nodes.items()}
    copies = kept_copies(paths, sizes)
    by_node, at_once = seam_copies(paths, bundle.nodes)
    assert copy_bytes(copies) == at_once
    assert {copy.prefix[-1]: copy.bytes for copy in copies} == by_node


NODES = st.sampled_from("abcd")


@settings(deadline=None)
@given(st.lists(st.lists(NODES, min_size=1, max_size=5), min_size=1, max_size=5))
def test_copies_on_one_path_do_not_overlap(tails) -> None:
    paths = [("trunk", *tail) for tail in tails]
    sizes = {"trunk": 100, "a": 1, "b": 16, "c": 17, "d": 4000}
    copies = kept_copies(paths, sizes)
    for path in paths:
        end, parent = 0, -1
        for index, copy in enumerate(copies):
            if path[: len(copy.prefix)] == copy.prefix:
                assert (copy.offset, copy.parent) == (end, parent)
                assert copy.bytes >= sizes[copy.prefix[-1]]
                end, parent = copy.offset + copy.bytes, index
    assert copy_bytes(copies) % 16 == 0


@settings(deadline=None)
@given(st.lists(st.text(min_size=1, max_size=8), unique=True, max_size=12))
def test_identifiers_are_distinct_and_plain(names) -> None:
    found = identifiers(names)
    assert list(found) == names
    assert len(set(found.values())) == len(names)
    assert all(re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", one) for one in found.values())
    assert not {"count", "largest"} & set(found.values())


@settings(deadline=None)
@given(st.text(max_size=20))
def test_texts_cannot_leave_their_place(text) -> None:
    written = literal(text)
    raw = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), written[1:-1])
    assert raw.encode("latin-1").decode() == text
    assert re.fullmatch(r'"(?:[^"\\\n?]|\\[0-7]{3})*"', written)
    assert not re.search(r"\*/|/\*|[^\x20-\x7e]|\\$", comment(text))


@settings(deadline=None)
@given(st.floats(width=32, min_value=2.0**-120, max_value=2.0**120))
def test_a_scale_keeps_its_bits(value) -> None:
    text = float_literal(value)
    assert re.fullmatch(r"\d+(\.\d+)?(e[+-]\d+)?f", text)
    assert np.float32(text[:-1]) == np.float32(value)
    assert "." in text or "e" in text


def test_refusals_name_what_is_wrong(device_bundle) -> None:
    with pytest.raises(TflmSourcesError, match="`allocate` must be one of all, one; received 'x'"):
        tflm_sources(device_bundle, BOARD, allocate="x")
    with pytest.raises(TflmSourcesError, match="`data` must be one of array, incbin; received 'x'"):
        tflm_sources(device_bundle, BOARD, data="x")
    with pytest.raises(BundleError, match=r"no task 'digi'\. Did you mean 'digit'"):
        tflm_sources(device_bundle, BOARD, tasks=["digi"])


def test_a_float_output_is_refused(device_bundle) -> None:
    nodes = cases.loaded("hand_made_nodes", Path(__file__).parents[1] / "quantize" / "conftest.py")
    writer = nodes.FlatbufferWriter()
    source = writer.tensor((1, 4, 4, 8), "INT8", 0.05, -128)
    output = writer.tensor((1, 4, 4, 8), "FLOAT32")
    writer.operator("DEQUANTIZE", [source], [output])
    data = writer.bytes([source], [output])
    angle = replace(device_bundle.nodes["angle"], data=data, operators=("DEQUANTIZE",), arena=None)
    bundle = replace(device_bundle, nodes=device_bundle.nodes | {"angle": angle})
    with pytest.raises(TflmSourcesError, match="Node 'angle' must have one int8 output, received"):
        tflm_sources(bundle, BOARD)


def test_lookup_tables_bring_their_kernel(device_bundle) -> None:
    with_tables = tflm_sources(cases.bundle("compressed"), BOARD)["kt_model_config.cc"]
    assert '#include "kt_decode.h"' in with_tables
    assert "kt_decode" not in tflm_sources(device_bundle, BOARD)["kt_model_config.cc"]


@pytest.mark.parametrize(("place", "dtype", "words"), [(0, "INT8", "INT8"), (2, "INT16", "INT16")])
def test_other_values_than_int8_behind_tables_are_refused(place, dtype, words) -> None:
    node = cases.bundle("compressed").nodes["tables"]
    graph = read_graph(node.data)
    decode = next(one for one in graph.operators if one.name == "TFLM_DECODE")
    index = (*decode.inputs, *decode.outputs)[place]
    tensors = tuple(
        replace(one, dtype=dtype) if one.index == index else one for one in graph.tensors
    )
    with pytest.raises(TflmSourcesError, match=f"INT8 values from UINT8 bytes.*received {words}"):
        _check_decoded(node, replace(graph, tensors=tensors))
