"""Small random networks, calibrated and quantized once for all the tests of precisions."""

from dataclasses import dataclass

import numpy as np
import pytest


@dataclass(frozen=True)
class QuantizedNode:
    """A node on its way: float weights, ranges, int8, and codes of inputs to run it on."""

    frozen: object
    calibrated: bytes
    quantized: bytes
    codes: np.ndarray
    features: np.ndarray
    expected: np.ndarray  # the float node's outputs for the dequantized codes


def random_cnn(seed):
    """Two or three convolutions of odd and even sizes, and sometimes a dense layer."""
    import keras
    from keras import layers

    random = np.random.default_rng(seed)
    side, depth = int(random.integers(7, 12)), int(random.integers(1, 6))
    x = inputs = keras.Input((side, side, depth))
    for _ in range(int(random.integers(2, 4))):
        x = random_layer(random)(x)
        if random.random() < 0.4:
            x = layers.BatchNormalization()(x)
    if random.random() < 0.5:
        x = layers.Dense(int(random.integers(2, 9)))(layers.Flatten()(x))
    model = keras.Model(inputs, x)
    for weight in model.weights:
        spread = 0.5 / np.sqrt(max(1, np.prod(weight.shape[:-1])))
        values = random.normal(0, spread, weight.shape)
        weight.assign(np.abs(values) + 0.5 if "variance" in weight.path else values)
    return model


def random_layer(random):
    from keras import layers

    channels, kernel = int(random.integers(5, 30)), int(random.choice([1, 2, 3, 5]))
    activation = str(random.choice(["relu", "linear"]))
    padding = str(random.choice(["same", "valid"])) if kernel < 5 else "same"
    if random.random() < 0.35:
        return layers.DepthwiseConv2D(
            kernel, depth_multiplier=int(random.integers(1, 4)), padding="same"
        )
    return layers.Conv2D(channels, kernel, padding=padding, activation=activation)


@pytest.fixture(scope="session")
def quantized_node(converter):
    """Calibrates and quantizes a Keras model on 24 random samples."""

    def make(name, model, seed=0):
        from quantize.conversion.freezing import freeze
        from quantize.conversion.pinning import node_specs

        frozen = freeze(name, model)
        random = np.random.default_rng(seed)
        samples = random.normal(size=(24, *frozen.input_shape[1:])).astype(np.float32)
        calibrated = converter.calibrate(frozen, samples)
        quantized = converter.quantize(frozen, calibrated)
        source = node_specs(quantized)[0]
        codes = source.quantize(samples)
        features = source.dequantize(codes)
        expected = np.asarray(model(features, training=False))
        return QuantizedNode(frozen, calibrated, quantized, codes, features, expected)

    return make


@pytest.fixture(scope="session")
def twice_node(quantized_node):
    """A node one layer of which runs twice, on activations of different ranges."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(2)
    layer = layers.Conv2D(16, 3, padding="same", activation="relu", bias_initializer="normal")
    inputs = keras.Input((7, 7, 16))
    return quantized_node("twice", keras.Model(inputs, layer(3 * layer(inputs))))


@pytest.fixture(scope="session")
def random_nodes(quantized_node):
    """Ten random networks."""
    return [quantized_node(f"net{seed}", random_cnn(seed), seed) for seed in range(10)]


def sqnr_db(expected, values):
    """Power of the expected values over that of the error, in dB."""
    return 10 * np.log10(np.square(expected).sum() / np.square(values - expected).sum())


@pytest.fixture(scope="session")
def kept_db():
    """Gives the signal to noise ratio that a flatbuffer keeps of a float node, on TFLM."""

    def measure(node, data):
        from quantize.interpreter import open_interpreter

        opened = open_interpreter(data)
        return sqnr_db(node.expected, opened.output.dequantize(opened.run(node.codes)))

    return measure
