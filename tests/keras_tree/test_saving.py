"""The file of a tree: an exact round trip, and clear errors where a file is damaged or foreign."""

import copy
import json
import os
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_tree.cutting import cut_at_outputs
from keras_tree.saving import TreeFileError, load
from keras_tree.tasks import Task
from keras_tree.tree import Tree

# Keras 3.15 writes every weight through a conversion that NumPy 2.4 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

L = keras.layers
X = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")


def dense(inputs: int, units: int, *layers: keras.layers.Layer) -> keras.Model:
    x = keras.Input((inputs,))
    y = L.Dense(units, name="dense")(x)
    for layer in layers:
        y = layer(y)
    return keras.Model(x, y)


def deep_tree() -> Tree:
    """Batch normalization, dropout, a nested model, a task that ends on the way of others."""
    return Tree.from_nested(
        dense(4, 8, L.BatchNormalization(), L.Dropout(0.5), dense(8, 8, L.Dropout(0.5))),
        {
            "digit": dense(8, 3, L.Softmax()),
            "shape": (
                dense(8, 6, L.BatchNormalization()),
                {"angle": dense(6, 1), "hue": dense(6, 2)},
            ),
        },
        [
            Task("digit", "mse", metrics=("accuracy",), labels=("a", "b", "c"), missing_label=-1),
            Task("shape", keras.losses.Huber(0.5), metrics=(keras.metrics.MeanSquaredError("m"),)),
            Task("angle", "mae", weight=0.5),
            Task("hue", "mse", auxiliary=True),
        ],
        name="family",
    )


def compiled_tree(optimizer: Any = "adam", steps: int = 4) -> Tree:
    tree = deep_tree()
    tree.compile(optimizer, schedule="alternating", steps_per_execution=3, jit_compile=False)
    train(tree, steps)
    return tree


def train(tree: Tree, steps: int) -> None:
    """Optimizer steps, each on one task, as any training loop makes them."""
    tasks = [task for task in tree.tasks if tree.node_variables(task)]
    for _ in range(steps):
        task = tasks[int(tree.optimizer.iterations) % len(tasks)]
        variables = tree.node_variables(task)
        with tf.GradientTape() as tape:
            loss = keras.ops.mean((tree({task: X}, training=True)[task] - 1.0) ** 2)
        tree.optimizer.apply(tape.gradient(loss, variables), variables)


def numbers(tree: Tree) -> list[bytes]:
    """Every number of a tree: weights, statistics, random states, optimizer."""
    variables = [*tree.variables, *(tree.optimizer.variables if tree.optimizer else ())]
    return [variable.numpy().tobytes() for variable in variables]


def plain(config: Any) -> Any:
    """A configuration as a file holds it, where a tuple is a list."""
    return json.loads(json.dumps(config))


def assert_same_tree(tree: Tree, again: Tree) -> None:
    assert type(again) is type(tree)
    assert again.name == tree.name
    assert list(again.nodes) == list(tree.nodes)
    assert dict(again.paths) == dict(tree.paths)
    assert plain(again.get_config()) == plain(tree.get_config())
    assert plain(again.get_compile_config()) == plain(tree.get_compile_config())
    assert numbers(again) == numbers(tree)
    assert [v.path for v in again.weights] == [v.path for v in tree.weights]
    assert [v.trainable for v in again.weights] == [v.trainable for v in tree.weights]
    for task, output in tree(X).items():
        np.testing.assert_array_equal(again(X)[task], output)


OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "sgd": lambda: keras.optimizers.SGD(0.1, momentum=0.9),
    "adam": lambda: keras.optimizers.Adam(0.01, amsgrad=True),
    "schedule": lambda: keras.optimizers.RMSprop(
        keras.optimizers.schedules.ExponentialDecay(0.1, 3, 0.5)
    ),
    "average": lambda: keras.optimizers.Nadam(use_ema=True, ema_momentum=0.9),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_goes_on_as_if_never_saved(optimizer: str, tmp_path: Path) -> None:
    tree = compiled_tree(OPTIMIZERS[optimizer]())
    tree.save(tmp_path / "tree.keras")
    again = load(tmp_path / "tree.keras")
    assert_same_tree(tree, again)
    assert int(again.optimizer.iterations) == 4
    train(tree, 2)
    assert numbers(tree) != numbers(again)
    train(again, 2)
    assert numbers(again) == numbers(tree)


