"""The main verb: a bundle from a tree, its figures, its errors, and growth from a base."""

from dataclasses import replace

import numpy as np
import pytest

from quantize import Bundle, CalibrationError, ConversionError, RefusalError, SeamError, quantize
from quantize.bundle import InputNormalization
from quantize.conversion.pinning import requantize
from quantize.interpreter import run_path
from quantize.merging import merge

SHAPE = (12, 12, 1)

pytestmark = pytest.mark.usefixtures("warm_converter")


def functional(shape, make, name):
    import keras

    inputs = keras.Input(shape)
    return keras.Model(inputs, make(inputs), name=name)


def trunk(seed=1):
    import keras
    from keras import layers

    keras.utils.set_random_seed(seed)
    return functional(
        SHAPE,
        lambda x: layers.ReLU()(
            layers.BatchNormalization()(layers.Conv2D(6, 3, strides=2, padding="same")(x))
        ),
        "trunk",
    )


def classifier(name, classes, seed=2):
    import keras
    from keras import layers

    keras.utils.set_random_seed(seed)
    return functional(
        (6, 6, 6),
        lambda x: layers.Dense(classes, activation="softmax")(layers.Flatten()(x)),
        name,
    )


def regressor(name, seed=3):
    import keras
    from keras import layers

    keras.utils.set_random_seed(seed)
    return functional(
        (6, 6, 6), lambda x: layers.Dense(1)(layers.GlobalAveragePooling2D()(x)), name
    )


def tasks():
    from keras_tree import Task

    return {
        "digit": Task("digit", "sparse_categorical_crossentropy", labels=("zero", "one", "two")),
        "angle": Task("angle", "mse"),
        "domain": Task("domain", "sparse_categorical_crossentropy", auxiliary=True),
        "texture": Task("texture", "sparse_categorical_crossentropy"),
    }


def build(names, **changed):
    """A tree of a trunk and one branch per name; `changed` nodes replace the standard ones."""
    from keras_tree import Tree

    branches = {
        "digit": lambda: classifier("digit", 3),
        "angle": lambda: regressor("angle"),
        "domain": lambda: classifier("domain", 2, seed=5),
        "texture": lambda: classifier("texture", 4, seed=6),
    }
    nodes = {name: changed.get(name) or branches[name]() for name in names}
    return Tree.from_branches(
        changed.get("trunk") or trunk(), nodes, [tasks()[name] for name in names]
    )


def draw(count, seed, strength=1.0):
    return np.random.default_rng(seed).normal(size=(count, *SHAPE)).astype(np.float32) * strength


@pytest.fixture(scope="module")
def samples():
    return {"digit": draw(40, 1), "angle": draw(30, 2, 0.3), "texture": draw(30, 3, 2.0)}


@pytest.fixture(scope="module")
def tree():
    return build(("digit", "angle", "domain"))


@pytest.fixture(scope="module")
def steps():
    return []


@pytest.fixture(scope="module")
def bundle(tree, samples, steps, warm_converter):
    evaluation = {
        "digit": (draw(50, 4), np.zeros(50, np.int64)),
        "angle": (draw(20, 5), np.zeros((20, 1), np.float32)),
    }
    return quantize(
        tree,
        {name: samples[name] for name in ("digit", "angle")},
        evaluation=evaluation,
        input_normalization=InputNormalization(1 / 255, -0.5),
        name="pictures",
        progress=steps.append,
    )


def test_auxiliary_tasks_and_their_nodes_are_not_shipped(bundle):
    assert list(bundle.tasks) == ["digit", "angle"]
    assert list(bundle.nodes) == ["trunk", "digit", "angle"]


def test_figures_of_a_node(bundle, tree):
    node = bundle.nodes["trunk"]
    assert node.macs == 6 * 6 * 6 * 9
    assert node.parameters == tree.nodes["trunk"].count_params()
    assert node.operators == ("CONV_2D",)
    assert node.rom_bytes < node.unstripped_bytes
    assert (node.input.shape, node.output.shape) == ((1, *SHAPE), (1, 6, 6, 6))
    assert len(node.source_sha256) == 64
    assert node.arena is None or node.arena.total_bytes > 0


def test_chain_equals_the_merged_flatbuffer_bit_for_bit(bundle, samples):
    for task in bundle.tasks.values():
        nodes = [bundle.nodes[name].data for name in task.path]
        codes = bundle.nodes["trunk"].input.quantize(draw(64, 9))
        np.testing.assert_array_equal(run_path([merge(nodes)], codes), run_path(nodes, codes))


def test_golden_vectors_are_real_samples_through_the_chain(bundle, samples):
    task = bundle.tasks["digit"]
    assert task.labels == ("zero", "one", "two")
    source = bundle.nodes["trunk"].input.quantize(samples["digit"])
    np.testing.assert_array_equal(task.golden_inputs, source[[0, 13, 26, 39]])
    bundle.verify_golden()


