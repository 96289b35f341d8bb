"""Every row of the layer table: the tf_keras clone computes what the Keras 3 layer does."""

import keras
import numpy as np
import pytest

from keras_tree import Task
from quantize.aware.backend import AwareNode, AwareTrainingError
from quantize.aware.recipe import Recipe
from quantize.aware.tfmot import build
from quantize.aware.tfmot.layer_rules import ACTIVATIONS, REFUSED_ACTIVATIONS
from quantize.aware.tfmot.layer_table import LAYERS, REFUSED

K = keras.layers
IMAGE, SIGNAL, FLAT = (6, 6, 4), (8, 4), (8,)
EXACT = 5e-7


def batch_norm(**options):
    return K.BatchNormalization(
        beta_initializer="uniform", moving_mean_initializer="uniform", gamma_initializer="normal",
        **options,
    )  # fmt: skip


# Name: the layers of one case (several are merged into one batch of models), and the input's shape.
CASES = {
    "Conv1D": [
        (K.Conv1D(3, 3), SIGNAL),
        (K.Conv1D(3, 3, padding="causal", dilation_rate=2, use_bias=False), SIGNAL),
        (K.Conv1D(3, 3, strides=2, padding="same", activation="relu"), SIGNAL),
    ],
    "Conv2D": [
        (K.Conv2D(3, 3), IMAGE),
        (K.Conv2D(4, 3, strides=2, padding="same", use_bias=False), IMAGE),
        (K.Conv2D(4, (1, 3), dilation_rate=(1, 2), activation="relu6"), IMAGE),
        (K.Conv2D(4, 3, groups=2, activation="tanh"), IMAGE),
    ],
    "Conv2DTranspose": [
        (K.Conv2DTranspose(3, 3, strides=2, padding="same"), IMAGE),
        (K.Conv2DTranspose(3, 2, strides=2, activation="relu"), IMAGE),
    ],
    "DepthwiseConv1D": [(K.DepthwiseConv1D(3, depth_multiplier=2), SIGNAL)],
    "DepthwiseConv2D": [
        (K.DepthwiseConv2D(3, padding="same", activation="relu"), IMAGE),
        (K.DepthwiseConv2D(3, strides=2, depth_multiplier=2, use_bias=False), IMAGE),
    ],
    "SeparableConv1D": [(K.SeparableConv1D(5, 3, depth_multiplier=2), SIGNAL)],
    "SeparableConv2D": [
        (K.SeparableConv2D(5, 3, strides=2, activation="relu"), IMAGE),
        (K.SeparableConv2D(5, 3, padding="same", use_bias=False), IMAGE),
    ],
    "Dense": [
        (K.Dense(5), FLAT),
        (K.Dense(5, activation="softmax"), FLAT),
        (K.Dense(5, use_bias=False, activation="sigmoid"), IMAGE),
    ],
    "BatchNormalization": [
        (batch_norm(), IMAGE),
        (batch_norm(scale=False, epsilon=0.1), IMAGE),
        (batch_norm(center=False), FLAT),
    ],
    "Normalization": [
        (K.Normalization(mean=[1.0, 2.0, 3.0, 4.0], variance=[1.0, 4.0, 9.0, 0.5]), IMAGE),
        (K.Normalization(axis=None, mean=0.3, variance=2.0, invert=True), IMAGE),
    ],
    "Rescaling": [(K.Rescaling(1 / 127.5, offset=-1.0), IMAGE), (K.Rescaling(0.1), FLAT)],
    "Activation": [(K.Activation(name), IMAGE) for name in ACTIVATIONS],
    "ReLU": [
        (K.ReLU(), IMAGE),
        (K.ReLU(max_value=6.0), IMAGE),
        (K.ReLU(max_value=1.5), IMAGE),
        (K.ReLU(max_value=2.0, negative_slope=0.1, threshold=0.5), IMAGE),
    ],
    "LeakyReLU": [(K.LeakyReLU(), IMAGE), (K.LeakyReLU(negative_slope=0.1), IMAGE)],
    "PReLU": [
        (K.PReLU(alpha_initializer="uniform"), IMAGE),
        (K.PReLU(alpha_initializer="uniform", shared_axes=[1, 2]), IMAGE),
    ],
    "Softmax": [(K.Softmax(), FLAT), (K.Softmax(axis=1), IMAGE)],
    "MaxPooling1D": [(K.MaxPooling1D(2, strides=1, padding="same"), SIGNAL)],
    "MaxPooling2D": [(K.MaxPooling2D(), IMAGE), (K.MaxPooling2D(3, 2, "same"), IMAGE)],
    "AveragePooling1D": [(K.AveragePooling1D(2), SIGNAL)],
    "AveragePooling2D": [(K.AveragePooling2D(2), IMAGE), (K.AveragePooling2D(3, 1, "same"), IMAGE)],
    "GlobalMaxPooling1D": [(K.GlobalMaxPooling1D(), SIGNAL)],
    "GlobalMaxPooling2D": [(K.GlobalMaxPooling2D(keepdims=True), IMAGE)],
    "GlobalAveragePooling1D": [(K.GlobalAveragePooling1D(keepdims=True), SIGNAL)],
    "GlobalAveragePooling2D": [(K.GlobalAveragePooling2D(), IMAGE)],
    "ZeroPadding1D": [(K.ZeroPadding1D((1, 2)), SIGNAL)],
    "ZeroPadding2D": [(K.ZeroPadding2D(((0, 1), (2, 1))), IMAGE)],
    "Cropping1D": [(K.Cropping1D((1, 2)), SIGNAL)],
    "Cropping2D": [(K.Cropping2D(((0, 1), (2, 1))), IMAGE)],
    "UpSampling2D": [
        (K.UpSampling2D(2), IMAGE),
        (K.UpSampling2D((2, 3), interpolation="bilinear"), IMAGE),
    ],
    "Resizing": [(K.Resizing(9, 4), IMAGE), (K.Resizing(3, 8, interpolation="nearest"), IMAGE)],
    "Flatten": [(K.Flatten(), IMAGE)],
    "Reshape": [(K.Reshape((9, 16)), IMAGE), (K.Reshape((-1, 2)), SIGNAL)],
    "Permute": [(K.Permute((3, 1, 2)), IMAGE)],
    "Identity": [(K.Identity(), IMAGE)],
    "ActivityRegularization": [(K.ActivityRegularization(), IMAGE)],
    "Dropout": [(K.Dropout(0.5), IMAGE)],
    "SpatialDropout1D": [(K.SpatialDropout1D(0.5), SIGNAL)],
    "SpatialDropout2D": [(K.SpatialDropout2D(0.5), IMAGE)],
    "GaussianDropout": [(K.GaussianDropout(0.5), IMAGE)],
    "GaussianNoise": [(K.GaussianNoise(0.5), IMAGE)],
    "AlphaDropout": [(K.AlphaDropout(0.5), IMAGE)],
}
MERGES = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate")


