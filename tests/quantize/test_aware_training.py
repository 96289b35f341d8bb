"""Training for the stored form: what stays byte for byte, what is kept, what is refused."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from quantize import AwareTrainingError, Recipe, quantize, remove_filters, tune
from quantize.aware.comparison import rom_bytes
from quantize.aware.request import check_request

LOSS = "sparse_categorical_crossentropy"
QUICK = Recipe(epochs=1, learning_rate=1e-3)

pytestmark = pytest.mark.usefixtures("warm_converter")


class PlainModel:
    """A stand-in for a backend: plain Keras training of the paths, no fake quantization."""

    def __init__(self, nodes, paths, tasks, recipe):
        import keras

        from keras_tree.loop.losses import TaskLoss
        from quantize.aware.copying import copy_node

        self.given, self.paths = nodes, paths
        self.models = {name: copy_node(node.model) for name, node in nodes.items()}
        for name, node in nodes.items():
            self.models[name].trainable = node.trained
        self.losses = {task: TaskLoss(tasks[task]) for task in paths}
        self.optimizer = keras.optimizers.Adam(recipe.learning_rate)
        self.optimizer.build([v for m in self.models.values() for v in m.trainable_variables])
        self.calls = []

    def begin_stage(self, stage, step_count):
        self.calls.append((stage, step_count))

    def calibrate(self, samples):
        self.calls.append({task: x.shape for task, x in samples.items()})

    def run(self, task, x):
        for name in self.paths[task]:
            x = self.models[name](x, training=False)
        return x

    def train_batch(self, task, x, y):
        import tensorflow as tf

        assert x.dtype == y.dtype == np.float32
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(self.losses[task].values(tf.constant(y), self.run(task, x)))
        variables = [v for name in self.paths[task] for v in self.models[name].trainable_variables]
        gradients = tape.gradient(loss, [v.value for v in variables])
        self.optimizer.apply(gradients, variables)
        return float(loss)

    def predict(self, task, x):
        return self.run(task, x).numpy()

    def end_stage(self):
        self.calls.append("end")

    def weights(self):
        return {
            name: {la.name: la.get_weights() for la in self.models[name].layers if la.weights}
            for name, node in self.given.items()
            if node.trained
        }


@pytest.fixture(scope="module")
def data():
    """Two tasks over scikit-learn's digits: training and validation data."""
    from sklearn.datasets import load_digits

    loaded = load_digits()
    images = (loaded.images / 16).astype("float32")[..., None]  # (1797, 8, 8, 1)
    labels = {"digit": loaded.target, "odd": loaded.target % 2}
    # The second task has fewer samples, so that its dataset starts over.
    counts = {"digit": 600, "odd": 250}
    training = {task: (images[: counts[task]], y[: counts[task]]) for task, y in labels.items()}
    validation = {task: (images[1300:], y[1300:]) for task, y in labels.items()}
    return training, validation


def convolution(x, filters, strides=1):
    from keras import layers

    x = layers.Conv2D(filters, 3, strides, padding="same")(x)
    return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))


@pytest.fixture(scope="module")
def tree(data):
    """Trunk, an auxiliary task, and two shipped ones, of which "odd" runs a node on the way."""
    import keras
    from keras import layers

    from keras_tree import Task, Tree

    keras.utils.set_random_seed(1)
    image = keras.Input((8, 8, 1))
    trunk = keras.Model(image, convolution(image, 8, 2))
    features = keras.Input((4, 4, 8))
    mid = keras.Model(features, convolution(features, 8))

    def classifier(classes):
        given = keras.Input((4, 4, 8))
        x = layers.Flatten()(convolution(given, 8))
        return keras.Model(given, layers.Dense(classes, "softmax")(x))

    tree = Tree.from_nested(
        trunk,
        {"digit": classifier(10), "mid": (mid, {"odd": classifier(2)}), "domain": classifier(3)},
        [
            Task("digit", LOSS, ("accuracy",)),
            Task("odd", LOSS),
            Task("domain", LOSS, auxiliary=True),
        ],
    )
    training, _ = data
    tree.compile(keras.optimizers.Adam(3e-3))
    everything = {**training, "domain": (training["digit"][0], training["digit"][1] % 3)}
    tree.fit(everything, epochs=3, verbose=0, seed=1)
    return tree


