"""Trees whose nodes have precisions of their own: exact seams, kept nodes, and a sound bundle."""

from dataclasses import replace

import numpy as np
import pytest

from quantize import Bundle, quantize
from quantize.flatbuffer import anatomy
from quantize.interpreter import open_interpreter, run_path
from quantize.merging import merge

pytestmark = pytest.mark.usefixtures("warm_converter")

SHAPE = (8, 8, 3)
MIXES = [
    "int4",
    {"trunk": "int4", "digit": "lut4", "angle": "16x8"},
    {"trunk": "lut3", "digit": "16x8", "angle": "int4"},
    {"trunk": "16x8", "digit": "lut2"},
]


def node(shape, name, *layers):
    import keras

    inputs = x = keras.Input(shape)
    for layer in layers:
        x = layer(x)
    return keras.Model(inputs, x, name=name)


@pytest.fixture(scope="module")
def tree():
    import keras
    from keras import layers

    from keras_tree import Task, Tree

    keras.utils.set_random_seed(7)
    trunk = node(
        SHAPE,
        "trunk",
        layers.Conv2D(20, 3, padding="same", activation="relu"),
        layers.Conv2D(24, 3, padding="same"),
        layers.BatchNormalization(),
        layers.ReLU(),
    )
    digit = node(
        (8, 8, 24),
        "digit",
        layers.MaxPooling2D(),
        layers.Conv2D(16, 3, activation="relu"),
        layers.Flatten(),
        layers.Dense(10, activation="softmax"),
    )
    angle = node(
        (8, 8, 24),
        "angle",
        layers.Conv2D(16, 3, activation="tanh"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(1),
    )
    tasks = [Task("digit", "sparse_categorical_crossentropy"), Task("angle", "mse")]
    return Tree.from_branches(trunk, {"digit": digit, "angle": angle}, tasks)


@pytest.fixture(scope="module")
def samples():
    random = np.random.default_rng(5)
    return {
        name: random.normal(size=(20, *SHAPE)).astype(np.float32) for name in ("digit", "angle")
    }


@pytest.fixture(scope="module")
def plain(tree, samples):
    return quantize(tree, samples)


@pytest.fixture(scope="module")
def bundles(tree, samples, plain):
    return {str(mix): quantize(tree, samples, precision=mix) for mix in MIXES}


@pytest.mark.parametrize("mix", MIXES, ids=str)
def test_every_seam_is_exact_and_the_chain_is_one_flatbuffer(bundles, mix, samples, plain):
    bundle = bundles[str(mix)]
    for name, part in bundle.nodes.items():
        wanted = mix if isinstance(mix, str) else mix.get(name, "int8")
        assert part.precision == wanted
    (seam,) = bundle.seams
    assert seam.contract == plain.seams[0].contract
    for task in bundle.tasks:
        first, last = bundle.path_nodes(task)
        assert first.input == plain.nodes["trunk"].input
        assert first.output == last.input == plain.nodes["trunk"].output
        codes = first.input.quantize(samples[task])
        whole = merge([first.data, last.data])
        assert np.array_equal(run_path([whole], codes), bundle.run(task, codes))


@pytest.mark.parametrize("mix", MIXES, ids=str)
def test_a_bundle_is_sound_on_disk_and_on_both_interpreters(bundles, mix, tmp_path):
    bundle = bundles[str(mix)]
    loaded = Bundle.load(bundle.save(tmp_path / "bundle"), verify_golden=True)
    assert loaded == bundle
    loaded.verify_golden("litert")
    for part in loaded.nodes.values():
        assert sum(anatomy(part.data).values()) == part.rom_bytes < part.unstripped_bytes
        assert part.arena.total_bytes > 0


def test_weights_take_fewer_bytes_and_wide_activations_more(bundles, plain):
    for mix, bundle in bundles.items():
        for name, part in bundle.nodes.items():
            before = plain.nodes[name].rom_bytes
            if part.precision in ("int4", "lut2", "lut3", "lut4"):
                assert part.rom_bytes < before, (mix, name)
            if part.precision == "16x8":
                assert before < part.rom_bytes < before + 1500


def test_operators_of_every_precision(bundles):
    kinds = {
        part.precision: set(part.operators) for b in bundles.values() for part in b.nodes.values()
    }
    assert "TFLM_DECODE" in kinds["lut3"] & kinds["lut4"] & kinds["lut2"]
    assert "QUANTIZE" in kinds["16x8"]
    assert "TFLM_DECODE" not in kinds["int4"] | kinds["16x8"]


def test_a_node_of_the_base_stays_only_in_the_precision_that_is_wanted(
    bundles, tree, samples, plain
):
    base = bundles[str(MIXES[1])]
    with pytest.warns(UserWarning, match="Nodes 'digit' of `base` .* in another precision"):
        again = quantize(tree, samples, base=base, precision={"trunk": "int4", "angle": "16x8"})
    for name in ("trunk", "angle"):
        assert again.nodes[name] == base.nodes[name]
    assert again.nodes["digit"].precision == "int8"
    assert again.nodes["digit"].input == base.nodes["digit"].input
    same = quantize(tree, samples, base=base, precision=MIXES[1])
    assert same.nodes == base.nodes


def test_another_precision_of_the_trunk_converts_what_stands_behind_it(tree, samples, plain):
    with pytest.warns(UserWarning, match="Nodes 'trunk', 'digit', 'angle' of `base`"):
        changed = quantize(tree, samples, base=plain, precision={"trunk": "lut4"})
    assert changed.nodes["digit"].precision == "int8"
    assert changed.seams == plain.seams


@pytest.mark.parametrize("precision", ["int4", "lut3", "16x8"])
def test_a_seam_of_two_producers_is_exact(samples, precision):
    import keras
    from keras import layers

    from keras_tree import Task, Tree

    keras.utils.set_random_seed(3)
    nodes = {
        "trunk": node(SHAPE, "trunk", layers.Conv2D(6, 3, padding="same", activation="relu")),
        "left": node((8, 8, 6), "left", layers.Conv2D(6, 3, padding="same", activation="sigmoid")),
        "right": node((8, 8, 6), "right", layers.MaxPooling2D(3, 1, padding="same")),
        "end": node((8, 8, 6), "end", layers.Flatten(), layers.Dense(3)),
    }
    paths = {"digit": ("trunk", "left", "end"), "angle": ("trunk", "right", "end")}
    tree = Tree(nodes, paths, [Task(name, "mse") for name in paths])
    bundle = quantize(tree, samples, precision=precision)
    for task, path in paths.items():
        codes = bundle.nodes["trunk"].input.quantize(samples[task])
        whole = merge([bundle.nodes[name].data for name in path])
        assert np.array_equal(run_path([whole], codes), bundle.run(task, codes))
    ends = {bundle.nodes[name].output for name in ("left", "right")} | {bundle.nodes["end"].input}
    assert len(ends) == 1


def test_a_node_without_operators_copies_in_every_precision(samples):
    from keras import layers

    from keras_tree import Task, Tree

    nodes = {
        "trunk": node(SHAPE, "trunk", layers.Dropout(0.5)),
        "end": node(SHAPE, "end", layers.Flatten(), layers.Dense(2)),
    }
    tree = Tree(nodes, {"digit": ("trunk", "end")}, [Task("digit", "mse")])
    given = {"digit": samples["digit"]}
    plain = quantize(tree, given)
    for precision in ("int4", "lut4", "16x8"):
        bundle = quantize(tree, given, precision={"trunk": precision})
        assert bundle.nodes["trunk"].data == plain.nodes["trunk"].data
        assert replace(bundle.nodes["trunk"], precision="int8") == plain.nodes["trunk"]
        opened = open_interpreter(bundle.nodes["trunk"].data)
        assert opened.input == plain.nodes["trunk"].input
