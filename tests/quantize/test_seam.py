"""Seams: one scale and zero point on every side, and a chain that equals its merged flatbuffer."""

from dataclasses import replace
from itertools import pairwise

import keras
import numpy as np
import pytest
from keras import layers

from keras_tree import Task, Tree
from quantize import quantize
from quantize.conversion.pinning import node_specs, requantize
from quantize.flatbuffer import read_graph
from quantize.interpreter import run_path
from quantize.merging import merge
from quantize.seam import SeamClass, SeamError, check_seams, seam_classes

INPUT = (12, 12, 2)
FEATURES = (6, 6, 8)


def classes(paths):
    return [(seam.producers, seam.consumers) for seam in seam_classes(paths)]


def test_a_plain_tree_has_one_seam():
    paths = {"x": ("trunk", "a"), "y": ("trunk", "b")}
    assert seam_classes(paths) == (SeamClass("trunk_output", ("trunk",), ("a", "b")),)


def test_a_deep_tree_has_one_seam_per_inner_node():
    paths = {"x": ("t", "m", "a"), "y": ("t", "m", "b"), "z": ("t", "c")}
    assert classes(paths) == [(("t",), ("m", "c")), (("m",), ("a", "b"))]


def test_a_single_node_has_no_seam():
    assert seam_classes({"x": ("t",)}) == ()


def test_an_output_that_another_path_continues_is_a_seam():
    assert classes({"x": ("t", "a"), "y": ("t", "a", "b")}) == [(("t",), ("a",)), (("a",), ("b",))]


def test_a_skipped_node_ties_the_outputs_around_it():
    paths = {"A": ("t", "b1", "b2", "hA"), "B": ("t", "b2", "hB")}
    assert classes(paths) == [(("t", "b1"), ("b1", "b2")), (("b2",), ("hA", "hB"))]


def test_ties_reach_over_several_paths():
    paths = {"A": ("t", "a", "c"), "B": ("t", "b", "c"), "C": ("t", "b", "d"), "D": ("t", "e", "d")}
    assert classes(paths) == [(("t",), ("a", "b", "e")), (("a", "b", "e"), ("c", "d"))]


def test_opposite_orders_tie_everything():
    paths = {"A": ("t", "a", "b", "h"), "B": ("t", "b", "a", "k")}
    assert classes(paths) == [(("t", "a", "b"), ("a", "b", "h", "k"))]


def test_names_of_seams_are_unique():
    paths = {"A": ("t", "a", "c"), "B": ("t", "b", "c"), "C": ("t", "c", "d")}
    names = [seam.name for seam in seam_classes(paths)]
    assert len(names) == len(set(names))


def test_check_names_the_sides_that_differ(trunk_bytes, branch_bytes):
    tied = seam_classes({"x": ("trunk", "leaf")})
    check_seams(tied, {"trunk": trunk_bytes, "leaf": branch_bytes})
    source = node_specs(branch_bytes)[0]
    torn = requantize(branch_bytes, "input", replace(source, zero_point=5))
    with pytest.raises(
        SeamError, match=r"output of 'trunk' .* the input of 'leaf' .* zero point 5"
    ):
        check_seams(tied, {"trunk": trunk_bytes, "leaf": torn})


# What follows converts.


def functional(make, shape, name):
    inputs = keras.Input(shape)
    return keras.Model(inputs, make(inputs), name=name)


def conv(channels=8, size=3, **settings):
    return layers.Conv2D(channels, size, padding="same", **settings)


def residual(x):
    y = conv(activation="relu")(x)
    return layers.ReLU()(layers.Add()([x, conv()(y)]))


TRUNKS = {
    "residual": lambda x: residual(conv(strides=2)(x)),
    "linear": lambda x: layers.BatchNormalization()(conv(strides=2)(x)),
    "joined pools": lambda x: layers.Concatenate()(
        [layers.MaxPooling2D()(conv(4)(x)), layers.AveragePooling2D(2)(conv(4)(x))]
    ),
}

