"""A tree's nodes, paths and tasks: what is accepted, what running it touches, how it grows."""

import doctest
import importlib
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import pytest

from keras_tree.tasks import Task
from keras_tree.tree import Tree

L = keras.layers
X = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")


@keras.saving.register_keras_serializable(package="keras_tree_tests")
class Counting(L.Layer):
    """Counts how often it is called and built, in Python: symbolic calls count too."""

    calls = 0

    def call(self, x: Any) -> Any:
        type(self).calls += 1
        return x


def dense(
    inputs: int, units: int, *layers: keras.layers.Layer, name: str | None = None
) -> keras.Model:
    x = keras.Input((inputs,))
    y = L.Dense(units)(x)
    for layer in layers:
        y = layer(y)
    return keras.Model(x, y, name=name)


def tasks(*names: str) -> list[Task]:
    return [Task(name, "mse") for name in names]


def small_tree(*trunk_layers: keras.layers.Layer) -> Tree:
    return Tree.from_branches(
        dense(4, 8, *trunk_layers, name="features"),
        {"digit": dense(8, 3), "angle": dense(8, 1)},
        tasks("digit", "angle"),
    )


def snapshot(tree: Tree) -> list[bytes]:
    return [variable.numpy().tobytes() for variable in tree.variables]


def train(tree: Tree, task: str, steps: int = 2) -> None:
    """Some optimizer steps on one task, as any training loop makes them."""
    import tensorflow as tf

    for _ in range(steps):
        variables = tree.node_variables(task)
        with tf.GradientTape() as tape:
            loss = keras.ops.mean((tree({task: X}, training=True)[task] - 1.0) ** 2)
        tree.optimizer.apply(tape.gradient(loss, variables), variables)


# Construction


def test_from_branches() -> None:
    tree = small_tree()
    assert list(tree.nodes) == ["trunk", "digit", "angle"]
    assert dict(tree.paths) == {"digit": ("trunk", "digit"), "angle": ("trunk", "angle")}
    assert list(tree.tasks) == ["digit", "angle"]
    assert tree.trunk_name == "trunk"
    assert [node.name for node in tree.nodes.values()] == list(tree.nodes)


def test_from_nested() -> None:
    tree = Tree.from_nested(
        dense(4, 8),
        {
            "digit": dense(8, 3),
            "shape": (
                dense(8, 6),
                {"angle": dense(6, 1), "deep": (dense(6, 5), {"size": dense(5, 2)})},
            ),
        },
        tasks("digit", "shape", "angle", "size"),
    )
    assert dict(tree.paths) == {
        "digit": ("trunk", "digit"),
        "shape": ("trunk", "shape"),
        "angle": ("trunk", "shape", "angle"),
        "size": ("trunk", "shape", "deep", "size"),
    }
    assert tree["size"](X).shape == (5, 2)
    assert tree["shape"](X).shape == (5, 6)


def test_paths_of_their_own_selection() -> None:
    """As in AdaShare: blocks that several tasks share and others skip, in any order."""
    nodes = {"a": dense(4, 4), "stem": dense(4, 4), "b": dense(4, 4), "end": dense(4, 2)}
    tree = Tree(
        nodes,
        {"one": ["stem", "a", "b", "end"], "two": ("stem", "b", "a", "end"), "three": ("stem",)},
        tasks("three", "one", "two"),
    )
    assert tree.trunk_name == "stem"
    assert list(tree.nodes) == ["stem", "a", "b", "end"]
    assert list(tree.paths) == ["three", "one", "two"]
    x = nodes["stem"](X)
    np.testing.assert_array_equal(tree["two"](X), nodes["end"](nodes["a"](nodes["b"](x))))
    np.testing.assert_array_equal(tree(X)["three"], x)


