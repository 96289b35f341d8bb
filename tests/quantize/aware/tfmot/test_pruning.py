"""Pruned kernels have the zeros that were asked for, exactly, and keep them."""

import keras
import numpy as np
import pytest

from keras_tree import Task
from quantize.aware.backend import AwareNode
from quantize.aware.recipe import Clustering, Pruning, Recipe
from quantize.aware.tfmot import build

K = keras.layers
KERNELS = {"conv": 0.5, "deep": 0.0, "line": 0.5, "up": 0.5, "dense": 0.5}
X = np.random.default_rng(0).normal(size=(8, 6, 6, 8)).astype("float32")
Y = np.arange(8) % 3


def node():
    keras.utils.set_random_seed(0)
    source = keras.Input((6, 6, 8))
    x = K.Conv2D(8, 3, use_bias=False, name="conv")(source)
    x = K.DepthwiseConv2D(3, padding="same", name="deep")(x)
    x = K.Conv2DTranspose(8, 2, strides=2, name="up")(x)
    x = K.Conv1D(8, 3, name="line")(K.Reshape((64, 8))(x))
    x = K.Dense(3, activation="softmax", name="dense")(K.GlobalAveragePooling1D()(x))
    return keras.Model(source, x)


def trained(recipe: Recipe, steps: int = 6):
    """Kernels by layer, after every stage."""
    task = Task("t", "sparse_categorical_crossentropy")
    model = build({"n": AwareNode("n", node())}, {"t": ("n",)}, {"t": task}, recipe)
    after = {}
    for stage in recipe.stages:
        model.begin_stage(stage, steps)
        if stage == "quantize":
            model.calibrate({"t": X})
        for _ in range(steps):
            model.train_batch("t", X, Y)
        model.end_stage()
        after[stage] = {name: arrays[0] for name, arrays in model.weights()["n"].items()}
    return after


def zeros(kernels):
    return {name: float((kernel == 0).mean()) for name, kernel in kernels.items()}


@pytest.mark.slow
def test_zeros_are_exact_and_outlast_every_later_stage() -> None:
    recipe = Recipe(pruning=Pruning(0.5), clustering=Clustering(3), learning_rate=1e-2)
    after = trained(recipe)
    for stage in ("prune", "cluster", "quantize"):
        found = zeros(after[stage])
        for name, share in KERNELS.items():
            assert found[name] == pytest.approx(share, abs=0.01) or found[name] >= share
            pruned = after["prune"][name] == 0
            assert (after[stage][name][pruned] == 0).all(), (stage, name)
    for name in ("conv", "line", "up", "dense"):
        outputs = 2 if name == "up" else -1
        for channel in np.moveaxis(after["quantize"][name], outputs, 0):
            assert len(np.unique(channel)) <= 8
    assert any((after["cluster"][n] != after["quantize"][n]).any() for n in KERNELS)


def test_the_final_sparsity_is_reached_whatever_the_ramp() -> None:
    kernels = trained(Recipe(pruning=Pruning(0.75, ramp=1.0), quantize=False), steps=3)["prune"]
    for name in ("conv", "line", "up", "dense"):
        assert zeros(kernels)[name] == pytest.approx(0.75, abs=0.02), name


def test_two_of_four_along_the_input_channels() -> None:
    kernels = trained(Recipe(pruning=Pruning(pattern="2:4"), quantize=False), steps=2)["prune"]
    inputs_last = {
        "conv": kernels["conv"].transpose(0, 1, 3, 2),
        "up": kernels["up"],
        "line": kernels["line"].transpose(0, 2, 1),
        "dense": kernels["dense"].T,
    }
    for name, kernel in inputs_last.items():
        fours = kernel.reshape(-1, 4)
        assert ((fours == 0).sum(1) == 2).all(), name


def test_blocks_are_pruned_together() -> None:
    recipe = Recipe(pruning=Pruning(0.5, pattern=(4, 2)), quantize=False)
    kernels = trained(recipe, steps=2)["prune"]
    for name in ("conv", "line"):
        flat = kernels[name].reshape(-1, kernels[name].shape[-1])
        blocks = flat.reshape(flat.shape[0] // 4, 4, flat.shape[1] // 2, 2)
        shares = (blocks == 0).mean((1, 3))
        assert set(np.unique(shares)) == {0.0, 1.0}, name
        assert shares.mean() == pytest.approx(0.5, abs=0.05), name
    assert zeros(kernels)["dense"] > 0  # 3 outputs: the last blocks are cut off