def test_settings_are_kept(tmp_path: Path) -> None:
    tree = compiled_tree(steps=0)
    tree.save(tmp_path / "tree.keras")
    again = load(tmp_path / "tree.keras")
    assert again.compiled
    assert again.schedule == "alternating"
    assert again.steps_per_execution_setting == 3
    assert again.jit_compile_setting is False
    assert again.balancer is None
    assert not again.run_eagerly


def test_schedule_instances_are_kept(tmp_path: Path) -> None:
    schedules = pytest.importorskip("keras_tree.schedules")
    tree = deep_tree()
    tree.compile("sgd", schedule=schedules.Temperature(3.0))
    tree.save(tmp_path / "tree.keras")
    assert load(tmp_path / "tree.keras").schedule == schedules.Temperature(3.0)


def test_uncompiled_tree(tmp_path: Path) -> None:
    tree = deep_tree()
    tree.save(tmp_path / "tree.keras")
    again = load(tmp_path / "tree.keras")
    assert_same_tree(tree, again)
    assert not again.compiled


def test_nodes_are_shared_after_loading(tmp_path: Path) -> None:
    nodes = {"stem": dense(4, 4), "a": dense(4, 4), "b": dense(4, 4)}
    paths = {"one": ("stem", "a", "b"), "two": ("stem", "b"), "three": ("stem", "b", "a")}
    tree = Tree(nodes, paths, [Task(name, "mse") for name in paths])
    tree.save(tmp_path / "tree.keras")
    again = load(tmp_path / "tree.keras")
    assert_same_tree(tree, again)
    assert len(again.weights) == 6
    before = {task: again[task](X).numpy() for task in paths}
    again.nodes["b"].weights[0].assign(np.zeros((4, 4)))
    for task in paths:
        assert not np.array_equal(again[task](X), before[task])


def test_cut_tree(tmp_path: Path) -> None:
    image = keras.Input((4,))
    x = L.Dense(4)(image)
    twice = L.Dense(4)
    y = keras.ops.tanh(twice(twice(x)) + 2.0 * x)
    model = keras.Model(image, {"a": L.Dense(2)(y), "b": y, "c": L.Dense(3)(x)})
    tree = cut_at_outputs(model, [Task(name, "mse") for name in ("a", "b", "c")])
    tree.save(tmp_path / "tree.keras")
    again = load(tmp_path / "tree.keras")
    assert_same_tree(tree, again)
    for task, output in model(X).items():
        np.testing.assert_array_equal(again[task](X), output)


def test_frozen_flags_are_kept(tmp_path: Path) -> None:
    tree = deep_tree()
    tree.nodes["shape"].trainable = False
    tree.nodes["shape"].layers[-1].trainable = True
    tree.nodes["digit"].layers[1].trainable = False
    tree.nodes["angle"].layers[1].bias.trainable = False
    tree.compile("adam")
    tree.save(tmp_path / "tree.keras")
    again = load(tmp_path / "tree.keras")
    assert_same_tree(tree, again)
    assert not again.nodes["shape"].trainable
    assert again.nodes["shape"].layers[-1].trainable
    assert len(again.trainable_variables) == len(tree.trainable_variables) == 6 + 2 + 1 + 2


def test_a_grown_tree_goes_on(tmp_path: Path) -> None:
    tree = compiled_tree(keras.optimizers.AdamW(0.01, weight_decay=0.1))
    tree.add_branch(Task("size", "mse"), dense(6, 2, L.BatchNormalization()), after="shape")
    train(tree, 2)
    tree.save(tmp_path / "tree.keras")
    again = load(tmp_path / "tree.keras")
    assert_same_tree(tree, again)
    assert not again.nodes["trunk"].trainable
    for each in (tree, again):
        train(each, 2)
        each.nodes["shape"].trainable = True
        each.extend_optimizer()
        train(each, 2)
    assert numbers(again) == numbers(tree)


