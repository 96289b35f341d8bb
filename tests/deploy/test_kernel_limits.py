"""What CMSIS-NN cannot run, by the shapes that were compared with the reference kernels."""

import dataclasses
from types import SimpleNamespace

import pytest

from benchmarks.footprint_models import measured_graph
from deploy.board import load_board
from deploy.footprint.cores import CoreError
from deploy.footprint.kernel_buffers import KernelSet
from deploy.footprint.kernel_limits import (
    KernelLimitError,
    check_kernel_limits,
    kernel_notes,
    running_kernels,
)
from quantize.flatbuffer import Graph, Operator, Quantization, Tensor

CMSIS_NN = KernelSet(cmsis_nn=True, has_dsp=True, has_mve=False)
VECTOR = KernelSet(cmsis_nn=True, has_dsp=False, has_mve=True)
REFERENCE = KernelSet(cmsis_nn=False, has_dsp=False, has_mve=False)


def layer(
    name: str,
    source: tuple[int, ...],
    weights: tuple[int, ...],
    weight_type: str,
    source_type: str = "INT8",
    *,
    scales: int = 1,
    dilation: int = 1,
    bias: str = "INT64",
) -> Graph:
    """One layer with constant weights and a bias."""
    quantization = Quantization((0.1,) * scales, (0,) * scales, 0)
    tensors = (
        Tensor(0, "", source, source_type, None, None, False),
        Tensor(1, "", weights, weight_type, quantization, b"\0", False),
        Tensor(2, "", weights[:1], bias, None, b"\0", False),
        Tensor(3, "", source, source_type, None, None, False),
    )
    options = SimpleNamespace(dilationHFactor=dilation, dilationWFactor=dilation)
    return Graph(tensors, (Operator(0, name, (0, 1, 2), (3,), options, 1),), (0,), (3,), 1)


WRONG = {
    "grouped int4": layer("CONV_2D", (1, 8, 8, 8), (8, 3, 3, 4), "INT4"),
    "grouped int16": layer("CONV_2D", (1, 8, 8, 8), (8, 3, 3, 4), "INT8", "INT16"),
    "one channel times 8": layer("DEPTHWISE_CONV_2D", (1, 8, 8, 1), (1, 3, 3, 8), "INT4"),
    "3 channels times 2": layer("DEPTHWISE_CONV_2D", (1, 9, 9, 3), (1, 3, 3, 6), "INT4"),
    "7 channels, dilated": layer(
        "DEPTHWISE_CONV_2D", (1, 9, 9, 7), (1, 3, 3, 7), "INT4", dilation=2
    ),
    "dense, a scale per channel": layer(
        "FULLY_CONNECTED", (1, 6), (7, 6), "INT8", "INT16", scales=7
    ),
    "dense, int32 bias": layer("FULLY_CONNECTED", (1, 6), (7, 6), "INT8", "INT16", bias="INT32"),
}
RIGHT = {
    "int4": layer("CONV_2D", (1, 8, 8, 8), (8, 3, 3, 8), "INT4"),
    "int16": layer("CONV_2D", (1, 8, 8, 8), (8, 3, 3, 8), "INT8", "INT16"),
    "int16, int32 bias": layer(
        "CONV_2D", (1, 8, 8, 8), (8, 3, 3, 8), "INT8", "INT16", bias="INT32"
    ),
    "grouped int8": layer("CONV_2D", (1, 8, 8, 8), (8, 3, 3, 4), "INT8"),
    "4 channels times 2": layer("DEPTHWISE_CONV_2D", (1, 8, 8, 4), (1, 3, 3, 8), "INT4"),
    "7 channels": layer("DEPTHWISE_CONV_2D", (1, 9, 9, 7), (1, 3, 3, 7), "INT4"),
    "8 channels, dilated": layer(
        "DEPTHWISE_CONV_2D", (1, 9, 9, 8), (1, 3, 3, 8), "INT4", dilation=2
    ),
    "depthwise int16": layer("DEPTHWISE_CONV_2D", (1, 9, 9, 7), (1, 3, 3, 7), "INT8", "INT16"),
    "dense int16": layer("FULLY_CONNECTED", (1, 6), (7, 6), "INT8", "INT16"),
    "dense int8": layer("FULLY_CONNECTED", (1, 6), (7, 6), "INT8", scales=7, bias="INT32"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_comes_out_wrong_is_refused(case: str) -> None:
    with pytest.raises(KernelLimitError, match=r"operator 0, .* of 'trunk'"):
        check_kernel_limits("trunk", WRONG[case], CMSIS_NN)
    check_kernel_limits("trunk", WRONG[case], REFERENCE)


@pytest.mark.parametrize("case", RIGHT)
def test_what_comes_out_right_is_not(case: str) -> None:
    check_kernel_limits("trunk", RIGHT[case], CMSIS_NN)


@pytest.mark.parametrize("name", ["T", "convgroup", "dw1ch", "fc_seq", "T_lut4", "kws_int4"])
def test_measured_nodes_run(name: str) -> None:
    check_kernel_limits(name, measured_graph(name), CMSIS_NN)


def test_another_kernel_set_is_chosen_unless_one_is_asked_for() -> None:
    board, graphs = load_board("nano33ble"), {"trunk": WRONG["grouped int4"]}
    kernels, (note,) = running_kernels(graphs, board, None)
    assert kernels == "reference"
    assert note.startswith("reference kernels: CMSIS-NN computes grouped convolutions with int4")
    assert running_kernels({"trunk": RIGHT["int4"]}, board, None) == ("cmsis-nn-int8", ())
    assert running_kernels(graphs, board, "reference") == ("reference", ())
    with pytest.raises(KernelLimitError, match="Set `kernels` to 'reference'"):
        running_kernels(graphs, board, "cmsis-nn")
    with pytest.raises(CoreError, match="made for Arm Cortex-M"):
        running_kernels(graphs, load_board("esp32-c3"), "cmsis-nn")


def test_the_vector_unit_gets_a_note() -> None:
    graph = RIGHT["7 channels"]
    (note,) = kernel_notes("trunk", graph, VECTOR)
    assert "depthwise convolutions of trunk came out wrong on an emulated vector unit" in note
    assert not list(kernel_notes("trunk", graph, CMSIS_NN))
    without_bias = dataclasses.replace(graph.operators[0], name="CONV_2D")
    plain = dataclasses.replace(graph, operators=(without_bias,))
    assert not list(kernel_notes("trunk", plain, VECTOR))
