"""The only caller of the TFLite converter, which always runs in a process of its own.

Belongs here: one frozen node to a calibrated float flatbuffer, and that to an int8 one. Does not
belong here: which samples calibrate (`calibration.py`), which ranges are pinned (`seam.py`).

The converter may crash: a rolled recurrent layer is a segmentation fault in its calibrator. It
prints on stdout and stderr, below what Python can silence. So it runs in a worker process, one for
all the nodes of a tree, because TensorFlow takes seconds to start.

The way is that of TensorFlow's own `tf.lite.experimental.QuantizationDebugger`: first convert and
calibrate only, which gives a float flatbuffer with a minimum and a maximum per tensor; then
quantize that. In between the ranges can be set. Both steps are private names of TensorFlow, checked
when the worker starts.

The ranges that the converter's calibrator writes are replaced by exact ones. It reads a tensor once
more after the operator that takes it, and in TFLite an ADD may by then have written its result into
the same memory: the inner branch of a residual block then gets the range of the sum (TensorFlow
2.21: 1.8 to 2.4 times too wide in four blocks of random weights, 0.6 dB of the whole net's signal
to noise ratio).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import numpy as np

from quantize.conversion.freezing import INPUT_NAME, OUTPUT_NAME, FrozenNode
from quantize.conversion.pinning import share_ranges
from quantize.conversion.worker import Worker, WorkerCrashError, WorkerStartError, WorkerTaskError
from quantize.flatbuffer import pack, unpack

_ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "2",  # errors only: the log's tail is shown when something fails
    "CUDA_VISIBLE_DEVICES": "-1",  # the converter needs no GPU and must not take its memory
    "PYTHONWARNINGS": None,  # TensorFlow warns while it is imported
    "TF_USE_LEGACY_KERAS": None,  # set by tensorflow-model-optimization; not meant for this process
}


class ConversionError(ValueError):
    """A node that cannot be converted; says which node and layers, and what to do."""


class Converter:
    """The TFLite converter behind a worker process that serves all the nodes of a tree.

    Use it as a context manager; on leaving, by Ctrl-C too, the process is ended.
    """

    def __init__(self) -> None:
        self._worker = Worker(__name__, dict(_ENVIRONMENT))

    def __enter__(self) -> Converter:
        self._worker.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._worker.close()

    @property
    def pid(self) -> int | None:
        """The worker's process number, or None while there is none."""
        return self._worker.pid

    def calibrate(self, node: FrozenNode, samples: np.ndarray) -> bytes:
        """Convert a node to a float flatbuffer with a minimum and a maximum per activation.

        Args:
            node: The frozen node.
            samples: float32 (n, *input shape without batch), n at least 1.

        Returns:
            A float .tflite with calibrated ranges; `quantize` makes it int8.

        Raises:
            ConversionError: The converter refused or crashed.
        """
        samples = np.ascontiguousarray(samples, np.float32)
        return self._run(node, "convert_and_calibrate", node.graph, samples)

    def quantize(self, node: FrozenNode, calibrated: bytes) -> bytes:
        """Turn a calibrated float flatbuffer into int8, its inputs and outputs too.

        Args:
            node: The node it was made of, for messages.
            calibrated: What `calibrate` returned, its ranges perhaps changed since.

        Returns:
            An int8 .tflite.

        Raises:
            ConversionError: The converter refused or crashed.
        """
        return self._run(node, "quantize_calibrated", calibrated)

    def quantize_wide(self, node: FrozenNode, calibrated: bytes) -> bytes:
        """Turn a calibrated float flatbuffer into int16 activations and int8 weights.

        Args:
            node: The node it was made of, for messages.
            calibrated: What `calibrate` returned, its ranges perhaps changed since.

        Returns:
            A .tflite whose input and output are int16.

        Raises:
            ConversionError: The converter refused or crashed.
        """
        return self._run(node, "quantize_calibrated_wide", calibrated)

    def _run(self, node: FrozenNode, function: str, *arguments: Any) -> bytes:
        try:
            return self._worker.run(function, *arguments)
        except WorkerCrashError as error:
            raise ConversionError(_crash_message(node, error.status, error.tail)) from error
        except WorkerStartError as error:
            raise ConversionError(f"The converter cannot be used: {error}") from error
        except WorkerTaskError as error:
            raise ConversionError(_refusal_message(node, str(error))) from error


def _crash_message(node: FrozenNode, status: str, tail: str) -> str:
    loops = node.layers_of_types(("While", "StatelessWhile"))
    advice = (
        f"Give {_listed(loops)} `unroll=True`: the converter cannot calibrate a loop."
        if loops
        else f"Replace the layer that it cannot convert, one of {_listed(node.layers)}; a node "
        "with fewer layers tells which."
    )
    words = f"\nThe converter's last words:\n{tail.strip()}" if tail.strip() else ""
    return (
        f"Node '{node.name}' must be convertible to .tflite; the converter's process {status}. "
        f"{advice}{words}"
    )


def _refusal_message(node: FrozenNode, reason: str) -> str:
    named = node.layers_of_types(re.findall(r"'?tf\.(\w+)", reason)) or node.layers
    return (
        f"Node '{node.name}' must be convertible to .tflite; the converter refused "
        f"{_listed(named)}: {reason.splitlines()[0].strip()} Replace the layer by one that .tflite "
        "operators compute."
    )


