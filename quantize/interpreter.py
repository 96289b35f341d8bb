"""Run a node's flatbuffer on the host, and record what arena it takes.

TensorFlow Lite Micro (the wheel `tflite_micro`) is the oracle: what it computes here, it computes
on the device, bit for bit. Where its wheel does not install, LiteRT's reference kernels stand in,
within `LITERT_TOLERANCE_LSB`.

Belongs here: opening, feeding and reading an interpreter, chaining nodes, and TFLM's recording of
its arena. Does not belong here: comparing results (`fidelity.py`), or what an arena costs on a
board.
"""

from collections.abc import Sequence
from difflib import get_close_matches

import numpy as np

from quantize.flatbuffer import Graph, read_graph
from quantize.runtimes.backend import InterpreterError, RunOne
from quantize.runtimes.litert import open_litert
from quantize.runtimes.tflm import ArenaRecording, open_tflm, record_arena, tflm_version
from quantize.tensor_spec import TensorSpec

__all__ = [
    "BACKENDS",
    "LITERT_TOLERANCE_LSB",
    "ArenaRecording",
    "InterpreterError",
    "NodeInterpreter",
    "open_interpreter",
    "record_arena",
    "run_path",
    "tflm_version",
]

BACKENDS = ("tflm", "litert")

# LiteRT's FULLY_CONNECTED rounds once where TFLM rounds twice (gemmlowp), so one layer's codes
# differ by at most 1; convolutions agree. A chain of dense layers can carry it further: 2 LSB were
# measured behind the ten of the MLPerf Tiny anomaly detector.
LITERT_TOLERANCE_LSB = 1


class NodeInterpreter:
    """One opened node, with one input and one output tensor.

    Args:
        backend: "tflm" or "litert".
        input: What `run` takes.
        output: What `run` returns.
        run_one: Runs one sample of shape `input.shape` to one of shape `output.shape`.
    """

    def __init__(
        self, backend: str, input: TensorSpec, output: TensorSpec, run_one: RunOne
    ) -> None:
        self.backend = backend
        self.input = input
        self.output = output
        self._run_one = run_one

    @property
    def tolerance_lsb(self) -> int:
        """By how much a layer's codes may differ from TFLM's: 0 where TFLM itself runs."""
        return 0 if self.backend == "tflm" else LITERT_TOLERANCE_LSB

    def run(self, codes: np.ndarray) -> np.ndarray:
        """Run samples one by one, each from the same initial state.

        Args:
            codes: int8 array (n, *input.shape[1:]); any n, 0 included.

        Returns:
            int8 array (n, *output.shape[1:]).

        Raises:
            ValueError: `codes` has another dtype or shape.
            InterpreterError: The interpreter failed.
        """
        codes = np.asarray(codes)
        wanted = self.input.shape[1:]
        if codes.dtype != self.input.dtype or codes.ndim < 1 or codes.shape[1:] != wanted:
            raise ValueError(
                f"`codes` must be {self.input.dtype} of shape (n, {', '.join(map(str, wanted))}), "
                f"received {codes.dtype} of shape {codes.shape}. "
                "Quantize real numbers with the interpreter's `input.quantize` first."
            )
        outputs = np.empty((len(codes), *self.output.shape[1:]), self.output.dtype)
        for number, sample in enumerate(np.ascontiguousarray(codes)):
            outputs[number] = self._run_one(sample[np.newaxis])[0]
        return outputs


def open_interpreter(data: bytes, backend: str | None = None) -> NodeInterpreter:
    """Open a node on an interpreter.

    The flatbuffer is checked before any C++ sees it, which would follow a wrong offset anywhere.

    Args:
        data: The bytes of a .tflite file with one input and one output, the batch fixed to 1.
        backend: "tflm" (TensorFlow Lite Micro) or "litert" (LiteRT's reference kernels); None takes
            TFLM where its wheel is installed.

    Returns:
        The opened node.

    Raises:
        FlatbufferError: `data` is no sound .tflite file.
        InterpreterError: The interpreter is not installed, or refuses the flatbuffer.
        ValueError: There is no such backend, or an end of the node is not quantized.
    """
    graph = read_graph(data)
    chosen = _choose_backend(backend)
    input, output = (_end_spec(graph, ends) for ends in ("inputs", "outputs"))
    run_one = open_tflm(data, graph) if chosen == "tflm" else open_litert(data, graph)
    return NodeInterpreter(chosen, input, output, run_one)


def run_path(nodes: Sequence[bytes], codes: np.ndarray, backend: str | None = None) -> np.ndarray:
    """Run nodes one after another, each one's codes handed on unchanged.

    Args:
        nodes: The bytes of one .tflite file per node, trunk first.
        codes: int8 array (n, *shape of the first node's input without the batch).
        backend: As for `open_interpreter`.

    Returns:
        int8 array (n, *shape of the last node's output without the batch).

    Raises:
        FlatbufferError: A node is no sound .tflite file.
        InterpreterError: An interpreter refuses a node, or failed to run it.
        ValueError: `codes` do not fit a node's input.
    """
    for data in nodes:
        codes = open_interpreter(data, backend).run(codes)
    return codes


def _choose_backend(backend: str | None) -> str:
    if backend is None:
        return "litert" if tflm_version() is None else "tflm"
    if backend not in BACKENDS:
        near = get_close_matches(backend, BACKENDS, 1)
        raise ValueError(
            f"`backend` must be one of {', '.join(BACKENDS)}, received {backend!r}. "
            + (f"Did you mean {near[0]!r}?" if near else "Leave it out to take what is installed.")
        )
    if backend == "tflm" and tflm_version() is None:
        raise InterpreterError(
            "`backend` 'tflm' must be installed, received none. Install tflite_micro (Linux on "
            "x86-64, CPython 3.10 to 3.13), or take 'litert'."
        )
    return backend


def _end_spec(graph: Graph, ends: str) -> TensorSpec:
    indices = getattr(graph, ends)
    if len(indices) != 1:
        raise InterpreterError(
            f"`data` must have one of its {ends}, received {len(indices)}. "
            "Cut the tree where one tensor passes."
        )
    spec = TensorSpec.from_tensor(graph.tensors[indices[0]])
    if spec.shape[0] != 1:
        raise InterpreterError(
            f"`data` must have a batch of 1 in its {ends}, received shape {spec.shape}. "
            "Convert the node with the batch fixed to 1."
        )
    return spec
