"""Rows drawn from one dataset: without end for training, or one pass in order for evaluation.

A training batch is always full: a pass that ends within a batch goes on with the next pass, so
every sample is taken equally often, and over epochs none is left out. The batches of a stream are
cut anew to the size of its first one. What kinds of datasets there are is in `datasets.py`.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from keras_tree.datasets import Arrays, Stream
from keras_tree.loop.contract import Batch, Contract, DataError, join


class StreamEndedError(DataError):
    """A stream that cannot be restarted gave its last batch while training needed more."""


class ArraySource:
    """Rows of arrays, in an order shuffled anew in every pass.

    Args:
        rows: All samples, checked.
        batch_rows: Samples per batch.
        rng: Source of the order; None for the order of the arrays.
    """

    def __init__(self, rows: Batch, batch_rows: int, rng: np.random.Generator | None) -> None:
        self._rows = rows
        self._rng = rng
        self._ahead = np.empty(0, "int64")  # (n,) indices of the samples to come
        self.batch_rows = batch_rows
        self.label_shape = rows.y.shape[1:]
        self.samples: int | None = len(rows)
        self.batches: float | None = len(rows) / batch_rows

    def take(self, count: int) -> Batch:
        """Return the next `count` samples."""
        order = np.arange if self._rng is None else self._rng.permutation
        missing = count - len(self._ahead)
        if missing > 0:
            passes = [order(len(self._rows)) for _ in range(-(-missing // len(self._rows)))]
            self._ahead = np.concatenate([self._ahead, *passes])
        index, self._ahead = self._ahead[:count], self._ahead[count:]
        return self._rows.rows(index)


class StreamSource:
    """Rows of a stream, restarted where that is possible.

    The first batch is read at once: it tells the size of a batch, and it is checked before any
    work.

    Args:
        stream: The stream.
        contract: What its batches must be.
        rng: Source of the order of batches that have an index; None for their own order.
    """

    def __init__(self, stream: Stream, contract: Contract, rng: np.random.Generator | None) -> None:
        self._stream = stream
        self._contract = contract
        self._rng = rng
        self._read = 0  # batches, in all passes
        self._batches = self._endless()
        self._ahead = [next(self._batches)]
        self.batch_rows = len(self._ahead[0])
        self.label_shape = self._ahead[0].y.shape[1:]
        count = np.inf if stream.batches is None else stream.batches
        known = bool(np.isfinite(count))
        self.batches = count if known else None
        self.samples = round(count * self.batch_rows) if known else None

    def take(self, count: int) -> Batch:
        """Return the next `count` samples.

        Raises:
            StreamEndedError: If the stream has fewer left and cannot be restarted; those stay in
                it.
        """
        while (ready := sum(map(len, self._ahead))) < count:
            batch = next(self._batches, None)
            if batch is None:
                raise StreamEndedError(
                    f"The generator of task {self._contract.task.name!r} ended after {self._read} "
                    "batches, and training needed more. Pass a generator function, which can be "
                    "called again, or give steps_per_epoch=<steps>."
                )
            self._ahead.append(batch)
        rows = join(self._ahead)
        self._ahead = [rows.rows(slice(count, None))] if ready > count else []
        return rows.rows(slice(0, count))

    def _endless(self) -> Iterator[Batch]:
        """Yield batches, pass after pass."""
        order = order_of(self._rng)
        task = self._contract.task.name
        while True:
            rows = 0
            for batch in checked_batches(self._stream.open(order), self._contract, self._read):
                self._read += 1
                rows += len(batch)
                if len(batch):
                    yield batch
            if not rows:
                raise DataError(
                    f"The data of task {task!r} must not be empty. Received a pass without a "
                    "sample. Check the generator or the dataset."
                )
            if not self._stream.restarts:
                return


Source = ArraySource | StreamSource


def source(
    dataset: Arrays | Stream, contract: Contract, batch_rows: int, rng: np.random.Generator | None
) -> Source:
    """Return a dataset as endless rows for training.

    Args:
        dataset: The dataset.
        contract: What its data must be.
        batch_rows: Samples per batch of arrays; a stream has its own.
        rng: Source of the order; None for the data's own order.

    Raises:
        DataError: If arrays, or the first batch of a stream, are empty or do not fit the task.
    """
    if isinstance(dataset, Arrays):
        return ArraySource(checked_arrays(dataset, contract), batch_rows, rng)
    return StreamSource(dataset, contract, rng)


def checked_arrays(arrays: Arrays, contract: Contract) -> Batch:
    """Return arrays as one checked batch; refuse empty ones."""
    rows = contract.check(arrays.x, arrays.y, arrays.weight)
    if not len(rows):
        raise DataError(
            f"The data of task {contract.task.name!r} must not be empty. Received arrays without a "
            "sample. Check how they are selected."
        )
    return rows


def checked_batches(items: Iterable[Any], contract: Contract, read: int = 0) -> Iterator[Batch]:
    """Yield what a stream yields as checked batches.

    Args:
        items: Tuples (x, y) or (x, y, sample_weight).
        contract: What the batches must be.
        read: How many batches were read before, for messages.
    """
    for number, item in enumerate(items, read + 1):
        where = f"batch {number} of "
        if not isinstance(item, tuple | list) or len(item) not in (2, 3):
            what = (
                f"{len(item)} elements" if isinstance(item, tuple | list) else type(item).__name__
            )
            raise DataError(
                f"The data of task {contract.task.name!r} must yield (x, y) or "
                f"(x, y, sample_weight). Received in {where}it: {what}. Yield a tuple of arrays."
            )
        x, y, weight = (*item, None)[:3]
        yield contract.check(x, y, weight, where)


def order_of(rng: np.random.Generator | None) -> Any:
    """Return a function that puts the indices below a number in order: shuffled, or as they are."""
    return range if rng is None else lambda count: rng.permutation(count).tolist()
