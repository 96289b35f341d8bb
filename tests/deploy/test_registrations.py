"""Operators are named with the form of arithmetic that their tensors' types ask for."""

import pytest

from deploy.footprint.cores import KERNEL_SETS
from deploy.footprint.registrations import operator_form, registered_operators, split_form
from deploy.footprint.rom import runtime_rom
from quantize.flatbuffer import Graph, Operator, Tensor


def graph_of(name: str, inputs: tuple[str, ...], output: str) -> Graph:
    """One operator over tensors of these types; "" for an input that is absent."""
    tensors = tuple(
        Tensor(index, "", (1, 4, 4, 8), dtype, None, None, False)
        for index, dtype in enumerate((*inputs, output))
    )
    indices = tuple(index if dtype else -1 for index, dtype in enumerate(inputs))
    operator = Operator(0, name, indices, (len(inputs),), None, 1)
    return Graph(tensors, (operator,), (0,), (len(inputs),), 1)


CASES = [
    ("CONV_2D", ("INT8", "INT8", "INT32"), "INT8", "CONV_2D"),
    ("CONV_2D", ("INT8", "INT8", ""), "INT8", "CONV_2D"),
    ("CONV_2D", ("INT8", "INT4", "INT32"), "INT8", "CONV_2D:INT4"),
    ("CONV_2D", ("INT16", "INT8", "INT64"), "INT16", "CONV_2D:INT16"),
    ("CONV_2D", ("INT16", "INT8", "INT32"), "INT16", "CONV_2D:INT16"),
    ("CONV_2D", ("FLOAT32", "FLOAT32", "FLOAT32"), "FLOAT32", "CONV_2D:ANY"),
    ("CONV_2D", ("FLOAT32", "INT8", "FLOAT32"), "FLOAT32", "CONV_2D:ANY"),
    ("DEPTHWISE_CONV_2D", ("INT8", "INT4", "INT32"), "INT8", "DEPTHWISE_CONV_2D:INT4"),
    ("FULLY_CONNECTED", ("INT8", "INT4", "INT32"), "INT8", "FULLY_CONNECTED:ANY"),
    ("FULLY_CONNECTED", ("INT16", "INT8", "INT64"), "INT16", "FULLY_CONNECTED:INT16"),
    ("ADD", ("INT16", "INT16"), "INT16", "ADD:INT16"),
    ("MUL", ("INT8", "INT8"), "INT8", "MUL"),
    ("MUL", ("INT16", "INT16"), "INT16", "MUL:ANY"),
    ("SOFTMAX", ("INT8",), "INT16", "SOFTMAX:ANY"),
    ("SOFTMAX", ("INT16",), "INT16", "SOFTMAX:INT16"),
    ("TRANSPOSE_CONV", ("INT32", "INT8", "INT8", "INT32"), "INT8", "TRANSPOSE_CONV"),
    ("TRANSPOSE_CONV", ("INT32", "INT8", "INT16", "INT64"), "INT16", "TRANSPOSE_CONV:ANY"),
    ("QUANTIZE", ("INT8",), "INT16", "QUANTIZE"),
    ("RESHAPE", ("INT16", "INT32"), "INT16", "RESHAPE"),
    ("TFLM_DECODE", ("UINT8", "UINT8"), "INT8", "TFLM_DECODE"),
]


@pytest.mark.parametrize(("name", "inputs", "output", "expected"), CASES)
def test_the_form_follows_from_the_types(name, inputs, output, expected) -> None:
    assert registered_operators([graph_of(name, inputs, output)]) == {expected}


def test_forms_of_several_nodes_are_side_by_side() -> None:
    graphs = [graph_of(*case[:3]) for case in CASES]
    names = registered_operators(graphs)
    assert names == {case[3] for case in CASES}
    for kernels in KERNEL_SETS:
        runtime = runtime_rom(names, "cortex-m4", kernels)
        assert {split_form(name)[0] for name in runtime.by_operator} == {case[0] for case in CASES}
        assert sum(runtime.by_operator.values()) == runtime.kernel_bytes


def test_an_operator_with_one_registration_has_no_form() -> None:
    graph = graph_of("MEAN", ("INT16", "INT32"), "INT16")
    assert operator_form(graph.operators[0], graph) == ""
    assert split_form("CONV_2D:INT4") == ("CONV_2D", "INT4")
    assert split_form("MEAN") == ("MEAN", "")
