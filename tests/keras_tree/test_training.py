"""The training loop: what it learns and reports under every schedule, from data of every kind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_tree import training
from keras_tree.schedules import Masked, Temperature
from keras_tree.tree import Tree

Data = dict[str, tuple[np.ndarray, np.ndarray]]


Build = Callable[..., Tree]


SCHEDULES = ["alternating", "joint", "masked", "temperature"]  # one of every kind


SILENT: dict[str, Any] = {"verbose": 0}


def weights_of(model: keras.Model) -> list[np.ndarray]:
    return [np.array(weight) for weight in model.get_weights()]


def assert_same(first: list[np.ndarray], second: list[np.ndarray], tolerance: float = 0) -> None:
    assert len(first) == len(second)
    for one, two in zip(first, second, strict=True):
        np.testing.assert_allclose(one, two, rtol=0, atol=tolerance)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_learns_all_tasks(schedule: str, build_tree: Build, data: Data) -> None:
    keras.utils.set_random_seed(1)
    tree = build_tree()
    tree.compile(keras.optimizers.Adam(0.03), schedule=schedule)
    before = tree.evaluate(data, **SILENT)
    history = tree.fit(data, epochs=25, batch_size=10, validation_data=data, **SILENT)
    after = tree.evaluate(data, **SILENT)
    names = ["digit_loss", "digit_accuracy", "angle_loss", "angle_accuracy"]
    names += ["loss", "size_loss", "size_mae"]
    assert set(history.history) == {*names, *(f"val_{name}" for name in names)}
    assert all(len(values) == 25 for values in history.history.values())
    assert after["digit_accuracy"] > 0.8
    assert after["angle_accuracy"] > 0.8
    assert after["size_loss"] < before["size_loss"] / 4
    for name in names:  # the last validation and a new evaluation see the same weights
        assert history.history[f"val_{name}"][-1] == pytest.approx(after[name], rel=1e-5)


@pytest.mark.parametrize("schedule", ["alternating", "temperature"])
def test_a_seed_gives_the_same_weights_to_the_bit(
    schedule: str, build_tree: Build, data: Data
) -> None:
    runs = []
    for _ in range(2):
        keras.utils.set_random_seed(7)
        tree = build_tree(dropout=0.3)
        tree.compile("adam", schedule=schedule)
        tree.fit(data, epochs=2, batch_size=10, **SILENT)
        runs.append(weights_of(tree))
    assert_same(*runs)
    tree.fit(data, batch_size=10, **SILENT)
    assert not np.array_equal(runs[0][2], weights_of(tree)[2])


def test_seed_fixes_the_order_and_shuffle_false_keeps_it(build_tree: Build, data: Data) -> None:
    start = build_tree().get_weights()

    def run(**settings: Any) -> list[np.ndarray]:
        tree = build_tree()
        tree.set_weights(start)
        tree.compile("adam", run_eagerly=True)
        tree.fit(data, batch_size=10, **SILENT, **settings)
        return weights_of(tree)

    assert_same(run(seed=3), run(seed=3))
    assert not np.array_equal(run(seed=3)[2], run(seed=4)[2])
    assert_same(run(shuffle=False, seed=3), run(shuffle=False, seed=4))


@pytest.mark.parametrize(
    ("schedule", "policy", "steps"),
    [
        ("joint", "longest", 5),
        ("joint", "shortest", 2),
        ("joint", 3, 3),
        ("alternating", "longest", 5),
        ("alternating", "shortest", 2),
        ("proportional", "longest", 4),  # 103 samples in batches of 10, three of them per step
        ("proportional", "shortest", 3),
        ("masked", "longest", 4),
        (Temperature(1e9), "longest", 5),
        (Masked(sizes={"digit": 1, "angle": 1, "size": 1}), "longest", 5),
    ],
)
def test_steps_in_an_epoch(
    schedule: Any, policy: Any, steps: int, build_tree: Build, data: Data
) -> None:
    tree = build_tree(normalized=False)
    tree.compile("sgd", run_eagerly=True)
    history = tree.fit(data, batch_size=10, steps_per_epoch=policy, schedule=schedule, **SILENT)
    assert history.params["steps"] == steps


def test_tasks_are_drawn_in_their_shares(build_tree: Build, data: Data) -> None:
    tree = build_tree(normalized=False)
    tree.compile("sgd")
    counted: dict[str, int] = dict.fromkeys(data, 0)

    def counting(task: str) -> Callable[[], Any]:
        def generate() -> Any:
            x, y = data[task]
            while True:
                counted[task] += 1
                yield x[:5], y[:5]

        return generate

    streams = {task: counting(task) for task in data}
    sizes = {"digit": 900, "angle": 90, "size": 10}
    for temperature, expected in ((1, [0.9, 0.09, 0.01]), (2, [0.703, 0.222, 0.074])):
        counted.update(dict.fromkeys(data, 0))
        schedule = Temperature(temperature, sizes=sizes)
        tree.fit(streams, schedule=schedule, steps_per_epoch=200, seed=1, **SILENT)
        shares = np.array(list(counted.values())) / sum(counted.values())
        np.testing.assert_allclose(shares, expected, atol=0.04)


def test_a_folder_of_files_trains_and_is_evaluated_on_its_test_part(
    build_tree: Build, data: Data, tmp_path: Path
) -> None:
    for task, (x, y) in data.items():
        np.savez(tmp_path / f"{task}.npz", x_train=x, y_train=y, x_test=x[:9], y_test=y[:9])
    tree = build_tree()
    tree.compile("adam")
    tree.fit(tmp_path, batch_size=10, validation_data=str(tmp_path), **SILENT)
    expected = tree.evaluate({task: (x[:9], y[:9]) for task, (x, y) in data.items()}, **SILENT)
    assert tree.evaluate(tmp_path, **SILENT) == pytest.approx(expected)


def test_several_kinds_of_data_at_once(build_tree: Build, data: Data) -> None:
    tree = build_tree()
    tree.compile("adam", schedule="alternating")
    x, y = data["size"]
    mixed = {
        "digit": data["digit"],
        "angle": tf.data.Dataset.from_tensor_slices(data["angle"]).shuffle(33).batch(8),
        "size": lambda: iter([(x[:7], y[:7]), (x[7:], y[7:], np.ones(13))]),
    }
    history = tree.fit(mixed, batch_size=10, epochs=2, validation_data=mixed, **SILENT)
    assert np.isfinite(history.history["val_size_mae"]).all()
    assert tree.evaluate(mixed, **SILENT)["size_mae"] == pytest.approx(
        history.history["val_size_mae"][-1]
    )


def test_the_loop_is_what_the_tree_calls(build_tree: Build, data: Data) -> None:
    tree = build_tree()
    tree.compile("adam")
    history = training.fit(tree, data, batch_size=25, verbose=0)
    assert tree.history is history
    assert history.epoch == [0]
