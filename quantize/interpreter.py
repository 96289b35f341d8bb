"""Run a node's flatbuffer on the host: TensorFlow Lite Micro where installed, else LiteRT's reference kernels.

Belongs here: opening, feeding and reading an interpreter, chaining nodes, and what TFLM records of its arena.
Does not belong here: comparing results (`fidelity.py`), or what an arena costs on a board.
"""

import os
import re
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata, util
from typing import Any

import numpy as np

from quantize.flatbuffer import read_graph
from quantize.tensor_spec import TensorSpec

BACKENDS = ("tflm", "litert")
_ARENA_BYTES = 1 << 20


class InterpreterError(RuntimeError):
    """An interpreter refuses a flatbuffer, or failed to run it."""


class NodeInterpreter:
    """One opened node: one int8 input tensor, one int8 output tensor."""

    def __init__(
        self, backend: str, input: TensorSpec, output: TensorSpec, run: Callable[[Any], Any]
    ) -> None:
        self.backend = backend
        self.input = input
        self.output = output
        self._run = run

    def run(self, codes: np.ndarray) -> np.ndarray:
        """Run samples one by one: int8 (n, *input.shape[1:]) to int8 (n, *output.shape[1:])."""
        codes = np.asarray(codes)
        if codes.dtype != self.input.dtype or codes.shape[1:] != self.input.shape[1:]:
            raise ValueError(
                f"`codes` must be {self.input.dtype} of shape (n, {self.input.shape[1:]}), "
                f"received {codes.dtype} {codes.shape}. Quantize with the node's input spec."
            )
        out = np.empty((len(codes), *self.output.shape[1:]), self.output.dtype)
        for i, sample in enumerate(codes):
            out[i] = self._run(sample[None]).reshape(self.output.shape)[0]
        return out


def tflm_version() -> str | None:
    """The version of the installed tflite_micro wheel, or None."""
    try:
        return metadata.version("tflite_micro")
    except metadata.PackageNotFoundError:
        return None


def open_interpreter(data: bytes, backend: str | None = None) -> NodeInterpreter:
    """Open a node; `backend` "tflm", "litert", or None for TFLM where its wheel is installed."""
    graph = read_graph(data)
    spec_in = TensorSpec.from_tensor(graph.tensors[graph.inputs[0]])
    spec_out = TensorSpec.from_tensor(graph.tensors[graph.outputs[0]])
    chosen = backend or ("tflm" if util.find_spec("tflite_micro") else "litert")
    run = _open_tflm(data) if chosen == "tflm" else _open_litert(data)
    return NodeInterpreter(chosen, spec_in, spec_out, run)


def _open_tflm(data: bytes) -> Callable[[Any], Any]:
    from tflite_micro.python.tflite_micro import runtime

    with _captured_stderr() as read:
        try:
            interpreter = runtime.Interpreter.from_bytes(
                data, arena_size=max(_ARENA_BYTES, 10 * len(data))
            )
        except RuntimeError as error:
            raise InterpreterError(f"TFLM refuses the flatbuffer: {error}: {read()}") from error

    def run(sample: Any) -> Any:
        interpreter.set_input(sample, 0)
        interpreter.invoke()
        return interpreter.get_output(0)

    return run


def _open_litert(data: bytes) -> Callable[[Any], Any]:
    from ai_edge_litert import interpreter as litert

    interpreter = litert.Interpreter(
        model_content=data,
        experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF,
    )
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    target = interpreter.get_output_details()[0]["index"]

    def run(sample: Any) -> Any:
        interpreter.set_tensor(source, sample)
        interpreter.invoke()
        return interpreter.get_tensor(target)

    return run


def run_path(nodes: Sequence[bytes], codes: np.ndarray, backend: str | None = None) -> np.ndarray:
    """Run nodes one after another, the int8 codes handed on unchanged."""
    for data in nodes:
        codes = open_interpreter(data, backend).run(codes)
    return codes


@dataclass(frozen=True)
class ArenaRecording:
    """What TFLM's recording allocator says of one node on this 64-bit host, in bytes."""

    total_bytes: int
    head_bytes: int
    tail_bytes: int
    persistent_buffer_bytes: int
    tensor_count: int
    operator_count: int
    runtime: str


def record_arena(data: bytes) -> ArenaRecording | None:
    """Record a node's arena with TFLM; None where tflite_micro is not installed."""
    version = tflm_version()
    if version is None:
        return None
    graph = read_graph(data)
    from tflite_micro.python.tflite_micro import runtime

    interpreter = runtime.Interpreter.from_bytes(data, arena_size=max(_ARENA_BYTES, 10 * len(data)))
    with _captured_stderr() as read:
        interpreter.print_allocations()
    text = read()

    def figure(pattern: str) -> int:
        found = re.search(pattern, text)
        if found is None:
            raise InterpreterError(f"TFLM's recording lacks {pattern!r}: {text}")
        return int(found.group(1))

    return ArenaRecording(
        total_bytes=figure(r"Arena allocation total (\d+) bytes"),
        head_bytes=figure(r"Arena allocation head (\d+) bytes"),
        tail_bytes=figure(r"Arena allocation tail (\d+) bytes"),
        persistent_buffer_bytes=figure(r"'Persistent buffer data' used (\d+) bytes"),
        tensor_count=len(graph.tensors),
        operator_count=len(graph.operators),
        runtime=version,
    )


_CAPTURE = threading.Lock()


@contextmanager
def _captured_stderr() -> Iterator[Callable[[], str]]:
    with _CAPTURE, tempfile.TemporaryFile() as file:
        text: list[str] = []
        sys.stderr.flush()
        saved = os.dup(2)
        os.dup2(file.fileno(), 2)

        def read() -> str:
            if not text:
                file.seek(0)
                return file.read().decode(errors="replace")
            return text[0]

        try:
            yield read
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            file.seek(0)
            text.append(file.read().decode(errors="replace"))
