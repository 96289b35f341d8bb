"""One dataset per task: what kinds of data there are, and how each is read.

How rows are drawn from a dataset is in `loop/sources.py`, which task is drawn next is the
schedule's business, and whether a batch fits its task the contract's.

| data | passes | length |
|---|---|---|
| arrays `(x, y)` or `(x, y, sample_weight)` | shuffled anew in each | known |
| `.npz` path, `Split`, `keras.datasets` module, `load_data()` | as arrays (1) | known |
| `keras.utils.PyDataset` | order of batches shuffled anew in each | known |
| batched `tf.data.Dataset` | as the dataset says | its cardinality |
| generator function, or any iterable of batches | called or iterated anew in each | unknown |
| generator, or any iterator of batches | only one | unknown |

(1) The training part in `fit`, the test part in `evaluate` and as validation data.
"""

import collections
import concurrent.futures
import dataclasses
import inspect
import itertools
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from keras_tree.tasks import near_names

Part = Literal["train", "test"]
Order = Callable[[int], Iterable[int]]
KINDS = (
    "arrays (x, y) or (x, y, sample_weight), a batched tf.data.Dataset, a generator or generator "
    "function of batches, a keras.utils.PyDataset, an .npz path, or a keras.datasets module"
)
SPLIT_KEYS = ("x_train", "y_train", "x_test", "y_test")


