"""Training by stages in plain Keras 3: steps, calibration, weights."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_tree import Task
from quantize.aware.backend import AwareNode
from quantize.aware.keras3 import build
from quantize.aware.recipe import Clustering, Pruning, recipe_of

TASKS = {
    "digit": Task("digit", "sparse_categorical_crossentropy"),
    "odd": Task("odd", "binary_crossentropy"),
}
PATHS = {"digit": ("trunk", "digit"), "odd": ("trunk", "odd")}


def trunk() -> keras.Model:
    x = inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(4, 3, padding="same", use_bias=False, name="first")(x)
    x = layers.ReLU(name="first_relu")(layers.BatchNormalization(name="first_norm")(x))
    y = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    y = layers.Conv2D(4, 1, activation="relu", name="point")(y)
    x = layers.MaxPooling2D(name="pool")(layers.Add(name="sum")([x, y]))
    return keras.Model(inputs, x, name="trunk")


def branch(name: str, units: int, activation: str) -> keras.Model:
    x = inputs = keras.Input((4, 4, 4))
    x = layers.SeparableConv2D(8, 3, activation="relu", name="separable")(x)
    x = layers.GlobalAveragePooling2D(name="mean")(layers.Dropout(0.2, name="drop")(x))
    outputs = layers.Dense(units, activation=activation, name="dense")(x)
    return keras.Model(inputs, outputs, name=name)


def small_net() -> dict[str, keras.Model]:
    keras.utils.set_random_seed(1)
    return {
        "trunk": trunk(),
        "digit": branch("digit", 5, "softmax"),
        "odd": branch("odd", 1, "sigmoid"),
    }


def data(count: int = 64) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    random = np.random.default_rng(2)
    x = random.normal(size=(count, 8, 8, 1)).astype(np.float32)
    return {
        "digit": (x, random.integers(0, 5, count)),
        "odd": (-x, random.integers(0, 2, count).astype(np.float32)),
    }


def built(models, recipe="qat", trained=("trunk", "digit", "odd"), **changes):
    nodes = {name: AwareNode(name, model, name in trained) for name, model in models.items()}
    return build(nodes, PATHS, TASKS, recipe_of(recipe, **changes))


def assert_weights_equal(models, weights) -> None:
    for name, layer_weights in weights.items():
        for path, arrays in layer_weights.items():
            for ours, theirs in zip(
                arrays, models[name].get_layer(path).get_weights(), strict=True
            ):
                np.testing.assert_array_equal(ours, theirs)


def test_weights_round_trip_exactly() -> None:
    models = small_net()
    weights = built(models).weights()
    assert list(weights) == ["trunk", "digit", "odd"]
    assert list(weights["digit"]) == ["separable", "dense"]
    assert_weights_equal(models, weights)


def test_training_lowers_the_loss_and_reads_the_models_only() -> None:
    models, batches = small_net(), data()
    before = built(models).weights()
    aware = built(models, learning_rate=1e-2)
    aware.begin_stage("quantize", 20)
    aware.calibrate({task: x for task, (x, _) in batches.items()})
    losses = [aware.train_batch("digit", *batches["digit"]) for _ in range(20)]
    assert losses[-1] < losses[0]
    assert_weights_equal(models, before)


def test_other_tasks_weights_and_untrained_nodes_do_not_move() -> None:
    models, batches = small_net(), data()
    aware = built(models, learning_rate=1e-2, trained=("digit", "odd"))
    aware.begin_stage("quantize", 2)
    aware.calibrate({task: x for task, (x, _) in batches.items()})
    before = aware.weights()
    for _ in range(2):
        aware.train_batch("digit", *batches["digit"])
    after = aware.weights()
    assert list(after) == ["digit", "odd"]
    assert_weights_equal(models, {"odd": after["odd"]})
    changed = before["digit"]["dense"][0] != after["digit"]["dense"][0]
    assert changed.all()


def test_frozen_batch_norm_stays() -> None:
    models, batches = small_net(), data()
    aware = built(models, learning_rate=1e-2)
    aware.begin_stage("quantize", 1)
    aware.calibrate({task: x for task, (x, _) in batches.items()})
    aware.train_batch("digit", *batches["digit"])
    after = aware.weights()["trunk"]
    assert_weights_equal(models, {"trunk": {"first_norm": after["first_norm"]}})


def test_a_second_batch_does_not_retrace() -> None:
    aware, batches = built(small_net()), data()
    aware.begin_stage("quantize", 4)
    aware.calibrate({task: x for task, (x, _) in batches.items()})
    x, y = batches["digit"]
    for count in (32, 32, 17):
        aware.train_batch("digit", x[:count], y[:count])
    assert aware._steps["digit"].experimental_get_tracing_count() == 1


def test_ranges_must_be_calibrated_first() -> None:
    aware, batches = built(small_net()), data()
    aware.begin_stage("quantize", 1)
    with pytest.raises(ValueError, match="Call `calibrate` after"):
        aware.predict("digit", batches["digit"][0])


@pytest.mark.parametrize("stage", [None, "quantize"])
def test_predict_stands_by_the_float_net(stage: str | None) -> None:
    models, batches = small_net(), data()
    aware = built(models)
    if stage:
        aware.begin_stage("quantize", 1)
        aware.calibrate({task: x for task, (x, _) in batches.items()})
    for task, (x, _) in batches.items():
        wanted = models[task](models["trunk"](x)).numpy()
        tolerance = 0.02 if stage else 1e-6
        np.testing.assert_allclose(aware.predict(task, x), wanted, atol=tolerance)


def trained(recipe: str, **changes):
    """Returns the net, and the path of one task trained for four steps in every stage."""
    models, (x, y) = small_net(), data()["digit"]
    del models["odd"]
    nodes = {name: AwareNode(name, model) for name, model in models.items()}
    chosen = recipe_of(recipe, learning_rate=1e-2, **changes)
    aware = build(nodes, {"digit": PATHS["digit"]}, TASKS, chosen)
    for stage in chosen.stages:
        aware.begin_stage(stage, 4)
        if stage == "quantize":
            aware.calibrate({"digit": x})
        for _ in range(4):
            aware.train_batch("digit", x, y)
        aware.end_stage()
    return models, aware


def kernels(aware) -> dict[str, np.ndarray]:
    """The convolutions' and dense layers' kernels as (weights of a channel, channels)."""
    found = {}
    for node, layer_weights in aware.weights().items():
        for path, arrays in layer_weights.items():
            for number, array in enumerate(array for array in arrays if array.ndim > 1):
                is_depthwise = path == "depthwise" or (path == "separable" and number == 0)
                channels = array.shape[-2] * array.shape[-1] if is_depthwise else array.shape[-1]
                found[f"{node}/{path}/{number}"] = array.reshape(-1, channels)
    return found


def pruned_count(name: str, kernel: np.ndarray) -> int:
    """Zeros of a kernel: half of it, unless its outputs read one input channel each."""
    whole = ("trunk/first/0", "trunk/depthwise/0", "digit/separable/0")
    return 0 if name in whole else round(kernel.size / 2)


def test_pruned_weights_are_zeros_also_after_the_quantize_stage() -> None:
    for name, kernel in kernels(trained("pqat")[1]).items():
        assert (kernel == 0).sum() == pruned_count(name, kernel), name


def test_clusters_and_zeros_live_through_all_stages() -> None:
    models, aware = trained("pcqat", clustering=Clustering(2))
    for name, kernel in kernels(aware).items():
        assert max(len(np.unique(channel)) for channel in kernel.T) <= 4, name
        assert (kernel == 0).sum() == pruned_count(name, kernel), name
    (before, _), (after, _) = (
        models["digit"].get_layer("dense").get_weights(),
        (aware.weights()["digit"]["dense"]),
    )
    assert (before != after).any()


def test_two_of_four_survives_quantization() -> None:
    kernel = kernels(trained("pqat", pruning=Pruning(pattern="2:4"))[1])["trunk/point/0"]
    assert ((kernel.reshape(-1, 4, 4) == 0).sum(axis=1) == 2).all()


def test_centroids_are_trained_in_the_quantize_stage() -> None:
    models, batches = small_net(), data()
    aware = built(models, "cqat", learning_rate=1e-2)
    aware.begin_stage("cluster", 1)
    aware.end_stage()
    before = kernels(aware)["trunk/point/0"]
    aware.begin_stage("quantize", 1)
    aware.calibrate({task: x for task, (x, _) in batches.items()})
    aware.train_batch("digit", *batches["digit"])
    after = kernels(aware)["trunk/point/0"]
    assert (before != after).any()
    for one, other in zip(before.T, after.T, strict=True):
        same = np.equal.outer(one, one)
        assert np.equal.outer(other, other)[same].all()


def test_live_batch_norm_moves_its_statistics() -> None:
    models, batches = small_net(), data()
    aware = built(models, "prune", batch_norm="live")
    aware.begin_stage("prune", 1)
    before = aware.weights()["trunk"]["first_norm"]
    aware.train_batch("digit", *batches["digit"])
    after = aware.weights()["trunk"]["first_norm"]
    for one, other in zip(before, after, strict=True):
        assert (one != other).any()
    assert_weights_equal(models, {"trunk": {"first_norm": before}})


def test_missing_labels_count_for_nothing() -> None:
    models, batches = small_net(), data()
    x, y = batches["odd"]
    losses = []
    for labels in (y[:32], np.concatenate([y[:32], np.full(32, np.nan)])):
        aware = built(models, "prune")
        aware.begin_stage("prune", 1)
        losses.append(aware.train_batch("odd", x[: len(labels)], labels))
    no_dropout = 0.05  # the two runs drop different units
    assert losses[0] == pytest.approx(losses[1], abs=no_dropout)
    assert np.isfinite(losses).all()
