"""What one update does to the last digit, and what it leaves alone."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_tree.schedules import Proportional
from keras_tree.tree import Tree

Data = dict[str, tuple[np.ndarray, np.ndarray]]


Build = Callable[..., Tree]


SCHEDULES = ["alternating", "joint", "masked", "proportional", "temperature"]


SILENT: dict[str, Any] = {"verbose": 0}


def weights_of(model: keras.Model) -> list[np.ndarray]:
    return [np.array(weight) for weight in model.get_weights()]


def assert_same(first: list[np.ndarray], second: list[np.ndarray], tolerance: float = 0) -> None:
    assert len(first) == len(second)
    for one, two in zip(first, second, strict=True):
        np.testing.assert_allclose(one, two, rtol=0, atol=tolerance)


def manual_losses(tree: Tree, batches: Data) -> dict[str, tf.Tensor]:
    """Each task's loss on a batch, by Keras's own losses."""
    given = {
        "digit": keras.losses.SparseCategoricalCrossentropy(),
        "angle": keras.losses.CategoricalCrossentropy(),
        "size": keras.losses.MeanSquaredError(),
    }
    return {
        task: given[task](y.reshape(-1, 1) if task == "size" else y, tree[task](x, training=True))
        for task, (x, y) in batches.items()
    }


def manual_step(tree: Tree, batches: Data, learning_rate: float = 0.1) -> None:
    """One step of gradient descent on the weighted sum of the losses."""
    with tf.GradientTape() as tape:
        losses = manual_losses(tree, batches)
        total = sum(tree.tasks[task].weight * loss for task, loss in losses.items())
    values = [v.value for v in tree.trainable_variables]
    for value, gradient in zip(values, tape.gradient(total, values), strict=True):
        if gradient is not None:
            value.assign_sub(learning_rate * gradient)


def twins(
    build_tree: Build, schedule: str, jit: bool | None = None, **settings: Any
) -> tuple[Tree, Tree]:
    """Two trees of the same weights, the first of them compiled with gradient descent.

    Without `jit` it runs eagerly, which is quicker; that it makes no difference is tested too.
    """
    one, two = build_tree(normalized=False, **settings), build_tree(normalized=False, **settings)
    two.set_weights(one.get_weights())
    compiled: dict[str, Any] = {"run_eagerly": True} if jit is None else {"jit_compile": jit}
    one.compile(keras.optimizers.SGD(0.1), schedule=schedule, **compiled)
    return one, two


def first_rows(data: Data, **counts: int) -> Data:
    return {task: (x[: counts[task]], y[: counts[task]]) for task, (x, y) in data.items()}


@pytest.mark.parametrize("jit", [False, True])
def test_a_joint_step_follows_the_weighted_sum_of_each_tasks_mean(
    jit: bool, build_tree: Build, data: Data
) -> None:
    tree, expected = twins(build_tree, "joint", jit)
    batches = first_rows(data, digit=7, angle=7, size=7)
    history = tree.fit(batches, batch_size=7, **SILENT)
    for task, loss in manual_losses(expected, batches).items():
        assert history.history[f"{task}_loss"][0] == pytest.approx(float(loss), rel=1e-5)
    total = sum(history.history[f"{task}_loss"][0] * tree.tasks[task].weight for task in batches)
    assert history.history["loss"][0] == pytest.approx(total, rel=1e-5)
    manual_step(expected, batches)
    assert_same(weights_of(tree), weights_of(expected), 1e-6)


@pytest.mark.parametrize("jit", [False, True])
def test_alternating_takes_the_tasks_in_exact_order(
    jit: bool, build_tree: Build, data: Data
) -> None:
    tree, expected = twins(build_tree, "alternating", jit)
    batches = first_rows(data, digit=14, angle=14, size=14)
    tree.fit(batches, batch_size=7, shuffle=False, **SILENT)
    for start in (0, 7):
        for task, (x, y) in batches.items():
            manual_step(expected, {task: (x[start : start + 7], y[start : start + 7])})
    assert_same(weights_of(tree), weights_of(expected), 1e-6)
    assert int(tree.optimizer.iterations) == 6


def test_batches_of_different_sizes_divide_each_loss_by_its_own_count(
    build_tree: Build, data: Data
) -> None:
    tree, expected = twins(build_tree, "joint")
    batches = first_rows(data, digit=9, angle=4, size=2)
    streams = {task: (lambda batch=batch: iter([batch])) for task, batch in batches.items()}
    tree.fit(streams, steps_per_epoch=1, **SILENT)
    manual_step(expected, batches)
    assert_same(weights_of(tree), weights_of(expected), 1e-6)


def test_a_masked_step_divides_each_loss_by_its_own_count(build_tree: Build, data: Data) -> None:
    tree, expected = twins(build_tree, "masked")
    batches = first_rows(data, digit=1, angle=1, size=1)  # of one sample each, whatever the mixture
    tree.fit(batches, batch_size=6, steps_per_epoch=1, **SILENT)
    manual_step(expected, batches)
    assert_same(weights_of(tree), weights_of(expected), 1e-6)


def test_sample_and_class_weights_count_as_in_keras(build_tree: Build, data: Data) -> None:
    tree, expected = twins(build_tree, "joint")
    batches = first_rows(data, digit=7, angle=7, size=7)
    x, y = batches["digit"]
    factors = np.linspace(0, 2, 7)
    classes = {0: 3.0, 2: 0.5}
    model = expected["digit"]
    model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    both = factors * np.array([classes.get(label, 1.0) for label in y])
    tree.fit(
        batches,
        batch_size=7,
        shuffle=False,
        sample_weight={"digit": factors},
        class_weight={"digit": classes},
        **SILENT,
    )
    model.train_on_batch(x, y, sample_weight=both)
    assert_same(weights_of(tree.nodes["digit"]), weights_of(expected.nodes["digit"]), 1e-6)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_missing_labels_are_left_out(schedule: str, build_tree: Build, data: Data) -> None:
    """Training with labels missing is training on the labelled samples alone."""
    first = {"missing_label": -1}
    tree, expected = twins(build_tree, "joint", first=first)
    whole = first_rows(data, digit=8, angle=8, size=8)
    partly = {task: (x.copy(), y.astype("float32")) for task, (x, y) in whole.items()}
    for task, missing in (("digit", -1), ("angle", np.nan), ("size", np.nan)):
        partly[task][1][::2] = missing
    tree.fit(partly, batch_size=8, **SILENT)
    manual_step(expected, {task: (x[1::2], y[1::2]) for task, (x, y) in whole.items()})
    assert_same(weights_of(tree), weights_of(expected), 1e-6)
    labelled = {task: (x[1::2], y[1::2]) for task, (x, y) in whole.items()}
    partial, complete = tree.evaluate(partly, **SILENT), tree.evaluate(labelled, **SILENT)
    assert partial == pytest.approx(complete, rel=1e-5)
    tree.fit(partly, batch_size=3, epochs=2, schedule=schedule, **SILENT)
    assert all(np.isfinite(weight).all() for weight in tree.get_weights())


@pytest.mark.parametrize(
    ("schedule", "jit"),
    [("joint", False), ("joint", True), ("alternating", None), ("masked", False)],
)
def test_a_batch_without_a_label_has_loss_zero_and_no_gradient(
    schedule: str, jit: bool | None, build_tree: Build, data: Data
) -> None:
    tree, _ = twins(build_tree, schedule, jit)
    batches = first_rows(data, digit=8, angle=8, size=8)
    batches["digit"] = (batches["digit"][0], np.full(8, np.nan))
    before = weights_of(tree.nodes["digit"])
    history = tree.fit(batches, batch_size=8, **SILENT)
    assert history.history["digit_loss"] == [0.0]
    assert_same(weights_of(tree.nodes["digit"]), before)
    assert all(np.isfinite(weight).all() for weight in tree.get_weights())


OPTIMIZERS: dict[str, Callable[[], keras.optimizers.Optimizer]] = {
    "adam": lambda: keras.optimizers.Adam(0.01, global_clipnorm=0.1, amsgrad=True),
    "adamw": lambda: keras.optimizers.AdamW(0.01, weight_decay=0.1),
    "sgd": lambda: keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True, weight_decay=0.1),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_updates_on_one_task_leave_every_other_branch_as_it_is(
    optimizer: str, build_tree: Build, data: Data
) -> None:
    """Weights, statistics and slots are bit-identical after slots were filled by joint steps."""
    tree = build_tree()
    tree.compile(OPTIMIZERS[optimizer]())
    tree.fit(data, batch_size=10, steps_per_epoch=3, **SILENT)
    state = [*tree.variables, *tree.optimizer.variables]
    before = {id(variable): variable.numpy() for variable in state}
    only_angle = Proportional(sizes={"digit": 1e-12, "angle": 1.0, "size": 1e-12})
    tree.fit(data, batch_size=10, steps_per_epoch=4, schedule=only_angle, **SILENT)
    changed = [v.path for v in state if not np.array_equal(before[id(v)], v.numpy())]
    assert not [path for path in changed if "digit" in path or "size" in path]
    moved = ("trunk_dense_kernel", "angle_dense_kernel", "trunk_bn_gamma", "angle_bn_beta")
    for name in moved:  # weights and slots: those of the task's own path all moved
        assert any(name in path.replace("/", "_") for path in changed), name
    assert any("angle_bn/moving_mean" in path for path in changed)


def test_in_a_joint_step_a_branch_gets_its_own_gradient_only(build_tree: Build, data: Data) -> None:
    first, second = build_tree(), build_tree()
    second.set_weights(first.get_weights())
    changed = dict(data)
    changed["angle"] = (data["angle"][0], data["angle"][1][::-1])
    changed["size"] = (data["size"][0], data["size"][1] * 100)
    for tree, given in ((first, data), (second, changed)):
        tree.compile("adam")
        tree.fit(given, batch_size=20, steps_per_epoch=1, shuffle=False, **SILENT)
    assert_same(weights_of(first.nodes["digit"]), weights_of(second.nodes["digit"]))
    trunks = [weights_of(tree.nodes["trunk"])[-1] for tree in (first, second)]
    assert not np.array_equal(*trunks)


def test_losses_that_layers_and_regularizers_add_are_trained_and_reported(
    build_tree: Build, data: Data
) -> None:
    settings = {"regularizer": keras.regularizers.L2(0.1), "activity": keras.regularizers.L2(0.2)}
    tree, expected = twins(build_tree, "joint", **settings)
    batches = first_rows(data, digit=6, angle=6, size=6)
    joined = np.concatenate([x for x, _ in batches.values()])
    before = {task: float(loss) for task, loss in manual_losses(tree, batches).items()}
    plain = sum(tree.tasks[task].weight * loss for task, loss in before.items())
    with tf.GradientTape() as tape:
        trunk = expected.nodes["trunk"]
        features = trunk(joined, training=True)  # (18, 8)
        kernel = trunk.trainable_variables[0]
        added = 0.1 * tf.reduce_sum(kernel.value**2) + 0.2 * tf.reduce_sum(features**2) / 18
        losses = manual_losses(expected, batches)
        total = added + sum(tree.tasks[task].weight * loss for task, loss in losses.items())
    gradient = tape.gradient(total, kernel.value)
    wanted = kernel.value - 0.1 * gradient
    history = tree.fit(batches, batch_size=6, shuffle=False, **SILENT)
    np.testing.assert_allclose(tree.nodes["trunk"].get_weights()[0], wanted, atol=1e-6)
    assert history.history["loss"][0] == pytest.approx(plain + float(added), rel=1e-5)
    reported = tree.evaluate(batches, **SILENT)
    plain = sum(tree.tasks[task].weight * reported[f"{task}_loss"] for task in batches)
    assert reported["loss"] > plain + 0.05
    assert tree.evaluate(batches, batch_size=4, **SILENT) == pytest.approx(reported, rel=1e-5)


def test_training_only_what_is_not_frozen(build_tree: Build, data: Data) -> None:
    tree = build_tree()
    for name in ("trunk", "digit", "size"):
        tree.nodes[name].trainable = False
    before = {name: weights_of(node) for name, node in tree.nodes.items()}
    tree.compile("adam", run_eagerly=True)
    for schedule in SCHEDULES:
        tree.fit({"angle": data["angle"]}, batch_size=10, schedule=schedule, **SILENT)
    tree.fit(data, batch_size=10, schedule="alternating", **SILENT)
    for name in ("trunk", "digit", "size"):
        assert_same(weights_of(tree.nodes[name]), before[name])
    assert not np.array_equal(weights_of(tree.nodes["angle"])[0], before["angle"][0])


def test_a_balancer_combines_the_weighted_losses(build_tree: Build, data: Data) -> None:
    tree, expected = twins(build_tree, "joint")
    seen: list[str] = []

    def only_the_first(losses: dict[str, tf.Tensor]) -> tf.Tensor:
        seen.extend(losses)
        return losses["digit"]

    tree.balancer = only_the_first
    batches = first_rows(data, digit=7, angle=7, size=7)
    tree.fit(batches, batch_size=7, **SILENT)
    manual_step(expected, {"digit": batches["digit"]})
    assert_same(weights_of(tree), weights_of(expected), 1e-6)
    assert seen == list(data)
