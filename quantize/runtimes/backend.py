"""What every backend of the interpreter shares: its one function, and its one error.

Belongs here: what `tflm.py` and `litert.py` both are. Does not belong here: either of them.
"""

from collections.abc import Callable

import numpy as np

from quantize.wire.graph import Graph

# Runs one sample: codes of the node's input shape to codes of its output shape, the batch of 1
# first.
RunOne = Callable[[np.ndarray], np.ndarray]


class InterpreterError(RuntimeError):
    """An interpreter is not installed, refuses a flatbuffer, or failed to run it."""


def is_stateful(graph: Graph) -> bool:
    """Whether a run leaves something behind that the next one would read."""
    names = graph.operator_names
    return "VAR_HANDLE" in names or any(tensor.is_variable for tensor in graph.tensors)