def single(layer, shape):
    source = keras.Input(shape)
    return keras.Model(source, layer(source))


def merged(kind):
    source = keras.Input(IMAGE)
    sides = [K.Conv2D(4, 1)(source), source]
    sides += [K.Conv2D(4, 1)(source)] * (kind not in ("Subtract",))
    return keras.Model(source, getattr(K, kind)()(sides))


def clone(**models):
    """The backend's model of nodes that are each a task of their own."""
    nodes = {name: AwareNode(name, model) for name, model in models.items()}
    return build(nodes, {n: (n,) for n in nodes}, {n: Task(n, "mse") for n in nodes}, Recipe())


def difference(models):
    """Greatest difference of outputs between nodes and their clones, in parts of the greatest."""
    cloned = clone(**models)
    rng = np.random.default_rng(0)
    worst = {}
    for name, model in models.items():
        x = rng.normal(0, 2, (5, *model.input_shape[1:])).astype("float32")
        expected, found = model(x, training=False).numpy(), cloned.predict(name, x)
        assert expected.shape == found.shape, name
        worst[name] = np.abs(expected - found).max() / max(1, np.abs(expected).max())
    return worst


def test_every_row_of_the_table_has_a_case() -> None:
    assert {*CASES, *MERGES} == set(LAYERS)


