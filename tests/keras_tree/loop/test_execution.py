"""Where training ends before its time: generators, errors and interrupts, between whole steps."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest

from keras_tree.loop.sources import StreamEndedError
from keras_tree.loop.steps import Steps
from keras_tree.schedules import Proportional
from keras_tree.tree import Tree

Data = dict[str, tuple[np.ndarray, np.ndarray]]


Build = Callable[..., Tree]


SILENT: dict[str, Any] = {"verbose": 0}


X = np.zeros((10, 4), "float32")


Y = np.zeros(10)


def state(tree: Tree) -> list[np.ndarray]:
    return [v.numpy() for v in [*tree.variables, *tree.optimizer.variables]]


def changed(data: Data, **replaced: Any) -> dict[str, Any]:
    return {**data, **replaced}


def pieces(data: Data, task: str, count: int, rows: int = 5) -> Callable[[], Iterator[Any]]:
    """A generator function of so many batches of a task, then of none."""

    def generate() -> Iterator[Any]:
        x, y = data[task]
        for start in range(0, count * rows, rows):
            yield (
                np.take(x, range(start, start + rows), 0, mode="wrap"),
                np.take(y, range(start, start + rows), 0, mode="wrap"),
            )

    return generate


@pytest.mark.parametrize("steps_per_execution", [1, 4])
@pytest.mark.parametrize("schedule", ["joint", "alternating"])
def test_a_generator_that_ends_early_is_named_and_nothing_is_lost(
    schedule: str, steps_per_execution: int, build_tree: Build, data: Data
) -> None:
    tree, whole = build_tree(), build_tree()
    whole.set_weights(tree.get_weights())
    for each in (tree, whole):
        each.compile(
            "adam", schedule=schedule, steps_per_execution=steps_per_execution, run_eagerly=True
        )
    settings: dict[str, Any] = {"batch_size": 5, "shuffle": False, "verbose": 0}
    ending = changed(data, digit=pieces(data, "digit", 7)())
    message = "task 'digit' ended after 7 batches.*at step 3 of epoch 2"
    with pytest.raises(StreamEndedError, match=message):
        tree.fit(ending, epochs=3, steps_per_epoch=5, **settings)
    assert tree.history.epoch == [0]
    assert len(tree.history.history["digit_loss"]) == 1
    # All seven steps for which it gave data were made, and no part of an eighth.
    whole.fit(changed(data, digit=pieces(data, "digit", 7)()), steps_per_epoch=7, **settings)
    for one, two in zip(state(tree), state(whole), strict=True):
        np.testing.assert_array_equal(one, two)
    tree.fit(changed(data, digit=pieces(data, "digit", 2)), steps_per_epoch=5, **settings)


def test_a_stream_that_turns_bad_stops_training_between_steps(
    build_tree: Build, data: Data
) -> None:
    tree = build_tree()
    tree.compile("adam", steps_per_execution=1, run_eagerly=True)

    def turns_bad() -> Iterator[Any]:
        yield from pieces(data, "digit", 3)()
        yield X[:5], Y[:5] + 7

    with pytest.raises(ValueError, match=r"`y` of batch 4 of task 'digit' .* Received: 7"):
        tree.fit(changed(data, digit=turns_bad), steps_per_epoch=9, batch_size=5, verbose=0)
    assert int(tree.optimizer.iterations) == 3
    assert all(np.isfinite(part).all() for part in state(tree))


@pytest.mark.parametrize("schedule", ["alternating", "joint", "masked", "proportional"])
def test_an_interrupt_leaves_the_tree_after_a_whole_step(
    schedule: str, build_tree: Build, data: Data
) -> None:
    tree, whole = build_tree(), build_tree()
    whole.set_weights(tree.get_weights())
    for each in (tree, whole):
        each.compile("adam", schedule=schedule, run_eagerly=True)
    settings: dict[str, Any] = {"batch_size": 5, "seed": 3, "verbose": 0}
    with pytest.raises(KeyboardInterrupt):
        tree.fit(data, epochs=2, callbacks=[Failing(4, KeyboardInterrupt)], **settings)
    # A callback of the user's own is called at every step, so the same steps are made one by one.
    with pytest.raises(RuntimeError):
        whole.fit(data, epochs=2, callbacks=[Failing(4, RuntimeError)], **settings)
    for one, two in zip(state(tree), state(whole), strict=True):
        np.testing.assert_array_equal(one, two)
    updates = 12 if schedule in ("alternating", "proportional") else 4
    assert int(tree.optimizer.iterations) == updates
    tree.fit(data, verbose=0)
    assert np.isfinite(tree.evaluate(data, verbose=0)["loss"])


@pytest.mark.parametrize("jit", [False, True])
def test_control_c_in_the_middle_of_training(jit: bool, build_tree: Build, data: Data) -> None:
    """A real signal, while many steps run in one call."""
    tree, whole = build_tree(normalized=False), build_tree(normalized=False)
    whole.set_weights(tree.get_weights())
    for each in (tree, whole):
        each.compile("sgd", schedule="alternating", steps_per_execution=50, jit_compile=jit)
    settings: dict[str, Any] = {"batch_size": 5, "seed": 3, "verbose": 0}
    started = threading.Event()

    def interrupt() -> None:
        started.wait(60)
        os.kill(os.getpid(), signal.SIGINT)

    callback = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: started.set())
    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        tree.fit(data, epochs=10**6, steps_per_epoch=50, callbacks=[callback], **settings)
    thread.join()
    updates = int(tree.optimizer.iterations)
    assert updates >= 150
    assert updates % 150 == 0  # whole calls of 50 steps of three updates
    whole.fit(data, steps_per_epoch=updates // 3, **settings)
    for one, two in zip(state(tree), state(whole), strict=True):
        np.testing.assert_array_equal(one, two)
    tree.fit(data, batch_size=5, verbose=0)


def test_drawing_goes_on_until_the_ended_generator_is_drawn(build_tree: Build, data: Data) -> None:
    tree = build_tree(normalized=False)
    tree.compile("sgd", run_eagerly=True)
    ending = changed(data, digit=pieces(data, "digit", 4)())
    schedule = Proportional(sizes=dict.fromkeys(data, 1))
    with pytest.raises(StreamEndedError, match="ended after 4 batches"):
        tree.fit(ending, steps_per_epoch=30, batch_size=5, schedule=schedule, seed=1, verbose=0)
    assert all(np.isfinite(part).all() for part in state(tree))


class Failing(keras.callbacks.Callback):
    """Raises an error after so many batches."""

    def __init__(self, after: int, error: type[BaseException]) -> None:
        super().__init__()
        self.after, self.error = after, error

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if batch + 1 == self.after:
            raise self.error


def test_a_later_fit_compiles_nothing_anew(
    build_tree: Build, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = build_tree()
    tree.compile("adam", steps_per_execution=2)
    traced = []
    update = Steps.update
    monkeypatch.setattr(
        Steps, "update", lambda *args, **more: (traced.append(1), update(*args, **more))
    )
    tree.fit(data, batch_size=10, validation_data=data, **SILENT)
    once = len(traced)
    assert once == 1
    tree.fit(data, batch_size=10, epochs=2, validation_data=data, **SILENT)
    shorter = {task: (x[:19], y[:19]) for task, (x, y) in data.items()}
    tree.fit(shorter, batch_size=10, steps_per_epoch=3, **SILENT)
    assert len(traced) == once
    tree.compile("sgd")
    tree.fit(data, batch_size=10, **SILENT)
    assert len(traced) == once + 1