@dataclasses.dataclass(frozen=True)
class Split:
    """A dataset in the layout of `keras.datasets`: a training and a test part.

    Attributes:
        x_train: Training inputs (n, ...).
        y_train: Training labels (n, ...).
        x_test: Test inputs (m, ...).
        y_test: Test labels (m, ...).
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray

    def part(self, part: Part) -> tuple[np.ndarray, np.ndarray]:
        """Return (x, y) of the "train" or the "test" part."""
        if part == "train":
            return self.x_train, self.y_train
        return self.x_test, self.y_test


@dataclasses.dataclass(frozen=True)
class Arrays:
    """A dataset in memory.

    Attributes:
        x: Inputs (n, ...).
        y: Labels (n, ...).
        weight: Sample weights (n,), or None.
    """

    x: Any
    y: Any
    weight: Any = None


@dataclasses.dataclass(frozen=True)
class Stream:
    """A dataset read batch by batch.

    Attributes:
        open: Starts a pass: takes a function that puts indices of batches in order, and returns
            an iterator of batches (x, y) or (x, y, sample_weight).
        batches: Batches in a pass; None if it does not tell, infinity if it never ends.
        restarts: Whether `open` may be called again.
    """

    open: Callable[[Order], Iterator[Any]]
    batches: float | None = None
    restarts: bool = True


def load_npz(path: str | os.PathLike[str]) -> Split:
    """Return the dataset of an `.npz` file with the arrays x_train, y_train, x_test and y_test.

    Raises:
        ValueError: If there is no such file, or it is not in that layout.
    """
    path = Path(path)
    try:
        with path.open("rb") as opened:
            file = np.load(opened)
            names = list(getattr(file, "files", []))  # An .npy file gives a bare array.
            missing = [key for key in SPLIT_KEYS if key not in names]
            if not missing:
                return Split(*(file[key] for key in SPLIT_KEYS))
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"A dataset's file must be an .npz file of plain arrays. Received: {str(path)!r}, "
            f"which cannot be read ({error}). Write it with numpy.savez(path, x_train=..., ...)."
        ) from error
    raise ValueError(
        f"{str(path)!r} must hold the arrays {', '.join(SPLIT_KEYS)}, as the files of "
        f"keras.datasets do. Received: {', '.join(names) or 'one array without a name'}. "
        f"Missing: {', '.join(missing)}. Write them with numpy.savez."
    )


def load_folder(
    folder: str | os.PathLike[str], names: Iterable[str] | None = None
) -> dict[str, Split]:
    """Return the datasets of a folder of `.npz` files, by the files' names without `.npz`.

    Args:
        folder: The folder.
        names: Which files to read, without `.npz`; by default all, in the order of their names.

    Raises:
        ValueError: If the folder, or one of the files, is not there or in another layout.
    """
    folder = Path(folder)
    found = sorted(path.stem for path in folder.glob("*.npz"))
    if not found:
        raise ValueError(
            f"`folder` must hold .npz files, one per dataset. Received: {str(folder)!r}, which "
            f"{'holds none' if folder.is_dir() else 'is no folder'}."
        )
    wanted = found if names is None else list(names)
    for name in wanted:
        if name not in found:
            raise ValueError(f"No dataset {name!r} in {str(folder)!r}. {near_names(name, found)}")
    return {name: load_npz(folder / f"{name}.npz") for name in wanted}


def open_dataset(data: Any, part: Part, where: str) -> Arrays | Stream:
    """Return one task's data as arrays or as a stream, whatever kind it is.

    Args:
        data: The data as the user gave it.
        part: Which part of a dataset with a training and a test part.
        where: What it is for, for messages, e.g. "task 'digit'".

    Raises:
        ValueError: If it is no kind of dataset.
    """
    data = resolved(data)
    if isinstance(data, Split):
        return Arrays(*data.part(part))
    if isinstance(data, tuple) and len(data) in (2, 3):
        return Arrays(*data)
    stream = as_stream(data)
    if stream is None:
        raise ValueError(f"The data of {where} must be {KINDS}. Received: {described(data)}.")
    return stream


def resolved(data: Any) -> Any:
    """Return what a path, a loader module or a loader function stands for; other data as it is."""
    if isinstance(data, str | os.PathLike):
        return load_npz(data)
    if hasattr(data, "load_data"):
        data = data.load_data()
    elif inspect.isfunction(data) and data.__name__ == "load_data":
        data = data()
    if isinstance(data, tuple) and len(data) == 2 and all(is_pair(part) for part in data):
        return Split(*data[0], *data[1])
    return data


def is_pair(value: Any) -> bool:
    """Whether a value is a tuple (x, y), as `load_data` returns two of."""
    return isinstance(value, tuple) and len(value) == 2


def as_stream(data: Any) -> Stream | None:
    """Return data read batch by batch as a stream, or None if it is no such data."""
    if isinstance(data, tf.data.Dataset):
        cardinality = int(data.cardinality())
        lengths = {tf.data.INFINITE_CARDINALITY: np.inf, tf.data.UNKNOWN_CARDINALITY: None}
        return Stream(lambda order: data.as_numpy_iterator(), lengths.get(cardinality, cardinality))
    if isinstance(data, keras.utils.PyDataset):
        count = data.num_batches
        return Stream(
            lambda order: read_py_dataset(
                data, itertools.count() if count is None else order(count)
            ),
            np.inf if count is None else count,
        )
    if isinstance(data, Iterator):
        return Stream(lambda order: data, restarts=False)
    if isinstance(data, Mapping | tuple | str | np.ndarray) or tf.is_tensor(data):
        return None
    if callable(data):
        return Stream(lambda order: iter(data()))
    if isinstance(data, Iterable):
        return Stream(lambda order: iter(data))
    return None


def read_py_dataset(data: keras.utils.PyDataset, order: Iterable[int]) -> Iterator[Any]:
    """Yield the batches of one pass, read ahead by as many threads as the dataset has `workers`."""
    data.on_epoch_begin()
    if data.workers <= 1:
        yield from (data[index] for index in order)
    else:
        with concurrent.futures.ThreadPoolExecutor(data.workers) as pool:
            ahead: collections.deque[concurrent.futures.Future[Any]] = collections.deque()
            for index in order:
                ahead.append(pool.submit(data.__getitem__, index))
                if len(ahead) >= max(data.max_queue_size, data.workers):
                    yield ahead.popleft().result()
            yield from (future.result() for future in ahead)
    data.on_epoch_end()


def described(data: Any) -> str:
    """Return what data is, for a message."""
    if isinstance(data, Mapping):
        return f"a mapping with the keys {', '.join(map(repr, data))}"
    if isinstance(data, tuple):
        return f"a tuple of {len(data)} elements"
    return f"an object of {type(data).__name__}" + (
        f", shape {tuple(data.shape)}; its labels are missing" if hasattr(data, "shape") else ""
    )
