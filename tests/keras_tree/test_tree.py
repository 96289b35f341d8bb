"""A tree's nodes, paths and tasks, and what running it touches."""

import keras
import numpy as np
import pytest

from keras_tree.tasks import Task
from keras_tree.tree import Tree


def dense(inputs: int, units: int, name: str) -> keras.Model:
    x = keras.Input((inputs,))
    return keras.Model(x, keras.layers.Dense(units)(x), name=name)


def small_tree() -> Tree:
    return Tree.from_branches(
        dense(4, 8, "features"),
        {"digit": dense(8, 3, "digit"), "angle": dense(8, 1, "angle")},
        [Task("digit", "sparse_categorical_crossentropy"), Task("angle", "mse")],
    )


def test_from_branches_names_nodes_and_paths() -> None:
    tree = small_tree()
    assert list(tree.nodes) == ["trunk", "digit", "angle"]
    assert dict(tree.paths) == {"digit": ("trunk", "digit"), "angle": ("trunk", "angle")}
    assert tree.trunk_name == "trunk"
    assert [node.name for node in tree.nodes.values()] == list(tree.nodes)


def test_every_way_of_running_a_task_gives_the_same_output() -> None:
    tree, x = small_tree(), np.ones((2, 4), "float32")
    whole = tree(x)
    for task in tree.tasks:
        np.testing.assert_array_equal(whole[task], tree[task](x))
        np.testing.assert_array_equal(whole[task], tree({task: x})[task])


def test_unknown_task_offers_near_names() -> None:
    with pytest.raises(ValueError, match=r"No task 'digits' in this tree\. Did you mean 'digit'"):
        small_tree()["digits"]
