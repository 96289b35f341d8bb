"""Operators that one branch alone pulls in, and the code that goes with them."""

import pytest
from made_forms import with_tables

from deploy.footprint.rom import runtime_rom

DENSE = ("FULLY_CONNECTED",)
PATHS = {"one": ("trunk", "a"), "two": ("trunk", "b")}


def kernel_bytes(operators):
    return runtime_rom(operators, "cortex-m4", "cmsis-nn-int8").kernel_bytes


def test_only_the_residual_network_adds(public_models, bundle_of, findings_of):
    bundle = bundle_of(public_models)
    (finding,) = findings_of(bundle, "single-user-operator")
    operators = {name for node in bundle.nodes.values() for name in node.operators}
    assert finding.where == ("resnet",)
    assert finding.saved_bytes == kernel_bytes(operators) - kernel_bytes(operators - {"ADD"})
    assert finding.saved_bytes == 3_842
    assert finding.text == "only resnet uses ADD, whose own code takes 3.8 KiB"
    assert finding.advice == "build resnet from operators that other nodes link already"


def test_every_task_s_operators_are_no_branch_s_own(flatbuffer, bundle_of, findings_of):
    nodes = {"trunk": flatbuffer("ADD"), "a": flatbuffer(*DENSE), "b": flatbuffer(*DENSE)}
    assert findings_of(bundle_of(nodes, PATHS), "single-user-operator") == []
    moved = {"trunk": nodes["a"], "a": nodes["trunk"], "b": nodes["b"]}
    (finding,) = findings_of(bundle_of(moved, PATHS), "single-user-operator")
    assert finding.where == ("a",)


def test_what_a_precision_needs_is_no_choice(made, flatbuffer, bundle_of, findings_of):
    """The QUANTIZE of 16x8 and TFLM_DECODE belong to how a node is stored."""
    writer = made.FlatbufferWriter()
    first, last = (writer.tensor((1, 4), "INT8", 0.1, 0) for _ in range(2))
    wide = writer.tensor((1, 4), "INT16", 0.001, 0)
    for ends in ([first], [wide]), ([wide], [last]):
        writer.operator("QUANTIZE", *ends, writer.schema.QuantizeOptionsT())
    nodes = {"trunk": flatbuffer(*DENSE), "a": writer.bytes([first], [last])}
    nodes["b"] = with_tables(flatbuffer(*DENSE, shape=(1, 64)))
    assert findings_of(bundle_of(nodes, PATHS), "single-user-operator") == []


def test_an_operator_of_two_branches_is_none(flatbuffer, bundle_of, findings_of):
    nodes = {"trunk": flatbuffer(*DENSE), "a": flatbuffer("ADD"), "b": flatbuffer("ADD")}
    assert findings_of(bundle_of(nodes, PATHS), "single-user-operator") == []


def test_one_model_alone_has_no_branch(public_models, bundle_of, findings_of):
    bundle = bundle_of({"resnet": public_models["resnet"]})
    assert findings_of(bundle, "single-user-operator") == []


def test_what_a_network_needs_is_no_finding(flatbuffer, bundle_of, findings_of):
    nodes = {"trunk": flatbuffer("ADD"), "a": flatbuffer(*DENSE), "b": flatbuffer("ADD")}
    assert findings_of(bundle_of(nodes, PATHS), "single-user-operator") == []


def test_a_softmax_counts_once_by_its_own_rule(device_bundle, findings_of):
    assert len(findings_of(device_bundle, "replaceable-softmax")) == 1
    assert findings_of(device_bundle, "single-user-operator") == []


def test_a_softmax_in_the_middle_counts_here(flatbuffer, bundle_of, findings_of):
    nodes = {
        "trunk": flatbuffer(*DENSE),
        "a": flatbuffer("SOFTMAX", "FULLY_CONNECTED"),
        "b": flatbuffer(*DENSE),
    }
    (finding,) = findings_of(bundle_of(nodes, PATHS), "single-user-operator")
    assert finding.where == ("a",)
    assert finding.saved_bytes == kernel_bytes({*DENSE, "SOFTMAX"}) - kernel_bytes(DENSE)


@pytest.mark.parametrize(
    ("own", "others", "said"),
    [
        ("TANH", "LOGISTIC", "use LOGISTIC, which other nodes link already"),
        ("TANH", "ADD", "build a from operators that other nodes link already"),
        ("HARD_SWISH", "ADD", "use ReLU, which the layer before applies by itself"),
    ],
)
def test_the_advice_names_what_does_the_same(flatbuffer, bundle_of, findings_of, own, others, said):
    nodes = {
        "trunk": flatbuffer("FULLY_CONNECTED", others),
        "a": flatbuffer(own, "FULLY_CONNECTED"),
        "b": flatbuffer(others, "FULLY_CONNECTED"),
    }
    (finding,) = findings_of(bundle_of(nodes, PATHS), "single-user-operator")
    assert finding.advice.startswith(said)