def test_scores_are_attached(bundle):
    assert bundle.tasks["digit"].score.metric == "accuracy"
    assert bundle.tasks["angle"].score.metric == "mae"
    assert bundle.tasks["angle"].score.samples == 20
    assert bundle.tasks["digit"].score.sqnr_db > 15


def test_the_rest_of_the_manifest(bundle):
    assert bundle.name == "pictures"
    assert bundle.input_normalization == InputNormalization(1 / 255, -0.5)
    assert {"tensorflow", "keras"} <= set(bundle.versions)


def test_bundle_saves_and_loads(bundle, tmp_path):
    assert Bundle.load(bundle.save(tmp_path / "bundle"), verify_golden=True) == bundle


def test_progress_tells_every_step(bundle, steps):
    assert steps[:2] == ["calibrating 'trunk' on 70 samples", "converting 'trunk'"]
    assert steps[-1] == "comparing int8 with float"


def test_same_weights_give_the_same_bytes(bundle, tree, samples):
    # The second tree's unnamed layers have other numbers: Keras counts them through the process.
    again = build(("digit", "angle", "domain"))
    assert again.nodes["trunk"].layers[1].name != tree.nodes["trunk"].layers[1].name
    other = quantize(again, {name: samples[name] for name in ("digit", "angle")})
    assert {name: node.sha256 for name, node in other.nodes.items()} == {
        name: node.sha256 for name, node in bundle.nodes.items()
    }


def test_an_added_branch_leaves_a_deployed_bundle_as_it_is(bundle, samples):
    grown = quantize(build(("digit", "angle", "texture")), samples, base=bundle)
    assert list(grown.nodes) == ["trunk", "digit", "angle", "texture"]
    for name in bundle.nodes:
        assert grown.nodes[name] == bundle.nodes[name]
    assert bundle.tasks["digit"].score is not None
    assert grown.tasks["digit"].score == bundle.tasks["digit"].score
    assert grown.tasks["texture"].score is None
    assert grown.nodes["texture"].input == bundle.nodes["trunk"].output
    # The new task's samples reach further than the trunk was calibrated for: it was not again.
    assert np.abs(samples["texture"]).max() > bundle.nodes["trunk"].input.highest_value


def test_a_changed_branch_is_converted_anew_and_said_so(bundle, samples):
    changed = build(("digit", "angle"), digit=classifier("digit", 3, seed=77))
    given = {name: samples[name] for name in ("digit", "angle")}
    with pytest.warns(UserWarning, match="Nodes 'digit' of `base` have changed"):
        again = quantize(changed, given, base=bundle)
    assert again.nodes["trunk"] == bundle.nodes["trunk"]
    assert again.nodes["angle"] == bundle.nodes["angle"]
    assert again.nodes["digit"].data != bundle.nodes["digit"].data
    assert again.nodes["digit"].input == bundle.nodes["trunk"].output


def test_a_changed_trunk_changes_all_behind_it(bundle, samples):
    changed = build(("digit", "angle"), trunk=trunk(seed=78))
    given = {name: samples[name] for name in ("digit", "angle")}
    with pytest.warns(UserWarning, match="'trunk', 'digit', 'angle'"):
        again = quantize(changed, given, base=bundle)
    assert again.nodes["trunk"].output != bundle.nodes["trunk"].output
    assert again.nodes["digit"].input == again.nodes["trunk"].output


def test_an_unknown_precision_is_refused_before_any_work(tree, samples):
    given = {name: samples[name] for name in ("digit", "angle")}
    with pytest.raises(
        ValueError, match=r"`precision` of 'digit' must be one of .* received 'int5'"
    ):
        quantize(tree, given, precision={"digit": "int5"})
    with pytest.raises(ValueError, match=r"by node of the tree, received 'digits'.*'digit'"):
        quantize(tree, given, precision={"digits": "int4"})
    with pytest.raises(ValueError, match=r"`precision` must be a name or names by node, .* list"):
        quantize(tree, given, precision=["int4"])


def test_a_base_without_one_range_at_a_seam_is_refused(bundle, tree, samples):
    wider = replace(bundle.nodes["digit"].input, scale=bundle.nodes["digit"].input.scale * 2)
    data = requantize(bundle.nodes["digit"].data, "input", wider)
    torn = replace(
        bundle,
        nodes={**bundle.nodes, "digit": replace(bundle.nodes["digit"], data=data, input=wider)},
    )
    with pytest.raises(SeamError, match="`base` must give seam 'trunk_output' one scale"):
        quantize(tree, {name: samples[name] for name in ("digit", "angle")}, base=torn)


def test_levels_of_the_strip(tree, samples):
    bytes_of = {}
    for level in ("none", "compatible", "deep"):
        bundle = quantize(
            tree, {name: samples[name] for name in ("digit", "angle")}, strip_level=level
        )
        bytes_of[level] = bundle.nodes["trunk"].rom_bytes
        assert bundle.nodes["trunk"].unstripped_bytes == bytes_of["none"]
    assert bytes_of["none"] > bytes_of["compatible"] > bytes_of["deep"]