def fingerprint(tree):
    return {name: [w.copy() for w in node.get_weights()] for name, node in tree.nodes.items()}


def remembering(made):
    """A backend that adds the model it builds to `made`."""

    def build(*arguments):
        made.append(PlainModel(*arguments))
        return made[-1]

    return build


def same(first, second):
    return all(
        np.array_equal(a, b)
        for name in first
        for a, b in zip(first[name], second[name], strict=True)
    )


def test_a_branch_is_trained_against_the_deployed_trunk(tree, data):
    """Its bytes, its seam, and the features that the device feeds to the branch."""
    training, validation = data
    before = fingerprint(tree)
    made, lines = [], []
    deployed = quantize(tree, {task: x for task, (x, _) in training.items()})
    tuned = tune(
        tree, training, validation, QUICK, nodes=["digit"], base=deployed,
        backend=remembering(made), progress=lines.append,
    )  # fmt: skip
    model = made[-1]
    assert model.paths == {"digit": ("digit",)}
    assert model.given["digit"].input == deployed.nodes["trunk"].output
    assert model.given["digit"].output is None
    calibrated = {"digit": (500, 4, 4, 8)}
    assert model.calls == [("quantize", 19), calibrated, calibrated, "end"]
    for bundle in (tuned.post_training, tuned.trained):
        assert bundle.seams == deployed.seams
        for node in ("trunk", "mid", "odd"):
            assert bundle.nodes[node].data == deployed.nodes[node].data
    assert tuned.trained.nodes["digit"].data != tuned.post_training.nodes["digit"].data
    assert same(before, fingerprint(tree))
    assert list(tuned.tasks) == ["digit"]
    assert any(line.startswith("quantize: epoch 1 of 1, loss: digit ") for line in lines)


def test_nodes_behind_a_trained_one_stay_and_fix_its_seam(tree, data):
    made = []
    tuned = tune(tree, *data, QUICK, nodes=["trunk"], backend=remembering(made))
    seam = tuned.post_training.nodes["trunk"].output
    given = made[-1].given
    assert made[-1].paths == {"digit": ("trunk", "digit"), "odd": ("trunk", "mid", "odd")}
    assert (given["trunk"].trained, given["trunk"].input, given["trunk"].output) == (
        True,
        None,
        seam,
    )
    assert (given["mid"].trained, given["mid"].input) == (False, seam)
    assert given["odd"].output == tuned.post_training.nodes["odd"].output
    assert tuned.trained.nodes["trunk"].output == seam
    for node in ("digit", "mid", "odd"):
        assert tuned.trained.nodes[node] == tuned.post_training.nodes[node]
    weights = tuned.tree.nodes["digit"].get_weights()
    assert all(map(np.array_equal, weights, tree.nodes["digit"].get_weights()))


def test_a_trained_output_beyond_a_fixed_seam_is_clipped_in_place(tree, data):
    """By the operator that gives it, as in training; not by a QUANTIZE operator behind it."""

    class Louder(PlainModel):
        def weights(self):
            found = super().weights()
            (norm,) = [w for name, w in found["trunk"].items() if name.startswith("batch")]
            norm[0], norm[1] = norm[0] * 1.5, norm[1] * 1.5  # gamma and beta
            return found

    tuned = tune(tree, *data, QUICK, nodes=["trunk"], backend=Louder)
    before, after = (part.nodes["trunk"] for part in (tuned.post_training, tuned.trained))
    assert (after.output, after.operators) == (before.output, before.operators)
    assert after.rom_bytes == before.rom_bytes


