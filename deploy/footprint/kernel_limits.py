"""What CMSIS-NN does not run, or runs wrongly, although the runtime's own kernels do.

Its functions check little and the runtime drops their answer in a release build: what is listed
here allocates and then computes something else, or does not allocate. All of it was run on an
emulated Cortex-M4 and M55 and compared with the reference kernels (TensorFlow Lite Micro 90b983c2,
CMSIS-NN 4ab83cc3); int8 is sound throughout.

Belongs here: which operator of a graph a kernel set cannot run. Does not belong here: types that no
kernel takes (`deploy/model_checks.py`), or what a kernel needs (`kernel_buffers.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from deploy.board import Board
from deploy.footprint.cores import (
    CoreError,
    check_kernels,
    default_kernels,
    measured_core,
)
from deploy.footprint.kernel_buffers import KernelSet
from deploy.footprint.ram import kernel_set
from quantize.flatbuffer import Graph, Operator, Tensor


class KernelLimitError(CoreError):
    """A kernel set that cannot run a node; another one can.

    Args:
        reason: What it does, and in which operator.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"`kernels` must run every operator: {reason}. Set `kernels` to 'reference', or "
            "quantize the node in another precision."
        )
        self.reason = reason


def running_kernels(
    graphs: Mapping[str, Graph], board: Board, kernels: str | None
) -> tuple[str, tuple[str, ...]]:
    """Return the kernel set that runs some nodes on a board, and what to know of it.

    Args:
        graphs: The nodes' graphs by name.
        board: The board.
        kernels: A kernel set; None for the best one measured for the board's core that runs them.

    Raises:
        CoreError: The kernel set is unknown, or not made for the board's core.
        KernelLimitError: It does not run a node.
    """
    chosen = default_kernels(board.core) if kernels is None else kernels
    check_kernels(chosen, board.core)
    found = kernel_set(measured_core(board.core, board.fpu), chosen)
    try:
        for name, graph in graphs.items():
            check_kernel_limits(name, graph, found)
    except KernelLimitError as error:
        if kernels is not None:
            raise
        return "reference", (f"reference kernels: {error.reason}",)
    notes = (note for name, graph in graphs.items() for note in kernel_notes(name, graph, found))
    return chosen, tuple(notes)


def check_kernel_limits(name: str, graph: Graph, kernels: KernelSet) -> None:
    """Refuse a kernel set that cannot run a node.

    Args:
        name: The node, for the message.
        graph: Its graph.
        kernels: The kernels that would run it.

    Raises:
        KernelLimitError: Says which operator, and what to do.
    """
    if not kernels.cmsis_nn:
        return
    for operator in graph.operators:
        reason = _reason(operator, graph)
        if reason:
            raise KernelLimitError(
                f"CMSIS-NN {reason}, as in operator {operator.index}, {operator.name}, of '{name}'"
            )


def kernel_notes(name: str, graph: Graph, kernels: KernelSet) -> Iterator[str]:
    """Yield what to know of a node that a kernel set runs right only with some compilers."""
    if kernels.has_mve and any(_is_int4_depthwise(operator, graph) for operator in graph.operators):
        yield (
            f"the int4 depthwise convolutions of {name} came out wrong on an emulated vector unit, "
            "as GCC 12.2 loads a constant predicate of CMSIS-NN's wrongly: run the golden vectors "
            "with your compiler, or set kernels to reference"
        )


def _reason(operator: Operator, graph: Graph) -> str:
    """What CMSIS-NN does with an operator; empty where it runs it."""
    if operator.name not in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
        return ""
    first, weights, *rest = (graph.tensors[i] if i >= 0 else None for i in operator.inputs)
    if first is None or weights is None or {first.dtype, weights.dtype} == {"INT8"}:
        return ""
    bias = rest[0] if rest else None
    if operator.name == "FULLY_CONNECTED":
        return _dense_reason(first, weights, bias)
    if operator.name == "CONV_2D":
        is_grouped = first.shape[3] != weights.shape[3]
        kind = "int4 weights" if weights.dtype == "INT4" else "int16 activations"
        return f"computes grouped convolutions with {kind} wrongly" if is_grouped else ""
    return _depthwise_reason(operator, first, weights)


def _dense_reason(first: Tensor, weights: Tensor, bias: Tensor | None) -> str:
    if first.dtype != "INT16":
        return ""
    if weights.quantization is not None and len(weights.quantization.scales) > 1:
        return "does not allocate dense layers with int16 activations and a scale per channel"
    if bias is not None and bias.dtype == "INT32":
        return "reads the int32 biases of dense layers with int16 activations as int64"
    return ""


def _depthwise_reason(operator: Operator, first: Tensor, weights: Tensor) -> str:
    """An odd number of channels does not share a byte with its neighbour as the function thinks."""
    options = operator.options
    is_plain = first.shape[3] == weights.shape[3] and (
        (options.dilationHFactor, options.dilationWFactor) == (1, 1)
    )
    if weights.dtype == "INT4" and first.shape[3] % 2 and not is_plain:
        return (
            "computes depthwise convolutions of an odd number of channels with int4 weights "
            "wrongly where they are dilated or multiply the channels"
        )
    return ""


def _is_int4_depthwise(operator: Operator, graph: Graph) -> bool:
    weights = graph.tensors[operator.inputs[1]] if len(operator.inputs) > 1 else None
    return operator.name == "DEPTHWISE_CONV_2D" and weights is not None and weights.dtype == "INT4"
