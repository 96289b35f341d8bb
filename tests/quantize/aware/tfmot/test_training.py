"""Steps: whose weights move, which labels count, and what the loss is."""

import keras
import numpy as np
import pytest

from keras_tree import Task
from quantize.aware.backend import AwareNode, AwareTrainingError
from quantize.aware.recipe import Clustering, Pruning, Recipe
from quantize.aware.tfmot import build

K = keras.layers
CROSS = "sparse_categorical_crossentropy"


def small_tree():
    """A trunk with batch normalization, two branches with dropout."""
    keras.utils.set_random_seed(0)
    source = keras.Input((6, 6, 2))
    x = K.Conv2D(8, 3, use_bias=False, name="conv")(source)
    trunk = keras.Model(source, K.ReLU()(K.BatchNormalization(name="norm")(x)))
    branches = {}
    for name in ("a", "b"):
        features = keras.Input((4, 4, 8))
        x = K.Dropout(0.2)(K.Conv2D(6, 3, activation="relu", name="conv")(features))
        x = K.Dense(3, activation="softmax", name="dense")(K.Flatten()(x))
        branches[name] = keras.Model(features, x)
    return {"trunk": trunk, **branches}


PATHS = {"a": ("trunk", "a"), "b": ("trunk", "b")}
TASKS = {name: Task(name, CROSS) for name in PATHS}
X = np.random.default_rng(0).normal(size=(16, 6, 6, 2)).astype("float32")
Y = np.arange(16) % 3


def started(stage="quantize", untrained=(), **options):
    recipe = Recipe(learning_rate=1e-2, **options)
    models = small_tree()
    nodes = {n: AwareNode(n, m, trained=n not in untrained) for n, m in models.items()}
    model = build(nodes, PATHS, TASKS, recipe)
    model.begin_stage(stage, 4)
    if stage == "quantize":
        model.calibrate(dict.fromkeys(PATHS, X))
    return model


def moved(before, after) -> set[str]:
    """Paths "node/layer" of the layers of which a weight has changed."""
    return {
        f"{node}/{layer}"
        for node, layers in before.items()
        for layer, arrays in layers.items()
        if any((x != y).any() for x, y in zip(arrays, after[node][layer], strict=True))
    }


STAGES = {
    "prune": {"pruning": Pruning()},
    "cluster": {"clustering": Clustering(2)},
    "quantize": {},
}


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_a_step_moves_no_weight_of_another_tasks_nodes(stage: str) -> None:
    model = started(stage, **STAGES[stage])
    for _ in range(2):  # so that b's optimizer has momentum, which must not act in a's steps
        model.train_batch("b", X, Y)
    before = model.weights()
    for _ in range(2):
        model.train_batch("a", X, Y)
    changed = moved(before, model.weights())
    if stage == "prune":  # the masks follow one schedule for all
        changed -= {"b/conv", "b/dense"}
    assert changed == {"trunk/conv", "a/conv", "a/dense"}


def test_live_batch_normalization_moves_too() -> None:
    model = started(batch_norm="live")
    before = model.weights()
    model.train_batch("a", X, Y)
    after = model.weights()
    assert "trunk/norm" in moved(before, after)
    pairs = zip(before["trunk"]["norm"], after["trunk"]["norm"], strict=True)
    assert all((x != y).any() for x, y in pairs)


def test_an_untrained_trunk_stays_and_its_dropout_is_off() -> None:
    model = started(untrained=("trunk", "b"))
    before = model.weights()
    assert set(before) == {"a"}
    model.train_batch("a", X, Y)
    assert moved(before, model.weights()) == {"a/conv", "a/dense"}
    losses = {model.train_batch("b", X, Y) for _ in range(2)}
    assert len(losses) == 1  # nothing is trained and nothing is dropped on this path


def test_missing_labels_do_not_count() -> None:
    labels = Y.astype("float32")
    labels[4:] = np.nan
    model = started(untrained=("trunk", "a", "b"))  # so that nothing moves, and nothing is dropped
    chosen = model.predict("a", X)[np.arange(4), Y[:4]]
    assert model.train_batch("a", X, labels) == pytest.approx(-np.log(chosen).mean(), rel=0.05)
    assert np.isfinite(model.train_batch("a", X, np.full(16, np.nan, np.float32)))


def test_the_same_seed_gives_the_same_training() -> None:
    runs = []
    for _ in range(2):
        model = started(seed=7)
        runs.append([model.train_batch(task, X, Y) for task in ("a", "b", "a")])
    assert runs[0] == runs[1]


def test_training_lowers_the_loss() -> None:
    model = started()
    losses = [model.train_batch("a", X, Y) for _ in range(30)]
    assert np.mean(losses[-5:]) < 0.5 * losses[0]


def test_a_quantized_softmax_of_zero_has_a_finite_loss() -> None:
    model = started()
    large = X * 1000  # far beyond the ranges: the rounded softmax is exactly 0 or 1
    assert np.isfinite(model.train_batch("a", large, Y))
    assert all(np.isfinite(a).all() for w in model.weights()["a"].values() for a in w)


@pytest.mark.parametrize("call", ["train_batch", "predict"])
def test_ranges_come_first(call: str) -> None:
    model = build(
        {n: AwareNode(n, m) for n, m in small_tree().items()}, PATHS, TASKS, Recipe()
    )  # fmt: skip
    model.begin_stage("quantize", 1)
    arguments = ("a", X, Y) if call == "train_batch" else ("a", X)
    with pytest.raises(AwareTrainingError, match="after `calibrate`"):
        getattr(model, call)(*arguments)


def test_calls_outside_of_their_stage_are_refused() -> None:
    model = build({n: AwareNode(n, m) for n, m in small_tree().items()}, PATHS, TASKS, Recipe())
    with pytest.raises(AwareTrainingError, match="within a stage"):
        model.train_batch("a", X, Y)
    with pytest.raises(AwareTrainingError, match="in the stage 'quantize'"):
        model.calibrate({"a": X})
