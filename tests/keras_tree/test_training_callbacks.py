"""Keras's callbacks, progress bar and history over the training of a tree."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from keras_tree.saving import load
from keras_tree.tree import Tree

Data = dict[str, tuple[np.ndarray, np.ndarray]]
Build = Callable[..., Tree]


@pytest.fixture
def tree(build_tree: Build) -> Tree:
    keras.utils.set_random_seed(5)
    made = build_tree()
    made.compile(keras.optimizers.Adam(0.01), run_eagerly=True, steps_per_execution=2)
    return made


@pytest.mark.parametrize(
    ("monitor", "mode"),
    [("val_digit_accuracy", "max"), ("val_size_loss", "min"), ("size_mae", "min"), ("loss", "min")],
)
def test_a_monitor_knows_which_way_is_better(
    monitor: str, mode: str, tree: Tree, data: Data
) -> None:
    callback = keras.callbacks.EarlyStopping(monitor, patience=0, min_delta=1e9)
    history = tree.fit(data, epochs=9, validation_data=data, callbacks=callback, verbose=0)
    assert len(history.epoch) == 2  # nothing is better by so much
    better = callback.monitor_op(2.0, 1.0)
    assert bool(better) == (mode == "max")


def test_early_stopping_restores_the_best_weights(tree: Tree, data: Data) -> None:
    keep = keras.callbacks.EarlyStopping("val_digit_loss", patience=1, restore_best_weights=True)
    blow_up = keras.callbacks.LearningRateScheduler(lambda epoch: 0.01 if epoch < 3 else 3.0)
    history = tree.fit(
        data, epochs=30, batch_size=10, validation_data=data, callbacks=[keep, blow_up], verbose=0
    )
    losses = history.history["val_digit_loss"]
    assert len(losses) < 30
    after = tree.evaluate(data, verbose=0)["digit_loss"]
    assert after == pytest.approx(min(losses), rel=1e-5)


def test_the_learning_rate_is_scheduled_and_reduced(tree: Tree, data: Data) -> None:
    rates = keras.callbacks.LearningRateScheduler(lambda epoch: 0.1 / (epoch + 1))
    history = tree.fit(data, epochs=3, callbacks=[rates], verbose=0)
    np.testing.assert_allclose(history.history["learning_rate"], [0.1, 0.05, 1 / 30], rtol=1e-6)
    reduce = keras.callbacks.ReduceLROnPlateau("size_loss", 0.1, patience=0, min_delta=1e9)
    tree.fit(data, epochs=2, callbacks=[reduce], verbose=0)
    assert float(tree.optimizer.learning_rate) < 0.01


def test_a_learning_rate_schedule_counts_updates(build_tree: Build, data: Data) -> None:
    tree = build_tree()
    rate = keras.optimizers.schedules.PiecewiseConstantDecay([3], [0.5, 0.0])
    tree.compile(keras.optimizers.SGD(rate), schedule="alternating")
    tree.fit(data, steps_per_epoch=1, batch_size=5, verbose=0)
    tree.fit(data, steps_per_epoch=1, batch_size=5, verbose=0)
    before = tree.nodes["size"].trainable_variables[0].numpy()
    tree.fit(data, steps_per_epoch=3, batch_size=5, verbose=0)
    np.testing.assert_array_equal(before, tree.nodes["size"].trainable_variables[0].numpy())


def test_checkpoints_hold_the_whole_tree(tree: Tree, data: Data, tmp_path: Path) -> None:
    path = str(tmp_path / "best.keras")
    keep = keras.callbacks.ModelCheckpoint(path, "val_digit_accuracy", save_best_only=True)
    weights = keras.callbacks.ModelCheckpoint(
        str(tmp_path / "{epoch}-{val_size_loss:.2f}.weights.h5"), save_weights_only=True
    )
    tree.fit(data, epochs=2, validation_data=data, callbacks=[keep, weights], verbose=0)
    assert len(list(tmp_path.glob("*.weights.h5"))) == 2
    best = load(path)
    assert best.evaluate(data, verbose=0)["digit_accuracy"] >= 0


def test_an_interrupted_training_is_taken_up_again(
    build_tree: Build, data: Data, tmp_path: Path
) -> None:
    start = build_tree().get_weights()

    def run(epochs: int, **settings: Any) -> tuple[Tree, list[int]]:
        tree = build_tree()
        tree.set_weights(start)
        tree.compile("adam", run_eagerly=True)
        backup = keras.callbacks.BackupAndRestore(str(tmp_path / "backup"))
        begun: list[int] = []
        stop = keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: begun.append(epoch), **settings
        )
        tree.fit(data, epochs=epochs, callbacks=[backup, stop], shuffle=False, verbose=0)
        return tree, begun

    def interrupt(epoch: int, logs: Any) -> None:
        if epoch == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(4, on_epoch_end=interrupt)
    _, begun = run(4)
    assert begun == [2, 3]


def test_other_callbacks_of_keras(tree: Tree, data: Data, tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    callbacks = [keras.callbacks.CSVLogger(str(log)), keras.callbacks.TerminateOnNaN()]
    tree.fit(data, epochs=2, validation_data=data, callbacks=callbacks, verbose=0)
    head, *rows = log.read_text().splitlines()
    assert len(rows) == 2
    assert {"digit_loss", "angle_accuracy", "val_size_mae", "loss"} <= set(head.split(","))


class Recorder(keras.callbacks.Callback):
    """What is called, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Any] = []

    def on_train_begin(self, logs: Any = None) -> None:
        self.calls.append("train")

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.calls.append(f"epoch {epoch}")

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.calls.append(batch)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.calls.append((batch, sorted(logs)))

    def on_test_begin(self, logs: Any = None) -> None:
        self.calls.append("test")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.calls.append("end")

    def on_train_end(self, logs: Any = None) -> None:
        self.calls.append("train end")