def test_variables_without_weight_decay_are_kept(tmp_path: Path) -> None:
    trees = []
    for _ in range(2):
        keras.utils.set_random_seed(3)
        optimizer = keras.optimizers.AdamW(0.01, weight_decay=0.5)
        optimizer.exclude_from_weight_decay(var_names=["bias"])
        trees.append(compiled_tree(optimizer))
    tree, other = trees
    tree.save(tmp_path / "tree.keras")
    again = load(tmp_path / "tree.keras")
    train(other, 3)
    train(again, 3)
    assert numbers(again) == numbers(other)


def test_the_optimizer_of_a_loaded_tree_goes_on_after_compile(tmp_path: Path) -> None:
    tree = compiled_tree()
    tree.save(tmp_path / "tree.keras")
    again = load(tmp_path / "tree.keras")
    again.compile(again.optimizer, schedule="joint")
    assert numbers(again) == numbers(tree)


def test_keras_reads_the_file_too(tmp_path: Path) -> None:
    tree = compiled_tree()
    tree.save(tmp_path / "tree.keras")
    assert_same_tree(tree, keras.saving.load_model(tmp_path / "tree.keras"))
    assert not keras.saving.load_model(tmp_path / "tree.keras", compile=False).compiled
    assert not load(tmp_path / "tree.keras", compile=False).compiled


def test_keras_writes_the_file_too(tmp_path: Path) -> None:
    tree = compiled_tree()
    keras.saving.save_model(tree, tmp_path / "tree.keras")
    assert_same_tree(tree, load(tmp_path / "tree.keras"))


def test_copies(tmp_path: Path) -> None:
    tree = compiled_tree()
    assert_same_tree(tree, copy.deepcopy(tree))
    clone = keras.models.clone_model(tree)
    assert plain(clone.get_config()) == plain(tree.get_config())
    assert not {id(v) for v in clone.variables} & {id(v) for v in tree.variables}


def test_weights_alone(tmp_path: Path) -> None:
    tree, other = compiled_tree(), compiled_tree(steps=0)
    tree.save_weights(tmp_path / "tree.weights.h5")
    other.load_weights(tmp_path / "tree.weights.h5")
    assert numbers(other) == numbers(tree)
    smaller = Tree.from_branches(dense(4, 8), {"digit": dense(8, 3)}, [Task("digit", "mse")])
    with pytest.raises(ValueError, match=r"must hold 0 random states.*Received: 2"):
        smaller.load_weights(tmp_path / "tree.weights.h5")