def test_weights_are_those_of_the_models_given() -> None:
    trunk, digit = dense(4, 8, name="mine"), dense(8, 3)
    tree = Tree.from_branches(trunk, {"digit": digit}, tasks("digit"))
    assert [id(v) for v in tree.variables] == [id(v) for v in trunk.variables + digit.variables]
    assert trunk.name == "mine"
    trunk.set_weights([np.zeros((4, 8)), np.ones(8)])
    np.testing.assert_array_equal(tree.nodes["trunk"](X), np.ones((5, 8)))


def test_sequential_models_are_nodes() -> None:
    trunk = keras.Sequential([keras.Input((4,)), L.Dense(8), L.ReLU()])
    tree = Tree.from_branches(trunk, {"digit": dense(8, 3)}, tasks("digit"))
    np.testing.assert_array_equal(tree.nodes["trunk"](X), trunk(X))


def test_frozen_models_stay_frozen() -> None:
    trunk = dense(4, 8)
    trunk.trainable = False
    tree = Tree.from_branches(trunk, {"digit": dense(8, 3)}, tasks("digit"))
    assert not tree.nodes["trunk"].trainable
    assert len(tree.trainable_variables) == 2


def test_shapes_may_be_open() -> None:
    steps = keras.Input((None, 4))
    trunk = keras.Model(steps, L.Conv1D(8, 3)(steps))
    features = keras.Input((None, 8))
    branch = keras.Model(features, L.GlobalAveragePooling1D()(features))
    tree = Tree.from_branches(trunk, {"word": branch}, tasks("word"))
    for length in (7, 9):
        assert tree["word"](np.ones((2, length, 4), "float32")).shape == (2, 8)


def two_inputs() -> keras.Model:
    one, two = keras.Input((8,), name="one"), keras.Input((8,), name="two")
    return keras.Model([one, two], L.Add()([one, two]))


def two_outputs() -> keras.Model:
    x = keras.Input((8,))
    return keras.Model(x, [L.Dense(2, name="left")(x), L.Dense(3, name="right")(x)])


class Subclassed(keras.Model):
    def call(self, x: Any) -> Any:
        return x


class Overriding(keras.Model):
    """Made of a graph, but running something else."""

    def call(self, x: Any, training: Any = None, mask: Any = None) -> Any:
        return 2 * super().call(x)


def overriding() -> keras.Model:
    x = keras.Input((8,))
    return Overriding(x, L.Dense(2)(x))


