"""The verdict: every metric in its own direction, relative to post-training."""

import math

import pytest

from quantize.aware.comparison import Comparison, mean_improvement


def of(metric, post_training, trained):
    return Comparison("task", metric, 200, 0.95, post_training, trained)


@pytest.mark.parametrize(
    ("comparison", "improvement"),
    [
        (of("accuracy", 0.8, 0.9), 0.125),
        (of("accuracy", 0.9, 0.8), -1 / 9),
        (of("mae", 0.2, 0.1), 0.5),
        (of("mae", 0.1, 0.2), -1.0),
        (of("accuracy", 0.0, 0.4), 0.4),
        (of("mae", 0.0, 0.4), -0.4),
        (of("mae", 0.3, 0.3), 0.0),
    ],
)
def test_better_is_above_zero(comparison, improvement):
    assert comparison.improvement == pytest.approx(improvement)


def test_the_mean_is_over_tasks():
    tasks = {"a": of("accuracy", 0.8, 0.9), "b": of("mae", 0.1, 0.2)}
    assert mean_improvement(tasks) == pytest.approx((0.125 - 1.0) / 2)


def test_a_failed_training_improves_nothing():
    failed = of("accuracy", 0.8, math.nan)
    assert math.isnan(mean_improvement({"a": failed, "b": of("mae", 0.2, 0.1)}))
    assert not mean_improvement({"a": failed}) > 0
    assert "trained nan (failed, 200 samples)" in failed.line()


def test_its_line():
    assert of("accuracy", 0.8, 0.9).line() == (
        "task: accuracy float 0.95, post-training 0.8, trained 0.9 (+12.50%, 200 samples)"
    )