def test_the_whole_tree_trains_jointly(tree, data):
    """Every shipped task in turn; the auxiliary one is left out, its node copied."""
    made = []
    tuned = tune(tree, *data, QUICK, backend=remembering(made), name="digits")
    assert list(made[-1].given) == ["trunk", "digit", "mid", "odd"]
    assert all(node.trained and node.input is None for node in made[-1].given.values())
    assert made[-1].calls[0] == ("quantize", 2 * 19)  # an epoch is one pass over the longest
    assert tuned.kept is (tuned.improvement > 0)
    assert tuned.bundle is (tuned.trained if tuned.kept else tuned.post_training)
    assert tuned.bundle.name == "digits"
    tuned.bundle.verify_golden()
    assert list(tuned.tree.nodes) == list(tree.nodes)
    assert tuned.tree.tasks == tree.tasks
    again = quantize(
        tuned.tree, {task: x for task, (x, _) in data[0].items()}, base=tuned.bundle
    )  # which would warn if a node were not what the bundle says
    assert again.nodes == tuned.bundle.nodes
    for task, part in tuned.tasks.items():
        assert part.post_training == tuned.post_training.tasks[task].score.int8_value
        assert part.trained == tuned.trained.tasks[task].score.int8_value
        assert f"{task}: accuracy float {part.float_value:.4g}" in tuned.summary()
    assert f"{rom_bytes(tuned.trained):,} bytes" in tuned.summary()


BACKENDS = [PlainModel, "keras", pytest.param("tfmot", marks=pytest.mark.slow)]


@pytest.mark.parametrize("backend", BACKENDS[1:])
@pytest.mark.parametrize("nodes", [["digit"], ["trunk", "mid"], None])
def test_the_real_backends(tree, data, backend, nodes):
    """A branch before a frozen trunk, nodes before frozen branches, and all of them together."""
    before = fingerprint(tree)
    tuned = tune(tree, *data, replace(QUICK, learning_rate=1e-4), nodes=nodes, backend=backend)
    assert tuned.failure is None
    trained = nodes or ["trunk", "digit", "mid", "odd"]
    for node, old in tuned.post_training.nodes.items():
        new = tuned.trained.nodes[node]
        assert (new.data == old.data) is (node not in trained)
        if nodes:
            assert (new.input, new.rom_bytes) == (old.input, old.rom_bytes)
    assert (tuned.trained.seams == tuned.post_training.seams) is (nodes is not None)
    tuned.trained.verify_golden()
    # So small a step for one epoch: nothing is ruined, and most answers stay as they were.
    assert all(part.trained > part.float_value - 0.05 for part in tuned.tasks.values())
    assert same(before, fingerprint(tree))


def test_weights_are_trained_for_the_form_that_they_get(tree, data):
    """Clusters survive into the flatbuffer: post-training lookup tables lose, trained ones less."""
    tuned = tune(tree, *data, "cqat", nodes=["digit"])
    assert {tuned.bundle.nodes[node].precision for node in ("trunk", "digit")} == {"int8", "lut4"}
    assert tuned.post_training.nodes["digit"].precision == "lut4"


@pytest.mark.parametrize("rate", [10.0, 1e30])
@pytest.mark.parametrize("backend", BACKENDS)
def test_an_absurd_learning_rate_is_not_kept(tree, data, rate, backend):
    """Whether it ends in nonsense or in infinity."""
    before = fingerprint(tree)
    tuned = tune(tree, *data, replace(QUICK, learning_rate=rate), nodes=["odd"], backend=backend)
    assert not tuned.kept
    assert tuned.bundle is tuned.post_training
    assert same(before, fingerprint(tuned.tree))
    assert (tuned.trained is None) is (tuned.failure is not None)
    assert tuned.summary().splitlines()[-1].startswith("kept: post-training")


def test_samples_without_a_label_are_left_out(tree, data):
    """As in the trainer: what is unlabelled is neither trained on nor an error."""
    training, validation = data
    x, y = training["odd"]
    y = y.astype("float32")
    y[10:] = np.nan
    x = x[..., 0]  # the axis of a single channel may be left out, as for the trainer
    made = []
    tune(
        tree, {**training, "odd": (x, y)}, validation, replace(QUICK, batch_size=5), nodes=["odd"],
        backend=remembering(made),
    )  # fmt: skip
    assert made[-1].calls[0] == ("quantize", 2)


