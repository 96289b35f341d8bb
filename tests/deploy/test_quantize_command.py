"""`keras-tree quantize`: a saved tree and a folder of samples become a bundle, or are refused."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from deploy.board import load_board
from deploy.cli import main
from deploy.commands.tree_options import fraction, input_normalization, precision_choice
from deploy.commands.usage import UsageError
from deploy.footprint import footprint
from deploy.samples_folder import SamplesError, held_out, read_samples, read_training
from deploy.units import format_bytes
from quantize.bundle import Bundle, InputNormalization

# Keras 3.15 asks TensorFlow variables for NumPy arrays in the way of NumPy 1.
ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def tree_file(tmp_path_factory):
    """A small tree of two tasks and an auxiliary one, trained on nothing."""
    import keras
    from keras import layers

    from keras_tree import Task, Tree

    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 1))
    trunk = keras.Model(image, layers.Conv2D(4, 3, strides=2, activation="relu")(image))

    def branch(units, activation):
        features = keras.Input(trunk.output_shape[1:])
        flat = layers.Flatten()(features)
        return keras.Model(features, layers.Dense(units, activation=activation)(flat))

    tree = Tree.from_branches(
        trunk,
        {"digit": branch(3, "softmax"), "angle": branch(1, None), "helper": branch(2, "softmax")},
        [
            Task("digit", "sparse_categorical_crossentropy", labels=("one", "two", "three")),
            Task("angle", "mse"),
            Task("helper", "sparse_categorical_crossentropy", auxiliary=True),
        ],
    )
    path = tmp_path_factory.mktemp("trees") / "tree.keras"
    tree.save(path)
    return path


def write_samples(folder, task, dtype=np.uint8, shape=(8, 8), **changes):
    random = np.random.default_rng(len(task))
    x = random.integers(0, 256, (40, *shape)).astype(dtype)
    y = random.integers(0, 3, 40)
    arrays = {"x_train": x, "y_train": y, "x_test": x[:12], "y_test": y[:12], **changes}
    np.savez(folder / f"{task}.npz", **arrays)


@pytest.fixture
def samples(tmp_path):
    folder = tmp_path / "samples"
    folder.mkdir()
    write_samples(folder, "digit")
    write_samples(folder, "angle", y_test=np.linspace(0, 1, 12))
    return folder


def command(tree_file, samples, tmp_path, *more):
    out = str(tmp_path / "bundle")
    return ["quantize", str(tree_file), "--samples", str(samples), "--out", out, *more]


def test_a_tree_becomes_a_bundle(tree_file, samples, tmp_path, capsys):
    assert main(command(tree_file, samples, tmp_path, "--scale", "1/255", "--name", "toy")) == 0
    out = capsys.readouterr().out
    bundle = Bundle.load(tmp_path / "bundle")
    assert bundle.name == "toy"
    assert list(bundle.tasks) == ["digit", "angle"]  # the auxiliary task is not shipped
    assert bundle.input_normalization.scale == 1 / 255
    trunk_input = bundle.nodes["trunk"].input
    assert trunk_input.highest_value == pytest.approx(1, abs=0.02)
    assert bundle.tasks["digit"].score.samples == 12
    assert bundle.tasks["digit"].labels == ("one", "two", "three")
    assert "digit: 40 of 40 samples for calibration (0 to 1), 12 for testing" in out
    for node in bundle.nodes.values():
        assert re.search(rf"{node.name} +int8 +{node.rom_bytes:,} ", out)
    assert f"Wrote {tmp_path / 'bundle'}" in out


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None),
        ("lut4", "lut4"),
        ("trunk=int4", {"trunk": "int4"}),
        (" trunk=int4, digit = lut3 ", {"trunk": "int4", "digit": "lut3"}),
    ],
)
def test_precisions_are_read(text, expected):
    assert precision_choice(text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must be one name, or node=NAME"),
        (",", "must be one name, or node=NAME"),
        ("lut4,lut3", "must be one name, or node=NAME"),
        ("lut4,digit=lut3", "must be one name, or node=NAME"),
        ("digit=lut3,digit=lut4", "must be one name, or node=NAME"),
        ("16x9", "received '16x9'. Did you mean '16x8'?"),
        ("digit=luts", "received 'luts'. Did you mean 'lut4'?"),
        ("digit=", "received ''"),
    ],
)
def test_wrong_precisions_say_what_to_write(text, said):
    with pytest.raises(UsageError) as caught:
        precision_choice(text)
    assert said in str(caught.value)


def test_a_folder_that_is_there_is_kept_unless_told(tree_file, samples, tmp_path, capsys):
    old = tmp_path / "bundle"
    old.mkdir()
    (old / "note.txt").write_text("mine")
    asked = command(tree_file, samples, tmp_path, "--scale", "1/255")
    for more in ([], ["--overwrite"]):
        assert main([*asked, *more]) == 2
        assert "holds other files. Choose another folder" in capsys.readouterr().err
    (old / "manifest.json").write_text("{}")
    assert main(asked) == 2
    assert "Add `--overwrite` to replace it" in capsys.readouterr().err
    assert (old / "note.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "digit.npz").unlink(), "lacks digit.npz, and has: angle"),
        (
            lambda folder: (folder / "digit.npz").rename(folder / "digits.npz"),
            "Is 'digits.npz' meant?",
        ),
        (lambda folder: (folder / "digit.npz").write_bytes(b"PK"), "digit.npz"),
        (lambda folder: write_samples(folder, "digit", shape=(9, 9)), "received (40, 9, 9)"),
        (lambda folder: write_samples(folder, "digit", dtype=bool), "received dtype bool"),
        (
            lambda folder: write_samples(folder, "digit", y_test=np.zeros(11)),
            "received 12 in x_test and 11 in y_test",
        ),
    ],
)
def test_samples_that_do_not_fit_are_refused(tree_file, samples, tmp_path, capsys, spoil, said):
    spoil(samples)
    assert main(command(tree_file, samples, tmp_path, "--scale", "1/255")) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert not (tmp_path / "bundle").exists()


def test_raw_integers_need_a_scale(tree_file, samples, tmp_path, capsys):
    assert main(command(tree_file, samples, tmp_path)) == 2
    error = capsys.readouterr().err
    assert "received raw uint8 values 0 to 255" in error
    assert "`--scale 1/255`" in error


def test_floats_are_taken_as_they_are_and_raw_values_are_normalised(tmp_path):
    write_samples(tmp_path, "float", dtype=np.float32, shape=(8, 8, 1))
    write_samples(tmp_path, "raw")
    lines: list[str] = []

    def read(task, normalization):
        given = read_samples(tmp_path, [task], (8, 8, 1), normalization, 30, 10, lines.append)
        return given[task]

    as_is = read("float", None)
    assert (as_is.calibration.min(), as_is.calibration.max()) == (0, 255)
    scaled = read("raw", InputNormalization(2 / 255, -1))
    assert scaled.calibration.dtype == np.float32
    assert scaled.calibration.shape == (30, 8, 8, 1)
    assert scaled.calibration.min() == pytest.approx(-1)
    assert scaled.calibration.max() == pytest.approx(1)
    x, y = scaled.evaluation
    assert x.shape == (10, 8, 8, 1)
    assert len(y) == 10
    assert lines[1] == "  raw: 30 of 40 samples for calibration (-1 to 1), 10 for testing"


def test_samples_and_labels_stay_together_when_some_are_chosen(tmp_path):
    x = np.arange(100, dtype=np.float32).reshape(100, 1) * np.ones((1, 4), np.float32)
    write_samples(tmp_path, "order", x_train=x, x_test=x, y_test=np.arange(100))
    read = read_samples(tmp_path, ["order"], (4,), None, 7, 7, lambda line: None)["order"]
    assert read.evaluation[0][:, 0].tolist() == read.evaluation[1].tolist()
    assert read.calibration[:, 0].tolist() == [0, 16, 33, 49, 66, 82, 99]


def test_training_samples_keep_their_labels_and_a_share_is_held_out(tmp_path):
    x = np.arange(100, dtype=np.float32).reshape(100, 1) * np.ones((1, 4), np.float32)
    write_samples(tmp_path, "order", x_train=x, y_train=np.arange(100))
    x, y = read_training(tmp_path, ["order"], (4,), None)["order"]
    assert x[:, 0].tolist() == y.tolist() == list(range(100))
    few = read_training(tmp_path, ["order"], (4,), None, 7)["order"]
    assert few[0][:, 0].tolist() == few[1].tolist() == [0, 16, 33, 49, 66, 82, 99]
    (x_stay, y_stay), (x_out, y_out) = held_out(x, y, 0.2, seed=3)
    assert (len(x_stay), len(x_out)) == (80, 20)
    assert x_stay[:, 0].tolist() == y_stay.tolist()
    assert sorted([*y_stay, *y_out]) == list(range(100))
    again, other = held_out(x, y, 0.2, seed=3), held_out(x, y, 0.2, seed=4)
    assert again[1][1].tolist() == y_out.tolist() != other[1][1].tolist()
    for share, out in ((0.0001, 1), (0.9999, 99)):
        assert len(held_out(x, y, share, seed=0)[1][0]) == out


def test_training_samples_without_a_label_each_are_refused(tmp_path):
    write_samples(tmp_path, "task", y_train=np.zeros(39))
    with pytest.raises(SamplesError, match="received 40 in x_train and 39 in y_train"):
        read_training(tmp_path, ["task"], (8, 8, 1), InputNormalization())


def test_an_empty_test_part_is_no_evaluation(tmp_path):
    write_samples(tmp_path, "alone", x_test=np.zeros((0, 8, 8), np.uint8), y_test=np.zeros(0))
    read = read_samples(
        tmp_path, ["alone"], (8, 8, 1), InputNormalization(), 9, 9, lambda line: None
    )
    assert read["alone"].evaluation is None


@pytest.mark.parametrize(
    ("tree", "more", "said"),
    [
        ("gone.keras", (), "'gone.keras' is not a file"),
        ("cut.keras", (), "cut.keras must be a .keras file"),
        (None, ("--scale", "0"), "`--scale` must not be 0"),
        (None, ("--scale", "1/0"), "`--scale` must be a number or a fraction"),
        (None, ("--limit", "1"), "`--limit` must be at least 2"),
        (None, ("--import", "no_such_module"), "'no_such_module' cannot"),
        (None, ("--base", "gone"), "gone"),
        (None, ("--precision", "trnk=lut4"), "received 'trnk'. Did you mean 'trunk'?"),
        (None, ("--precision", "lut5"), "Did you mean 'lut4'?"),
        (None, ("--rom", "64 KB"), "a unit with one meaning"),
        (None, ("--rom", "0"), "`--rom` must be above 0"),
        (None, ("--board", "nano33ble"), "`--board` must go with `--rom`"),
        (None, ("--rom", "9 KiB", "--board", "nano33bel"), "Did you mean 'nano33ble'?"),
        (None, ("--rom", "9 KiB", "--precision", "lut4"), "leaves nothing to choose"),
        (None, ("--samples", "gone"), "'gone' is not a folder"),
        (None, ("--out", "cut.keras"), "'cut.keras' is a file"),
        (None, ("--out", "cut.keras/new/bundle"), "'cut.keras' is a file"),
    ],
)
def test_wrong_usage_ends_with_2(
    tree_file, samples, tmp_path, capsys, monkeypatch, tree, more, said
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cut.keras").write_bytes(tree_file.read_bytes()[:1000])
    settings = ("--scale", "1/255", *more)
    assert main(command(tree or tree_file, samples, tmp_path, *settings)) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


def test_a_budget_that_int8_meets_changes_nothing(tree_file, samples, tmp_path, capsys):
    """Scores are of test data, also where training data would have decided."""
    asked = command(tree_file, samples, tmp_path, "--scale", "1/255")
    assert main(asked) == 0
    plain = Bundle.load(tmp_path / "bundle")
    capsys.readouterr()
    assert main([*asked, "--overwrite", "--rom", "60 KiB", "--board", "nano33ble"]) == 0
    out = capsys.readouterr().out
    budgeted = Bundle.load(tmp_path / "bundle")
    assert {n.data for n in budgeted.nodes.values()} == {n.data for n in plain.nodes.values()}
    assert budgeted.tasks["digit"].score == plain.tasks["digit"].score
    total = footprint(budgeted, load_board("nano33ble")).rom_bytes
    assert f"ROM on nano33ble: {format_bytes(total)} of 60.0 KiB (the .tflite files" in out
    assert "cmsis-nn-int8 kernels)" in out
    assert "RAM on" not in out


def test_a_budget_that_nothing_meets_ends_with_1_and_writes_nothing(
    tree_file, samples, tmp_path, capsys
):
    asked = command(tree_file, samples, tmp_path, "--scale", "1/255", "--rom", "1 KiB")
    assert main(asked) == 1
    out = capsys.readouterr().out
    assert "Over budget, and nothing was written: `rom` must be at least" in out
    assert "1,024 bytes" in out
    assert not (tmp_path / "bundle").exists()


@pytest.fixture(scope="module")
def wide_tree_file(tmp_path_factory):
    """A tree of the same tasks with weights to save."""
    import keras
    from keras import layers

    from keras_tree import Task, Tree

    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 1))
    trunk = keras.Model(image, layers.Conv2D(16, 3, strides=2, activation="relu")(image))

    def branch(units, activation):
        features = keras.Input(trunk.output_shape[1:])
        hidden = layers.Dense(48, activation="relu")(layers.Flatten()(features))
        return keras.Model(features, layers.Dense(units, activation=activation)(hidden))

    tree = Tree.from_branches(
        trunk,
        {"digit": branch(3, "softmax"), "angle": branch(1, None)},
        [Task("digit", "sparse_categorical_crossentropy"), Task("angle", "mse")],
    )
    path = tmp_path_factory.mktemp("wide") / "tree.keras"
    tree.save(path)
    return path


@pytest.mark.slow
def test_a_budget_below_int8_is_met_and_checked(
    wide_tree_file, samples, tmp_path, capsys, monkeypatch
):
    """15 % below the bytes of int8, then the same with the runtime of a board."""
    monkeypatch.setenv("COLUMNS", "120")  # the table is not folded
    asked = command(wide_tree_file, samples, tmp_path, "--scale", "1/255")
    assert main(asked) == 0
    plain = Bundle.load(tmp_path / "bundle")
    limit_bytes = int(0.85 * sum(node.rom_bytes for node in plain.nodes.values()))
    named = ("--precision", "angle=int8")
    assert main([*asked, "--overwrite", "--rom", str(limit_bytes), *named]) == 0
    out = capsys.readouterr().out
    small = Bundle.load(tmp_path / "bundle", verify_golden=True)
    used = sum(node.rom_bytes for node in small.nodes.values())
    assert used <= limit_bytes
    assert f"ROM: {format_bytes(used)} of {format_bytes(limit_bytes)} (the .tflite files" in out
    assert small.nodes["angle"].data == plain.nodes["angle"].data
    assert small.nodes["digit"].precision.startswith("lut")
    assert re.search(rf"digit +{small.nodes['digit'].precision} +[\d,]+ .*TFLM_DECODE", out)
    assert small.tasks["digit"].score.samples == 12  # of x_test, not of the data that decided

    board = load_board("nano33ble")
    limit = str(footprint(plain, board).rom_bytes - 1000)
    assert main([*asked, "--overwrite", "--rom", limit, "--board", board.name]) == 0
    assert "weights of lookup tables are decoded into it" in capsys.readouterr().out
    checked = ["check", str(tmp_path / "bundle"), "--board", board.name]
    assert main([*checked, "--rom", limit]) == 0
    found = footprint(Bundle.load(tmp_path / "bundle"), board).rom_bytes
    assert found <= int(limit)
    assert main([*checked, "--rom", str(found - 1)]) == 1


LAYERS = """
import keras

