"""How rows are drawn: full batches, nothing lost, and what a stream's end means."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from keras_tree.datasets import Arrays, Stream, open_dataset
from keras_tree.loop.contract import Contract, DataError
from keras_tree.loop.sources import Source, StreamEndedError, checked_arrays, source
from keras_tree.tasks import Task

CONTRACT = Contract(Task("value", "mse"), (None, 1), (None, 1))


def of(data: Any, batch_rows: int = 4, seed: int | None = None) -> Source:
    rng = None if seed is None else np.random.default_rng(seed)
    return source(open_dataset(data, "train", "task 'value'"), CONTRACT, batch_rows, rng)


def numbers(count: int, start: int = 0) -> tuple[np.ndarray, np.ndarray]:
    values = np.arange(start, start + count, dtype="float32")
    return values[:, None], values


def batches(*sizes: int) -> Callable[[], Iterator[Any]]:
    """A generator function of batches of these sizes, which count upwards."""

    def generate() -> Iterator[Any]:
        start = 0
        for size in sizes:
            yield numbers(size, start)
            start += size

    return generate


def drawn(rows: Source, *counts: int) -> list[list[int]]:
    return [rows.take(count).y[:, 0].astype(int).tolist() for count in counts]


def test_arrays_go_round_in_order() -> None:
    rows = of(numbers(5))
    assert drawn(rows, 4, 4, 2, 12) == [
        [0, 1, 2, 3],
        [4, 0, 1, 2],
        [3, 4],
        [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1],
    ]
    assert (rows.samples, rows.batches, rows.batch_rows) == (5, 1.25, 4)


def test_arrays_are_shuffled_anew_in_every_pass() -> None:
    rows = of(numbers(50), seed=1)
    passes = drawn(rows, 50, 50, 50)
    assert all(sorted(order) == list(range(50)) for order in passes)
    assert len({tuple(order) for order in passes}) == 3
    assert passes[0] != list(range(50))


def test_inputs_and_labels_stay_together() -> None:
    batch = of(numbers(50), seed=1).take(70)
    np.testing.assert_array_equal(batch.x, batch.y)


@pytest.mark.parametrize("sizes", [(4, 4, 2), (4, 1, 5), (4, 6), (4, 3, 0, 3)], ids=repr)
def test_batches_of_a_stream_are_cut_to_the_size_of_the_first(sizes: tuple[int, ...]) -> None:
    rows = of(batches(*sizes))
    assert rows.batch_rows == 4
    assert drawn(rows, 4, 4, 4, 8) == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9, 0, 1],
        [2, 3, 4, 5, 6, 7, 8, 9],
    ]


def test_a_stream_tells_its_size_if_it_knows_it() -> None:
    known = of(tf.data.Dataset.from_tensor_slices(numbers(10)).batch(4))
    assert (known.samples, known.batches) == (12, 3)
    for data in (batches(4, 4), tf.data.Dataset.from_tensor_slices(numbers(4)).batch(4).repeat()):
        unknown = of(data)
        assert (unknown.samples, unknown.batches) == (None, None)


def test_a_generator_ends_and_says_so_and_nothing_it_gave_is_lost() -> None:
    rows = of(batches(4, 4, 3)())
    assert drawn(rows, 4) == [[0, 1, 2, 3]]
    for _ in range(2):
        with pytest.raises(StreamEndedError, match="'value' ended after 3 batches"):
            rows.take(8)
    assert drawn(rows, 7) == [[4, 5, 6, 7, 8, 9, 10]]


REFUSED: dict[str, tuple[Any, str]] = {
    "empty arrays": ((np.zeros((0, 1)), np.zeros(0)), "must not be empty. Received arrays"),
    "an empty generator": (batches()(), "must not be empty. Received a pass"),
    "an empty generator function": (batches(), "must not be empty"),
    "only empty batches": (batches(0, 0), "must not be empty"),
    "inputs alone": (
        lambda: iter([np.zeros((4, 1))]),
        "must yield .x, y. .* batch 1 of it: ndarray",
    ),
    "four elements": (lambda: iter([(1, 2, 3, 4)]), "batch 1 of it: 4 elements"),
    "another shape": (lambda: iter([(np.zeros((4, 2)), np.zeros(4))]), "batch 1 of task 'value'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_first_batch_that_does_not_fit_is_refused_at_once(case: str) -> None:
    data, message = REFUSED[case]
    with pytest.raises(DataError, match=message):
        of(data)


def test_a_later_batch_that_does_not_fit_is_named() -> None:
    rows = of(iter([numbers(4), numbers(4), (np.full((4, 1), np.nan), np.zeros(4))]))
    with pytest.raises(DataError, match="`x` of batch 3 of task 'value' must be finite"):
        rows.take(12)


def test_a_function_that_is_empty_when_called_again_is_refused() -> None:
    passes = iter([[numbers(4)], []])
    rows = of(lambda: iter(next(passes)))
    with pytest.raises(DataError, match="Received a pass without a sample"):
        rows.take(8)


def test_weights_come_through() -> None:
    x, y = numbers(4)
    rows = checked_arrays(Arrays(x, y, [1, 2, 3, 4]), CONTRACT)
    np.testing.assert_array_equal(rows.weight, [1, 2, 3, 4])
    stream = source(Stream(lambda order: iter([(x, y, [4, 3, 2, 1])])), CONTRACT, 9, None)
    np.testing.assert_array_equal(stream.take(4).weight, [4, 3, 2, 1])
