"""Softmax and sigmoid at the end of a classifier: what going without saves, and when it cannot."""

import pytest

from deploy.board import load_board
from deploy.footprint.rom import runtime_rom

KERNELS = "cmsis-nn-int8"


def kernel_bytes(operators):
    return runtime_rom(operators, "cortex-m4", KERNELS).kernel_bytes


def test_the_public_models_end_in_softmax(public_models, bundle_of, findings_of):
    bundle = bundle_of(public_models)
    (finding,) = findings_of(bundle, "replaceable-softmax")
    operators = {name for node in bundle.nodes.values() for name in node.operators}
    assert finding.where == ("kws", "resnet", "speech")
    saved = kernel_bytes(operators) - kernel_bytes(operators - {"SOFTMAX"})
    assert (finding.memory, finding.saved_bytes) == ("ROM", saved) == ("ROM", 5_951)
    assert finding.board == "nano33ble"
    assert finding.text == "kws, resnet and speech end in SOFTMAX, whose own code takes 5.8 KiB"


@pytest.mark.parametrize(
    ("board", "kernels"),
    [("pico", "reference"), ("pico", "cmsis-nn"), ("nucleo-f746zg", KERNELS)],
)
def test_the_saving_is_that_of_the_board(public_models, bundle_of, findings_of, board, kernels):
    bundle = bundle_of({"kws": public_models["kws"]})
    (finding,) = findings_of(bundle, "replaceable-softmax", board, None, kernels)
    core, fpu = load_board(board).core, load_board(board).fpu
    operators = set(bundle.nodes["kws"].operators)
    before, after = (
        runtime_rom(names, core, kernels, fpu).kernel_bytes
        for names in (operators, operators - {"SOFTMAX"})
    )
    assert finding.saved_bytes == before - after > 0
    assert finding.board == board


def test_only_the_footprint_s_tasks_count(device_bundle, findings_of):
    assert len(findings_of(device_bundle, "replaceable-softmax")) == 1
    assert findings_of(device_bundle, "replaceable-softmax", tasks=("angle",)) == []


@pytest.mark.parametrize(
    "other",
    [("SOFTMAX", "FULLY_CONNECTED"), ("SOFTMAX", "SOFTMAX")],
    ids=["in the middle", "twice"],
)
def test_a_softmax_that_stays_keeps_the_kernel_of_all(flatbuffer, bundle_of, findings_of, other):
    ends = flatbuffer("FULLY_CONNECTED", "SOFTMAX")
    assert len(findings_of(bundle_of({"a": ends}), "replaceable-softmax")) == 1
    both = bundle_of({"a": ends, "b": flatbuffer(*other)})
    assert findings_of(both, "replaceable-softmax") == []


def test_a_softmax_that_another_node_reads_stays(flatbuffer, bundle_of, findings_of):
    nodes = {"a": flatbuffer("FULLY_CONNECTED", "SOFTMAX"), "b": flatbuffer("FULLY_CONNECTED")}
    bundle = bundle_of(nodes, {"one": ("a",), "two": ("a", "b")})
    assert findings_of(bundle, "replaceable-softmax") == []
    assert len(findings_of(bundle, "replaceable-softmax", tasks=("one",))) == 1


@pytest.mark.parametrize(("metric", "count"), [("accuracy", 1), ("mae", 0)])
@pytest.mark.parametrize(
    ("operator", "rule", "shape"),
    [
        ("SOFTMAX", "replaceable-softmax", (1, 4)),
        ("LOGISTIC", "replaceable-sigmoid", (1, 1)),
    ],
)
def test_a_task_that_wants_the_value_keeps_it(
    flatbuffer, bundle_of, findings_of, score, operator, rule, shape, metric, count
):
    data = flatbuffer("FULLY_CONNECTED", operator, shape=shape)
    bundle = bundle_of({"a": data}, scores={"a": score(metric)})
    assert len(findings_of(bundle, rule)) == count


@pytest.mark.parametrize(("shape", "count"), [((1, 1), 1), ((1, 4), 0)])
def test_a_sigmoid_of_one_output_is_a_comparison(flatbuffer, bundle_of, findings_of, shape, count):
    bundle = bundle_of({"a": flatbuffer("FULLY_CONNECTED", "LOGISTIC", shape=shape)})
    findings = findings_of(bundle, "replaceable-sigmoid")
    assert len(findings) == count
    for finding in findings:
        saved = kernel_bytes({"FULLY_CONNECTED", "LOGISTIC"}) - kernel_bytes({"FULLY_CONNECTED"})
        assert finding.saved_bytes == saved
        assert finding.text.startswith("a ends in LOGISTIC")
