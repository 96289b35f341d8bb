"""Masks by magnitude: the schedule, and the patterns."""

import keras
import numpy as np
import pytest

from quantize.aware.keras3.kernels import Kernel
from quantize.aware.keras3.pruning import Pruner, kept_weights, sparsity_at
from quantize.aware.recipe import Pruning


def kernel(shape=(3, 3, 8, 4), channel_axes=(3,), depthwise=False) -> Kernel:
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    return Kernel(keras.Variable(values), True, channel_axes, 8, depthwise)


@pytest.mark.parametrize("progress", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_polynomial_schedule(progress: float) -> None:
    # s_f + (s_i - s_f) (1 - p)^3 with s_i = 0.1, s_f = 0.9: at p = 1/2, 0.9 - 0.8/8 = 0.8
    pruning = Pruning(final_sparsity=0.9, initial_sparsity=0.1)
    known = {0.0: 0.1, 0.25: 0.9 - 0.8 * 0.421875, 0.5: 0.8, 0.75: 0.9 - 0.8 / 64, 1.0: 0.9}
    assert sparsity_at(progress, pruning) == pytest.approx(known[progress])


def test_sparsity_rises_over_the_ramp_and_stays() -> None:
    one = kernel()
    pruner = Pruner(Pruning(final_sparsity=0.75, ramp=0.5), [one], 40)
    shares = []
    for step in range(40):
        pruner.update(step)
        shares.append(1 - one.mask.numpy().mean())
    assert shares[0] == 0
    assert shares[10] == pytest.approx(0.75 * (1 - 0.5**3), abs=1 / 288)
    assert shares == sorted(shares)
    assert shares[20:] == [pytest.approx(0.75, abs=1 / 288)] * 20


def test_finish_reaches_the_final_share_in_a_stage_of_one_step() -> None:
    one = kernel()
    pruner = Pruner(Pruning(final_sparsity=0.5), [one], 1)
    pruner.update(0)
    pruner.finish()
    assert one.mask.numpy().mean() == 0.5
    assert np.count_nonzero(one.numpy()) == one.mask.numpy().sum()


def test_smallest_weights_go_first() -> None:
    magnitudes = np.array([[0.1, 0.4], [0.3, 0.2]], np.float32)
    kept = kept_weights(magnitudes, 0.5, "unstructured")
    np.testing.assert_array_equal(kept, [[False, True], [True, False]])


def test_two_of_four_along_the_input_channels() -> None:
    one = kernel()
    Pruner(Pruning(pattern="2:4"), [one], 1).finish()
    groups = one.mask.numpy().reshape(3, 3, 2, 4, 4)  # (height, width, groups, of four, outputs)
    assert (groups.sum(axis=3) == 2).all()
    values = np.abs(one.variable.numpy()).reshape(groups.shape)
    kept, gone = np.where(groups, values, np.inf), np.where(groups, -np.inf, values)
    assert (kept.min(axis=3) >= gone.max(axis=3)).all()


def test_two_of_four_by_and_by() -> None:
    magnitudes = np.random.default_rng(1).random((16, 8)).astype(np.float32)
    zeros = (~kept_weights(magnitudes, 0.25, "2:4")).reshape(4, 4, 8).sum(axis=1)
    assert set(zeros.flat) == {0, 2}
    assert (zeros == 2).mean() == 0.5


@pytest.mark.parametrize("pattern", ["unstructured", "2:4", (2, 2)])
def test_kernels_of_one_input_channel_stay_whole(pattern) -> None:
    depthwise, first = kernel((3, 3, 8, 1), (2, 3), True), kernel((3, 3, 1, 8))
    Pruner(Pruning(pattern=pattern), [depthwise, first], 1).finish()
    assert depthwise.mask is None
    assert first.mask is None


def test_two_of_four_leaves_alone_what_has_no_four_input_channels() -> None:
    narrow = kernel((3, 3, 6, 4))
    Pruner(Pruning(pattern="2:4"), [narrow], 1).finish()
    assert narrow.mask is None


def test_blocks_are_whole() -> None:
    one = kernel((10, 7), (1,))
    Pruner(Pruning(final_sparsity=0.6, pattern=(4, 2)), [one], 1).finish()
    kept = one.mask.numpy()
    blocks = [kept[r : r + 4, c : c + 2] for r in range(0, 10, 4) for c in range(0, 7, 2)]
    assert all(block.all() or not block.any() for block in blocks)
    assert sum(not block.any() for block in blocks) == round(0.6 * 12)


def test_transposed_kernels_are_pruned_by_their_own_layout() -> None:
    one = kernel((3, 3, 4, 8), (2,))  # (height, width, outputs, inputs)
    Pruner(Pruning(pattern="2:4"), [one], 1).finish()
    groups = one.mask.numpy().reshape(3, 3, 4, 2, 4)
    assert (groups.sum(axis=-1) == 2).all()
    np.testing.assert_array_equal(one.from_matrix(one.matrix(one.numpy())), one.numpy())
