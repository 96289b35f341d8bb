"""The data of many steps at a time: what is drawn, and that nothing is left out or mixed up."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from keras_tree.datasets import Arrays, Stream
from keras_tree.loop.blocks import Blocks
from keras_tree.loop.contract import Contract
from keras_tree.loop.sources import Source, StreamEndedError, source
from keras_tree.schedules import Kind
from keras_tree.tasks import Task

BATCHES = {"one": 4, "two": 2, "three": 3}
EQUAL = dict.fromkeys(BATCHES, 1 / 3)


def endless(task: str) -> Source:
    """Counts upwards in batches of the task's own size."""

    def count(order: Any) -> Iterator[Any]:
        rows, start = BATCHES[task], 0
        while True:
            values = np.arange(start, start + rows)
            yield values[:, None], values
            start += rows

    contract = Contract(Task(task, "mse"), (None, 1), (None, 1))
    return source(Stream(count), contract, 0, None)


def make_blocks(kind: Kind, shares: dict[str, float] = EQUAL, seed: int = 0) -> Blocks:
    sources = {task: endless(task) for task in BATCHES}
    return Blocks(sources, shares, kind, "float32", np.random.default_rng(seed))


def numbers(parts: tuple[np.ndarray, ...]) -> list[int]:
    x, y, weight, valid = parts
    np.testing.assert_array_equal(x, y)
    np.testing.assert_array_equal(weight, np.ones(x.shape[:-1]))
    np.testing.assert_array_equal(valid, weight)
    assert {part.dtype for part in parts} == {np.dtype("float32")}
    return np.ravel(y).astype(int).tolist()


@pytest.mark.parametrize("kind", ["together", "in turn"])
def test_a_batch_of_every_task_per_step(kind: Kind) -> None:
    blocks = make_blocks(kind)
    for start in (0, 5):
        plan, drawn = blocks.draw(5)
        assert plan.shape == (5, 3)
        assert list(drawn) == list(BATCHES)
        for task, rows in BATCHES.items():
            assert drawn[task][0].shape == (5, rows, 1)
            assert numbers(drawn[task]) == list(range(start * rows, (start + 5) * rows))


def test_drawn_batches_follow_the_plan_and_none_is_left_out() -> None:
    blocks = make_blocks("drawn", {"one": 0.6, "two": 0.3, "three": 0.1})
    behind = dict.fromkeys(BATCHES, 0)
    for _ in range(6):
        plan, drawn = blocks.draw(3)
        for number, (task, rows) in enumerate(BATCHES.items()):
            count = int((plan == number).sum())
            latest, *batches = np.split(np.array(numbers(drawn[task])), 1 + count)
            expected = np.arange(behind[task] * rows, (behind[task] + count) * rows)
            np.testing.assert_array_equal(np.ravel(batches), expected)
            # The first is the one that came last, to refresh statistics on.
            if behind[task]:
                last = np.arange((behind[task] - 1) * rows, behind[task] * rows)
                np.testing.assert_array_equal(latest, last)
            behind[task] += count
    assert behind["one"] > behind["two"]


def test_drawing_follows_the_shares() -> None:
    plan, _ = make_blocks("drawn", {"one": 0.6, "two": 0.3, "three": 0.1}).draw(2000)
    np.testing.assert_allclose(np.bincount(plan.ravel()) / plan.size, [0.6, 0.3, 0.1], atol=0.02)


def test_a_mixed_batch_has_samples_of_every_task() -> None:
    blocks = make_blocks("mixed", {"one": 0.98, "two": 0.01, "three": 0.01})
    plan, drawn = blocks.draw(50)
    assert (plan.sum(1) == sum(BATCHES.values())).all()
    assert plan.min() == 1
    for number, task in enumerate(BATCHES):
        assert numbers(drawn[task]) == list(range(plan[:, number].sum()))
    equal, _ = make_blocks("mixed").draw(2000)
    np.testing.assert_allclose(equal.mean(0), [3, 3, 3], atol=0.1)
    assert equal.std(0).min() > 0.5


@pytest.mark.parametrize("kind", ["together", "in turn", "mixed"])
def test_an_end_is_passed_on(kind: Kind) -> None:
    contract = Contract(Task("one", "mse"), (None, 1), (None, 1))
    x = np.zeros((4, 1))
    ending = source(Stream(lambda order: iter([(x, x)]), restarts=False), contract, 4, None)
    arrays = source(Arrays(x, x), contract, 4, None)
    sources: dict[str, Source] = {"one": ending, "two": arrays}
    blocks = Blocks(sources, {"one": 0.5, "two": 0.5}, kind, "float32", np.random.default_rng(0))
    with pytest.raises(StreamEndedError, match="'one' ended after 1 batches"):
        blocks.draw(9)