def _listed(layers: Sequence[str]) -> str:
    quoted = ", ".join(f"'{layer}'" for layer in layers[:12])
    more = f" and {len(layers) - 12} more" if len(layers) > 12 else ""
    return quoted + more or "an operation outside any layer"


# What follows runs in the worker process.


def prepare() -> None:
    """Load TensorFlow and check that it has the private names that are used here."""
    import tensorflow as tf
    from tensorflow.lite.python import convert

    present = hasattr(tf.lite.TFLiteConverter([], None), "_experimental_calibrate_only")
    if not (present and hasattr(convert, "mlir_quantize")):
        raise RuntimeError(
            "TensorFlow must have `TFLiteConverter._experimental_calibrate_only` and "
            "`tensorflow.lite.python.convert.mlir_quantize`; received TensorFlow "
            f"{tf.__version__}. Install the release that this project names, 2.21."
        )


def convert_and_calibrate(graph: bytes, samples: np.ndarray) -> bytes:
    """Convert a serialized graph to a float flatbuffer with exact ranges over the samples."""
    import tensorflow as tf

    definition = tf.compat.v1.GraphDef.FromString(graph)
    wrapped = tf.compat.v1.wrap_function(
        lambda: tf.compat.v1.import_graph_def(definition, name=""), []
    )
    function = wrapped.prune(f"{INPUT_NAME}:0", f"{OUTPUT_NAME}:0")
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.representative_dataset = lambda: ([sample[None]] for sample in samples[:1])
    converter._experimental_calibrate_only = True
    return _with_exact_ranges(bytes(converter.convert()), samples)


def quantize_calibrated(calibrated: bytes) -> bytes:
    """Turn a calibrated flatbuffer into int8.

    Results that nothing uses, as a gate of the first step of an unrolled LSTM, are outputs for the
    time being. Without a use, the quantizer of TensorFlow 2.21 leaves their operator in float or
    not, differently from call to call.
    """
    import tensorflow as tf
    from tensorflow.lite.python import convert

    model = unpack(calibrated)
    graph = model.subgraphs[0]
    outputs = [int(index) for index in graph.outputs]
    used = {int(index) for operator in graph.operators for index in operator.inputs} | {*outputs}
    made = [int(index) for operator in graph.operators for index in operator.outputs]
    graph.outputs = [*outputs, *(index for index in made if index not in used)]
    quantized = unpack(
        bytes(convert.mlir_quantize(pack(model), input_data_type=tf.int8, output_data_type=tf.int8))
    )
    quantized.subgraphs[0].outputs = [int(quantized.subgraphs[0].outputs[0])]
    return pack(quantized)


def quantize_calibrated_wide(calibrated: bytes) -> bytes:
    """Turn a calibrated flatbuffer into int16 activations, int8 weights and int64 biases.

    It is done by the older of TensorFlow's two quantizers, as `TFLiteConverter` does it. The newer
    one gives int16 zero points of -1, which no kernel takes, and biases of int32. Dense layers get
    one scale: with a scale per channel and int16 activations, CMSIS-NN's FULLY_CONNECTED does not
    allocate (tflite-micro, kernels/cmsis_nn/fully_connected.cc, revision 90b983c2).
    """
    import tensorflow as tf
    from tensorflow.lite.python.optimize import calibrator

    # Without samples it takes the ranges that stand in the flatbuffer.
    return bytes(
        calibrator.Calibrator(calibrated).calibrate_and_quantize(
            lambda: iter(()),
            tf.int16,
            tf.int16,
            False,
            tf.int16,
            tf.int64,
            disable_per_channel_quantization_for_dense_layers=True,
        )
    )


def _with_exact_ranges(calibrated: bytes, samples: np.ndarray) -> bytes:
    """Replace the calibrator's ranges by those seen with memory that no operator reuses."""
    from ai_edge_litert import interpreter as litert
    from ai_edge_litert import schema_py_generated

    interpreter = litert.Interpreter(
        model_content=calibrated,
        experimental_op_resolver_type=litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
    )
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    model = unpack(calibrated)
    graph = model.subgraphs[0]
    tensors = graph.tensors
    ends = {int(graph.inputs[0]), int(graph.outputs[0])}  # of an empty graph they have no range yet
    indices = [index for index, tensor in enumerate(tensors) if index in ends or _has_range(tensor)]
    lowest = np.full(len(tensors), np.inf, np.float32)
    highest = np.full(len(tensors), -np.inf, np.float32)
    for sample in samples:
        interpreter.set_tensor(source, sample[None])
        interpreter.invoke()
        for index in indices:
            values = interpreter.get_tensor(index)
            lowest[index] = min(lowest[index], values.min())
            highest[index] = max(highest[index], values.max())
    for index in indices:
        quantization = tensors[index].quantization or schema_py_generated.QuantizationParametersT()
        quantization.min = [float(lowest[index])]
        quantization.max = [float(highest[index])]
        tensors[index].quantization = quantization
    share_ranges(model)
    return pack(model)


def _has_range(tensor: Any) -> bool:
    quantization = tensor.quantization
    return quantization is not None and quantization.min is not None and len(quantization.min) > 0
