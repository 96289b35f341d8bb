"""The converter behind its process: full int8, batch 1, exact ranges, the same bytes every time."""

import hashlib
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from quantize import convert
from quantize.conversion.freezing import freeze
from quantize.convert import ConversionError, Converter
from quantize.flatbuffer import read_graph, unpack
from quantize.interpreter import open_interpreter

ROOT = Path(__file__).resolve().parents[2]


def functional(make, shape=(8, 8, 4), seed=0):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input(shape)
    return keras.Model(inputs, make(inputs))


def draw(count=20, shape=(8, 8, 4), seed=0):
    return np.random.default_rng(seed).normal(size=(count, *shape)).astype(np.float32)


def int8_of(converter, model, samples):
    node = freeze("node", model)
    return converter.quantize(node, converter.calibrate(node, samples))


def ranges(calibrated):
    """The calibrated range of every tensor that has one, by name."""
    return {
        tensor.name.decode(): (float(tensor.quantization.min[0]), float(tensor.quantization.max[0]))
        for tensor in unpack(calibrated).subgraphs[0].tensors
        if tensor.quantization is not None and tensor.quantization.min is not None
    }


def signal_to_noise_db(data, model, samples):
    interpreter = open_interpreter(data)
    codes = interpreter.run(interpreter.input.quantize(samples))
    expected = np.asarray(model(samples, training=False))
    error = expected - interpreter.output.dequantize(codes)
    return 10 * np.log10(np.square(expected).sum() / np.square(error).sum())


def residual(x):
    y = layers.Conv2D(4, 3, padding="same", activation="relu")(x)
    return layers.ReLU()(layers.Add()([x, layers.Conv2D(4, 3, padding="same", name="inner")(y)]))


def inception(x):
    wide = layers.Conv2D(4, 3, padding="same", activation="relu")(x)
    narrow = layers.Conv2D(4, 1, activation="relu")(x)
    pooled = layers.MaxPooling2D(3, 1, padding="same")(x)
    return layers.Concatenate()([wide * 3.0, narrow, pooled])


def custom(x):
    class Twice(layers.Layer):
        def call(self, x):
            return x * 2.0

    return Twice()(layers.Conv2D(2, 1)(x))


@pytest.mark.parametrize(
    "make",
    [
        residual,
        inception,
        custom,
        lambda x: layers.Dense(3, activation="softmax")(layers.Flatten()(x)),
        lambda x: layers.Reshape((16, 16))(layers.DepthwiseConv2D(3, padding="same")(x)),
    ],
)
def test_nodes_are_full_int8_of_batch_one(converter, make):
    model = functional(make)
    graph = read_graph(int8_of(converter, model, draw()))
    assert graph.tensors[graph.inputs[0]].shape == (1, 8, 8, 4)
    assert {tensor.dtype for tensor in graph.tensors} <= {"INT8", "INT32"}
    assert graph.tensors[graph.inputs[0]].dtype == "INT8"
    assert graph.tensors[graph.outputs[0]].dtype == "INT8"
    assert not graph.operator_names & {"SHAPE", "STRIDED_SLICE", "PACK"}


def test_ranges_are_exact_where_a_sum_overwrites_its_operand(converter):
    # TensorFlow's own calibrator gives the inner convolution the range of the sum.
    model, samples = functional(residual), draw()
    inner = keras.Model(model.inputs[0], model.get_layer("inner").output)
    expected = np.asarray(inner(samples))
    found = ranges(converter.calibrate(freeze("node", model), samples))
    low, high = next(r for name, r in found.items() if name.startswith("inner/"))
    np.testing.assert_allclose((low, high), (expected.min(), expected.max()), rtol=1e-5)


def test_concatenated_tensors_share_a_range_and_clip_nothing(converter):
    model, samples = functional(lambda x: inception(inception(x))), draw()
    assert signal_to_noise_db(int8_of(converter, model, samples), model, samples) > 30


def test_samples_are_taken_one_by_one(converter):
    model, samples = functional(layers.Conv2D(2, 1)), draw()
    outputs = np.asarray(model(samples))
    found = ranges(converter.calibrate(freeze("node", model), samples))
    np.testing.assert_allclose(found["input"], (samples.min(), samples.max()))
    np.testing.assert_allclose(found["output"], (outputs.min(), outputs.max()), rtol=1e-5)


