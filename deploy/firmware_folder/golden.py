"""Golden vectors for the self-test: the bundle's own, or made here for models that have none.

A lone .tflite file has no golden vectors. TensorFlow Lite Micro's wheel computes some where it is
installed; where it is not, the task stays without, and the self-test says so.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from quantize.bundle import Bundle, BundleTask
from quantize.tensor_spec import TensorSpec

__all__ = ["with_golden_vectors"]

_VECTORS = 4


def with_golden_vectors(bundle: Bundle) -> Bundle:
    """A bundle whose tasks have golden vectors that TensorFlow Lite Micro computed, where it can.

    Vectors of the bundle that LiteRT computed are computed anew: it may differ by one code.

    Args:
        bundle: A bundle, or what `deploy.models.load_models` made of .tflite files.

    Returns:
        The bundle; a task without vectors has arrays of length 0.
    """
    tasks = {name: _with_vectors(bundle, task) for name, task in bundle.tasks.items()}
    return replace(bundle, tasks=tasks)


def _with_vectors(bundle: Bundle, task: BundleTask) -> BundleTask:
    if len(task.golden_inputs) and task.golden_backend == "tflm":
        return task
    nodes = bundle.path_nodes(task.name)
    inputs = task.golden_inputs
    if not len(inputs):
        inputs = _random_codes(task.name, nodes[0].input)
    outputs = _run([node.data for node in nodes], inputs)
    if outputs is None:
        return task
    return replace(task, golden_inputs=inputs, golden_outputs=outputs, golden_backend="tflm")


def _random_codes(name: str, spec: TensorSpec) -> np.ndarray:
    """int8 (4, *shape without batch): uniform codes, the same for the same name and shape."""
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    return generator.integers(-128, 128, (_VECTORS, *spec.shape[1:]), np.int8)


def _run(nodes: Sequence[bytes], inputs: np.ndarray) -> np.ndarray | None:
    """Outputs of a path, or None where TensorFlow Lite Micro is not there or refuses it."""
    from quantize.flatbuffer import FlatbufferError
    from quantize.interpreter import InterpreterError, run_path

    try:
        return run_path(nodes, inputs, "tflm")
    except (FlatbufferError, InterpreterError, ValueError):
        return None