@pytest.mark.parametrize(
    ("branch", "message"),
    [
        (lambda: dense(7, 3), r"'trunk' gives shape \(None, 8\), 'digit' takes shape \(None, 7\)"),
        (two_inputs, r"'digit' must have one input tensor.*2: one \(None, 8\), two \(None, 8\)"),
        (two_outputs, r"one output tensor.*2: left \(None, 2\), right \(None, 3\)"),
        (Subclassed, r"functional or built sequential.*Subclassed, which is not functional"),
        (overriding, r"Overriding, which overrides `call`"),
        (lambda: keras.Sequential([L.Dense(2)]), r"Sequential, which is not functional"),
        (lambda: 3, r"int, which is no Keras model"),
        (lambda: None, r"NoneType, which is no Keras model"),
    ],
)
def test_bad_branches(branch: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Tree.from_branches(dense(4, 8), {"digit": branch()}, tasks("digit"))


GOOD_PATHS = {"one": ("stem", "a"), "two": ("stem", "b")}


@pytest.mark.parametrize(
    ("paths", "names", "message"),
    [
        ({"one": ("stem", "a")}, ("one", "two"), r"none for task 'two'"),
        ({**GOOD_PATHS, "tow": ("stem",)}, ("one", "two"), r"for 'tow'\. Did you mean 'two'"),
        ({**GOOD_PATHS, "two": ("stem", "bb")}, ("one", "two"), r"Received: 'bb'\. Did you.*'b'"),
        (
            {**GOOD_PATHS, "two": ("stem", "b", "b")},
            ("one", "two"),
            r"node 'b' twice in the path of",
        ),
        ({**GOOD_PATHS, "two": ()}, ("one", "two"), r"trunk first\. Received: \(\)"),
        ({**GOOD_PATHS, "two": "stem"}, ("one", "two"), r"trunk first\. Received: 'stem'"),
        ({**GOOD_PATHS, "two": ("b",)}, ("one", "two"), r"begin with 'stem', 'b'"),
        ({**GOOD_PATHS, "two": ("stem", "a")}, ("one", "two"), r"no task uses: 'b'"),
        (GOOD_PATHS, ("one", "one", "two"), r"two tasks named 'one'"),
        (GOOD_PATHS, (), r"at least one Task"),
    ],
)
def test_bad_paths_and_tasks(
    paths: Mapping[str, Any], names: tuple[str, ...], message: str
) -> None:
    nodes = {"stem": dense(4, 4), "a": dense(4, 4), "b": dense(4, 4)}
    with pytest.raises(ValueError, match=message):
        Tree(nodes, paths, tasks(*names))


def test_tasks_must_be_tasks() -> None:
    with pytest.raises(ValueError, match=r"sequence of keras_tree\.Task\. Received: 'digit'"):
        Tree.from_branches(dense(4, 8), {"digit": dense(8, 1)}, ["digit"])  # type: ignore[list-item]


@pytest.mark.parametrize("name", ["a b", "a/b", "", "..", 3])
def test_node_names_must_be_file_names(name: Any) -> None:
    with pytest.raises(ValueError, match=r"A node name must consist of letters"):
        Tree({name: dense(4, 4)}, {"one": (name,)}, tasks("one"))


def test_names_must_differ_in_more_than_case() -> None:
    with pytest.raises(ValueError, match=r"Task names must differ.*'digit' and 'Digit'"):
        Tree.from_branches(dense(4, 8), {"digit": dense(8, 1)}, tasks("digit", "Digit"))
    with pytest.raises(ValueError, match=r"Node names must differ.*'trunk' and 'Trunk'"):
        Tree.from_branches(dense(4, 8), {"Trunk": dense(8, 1)}, tasks("Trunk"))


def test_two_nodes_of_one_name() -> None:
    nested = {"digit": dense(8, 8), "shape": (dense(8, 8), {"digit": dense(8, 1)})}
    with pytest.raises(ValueError, match="two named 'digit'"):
        Tree.from_nested(dense(4, 8), nested, tasks("digit"))
    with pytest.raises(ValueError, match="two named 'trunk'; the root is always 'trunk'"):
        Tree.from_branches(dense(4, 8), {"trunk": dense(8, 8)}, tasks("trunk"))


def test_a_layer_in_two_nodes() -> None:
    shared, x, y = L.Dense(2, name="shared"), keras.Input((8,)), keras.Input((8,))
    branches = {"digit": keras.Model(x, shared(x)), "angle": keras.Model(y, shared(y))}
    with pytest.raises(ValueError, match=r"'digit' and 'angle' must not share.*both hold 'shared'"):
        Tree.from_branches(dense(4, 8), branches, tasks("digit", "angle"))


def test_a_model_given_as_two_nodes() -> None:
    branch = dense(8, 2)
    with pytest.raises(ValueError, match="must not share a layer"):
        Tree.from_branches(dense(4, 8), {"digit": branch, "angle": branch}, tasks("digit", "angle"))


# Running


def test_every_way_of_running_a_task_gives_the_same() -> None:
    tree = small_tree()
    whole = tree(X)
    assert list(whole) == ["digit", "angle"]
    for task in tree.tasks:
        np.testing.assert_array_equal(whole[task], tree[task](X))
        np.testing.assert_array_equal(whole[task], tree({task: X})[task])


def test_path_model() -> None:
    tree = small_tree()
    model = tree["digit"]
    assert model is tree["digit"]
    assert model.name == "digit"
    assert [layer.name for layer in model.layers] == ["input", "trunk", "digit"]
    assert model.input_shape == (None, 4)
    assert model.output_shape == (None, 3)


def test_a_node_may_be_named_input() -> None:
    nodes = {"input": dense(4, 8), "input_": dense(8, 3)}
    tree = Tree(nodes, {"digit": ("input", "input_")}, tasks("digit"))
    np.testing.assert_array_equal(tree["digit"](X), tree(X)["digit"])


@pytest.mark.parametrize("module", ["keras_tree", "keras_tree.tasks", "keras_tree.tree"])
def test_examples_in_docstrings(module: str) -> None:
    results = doctest.testmod(importlib.import_module(module))
    assert results.attempted > 0
    assert results.failed == 0


def test_unknown_task_offers_near_names() -> None:
    tree = small_tree()
    for run in (lambda: tree["digits"], lambda: tree({"digits": X}), lambda: tree.path("digits")):
        with pytest.raises(
            ValueError, match=r"No task 'digits' in this tree\. Did you mean 'digit'"
        ):
            run()


def test_a_task_leaves_other_branches_alone() -> None:
    """Neither predicting nor building the model of a task calls another branch."""
    other = dense(8, 3, Counting())
    tree = Tree.from_branches(
        dense(4, 8), {"digit": dense(8, 2), "other": other}, tasks("digit", "other")
    )
    Counting.calls = 0
    tree["digit"](X)
    tree({"digit": X}, training=True)
    tree["digit"].predict(X, verbose=0)
    assert Counting.calls == 0
    tree(X)
    assert Counting.calls == 1


def test_shared_nodes_run_once() -> None:
    trunk = dense(4, 8, Counting())
    mid = dense(8, 8, Counting())
    tree = Tree.from_nested(
        trunk,
        {"a": dense(8, 1), "mid": (mid, {"b": dense(8, 1), "c": dense(8, 1)})},
        tasks("a", "b", "c"),
    )
    Counting.calls = 0
    tree(X)
    assert Counting.calls == 2
    tree({"b": X, "c": X + 1})
    assert Counting.calls == 6


def test_runs_symbolically() -> None:
    tree = small_tree()
    outputs = tree(keras.Input((4,)))
    assert {task: value.shape for task, value in outputs.items()} == {
        "digit": (None, 3),
        "angle": (None, 1),
    }


def test_views_cannot_be_edited() -> None:
    tree = small_tree()
    for view in (tree.nodes, tree.paths, tree.tasks):
        with pytest.raises(TypeError):
            view["new"] = None  # type: ignore[index]


def test_variables_of_a_task() -> None:
    tree = small_tree()
    expected = tree.nodes["trunk"].weights + tree.nodes["angle"].weights
    assert [id(v) for v in tree.node_variables("angle")] == [id(v) for v in expected]
    tree.nodes["trunk"].trainable = False
    assert len(tree.node_variables("angle")) == 2


# Growing


def grown() -> Tree:
    tree = small_tree(L.BatchNormalization(), L.SpectralNormalization(L.Dense(8)), L.Dropout(0.5))
    tree.compile("adam")
    train(tree, "digit")
    return tree


def test_older_tasks_stay_bit_identical() -> None:
    tree = grown()
    before, outputs = snapshot(tree), {task: tree[task](X) for task in tree.tasks}
    old = list(tree.variables)
    tree.add_branch(Task("hue", "mse"), dense(8, 2, L.BatchNormalization()))
    assert tree.paths["hue"] == ("trunk", "hue")
    assert not any(tree.nodes[name].trainable for name in ("trunk", "digit", "angle"))
    new = tree.nodes["hue"].get_weights()
    train(tree, "hue", steps=5)
    assert [v.numpy().tobytes() for v in old] == before
    for weight, moved in zip(new, tree.nodes["hue"].get_weights(), strict=True):
        assert not np.array_equal(weight, moved)
    for task, output in outputs.items():
        np.testing.assert_array_equal(tree[task](X), output)
        np.testing.assert_array_equal(tree(X)[task], output)


def test_growing_without_freezing_trains_the_trunk() -> None:
    tree = grown()
    trunk = tree.nodes["trunk"].get_weights()
    tree.add_branch(Task("hue", "mse"), dense(8, 2), freeze=False)
    train(tree, "hue")
    assert not np.array_equal(trunk[0], tree.nodes["trunk"].get_weights()[0])


def test_the_optimizer_grows_and_forgets_nothing() -> None:
    tree = grown()
    old = tree.optimizer
    slots = {id(v): v.numpy() for v in old.variables}
    tree.optimizer.learning_rate = 0.25
    tree.add_branch(Task("hue", "mse"), dense(8, 2))
    assert int(tree.optimizer.iterations) == int(old.iterations) == 2
    assert float(tree.optimizer.learning_rate) == 0.25
    assert len(tree.optimizer.variables) == len(slots) + 4
    kept = sorted(value.tobytes() for value in slots.values() if value.ndim)
    now = sorted(v.numpy().tobytes() for v in tree.optimizer.variables if v.ndim)
    assert all(value in now for value in kept)


def test_growing_an_uncompiled_tree() -> None:
    tree = small_tree()
    tree.add_branch(Task("hue", "mse"), dense(8, 2))
    tree.compile()
    assert len(tree.optimizer.variables) == 2 + 2 * 2


def test_growing_deeper() -> None:
    tree = small_tree()
    tree.add_branch(Task("fine", "mse"), dense(3, 2), after="digit")
    assert tree.path("fine") == ("trunk", "digit", "fine")
    tree.add_branch(Task("finer", "mse"), dense(2, 2), after=("trunk", "digit", "fine"))
    assert tree["finer"](X).shape == (5, 2)


def test_several_ways_to_a_node() -> None:
    nodes = {"stem": dense(4, 4), "a": dense(4, 4), "b": dense(4, 4)}
    tree = Tree(nodes, {"one": ("stem", "a", "b"), "two": ("stem", "b")}, tasks("one", "two"))
    with pytest.raises(ValueError, match=r"'b', to which 2 lead.*after=\('stem', 'a', 'b'\) or"):
        tree.add_branch(Task("new", "mse"), dense(4, 1), after="b")
    tree.add_branch(Task("new", "mse"), dense(4, 1), after=("stem", "b"))
    assert tree.path("new") == ("stem", "b", "new")


@pytest.mark.parametrize(
    ("name", "branch", "after", "message"),
    [
        ("digit", lambda: dense(8, 1), None, r"two tasks named 'digit'"),
        ("trunk", lambda: dense(8, 1), None, r"second node named 'trunk'"),
        ("hue", lambda: dense(9, 1), None, r"'trunk' gives shape \(None, 8\), 'hue' takes .*9"),
        ("hue", lambda: dense(8, 1), "digits", r"`after`.*'digits'\. Did you mean 'digit'"),
        ("hue", lambda: dense(8, 1), 7, r"`after` must name a node.*Received: 7\. Known: 'trunk'"),
        ("hue", lambda: dense(8, 1), ("digit",), r"Every path must begin with the same node"),
        ("hue", lambda: dense(8, 1), ("trunk", "digits"), r"path of task 'hue'.*'digits'"),
        ("hue", two_outputs, None, r"must have one output tensor"),
    ],
)
def test_bad_growth_changes_nothing(name: str, branch: Any, after: Any, message: str) -> None:
    tree = small_tree()
    tree.compile()
    before, optimizer = snapshot(tree), tree.optimizer
    with pytest.raises(ValueError, match=message):
        tree.add_branch(Task(name, "mse"), branch(), after=after)
    assert list(tree.tasks) == list(tree.paths) == ["digit", "angle"]
    assert list(tree.nodes) == ["trunk", "digit", "angle"]
    assert len(tree.trainable_variables) == 6
    assert snapshot(tree) == before
    assert tree.optimizer is optimizer
