"""A ROM budget on real trees: what the search makes is what `quantize` makes, and is measured."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_tree import Task, Tree
from quantize.fidelity import fidelity
from quantize.post_training import quantize
from quantize.rom.budget import RomBudgetError, stored_bytes
from quantize.rom.losses import LossMeter
from quantize.rom.meeting import free_nodes

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.usefixtures("warm_converter"),
]
DECODE_BYTES = 900


def draw(count, seed):
    random = np.random.default_rng(seed)
    y = random.integers(0, 4, count)
    x = random.normal(0.0, 0.3, (count, 6, 6, 2)).astype(np.float32)
    x[np.arange(count), y, :, 0] += 0.6
    return x, y


@pytest.fixture(scope="module")
def tree():
    """A trunk and two branches, trained for a moment; each saves by lookup tables."""
    keras.utils.set_random_seed(0)
    image = keras.Input((6, 6, 2))
    features = layers.Conv2D(24, 3, padding="same", activation="relu")(image)
    trunk = keras.Model(image, layers.Conv2D(16, 3, strides=2, activation="relu")(features))

    def branch(units, activation):
        taken = keras.Input(trunk.output_shape[1:])
        hidden = layers.Dense(48, activation="relu")(layers.Flatten()(taken))
        return keras.Model(taken, layers.Dense(units, activation=activation)(hidden))

    built = Tree.from_branches(
        trunk,
        {"row": branch(4, "softmax"), "height": branch(1, None)},
        [Task("row", "sparse_categorical_crossentropy"), Task("height", "mse")],
    )
    built.compile("adam")
    x, y = draw(200, 1)
    built.fit({"row": (x, y), "height": (x, y / 4.0)}, epochs=4, verbose=0)
    return built


@pytest.fixture(scope="module")
def samples():
    x, _ = draw(200, 1)
    return {"row": x[:30], "height": x[:30]}


@pytest.fixture(scope="module")
def evaluation():
    x, y = draw(80, 2)
    return {"row": (x, y), "height": (x, y / 4.0)}


@pytest.fixture(scope="module")
def int8(tree, samples, evaluation, warm_converter):
    return quantize(tree, samples, evaluation=evaluation)


def precisions(bundle):
    return {name: node.precision for name, node in bundle.nodes.items()}


def data(bundle):
    return {name: node.data for name, node in bundle.nodes.items()}


def with_decode(bundle):
    used = any("TFLM_DECODE" in node.operators for node in bundle.nodes.values())
    return stored_bytes(bundle) + DECODE_BYTES * used


def test_the_bundle_found_is_what_its_precisions_give(tree, samples, evaluation, int8):
    """15 % below int8; golden vectors hold, and so does what was measured."""
    limit_bytes = int(0.85 * stored_bytes(int8))
    found, lines = [], []
    bundle = quantize(
        tree,
        samples,
        evaluation=evaluation,
        rom=limit_bytes,
        on_rom_search=found.append,
        progress=lines.append,
    )
    (search,) = found
    assert stored_bytes(bundle) == search.best.rom_bytes <= limit_bytes
    assert precisions(bundle) == search.precisions != precisions(int8)
    plain = quantize(tree, samples, evaluation=evaluation, precision=search.precisions)
    assert data(plain) == data(bundle)
    assert plain.tasks["row"].score == bundle.tasks["row"].score
    bundle.verify_golden()
    before, after = (b.tasks["row"].score.int8_value for b in (int8, bundle))
    height = (int8.tasks["height"].score.int8_value, bundle.tasks["height"].score.int8_value)
    drops = [max(0.0, before - after), max(0.0, height[1] / height[0] - 1)]
    assert search.best.loss.drop == pytest.approx(np.mean(drops), abs=2e-6)
    assert any(line.startswith("'trunk' as lut4: -") for line in lines)


def test_a_budget_that_int8_meets_gives_int8(tree, samples, int8):
    found = []
    bundle = quantize(tree, samples, rom=stored_bytes(int8), on_rom_search=found.append)
    assert data(bundle) == data(int8)
    assert (found[0].forms, found[0].measured_count) == ({}, 0)


@pytest.mark.slow
def test_without_labels_the_squared_error_decides(tree, samples, int8):
    found = []
    quantize(tree, samples, rom=stored_bytes(int8) - 600, on_rom_search=found.append)
    best = found[0].best
    assert best.loss.drop is None
    assert "drop" not in str(best.loss)
    noises = {
        (node, name): form.loss.noise
        for node, forms in found[0].forms.items()
        for name, form in forms.items()
        if stored_bytes(int8) - 600 >= stored_bytes(int8) - int8.nodes[node].rom_bytes
        + form.node.rom_bytes
    }  # fmt: skip
    assert best.loss.noise <= min(noises.values()) + 1e-12


@pytest.mark.slow
def test_named_nodes_stay_as_they_are_named(tree, samples, int8):
    wanted = {"trunk": "int8", "height": "16x8"}
    limit_bytes = stored_bytes(int8) - 500
    found = []
    bundle = quantize(tree, samples, precision=wanted, rom=limit_bytes, on_rom_search=found.append)
    assert precisions(bundle)["trunk"] == "int8"
    assert precisions(bundle)["height"] == "16x8"
    assert set(found[0].forms) == {"row"}
    with pytest.raises(RomBudgetError, match="free 'trunk', 'height', whose precision"):
        quantize(tree, samples, precision=wanted, rom=2000)


@pytest.mark.slow
def test_nodes_of_a_base_stay_byte_for_byte(tree, samples, int8):
    """A deployed trunk and branch, whatever their form, and a budget for what is new."""
    deployed = quantize(tree, samples, precision={"trunk": "lut4"}).select("height")
    bundle = quantize(tree, samples, base=deployed, rom=stored_bytes(int8) - 2500)
    assert data(bundle).items() >= data(deployed).items()
    assert precisions(bundle)["trunk"] == "lut4"
    assert precisions(bundle)["row"] != "int8"
    with pytest.raises(RomBudgetError, match="free 'trunk', 'height', whose precision"):
        quantize(tree, samples, base=deployed, rom=1000)


@pytest.mark.slow
def test_a_model_of_rom_counts_code_beside_the_files(tree, samples, int8):
    limit_bytes = with_decode(int8) - 1200
    bundle = quantize(tree, samples, rom=limit_bytes, rom_model=with_decode)
    assert with_decode(bundle) <= limit_bytes
    files = quantize(tree, samples, rom=limit_bytes)
    assert stored_bytes(bundle) < stored_bytes(files) <= limit_bytes


@pytest.mark.slow
def test_impossible_budgets_say_the_least_that_is_really_reached(tree, samples):
    with pytest.raises(RomBudgetError) as caught:
        quantize(tree, samples, rom="1 KiB")
    least = caught.value.smallest_bytes
    bundle = quantize(tree, samples, rom=least)
    assert stored_bytes(bundle) == least
    with pytest.raises(RomBudgetError):
        quantize(tree, samples, rom=least - 1)


def test_one_precision_for_all_leaves_nothing_to_choose(tree, samples):
    assert free_nodes("int8", ["a", "b"]) == {"a", "b"}
    assert free_nodes({"a": "int8"}, ["a", "b"]) == {"b"}
    with pytest.raises(ValueError, match="leaves nothing to choose"):
        quantize(tree, samples, precision="lut4", rom="9 KiB")


def test_a_wrong_evaluation_is_told_as_without_a_budget(tree, samples, evaluation):
    x, y = evaluation["row"]
    with pytest.raises(ValueError, match="a label for each of the 80 samples; got 79"):
        quantize(tree, samples, evaluation={"row": (x, y[:-1])}, rom="3 KiB")


def test_losses_are_those_of_the_scores(tree, samples, evaluation, int8):
    """Accuracy down and error up are losses, gains are none; nothing is lost against itself."""
    meter = LossMeter(tree, int8, samples, evaluation)
    assert meter.loss(int8).value == 0
    poor = quantize(tree, samples, precision="lut2")
    scores = [fidelity(tree, bundle, evaluation) for bundle in (int8, poor)]
    drop = max(0.0, scores[0]["row"].int8_value - scores[1]["row"].int8_value)
    rise = max(0.0, scores[1]["height"].int8_value / scores[0]["height"].int8_value - 1)
    loss = meter.loss(poor)
    assert loss.drop == pytest.approx((drop + rise) / 2, abs=2e-6)
    assert loss.noise > 0
    assert LossMeter(tree, poor, samples, evaluation).loss(int8).noise == pytest.approx(-loss.noise)
    expected = {task: np.asarray(tree[task](x, training=False)) for task, x in samples.items()}
    noises = [
        np.square(bundle.predict(task, samples[task]) - expected[task]).mean()
        / np.square(expected[task]).mean()
        for bundle in (int8, poor)
        for task in samples
    ]
    assert loss.noise == pytest.approx(np.mean(noises[2:]) - np.mean(noises[:2]), rel=1e-4)


def test_a_task_without_a_label_takes_no_part(tree, samples, evaluation, int8):
    x, y = evaluation["height"]
    unlabelled = {**evaluation, "height": (x, np.full(len(y), np.nan))}
    poor = quantize(tree, samples, precision="lut2")
    alone = LossMeter(tree, int8, samples, {"row": evaluation["row"]}).loss(poor)
    assert LossMeter(tree, int8, samples, unlabelled).loss(poor) == alone
