"""Fidelity: known answers from float nodes that are off by a known error, then a real tree."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from quantize.bundle import Bundle
from quantize.fidelity import fidelity
from quantize.interpreter import open_interpreter

# Keras 3.15 reads its variables in a way that NumPy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

DIGIT = SimpleNamespace(
    loss="sparse_categorical_crossentropy", metrics=("accuracy",), labels=(), missing_label=None
)
ANGLE = SimpleNamespace(loss="mse", metrics=(), labels=(), missing_label=-99.0)


class StandInTree:
    """A tree whose float nodes compute what the int8 nodes do, plus a given error each."""

    def __init__(self, bundle, errors=None):
        self.tasks = {"digit": DIGIT, "angle": ANGLE, "helper": ANGLE}
        self.paths = {name: task.path for name, task in bundle.tasks.items()}
        self.paths["helper"] = ("trunk",)
        self.nodes = {
            name: float_node(node, (errors or {}).get(name, 0.0))
            for name, node in bundle.nodes.items()
        }

    def __getitem__(self, task):
        def run(x, training):
            for name in self.paths[task]:
                x = self.nodes[name](x, training=training)
            return x

        return run


def float_node(node, error):
    interpreter = open_interpreter(node.data)

    def run(x, training):
        assert training is False
        output = node.output.dequantize(interpreter.run(node.input.quantize(x)))
        return output + np.float32(error)

    return run


@pytest.fixture(scope="module")
def samples(small_bundle):
    codes = np.random.default_rng(2).integers(-128, 128, (20, 8, 8, 1), np.int8)
    return small_bundle.nodes["trunk"].input.dequantize(codes)


def angles(bundle, samples):
    return bundle.predict("angle", samples)


def classes(bundle, samples):
    return np.argmax(bundle.predict("digit", samples), -1)


def test_a_tree_that_loses_nothing(small_bundle, samples):
    labels = classes(small_bundle, samples)
    wrong = labels.copy()
    wrong[:5] = (wrong[:5] + 1) % 5
    score = fidelity(StandInTree(small_bundle), small_bundle, {"digit": (samples, wrong)})["digit"]
    assert (score.metric, score.samples) == ("accuracy", 20)
    assert score.float_value == score.int8_value == 0.75
    assert score.agreement == 1.0
    assert score.sqnr_db == math.inf
    assert score.largest_error == 0.0
    assert score.weakest_node is None
    assert score.node_sqnr_db == {"trunk": math.inf, "digit": math.inf}
    assert score.backend == open_interpreter(small_bundle.nodes["trunk"].data).backend


def test_an_error_of_known_size_has_the_known_ratio(small_bundle, samples):
    tree = StandInTree(small_bundle, {"angle": 0.2})
    y = angles(small_bundle, samples)
    score = fidelity(tree, small_bundle, {"angle": (samples, y)})["angle"]
    signal = y.astype(np.float64) + 0.2
    expected_db = 10 * np.log10(np.mean(signal**2) / 0.2**2)
    assert score.metric == "mae"
    assert score.float_value == pytest.approx(0.2, abs=1e-6)
    assert score.int8_value == pytest.approx(0.0, abs=1e-6)
    assert score.sqnr_db == pytest.approx(expected_db, abs=0.006)
    assert score.node_sqnr_db["angle"] == pytest.approx(expected_db, abs=0.006)
    assert score.largest_error == pytest.approx(0.2, abs=1e-5)
    assert score.weakest_node == "angle"
    assert score.agreement == 1.0  # one step of the output is 0.3


def test_regression_disagrees_beyond_one_step(small_bundle, samples):
    tree = StandInTree(small_bundle, {"angle": 0.31})
    y = angles(small_bundle, samples)
    assert fidelity(tree, small_bundle, {"angle": (samples, y)})["angle"].agreement == 0.0


@pytest.mark.parametrize("weak", ["trunk", "mid", "angle"])
def test_a_nodes_own_loss_is_not_charged_to_the_nodes_behind_it(small_bundle, samples, weak):
    errors = {"trunk": 0.001, "mid": 0.001, "angle": 0.001} | {weak: 2.0}
    tree = StandInTree(small_bundle, errors)
    data = {"angle": (samples, angles(small_bundle, samples))}
    score = fidelity(tree, small_bundle, data)["angle"]
    assert score.weakest_node == weak
    others = [db for name, db in score.node_sqnr_db.items() if name != weak]
    assert min(others) > score.node_sqnr_db[weak] + 20
    assert list(score.node_sqnr_db) == ["trunk", "mid", "angle"]


def test_missing_labels_count_for_agreement_and_not_for_the_score(small_bundle, samples):
    y = angles(small_bundle, samples).astype(np.float64)
    y[0], y[1] = math.nan, -99.0
    y[2] += 9.0
    tree = StandInTree(small_bundle)
    score = fidelity(tree, small_bundle, {"angle": (samples, y[:, 0])})["angle"]
    assert score.samples == 18
    assert score.float_value == pytest.approx(9.0 / 18, abs=1e-6)
    assert score.agreement == 1.0


def test_no_label_at_all_gives_no_score_but_agreement(small_bundle, samples):
    data = {"digit": (samples, np.full(20, math.nan))}
    score = fidelity(StandInTree(small_bundle), small_bundle, data)["digit"]
    assert score.samples == 0
    assert math.isnan(score.float_value)
    assert math.isnan(score.int8_value)
    assert score.agreement == 1.0


def test_batches_do_not_change_the_score(small_bundle, samples):
    tree = StandInTree(small_bundle, {"trunk": 0.2})
    data = {"digit": (samples, classes(small_bundle, samples))}
    whole = fidelity(tree, small_bundle, data)["digit"]
    parts = fidelity(tree, small_bundle, data, batch_size=7)["digit"]
    assert parts.sqnr_db == pytest.approx(whole.sqnr_db)
    assert (parts.agreement, parts.int8_value) == (whole.agreement, whole.int8_value)


def test_scores_are_in_the_order_of_the_data_and_only_for_shipped_tasks(small_bundle, samples):
    data = {
        "helper": (samples, np.zeros(20)),
        "angle": (samples, angles(small_bundle, samples)),
        "digit": (samples, classes(small_bundle, samples)),
    }
    assert list(fidelity(StandInTree(small_bundle), small_bundle, data)) == ["angle", "digit"]


def test_litert_is_named_where_it_runs(small_bundle, samples):
    data = {"digit": (samples[:4], np.zeros(4, int))}
    tree = StandInTree(small_bundle)
    assert fidelity(tree, small_bundle, data, backend="litert")["digit"].backend == "litert"


@pytest.mark.parametrize(
    ("task", "x", "y", "message"),
    [
        ("digits", "x", "y", "no task 'digits'. Did you mean 'digit'"),
        ("helper", "x", "y", r"at least one shipped task \(digit, angle\)"),
        ("digit", np.zeros((0, 8, 8, 1)), [], "with n at least 1"),
        ("digit", np.zeros((2, 8, 8)), [0, 0], r"shape \(n, \*\(8, 8, 1\)\)"),
        ("digit", np.full((2, 8, 8, 1), np.nan), [0, 0], "NaN or infinity in 128 places"),
        ("digit", "x", [0, 1], "a label for each of the 20 samples; got 2"),
        ("digit", "x", 3, "got a single number"),
        ("digit", "x", ["one"] * 20, "labels must be numbers"),
        ("digit", "x", [5] * 20, "`data\\['digit'\\]`: labels must be class indices of 0 to 4"),
    ],
)
def test_what_does_not_fit_is_refused_before_any_run(small_bundle, samples, task, x, y, message):
    x = samples if isinstance(x, str) else x
    y = np.zeros(20, int) if isinstance(y, str) else y
    tree = StandInTree(small_bundle)
    with pytest.raises(ValueError, match=message):
        fidelity(tree, small_bundle, {task: (x, y)})


def test_nothing_to_evaluate_is_refused(small_bundle):
    with pytest.raises(ValueError, match="got none"):
        fidelity(StandInTree(small_bundle), small_bundle, {})


def test_another_tree_is_refused(small_bundle, samples):
    tree = StandInTree(small_bundle)
    tree.paths["angle"] = ("trunk", "angle")
    with pytest.raises(ValueError, match="`tree` must be the one that the bundle was made from"):
        fidelity(tree, small_bundle, {"angle": (samples, np.zeros(20))})


def test_scores_of_constant_outputs_survive_the_manifest(small_bundle, samples, tmp_path):
    tree = StandInTree(small_bundle)
    data = {"digit": (samples, np.full(20, math.nan))}
    score = fidelity(tree, small_bundle, data)["digit"]
    silent = replace(score, sqnr_db=-math.inf, largest_error=math.nan)
    task = replace(small_bundle.tasks["digit"], score=silent)
    bundle = replace(small_bundle, tasks=small_bundle.tasks | {"digit": task})
    loaded = Bundle.load(bundle.save(tmp_path / "bundle")).tasks["digit"].score
    assert math.isnan(loaded.float_value)
    assert math.isnan(loaded.largest_error)
    assert loaded.sqnr_db == -math.inf
    assert loaded.node_sqnr_db == {"trunk": math.inf, "digit": math.inf}


@pytest.fixture(scope="module")
def real():
    """A tree of real Keras models, untrained, its bundle, and samples; labels of every kind."""
    import keras

    from keras_tree import Task, Tree
    from quantize.post_training import quantize

    layers = keras.layers
    keras.utils.set_random_seed(3)

    def node(name, shape, *stack):
        inputs = keras.Input(shape)
        x = inputs
        for layer in stack:
            x = layer(x)
        return keras.Model(inputs, x, name=name)

    def head(name, units, activation):
        dense = layers.Dense(units, activation, name=f"{name}_dense")
        return node(name, (4, 4, 4), layers.Flatten(name=f"{name}_flat"), dense)

    convolution = layers.Conv2D(4, 3, 2, "same", activation="relu", name="trunk_conv")
    nodes = {
        "trunk": node("trunk", (8, 8, 1), convolution),
        "mid": node("mid", (4, 4, 4), layers.Conv2D(4, 3, 1, "same", name="mid_conv")),
        "kind": head("kind", 3, "softmax"),
        "sparse": head("sparse", 3, None),
        "yes": head("yes", 1, "sigmoid"),
        "value": head("value", 2, None),
    }
    paths = {
        "kind": ("trunk", "kind"),
        "sparse": ("trunk", "mid", "sparse"),
        "yes": ("trunk", "mid", "yes"),
        "value": ("trunk", "value"),
    }
    logits = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    tasks = [
        Task("kind", "categorical_crossentropy", labels=("a", "b", "c")),
        Task("sparse", logits, missing_label=-1),
        Task("yes", keras.losses.BinaryCrossentropy()),
        Task("value", "mse"),
    ]
    tree = Tree(nodes, paths, tasks)
    random = np.random.default_rng(4)
    x = random.normal(size=(60, 8, 8, 1)).astype(np.float32)
    kinds = random.integers(0, 3, 60)
    sparse = kinds.copy()
    sparse[:6] = -1
    data = {
        "kind": (x, np.eye(3, dtype=np.float32)[kinds]),
        "sparse": (x, sparse),
        "yes": (x, random.integers(0, 2, (60, 1))),
        "value": (x, random.normal(size=(60, 2))),
    }
    bundle = quantize(tree, dict.fromkeys(paths, x), evaluation=data)
    return SimpleNamespace(tree=tree, bundle=bundle, data=data)


def test_a_real_tree_keeps_what_int8_can_keep(real):
    scores = fidelity(real.tree, real.bundle, real.data)
    for name, score in scores.items():
        assert 20 < score.sqnr_db < 60, name
        assert all(20 < sqnr_db < 60 for sqnr_db in score.node_sqnr_db.values()), name
        assert score.node_sqnr_db[score.weakest_node] == min(score.node_sqnr_db.values())
    assert {name: score.metric for name, score in scores.items()} == {
        "kind": "accuracy",
        "sparse": "accuracy",
        "yes": "accuracy",
        "value": "mae",
    }
    assert scores["sparse"].samples == 54
    assert scores["kind"].agreement >= 0.9


def test_the_float_score_is_keras_own(real):
    import keras

    scores = fidelity(real.tree, real.bundle, real.data)
    metrics = {
        "kind": keras.metrics.CategoricalAccuracy(),
        "yes": keras.metrics.BinaryAccuracy(),
        "value": keras.metrics.MeanAbsoluteError(),
    }
    for name, metric in metrics.items():
        x, y = real.data[name]
        metric.update_state(y, real.tree[name](x, training=False))
        assert scores[name].float_value == pytest.approx(float(metric.result()), rel=1e-5)


def test_the_int8_score_is_that_of_the_bundles_predictions(real):
    x, y = real.data["value"]
    score = fidelity(real.tree, real.bundle, {"value": (x, y)})["value"]
    predicted = real.bundle.predict("value", x)
    assert score.int8_value == pytest.approx(np.abs(predicted - y).mean(), rel=1e-5)
    largest = np.abs(predicted - np.asarray(real.tree["value"](x))).max()
    assert score.largest_error == pytest.approx(largest, rel=1e-5)


def test_scores_are_written_with_the_bundle_and_come_back(real, tmp_path):
    loaded = Bundle.load(real.bundle.save(tmp_path / "bundle"), verify_golden=True)
    assert loaded == real.bundle
    assert {name: task.score for name, task in loaded.tasks.items()} == fidelity(
        real.tree, real.bundle, real.data
    )


def test_the_other_interpreter_differs_by_little(real):
    tflm = fidelity(real.tree, real.bundle, real.data)
    litert = fidelity(real.tree, real.bundle, real.data, backend="litert")
    for name in tflm:
        assert litert[name].backend == "litert"
        assert litert[name].sqnr_db == pytest.approx(tflm[name].sqnr_db, abs=1.0)


def test_the_node_whose_weights_were_changed_is_the_weakest(real):
    """The float model of one node moves away from its flatbuffer; only that node is blamed."""
    weights = real.tree.nodes["mid"].get_weights()
    before = fidelity(real.tree, real.bundle, real.data)["yes"]
    try:
        real.tree.nodes["mid"].set_weights([weight * 1.5 for weight in weights])
        after = fidelity(real.tree, real.bundle, real.data)["yes"]
    finally:
        real.tree.nodes["mid"].set_weights(weights)
    assert after.weakest_node == "mid"
    # What is 1.5 times as large differs by a third: 20 log10(3).
    assert after.node_sqnr_db["mid"] == pytest.approx(9.54, abs=0.1)
    for name in ("trunk", "yes"):
        assert after.node_sqnr_db[name] == before.node_sqnr_db[name]
