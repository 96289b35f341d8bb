"""What "auto" means for steps per call and for XLA."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from keras_tree.datasets import Arrays, Stream
from keras_tree.loop.compilation import Compilation, choose, layer_macs, path_macs, watches_batches
from keras_tree.loop.contract import contract
from keras_tree.loop.sources import Source, source
from keras_tree.tasks import Task
from keras_tree.tree import Tree


def image_tree(filters: int, extent: int) -> Tree:
    image = keras.Input((extent, extent, 1))
    trunk = keras.Model(image, keras.layers.Conv2D(filters, 3, padding="same")(image))
    features = keras.Input((extent, extent, filters))
    pooled = keras.layers.GlobalAveragePooling2D()(features)
    branch = keras.Model(features, keras.layers.Dense(10)(pooled))
    tree = Tree.from_branches(trunk, {"digit": branch}, [Task("digit", "mse")])
    tree.compile("sgd")
    return tree


def sources(tree: Tree, batch_size: int) -> dict[str, Source]:
    shape = tree.nodes["trunk"].inputs[0].shape[1:]
    arrays = Arrays(np.zeros((4, *shape), "float32"), np.zeros((4, 10)))
    return {"digit": source(arrays, contract(tree, "digit"), batch_size, None)}


def test_multiplications_are_counted() -> None:
    tree = image_tree(8, 16)
    assert path_macs(tree, "digit") == 16 * 16 * 9 * 8 + 8 * 10
    entry = keras.Input((4, 4, 6))
    depthwise = keras.layers.DepthwiseConv2D(3, padding="same")
    keras.Model(entry, depthwise(entry))
    assert layer_macs(depthwise) == 4 * 4 * 9 * 6
    unused = keras.layers.Dense(6)
    unused.build((None, 6))
    assert layer_macs(unused) == 36  # at least once, where its output is not known


@pytest.mark.parametrize(
    ("filters", "extent", "batch_size", "total_steps", "kind", "expected"),
    [
        (8, 16, 64, 10_000, "together", Compilation(20, True)),
        (8, 16, 64, 10_000, "in turn", Compilation(20, True)),
        (8, 16, 64, 10_000, "drawn", Compilation(20, True)),
        (8, 16, 64, 10_000, "mixed", Compilation(20, False)),
        (8, 16, 64, 100, "together", Compilation(20, False)),  # not worth the compiling
        (64, 32, 256, 10_000, "together", Compilation(13, False)),  # much to compute
        (64, 32, 8000, 10_000, "together", Compilation(1, False)),
    ],
)
def test_auto(
    filters: int, extent: int, batch_size: int, total_steps: int, kind: Any, expected: Compilation
) -> None:
    tree = image_tree(filters, extent)
    assert choose(tree, kind, sources(tree, batch_size), total_steps, []) == expected


def test_settings_are_kept() -> None:
    tree = image_tree(8, 16)
    given = sources(tree, 64)
    for jit in (True, False):
        tree.compile("sgd", steps_per_execution=7, jit_compile=jit)
        assert choose(tree, "together", given, 10, []) == Compilation(7, jit)
    tree.compile("sgd", jit_compile=True)
    assert not choose(tree, "mixed", given, 10, []).jit


def test_data_that_may_be_slow_is_read_for_few_steps_at_a_time() -> None:
    tree = image_tree(8, 16)
    batch = np.zeros((4, 16, 16, 1), "float32"), np.zeros((4, 10))
    stream = source(Stream(lambda order: iter([batch])), contract(tree, "digit"), 0, None)
    assert choose(tree, "together", {"digit": stream}, 100, []) == Compilation(5, False)


class Own(keras.callbacks.Callback):
    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        pass


class Quiet(keras.callbacks.Callback):
    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        pass


@pytest.mark.parametrize(
    ("make", "watches"),
    [
        (Own, True),
        (Quiet, False),
        (lambda: keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: None), True),
        (lambda: keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None), False),
        (keras.callbacks.TerminateOnNaN, False),
        (lambda: keras.callbacks.ModelCheckpoint("x.keras"), False),
    ],
)
def test_callbacks_of_the_users_own_are_called_at_every_batch(
    make: Callable[[], keras.callbacks.Callback], watches: bool
) -> None:
    assert watches_batches(make()) == watches
    tree = image_tree(8, 16)
    steps = choose(tree, "together", sources(tree, 64), 100, [make()]).steps_per_execution
    assert steps == (1 if watches else 20)
