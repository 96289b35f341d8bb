"""The Keras verbs of a tree: settings, slots of the optimizer, callbacks, going on after a load."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from keras_tree.saving import load
from keras_tree.schedules import Alternating
from keras_tree.tasks import Task
from keras_tree.tree import Tree

# Keras 3.15 writes every weight through a conversion that NumPy 2.4 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

L = keras.layers
RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 4)).astype("float32")
DATA = {
    "digit": (X, RNG.integers(0, 3, 24)),
    "angle": (X[:16], X[:16].sum(1, keepdims=True)),
}


def dense(inputs: int, units: int, *layers: keras.layers.Layer) -> keras.Model:
    x = keras.Input((inputs,))
    y = L.Dense(units)(x)
    for layer in layers:
        y = layer(y)
    return keras.Model(x, y)


def small_tree(*trunk_layers: keras.layers.Layer) -> Tree:
    return Tree.from_branches(
        dense(4, 8, L.BatchNormalization(), L.Dropout(0.5), *trunk_layers),
        {"digit": dense(8, 3, L.Softmax()), "angle": dense(8, 1)},
        [Task("digit", "sparse_categorical_crossentropy", ("accuracy",)), Task("angle", "mse")],
    )


def compiled_tree(**settings: Any) -> Tree:
    tree = small_tree()
    tree.compile(**settings)
    return tree


def fit(tree: Tree, **settings: Any) -> keras.callbacks.History:
    return tree.fit(DATA, batch_size=8, verbose=0, seed=0, **settings)


def numbers(tree: Tree) -> list[bytes]:
    return [v.numpy().tobytes() for v in [*tree.variables, *tree.optimizer.variables]]


# Settings


def test_settings_stand_on_the_tree() -> None:
    schedule = Alternating()
    tree = compiled_tree(schedule=schedule, steps_per_execution=4, jit_compile=True)
    assert tree.schedule is schedule
    assert tree.steps_per_execution_setting == 4
    assert tree.jit_compile_setting is True
    assert (small_tree().schedule, small_tree().steps_per_execution_setting) == ("joint", "auto")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer": "adm"}, r"Received: 'adm'\. Did you mean .*'adam'"),
        ({"optimizer": 3}, r"a Keras optimizer or its name\. Received: 3"),
        ({"optimizer": None}, r"a Keras optimizer or its name\. Received: None"),
        ({"schedule": "jonit"}, r"Received: 'jonit'\. Did you mean 'joint'"),
        ({"steps_per_execution": 0}, r"at least 1, or 'auto'\. Received: 0"),
        ({"steps_per_execution": True}, r"Received: True"),
        ({"steps_per_execution": 2.5}, r"Received: 2\.5"),
        ({"jit_compile": "always"}, r"True, False or 'auto'\. Received: 'always'"),
        ({"jit_compile": 1}, r"Received: 1"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    tree = small_tree()
    with pytest.raises(ValueError, match=message):
        tree.compile(**settings)
    assert not tree.compiled


def test_the_optimizer_of_another_model_is_refused() -> None:
    with pytest.raises(ValueError, match=r"new, or this tree's own.*built for another model"):
        small_tree().compile(compiled_tree().optimizer)


# The optimizer's slots


def test_slots_for_every_trainable_variable_at_once() -> None:
    tree = compiled_tree(optimizer=keras.optimizers.SGD(momentum=0.9))
    assert len(tree.optimizer.variables) == 2 + 8


def test_compiling_with_the_same_optimizer_goes_on() -> None:
    tree = compiled_tree()
    fit(tree, epochs=2)
    before = numbers(tree)
    tree.compile(tree.optimizer, schedule="alternating")
    assert numbers(tree) == before
    tree.compile("adam")
    assert int(tree.optimizer.iterations) == 0


def test_thawed_nodes_are_trained() -> None:
    tree = small_tree()
    tree.nodes["trunk"].trainable = False
    tree.compile(keras.optimizers.SGD(0.1, momentum=0.9))
    frozen = tree.nodes["trunk"].get_weights()
    fit(tree)
    for before, after in zip(frozen, tree.nodes["trunk"].get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    iterations, slots = int(tree.optimizer.iterations), len(tree.optimizer.variables)
    tree.nodes["trunk"].trainable = True
    fit(tree)
    assert int(tree.optimizer.iterations) > iterations
    assert len(tree.optimizer.variables) == slots + 4
    assert not np.array_equal(frozen[0], tree.nodes["trunk"].get_weights()[0])


def test_growing_after_training() -> None:
    keras.utils.set_random_seed(0)
    tree = small_tree(L.SpectralNormalization(L.Dense(8)))
    tree.compile()
    fit(tree, epochs=2)
    outputs = {task: tree[task](X).numpy() for task in tree.tasks}
    older = {name: node.get_weights() for name, node in tree.nodes.items()}
    tree.add_branch(Task("sign", "mse"), dense(8, 1, L.BatchNormalization()))
    history = tree.fit({"sign": (X, np.sign(X[:, :1]))}, epochs=3, batch_size=8, verbose=0, seed=0)
    assert history.history["sign_loss"][-1] < history.history["sign_loss"][0]
    for name, weights in older.items():
        for before, after in zip(weights, tree.nodes[name].get_weights(), strict=True):
            np.testing.assert_array_equal(before, after)
    for task, output in outputs.items():
        np.testing.assert_array_equal(tree[task](X), output)


# Saving and callbacks


@pytest.mark.parametrize("schedule", ["joint", "alternating", "proportional"])
def test_fit_goes_on_bit_identically_after_a_load(schedule: str, tmp_path: Path) -> None:
    tree = compiled_tree(optimizer=keras.optimizers.Adam(0.01), schedule=schedule)
    fit(tree, epochs=2)
    tree.save(tmp_path / "tree.keras")
    again = load(tmp_path / "tree.keras")
    one, other = (fit(each, epochs=2) for each in (tree, again))
    assert one.history == other.history
    assert numbers(tree) == numbers(again)
    assert tree.evaluate(DATA, verbose=0) == again.evaluate(DATA, verbose=0)


def test_checkpoints_and_best_weights(tmp_path: Path) -> None:
    tree = compiled_tree(optimizer=keras.optimizers.SGD(0.5))
    path = tmp_path / "best.keras"
    callbacks = [
        keras.callbacks.ModelCheckpoint(path, monitor="val_loss", save_best_only=True),
        keras.callbacks.EarlyStopping("val_loss", patience=2, restore_best_weights=True),
        keras.callbacks.ReduceLROnPlateau("val_loss", patience=1, factor=0.5),
        keras.callbacks.CSVLogger(tmp_path / "log.csv"),
        keras.callbacks.TerminateOnNaN(),
    ]
    history = fit(tree, epochs=8, validation_data=DATA, callbacks=callbacks).history
    best = load(path)
    results = best.evaluate(DATA, batch_size=32, verbose=0)
    np.testing.assert_allclose(results["loss"], min(history["val_loss"]), rtol=1e-5)
    assert len((tmp_path / "log.csv").read_text().splitlines()) == len(history["loss"]) + 1
    if len(history["loss"]) < 8:
        assert [v.numpy().tobytes() for v in best.weights] == [
            v.numpy().tobytes() for v in tree.weights
        ]


def test_backup_and_restore(tmp_path: Path) -> None:
    class Crash(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if epoch == 1:
                raise RuntimeError("power cut")

    tree = compiled_tree()
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    with pytest.raises(RuntimeError, match="power cut"):
        fit(tree, epochs=4, callbacks=[backup, Crash()])
    after_two_epochs = numbers(tree)
    seen: list[Any] = []

    class Start(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            seen.append((epoch, numbers(self.model)))

    again = compiled_tree()
    fit(again, epochs=4, callbacks=[keras.callbacks.BackupAndRestore(tmp_path / "backup"), Start()])
    assert [epoch for epoch, _ in seen] == [2, 3]
    assert seen[0][1] == after_two_epochs


# Predicting


def test_predictions() -> None:
    tree = small_tree()
    whole = tree.predict(X, batch_size=7)
    assert {task: (y.shape, y.dtype) for task, y in whole.items()} == {
        "digit": ((24, 3), np.float32),
        "angle": ((24, 1), np.float32),
    }
    for task, y in whole.items():
        np.testing.assert_array_equal(tree.predict(X, task, batch_size=7), y)
        np.testing.assert_array_equal(tree.predict({task: X}, batch_size=7)[task], y)


def test_predictions_of_streams() -> None:
    tree = small_tree()

    def batches() -> Iterator[np.ndarray]:
        yield X[:10]
        yield X[10:]

    for task, y in tree.predict(batches()).items():
        np.testing.assert_allclose(y, tree.predict(X, task), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="Received a generator that gave none"):
        tree.predict(iter(()))


def test_predictions_see_a_new_branch() -> None:
    tree = small_tree()
    tree.predict(X)
    tree.add_branch(Task("sign", "mse"), dense(8, 1))
    assert list(tree.predict(X)) == ["digit", "angle", "sign"]


def test_unknown_task() -> None:
    with pytest.raises(ValueError, match=r"'digits'.*Did you mean 'digit'"):
        small_tree().predict(X, "digits")