@keras.saving.register_keras_serializable("own")
class Twice(keras.layers.Layer):
    def call(self, inputs):
        return inputs * 2
"""


@pytest.mark.slow
def test_layers_of_the_users_own_are_imported_and_stderr_stays_empty(
    samples, tmp_path, capsys, monkeypatch
):
    (tmp_path / "own_layers.py").write_text(LAYERS)
    monkeypatch.chdir(tmp_path)
    save_tree_with_own_layer(tmp_path, monkeypatch)
    asked = command(tmp_path / "own.keras", samples, tmp_path, "--scale", "1/255")
    assert main(asked) == 2
    assert "`--import my_layers`" in capsys.readouterr().err
    done = subprocess.run(
        [sys.executable, "-m", "deploy.cli", *asked, "--import", "own_layers"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "Wrote " in done.stdout


def save_tree_with_own_layer(folder, monkeypatch):
    """A tree whose layer this process knows only while it is saved."""
    import keras

    from keras_tree import Task, Tree

    monkeypatch.syspath_prepend(folder)
    own = importlib.import_module("own_layers")
    image = keras.Input((8, 8, 1))
    trunk = keras.Model(image, own.Twice()(image))
    features = keras.Input((8, 8, 1))
    flat = keras.layers.Flatten()(features)
    branch = keras.Model(features, keras.layers.Dense(3, activation="softmax")(flat))
    task = Task("digit", "sparse_categorical_crossentropy")
    Tree.from_branches(trunk, {"digit": branch}, [task]).save(folder / "own.keras")
    keras.saving.get_custom_objects().pop("own>Twice")
    sys.modules.pop("own_layers")


@pytest.mark.parametrize(
    ("text", "value"),
    [("1/255", 1 / 255), ("0.5", 0.5), ("-1", -1.0), ("-2/4", -0.5), ("1e-2", 0.01)],
)
def test_fractions(text, value):
    assert fraction(text, "--scale") == value


@pytest.mark.parametrize("text", ["", "a", "1/0", "1/2/3", "nan", "inf", "/2"])
def test_no_fractions(text):
    with pytest.raises(UsageError, match="`--scale` must be a number or a fraction"):
        fraction(text, "--scale")


def test_normalization_is_none_only_when_nothing_is_said():
    assert input_normalization(None, None) is None
    assert input_normalization("1", None).offset == 0
    assert input_normalization(None, "-1").scale == 1


def test_labels_outside_the_classes_end_with_2(tree_file, samples, tmp_path, capsys):
    write_samples(samples, "digit", y_test=np.full(12, 7))
    assert main(command(tree_file, samples, tmp_path, "--scale", "1/255")) == 2
    assert "labels must be class indices of 0 to 2; got 7" in capsys.readouterr().err
    assert not (tmp_path / "bundle").exists()
