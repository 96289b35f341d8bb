"""Few values per output channel."""

import keras
import numpy as np
import pytest

from quantize.aware.keras3.clustering import cluster, k_means
from quantize.aware.keras3.kernels import Kernel


def kernel(shape, channel_axes, depthwise=False, seed=0) -> Kernel:
    values = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return Kernel(keras.Variable(values), True, channel_axes, 8, depthwise)


def distinct(one: Kernel) -> list[int]:
    return [len(np.unique(channel)) for channel in one.matrix(one.numpy()).T]


def test_planted_values_are_found() -> None:
    random = np.random.default_rng(1)
    values = np.array([[-3.0, -10], [-1, 0], [0.5, 1], [4, 30]], np.float32)
    planted = random.integers(0, 4, (60, 2))
    weights = np.take_along_axis(values, planted, axis=0)
    noisy = weights + random.normal(size=weights.shape).astype(np.float32) * 0.01
    found, taken = k_means(noisy, np.ones(noisy.shape, bool), 4)
    np.testing.assert_array_equal(taken, planted)
    np.testing.assert_allclose(found, values, atol=0.02)


def test_lloyd_is_no_worse_than_even_spacing_and_deterministic() -> None:
    weights = np.random.default_rng(2).standard_t(3, (500, 6)).astype(np.float32)
    counted = np.ones(weights.shape, bool)
    found, taken = k_means(weights, counted, 16)
    error = ((weights - np.take_along_axis(found, taken, axis=0)) ** 2).sum(0)
    step = (weights.max(0) - weights.min(0)) / 15
    even = np.round((weights - weights.min(0)) / step) * step + weights.min(0)
    assert (error < ((weights - even) ** 2).sum(0)).all()
    again = k_means(weights, counted, 16)
    np.testing.assert_array_equal(found, again[0])
    np.testing.assert_array_equal(taken, again[1])


@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize(
    ("shape", "axes"), [((3, 3, 4, 5), (3,)), ((40, 6), (1,)), ((3, 3, 4, 5), (2,))]
)
def test_a_channel_has_few_values(bits: int, shape, axes) -> None:
    one = kernel(shape, axes)
    cluster([one], bits)
    assert max(distinct(one)) <= 2**bits
    assert min(distinct(one)) > 1
    assert one.trained is not one.variable


def test_zeros_of_a_pruned_kernel_stay_and_count_as_a_value() -> None:
    one = kernel((3, 3, 8, 4), (3,))
    kept = np.random.default_rng(3).random(one.shape) > 0.6
    kept[..., 0] = False  # A channel of zeros alone has a value without weights.
    one.set_mask(kept)
    cluster([one], 2)
    np.testing.assert_array_equal(one.numpy() != 0, kept)
    assert distinct(one)[0] == 1
    assert max(distinct(one)) == 4
    one.trained.assign(one.trained + 1.0)
    assert max(distinct(one)) == 4
    assert not one.numpy()[~kept].any()


def test_a_channel_with_few_weights_is_left_alone() -> None:
    one = kernel((3, 3, 6, 1), (2, 3), depthwise=True)
    before = one.numpy()
    cluster([one], 4)
    assert one.trained is one.variable
    np.testing.assert_array_equal(one.numpy(), before)
    cluster([one], 3)
    assert max(distinct(one)) == 8
