"""Ranges over paths of nodes: what predict gives is what the int8 bundle gives."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_tree import Task, Tree
from quantize import quantize
from quantize.aware.backend import AwareNode
from quantize.aware.keras3 import build
from quantize.aware.recipe import recipe_of
from quantize.calibration import CalibrationError
from quantize.interpreter import open_interpreter
from quantize.tensor_spec import TensorSpec

CLASSES = 4


def data(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images 8x8 with a bright quadrant, and its number."""
    random = np.random.default_rng(seed)
    y = random.integers(0, CLASSES, count)
    x = random.normal(size=(count, 8, 8, 1)).astype(np.float32) * 0.3
    for image, label in zip(x, y, strict=True):
        image[4 * (label // 2) :][:4, 4 * (label % 2) :][:, :4] += 0.7
    return x, y


def normalization() -> keras.Layer:
    return layers.BatchNormalization(moving_variance_initializer=keras.initializers.Constant(0.05))


def separable(x, filters: int, strides: int = 1):
    x = layers.DepthwiseConv2D(3, strides=strides, padding="same", use_bias=False)(x)
    x = layers.Conv2D(filters, 1, use_bias=False)(layers.ReLU()(normalization()(x)))
    return layers.ReLU(6)(normalization()(x))


def trunk() -> keras.Model:
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(inputs)
    x = layers.Add()([x, separable(x, 8)])
    return keras.Model(inputs, separable(x, 8, strides=2))


def body() -> keras.Model:
    inputs = keras.Input((4, 4, 8))
    return keras.Model(inputs, layers.Add()([inputs, separable(inputs, 8)]))


def tied_body() -> keras.Model:
    """Begins with an operator that ties its input to a tensor that reaches further."""
    inputs = keras.Input((4, 4, 8))
    x = layers.Conv2D(8, 3, padding="same")(inputs)
    x = layers.Concatenate()([inputs, layers.Rescaling(1.5)(x)])
    return keras.Model(inputs, layers.Conv2D(8, 1, activation="relu")(x))


def head() -> keras.Model:
    inputs = keras.Input((4, 4, 8))
    x = layers.GlobalAveragePooling2D()(layers.Dropout(0.1)(separable(inputs, 16)))
    return keras.Model(inputs, layers.Dense(CLASSES, activation="softmax")(x))


def tree_of(nodes, paths) -> Tree:
    tasks = [Task(name, "sparse_categorical_crossentropy") for name in paths]
    return Tree(nodes, paths, tasks)


def plain_tree() -> Tree:
    nodes = {"trunk": trunk(), "a": head(), "b": head()}
    return tree_of(nodes, {"a": ("trunk", "a"), "b": ("trunk", "b")})


def tied_tree() -> Tree:
    nodes = {"trunk": trunk(), "body": tied_body(), "a": head()}
    return tree_of(nodes, {"a": ("trunk", "body", "a")})


def skipping_tree() -> Tree:
    """One head behind different nodes: the seam before it is the outputs of both."""
    nodes = {"trunk": trunk(), "body": body(), "a": head()}
    return tree_of(nodes, {"a": ("trunk", "body", "a"), "b": ("trunk", "a")})


def trained(tree: Tree, recipe: str, epochs: int = 3, **changes):
    """Returns the backend after its recipe, and the samples of its last calibration."""
    nodes = {name: AwareNode(name, model) for name, model in tree.nodes.items()}
    aware = build(nodes, tree.paths, tree.tasks, recipe_of(recipe, **changes))
    x, y = data(320, 1)
    samples = dict.fromkeys(tree.paths, x[:100])
    for stage in recipe_of(recipe, **changes).stages:
        aware.begin_stage(stage, epochs * 10 * len(tree.paths))
        if stage == "quantize":
            aware.calibrate(samples)
        for step in range(epochs * 10):
            for task in tree.paths:
                rows = slice(32 * (step % 10), 32 * (step % 10) + 32)
                aware.train_batch(task, x[rows], y[rows])
        if stage == "quantize":
            aware.calibrate(samples)
        aware.end_stage()
    for name, layer_weights in aware.weights().items():
        for path, arrays in layer_weights.items():
            tree.nodes[name].get_layer(path).set_weights(arrays)
    return aware, samples


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "recipe"),
    [(plain_tree, "cqat"), (tied_tree, "qat"), (skipping_tree, "qat")],
)
def test_predict_is_the_int8_bundles_answer(make, recipe: str, warm_converter) -> None:
    keras.utils.set_random_seed(4)
    tree = make()
    aware, samples = trained(tree, recipe, learning_rate=1e-2)
    bundle = quantize(tree, samples, strip_level="none")
    x, _ = data(300, 2)
    for task, path in tree.paths.items():
        codes = bundle.nodes[path[0]].input.quantize(x)
        for name in path:
            codes = open_interpreter(bundle.nodes[name].data).run(codes)
        output = bundle.nodes[path[-1]].output
        device, ours = output.dequantize(codes), aware.predict(task, x)
        assert (device.argmax(-1) == ours.argmax(-1)).mean() >= 0.99
        assert np.abs(device - ours).mean() <= output.scale
        assert np.unique(ours.argmax(-1)).size > 1
    requantized = [
        name
        for name, program in aware._programs.items()
        if program.input_range.spec != aware._ends.input[name].spec
    ]
    assert requantized == (["body"] if make is tied_tree else [])


