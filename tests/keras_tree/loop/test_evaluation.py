"""Evaluation against Keras's own, to the last sample; predictions that touch one path only."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_tree.tasks import Task
from keras_tree.tree import Tree

Data = dict[str, tuple[np.ndarray, np.ndarray]]
Build = Callable[..., Tree]


@pytest.fixture(scope="module")
def tree(build_tree: Build) -> Tree:
    keras.utils.set_random_seed(3)
    made = build_tree(first={"metrics": ("accuracy", "sparse_top_k_categorical_accuracy")})
    made.compile("adam")
    return made


@pytest.mark.parametrize("batch_size", [1, 7, 50, 1000])
def test_an_evaluation_is_that_of_keras(batch_size: int, tree: Tree, data: Data) -> None:
    results = tree.evaluate(data, batch_size=batch_size, verbose=0)
    total = 0.0
    for name, task in tree.tasks.items():
        model = keras.Model(tree[name].inputs, tree[name].outputs)
        model.compile(loss=task.loss, metrics=list(task.metrics))
        x, y = data[name]
        expected = model.evaluate(x, y, verbose=0, return_dict=True)
        for metric, value in expected.items():
            assert results[f"{name}_{metric}"] == pytest.approx(value, rel=1e-5)
        total += task.weight * expected["loss"]
    assert results["loss"] == pytest.approx(total, rel=1e-5)


def test_sample_weights_and_lists(tree: Tree, data: Data) -> None:
    x, y = data["size"]
    weight = np.linspace(0, 2, len(x))
    model = keras.Model(tree["size"].inputs, tree["size"].outputs)
    model.compile(loss="mse")
    expected = model.evaluate(x, y, sample_weight=weight, verbose=0)
    given = tree.evaluate({"size": (x, y)}, sample_weight={"size": weight}, verbose=0)
    assert given["size_loss"] == pytest.approx(expected, rel=1e-5)
    assert given["loss"] == pytest.approx(2 * expected, rel=1e-5)
    listed = tree.evaluate({"size": (x, y, weight)}, verbose=0, return_dict=False)
    assert listed == list(given.values())


@pytest.mark.parametrize("kind", ["tf.data", "generator", "generator function", "list"])
def test_streams_are_evaluated_to_their_end(kind: str, tree: Tree, data: Data) -> None:
    x, y = data["digit"]
    cut = [(x[:20], y[:20]), (x[20:23], y[20:23]), (x[23:], y[23:])]
    streams = {
        "tf.data": tf.data.Dataset.from_tensor_slices((x, y)).batch(8),
        "generator": iter(cut),
        "generator function": lambda: iter(cut),
        "list": cut,
    }
    expected = tree.evaluate({"digit": (x, y)}, verbose=0)
    given = tree.evaluate({"digit": streams[kind]}, verbose=0)
    assert given == pytest.approx(expected, rel=1e-5)


def test_an_evaluation_changes_nothing(tree: Tree, data: Data) -> None:
    state = [*tree.variables, *tree.optimizer.variables]
    before = [variable.numpy() for variable in state]
    tree.evaluate(data, verbose=0)
    tree.predict(data["digit"][0], task="digit")
    for old, variable in zip(before, state, strict=True):
        np.testing.assert_array_equal(old, variable.numpy())


def test_an_evaluation_needs_no_compile(build_tree: Build, data: Data) -> None:
    assert np.isfinite(build_tree().evaluate(data, verbose=0)["loss"])


def test_an_evaluation_tells_its_progress(
    tree: Tree, data: Data, capsys: pytest.CaptureFixture[str]
) -> None:
    keras.utils.enable_interactive_logging()
    tree.evaluate(data, batch_size=10, verbose=1)
    printed = capsys.readouterr().out
    assert "11/11" in printed  # 5 + 4 + 2 batches
    assert "angle_accuracy" in printed
    tree.predict(data["digit"][0], task="digit", batch_size=10, verbose=1)
    assert "5/5" in capsys.readouterr().out


@pytest.mark.parametrize("count", [1, 31, 32, 50])
def test_a_prediction_is_that_of_the_path(count: int, tree: Tree, data: Data) -> None:
    x = np.resize(data["digit"][0], (count, 4))
    for task in tree.tasks:
        given = tree.predict(x, task=task)
        assert given.dtype == np.float32
        np.testing.assert_allclose(given, tree[task](x, training=False), atol=1e-6)


def test_predictions_from_streams(tree: Tree, data: Data) -> None:
    x, y = data["digit"]
    expected = tree.predict(x, task="digit")
    streams: list[Any] = [
        tf.data.Dataset.from_tensor_slices(x).batch(8),
        tf.data.Dataset.from_tensor_slices((x, y)).batch(8),
        (part for part in (x[:20], x[20:])),
        lambda: iter([x]),
    ]
    for stream in streams:
        np.testing.assert_allclose(tree.predict(stream, task="digit"), expected, atol=1e-6)
    np.testing.assert_allclose(tree.predict(x.tolist(), task="digit"), expected, atol=1e-6)


class Broken(keras.layers.Layer):
    """A layer that cannot be run once its model is built."""

    armed = False

    def call(self, inputs: Any) -> Any:
        if Broken.armed:
            raise AssertionError("another branch was run")
        return inputs


def test_no_other_branch_is_touched(
    build_node: Any, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = keras.Input((8,))
    broken = keras.Model(features, keras.layers.Dense(1)(Broken()(features)))
    tree = Tree.from_branches(
        build_node("trunk", 4, 8),
        {"digit": build_node("digit", 8, 5, "softmax"), "size": broken},
        [Task("digit", "sparse_categorical_crossentropy"), Task("size", "mse")],
    )
    monkeypatch.setattr(Broken, "armed", True)
    assert tree.predict(data["digit"][0], task="digit").shape == (50, 5)
    assert tree.evaluate({"digit": data["digit"]}, verbose=0)["digit_loss"] > 0
    with pytest.raises(AssertionError, match="another branch was run"):
        tree.predict(data["size"][0], task="size")


def test_metrics_that_make_variables_late_or_return_several_values(
    build_tree: Build, data: Data
) -> None:
    metrics = (keras.metrics.F1Score(name="f1"), "auc")
    tree = build_tree(first={"loss": "categorical_crossentropy", "metrics": metrics})
    tree.compile("adam", jit_compile=False)
    x, y = data["digit"]
    given = {**data, "digit": (x, np.eye(5)[y])}
    history = tree.fit(given, epochs=2, validation_data=given, verbose=0)
    assert np.shape(history.history["val_digit_f1"]) == (2, 5)
    assert 0 <= history.history["digit_auc"][0] <= 1


def test_maps_with_labels_missing_at_some_positions() -> None:
    """A label per position, as in a segmentation, of which some are unknown."""
    entry = keras.Input((6, 2))
    trunk = keras.Model(entry, keras.layers.Dense(8, "relu")(entry))
    features = keras.Input((6, 8))
    branch = keras.Model(features, keras.layers.Dense(3, "softmax")(features))
    loss = keras.losses.SparseCategoricalCrossentropy(ignore_class=255)
    tree = Tree.from_branches(trunk, {"map": branch}, [Task("map", loss, ("accuracy",))])
    tree.compile(keras.optimizers.Adam(0.03))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 6, 2)).astype("float32")
    y = (x > 0).sum(-1)
    unknown = rng.random(y.shape) < 0.3
    history = tree.fit({"map": (x, np.where(unknown, 255, y))}, epochs=80, batch_size=10, verbose=0)
    assert history.history["map_accuracy"][-1] > 0.9
    known = tree.evaluate({"map": (x, np.where(unknown, 255, y))}, verbose=0)
    correct = tree.predict(x, task="map").argmax(-1) == y
    assert known["map_accuracy"] == pytest.approx(correct[~unknown].mean(), abs=1e-6)


def poisoned(values: np.ndarray, at: int, value: float) -> np.ndarray:
    values = values.astype("float32").copy()
    values[at] = value
    return values


X = np.zeros((10, 4), "float32")


Y = np.zeros(10)


REFUSED_EVALUATION: dict[str, tuple[Callable[[Data], dict[str, Any]], str]] = {
    "an unknown task": (lambda d: {"data": {"digits": d["digit"]}}, "Did you mean 'digit'"),
    "no data": (lambda d: {"data": {}}, "must map tasks"),
    "a label beyond the classes": (lambda d: {"data": {"digit": (X, Y + 5)}}, "Received: 5"),
    "an empty dataset": (lambda d: {"data": {"digit": (X[:0], Y[:0])}}, "must not be empty"),
    "an empty stream": (lambda d: {"data": {"digit": lambda: iter(())}}, "must not be empty"),
    "a batch size of 0": (lambda d: {"data": d, "batch_size": 0}, "`batch_size` must be"),
    "a stream of inputs alone": (lambda d: {"data": {"digit": iter([X])}}, "must yield"),
}


@pytest.mark.parametrize("case", REFUSED_EVALUATION)
def test_bad_input_of_an_evaluation_is_refused(case: str, tree: Tree, data: Data) -> None:
    make, message = REFUSED_EVALUATION[case]
    with pytest.raises(ValueError, match=message):
        tree.evaluate(**{"verbose": 0} | make(data))


@pytest.mark.parametrize(
    ("task", "x", "settings", "message"),
    [
        ("digits", X, {}, "Did you mean 'digit'"),
        ("digit", X[:, :3], {}, r"Received: shape \(10, 3\)"),
        ("digit", poisoned(X, 3, np.nan), {}, "first at index 3"),
        ("digit", X, {"batch_size": 0}, "`batch_size` must be"),
        ("digit", "x.npy", {}, "array of numbers"),
        ("digit", X[:0], {}, "at least one input"),
        ("digit", iter([]), {}, "at least one input"),
    ],
    ids=["task", "shape", "nan", "batch size", "name", "nothing", "empty stream"],
)
def test_bad_input_of_a_prediction_is_refused(
    task: str, x: Any, settings: dict[str, Any], message: str, tree: Tree
) -> None:
    with pytest.raises(ValueError, match=message):
        tree.predict(x, task=task, **settings)
