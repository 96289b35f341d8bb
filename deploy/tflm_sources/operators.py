"""How an operator is registered with TensorFlow Lite Micro's `MicroMutableOpResolver`.

Names are those of the flatbuffer schema and of tensorflow/lite/micro/micro_mutable_op_resolver.h
(revision 90b983c2): every operator whose code `deploy/footprint/rom.py` knows. `TFLM_DECODE` is
registered with the kernel of firmware_stubs/tflm/kt_decode.cc, which takes a tenth of its own.
"""

from __future__ import annotations

from collections.abc import Iterable

from deploy.footprint.registrations import INT4, INT8, INT16, operator_form
from quantize.flatbuffer import Graph

FORMS = (INT8, INT4, INT16)
"""Forms that a kernel may have a registration of its own for."""

# Methods whose name is not the operator's with its words capitalized.
_SPECIAL_METHODS = {
    "AVERAGE_POOL_2D": "AddAveragePool2D",
    "BATCH_MATMUL": "AddBatchMatMul",
    "CONV_2D": "AddConv2D",
    "CUMSUM": "AddCumSum",
    "DEPTHWISE_CONV_2D": "AddDepthwiseConv2D",
    "L2_POOL_2D": "AddL2Pool2D",
    "MAX_POOL_2D": "AddMaxPool2D",
    "PADV2": "AddPadV2",
    "TFLM_DECODE": "AddCustom",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "AddUnidirectionalSequenceLSTM",
}


def add_method(operator: str) -> str:
    """Return the resolver's method for an operator, e.g. "AddConv2D" for "CONV_2D"."""
    words = "".join(word.capitalize() for word in operator.split("_"))
    return _SPECIAL_METHODS.get(operator, f"Add{words}")


def operator_forms(graphs: Iterable[Graph]) -> dict[str, tuple[str, ...]]:
    """Return by operator the forms whose registrations run every one of its uses.

    Args:
        graphs: The graphs of all nodes of a firmware.

    Returns:
        By operator, sorted, the forms in the order of `FORMS`: ("INT8",), or ("INT8", "INT4") where
        nodes of both precisions are there. () where only the generic registration will do.
    """
    used: dict[str, set[str]] = {}
    for graph in graphs:
        for operator in graph.operators:
            used.setdefault(operator.name, set()).add(operator_form(operator, graph))
    return {
        name: tuple(form for form in FORMS if form in forms) if forms <= set(FORMS) else ()
        for name, forms in sorted(used.items())
    }
