"""Clustered kernels share few values, per output channel where that is possible."""

import keras
import numpy as np
import pytest

from keras_tree import Task
from quantize.aware.backend import AwareNode
from quantize.aware.recipe import Clustering, Pruning, Recipe
from quantize.aware.tfmot import build
from quantize.aware.tfmot.clustering import _has_enough

K = keras.layers
X = np.random.default_rng(0).normal(size=(8, 6, 6, 8)).astype("float32")
Y = np.arange(8) % 3


def node(bias: bool):
    keras.utils.set_random_seed(0)
    source = keras.Input((6, 6, 8))
    x = K.Conv2D(4, 3, use_bias=bias, activation="relu", name="conv")(source)
    x = K.Conv2D(4, 1, use_bias=bias, name="point")(x)
    x = K.Dense(3, activation="softmax", name="dense")(K.Flatten()(x))
    return keras.Model(source, x)


def trained(recipe: Recipe, bias: bool = True, edit=None):
    """Kernels by layer, after every stage."""
    model = node(bias)
    if edit:
        edit(model)
    task = Task("t", "sparse_categorical_crossentropy")
    aware = build({"n": AwareNode("n", model)}, {"t": ("n",)}, {"t": task}, recipe)
    after = {}
    for stage in recipe.stages:
        aware.begin_stage(stage, 3)
        if stage == "quantize":
            aware.calibrate({"t": X})
        for _ in range(3):
            aware.train_batch("t", X, Y)
        aware.end_stage()
        after[stage] = {name: arrays[0] for name, arrays in aware.weights()["n"].items()}
    return after


def distinct(kernel: np.ndarray) -> int:
    return max(len(np.unique(channel)) for channel in np.moveaxis(kernel, -1, 0))


@pytest.mark.parametrize("bias", [True, False])
def test_a_convolution_is_clustered_per_channel(bias: bool) -> None:
    kernels = trained(Recipe(clustering=Clustering(3), quantize=False), bias)["cluster"]
    assert distinct(kernels["conv"]) <= 8
    assert len(np.unique(kernels["conv"])) > 8  # every channel has values of its own
    assert len(np.unique(kernels["dense"])) <= 8
    assert distinct(kernels["point"]) <= 8


def test_clusters_outlast_quantization_and_move() -> None:
    after = trained(Recipe(clustering=Clustering(2), learning_rate=1e-2))
    for name in ("conv", "dense"):
        before, then = after["cluster"][name], after["quantize"][name]
        assert distinct(then) <= 4
        assert (before != then).any()
        for one, other in zip(
            np.moveaxis(before, -1, 0), np.moveaxis(then, -1, 0), strict=True
        ):  # fmt: skip
            for value in np.unique(one):
                assert len(np.unique(other[one == value])) == 1


def without_a_channel(model: keras.Model) -> None:
    layer = model.get_layer("conv")
    kernel, bias = layer.get_weights()
    kernel[..., 1] = 0
    kernel[..., 2] = np.abs(kernel[..., 2])
    layer.set_weights([kernel, bias])


@pytest.mark.parametrize("edit", [None, without_a_channel])
def test_zeros_are_kept_where_a_channel_is_empty_or_of_one_sign(edit) -> None:
    recipe = Recipe(pruning=Pruning(0.5), clustering=Clustering(4), quantize=False)
    after = trained(recipe, edit=edit)
    for name, kernel in after["prune"].items():
        assert (after["cluster"][name][kernel == 0] == 0).all(), name
        assert distinct(after["cluster"][name]) <= 16


@pytest.mark.parametrize(
    ("negative", "positive", "expected"),
    [(10, 10, True), (0, 0, False), (3, 3, False), (7, 8, True), (0, 15, True), (0, 14, False)],
)
def test_whether_there_is_a_weight_for_every_centroid(negative, positive, expected) -> None:
    weights = np.array([-1.0] * negative + [1.0] * positive + [0.0] * 5)
    assert _has_enough(weights, 16) is expected
