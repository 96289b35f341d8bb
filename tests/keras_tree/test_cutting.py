"""Models cut into trees: the same weights and outputs, and a clear refusal where no cut is."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from keras_tree.cutting import cut_at_layer, cut_at_outputs
from keras_tree.tasks import Task
from keras_tree.tree import Tree

L = keras.layers
IMAGES = np.random.default_rng(0).normal(size=(3, 8, 8, 2)).astype("float32")


def tasks(*names: str) -> list[Task]:
    return [Task(name, "mse") for name in names]


def assert_outputs_unchanged(tree: Tree, outputs: dict[str, Any], x: np.ndarray) -> None:
    whole = tree(x)
    for task, expected in outputs.items():
        np.testing.assert_array_equal(tree[task](x), expected)
        np.testing.assert_array_equal(whole[task], expected)


def assert_weights_shared(tree: Tree, model: keras.Model) -> None:
    assert {id(v) for v in tree.variables} == {id(v) for v in model.variables}


def head(x: Any, units: int, name: str) -> Any:
    return L.Dense(units, name=name)(L.GlobalAveragePooling2D(name=f"{name}_pool")(x))


def inner_model() -> keras.Model:
    x = keras.Input((8, 8, 4))
    return keras.Model(x, L.Conv2D(4, 3, padding="same", name="inner_conv")(x), name="inner")


def many_layers() -> keras.Model:
    """Batch normalization, dropout, a nested model, a residual sum and a layer used twice."""
    x = image = keras.Input((8, 8, 2), name="image")
    x = L.BatchNormalization(name="bn")(L.Conv2D(4, 3, padding="same", name="conv")(x))
    x = inner_model()(x)
    twice = L.Conv2D(4, 1, name="twice")
    x = L.Add(name="sum")([x, twice(twice(x))])
    x = L.Dropout(0.5, name="drop")(x)
    mid = L.Conv2D(3, 3, activation="relu", name="mid_conv")(x)
    joined = L.Concatenate(name="joined")([mid, L.MaxPooling2D(1, name="pool")(mid)])
    late = keras.ops.tanh(joined * 2.0)
    return keras.Model(
        image,
        {"a": head(x, 2, "a_out"), "b": head(late, 3, "b_out"), "c": head(late, 1, "c_out")},
        name="many",
    )


def test_cut_where_the_outputs_diverge() -> None:
    model = many_layers()
    tree = cut_at_outputs(model, tasks("a", "b", "c"))
    assert dict(tree.paths) == {
        "a": ("trunk", "a"),
        "b": ("trunk", "b-c", "b"),
        "c": ("trunk", "b-c", "c"),
    }
    assert tree.name == "many"
    assert [layer.name for layer in tree.nodes["trunk"].layers][-1] == "drop"
    assert_outputs_unchanged(tree, model(IMAGES), IMAGES)
    assert_weights_shared(tree, model)


def test_training_mode_is_the_same_too() -> None:
    x = image = keras.Input((8, 8, 2))
    x = L.BatchNormalization()(L.Conv2D(4, 3)(x))
    model = keras.Model(image, [head(x, 2, "a"), head(L.BatchNormalization()(x), 2, "b")])
    tree = cut_at_outputs(model, tasks("a", "b"))
    before = model.get_weights()
    expected = model(IMAGES, training=True)
    moved = model.get_weights()
    model.set_weights(before)
    given = tree(IMAGES, training=True)
    for task, values in zip("ab", expected, strict=True):
        np.testing.assert_array_equal(given[task], values)
    for one, other in zip(model.get_weights(), moved, strict=True):
        np.testing.assert_array_equal(one, other)


def test_deep_chain_of_cuts() -> None:
    x = image = keras.Input((8, 8, 2))
    outputs = {}
    for depth in range(5):
        x = L.Conv2D(2, 2, name=f"conv{depth}")(x)
        outputs[f"t{depth}"] = head(x, 1, f"out{depth}")
    model = keras.Model(image, outputs)
    tree = cut_at_outputs(model, tasks(*outputs))
    assert len(tree.path("t4")) == 5
    assert tree.path("t1") == ("trunk", "t1-t2-t3-t4", "t1")
    assert_outputs_unchanged(tree, model(IMAGES), IMAGES)


def test_a_task_may_end_on_the_way_of_others() -> None:
    image = keras.Input((8, 8, 2))
    early = L.Conv2D(3, 3, name="early")(image)
    late = L.Conv2D(2, 3, name="late")(early)
    model = keras.Model(image, [early, head(late, 2, "b"), head(late, 2, "c")])
    tree = cut_at_outputs(model, tasks("early", "b", "c"))
    assert tree.path("early") == ("trunk",)
    assert tree.path("b") == ("trunk", "b-c", "b")
    outputs = dict(zip(("early", "b", "c"), model(IMAGES), strict=True))
    assert_outputs_unchanged(tree, outputs, IMAGES)


def test_two_tasks_on_one_output() -> None:
    image = keras.Input((8, 8, 2))
    x = L.Conv2D(3, 3)(image)
    y = head(x, 2, "y")
    model = keras.Model(image, {"a": y, "b": y, "c": head(x, 1, "c")})
    tree = cut_at_outputs(model, tasks("a", "b", "c"))
    assert tree.path("a") == tree.path("b") == ("trunk", "a-b")


def test_outputs_without_the_tasks_names_go_in_order() -> None:
    image = keras.Input((8, 8, 2))
    x = L.Conv2D(3, 3)(image)
    model = keras.Model(image, [head(x, 2, "dense_1"), head(x, 4, "dense_2")])
    tree = cut_at_outputs(model, tasks("second", "first"))
    assert tree["second"].output_shape == (None, 2)
    assert tree["first"].output_shape == (None, 4)


def test_names_of_nodes_never_collide() -> None:
    image = keras.Input((8, 8, 2))
    x = L.Conv2D(3, 3)(image)
    y = L.Conv2D(3, 3)(x)
    names = ("trunk", "a-b", "a", "b")
    values = (head(x, 1, "o1"), head(x, 2, "o2"), head(y, 3, "o3"), head(y, 4, "o4"))
    model = keras.Model(image, dict(zip(names, values, strict=True)))
    tree = cut_at_outputs(model, tasks(*names))
    assert len(tree.nodes) == 6
    assert_outputs_unchanged(tree, model(IMAGES), IMAGES)


def test_the_input_of_a_branch_takes_a_free_name() -> None:
    image = keras.Input((8, 8, 2))
    x = L.Conv2D(3, 3, name="conv")(image)
    model = keras.Model(image, head(L.Conv2D(2, 3, name="digit_input")(x), 2, "out"))
    tree = cut_at_layer(model, "conv", Task("digit", "mse"))
    assert tree.nodes["digit"].layers[0].name == "digit_input_"
    assert_outputs_unchanged(tree, {"digit": model(IMAGES)}, IMAGES)


def test_a_layer_without_weights_may_be_in_two_nodes() -> None:
    image = keras.Input((8, 8, 2))
    relu, pool = L.ReLU(name="relu"), L.GlobalAveragePooling2D()
    x = relu(L.Conv2D(3, 3)(image))
    model = keras.Model(image, {"a": L.Dense(2)(pool(relu(L.Conv2D(2, 1)(x)))), "b": pool(relu(x))})
    tree = cut_at_outputs(model, tasks("a", "b"))
    assert_outputs_unchanged(tree, model(IMAGES), IMAGES)


def test_arguments_of_calls_are_kept() -> None:
    steps = keras.Input((6, 4))
    x = L.Dense(4)(steps)
    attention = L.MultiHeadAttention(2, 3)(x, x, use_causal_mask=True)
    model = keras.Model(steps, {"a": attention, "b": L.GlobalAveragePooling1D()(x)})
    tree = cut_at_outputs(model, tasks("a", "b"))
    values = np.random.default_rng(1).normal(size=(2, 6, 4)).astype("float32")
    assert_outputs_unchanged(tree, model(values), values)
    later = values.copy()
    later[:, -1] += 1
    np.testing.assert_array_equal(tree["a"](values)[:, :-1], tree["a"](later)[:, :-1])


def skip_over_the_cut() -> keras.Model:
    image = keras.Input((8, 8, 2), name="image")
    low = L.Conv2D(2, 3, padding="same", name="low")(image)
    high = L.Conv2D(2, 3, padding="same", name="high")(low)
    merged = L.Concatenate(name="merge")([low, high])
    return keras.Model(image, {"a": head(merged, 1, "o1"), "b": head(high, 1, "o2")})


def a_mask_crosses() -> keras.Model:
    words = keras.Input((5,), dtype="int32")
    x = L.Embedding(7, 3, mask_zero=True, name="words")(words)
    return keras.Model(words, {"a": L.LSTM(2)(x), "b": L.GlobalAveragePooling1D()(x)})


def only_the_input() -> keras.Model:
    image = keras.Input((8, 8, 2))
    return keras.Model(image, {"a": head(image, 1, "o1"), "b": head(image, 2, "o2")}, name="apart")


def shared_layer() -> keras.Model:
    image = keras.Input((8, 8, 2))
    x = L.Conv2D(2, 3)(image)
    conv = L.Conv2D(2, 1, name="both")
    a, b = conv(x), conv(L.ReLU()(x))
    return keras.Model(image, {"a": head(a, 1, "o1"), "b": head(b, 2, "o2")})


def two_tensors_leave() -> keras.Model:
    image = keras.Input((8, 8, 2))
    left, right = keras.ops.split(L.Conv2D(4, 3, name="conv")(image), 2, axis=-1)
    return keras.Model(image, {"a": head(left, 1, "o1"), "b": head(right, 2, "o2")})


def two_inputs() -> keras.Model:
    one, two = keras.Input((8, 8, 2), name="one"), keras.Input((8, 8, 2), name="two")
    x = L.Add()([one, two])
    return keras.Model([one, two], {"a": head(x, 1, "o1"), "b": head(x, 1, "o2")})


def one_output() -> keras.Model:
    image = keras.Input((8, 8, 2))
    return keras.Model(image, head(image, 1, "o1"))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            skip_over_the_cut,
            r"2 that enter what task 'a' alone runs: .*low.*, .*high|high.*, .*low",
        ),
        (a_mask_crosses, r"2 that enter .*: words \(None, 5, 3\), .*the boolean one is a mask"),
        (only_the_input, r"Received: 'apart', whose outputs have only the input in common"),
        (shared_layer, r"Nodes 'a' and 'b' must not share a layer.*both hold 'both'"),
        (two_tensors_leave, r"2 that leave what exactly the tasks 'a', 'b' run: split"),
        (two_inputs, r"must have one input tensor.*Received 2: one \(None, 8, 8, 2\), two"),
        (one_output, r"must have several outputs.*cut_at_layer"),
    ],
)
def test_outputs_that_cannot_be_cut(build: Callable[[], keras.Model], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cut_at_outputs(build(), tasks("a", "b"))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a", "b", "cc"), r"outputs 'a', 'b', 'c' and tasks 'a', 'b', 'cc'.*Did you mean 'c'"),
        (("a", "b"), r"outputs 'a', 'b', 'c' and tasks 'a', 'b'\. Give every output a task"),
        (("x", "y", "z"), r"outputs 'a', 'b', 'c' and tasks 'x', 'y', 'z'"),
    ],
)
def test_outputs_and_tasks_must_match(names: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cut_at_outputs(many_layers(), tasks(*names))


def test_subclassed_models_are_refused() -> None:
    class Own(keras.Model):
        def call(self, x: Any) -> Any:
            return x

    with pytest.raises(ValueError, match="Received: Own, which is not functional"):
        cut_at_outputs(Own(), tasks("a", "b"))


def residual() -> keras.Model:
    """A chain of two residual blocks, with the names of the layers that can be cut at."""
    x = image = keras.Input((8, 8, 2), name="image")
    x = L.Conv2D(4, 3, padding="same", name="stem")(x)
    for block in ("one", "two"):
        y = L.Conv2D(4, 3, padding="same", name=f"{block}_conv")(x)
        y = L.BatchNormalization(name=f"{block}_bn")(y)
        x = L.Add(name=f"{block}_add")([x, y])
    return keras.Model(image, head(x, 3, "out"), name="residual")


CUTS = ("stem", "one_add", "two_add", "out_pool")


@pytest.mark.parametrize("name", [layer.name for layer in residual().layers])
def test_every_layer_is_cut_or_refused(name: str) -> None:
    model = residual()
    if name in CUTS:
        tree = cut_at_layer(model, name, Task("digit", "mse"))
        assert tree.nodes["trunk"].layers[-1].name == name
        assert dict(tree.paths) == {"digit": ("trunk", "digit")}
        assert_outputs_unchanged(tree, {"digit": model(IMAGES)}, IMAGES)
        assert_weights_shared(tree, model)
    else:
        with pytest.raises(ValueError, match="nearest layers at which it can be cut"):
            cut_at_layer(model, name, Task("digit", "mse"))


def test_a_refused_cut_names_tensors_and_near_layers() -> None:
    with pytest.raises(
        ValueError,
        match=r"behind layer 'two_conv'. Received 2: .*two_conv \(None, 8, 8, 4\).*"
        r"can be cut: 'one_add' or 'two_add'",
    ):
        cut_at_layer(residual(), "two_conv", Task("digit", "mse"))


def test_unknown_layer_offers_near_names() -> None:
    with pytest.raises(ValueError, match=r"No layer 'one_ad' in the model 'residual'.*'one_add'"):
        cut_at_layer(residual(), "one_ad", Task("digit", "mse"))


def test_layer_inside_a_nested_model() -> None:
    image = keras.Input((8, 8, 4))
    model = keras.Model(image, head(inner_model()(image), 1, "out"))
    with pytest.raises(ValueError, match=r"'inner_conv'.*It is inside the model 'inner'"):
        cut_at_layer(model, "inner_conv", Task("digit", "mse"))
    tree = cut_at_layer(model, "inner", Task("digit", "mse"))
    x = np.ones((2, 8, 8, 4), "float32")
    assert_outputs_unchanged(tree, {"digit": model(x)}, x)


def test_layer_called_twice_is_no_cut() -> None:
    image = keras.Input((8, 8, 2))
    conv = L.Conv2D(2, 1, name="twice")
    model = keras.Model(image, head(conv(conv(image)), 1, "out"))
    with pytest.raises(ValueError, match=r"'twice' must give one tensor to cut at\. Received 2"):
        cut_at_layer(model, "twice", Task("digit", "mse"))


def test_several_outputs_are_not_cut_at_a_layer() -> None:
    with pytest.raises(ValueError, match=r"must have one output tensor.*Received 3"):
        cut_at_layer(many_layers(), "conv", Task("a", "mse"))


def test_sequential_model() -> None:
    model = keras.Sequential(
        [keras.Input((8, 8, 2)), L.Conv2D(3, 3, name="conv"), L.Flatten(), L.Dense(2)], name="seq"
    )
    tree = cut_at_layer(model, "conv", Task("digit", "mse"))
    assert_outputs_unchanged(tree, {"digit": model(IMAGES)}, IMAGES)
    assert_weights_shared(tree, model)


def test_the_model_is_left_as_it_was() -> None:
    model = residual()
    before, config = model(IMAGES), model.get_config()
    cut_at_layer(model, "one_add", Task("digit", "mse"))
    np.testing.assert_array_equal(model(IMAGES), before)
    assert model.get_config() == config
    assert tuple(model.get_layer("two_add").output.shape) == (None, 8, 8, 4)
