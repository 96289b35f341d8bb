"""The best few values of a channel."""

from itertools import combinations

import numpy as np
import pytest

from quantize.precision.clustering import clustered


def least_cost(codes, most_values):
    """The least sum of squared differences, over all ways to cut the sorted values."""
    values = np.unique(codes).astype(int)
    everything = codes.reshape(-1).astype(int)

    def cost(low, high):
        inside = everything[(everything >= low) & (everything <= high)]
        return min(((inside - value) ** 2).sum() for value in range(low, high + 1))

    count = min(most_values, len(values))
    return min(
        sum(
            cost(values[start], values[end - 1])
            for start, end in zip((0, *cuts), (*cuts, len(values)), strict=True)
        )
        for cuts in combinations(range(1, len(values)), count - 1)
    )


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("most_values", [1, 2, 3, 4])
def test_no_other_values_are_nearer(seed, most_values):
    codes = np.random.default_rng(seed).integers(-127, 128, (3, 3)).astype(np.int8)
    found = clustered(codes, most_values)
    assert found.dtype == np.int8
    assert found.shape == codes.shape
    assert len(np.unique(found)) <= most_values
    cost = ((found.astype(int) - codes) ** 2).sum()
    assert cost == least_cost(codes, most_values)


def test_known_answer():
    codes = np.array([-100, -98, -99, 0, 1, 1, 1, 90, 127], np.int8)
    assert clustered(codes, 4).tolist() == [-99, -99, -99, 1, 1, 1, 1, 90, 127]
    assert clustered(codes, 3).tolist() == [-99, -99, -99, 1, 1, 1, 1, 109, 109]


@pytest.mark.parametrize("most_values", [4, 8, 16])
def test_few_enough_values_stay_as_they_are(most_values):
    random = np.random.default_rng(most_values)
    values = random.choice(np.arange(-127, 128), most_values, replace=False)
    codes = random.choice(values, (3, 3, 20)).astype(np.int8)
    assert np.array_equal(clustered(codes, most_values), codes)


def test_of_every_code_sixteen_values_are_evenly_spaced():
    codes = np.arange(-128, 128).astype(np.int8)
    found = clustered(codes, 16)
    assert np.abs(found.astype(int) - codes).max() == 8
    assert len(np.unique(found)) == 16
