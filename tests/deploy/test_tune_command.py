"""`keras-tree tune`: nodes trained for their stored form, told before and after, or refused."""

import dataclasses
import errno
import math
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from deploy.cli import main, parse_arguments
from deploy.commands.tune import RECIPE_NAMES, named_nodes, wanted_recipe
from deploy.commands.tuning_summary import tuning_summary
from deploy.commands.usage import UsageError, as_usage_error
from quantize.aware.comparison import Comparison
from quantize.aware.recipe import RECIPES
from quantize.bundle import Bundle

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def pictures(count, seed):
    """Pictures of 8 x 8 whose class is the quarter that is bright, and the angle of that."""
    random = np.random.default_rng(seed)
    y = random.integers(0, 4, count)
    x = random.normal(0.3, 0.2, (count, 8, 8, 1)).astype(np.float32)
    for place in range(4):
        row, column = 4 * (place // 2), 4 * (place % 2)
        x[y == place, row : row + 4, column : column + 4] += 0.25
    return x, y


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small trained tree of two tasks, its samples, and a bundle of it."""
    import keras
    from keras import layers

    from keras_tree import Task, Tree

    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 1))
    features = layers.Conv2D(8, 3, strides=2, activation="relu")(image)
    trunk = keras.Model(image, features)

    def branch(units, activation):
        taken = keras.Input(trunk.output_shape[1:])
        return keras.Model(
            taken, layers.Dense(units, activation=activation)(layers.Flatten()(taken))
        )

    tree = Tree.from_branches(
        trunk,
        {"place": branch(4, "softmax"), "angle": branch(1, None)},
        [Task("place", "sparse_categorical_crossentropy"), Task("angle", "mse")],
    )
    tree.compile("adam")
    (x, y), (x_test, y_test) = pictures(160, 1), pictures(60, 2)
    tree.fit({"place": (x, y), "angle": (x, y / 4.0)}, epochs=8, verbose=0)
    path = tmp_path_factory.mktemp("tune")
    tree.save(path / "tree.keras")
    (path / "data").mkdir()
    for task, scale in (("place", 1), ("angle", 0.25)):
        np.savez(
            path / "data" / f"{task}.npz",
            x_train=x, y_train=y * scale, x_test=x_test, y_test=y_test * scale,
        )  # fmt: skip
    return path


def command(folder, out, *more):
    return [
        "tune", str(folder / "tree.keras"), "--samples", str(folder / "data"), "--out", str(out),
        *map(str, more),
    ]  # fmt: skip


@pytest.mark.slow
def test_a_branch_is_tuned_and_everything_else_stays(folder, tmp_path, capsys):
    from keras_tree import load

    base = tmp_path / "base"
    quantized = ["quantize", *command(folder, base)[1:]]
    assert main(quantized) == 0
    capsys.readouterr()
    out, saved = tmp_path / "bundle", tmp_path / "tuned.keras"
    more = ("--recipe", "cluster", "--bits", "2", "--epochs", "3", "--learning-rate", "3e-3")
    wanted = ("--nodes", "place", "--base", base, "--save-tree", saved, "--seed", "3")
    assert main(command(folder, out, *more, *wanted)) == 0
    told = capsys.readouterr().out
    before, after = Bundle.load(base), Bundle.load(out)
    assert after.nodes["place"].precision == "lut2"
    for node in ("trunk", "angle"):
        assert after.nodes[node].data == before.nodes[node].data
    after.verify_golden()
    assert "cluster: epoch 3 of 3, loss: place " in told
    assert "place: 128 train, 32 decide what is kept" in told
    assert re.search(r"On validation samples, which decide:\n.*\nplace +accuracy +32 ", told)
    tests = re.search(r"On test samples, which took no part:\n.*\nplace +accuracy +60 (.*)", told)
    assert "angle" not in told[told.index("On validation") : told.index("Kept:")]
    kept = "trained nodes" if "Kept: the trained nodes" in told else "post-training bundle"
    score = after.tasks["place"].score
    assert score.samples == 60
    shown = tests[1].split()[1 if kept == "post-training bundle" else 2]
    assert shown == f"{100 * score.int8_value:.2f}%"
    tree, original = load(saved), load(folder / "tree.keras")
    changed = {
        name: any(
            not np.array_equal(new, old)
            for new, old in zip(tree.nodes[name].get_weights(), node.get_weights(), strict=True)
        )
        for name, node in original.nodes.items()
    }
    assert changed == {"trunk": False, "place": kept == "trained nodes", "angle": False}


@pytest.mark.slow
def test_ctrl_c_leaves_nothing_half_written(folder, tmp_path):
    out, saved = tmp_path / "new" / "bundle", tmp_path / "tuned.keras"
    more = ("--epochs", "100000", "--save-tree", saved, "--limit", "20")
    process = subprocess.Popen(
        [sys.executable, "-m", "deploy.cli", *command(folder, out, *more)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    seen = []
    for line in process.stdout:
        seen.append(line)
        if "epoch 1 of" in line:
            break
    assert "epoch 1 of 100000" in seen[-1], "".join(seen) + process.stderr.read()
    process.send_signal(signal.SIGINT)
    error = process.communicate(timeout=60)[1]
    assert (process.returncode, error) == (130, "keras-tree tune: interrupted\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--recipe", "qta"), "Did you mean 'qat'?"),
        (("--validation-share", "0"), "`--validation-share` must lie between 0 and 1"),
        (("--validation-share", "nan"), "`--validation-share` must lie between 0 and 1"),
        (("--epochs", "0"), "`epochs` must be a whole number, at least 1"),
        (("--seed", "-1"), "`seed` must be a whole number, at least 0"),
        (("--learning-rate", "-1"), "`learning_rate` must be above 0"),
        (("--sparsity", "1", "--recipe", "prune"), "`final_sparsity` must lie between 0 and 1"),
        (("--sparsity", "0.5"), "Those are: prune, pqat, pcqat"),
        (("--bits", "4", "--recipe", "prune"), "Those are: cluster, cqat, pcqat"),
        (("--bits", "5", "--recipe", "cqat"), "`bits` must be 2, 3 or 4"),
        (("--save-tree", "tree.h5"), "'tree.keras'"),
        (("--save-tree", "there.keras"), "Add `--overwrite` to replace it"),
        (("--save-tree", "gone/tree.keras"), "Make the folder"),
        (("--precision", "int5"), "`--precision` must be one of"),
        (("--nodes", ","), "`--nodes` must name a node"),
        (("--nodes", "plaec"), "Did you mean 'place'?"),
    ],
)
def test_wrong_usage_ends_with_2_before_any_training(
    folder, tmp_path, capsys, monkeypatch, more, said
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.keras").write_bytes(b"mine")
    assert main(command(folder, tmp_path / "bundle", *more)) == 2
    told = capsys.readouterr()
    assert said in told.err
    assert "Traceback" not in told.err
    assert "epoch" not in told.out
    assert not (tmp_path / "bundle").exists()
    assert (tmp_path / "there.keras").read_bytes() == b"mine"


@pytest.mark.parametrize("more", [("tune",), ("quantize", "--rom", "1 KiB")])
def test_labels_of_test_data_are_checked_before_any_work(folder, tmp_path, capsys, more):
    (tmp_path / "data").mkdir()
    for task in ("place", "angle"):
        with np.load(folder / "data" / f"{task}.npz") as arrays:
            changed = dict(arrays) | {"y_test": arrays["y_test"] + 50}
        np.savez(tmp_path / "data" / f"{task}.npz", **changed)
    wanted = [more[0], *command(folder, tmp_path / "bundle")[1:], *more[1:]]
    wanted[wanted.index(str(folder / "data"))] = str(tmp_path / "data")
    assert main(wanted) == 2
    told = capsys.readouterr()
    assert "class indices of 0 to 3" in told.err
    assert "calibrating" not in told.out
    assert not (tmp_path / "bundle").exists()


def test_a_full_disk_is_told_although_its_error_names_no_file():
    message = "write a file: No space left on device"
    with pytest.raises(UsageError, match=message), as_usage_error(OSError):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def recipe(*more):
    return wanted_recipe(parse_arguments(["tune", "t", "--samples", "s", "--out", "o", *more]))


def test_every_recipe_can_be_chosen_and_stays_as_it_is():
    assert tuple(RECIPES) == RECIPE_NAMES
    for name in RECIPES:
        assert recipe("--recipe", name) == RECIPES[name]


def test_options_change_the_recipe():
    found = recipe(
        "--recipe", "pcqat", "--epochs", "7", "--learning-rate", "0.01", "--batch-size", "5",
        "--sparsity", "0.75", "--bits", "3", "--batch-norm", "live", "--seed", "11",
    )  # fmt: skip
    plain = RECIPES["pcqat"]
    assert found == dataclasses.replace(
        plain,
        epochs=7,
        learning_rate=0.01,
        batch_size=5,
        batch_norm="live",
        seed=11,
        pruning=dataclasses.replace(plain.pruning, final_sparsity=0.75),
        clustering=dataclasses.replace(plain.clustering, bits=3),
    )


def test_the_defaults_that_the_help_tells_are_true(capsys):
    with pytest.raises(SystemExit):
        parse_arguments(["tune", "--help"])
    told = capsys.readouterr().out
    plain = RECIPES["pcqat"]
    for option, value in (
        ("--epochs N", plain.epochs),
        ("--batch-size N", plain.batch_size),
        ("--bits N", plain.clustering.bits),
        ("--sparsity X", plain.pruning.final_sparsity),
        ("--batch-norm", plain.batch_norm),
        ("--seed N", plain.seed),
    ):
        text = " ".join(told[told.index(option + " ") :].split())
        assert re.match(rf"{option}.*?default: {value}\b", text), option
    assert plain.learning_rate == 1e-4
    assert "of Adam (default: 1e-4)" in told


def test_nodes_are_read():
    assert named_nodes(None) is None
    assert named_nodes(" a, b,") == ["a", "b"]
    with pytest.raises(UsageError):
        named_nodes("")


def bundle_of(*sizes):
    return SimpleNamespace(
        nodes={str(index): SimpleNamespace(rom_bytes=size) for index, size in enumerate(sizes)}
    )


def tuned(kept, after=(60, 30), failure=None, **tasks):
    comparisons = {
        name: Comparison(name, metric, 40, *values) for name, (metric, *values) in tasks.items()
    }
    improvements = [one.improvement for one in comparisons.values()]
    return SimpleNamespace(
        tasks=comparisons,
        kept=kept,
        failure=failure,
        post_training=bundle_of(1000, 500),
        trained=None if failure else bundle_of(*after),
        improvement=sum(improvements) / len(improvements),
    )


def score(metric, float_value, int8_value):
    return SimpleNamespace(
        metric=metric, samples=70, float_value=float_value, int8_value=int8_value
    )


def test_the_summary_says_what_was_kept_and_by_how_much():
    found = tuned(True, a=("accuracy", 0.95, 0.9, 0.945), b=("mae", 0.1, 0.2, 0.15))
    before = {"a": score("accuracy", 0.94, 0.89), "b": score("mae", 0.11, 0.2)}
    after = {"a": score("accuracy", 0.94, 0.88), "b": score("mae", 0.11, 0.1)}
    assert tuning_summary(found, before, after, 100).splitlines() == [
        "On validation samples, which decide:",
        "task  metric    samples   float  post-training  trained  change",
        "a     accuracy       40  95.00%         90.00%   94.50%  +4.50 points, better",
        "b     mae            40     0.1            0.2     0.15  -25.0 %, better",
        "",
        "On test samples, which took no part:",
        "task  metric    samples   float  post-training  trained  change",
        "a     accuracy       70  94.00%         89.00%   88.00%  -1.00 points, worse",
        "b     mae            70    0.11            0.2      0.1  -50.0 %, better",
        "",
        "Kept: the trained nodes, mean improvement on validation samples +15.00 % "
        "(1,500 bytes before, 90 trained)",
    ]


def test_the_summary_of_training_that_did_not_pay():
    found = tuned(False, a=("accuracy", 0.95, 0.9, 0.9))
    told = tuning_summary(found, {}, {}, 100)
    assert "90.00%  equal" in told
    assert "On test samples" not in told
    assert "Kept: the post-training bundle, mean improvement on validation samples +0.00 %" in told
    assert "Training did not pay: try more `--epochs`" in told


def test_the_summary_of_training_that_failed():
    found = tuned(False, failure="The losses must stay finite.", a=("mae", 0.1, 0.2, math.nan))
    told = tuning_summary(found, {"a": score("mae", 0.1, 0.2)}, {}, 100)
    assert told.count("0.2        -  -") == 2
    assert told.endswith("Training failed: The losses must stay finite.")
