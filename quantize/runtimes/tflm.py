"""TensorFlow Lite Micro on the host: open a flatbuffer with the wheel `tflite_micro`.

Belongs here: allocating, running, and TFLM's recording of its arena. Does not belong here: what the
arena costs on a board.
"""

import math
import re
from dataclasses import dataclass
from importlib import metadata, util
from typing import Any

import numpy as np

from quantize.flatbuffer import Graph, read_graph
from quantize.runtimes.backend import InterpreterError, RunOne, is_stateful
from quantize.runtimes.stderr_capture import captured_stderr

# TFLM cannot grow its arena, and one too small for the interpreter itself ends the process. So the
# first one is generous, at 1 MiB or more: 8 bytes for every element of every activation at once
# (the scratch buffer of TRANSPOSE_CONV alone takes 4), and ten times the flatbuffer for the rest.
# Where TFLM says that it was not enough, a larger one is tried.
_SMALLEST_ARENA_BYTES = 1 << 20
_LARGEST_ARENA_BYTES = 1 << 28
_ARENA_BYTES_PER_ELEMENT = 8
_ARENA_PER_FLATBUFFER = 10
_ARENA_GROWTH = 8
# How TFLM says that its arena is too small.
_ARENA_TOO_SMALL = re.compile(r"Requested: \d+, available \d+|[Aa]rena size is too small")


@dataclass(frozen=True)
class ArenaRecording:
    """What TFLM's recording allocator says of one node on this 64-bit host.

    Args:
        total_bytes: Head and tail.
        head_bytes: Activations and scratch buffers, as planned; the same on 32 bits.
        tail_bytes: The interpreter's own structures, larger than on 32 bits.
        persistent_buffer_bytes: The part of the tail that the kernels asked for.
        tensor_count: Tensors of the graph.
        operator_count: Operators of the graph.
        runtime: Version of tflite_micro.
    """

    total_bytes: int
    head_bytes: int
    tail_bytes: int
    persistent_buffer_bytes: int
    tensor_count: int
    operator_count: int
    runtime: str


def record_arena(data: bytes) -> ArenaRecording | None:
    """Let TFLM allocate a node and record its arena.

    Args:
        data: The bytes of a .tflite file.

    Returns:
        The figures; None where tflite_micro is not installed.

    Raises:
        FlatbufferError: `data` is no sound .tflite file.
        InterpreterError: TFLM refuses the flatbuffer, or does not print the figures.
    """
    graph = read_graph(data)
    version = tflm_version()
    if version is None:
        return None
    interpreter = _allocate(data, graph)
    with captured_stderr() as text:
        interpreter.print_allocations()

    def figure(pattern: str) -> int:
        found = re.search(pattern, text.read())
        if found is None:
            raise InterpreterError(
                f"tflite_micro {version} must print {pattern!r}, received {text.read()!r}. "
                "Install the release that this project is made for."
            )
        return int(found[1])

    return ArenaRecording(
        total_bytes=figure(r"Arena allocation total (\d+) bytes"),
        head_bytes=figure(r"Arena allocation head (\d+) bytes"),
        tail_bytes=figure(r"Arena allocation tail (\d+) bytes"),
        persistent_buffer_bytes=figure(r"'Persistent buffer data' used (\d+) bytes"),
        tensor_count=len(graph.tensors),
        operator_count=len(graph.operators),
        runtime=version,
    )


def tflm_version() -> str | None:
    """The version of the installed tflite_micro wheel; None where there is none."""
    if util.find_spec("tflite_micro") is None:
        return None
    try:
        return metadata.version("tflite_micro")
    except metadata.PackageNotFoundError:
        return "unknown"


def open_tflm(data: bytes, graph: Graph) -> RunOne:
    """Open a checked flatbuffer on TFLM.

    Args:
        data: Its bytes.
        graph: Its graph, of `read_graph(data)`.

    Returns:
        The function that runs one sample.

    Raises:
        InterpreterError: TFLM refuses it.
    """
    interpreter = _allocate(data, graph)
    stateful = is_stateful(graph)
    is_first = True

    def invoke(sample: np.ndarray) -> None:
        if stateful:
            interpreter.reset()
        interpreter.set_input(sample, 0)
        interpreter.invoke()

    def run_one(sample: np.ndarray) -> np.ndarray:
        nonlocal is_first
        try:
            # What fails, fails at once: only the first run turns standard error aside.
            if is_first:
                with captured_stderr() as text:
                    invoke(sample)
            else:
                invoke(sample)
        except RuntimeError as error:
            raise _refusal(text.read() if is_first else "", error, "run") from error
        is_first = False
        result: np.ndarray = interpreter.get_output(0)
        return result

    return run_one


def _allocate(data: bytes, graph: Graph) -> Any:
    from tflite_micro import runtime

    arena_bytes = _first_arena_bytes(data, graph)
    while True:
        with captured_stderr() as text:
            try:
                return runtime.Interpreter.from_bytes(data, arena_size=arena_bytes)
            except (RuntimeError, MemoryError) as error:
                failure = error
        if arena_bytes >= _LARGEST_ARENA_BYTES or not _ARENA_TOO_SMALL.search(text.read()):
            raise _refusal(text.read(), failure) from failure
        arena_bytes = min(_ARENA_GROWTH * arena_bytes, _LARGEST_ARENA_BYTES)


def _first_arena_bytes(data: bytes, graph: Graph) -> int:
    elements = sum(math.prod(tensor.shape) for tensor in graph.tensors if tensor.data is None)
    wanted = _ARENA_BYTES_PER_ELEMENT * elements + _ARENA_PER_FLATBUFFER * len(data)
    return min(max(wanted, _SMALLEST_ARENA_BYTES), _LARGEST_ARENA_BYTES)


def _refusal(text: str, failure: Exception, verb: str = "allocate") -> InterpreterError:
    missing = re.search(r"Didn't find op for builtin opcode '(\w+)'", text)
    if missing is not None:
        return InterpreterError(
            f"`data` must hold operators that TFLM has, received {missing[1]}. "
            "Build the layer from others, or convert it to another operator."
        )
    reason = "; ".join(line.strip() for line in text.splitlines() if line.strip())
    return InterpreterError(
        f"`data` must be a flatbuffer that TFLM can {verb}, received from it: "
        f"{reason or failure}. Replace the operator that it names."
    )
