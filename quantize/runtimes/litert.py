"""LiteRT's reference kernels: the stand-in where TensorFlow Lite Micro does not install.

Belongs here: opening and running on LiteRT. Does not belong here: its tolerance (`interpreter.py`).
"""

import numpy as np

from quantize.precision.decoding import decoded
from quantize.runtimes.backend import InterpreterError, RunOne, is_stateful
from quantize.runtimes.stderr_capture import captured_stderr
from quantize.strip import widen
from quantize.wire.graph import Graph


def open_litert(data: bytes, graph: Graph) -> RunOne:
    """Open a checked flatbuffer on LiteRT's reference kernels.

    Args:
        data: Its bytes; deeply stripped ones and ones with lookup tables too.
        graph: Its graph, of `read_graph(data)`.

    Returns:
        The function that runs one sample.

    Raises:
        InterpreterError: LiteRT refuses it.
    """
    from ai_edge_litert import interpreter as litert

    # LiteRT has no TFLM_DECODE, and insists on quantization that deeply stripped flatbuffers lack.
    wide = widen(decoded(data))
    with captured_stderr() as text:
        try:
            interpreter = litert.Interpreter(
                model_content=wide,
                experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF,
            )
            interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            failure: Exception | None = error
        else:
            failure = None
    if failure is not None:
        raise _refusal(f"{failure}\n{text.read()}") from failure
    source = interpreter.get_input_details()[0]["index"]
    target = interpreter.get_output_details()[0]["index"]
    stateful = is_stateful(graph)

    def run_one(sample: np.ndarray) -> np.ndarray:
        if stateful:
            interpreter.reset_all_variables()
        interpreter.set_tensor(source, sample)
        try:
            interpreter.invoke()
        except RuntimeError as error:
            raise _refusal(str(error)) from error
        result: np.ndarray = interpreter.get_tensor(target)
        return result

    return run_one


def _refusal(text: str) -> InterpreterError:
    reason = "; ".join(line.strip() for line in text.splitlines() if line.strip())
    return InterpreterError(
        f"`data` must be a flatbuffer that LiteRT's reference kernels can run, received from them: "
        f"{reason}. Replace the operator that it names."
    )
