"""The multiple-choice knapsack against every combination there is, on random tables."""

import itertools

import numpy as np
import pytest

from quantize.rom import knapsack
from quantize.rom.knapsack import Combination, Option, combinations, smallest


def random_options(random, nodes, most):
    """Tables with ties in both figures, losses below zero, and options that others beat."""
    return [
        [
            Option(f"o{index}", int(random.integers(0, 30)), int(random.integers(-3, 12)) / 8)
            for index in range(random.integers(1, most + 1))
        ]
        for _ in range(nodes)
    ]


def all_combinations(options, limit_bytes):
    found = [
        Combination(
            tuple(option.name for option in chosen),
            sum(option.rom_bytes for option in chosen),
            sum(option.loss for option in chosen),
        )
        for chosen in itertools.product(*options)
    ]
    return [one for one in found if one.rom_bytes <= limit_bytes]


@pytest.mark.parametrize("seed", range(60))
def test_all_combinations_come_in_the_order_of_their_loss(seed, monkeypatch):
    random = np.random.default_rng(seed)
    monkeypatch.setattr(knapsack, "MOST_POINTS", [20_000, 5, 1][seed % 3])
    options = random_options(random, int(random.integers(1, 6)), 5)
    limit_bytes = int(random.integers(-5, 30 * len(options)))
    expected = all_combinations(options, limit_bytes)
    found = list(combinations(options, limit_bytes))
    losses = [one.loss for one in found]
    assert losses == sorted(losses)
    assert sorted(found, key=str) == sorted(expected, key=str)


def test_a_tight_budget_takes_the_one_combination_that_fits():
    options = [[Option("int8", 100, 0.0), Option("int4", 50, 0.3)]] * 2
    assert [one.names for one in combinations(options, 120)] == [("int4", "int4")]
    assert list(combinations(options, 99)) == []


def test_the_smallest_is_of_the_least_loss_among_equals():
    options = [[Option("a", 5, 2.0), Option("b", 5, 1.0), Option("c", 6, 0.0)], [Option("d", 1, 0)]]
    assert smallest(options) == Combination(("b", "d"), 6, 1.0)


def test_no_node_is_one_combination_of_nothing():
    assert list(combinations([], 0)) == [Combination((), 0, 0.0)]
    assert list(combinations([], -1)) == []


def test_forty_nodes_are_searched_in_a_moment():
    """5**40 combinations, and more points of the frontier than are kept: the first thousand."""
    random = np.random.default_rng(3)
    options = [
        [
            Option(str(index), int(size), float(loss))
            for index, (size, loss) in enumerate(
                zip(
                    random.integers(1000, 60_000, 5),
                    random.exponential(size=5) * 1e-3,
                    strict=True,
                )
            )
        ]
        for _ in range(40)
    ]
    limit_bytes = int(0.7 * sum(max(option.rom_bytes for option in node) for node in options))
    found = list(itertools.islice(combinations(options, limit_bytes), 1000))
    losses = [one.loss for one in found]
    assert losses == sorted(losses)
    assert len({one.names for one in found}) == 1000
    assert all(one.rom_bytes <= limit_bytes for one in found)
