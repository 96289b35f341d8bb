"""An optimizer over more variables carries on every number of the one before."""

from collections.abc import Callable

import keras
import numpy as np
import pytest

from keras_tree.optimizer_state import extend, without_weight_decay

O = keras.optimizers  # noqa: E741

OPTIMIZERS: dict[str, Callable[[], keras.optimizers.Optimizer]] = {
    "Adadelta": O.Adadelta,
    "Adafactor": O.Adafactor,
    "Adagrad": O.Adagrad,
    "Adam": lambda: O.Adam(amsgrad=True, use_ema=True),
    "AdamW": lambda: O.AdamW(gradient_accumulation_steps=2),
    "Adamax": O.Adamax,
    "Ftrl": O.Ftrl,
    "Lamb": O.Lamb,
    "Lion": O.Lion,
    "LossScale": lambda: O.LossScaleOptimizer(O.Adam()),
    "Muon": O.Muon,
    "Nadam": O.Nadam,
    "RMSprop": lambda: O.RMSprop(momentum=0.5, centered=True),
    "SGD": O.SGD,
    "SGD momentum": lambda: O.SGD(0.1, momentum=0.9, nesterov=True),
    "ScheduleFreeAdamW": O.ScheduleFreeAdamW,
    "schedule": lambda: O.Adam(O.schedules.ExponentialDecay(0.1, 2, 0.5)),
}


def variables() -> list[keras.Variable]:
    rng = np.random.default_rng(0)
    shapes = [(3, 4), (4,), (4, 2), (2,)]
    return [keras.Variable(rng.normal(size=shape).astype("float32")) for shape in shapes]


def step(optimizer: keras.optimizers.Optimizer, over: list[keras.Variable], scale: float) -> None:
    optimizer.apply([keras.ops.ones(v.shape) * scale for v in over], over)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_nothing_is_forgotten(name: str) -> None:
    """A step on the older variables is bit-identical, before and after the extension."""
    every = variables()
    older = every[:2]
    optimizer = OPTIMIZERS[name]()
    optimizer.build(older)
    for scale in (1.0, -0.5, 2.0):
        step(optimizer, older, scale)
    start = [v.numpy() for v in older]
    wider, built_over = extend(optimizer, older, every)
    assert wider is not optimizer
    assert [id(v) for v in built_over] == [id(v) for v in every]
    assert int(wider.iterations) == int(optimizer.iterations)
    assert float(wider.learning_rate) == float(optimizer.learning_rate)
    ends = []
    for each in (optimizer, wider):
        for variable, value in zip(older, start, strict=True):
            variable.assign(value)
        step(each, older, 1.5)
        ends.append([v.numpy() for v in older])
    for one, other in zip(*ends, strict=True):
        np.testing.assert_array_equal(one, other)
    step(wider, every, 1.0)


def test_a_known_list_changes_nothing() -> None:
    every, optimizer = variables(), O.Adam()
    built, built_over = extend(optimizer, [], every)
    assert built is optimizer
    assert built.built
    again, over = extend(optimizer, built_over, every[1:3])
    assert again is optimizer
    assert [id(v) for v in over] == [id(v) for v in every]


def test_weight_decay_stays_excluded() -> None:
    every = variables()
    optimizer = O.AdamW()
    optimizer.exclude_from_weight_decay([every[0]], [every[3].name])
    optimizer.build(every[:2])
    wider, over = extend(optimizer, every[:2], every)
    assert [id(v) for v in without_weight_decay(wider, over)] == [id(every[0]), id(every[3])]


def test_state_that_cannot_be_carried_is_refused() -> None:
    every = variables()
    optimizer = O.MultiOptimizer(O.OptimizerMap(O.SGD(momentum=0.9)))
    optimizer.build(every[:2])
    with pytest.raises(ValueError, match=r"state of MultiOptimizer cannot be carried over"):
        extend(optimizer, every[:2], every)
