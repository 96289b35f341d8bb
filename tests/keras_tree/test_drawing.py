"""The picture of a tree, compared with what it should be line by line."""

import keras

from keras_tree.drawing import draw
from keras_tree.tasks import Task
from keras_tree.tree import Tree


def dense(inputs: int, units: int) -> keras.Model:
    x = keras.Input((inputs,))
    return keras.Model(x, keras.layers.Dense(units)(x))


def deep_tree() -> Tree:
    return Tree.from_nested(
        dense(4, 100),
        {
            "digit": dense(100, 10),
            "shape": (dense(100, 8), {"angle": dense(8, 1), "size": dense(8, 2)}),
        },
        [Task("digit", "mse"), Task("angle", "mse"), Task("size", "mse", auxiliary=True)],
        name="family",
    )


DEEP_TREE = """\
Tree 'family': 3 tasks, 5 nodes, 2,345 parameters, 9,380 bytes as float32

node           parameters  bytes (float32)  share  tasks
---------------------------------------------------------------------------------
trunk                 500            2,000  21.3%  digit, angle, size (auxiliary)
├── digit           1,010            4,040  43.1%  digit
└── shape             808            3,232  34.5%  angle, size (auxiliary)
    ├── angle           9               36   0.4%  angle
    └── size           18               72   0.8%  size (auxiliary)
"""


def test_tree() -> None:
    assert draw(deep_tree()) == DEEP_TREE


def test_summary_prints_the_picture(capsys) -> None:
    tree, lines = deep_tree(), []
    tree.summary()
    assert capsys.readouterr().out == DEEP_TREE + "\n"
    tree.summary(print_fn=lines.append)
    assert lines == [DEEP_TREE]
    assert capsys.readouterr().out == ""


def test_frozen_nodes_are_marked() -> None:
    tree = deep_tree()
    tree.add_branch(Task("hue", "mse"), dense(100, 1))
    assert (
        draw(tree)
        == """\
Tree 'family': 4 tasks, 6 nodes, 2,446 parameters (101 trainable), 9,784 bytes as float32

node           parameters  bytes (float32)  share  tasks
------------------------------------------------------------------------------------------------
trunk                 500            2,000  20.4%  digit, angle, size (auxiliary), hue  [frozen]
├── digit           1,010            4,040  41.3%  digit  [frozen]
├── shape             808            3,232  33.0%  angle, size (auxiliary)  [frozen]
│   ├── angle           9               36   0.4%  angle  [frozen]
│   └── size           18               72   0.7%  size (auxiliary)  [frozen]
└── hue               101              404   4.1%  hue
"""
    )


def test_paths_that_are_no_tree() -> None:
    tree = Tree(
        {"stem": dense(4, 4), "a": dense(4, 4), "b": dense(4, 4), "end": dense(4, 1)},
        {"one": ("stem", "a", "end"), "two": ("stem", "b", "a"), "three": ("stem",)},
        [Task("one", "mse"), Task("two", "mse"), Task("three", "mse")],
    )
    assert (
        draw(tree)
        == """\
Tree 'tree': 3 tasks, 4 nodes, 65 parameters, 260 bytes as float32

node  parameters  bytes (float32)  share  tasks
---------------------------------------------------------------------
stem          20               80  30.8%  one, two, three (ends here)
a             20               80  30.8%  one, two (ends here)
b             20               80  30.8%  two
end            5               20   7.7%  one (ends here)

paths (* = a node that several paths share)
  one    stem* -> a* -> end
  two    stem* -> b -> a*
  three  stem*
"""
    )


def test_tree_without_parameters() -> None:
    x = keras.Input((4,))
    tree = Tree(
        {"flat": keras.Model(x, keras.layers.Flatten()(x))}, {"a": ("flat",)}, [Task("a", "mse")]
    )
    assert "flat           0                0      -  a (ends here)" in draw(tree)
