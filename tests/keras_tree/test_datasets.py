"""Every kind of dataset, and the files of keras.datasets' layout."""

import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_tree.datasets import Arrays, Split, Stream, load_folder, load_npz, open_dataset

X = np.arange(20, dtype="float32").reshape(10, 2)
Y = np.arange(10)
SPLIT = Split(X, Y, X[:4] + 100, Y[:4])


def save(path: Path, split: Split = SPLIT) -> Path:
    np.savez(path, **vars(split))
    return path


def loader() -> types.ModuleType:
    """A module as those of keras.datasets are, without their download."""
    module = types.ModuleType("mnist")
    module.load_data = lambda: ((X, Y), (X[:4] + 100, Y[:4]))  # type: ignore[attr-defined]
    return module


def load_data() -> Any:
    return (X, Y), (X[:4] + 100, Y[:4])


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: SPLIT,
        lambda folder: save(folder / "digit.npz"),
        lambda folder: str(save(folder / "digit.npz")),
        lambda folder: loader(),
        lambda folder: load_data,
        lambda folder: load_data(),
    ],
    ids=["split", "path", "str", "module", "load_data", "loaded"],
)
def test_a_dataset_of_two_parts(make: Callable[[Path], Any], tmp_path: Path) -> None:
    data = make(tmp_path)
    train, test = (open_dataset(data, part, "task 'digit'") for part in ("train", "test"))
    assert isinstance(train, Arrays)
    assert isinstance(test, Arrays)
    np.testing.assert_array_equal(train.x, X)
    np.testing.assert_array_equal(train.y, Y)
    np.testing.assert_array_equal(test.x, X[:4] + 100)


def test_the_loaders_of_keras_are_known() -> None:
    assert hasattr(keras.datasets.mnist, "load_data")
    assert keras.datasets.mnist.load_data.__name__ == "load_data"


@pytest.mark.parametrize("data", [(X, Y), (X, Y, np.ones(10))], ids=["pair", "weights"])
def test_arrays(data: Any) -> None:
    opened = open_dataset(data, "train", "task 'digit'")
    assert isinstance(opened, Arrays)
    np.testing.assert_array_equal(opened.x, X)
    assert (opened.weight is None) == (len(data) == 2)


class Batches(keras.utils.PyDataset):
    """Batches of two, which says when a pass begins and ends."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.passes: list[str] = []

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> Any:
        return X[2 * index : 2 * index + 2], Y[2 * index : 2 * index + 2]

    def on_epoch_begin(self) -> None:
        self.passes.append("begin")

    def on_epoch_end(self) -> None:
        self.passes.append("end")


def generator() -> Any:
    for start in range(0, 10, 2):
        yield X[start : start + 2], Y[start : start + 2]


def dataset() -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices((X, Y)).batch(2)


STREAMS: dict[str, tuple[Callable[[], Any], float | None, bool]] = {
    "tf.data": (dataset, 5, True),
    "tf.data without end": (lambda: dataset().repeat(), np.inf, True),
    "tf.data of unknown length": (lambda: dataset().filter(lambda x, y: True), None, True),
    "generator function": (lambda: generator, None, True),
    "generator": (generator, None, False),
    "iterable": (lambda: list(generator()), None, True),
    "PyDataset": (Batches, 5, True),
    "PyDataset with threads": (lambda: Batches(workers=2, max_queue_size=3), 5, True),
}


@pytest.mark.parametrize("case", STREAMS)
def test_streams(case: str) -> None:
    make, batches, restarts = STREAMS[case]
    stream = open_dataset(make(), "train", "task 'digit'")
    assert isinstance(stream, Stream)
    assert stream.batches == batches
    assert stream.restarts == restarts
    for _ in range(2 if restarts else 1):
        read = [y for _, (_, y) in zip(range(5), stream.open(range), strict=False)]
        np.testing.assert_array_equal(np.concatenate(read), Y)


def test_the_batches_of_a_py_dataset_come_in_the_order_asked_for() -> None:
    data = Batches(workers=3, max_queue_size=2)
    stream = open_dataset(data, "train", "task 'digit'")
    assert isinstance(stream, Stream)
    labels = [y[0] for _, y in stream.open(lambda count: reversed(range(count)))]
    assert labels == [8, 6, 4, 2, 0]
    assert data.passes == ["begin", "end"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (X, r"shape \(10, 2\); its labels are missing"),
        ((X,), "a tuple of 1 elements"),
        ({"x": X, "y": Y}, "a mapping with the keys 'x', 'y'"),
        (7, "an object of int"),
        (None, "an object of NoneType"),
    ],
    ids=["inputs alone", "one element", "mapping", "number", "nothing"],
)
def test_what_is_no_dataset_is_refused(data: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        open_dataset(data, "train", "task 'digit'")
    assert "task 'digit' must be arrays (x, y)" in str(raised.value)


def test_a_folder(tmp_path: Path) -> None:
    save(tmp_path / "parity.npz")
    save(tmp_path / "digit.npz", Split(X, Y, X, Y))
    (tmp_path / "notes.txt").write_text("no dataset")
    assert list(load_folder(tmp_path)) == ["digit", "parity"]
    only = load_folder(tmp_path, ["parity"])
    assert list(only) == ["parity"]
    np.testing.assert_array_equal(only["parity"].x_test, X[:4] + 100)


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "absent.npz", "cannot be read"),
        (lambda folder: write(folder / "torn.npz", b"PK\x03\x04torn"), "cannot be read"),
        (lambda folder: write(folder / "empty.npz", b""), "cannot be read"),
        (lambda folder: write(folder / "text.npz", b"hello"), "cannot be read"),
    ],
    ids=["absent", "torn", "empty", "text"],
)
def test_a_file_that_cannot_be_read_is_refused(
    make: Callable[[Path], Path], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        load_npz(make(tmp_path))


def test_a_file_of_another_layout_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", x_train=X, labels=Y)
    with pytest.raises(ValueError, match=r"Received: x_train, labels\. Missing: y_train, x_test"):
        load_npz(tmp_path / "other.npz")
    np.save(tmp_path / "bare.npy", X)
    with pytest.raises(ValueError, match="one array without a name"):
        load_npz(tmp_path / "bare.npy")


def test_a_folder_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds none"):
        load_folder(tmp_path)
    with pytest.raises(ValueError, match="is no folder"):
        load_folder(tmp_path / "absent")
    save(tmp_path / "digit.npz")
    with pytest.raises(ValueError, match="Did you mean 'digit'"):
        load_folder(tmp_path, ["digits"])