def test_an_error_or_ctrl_c_leaves_the_tree_as_it_was(tree, data):
    before = fingerprint(tree)
    for error in (KeyboardInterrupt, AwareTrainingError("`Odd` is no layer for it")):

        class Failing(PlainModel):
            def train_batch(self, task, x, y, error=error):
                raise error

        with pytest.raises(error if isinstance(error, type) else type(error)):
            tune(tree, *data, QUICK, nodes=["odd"], backend=Failing)
        assert same(before, fingerprint(tree))


REFUSED = {
    "unknown task": (
        lambda t, v: {"data": {**t, "digits": t["digit"]}},
        "`data` must be by task of the tree, received 'digits'. Did you mean 'digit'[?]",
    ),
    "missing task": (
        lambda t, v: {"validation": {"odd": v["odd"]}},
        "`validation` must hold every shipped task that runs a trained node; received none for "
        "'digit'",
    ),
    "no pair": (
        lambda t, v: {"data": {**t, "odd": t["odd"][0]}},
        r"`data\['odd'\]` must be a pair of arrays \(x, y\), received ndarray",
    ),
    "shape": (
        lambda t, v: {"data": {**t, "odd": (t["odd"][0][:, :7], t["odd"][1])}},
        r"`data\['odd'\]` must fit its task. `x` of task 'odd' must have the shape",
    ),
    "empty": (
        lambda t, v: {"data": {**t, "odd": (t["odd"][0][:0], t["odd"][1][:0])}},
        r"`data\['odd'\]` must hold samples with a label; received 0 samples",
    ),
    "label": (
        lambda t, v: {"validation": {**v, "odd": v["digit"]}},
        r"`validation\['odd'\]` must fit its task. `y` of task 'odd' must be class numbers",
    ),
    "unlabelled": (
        lambda t, v: {"validation": {**v, "odd": (v["odd"][0], np.full(len(v["odd"][0]), np.nan))}},
        r"`validation\['odd'\]` must hold samples with a label; received 497 samples and no",
    ),
    "unknown node": (
        lambda t, v: {"nodes": ["trunc"]},
        "`nodes` must name nodes that the tree ships, received 'trunc'. Did you mean 'trunk'[?]",
    ),
    "auxiliary node": (
        lambda t, v: {"nodes": ["domain"]},
        "`nodes` must name nodes that the tree ships, received 'domain'",
    ),
    "no node": (lambda t, v: {"nodes": []}, "`nodes` must name at least one node"),
    "recipe": (lambda t, v: {"recipe": "qatt"}, "`recipe` must be .* Did you mean 'qat'[?]"),
    "backend": (lambda t, v: {"backend": "tfmott"}, "`backend` must be .* Did you mean 'tfmot'[?]"),
    "no backend": (lambda t, v: {"backend": None}, "`backend` must be one of keras, tfmot"),
    "no name of a node": (lambda t, v: {"nodes": [3]}, "`nodes` must name nodes that the tree"),
    "base": (lambda t, v: {"base": "bundle"}, "`base` must be a Bundle, received str"),
    "no precision": (lambda t, v: {"precision": 4}, "`precision` must be a name or names by node"),
    "precision": (
        lambda t, v: {"precision": {"odd": "int3"}},
        "`precision` of 'odd' must be one of int8, int4",
    ),
    "samples": (lambda t, v: {"samples": {"od": t["odd"][0]}}, "Did you mean 'odd'[?]"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_before_any_work(tree, data, case, monkeypatch):
    monkeypatch.setattr("quantize.aware_training.quantize", lambda *_, **__: pytest.fail("worked"))
    make, message = REFUSED[case]
    training, validation = data
    arguments = {"data": training, "validation": validation, **make(training, validation)}
    with pytest.raises(ValueError, match=message):
        tune(tree, **arguments)


@pytest.mark.parametrize("backend", ["keras", "tfmot"])
def test_a_layer_is_refused_before_any_work(tree, data, backend, monkeypatch):
    """By its name, and with what really helps: neither backend trains a recurrent layer."""
    import keras
    from keras import layers

    from keras_tree import Task, Tree

    given = keras.Input((4, 4, 8))
    x = layers.GRU(4, unroll=True, name="memory")(layers.Reshape((16, 8))(given))
    branch = keras.Model(given, layers.Dense(10, "softmax")(x))
    rolled = Tree.from_branches(tree.nodes["trunk"], {"digit": branch}, [Task("digit", LOSS)])
    monkeypatch.setattr("quantize.aware_training.quantize", lambda *_, **__: pytest.fail("worked"))
    with pytest.raises(AwareTrainingError, match=r"layer 'memory' \(GRU\) must") as refused:
        tune(rolled, *({"digit": part["digit"]} for part in data), nodes=["digit"], backend=backend)
    assert "backend 'keras'" not in str(refused.value)


@pytest.mark.parametrize("lacking", ["tensorflow_model_optimization", "tf_keras"])
def test_a_backend_that_is_not_installed_is_refused_before_any_work(
    tree, data, lacking, monkeypatch
):
    monkeypatch.setattr("quantize.aware_training.quantize", lambda *_, **__: pytest.fail("worked"))
    monkeypatch.setitem(sys.modules, lacking, None)
    with pytest.raises(AwareTrainingError, match=f"received no {lacking}. Run `pip install"):
        tune(tree, *data, backend="tfmot")


def test_a_frozen_node_is_trained_only_once_it_is_unfrozen(tree, data, monkeypatch):
    from quantize.aware.copying import copy_tree

    copy = copy_tree(tree)
    copy.nodes["trunk"].trainable = False
    with pytest.raises(ValueError, match="received 'trunk', which is frozen"):
        tune(copy, *data, nodes=["trunk"])
    asked = []
    monkeypatch.setattr("quantize.aware_training.quantize", lambda *_, **kw: asked.append(kw))
    with pytest.raises(AttributeError):  # what stands in for the bundle has nothing
        tune(copy, *data, "int4", backend=PlainModel)
    assert asked[0]["precision"] == {"trunk": "int8", "digit": "int4", "mid": "int4", "odd": "int4"}


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_filters_go_and_training_recovers_what_they_knew(tree, data, backend):
    """The bytes are really gone from the flatbuffers, and most of the accuracy comes back."""
    training, validation = data
    thin = remove_filters(tree, 0.5, seams=True)
    whole = quantize(tree, {task: x for task, (x, _) in training.items()})
    recipe = Recipe(epochs=6, learning_rate=3e-3, batch_norm="live")
    tuned = tune(thin.tree, training, validation, recipe, backend=backend)
    for node in whole.nodes:
        assert tuned.bundle.nodes[node].rom_bytes < whole.nodes[node].rom_bytes
        assert tuned.bundle.nodes[node].macs < 0.55 * whole.nodes[node].macs
    assert tuned.bundle.nodes["trunk"].output.shape == (1, 4, 4, 4)
    assert tuned.kept
    lost = tuned.tasks["digit"]
    assert lost.post_training < lost.trained - 0.1


def test_untrained_nodes_of_base_keep_their_precision(tree, data):
    """Unless they are named: a deployed int4 trunk stays, whatever the branch becomes."""
    training, _ = data
    samples = {task: x for task, (x, _) in training.items()}
    base = quantize(tree, samples, precision={"trunk": "int4", "digit": "int4"})

    def precisions(nodes, precision):
        request = check_request(
            tree, *data, Recipe(weight_bits=4), nodes, base, precision, None, 500
        )
        return "".join(found[-1] for found in request.precisions.values())

    assert list(base.nodes) == ["trunk", "digit", "mid", "odd"]
    assert precisions(["odd"], None) == "4484"
    assert precisions(["odd"], "int8") == "4488"
    assert precisions(["odd"], {"digit": "int8"}) == "4888"
    assert precisions(None, None) == "4444"
    tuned = tune(tree, *data, QUICK, nodes=["odd"], base=base, backend=PlainModel)
    assert tuned.trained.nodes["trunk"].data == base.nodes["trunk"].data