def test_paths_in_opposite_orders_are_one_seam() -> None:
    keras.utils.set_random_seed(4)
    models = {"trunk": trunk(), "c": body(), "d": body(), "a": head()}
    paths = {"a": ("trunk", "c", "d", "a"), "b": ("trunk", "d", "c", "a")}
    nodes = {name: AwareNode(name, model) for name, model in models.items()}
    tasks = {name: Task(name, "sparse_categorical_crossentropy") for name in paths}
    aware = build(nodes, paths, tasks, recipe_of("qat"))
    x, _ = data(64, 1)
    aware.begin_stage("quantize", 1)
    aware.calibrate(dict.fromkeys(paths, x))
    assert len({aware._ends.output[name].row for name in ("trunk", "c", "d")}) == 1
    for task, path in paths.items():
        wanted = x
        for name in path:
            wanted = models[name](wanted)
        np.testing.assert_allclose(aware.predict(task, x), wanted.numpy(), atol=0.1)


def test_a_diverged_node_is_named() -> None:
    inputs = keras.Input((8,))
    model = keras.Model(inputs, layers.Dense(8)(layers.Dense(8)(inputs)))
    node, task = AwareNode("c", model), Task("c", "mse")
    aware = build({"c": node}, {"c": ("c",)}, {"c": task}, recipe_of("qat", learning_rate=1e30))
    x = np.random.default_rng(0).normal(size=(8, 8)).astype(np.float32)
    aware.begin_stage("quantize", 1)
    aware.calibrate({"c": x})
    aware.train_batch("c", x, x)
    with pytest.raises(CalibrationError, match=r"Node 'c'.*Lower the recipe's `learning_rate`"):
        aware.calibrate({"c": x})


def test_fixed_seams_are_exact_and_do_not_move() -> None:
    keras.utils.set_random_seed(4)
    source, target = (
        TensorSpec((1, 4, 4, 8), "int8", 0.013, -128),
        TensorSpec((1, CLASSES), "int8", 0.071, -10),
    )
    inputs = keras.Input((4, 4, 8))
    model = keras.Model(inputs, layers.Dense(CLASSES)(layers.Flatten()(inputs)))
    node = AwareNode("a", model, input=source, output=target)
    task = Task("a", "mse")
    aware = build({"a": node}, {"a": ("a",)}, {"a": task}, recipe_of("qat"))
    x = np.random.default_rng(0).uniform(0, 1.6, (64, 4, 4, 8)).astype(np.float32)
    aware.begin_stage("quantize", 1)
    for scale in (1.0, 2.0):
        aware.calibrate({"a": x * np.float32(scale)})
        assert (aware._ends.input["a"].spec, aware._ends.output["a"].spec) == (source, target)
    rounded = source.dequantize(source.quantize(x))
    np.testing.assert_array_equal(aware.predict("a", x), aware.predict("a", rounded))
    codes = aware.predict("a", x) / np.float32(target.scale)
    np.testing.assert_allclose(codes, np.round(codes), atol=1e-4)
    kernel, bias = model.layers[-1].get_weights()
    steps = np.abs(kernel).max(0) / 127
    wanted = rounded.reshape(64, -1) @ (np.round(kernel / steps) * steps) + bias
    wanted = target.dequantize(target.quantize(wanted))
    assert np.abs(aware.predict("a", x) - wanted).max() <= target.scale * 1.01


def test_a_node_of_16_bit_activations_is_rounded_at_its_ends_only() -> None:
    keras.utils.set_random_seed(4)
    model = head()
    nodes = {"a": AwareNode("a", model, fake_quantized=False)}
    task = Task("a", "sparse_categorical_crossentropy")
    aware = build(nodes, {"a": ("a",)}, {"a": task}, recipe_of("qat"))
    x = np.random.default_rng(0).normal(size=(64, 4, 4, 8)).astype(np.float32)
    aware.begin_stage("quantize", 1)
    aware.calibrate({"a": x})
    source, target = aware._ends.input["a"].spec, aware._ends.output["a"].spec
    wanted = target.quantize(model(source.dequantize(source.quantize(x))).numpy())
    ours = target.quantize(aware.predict("a", x))
    assert np.abs(wanted.astype(int) - ours).max() <= 1


def test_calibration_follows_the_weights_and_training_does_not_move_it() -> None:
    tree = tree_of({"trunk": trunk(), "a": head()}, {"a": ("trunk", "a")})
    nodes = {name: AwareNode(name, model) for name, model in tree.nodes.items()}
    aware = build(nodes, tree.paths, tree.tasks, recipe_of("qat", learning_rate=1e-2))
    x, y = data(64, 1)
    aware.begin_stage("quantize", 2)
    aware.calibrate({"a": x})
    before = [one.spec for one in aware._ranges.all]
    aware.train_batch("a", x, y)
    assert before == [one.spec for one in aware._ranges.all]
    aware.calibrate({"a": x})
    after = [one.spec for one in aware._ranges.all]
    assert before != after
    assert aware._ends.input["trunk"].spec == before[aware._ends.input["trunk"].row]