def test_reading_needs_no_more_than_the_import(tmp_path: Path) -> None:
    compiled_tree().save(tmp_path / "tree.keras")
    code = (
        "import keras_tree, sys, numpy as np\n"
        "tree = keras_tree.load(sys.argv[1])\n"
        "print(sorted(tree.tasks), tree['digit'](np.ones((1, 4), 'float32')).shape)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "tree.keras"],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert run.stdout == "['angle', 'digit', 'hue', 'shape'] (1, 3)\n"


class Doubling(L.Layer):
    def call(self, x: Any) -> Any:
        return 2 * x


def test_layers_of_ones_own(tmp_path: Path) -> None:
    tree = Tree({"only": dense(4, 2, Doubling())}, {"a": ("only",)}, [Task("a", "mse")])
    tree.save(tmp_path / "tree.keras")
    again = load(tmp_path / "tree.keras", custom_objects={"Doubling": Doubling})
    np.testing.assert_array_equal(again["a"](X), tree["a"](X))
    with pytest.raises(TypeError, match="Could not locate class 'Doubling'"):
        load(tmp_path / "tree.keras")


# Damaged and foreign files


@pytest.fixture(scope="module")
def good_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("good") / "tree.keras"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        compiled_tree(steps=0).save(path)
    return path.read_bytes()


@pytest.mark.parametrize("kept", [0, 1, 100, 0.5, 0.99, -1])
def test_truncated(good_bytes: bytes, kept: float, tmp_path: Path) -> None:
    length = int(kept * len(good_bytes)) if 0 < kept < 1 else int(kept)
    (tmp_path / "tree.keras").write_bytes(good_bytes[:length])
    with pytest.raises(TreeFileError, match=r"no whole .keras archive.*cut short"):
        load(tmp_path / "tree.keras")


def test_every_flipped_byte_of_the_contents_is_noticed(good_bytes: bytes, tmp_path: Path) -> None:
    """Bytes of an entry's contents; those of the archive's own tables may not matter."""
    path = tmp_path / "tree.keras"
    path.write_bytes(good_bytes)
    with zipfile.ZipFile(path) as archive:
        entries = [(e.filename, e.header_offset, e.file_size) for e in archive.infolist()]
    for name, offset, size in entries:
        middle = offset + 30 + len(name) + size // 2
        damaged = bytearray(good_bytes)
        damaged[middle] ^= 0x55
        path.write_bytes(damaged)
        with pytest.raises(TreeFileError, match=f"wrong bytes in its entry {name}"):
            load(path)


def test_another_kind_of_file(tmp_path: Path) -> None:
    path = tmp_path / "tree.keras"
    path.write_text("not a model\n")
    with pytest.raises(TreeFileError, match=r"no whole .keras archive"):
        load(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(TreeFileError, match=r"without metadata\.json, model\.weights\.h5"):
        load(path)
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("config.json", "metadata.json", "model.weights.h5"):
            archive.writestr(name, "[not json")
    with pytest.raises(TreeFileError, match=r"config\.json"):
        load(path)
    with pytest.raises(TreeFileError, match=r"no whole .keras archive"):
        load(tmp_path)


def test_another_model(tmp_path: Path) -> None:
    dense(4, 2).save(tmp_path / "model.keras")
    with pytest.raises(TreeFileError, match=r"class 'Functional'.*cut_at_outputs"):
        load(tmp_path / "model.keras")


def test_missing_file(tmp_path: Path) -> None:
    (tmp_path / "other.keras").touch()
    with pytest.raises(FileNotFoundError, match=r"does not exist.*other\.keras"):
        load(tmp_path / "tree.keras")
    with pytest.raises(FileNotFoundError, match=r"folder .* does not exist either"):
        load(tmp_path / "nowhere" / "tree.keras")


# Writing whole or not at all


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError("No space left on device")])
@pytest.mark.parametrize("place", ["write", "replace"])
def test_an_interrupted_save_keeps_the_older_file(
    error: Any, place: str, good_bytes: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tree.keras"
    path.write_bytes(good_bytes)
    tree = compiled_tree(steps=1)

    def fail(*arguments: Any, **settings: Any) -> None:
        raise error

    if place == "write":
        monkeypatch.setattr(keras.optimizers.Adam, "save_own_variables", fail)
    else:
        monkeypatch.setattr(os, "replace", fail)
    with pytest.raises((KeyboardInterrupt, OSError)):
        tree.save(path)
    assert path.read_bytes() == good_bytes
    assert [p.name for p in tmp_path.iterdir()] == ["tree.keras"]


def test_saving_replaces_the_older_file(good_bytes: bytes, tmp_path: Path) -> None:
    path = tmp_path / "tree.keras"
    path.write_bytes(good_bytes)
    tree = compiled_tree()
    tree.save(path)
    assert [p.name for p in tmp_path.iterdir()] == ["tree.keras"]
    assert_same_tree(tree, load(path))


def test_a_link_stays_a_link(good_bytes: bytes, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    real, link = tmp_path / "real" / "tree.keras", tmp_path / "link.keras"
    real.write_bytes(good_bytes)
    link.symlink_to(real)
    compiled_tree().save(link)
    assert link.is_symlink()
    assert real.read_bytes() != good_bytes


def test_bad_places(tmp_path: Path) -> None:
    tree = deep_tree()
    with pytest.raises(ValueError, match=r"`\.keras` file.*Received: .*tree\.h5.*'tree\.keras'"):
        tree.save(tmp_path / "tree.h5")
    with pytest.raises(FileNotFoundError, match=r"which does not. Create it"):
        tree.save(tmp_path / "nowhere" / "tree.keras")
    with pytest.raises(ValueError, match="saved as one file"):
        tree.save(tmp_path / "tree.keras", zipped=False)
    tree.save(tmp_path / "tree.keras")
    with pytest.raises(FileExistsError, match="`overwrite` is False"):
        tree.save(tmp_path / "tree.keras", overwrite=False)