@pytest.mark.parametrize(
    "make",
    [
        lambda x: layers.LSTM(4, unroll=True)(x),
        lambda x: layers.GRU(4, unroll=True)(x),
        lambda x: keras.ops.split(layers.Dense(4)(x), 2, axis=-1)[0],
    ],
)
def test_results_that_nothing_uses_neither_leave_float_nor_vary(converter, make):
    # mlir_quantize alone gives these nodes now with float operators inside, now without.
    node = freeze("node", functional(make, (6, 3)))
    calibrated = converter.calibrate(node, draw(shape=(6, 3)))
    found = [converter.quantize(node, calibrated) for _ in range(12)]
    assert len(set(found)) == 1
    graph = read_graph(found[0])
    assert {tensor.dtype for tensor in graph.tensors} <= {"INT8", "INT32"}
    assert len(graph.outputs) == 1


def test_equal_nodes_give_equal_bytes_whatever_their_automatic_names(converter):
    first, second = functional(residual), functional(residual)
    assert first.layers[1].name != second.layers[1].name
    assert int8_of(converter, first, draw()) == int8_of(converter, second, draw())


SCRIPT = """
    import hashlib, sys
    import keras, numpy as np
    from keras import layers
    from quantize.convert import Converter
    from quantize.conversion.freezing import freeze

    for _ in range(3):
        layers.Conv2D(1, 1)  # so that the automatic names are others
    inputs = keras.Input((8, 8, 4))
    keras.utils.set_random_seed(0)
    x = layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
    x = layers.Dense(3)(layers.Flatten()(layers.Add()([inputs, x])))
    node = freeze("node", keras.Model(inputs, x))
    samples = np.random.default_rng(0).normal(size=(20, 8, 8, 4)).astype(np.float32)
    with Converter() as converter:
        data = converter.quantize(node, converter.calibrate(node, samples))
    print(hashlib.sha256(data).hexdigest())
"""


def test_two_processes_give_equal_bytes_without_a_main_guard(converter, tmp_path):
    def make(x):
        y = layers.Conv2D(4, 3, padding="same", activation="relu")(x)
        return layers.Dense(3)(layers.Flatten()(layers.Add()([x, y])))

    here = hashlib.sha256(int8_of(converter, functional(make), draw())).hexdigest()
    finished = subprocess.run(
        [sys.executable, "-"],
        input=textwrap.dedent(SCRIPT),
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert finished.stdout.strip() == here
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_printed(converter, capfd):
    int8_of(converter, functional(residual), draw())
    assert capfd.readouterr() == ("", "")


def test_a_crash_names_node_and_layer_and_the_next_node_is_converted():
    rolled = functional(lambda x: layers.LSTM(4, name="memory")(x), (6, 3))
    with Converter() as converter:
        node = freeze("listener", rolled)
        with pytest.raises(
            ConversionError, match=r"Node 'listener' .* process was ended by signal"
        ) as caught:
            converter.calibrate(node, draw(shape=(6, 3)))
        assert "Give 'memory' `unroll=True`" in str(caught.value)
        assert "_feed_tensors" in str(caught.value), "the last words tell where"
        unrolled = functional(lambda x: layers.LSTM(4, unroll=True)(x), (6, 3))
        assert len(int8_of(converter, unrolled, draw(shape=(6, 3)))) > 1000


def test_a_refusal_names_node_and_layer(converter):
    model = functional(lambda x: layers.Lambda(keras.ops.erfinv, name="tail")(layers.Dense(2)(x)))
    with pytest.raises(ConversionError, match=r"Node 'n' .* refused 'tail': .*tf\.Erfinv"):
        converter.calibrate(freeze("n", model), draw())


@pytest.mark.parametrize("name", ["mlir_quantize", "_experimental_calibrate_only"])
def test_absent_private_names_are_told_with_the_version(monkeypatch, name):
    import tensorflow as tf
    from tensorflow.lite.python import convert as private

    if name == "mlir_quantize":
        monkeypatch.delattr(private, name)
    else:
        monkeypatch.setattr(tf.lite, "TFLiteConverter", lambda *arguments: object())
    with pytest.raises(RuntimeError, match=f"received TensorFlow {tf.__version__}"):
        convert.prepare()