STARTS = {
    "convolution": conv(4),
    "depthwise": layers.DepthwiseConv2D(3),
    "padded": lambda x: conv(4)(layers.ZeroPadding2D(1)(x)),
    "relu": layers.ReLU(),
    "relu6": layers.ReLU(6.0),
    "leaky": layers.LeakyReLU(),
    "normalized": layers.BatchNormalization(),
    "max pool": layers.MaxPooling2D(),
    "average pool": layers.AveragePooling2D(2),
    "global average": layers.GlobalAveragePooling2D(keepdims=True),
    "global maximum": layers.GlobalMaxPooling2D(keepdims=True),
    "flat": lambda x: layers.Reshape((1, 1, 288))(layers.Flatten()(x)),
    "reshaped": layers.Reshape((4, 9, 8)),
    "permuted": layers.Permute((2, 3, 1)),
    "cropped": layers.Cropping2D(1),
    "resized": layers.Resizing(12, 12, interpolation="nearest"),
    "resized smoothly": layers.Resizing(12, 12),
    "nothing but dropout": layers.Dropout(0.5),
    "softmax": layers.Softmax(),
    "tanh": layers.Activation("tanh"),
    "residual": residual,
    "joined pool": lambda x: layers.Concatenate()(
        [layers.MaxPooling2D(3, 1, padding="same")(x), x]
    ),
    "joined wide": lambda x: layers.Concatenate()([x, conv(4)(x) * 9.0]),
    "maximum": lambda x: layers.Maximum()([x, conv()(x)]),
    "gated": lambda x: layers.Multiply()([x, conv(activation="sigmoid")(x)]),
    "split": lambda x: keras.ops.split(x, 2, axis=-1)[1],
}


def slug(name):
    return name.replace(" ", "_")


def branch(start, name):
    """A node that begins with `start` and ends in four logits."""
    return functional(
        lambda x: layers.Dense(4)(layers.Flatten()(layers.MaxPooling2D(1)(start(x)))),
        FEATURES,
        name,
    )


def draw(count=16, seed=0, strength=1.0):
    return np.random.default_rng(seed).normal(size=(count, *INPUT)).astype(np.float32) * strength


def converted(nodes, paths, **settings):
    tree = Tree(nodes, paths, [Task(name, "mse") for name in paths])
    samples = {name: draw(seed=k, strength=1 + 0.5 * (k % 3)) for k, name in enumerate(paths)}
    return tree, samples, quantize(tree, samples, **settings)


def assert_seams_are_exact(bundle):
    """Every neighbour takes the very scale, zero point and shape that the one before it gives."""
    for task in bundle.tasks.values():
        for before, after in pairwise(task.path):
            source = node_specs(bundle.nodes[before].data)[1]
            target = node_specs(bundle.nodes[after].data)[0]
            assert np.float32(source.scale).tobytes() == np.float32(target.scale).tobytes()
            assert (source.zero_point, source.shape) == (target.zero_point, target.shape)


def assert_chain_is_the_whole(bundle, count=12):
    """The chain of a path gives bit for bit what its merged flatbuffer gives, on any codes."""
    for task in bundle.tasks.values():
        nodes = [bundle.nodes[name].data for name in task.path]
        shape = (count, *bundle.nodes[task.path[0]].input.shape[1:])
        codes = np.random.default_rng(7).integers(-128, 128, shape, np.int8)
        np.testing.assert_array_equal(run_path([merge(nodes)], codes), run_path(nodes, codes))


def signal_to_noise_db(tree, samples, bundle, task):
    expected = np.asarray(tree[task](samples[task], training=False))
    error = expected - bundle.predict(task, samples[task])
    return 10 * np.log10(np.square(expected).sum() / np.square(error).sum())


@pytest.fixture(scope="module", params=list(TRUNKS))
def many(request, warm_converter):
    """A trunk with a branch per kind of start."""
    keras.utils.set_random_seed(1)
    nodes = {"trunk": functional(TRUNKS[request.param], INPUT, "trunk")}
    for name, start in STARTS.items():
        fresh = (
            start
            if not isinstance(start, layers.Layer)
            else type(start).from_config(start.get_config())
        )
        nodes[slug(name)] = branch(fresh, slug(name))
    paths = {slug(name): ("trunk", slug(name)) for name in STARTS}
    return request.param, *converted(nodes, paths)


def test_every_start_of_a_branch_fits_every_end_of_a_trunk(many):
    _, tree, samples, bundle = many
    assert_seams_are_exact(bundle)
    assert_chain_is_the_whole(bundle)
    noisy = {
        name: round(found, 1)
        for name in bundle.tasks
        if (found := signal_to_noise_db(tree, samples, bundle, name)) < 20
    }
    assert noisy == {}


def test_a_quantize_stands_only_where_the_pin_would_clip(many):
    trunk, _, _, bundle = many
    first = {name: read_graph(node.data).operators[0].name for name, node in bundle.nodes.items()}
    requantized = {name for name, operator in first.items() if operator == "QUANTIZE"}
    assert "joined_wide" in requantized
    assert requantized <= {"joined_wide", "maximum", "joined_pool", "softmax"}, trunk


def block(name, **settings):
    return functional(conv(activation="relu", **settings), FEATURES, name)


def head(name, classes):
    return functional(
        lambda x: layers.Dense(classes)(layers.GlobalAveragePooling2D()(x)), FEATURES, name
    )


