"""The loop: whose turn it is, what a batch holds, when ranges are taken."""

import numpy as np
import pytest

from quantize.aware.features import Features
from quantize.aware.loop import DivergedError, TrainingSet, train
from quantize.aware.recipe import Clustering, Pruning, Recipe
from quantize.tensor_spec import TensorSpec


class Recording:
    """A model that notes what it is called with."""

    def __init__(self, losses=lambda task: 1.0):
        self.calls, self.batches, self.losses = [], [], losses

    def begin_stage(self, stage, step_count):
        self.calls.append((stage, step_count))

    def calibrate(self, samples):
        self.calls.append("calibrate")

    def train_batch(self, task, x, y):
        self.calls.append(task)
        self.batches.append((task, x, y))
        return self.losses(task)

    def end_stage(self):
        self.calls.append("end")


def numbered(count):
    """A set whose inputs and labels are 0, 1, 2..."""
    x = np.arange(count, dtype=np.int64)[:, None]
    return TrainingSet(Features(x), np.arange(count), np.arange(count, dtype=np.float32))


def seen(model, task):
    return np.concatenate([y for name, _, y in model.batches if name == task]).tolist()


def run(sets, recipe, model=None, progress=lambda line: None):
    model = model or Recording()
    train(model, sets, {}, recipe, progress)
    return model


def test_tasks_take_turns_and_ranges_are_taken_before_and_after_every_epoch():
    sets = {"long": numbered(5), "short": numbered(2)}
    model = run(sets, Recipe(pruning=Pruning(), epochs=2, batch_size=2))
    epoch = ["long", "short"] * 3
    assert model.calls == [
        ("prune", 12), *epoch, *epoch, "end",
        ("quantize", 12), "calibrate", *epoch, "calibrate", *epoch, "calibrate", "end",
    ]  # fmt: skip


def test_every_sample_counts_equally_and_a_short_dataset_starts_over():
    model = run({"long": numbered(6), "short": numbered(2)}, Recipe(epochs=2, batch_size=2))
    for task, count, passes in (("long", 6, 2), ("short", 2, 6)):
        assert sorted(seen(model, task)) == sorted(list(range(count)) * passes)
    assert all(len(x) == len(y) == 2 for _, x, y in model.batches)
    assert all((x[:, 0] == y).all() and x.dtype == np.float32 for _, x, y in model.batches)


def test_a_dataset_smaller_than_a_batch_fills_it():
    model = run({"one": numbered(3)}, Recipe(epochs=1, batch_size=8))
    (labels,) = [y for _, _, y in model.batches]
    assert len(labels) == 8
    assert set(labels) == {0, 1, 2}


def test_the_order_is_the_seed_s_and_another_in_every_pass():
    orders = [
        seen(run({"one": numbered(50)}, Recipe(epochs=2, batch_size=10, seed=seed)), "one")
        for seed in (0, 0, 1)
    ]
    assert orders[0] == orders[1] != orders[2]
    assert orders[0][:50] != orders[0][50:] != list(range(50))


def test_codes_are_dequantized_batch_by_batch():
    spec = TensorSpec((1, 2), "int8", 0.5, -128)
    codes = np.array([[-128, -126], [0, 127]], np.int8)
    part = TrainingSet(Features(codes, spec), np.array([1]), np.array([3.0], np.float32))
    model = run({"one": part}, Recipe(epochs=1, batch_size=1))
    ((_, x, y),) = model.batches
    np.testing.assert_array_equal(x, np.array([[64, 127.5]], np.float32))
    assert (x.dtype, y.tolist()) == (np.float32, [3.0])


def test_progress_tells_the_mean_loss_of_every_task():
    lines = []
    recipe = Recipe(clustering=Clustering(), quantize=False, epochs=1, batch_size=1)
    losses = iter([1.0, 5.0, 2.0, 5.0])
    model = Recording(lambda task: next(losses))
    run({"a": numbered(2), "b": numbered(1)}, recipe, model, lines.append)
    assert lines == ["cluster: epoch 1 of 1, loss: a 1.5, b 5"]


@pytest.mark.parametrize("loss", [np.nan, np.inf])
def test_it_ends_where_a_loss_is_not_finite(loss):
    model = Recording(lambda task: loss if task == "b" else 1.0)
    with pytest.raises(DivergedError, match="for 'b' in epoch 1 of the stage 'quantize'"):
        run({"a": numbered(2), "b": numbered(2)}, Recipe(epochs=3), model)
    assert model.calls.count("calibrate") == 1


def test_it_ends_where_ranges_are_not_finite():
    class Lost(Recording):
        def calibrate(self, samples):
            if self.batches:
                raise ValueError("cannot convert float NaN to integer")

    with pytest.raises(DivergedError, match="none after epoch 1 of the stage 'quantize'"):
        run({"a": numbered(2)}, Recipe(epochs=3), Lost())