def only(samples, *names):
    return {name: samples[name] for name in names}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda s: s.pop("angle"),
            "must hold samples of every shipped task; received none of 'angle'",
        ),
        (lambda s: s.update(digits=s["digit"]), "received 'digits'. Did you mean 'digit'"),
        (
            lambda s: s.update(zzz=s["digit"]),
            "received 'zzz'. The tree has 'digit', 'angle', 'domain'",
        ),
    ],
)
def test_tasks_of_samples(tree, samples, change, message):
    given = only(samples, "digit", "angle")
    change(given)
    with pytest.raises(CalibrationError, match=message):
        quantize(tree, given)


def test_samples_of_an_auxiliary_task_are_passed_over(tree, samples, bundle):
    given = {**only(samples, "digit", "angle"), "domain": draw(5, 8, 50.0)}
    assert quantize(tree, given).nodes["trunk"] == bundle.nodes["trunk"]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"samples": [1, 2]}, "`samples` must be a mapping by task, received list"),
        (
            {"evaluation": {"digi": ([], [])}},
            "`evaluation` must be by task .* Did you mean 'digit'",
        ),
        ({"evaluation": {"digit": 3}}, "must be a pair of arrays .x, y.; got int"),
        ({"evaluation": {"digit": (draw(4, 8), [0, 9, 0, 0])}}, "class indices of 0 to"),
        ({"evaluation": {"digit": (draw(4, 8), [0])}}, "a label for each of the 4 samples; got 1"),
        ({"strip_level": "full"}, "`strip_level` must be one of none, compatible, deep"),
        ({"golden_count": 0}, "`golden_count` must be at least 1"),
        ({"sample_limit": 1}, "`sample_limit` must be at least 2"),
    ],
)
def test_wrong_arguments_are_refused_before_any_work(tree, samples, argument, message):
    steps = []
    given = {"samples": only(samples, "digit", "angle"), "progress": steps.append} | argument
    with pytest.raises(ValueError, match=message):
        quantize(tree, **given)
    assert steps == []


def test_a_tree_of_auxiliary_tasks_alone_is_refused(samples):
    with pytest.raises(ValueError, match="must have a task that is shipped"):
        quantize(build(("domain",)), {"domain": samples["digit"]})


def rolled_branch():
    from keras import layers

    return functional(
        (6, 6, 6),
        lambda x: layers.Dense(1)(layers.LSTM(4, name="memory")(layers.Reshape((6, 36))(x))),
        "angle",
    )


def looping_branch():
    import keras
    from keras import layers

    @keras.saving.register_keras_serializable("test_post_training")
    class Repeat(layers.Layer):
        def call(self, x):
            import tensorflow as tf

            return tf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, y * 0.5 + x), (0, x))[1]

    return functional(
        (6, 6, 6), lambda x: layers.Dense(1)(layers.Flatten()(Repeat(name="again")(x))), "angle"
    )


def test_a_rolled_layer_is_refused_by_name_before_any_work(samples):
    steps = []
    tree = build(("digit", "angle"), angle=rolled_branch())
    with pytest.raises(RefusalError, match=r"Node 'angle', layer 'memory' \(LSTM\).*unroll=True"):
        quantize(tree, only(samples, "digit", "angle"), progress=steps.append)
    assert steps == []


def test_a_loop_of_the_users_own_crashes_the_converter_and_not_this_process(samples):
    tree = build(("digit", "angle"), angle=looping_branch())
    with pytest.raises(
        ConversionError, match=r"Node 'angle' .* process was ended by signal"
    ) as caught:
        quantize(tree, only(samples, "digit", "angle"))
    assert "'again'" in str(caught.value)


def test_what_is_no_tree_is_refused(tree, samples):
    with pytest.raises(ValueError, match=r"must be a keras_tree.Tree, received Functional\. Cut"):
        quantize(tree.nodes["trunk"], samples)


def test_nothing_is_printed(tree, samples, capfd):
    quantize(tree, only(samples, "digit", "angle"))
    assert capfd.readouterr() == ("", "")


def test_the_tree_is_only_read(tree, samples):
    before = [np.copy(variable.numpy()) for variable in tree.variables]
    names = [layer.name for node in tree.nodes.values() for layer in node.layers]
    quantize(tree, only(samples, "digit", "angle"))
    for variable, value in zip(tree.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    assert [layer.name for node in tree.nodes.values() for layer in node.layers] == names


def test_sample_limit_bounds_what_calibrates(tree, samples):
    steps = []
    quantize(tree, only(samples, "digit", "angle"), sample_limit=10, progress=steps.append)
    assert steps[0] == "calibrating 'trunk' on 20 samples"


def test_golden_vectors_are_as_many_as_there_are_samples(tree, samples):
    few = quantize(tree, only(samples, "digit", "angle"), golden_count=99, sample_limit=5)
    assert [len(task.golden_inputs) for task in few.tasks.values()] == [5, 5]