@pytest.mark.slow
def test_every_clone_agrees_with_its_original() -> None:
    keras.utils.set_random_seed(1)
    models = {
        f"{kind}.{number}": single(layer, shape)
        for kind, cases in CASES.items()
        for number, (layer, shape) in enumerate(cases)
    }
    models |= {kind: merged(kind) for kind in MERGES}
    worst = difference(models)
    assert not {name: value for name, value in worst.items() if value > EXACT}


def doubled(x):
    return x * 2


@keras.saving.register_keras_serializable("tfmot-tests")
class MyDense(K.Dense):
    """A layer of the user's own."""


SEQUENCE = keras.Input(SIGNAL)
REFUSALS = {
    "LSTM": lambda x: K.LSTM(3)(x),
    "GRU": lambda x: K.GRU(3)(x),
    "SimpleRNN": lambda x: K.SimpleRNN(3)(x),
    "TimeDistributed": lambda x: K.TimeDistributed(K.Dense(2))(x),
    "Bidirectional": lambda x: K.Bidirectional(K.LSTM(2))(x),
    "SpectralNormalization": lambda x: K.SpectralNormalization(K.Conv1D(2, 3))(x),
    "LayerNormalization": lambda x: K.LayerNormalization()(x),
    "GroupNormalization": lambda x: K.GroupNormalization(2)(x),
    "UnitNormalization": lambda x: K.UnitNormalization()(x),
    "RMSNormalization": lambda x: K.RMSNormalization()(x),
    "Lambda": lambda x: K.Lambda(doubled)(x),
    "ELU": lambda x: K.ELU()(x),
    "UpSampling1D": lambda x: K.UpSampling1D()(x),
    "EinsumDense": lambda x: K.EinsumDense("abc,cd->abd", (8, 3))(x),
    "Conv1DTranspose": lambda x: K.Conv1DTranspose(2, 2)(x),
    "MyDense": lambda x: MyDense(3)(x),
    "an operation": lambda x: x + 1.0,
    "a mean of keras.ops": lambda x: keras.ops.mean(x, axis=1),
}
OPTIONS = {
    "kernel_constraint": lambda: K.Conv1D(2, 3, kernel_constraint="non_neg"),
    "renorm": lambda: K.BatchNormalization(renorm=True),
    "synchronized": lambda: K.BatchNormalization(synchronized=True),
    "noise_shape": lambda: K.Dropout(0.1, noise_shape=(None, 1, 4)),
    "float16": lambda: K.Conv1D(2, 3, dtype="mixed_float16"),
    "LoRA": lambda: K.Dense(2, lora_rank=1),
    **{
        name: (lambda name=name: K.Conv1D(2, 3, activation=name))
        for name in (*REFUSED_ACTIVATIONS, "softplus", "exponential", "log_softmax")
    },
}


def refusal(layer) -> str:
    model = keras.Model(SEQUENCE, layer(SEQUENCE))
    with pytest.raises(AwareTrainingError) as raised:
        clone(branch=model)
    return str(raised.value)


@pytest.mark.parametrize("case", REFUSALS)
def test_a_layer_without_an_equal_form_is_refused_by_name(case: str) -> None:
    text = refusal(REFUSALS[case])
    assert text.startswith("Node 'branch', layer '")
    assert "must have an equal form in tf_keras; " in text
    assert " Use " in text
    if case in {*REFUSED, "MyDense", "EinsumDense"}:
        assert f"({case})" in text
        assert REFUSED.get(case, ("does not know",))[0] in text


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_without_an_equal_is_refused_by_name(option: str) -> None:
    text = refusal(OPTIONS[option]())
    assert option in text
    assert " Use " in text


def test_an_unknown_interpolation_is_refused() -> None:
    image = keras.Input(IMAGE)
    model = keras.Model(image, K.Resizing(3, 3, interpolation="lanczos3")(image))
    with pytest.raises(AwareTrainingError, match="`interpolation` is 'lanczos3'"):
        clone(branch=model)


def test_a_keras_operation_is_refused_with_the_layer_to_use() -> None:
    assert "`keras.layers.Add`" in refusal(REFUSALS["an operation"])


def test_an_option_of_a_later_keras_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    known = K.Dense.get_config
    monkeypatch.setattr(K.Dense, "get_config", lambda self: {**known(self), "sparkling": True})
    assert "its option `sparkling` is not known here" in refusal(K.Dense(2))
