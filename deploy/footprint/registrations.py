"""Which registration of the runtime runs an operator, by the types of its tensors.

With CMSIS-NN an operator has a registration for every form of arithmetic (`Register_CONV_2D_INT8`,
`..._INT4`, `..._INT16`), which links the code of that form alone, and a generic one, which links
all. An operator in a form is named "OPERATOR:FORM", as in "CONV_2D:INT4"; the name alone stands for
int8 activations and weights, and for every operator that has one registration only. Registrations
are those of revision 90b983c2.

Belongs here: the form of an operator. Does not belong here: what its code costs (`rom.py`), or how
it is registered (`deploy/tflm_sources`).
"""

from __future__ import annotations

from collections.abc import Iterable

from quantize.flatbuffer import Graph, Operator

INT8, INT4, INT16, ANY = "INT8", "INT4", "INT16", "ANY"
"""Forms: int8 throughout; int8 with int4 weights; int16 with int8 weights; whatever else."""

REGISTRATIONS: dict[str, tuple[str, ...]] = {
    "ADD": (INT8, INT16),
    "AVERAGE_POOL_2D": (INT8, INT16),
    "CONV_2D": (INT8, INT4, INT16),
    "DEPTHWISE_CONV_2D": (INT8, INT4, INT16),
    "FULLY_CONNECTED": (INT8, INT16),
    "MAX_POOL_2D": (INT8, INT16),
    "MUL": (INT8,),
    "SOFTMAX": (INT8, INT16),
    "TRANSPOSE_CONV": (INT8,),
}
"""By operator, the forms that it has a registration of its own for: those of the ROM table. Others
exist (MAXIMUM, PAD, TRANSPOSE ...), but what they cost was not measured."""

# By form: the types of an operator's outputs, and those that its inputs may have.
_TYPES = {
    INT8: ({"INT8"}, {"INT8", "INT32"}),
    INT4: ({"INT8"}, {"INT8", "INT4", "INT32"}),
    INT16: ({"INT16"}, {"INT16", "INT8", "INT32", "INT64"}),
}


def split_form(name: str) -> tuple[str, str]:
    """Return operator and form of a name; "" for a name without one."""
    operator, _, form = name.partition(":")
    return operator, form


def operator_form(operator: Operator, graph: Graph) -> str:
    """Return the form whose registration runs an operator.

    Args:
        operator: One of the operators of `graph`.
        graph: The graph of a node.

    Returns:
        "INT8", "INT4", "INT16", or "ANY" where only the generic registration runs it; "" for an
        operator that has no other.
    """
    forms = REGISTRATIONS.get(operator.name)
    if forms is None:
        return ""
    outputs = _dtypes(graph, operator.outputs)
    inputs = _dtypes(graph, operator.inputs)
    for form in forms:
        own_outputs, own_inputs = _TYPES[form]
        # What is computed is also read: SOFTMAX has a kernel from int8 to int16, which is neither.
        if outputs == own_outputs and outputs <= inputs <= own_inputs:
            return form
    return ANY


def registered_operators(graphs: Iterable[Graph]) -> frozenset[str]:
    """Return the operators of nodes, each named with the form that its kernel needs.

    Args:
        graphs: The graphs of nodes that are linked into one firmware.

    Returns:
        Names as `runtime_rom` takes them: "CONV_2D", "CONV_2D:INT4", "TFLM_DECODE" ...
    """
    return frozenset(
        f"{operator.name}:{form}" if form not in ("", INT8) else operator.name
        for graph in graphs
        for operator in graph.operators
        for form in [operator_form(operator, graph)]
    )


def _dtypes(graph: Graph, tensors: Iterable[int]) -> set[str]:
    return {graph.tensors[index].dtype for index in tensors if index >= 0}