def trunk(name="trunk"):
    return functional(conv(strides=2, activation="relu"), INPUT, name)


def identity(name):
    return functional(layers.Dropout(0.5), FEATURES, name)


def pool(name):
    return functional(layers.MaxPooling2D(3, 1, padding="same"), FEATURES, name)


def bounded(name):
    """A node whose output has a fixed scale."""
    return functional(conv(activation="sigmoid"), FEATURES, name)


def loud(name):
    """A block whose outputs reach further than its inputs."""
    model = block(name)
    model.layers[-1].kernel.assign(model.layers[-1].kernel * 5.0)
    return model


def joined(name):
    """A node whose output is tied to more than its range shows."""
    return functional(
        lambda x: layers.Concatenate()(
            [conv(4)(x), layers.AveragePooling2D(3, 1, padding="same")(x)[..., :4]]
        ),
        FEATURES,
        name,
    )


# Paths over shared nodes: name to (paths, nodes other than plain blocks).
FORESTS = {
    "depth two": ({"A": "t m a", "B": "t m b", "C": "t c"}, {}),
    "an inner node's output is a task's": ({"A": "t m", "B": "t m b"}, {}),
    "a block is skipped": ({"A": "t m n a", "B": "t n b"}, {}),
    "two blocks are skipped": ({"A": "t m n o a", "B": "t o b", "C": "t m o c"}, {}),
    "opposite orders": ({"A": "t m n a", "B": "t n m b"}, {}),
    "a shared node behind two": ({"A": "t m o a", "B": "t n o b"}, {}),
    "a shared node behind a copy": ({"A": "t m o a", "B": "t n o b"}, {"m": loud, "n": identity}),
    "a shared node behind a pool": ({"A": "t m o a", "B": "t n o b"}, {"m": loud, "n": pool}),
    "a shared node behind a fixed scale": ({"A": "t m o a", "B": "t n o b"}, {"n": bounded}),
    "a pool is skipped": ({"A": "t m n a", "B": "t n b"}, {"m": pool}),
    "a fixed scale is skipped": ({"A": "t m n a", "B": "t n b"}, {"m": bounded}),
    "a joining node is skipped": ({"A": "t m n a", "B": "t n b"}, {"m": joined}),
    "the trunk copies": ({"A": "i t m a", "B": "i t b"}, {}),
}


def forest(paths, special):
    """The nodes of paths: a trunk first, heads last, blocks between unless `special` says."""
    keras.utils.set_random_seed(4)
    nodes = {}
    for names in paths.values():
        for name in names.split():
            make = special.get(name, head if name in "abc" else block)
            if name in nodes:
                continue
            if name == "i":
                nodes[name] = functional(layers.Dropout(0.5), INPUT, name)
            elif name == "t":
                nodes[name] = trunk(name)
            else:
                nodes[name] = make(name, 3) if make is head else make(name)
    return nodes, {task: names.split() for task, names in paths.items()}


@pytest.fixture(scope="module", params=list(FORESTS))
def shared_nodes(request, warm_converter):
    return request.param, *converted(*forest(*FORESTS[request.param]))


def test_shared_nodes_have_exact_seams(shared_nodes):
    _, tree, samples, bundle = shared_nodes
    assert_seams_are_exact(bundle)
    assert_chain_is_the_whole(bundle)
    for task in bundle.tasks:
        assert signal_to_noise_db(tree, samples, bundle, task) > 20, task


def test_a_quantize_stands_only_at_an_end_that_cannot_be_pinned(shared_nodes):
    name, _, _, bundle = shared_nodes
    expected = {
        "a shared node behind a copy": {"n"},
        "a shared node behind a pool": {"n"},
        "a shared node behind a fixed scale": {"n"},
        "a fixed scale is skipped": {"m"},
    }
    found = {node.name for node in bundle.nodes.values() if "QUANTIZE" in node.operators}
    assert found == expected.get(name, set())


def test_a_seam_of_several_producers_has_the_union_of_their_ranges(warm_converter):
    nodes, paths = forest({"A": "t m o a", "B": "t n o b"}, {"n": loud})
    _, samples, bundle = converted(nodes, paths)
    reached = {
        task: np.asarray(nodes[paths[task][1]](nodes["t"](samples[task]))).max() for task in paths
    }
    assert reached["B"] > 2 * reached["A"]
    seam = next(seam for seam in bundle.seams if seam.producers == ("m", "n"))
    np.testing.assert_allclose(seam.scale * 255, reached["B"], rtol=0.05)
    assert bundle.nodes["m"].output == bundle.nodes["n"].output