NAMES = [
    "angle_accuracy",
    "angle_loss",
    "digit_accuracy",
    "digit_loss",
    "loss",
    "size_loss",
    "size_mae",
]


def test_callbacks_are_called_as_by_keras(tree: Tree, data: Data) -> None:
    recorder = Recorder()
    given = {"batch_size": 10, "steps_per_epoch": 3, "validation_data": {"size": data["size"]}}
    history = tree.fit(data, epochs=4, initial_epoch=2, callbacks=[recorder], verbose=0, **given)
    epoch = [0, (1, NAMES), 2, (2, NAMES), "test", "end"]  # two steps per call
    assert recorder.calls == ["train", "epoch 2", *epoch, "epoch 3", *epoch, "train end"]
    assert history.epoch == [2, 3]
    assert "val_size_mae" in history.history
    assert "val_digit_loss" not in history.history


def test_a_callback_of_the_users_own_is_called_at_every_step_by_default(
    build_tree: Build, data: Data
) -> None:
    tree = build_tree(normalized=False)
    tree.compile("sgd", run_eagerly=True)
    recorder = Recorder()
    tree.fit(data, batch_size=10, steps_per_epoch=3, callbacks=[recorder], verbose=0)
    assert [call for call in recorder.calls if isinstance(call, int)] == [0, 1, 2]


def test_stop_training_ends_the_epoch_at_once(tree: Tree, data: Data) -> None:
    def stop(batch: int, logs: Any) -> None:
        tree.stop_training = batch >= 3

    callback = keras.callbacks.LambdaCallback(on_train_batch_end=stop)
    history = tree.fit(data, epochs=5, steps_per_epoch=9, callbacks=[callback], verbose=0)
    assert history.epoch == [0]
    assert int(tree.optimizer.iterations) == 4
    tree.fit(data, epochs=2, steps_per_epoch=1, verbose=0)
    assert int(tree.optimizer.iterations) == 6


@pytest.mark.parametrize(("frequency", "expected"), [(1, 4), (2, 2), (3, 1), ([1, 4], 2)])
def test_validation_when_it_is_due(
    frequency: Any, expected: int, build_tree: Build, data: Data
) -> None:
    tree = build_tree(normalized=False)
    tree.compile("sgd", run_eagerly=True)
    size = {"size": data["size"]}
    history = tree.fit(
        data,
        epochs=4,
        steps_per_epoch=1,
        validation_data=size,
        validation_freq=frequency,
        verbose=0,
    )
    assert len(history.history["val_size_loss"]) == expected
    assert len(history.history["size_loss"]) == 4


@pytest.mark.parametrize(
    ("verbose", "wanted", "unwanted"),
    [
        (1, ["Epoch 1/2", "2/2", "digit_loss", "val_digit_accuracy", "━"], []),
        ("auto", ["Epoch 2/2", "angle_accuracy", "━"], []),
        (2, ["Epoch 1/2", "2/2 - ", "size_mae"], ["━"]),
        (0, [], ["Epoch", "loss"]),
    ],
)
def test_the_progress_bar(
    verbose: Any,
    wanted: list[str],
    unwanted: list[str],
    tree: Tree,
    data: Data,
    capsys: pytest.CaptureFixture[str],
) -> None:
    keras.utils.enable_interactive_logging()
    tree.fit(data, epochs=2, steps_per_epoch=2, validation_data=data, verbose=verbose)
    printed = capsys.readouterr().out
    assert all(text in printed for text in wanted), printed
    assert not any(text in printed for text in unwanted), printed


def test_averaged_weights_replace_the_last_ones(build_tree: Build, data: Data) -> None:
    tree = build_tree(normalized=False)
    tree.compile(keras.optimizers.SGD(0.5, use_ema=True, ema_momentum=0.5), run_eagerly=True)
    seen: list[np.ndarray] = []
    kernel = tree.nodes["trunk"].trainable_variables[0]
    callback = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(kernel.numpy())
    )
    tree.fit(data, batch_size=5, steps_per_epoch=2, callbacks=[callback], verbose=0)
    np.testing.assert_allclose(kernel.numpy(), (seen[0] + seen[1]) / 2, atol=1e-6)


def test_nan_losses_are_left_to_the_callback_that_ends_training(
    build_tree: Build, data: Data
) -> None:
    tree = build_tree(normalized=False)
    tree.compile(keras.optimizers.SGD(1e30), steps_per_execution=2)
    callback = keras.callbacks.TerminateOnNaN()
    history = tree.fit(data, epochs=9, batch_size=5, callbacks=[callback], verbose=0)
    assert len(history.epoch) < 9
    assert tree.stop_training
