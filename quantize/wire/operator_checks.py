"""Check that operators have the tensors and options that their kernels read without asking.

Kernels take a convolution's axes and strides as given, and so does every count made of a graph:
multiply-accumulates, scratch memory, time. A file that passes here can be counted.

Belongs here: what an operator must have for its shape to mean anything. Does not belong here:
indices (`index_checks.py`) and sizes (`graph_reading.py`), which hold for all operators alike.
"""

from dataclasses import dataclass

from quantize.wire.encoding import FlatbufferError
from quantize.wire.graph import Graph, Operator

_DAMAGED = "The file is damaged: copy or convert it again."
_STRIDES = ("strideH", "strideW")
_DILATIONS = ("dilationHFactor", "dilationWFactor")


@dataclass(frozen=True)
class _Needs:
    """What an operator needs.

    Args:
        inputs: By position, the least and the most axes of an input that must be there.
        output: The least and the most axes of its first output.
        options: Fields that its options must have.
        positive: Those of them that must be above 0.
    """

    inputs: dict[int, tuple[int, int]]
    output: tuple[int, int]
    options: tuple[str, ...] = ()
    positive: tuple[str, ...] = ()


_ANY = (0, 8)
_IMAGE = (4, 4)
_NEEDS = {
    "CONV_2D": _Needs({0: _IMAGE, 1: _IMAGE}, _IMAGE, ("padding",), (*_STRIDES, *_DILATIONS)),
    "DEPTHWISE_CONV_2D": _Needs(
        {0: _IMAGE, 1: _IMAGE}, _IMAGE, ("padding",), (*_STRIDES, *_DILATIONS)
    ),
    "TRANSPOSE_CONV": _Needs({0: _ANY, 1: _IMAGE, 2: _IMAGE}, _IMAGE, ("padding",), _STRIDES),
    "FULLY_CONNECTED": _Needs({0: (1, 8), 1: (2, 2)}, (1, 8)),
    "BATCH_MATMUL": _Needs({0: (2, 8), 1: (2, 8)}, (2, 8), ("adjX", "adjY")),
    "AVERAGE_POOL_2D": _Needs({0: _IMAGE}, _IMAGE, ("padding",), _STRIDES),
    "MAX_POOL_2D": _Needs({0: _IMAGE}, _IMAGE, ("padding",), _STRIDES),
}


def check_operators(graph: Graph) -> None:
    """Check the operators of a graph: their tensors and their options.

    Args:
        graph: A graph whose indices and sizes are checked.

    Raises:
        FlatbufferError: An operator lacks a tensor or an option, or has one that no kernel takes.
    """
    check_operator_tensors(graph)
    for operator in graph.operators:
        needs = _NEEDS.get(operator.name)
        if needs is not None:
            _check_options(operator, needs, _where(operator))


def check_operator_tensors(graph: Graph) -> None:
    """Check the tensors of operators alone, which is all that a count of their elements needs.

    Args:
        graph: A graph whose indices and sizes are checked.

    Raises:
        FlatbufferError: An operator lacks a tensor, or has one of other axes than its kernel takes.
    """
    for operator in graph.operators:
        where = _where(operator)
        if not operator.outputs:
            raise FlatbufferError(
                f"`data` must hold an output of {where}, received none. {_DAMAGED}"
            )
        needs = _NEEDS.get(operator.name)
        if needs is not None:
            _check_tensors(operator, graph, needs, where)


def _where(operator: Operator) -> str:
    return f"operator {operator.index}, {operator.name}"


def _check_tensors(operator: Operator, graph: Graph, needs: _Needs, where: str) -> None:
    for position, axes in needs.inputs.items():
        if position >= len(operator.inputs) or operator.inputs[position] < 0:
            raise FlatbufferError(
                f"`data` must hold input {position} of {where}, received none. {_DAMAGED}"
            )
        _check_axes(graph, operator.inputs[position], axes, f"input {position} of {where}")
    _check_axes(graph, operator.outputs[0], needs.output, f"the output of {where}")


def _check_axes(graph: Graph, tensor: int, axes: tuple[int, int], where: str) -> None:
    least, most = axes
    shape = graph.tensors[tensor].shape
    if not least <= len(shape) <= most:
        wanted = f"{least}" if least == most else f"{least} to {most}"
        raise FlatbufferError(
            f"`data` must hold {wanted} axes for {where}, received the shape {shape}. {_DAMAGED}"
        )


def _check_options(operator: Operator, needs: _Needs, where: str) -> None:
    for name in (*needs.options, *needs.positive):
        value = getattr(operator.options, name, None)
        if value is None or (name in needs.positive and value < 1):
            least = " of at least 1" if name in needs.positive else ""
            raise FlatbufferError(
                f"`data` must hold the option {name}{least} of {where}, received {value}. "
                f"{_DAMAGED}"
            )
