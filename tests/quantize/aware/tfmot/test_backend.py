"""The backend as a whole: ranges, seams, and the int8 flatbuffer made of the weights it returns."""

from contextlib import nullcontext

import keras
import numpy as np
import pytest

from keras_tree import Task, Tree
from quantize.aware.backend import AwareNode, AwareTrainingError
from quantize.aware.recipe import Recipe
from quantize.aware.tfmot import build
from quantize.tensor_spec import TensorSpec

K = keras.layers
CROSS = "sparse_categorical_crossentropy"


def two_nodes():
    """A trunk that ends in a ReLU, and a branch of scores."""
    keras.utils.set_random_seed(0)
    source = keras.Input((6, 6, 2))
    trunk = keras.Model(source, K.ReLU(name="end")(K.Conv2D(8, 3)(source)))
    features = keras.Input((4, 4, 8))
    x = K.Conv2D(6, 3, activation="relu")(features)
    return {"trunk": trunk, "branch": keras.Model(features, K.Dense(3)(K.Flatten()(x)))}


SAMPLES = np.random.default_rng(0).normal(size=(300, 6, 6, 2)).astype("float32")
LABELS = (np.arange(300) % 3).astype("float32")


def calibrated(learning_rate=1e-2, path=("trunk", "branch"), **options):
    models = two_nodes()
    nodes = {name: AwareNode(name, models[name], **options.get(name, {})) for name in path}
    recipe = Recipe(learning_rate=learning_rate)
    task = Task("t", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model = build(nodes, {"t": path}, {"t": task}, recipe)
    model.begin_stage("quantize", 10)
    x = SAMPLES if path[0] == "trunk" else models["trunk"](SAMPLES).numpy()
    model.calibrate({"t": x})
    return models, model, x


def test_a_relus_range_is_that_of_the_data() -> None:
    """Not from -6 to 6, and not a moving average on the way there, as tfmot's own would be."""
    models, model, _ = calibrated()
    features = models["trunk"](SAMPLES).numpy()
    assert model.ranges["trunk/output"] == (0.0, pytest.approx(features.max(), rel=1e-6))
    low, high = SAMPLES.min(), SAMPLES.max()
    assert model.ranges["trunk/input"] == (pytest.approx(low), pytest.approx(high))
    scores = models["branch"](features).numpy()
    expected = (pytest.approx(scores.min(), rel=1e-5), pytest.approx(scores.max(), rel=1e-5))
    assert model.ranges["branch/output"] == expected


def test_ranges_stay_between_calibrations_and_follow_at_the_next() -> None:
    _, model, _ = calibrated()
    before = model.ranges
    for _ in range(10):
        model.train_batch("t", SAMPLES[:64], LABELS[:64])
    assert model.ranges == before
    model.calibrate({"t": SAMPLES})
    after = model.ranges
    assert after["trunk/input"] == before["trunk/input"]
    assert after["trunk/output"] != before["trunk/output"]
    model.end_stage()
    assert model.ranges == after  # and `predict` stays quantized
    assert len(np.unique(model.predict("t", SAMPLES))) <= 256


def test_a_fixed_seam_never_moves_and_holds_its_codes() -> None:
    seam = TensorSpec((1, 4, 4, 8), "int8", 1.7 / 255, -128)
    _, model, _ = calibrated(trunk={"output": seam})
    expected = pytest.approx((seam.lowest_value, seam.highest_value), rel=1e-6)
    for _ in range(3):
        model.train_batch("t", SAMPLES[:64], LABELS[:64])
    model.calibrate({"t": SAMPLES})
    assert model.ranges["trunk/output"] == expected


def test_a_branch_alone_is_trained_on_the_codes_of_its_seam() -> None:
    seam = TensorSpec((1, 4, 4, 8), "int8", 1.7 / 255, -128)
    _, model, features = calibrated(path=("branch",), branch={"input": seam})
    exact = seam.dequantize(seam.quantize(features))
    np.testing.assert_allclose(
        model.predict("t", features), model.predict("t", exact), atol=1e-6
    )  # fmt: skip
    assert set(model.weights()) == {"branch"}


def test_a_node_of_16_bit_activations_stays_float() -> None:
    nodes = {"trunk": {"fake_quantized": False}, "branch": {"fake_quantized": False}}
    models, model, _ = calibrated(**nodes)
    assert model.ranges == {}
    expected = models["branch"](models["trunk"](SAMPLES)).numpy()
    np.testing.assert_allclose(model.predict("t", SAMPLES), expected, atol=2e-6)
    assert np.isfinite(model.train_batch("t", SAMPLES[:64], LABELS[:64]))


def test_its_ends_are_int8_where_a_neighbour_is() -> None:
    _, model, _ = calibrated(trunk={"fake_quantized": False})
    assert {name for name in model.ranges if name.startswith("trunk/")} == {"trunk/output"}


def test_a_node_behind_two_others_and_a_path_that_begins_at_it() -> None:
    models = two_nodes()
    models = {"one": models["trunk"], "two": two_nodes()["trunk"], "end": models["branch"]}
    models["two"].set_weights([-2 * w for w in models["two"].get_weights()])
    paths = {"a": ("one", "end"), "b": ("two", "end"), "c": ("end",)}
    tasks = {name: Task(name, "mse") for name in paths}
    nodes = {name: AwareNode(name, model) for name, model in models.items()}
    model = build(nodes, paths, tasks, Recipe(learning_rate=1e-2))
    features = {name: models[name](SAMPLES).numpy() for name in ("one", "two")}
    x = {"a": SAMPLES, "b": SAMPLES, "c": features["one"]}
    for task, path in paths.items():
        expected = models["end"](features.get(path[0], features["one"])).numpy()
        np.testing.assert_allclose(model.predict(task, x[task]), expected, atol=2e-6)
    model.begin_stage("quantize", 1)
    model.calibrate(x)
    union = (0.0, pytest.approx(max(f.max() for f in features.values()), rel=1e-6))
    assert model.ranges["one/output"] == model.ranges["two/output"] == union
    assert model.ranges["end/input"] == union
    before = model.weights()
    model.train_batch("c", x["c"], np.zeros((300, 3), np.float32))
    after = model.weights()
    for name in models:
        pairs = zip(before[name].values(), after[name].values(), strict=True)
        assert any((a[0] != b[0]).any() for a, b in pairs) == (name == "end")


@pytest.mark.parametrize("samples", [{}, {"t": SAMPLES, "u": SAMPLES}])
def test_samples_are_of_every_task_and_no_other(samples) -> None:
    _, model, _ = calibrated()
    with pytest.raises(AwareTrainingError, match="must be of the tasks 't', received"):
        model.calibrate(samples)


def test_the_given_models_are_only_read() -> None:
    models, model, _ = calibrated()
    before = {name: [w.copy() for w in m.get_weights()] for name, m in two_nodes().items()}
    model.train_batch("t", SAMPLES[:64], LABELS[:64])
    for name, expected in before.items():
        for one, other in zip(models[name].get_weights(), expected, strict=True):
            np.testing.assert_array_equal(one, other)


def digits():
    """scikit-learn's digits, 8x8 upsampled to 16x16: x (1797, 16, 16, 1), labels (1797,)."""
    from sklearn.datasets import load_digits

    found = load_digits()
    x = (found.images / 16).astype("float32").repeat(2, 1).repeat(2, 2)[..., None]
    order = np.random.default_rng(0).permutation(len(x))
    return x[order], found.target[order]


def digit_tree() -> Tree:
    """A depthwise trunk, and two branches with a residual block each."""
    keras.utils.set_random_seed(0)

    def block(x, layer):
        return K.ReLU()(K.BatchNormalization(momentum=0.9)(layer(x)))

    source = keras.Input((16, 16, 1))
    x = block(source, K.Conv2D(8, 3, strides=2, padding="same", use_bias=False))
    x = block(x, K.DepthwiseConv2D(3, padding="same", use_bias=False))
    trunk = keras.Model(source, K.Conv2D(16, 1, activation="relu")(x))
    branches = {}
    for name, classes in (("digit", 10), ("odd", 2)):
        features = keras.Input((8, 8, 16))
        x = block(features, K.Conv2D(16, 3, strides=2, padding="same", use_bias=False))
        x = K.ReLU()(K.Add()([x, K.Conv2D(16, 3, padding="same")(x)]))
        x = K.GlobalAveragePooling2D()(x)
        branches[name] = keras.Model(features, K.Dense(classes, activation="softmax")(x))
    return Tree.from_branches(trunk, branches, [Task("digit", CROSS), Task("odd", CROSS)])


def trained_digits(tree: Tree, data, samples, recipe: Recipe):
    """The backend's model after two epochs of the recipe."""
    nodes = {name: AwareNode(name, model) for name, model in tree.nodes.items()}
    model = build(nodes, tree.paths, tree.tasks, recipe)
    rng, count = np.random.default_rng(0), len(data["digit"][0]) // 64
    model.begin_stage("quantize", 2 * 2 * count)
    model.calibrate(samples)
    for _ in range(2):
        order = rng.permutation(len(data["digit"][0]))
        for start in range(0, 64 * count, 64):
            for task, (x, y) in data.items():
                rows = order[start : start + 64]
                model.train_batch(task, x[rows], y[rows])
        model.calibrate(samples)
    model.end_stage()
    return model


def run_chain(tree: Tree, task: str, x: np.ndarray) -> np.ndarray:
    for node in tree.paths[task]:
        x = tree.nodes[node](x, training=False).numpy()
    return x


def run_bundle(bundle, task: str, x: np.ndarray) -> np.ndarray:
    from quantize.interpreter import open_interpreter

    path = bundle.tasks[task].path
    codes = bundle.nodes[path[0]].input.quantize(x)
    for node in path:
        codes = open_interpreter(bundle.nodes[node].data).run(codes)
    return bundle.nodes[path[-1]].output.dequantize(codes)


@pytest.mark.slow
def test_on_digits_int8_computes_what_was_trained(converter, monkeypatch) -> None:
    from quantize import quantize

    monkeypatch.setattr("quantize.post_training.Converter", lambda: nullcontext(converter))
    x, y = digits()
    labels = {"digit": y, "odd": y % 2}
    data = {task: (x[:1300], known[:1300]) for task, known in labels.items()}
    tree = digit_tree()
    tree.compile(keras.optimizers.Adam(3e-3))
    tree.fit(data, epochs=10, batch_size=64, verbose=0)
    samples = dict.fromkeys(data, x[:200])
    held = x[1300:]
    before = {task: run_chain(tree, task, held) for task in data}

    model = trained_digits(tree, data, samples, Recipe())
    for name, layers in model.weights().items():
        for path, arrays in layers.items():
            tree.nodes[name].get_layer(path).set_weights(arrays)
    bundle = quantize(tree, samples)

    for task, known in labels.items():
        predicted, found = model.predict(task, held), run_bundle(bundle, task, held)
        float_accuracy = (before[task].argmax(1) == known[1300:]).mean()
        assert float_accuracy > 0.9
        assert (predicted.argmax(1) == known[1300:]).mean() > float_accuracy - 0.015
        assert (predicted.argmax(1) == found.argmax(1)).mean() >= 0.99
        scale = bundle.nodes[bundle.tasks[task].path[-1]].output.scale
        assert np.abs(predicted - found).mean() < scale
