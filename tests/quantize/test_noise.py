"""Signal to quantization noise: known answers, and signals for which the ratio has no finite
value."""

import math

import numpy as np
import pytest

from quantize.noise import Noise


def noise_of(*batches):
    noise = Noise()
    for expected, actual in batches:
        noise.add(np.array(expected, np.float32), np.array(actual, np.float32))
    return noise


@pytest.mark.parametrize(
    ("expected", "actual", "sqnr_db"),
    [
        ([10.0, 10.0], [9.0, 11.0], 20.0),
        ([1.0, -1.0], [1.0, -1.0], math.inf),
        ([0.0, 0.0], [0.0, 0.0], math.inf),
        ([0.0, 0.0], [0.0, 1.0], -math.inf),
        ([3.0, 3.0], [0.0, 0.0], 0.0),
        ([1e-30, 0.0], [1e15, 0.0], -900.0),
    ],
    ids=["tenth", "equal", "both zero", "zero signal", "constant signal lost", "extreme"],
)
def test_sqnr_of_known_signals(expected, actual, sqnr_db):
    assert noise_of((expected, actual)).sqnr_db == pytest.approx(sqnr_db, abs=1e-5)


def test_uniform_rounding_has_the_textbook_ratio():
    # A full-scale ramp in 256 steps: power 1/3 of the peak's, noise step squared / 12.
    signal = np.linspace(-1, 1, 100_001)
    step = 2 / 256
    noise = noise_of((signal, np.round(signal / step) * step))
    assert noise.sqnr_db == pytest.approx(20 * math.log10(256), abs=0.05)


def test_batches_add_up_to_the_whole():
    random = np.random.default_rng(1)
    expected = random.normal(size=(20, 3))
    actual = expected + random.normal(scale=0.1, size=(20, 3))
    parts = noise_of((expected[:7], actual[:7]), (expected[7:], actual[7:]))
    assert parts.sqnr_db == pytest.approx(noise_of((expected, actual)).sqnr_db)


def test_largest_error_is_over_all_batches():
    assert noise_of(([1.0], [1.5]), ([1.0], [0.9])).largest_error == pytest.approx(0.5)


def test_nan_signal_gives_nan_and_no_warning():
    noise = noise_of(([math.nan, 1.0], [0.0, 1.0]), ([1.0], [1.0]))
    assert math.isnan(noise.sqnr_db)
    assert math.isnan(noise.largest_error)
